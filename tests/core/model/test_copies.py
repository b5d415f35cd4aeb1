"""A model is copied, pickled and saved whole, also after what makes it faster."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from tiny import make_model

from sdpose_core.model.approximations import approximate
from sdpose_core.model.folding import fold_constants
from sdpose_core.model.network import SDPose
from sdpose_core.model.onednn import optimize_for_cpu

MODELS: dict[str, Callable[[], SDPose]] = {
    "plain": make_model,
    "with RGB": lambda: make_model(with_rgb_branch=True),
    "for the CPU": lambda: optimize_for_cpu(make_model()),
    "folded": lambda: fold_constants(make_model()),
    "folded for the CPU": lambda: optimize_for_cpu(fold_constants(make_model())),
    "approximate": lambda: approximate(make_model(), pool_attention=True),
}


def _saved_whole(model: SDPose) -> SDPose:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES: dict[str, Callable[[SDPose], SDPose]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": _saved_whole,
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_copy_gives_the_same_heatmaps_and_stands_alone(kind: str) -> None:
    model = MODELS[kind]()
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        before = model.heatmaps(images)  # also fills the cache of embeddings, which is copied along
    for make in COPIES.values():
        twin = make(model)
        with torch.inference_mode():
            assert torch.equal(twin.heatmaps(images), before)
        with torch.no_grad():
            twin.unet.conv_in.weight.mul_(2)
    with torch.inference_mode():
        assert torch.equal(model.heatmaps(images), before)


@pytest.mark.parametrize("name", COPIES)
def test_new_weights_reach_the_embeddings_of_a_copy_alone(name: str) -> None:
    model, images = make_model(), torch.zeros(1, 3, 64, 64)
    with torch.inference_mode():
        before = model.heatmaps(images)
        twin = COPIES[name](model)
        other = make_model(seed=1)
        twin.load_state_dict(other.state_dict())
        assert torch.equal(twin.heatmaps(images), other.heatmaps(images))
        assert torch.equal(model.heatmaps(images), before)
