"""Crops against the official code's numbers, and back again."""

from __future__ import annotations

import numpy as np
import pytest
from paths import GOLDEN

from sdpose_core.codec.crops import CROP_MODES, Crop, box_to_center_scale, fix_aspect, make_crop, udp_warp_matrix, warp
from sdpose_core.errors import InputError

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


def bilinear(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Values (..., 3) of a picture at (x, y), black outside, by the definition."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    points = np.clip(points + 1, 0, [image.shape[1] + 0.999, image.shape[0] + 0.999])
    x, y = np.floor(points).astype(int).transpose(2, 0, 1)
    fx, fy = (points - np.floor(points)).transpose(2, 0, 1)[..., None]
    above = padded[y, x] * (1 - fx) + padded[y, x + 1] * fx
    return above * (1 - fy) + (padded[y + 1, x] * (1 - fx) + padded[y + 1, x + 1] * fx) * fy


def test_a_person_longer_than_opencvs_limit_is_refused() -> None:
    image = np.broadcast_to(np.zeros(3, np.uint8), (100, 70_000, 3))
    with pytest.raises(InputError, match="a person of 70000 x 100 pixels: at most 32,766"):
        make_crop(image, np.array([0.0, 0, 70_000, 100]), (192, 256))


def test_a_turned_crop_of_such_a_picture() -> None:
    image = np.zeros((300, 40_000, 3), np.uint8)
    image[:, 35_000:35_200] = np.random.default_rng(2).integers(0, 255, (300, 200, 3))
    matrix = udp_warp_matrix(np.array([35_100.0, 150.0]), np.array([150.0, 200.0]), 30, (192, 256))
    from_part = matrix.copy()
    from_part[:, 2] += matrix[:, 0] * 34_900
    expected = warp(np.ascontiguousarray(image[:, 34_900:35_400]), from_part, (192, 256))
    assert np.abs(warp(image, matrix, (192, 256)).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("factor", [2, 4])
def test_native_shrinking_is_the_mean_of_each_block(factor: int) -> None:
    pytest.importorskip("torch", reason="stretch_native resizes with torch")
    image = np.random.default_rng(4).integers(0, 256, (64 * factor, 32 * factor, 3), dtype=np.uint8)
    pixels, _ = make_crop(image, np.array([0, 0, 32 * factor, 64 * factor]), (32, 64), "stretch_native")
    blocks = image.reshape(64, factor, 32, factor, 3).mean(axis=(1, 3))
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, blocks, atol=1e-3)


@pytest.mark.parametrize("height", [64, 256])
def test_native_stretching_is_plain_bilinear(height: int) -> None:
    """Enlarged in x; in y enlarged, or shrunk without averaging: area is for crops that shrink in both axes."""
    pytest.importorskip("torch", reason="stretch_native resizes with torch")
    image = np.random.default_rng(4).integers(0, 256, (height, 32, 3), dtype=np.uint8)
    pixels, _ = make_crop(image, np.array([0.9, 0.9, 32.9, height + 0.9]), (64, 128), "stretch_native")
    x, y = (np.arange(64) + 0.5) / 2 - 0.5, (np.arange(128) + 0.5) * height / 128 - 0.5
    points = np.stack(np.meshgrid(np.clip(x, 0, 31), np.clip(y, 0, height - 1)), axis=-1)
    np.testing.assert_allclose(pixels, bilinear(image, points), atol=1e-3)


def test_the_modes_map_back_as_their_originals() -> None:
    """The decoded point x of heatmap pixel p is p * (in - 1) / (heatmap - 1); the demo uses p * in / (heatmap - 1)."""
    image = np.zeros((300, 400, 3), np.uint8)
    box, decoded = np.array([40.7, 30.2, 240.9, 230.1]), np.array([95.5, 127.5])
    native = make_crop(image, box, (192, 256), "stretch_native")[1].to_image(decoded)
    demo = make_crop(image, box, (192, 256), "stretch_demo")[1].to_image(decoded)
    np.testing.assert_allclose(native, np.array([40, 30]) + decoded / np.array([192 / 200, 256 / 200]))
    np.testing.assert_allclose(demo, [140, 130])


@pytest.mark.parametrize("mode", CROP_MODES)
@pytest.mark.parametrize("box", [(0.25, 0.75, 0.5, 1.0), (159.5, 119.5, 900, 900), (-3e38, -3e38, 3e38, 3e38)])
def test_extreme_boxes_give_a_crop(mode: str, box: tuple) -> None:
    pytest.importorskip("torch", reason="stretch_native resizes with torch")
    pixels, crop = make_crop(AFFINE["img0"], np.array(box, np.float32), (192, 256), mode)
    assert (pixels.shape, pixels.dtype) == ((256, 192, 3), np.float32 if mode == "stretch_native" else np.uint8)
    assert np.isfinite(crop.to_image(np.zeros(2))).all()


def test_a_warp_that_turns_keeps_its_parts_together() -> None:
    matrix = udp_warp_matrix(np.array([80, 60]), np.array([90, 120]), 90, (192, 256))
    turned = warp(AFFINE["img0"], matrix, (192, 256))
    assert turned.shape == (256, 192, 3)
    middle = Crop("affine", (192, 256), matrix).to_input(np.array([80.0, 60]))
    np.testing.assert_allclose(middle, [95.5, 127.5])
