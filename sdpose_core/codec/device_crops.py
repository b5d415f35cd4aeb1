"""The training crop (`crops.make_crop`, "affine"), cut on the model's device: all people of a batch in one call.

Bilinear, black outside. Inference crops are not rotated, so a crop is a list of columns and rows with their weights,
computed here in float64. The device interpolates in float32, within 1e-3 gray levels of float64 before rounding.
OpenCV 5 agrees except for rounding; OpenCV 4 interpolates in steps of 1/32 pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .crops import Crop, masked
from .transfers import upload

LARGEST_UPLOAD = 10_000_000
"""Pixels, more than a 4K frame. If the people of a picture need more, each crop uploads only what it reads."""


@dataclass(frozen=True, eq=False)
class _Taps:
    """Per output pixel of one axis: two source indices, clipped to the picture, and weights, 0 outside; (n, 2)."""

    places: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class _Part:
    """The uploaded part of a picture: pixels (rows, columns, 3), and the indices of these rows and columns."""

    pixels: torch.Tensor
    rows: np.ndarray
    columns: np.ndarray


@dataclass(frozen=True, eq=False)
class CropJob:
    """One crop to cut.

    Attributes:
        picture: RGB uint8 (H, W, 3); jobs of one picture share the array.
        crop: without rotation.
        mask: (H, W) bool of the person, the rest turns black; or None.
    """

    picture: np.ndarray
    crop: Crop
    mask: np.ndarray | None = None


class DeviceCropper:
    """Cuts crops on `device`. Each picture is uploaded once, for its first crop, and freed after its last.

    Args:
        jobs: all crops, grouped by picture; of one input size.
    """

    def __init__(self, jobs: Sequence[CropJob], device: torch.device) -> None:
        self.device = device
        self.crops = [job.crop for job in jobs]
        self._jobs = jobs
        self._taps = [_taps_of(job) for job in jobs]
        self._parts: dict[int, _Part] = {}
        self._members: dict[int, list[int]] = {}
        of_a_picture: dict[int, list[int]] = {}
        for number, job in enumerate(jobs):
            of_a_picture.setdefault(id(job.picture) if job.mask is None else -number - 1, []).append(number)
        for numbers in of_a_picture.values():
            alone = _pixels_between(self._taps, numbers) > LARGEST_UPLOAD
            self._members.update({n: [n] for n in numbers} if alone else {numbers[0]: numbers})
        self._part_of = {number: key for key, numbers in self._members.items() for number in numbers}

    def cut(self, start: int, stop: int) -> torch.Tensor:
        """Crops (N, 3, h, w) of jobs `start` to `stop`: float32 of 0..255 on the device, not rounded."""
        keys = [self._part_of[number] for number in range(start, stop)]
        self._parts = {key: part for key, part in self._parts.items() if key in keys}
        for key in dict.fromkeys(keys):
            if key not in self._parts:
                self._parts[key] = self._uploaded(key)
        return _cut([self._parts[key] for key in keys], self._taps[start:stop], self.device)

    def _uploaded(self, key: int) -> _Part:
        picture, mask = self._jobs[key].picture, self._jobs[key].mask
        columns, rows = (_needed([self._taps[number][axis] for number in self._members[key]]) for axis in range(2))
        chosen: tuple = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        if picture[chosen].size <= 3 * LARGEST_UPLOAD:  # a block is faster than single rows and columns
            rows, columns = np.arange(rows[0], rows[-1] + 1), np.arange(columns[0], columns[-1] + 1)
        else:
            chosen = np.ix_(rows, columns)
        pixels = masked(picture[chosen], None if mask is None else mask[chosen])
        return _Part(upload(pixels, self.device), rows, columns)


def _taps_of(job: CropJob) -> tuple[_Taps, _Taps]:
    matrix, (height, width) = job.crop.matrix, job.picture.shape[:2]
    if matrix[0, 1] or matrix[1, 0]:
        raise ValueError("a crop that turns cannot be cut along columns and rows")
    lengths = zip(job.crop.input_size, (width, height), strict=True)
    columns, rows = (
        _taps(matrix[axis, axis], matrix[axis, 2], out, inside) for axis, (out, inside) in enumerate(lengths)
    )
    return columns, rows


def _taps(factor: float, shift: float, count: int, length: int) -> _Taps:
    """Of `count` output pixels in a source of `length`; output = factor * source + shift."""
    source = (np.arange(count) - shift) / factor
    first = np.floor(source)
    share = source - first
    places = np.stack([first, first + 1], axis=1)
    inside = (places >= 0) & (places <= length - 1)
    weights = np.where(inside, np.stack([1 - share, share], axis=1), 0)
    return _Taps(np.clip(places, 0, length - 1).astype(np.int64), weights.astype(np.float32))


def _needed(taps: Sequence[_Taps]) -> np.ndarray:
    return np.unique(np.concatenate([tap.places.ravel() for tap in taps]))


def _pixels_between(taps: Sequence[tuple[_Taps, _Taps]], numbers: Sequence[int]) -> int:
    """Pixels of the bounding rectangle of what these crops read."""
    sides = []
    for axis in range(2):
        places = [taps[number][axis].places for number in numbers]
        sides.append(max(place.max() for place in places) - min(place.min() for place in places) + 1)
    return int(sides[0]) * int(sides[1])


def _cut(parts: Sequence[_Part], taps: Sequence[tuple[_Taps, _Taps]], device: torch.device) -> torch.Tensor:
    """Crop i from parts[i], all in one call on the device."""
    distinct = list({id(part): part for part in parts}.values())
    starts = np.cumsum([0, *(len(part.rows) * len(part.columns) for part in distinct)])
    start_of = {id(part): start for part, start in zip(distinct, starts[:-1], strict=True)}
    pixels = torch.cat([part.pixels.reshape(-1, 3) for part in distinct])
    columns, rows = [], []
    for part, (across, down) in zip(parts, taps, strict=True):
        columns.append(np.searchsorted(part.columns, across.places))
        rows.append(np.searchsorted(part.rows, down.places) * len(part.columns) + start_of[id(part)])
    places = np.concatenate([np.stack(columns), np.stack(rows)], axis=1).astype(np.int32)
    weights = np.concatenate(
        [np.stack([across.weights for across, _ in taps]), np.stack([down.weights for _, down in taps])], axis=1
    )
    table = upload(np.stack([places, weights.view(np.int32)]), device)  # (2, N, w + h, 2), one transfer
    width = len(taps[0][0].places)
    return _mixed(pixels, table[0], table[1].view(torch.float32), width)


def _mixed(pixels: torch.Tensor, places: torch.Tensor, weights: torch.Tensor, width: int) -> torch.Tensor:
    """Pixels (P, 3) uint8; places and weights (N, w + h, 2) of columns, then rows -> crops (N, 3, h, w) float32."""
    (columns, rows), (across, down) = (
        table.split([width, table.shape[1] - width], dim=1) for table in (places, weights)
    )

    def row(side: int) -> torch.Tensor:
        """(N, h, w, 3): the upper (0) or lower (1) source row, interpolated along columns."""
        left, right = (
            pixels.index_select(0, (rows[:, :, None, side] + columns[:, None, :, i]).flatten())
            .view(len(rows), rows.shape[1], width, 3)
            .float()
            .mul_(across[:, None, :, i, None])
            for i in range(2)
        )
        return left.add_(right).mul_(down[:, :, None, side, None])

    return row(0).add_(row(1)).permute(0, 3, 1, 2)
