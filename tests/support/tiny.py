"""Tiny SDPose models: the whole architecture with a few thousand random weights."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from paths import GOLDEN
from safetensors.torch import load_file, save_file

from sdpose_core.checkpoints.adapters import LORA_A, LORA_B, Adapter, digests_of
from sdpose_core.checkpoints.layouts import save_adapter, save_checkpoint
from sdpose_core.model.config import SDPoseConfig, UNetConfig, VAEConfig
from sdpose_core.model.network import SDPose

BODY = SDPoseConfig(
    input_size=(192, 256),
    unet=UNetConfig((16, 32, 32, 32), 2, (1, 2, 2, 2), cross_attention_dim=16, norm_num_groups=8),
    vae=VAEConfig((8, 8, 16, 16), 1, norm_num_groups=4),
)
"""The sizes of `golden/tiny_ckpt`."""
WHOLEBODY = replace(BODY, keypoint_set="coco_wholebody_133", num_keypoints=133, feature_levels=("F2",))
SMALL = replace(BODY, input_size=(64, 128), unet=replace(BODY.unet, layers_per_block=1))
"""The default: fewer layers, smaller pictures."""


def make_model(config: SDPoseConfig = SMALL, seed: int = 0, head_std: float = 0.2, **options: bool) -> SDPose:
    """A frozen model with random weights; those of the head's last layer are large, so that heatmaps are not flat."""
    torch.manual_seed(seed)
    model = SDPose(config, **options).eval().requires_grad_(False)
    torch.nn.init.normal_(model.head.final_layer.weight, std=head_std)
    return model


def make_checkpoint(path: Path, config: SDPoseConfig = SMALL, seed: int = 0, head_std: float = 0.2) -> Path:
    """A file of such a model with its RGB branch."""
    save_checkpoint(make_model(config, seed, head_std, with_rgb_branch=True).state_dict(), config, path)
    return path


def golden_state(golden: dict[str, np.ndarray], head: str) -> dict[str, torch.Tensor]:
    """`golden/tiny_ckpt` with SDPose's names; `head` is "body" or "wholebody"."""
    folder = GOLDEN / "tiny_ckpt"
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    vae = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    state = {f"unet.{name}": tensor for name, tensor in unet.items()}
    state |= {f"vae.{k}": v for k, v in vae.items() if k.startswith(("encoder.", "quant_conv."))}
    state |= {f"head.{k}": v for k, v in load_file(folder / f"decoder_{head}" / "decoder.safetensors").items()}
    return {k: v.float() for k, v in state.items()} | {
        "empty_prompt_embedding": torch.from_numpy(golden["text_embed"].copy())
    }


def golden_folder(path: Path, kind: str) -> Path:
    """A copy of it in the released layout, with the decoder of `kind`."""
    folder = GOLDEN / "tiny_ckpt"
    for part in ("unet", "vae", "scheduler"):
        shutil.copytree(folder / part, path / part)
    shutil.copytree(folder / f"decoder_{kind}", path / "decoder")
    text = torch.from_numpy(np.load(GOLDEN / "f_tiny.npz")["text_embed"])
    save_file({"empty_prompt_embedding": text}, path / "empty_prompt_embedding.safetensors")
    return path


ADAPTED = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"
"""The weight that `make_adapter` changes."""


def make_adapter(path: Path, source: Path, config: SDPoseConfig = SMALL, **changes: object) -> dict[str, torch.Tensor]:
    """An adapter of rank 2 for the file or folder `source`: matrices on one layer, and a new head.

    Returns the head, and what is added to the weight of the layer.
    """
    own = make_model(config, seed=7, with_rgb_branch=True).state_dict()
    generator = torch.Generator().manual_seed(3)
    a, b = (torch.randn(shape, generator=generator) for shape in ((2, own[ADAPTED].shape[1]), (len(own[ADAPTED]), 2)))
    layer = ADAPTED.removesuffix(".weight")
    whole = {name: value for name, value in own.items() if name.startswith("head.")}
    adapter = Adapter(source.name, digests_of(source), 2, 3.0, ("to_q",), rgb_branch=True)
    state = {**whole, layer + LORA_A: a, layer + LORA_B: b}
    save_adapter(state, replace(adapter, **changes), config, path)  # type: ignore[arg-type]
    return {**whole, ADAPTED: 1.5 * b @ a}


VERSION_3 = replace(SMALL, feature_levels=("F1", "F2"), aggregation="gated", reconstruction="pose_pass")
"""After the paper's third version."""


def make_version_3(path: Path, config: SDPoseConfig = VERSION_3) -> Path:
    """A file of such a model, whose aggregation is not zero, as after some training."""
    state = make_model(config, with_rgb_branch=True).state_dict()
    generator = torch.Generator().manual_seed(1)
    for name, value in state.items():
        if name.startswith("head.aggregation."):
            value += 0.2 * torch.randn(value.shape, generator=generator)
    save_checkpoint(state, config, path)
    return path
