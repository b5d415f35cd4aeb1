"""Crops against the official code's numbers, and back again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sdpose_core.crops import (
    CROP_MODES,
    Crop,
    box_to_center_scale,
    fix_aspect,
    make_crop,
    udp_warp_matrix,
    warp,
)
from sdpose_core.errors import InputError

GOLDEN = Path(__file__).parent / "golden"
AFFINE = np.load(GOLDEN / "a_affine.npz")
MAPBACK = np.load(GOLDEN / "e_mapback_draw.npz")
DEMO = np.load(GOLDEN / "j_gradio_preprocess.npz")
SIZES = {"small": (192, 256), "full": (768, 1024)}
EMPTY_BOX, INVERTED_BOX = 7, 12


def official_warps(name: str, rotation: float) -> tuple[np.ndarray, np.ndarray]:
    """Our matrices for the official boxes, and which of them are finite."""
    center, scale = box_to_center_scale(AFFINE["boxes_xyxy"])
    usable = np.arange(len(center)) != EMPTY_BOX
    fixed = fix_aspect(scale, SIZES[name])
    ours = [udp_warp_matrix(c, s, rotation, SIZES[name]) for c, s in zip(center[usable], fixed[usable], strict=True)]
    return np.stack(ours), usable


def test_center_and_scale() -> None:
    center, scale = box_to_center_scale(AFFINE["boxes_xyxy"])
    np.testing.assert_allclose(center, AFFINE["center"], atol=2e-3)
    np.testing.assert_allclose(scale, AFFINE["scale_pad1.25"], atol=2e-3)
    for name, size in SIZES.items():
        np.testing.assert_allclose(fix_aspect(scale, size), AFFINE[f"scale_fixed_{name}"], atol=2e-3)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize(("rotation", "key"), [(0, "warp"), (30, "warp_rot30")])
def test_warp_matrices(name: str, rotation: float, key: str) -> None:
    ours, usable = official_warps(name, rotation)
    np.testing.assert_allclose(ours, AFFINE[f"{key}_{name}"][usable], atol=2e-3)


@pytest.mark.parametrize("key", [key for key in AFFINE.files if key.startswith("warped_")])
def test_cropped_pixels(key: str) -> None:
    _, name, image, box, *step = key.split("_")
    pixels, _ = make_crop(AFFINE[image], AFFINE["boxes_xyxy"][int(box.removeprefix("box"))], SIZES[name])
    stride = int(step[0].removeprefix("sub")) if step else 1
    difference = np.abs(pixels[::stride, ::stride].astype(int) - AFFINE[key].astype(int))
    # OpenCV 5 interpolates exactly, 4.x in steps of 1/32 pixel.
    assert difference.max() <= 6
    assert difference.mean() <= 0.2


@pytest.mark.parametrize("name", SIZES)
def test_keypoints_back_in_the_picture(name: str) -> None:
    size = np.array(SIZES[name])
    for index, box in enumerate(MAPBACK["boxes_xyxy"]):
        if index in (EMPTY_BOX, INVERTED_BOX):
            continue
        center, scale = box_to_center_scale(box)
        matrix = udp_warp_matrix(center, fix_aspect(scale, SIZES[name]), 0, SIZES[name])
        # The official decode multiplies by in / (heatmap - 1): the pixel centre times in / (in - 1).
        centers = MAPBACK[f"{name}_kpts_input_space"][index] * (size - 1) / size
        ours = Crop("affine", SIZES[name], matrix).to_image(centers)
        np.testing.assert_allclose(ours, MAPBACK[f"{name}_kpts_image_space"][index], atol=1e-2)


def test_the_demo_maps_back_as_the_demo_does() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    size = np.array((768, 1024))
    for crop_info, points, expected in zip(
        MAPBACK["gradio_crop_info"], MAPBACK["gradio_kpts_in"], MAPBACK["gradio_kpts_out"], strict=True
    ):
        x1, y1, w, h = crop_info
        _, crop = make_crop(image, np.array([x1, y1, x1 + w, y1 + h]), (768, 1024), "stretch_demo")
        np.testing.assert_allclose(crop.to_image(points * (size - 1) / size), expected, atol=1e-2)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("index", range(3))
def test_the_demo_crop(name: str, index: int) -> None:
    image = gradient_image(11, 120, 160)
    pixels, _ = make_crop(image[..., ::-1], DEMO["boxes"][index], SIZES[name], "stretch_demo")
    stride = 2 if name == "small" else 16
    difference = np.abs(pixels[::stride, ::stride].astype(int) - DEMO[f"{name}_{index}_rgb_u8_sub{stride}"].astype(int))
    assert difference.max() <= 1


def gradient_image(seed: int, h: int, w: int) -> np.ndarray:
    """The synthetic picture behind the stored numbers: gradients, six blocks, noise; BGR."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    image = np.stack([x * 255.0 / (w - 1), y * 255.0 / (h - 1), (x + y) * 255.0 / (w + h - 2)], -1)
    for _ in range(6):
        left, top = random.randint(0, w - 8), random.randint(0, h - 8)
        width, height = random.randint(4, max(5, w // 3)), random.randint(4, max(5, h // 3))
        image[top : top + height, left : left + width] = random.randint(0, 256, 3)
    return np.clip(np.floor(image + random.randint(-12, 13, image.shape)), 0, 255).astype(np.uint8)


def test_the_synthetic_picture_is_the_stored_one() -> None:
    stored = AFFINE["img0"]
    matches = [seed for seed in range(20) if np.array_equal(gradient_image(seed, 120, 160), stored)]
    assert len(matches) == 1


@pytest.mark.parametrize("mode", CROP_MODES)
@pytest.mark.parametrize("box", [(10, 20, 60, 110), (33.3, 41.7, 88.9, 99.1), (-40, -30, 60, 70), (0, 0, 160, 120)])
def test_there_and_back(mode: str, box: tuple) -> None:
    pytest.importorskip("torch", reason="stretch_native resizes with torch")
    points = np.random.default_rng(0).uniform(-20, 200, (3, 17, 2))
    _, crop = make_crop(np.zeros((120, 160, 3), np.uint8), np.array(box), (192, 256), mode)
    np.testing.assert_allclose(crop.to_image(crop.to_input(points)), points, atol=1e-6)
    np.testing.assert_allclose(crop.to_input(crop.to_image(points)), points, atol=1e-6)


@pytest.mark.parametrize("mode", CROP_MODES)
def test_a_bright_spot_lands_where_the_matrix_says(mode: str) -> None:
    """Not square, off centre: exchanged axes or a wrong aspect cannot pass."""
    pytest.importorskip("torch", reason="stretch_native resizes with torch")
    y, x = np.mgrid[0:200, 0:300]
    spot = 255 * np.exp(-((x - 190.0) ** 2 + (y - 60.0) ** 2) / (2 * 5.0**2))
    image = np.repeat(spot[..., None], 3, axis=2).astype(np.uint8)
    pixels, crop = make_crop(image, np.array([150, 20, 290, 90]), (192, 256), mode)
    assert pixels.shape == (256, 192, 3)
    weight = pixels[..., 0].astype(np.float64)
    rows, columns = np.mgrid[0:256, 0:192]
    found = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
    # A stretch without UDP's pixel centres is off by up to half a pixel of the picture, enlarged.
    tolerance = 0.3 if mode == "affine" else 0.5 * np.abs(crop.matrix[:, :2]).sum(axis=1) + 0.3
    assert (np.abs(found - crop.to_input(np.array([190, 60]))) <= tolerance).all()


def test_outside_the_picture_is_black() -> None:
    pixels, crop = make_crop(np.full((50, 50, 3), 200, np.uint8), np.array([-50, 0, 25, 50]), (192, 256))
    left = int(crop.to_input(np.array([0.0, 0.0]))[0])
    assert not pixels[:, : left - 5].any()
    inside = crop.to_input(np.array([10.0, 25.0])).astype(int)
    assert (pixels[inside[1], inside[0]] == 200).all()


def test_the_input_is_not_modified() -> None:
    pytest.importorskip("torch", reason="stretch_native resizes with torch")
    image = AFFINE["img0"].copy()
    box = np.array([10, 20, 60, 120], np.float32)
    for mode in CROP_MODES:
        make_crop(image, box, (192, 256), mode)
    np.testing.assert_array_equal(image, AFFINE["img0"])
    np.testing.assert_array_equal(box, [10, 20, 60, 120])


@pytest.mark.parametrize("mode", CROP_MODES)
@pytest.mark.parametrize(
    ("box", "problem"),
    [((20, 30, 20, 30), "empty"), ((80, 90, 40, 30), "inverted"), ((500, 500, 600, 700), "outside"),
     ((0, 0, np.nan, 5), "not finite")],
)  # fmt: skip
def test_degenerate_boxes_are_refused_with_the_reason(mode: str, box: tuple, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        make_crop(AFFINE["img0"], np.array(box), (192, 256), mode)


def test_an_unknown_mode_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="stretch_demo"):
        make_crop(AFFINE["img0"], np.array([0, 0, 9, 9]), (192, 256), "tight")


@pytest.mark.parametrize("turned", [False, True])
def test_sides_beyond_opencvs_limit(turned: bool) -> None:
    """A picture 40,000 pixels long: the same crop as from the part around the box."""
    random = np.random.default_rng(1)
    image = np.zeros((40, 40_000, 3), np.uint8)
    image[:, 38_000:38_100] = random.integers(0, 255, (40, 100, 3))
    box = np.array([38_020.0, 5, 38_060, 35])
    if turned:
        image, box = np.ascontiguousarray(image.transpose(1, 0, 2)), box[[1, 0, 3, 2]]
    pixels, crop = make_crop(image, box, (192, 256))
    low = np.array([0, 37_000]) if turned else np.array([37_000, 0])
    part = image[low[1] : low[1] + 2000, low[0] : low[0] + 2000]
    expected, _ = make_crop(part, box - np.tile(low, 2), (192, 256))
    assert np.abs(pixels.astype(int) - expected.astype(int)).max() <= 1
    np.testing.assert_allclose(crop.to_image(crop.to_input(box[:2])), box[:2], atol=1e-6)


def test_a_box_as_long_as_such_a_picture() -> None:
    image = np.zeros((1000, 70_000, 3), np.uint8)
    image[:, 35_000:] = 255
    pixels, crop = make_crop(image, np.array([0, 0, 70_000, 1000]), (192, 256))
    brightest = pixels[..., 0].max(axis=0).astype(int)
    edge, end = (int(crop.to_input(np.array([x, 500.0]))[0]) for x in (35_000.0, 69_000.0))
    assert brightest[: edge - 2].max() == 0
    assert brightest[edge + 3 : end].min() > 150


def test_a_warp_that_turns_keeps_its_parts_together() -> None:
    matrix = udp_warp_matrix(np.array([80, 60]), np.array([90, 120]), 90, (192, 256))
    turned = warp(AFFINE["img0"], matrix, (192, 256))
    assert turned.shape == (256, 192, 3)
    middle = Crop("affine", (192, 256), matrix).to_input(np.array([80.0, 60]))
    np.testing.assert_allclose(middle, [95.5, 127.5])
