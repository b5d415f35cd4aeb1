from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from stand_ins import StandInDetector, StandInEstimator

from sdpose_core.annotate import controlnet_aux
from sdpose_core.annotate.controlnet_aux import SDPoseDetector, resolution_size
from sdpose_core.errors import InputError
from sdpose_core.estimation.preview import PreviewEstimator
from sdpose_core.poses import Poses


class FakeDetector(StandInDetector):
    """One person in the middle half of the picture, or nobody."""

    name = "fake detector"

    def __init__(self, somebody: bool = True) -> None:
        self.somebody = somebody
        self.seen: list[np.ndarray] = []

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.seen.append(image)
        h, w = image.shape[:2]
        boxes = np.asarray([[w / 4, h / 4, w * 3 / 4, h * 3 / 4]], np.float32)[: int(self.somebody)]
        return boxes, np.full(len(boxes), 0.9, np.float32)


class FakeEstimator(StandInEstimator):
    """133 points inside each box at places that do not depend on the picture."""

    name = "fake estimator"
    keypoint_set = "coco_wholebody_133"

    def __init__(self) -> None:
        self.boxes: list[np.ndarray] = []
        self.device = "nowhere"

    def estimate(self, images, boxes, *, masks=None, on_batch=None) -> list[Poses]:
        self.boxes += list(boxes)
        return [self.poses(image, own) for image, own in zip(images, boxes, strict=True)]

    def poses(self, image: np.ndarray, boxes: np.ndarray) -> Poses:
        boxes = np.asarray(boxes)
        places = np.random.default_rng(0).uniform(0, 1, (len(boxes), 133, 2))
        keypoints = boxes[:, None, :2] + places * (boxes[:, None, 2:4] - boxes[:, None, :2])
        size = (image.shape[1], image.shape[0])
        return Poses(keypoints, np.full((len(boxes), 133), 0.8), boxes, size, self.keypoint_set)


class MovableEstimator(FakeEstimator):
    def to(self, device) -> MovableEstimator:
        self.device = device
        return self


def annotator(somebody: bool = True, **settings) -> SDPoseDetector:
    return SDPoseDetector(FakeEstimator(), FakeDetector(somebody), **settings)


def photo(h: int = 300, w: int = 400, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (h, w, channels), dtype=np.uint8)


def colours(pose_map: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, pose_map.reshape(-1, 3)))


# ---- the calling convention


@pytest.mark.parametrize(
    ("size", "resolution", "expected"),
    [
        ((400, 300), 512, (704, 512)),
        ((300, 400), 512, (512, 704)),
        ((1920, 1080), 512, (896, 512)),
        ((512, 512), 512, (512, 512)),
        ((513, 512), 512, (512, 512)),
        ((640, 480), 768, (1024, 768)),
        ((100, 100), 500, (512, 512)),
        ((1000, 10), 512, (51200, 512)),
        ((50, 60), 16, (64, 64)),
    ],
)
def test_sizes_are_those_of_controlnet_aux_and_never_zero(size, resolution: int, expected):
    assert resolution_size(size, resolution) == expected


def test_a_picture_gives_a_pillow_pose_map_of_the_resolution():
    result = annotator()(Image.fromarray(photo()))
    assert isinstance(result, Image.Image)
    assert (result.mode, result.size) == ("RGB", (704, 512))
    assert np.asarray(result).any()


def test_arrays_come_back_when_asked_for():
    result = annotator()(photo(), output_type="np")
    assert isinstance(result, np.ndarray)
    assert (result.shape, result.dtype) == ((512, 704, 3), np.uint8)


def test_the_second_and_third_arguments_are_the_resolutions():
    fake = annotator()
    assert fake(photo(), 128, 256).size == (320, 256)
    assert fake.detector.seen[0].shape == (128, 192, 3)


def test_people_are_found_in_the_picture_as_it_is_by_default():
    fake = annotator()
    image = photo()
    assert fake(image, image_resolution=None).size == (400, 300)
    np.testing.assert_array_equal(fake.detector.seen[0], image)
    np.testing.assert_array_equal(fake.estimator.boxes[0][0, :4], [100, 75, 300, 225])


def test_the_map_is_drawn_at_its_size_from_scaled_keypoints():
    from sdpose_core.drawing.canvas import place
    from sdpose_core.drawing.pose_maps import draw_poses

    fake = annotator()
    image = photo()
    poses = fake.detect_poses(image)
    expected = draw_poses(place(poses, (704, 512), "stretch"), parts=("body", "head"), threshold=0.3)
    np.testing.assert_array_equal(fake(image, output_type="np"), expected)


@pytest.mark.parametrize(("hand", "face"), [(False, False), (True, False), (False, True), (True, True)])
def test_parts_are_drawn_when_included(hand: bool, face: bool):
    fake = annotator()
    drawn = colours(fake(photo(), include_body=False, include_hand=hand, include_face=face, output_type="np"))
    assert ((255, 255, 255) in drawn) == face
    assert ((0, 0, 255) in drawn) == hand
    assert (len(drawn) > 1) == (hand or face)


def test_without_any_part_the_map_is_black():
    assert not annotator()(photo(), include_body=False, output_type="np").any()


def test_hand_and_face_is_understood_and_warned_about():
    fake = annotator()
    with pytest.warns(FutureWarning, match="use include_hand and include_face"):
        old = fake(photo(), hand_and_face=True, output_type="np")
    new = fake(photo(), include_hand=True, include_face=True, output_type="np")
    np.testing.assert_array_equal(old, new)


def test_the_threshold_decides_what_is_drawn():
    assert not annotator()(photo(), threshold=0.9, output_type="np").any()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grey_rgb_and_rgba_arrays(channels: int):
    fake = annotator()
    fake(photo(channels=channels))
    assert fake.detector.seen[0].shape == (300, 400, 3)
    if channels == 1:
        fake(photo(channels=1)[..., 0])
        np.testing.assert_array_equal(fake.detector.seen[0], fake.detector.seen[1])


@pytest.mark.parametrize("kind", ["pillow", "array"])
def test_transparency_is_laid_on_white(kind: str):
    fake = annotator()
    clear = np.zeros((8, 8, 4), np.uint8)
    fake.detect_poses(clear if kind == "array" else Image.fromarray(clear))
    np.testing.assert_array_equal(fake.detector.seen[0], 255)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((8, 8, 3), -1.0, np.float32), "values from -1 to -1, of unknown range"),
        (np.full((8, 8, 3), np.nan), r"not numbers \(NaN or infinity\)"),
        (np.zeros((8, 8, 3), complex), "array or tensor of numbers, got complex128"),
        (np.zeros((8, 8, 2), np.uint8), r"got uint8 of shape \(8, 8, 2\)"),
        (np.zeros((0, 8, 3), np.uint8), r"got uint8 of shape \(0, 8, 3\)"),
        (np.zeros(8, np.uint8), r"got uint8 of shape \(8,\)"),
        ("a.png", "expected a Pillow picture, or an array or tensor of numbers, got str"),
    ],
)
def test_other_pictures_are_refused(image, message: str):
    with pytest.raises(InputError, match=message):
        annotator()(image)


def test_settings_that_cannot_be_used_are_refused():
    with pytest.raises(InputError, match="output_type: expected 'pil' or 'np', got 'pt'"):
        annotator()(photo(), output_type="pt")
    with pytest.raises(InputError, match="resolution: expected at least 1 pixel, got 0"):
        annotator()(photo(), image_resolution=0)


# ---- poses


def test_nobody_found_uses_the_whole_picture_and_says_so():
    fake = annotator(somebody=False)
    poses = fake.detect_poses(photo())
    np.testing.assert_array_equal(poses.boxes, [[0, 0, 400, 300, 1]])
    assert poses.meta["boxes_from"] == "fake detector: nobody found, whole picture used"


def test_nobody_found_can_be_nobody():
    fake = annotator(somebody=False, if_nobody="empty")
    assert len(fake.detect_poses(photo())) == 0
    assert not fake(photo(), output_type="np").any()


def test_moving_to_a_device(caplog):
    movable = SDPoseDetector(MovableEstimator(), FakeDetector())
    assert movable.to("cuda") is movable
    assert movable.estimator.device == "cuda"
    caplog.set_level("INFO", "sdpose_core")
    SDPoseDetector(PreviewEstimator(), FakeDetector()).to("cuda")
    assert "preview (MoveNet, MediaPipe) cannot move to cuda" in caplog.text


def test_from_pretrained_loads_an_estimator_and_a_detector(monkeypatch):

    asked = {}
    monkeypatch.setattr(
        controlnet_aux,
        "load_estimator",
        lambda name, **settings: asked.update(settings, name=name) or "E",
    )
    monkeypatch.setattr(controlnet_aux, "load_detector", lambda name: asked.update(detector=name) or "D")
    made = SDPoseDetector.from_pretrained("some/folder", device="cpu", flip_test=True, detector="full")
    assert (made.estimator, made.detector, made.if_nobody) == ("E", "D", "full-image")
    assert asked == {"name": "some/folder", "device": "cpu", "flip_test": True, "detector": "full"}
