"""Keypoints from heatmaps, as the projects without UDP find them: a quarter of a pixel, or DARK.

Sources: arXiv 1804.06208 (quarter of a pixel), arXiv 1910.06278 (DARK); both as in MMPose. With UDP:
`sdpose_core.codec.heatmaps.decode_dark_udp`.
"""

from __future__ import annotations

import numpy as np

from sdpose_core.codec.heatmaps import MAX_STEP, decode_dark_udp
from sdpose_core.dependencies import opencv
from sdpose_training.peers.base import unseen

DECODERS = ("argmax", "quarter", "dark", "dark-udp")

BLUR_TAPS = 11
"""Of the Gaussian that DARK applies before the logarithm: a sigma of 2 heatmap pixels."""

_LOWEST = 1e-10


def decode(heatmaps: np.ndarray, how: str, taps: int = BLUR_TAPS) -> tuple[np.ndarray, np.ndarray]:
    """Heatmaps (n, K, h, w) -> points (n, K, 2) in heatmap pixels (x, y), scores (n, K).

    The score is the maximum; a map without a positive maximum gives NaN and 0. `how` is one of `DECODERS`, `taps` the
    length of DARK's blur.
    """
    if how == "dark-udp":
        return decode_dark_udp(heatmaps, (heatmaps.shape[3], heatmaps.shape[2]), blur_kernel=taps)
    x, y, scores = _maxima(heatmaps)
    offsets = {"argmax": _no_offsets, "quarter": _quarters}
    step = _dark_steps(heatmaps, x, y, taps) if how == "dark" else offsets[how](heatmaps, x, y)
    return unseen(np.stack([x, y], axis=-1) + step, scores)


def shifted(mirrored: np.ndarray) -> np.ndarray:
    """Heatmaps (n, K, h, w) that were mirrored back, moved right by a pixel.

    Without UDP, a mirrored crop is off by about one heatmap pixel, and so MMPose's flip test corrects it.
    """
    return np.concatenate([mirrored[..., :1], mirrored[..., :-1]], axis=-1)


def _maxima(heatmaps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column x, row y and height of the maximum of each map, each (n, K)."""
    n, count, _, w = heatmaps.shape
    flat = heatmaps.reshape(n, count, -1)
    at = flat.argmax(axis=-1)
    return at % w, at // w, np.take_along_axis(flat, at[..., None], axis=-1)[..., 0]


def _no_offsets(heatmaps: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.zeros((*x.shape, 2))


def _quarters(heatmaps: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, K, 2): a quarter of a pixel toward the higher neighbor; none in the outermost columns and rows.

    As in MMPose, the second column and row give none along their axis either.
    """
    h, w = heatmaps.shape[2:]
    dx = _at(heatmaps, x + 1, y) - _at(heatmaps, x - 1, y)
    dy = _at(heatmaps, x, y + 1) - _at(heatmaps, x, y - 1)
    dx = np.where((x > 1) & (x < w - 1) & (y > 0), dx, 0)
    dy = np.where((y > 1) & (y < h - 1) & (x > 0), dy, 0)
    return np.sign(np.stack([dx, dy], axis=-1)) / 4


def _dark_steps(heatmaps: np.ndarray, x: np.ndarray, y: np.ndarray, taps: int) -> np.ndarray:
    """(n, K, 2): DARK's Newton step, none within two pixels of the border; longer ones are cut to `MAX_STEP`."""
    h, w = heatmaps.shape[2:]
    logs = np.log(np.maximum(_blurred(heatmaps, taps), _LOWEST))

    def value(dx: int, dy: int) -> np.ndarray:
        return _at(logs, x + dx, y + dy)

    gx, gy = (value(1, 0) - value(-1, 0)) / 2, (value(0, 1) - value(0, -1)) / 2
    gxx = (value(2, 0) - 2 * value(0, 0) + value(-2, 0)) / 4
    gyy = (value(0, 2) - 2 * value(0, 0) + value(0, -2)) / 4
    gxy = (value(1, 1) - value(1, -1) - value(-1, 1) + value(-1, -1)) / 4
    det = gxx * gyy - gxy**2
    usable = (x > 1) & (x < w - 2) & (y > 1) & (y < h - 2) & (det != 0)
    det = np.where(usable, det, 1)
    step = np.stack([gxy * gy - gyy * gx, gxy * gx - gxx * gy], axis=-1) / det[..., None]
    length = np.maximum(np.linalg.norm(step, axis=-1, keepdims=True), MAX_STEP)
    return np.where(usable[..., None], step * MAX_STEP / length, 0)


def _blurred(heatmaps: np.ndarray, taps: int) -> np.ndarray:
    """(n, K, h, w) float64: blurred with zeros outside, then scaled to the old maximum."""
    cv2 = opencv()
    maps = heatmaps.reshape(-1, *heatmaps.shape[2:]).astype(np.float64)
    blurred = np.stack([cv2.GaussianBlur(each, (taps, taps), 0, borderType=cv2.BORDER_CONSTANT) for each in maps])
    highest = blurred.max(axis=(1, 2))
    factor = np.where(highest > 0, maps.max(axis=(1, 2)) / np.where(highest > 0, highest, 1), 0)
    return (blurred * factor[:, None, None]).reshape(heatmaps.shape)


def _at(maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, K): the value of each map (n, K, h, w) at (x, y); outside, of the nearest pixel."""
    h, w = maps.shape[2:]
    n, count = np.indices(x.shape)
    return maps[n, count, np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)]
