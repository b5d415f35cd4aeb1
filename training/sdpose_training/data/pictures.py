"""Finding and reading the pictures of a data set."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import numpy as np

from sdpose_core import inputs
from sdpose_core.errors import InputError, reason_of
from sdpose_core.images import IMAGE_SUFFIXES, is_transparent, of_picture, read_image, to_rgb

COMMON_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Suffixes of pictures that a seed chooses from. Fixed, so that the same seed always chooses the same pictures."""

_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def pictures_in(folder: Path, option: str, suffixes: Collection[str] = IMAGE_SUFFIXES) -> list[Path]:
    """The pictures in a folder by `inputs.pictures_in`, without hidden files and results of ours.

    They are sorted by code points, not in natural order: seeds choose by this order. Raises `InputError`, which names
    the option that gave the folder, if there are none.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{option} {folder}: no such folder; expected a folder of pictures")
    found = sorted(inputs.pictures_in(folder, suffixes))
    if not found:
        raise InputError(f"{option} {folder}: no pictures in it ({', '.join(sorted(suffixes))})")
    return found


def read_picture(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """A picture as RGB uint8 (H, W, 3), by OpenCV's decoder, which takes half the time of Pillow's.

    A picture with transparency is read by `read_image`: on white, as at inference. (OpenCV would drop the alpha, and
    show what was hidden, mostly black.)

    The EXIF orientation is applied, as in the released pipeline, unless only the stored picture has the annotated
    `size` (w, h).

    Raises `InputError`: missing, damaged, truncated, or not of the annotated size.
    """
    import cv2

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {reason_of(error)}") from None
    if not data.startswith(_JPEG) and of_picture(path, is_transparent, False):
        image = read_image(path)
        if size is None or image.shape[1::-1] == tuple(size):
            return image
        stored = of_picture(path, to_rgb, None)
        if stored is None or stored.shape[1::-1] != tuple(size):
            raise _other_size(path, image, size)
        return stored
    image = _decoded(data, cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path}: the picture is damaged or truncated ({len(data):,} bytes)")
    upright, found = image, image.shape[1::-1]
    if size is not None and found != tuple(size):
        image = _decoded(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if found[::-1] == tuple(size) else None
        if image is None or image.shape[1::-1] != tuple(size):
            raise _other_size(path, upright, size)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def _other_size(path: Path, image: np.ndarray, size: tuple[int, int]) -> InputError:
    h, w = image.shape[:2]
    return InputError(f"{path}: {w} x {h} pixels, annotated as {size[0]} x {size[1]}")


def _decoded(data: bytes, flags: int) -> np.ndarray | None:
    """BGR uint8 (H, W, 3); None for a damaged or truncated picture."""
    import cv2

    # OpenCV fills up a JPEG that ends early with gray; its end mark is gone then.
    whole = not data.startswith(_JPEG) or data.rfind(_JPEG_END) > 0
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data and whole else None
