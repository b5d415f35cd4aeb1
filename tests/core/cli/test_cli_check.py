"""`--check` of `sdpose info`, `video` and `batch`."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_ins import RunHere, StandInDetector, StandInEstimator
from video_files import write

from sdpose_core.annotate import clip
from sdpose_core.cli import batch as cli_batch
from sdpose_core.cli import check
from sdpose_core.cli import video as cli_video
from sdpose_core.cli.main import main
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.sequences.distrust import REASONS

SIZE = (64, 48)


class Jittery(StandInEstimator):
    """One person per box; in every third frame of bad videos, the left wrist is elsewhere, with a low score."""

    def estimate(self, images: Any, boxes: Any, **_: Any) -> list[Poses]:
        return [self._one(picture, found) for picture, found in zip(images, boxes, strict=True)]

    def _one(self, picture: np.ndarray, boxes: np.ndarray) -> Poses:
        spread = np.c_[np.linspace(0.2, 0.8, 17), np.linspace(0.1, 0.9, 17) ** 2]
        points = boxes[:, None, :2] + spread * (boxes[:, None, 2:4] - boxes[:, None, :2])
        scores = np.full((len(boxes), 17), 0.9)
        if picture[-1, -1, 1] > 0 and picture[0, 0, 0] % 3 == 1:
            points[:, 9] += (5, -5)
            scores[:, 9] = 0.35
        return Poses(points, scores, boxes, SIZE, "coco_17")


def by_scores(sequence: PoseSequence, raw: PoseSequence | None = None) -> PoseSequence:
    """In place of `with_distrust`, whose figures depend on its calibration: low scores are jumps."""
    low = sequence.scores < 0.5
    reasons = low.astype(np.uint16) << REASONS.index("jump")
    return replace(sequence, distrust=np.where(low, 0.9, 0.1), distrust_reasons=reasons)


class Whole(StandInDetector):
    def detect(self, _picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array([[10, 2, 40, 46]], np.float32), np.ones(1, np.float32)


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two videos, "good" and "bad", whose wrist jumps."""
    for name, mark in (("good", 0), ("bad", 255)):
        frames = [np.full((SIZE[1], SIZE[0], 3), 90, np.uint8) for _ in range(12)]
        for number, frame in enumerate(frames):
            frame[0, 0], frame[-1, -1] = number, mark
        (tmp_path / "in").mkdir(exist_ok=True)
        write(tmp_path / "in" / f"{name}.mp4", frames)
    for module in (clip, check):
        monkeypatch.setattr(module, "with_distrust", by_scores)
    for module in (cli_batch, cli_video):
        monkeypatch.setattr(module, "make_estimator", lambda _args: Jittery())
        monkeypatch.setattr(module, "make_clip_detector", lambda _args: Whole())
    monkeypatch.setattr(cli_batch, "ChildRun", RunHere)
    return tmp_path / "in"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_batch_sorts_its_videos_and_shows_the_worst_frames(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    words = ["batch", str(videos), "-o", str(out), "--check", "--no-clean"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}/manifest.jsonl\n"
    assert printed.err.index("check: bad:") < printed.err.index("check: good:")
    by_name, by_distrust = lines(out / "manifest.jsonl"), lines(out / "manifest_by_distrust.jsonl")
    assert [line["name"] for line in by_distrust] == ["bad", "good"]
    assert sorted(map(str, by_name)) == sorted(map(str, by_distrust))
    bad, good = by_distrust
    assert bad["distrust"]["doubtful"] > good["distrust"]["doubtful"]
    assert bad["distrust"]["worst"][0]["frame"] % 3 == 1 and "left_wrist" in bad["distrust"]["worst"][0]["points"]
    page = (out / "check.html").read_text()
    assert "<h2>bad</h2>" in page and "data:image/webp" in page
    for again in (words, [word for word in words if word != "--check"]):
        assert main(again) == 0
        kept = lines(out / "manifest.jsonl")
        assert [(line["status"], line["distrust"]) for line in kept] == [("kept", line["distrust"]) for line in by_name]


def test_batch_without_check_writes_none_of_it(videos: Path, tmp_path: Path) -> None:
    assert main(["batch", str(videos), "-o", str(tmp_path / "out")]) == 0
    assert not {"check.html", "manifest_by_distrust.jsonl"} & {f.name for f in (tmp_path / "out").iterdir()}
    assert all(line["distrust"] == {} for line in lines(tmp_path / "out" / "manifest.jsonl"))


def test_batch_does_not_replace_a_page_of_somebody_else(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "check.html").write_text("mine")
    assert main(["batch", str(videos), "-o", str(tmp_path), "--check"]) == 2
    assert "check.html exists" in capsys.readouterr().err
    assert (tmp_path / "check.html").read_text() == "mine"


def test_video_names_the_worst_frames_and_the_review(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    bad = videos / "bad.mp4"
    assert main(["video", str(bad), "-o", str(tmp_path / "out"), "--check", "--no-clean"]) == 0
    said = capsys.readouterr().err
    assert "check: " in said and "of the points are doubtful" in said and "left_wrist" in said
    assert f"sdpose review {tmp_path / 'out' / 'bad.pose.npz'} --video {bad}" in said
    assert PoseSequence.load(tmp_path / "out" / "bad.pose.npz").distrust is not None
    assert main(["video", str(bad), "-o", str(tmp_path / "out"), "--no-clean"]) == 0
    assert "check:" not in capsys.readouterr().err


def test_info_lists_the_doubtful_frames_of_each_person(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    shape = (200, 1, 17)
    distrust, reasons = np.full(shape, 0.1), np.zeros(shape, np.uint16)
    distrust[10::25, 0, 9] = np.linspace(0.6, 0.95, 8)
    reasons[10::25, 0, 9] = 1 << REASONS.index("jump")
    PoseSequence(
        np.full((*shape, 2), 5.0), np.ones(shape), np.tile([1, 1, 9, 9, 1], (200, 1, 1)), np.zeros((200, 1)),
        np.arange(200), np.arange(200) / 25, (20, 20), Fraction(25), "coco_17", {}, distrust, reasons,
    ).save(tmp_path / "a.pose.npz")  # fmt: skip
    assert main(["info", str(tmp_path / "a.pose.npz"), "--check"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "check: 0.2% of the points are doubtful (distrust of .5 or more)" in said
    assert "    frame 185 (7.4 s), person 0: 95% likely to be wrong (jump; left_wrist)" in said
    assert "    ... and 3 more (--json shows all)" in said
    assert main(["info", str(tmp_path / "a.pose.npz"), "--check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["check"]
    assert [doubt["frame"] for doubt in found["people"][0]["worst"]] == [10 + 25 * n for n in range(7, -1, -1)]
    assert main(["info", str(tmp_path / "a.pose.npz")]) == 0
    assert "of the points" not in capsys.readouterr().out


def test_info_computes_what_is_not_there(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["video", str(videos / "bad.mp4"), "-o", str(tmp_path), "--no-clean"]) == 0
    before = (tmp_path / "bad.pose.npz").read_bytes()
    capsys.readouterr()
    assert main(["info", str(tmp_path / "bad.pose.npz"), "--check"]) == 0
    assert "left_wrist" in capsys.readouterr().out
    assert (tmp_path / "bad.pose.npz").read_bytes() == before
    assert main(["info", str(videos / "bad.mp4"), "--check"]) == 1
    assert "sdpose video --check" in capsys.readouterr().err
