"""Training samples: annotations, keypoint sets, augmentation against the official code's numbers, determinism."""

from __future__ import annotations

import io
import json
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from custom_sets import HAND, PEN
from paths import GOLDEN, ROOT, SHARED
from torch.utils.data import DataLoader

from sdpose_core.codec.crops import fix_aspect, make_crop, warp
from sdpose_core.codec.heatmaps import encode_udp, encode_udp_profiles
from sdpose_core.errors import InputError, SDPoseError
from sdpose_core.images import read_image
from sdpose_core.model.config import UNetConfig, VAEConfig
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133, KeypointSet, described, skeleton_of
from sdpose_training.data import samples
from sdpose_training.data.annotations import People, read_annotations, read_people, with_body
from sdpose_training.data.augmentation import (
    augment,
    draw_jitter,
    half_body,
    half_body_box,
    half_body_points,
    mirror,
    place,
    truncated_normal,
    visible_inside,
)
from sdpose_training.data.keypoint_sets import find_keypoint_set, from_category
from sdpose_training.data.photometric import distort, hole, occlude, shifted_hues
from sdpose_training.data.pictures import COMMON_SUFFIXES, pictures_in, read_picture
from sdpose_training.data.samples import Batches, LostWorker, PeopleSamples, SampleSettings, collate
from sdpose_training.fit.data_sets import load_people, read_data_sets
from sdpose_training.fit.starting_weights import config_of
from sdpose_training.options import exit_status
from sdpose_training.recipe.recipe import AugmentationRecipe, DataRecipe, Recipe, Stage, load_recipe

COCO = SHARED / "data" / "coco_samples"
NOTHING = AugmentationRecipe(
    flip=0, half_body=0, shift=0, scale=0, rotation=0, photometric=False, blur=0, median_blur=0, dropout=0
)
SMALL = SampleSettings((64, 128), 2.0, 3, True, seed=0)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "h_augment.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def statistics() -> dict:
    return json.loads((GOLDEN / "h_augment_stats.json").read_text())


@pytest.fixture
def folder(data: Path) -> Path:
    return data


@pytest.fixture
def people(folder: Path) -> People:
    return read_people(read_annotations(folder / "annotations" / "train.json"), folder / "images", COCO_17)[0]


# --- geometry ------------------------------------------------------------------------------------------------------


def test_flip_is_the_official_one(golden: dict[str, np.ndarray]) -> None:
    width = int(golden["img_seed_11_hw"][1])
    before = place(golden["kpts"][0], golden["vis"][0], golden["bbox"][0])
    flipped = mirror(before, width, COCO_17)
    np.testing.assert_allclose(flipped.keypoints, golden["flip_keypoints"][0], atol=1e-4)
    np.testing.assert_array_equal(flipped.visibility, golden["flip_keypoints_visible"][0])
    np.testing.assert_allclose(flipped.center, golden["flip_bbox_center"][0], atol=1e-4)
    again = mirror(flipped, width, COCO_17)
    np.testing.assert_allclose(again.keypoints, before.keypoints)
    assert flipped.mirrored and not again.mirrored


@pytest.mark.parametrize("half", ["upper", "lower"])
def test_half_body_is_the_official_one(golden: dict[str, np.ndarray], half: str) -> None:
    chosen = half_body_points(golden["vis"][0], COCO_17, prefer_upper=half == "upper")
    np.testing.assert_array_equal(chosen, golden[f"half_{half}_ids"])
    center, scale = half_body_box(golden["kpts"][0][chosen])
    np.testing.assert_allclose(center, golden[f"half_{half}_center"], rtol=1e-6)
    np.testing.assert_allclose(scale, golden[f"half_{half}_scale"], rtol=1e-6)


def test_half_body_takes_the_half_that_has_enough_points() -> None:
    upper, lower = np.zeros(17), np.zeros(17)
    upper[:11], lower[11:] = 1, 1
    few = np.zeros(17)
    few[[0, 11]] = 1
    assert set(half_body_points(upper, COCO_17, prefer_upper=False)) == set(range(11))
    assert set(half_body_points(lower, COCO_17, prefer_upper=True)) == set(range(11, 17))
    assert not len(half_body_points(few, COCO_17, prefer_upper=True))


@pytest.mark.parametrize(("size", "name"), [((192, 256), "small"), ((768, 1024), "full")])
def test_box_jitter_and_warp_are_the_official_ones(
    golden: dict[str, np.ndarray], size: tuple[int, int], name: str
) -> None:
    before = place(golden["kpts"][0], golden["vis"][0], golden["bbox"][0])
    offset, factor = golden["bt_offset"][0], float(golden["bt_scale"][0, 0])
    after = replace(
        before,
        center=before.center + offset * before.scale,
        scale=before.scale * factor,
        rotation_deg=float(golden["bt_rot_deg"][0]),
    )
    np.testing.assert_allclose(after.center, golden["bt_center"][0], rtol=1e-6)
    np.testing.assert_allclose(after.scale, golden["bt_scale_before_fix"][0], rtol=1e-6)
    np.testing.assert_allclose(fix_aspect(after.scale, size), golden[f"bt_{name}_scale_fixed"][0], rtol=1e-6)
    matrix = after.warp_matrix(size)
    np.testing.assert_allclose(matrix, golden[f"bt_{name}_warp"], rtol=1e-5, atol=2e-3)
    keypoints = before.keypoints @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(keypoints, golden[f"bt_{name}_transformed_keypoints"][0], atol=5e-3)
    if name == "small":
        with np.load(GOLDEN / "a_affine.npz") as arrays:
            image = arrays["img0"]  # the same picture, of seed 11
        assert image.shape[:2] == tuple(golden["img_seed_11_hw"])
        difference = np.abs(warp(image, matrix, size)[::2, ::2].astype(int) - golden["bt_small_img_sub2"])
        assert difference.max() <= 6 and difference.mean() < 0.2  # OpenCV 5 against 4.9


def test_jitter_has_the_official_distribution(statistics: dict) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_jitter(rng, AugmentationRecipe()) for _ in range(40_000)]
    offset = np.stack([each[0] for each in drawn])
    scale, rotation = (np.asarray([each[i] for each in drawn]) for i in (1, 2))
    moved = offset.any(axis=1)
    expected = statistics["offset"]
    assert moved.mean() == pytest.approx(expected["frac_nonzero"], abs=0.01)
    assert offset[moved].std() == pytest.approx(expected["std_nonzero"], rel=0.02)
    assert np.abs(offset).max() == pytest.approx(expected["absmax"], rel=0.01)
    expected = statistics["scale"]
    for got, name in ((scale.min(), "min"), (scale.max(), "max"), (scale.mean(), "mean"), (scale.std(), "std")):
        assert got == pytest.approx(expected[name], abs=0.006), name
    turned, expected = rotation != 0, statistics["rotate"]
    assert turned.mean() == pytest.approx(expected["frac_nonzero"], abs=0.01)
    assert rotation[turned].std() == pytest.approx(expected["std_nonzero"], rel=0.02)
    assert np.abs(rotation).max() == pytest.approx(expected["absmax"], rel=0.01)


def test_flip_and_half_body_have_the_official_chances(statistics: dict) -> None:
    rng, chances = np.random.default_rng(0), AugmentationRecipe()
    points = np.random.default_rng(1).uniform(0, 100, (17, 2))
    before = place(points, np.ones(17), np.array([0, 0, 100, 100]))
    halves = [half_body(rng, before, COCO_17, chances) for _ in range(20_000)]
    applied = [each for each in halves if each is not before]
    upper = [each for each in applied if np.allclose(each.center, points[:11].mean(axis=0))]
    assert len(applied) / len(halves) == pytest.approx(statistics["halfbody"]["frac_applied"], abs=0.01)
    share = statistics["halfbody"]["frac_upper_given_applied"]
    assert len(upper) / len(applied) == pytest.approx(share, abs=0.02)
    flips = [augment(rng, before, 100, COCO_17, replace(NOTHING, flip=0.5)).mirrored for _ in range(10_000)]
    assert np.mean(flips) == pytest.approx(statistics["flip"], abs=0.02)


def test_normals_are_cut_off_at_one() -> None:
    values = truncated_normal(np.random.default_rng(0), 100_000)
    assert np.abs(values).max() <= 1 and values.std() == pytest.approx(0.5396, abs=0.003)


def test_only_labelled_points_inside_count() -> None:
    points = np.array([(0, 0), (63, 127), (64, 5), (-0.1, 5), (np.nan, 5), (5, 5)])
    assert visible_inside(points, np.array([1, 1, 1, 1, 1, 0]), (64, 128)) == 2


def people_near_the_edge(people: People, outside: float) -> People:
    """One person, two points in the middle of the picture and one `outside` of the box's crop, in crop pixels."""
    box = np.array([[20, 20, 60, 100]], np.float32)
    crop = place(people.keypoints[0], people.visibility[0], box[0]).warp_matrix(SMALL.input_size)
    in_crop = np.array([[30, 60], [34, 64], [63 + outside, 60]])
    keypoints = np.zeros((1, 17, 2), np.float32)
    keypoints[0, :3] = (in_crop - crop[:, 2]) @ np.linalg.inv(crop[:, :2]).T
    visibility = np.zeros((1, 17), np.float32)
    visibility[0, :3] = 1
    return replace(people.select([0]), keypoints=keypoints, visibility=visibility, boxes_xyxy=box)


@pytest.mark.parametrize(("outside", "touching", "inside"), [
    (-1, True, True), (2, True, False), (24, True, False), (30, False, False),
])  # fmt: skip
def test_points_near_the_crop_count_by_the_rule(
    people: People, monkeypatch: pytest.MonkeyPatch, outside: float, touching: bool, inside: bool
) -> None:
    """The patch of a Gaussian with sigma 2 has a radius of 6 heatmap pixels, here 25.2 input pixels."""
    monkeypatch.setattr(samples, "MAX_TRIES", 2)
    near = people_near_the_edge(people, outside)
    for visible, enough in (("touching", touching), ("inside", inside)):
        settings = replace(SMALL, visible=visible)
        if enough:
            assert (PeopleSamples(near, NOTHING, settings)[(0, 0)]["weights"] > 0).sum() == 2 + touching
        else:
            with pytest.raises(SDPoseError, match="fewer than 3 points in the crop"):
                PeopleSamples(near, NOTHING, settings)[(0, 0)]


# --- colors -------------------------------------------------------------------------------------------------------


def test_holes_are_the_official_ones(statistics: dict) -> None:
    rng, expected = np.random.default_rng(0), statistics["coarse_dropout_1024x768"]
    x1, y1, x2, y2 = np.array([hole(rng, (768, 1024)) for _ in range(20_000)]).T
    assert [(x2 - x1).min(), (x2 - x1).max()] == pytest.approx(expected["w"], abs=2)
    assert [(y2 - y1).min(), (y2 - y1).max()] == pytest.approx(expected["h"], abs=2)
    assert x1.max() == pytest.approx(expected["x1max"], abs=8) and y1.max() == pytest.approx(expected["y1max"], abs=8)
    assert x1.min() == y1.min() == 0 and x2.max() <= 768 and y2.max() <= 1024


def test_the_released_slip_in_contrast() -> None:
    """On gray pictures only brightness and contrast show: the slip leaves contrast to a quarter, and squares it."""
    image = np.full((2, 2, 3), 100, np.uint8)
    shares = {}
    for as_released in (True, False):
        rng = np.random.default_rng(0)
        values = np.array([distort(rng, image, as_released)[0, 0, 0] for _ in range(8000)])
        shares[as_released] = np.mean(values == 100), np.mean(values > 200)
    assert shares[True][0] == pytest.approx(0.5 * 0.75, abs=0.03)  # neither brightness nor contrast
    assert shares[False][0] == pytest.approx(0.5 * 0.5, abs=0.03)
    assert shares[True][1] > 0.01 and shares[False][1] == 0  # 132 x 1.5 is 198, 132 x 1.5 x 1.5 is white


@pytest.mark.parametrize("shift", range(-18, 18))
def test_the_released_hues_wrap_around_where_they_are_stored(shift: int) -> None:
    """Every hue: the released arithmetic in place; without it, the hue is turned on the circle of 180 steps."""
    hsv = np.stack(np.meshgrid(np.arange(180), [40, 128, 255], [90, 255], indexing="ij"), axis=-1)
    hsv = hsv.reshape(180, 6, 3).astype(np.uint8)
    stored, turned = hsv.copy(), hsv.copy()
    stored[..., 0] = stored[..., 0].astype(int) + shift  # wraps around at 256
    turned[..., 0] = np.mod(turned[..., 0].astype(int) + shift, 180)
    for as_released, expected in ((True, stored), (False, turned)):
        ours = hsv.copy()
        ours[..., 0] = shifted_hues(shift, as_released)[ours[..., 0]]
        np.testing.assert_array_equal(cv2.cvtColor(ours, cv2.COLOR_HSV2RGB), cv2.cvtColor(expected, cv2.COLOR_HSV2RGB))


def test_hues_below_red_turn_green_as_released() -> None:
    """OpenCV reads uint8 hues above 179 modulo 180: 10 - 18 is stored as 248 and read as 68."""
    color = {hue: cv2.cvtColor(np.array([[[hue, 255, 255]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0] for hue in range(256)}
    for hue in range(180, 256):
        np.testing.assert_allclose(color[hue], color[hue - 180], atol=1)
    assert shifted_hues(-18, as_released=True)[10] == 248 and color[248].tolist() == [0, 255, 68]
    assert shifted_hues(-18, as_released=False)[10] == 172 and color[172].tolist() == [255, 0, 68]
    image = np.full((1, 1, 3), (255, 20, 10), np.uint8)  # red
    drawn = np.array([distort(np.random.default_rng(seed), image, True)[0, 0] for seed in range(300)]).astype(int)
    fixed = np.array([distort(np.random.default_rng(seed), image, False)[0, 0] for seed in range(300)]).astype(int)
    in_order = [np.array_equal(np.sort(one), np.sort(other)) for one, other in zip(drawn, fixed, strict=True)]
    assert 0.1 < 1 - np.mean(in_order) < 0.9


def test_photometric_changes_keep_shape_and_source() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    before = image.copy()
    for seed in range(40):
        out = distort(np.random.default_rng(seed), image, True)
        assert out.shape == image.shape and out.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    gray = np.full((1, 1, 3), 9, np.uint8)
    orders = {tuple(distort(np.random.default_rng(seed), gray, True).ravel()) for seed in range(9)}
    assert len(orders) > 1


def test_the_hole_hides_and_the_blur_smooths() -> None:
    image = np.random.default_rng(0).integers(1, 256, (100, 80, 3), dtype=np.uint8)
    holed = occlude(np.random.default_rng(0), image.copy(), replace(NOTHING, dropout=1.0))
    black = (holed == 0).all(axis=2)
    assert 0.04 * 0.8 < black.mean() < 0.16 and (holed[~black] == image[~black]).all()
    for chances in (replace(NOTHING, blur=1.0), replace(NOTHING, median_blur=1.0)):
        assert occlude(np.random.default_rng(0), image.copy(), chances).std() < image.std() * 0.7


def test_the_two_kinds_of_blur() -> None:
    """A white pixel: a box blur gives equal values, a Gaussian one falls off and sums up to the same."""
    image = np.zeros((15, 15, 3), np.uint8)
    image[7, 7] = 255
    seen = set()
    for seed in range(12):
        box, gaussian = (
            occlude(np.random.default_rng(seed), image.copy(), replace(NOTHING, blur=1.0, blur_kind=kind))[..., 0]
            for kind in ("box", "gaussian")
        )
        side = int(np.sqrt((box > 0).sum()))
        seen.add(side)
        assert np.unique(box[box > 0]).tolist() == [round(255 / side**2)]
        np.testing.assert_array_equal(gaussian, cv2.GaussianBlur(image, (side, side), 0)[..., 0])
        assert gaussian.max() > box.max()
    assert seen == {3, 5, 7}


# --- samples -------------------------------------------------------------------------------------------------------


def test_a_sample_without_augmentation_is_the_crop_of_inference(people: People) -> None:
    sample = PeopleSamples(people, NOTHING, SMALL)[(0, 4)]
    expected, crop = make_crop(read_picture(people.files[4]), people.boxes_xyxy[4], (64, 128))
    np.testing.assert_array_equal(sample["input"], expected)
    np.testing.assert_array_equal(sample["clean"], expected)
    target = sample["rows"][:, :, None] * sample["columns"][:, None, :]
    maps, weights = encode_udp(crop.to_input(people.keypoints[4])[None], np.ones((1, 17)), (64, 128), (16, 32), 2.0)
    np.testing.assert_allclose(target, maps[0], atol=1e-5)
    np.testing.assert_array_equal(sample["weights"], weights[0])


def test_the_keypoints_follow_the_picture(people: People) -> None:
    """The drawn limbs are bright: under every augmentation the points lie on them."""
    geometry = replace(NOTHING, flip=0.5, shift=1.0, scale=1.0, rotation=1.0, scale_range=(0.8, 1.2))
    samples = PeopleSamples(people, geometry, replace(SMALL, input_size=(128, 192)))
    for epoch in range(4):
        for index in range(len(people)):
            sample = samples[(epoch, index)]
            target = sample["rows"][:, :, None] * sample["columns"][:, None, :]
            for heat in target:
                if heat.max() > 0.9:
                    y, x = np.unravel_index(heat.argmax(), heat.shape)
                    around = sample["input"][max(4 * y - 5, 0) : 4 * y + 6, max(4 * x - 5, 0) : 4 * x + 6]
                    assert around.max() > 150, (epoch, index)


@pytest.mark.parametrize("number", range(6))
def test_targets_as_factors_are_the_golden_targets(number: int) -> None:
    with np.load(GOLDEN / "b_encode.npz") as arrays:
        found = {k.split(f"_{number}_")[1]: arrays[k] for k in arrays.files if k.startswith(f"small_17_{number}_")}
    rows, columns, weights = encode_udp_profiles(found["kpts"], found["vis"], (192, 256), (48, 64), 2.0)
    maps = rows[0][:, :, None] * columns[0][:, None, :]
    np.testing.assert_allclose(maps.ravel()[found["hm_idx"]], found["hm_val"], atol=2e-6)
    np.testing.assert_array_equal(np.count_nonzero(maps, axis=(1, 2)), found["nnz"])
    np.testing.assert_array_equal(weights, found["weights"])


def test_samples_are_a_function_of_seed_epoch_and_index(people: People) -> None:
    from torch.utils.data import DataLoader

    samples = PeopleSamples(people, AugmentationRecipe(), SMALL)
    keys = [[(epoch, i), (epoch, i + 1)] for epoch in (0, 1) for i in range(0, 6, 2)]
    alone = [collate([samples[key] for key in batch]) for batch in keys]
    spread = list(DataLoader(samples, batch_sampler=keys, num_workers=2, collate_fn=collate))
    for one, other in zip(alone, spread, strict=True):
        for name in ("input", "clean", "rows", "columns", "weights", "index"):
            assert one[name].equal(other[name]), name
    assert not alone[0]["input"].equal(alone[3]["input"])  # another epoch
    other_seed = PeopleSamples(people, AugmentationRecipe(), replace(SMALL, seed=1))
    assert not np.array_equal(other_seed[(0, 0)]["input"], samples[(0, 0)]["input"])


def test_the_clean_picture_is_taken_before_blur_and_hole(people: People) -> None:
    sample = PeopleSamples(people, replace(NOTHING, photometric=True, dropout=1.0), SMALL)[(0, 0)]
    differs = (sample["input"] != sample["clean"]).any(axis=2)
    assert differs.any() and (sample["input"][differs] == 0).all()


def test_damaged_pictures_are_skipped_and_named(people: People, tmp_path: Path) -> None:
    whole = people.files[0].read_bytes()
    cut, empty, other = (tmp_path / f"{name}.jpg" for name in ("cut", "empty", "other"))
    cut.write_bytes(whole[: len(whole) // 2])
    empty.write_bytes(b"")
    cv2.imwrite(str(other), np.zeros((10, 10, 3), np.uint8))
    bad = (cut, empty, other, tmp_path / "missing.jpg")
    damaged = replace(people, files=(*bad, *people.files[4:]))
    samples = PeopleSamples(damaged, NOTHING, SMALL)
    for index, path in enumerate(bad):
        sample = samples[(0, index)]
        assert any(str(path) in problem for problem in sample["problems"]) and sample["index"] not in (index,)
    assert samples[(0, 5)]["problems"] == []
    with pytest.raises(SDPoseError, match="in a row"):
        PeopleSamples(replace(people, files=(cut,) * len(people)), NOTHING, SMALL)[(0, 0)]


def test_turned_pictures_are_read_as_they_were_annotated(people: People, tmp_path: Path) -> None:
    """By the size, as training, validation and evaluation know it; where that says nothing, upright as released."""
    from PIL import Image

    from sdpose_training.fit.validation import crops_of

    upright = np.zeros((60, 40, 3), np.uint8)
    upright[:15] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees
    path = tmp_path / "turned.jpg"
    Image.fromarray(np.rot90(upright).copy()).save(path, exif=exif, quality=95)
    for size in ((40, 60), None):
        assert np.abs(read_picture(path, size).astype(int) - upright).mean() < 5
    stored = read_picture(path, (60, 40))
    assert np.abs(stored.astype(int) - np.rot90(upright)).mean() < 5
    with pytest.raises(InputError, match="40 x 60 pixels, annotated as 41 x 60"):
        read_picture(path, (41, 60))
    turned = replace(
        people.select([0, 1]), files=(path, path), picture_sizes=np.array([(60, 40), (61, 40)]),
        boxes_xyxy=np.array([(5, 5, 40, 35)] * 2, np.float32), keypoints=np.full((2, 17, 2), 20, np.float32),
    )  # fmt: skip
    sample = PeopleSamples(turned, NOTHING, SMALL)[(0, 0)]
    expected, _ = make_crop(stored, turned.boxes_xyxy[0], (64, 128))
    np.testing.assert_array_equal(sample["input"], expected)
    places, crops, _ = crops_of(turned, range(2), (64, 128))
    assert places == [0]  # the other is of another size: told, and not scored on the wrong pixels
    np.testing.assert_allclose(crops[0].numpy(), expected.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)


def test_grey_and_cmyk_pictures_are_read_as_rgb(tmp_path: Path) -> None:
    from PIL import Image

    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:10] = 200
    for mode in ("L", "CMYK"):
        Image.fromarray(picture).convert(mode).save(tmp_path / "a.jpg", quality=95)
        assert np.abs(read_picture(tmp_path / "a.jpg", (60, 40)).astype(int) - picture).mean() < 5


def test_a_transparent_picture_is_not_turned_if_its_stored_size_is_annotated(tmp_path: Path) -> None:
    from PIL import Image

    turned = Image.Exif()
    turned[0x0112] = 6  # by 90 degrees
    picture = np.full((40, 60, 4), (200, 100, 50, 255), np.uint8)
    picture[:, :30, 3] = 0
    Image.fromarray(picture).save(tmp_path / "a.png", exif=turned)
    assert read_picture(tmp_path / "a.png").shape == (60, 40, 3)
    stored = read_picture(tmp_path / "a.png", (60, 40))
    assert stored.shape == (40, 60, 3)
    assert (stored[:, :30] == 255).all() and (stored[:, 30:] == (200, 100, 50)).all()
    with pytest.raises(InputError, match="40 x 60 pixels, annotated as 30 x 40"):
        read_picture(tmp_path / "a.png", (30, 40))


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_transparent_pixels_are_white_as_at_inference(tmp_path: Path, suffix: str) -> None:
    from PIL import Image

    picture = np.zeros((40, 60, 4), np.uint8)  # black, also where it is transparent
    picture[:10, :, 3], picture[10:20, :, 3] = 255, 100
    path = tmp_path / f"cutout.{suffix}"
    Image.fromarray(picture).save(path, **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    found = read_picture(path, (60, 40))
    np.testing.assert_array_equal(found, read_image(path))
    assert [found[row, 5].tolist() for row in (5, 15, 30)] == [[0] * 3, [155] * 3, [255] * 3]
    Image.fromarray(picture[..., 0]).convert("P").save(tmp_path / "palette.png", transparency=0)
    assert read_picture(tmp_path / "palette.png").min() == 255
    with pytest.raises(InputError, match="60 x 40 pixels, annotated as 40 x 60"):
        read_picture(path, (40, 60))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="cutout.*damaged"):
        read_picture(path)


def test_people_with_too_few_points_in_the_crop_are_drawn_again(people: People) -> None:
    visibility = people.visibility.copy()
    visibility[0, 2:] = 0
    sample = PeopleSamples(replace(people, visibility=visibility), NOTHING, SMALL)[(0, 0)]
    assert sample["index"] != 0 and sample["problems"] == []


@pytest.mark.parametrize(("labeled", "stays"), [([0], True), ([16], True), ([17], False), ([91, 132], False)])
def test_whole_body_training_needs_a_body_point(people: People, labeled: list[int], stays: bool) -> None:
    """COCO-WholeBody's `num_keypoints` counts the body alone; the released pipeline drops people where it is 0."""
    visibility = np.zeros((2, 133), np.float32)
    visibility[0, 5], visibility[1, labeled] = 1, 1
    keypoints = np.zeros((2, 133, 2), np.float32)
    whole = replace(people.select([3, 4]), keypoint_set=COCO_WHOLEBODY_133, keypoints=keypoints, visibility=visibility)
    assert with_body(whole).files == whole.files[: 1 + stays]


def test_the_recipe_selects_people_with_a_body(folder: Path, tmp_path: Path) -> None:
    """For a set without COCO's points, this selection is refused."""
    names = ", ".join(f'"point_{letter}"' for letter in "abcdefghijklmnopq")
    (tmp_path / "other.toml").write_text(f'name = "other"\nnames = [{names}]\n')
    files = ["--data.root", str(folder), "--data.keypoint-set", str(tmp_path / "other.toml")]
    recipe = load_recipe(ROOT / "training" / "recipes" / "debug_cpu.toml", files)
    assert len(read_data_sets(recipe)[0].people) == 12
    with pytest.raises(InputError, match="data.need_body is on, but 'other' has none"):
        read_data_sets(replace(recipe, data=replace(recipe.data, need_body=True)))


def test_a_set_without_a_body_is_told(people: People) -> None:
    pen = KeypointSet("pen", tuple("abcdefghijklmnopq"))
    with pytest.raises(InputError, match="data.need_body is on, but 'pen' has none of COCO's 17 points"):
        with_body(replace(people, keypoint_set=pen))
    with pytest.raises(InputError, match="nobody has a labeled body point"):
        with_body(replace(people, visibility=np.zeros_like(people.visibility)))


# --- annotations and keypoint sets -----------------------------------------------------------------------------------


def test_damaged_annotations_are_named_and_left_out(folder: Path) -> None:
    content = read_annotations(folder / "annotations" / "train.json")
    good = content["annotations"][0]
    broken = [
        {**good, "id": 1, "iscrowd": "perhaps"},
        {**good, "id": 2, "keypoints": [1, 2, 3]},
        {**good, "id": 3, "bbox": [1, 2, 3]},
        {**good, "id": 4, "keypoints": [float("nan")] * 51},
        {**good, "id": 5, "image_id": [1]},
        {**good, "id": 6, "area": -1},
        {**good, "id": 7, "area": float("nan")},
        {**good, "id": 1 << 70},
    ]
    silent = [{**good, "iscrowd": 1}, {**good, "keypoints": [0] * 51}, {**good, "bbox": [5, 5, 0, 9]}]
    silent += [{**good, "bbox": None}, {**good, "image_id": 999}]
    people, problems = read_people({**content, "annotations": [good, *broken, *silent]}, folder, COCO_17)
    assert len(people) == 1 and {p.split()[1] for p in problems} == {*"1234567", str(1 << 70)} and len(problems) == 8
    named = {p.split()[1]: p for p in problems}
    assert "3 keypoint values instead of 51" in named["2"] and "bbox is [1, 2, 3]" in named["3"]
    with pytest.raises(InputError, match="no person with 'coco_17'"):
        read_people({**content, "annotations": silent}, folder, COCO_17)
    images = [*content["images"], 7, {"id": [1], "file_name": "a.jpg"}, {"id": 99, "file_name": None}]
    _, problems = read_people({**content, "images": images, "annotations": [good]}, folder, COCO_17)
    assert [p.split(":")[0] for p in problems] == [f"image number {len(content['images']) + i}" for i in range(3)]


def test_crowds_runs_of_lengths_and_missing_areas(folder: Path) -> None:
    """Segmentations are not looked at, whatever their kind; without an area the box's is taken."""
    content = read_annotations(folder / "annotations" / "train.json")
    good = {**content["annotations"][0], "bbox": [10, 10, 30, 50], "segmentation": {"counts": [5, 9], "size": [96, 64]}}
    without = {key: value for key, value in good.items() if key != "area"}
    crowd = {**good, "iscrowd": 1, "bbox": [0, 0, 90, 90]}
    people, problems = read_people({**content, "annotations": [without, crowd]}, folder, COCO_17)
    assert not problems and people.areas.tolist() == [1500]


def test_hidden_points_count_as_labelled(folder: Path) -> None:
    content = read_annotations(folder / "annotations" / "train.json")
    annotation = json.loads(json.dumps(content["annotations"][0]))
    annotation["keypoints"][2::3] = [0, 1, 2] + [2] * 14
    people, _ = read_people({**content, "annotations": [annotation]}, folder, COCO_17)
    assert people.visibility[0, :3].tolist() == [0, 1, 1]


def test_points_of_low_confidence_are_labelled_and_have_a_target(folder: Path) -> None:
    """COCO-WholeBody's files have visibilities of .3 on hands and faces; the released pipeline takes them for 1."""
    content = read_annotations(folder / "annotations" / "train.json")
    annotation = json.loads(json.dumps(content["annotations"][0]))
    annotation["keypoints"][2::3] = [0.3, 0.04] + [1] * 15
    people, _ = read_people({**content, "annotations": [annotation]}, folder / "images", COCO_17)
    assert people.visibility[0].tolist() == [1] * 17
    sample = PeopleSamples(people, NOTHING, SMALL)[(0, 0)]
    assert sample["rows"][:2].max(axis=1).min() > 0.9 and sample["weights"].tolist() == [1] * 17


def test_annotations_that_are_missing_or_empty_name_the_file_and_what_to_do(tmp_path: Path) -> None:
    data = DataRecipe(root=str(tmp_path), val_annotations="val.json")
    with pytest.raises(InputError, match=r"no annotations .*val.json: set root and val_.*--validation.people 0"):
        load_people(data, "val")
    with pytest.raises(InputError, match=r"set root and train_annotations of the data$"):
        load_people(data, "train")
    (tmp_path / "val.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(InputError, match=r"val.json: no person with 'coco_17' keypoints"):
        load_people(data, "val")


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("[]", "COCO's format"), (None, "cannot read")])
def test_files_that_are_no_annotations(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_annotations(path)


@pytest.mark.skipif(not COCO.exists(), reason="needs ../shared/data/coco_samples")
def test_coco_and_wholebody_files() -> None:
    body, problems = read_people(read_annotations(COCO / "test_coco.json"), COCO, COCO_17)
    whole, more = read_people(read_annotations(COCO / "test_coco_wholebody.json"), COCO, COCO_WHOLEBODY_133)
    assert not problems and not more and body.keypoints.shape[1] == 17 and whole.keypoints.shape[1] == 133
    shared = {int(i): n for n, i in enumerate(body.annotation_ids)}
    for row, annotation in enumerate(whole.annotation_ids):
        np.testing.assert_array_equal(whole.keypoints[row, :17], body.keypoints[shared[int(annotation)]])
    sample = PeopleSamples(whole, AugmentationRecipe(), replace(SMALL, input_size=(192, 256), min_visible=8))[(0, 0)]
    assert sample["rows"].shape == (133, 64) and sample["input"].shape == (256, 192, 3)


def test_the_weights_of_own_keypoints_carry_the_set() -> None:
    for points in (PEN, HAND, COCO_17):
        config = config_of(Recipe(), Stage(epochs=1), points, UNetConfig(), VAEConfig())
        assert config.skeleton == points
    assert config.keypoint_names == () and config.flip_pairs is None  # of a known set


def test_own_keypoints_from_a_toml_and_from_the_category(tmp_path: Path) -> None:
    (tmp_path / "hand.toml").write_text(
        'name = "pen_4"\nnames = ["left_end", "right_end", "tip", "cap"]\nlinks = [["tip", "cap"], [0, 1]]\n'
        "sigmas = [0.1, 0.1, 0.05, 0.05]\n"
    )
    pen = find_keypoint_set(str(tmp_path / "hand.toml"))
    assert (pen.name, len(pen), pen.links, pen.flip_pairs) == ("pen_4", 4, ((2, 3), (0, 1)), ((0, 1),))
    category = {"name": "pen", "keypoints": list(pen.names), "skeleton": [[3, 4]], "flip_pairs": [[0, 1]]}
    own = from_category([{"name": "nothing"}, category])
    assert (own.name, own.links, own.flip_pairs) == ("pen_4", ((2, 3),), ((0, 1),))
    assert from_category([{"name": "person", "keypoints": list(COCO_17.names)}]) is COCO_17
    for table, message in (('name = "x"', "needs 'name' and 'names'"), ('nam = "x"', "unknown keys nam")):
        (tmp_path / "bad.toml").write_text(table)
        with pytest.raises(InputError, match=message):
            find_keypoint_set(str(tmp_path / "bad.toml"))
    with pytest.raises(InputError, match="no category"):
        find_keypoint_set("annotations", [])
    (tmp_path / "bad.toml").write_text('name = "x"\nnames = ["a", "b"]\nsigmas = [0.1, 0]')
    with pytest.raises(InputError, match="expected numbers above 0"):
        find_keypoint_set(str(tmp_path / "bad.toml"))


SET = 'name = "x"\nnames = ["a", "b"]\n'


@pytest.mark.parametrize(("text", "message"), [
    ('name = ["x"]\nnames = ["a"]', "'name': expected a text in one line"),
    ('name = "x\\n"\nnames = ["a"]', "'name': expected a text in one line"),
    ('name = "x"\nnames = "ab"', "'names': expected a list of names"),
    ('name = "x"\nnames = ["a\\nb"]', "'names': expected a list of names"),
    ('name = "x"\nnames = ["a", ""]', "'names': expected a list of names"),
    ('name = "x"\nnames = ["a", 2]', "'names': expected a list of names"),
    (SET + 'links = "ab"', "'links': expected a list of pairs"),
    (SET + 'links = ["ab"]', "a pair in 'links': expected a list of names or numbers"),
    (SET + "links = [[true, false]]", "a pair in 'links': expected a list of names or numbers"),
    (SET + 'links = [["a"]]', "'links': expected pairs of two different points"),
    (SET + 'links = [["a", "a"]]', "'links': expected pairs of two different points"),
    (SET + 'links = [["a", "c"]]', r"a\.toml: keypoint set 'x' has no keypoint 'c'"),
    (SET + "links = [[0, 2]]", "outside 0..1"),
    (SET + "flip_pairs = 3", "'flip_pairs': expected a list of pairs"),
    (SET + "sigmas = 0.1", "'sigmas': expected numbers above 0"),
    (SET + "sigmas = [0.1, true]", "'sigmas': expected numbers above 0"),
    (SET + "sigmas = [0.1]", "expected 2 sigmas"),
    (SET + "upper_body = [7]", "outside 0..1"),
])  # fmt: skip
def test_a_set_that_weights_could_not_carry_is_refused_before_training(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        find_keypoint_set(str(tmp_path / "a.toml"))


def test_a_set_of_any_printable_names_comes_back_from_its_description(tmp_path: Path) -> None:
    (tmp_path / "a.TOML").write_text(
        'name = "my \\"set\\""\nnames = ["left eye", "right eye", "\u9f3b"]\nlinks = [["\u9f3b", 0]]', encoding="utf-8"
    )
    found = find_keypoint_set(str(tmp_path / "a.TOML"))
    assert (found.links, found.flip_pairs) == (((2, 0),), ((0, 1),))
    assert skeleton_of(found.name, 3, described(found)) == found


@pytest.mark.parametrize(("categories", "message"), [
    (None, "list of objects"),
    ([5], "list of objects"),
    ([{"name": "x", "keypoints": 5}], "list of names"),
    ([{"name": "x", "keypoints": ["a", "b"], "skeleton": [1, 2]}], "'skeleton': expected"),
    ([{"name": "x", "keypoints": ["a", "b"]}, {"name": "car", "keypoints": ["a", "c"]}], "different keypoints .x; car"),
])  # fmt: skip
def test_categories_that_are_no_keypoint_set(categories: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_keypoint_set("annotations", categories)  # type: ignore[arg-type]


def test_mirrored_crops_are_the_crops_of_mirrored_pictures(people: People) -> None:
    image = read_picture(people.files[0])
    before = place(people.keypoints[0], people.visibility[0], people.boxes_xyxy[0])
    straight = warp(image, before.warp_matrix((64, 128)), (64, 128))
    flipped = warp(cv2.flip(image, 1), mirror(before, image.shape[1], COCO_17).warp_matrix((64, 128)), (64, 128))
    assert np.abs(flipped[:, ::-1].astype(int) - straight).mean() < 1


WORKERS_OF_A_LOADER = """
import itertools, multiprocessing, os, signal, sys
sys.path.insert(0, sys.argv[1])
from sdpose_training.data.samples import Batches, quiet_worker
from torch.utils.data import DataLoader
batches = Batches(DataLoader(range(1000), num_workers=2, worker_init_fn=quiet_worker))
started = [next(batches), next(batches)]  # one of each
workers = multiprocessing.active_children()
for worker in workers:
    os.kill(worker.pid, signal.SIGTERM)
print(len(workers), sum(int(batch) for batch in itertools.islice(batches, 100)), flush=True)
batches.close()
"""


@pytest.mark.slow  # three processes that load PyTorch
def test_workers_end_with_the_trainer_and_not_before() -> None:
    """With batches still under way at the end, when a program once waited for its workers for ever."""
    line = [sys.executable, "-c", WORKERS_OF_A_LOADER, str(ROOT / "training")]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=900, check=False)
    assert (ended.returncode, ended.stdout) == (0, f"2 {sum(range(2, 102))}\n"), ended.stderr


@pytest.mark.parametrize(("error", "killed"), [
    (EOFError, True), (ConnectionResetError, True), (ConnectionRefusedError, True), (FileNotFoundError, True),
    (EOFError, False),
])  # fmt: skip
def test_a_worker_killed_while_it_hands_over_a_batch_is_a_lost_worker(error: type[Exception], killed: bool) -> None:
    batches = Batches(DataLoader(range(4), num_workers=0))
    process = multiprocessing.get_context("fork").Process(target=signal.pause)
    process.start()

    def fail() -> Iterator[dict]:
        if killed:
            process.kill()
        raise error("of a socket")
        yield {}

    batches._batches, batches._workers = fail(), [process]
    try:
        with pytest.raises(LostWorker if killed else error):
            next(batches)
    finally:
        process.kill()
        process.join()


def test_the_pictures_of_a_folder_by_code_points_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("f10.png", "f2.JPG", "f3.jfif", "f4.mpo", "._f2.JPG", ".f.png", "notes.txt"):
        (tmp_path / name).touch()
    names = [path.name for path in pictures_in(tmp_path, "--pictures")]
    assert names == ["f10.png", "f2.JPG", "f3.jfif", "f4.mpo"], "seeds choose by this order"
    assert [path.name for path in pictures_in(tmp_path, "--pictures", COMMON_SUFFIXES)] == ["f10.png", "f2.JPG"]


def test_a_script_prints_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", output)

    def fail() -> None:
        print("\u65e5\u672c.png")
        raise InputError("\u7d75: no such file")

    assert exit_status("train", fail) == 1
    assert output.buffer.getvalue() == b"\\u65e5\\u672c.png\ntrain: \\u7d75: no such file\n"
