"""The style networks as functions: a picture -> the same picture in another style, of the same size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from sdpose_core.errors import InputError
from sdpose_core.images import read_image
from sdpose_training.data.pictures import pictures_in
from sdpose_training.styles import cyclegan, stytr2

Painter = Callable[[np.ndarray, str], np.ndarray]
"""RGB uint8 (H, W, 3) and the picture's name -> RGB uint8 (H, W, 3)."""


def cyclegan_painter(model: nn.Module, *, max_side: int, device: str | torch.device = "cpu") -> Painter:
    """Paint with CycleGAN's generator; `max_side` as for `stytr2_painter`."""
    model = model.to(device)

    def paint(rgb: np.ndarray, name: str) -> np.ndarray:
        small = limited(rgb, max_side)
        padded = padded_to(small, cyclegan.MULTIPLE, cyclegan.MIN_SIDE)
        painted = (_run(model, _tensor(padded, device) * 2 - 1) + 1) / 2
        return _restored(painted, small, rgb)

    return paint


def stytr2_painter(
    model: nn.Module, pictures: Sequence[Path], *, seed: int, max_side: int, device: str | torch.device = "cpu"
) -> Painter:
    """Paint with StyTr2 in the style of one of the pictures, chosen by seed and name. As in the authors' code, it is
    scaled to cover the photo and center-cropped.

    Args:
        max_side: larger pictures are painted at this size (pixels of the longer side) and enlarged again.
    """
    model = model.to(device)

    def paint(rgb: np.ndarray, name: str) -> np.ndarray:
        small = limited(rgb, max_side)
        padded = padded_to(small, stytr2.MULTIPLE, stytr2.MIN_SIDE)
        style = covering(read_image(pictures[chosen(len(pictures), seed, name)]), padded.shape[:2])
        painted = _run(model, _tensor(padded, device), _tensor(style, device))
        return _restored(painted, small, rgb)

    return paint


def find_style_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, in the order that `chosen` counts in; `InputError` without any."""
    return pictures_in(folder, "--style-pictures")


def chosen(count: int, seed: int, name: str) -> int:
    """A number from 0 to count - 1, evenly distributed, that depends only on seed and name."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big") % count


def limited(rgb: np.ndarray, max_side: int) -> np.ndarray:
    """The picture, reduced if its longer side is above `max_side`."""
    h, w = rgb.shape[:2]
    factor = max_side / max(h, w)
    if factor >= 1:
        return rgb
    return cv2.resize(rgb, (max(round(w * factor), 1), max(round(h * factor), 1)), interpolation=cv2.INTER_AREA)


def padded_to(rgb: np.ndarray, multiple: int, min_side: int) -> np.ndarray:
    """The picture, mirrored at the right and bottom until its sides are multiples and at least `min_side`."""
    h, w = (max(-side % multiple, min_side - side) for side in rgb.shape[:2])
    return np.pad(rgb, ((0, h), (0, w), (0, 0)), mode="reflect")


def covering(rgb: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A picture scaled to cover `shape` (h, w) and center-cropped to it."""
    (h, w), (out_h, out_w) = rgb.shape[:2], shape
    factor = max(out_h / h, out_w / w)
    size = max(round(w * factor), out_w), max(round(h * factor), out_h)
    scaled = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    x, y = (size[0] - out_w) // 2, (size[1] - out_h) // 2
    return scaled[y : y + out_h, x : x + out_w]


def _run(model: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    try:
        with torch.inference_mode():
            return model(*inputs)
    except torch.cuda.OutOfMemoryError:
        h, w = inputs[0].shape[-2:]
        raise InputError(f"{w} x {h} pixels do not fit in the GPU's memory: lower --max-side") from None


def _tensor(rgb: np.ndarray, device: str | torch.device) -> torch.Tensor:
    """RGB uint8 (H, W, 3) -> (1, 3, H, W) in [0, 1]."""
    pixels = torch.from_numpy(np.ascontiguousarray(rgb)).to(device)
    return pixels.permute(2, 0, 1)[None].float() / 255


def _restored(painted: torch.Tensor, small: np.ndarray, original: np.ndarray) -> np.ndarray:
    """(1, 3, H, W) in [0, 1] -> uint8 without padding, at the size of the original.

    Raises `InputError` for numbers that are not finite.
    """
    values = painted[0].permute(1, 2, 0).cpu().numpy()
    if not np.isfinite(values).all():
        raise InputError("the network returned numbers that are not finite: check the weights")
    pixels = np.rint(values.clip(0, 1) * 255).astype(np.uint8)[: small.shape[0], : small.shape[1]]
    h, w = original.shape[:2]
    if pixels.shape[:2] != (h, w):
        pixels = cv2.resize(pixels, (w, h), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(pixels)
