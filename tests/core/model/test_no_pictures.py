"""A batch of no pictures gives results of no pictures, in the shape and dtype of the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import SMALL, VERSION_3

from sdpose_core.estimation.sdpose import PoseEstimator
from sdpose_core.model.config import SDPoseConfig
from sdpose_core.model.folding import fold_constants
from sdpose_core.model.network import SDPose
from sdpose_core.model.onednn import optimize_for_cpu

CALLS: dict[str, Callable[[SDPose, torch.Tensor], torch.Tensor]] = {
    "latents": lambda model, images: model.latents(images),
    "sampled latents": lambda model, images: model.latents(images, torch.zeros(len(images), 4, 8, 16)),
    "features": lambda model, images: model.features(images),
    "heatmaps": lambda model, images: model.heatmaps(images),
    "flip test": lambda model, images: model.heatmaps(images, flip_test=True),
}
RGB_CALLS: dict[str, Callable[[SDPose, torch.Tensor], torch.Tensor | None]] = {
    "reconstruct": lambda model, images: model.reconstruct(images),
    "heatmaps of both": lambda model, images: model(images, tasks=("pose", "rgb")).heatmaps,
    "latents of both": lambda model, images: model(images, tasks=("pose", "rgb")).rgb_latents,
}
MODELS: dict[str, Callable[[], SDPose]] = {
    "one level": lambda: SDPose(SMALL),
    "two levels": lambda: SDPose(replace(SMALL, feature_levels=("F1", "F4"))),
    "version 3": lambda: SDPose(VERSION_3),
    "attention maps": lambda: SDPose(replace(SMALL, read_out="cross_attention", feature_levels=("F2", "F3"))),
    "bf16": lambda: SDPose(SMALL).to(torch.bfloat16),
    "folded": lambda: fold_constants(SDPose(SMALL).requires_grad_(False)),
    "for the CPU": lambda: optimize_for_cpu(SDPose(SMALL).requires_grad_(False)),
}


def check(model: SDPose, call: Callable[[SDPose, torch.Tensor], torch.Tensor | None]) -> None:
    images = torch.zeros(1, 3, 64, 128)
    with torch.inference_mode():
        one, nothing = call(model, images), call(model, images[:0])
    assert one is not None and nothing is not None
    assert (nothing.shape, nothing.dtype) == ((0, *one.shape[1:]), one.dtype)


@pytest.mark.parametrize("kind", MODELS)
def test_no_pictures_through_the_network(kind: str) -> None:
    model = MODELS[kind]().eval()
    for call in CALLS.values():
        check(model, call)


@pytest.mark.parametrize("config", [SMALL, VERSION_3], ids=["rgb pass", "pose pass"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_pictures_through_the_rgb_branch(config: SDPoseConfig, dtype: torch.dtype) -> None:
    model = SDPose(config, with_rgb_branch=True).eval().to(dtype)
    for call in RGB_CALLS.values():
        check(model, call)


def test_a_vae_in_training_takes_no_pictures() -> None:
    model = SDPose(SMALL)
    model.vae_is_frozen = False
    assert model.latents(torch.zeros(0, 3, 64, 64)).shape == (0, 4, 8, 8)


def test_an_estimator_without_people_or_pictures() -> None:
    estimator = PoseEstimator(SDPose(SMALL).eval())
    w, h = SMALL.input_size
    assert estimator.heatmaps(np.zeros((0, h, w, 3), np.uint8)).shape == (0, SMALL.num_keypoints, h // 4, w // 4)
    assert estimator.estimate([], []) == []
    [poses] = estimator.estimate([np.zeros((50, 60, 3), np.uint8)], [np.zeros((0, 4))])
    assert (poses.keypoints.shape, poses.scores.shape) == ((0, 17, 2), (0, 17))
