"""Networks that give NaN or infinity: the picture fails with one line, never "1 person" without a point."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from stand_ins import StandInDetector
from tiny import SMALL, make_model

from sdpose_core.annotate.clip_options import ClipOptions
from sdpose_core.annotate.images import annotate_images
from sdpose_core.annotate.pictures import PictureOptions, annotate_pictures
from sdpose_core.annotate.stream import estimate_frames
from sdpose_core.codec.heatmaps import damage_in, decode_to_tensor, with_damage
from sdpose_core.detection.loading import load_detector
from sdpose_core.detection.people import check_finite
from sdpose_core.embedded.movenet import movenet
from sdpose_core.errors import NotFiniteError
from sdpose_core.estimation.preview import PreviewEstimator
from sdpose_core.estimation.sdpose import PoseEstimator
from sdpose_core.model.config import SDPoseConfig
from sdpose_core.video.frames import Frame

PICTURE = np.random.default_rng(0).integers(0, 255, (90, 70, 3), np.uint8)
DARK = np.zeros((90, 70, 3), np.uint8)
BOX = np.asarray([[5, 5, 60, 80]], np.float32)


class DarkIsDamage(torch.nn.Module):
    """Brightness as heatmaps, but one value of a black crop is not a number."""

    def __init__(self, value: float = np.nan, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1, dtype=dtype))
        self.config = SDPoseConfig(input_size=(192, 256), heatmap_sigma=2.0)
        self.value = value

    def heatmaps(self, images: torch.Tensor, flip_test: bool = False) -> torch.Tensor:
        size = self.config.heatmap_size[::-1]
        maps = torch.nn.functional.interpolate(images.mean(dim=1, keepdim=True) + 1, size=size).repeat(1, 17, 1, 1)
        maps[images.amax(dim=(1, 2, 3)) <= -1, 3, 7, 9] = self.value
        return maps


class WholePicture(StandInDetector):
    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray([[0, 0, image.shape[1], image.shape[0]]], np.float32), np.ones(1, np.float32)


def test_damage_is_marked_and_counted_map_by_map() -> None:
    maps = torch.rand(2, 3, 12, 10)
    maps[1, 2, 3, 4:6] = torch.nan
    maps[1, 0, 0, 0] = -torch.inf
    plain = decode_to_tensor(maps, (40, 48))
    marked = with_damage(plain, maps).numpy()
    assert [damage_in(points) for points in marked] == [0, 3]
    np.testing.assert_array_equal(marked[0], plain[0].numpy())
    np.testing.assert_array_equal(marked[1, 1], plain[1, 1].numpy())


def test_flat_maps_are_no_damage() -> None:
    maps = torch.zeros(1, 2, 12, 10)
    assert damage_in(with_damage(decode_to_tensor(maps, (40, 48)), maps).numpy()) == 0


PLACES = ("head.final_layer.bias", "unet.conv_in.weight", "vae.encoder.conv_in.weight")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("flip_test", [False, True])
def test_damaged_weights_fail_the_picture(place: str, flip_test: bool) -> None:
    model = make_model(SMALL)
    model.state_dict()[place].view(-1)[0] = torch.nan
    with pytest.raises(NotFiniteError, match="heatmap values of box 0 .* full precision.*damaged: get them") as error:
        PoseEstimator(model, flip_test=flip_test).estimate([PICTURE], [BOX])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("dtype", "others"), [(torch.float16, "bf16 or fp32"), (torch.bfloat16, "fp32")])
def test_half_precision_is_told_to_choose_another_dtype(dtype: torch.dtype, others: str) -> None:
    with pytest.raises(NotFiniteError, match=re.escape(f"half precision: choose another dtype ({others})")):
        PoseEstimator(DarkIsDamage(dtype=dtype)).estimate([DARK], [BOX])  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_one_bad_crop_names_its_picture(value: float, batch_size: int) -> None:
    subject = PoseEstimator(DarkIsDamage(value), batch_size=batch_size)  # type: ignore[arg-type]
    with pytest.raises(NotFiniteError, match=r"^picture 1: 1 of 52,224 heatmap values of box 0 ") as error:
        subject.estimate([PICTURE, DARK, PICTURE], [BOX] * 3)
    assert error.value.picture == 1
    assert len(subject.estimate([PICTURE, PICTURE], [BOX] * 2)) == 2


def test_of_several_files_only_the_bad_one_fails(tmp_path: Path) -> None:
    sources = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for source, rgb in zip(sources, (PICTURE, DARK, PICTURE), strict=True):
        Image.fromarray(rgb).save(source)
    subject = PoseEstimator(DarkIsDamage(), batch_size=8)  # type: ignore[arg-type]
    seen: list[tuple[int, int, int]] = []
    outcomes = list(
        annotate_pictures(
            sources, tmp_path / "out", estimator=lambda: subject, detector=WholePicture, options=PictureOptions(),
            on_crops=lambda *numbers: seen.append(numbers), asked={},
        )
    )  # fmt: skip
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    assert outcomes[1].message.startswith("1 of 52,224 heatmap values")
    assert not (tmp_path / "out" / "b.pose.npz").exists()
    assert (1, 1, 1) in seen


@pytest.mark.parametrize("overlap", [False, True])
def test_a_clip_stops_at_the_frame_and_keeps_the_chunks_before(overlap: bool) -> None:
    images = [PICTURE] * 6 + [DARK] + [PICTURE] * 3
    frames = (Frame(i, i / 10, image.copy()) for i, image in enumerate(images))
    options = ClipOptions(chunk=3)
    subject = PoseEstimator(DarkIsDamage(), batch_size=2)  # type: ignore[arg-type]
    chunks: list[Any] = []
    with pytest.raises(NotFiniteError, match=r"^frame 6: 1 of 52,224 heatmap values"):
        for chunk in estimate_frames(
            frames, subject, WholePicture(), options, frame_rate=Fraction(10), overlap=overlap
        ):
            chunks.append(chunk)
    assert len(chunks) >= 1


@pytest.mark.parametrize("column", [0, 2])
def test_the_preview_says_it_too(column: int, monkeypatch: pytest.MonkeyPatch) -> None:
    movenet.cache_clear()  # a MoveNet that remembers nothing yet
    subject = PreviewEstimator(body_only=True)
    run = subject.model.model.run

    def damaged(inputs: Any) -> list[np.ndarray]:
        found = run(inputs)[0].copy()
        found.reshape(17, 3)[4, column] = np.nan
        return [found]

    monkeypatch.setattr(subject.model.model, "run", damaged)
    with pytest.raises(NotFiniteError, match=r"^picture 1: 1 of 51 values of MoveNet"):
        subject.estimate([PICTURE, PICTURE], [np.zeros((0, 4)), BOX])


def test_a_detector_that_gives_nan_is_no_empty_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = load_detector("yolox")
    monkeypatch.setattr(detector.detector.model, "run", lambda inputs: [np.full((1, 3549, 85), np.nan, np.float32)])
    with pytest.raises(NotFiniteError, match="detector YOLOX-Nano .*3,549 of 3,549 candidates"):
        annotate_images([PICTURE], estimator=PreviewEstimator(), detector=detector, if_nobody="full-image")


def test_only_boxes_that_count_must_be_numbers() -> None:
    boxes = np.asarray([[0, 0, 9, 9], [0, 0, np.inf, 9]], np.float32)
    check_finite(boxes, np.asarray([0.9, 0.1]), 0.5, "x")
    for scores in ([0.9, 0.9], [0.9, np.nan]):
        with pytest.raises(NotFiniteError, match="1 of 2 candidates"):
            check_finite(boxes, np.asarray(scores), 0.5, "x")
