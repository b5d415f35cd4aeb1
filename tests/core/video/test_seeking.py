"""Frames in any order are those of reading from the start, in every kind of file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from sdpose_core.errors import InputError
from sdpose_core.video.opening import open_video
from sdpose_core.video.seeking import FrameSeeker
from sdpose_core.video.writer import VideoWriter

ORDER = [0, 29, 28, 27, 5, 6, 7, 20, 3, 29, 0]


def written(path: Path, frames: int = 30) -> Path:
    rng = np.random.default_rng(0)
    with VideoWriter(path, (64, 48), Fraction(25), codec="h264") as writer:
        for number in range(frames):
            picture = np.full((48, 64, 3), number * 8, np.uint8)
            picture[:16, :16] = rng.integers(0, 255, (16, 16, 3))
            writer.write(picture)
    return path


def remuxed(path: Path, to: Path, **options: str) -> Path:
    """The same packets in another container, or encoded again with `options`."""
    import av

    with av.open(str(path)) as source, av.open(str(to), "w") as target:
        stream = source.streams.video[0]
        codec = "mpeg4" if to.suffix == ".avi" else "libx264"
        out = target.add_stream(codec, rate=25, options=options)
        out.width, out.height, out.pix_fmt = 64, 48, "yuv420p"
        for frame in source.decode(stream):
            frame.pict_type = 0
            for packet in out.encode(frame):
                target.mux(packet)
        for packet in out.encode():
            target.mux(packet)
    return to


@pytest.mark.parametrize("name", ["a.mp4", "b-frames.mp4", "one-key.mkv", "open-gop.mp4", "clip.avi"])
def test_frames_in_any_order(tmp_path, name):
    path = written(tmp_path / "source.mp4")
    options = {
        "b-frames.mp4": {"bf": "3", "g": "10"},
        "one-key.mkv": {"g": "300"},
        "open-gop.mp4": {"g": "8", "x264-params": "open-gop=1:bframes=3:keyint=8"},
    }
    path = path if name == "a.mp4" else remuxed(path, tmp_path / name, **options.get(name, {}))
    source = open_video(path)
    expected = {frame.index: (frame.pts, frame.image) for frame in source.frames()}
    seeker = FrameSeeker(source, [(index, pts) for index, (pts, _) in expected.items()])
    assert seeker.jumps or name == "clip.avi"
    for index in ORDER:
        np.testing.assert_array_equal(seeker.frame(index), expected[index][1], str(index))
    with pytest.raises(InputError, match="no frame 30"):
        seeker.frame(30)
    np.testing.assert_array_equal(seeker.frame(2), expected[2][1])
    seeker.close()


def test_a_file_with_other_times_is_read_from_its_start(tmp_path):
    source = open_video(written(tmp_path / "a.mp4"))
    seeker = FrameSeeker(source, [(3, 0.5)])
    assert not seeker.jumps
    expected = [frame.image for frame in source.frames()]
    for index in (7, 3, 8):
        np.testing.assert_array_equal(seeker.frame(index), expected[index])
    seeker.close()
