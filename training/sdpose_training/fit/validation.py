"""AP during training: ground-truth boxes, flip test, COCO's evaluation; `evaluate.py` runs the full protocols."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from sdpose_core.boxes import xyxy_to_xywh
from sdpose_core.codec.crops import Crop, make_crop
from sdpose_core.codec.heatmaps import decode_dark_udp
from sdpose_core.errors import InputError, NotFiniteError
from sdpose_core.model.network import SDPose
from sdpose_core.oks import UNKNOWN_SIGMA, oks
from sdpose_training.data.annotations import People
from sdpose_training.data.pictures import read_picture
from sdpose_training.data.truth import Truth
from sdpose_training.evaluation.coco_figures import Detections, coco_figures, extents
from sdpose_training.evaluation.scoring import mean_of_good
from sdpose_training.recipe.recipe import ValidationRecipe

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger(__name__)


def crops_of(
    people: People, indices: Sequence[int], input_size: tuple[int, int]
) -> tuple[list[int], torch.Tensor, list[Crop]]:
    """Crops as at inference; people whose picture cannot be read are logged and skipped.

    Returns the positions in `indices` of those that were read, crops (N, 3, H, W) in [-1, 1], and their `Crop`s.
    """
    places, pixels, crops = [], [], []
    for place, i in enumerate(indices):
        try:
            picture = read_picture(people.files[i], tuple(people.picture_sizes[i].tolist()))
            cropped, crop = make_crop(picture, people.boxes_xyxy[i], input_size)
        except InputError as error:
            log.warning("validation: %s", error)
            continue
        places.append(place)
        pixels.append(cropped)
        crops.append(crop)
    stacked = np.stack(pixels) if pixels else np.zeros((0, *input_size[::-1], 3), np.uint8)
    return places, torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 127.5 - 1, crops


@torch.no_grad()
def predict(
    model: SDPose,
    people: People,
    indices: Sequence[int],
    settings: ValidationRecipe,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Keypoints (N, K, 2) in pixels of the pictures, and scores (N, K), of the people at `indices`.

    People whose picture is damaged get NaN, so they count as missed. Returns None as soon as `stop` says so.
    Raises `NotFiniteError`.
    """
    size, count = model.config.input_size, len(people.keypoint_set)
    keypoints = np.full((len(indices), count, 2), np.nan, np.float32)
    scores = np.zeros((len(indices), count), np.float32)
    for start in range(0, len(indices), settings.batch):
        if stop():
            return None
        places, images, crops = crops_of(people, indices[start : start + settings.batch], size)
        if not places:
            continue
        maps = model.heatmaps(images.to(model.device), flip_test=settings.flip_test)
        if not torch.isfinite(maps).all():
            raise NotFiniteError("validation: heatmaps are not numbers (NaN or infinity): resume from an earlier state")
        points, values = decode_dark_udp(maps, size)
        rows = start + np.asarray(places)
        keypoints[rows] = [crop.to_image(in_crop) for crop, in_crop in zip(crops, points, strict=True)]
        scores[rows] = values
    return keypoints, scores


def measure(
    accelerator: Accelerator, model: SDPose, people: People, settings: ValidationRecipe, stop: Callable[[], bool]
) -> dict[str, float] | None:
    """COCO's figures; each process predicts its share of the people. None as soon as `stop` says so in one of them."""
    from accelerate.utils import gather_object

    share = range(accelerator.process_index, len(people), accelerator.num_processes)
    predicted = predict(model, people, share, settings, stop)
    found = gather_object([predicted and (np.asarray(share), *predicted)])
    if None in found:
        return None
    order = np.argsort(np.concatenate([indices for indices, _, _ in found]))
    keypoints, scores = (np.concatenate([part[i] for part in found])[order] for i in (1, 2))
    return average_precision(people, keypoints, scores)


def average_precision(people: People, keypoints: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """COCO's figures, as fractions, for one prediction per person; and the mean OKS.

    Keypoints (N, K, 2) are in pixels of the pictures, scores (N, K); a person's score is the mean of those above .2.
    Raises `MissingDependency` without faster-coco-eval, `InputError` for wrong shapes.
    """
    count = len(people.keypoint_set)
    if keypoints.shape != (len(people), count, 2) or scores.shape != (len(people), count):
        raise InputError(f"expected ({len(people)}, {count}, 2) keypoints, got {keypoints.shape}, {scores.shape}")
    sigmas = people.keypoint_set.sigmas or (UNKNOWN_SIGMA,) * count
    found = Detections(people.image_ids.tolist(), keypoints, mean_of_good(scores), extents(keypoints))
    figures = coco_figures(_truth(people), found, sigmas)
    return {**figures, "OKS": mean_oks(people, keypoints, np.asarray(sigmas))}


def mean_oks(people: People, keypoints: np.ndarray, sigmas: np.ndarray) -> float:
    """Mean OKS of the predictions (N, K, 2), which rises long before AP does."""
    truth = np.where(people.visibility[..., None] > 0, people.keypoints, np.nan)
    found = np.where(np.isfinite(keypoints), keypoints, 1e6)  # missing points count as far away
    each = zip(truth, found, people.areas, strict=True)
    return float(np.mean([oks(true[None], other[None], area[None], sigmas)[0, 0] for true, other, area in each]))


def _truth(people: People) -> Truth:
    boxes = people.boxes_xyxy.astype(np.float64)
    return Truth(
        picture_ids=tuple(dict.fromkeys(people.image_ids.tolist())),
        ids=tuple(people.annotation_ids.tolist()),
        image_ids=tuple(people.image_ids.tolist()),
        keypoints=np.concatenate([people.keypoints, 2 * people.visibility[..., None]], axis=2).astype(np.float64),
        labeled=(people.visibility > 0).sum(axis=1),
        crowd=np.zeros(len(people), bool),
        areas=people.areas.astype(np.float64),
        boxes_xywh=xyxy_to_xywh(boxes),
    )
