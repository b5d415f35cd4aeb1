"""`PoseEstimator`: batching across pictures and people, memory, masks, and the choice of an estimator.

The model here is a stand-in whose heatmaps are the brightness of the crop, so that the answer is known: the centre of a
bright blob in the picture.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sdpose_core.errors import CheckpointError, InputError, MissingDependency, SDPoseError
from sdpose_core.estimation import loading
from sdpose_core.estimation.crop_jobs import is_out_of_memory, one_ahead
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.estimation.options import EstimatorOptions
from sdpose_core.estimation.sdpose import PoseEstimator
from sdpose_core.model.config import SDPoseConfig
from sdpose_core.options import options_among, with_settings


class BrightnessModel(torch.nn.Module):
    """Heatmaps that follow the brightness of the crop, in every channel."""

    def __init__(self, largest_batch: int = 1000) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.config = SDPoseConfig(input_size=(192, 256), heatmap_sigma=2.0)
        self.largest_batch = largest_batch
        self.batches: list[int] = []

    def heatmaps(self, images: torch.Tensor, flip_test: bool = False) -> torch.Tensor:
        if len(images) > self.largest_batch:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        self.batches.append(len(images))
        brightness = (images.mean(dim=1, keepdim=True) + 1) / 2
        size = (self.config.heatmap_size[1], self.config.heatmap_size[0])
        small = torch.nn.functional.interpolate(brightness, size=size, mode="bilinear", align_corners=True)
        return small.repeat(1, self.config.num_keypoints, 1, 1).float()


def blob(size: tuple[int, int], center: tuple[float, float], sigma: float) -> np.ndarray:
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    value = 255 * np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / (2 * sigma**2))
    return np.repeat(value[..., None], 3, axis=2).astype(np.uint8)


PICTURES = [blob((300, 200), (180, 90), 9), blob((150, 260), (60.5, 140), 9), blob((64, 64), (30, 30), 5)]
BOXES = [np.array([[120, 30, 240, 170], [150, 60, 220, 130]]), np.array([[20, 60, 110, 230, 0.5]]), np.zeros((0, 4))]
TRUTH = [(180, 90), (60.5, 140)]


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_people_of_all_pictures_share_batches_and_come_back_in_place(batch_size: int) -> None:
    model = BrightnessModel()
    seen: list[tuple[int, int]] = []
    found = PoseEstimator(model, batch_size=batch_size).estimate(
        PICTURES, BOXES, on_batch=lambda done, total: seen.append((done, total))
    )
    assert model.batches == {1: [1, 1, 1], 2: [2, 1], 8: [3]}[batch_size]
    assert seen[-1] == (3, 3)
    assert [len(poses) for poses in found] == [2, 1, 0]
    for poses, truth in zip(found, TRUTH, strict=False):
        np.testing.assert_allclose(poses.keypoints, np.broadcast_to(truth, poses.keypoints.shape), atol=0.5)
    assert found[0].size == (300, 200)
    np.testing.assert_array_equal(found[0].boxes, np.c_[BOXES[0], [1, 1]])
    np.testing.assert_array_equal(found[1].boxes, BOXES[1])
    assert found[2].keypoints.shape == (0, 17, 2)
    assert found[0].meta["settings"]["batch_size"] == batch_size


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_crops_cut_on_the_device_give_the_same_points(batch_size: int) -> None:
    mask = np.zeros((2, 200, 300), bool)
    mask[:, 40:150, 100:250] = True
    masks = [mask, None, None]
    plain = PoseEstimator(BrightnessModel(), batch_size=batch_size).estimate(PICTURES, BOXES, masks=masks)
    model = BrightnessModel(largest_batch=2)
    estimator = PoseEstimator(model, batch_size=batch_size, crops_on_device=True)
    found = estimator.estimate(PICTURES, BOXES, masks=masks)
    assert max(model.batches) <= 2
    for first, second in zip(plain, found, strict=True):
        np.testing.assert_allclose(first.keypoints, second.keypoints, atol=0.05)  # where OpenCV rounds otherwise
        np.testing.assert_allclose(first.scores, second.scores, atol=0.01)
        assert second.meta["settings"]["crops_cut_on"] == "cpu"
    native = PoseEstimator(BrightnessModel(), crop="stretch_native", crops_on_device=True)
    assert not native.crops_on_device


def test_one_ahead_starts_the_next_before_it_hands_one_over() -> None:
    started: list[int] = []

    def items() -> Iterator[int]:
        for number in range(3):
            started.append(number)
            yield number

    seen = [(item, list(started)) for item in one_ahead(items())]
    assert seen == [(0, [0, 1]), (1, [0, 1, 2]), (2, [0, 1, 2])]


def test_out_of_memory_halves_the_batch_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    model = BrightnessModel(largest_batch=2)
    estimator = PoseEstimator(model, batch_size=8)
    with caplog.at_level(logging.WARNING):
        found = estimator.estimate(PICTURES * 2, BOXES * 2)
    assert model.batches == [2, 2, 2]
    assert estimator.batch_size == found[0].meta["settings"]["batch_size"] == 2
    assert "continuing with a batch size of 2" in caplog.text
    assert [len(poses) for poses in found] == [2, 1, 0, 2, 1, 0]


def test_not_even_one_crop_fits() -> None:
    with pytest.raises(SDPoseError, match="out of memory on cpu with a single 192 x 256 crop"):
        PoseEstimator(BrightnessModel(largest_batch=0), batch_size=2).estimate(PICTURES, BOXES)


def test_other_errors_of_the_model_are_not_swallowed() -> None:
    model = BrightnessModel()
    model.heatmaps = lambda *_, **__: (_ for _ in ()).throw(RuntimeError("a defect"))  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="a defect"):
        PoseEstimator(model).estimate(PICTURES[:1], BOXES[:1])


def test_unusable_boxes_are_left_out_with_the_reason() -> None:
    boxes = np.array([[5, 5, 5, 5], [120, 30, 240, 170], [400, 0, 500, 90], [0, 0, np.nan, 9]])
    [poses] = PoseEstimator(BrightnessModel()).estimate(PICTURES[:1], [boxes])
    assert len(poses) == 1
    np.testing.assert_array_equal(poses.boxes[0, :4], boxes[1])
    reasons = poses.meta["dropped_boxes"]
    assert ["empty" in reasons[0], "outside" in reasons[1], "not finite" in reasons[2]] == [True] * 3


def test_a_mask_blanks_what_is_not_the_person() -> None:
    picture = np.maximum(blob((300, 200), (100, 90), 9), blob((300, 200), (200, 90), 12))
    mask = np.zeros((1, 200, 300), bool)
    mask[0, :, :150] = True
    box = np.array([[60, 20, 240, 180]])
    estimator = PoseEstimator(BrightnessModel())
    before = picture.copy()
    [plain] = estimator.estimate([picture], [box])
    [blanked] = estimator.estimate([picture], [box], masks=[mask])
    assert np.abs(blanked.keypoints[0, 0] - (100, 90)).max() < 0.7
    assert plain.keypoints[0, 0, 0] > 95
    np.testing.assert_array_equal(picture, before)
    with pytest.raises(InputError, match=r"masks of picture 0: expected shape \(1, 200, 300\)"):
        estimator.estimate([picture], [box], masks=[mask[:, :5]])


@pytest.mark.parametrize(
    ("images", "boxes", "message"),
    [
        (PICTURES, BOXES[:2], "3 pictures, 2 lists of boxes"),
        ([PICTURES[0].astype(np.float32)], BOXES[:1], "uint8"),
        ([PICTURES[0][..., 0]], BOXES[:1], r"\(height, width, 3\)"),
        ([PICTURES[0]], [np.zeros((2, 3))], r"shape \(N, 4\)"),
    ],
)
def test_wrong_input_is_named(images: list, boxes: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PoseEstimator(BrightnessModel()).estimate(images, boxes)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(InputError, match="affine"):
        PoseEstimator(BrightnessModel(), crop="afine")
    with pytest.raises(InputError, match="at least 1"):
        PoseEstimator(BrightnessModel(), batch_size=0)


def test_stopping_from_on_batch() -> None:
    model = BrightnessModel()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PoseEstimator(model, batch_size=1).estimate(PICTURES, BOXES, on_batch=stop)
    assert model.batches == [1]


def test_the_preview_names_the_options_that_it_ignores(caplog: pytest.LogCaptureFixture) -> None:
    load_estimator("preview", device="cpu", dtype="auto")
    assert not caplog.messages
    load_estimator("preview", dtype="bf16", flip_test=True, batch_size=3)
    assert caplog.messages == ["the preview runs as it is, without these options: batch-size, flip-test, dtype"]


def test_options_are_given_as_an_object_by_name_or_both() -> None:
    options = EstimatorOptions(flip_test=True, dtype="auto")
    assert with_settings(options, {"batch_size": 3}, "estimator") == EstimatorOptions(batch_size=3, flip_test=True)
    assert load_estimator("preview", options, batch_size=3).name.startswith("preview")
    with pytest.raises(InputError, match="unknown estimator option 'fliptest': did you mean 'flip_test'"):
        load_estimator("preview", fliptest=True)
    assert options_among(EstimatorOptions, {"crop": "stretch_demo", "out": "x"}).crop == "stretch_demo"


def test_what_an_export_has_fixed_follows_from_the_fields() -> None:
    assert EstimatorOptions(device="cpu", batch_size=2, flip_test=True, crop="affine").fixed_by_export() == []
    assert EstimatorOptions(dtype="fp16", compile=True).fixed_by_export() == ["dtype", "compile"]
    assert EstimatorOptions(compile=True) == EstimatorOptions(compile="default") != EstimatorOptions(compile=False)
    with pytest.raises(InputError, match="found 'fast', expected one of default, reduce-overhead, max-autotune"):
        EstimatorOptions(compile="fast")


def test_each_person_says_which_box_it_came_from() -> None:
    boxes = np.array([[400, 0, 500, 90], [120, 30, 240, 170], [5, 5, 5, 5], [150, 60, 220, 130]])
    [poses] = PoseEstimator(BrightnessModel()).estimate(PICTURES[:1], [boxes])
    assert poses.box_index.tolist() == [1, 3]
    np.testing.assert_array_equal(poses.boxes[:, :4], boxes[poses.box_index])


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SDPOSE_HOME", "HF_HOME", "XDG_CACHE_HOME", "HOME", "LOCALAPPDATA", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def test_auto_takes_the_preview_and_says_so(no_weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        estimator = load_estimator("auto")
    assert "preview" in estimator.name
    assert "SDPose" not in estimator.name
    assert "no SDPose weights" in caplog.text
    [poses] = estimator.estimate([PICTURES[0]], [np.zeros((0, 4))])
    assert "no SDPose weights" in str(poses.meta)


def test_weights_that_are_asked_for_are_not_replaced_by_the_preview(no_weights: Path) -> None:
    with pytest.raises(CheckpointError, match="sdpose download body"):
        load_estimator("body")


def test_sdpose_without_torch_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "installed", lambda name: name != "torch")
    with pytest.raises(MissingDependency, match=r"sdpose-annotator\[torch\]") as error:
        load_estimator("wholebody")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("error", "expected"), [
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
    (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
    (MemoryError(), True),
    (RuntimeError("CUDA error: device-side assert triggered"), False),
])  # fmt: skip
def test_errors_that_say_that_memory_ran_out(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
