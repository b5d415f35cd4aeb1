"""Heatmaps from keypoints (the training target) and keypoints from heatmaps, batched.

Both map pixel centers to pixel centers (UDP, arXiv 1911.07524); decoding refines the maximum (DARK, arXiv 1910.06278).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    import torch

MAX_STEP = 2.0
"""Longest unreliable refinement, in heatmap pixels."""

_CLIP = (1e-3, 50.0)  # of the blurred map, before the logarithm
_MAX_GAIN = 6e4  # heatmap pixels that a refined point moves per unit of noise: noise of 2e-5 moves it by over a pixel
_PIXELS_AT_ONCE = 1 << 20  # of maps that are blurred whole: fits a processor's cache
_PIXELS_AT_ONCE_ON_DEVICE = 1 << 25


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
        keypoints: (N, K, 2) input pixels (x, y); NaN counts as outside.
        visibility: (N, K); below 0.5 no Gaussian is drawn, but the weight is kept.
        input_size, heatmap_size: (w, h).
        sigma: of the Gaussian, in heatmap pixels.

    Returns:
        Heatmaps (N, K, h, w) float32: Gaussians of height 1 at the sub-pixel keypoint, cut to a square of 3 sigma
        around the rounded one. Weights (N, K) float32: the visibility, or 0 if the whole square is outside.
    """
    rows, columns, weights = encode_udp_profiles(keypoints, visibility, input_size, heatmap_size, sigma)
    return rows[..., :, None] * columns[..., None, :], weights


def encode_udp_profiles(
    keypoints: np.ndarray,
    visibility: np.ndarray,
    input_size: tuple[int, int],
    heatmap_size: tuple[int, int],
    sigma: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The targets of `encode_udp` as factors, rows (N, K, h) and columns (N, K, w), and the weights (N, K).

    A data loader sends these: they are a hundred times smaller than the maps.
    """
    w, h = heatmap_size
    mean = np.asarray(keypoints, np.float32) / heatmap_factor(input_size, heatmap_size).astype(np.float32)
    visibility = np.asarray(visibility, np.float32)
    middle = np.trunc(mean + 0.5)  # toward zero, as in the reference: negative coordinates round up
    radius = int(3 * sigma)
    inside = ((middle + radius + 1 >= 0) & (middle - radius < [w, h])).all(axis=-1)
    weights = np.where(inside | (visibility < 0.5), visibility, np.float32(0))
    drawn = inside & (visibility >= 0.5)

    def profile(length: int, axis: int) -> np.ndarray:
        """(N, K, length): the Gaussian along one axis, 0 outside the patch."""
        position = np.arange(length)
        value = np.exp(-((position - mean[..., axis, None]) ** 2) / (2 * sigma**2))
        inside_patch = np.abs(position - middle[..., axis, None]) <= radius
        return np.where(inside_patch & drawn[..., None], value, 0).astype(np.float32)

    return profile(h, 1), profile(w, 0), weights


def decode_dark_udp(
    heatmaps: torch.Tensor | np.ndarray, input_size: tuple[int, int], *, blur_kernel: int = 11
) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints from heatmaps; the inverse of `encode_udp`.

    The maximum, refined by one Newton step on the logarithm of the blurred map (DARK). Equal to the reference, except
    that long steps are cut to `MAX_STEP` where rounding decides them (`_MAX_GAIN`: plateaus, ridges).

    Args:
        heatmaps: (N, K, h, w), an array, or a tensor of any float type on any device, where it is decoded.
        input_size: (w, h) of the crop.
        blur_kernel: taps of the blur, odd; 11 is a sigma of 2 heatmap pixels.

    Returns:
        Keypoints (N, K, 2) float32 input pixels (x, y); scores (N, K) float32: the map's maximum before the blur, which
        may exceed 1. Maps that are constant or have no finite positive maximum give NaN and score 0.

    Raises:
        InputError: a wrong shape, or an even kernel.
    """
    import torch

    if isinstance(heatmaps, np.ndarray):
        heatmaps = torch.from_numpy(np.require(heatmaps, requirements=["C", "W"]))
    found = decode_to_tensor(heatmaps, input_size, blur_kernel=blur_kernel).cpu().numpy()
    return found[..., :2], found[..., 2]


def decode_to_tensor(
    heatmaps: torch.Tensor, input_size: tuple[int, int], *, blur_kernel: int = 11, waits: bool | None = None
) -> torch.Tensor:
    """As `decode_dark_udp`, but the result (N, K, 3) float32 (x, y, score) stays on the device of the maps.

    Args:
        heatmaps, input_size, blur_kernel: as there.
        waits: read values back to skip work; None: only on a CPU, as elsewhere the program would wait for the device.
            (MPS has no float64 and shares memory with the CPU, so its maps are decoded on the CPU.)
    """
    import torch

    if heatmaps.ndim != 4 or 0 in heatmaps.shape[1:]:
        raise InputError(f"heatmaps: expected shape (N, K, h, w), got {tuple(heatmaps.shape)}")
    kernel = gaussian_kernel(blur_kernel)
    device = heatmaps.device
    if device.type == "mps":
        heatmaps = heatmaps.cpu()
    waits = heatmaps.device.type == "cpu" if waits is None else waits
    count, points, h, w = heatmaps.shape
    maps = heatmaps.detach().reshape(count * points, h, w)
    peak, x, y = _maxima(maps)
    around = _surroundings(maps, peak, x, y, kernel, waits)
    step = _newton_step(around.clamp(*_CLIP).log(), peak)
    position = torch.stack([x, y], dim=1) + step
    factor_x, factor_y = heatmap_factor(input_size, (w, h)).tolist()
    found = torch.stack([position[:, 0] * factor_x, position[:, 1] * factor_y, peak], dim=1)
    usable = torch.stack([peak > 0, peak > 0, torch.ones_like(peak, dtype=torch.bool)], dim=1)
    return torch.where(usable, found, torch.nan).float().reshape(count, points, 3).to(device)


def with_damage(points: torch.Tensor, heatmaps: torch.Tensor) -> torch.Tensor:
    """Points (N, K, 3) of `decode_to_tensor`; those whose map (N, K, h, w) holds NaN or infinity say so.

    Their score becomes NaN, and their x the number of such values, which `damage_in` reads. Waits for no device.
    """
    import torch

    count = (~torch.isfinite(heatmaps)).flatten(2).sum(dim=2).to(points.device)
    told = torch.stack([count.to(points.dtype), points[..., 1], torch.full_like(points[..., 2], torch.nan)], dim=2)
    return torch.where((count > 0)[..., None], told, points)


def damage_in(points: np.ndarray) -> int:
    """How many values of the maps were NaN or infinite, by the points (K, 3) or (N, K, 3) of `with_damage`."""
    return int(points[np.isnan(points[..., 2])][:, 0].sum())


def gaussian_kernel(taps: int) -> np.ndarray:
    """(taps,) float64 Gaussian with sum 1 and the sigma that OpenCV derives from the number of taps."""
    if taps < 3 or taps % 2 == 0:
        raise InputError(f"blur kernel: expected an odd number of taps, at least 3, got {taps}")
    sigma = 0.3 * ((taps - 1) * 0.5 - 1) + 0.8
    values = np.exp(-((np.arange(taps) - taps // 2) ** 2) / (2 * sigma**2))
    return values / values.sum()


def flip_back(heatmaps: Any, flip_indices: Any) -> Any:
    """Heatmaps (N, K, h, w) of mirrored pictures, mirrored back, with left and right channels swapped."""
    if isinstance(heatmaps, np.ndarray):
        return heatmaps[:, flip_indices][..., ::-1]
    import torch

    # indexing with a list would copy it to the device and wait
    return torch.cat([heatmaps[:, i : i + 1] for i in map(int, flip_indices)], dim=1).flip(-1)


def _maxima(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Maps (M, h, w) -> maximum (M,) float64, 0 for unusable maps; its column x and row y (M,)."""
    import torch

    rows = maps.amax(dim=2)  # row by row: several times faster than argmax of whole maps
    peak, y = rows.amax(dim=1), rows.argmax(dim=1)
    x = maps[torch.arange(len(maps), device=maps.device), y].argmax(dim=1)
    usable = (peak > 0) & torch.isfinite(peak) & (peak > maps.amin(dim=2).amin(dim=1))
    return torch.where(usable, peak, 0).double(), x, y


def _surroundings(
    maps: torch.Tensor, peak: torch.Tensor, x: torch.Tensor, y: torch.Tensor, kernel: np.ndarray, waits: bool
) -> torch.Tensor:
    """(M, 3, 3) float64: the blurred and rescaled maps (M, h, w) around their maxima.

    The reference blurs the whole map and rescales it to its old maximum. A factor changes neither gradient nor
    curvature of the logarithm, so only nine values are blurred. If the factor decides what is clipped, the whole map
    is blurred; without `waits`, every map is.
    """
    import torch

    around = _blurred_about(_windows(maps, x, y, len(kernel) // 2 + 1), kernel)
    around = _with_repeated_border(around, x, y, (maps.shape[2], maps.shape[1]))
    # The factor is at least 1, and factor x value at most the maximum. So it is not needed if the maximum is below the
    # lower limit (all is clipped), or if all nine values are above it (none is).
    unknown = (peak > _CLIP[0]) & (around.amin(dim=(1, 2)) < _CLIP[0]) | (peak > _CLIP[1])
    blurred_peak = _blurred_maximum_of(maps, unknown, kernel) if waits else _blurred_maximum(maps, kernel)
    # as in the reference, negative if the blurred map is negative everywhere
    factor = torch.where(blurred_peak == 0, 0, peak / blurred_peak)
    return around * torch.where(unknown, factor, 1)[:, None, None]


def _windows(maps: torch.Tensor, x: torch.Tensor, y: torch.Tensor, radius: int) -> torch.Tensor:
    """(M, 2 radius + 1, 2 radius + 1) float64: the maps around (x, y); 0 outside and for values that are not finite."""
    import torch

    h, w = maps.shape[1:]
    offsets = torch.arange(-radius, radius + 1, device=maps.device)
    rows, columns = y[:, None] + offsets, x[:, None] + offsets
    index = rows.clamp(0, h - 1)[:, :, None] * w + columns.clamp(0, w - 1)[:, None, :]
    window = maps.reshape(len(maps), h * w).gather(1, index.flatten(1)).view(index.shape)
    inside = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None, :]
    return torch.where(inside & torch.isfinite(window), window, 0).double()


def _blurred_about(windows: torch.Tensor, kernel: np.ndarray) -> torch.Tensor:
    """Windows (M, taps + 2, taps + 2) -> (M, 3, 3): their blurred centers."""
    for axis in (1, 2):
        parts = [windows.narrow(axis, i, 3) * float(weight) for i, weight in enumerate(kernel)]
        windows = sum(parts[1:], start=parts[0])
    return windows


def _with_repeated_border(
    around: torch.Tensor, x: torch.Tensor, y: torch.Tensor, size: tuple[int, int]
) -> torch.Tensor:
    """Values outside a map of `size` (w, h) become those of its border, for the derivatives."""
    import torch

    w, h = size
    top, middle, bottom = around.unbind(dim=1)
    top = torch.where((y == 0)[:, None], middle, top)
    bottom = torch.where((y == h - 1)[:, None], middle, bottom)
    left, middle, right = torch.stack([top, middle, bottom], dim=1).unbind(dim=2)
    left = torch.where((x == 0)[:, None], middle, left)
    right = torch.where((x == w - 1)[:, None], middle, right)
    return torch.stack([left, middle, right], dim=2)


def _blurred_maximum_of(maps: torch.Tensor, chosen: torch.Tensor, kernel: np.ndarray) -> torch.Tensor:
    """`_blurred_maximum` of the chosen maps (M,), 1 for the others."""
    import torch

    result = torch.ones(len(chosen), dtype=torch.float64, device=chosen.device)
    if len(places := chosen.nonzero()[:, 0]):
        result[places] = _blurred_maximum(maps, kernel, places)
    return result


def _blurred_maximum(maps: torch.Tensor, kernel: np.ndarray, places: torch.Tensor | None = None) -> torch.Tensor:
    """Maximum (M,) float64 of the blurred maps (M, h, w), or of those at `places`; zeros outside the maps."""
    import torch

    pixels = _PIXELS_AT_ONCE if maps.device.type == "cpu" else _PIXELS_AT_ONCE_ON_DEVICE
    at_once = max(1, pixels // maps.shape[1:].numel())
    parts = maps.split(at_once) if places is None else (maps[part] for part in places.split(at_once))
    found = []
    for part in parts:
        down = _blurred(part.float(), kernel)
        found.append(_blurred(down.transpose(1, 2), kernel).amax(dim=(1, 2)))
    return torch.cat(found).double() if found else maps.new_zeros(0, dtype=torch.float64)


def _blurred(maps: torch.Tensor, kernel: np.ndarray) -> torch.Tensor:
    """Maps (M, a, b) blurred along a, by sums of shifted maps: torch's one-channel convolution is ten times slower."""
    import torch

    half, length = len(kernel) // 2, maps.shape[1]
    padded = torch.nn.functional.pad(maps, (0, 0, half, half))
    blurred = padded[:, half : half + length] * float(kernel[half])
    for i in range(half):
        pair = padded[:, i : i + length] + padded[:, 2 * half - i : 2 * half - i + length]
        blurred.add_(pair, alpha=float(kernel[i]))
    return blurred


def _newton_step(values: torch.Tensor, peak: torch.Tensor) -> torch.Tensor:
    """Logarithms (M, 3, 3) float64 around maxima of height `peak` (M,) -> Newton step (M, 2) (x, y)."""
    import torch

    tiny = float(np.finfo(np.float32).eps)  # as in the reference: a flat surface gives no step
    v = values
    dx, dy = (v[:, 1, 2] - v[:, 1, 0]) / 2, (v[:, 2, 1] - v[:, 0, 1]) / 2
    dxx = v[:, 1, 2] - 2 * v[:, 1, 1] + v[:, 1, 0] + tiny
    dyy = v[:, 2, 1] - 2 * v[:, 1, 1] + v[:, 0, 1] + tiny
    # mean of the mixed differences toward (+x, +y) and (-x, -y)
    forward = v[:, 2, 2] - v[:, 1, 2] - v[:, 2, 1] + v[:, 1, 1]
    backward = v[:, 1, 1] - v[:, 1, 0] - v[:, 0, 1] + v[:, 0, 0]
    dxy = (forward + backward) / 2
    step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], dim=1) / (dxx * dyy - dxy**2)[:, None]
    length = torch.hypot(step[:, 0], step[:, 1])
    # smaller absolute eigenvalue of the Hessian: the curvature along the flatter axis
    curvature = ((dxx + dyy).abs() / 2 - torch.hypot((dxx - dyy) / 2, dxy)).abs()
    reliable = (length <= MAX_STEP) | (1 + length < _MAX_GAIN * curvature * peak)
    step = torch.where(reliable[:, None], step, step * (MAX_STEP / length)[:, None])
    return torch.where(torch.isfinite(step), step, 0)
