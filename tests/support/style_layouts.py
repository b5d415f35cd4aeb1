"""Small style networks, and an independent list of names and shapes in the authors' files."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sdpose_training.styles import cyclegan as style_cyclegan
from sdpose_training.styles import stytr2 as style_stytr2
from sdpose_training.styles import weights as style_weights
from sdpose_training.styles.cyclegan import CycleGANGenerator
from sdpose_training.styles.stytr2 import StyTR2

Shapes = dict[str, tuple[int, ...]]


def cyclegan_layout(width: int = 64, blocks: int = 9) -> Shapes:
    layers: Shapes = {"model.1": (width, 3, 7, 7), "model.4": (2 * width, width, 3, 3)}
    layers["model.7"] = (4 * width, 2 * width, 3, 3)
    for i in range(10, 10 + blocks):
        layers[f"model.{i}.conv_block.1"] = layers[f"model.{i}.conv_block.5"] = (4 * width, 4 * width, 3, 3)
    layers[f"model.{10 + blocks}"] = (4 * width, 2 * width, 3, 3)  # transposed: inputs first
    layers[f"model.{13 + blocks}"] = (2 * width, width, 3, 3)
    layers[f"model.{17 + blocks}"] = (3, width, 7, 7)
    outputs = {name: shape[0] for name, shape in layers.items()}
    outputs |= {f"model.{10 + blocks}": 2 * width, f"model.{13 + blocks}": width}
    shapes = {f"{name}.weight": shape for name, shape in layers.items()}
    return shapes | {f"{name}.bias": (count,) for name, count in outputs.items()}


def attention_layout(width: int) -> Shapes:
    inputs: Shapes = {"in_proj_weight": (3 * width, width), "in_proj_bias": (3 * width,)}
    return inputs | {"out_proj.weight": (width, width), "out_proj.bias": (width,)}


def layer_layout(width: int, hidden: int, attentions: tuple[str, ...]) -> Shapes:
    shapes = {f"{name}.{k}": v for name in attentions for k, v in attention_layout(width).items()}
    shapes |= {"linear1.weight": (hidden, width), "linear1.bias": (hidden,)}
    shapes |= {"linear2.weight": (width, hidden), "linear2.bias": (width,)}
    for i in range(len(attentions) + 1):
        shapes |= {f"norm{i + 1}.weight": (width,), f"norm{i + 1}.bias": (width,)}
    return shapes


def stytr2_layout(width: int = 512, hidden: int = 2048, layers: int = 3) -> dict[str, Shapes]:
    transformer: Shapes = {"new_ps.weight": (width, width, 1, 1), "new_ps.bias": (width,)}
    for i in range(layers):
        for encoder in ("encoder_c", "encoder_s"):
            inner = layer_layout(width, hidden, ("self_attn",))
            transformer |= {f"{encoder}.layers.{i}.{k}": v for k, v in inner.items()}
        inner = layer_layout(width, hidden, ("self_attn", "multihead_attn"))
        transformer |= {f"decoder.layers.{i}.{k}": v for k, v in inner.items()}
    transformer |= {"decoder.norm.weight": (width,), "decoder.norm.bias": (width,)}
    a, b, c, d = width, width // 2, width // 4, width // 8
    convolutions = {
        1: (b, a), 5: (b, b), 8: (b, b), 11: (b, b), 14: (c, b), 18: (c, c), 21: (d, c), 25: (d, d), 28: (3, d)
    }  # fmt: skip
    decoder = {f"{i}.weight": (*pair, 3, 3) for i, pair in convolutions.items()}
    decoder |= {f"{i}.bias": pair[:1] for i, pair in convolutions.items()}
    embedding: Shapes = {"proj.weight": (width, 3, 8, 8), "proj.bias": (width,)}
    return {"embedding": embedding, "transformer": transformer, "decoder": decoder}


def random_state(shapes: Shapes) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}


def tiny_stytr2() -> StyTR2:
    return StyTR2(width=16, heads=2, layers=1, hidden=24, pooled=3)


def tiny_cyclegan() -> CycleGANGenerator:
    return CycleGANGenerator(width=2, blocks=1)


def use_tiny_networks(patch: pytest.MonkeyPatch) -> None:
    """Make both networks small, in the command too."""
    kinds = style_weights.STYLE_MODELS
    cyclegan = replace(kinds["ukiyoe"], build=tiny_cyclegan, parts={"generator": style_cyclegan.released_names(1)})
    stytr2 = replace(kinds["monet"], build=tiny_stytr2, parts=style_stytr2.released_names(1))
    patch.setattr(style_weights, "STYLE_MODELS", {"ukiyoe": cyclegan, "monet": stytr2})
