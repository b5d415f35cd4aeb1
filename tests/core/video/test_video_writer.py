"""Videos are written exactly: pixels, rates, times. And whole, or not at all."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from video_files import levels, numbers, pictures, read, write

from sdpose_core.errors import InputError
from sdpose_core.video.opening import open_video
from sdpose_core.video.writer import CODECS, SUFFIX, VideoWriter, codec_of, playable

RATES = [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(16), Fraction(12, 5), Fraction(1, 3)]


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("codec", ["lossless", "ffv1"])
def test_lossless_codecs_keep_every_pixel_and_the_exact_rate(tmp_path: Path, codec: str, rate: Fraction) -> None:
    frames = pictures(7, (65, 47))
    path = write(tmp_path / f"v{SUFFIX[codec]}", frames, rate, codec)
    with open_video(path) as source:
        found = list(source.frames())
        assert source.info.size == (65, 47)
        if codec == "lossless":  # Matroska rounds times to milliseconds
            assert source.info.frame_rate == rate
            assert [frame.pts for frame in found] == [float(n / rate) for n in range(7)]
    assert all(np.array_equal(a.image, b) for a, b in zip(found, frames, strict=True))
    assert [frame.index for frame in found] == list(range(7))
    assert [frame.pts for frame in found] == pytest.approx([float(n / rate) for n in range(7)], abs=6e-4)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 16), (350, 351)], ids=str)
def test_lossless_takes_every_size(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (3, size[1], size[0], 3), np.uint8))
    found = read(write(tmp_path / "v.mp4", frames))
    assert all(np.array_equal(a.image, b) for a, b in zip(found, frames, strict=True))


@pytest.mark.parametrize("codec", ["lossless", "ffv1"])
def test_lossless_videos_can_be_entered_every_second(tmp_path: Path, codec: str) -> None:
    path = write(tmp_path / f"v{SUFFIX[codec]}", levels(1) * 80, codec=codec)
    with av.open(str(path)) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert len(keys) == 80
    assert all(any(keys[start : start + 25]) for start in range(56))


def test_h264_is_near_and_says_when_it_widens(tmp_path: Path) -> None:
    smooth = [np.full((47, 65, 3), (200 - 5 * n, 40, 90), np.uint8) for n in range(6)]
    with VideoWriter(tmp_path / "v.mp4", (65, 47), Fraction(25), codec="h264") as writer:
        for frame in smooth:
            writer.write(frame)
    assert writer.notes == ["65 x 47 became 66 x 48: h264 needs even sides"]
    found = read(tmp_path / "v.mp4")
    assert len(found) == 6
    for frame, original in zip(found, smooth, strict=True):
        assert frame.image.shape == (48, 66, 3)
        assert np.abs(frame.image[:47, :65].astype(int) - original).max() <= 6


def test_h264_is_what_players_expect(tmp_path: Path) -> None:
    write(tmp_path / "v.mp4", levels(3), codec="h264")
    with av.open(str(tmp_path / "v.mp4")) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (int(frame.colorspace), int(frame.color_range)) == (1, 1)  # BT.709, limited


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_frames_give_the_same_file(tmp_path: Path, codec: str) -> None:
    files = [write(tmp_path / f"{name}{SUFFIX[codec]}", pictures(30, (131, 97)), codec=codec) for name in "ab"]
    if codec in ("ffv1", "webm"):  # Matroska gives each file a random number
        assert [frame.image.tobytes() for frame in read(files[0])] == [
            frame.image.tobytes() for frame in read(files[1])
        ]
    else:
        assert files[0].read_bytes() == files[1].read_bytes()


def test_small_videos_are_the_same_every_time(tmp_path: Path) -> None:
    """With B-frames, x264 gives some of these other bytes, by what lies beside its pictures in memory."""
    frames = [cv2.circle(np.zeros((60, 80, 3), np.uint8), (10 + 3 * n, 30), 6, (255, 80, 0), -1) for n in range(12)]
    held, files = [], set()
    for turn in range(15):
        held = [*held[-2:], np.random.default_rng(turn).integers(0, 255, 200_000 + turn * 1000, np.uint8)]
        files.add(write(tmp_path / "v.mp4", frames, codec="h264").read_bytes())
    assert len(files) == 1


# --- times of frames -------------------------------------------------------------------------------------------------

# From videos: numbers and the time base they count in.
TIMES = {
    "12800ths": [float(Fraction(n, 12800)) for n in (0, 512, 1023, 5000, 5001, 90000)],
    "15360ths": [float(Fraction(n, 15360)) for n in (0, 512, 1037, 5000, 5001, 90000)],
    "milliseconds": [0.0, 0.033, 0.067, 0.1, 7.134, 3600.001],
    "30000/1001": [float(Fraction(1001 * n, 30000)) for n in (0, 1, 2, 7, 8, 107999)],
    "90000ths": [float(Fraction(n, 90000)) for n in (0, 3003, 6007, 9000, 9010, 900001)],
    "from one second on": [1.0, 1.04, 1.1, 1.5, 1.5125, 2.0],
    "from 3003 of 90000 on": [float(Fraction(n, 90000)) for n in (3003, 6007, 9000, 9010, 9013, 900001)],
}


@pytest.mark.parametrize("codec", ["lossless", "h264"])
@pytest.mark.parametrize("name", TIMES)
def test_times_of_frames_are_kept_exactly(tmp_path: Path, name: str, codec: str) -> None:
    write(tmp_path / "v.mp4", levels(6), codec=codec, pts=TIMES[name])
    found = read(tmp_path / "v.mp4")
    assert [frame.pts for frame in found] == TIMES[name]
    assert numbers(found) == list(range(6))


def test_times_that_are_multiples_of_nothing_are_rounded(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).uniform(0.001, 0.5, 6))
    found = read(write(tmp_path / "v.mp4", levels(6), pts=times))
    assert np.abs(np.array([frame.pts for frame in found]) - times).max() <= 0.5 / 90_000 + 1e-9


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0, 1.0, 1.0], "do not rise"),
        ([0.0, 2.0, 1.0], "do not rise"),
        ([-0.1, 0.0, 1.0], "not negative"),
        ([0.0, math.nan, 1.0], "not negative"),
        ([0.0, 1.0, math.inf], "not negative"),
        ([0.0, 1.0, 1e7], "hours apart"),
        ([0.0, 1.0], r"one frame per time \(2\), got more"),
        ([0.0, 1.0, 2.0, 3.0], r"one frame per time \(4\), got 3"),
    ],
)
def test_times_that_cannot_be(tmp_path: Path, times: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write(tmp_path / "v.mp4", levels(3), pts=times)
    assert not list(tmp_path.iterdir())


# --- writing that fails ----------------------------------------------------------------------------------------------


def test_nothing_is_left_of_a_video_that_was_not_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "v.mp4", (64, 48), Fraction(25)) as writer:
        writer.write(pictures(1)[0])
        assert not (tmp_path / "v.mp4").exists()
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_what_stood_there_stays_until_the_new_one_is_finished(tmp_path: Path) -> None:
    before = write(tmp_path / "v.mp4", levels(2)).read_bytes()
    with pytest.raises(InputError), VideoWriter(tmp_path / "v.mp4", (64, 48), Fraction(25)) as writer:
        writer.write(levels(1)[0])
        writer.write(levels(1)[0][:-1])
    assert (tmp_path / "v.mp4").read_bytes() == before
    write(tmp_path / "v.mp4", levels(5))
    assert len(read(tmp_path / "v.mp4")) == 5
    assert [file.name for file in tmp_path.iterdir()] == ["v.mp4"]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((48, 65, 3), np.uint8), r"frame 0: expected RGB uint8 of shape \(48, 64, 3\)"),
        (np.zeros((48, 64), np.uint8), "expected RGB uint8"),
        (np.zeros((48, 64, 4), np.uint8), "expected RGB uint8"),
        (np.zeros((48, 64, 3), np.float32), "float32"),
        ([[0, 0, 0]], "expected a NumPy array, got list"),
    ],
)
def test_frames_of_another_kind_are_refused(tmp_path: Path, image: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message), VideoWriter(tmp_path / "v.mp4", (64, 48), Fraction(25)) as writer:
        writer.write(image)
    assert not list(tmp_path.iterdir())


def test_a_view_with_strides_is_written_as_it_looks(tmp_path: Path) -> None:
    frame = pictures(1)[0]
    found = read(write(tmp_path / "v.mp4", [frame[:, ::-1].copy()[:, ::-1], frame[::-1]]))
    np.testing.assert_array_equal(found[0].image, frame)
    np.testing.assert_array_equal(found[1].image, frame[::-1])


def test_a_video_needs_a_frame(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one frame"), VideoWriter(tmp_path / "v.mp4", (64, 48), Fraction(25)):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "size", "rate", "codec", "message"),
    [
        ("v.mp4", (64, 48), Fraction(0), "lossless", "positive Fraction"),
        ("v.mp4", (64, 48), 25.0, "lossless", "positive Fraction"),
        ("v.mp4", (64, 48), Fraction(10**12 + 1, 10**10), "lossless", "too large for a video"),
        ("v.mp4", (0, 48), Fraction(25), "lossless", "got 0 x 48"),
        ("v.mp4", (64, 20_000), Fraction(25), "h264", "sides of 1 to 16,384"),
        ("v.mkv", (64, 48), Fraction(25), "lossless", r"a name that ends in \.mp4"),
        ("v.mp4", (64, 48), Fraction(25), "divx", "choose one of lossless"),
    ],
)
def test_settings_are_checked_first(
    tmp_path: Path, name: str, size: tuple[int, int], rate: Fraction, codec: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        VideoWriter(tmp_path / name, size, rate, codec=codec)


def test_an_encoder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", {"ffv1"})
    with pytest.raises(InputError, match="no encoder libx264rgb: use codec ffv1"):
        write(tmp_path / "v.mp4", levels(1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("room", [100, 60_000])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, codec: str, room: int) -> None:
    """The system lets no file grow beyond `room` bytes: the video fails while it is written, or when it is finished."""
    resource = pytest.importorskip("resource", reason="limits of files exist on Unix only")
    frames = pictures(60)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write .*v\.\w+: File too large"):
            write(tmp_path / f"v{SUFFIX[codec]}", frames, codec=codec)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        write(tmp_path / "file" / "v.mp4", levels(1))


# --- GIF and WebM ----------------------------------------------------------------------------------------------------


def test_a_gif_keeps_the_pixels_of_pose_maps(tmp_path: Path) -> None:
    """Each frame has colors that the one before had not: every palette is the frame's own."""
    frames = [np.zeros((47, 65, 3), np.uint8) for _ in range(6)]
    for number, frame in enumerate(frames):
        frame[5 * number : 5 * number + 9, 20:40] = (255, 85 * (number % 3), 40 * number)
    found = read(write(tmp_path / "v.gif", frames, Fraction(10), "gif"))
    assert all(np.array_equal(a.image, b) for a, b in zip(found, frames, strict=True))
    assert [frame.pts for frame in found] == pytest.approx([n / 10 for n in range(6)])


def test_a_gif_of_a_photo_is_near(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 64)
    photo = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 128), axis=2).astype(np.uint8)
    found = read(write(tmp_path / "v.gif", [photo, photo], codec="gif"))[0].image
    assert np.abs(found.astype(int) - photo).mean() < 8
    assert np.abs(found.astype(int).mean((0, 1)) - photo.mean((0, 1))).max() < 2


def test_a_gif_has_no_frames_that_browsers_slow_down(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.gif", (64, 48), Fraction(100), codec="gif") as writer:
        for frame in levels(10):
            writer.write(frame)
    assert writer.notes == ["a GIF has at most 50 frames per second: 5 of 10 frames are left out"]
    found = read(tmp_path / "v.gif")
    assert [frame.pts for frame in found] == pytest.approx([0, 0.02, 0.04, 0.06, 0.08])
    assert numbers(found) == [0, 2, 4, 6, 8]


def test_webm_is_near_and_says_when_it_widens(tmp_path: Path) -> None:
    smooth = [np.full((47, 65, 3), (200 - 5 * n, 40, 90), np.uint8) for n in range(6)]
    with VideoWriter(tmp_path / "v.webm", (65, 47), Fraction(25), codec="webm") as writer:
        for frame in smooth:
            writer.write(frame)
    assert writer.notes == ["65 x 47 became 66 x 48: webm needs even sides"]
    found = read(tmp_path / "v.webm")
    assert [frame.image.shape for frame in found] == [(48, 66, 3)] * 6
    assert max(np.abs(a.image[:47, :65].astype(int) - b).max() for a, b in zip(found, smooth, strict=True)) <= 8


def test_the_codec_of_a_name() -> None:
    assert set(CODECS) == set(SUFFIX)
    for codec in ("lossless", "ffv1", "gif", "webm"):
        assert codec_of(SUFFIX[codec].upper()) == codec
    assert [codec_of(suffix, for_eyes=True) for suffix in (".mp4", ".mkv", ".gif")] == ["h264", "ffv1", "gif"]
    assert {codec: playable(codec) for codec in CODECS} == {
        "lossless": "h264", "h264": "h264", "ffv1": "h264", "gif": "gif", "webm": "webm",
    }  # fmt: skip
    with pytest.raises(InputError, match=r"cannot end in '\.avi': choose one of \.gif, \.mkv, \.mp4, \.webm"):
        codec_of(".avi")
