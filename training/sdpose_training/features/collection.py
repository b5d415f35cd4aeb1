"""One vector per person, style and feature level: pooled features of crops by ground-truth boxes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from sdpose_core.codec.crops import make_crop
from sdpose_core.errors import InputError, SDPoseError
from sdpose_training.data.annotations import People
from sdpose_training.features.models import FeatureModel
from sdpose_training.features.picture_styles import PictureStyle

log = logging.getLogger(__name__)

GRID = 4
POOLINGS = {
    "mean": "mean over the whole map, background included",
    "grid": f"means over {GRID} x {GRID} cells of the map, concatenated",
    "keypoints": "mean over the labeled keypoints, interpolated bilinearly in the map",
}

Progress = Callable[[int], None]
"""Called with the number of finished crops."""


def choose_people(people: People, count: int, seed: int) -> People:
    """`count` random people in the file's order; all if there are fewer."""
    if count < 2:
        raise InputError(f"--people {count}: expected at least 2 to compare")
    if len(people) < 2:
        raise InputError("the annotations have only 1 person with keypoints, expected at least 2 to compare")
    chosen = np.random.default_rng(seed).choice(len(people), min(count, len(people)), replace=False)
    return people.select(sorted(chosen.tolist()))


def collect(
    model: FeatureModel, people: People, styles: Sequence[PictureStyle], *, pooling: str = "mean", batch: int = 8,
    on_progress: Progress | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Pooled features (S, N, D) float32 of N people in S styles, by level; at most `batch` crops are in memory.

    Damaged pictures are logged and give NaN. Raises `SDPoseError` if features are not finite.
    """
    shape, found = (len(styles), len(people)), {}
    total = shape[0] * shape[1]
    for at, images, keypoints in _batches(model.input_size, people, styles, batch):
        if on_progress:
            on_progress(at[-1] + 1)
        if images is None:
            continue
        with torch.inference_mode():
            maps = model.features(images)
        for level, values in maps.items():
            pooled = pool(values, pooling, keypoints, model.input_size)
            if not np.isfinite(pooled).all():
                raise SDPoseError(f"{model.name}: features of {level} are not finite: try --dtype fp32")
            target = found.setdefault(level, np.full((total, pooled.shape[1]), np.nan, np.float32))
            target[at] = pooled
    return {level: found[level].reshape(*shape, -1) for level in model.levels if level in found}


def pool(maps: torch.Tensor, pooling: str, keypoints: Sequence[np.ndarray], input_size: tuple[int, int]) -> np.ndarray:
    """Maps (N, C, h, w) -> (N, D) float32; D is C, or 16 C for "grid".

    Args:
        pooling: a key of `POOLINGS`.
        keypoints: labeled ones of each crop, (K, 2) in input pixels; outside of the crop, its nearest edge is read.
        input_size: (w, h) of the crop.
    """
    maps = maps.float()
    if pooling == "mean":
        return maps.mean(dim=(2, 3)).cpu().numpy()
    if pooling == "grid":
        return F.adaptive_avg_pool2d(maps, GRID).flatten(1).cpu().numpy()
    if pooling != "keypoints":
        raise InputError(f"unknown pooling {pooling!r}: choose one of {', '.join(POOLINGS)}")
    size = torch.tensor(input_size, dtype=torch.float32) - 1
    rows = []
    for values, points in zip(maps, keypoints, strict=True):
        grid = (torch.as_tensor(points, dtype=torch.float32) / size * 2 - 1).view(1, 1, -1, 2).to(values)
        read = F.grid_sample(values[None], grid, align_corners=True, padding_mode="border")
        rows.append(read.mean(dim=(0, 2, 3)))
    return torch.stack(rows).cpu().numpy()


def _batches(
    input_size: tuple[int, int], people: People, styles: Sequence[PictureStyle], batch: int
) -> Iterator[tuple[list[int], torch.Tensor | None, list[np.ndarray]]]:
    """Indices in (style, person) order, crops (n, 3, H, W) in [-1, 1] (None if none could be read), keypoints."""
    for style_number, style in enumerate(styles):
        for start in range(0, len(people), batch):
            members = range(start, min(start + batch, len(people)))
            at, pixels, keypoints = [], [], []
            for i in members:
                try:
                    picture = style.picture(people.files[i], tuple(people.picture_sizes[i].tolist()))
                    cropped, crop = make_crop(picture, people.boxes_xyxy[i], input_size)
                except InputError as error:
                    log.warning("skipped in %s: %s", style.name, error)
                    continue
                at.append(style_number * len(people) + i)
                pixels.append(cropped)
                keypoints.append(crop.to_input(people.keypoints[i][people.visibility[i] > 0]))
            if at:
                yield at, torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1, keypoints
            else:
                yield [style_number * len(people) + members[-1]], None, []
