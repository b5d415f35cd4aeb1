"""Which stream of a file is the video, and at which rate it is."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from video_files import encode, levels, numbers, read

from sdpose_core.cli.sequence import describe_file
from sdpose_core.errors import InputError
from sdpose_core.video.file import reformat
from sdpose_core.video.opening import frame_count, is_video, open_video
from sdpose_core.video.streams import _rate as rate_of_stream

MS = Fraction(1, 1000)


def streams(path: Path, *parts: tuple[int, tuple[int, int], str], codecs: Sequence[str] = ("mpeg4", "mpeg4")) -> Path:
    """A file with video streams of (frames, size, disposition); the frames of each are 40 ms apart."""
    with av.open(str(path), "w") as file:
        made: list[tuple[Any, list[np.ndarray]]] = []
        for codec, (count, size, disposition) in zip(codecs, parts, strict=False):
            stream = file.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p" if codec == "mjpeg" else "yuv420p"
            names = [name for name in disposition.split("+") if name]
            stream.disposition = sum(getattr(av.stream.Disposition, name) for name in names)
            made.append((stream, (levels(12, size) * 2)[:count]))
        for number in range(max(count for count, _, _ in parts)):
            for stream, images in made:
                if number < len(images):
                    frame = av.VideoFrame.from_ndarray(images[number], format="rgb24")
                    file.mux(stream.encode(reformat(frame, format=stream.pix_fmt)))
        for stream, _ in made:
            file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
@pytest.mark.parametrize(
    ("parts", "size", "count"),
    [
        ([(1, (32, 32), ""), (9, (64, 48), "default")], (64, 48), 9),
        ([(1, (320, 320), "default"), (9, (64, 48), "")], (64, 48), 9),  # a large cover, marked as the default
        ([(9, (64, 48), "default"), (1, (32, 32), "")], (64, 48), 9),
        ([(9, (32, 32), "default"), (9, (64, 48), "default")], (64, 48), 9),  # a preview of the same length
        ([(3, (64, 48), "default"), (12, (32, 32), "default")], (32, 32), 12),
        ([(9, (64, 48), "default"), (9, (64, 48), "default")], (64, 48), 9),  # two angles: the first
    ],
)  # fmt: skip
def test_the_stream_that_players_show(
    tmp_path: Path, suffix: str, parts: list, size: tuple[int, int], count: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = streams(tmp_path / f"v{suffix}", *parts)
    with open_video(path) as source:
        assert (source.info.size, source.info.streams) == (size, 2)
        assert len(list(source.frames())) == count
        assert "has 2 video streams: number" in source.info.notes[0]
    assert frame_count(path) == count
    assert "has 2 video streams: number" in caplog.text
    assert describe_file(path)["video_streams"] == 2


def test_the_default_stream_of_an_mkv_wins_over_a_longer_one(tmp_path: Path) -> None:
    path = streams(tmp_path / "v.mkv", (12, (32, 32), ""), (6, (64, 48), "default"))
    assert numbers(read(path)) == list(range(6))


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_row_of_thumbnails_is_no_video(tmp_path: Path, suffix: str) -> None:
    """Two pictures before the video, marked as the default; an MP4 marks its first stream so."""
    path = streams(tmp_path / f"v{suffix}", (2, (32, 32), "default"), (9, (64, 48), ""), codecs=("mjpeg", "mpeg4"))
    assert numbers(read(path)) == list(range(9))
    assert describe_file(path)["notes"] == ["has 2 video streams: number 1 (mpeg4, 64 x 48) is used"]
    path = streams(tmp_path / f"w{suffix}", (2, (32, 32), "default"), (20, (64, 48), ""))
    with open_video(path) as source:
        assert len(list(source.frames())) == 20


def test_one_stream_needs_no_word(tmp_path: Path) -> None:
    with open_video(streams(tmp_path / "v.mp4", (1, (64, 48), ""))) as source:
        assert (source.info.streams, source.info.notes, len(list(source.frames()))) == (1, (), 1)


def stated(path: Path, rate: int, pts: Sequence[int], codec: str = "libx264") -> Path:
    """A file that states a rate, whatever its times in milliseconds."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = MS
        stream.codec_context.framerate = Fraction(rate)
        for image, time in zip(levels(12) * len(pts), pts, strict=False):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, MS
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
@pytest.mark.parametrize("first", [0, 5000])
@pytest.mark.parametrize(("step", "rate"), [(40, Fraction(25)), (33.3667, Fraction(30000, 1001)), (500, Fraction(2))])
def test_the_times_decide_if_the_stated_rate_is_wrong(
    tmp_path: Path, suffix: str, first: int, step: float, rate: Fraction
) -> None:
    codec = "libx264" if suffix == ".mkv" else "libvpx"
    path = stated(tmp_path / f"v{suffix}", 1000, [first + round(step * n) for n in range(40)], codec)
    with open_video(path) as source:
        assert source.info.frame_rate == rate
        assert [frame.pts for frame in source.frames()][:2] == [first / 1000, (first + round(step)) / 1000]
        assert "states 1000 frames per second" in source.info.notes[0]


@pytest.mark.parametrize("count", [4, 20])
def test_reordered_frames_without_decoding_times_keep_their_rate(tmp_path: Path, count: int) -> None:
    """MKV has no decoding times: FFmpeg does not know those of the first reordered frames."""
    pts = [33 * n + (2000 if n >= 2 else 0) + (3000 if n >= 9 else 0) for n in range(count)]
    images = (levels(12) * 2)[:count]
    options = {"bf": "3", "b-adapt": "0"}
    path = encode(tmp_path / "v.mkv", "libx264", "yuv420p", images, pts=pts, time_base=MS, options=options)
    with open_video(path) as source:
        assert float(source.info.frame_rate) == pytest.approx(30, rel=0.02)


def test_a_rate_that_varies_is_that_of_the_times_shown(tmp_path: Path) -> None:
    """Decoding times of reordered frames are others: the rate is that of the presentation times."""
    path = encode(
        tmp_path / "v.mp4", "libx264", "yuv420p", levels(4), pts=[0, 10000, 25000, 26000], time_base=MS
    )  # fmt: skip
    with open_video(path) as source:
        assert source.info.notes == ()
        assert float(source.info.frame_rate) == pytest.approx(4 / 35, rel=0.01)


@pytest.mark.parametrize("suffix", [".ts", ".flv"])
def test_a_file_that_is_cut_off_among_reordered_frames_keeps_its_rate(tmp_path: Path, suffix: str) -> None:
    options = {"bf": "3", "b-adapt": "0"}
    path = encode(tmp_path / f"v{suffix}", "libx264", "yuv420p", levels(12), options=options)
    content = path.read_bytes()
    for share in (0.7, 0.8, 0.9):
        path.write_bytes(content[: int(len(content) * share)])
        with open_video(path) as source:
            assert source.info.frame_rate == 25


def test_a_rate_that_is_given_for_a_file_is_not_used_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = encode(tmp_path / "v.mp4", "mpeg4", "yuv420p", levels(3))
    with open_video(path, frame_rate=Fraction(12)) as source:
        assert source.info.frame_rate == 25
    assert "it has its own times: the given frame rate is not used" in caplog.text


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".flv"])
def test_a_pause_does_not_drag_the_rate(tmp_path: Path, suffix: str) -> None:
    pts = [40 * n + (3000 if n >= 10 else 0) for n in range(30)]
    path = encode(
        tmp_path / f"v{suffix}", "libx264", "yuv420p", levels(12) * 2 + levels(6), pts=pts, time_base=MS
    )  # fmt: skip
    with open_video(path) as source:
        assert source.info.frame_rate == 25
        assert np.diff([frame.pts for frame in source.frames()]).max() == pytest.approx(3.04, abs=0.002)


def test_the_last_picture_of_an_animation_may_stay(tmp_path: Path) -> None:
    images = [Image.fromarray(image) for image in levels(9)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[80] * 8 + [3000])
    with open_video(tmp_path / "a.gif") as source:
        assert source.info.frame_rate == Fraction(25, 2)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.apng", "a.png"])
def test_no_other_program_is_started_for_a_picture(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript, whatever it is called: Pillow would hand it to Ghostscript."""
    from PIL import EpsImagePlugin

    def start(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", start)
    monkeypatch.setattr(EpsImagePlugin, "has_ghostscript", lambda: True)
    (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\nshowpage\n%%EOF\n")
    assert not is_video(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read as an animated picture"):
        open_video(tmp_path / name)


@pytest.mark.parametrize("name", ["v.gif", "v.png"])
def test_a_video_under_the_suffix_of_an_animation(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / "v.mp4", "mpeg4", "yuv420p", levels(3)).rename(tmp_path / name)
    assert is_video(path)
    assert numbers(read(path)) == [0, 1, 2]


def test_an_animation_under_the_suffix_of_a_video(tmp_path: Path) -> None:
    images = [Image.fromarray(image) for image in levels(3)]
    images[0].save(tmp_path / "a.webp", save_all=True, append_images=images[1:], duration=50)
    found = read((tmp_path / "a.webp").rename(tmp_path / "a.mp4"))
    assert [frame.pts for frame in found] == pytest.approx([0, 0.05, 0.1])


def test_a_list_of_other_files_and_a_heic_picture_are_refused(tmp_path: Path) -> None:
    encode(tmp_path / "v.avi", "mpeg4", "yuv420p", levels(3))
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile 'v.avi'\n")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(InputError, match=r"list.mp4 is a list of other files: pass the videos themselves"):
        open_video(tmp_path / "list.mp4")
    with pytest.raises(InputError, match="photo.heic is a HEIC picture: convert it to PNG or JPEG"):
        open_video(tmp_path / "photo.heic")


# --- limits --------------------------------------------------------------------------------------------------------


def still_pictures(path: Path, sizes: Sequence[tuple[int, int]], stated: tuple[int, int], aspect: int = 1) -> Path:
    """A video whose frames are PNGs of these sizes, whatever its header states."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("png", rate=12)
        (stream.width, stream.height), stream.pix_fmt, stream.time_base = stated, "gray", Fraction(1, 12)
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        for number, size in enumerate(sizes):
            content = io.BytesIO()
            Image.new("L", size, 40 * number).save(content, "PNG")
            packet = av.Packet(content.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 12)
            file.mux(packet)
    return path


@pytest.mark.parametrize("suffix", [".mov", ".avi"])
def test_frames_have_the_limit_of_pictures(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdpose_core.images.MAX_PIXELS", 64 * 48)
    small, large = (64, 48), (65, 48)
    with pytest.raises(InputError, match=r"65 x 48 = 3,120 pixels, the limit is 3,072: make it smaller$"):
        open_video(still_pictures(tmp_path / f"first{suffix}", [large, large], large))
    with pytest.raises(InputError, match=r"65 x 48 = 3,120 pixels"):
        open_video(still_pictures(tmp_path / f"lied{suffix}", [large, large], small))
    later = open_video(still_pictures(tmp_path / f"later{suffix}", [small, small, large, small], small))
    seen = []
    with pytest.raises(InputError, match=r"a frame has 65 x 48 = 3,120 pixels"):
        for frame in later.frames():
            seen.append(frame.index)
    assert seen == [0, 1]


def test_pixels_that_are_made_square_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdpose_core.images.MAX_PIXELS", 64 * 48 * 2)
    path = still_pictures(tmp_path / "wide.mov", [(64, 48)] * 2, (64, 48), aspect=8)
    with pytest.raises(InputError, match=r"with square pixels has 512 x 48 = 24,576 pixels"):
        open_video(path)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng"])
@pytest.mark.parametrize("limit", [64 * 48 - 1, 64 * 48 // 3])
def test_animations_have_the_limit_of_pictures(
    tmp_path: Path, suffix: str, limit: int, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    frames = [Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
    path = tmp_path / f"a{suffix}"
    frames[0].save(path, "PNG" if suffix == ".apng" else None, save_all=True, append_images=frames[1:], duration=100)
    monkeypatch.setattr("sdpose_core.images.MAX_PIXELS", limit)
    with pytest.raises(InputError, match=r"a\.\w+ has .*pixels, the limit is [\d,]+: make it smaller$"):
        open_video(path)
    monkeypatch.setattr("sdpose_core.images.MAX_PIXELS", 64 * 48)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    assert len(list(open_video(path).frames())) == 2, "Pillow's own limit does not count"
    assert not list(recwarn)


class Stated:
    """A stream that states rates."""

    def __init__(self, *rates: Fraction | None) -> None:
        self.average_rate, self.guessed_rate, self.base_rate = rates


@pytest.mark.parametrize("rate", [None, Fraction(0), Fraction(-25), Fraction(10**9), Fraction(1, 10**9)])
def test_a_rate_that_cannot_be_true_is_not_stated(rate: Fraction | None) -> None:
    nothing = np.zeros((1, 2))
    assert rate_of_stream(Stated(rate, None, None), nothing) == (Fraction(25), "")
    assert rate_of_stream(Stated(rate, Fraction(30), None), nothing) == (Fraction(30), "")
    times = np.repeat(np.arange(9)[:, None] / 10, 2, axis=1)
    assert rate_of_stream(Stated(rate, rate, rate), times) == (Fraction(10), "")
