"""Video frames in and out. The odd files are made here: turned, transparent, deep, uneven in time, damaged."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from sdpose_core.errors import InputError
from sdpose_core.video import frame_count, is_video, open_video
from sdpose_core.video_writer import CODECS, SUFFIX, VideoWriter

DANCER = Path(__file__).parent / "data" / "dancer.mp4"
RATES = [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(16), Fraction(12, 5)]


def pictures(count: int, size: tuple[int, int] = (64, 48), seed: int = 0) -> list[np.ndarray]:
    """Noise, each frame with its number as a bright block: no two alike."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 200, (count, size[1], size[0], 3), dtype=np.uint8)
    for number, frame in enumerate(frames):
        frame[:8, number % (size[0] - 8) : number % (size[0] - 8) + 8] = 255
    return list(frames)


def write(path: Path, frames: list[np.ndarray], rate: Fraction = Fraction(25), codec: str = "lossless") -> Path:
    h, w = frames[0].shape[:2]
    with VideoWriter(path, (w, h), rate, codec=codec) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def read(path: Path, start: int = 0) -> list:
    with open_video(path) as source:
        return list(source.frames(start))


# --- round trips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("codec", ["lossless", "ffv1"])
def test_lossless_codecs_keep_every_pixel_and_the_exact_rate(tmp_path: Path, codec: str, rate: Fraction) -> None:
    frames = pictures(7, (65, 47))
    path = write(tmp_path / f"v{SUFFIX[codec]}", frames, rate, codec)
    with open_video(path) as source:
        found = list(source.frames())
        assert source.info.size == (65, 47)
        if codec == "lossless":  # Matroska rounds times to milliseconds
            assert source.info.frame_rate == rate
    assert all(np.array_equal(a.image, b) for a, b in zip(found, frames, strict=True))
    assert [frame.index for frame in found] == list(range(7))
    assert [frame.pts for frame in found] == pytest.approx([float(n / rate) for n in range(7)], abs=6e-4)


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


def test_times_of_frames_are_kept(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.1, 0.5, 0.5125, 2.0]
    with VideoWriter(tmp_path / "v.mp4", (64, 48), Fraction(25), pts=times) as writer:
        for frame in pictures(6):
            writer.write(frame)
    assert [frame.pts for frame in read(tmp_path / "v.mp4")] == pytest.approx(times, abs=1e-4)


def test_reading_from_a_number_on_gives_the_same_frames() -> None:
    everything = read(DANCER)
    assert len(everything) == frame_count(DANCER) == 45
    for start in (1, 17, 44, 45):
        rest = read(DANCER, start)
        assert [frame.index for frame in rest] == list(range(start, 45))
        for a, b in zip(rest, everything[start:], strict=True):
            assert a.pts == b.pts
            assert np.array_equal(a.image, b.image)


# --- odd files -------------------------------------------------------------------------------------------------------

MATRICES = {
    0: (1, 0, 0, 1),
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "upside down": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
}
UPRIGHT = {
    0: lambda a: a,
    90: lambda a: np.rot90(a, -1),
    180: lambda a: np.rot90(a, 2),
    270: lambda a: np.rot90(a, 1),
    "mirrored": lambda a: a[:, ::-1],
    "upside down": lambda a: a[::-1],
    "transposed": lambda a: a.transpose(1, 0, 2),
}


def set_display_matrix(path: Path, matrix: tuple[int, ...]) -> None:
    """Write the matrix (a, b, c, d) into the track header of an MP4, as phones do."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 65536 for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize("turn", MATRICES, ids=str)
def test_frames_come_upright(tmp_path: Path, turn: int | str) -> None:
    frames = pictures(3)
    path = write(tmp_path / "v.mp4", frames)
    set_display_matrix(path, MATRICES[turn])
    with open_video(path) as source:
        found = list(source.frames())
    expected = [UPRIGHT[turn](frame) for frame in frames]
    assert source.info.size == (expected[0].shape[1], expected[0].shape[0])
    for frame, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(frame.image, wanted)


def encode(path: Path, codec: str, pixel_format: str, frames: list[np.ndarray], kind: str, **options: str) -> Path:
    """A file by PyAV itself, in formats that the writer does not make."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], pixel_format
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format=kind)))
        container.mux(stream.encode(None))
    return path


def test_ten_bits(tmp_path: Path) -> None:
    levels = [np.full((48, 64, 3), value, np.uint8) for value in (0, 64, 128, 255)]
    path = encode(tmp_path / "v.mkv", "ffv1", "yuv444p10le", levels, "rgb24")
    for frame, level in zip(read(path), levels, strict=True):
        assert np.abs(frame.image.astype(int) - level).max() <= 2


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 200, 30)])
def test_alpha_is_laid_on_the_background(tmp_path: Path, background: tuple[int, int, int]) -> None:
    image = np.zeros((48, 64, 4), np.uint8)
    image[:, :32] = (250, 10, 20, 255)
    image[:, 48:] = (100, 100, 100, 128)
    path = encode(tmp_path / "v.mov", "png", "rgba", [image] * 2, "rgba")
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
    path = encode(tmp_path / "v.webm", "libvpx-vp9", "yuva420p", [image] * 3, "rgba")
    with open_video(path, background=(0, 255, 0)) as source:
        found = list(source.frames())
    assert len(found) == 3
    assert np.abs(found[0].image[24, 10].astype(int) - 200).max() < 12
    assert np.abs(found[0].image[24, 54].astype(int) - (0, 255, 0)).max() < 12


def test_pixels_that_are_not_square_are_made_square(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        for image in pictures(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    with open_video(tmp_path / "v.mp4") as source:
        assert source.info.size == (96, 48)
        assert next(source.frames()).image.shape == (48, 96, 3)


def test_reordered_frames_come_in_the_order_of_presentation(tmp_path: Path) -> None:
    levels = [np.full((48, 64, 3), 20 * n, np.uint8) for n in range(12)]
    path = encode(tmp_path / "v.mp4", "libx264", "yuv420p", levels, "rgb24", bf="3", crf="10")
    found = read(path)
    assert [round(frame.image.mean() / 20) for frame in found] == list(range(12))
    assert all(a.pts < b.pts for a, b in zip(found, found[1:], strict=False))


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animated_pictures(tmp_path: Path, suffix: str) -> None:
    levels = [Image.new("RGB", (30, 21), (40 * n, 40 * n, 40 * n)) for n in range(5)]
    path = tmp_path / f"a{suffix}"
    lossless = {"lossless": True} if suffix == ".webp" else {}
    levels[0].save(path, save_all=True, append_images=levels[1:], duration=[40, 40, 200, 40, 80], loop=0, **lossless)
    with open_video(path) as source:
        found = list(source.frames())
        assert source.info.frames == 5
        assert source.info.frame_rate == Fraction(5 * 1000, 400)
    assert [frame.image.mean() for frame in found] == pytest.approx([0, 40, 80, 120, 160], abs=2)
    assert [frame.pts for frame in found] == pytest.approx([0, 0.04, 0.08, 0.28, 0.32])
    assert [frame.index for frame in read(path, 3)] == [3, 4]


def test_a_folder_of_pictures_in_natural_order(tmp_path: Path) -> None:
    for number in (1, 2, 10, 9):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    with open_video(tmp_path, frame_rate=Fraction(10)) as source:
        assert [int(frame.image[0, 0, 0]) for frame in source.frames()] == [1, 2, 9, 10]
        assert [frame.pts for frame in source.frames(2)] == [0.2, 0.3]
    Image.new("RGB", (9, 6)).save(tmp_path / "frame11.png")
    with open_video(tmp_path) as source, pytest.raises(InputError, match=r"frame11\.png: 9 x 6 .* 8 x 6"):
        list(source.frames())


# --- damage ----------------------------------------------------------------------------------------------------------


def test_a_file_that_ends_early_gives_what_is_there(tmp_path: Path) -> None:
    frames = pictures(40)
    whole = write(tmp_path / "v.mkv", frames, codec="ffv1").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    found = read(tmp_path / "cut.mkv")
    assert 10 <= len(found) < 40
    for frame, original in zip(found, frames, strict=False):
        np.testing.assert_array_equal(frame.image, original)


def test_garbage_in_the_middle_is_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", pictures(60))
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + len(content) // 3
    content[start : start + 6000] = bytes(6000)
    path.write_bytes(content)
    with open_video(path) as source:
        found = list(source.frames())
        assert source.damaged
    assert 30 < len(found) < 60


@pytest.mark.parametrize("name", ["text.mp4", "empty.mp4", "text.gif", "nothing.mp4", "folder", "sound.mp4"])
def test_what_is_no_video_is_one_clear_message(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.mp4").write_text("not a video at all")
    (tmp_path / "text.gif").write_text("not a picture at all")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate, sound.pts = 44100, 0
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match=name):
        open_video(tmp_path / name)


def test_which_files_are_videos(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "still.gif")
    Image.new("RGB", (4, 4)).save(
        tmp_path / "moves.gif", save_all=True, append_images=[Image.new("RGB", (4, 4), "red")]
    )
    (tmp_path / "a.txt").touch()
    assert is_video(DANCER)
    assert is_video(tmp_path / "moves.gif")
    assert not any(is_video(tmp_path / name) for name in ("still.gif", "a.txt", "missing.mp4"))


# --- writing that fails ----------------------------------------------------------------------------------------------


def test_nothing_is_left_of_a_video_that_was_not_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "v.mp4", (64, 48), Fraction(25)) as writer:
        writer.write(pictures(1)[0])
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("image", "message"),
    [(np.zeros((48, 65, 3), np.uint8), "expected RGB uint8"), (np.zeros((48, 64, 3), np.float32), "float32")],
)
def test_frames_of_another_kind_are_refused(tmp_path: Path, image: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message), VideoWriter(tmp_path / "v.mp4", (64, 48), Fraction(25)) as writer:
        writer.write(image)
    assert not list(tmp_path.iterdir())


def test_times_must_rise_and_suffice_and_a_video_needs_a_frame(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not rise"):
        VideoWriter(tmp_path / "v.mp4", (64, 48), Fraction(25), pts=[0.0, 1.0, 1.0])
    with pytest.raises(InputError, match="2 times were given"):
        with VideoWriter(tmp_path / "v.mp4", (64, 48), Fraction(25), pts=[0.0, 1.0]) as writer:
            for frame in pictures(3):
                writer.write(frame)
    with pytest.raises(InputError, match="at least one frame"), VideoWriter(tmp_path / "v.mp4", (64, 48), Fraction(25)):
        pass
    assert not list(tmp_path.iterdir())


def test_settings_are_checked_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, message in [
        (("v.mp4", (64, 48), Fraction(0)), "positive Fraction"),
        (("v.mkv", (64, 48), Fraction(25)), r"writes \.mp4 files"),
        (("v.mp4", (64, 48), Fraction(25), "divx"), "choose one of lossless"),
    ]:
        name, size, rate, *codec = arguments
        with pytest.raises(InputError, match=message):
            VideoWriter(tmp_path / name, size, rate, codec=(codec or ["lossless"])[0])
    monkeypatch.setattr(av, "codecs_available", {"ffv1"})
    with pytest.raises(InputError, match="no encoder libx264rgb: use codec ffv1"):
        VideoWriter(tmp_path / "v.mp4", (64, 48), Fraction(25)).__enter__()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left on device"):
        with VideoWriter(tmp_path / "v.mp4", (64, 48), Fraction(25)) as writer:
            writer._container = type("Full", (), {"mux": full, "close": lambda self: None})()
            for frame in pictures(80):
                writer.write(frame)
    assert not list(tmp_path.iterdir())


def test_every_codec_states_its_suffix() -> None:
    assert set(CODECS) == set(SUFFIX)
    assert math.isclose(float(Fraction(30000, 1001)), 29.97, abs_tol=1e-3)
