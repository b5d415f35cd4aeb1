from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from paths import DATA
from PIL import Image, PngImagePlugin

from sdpose_core.errors import InputError
from sdpose_core.images import IMAGE_SUFFIXES, MAX_PIXELS, read_image, to_rgb, write_png


def picture(h: int = 6, w: int = 9, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def saved(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


def png_bytes(w: int, h: int, data: bytes = b"") -> bytes:
    """A PNG whose header claims w x h grey pixels, whatever its data holds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", w, h, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# ---- kinds of pictures


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm", ".tga", ".webp"])
def test_lossless_formats_give_their_pixels(suffix: str, tmp_path: Path):
    rgb = picture()
    options = {"lossless": True} if suffix == ".webp" else {}
    read = read_image(saved(Image.fromarray(rgb), tmp_path / f"a{suffix}", **options))
    np.testing.assert_array_equal(read, rgb)
    assert read.dtype == np.uint8
    assert read.flags.writeable
    assert suffix in IMAGE_SUFFIXES


def test_bytes_and_strings_are_sources_too(tmp_path: Path):
    path = saved(Image.fromarray(picture()), tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(path.read_bytes()), picture())
    np.testing.assert_array_equal(read_image(str(path)), picture())


def test_the_content_counts_not_the_suffix(tmp_path: Path):
    path = saved(Image.fromarray(picture()), tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(read_image(path), picture())


UPRIGHT = np.arange(6, dtype=np.uint8).reshape(2, 3)
AS_STORED = {
    1: [[0, 1, 2], [3, 4, 5]],
    2: [[2, 1, 0], [5, 4, 3]],
    3: [[5, 4, 3], [2, 1, 0]],
    4: [[3, 4, 5], [0, 1, 2]],
    5: [[0, 3], [1, 4], [2, 5]],
    6: [[2, 5], [1, 4], [0, 3]],
    7: [[5, 2], [4, 1], [3, 0]],
    8: [[3, 0], [4, 1], [5, 2]],
}
"""What a camera stores for each EXIF orientation, so that the upright picture is `UPRIGHT`."""


@pytest.mark.parametrize("orientation", list(AS_STORED))
def test_the_exif_orientation_is_applied(orientation: int, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.asarray(AS_STORED[orientation], np.uint8))
    read = read_image(saved(stored, tmp_path / "a.png", exif=exif))
    np.testing.assert_array_equal(read[..., 0], UPRIGHT)


def test_unknown_and_broken_orientations_leave_the_picture_as_it_lies(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 9
    np.testing.assert_array_equal(
        read_image(saved(Image.fromarray(picture()), tmp_path / "a.png", exif=exif)), picture()
    )
    notes: list[str] = []
    path = saved(Image.fromarray(picture()), tmp_path / "b.png", exif=b"Exif\x00\x00garbage that is no TIFF header")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(path, notes=notes), picture())
    assert notes == [] or "EXIF" in notes[0]


def test_notes_are_logged_once_although_a_picture_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    first, second = Image.fromarray(picture()), Image.fromarray(picture()[::-1])
    path = saved(first, tmp_path / "a.gif", save_all=True, append_images=[second])
    read_image(path)
    read_image(path, again=True)
    assert caplog.text.count("only its first picture is used") == 1


def test_cmyk(tmp_path: Path):
    values = np.zeros((4, 4, 4), np.uint8)
    values[:2, :, 0] = 255  # full cyan: no red
    read = read_image(saved(Image.fromarray(values, "CMYK"), tmp_path / "a.tif"))
    np.testing.assert_array_equal(read[0, 0], [0, 255, 255])
    np.testing.assert_array_equal(read[3, 0], [255, 255, 255])
    jpeg = read_image(saved(Image.fromarray(values, "CMYK"), tmp_path / "a.jpg", quality=95))
    assert np.abs(jpeg.astype(int) - read).max() < 12


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P"])
def test_grey_two_colours_and_palettes(mode: str, tmp_path: Path):
    grey = Image.fromarray(np.tile(np.asarray([0, 255], np.uint8), (4, 3)))
    read = read_image(saved(grey.convert(mode), tmp_path / "a.png"))
    np.testing.assert_array_equal(read, np.repeat(np.asarray(grey)[..., None], 3, axis=2))


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path):
    values = np.asarray([[0, 257, 32896, 65535]], np.uint16)
    for name in ("a.png", "a.tif"):
        cv2.imwrite(str(tmp_path / name), values)
        np.testing.assert_array_equal(read_image(tmp_path / name)[0, :, 1], [0, 1, 128, 255])


def test_16_bit_colour_is_scaled_not_clipped(tmp_path: Path):
    values = np.asarray([[[0, 257 * 10, 257 * 20], [65535, 257 * 128, 257]]], np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), values[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), values // 257)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.0, 100.0, 255.0], [0, 100, 255]), ([0.0, 257.0, 65535.0], [0, 1, 255])],
)
def test_floating_point_grey(values: list[float], expected: list[int], tmp_path: Path):
    image = Image.fromarray(np.asarray([values], np.float32))
    np.testing.assert_array_equal(read_image(saved(image, tmp_path / "a.tif"))[0, :, 0], expected)


@pytest.mark.parametrize("values", [[-1.0, 1.0], [0.0, 1e6], [0.0, np.nan]])
def test_numbers_of_unknown_range_are_refused(values: list[float], tmp_path: Path):
    path = saved(Image.fromarray(np.asarray([values], np.float32)), tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: gray values from .*: convert the picture to 8 or 16 bits"):
        read_image(path)


@pytest.mark.parametrize("background", [None, (0, 0, 0), (10, 20, 200)])
def test_transparency_is_laid_on_the_background_white_by_default(background, tmp_path: Path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :] = [[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]]
    settings = {} if background is None else {"background": background}
    under = np.asarray(background or (255, 255, 255), float)
    read = read_image(saved(Image.fromarray(rgba), tmp_path / "a.png"), **settings)
    np.testing.assert_array_equal(read[0, 0], [200, 100, 50])
    np.testing.assert_array_equal(read[0, 1], under)
    np.testing.assert_allclose(read[0, 2], np.asarray([200, 100, 50]) * 128 / 255 + under * 127 / 255, atol=1)


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_transparent_colour_is_laid_on_the_background(mode: str, tmp_path: Path):
    image = Image.fromarray(np.asarray([[0, 255]], np.uint8)).convert(mode)
    transparent = {"RGB": (0, 0, 0), "L": 0, "P": 0}[mode]
    read = read_image(saved(image, tmp_path / "a.png", transparency=transparent), background=(9, 8, 7))
    np.testing.assert_array_equal(read[0], [[9, 8, 7], [255, 255, 255]])


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_of_an_animation_the_first_frame_is_used_and_it_is_said(suffix: str, tmp_path: Path, caplog):
    frames = [Image.new("RGB", (8, 8), color) for color in ((255, 0, 0), (0, 255, 0))]
    options = {"lossless": True} if suffix == ".webp" else {}
    path = saved(frames[0], tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], **options)
    notes: list[str] = []
    np.testing.assert_array_equal(read_image(path, notes=notes)[4, 4], [255, 0, 0])
    assert notes == ["an animation or a multi-page file: only its first picture is used"]
    assert f"a{suffix}" in caplog.text


def test_a_still_picture_has_no_notes(tmp_path: Path, caplog):
    notes: list[str] = []
    read_image(saved(Image.fromarray(picture()), tmp_path / "a.gif"), notes=notes)
    assert notes == []
    assert caplog.text == ""


def test_a_colour_profile_changes_nothing(tmp_path: Path):
    path = saved(Image.fromarray(picture()), tmp_path / "a.png", icc_profile=b"no profile at all")
    np.testing.assert_array_equal(read_image(path), picture())


def test_the_photos_and_drawings_of_this_repository_are_read():
    for name in ("astronaut.png", "grace_hopper.jpg", "anime_sylvie.png"):
        rgb = read_image(DATA / name)
        assert rgb.ndim == 3
        assert rgb.std() > 10


# ---- sizes


def test_one_pixel(tmp_path: Path):
    np.testing.assert_array_equal(read_image(saved(Image.new("L", (1, 1), 7), tmp_path / "a.png")), [[[7, 7, 7]]])


@pytest.mark.parametrize("size", [(12_000, 3), (3, 12_000)])
def test_long_sides(size: tuple[int, int], tmp_path: Path):
    rgb = read_image(saved(Image.new("RGB", size, (1, 2, 3)), tmp_path / "a.png"))
    assert rgb.shape == (size[1], size[0], 3)
    np.testing.assert_array_equal(rgb[-1, -1], [1, 2, 3])


def test_12000_pixels_square_are_below_the_limit():
    """The header alone: such a picture gets as far as decoding, where this one proves to be cut off."""
    assert 12_000 * 12_000 < MAX_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="damaged or cut off: its header says PNG of 12,000 x 12,000"):
            read_image(png_bytes(12_000, 12_000))


@pytest.mark.parametrize("size", [(13_400, 13_400), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_decompression_bombs_are_refused_by_their_header(size: tuple[int, int]):
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="pixels, the limit is 178,000,000: make it smaller, or raise the limit"):
            read_image(png_bytes(*size))
    assert before == Image.MAX_IMAGE_PIXELS


def test_the_limit_can_be_set_lower_and_higher(tmp_path: Path, monkeypatch):
    path = saved(Image.fromarray(picture(10, 20)), tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png has 20 x 10 = 200 pixels, the limit is 199"):
        read_image(path, max_pixels=199)
    assert read_image(path, max_pixels=200).shape == (10, 20, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    assert read_image(path, max_pixels=200).shape == (10, 20, 3)
    assert Image.MAX_IMAGE_PIXELS == 50


# ---- what is not a picture


def test_missing_empty_folder_and_not_a_picture(tmp_path: Path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("<!DOCTYPE html><html>")
    for name, message in (
        ("none.png", r"none\.png: no such file"),
        ("empty.png", r"empty\.png is empty \(0 bytes\)"),
        ("text.png", r"text\.png is not a picture that can be read \(it begins with b'<!DOCTYPE html><'\)"),
        ("", "is a folder: expected a picture file"),
        ("a\0b", r"cannot be read .*null"),
    ):
        with pytest.raises(InputError, match=message):
            read_image(f"{tmp_path}/{name}")
    with pytest.raises(InputError, match=r"picture \(0 bytes\) is empty"):
        read_image(b"")


def test_a_picture_without_permission_is_named(tmp_path: Path, monkeypatch):
    path = saved(Image.fromarray(picture()), tmp_path / "a.png")

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(InputError, match=r"a\.png cannot be read \(Permission denied\): check its permissions"):
        read_image(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_and_does_not_block(tmp_path: Path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png is not a regular file"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".tif", ".bmp"])
@pytest.mark.parametrize("part", [0.3, 0.7])
def test_truncated_pictures(suffix: str, part: float, tmp_path: Path):
    path = saved(Image.fromarray(picture(200, 200)), tmp_path / f"a{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(InputError, match=rf"a\{suffix} is (damaged|not a picture)"):
        read_image(path)


@pytest.mark.parametrize("seed", range(5))
def test_corrupt_bytes_give_a_picture_or_an_input_error_never_another(seed: int):
    random = np.random.default_rng(seed)
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF"):
        buffer = io.BytesIO()
        Image.fromarray(picture(40, 40)).save(buffer, format=kind)
        data = np.frombuffer(buffer.getvalue(), np.uint8).copy()
        places = random.integers(4, len(data), 20)
        data[places] = random.integers(0, 256, 20, dtype=np.uint8)
        try:
            rgb = read_image(data.tobytes(), max_pixels=10_000_000)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert rgb.dtype == np.uint8


def test_a_corrupt_chunk_is_damage(tmp_path: Path):
    path = saved(Image.fromarray(picture(40, 40)), tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png is damaged"):
        read_image(path)


def test_a_defect_of_ours_is_not_taken_for_a_damaged_file(tmp_path: Path, monkeypatch):
    def broken(*_args: object) -> None:
        raise KeyError("ours")

    path = saved(Image.fromarray(picture()), tmp_path / "a.png")
    monkeypatch.setattr("sdpose_core.images.to_rgb", broken)
    with pytest.raises(KeyError, match="ours"):
        read_image(path)


def test_an_orientation_counts_though_the_rest_of_the_exif_data_cannot_be_written(tmp_path: Path, monkeypatch, caplog):
    exif = Image.Exif()
    exif[0x0112] = 3
    path = saved(Image.fromarray(picture()), tmp_path / "a.png", exif=exif)

    def broken(*_args: object, **_settings: object) -> bytes:
        raise ValueError("odd tag")

    monkeypatch.setattr(Image.Exif, "tobytes", broken)
    np.testing.assert_array_equal(read_image(path), picture()[::-1, ::-1])
    assert not caplog.records


def test_postscript_is_not_run(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match="is not a picture that can be read"):
        read_image(tmp_path / "a.png")


def test_a_text_bomb_in_a_png(tmp_path: Path):
    info = PngImagePlugin.PngInfo()
    info.add_text("k", "x" * 70_000_000, zip=True)
    path = saved(Image.fromarray(picture()), tmp_path / "a.png", pnginfo=info)
    with pytest.raises(InputError, match=r"a\.png is damaged"):
        read_image(path)


# ---- writing


def test_png_round_trip(tmp_path: Path):
    write_png(tmp_path / "new folder" / "a.png", picture()[:, ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "new folder" / "a.png"), picture()[:, ::-1])
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["a.png"]


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_other_arrays_are_not_written(array: np.ndarray, tmp_path: Path):
    with pytest.raises(InputError, match=r"expected a picture of shape \(H, W, 3\) uint8, got"):
        write_png(tmp_path / "a.png", array)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch):
    write_png(tmp_path / "a.png", picture())

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(InputError, match=r"cannot write .*a\.png: No space left on device"):
        write_png(tmp_path / "a.png", picture(seed=1))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture())


def test_to_rgb_takes_pillow_pictures_as_they_come():
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    np.testing.assert_array_equal(to_rgb(image), np.full((1, 2, 3), 255))
    assert image.mode == "RGBA"


@pytest.mark.parametrize(
    "error", [RuntimeError, SystemError, ZeroDivisionError, AssertionError, AttributeError, BufferError]
)
def test_whatever_a_decoder_raises_is_damage(tmp_path: Path, error: type[Exception], monkeypatch):
    path = saved(Image.fromarray(picture(10, 20)), tmp_path / "a.png")

    def load(self):
        raise error("inside the decoder")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(InputError, match="damaged or cut off.*inside the decoder"):
        read_image(path)
