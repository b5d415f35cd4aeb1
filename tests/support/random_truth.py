"""Annotated and found people at random, for tests of scoring."""

from __future__ import annotations

import numpy as np

from sdpose_training.data.truth import Truth
from sdpose_training.evaluation.coco_figures import Detections


def random_truth(pictures: int = 60, seed: int = 0) -> Truth:
    """Up to four people with 17 points in a picture, some of them crowds or without labeled points."""
    rng = np.random.default_rng(seed)
    places = np.repeat(np.arange(pictures), rng.integers(0, 5, pictures))
    count = len(places)
    corner, size = rng.uniform(0, 300, (count, 1, 2)), rng.uniform(30, 200, (count, 1, 2))
    visibility = rng.integers(0, 3, (count, 17, 1)) * (rng.uniform(size=(count, 1, 1)) > 0.1)
    points = np.where(visibility > 0, corner + size * rng.uniform(size=(count, 17, 2)), 0)
    return Truth(
        tuple(range(100, 100 + pictures)), tuple(range(count)), tuple((100 + places).tolist()),
        np.concatenate([points, visibility], axis=2), (visibility[..., 0] > 0).sum(axis=1),
        rng.uniform(size=count) < 0.05, size.prod(axis=(1, 2)) * 0.6, np.concatenate([corner, size], axis=2)[:, 0],
    )  # fmt: skip


def random_found(truth: Truth, error: float, seed: int = 0, strangers: int = 40) -> Detections:
    """Everybody twice, some pixels off, and strangers; scores have two digits, so some are equal."""
    rng = np.random.default_rng(seed)
    twice = np.concatenate([np.arange(len(truth.ids))] * 2)
    noise = rng.normal(0, 1, (len(twice), 17, 2)) * rng.uniform(0, error, (len(twice), 1, 1))
    points = np.concatenate([truth.keypoints[twice, :, :2] + noise, rng.uniform(0, 500, (strangers, 17, 2))])
    others = rng.choice(truth.picture_ids, strangers)
    image_ids = (*(truth.image_ids[i] for i in twice), *others.tolist())
    scores = np.round(rng.uniform(0.3, 1, len(points)), 2)
    return Detections(image_ids, points, scores, np.ones(len(points)))
