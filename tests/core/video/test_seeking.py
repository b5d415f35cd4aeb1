"""Frames in any order are those of reading from the start, in every kind of file."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from sdpose_core.errors import InputError
from sdpose_core.video.frames import Frame, VideoInfo, VideoSource
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


class Endless(VideoSource):
    """A source of the same frame for ever."""

    info = VideoInfo(Path("endless"), (1, 1), Fraction(25))

    def __init__(self) -> None:
        self.read = threading.Event()

    def frames(self, start: int = 0) -> Iterator[Frame]:
        for index in itertools.count(start):
            yield Frame(index, index / 25, np.zeros((1, 1, 3), np.uint8))
            self.read.set()


def test_reading_far_ahead_can_be_stopped():
    source = Endless()
    seeker = FrameSeeker(source)
    with ThreadPoolExecutor(1) as thread:
        far = thread.submit(seeker.frame, 1 << 60)
        assert source.read.wait(20)
        seeker.stop()
        with pytest.raises(InputError, match="endless: reading was stopped"):
            far.result(20)


CODECS = {
    "a.ts": ("libx264", {"g": "6", "bf": "3"}),
    "mpeg1.mpg": ("mpeg1video", {"g": "6"}),
    "mpeg2.mpg": ("mpeg2video", {"g": "6", "bf": "2"}),
    "a.flv": ("libx264", {"g": "6"}),
    "a.wmv": ("wmv2", {"g": "6"}),
    "a.webm": ("libvpx-vp9", {"g": "6", "lag-in-frames": "10"}),
    "refreshed.mp4": ("libx264", {"x264-params": "intra-refresh=1:keyint=8"}),
    "fragments.mp4": ("libx264", {"g": "6"}),
}
"""Containers and streams in which jumps lead too far, or into the middle of frames that refer to others."""


def encoded(path: Path, codec: str, options: dict[str, str]) -> Path:
    import av

    with av.open(str(written(path.with_name("source.mp4")))) as source, av.open(str(path), "w") as target:
        out = target.add_stream(codec, rate=25, options=options)
        out.width, out.height, out.pix_fmt = 64, 48, "yuv420p"
        for frame in source.decode(video=0):
            frame.pict_type = 0
            target.mux(out.encode(frame))
        target.mux(out.encode())
    return path


@pytest.mark.parametrize("name", CODECS)
def test_jumps_that_lead_elsewhere_are_noticed(tmp_path, name):
    import av

    codec, options = CODECS[name]
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    source = open_video(encoded(tmp_path / name, codec, options))
    expected = {frame.index: (frame.pts, frame.image) for frame in source.frames()}
    seeker = FrameSeeker(source, [(index, pts) for index, (pts, _) in expected.items()])
    assert seeker.jumps and len(expected) == 30
    for index in (*ORDER, *range(29, -1, -1)):
        np.testing.assert_array_equal(seeker.frame(index), expected[index][1], err_msg=str(index))
    seeker.close()


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("seed", range(3))
def test_frames_of_damaged_files_can_be_reached(tmp_path, name, seed):
    path = encoded(tmp_path / name, "libx264", {"g": "6"})
    content, rng = bytearray(path.read_bytes()), np.random.default_rng(seed)
    if seed == 0:
        content = content[: len(content) * 2 // 3]
    for place in rng.integers(600, len(content) - 2000, 2 if seed else 0):
        content[place : place + 8] = rng.bytes(8)
    path.write_bytes(content)
    try:
        source = open_video(path)
    except InputError:
        assert (name, seed) == ("a.mp4", 0)  # its index was at the end
        return
    expected = {frame.index: (frame.pts, frame.image) for frame in source.frames()}
    seeker = FrameSeeker(source, [(index, pts) for index, (pts, _) in expected.items()])
    for index in [*expected][::-1]:
        image = seeker.frame(index)
        if index < min(source.damaged, default=30):
            np.testing.assert_array_equal(image, expected[index][1], err_msg=str(index))
    seeker.close()
