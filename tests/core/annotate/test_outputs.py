"""The table of outputs: what options ask for, the codecs, and that every name counts as a result."""

from __future__ import annotations

import pytest

from sdpose_core.annotate.clip_options import ClipOptions
from sdpose_core.annotate.outputs import OVERLAY, POSE_MAP, POSE_VIDEO, clip_outputs, picture_outputs
from sdpose_core.annotate.pictures import PictureOptions
from sdpose_core.origins import DRAWINGS
from sdpose_core.video.writer import CODECS


def test_what_options_ask_for() -> None:
    assert list(picture_outputs(PictureOptions())) == ["_pose.png", "_keypoints.json"]
    everything = picture_outputs(PictureOptions(overlay=True, compare=True))
    assert list(everything) == ["_pose.png", "_keypoints.json", "_overlay.png", "_compare.png"]
    assert list(clip_outputs(ClipOptions(), "lossless")) == ["_kps.mp4", "_kps_play.mp4"]
    assert list(clip_outputs(ClipOptions(playable=False, compare=True), "ffv1")) == ["_kps.mkv", "_compare.mp4"]
    assert list(clip_outputs(ClipOptions(overlay=True), "gif")) == ["_kps.gif", "_overlay.gif"]


@pytest.mark.parametrize("codec", CODECS)
def test_every_output_counts_as_a_result_and_those_for_eyes_play(codec: str) -> None:
    outputs = clip_outputs(ClipOptions(overlay=True, compare=True), codec)
    assert set(outputs) | set(picture_outputs(PictureOptions(overlay=True, compare=True))) <= set(DRAWINGS)
    assert [CODECS[output.codec(codec)].plays for output in outputs.values()] == [
        CODECS[codec].plays, *[True] * (len(outputs) - 1),
    ]  # fmt: skip


def test_only_the_pose_map_has_a_size_of_its_own() -> None:
    options = ClipOptions(size=(64, 32), fit="crop", line_width=3)
    assert POSE_VIDEO.asked(options, 0.3) == POSE_MAP.asked(
        PictureOptions(size=(64, 32), fit="crop", line_width=3), 0.3
    )
    assert POSE_VIDEO.asked(options, 0.3)["size"] == [64, 32] and OVERLAY.asked(options, 0.3)["size"] is None
    assert OVERLAY.asked(options, 0.3)["line_width"] == 3.0
    assert OVERLAY.asked(options, 0.3) != OVERLAY.asked(ClipOptions(), 0.3)
