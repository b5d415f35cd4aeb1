"""The contact sheet: order, escaping, links, thumbnails, and whose file it is."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from sdpose_core.annotate.sheet import THUMBNAIL, Row, check_sheet, make_row, write_sheet
from sdpose_core.errors import InputError
from sdpose_core.images import read_image
from sdpose_core.poses import Poses, PoseSequence

SIZE = (640, 480)


def poses(*scores: float, **meta: object) -> Poses:
    """People whose body points all have one score; those below 0.3 are not there."""
    keypoints = np.random.default_rng(0).uniform(50, 400, (len(scores), 17, 2))
    shares = np.repeat(np.asarray(scores, float)[:, None], 17, axis=1)
    shares[:, :5] = 0.1
    return Poses(keypoints, shares, np.tile([9, 9, 600, 400, 1.0], (len(scores), 1)), SIZE, "coco_17", meta=meta)


def row(folder: Path, name: str, *frames: Poses) -> Row:
    file = folder / f"{name}.pose.npz"
    PoseSequence.from_poses(frames, frame_index=[3 * n for n in range(len(frames))]).save(file)
    start = Row(name, folder / "in" / f"{name}.jpg", "done", "a message")
    return make_row(start, file, lambda index: np.full((480, 640, 3), index, np.uint8), 0.3)


class Page(HTMLParser):
    """The tags with their attributes, and the text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, attribute: str) -> list[str]:
        return [str(found[attribute]) for name, found in self.tags if name == tag and attribute in found]


def test_the_worst_come_first(tmp_path: Path) -> None:
    rows = [row(tmp_path, "good", poses(0.9)), row(tmp_path, "two", poses(0.8, 0.4)), row(tmp_path, "bad", poses(0.5))]
    rows += [row(tmp_path, "empty", poses()), Row("broken", tmp_path / "x.jpg", "failed", "it is damaged")]
    assert [r.score for r in rows] == pytest.approx([0.9, 0.6, 0.5, None, None])
    assert rows[1].scores == pytest.approx((0.8, 0.4))
    write_sheet(tmp_path / "sheet.html", rows)
    text = Page(tmp_path / "sheet.html").text
    places = [text.index(f"\n{name}\n") for name in ("broken", "empty", "bad", "two", "good")]
    assert places == sorted(places)
    for phrase in ("5 inputs, 1 failed, 1 with nobody", "it is damaged", "2 people, score 0.60 (0.80, 0.40)"):
        assert phrase in text
    assert text.count("nobody found") == 2, "in the summary, and at the picture"


def test_points_that_are_not_there_do_not_count(tmp_path: Path) -> None:
    points, scores = (np.array(values) for values in (poses(0.9).keypoints, poses(0.9).scores))
    points[0, 10:], scores[0, 10:] = np.nan, 0.35
    assert row(tmp_path, "a", replace(poses(0.9), keypoints=points, scores=scores)).score == pytest.approx(0.9)
    assert row(tmp_path, "b", poses(0.2)).scores == (0.0,), "a person without a point that is there"


def test_a_clip_shows_its_worst_frame(tmp_path: Path) -> None:
    made = row(tmp_path, "clip", poses(0.9), poses(), poses(0.5, 0.4), poses(0.7))
    assert made.shown == "frame 6"
    shown = np.asarray(Image.open(io.BytesIO(made.picture)).convert("RGB"))
    assert np.abs(shown.astype(int) - 6).max() <= 2
    assert shown.shape == (THUMBNAIL * 3 // 4, THUMBNAIL, 3)
    assert made.scores == pytest.approx(((0.9 + 0.5 + 0.7) / 3, 0.4), abs=1e-3)


def test_names_and_messages_are_text(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)> \"&' #50%?"
    made = row(tmp_path, name, poses(0.9, boxes_found=["<b>tile</b>"]))
    (tmp_path / f"{name}_overlay.png").touch()
    made = make_row(made, tmp_path / f"{name}.pose.npz", lambda _: np.zeros((9, 9, 3), np.uint8), 0.3)
    write_sheet(tmp_path / "sheet.html", [made])
    page = Page(tmp_path / "sheet.html")
    assert [tag for tag, _ in page.tags if tag in ("script", "b")] == []
    assert len(page.all("img", "src")) == 2 and all(
        s.startswith("data:image/webp;base64,") for s in page.all("img", "src")
    )
    assert name in page.text and "<b>tile</b>" in page.text
    links = page.all("a", "href")
    assert [unquote(link) for link in dict.fromkeys(links)] == [
        f"in/{name}.jpg", f"{name}_overlay.png", f"{name}.pose.npz",
    ]  # fmt: skip
    assert not any(re.search(r"[<>\"' #?]", link) for link in links)
    assert not re.search(r"https?://", (tmp_path / "sheet.html").read_text(encoding="utf-8")), "it works offline"
    assert all(page.all("img", "alt"))


def test_results_in_a_subfolder_are_linked(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for end in ("_kps.mp4", "_kps_play.mp4"):
        (tmp_path / "a" / f"clip{end}").touch()
    write_sheet(tmp_path / "sheet.html", [row(tmp_path, "a/clip", poses(0.9), poses(0.8))])
    page = Page(tmp_path / "sheet.html")
    assert page.all("a", "href")[1] == "a/clip_kps_play.mp4", "the overlay's thumbnail leads to what plays"
    assert "source · pose.npz · kps.mp4 · kps_play.mp4" in page.text


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    def gone(_: int) -> np.ndarray:
        raise InputError("the picture is gone")

    made = row(tmp_path, "a", poses(0.9))
    again = make_row(Row("a", made.source, "kept"), tmp_path / "a.pose.npz", gone, 0.3)
    assert (again.message, again.scores, again.picture) == ("the picture is gone", made.scores, b"")
    (tmp_path / "a.pose.npz").write_bytes(b"damaged")
    assert "a.pose.npz" in make_row(Row("a", made.source, "kept"), tmp_path / "a.pose.npz", gone, 0.3).message
    write_sheet(tmp_path / "sheet.html", [again])


def test_a_page_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.html"
    check_sheet(sheet, overwrite=False)
    write_sheet(sheet, [])
    check_sheet(sheet, overwrite=False)
    sheet.write_text("<html>mine</html>", encoding="utf-8")
    with pytest.raises(InputError, match="no contact sheet of sdpose: use --overwrite"):
        check_sheet(sheet, overwrite=False)
    check_sheet(sheet, overwrite=True)


def test_a_jpeg_is_decoded_small_and_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (1600, 800), (200, 30, 30))
    image.paste((30, 30, 200), (0, 0, 800, 800))
    exif = Image.Exif()
    exif[274] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    small = read_image(tmp_path / "a.jpg", at_least=150)
    assert small.shape == (400, 200, 3)
    assert small[50, 100, 2] > 150 and small[350, 100, 0] > 150, "turned to the right: blue is above"
