"""Reads pictures as RGB and writes PNG. ICC color profiles are ignored, as in the datasets: values count as sRGB."""

from __future__ import annotations

import contextlib
import io
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np

from .errors import InputError, reason_of, restated
from .files import NotRegular, atomic_path, open_regular

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

T = TypeVar("T")

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif", ".jp2",
     ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".mpo", ".apng"}
)  # fmt: skip
"""Suffixes of the pictures in a folder (lower case)."""

UNREADABLE = frozenset(
    {".heic", ".heif", ".hif", ".jxl", ".svg", ".psd", ".exr", ".hdr", ".dng", ".raw", ".cr2", ".cr3", ".nef", ".arw",
     ".raf", ".orf", ".rw2", ".pef", ".srw"}
)  # fmt: skip
"""Suffixes of pictures of phones, cameras and editors that are not read (lower case)."""

MAX_PIXELS = 178_000_000
"""Larger pictures are refused unless a larger limit is given. This is 13,341 pixels square, 0.5 GB as RGB."""

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
"""Backgrounds of transparent pictures, for most drawings were made on white paper; and of masks."""

# Formats that Pillow decodes itself. EPS is left out: it would start another program on an untrusted file.
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "DIB", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM", "TGA", "ICO", "DDS")

DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, OSError, RuntimeError,
    SyntaxError, SystemError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip
"""Exceptions that Pillow and its decoders raise for damaged files."""

CHANNELS = (1, 3, 4)
"""Gray, RGB, and RGB with transparency."""

_pillow_settings = threading.Lock()


def read_image(
    source: str | Path | bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    background: tuple[int, int, int] = WHITE,
    notes: list[str] | None = None,
    at_least: int | None = None,
    again: bool = False,
) -> np.ndarray:
    """Read a picture file, or its bytes, as upright RGB uint8 (H, W, 3).

    Applies the EXIF orientation and converts CMYK, gray, palette and 16-bit pictures (16 bits are scaled to 8). Of an
    animation or a multi-page file, the first picture is read.

    Args:
        max_pixels: larger pictures are refused before decoding.
        background: RGB color behind transparent pixels.
        at_least: sides in pixels that are enough: a JPEG is decoded at the smallest fraction with these, which is fast.
        notes: receives a line for everything that was ignored (more frames, unreadable EXIF). Also logged.
        again: the picture was read before, and its notes were logged then.

    Raises:
        InputError: the file is missing, unreadable, empty, damaged, cut off, not a picture, or too large.
    """
    name = f"picture ({len(source):,} bytes)" if isinstance(source, bytes) else str(source)
    with _opened(source, name) as file:
        image = _read_header(file, name, max_pixels)
        try:
            if at_least:
                image.draft(None, (at_least, at_least))
            notes_here = _decode(image, name)
            pixels = _rgb_of(image, background, name)
        except MemoryError:
            raise InputError(f"{name}: {_size_text(image)} pixels do not fit in memory: make it smaller") from None
    for note in [] if again else notes_here:
        log.warning("%s: %s", name, note)
    if notes is not None:
        notes += notes_here
    return pixels


def open_picture(source: str | Path | BinaryIO) -> Image.Image:
    """Pillow's picture, not yet decoded, of the formats that Pillow reads itself; others are not even tried."""
    from PIL import Image

    Image.init()
    return Image.open(source, formats=[known for known in _FORMATS if known in Image.OPEN])


def of_picture(path: Path, fact: Callable[[Image.Image], T], otherwise: T) -> T:
    """`fact` of a picture that is not yet decoded; `otherwise` if it cannot be read."""
    try:
        with pixel_limit(str(path)), open_regular(path) as file, open_picture(file) as image:
            return fact(image)
    except (*DAMAGE, MemoryError):
        return otherwise


def _rgb_of(image: Image.Image, background: tuple[int, int, int], name: str) -> np.ndarray:
    with restated(name):
        return to_rgb(image, background)


def to_rgb(image: Image.Image, background: tuple[int, int, int] = WHITE) -> np.ndarray:
    """A Pillow picture of any mode, over `background` if transparent -> RGB uint8 (H, W, 3).

    Raises `InputError` for values of unknown range (32-bit or floating point, above 16 bits).
    """
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        gray = _to_8_bits(np.asarray(image))
        return np.repeat(gray[..., None], 3, axis=2)
    if is_transparent(image):
        canvas = Image.new("RGBA", image.size, (*background, 255))
        canvas.alpha_composite(_converted(image, "RGBA"))
        image = canvas
    return np.array(_converted(image, "RGB"))


def is_transparent(image: Image.Image) -> bool:
    """Whether a Pillow picture, decoded or not, has transparent pixels or could have some."""
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def laid_on(rgba: np.ndarray, background: tuple[int, int, int] = WHITE) -> np.ndarray:
    """RGBA uint8 (H, W, 4) over a color -> RGB uint8 (H, W, 3)."""
    alpha = rgba[..., 3:].astype(np.uint32)
    mixed = rgba[..., :3] * alpha + np.asarray(background, np.uint32) * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def _converted(image: Image.Image, mode: str) -> Image.Image:
    try:
        return image.convert(mode)
    except DAMAGE as error:
        raise InputError(f"a picture of mode {image.mode} cannot be converted to {mode} ({error})") from None


def write_png(path: str | Path, rgb: np.ndarray, texts: Mapping[str, str] | None = None) -> None:
    """Write RGB uint8 (H, W, 3) as PNG, with `texts` in its header, atomically.

    Raises `InputError` for a wrong array or an unwritable folder.
    """
    from PIL import Image, PngImagePlugin

    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise InputError(f"{path}: expected a picture of shape (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
    header = PngImagePlugin.PngInfo()
    for name, text in (texts or {}).items():
        header.add_text(name, text)
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(rgb)).save(temporary, format="PNG", pnginfo=header)


@contextlib.contextmanager
def _opened(source: str | Path | bytes, name: str) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        file: BinaryIO = io.BytesIO(source)
    else:
        try:
            file = open_regular(source)
        except FileNotFoundError:
            raise InputError(f"{name}: no such file") from None
        except (IsADirectoryError, NotRegular) as error:
            kind = "a folder" if isinstance(error, IsADirectoryError) else "not a regular file"
            raise InputError(f"{name} is {kind}: expected a picture file") from None
        except (OSError, ValueError) as error:
            hint = "check its permissions and its name"
            raise InputError(f"{name} cannot be read ({reason_of(error)}): {hint}") from None
    with file:
        if not file.read(1):
            raise InputError(f"{name} is empty (0 bytes): expected a picture, get the file again")
        file.seek(0)
        yield file


def _read_header(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """The opened picture, not yet decoded. Raises `InputError` if it is not a picture or too large."""
    from PIL import UnidentifiedImageError

    try:
        with pixel_limit(name, max_pixels):
            image = open_picture(file)
    except InputError:
        raise
    except UnidentifiedImageError:
        file.seek(0)
        raise InputError(
            f"{name} is not a picture that can be read (it begins with {file.read(16)!r}): expected PNG, JPEG, WebP, "
            "GIF, TIFF, BMP or similar; convert other formats to PNG"
        ) from None
    except DAMAGE as error:
        raise InputError(f"{name} is damaged: its header cannot be read ({error}): get the file again") from None
    except MemoryError:
        raise InputError(f"{name}: its header does not fit in memory: it is damaged, get the file again") from None
    check_pixels(image.size, name, max_pixels)
    return image


@contextlib.contextmanager
def pixel_limit(name: str, max_pixels: int | None = None) -> Iterator[None]:
    """Replaces Pillow's pixel limit, which is global, and silences its warnings while a header is read.

    Raises `InputError` for a picture of more than twice the limit; `check_pixels` does it for the others.
    """
    from PIL import Image

    limit = max_pixels or MAX_PIXELS
    with _pillow_settings, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = limit
        try:
            yield
        except Image.DecompressionBombError:
            what = _limit(limit, fixed=max_pixels is None)
            raise InputError(f"{name} has more than {2 * limit:,} pixels, {what}") from None
        finally:
            Image.MAX_IMAGE_PIXELS = before


def check_pixels(size: tuple[int, int], name: str, max_pixels: int | None = None) -> None:
    """Raise `InputError` if a picture, a frame or a canvas of `size` (w, h) has more pixels.

    Without `max_pixels` the limit is `MAX_PIXELS`, which cannot be raised.
    """
    (w, h), limit = size, max_pixels or MAX_PIXELS
    if w * h > limit:
        raise InputError(f"{name} has {w:,} x {h:,} = {w * h:,} pixels, {_limit(limit, fixed=max_pixels is None)}")


def _decode(image: Image.Image, name: str) -> list[str]:
    """Decode in place and apply the EXIF orientation. Returns a note for everything that was ignored."""
    from PIL import Image

    try:
        # Phone photos (MPO) hold more views of the same picture: no note is needed.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of them is an error or a note
            several = image.format != "MPO" and getattr(image, "is_animated", False)
            image.load()
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise InputError(
            f"{name} is damaged or cut off: its header says {image.format} of {_size_text(image)} pixels, but decoding "
            f"failed ({error}): get the file again"
        ) from None
    notes = []
    if several:
        notes.append("an animation or a multi-page file: only its first picture is used")
    if not _turn_upright(image):
        notes.append("its EXIF data cannot be read: the picture is not rotated")
    return notes


def _turn_upright(image: Image.Image) -> bool:
    """Apply the EXIF orientation in place; False if it cannot be read."""
    from PIL import ImageOps

    stored = image.im
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ImageOps.exif_transpose(image, in_place=True)
    except DAMAGE:
        return image.im is not stored  # if turned already, only writing back the EXIF data failed, which is not needed
    return True


def white_of(low: float, high: float, mean: float, *, whole: bool) -> int:
    """The value that is white in pictures whose values have this range: 1, 255 or 65535.

    Values slightly outside 0..1 still mean 0..1, and so do rare highlights above it.

    Args:
        low, high, mean: of all values.
        whole: whether the type holds only whole numbers; `uint8` needs no guess.

    Raises `InputError` for values that are not numbers, or of unknown range.
    """
    found = f"values from {low:g} to {high:g}"
    if not np.isfinite([low, high]).all():
        raise InputError(f"{found}, some are not numbers (NaN or infinity): check what made the picture")
    if low < (0 if whole else -0.5) or high > 65535.5:
        raise InputError(f"{found}, of unknown range: expected 0..1, or whole numbers of 0..255")
    if high <= (1 if whole else 1.5) or (not whole and mean <= 1 and high <= 64):
        return 1
    return 255 if high <= 255.5 else 65535


def as_rgb(picture: Any) -> np.ndarray:
    """One picture of any kind -> RGB uint8 (H, W, 3).

    Args:
        picture: a Pillow picture of any mode; or an array or tensor (H, W), (H, W, C) or (C, H, W) of 1, 3 or 4
            channels, maybe with a batch of one, of any number type, with values of 0..1 or 0..255 (see `white_of`).

    Raises `InputError` for anything else.
    """
    from PIL import Image

    if isinstance(picture, Image.Image):
        return to_rgb(picture)
    array = _with_channels_last(_plain_array(picture))
    if array.dtype != np.uint8:
        known = array.astype(np.float32)
        whole = array.dtype.kind in "iub"
        white = white_of(float(known.min()), float(known.max()), float(known.mean()), whole=whole)
        array = np.clip(np.rint(known * (255 / white)), 0, 255).astype(np.uint8)
    if array.shape[2] == 3:
        return np.ascontiguousarray(array)
    return to_rgb(Image.fromarray(array[..., 0] if array.shape[2] == 1 else array))


def is_tensor(value: Any) -> bool:
    """Whether it is a torch tensor; torch is not imported for this."""
    return hasattr(value, "detach") and hasattr(value, "is_floating_point")


def as_array(value: Any) -> np.ndarray:
    """A tensor, array, list or number as an array; floating-point tensors become float32, as numpy has no bfloat16."""
    if not is_tensor(value):
        return np.asarray(value)
    tensor = value.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def as_numbers(value: Any, what: str) -> np.ndarray:
    """A tensor, array or list as float64. Raises `InputError` for anything else."""
    try:
        return as_array(value).astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{what}: expected numbers, got {value!r:.80}") from None


def _plain_array(picture: Any) -> np.ndarray:
    """An array or a tensor as an array of numbers."""
    array = as_array(picture) if is_tensor(picture) else picture
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        kind = getattr(array, "dtype", type(picture).__name__)
        raise InputError(f"picture: expected a Pillow picture, or an array or tensor of numbers, got {kind}")
    return array


def _with_channels_last(array: np.ndarray) -> np.ndarray:
    """(H, W), (H, W, C), (C, H, W), or one of these in a batch of one -> (H, W, C) of 1, 3 or 4 channels."""
    found = array[0] if array.ndim == 4 and len(array) == 1 else array
    found = found[..., None] if found.ndim == 2 else found
    if found.ndim == 3 and found.shape[-1] not in CHANNELS and found.shape[0] in CHANNELS:
        found = found.transpose(1, 2, 0)
    if found.ndim != 3 or found.shape[-1] not in CHANNELS or 0 in found.shape:
        raise InputError(
            f"picture: expected an array of shape (H, W), (H, W, 3) or (H, W, 4), got {array.dtype} of shape "
            f"{array.shape}"
        )
    return found


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Gray (H, W) of 16 bits (as 16-bit, 32-bit or floating-point numbers) or 0..1 -> uint8 (H, W)."""
    top, bottom = float(values.max()), float(values.min())
    if values.dtype.kind in "ui" and 0 <= bottom and top <= 65535:
        scale = 255 / 65535
    elif values.dtype.kind == "f" and 0 <= bottom and top <= 65535:
        scale = 255.0 if top <= 1 else 1.0 if top <= 255 else 255 / 65535
    else:
        raise InputError(
            f"gray values from {bottom:g} to {top:g}, of unknown range: convert the picture to 8 or 16 bits"
        )
    return np.rint(values * scale).astype(np.uint8)


def _size_text(image: Image.Image) -> str:
    return f"{image.width:,} x {image.height:,}"


def _limit(max_pixels: int, *, fixed: bool = False) -> str:
    raised = "" if fixed else ", or raise the limit if you trust the file"
    return f"the limit is {max_pixels:,}: make it smaller{raised}"


def check_image(image: np.ndarray) -> None:
    """Raise `InputError` unless `image` is RGB uint8 (H, W, 3) of at least one pixel."""
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        shape = getattr(image, "shape", type(image).__name__)
        raise InputError(f"picture: expected an RGB array of shape (height, width, 3), got {shape}")
    if image.dtype != np.uint8:
        raise InputError(f"picture: expected uint8 values of 0..255, got {image.dtype}")
