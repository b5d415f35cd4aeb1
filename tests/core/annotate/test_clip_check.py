"""`check` of a clip: distrust in its poses, whatever was there before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_clip import RATE, ColorDetector, FigureEstimator, SyntheticClip

from sdpose_core.annotate.check_page import WorstFrame, check_row, worst_of_all, write_check_page
from sdpose_core.annotate.clip import ClipOutcome, annotate_clip, annotate_frames
from sdpose_core.annotate.clip_options import ClipOptions
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.sequences.distrust import with_distrust

FRAMES, JUMP, WRIST = 40, 20, 9
OPTIONS = ClipOptions(chunk=16, playable=False)


class JumpingEstimator(FigureEstimator):
    """The figures, but once a wrist is far away for three frames."""

    count = 0

    def estimate(self, images: Sequence[np.ndarray], boxes: Any, **more: Any) -> list[Poses]:
        found = super().estimate(images, boxes, **more)
        for number, poses in enumerate(found):
            if JUMP <= self.count < JUMP + 3:
                keypoints = np.array(poses.keypoints)
                keypoints[0, WRIST] += 30
                found[number] = replace(poses, keypoints=keypoints)
            self.count += 1
        return found


@pytest.fixture
def clip(tmp_path: Path) -> SyntheticClip:
    return SyntheticClip.make(tmp_path / "clip.json", FRAMES)


def annotate(clip: SyntheticClip, out: Path, options: ClipOptions, **settings: Any) -> ClipOutcome:
    settings = {"estimator": JumpingEstimator, "detector": ColorDetector} | settings
    return annotate_clip(clip, out, options=options, asked={}, name="clip", **settings)


def never() -> Any:
    raise AssertionError("no model is needed")


def load(out: Path) -> PoseSequence:
    return PoseSequence.load(out / "clip.pose.npz")


def in_memory(clip: SyntheticClip, options: ClipOptions) -> PoseSequence:
    return annotate_frames(
        clip.frames(), estimator=JumpingEstimator(), detector=ColorDetector(), options=options, frame_rate=RATE
    )


def test_distrust_is_of_the_poses_before_cleaning(clip: SyntheticClip, tmp_path: Path) -> None:
    outcome = annotate(clip, tmp_path / "out", replace(OPTIONS, check=True))
    found = load(tmp_path / "out")
    raw = in_memory(clip, replace(OPTIONS, clean=None, min_track=0.0))
    expected = with_distrust(found, raw)
    np.testing.assert_array_equal(found.distrust, expected.distrust)
    np.testing.assert_array_equal(found.distrust_reasons, expected.distrust_reasons)
    assert found.meta["distrust"]["calibration"].endswith("cleaned_raw")
    assert not np.array_equal(found.distrust, with_distrust(found).distrust, equal_nan=True)
    assert set(outcome.distrust) == {"doubtful", "frames", "worst", "calibrated"}


def test_without_check_nothing_is_computed(clip: SyntheticClip, tmp_path: Path) -> None:
    outcome = annotate(clip, tmp_path / "out", OPTIONS)
    assert load(tmp_path / "out").distrust is None and outcome.distrust == {}


def test_a_run_without_check_keeps_the_distrust_that_is_there(clip: SyntheticClip, tmp_path: Path) -> None:
    annotate(clip, tmp_path / "out", replace(OPTIONS, check=True))
    before = {file: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    outcome = annotate(clip, tmp_path / "out", OPTIONS, estimator=never, detector=never)
    assert outcome.status == "kept" and outcome.distrust == {}
    assert {file: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before


def test_a_run_with_check_adds_distrust_to_kept_poses_without_a_model(clip: SyntheticClip, tmp_path: Path) -> None:
    out = tmp_path / "out"
    annotate(clip, out, OPTIONS)
    before = load(out)
    settings = {"estimator": never, "detector": never}
    first = annotate(clip, out, replace(OPTIONS, check=True), **settings)
    after = load(out)
    np.testing.assert_array_equal(after.keypoints, before.keypoints)
    np.testing.assert_array_equal(after.distrust, with_distrust(before).distrust)
    assert first.distrust["worst"] or first.distrust["frames"] == 0
    second = annotate(clip, out, replace(OPTIONS, check=True), **settings)
    assert (second.status, second.distrust) == ("kept", first.distrust)


# --- the page of the worst frames ------------------------------------------------------------------------------------


def doubt(frame: int, distrust: float, **more: Any) -> dict[str, Any]:
    return {"frame": frame, "seconds": frame / 25, "id": 0, "distrust": distrust, "reasons": ["jump"],
            "points": ["left_wrist"], **more}  # fmt: skip


def test_the_worst_of_all_clips_come_first() -> None:
    clips = [
        ("b", Path("b.mp4"), Path("b.npz"), {"worst": [doubt(3, 0.9), doubt(1, 0.6)]}),
        ("a", Path("a.mp4"), Path("a.npz"), {"worst": [doubt(7, 0.8)]}),
        ("c", Path("c.mp4"), Path("c.npz"), {}),
    ]
    assert [(w.name, w.doubt["frame"]) for w in worst_of_all(clips)] == [("b", 3), ("a", 7), ("b", 1)]
    assert len(worst_of_all(clips, most=2)) == 2


def test_a_page_shows_the_person_and_names_what_cannot_be_read(clip: SyntheticClip, tmp_path: Path) -> None:
    annotate(clip, tmp_path, OPTIONS)
    poses = tmp_path / "clip.pose.npz"
    asked: list[int] = []

    def read(number: int) -> np.ndarray:
        asked.append(number)
        return next(clip.frames(number)).image

    worst = [WorstFrame("<clip>", Path("clip.mp4"), poses, doubt(n, 0.9)) for n in (7, FRAMES + 5)]
    rows = [check_row(each, read, 0.3, style="controlnet", parts=None) for each in worst]
    assert asked == [7] and rows[0].picture and rows[0].overlay != rows[0].picture
    assert not rows[1].picture and f"has no frame {FRAMES + 5}" in rows[1].message
    write_check_page(tmp_path / "check.html", rows, 1)
    text = (tmp_path / "check.html").read_text()
    assert "&lt;clip&gt;" in text and "<clip>" not in text
    assert (
        "frame 7 (0.28 s), person 0: 90% likely to be wrong (jump; left_wrist)" in text
        and "2 frames to look at, of 1 clip" in text
    )
