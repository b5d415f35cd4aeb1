"""Corruptions: each does to a picture what its definition says, at any size, and depends on its seed alone."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from sdpose_core.errors import InputError
from sdpose_training.styles import corruption_blur as blur
from sdpose_training.styles import corruption_steps as steps
from sdpose_training.styles import corruption_weather as weather
from sdpose_training.styles.corruption_frost import LOOKS, frost_texture
from sdpose_training.styles.corruptions import (
    FAMILIES,
    KINDS,
    SEVERITIES,
    Corruption,
    corrupted,
    corruptions,
    kinds_of,
    parse_kinds,
    parse_severities,
)

SIZES = [(1, 1), (5, 3), (17, 1), (37, 53)]  # (h, w)
CERTAIN = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}
"""Kinds without random numbers."""
UNEVEN = ("motion_blur", "snow", "glass_blur", "fog", "frost")
"""Kinds whose change of a single picture depends more on a random direction, shade or number of rounds."""


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(size: tuple[int, int]) -> np.ndarray:
    return rng().integers(0, 256, (*size, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A red coat on a gray gradient, with some texture, 120 x 160."""
    picture = np.repeat(np.linspace(60, 200, 120)[:, None, None], 160, axis=1) * np.ones(3)
    picture += cv2.GaussianBlur(rng().normal(0, 30, picture.shape), (0, 0), 1.5)
    picture[30:90, 50:100] = (190, 30, 40)
    return picture.clip(0, 255).astype(np.uint8)


def flat(value: float, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


# All kinds.


def test_kinds_are_those_of_the_field_in_its_families() -> None:
    assert FAMILIES == ("noise", "blur", "weather", "digital")
    assert [len(kinds_of(family)) for family in FAMILIES] == [3, 4, 4, 4]
    assert all(len(kind.parameters) == len(SEVERITIES) for kind in KINDS.values())
    assert len(corruptions(tuple(KINDS), SEVERITIES)) == 75


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_any_size_keep_size_and_type(kind: str) -> None:
    for size in SIZES:
        for picture in (noise(size), flat(0, size), flat(255, size)):
            before = picture.copy()
            for severity in (1, 5):
                made = corrupted(picture, Corruption(kind, severity), "a.jpg")
                assert made.shape == picture.shape and made.dtype == np.uint8
            assert np.array_equal(picture, before)


@pytest.mark.parametrize("kind", KINDS)
def test_random_numbers_depend_on_seed_name_kind_and_severity(kind: str, photo: np.ndarray) -> None:
    corruption = Corruption(kind, 3)
    made = corrupted(photo, corruption, "folder/000000000139.jpg")
    assert np.array_equal(corrupted(photo, corruption, "other\\000000000139.png"), made)  # not on folder and suffix
    others = corrupted(photo, corruption, "000000000140.jpg"), corrupted(photo, corruption, "000000000139.jpg", seed=1)
    for other in others:
        assert np.array_equal(other, made) == (kind in CERTAIN)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in UNEVEN])
def test_a_higher_severity_changes_more(kind: str, photo: np.ndarray) -> None:
    changes = [np.abs(corrupted(photo, Corruption(kind, s), "a").astype(int) - photo).mean() for s in SEVERITIES]
    assert changes == sorted(changes) and changes[0] > 0.3


def test_names_and_severities_of_the_command_line() -> None:
    assert parse_kinds("all") == tuple(KINDS)
    assert parse_kinds("fog, noise,fog") == ("gaussian_noise", "shot_noise", "impulse_noise", "fog")
    assert parse_severities("5,1, 3") == (1, 3, 5)
    with pytest.raises(InputError, match="unknown corruption 'frog'.*fog"):
        parse_kinds("noise,frog")
    for wrong in ("0", "6", "1-3", "", "1,,2", "x"):
        with pytest.raises(InputError, match="expected numbers from 1 to 5"):
            parse_severities(wrong)


# Noise.


@pytest.mark.parametrize(("kind", "variance"), [("gaussian_noise", (0.08 * 255) ** 2), ("shot_noise", 128 * 255 / 60)])
def test_noise_has_the_defined_variance(kind: str, variance: float) -> None:
    values = corrupted(flat(128, (100, 100)), Corruption(kind, 1), "a").astype(float)
    assert values.mean() == pytest.approx(127.5, abs=0.6)  # cut to whole numbers
    assert values.var() == pytest.approx(variance, rel=0.04)


def test_impulse_noise_sets_the_defined_share_to_black_and_white() -> None:
    values = corrupted(flat(100, (100, 100)), Corruption("impulse_noise", 5), "a")
    assert set(np.unique(values)) == {0, 100, 255}
    assert (values != 100).mean() == pytest.approx(0.27, abs=0.01)
    assert (values == 255).sum() == pytest.approx((values == 0).sum(), rel=0.1)


# Blur.


def test_defocus_spreads_a_dot_over_a_disc() -> None:
    dot = np.zeros((41, 41, 3), np.float32)
    dot[20, 20] = 1
    for radius, smooth in ((3, 0.1), (10, 0.5)):
        spread = blur.defocus_blur(dot, (radius, smooth), rng())[..., 0]
        y, x = np.mgrid[-20:21, -20:21]
        assert spread.sum() == pytest.approx(1, abs=0.02)  # as in the field's code, large discs are 1% too bright
        assert spread[20, 20] == pytest.approx(1 / (np.pi * radius**2), rel=0.1)
        assert spread[np.hypot(x, y) > radius + 2].max() < 1e-6


def test_glass_takes_pixels_as_a_loop_over_them_does() -> None:
    for reach in (1, 3):
        h, w = 19, 23
        found = blur._replacements((h, w), reach, rng(reach))
        move = rng(reach).integers(-reach, reach, (2, (h - 2 * reach) * (w - 2 * reach)))
        draws = dict(zip(((y, x) for y in range(reach + 1, h - reach + 1) for x in range(reach + 1, w - reach + 1)),
                         move.T.tolist(), strict=True))  # fmt: skip
        values = np.arange(h * w).reshape(h, w)
        for y in range(h - reach, reach, -1):
            for x in range(w - reach, reach, -1):
                dy, dx = draws[y, x]
                values[y, x] = values[y + dy, x + dx]
        assert np.array_equal(found, values.ravel())


def test_motion_moves_a_dot_along_its_direction_by_the_stated_distance() -> None:
    dot = np.zeros((101, 101), np.float32)
    dot[50, 50] = 1
    y, x = np.mgrid[-50:51, -50:51]
    for degrees in (-45, 0, 30):
        spread = steps.motion_blur(dot, 15, 8, degrees)
        assert spread.sum() == pytest.approx(1, abs=1e-4)
        center = np.array([(spread * x).sum(), (spread * y).sum()])
        away = steps.motion_offset(15, 8)
        expected = -away * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
        assert center == pytest.approx(expected, abs=0.5)
    assert [round(steps.motion_offset(*values), 1) for values in KINDS["motion_blur"].parameters] == pytest.approx(
        [2.1, 3.6, 6.0, 9.0, 11.5], abs=0.2
    )


def test_zoom_keeps_the_center_and_flat_pictures() -> None:
    assert np.array_equal(corrupted(flat(77), Corruption("zoom_blur", 5), "a"), flat(77))
    lines = np.zeros((101, 101, 3), np.uint8)
    lines[50], lines[:, 50] = 255, 255
    made = corrupted(lines, Corruption("zoom_blur", 3), "a")[..., 0]
    assert made[50, 50] > 100 and made[45, 45] < 60


def test_enlarging_is_linear_between_coinciding_corners() -> None:
    ramp = np.linspace(0, 1, 7, dtype=np.float32)[:, None] * np.ones((1, 5), np.float32)
    larger = steps.zoom_into(ramp, (31, 9))
    assert larger == pytest.approx(np.linspace(0, 1, 31)[:, None] * np.ones((1, 9)), abs=1e-6)
    assert np.array_equal(steps.zoom_into(ramp, (7, 5)), ramp)


def test_steps_are_those_of_scipy() -> None:
    picture = rng().random((37, 53, 3), np.float32)
    blurred = steps.gaussian_blur(picture, (1.5, 0.7), 4, cv2.BORDER_REPLICATE)
    assert blurred == pytest.approx(ndimage.gaussian_filter(picture, (1.5, 0.7, 0), mode="nearest"), abs=1e-5)
    part = picture[2:35, 3:50]
    sides = [round(side * 1.11) for side in part.shape[:2]]
    assert steps.zoom_into(part, tuple(sides)) == pytest.approx(ndimage.zoom(part, (1.11, 1.11, 1), order=1), abs=1e-5)
    y, x = np.mgrid[0:37, 0:53] + rng().uniform(-4, 4, (2, 37, 53))
    expected = [ndimage.map_coordinates(picture[..., c], (y, x), order=1, mode="reflect") for c in range(3)]
    assert steps.sample(picture, y, x) == pytest.approx(np.stack(expected, axis=-1), abs=1e-5)


# Weather.


def test_snow_on_black_is_the_same_turned_by_180_degrees() -> None:
    made = corrupted(flat(0), Corruption("snow", 3), "a").astype(int)
    assert np.abs(made - made[::-1, ::-1]).max() <= 1
    whitened = 255 * (1 - KINDS["snow"].parameters[2].kept) * 0.5
    assert np.percentile(made, 1) == pytest.approx(whitened, abs=2) and made.max() > whitened + 20


def test_frost_is_of_the_stated_brightness_and_contrast_at_any_size() -> None:
    for size in ((60, 80), (240, 320)):
        textures = [frost_texture(size, rng(seed)) * 255 for seed in range(5)]
        for texture in textures:
            look = min(LOOKS, key=lambda each: np.abs(texture.mean(axis=(0, 1)) - each.color).sum())
            assert texture.mean(axis=(0, 1)) == pytest.approx(look.color, abs=12)
            assert texture.mean(axis=2).std() == pytest.approx(look.contrast, rel=0.25)


def test_fog_clouds_are_a_height_map_that_wraps_and_gets_rougher_with_a_lower_decay() -> None:
    maps = [weather.plasma(64, decay, rng(3)) for decay in (2, 1.4)]
    for heights in maps:
        assert heights.shape == (64, 64) and heights.min() == 0 and heights.max() == 1
        inside, across = np.abs(np.diff(heights, axis=0)).mean(), np.abs(heights[0] - heights[-1]).mean()
        assert across < 3 * inside
    assert np.abs(np.diff(maps[1], axis=0)).mean() > 1.5 * np.abs(np.diff(maps[0], axis=0)).mean()


def test_fog_keeps_the_largest_value_and_lowers_contrast(photo: np.ndarray) -> None:
    made = [corrupted(photo, Corruption("fog", severity), "a") for severity in (1, 5)]
    assert made[1].max() <= photo.max()
    contrast = [picture[30:90, 50:100, 0].mean() - picture[30:90, 50:100, 1].mean() for picture in (photo, *made)]
    assert contrast[0] > 1.5 * contrast[1] > 1.5 * contrast[2]


def test_brightness_adds_to_the_value_and_keeps_hue_and_saturation() -> None:
    made = corrupted(np.array([[[100, 50, 25], [0, 0, 0], [250, 125, 0]]], np.uint8), Corruption("brightness", 1), "a")
    assert made.tolist() == [[[125, 62, 31], [25, 25, 25], [255, 127, 0]]]


# Digital.


def test_contrast_pulls_each_channel_towards_its_mean() -> None:
    picture = flat(0, (2, 2))
    picture[0] = (200, 100, 50)
    assert corrupted(picture, Corruption("contrast", 1), "a")[:, 0].tolist() == [[140, 70, 35], [60, 30, 15]]


def test_elastic_moves_pixels_smoothly_and_farther_in_larger_pictures() -> None:
    spreads = []
    for h, w in ((100, 150), (200, 300)):
        ramp = np.repeat(np.linspace(0, 255, w)[None, :, None], h, axis=0) * np.ones(3)
        made = corrupted(ramp.astype(np.uint8), Corruption("elastic_transform", 5), "a").astype(float)
        moved = ((made - ramp.astype(np.uint8)) / (255 / w))[10:-10, 10:-10, 0]
        spreads.append(moved.std())
    assert spreads[0] > 0.5 and spreads[1] < 2.2 * spreads[0]
    assert np.array_equal(corrupted(flat(9), Corruption("elastic_transform", 5), "a"), flat(9))


@pytest.mark.parametrize("size", [(37, 53), (60, 80), (3, 2)])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_pixelate_is_pillows_box_filter(size: tuple[int, int], severity: int) -> None:
    picture = noise(size)
    share = KINDS["pixelate"].parameters[severity - 1]
    small = max(int(size[1] * share), 1), max(int(size[0] * share), 1)
    expected = Image.fromarray(picture).resize(small, Image.Resampling.BOX).resize(size[::-1], Image.Resampling.NEAREST)
    different = np.abs(corrupted(picture, Corruption("pixelate", severity), "a").astype(int) - expected) > 1
    assert different.any(axis=2).mean() < 0.25  # pixels exactly between two cells belong to either, by rounding


def test_jpeg_is_that_of_pillow_at_the_same_quality(photo: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=7)
    expected = np.asarray(Image.open(buffer)).astype(int)
    made = corrupted(photo, Corruption("jpeg_compression", 5), "a")
    assert np.abs(made - expected).mean() < 0.5
