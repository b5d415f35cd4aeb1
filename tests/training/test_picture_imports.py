"""Stylized pictures made elsewhere: known shifts and scales are measured, and only aligned pictures are taken in."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from alignment_check import moved_by
from paths import ROOT

import make_coco_ood
from sdpose_core.errors import InputError
from sdpose_core.images import read_image, write_png
from sdpose_training.styles.alignment import MIN_CONFIDENCE, measure
from sdpose_training.styles.filters import FILTERS
from sdpose_training.styles.folder import SETTINGS
from sdpose_training.styles.imports import REPORT

DATA = ROOT / "tests" / "data"
MOVES = [((1.5, -1), 1.0), ((-12, 16), 1.0), ((3, 0), 1.1), ((-9, -7), 0.92)]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return cv2.resize(read_image(DATA / "astronaut.png"), (240, 200), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("style", ["photo", *FILTERS])
def test_known_moves_of_stylized_pictures_are_measured(style: str, photo: np.ndarray) -> None:
    stylized = photo if style == "photo" else FILTERS[style](photo)
    for shift, scale in MOVES:
        moved, truth = moved_by(stylized, shift, scale, cv2.BORDER_CONSTANT)
        found = measure(photo, moved)
        assert found.confidence >= MIN_CONFIDENCE
        assert np.hypot(*np.subtract(found.shift, truth.shift)) < 1
        assert found.scale == pytest.approx(scale, abs=0.01)
        assert found.offset == pytest.approx(truth.offset, abs=1.5)


def test_lengths_are_pixels_of_the_photo_whatever_is_compared(photo: np.ndarray) -> None:
    large = cv2.resize(photo, None, fx=3, fy=3)
    moved, _ = moved_by(large, (30, -12), 1.0, cv2.BORDER_REPLICATE)
    found = measure(large, moved)
    assert found.shift == pytest.approx((30, -12), abs=1)
    assert found.offset == pytest.approx(np.hypot(30, 12), abs=2)


def test_redrawn_parts_show_as_bend_and_other_pictures_as_unsure(photo: np.ndarray) -> None:
    redrawn = photo.copy()
    redrawn[110:] = np.roll(photo, 6, axis=1)[110:]  # the lower half went to the right
    assert measure(photo, redrawn).bend > 3
    assert measure(photo, photo).bend < 0.5
    other = cv2.resize(read_image(DATA / "grace_hopper.jpg"), photo.shape[1::-1])
    for image in (other, np.full_like(photo, 200), np.random.default_rng(0).integers(0, 256, photo.shape, np.uint8)):
        assert measure(photo, image).confidence < MIN_CONFIDENCE
    with pytest.raises(InputError, match="240 x 200 and 239 x 200"):
        measure(photo, photo[:, 1:])
    assert measure(photo[:9, :9], photo[:9, :9]).confidence == 0  # too small to say anything


NAMES = ("a.jpg", "b.jpg", "c.png", "d.jpg")


@pytest.fixture
def coco(tmp_path: Path, photo: np.ndarray) -> Path:
    """Four photos with a person each; STYLIZED has them as sketches, some with another suffix or size."""
    root, stylized = tmp_path / "people", tmp_path / "STYLIZED"
    views = [photo, photo[:, ::-1], photo[::-1], photo[::-1, ::-1]]
    for name, view in zip(NAMES, views, strict=True):
        make_coco_ood.write_picture(root / "images" / name, view, 95)
        make_coco_ood.write_picture(stylized / name, FILTERS["sketch"](np.ascontiguousarray(view)), 95)
    images = [{"id": i, "file_name": name, "width": 240, "height": 200} for i, name in enumerate(NAMES)]
    people = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [2, 2, 90, 90], "area": 840, "keypoints": [9, 9, 2] * 17}
        for i in range(len(NAMES))
    ]
    (root / "annotations").mkdir()
    (root / "annotations" / "val.json").write_text(json.dumps({"images": images, "annotations": people}))
    return root


def run(coco: Path, *more: object) -> int:
    command = ["--style", "import", "--folder", coco.parent / "STYLIZED", "--style-name", "pencil", "--data.root", coco]
    return make_coco_ood.main([str(argument) for argument in (*command, *more)])


def replace_by(coco: Path, name: str, change) -> None:
    path = coco.parent / "STYLIZED" / name
    write_png(path.with_suffix(".png"), change(read_image(path)))
    if path.suffix != ".png":
        path.unlink()


def moved(image: np.ndarray) -> np.ndarray:
    return moved_by(image, (12, 5), 1.0, cv2.BORDER_REPLICATE)[0]


def test_aligned_pictures_are_taken_in_with_the_photos_names_and_sizes(coco: Path, capsys) -> None:
    replace_by(coco, "b.jpg", lambda image: cv2.resize(image, (480, 398)))
    before = (coco.parent / "STYLIZED" / "a.jpg").read_bytes()
    assert run(coco) == 0
    made = coco / "imagespencil"
    assert sorted(path.name for path in made.iterdir()) == [*NAMES[:1], REPORT, *NAMES[1:], SETTINGS]
    assert (made / "a.jpg").read_bytes() == before  # not encoded again
    assert read_image(made / "b.jpg").shape == (200, 240, 3)
    out = capsys.readouterr().out
    assert "4 pictures: 4 aligned (limit: 5 px of the photo)" in out
    assert "1 had another size" in out
    rows = json.loads((made / REPORT).read_text())["pictures"]
    assert [row["name"] for row in rows] == list(NAMES)
    assert all(row["offset"] < 2 and row["verdict"] == "aligned" for row in rows)
    assert rows[1]["resized_from"] == [480, 398]
    assert not list((coco / "annotations").glob("*_pencil.json"))  # nothing was left out


def test_one_moved_picture_refuses_all_until_it_is_left_out(coco: Path, capsys) -> None:
    replace_by(coco, "d.jpg", moved)
    assert run(coco) == 1
    message = capsys.readouterr().err
    assert "1 of 4 pictures do not fit, the first d.jpg: 13." in message
    assert "--leave-out" in message
    assert [path.name for path in (coco / "imagespencil").iterdir()] == [REPORT]
    assert run(coco, "--leave-out") == 0
    assert not (coco / "imagespencil" / "d.jpg").exists()
    subset = json.loads((coco / "annotations" / "val_pencil.json").read_text())
    assert [image["file_name"] for image in subset["images"]] == ["a.jpg", "b.jpg", "c.png"]
    assert [person["image_id"] for person in subset["annotations"]] == [0, 1, 2]
    assert run(coco, "--leave-out", "--max-offset", 30) == 1  # a folder holds one limit
    assert "max_offset was 5.0, now 30.0" in capsys.readouterr().err


def test_a_larger_limit_after_a_refusal_takes_all(coco: Path, capsys) -> None:
    replace_by(coco, "d.jpg", moved)
    assert run(coco) == 1
    assert run(coco, "--max-offset", 30) == 0
    assert "4 of 4 pictures" in capsys.readouterr().out


def test_every_reason_is_said_and_a_changed_file_is_checked_again(coco: Path, capsys) -> None:
    folder = coco.parent / "STYLIZED"
    replace_by(coco, "a.jpg", lambda image: image[:, :130])
    replace_by(coco, "b.jpg", np.zeros_like)
    (folder / "c.png").write_bytes(b"no picture")
    (folder / "d.jpg").unlink()
    assert run(coco, "--leave-out") == 1
    said = capsys.readouterr().err
    assert "none fits" in said and "a.jpg: other shape (130 x 200, the photo 240 x 200)" in said
    rows = json.loads((coco / "imagespencil" / REPORT).read_text())["pictures"]
    assert [row["verdict"] for row in rows] == ["other shape", "cannot be measured", "unreadable", "missing"]
    make_coco_ood.write_picture(folder / "d.jpg", read_image(coco / "images" / "d.jpg"), 95)
    assert run(coco, "--leave-out") == 0
    out = capsys.readouterr().out
    assert "1 other shape, 1 cannot be measured, 1 unreadable, 1 aligned" in out
    assert "1 of 4 pictures" in out


@pytest.mark.parametrize(("arguments", "message"), [
    (["--folder", "nowhere"], "no such folder"), (["--style-name", "a/b"], "letters, digits"),
    (["--max-offset", "nan"], "pixels above 0"), (["--folder", "EMPTY"], "no pictures in it"),
    (["--folder", "OTHER"], "no picture in it has a photo's name; it has x.png, the photos are a.jpg"),
])  # fmt: skip
def test_what_cannot_be_imported_is_named(
    coco: Path, arguments: list[str], message: str, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(coco.parent)
    Path("EMPTY").mkdir()
    write_png(Path("OTHER", "x.png"), np.zeros((8, 8, 3), np.uint8))
    assert run(coco, *arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [
    ["--style", "import", "--folder", "."], ["--style", "import", "--style-name", "x"],
    ["--style", "oil", "--folder", "."], ["--style", "sketch", "--leave-out"],
    ["--style", "import", "--folder", ".", "--style-name", "x", "--shard", "1/2"],
])  # fmt: skip
def test_options_that_do_not_go_together_end_with_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        make_coco_ood.main([*arguments, "--data.root", "."])
    assert stop.value.code == 2
