"""Crops cut on the model's device, here the CPU: as a float64 computation, as `make_crop`, as the official crops."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from paths import GOLDEN

from sdpose_core.codec import device_crops
from sdpose_core.codec.crops import Crop, affine_crop, make_crop, masked
from sdpose_core.codec.device_crops import CropJob, DeviceCropper

AFFINE = np.load(GOLDEN / "a_affine.npz")
SIZES = {"full": (768, 1024), "small": (192, 256)}
CPU = torch.device("cpu")
OPENCV_IS_EXACT = int(cv2.__version__.split(".")[0]) >= 5
RANDOM = np.random.default_rng(0).integers(0, 256, (300, 411, 3), dtype=np.uint8)


def exact(picture: np.ndarray, crop: Crop) -> np.ndarray:
    """(h, w, 3) float64, point by point as the definition says."""
    w, h = crop.input_size
    x, y = crop.to_image(np.stack(np.meshgrid(np.arange(w), np.arange(h)), axis=-1)).transpose(2, 0, 1)
    padded = np.pad(picture.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    left, top = np.floor(x), np.floor(y)
    result = np.zeros((h, w, 3))
    for down in (0, 1):
        for across in (0, 1):
            column = np.clip(left + across, -1, picture.shape[1]).astype(int) + 1
            row = np.clip(top + down, -1, picture.shape[0]).astype(int) + 1
            weight = np.abs(1 - across - (x - left)) * np.abs(1 - down - (y - top))
            result += weight[..., None] * padded[row, column]
    return result


def usable(image: np.ndarray) -> list[np.ndarray]:
    from sdpose_core.boxes import box_problem

    return [box for box in AFFINE["boxes_xyxy"] if not box_problem(box, (image.shape[1], image.shape[0]))]


def cut(jobs: list[CropJob], batch: int | None = None) -> np.ndarray:
    """(N, h, w, 3) float32."""
    cropper, batch = DeviceCropper(jobs, CPU), batch or len(jobs)
    parts = [cropper.cut(start, min(start + batch, len(jobs))) for start in range(0, len(jobs), batch)]
    return torch.cat(parts).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("key", [key for key in AFFINE.files if key.startswith("warped_")])
def test_the_official_crops(key: str) -> None:
    _, name, image, box, *step = key.split("_")
    crop = affine_crop(AFFINE["boxes_xyxy"][int(box.removeprefix("box"))], SIZES[name])
    stride = int(step[0].removeprefix("sub")) if step else 1
    pixels = np.rint(cut([CropJob(AFFINE[image], crop)])[0, ::stride, ::stride])
    difference = np.abs(pixels - AFFINE[key].astype(float))
    assert difference.max() <= 6  # OpenCV 4.9 made them, in steps of 1/32 pixel
    assert difference.mean() <= 0.2


PICTURES = [name for name in AFFINE.files if AFFINE[name].ndim == 3 and name.startswith("img")]


@pytest.mark.parametrize("image", PICTURES)
def test_every_box_as_in_float64(image: str) -> None:
    picture = AFFINE[image]
    crops = [affine_crop(box, SIZES["small"]) for box in usable(picture)]
    assert len(crops) > 3
    found = cut([CropJob(picture, crop) for crop in crops])
    for own, crop in zip(found, crops, strict=True):
        assert np.abs(own - exact(picture, crop)).max() < 1e-3


def test_pictures_of_different_size_share_a_call() -> None:
    pictures = [RANDOM, RANDOM[:90, :70].copy(), RANDOM[:, :1].copy(), RANDOM[:1].copy()]
    boxes = [(100.3, 50.1, 200.7, 280.9), (-20, -30, 60.5, 80), (0, 10, 1, 250), (5, 0, 300, 1)]
    jobs = [CropJob(p, affine_crop(np.array(b), (192, 256))) for p, b in zip(pictures, boxes, strict=True)]
    found = cut(jobs)
    for own, job, box in zip(found, jobs, boxes, strict=True):
        assert np.abs(own - exact(job.picture, job.crop)).max() < 1e-3
        expected, _ = make_crop(job.picture, np.array(box), (192, 256))
        difference = np.abs(np.rint(own) - expected)
        assert difference.max() <= (1 if OPENCV_IS_EXACT else 6)
    np.testing.assert_array_equal(cut(jobs, batch=1), found)


def test_a_mask_is_black_outside() -> None:
    mask = np.zeros(RANDOM.shape[:2], bool)
    mask[100:200, 50:300] = True
    crop = affine_crop(np.array([40, 60, 310, 240]), (192, 256))
    plain, blanked = cut([CropJob(RANDOM, crop), CropJob(RANDOM, crop, mask)])
    assert np.abs(plain - exact(RANDOM, crop)).max() < 1e-3
    assert np.abs(blanked - exact(masked(RANDOM, mask), crop)).max() < 1e-3


def uploads_of(jobs: list[CropJob], batch: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], np.ndarray]:
    """Bytes of each picture that is uploaded, and the crops."""
    seen: list[int] = []

    def counted(array: np.ndarray, device: torch.device) -> torch.Tensor:
        if array.dtype == np.uint8:
            seen.append(array.nbytes)
        return torch.from_numpy(np.array(array))

    monkeypatch.setattr(device_crops, "upload", counted)
    return seen, cut(jobs, batch)


def test_a_picture_goes_up_once_however_many_batches_its_people_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = np.random.default_rng(1).uniform(0, 180, (9, 2))
    jobs = [
        CropJob(picture, affine_crop(np.array([x, y, x + 60, y + 100]), (192, 256)))
        for picture in (RANDOM, RANDOM[::-1])
        for x, y in boxes
    ]
    seen, _ = uploads_of(jobs, 4, monkeypatch)
    assert len(seen) == 2
    assert max(seen) <= RANDOM.nbytes


def test_of_a_huge_picture_only_what_is_read_goes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = np.broadcast_to(np.arange(3000, dtype=np.int64)[:, None, None] * 7 % 256, (3000, 4000, 3)).astype(np.uint8)
    boxes = [(0, 0, 4000, 3000), (100, 100, 300, 500), (3500, 2500, 3600, 2800)]
    jobs = [CropJob(huge, affine_crop(np.array(box), (192, 256))) for box in boxes]
    seen, found = uploads_of(jobs, 2, monkeypatch)
    assert len(seen) == 3
    assert max(seen) <= 2 * 192 * 2 * 256 * 3
    for own, job in zip(found, jobs, strict=True):
        assert np.abs(own - exact(huge, job.crop)).max() < 1e-2


def test_a_crop_that_turns_is_no_case_for_it() -> None:
    turned = Crop("affine", (192, 256), np.array([[0.8, 0.6, 3.0], [-0.6, 0.8, 5.0]]))
    with pytest.raises(ValueError, match="turns"):
        DeviceCropper([CropJob(RANDOM, turned)], CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_crops_on_cuda() -> None:
    jobs = [CropJob(RANDOM, affine_crop(np.array([x, 20, x + 90, 260]), (768, 1024))) for x in (10, 77.7, 300.2)]
    on_device = DeviceCropper(jobs, torch.device("cuda")).cut(0, 3).permute(0, 2, 3, 1).cpu().numpy()
    np.testing.assert_allclose(on_device, cut(jobs), atol=1e-3)
