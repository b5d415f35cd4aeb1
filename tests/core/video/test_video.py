"""Frames out of videos. The odd files are made here: turned, transparent, deep, uneven in time, damaged."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from paths import DATA, SHARED
from PIL import Image, ImageCms
from video_files import encode, levels, numbers, pictures, read, set_display_matrix, spoil, write

from sdpose_core.errors import InputError
from sdpose_core.video.file import reformat
from sdpose_core.video.opening import frame_count, is_video, open_video

DANCER = DATA / "dancer.mp4"
BUSKER = SHARED / "data" / "videos" / "busker.mp4"


def times(path: Path) -> list[float]:
    """Of the frames that our reader gets."""
    return [frame.pts for frame in read(path)]


# --- frames and their numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [DANCER, BUSKER], ids=lambda path: path.stem)
def test_real_clips(path: Path) -> None:
    if not path.exists():
        pytest.skip(f"{path.name} is not part of the repository (its licence) and not here")
    with open_video(path) as source:
        found = list(source.frames())
        assert (source.info.size, source.info.frame_rate, source.info.frames) == ((350, 350), Fraction(16), 45)
        assert source.damaged == []
    assert [frame.index for frame in found] == list(range(45))
    assert [frame.pts for frame in found] == [n / 16 for n in range(45)]
    with av.open(str(path)) as container:  # as other tools read it
        for frame, other in zip(found, container.decode(video=0), strict=True):
            np.testing.assert_array_equal(frame.image, other.to_ndarray(format="rgb24"))


def make_folder(path: Path) -> Path:
    path.mkdir()
    for number, image in enumerate(levels(9)):
        Image.fromarray(image).save(path / f"{number}.png")
    return path


def make_animation(path: Path) -> Path:
    first, *others = (Image.fromarray(image) for image in levels(9))
    first.save(path, save_all=True, append_images=others, duration=40)
    return path


SOURCES: dict[str, Callable[[Path], Path]] = {
    "reordered.mp4": lambda path: encode(path, "libx264", "yuv420p", levels(9), options={"bf": "3", "crf": "10"}),
    "damaged.mp4": lambda path: spoil(write(path, pictures(60)), seed=1),
    "moves.gif": make_animation,
    "folder": make_folder,
}


@pytest.mark.parametrize("name", SOURCES)
def test_reading_from_a_number_on_gives_the_same_frames(tmp_path: Path, name: str) -> None:
    path = SOURCES[name](tmp_path / name)
    everything = read(path)
    assert frame_count(path) == len(everything) >= 9
    for start in (1, 4, len(everything) - 1, len(everything), len(everything) + 5):
        rest = read(path, start)
        assert [frame.index for frame in rest] == list(range(start, len(everything)))
        for a, b in zip(rest, everything[start:], strict=True):
            assert a.pts == b.pts
            np.testing.assert_array_equal(a.image, b.image)


def test_no_frame_is_kept() -> None:
    alive: list[weakref.ref] = []
    with open_video(DANCER) as source:
        for frame in source.frames():
            alive.append(weakref.ref(frame.image))
            assert sum(reference() is not None for reference in alive) <= 2


def test_two_readings_at_a_time_do_not_disturb_each_other() -> None:
    with open_video(DANCER) as source:
        for a, b in zip(source.frames(), source.frames(3), strict=False):
            assert b.index == a.index + 3


def test_importing_the_reader_is_light() -> None:
    modules = ", ".join(f"sdpose_core.video.{name}" for name in ("opening", "frames", "writer"))
    code = f"import sys, {modules}; print(sorted({{'av', 'PIL', 'cv2'}} & {{*sys.modules}}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# --- times and rates -------------------------------------------------------------------------------------------------

UNEVEN = [0, 40, 80, 100, 300, 301, 350, 500, 700, 800, 900, 1000]


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("v.mkv", "libx264", "yuv420p"),
        ("v.mp4", "libx264", "yuv420p"),
        ("v.webm", "libvpx-vp9", "yuv420p"),
        ("alpha.webm", "libvpx-vp9", "yuva420p"),
    ],
)
@pytest.mark.parametrize("first", [0, 1000])
def test_uneven_times_are_kept_exactly(tmp_path: Path, name: str, codec: str, pixel_format: str, first: int) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    pts = [first + time for time in UNEVEN]
    path = encode(tmp_path / name, codec, pixel_format, levels(12), pts=pts, time_base=Fraction(1, 1000))
    found = read(path)
    assert [frame.pts for frame in found] == [time / 1000 for time in pts]
    assert numbers(found) == list(range(12))


@pytest.mark.parametrize(
    ("name", "codec", "first"),
    [
        ("v.avi", "libx264", 0),  # AVI has no times of presentation, only of decoding
        ("v.avi", "mpeg4", 0),
        ("v.h264", "libx264", 0),  # neither times nor length
        ("v.mkv", "libx264", 0),
        ("v.ts", "libx264", 2),
        ("v.flv", "libx264", 2),
        ("v.mpg", "mpeg2video", 13.5),
    ],
)
def test_reordered_frames_come_in_the_order_of_presentation(
    tmp_path: Path, name: str, codec: str, first: float
) -> None:
    path = encode(tmp_path / name, codec, "yuv420p", levels(12), options={"bf": "2"})
    found = read(path)
    assert numbers(found) == list(range(12))
    assert [frame.pts for frame in found] == pytest.approx([(first + n) / 25 for n in range(12)], abs=1e-9)
    with open_video(path) as source:
        assert source.info.frame_rate == 25
        assert source.info.frames == (12 if name == "v.avi" else None)
    assert frame_count(path) == 12


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(50), Fraction(12, 5)], ids=str)
def test_rates_are_fractions(tmp_path: Path, rate: Fraction) -> None:
    with open_video(write(tmp_path / "v.mp4", levels(4), rate)) as source:
        assert source.info.frame_rate == rate
        assert source.info.duration == pytest.approx(float(4 / rate))


def test_frames_that_are_not_shown_are_no_frames(tmp_path: Path) -> None:
    """The edit list of an MP4 says from where on it is shown: here the first five frames have times before 0."""
    pts = [-200 + 40 * n for n in range(12)]
    path = encode(tmp_path / "v.mp4", "libx264", "yuv420p", levels(12), pts=pts, time_base=Fraction(1, 1000))
    found = read(path)
    assert numbers(found) == list(range(5, 12))
    assert [frame.index for frame in found] == list(range(7))
    assert [frame.pts for frame in found] == [0.04 * n for n in range(7)]
    assert frame_count(path) == 7
    with open_video(path) as source:
        list(source.frames())
        assert source.damaged == []


def test_empty_packets_of_avi_are_pauses(tmp_path: Path) -> None:
    """They say that the last frame is shown on."""
    path = encode(tmp_path / "v.avi", "mpeg4", "yuv420p", levels(6), pts=[0, 1, 2, 5, 6, 7], time_base=Fraction(1, 25))
    with open_video(path) as source:
        found = list(source.frames())
        assert source.damaged == []
    assert numbers(found) == list(range(6))
    assert [frame.pts for frame in found] == [0, 0.04, 0.08, 0.2, 0.24, 0.28]


def test_times_rise_where_recordings_were_joined(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    once = encode(tmp_path / "v.ts", "libx264", "yuv420p", levels(12)).read_bytes()
    (tmp_path / "twice.ts").write_bytes(once + once)
    found = read(tmp_path / "twice.ts")
    assert numbers(found) == [*range(12)] * 2
    assert [frame.pts for frame in found] == pytest.approx([0.08 + 0.04 * n for n in range(24)])
    assert "timestamps do not rise (1 corrected)" in caplog.text


# --- what frames look like -------------------------------------------------------------------------------------------

TURNS = {
    "0": ((1, 0, 0, 1), lambda a: a),
    "90": ((0, 1, -1, 0), lambda a: np.rot90(a, -1)),
    "180": ((-1, 0, 0, -1), lambda a: np.rot90(a, 2)),
    "270": ((0, -1, 1, 0), lambda a: np.rot90(a, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda a: a[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda a: a[::-1]),
    "transposed": ((0, 1, 1, 0), lambda a: a.transpose(1, 0, 2)),
    "transposed on the other diagonal": ((0, -1, -1, 0), lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_frames_come_upright(tmp_path: Path, turn: str) -> None:
    matrix, upright = TURNS[turn]
    frames = pictures(3, (64, 47))
    path = write(tmp_path / "v.mp4", frames)
    set_display_matrix(path, matrix)
    with open_video(path) as source:
        found = list(source.frames())
    expected = [upright(frame) for frame in frames]
    assert source.info.size == (expected[0].shape[1], expected[0].shape[0])
    for frame, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(frame.image, wanted)


@pytest.mark.parametrize(
    ("shape", "turn", "size"),
    [
        (Fraction(3, 2), "0", (96, 48)),
        (Fraction(1, 2), "0", (32, 48)),
        (Fraction(3, 2), "90", (48, 96)),
        (Fraction(11), "0", (64, 48)),  # an error of the file
        (Fraction(1, 50), "0", (64, 48)),
    ],
)
def test_pixels_that_are_not_square_are_made_square(
    tmp_path: Path, shape: Fraction, turn: str, size: tuple[int, int]
) -> None:
    path = encode(tmp_path / "v.mp4", "libx264", "yuv444p", levels(2), sample_aspect_ratio=shape)
    set_display_matrix(path, TURNS[turn][0])
    with open_video(path) as source:
        assert source.info.size == size
        assert [frame.image.shape for frame in source.frames()] == [(size[1], size[0], 3)] * 2


@pytest.mark.parametrize(
    "pixel_format",
    ["yuv420p", "yuv422p10le", "yuv444p10le", "yuv420p12le", "yuv444p16le", "gray", "gray10le", "gbrp10le"],
)
def test_pixel_formats(tmp_path: Path, pixel_format: str) -> None:
    if pixel_format not in {known.name for known in av.Codec("ffv1", "w").video_formats}:
        pytest.skip(f"this PyAV's ffv1 has no {pixel_format}")
    plain = levels(13, (35, 21))
    for frame, level in zip(read(encode(tmp_path / "v.mkv", "ffv1", pixel_format, plain)), plain, strict=True):
        assert np.abs(frame.image.astype(int) - level).max() <= 2


@pytest.mark.parametrize(("number", "name"), [(1, "ITU709"), (5, "ITU601")])
def test_colours_follow_the_matrix_that_the_file_states(tmp_path: Path, number: int, name: str) -> None:
    colours = [(220, 30, 30), (30, 200, 40), (30, 60, 220), (250, 240, 20)]
    with av.open(str(tmp_path / "v.mkv"), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.colorspace = 64, 48, "yuv444p", number
        for colour in colours:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), colour, np.uint8), format="rgb24")
            file.mux(stream.encode(reformat(frame, format="yuv444p", dst_colorspace=name)))
        file.mux(stream.encode(None))
    for frame, colour in zip(read(tmp_path / "v.mkv"), colours, strict=True):
        assert np.abs(frame.image.astype(int) - colour).max() <= 4


def jpeg(image: np.ndarray, orientation: int = 1) -> bytes:
    """A JPEG with EXIF data."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "camera"
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=95, subsampling=0, exif=exif)
    return file.getvalue()


def as_pictures(path: Path, codec: str, packets: Sequence[bytes], size: tuple[int, int], pixel_format: str) -> Path:
    """A video whose frames are these picture files."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        for number, content in enumerate(packets):
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = number
            file.mux(packet)
    return path


@pytest.mark.parametrize("orientation", [1, 6, 2])
@pytest.mark.parametrize("suffix", [".avi", ".mov", ".mkv"])
def test_exif_data_of_pictures_in_a_video(tmp_path: Path, suffix: str, orientation: int) -> None:
    """PyAV knows no EXIF data; FFmpeg makes a display matrix of the orientation in it."""
    image = levels(1, (64, 48))[0].copy()
    image[:24, :32] = 200
    packets = [jpeg(image, orientation)] * 3
    found = read(as_pictures(tmp_path / f"v{suffix}", "mjpeg", packets, (64, 48), "yuvj444p"))
    turned = {1: image, 6: np.rot90(image, -1), 2: image[:, ::-1]}[orientation]
    assert [np.abs(frame.image.astype(int) - turned).mean() < 5 for frame in found] == [True] * 3


@pytest.mark.parametrize("turn", ["0", "90", "mirrored"])
def test_a_color_profile_in_a_video(tmp_path: Path, turn: str) -> None:
    """Reading all side data of such frames crashes PyAV 18.1."""
    image = pictures(1)[0]
    file = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(image).save(file, format="PNG", icc_profile=profile)
    path = as_pictures(tmp_path / "v.mov", "png", [file.getvalue()] * 3, (64, 48), "rgb24")
    matrix, upright = TURNS[turn]
    set_display_matrix(path, matrix)
    found = read(path)
    assert len(found) == 3
    np.testing.assert_array_equal(found[0].image, upright(image))


def test_tiff_in_a_video(tmp_path: Path) -> None:
    image = pictures(1)[0]
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="TIFF", dpi=(72, 72))
    found = read(as_pictures(tmp_path / "v.mov", "tiff", [file.getvalue()] * 2, (64, 48), "rgb24"))
    np.testing.assert_array_equal(found[1].image, image)


def test_a_matrix_of_colours_that_nobody_knows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = encode(tmp_path / "v.mkv", "ffv1", "yuv420p", levels(4), colorspace=10)
    assert numbers(read(path)) == [0, 1, 2, 3]
    assert caplog.text.count("unknown color matrix 10") == 1


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 200, 30)])
@pytest.mark.parametrize(("name", "codec"), [("v.mov", "png"), ("v.mov", "qtrle"), ("v.mkv", "ffv1")])
def test_alpha_is_laid_on_the_background(
    tmp_path: Path, name: str, codec: str, background: tuple[int, int, int]
) -> None:
    image = np.zeros((48, 64, 4), np.uint8)
    image[:, :32] = (250, 10, 20, 255)
    image[:, 48:] = (100, 100, 100, 128)
    pixel_format = {"png": "rgba", "qtrle": "argb", "ffv1": "bgra"}[codec]
    path = encode(tmp_path / name, codec, pixel_format, [image] * 2, kind="rgba")
    with open_video(path, background=background) as source:
        found = next(source.frames()).image
    assert found[5, 5].tolist() == [250, 10, 20]
    assert found[5, 40].tolist() == list(background)
    expected = (100 * 128 + np.array(background) * 127) / 255
    assert np.abs(found[5, 60] - expected).max() <= 1


@pytest.mark.skipif("libvpx-vp9" not in av.codecs_available, reason="this PyAV has no libvpx")
def test_alpha_of_webm(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 4), np.uint8)
    image[:, :32] = (200, 200, 200, 255)
    path = encode(tmp_path / "v.webm", "libvpx-vp9", "yuva420p", [image] * 3, kind="rgba")
    with open_video(path, background=(0, 255, 0)) as source:
        found = list(source.frames())
    assert len(found) == 3
    assert np.abs(found[0].image[24, 10].astype(int) - 200).max() < 12
    assert np.abs(found[0].image[24, 54].astype(int) - (0, 255, 0)).max() < 12


def test_a_size_that_changes_within_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = [encode(tmp_path / f"{w}.h264", "libx264", "yuv420p", levels(5, (w, 48))) for w in (64, 96)]
    (tmp_path / "v.h264").write_bytes(b"".join(part.read_bytes() for part in parts))
    found = read(tmp_path / "v.h264")
    assert numbers(found) == [*range(5)] * 2
    assert {frame.image.shape for frame in found} == {(48, 64, 3)}
    assert "its size changes (frame 5 is 96 x 48): all frames are scaled to 64 x 48" in caplog.text


# --- animated pictures and folders -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".apng"])
def test_animated_pictures(tmp_path: Path, suffix: str) -> None:
    shades = [Image.new("RGB", (30, 21), (40 * n, 40 * n, 40 * n)) for n in range(5)]
    path = tmp_path / f"a{suffix}"
    lossless = {"lossless": True} if suffix == ".webp" else {}
    shades[0].save(path, save_all=True, append_images=shades[1:], duration=[40, 40, 200, 40, 80], loop=0, **lossless)
    with open_video(path) as source:
        found = list(source.frames())
        assert (source.info.size, source.info.frames, source.info.duration) == ((30, 21), 5, 0.4)
        assert source.info.frame_rate == Fraction(5 * 1000, 400)
    assert [frame.image.mean() for frame in found] == pytest.approx([0, 40, 80, 120, 160], abs=2)
    assert [frame.pts for frame in found] == [0, 0.04, 0.08, 0.28, 0.32]
    assert [frame.index for frame in read(path, 3)] == [3, 4]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_transparent_animations_are_laid_on_the_background(tmp_path: Path, suffix: str) -> None:
    images = []
    for n in range(3):
        image = Image.new("RGBA", (30, 20), (0, 0, 0, 0))
        image.paste((200, 20 * n, 20, 255), (0, 0, 10, 20))
        image.paste((90, 90, 90, 128), (25, 0, 30, 20))  # libwebp forgets the channel if it is 0 and 255 only
        images.append(image)
    images[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=images[1:], duration=50, disposal=2)
    with open_video(tmp_path / f"a{suffix}", background=(0, 90, 0)) as source:
        for n, frame in enumerate(source.frames()):
            assert np.abs(frame.image[10, 5].astype(int) - (200, 20 * n, 20)).max() <= 12
            assert frame.image[10, 20].tolist() == [0, 90, 0]


@pytest.mark.parametrize(("stated", "shown"), [(0, 0.1), (10, 0.1), (20, 0.02)])
def test_very_short_frames_last_as_in_browsers(tmp_path: Path, stated: int, shown: float) -> None:
    images = [Image.new("RGB", (8, 8), (90 * n, 0, 0)) for n in range(3)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=stated)
    assert times(tmp_path / "a.gif") == pytest.approx([0, shown, 2 * shown])


def test_a_frame_larger_than_the_animation_is_cut(tmp_path: Path) -> None:
    for width in (20, 30):
        Image.new("P", (width, 16), 0).save(tmp_path / f"{width}.gif", optimize=False)
    small, large = ((tmp_path / f"{width}.gif").read_bytes() for width in (20, 30))
    (tmp_path / "a.gif").write_bytes(small[:-1] + large[13 + 3 * 2 ** ((large[10] & 7) + 1) :])
    with Image.open(tmp_path / "a.gif") as image:
        image.seek(1)
        assert image.size == (30, 16)
    with open_video(tmp_path / "a.gif") as source:
        assert source.info.size == (20, 16)
        assert [frame.image.shape for frame in source.frames()] == [(16, 20, 3)] * 2


@pytest.mark.parametrize("backwards", [False, True])
def test_a_folder_of_pictures_in_natural_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backwards: bool
) -> None:
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(listed(self), reverse=backwards)))
    for number, name in [
        (1, "frame1"),
        (2, "frame2"),
        (9, "Frame9"),
        (10, "frame10"),
        (11, "frame010"),
        (0, ".frame3"),
    ]:
        Image.new("RGB", (8, 6), (number, 0, 0)).save(tmp_path / f"{name}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "frame4.png").mkdir()
    with open_video(tmp_path, frame_rate=Fraction(10)) as source:
        assert (source.info.frames, source.info.frame_rate, source.info.duration) == (5, 10, 0.5)
        found = [int(frame.image[0, 0, 0]) for frame in source.frames()]
        assert found == [1, 2, 9, 11, 10]  # of one number by their names
        assert [frame.pts for frame in source.frames(2)] == [0.2, 0.3, 0.4]
    with open_video(tmp_path) as source:
        assert source.info.frame_rate == 25


def test_pictures_of_a_folder_must_fit(tmp_path: Path) -> None:
    for number in (1, 2):
        Image.new("RGB", (8, 6)).save(tmp_path / f"frame{number}.png")
    Image.new("RGB", (9, 6)).save(tmp_path / "frame3.png")
    with open_video(tmp_path) as source, pytest.raises(InputError, match=r"frame3\.png: 9 x 6 .* 8 x 6"):
        list(source.frames())
    (tmp_path / "frame2.png").write_bytes(b"no picture")
    with open_video(tmp_path) as source, pytest.raises(InputError, match=r"frame2\.png is not a picture"):
        list(source.frames())


# --- damage ----------------------------------------------------------------------------------------------------------


def decoded_plainly(path: Path) -> list[np.ndarray]:
    """By FFmpeg with one thread, packet by packet."""
    found: list[np.ndarray] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            try:
                frames = stream.decode(packet)
            except av.error.FFmpegError:
                continue
            found += [frame.to_ndarray(format="rgb24") for frame in frames]
    return found


@pytest.mark.parametrize("seed", range(4))
def test_damaged_videos_give_the_same_frames_everywhere(tmp_path: Path, seed: int) -> None:
    """With several threads pixels and even the number of frames would depend on the machine."""
    smooth = [np.roll(levels(1)[0] + np.arange(64, dtype=np.uint8)[:, None] * 3, n, 1) for n in range(90)]
    path = encode(tmp_path / "v.mp4", "libx264", "yuv420p", smooth, options={"bf": "3", "g": "30", "crf": "5"})
    spoilt = spoil(path, seed, places=3)
    with open_video(spoilt) as source:
        found = list(source.frames())
        assert source.damaged
        assert source.damaged == sorted(set(source.damaged))
    expected = decoded_plainly(spoilt)
    assert len(found) == len(expected) >= 80
    assert all(np.array_equal(frame.image, other) for frame, other in zip(found, expected, strict=True))
    assert all(a.pts < b.pts for a, b in zip(found, found[1:], strict=False))


def test_a_frame_whose_damage_the_decoder_covers_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = encode(tmp_path / "v.mp4", "libx264", "yuv420p", pictures(60), options={"g": "25", "bf": "0"})
    overwrite_packets(path, 30, 31, skip=100)
    with open_video(path) as source:
        found = list(source.frames())
        assert [frame.index for frame in found] == list(range(60))
        assert source.damaged == [30]
    assert "damaged at frames 30" in caplog.text


def overwrite_packets(path: Path, first: int, last: int, skip: int = 0) -> None:
    """Zeros in the packets of a file, from a byte of each on."""
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for packet in [packet for packet in container.demux(video=0) if packet.size][first:last]:
            content[packet.pos + skip : packet.pos + packet.size] = bytes(packet.size - skip)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [("v.mp4", "libx264", {"movflags": "faststart"}), ("v.avi", "mjpeg", {}), ("v.mkv", "ffv1", {})],
)
@pytest.mark.parametrize("exact", [False, True])
def test_a_file_that_ends_early_gives_what_is_there(
    tmp_path: Path, name: str, codec: str, container: dict[str, str], exact: bool, caplog: pytest.LogCaptureFixture
) -> None:
    frames = pictures(90)
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = encode(tmp_path / name, codec, pixel_format, frames, container=container)
    whole = read(path)
    with av.open(str(path)) as file:
        packet = [packet for packet in file.demux(video=0) if packet.size][30]
    end = packet.pos if exact else packet.pos + packet.size * 19 // 20
    (tmp_path / f"cut_{name}").write_bytes(path.read_bytes()[:end])
    with open_video(tmp_path / f"cut_{name}") as source:
        found = list(source.frames())
        assert 20 <= len(found) <= 31
        if name == "v.mp4" or (name == "v.avi" and not exact):  # Matroska does not say how much there should be
            assert source.damaged
    for frame, other in zip(found[:20], whole, strict=False):
        np.testing.assert_array_equal(frame.image, other.image)
    assert ("damaged at frames" in caplog.text) or ("it may be cut off" in caplog.text) or (name == "v.avi" and exact)


def test_an_animation_that_ends_early(tmp_path: Path) -> None:
    whole = make_animation(tmp_path / "a.gif").read_bytes()
    (tmp_path / "cut.gif").write_bytes(whole[: len(whole) * 2 // 3])
    with open_video(tmp_path / "cut.gif") as source:
        found = list(source.frames())
        assert 2 <= len(found) < 9
        assert source.damaged == [len(found)]
    assert numbers(found) == list(range(len(found)))


def test_what_is_whole_is_not_called_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, codec in [("v.mp4", "libx264"), ("v.avi", "libx264"), ("v.mkv", "libx264"), ("v.mpg", "mpeg2video")]:
        path = encode(tmp_path / name, codec, "yuv420p", pictures(40), options={"bf": "2"})
        with open_video(path) as source:
            assert len(list(source.frames())) == 40
            assert source.damaged == []
    assert caplog.text == ""


# --- what is no video ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text.mp4", "cannot be read as a video .* expected MP4"),
        ("empty.mp4", r"cannot be read as a video \(empty, "),
        ("headless.mp4", "cut off"),
        ("text.gif", "cannot be read as an animated picture .* expected a GIF"),
        ("nothing.mp4", "no such file"),
        ("folder", "no picture in this folder: expected "),
        ("sound.mp4", "no pictures, only sound"),
        ("unknown.mp4", "no decoder"),
        ("hollow.mp4", "none of its frames"),
    ],
)
def test_what_is_no_video_is_one_clear_message(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "text.mp4").write_text("not a video at all")
    (tmp_path / "text.gif").write_text("not a picture at all")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    whole = encode(tmp_path / "v.mp4", "libx264", "yuv420p", levels(3)).read_bytes()
    (tmp_path / "headless.mp4").write_bytes(whole[: whole.index(b"moov") + 20])
    (tmp_path / "unknown.mp4").write_bytes(whole.replace(b"avc1", b"zzzz"))
    (tmp_path / "hollow.mp4").write_bytes(whole)
    overwrite_packets(tmp_path / "hollow.mp4", 0, 3)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate, sound.pts = 44100, 0
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        open_video(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name exist on Unix only")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "v.mp4")
    with pytest.raises(InputError, match="not a regular file"):
        open_video(tmp_path / "v.mp4")


def test_a_rate_must_be_a_fraction(tmp_path: Path) -> None:
    for rate in (25.0, 25, Fraction(0), Fraction(-1)):
        with pytest.raises(InputError, match="positive Fraction"):
            open_video(tmp_path, frame_rate=rate)


def test_a_file_cannot_make_us_use_the_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/v.ts"
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n"
        (tmp_path / "list.m3u8").write_text(text)
        with pytest.raises(InputError):
            open_video(tmp_path / "list.m3u8")
        with pytest.raises(BlockingIOError):  # nobody called
            server.accept()


@pytest.mark.parametrize("name", ["a%03d.mp4", "-v.mp4", "ä ö 日本.mp4", "http:v.mp4", "a:b.mp4"])
def test_every_name_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if ":" in name and sys.platform == "win32":
        pytest.skip("Windows has no colon in names")
    monkeypatch.chdir(tmp_path)
    write(Path(name), levels(2))
    assert numbers(read(Path(name))) == [0, 1]


def test_titles_in_other_encodings_do_no_harm(tmp_path: Path) -> None:
    path = encode(tmp_path / "v.avi", "mpeg4", "yuv420p", levels(3), title="ZZZZ")
    path.write_bytes(path.read_bytes().replace(b"ZZZZ", b"\xe9\xe8\xff\xfe"))
    assert numbers(read(path)) == [0, 1, 2]


def test_which_files_are_videos(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "still.gif")
    red = Image.new("RGB", (4, 4), "red")
    Image.new("RGB", (4, 4)).save(tmp_path / "moves.gif", save_all=True, append_images=[red])
    (tmp_path / "a.txt").touch()
    (tmp_path / "broken.webp").write_bytes(b"RIFF\x10\x00\x00\x00WEBPVP8X")
    assert is_video(DANCER)
    assert is_video(tmp_path / "moves.gif")
    assert not any(is_video(tmp_path / name) for name in ("still.gif", "a.txt", "missing.mp4", "broken.webp"))
