"""Heatmaps from keypoints (the training target) and keypoints from heatmaps, side by side.

Both use the UDP relation between input and heatmap pixels, pixel centres on pixel centres (arXiv 1911.07524); decoding
refines the maximum as DARK does (arXiv 1910.06278). Everything is batched: there is no loop over keypoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

BLUR_TAPS = 11
BLUR_SIGMA = 2.0
"""Of the blur before the refinement; the released code does not adapt it to the sigma of the target."""

MAX_STEP = 2.0
"""Heatmap pixels. A refinement that wants to go farther has met a map without a clear maximum."""

_CLIP = (1e-3, 50.0)
_MAPS_AT_ONCE = 2048


def heatmap_factor(input_size: tuple[int, int], heatmap_size: tuple[int, int]) -> np.ndarray:
    """(2,) input pixels per heatmap pixel: (input - 1) / (heatmap - 1)."""
    return (np.asarray(input_size, np.float64) - 1) / (np.asarray(heatmap_size, np.float64) - 1)


def encode_udp(
    keypoints: np.ndarray,
    visibility: np.ndarray,
    input_size: tuple[int, int],
    heatmap_size: tuple[int, int],
    sigma: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Training targets.

    Args:
        keypoints: (N, K, 2) input pixels (x, y).
        visibility: (N, K); below 0.5 no Gaussian is drawn, but the weight is kept.
        input_size, heatmap_size: (w, h).
        sigma: of the Gaussian, in heatmap pixels.

    Returns:
        Heatmaps (N, K, h, w) float32, each a Gaussian of height 1 about the sub-pixel keypoint, cut to a square patch
        of 3 sigma about the rounded one; weights (N, K) float32: the visibility, 0 where the whole patch lies outside.
    """
    w, h = heatmap_size
    mean = np.asarray(keypoints, np.float32) / heatmap_factor(input_size, heatmap_size).astype(np.float32)
    visibility = np.asarray(visibility, np.float32)
    middle = np.trunc(mean + 0.5)  # towards zero, as the reference: left of and above the picture it rounds inwards
    radius = int(3 * sigma)
    inside = ((middle + radius + 1 >= 0) & (middle - radius < [w, h])).all(axis=-1)
    weights = np.where(inside | (visibility < 0.5), visibility, np.float32(0))
    drawn = inside & (visibility >= 0.5)

    def profile(length: int, axis: int) -> np.ndarray:
        """(N, K, length): the Gaussian along one axis, 0 outside the patch."""
        position = np.arange(length)
        value = np.exp(-((position - mean[..., axis, None]) ** 2) / (2 * sigma**2))
        return np.where(np.abs(position - middle[..., axis, None]) <= radius, value, 0) * drawn[..., None]

    heatmaps = profile(h, 1)[..., :, None] * profile(w, 0)[..., None, :]
    return heatmaps.astype(np.float32), weights


def decode_dark_udp(heatmaps: torch.Tensor | np.ndarray, input_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints from heatmaps; the inverse of `encode_udp`.

    The maximum, refined by one Newton step on the logarithm of the blurred map.

    Args:
        heatmaps: (N, K, h, w), a tensor on any device or an array; computed in float32 where it lies.
        input_size: (w, h) of the crop they belong to.

    Returns:
        Keypoints (N, K, 2) float32 input pixels (x, y); scores (N, K) float32, the map's maximum before the blur,
        which may exceed 1. A map without a positive maximum (or with NaN) gives score 0 and NaN. On a map without a
        clear peak the step is cut to `MAX_STEP`; the released code can jump by tens of pixels there.
    """
    import torch

    maps = torch.as_tensor(heatmaps)
    count, points, h, w = maps.shape
    flat = maps.reshape(count * points, h, w)
    if not len(flat):
        return np.zeros((count, points, 2), np.float32), np.zeros((count, points), np.float32)
    with torch.no_grad():
        parts = [_decode(part.float()) for part in flat.split(_MAPS_AT_ONCE)]
        result = torch.cat(parts).cpu().numpy().reshape(count, points, 3)
    keypoints = result[..., :2] * heatmap_factor(input_size, (w, h)).astype(np.float32)
    return keypoints, np.ascontiguousarray(result[..., 2])


def flip_back(heatmaps: Any, flip_indices: Any) -> Any:
    """Heatmaps (N, K, h, w) of mirrored pictures -> those of the pictures: mirrored back, left and right exchanged."""
    swapped = heatmaps[:, flip_indices]
    return swapped[..., ::-1] if isinstance(swapped, np.ndarray) else swapped.flip(-1)


def _decode(maps: torch.Tensor) -> torch.Tensor:
    """Maps (M, h, w) float32 -> (M, 3): x, y in heatmap pixels, score."""
    import torch

    rows = maps.amax(dim=2)  # in two steps: many times faster than one arg-max over the whole map
    score, y = rows.amax(dim=1), rows.argmax(dim=1)
    x = maps[torch.arange(len(maps), device=maps.device), y].argmax(dim=1)
    usable = torch.isfinite(score) & (score > 0)
    around = _blurred_around(maps, x, y, score)
    step = _newton_step(around.clamp(*_CLIP).log())
    position = torch.stack([x, y], dim=1).float() + step
    position[~usable] = torch.nan
    return torch.cat([position, torch.where(usable, score, 0)[:, None]], dim=1)


def _blurred_around(maps: torch.Tensor, x: torch.Tensor, y: torch.Tensor, peak: torch.Tensor) -> torch.Tensor:
    """(M, 3, 3) values of the blurred, rescaled maps about (x, y); beyond the border the nearest value.

    The reference blurs the whole map and scales it so that its maximum is the old one. A common factor changes
    neither step nor curvature of the logarithm, so only the nine values are blurred, except where the factor decides
    about the clipping: those maps are blurred as a whole.
    """
    import torch

    kernel = _kernel(maps)
    pad = BLUR_TAPS // 2
    m = torch.arange(len(maps), device=maps.device)[:, None, None]
    offsets = torch.arange(-pad - 1, pad + 2, device=maps.device)
    rows, columns = y[:, None] + offsets, x[:, None] + offsets
    inside = _inside(rows, maps.shape[1])[:, :, None] & _inside(columns, maps.shape[2])[:, None, :]
    window = maps[m, rows.clamp(0, maps.shape[1] - 1)[:, :, None], columns.clamp(0, maps.shape[2] - 1)[:, None, :]]
    window = torch.where(inside, window, 0)  # (M, 13, 13), zeros outside as the reference pads
    band = torch.stack([torch.nn.functional.pad(kernel, (i, 2 - i)) for i in range(3)])  # (3, 13)
    blurred = band @ window @ band.T

    # Beyond the border the derivatives see the border's own value.
    one = torch.arange(-1, 2, device=maps.device)
    i = (y[:, None] + one).clamp(0, maps.shape[1] - 1) - y[:, None] + 1
    j = (x[:, None] + one).clamp(0, maps.shape[2] - 1) - x[:, None] + 1
    blurred = blurred[m, i[:, :, None], j[:, None, :]]

    low, middle, high = blurred.amin(dim=(1, 2)), blurred[:, 1, 1], blurred.amax(dim=(1, 2))
    largest_factor = peak / middle
    decided = (low < _CLIP[0]) | ~(high * largest_factor < _CLIP[1]) | ~(middle > 0)
    clipped = decided.nonzero()[:, 0]
    for part in clipped.split(_MAPS_AT_ONCE // 8):
        blurred[part] *= (peak[part] / _blurred_maximum(maps[part], kernel))[:, None, None]
    return blurred


def _newton_step(values: torch.Tensor) -> torch.Tensor:
    """(M, 3, 3) logarithms about the maximum -> (M, 2) bounded step (x, y) to where the fitted paraboloid is level."""
    import torch

    dx = (values[:, 1, 2] - values[:, 1, 0]) / 2
    dy = (values[:, 2, 1] - values[:, 0, 1]) / 2
    dxx = values[:, 1, 2] - 2 * values[:, 1, 1] + values[:, 1, 0]
    dyy = values[:, 2, 1] - 2 * values[:, 1, 1] + values[:, 0, 1]
    # The mixed derivative of the reference: forward and backward differences averaged.
    dxy = (
        values[:, 2, 2] - values[:, 1, 2] - values[:, 2, 1] + 2 * values[:, 1, 1]
        - values[:, 1, 0] - values[:, 0, 1] + values[:, 0, 0]
    ) / 2  # fmt: skip
    tiny = torch.finfo(torch.float32).eps
    dxx, dyy = dxx + tiny, dyy + tiny
    determinant = dxx * dyy - dxy * dxy
    step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], dim=1) / determinant[:, None]
    return step.nan_to_num(0, MAX_STEP, -MAX_STEP).clamp(-MAX_STEP, MAX_STEP)


def _kernel(like: torch.Tensor) -> torch.Tensor:
    """(11,) Gaussian of sigma 2, summing to 1."""
    import torch

    taps = torch.arange(BLUR_TAPS, dtype=torch.float64) - BLUR_TAPS // 2
    kernel = torch.exp(-(taps**2) / (2 * BLUR_SIGMA**2))
    return (kernel / kernel.sum()).to(like)


def _blurred_maximum(maps: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """(M,) maximum of each blurred map."""
    import torch

    pad = BLUR_TAPS // 2
    blurred = torch.nn.functional.conv2d(maps[:, None], kernel.view(1, 1, -1, 1), padding=(pad, 0))
    blurred = torch.nn.functional.conv2d(blurred, kernel.view(1, 1, 1, -1), padding=(0, pad))
    return blurred.flatten(1).amax(dim=1)


def _inside(index: torch.Tensor, length: int) -> torch.Tensor:
    return (index >= 0) & (index < length)
