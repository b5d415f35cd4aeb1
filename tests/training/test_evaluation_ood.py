"""COCO-OOD: painters and filters keep size and geometry, and the folder that make_coco_ood.py makes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from style_layouts import cyclegan_layout, random_state, stytr2_layout, tiny_cyclegan, tiny_stytr2, use_tiny_networks
from torch import nn

import make_coco_ood
from sdpose_core.errors import InputError
from sdpose_core.files import _machine
from sdpose_core.skeletons import COCO_17
from sdpose_training.data.annotations import read_annotations, read_people
from sdpose_training.data.pictures import read_picture
from sdpose_training.styles import painters as style_painters
from sdpose_training.styles.filters import FILTERS
from sdpose_training.styles.folder import SETTINGS

ODD_SIZES = [(37, 53), (64, 48), (5, 3), (17, 1)]  # (h, w)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_networks(monkeypatch)


# Painting: sizes, padding, the choice of the painting.


@pytest.mark.parametrize("size", ODD_SIZES)
def test_pictures_keep_their_size(size: tuple[int, int], tmp_path: Path) -> None:
    torch.manual_seed(0)
    _write_pictures(tmp_path, ["a.png"], [(40, 30)])
    picture = _noise(size)
    stytr2 = style_painters.stytr2_painter(tiny_stytr2(), [tmp_path / "a.png"], seed=0, max_side=1024)
    for paint in (stytr2, style_painters.cyclegan_painter(tiny_cyclegan(), max_side=1024)):
        painted = paint(picture, "x.jpg")
        assert painted.shape == picture.shape and painted.dtype == np.uint8
        assert np.array_equal(paint(picture, "x.jpg"), painted)


def test_large_pictures_are_worked_on_small_and_brought_back() -> None:
    seen: list[torch.Size] = []

    class Same(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.shape)
            return x

    picture = cv2.GaussianBlur(_noise((90, 200)), (0, 0), 9)
    painted = style_painters.cyclegan_painter(Same(), max_side=50)(picture, "")
    assert seen == [(1, 3, 24, 52)]
    assert painted.shape == picture.shape
    assert np.abs(painted.astype(int) - picture).mean() < 2
    exact = style_painters.cyclegan_painter(Same(), max_side=200)(picture, "")
    assert np.array_equal(exact, picture)


def test_padding_mirrors_beyond_the_right_and_lower_border() -> None:
    picture = _noise((18, 21))
    padded = style_painters.padded_to(picture, 8, 16)
    assert padded.shape == (24, 24, 3)
    assert np.array_equal(padded[:18, :21], picture)
    assert np.array_equal(padded[18:, :21], picture[16:10:-1])
    assert np.array_equal(padded[:18, 21:], picture[:, 19:16:-1])
    assert style_painters.padded_to(_noise((1, 2)), 4, 16).shape == (16, 16, 3)


def test_style_picture_covers_the_photo_with_its_middle() -> None:
    style = np.zeros((10, 40, 3), np.uint8)
    style[:, 15:25] = 200
    covered = style_painters.covering(style, (20, 20))
    assert covered.shape == (20, 20, 3)
    assert (covered == 200).mean() > 0.8
    for shape in ((7, 33), (33, 7), (10, 40), (1, 1)):
        assert style_painters.covering(style, shape).shape == (*shape, 3)


def test_choice_of_the_painting_depends_on_seed_and_name_alone_and_is_even() -> None:
    names = [f"{i:012d}.jpg" for i in range(3000)]
    first = [style_painters.chosen(5, 0, name) for name in names]
    assert first[:8] == [style_painters.chosen(5, 0, name) for name in names[:8]]
    assert first != [style_painters.chosen(5, 1, name) for name in names]
    assert np.bincount(first, minlength=5).min() > 520


def test_numbers_that_are_not_finite_are_an_error() -> None:
    model = tiny_cyclegan()
    nn.init.constant_(model.last.bias, float("nan"))
    with pytest.raises(InputError, match="not finite"):
        style_painters.cyclegan_painter(model, max_side=64)(_noise((20, 20)), "x")


# Filters.


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A red coat on a gray gradient, with some texture."""
    rng = np.random.default_rng(0)
    picture = np.repeat(np.linspace(90, 230, 160)[:, None, None], 240, axis=1) * np.ones(3)
    picture += cv2.GaussianBlur(rng.normal(0, 30, picture.shape), (0, 0), 2)
    picture[40:120, 80:150] = (190, 30, 40)
    return picture.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", FILTERS)
def test_filters_change_the_picture_and_nothing_else(name: str, photo: np.ndarray) -> None:
    before = photo.copy()
    painted = FILTERS[name](photo)
    assert painted.shape == photo.shape and painted.dtype == np.uint8
    assert np.array_equal(photo, before)
    assert np.array_equal(FILTERS[name](photo), painted)
    assert (painted != photo).any(axis=2).mean() > 0.7


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("size", [*ODD_SIZES, (1, 1), (2, 7)])
def test_filters_take_any_size_and_flat_pictures(name: str, size: tuple[int, int]) -> None:
    for picture in (_noise(size), np.zeros((*size, 3), np.uint8), np.full((*size, 3), 255, np.uint8)):
        assert FILTERS[name](picture).shape == picture.shape


def test_each_filter_looks_as_its_name_says(photo: np.ndarray) -> None:
    coat = (slice(50, 110), slice(90, 140))
    posterised = FILTERS["posterise"](photo)
    assert 4 <= len(np.unique(posterised.reshape(-1, 3), axis=0)) <= 9
    assert posterised[coat].astype(int)[..., 0].mean() - posterised[coat].astype(int)[..., 1].mean() > 100  # still red
    drawn = FILTERS["sketch"](photo).astype(int)
    assert (drawn.max(axis=2) - drawn.min(axis=2)).max() <= 12 and np.median(drawn) > 200  # gray on light paper
    lines = FILTERS["edge"](photo)
    assert np.median(lines) == 0 and lines[coat].max() < 40
    assert lines[40:120, 77:84].max(axis=(1, 2)).min() > 100  # the coat's left border, without a gap
    painted = FILTERS["oil"](photo)
    assert np.abs(painted[coat].mean(axis=(0, 1)) - photo[coat].mean(axis=(0, 1))).max() < 45
    assert cv2.Laplacian(FILTERS["oil"](_noise((96, 96))), cv2.CV_32F).std() < 300  # detail gives way to dabs


@pytest.mark.parametrize("name", ["oil", "posterise", "sketch"])
def test_filters_do_not_move_anything(name: str, photo: np.ndarray) -> None:
    gray = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32) for p in (photo, FILTERS[name](photo))]
    (dx, dy), _ = cv2.phaseCorrelate(cv2.Sobel(gray[0], cv2.CV_32F, 1, 0), cv2.Sobel(gray[1], cv2.CV_32F, 1, 0))
    assert abs(dx) < 0.5 and abs(dy) < 0.5


# The folder.


def _noise(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def _write_pictures(folder: Path, names: list[str], sizes: list[tuple[int, int]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, size) in enumerate(zip(names, sizes, strict=True)):
        cv2.imwrite(str(folder / name), cv2.GaussianBlur(_noise(size, seed), (0, 0), 3))


def _run(*arguments: object) -> int:
    return make_coco_ood.main([str(argument) for argument in arguments])


def _files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


NAMES = [f"{i:012d}.jpg" for i in (139, 285, 632, 724, 776)]
SIZES = [(48, 64), (51, 37), (33, 40), (64, 48), (40, 41)]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A COCO of five pictures with a person each, COCO-WholeBody's file beside it."""
    root = tmp_path / "COCO"
    _write_pictures(root / "val2017", NAMES, SIZES)
    images = [
        {"id": i, "file_name": n, "width": w, "height": h}
        for i, (n, (h, w)) in enumerate(zip(NAMES, SIZES, strict=True))
    ]
    people = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [2, 2, 30, 28], "area": 840, "keypoints": [9, 9, 2] * 17}
        for i in range(len(NAMES))
    ]
    (root / "annotations").mkdir()
    content = json.dumps({"images": images, "annotations": people, "categories": []}, indent=3)
    (root / "annotations" / "person_keypoints_val2017.json").write_text(content)
    (root / "annotations" / "coco_wholebody_val_v1.0.json").write_text("{ }")
    return root


def test_filtered_pictures_stand_beside_cocos_and_can_be_read_as_a_data_set(coco: Path, capsys) -> None:
    before = _files(coco)
    assert _run("--style", "oil", "--data.root", coco) == 0
    assert "5 of 5 pictures, 5 made now, 0 failed" in capsys.readouterr().out
    assert before.items() <= _files(coco).items()
    made = coco / "val2017filter_oil"
    assert sorted(_files(made)) == [*NAMES, SETTINGS]
    people, problems = read_people(
        read_annotations(coco / "annotations" / "person_keypoints_val2017.json"), made, COCO_17
    )
    assert len(people) == 5 and not problems
    for file, size in zip(people.files, people.picture_sizes, strict=True):
        painted = read_picture(file, tuple(size))  # raises where the size is not the annotated one
        assert not np.array_equal(painted, read_picture(coco / "val2017" / file.name, tuple(size)))


@pytest.mark.parametrize(("style", "folder"), [("ukiyoe", "val2017ukiyoe"), ("monet", "val2017oil")])
def test_painted_pictures_have_the_released_folders_names(
    tiny: None, coco: Path, tmp_path: Path, style: str, folder: str
) -> None:
    _write_pictures(tmp_path / "monets", ["a.png", "b.jpg"], [(40, 30), (24, 50)])
    parts = {"g": cyclegan_layout(2, 1)} if style == "ukiyoe" else stytr2_layout(16, 24, 1)
    for part, shapes in parts.items():
        torch.save(random_state(shapes), tmp_path / f"{part}.pth")
    weights = tmp_path / "w.safetensors"
    assert _run("convert", *(tmp_path / f"{part}.pth" for part in parts), weights, "--style", style) == 0
    more = ["--style-pictures", tmp_path / "monets"] if style == "monet" else []
    command = ["--style", style, "--weights", weights, "--data.root", coco, "--device", "cpu", *more]
    assert _run(*command) == 0
    for name, size in zip(NAMES, SIZES, strict=True):
        assert cv2.imread(str(coco / folder / name)).shape == (*size, 3)
    settings = json.loads((coco / folder / SETTINGS).read_text())["settings"]
    assert len(settings["weights_sha256"]) == 64 and settings["max_side"] == 1024
    if style == "monet":
        assert [name for name, _ in settings["style_pictures"]] == ["a.png", "b.jpg"]
        assert _run(*command, "--seed", 1) == 1  # other paintings: another folder


def test_shards_make_the_bytes_of_one_run(coco: Path, tmp_path: Path) -> None:
    assert _run("--style", "sketch", "--data.root", coco, "--out", tmp_path / "whole") == 0
    for shard in ("2/3", "1/3", "3/3"):
        assert _run("--style", "sketch", "--data.root", coco, "--out", tmp_path / "parts", "--shard", shard) == 0
    whole = _files(tmp_path / "whole")
    assert len([name for name in whole if name.endswith(".jpg")]) == 5
    assert _files(tmp_path / "parts") == whole


def test_annotations_are_copied_byte_for_byte_with_their_hash(coco: Path, tmp_path: Path, capsys) -> None:
    command = ["--style", "posterise", "--data.root", coco, "--out", tmp_path / "new"]
    assert _run(*command) == 0
    copied, source = _files(tmp_path / "new" / "annotations"), _files(coco / "annotations")
    assert copied == source and len(copied) == 2
    notes = json.loads((tmp_path / "new" / "val2017filter_posterise" / SETTINGS).read_text())["notes"]
    assert sorted(notes["annotations_sha256"]) == [f"annotations/{name}" for name in sorted(source)]
    (tmp_path / "new" / "annotations" / "coco_wholebody_val_v1.0.json").write_text("{}")
    assert _run(*command) == 1
    assert "coco_wholebody_val_v1.0.json differs from" in capsys.readouterr().err


def test_interrupted_runs_go_on(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["--style", "edge", "--data.root", coco]
    assert _run(*command) == 0
    made = coco / "val2017filter_edge"
    whole = _files(made)
    (made / NAMES[1]).unlink()
    left = made / f".{Path(NAMES[1]).stem}.abcd1234.{_machine()}.sdpose.part"
    left.mkdir()
    (left / "half.jpg").write_bytes(b"half")
    painted: list[str] = []
    write = make_coco_ood.write_picture
    monkeypatch.setattr(make_coco_ood, "write_picture", lambda p, *a: (painted.append(p.name), write(p, *a))[1])
    assert _run(*command) == 0
    assert painted == [NAMES[1]]
    assert _files(made) == whole


def test_one_folder_holds_one_style(coco: Path, tmp_path: Path, capsys) -> None:
    assert _run("--style", "edge", "--data.root", coco) == 0
    before = _files(coco)
    assert _run("--style", "edge", "--data.root", coco, "--quality", 80) == 1
    assert "jpeg_quality was 95, now 80" in capsys.readouterr().err
    (coco / "val2017filter_edge").rename(coco / "val2017filter_oil")
    assert _run("--style", "oil", "--data.root", coco) == 1
    assert "style was 'edge', now 'oil'" in capsys.readouterr().err
    (coco / "val2017filter_oil" / SETTINGS).unlink()
    assert _run("--style", "oil", "--data.root", coco) == 1
    assert "unknown origin" in capsys.readouterr().err
    assert set(before.values()) >= set(_files(coco).values())


def test_png_stays_png_and_damaged_pictures_are_named_and_counted(tmp_path: Path, capsys) -> None:
    root = tmp_path / "people"
    _write_pictures(root / "images", ["a.png", "b.png"], [(30, 20), (30, 20)])
    (root / "images" / "b.png").write_bytes(b"no picture at all")
    (root / "annotations").mkdir()
    content = {"images": [{"id": i, "file_name": n} for i, n in enumerate(["a.png", "b.png", "a.png"])]}
    (root / "annotations" / "val.json").write_text(json.dumps(content | {"annotations": []}))
    assert _run("--style", "sketch", "--data.root", root) == 1
    assert "1 of 2 pictures, 1 made now, 1 failed" in capsys.readouterr().out
    made = root / "imagesfilter_sketch"
    expected = FILTERS["sketch"](cv2.imread(str(root / "images" / "a.png"))[..., ::-1])
    assert np.array_equal(cv2.imread(str(made / "a.png"))[..., ::-1], expected)
    assert not (made / "b.png").exists()


@pytest.mark.parametrize(
    "name",
    ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg", "..\\x.jpg", "C:\\x.jpg", "x.gif", "a\0.jpg", "x" * 300 + ".jpg"],
)
def test_file_names_that_lead_elsewhere_or_cannot_be_written_are_refused(coco: Path, name: str, capsys) -> None:
    content = {"images": [{"id": 1, "file_name": name}], "annotations": []}
    (coco / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(content))
    assert _run("--style", "sketch", "--data.root", coco) == 1
    message = capsys.readouterr().err
    assert any(word in message for word in ("lies outside", "convert it first", "cannot be printed", "255 bytes"))
    assert not (coco / "val2017filter_sketch").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--style", "monet", "--data.root", "."],
        ["--style", "oil", "--weights", "w.safetensors", "--data.root", "."],
        ["--style", "monet", "--weights", "w.safetensors", "--data.root", "."],
        ["--style", "ukiyoe", "--weights", "w.safetensors", "--style-pictures", ".", "--data.root", "."],
        ["--style", "watercolor", "--data.root", "."],
        ["--style", "oil", "--data.root", ".", "--quality", "101"],
        ["convert", "a.pth", "b.safetensors", "--style", "oil"],
    ],
)
def test_wrong_usage_ends_with_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        _run(*arguments)
    assert stop.value.code == 2


def test_errors_end_with_status_1_and_one_line(coco: Path, tmp_path: Path, capsys) -> None:
    for arguments, message in [
        (["--style", "oil", "--data.root", tmp_path / "nowhere"], "no such folder"),
        (["--style", "oil", "--data.root", tmp_path], "give --data.annotations FILE"),
        (["--style", "oil", "--data.root", coco, "--data.images", "val"], "give --data.images FOLDER"),
        (["--style", "oil", "--data.root", coco, "--shard", "5/4"], "shard 5/4"),
        (["--style", "ukiyoe", "--weights", "w.safetensors", "--data.root", coco], "no such file"),
        (["--style", "ukiyoe", "--weights", "w", "--data.root", coco, "--device", "abacus"], "--device abacus"),
    ]:
        assert _run(*arguments) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_style_pictures_folder_must_hold_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures in it"):
        style_painters.find_style_pictures(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        style_painters.find_style_pictures(tmp_path / "absent")
