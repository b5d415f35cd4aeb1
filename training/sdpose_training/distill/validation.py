"""How far an encoder is from the one it replaces, on pictures that were held out; no labels needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from sdpose_core.codec.crops import Crop
from sdpose_core.codec.heatmaps import decode_dark_udp, flip_back
from sdpose_core.errors import InputError, NotFiniteError
from sdpose_core.model.network import SDPose
from sdpose_training.distill.crops import Crops
from sdpose_training.distill.errors_of import ErrorSum
from sdpose_training.evaluation.scoring import MIN_POINT_SCORE
from sdpose_training.fit.validation import average_precision
from sdpose_training.recipe.recipe import ValidationRecipe

log = logging.getLogger(__name__)

Encoder = Callable[[torch.Tensor], torch.Tensor]
TERMS = ("latents", "features", "heatmaps")


@dataclass
class _Share:
    """What one process measured.

    Attributes:
        errors: of latents, features and heatmaps.
        shifts: distances in pixels of the crop between the keypoints of both encoders, where the full one's score is
            above .2.
        rows: crops that were read.
        points, scores: of the full encoder and of the other: (2, N, K, 2) in pixels of the pictures, (2, N, K).
    """

    errors: list[ErrorSum] = field(default_factory=lambda: [ErrorSum() for _ in TERMS])
    shifts: list[np.ndarray] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)


def compare(
    accelerator: Accelerator,
    model: SDPose,
    student: nn.Module,
    crops: Crops,
    settings: ValidationRecipe,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, float] | None:
    """Figures of `student` in front of `model`; each process takes its share. None as soon as `stop` says so.

    Returns:
        "latents_error", "features_error", "heatmaps_error": see `ErrorSum.rms`; "shift_px" and "shift_95_px": median
        and 95% of the distances between the keypoints of both encoders, in pixels of the crop; "fidelity": 1 / (1 +
        error of the features); with people who have keypoints, "AP" and "AP_full_encoder" of these.

    Raises `NotFiniteError`, and `InputError` if no crop can be read.
    """
    share = range(accelerator.process_index, len(crops), accelerator.num_processes)
    measured = _measure(model, student, crops, list(share), settings, stop)
    found = gather_object([measured])
    if any(each is None for each in found):
        return None
    if not any(each.rows for each in found):
        raise InputError("validation: none of the held out pictures can be read")
    errors = [reduce(ErrorSum.join, (each.errors[i] for each in found)).rms for i in range(len(TERMS))]
    figures = {f"{name}_error": error for name, error in zip(TERMS, errors, strict=True)}
    shifts = np.concatenate([each for part in found for each in part.shifts])
    if len(shifts):
        figures |= {"shift_px": float(np.median(shifts)), "shift_95_px": float(np.quantile(shifts, 0.95))}
    figures["fidelity"] = 1 / (1 + figures["features_error"])
    labeled = [] if crops.people is None else np.flatnonzero(crops.people.visibility.any(axis=1)).tolist()
    if crops.people is not None and labeled:
        people = crops.people.select(labeled)
        rows = [row for part in found for row in part.rows]
        for number, name in enumerate(("AP_full_encoder", "AP")):
            keypoints = np.full((len(crops), model.config.num_keypoints, 2), np.nan, np.float32)
            scores = np.zeros(keypoints.shape[:2], np.float32)
            keypoints[rows] = np.concatenate([each[number] for part in found for each in part.points])
            scores[rows] = np.concatenate([each[number] for part in found for each in part.scores])
            figures[name] = average_precision(people, keypoints[labeled], scores[labeled])["AP"]
    return figures


@torch.no_grad()
def _measure(
    model: SDPose, student: nn.Module, crops: Crops, indices: list[int], settings: ValidationRecipe,
    stop: Callable[[], bool],
) -> _Share | None:  # fmt: skip
    share, size = _Share(), model.config.input_size
    for rows, images, cuts in _batches(crops, indices, size, settings.batch):
        if stop():
            return None
        images = images.to(model.device)
        exact, found = (_read(model, encoder, images, settings.flip_test) for encoder in (model.latents, student))
        for error, one, other in zip(share.errors, found, exact, strict=True):
            error.add(one, other)
        decoded = [decode_dark_udp(maps, size) for _, _, maps in (exact, found)]
        (points, scores), (others, _) = decoded
        share.shifts.append(np.linalg.norm(points - others, axis=-1)[scores > MIN_POINT_SCORE])
        share.rows += rows
        in_pictures = [[cut.to_image(each) for cut, each in zip(cuts, points, strict=True)] for points, _ in decoded]
        share.points.append(np.asarray(in_pictures, np.float32))
        share.scores.append(np.asarray([scores for _, scores in decoded], np.float32))
    return share


def _read(
    model: SDPose, encoder: Encoder, images: torch.Tensor, flip_test: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents, features, heatmaps; the latter averaged with the mirrored pictures' in a flip test."""
    latents = encoder(images).to(model.dtype)
    features = model.features_of(latents)
    maps = model.head(features).float()
    if flip_test:
        mirrored = model.head(model.features_of(encoder(images.flip(-1)).to(model.dtype))).float()
        maps = (maps + flip_back(mirrored, list(model.config.flip_indices))) * 0.5
    if not torch.isfinite(maps).all():
        raise NotFiniteError("validation: heatmaps are not numbers (NaN or infinity): resume from an earlier state")
    return latents, features, maps


def _batches(
    crops: Crops, indices: list[int], size: tuple[int, int], batch: int
) -> Iterator[tuple[list[int], torch.Tensor, list[Crop]]]:
    """Rows, images (N, 3, H, W) in [-1, 1] and crops; pictures that cannot be read are logged and skipped."""
    for start in range(0, len(indices), batch):
        rows, pixels, cuts = [], [], []
        for row in indices[start : start + batch]:
            try:
                cropped, cut = crops.at_inference(row, size)
            except InputError as error:
                log.warning("validation: %s", error)
                continue
            rows.append(row)
            pixels.append(cropped)
            cuts.append(cut)
        if rows:
            yield rows, torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1, cuts
