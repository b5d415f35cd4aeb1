"""IMAGE, MASK and boxes as other nodes produce them: number types, ranges, orders of axes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 9, 11, 3), np.uint8)
UNIT = torch.from_numpy(PIXELS).float() / 255
WHOLE = torch.from_numpy(PIXELS)

IMAGES: dict[str, tuple[Any, int]] = {
    "float32": (UNIT, 0), "float64": (UNIT.double(), 0), "fp16": (UNIT.half(), 0), "bf16": (UNIT.bfloat16(), 1),
    "uint8": (WHOLE, 0), "int32": (WHOLE.int(), 0), "int64": (WHOLE.long(), 0), "uint16": (WHOLE.to(torch.uint16), 0),
    "float of 0..255": (WHOLE.float(), 0), "bf16 of 0..255": (WHOLE.bfloat16(), 0), "fp16 of 0..255": (WHOLE.half(), 0),
    "slightly outside": (UNIT * 1.02 - 0.01, 3), "gradient": (UNIT.clone().requires_grad_(), 0),
    "not contiguous": (UNIT.permute(0, 2, 1, 3).contiguous().permute(0, 2, 1, 3), 0),
    "channels first": (UNIT.permute(0, 3, 1, 2), 0), "a video": (UNIT[None], 0), "numpy": (UNIT.numpy(), 0),
    "numpy uint8": (PIXELS, 0), "alpha": (torch.cat([UNIT, torch.ones(2, 9, 11, 1)], dim=-1), 0),
    "uint8 channels first": (WHOLE.permute(0, 3, 1, 2), 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", IMAGES)
def test_images_of_every_kind(inside: Any, kind: str) -> None:
    image, tolerance = IMAGES[kind]
    before = image.clone() if isinstance(image, torch.Tensor) else image.copy()
    found = inside("nodes.sockets.images").images_from_tensor(image)
    assert [frame.shape for frame in found] == [(9, 11, 3)] * 2
    assert all(frame.dtype == np.uint8 for frame in found)
    assert np.abs(np.stack(found).astype(int) - PIXELS).max() <= tolerance
    same = torch.equal(before, image) if isinstance(image, torch.Tensor) else np.array_equal(before, image)
    assert same


HALF = torch.full((2, 9, 11, 1), 128 / 255)
"""Alpha."""
OVER_WHITE = np.rint((PIXELS * 128.0 + 255 * 127) / 255)

TRANSPARENT: dict[str, Any] = {
    "float32": torch.cat([UNIT, HALF], -1), "fp16": torch.cat([UNIT, HALF], -1).half(),
    "uint8": torch.cat([WHOLE, (HALF * 255).byte()], -1), "0..255": torch.cat([WHOLE.float(), HALF * 255], -1),
    "0..255, alpha of 0..1": torch.cat([WHOLE.float(), HALF], -1),
    "channels first": torch.cat([UNIT, HALF], -1).permute(0, 3, 1, 2),
}  # fmt: skip


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_transparent_pixels_are_laid_on_white(inside: Any, kind: str) -> None:
    images = inside("nodes.sockets.images")
    found = images.images_from_tensor(TRANSPARENT[kind])
    assert np.abs(np.stack(found) - OVER_WHITE).max() <= 1
    assert images.count_and_size(TRANSPARENT[kind]) == (2, (11, 9))


def test_alpha_that_is_not_a_number_is_refused(inside: Any, input_error: type[Exception]) -> None:
    image = torch.cat([UNIT, HALF * torch.nan], -1)
    with pytest.raises(input_error, match="NaN or infinity"):
        inside("nodes.sockets.images").images_from_tensor(image)


SINGLE: dict[str, Callable[[torch.Tensor], Any]] = {
    "height, width, channels": lambda image: image, "channels first": lambda image: image.permute(2, 0, 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", SINGLE)
def test_one_picture_without_batch(inside: Any, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    [found] = inside("nodes.sockets.images").images_from_tensor(SINGLE[kind](UNIT[0]))
    np.testing.assert_array_equal(found, PIXELS[0])
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("shape", [(9, 11), (1, 9, 11), (1, 9, 11, 1), (1, 1, 9, 11)])
def test_gray_pictures(inside: Any, shape: tuple[int, ...]) -> None:
    [found] = inside("nodes.sockets.images").images_from_tensor(UNIT[0, ..., 0].reshape(shape))
    np.testing.assert_array_equal(found, np.repeat(PIXELS[0, ..., :1], 3, axis=2))


def test_a_black_frame_among_others_has_their_range(inside: Any) -> None:
    image = torch.cat([WHOLE.float(), torch.ones(1, 9, 11, 3)])
    assert inside("nodes.sockets.images").images_from_tensor(image)[2].max() == 1


def test_highlights_above_one_are_white_not_another_range(inside: Any) -> None:
    image = UNIT.clone()
    image[0, 0, 0] = 7.5
    found = inside("nodes.sockets.images").images_from_tensor(image)
    assert found[0][0, 0].tolist() == [255] * 3
    np.testing.assert_array_equal(found[1], PIXELS[1])


def test_the_range_is_noted_once(inside: Any, caplog: pytest.LogCaptureFixture) -> None:
    inside("nodes.sockets.images").images_from_tensor(WHOLE.float())
    assert len(caplog.messages) == 1
    assert "taken as 0..255" in caplog.messages[0]


def damaged(value: float) -> torch.Tensor:
    image = UNIT.clone()
    image[1, 2, 3, 0] = value
    return image


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (damaged(float("nan")), r"frame 1: NaN or infinity in 1 value,"),
        (damaged(float("inf")), r"frame 1: NaN or infinity in 1 value,"),
        (UNIT * 2 - 1, "unknown range"),
        (WHOLE.int() - 128, "unknown range"),
        (UNIT * 1e6, "unknown range"),
        (UNIT.to(torch.complex64), "numbers from 0 to 1"),
        (torch.rand(2, 9, 11), "expected an IMAGE"),
        (torch.rand(2, 2, 9, 11), "expected an IMAGE"),
        ("a.png", "expected an IMAGE"),
        (None, "expected an IMAGE"),
    ],
)
def test_what_is_no_image(inside: Any, input_error: type[Exception], image: Any, message: str) -> None:
    with pytest.raises(input_error, match=message) as error:
        inside("nodes.sockets.images").images_from_tensor(image)
    assert "\n" not in str(error.value)


INSIDE = np.zeros((2, 9, 11), bool)
INSIDE[0, 2:5, 3:7] = INSIDE[1, 4:8, 1:3] = True
MASK = torch.from_numpy(INSIDE).float()
MASKS: dict[str, Any] = {
    "float32": MASK, "bf16": MASK.bfloat16(), "fp16": MASK.half(), "float64": MASK.double(), "bool": MASK.bool(),
    "uint8 of 0, 1": MASK.byte(), "uint8 of 0, 255": MASK.byte() * 255, "float of 0, 255": MASK * 255,
    "soft": MASK * 0.8 + 0.1, "soft of 255": MASK * 180 + 40, "channel": MASK[:, None], "last channel": MASK[..., None],
    "gradient": MASK.clone().requires_grad_(), "numpy": INSIDE, "slightly outside": MASK * 1.02 - 0.01,
}  # fmt: skip


@pytest.mark.parametrize("kind", MASKS)
def test_masks_of_every_kind(inside: Any, kind: str) -> None:
    images = [np.zeros((9, 11, 3), np.uint8)] * 2
    found = inside("nodes.sockets.images").masks_from_tensor(MASKS[kind], [1, 1], images)
    np.testing.assert_array_equal(np.concatenate(found), INSIDE)


@pytest.mark.parametrize("kind", ["bf16", "uint8 of 0, 255", "bool", "channel", "soft of 255", "numpy"])
def test_people_of_masks_of_every_kind(inside: Any, kind: str) -> None:
    people, _ = inside("nodes.sockets.box_sources").people_of(
        MASKS[kind], 2, (11, 9), bbox_format="x1, y1, x2, y2", mask_meaning="each mask is a person"
    )
    assert [frame.boxes[0, :4].tolist() for frame in people] == [[3, 2, 7, 5], [1, 4, 3, 8]]


def test_a_mask_without_batch(inside: Any) -> None:
    [found] = inside("nodes.sockets.images").masks_from_tensor(MASK[0], [1], [np.zeros((9, 11, 3), np.uint8)])
    np.testing.assert_array_equal(found, INSIDE[:1])


@pytest.mark.parametrize(
    ("mask", "message"),
    [(MASK * float("nan"), "values from nan"), (MASK * 1000, "from 0 to 1000"), (MASK - 1, "from -1 to 0"),
     (torch.ones(4), "expected a MASK"), (torch.ones(2, 0, 3), "expected a MASK"), (UNIT, "expected a MASK")],
)  # fmt: skip
def test_what_is_no_mask(inside: Any, input_error: type[Exception], mask: torch.Tensor, message: str) -> None:
    with pytest.raises(input_error, match=message):
        inside("nodes.sockets.images").masks_of(mask)


ROWS = [[2.0, 3.0, 8.0, 9.0]]
BOXES: dict[str, Any] = {
    "bf16": torch.tensor(ROWS, dtype=torch.bfloat16), "fp16": torch.tensor(ROWS).half(),
    "int64": torch.tensor(ROWS).long(),
    "frames": torch.tensor([ROWS], dtype=torch.bfloat16), "one box": torch.tensor(ROWS[0]),
    "list of tensors": [torch.tensor(ROWS[0], dtype=torch.bfloat16)],
    "lists of tensors": [[torch.tensor(ROWS[0], dtype=torch.bfloat16)]],
    "tensor per frame": [torch.tensor(ROWS).half()],
    "numbers in tensors": [[torch.tensor(value, dtype=torch.bfloat16) for value in ROWS[0]]],
    "numpy": np.asarray(ROWS), "numpy frames": np.asarray([ROWS], np.int64),
    "with a score": torch.tensor([[*ROWS[0], 0.5]], requires_grad=True),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOXES)
def test_boxes_of_every_kind(inside: Any, kind: str) -> None:
    [people], _ = inside("nodes.sockets.box_sources").people_of(
        BOXES[kind], 1, (11, 9), bbox_format="x1, y1, x2, y2", mask_meaning="each mask is a person"
    )
    assert people.boxes[:, :4].tolist() == ROWS
    assert people.boxes[0, 4] == (0.5 if kind == "with a score" else 1)


@pytest.mark.parametrize("nobody", [torch.zeros(0, 4), torch.zeros(1, 0, 5), np.zeros((0, 4), np.int64)])
def test_an_empty_array_of_boxes_is_nobody(inside: Any, nobody: Any) -> None:
    [people], _ = inside("nodes.sockets.box_sources").people_of(
        nobody, 1, (11, 9), bbox_format="x1, y1, x2, y2", mask_meaning="each mask is a person"
    )
    assert len(people.boxes) == 0


def test_segments_of_objects_are_no_people(inside: Any) -> None:
    labels = ["person", "Car", None, "face", "dog"]
    segments = [
        SimpleNamespace(crop_region=(n, 0, n + 2, 2), bbox=(n, 0, n + 2, 2), confidence=1.0, label=label)
        for n, label in enumerate(labels)
    ]
    [people], notes = inside("nodes.sockets.box_sources").people_of(
        ((9, 11), segments), 1, (11, 9), bbox_format="x1, y1, x2, y2", mask_meaning="each mask is a person"
    )
    assert people.boxes[:, 0].tolist() == [0, 2, 3]
    assert notes == ["ignored boxes that are not people: 1 x car, 1 x dog"]


def test_bounding_box_with_numbers_in_tensors(inside: Any) -> None:
    box = dict(zip(("x", "y", "width", "height"), torch.tensor([2, 3, 4, 5], dtype=torch.bfloat16), strict=True))
    found = inside("nodes.sockets.boxes").boxes_from_socket([[box]], 1, (200, 100))
    assert found.people[0].boxes.tolist() == [[2, 3, 6, 8, 1]]


@pytest.mark.parametrize("white", [1, 255])
def test_segs_in_bf16(inside: Any, white: int) -> None:
    mask = (torch.eye(4) * white).to(torch.bfloat16 if white == 1 else torch.uint8)
    segment = SimpleNamespace(
        crop_region=torch.tensor([2, 3, 6, 7]), bbox=torch.tensor([2, 3, 6, 7], dtype=torch.bfloat16),
        confidence=torch.tensor(0.5, dtype=torch.bfloat16), cropped_mask=mask,
    )  # fmt: skip
    [people], _ = inside("nodes.sockets.box_sources").people_of(
        ((9, 11), [segment]), 1, (11, 9), bbox_format="x1, y1, x2, y2", mask_meaning="each mask is a person"
    )
    assert people.boxes.tolist() == [[2, 3, 6, 7, 0.5]]
    assert people.masks.sum() == 4


def test_a_video_of_images_in_another_range_has_one_range(inside: Any) -> None:
    frames = inside("nodes.sockets.images").frames_of(torch.cat([torch.ones(1, 9, 11, 3), WHOLE.float()]))
    assert [int(frame.max()) for frame in frames] == [1, int(PIXELS[0].max()), int(PIXELS[1].max())]
