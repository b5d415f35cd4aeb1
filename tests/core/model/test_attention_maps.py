"""GenLoc's way: maps of cross-attention to learned tokens, read as heatmaps; its checkpoints; and what refuses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file

from sdpose_core.checkpoints.layouts import convert, inspect_checkpoint, save_checkpoint
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.checkpoints.onnx_export import export_onnx
from sdpose_core.checkpoints.sizes import unet_config
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.model.attention_maps import AttentionReadOut, MapAttention, maps_of_levels
from sdpose_core.model.config import SDPoseConfig
from sdpose_core.model.folding import fold_constants
from sdpose_core.model.network import SDPose

LEVELS = ("F1", "F2", "F3")
CONFIG = replace(tiny.SMALL, read_out="cross_attention", feature_levels=LEVELS)
SD15 = {  # unet/config.json of Stable Diffusion 1.5, which leaves out what is diffusers' default
    "_class_name": "UNet2DConditionModel", "attention_head_dim": 8, "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 768, "layers_per_block": 2, "norm_num_groups": 32, "in_channels": 4, "out_channels": 4,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}  # fmt: skip


def make_model(config: SDPoseConfig = CONFIG) -> SDPose:
    torch.manual_seed(0)
    model = SDPose(config).eval().requires_grad_(False)
    torch.nn.init.normal_(model.head.final_layer.weight, std=0.2)
    return model


def pictures(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 128, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("attention") / "genloc.safetensors"
    save_checkpoint(make_model().state_dict(), CONFIG, path)
    return path


@torch.no_grad()
def test_the_maps_are_those_of_diffusers_attention() -> None:
    model, seen = make_model(), []
    plain = UNet2DConditionModel(**asdict(CONFIG.unet)).eval()
    plain.load_state_dict(model.unet.state_dict(), strict=False)  # it lacks the output layers
    attention = plain.up_blocks[2].attentions[1].transformer_blocks[0].attn2

    def look(_module: object, args: tuple[torch.Tensor, ...], kwargs: dict[str, torch.Tensor]) -> None:
        query = attention.head_to_batch_dim(attention.to_q(args[0]))
        key = attention.head_to_batch_dim(attention.to_k(kwargs["encoder_hidden_states"]))
        seen.append(attention.get_attention_scores(query, key).unflatten(0, (-1, attention.heads)))

    attention.register_forward_pre_hook(look, with_kwargs=True)
    latents = torch.randn(2, 4, 16, 8)
    text = model.text(2)
    embedding = model.unet.embedding(999, ["pose"] * 2)
    maps, none = model.unet(latents, embedding, text, num_pose=2)
    plain(latents, 999, text)
    heads, tokens = attention.heads, text.shape[1]
    expected = seen[0][..., -17:].permute(0, 3, 1, 2).unflatten(3, (8, 4)) * tokens - 1  # F2: half of the latent's size
    assert none is None and {level: tuple(x.shape) for level, x in maps.items()} == {
        level: (2, 17, maps_of_levels(CONFIG)[level], 16 // stride, 8 // stride)
        for level, stride in zip(LEVELS, (1, 2, 4), strict=True)
    }
    assert torch.allclose(maps["F2"][:, :, heads : 2 * heads], expected, atol=1e-4)
    assert not torch.allclose(maps["F2"][:, :, :heads], expected, atol=1e-4)


def test_a_repeated_forward_pass_has_the_same_gradients_and_keeps_no_maps() -> None:
    model = make_model()
    model.head.requires_grad_(True)

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        (model(pictures()).heatmaps - 1).square().mean().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    whole = gradients()
    model.enable_gradient_checkpointing()
    model.train()
    again = gradients()
    assert whole.keys() == again.keys() == {f"head.{name}" for name, _ in model.head.named_parameters()}
    assert all(torch.allclose(whole[name], again[name], atol=1e-7) for name in whole)
    assert whole["head.keypoint_embeddings"].abs().amin(dim=1).max() > 0
    with model.unet._store.collecting() as found:
        pass
    assert not found


def test_each_keypoint_has_maps_and_weights_of_its_own() -> None:
    """Keypoints that change places in embeddings and read-out change places in the heatmaps."""
    model = make_model()
    before = model.heatmaps(pictures())
    order = list(CONFIG.flip_indices)
    with torch.no_grad():
        head = model.head
        assert isinstance(head, AttentionReadOut)
        head.keypoint_embeddings.copy_(head.keypoint_embeddings[order])
        for layer in [*head.mixing.values(), head.final_layer]:
            per_keypoint = layer.weight.unflatten(0, (17, -1))
            layer.weight.copy_(per_keypoint[order].flatten(0, 1))
    assert torch.allclose(model.heatmaps(pictures()), before[:, order], atol=1e-5)
    assert before[0].std(dim=0).max() > 1e-3


def test_stable_diffusion_1_5_fits() -> None:
    unet = unet_config(SD15)
    assert (unet.cross_attention_dim, unet.attention_head_dim, unet.use_linear_projection) == (768, (8,) * 4, False)
    with torch.device("meta"):
        model = SDPose(SDPoseConfig(read_out="cross_attention", feature_levels=LEVELS, unet=unet))
        plain = UNet2DConditionModel(**{k: v for k, v in SD15.items() if k != "_class_name"})
    own, stored = model.unet.state_dict(), plain.state_dict()
    assert {name: x.shape for name, x in stored.items() if not name.startswith(("conv_out", "conv_norm_out"))} == {
        name: x.shape for name, x in own.items()
    }
    assert sum(x.numel() for x in model.head.parameters()) == 19 * 768 + 17 * 8 * (3 * 24 + 9) + 17
    assert sum(isinstance(getattr(m, "processor", None), MapAttention) for m in model.modules()) == 9


@pytest.mark.parametrize("layout", ["ours", "diffusers"])
def test_there_and_back(checkpoint: Path, tmp_path: Path, layout: str) -> None:
    path = tmp_path / ("there" if layout == "diffusers" else "there.safetensors")
    convert(checkpoint, path, layout)
    config, info = inspect_checkpoint(path)
    assert config == CONFIG
    assert layout == "diffusers" or (info.metadata["read_out"], info.metadata["format_version"]) == (
        "cross_attention", "3",
    )  # fmt: skip
    if layout == "diffusers":
        stored = json.loads((path / "unet" / "config.json").read_text())
        assert "class_embed_type" not in stored
    model = load_sdpose(path, dtype="fp32", device="cpu", fold=True)
    assert torch.allclose(model.heatmaps(pictures()), make_model().heatmaps(pictures()), atol=1e-4)
    assert sum(isinstance(getattr(m, "processor", None), MapAttention) for m in model.modules()) == 6


def test_it_estimates_as_any_checkpoint(checkpoint: Path) -> None:
    estimator = load_estimator(checkpoint, device="cpu", flip_test=True)
    picture = np.random.default_rng(0).integers(0, 255, (96, 80, 3), np.uint8)
    (poses,) = estimator.estimate([picture], [np.array([[10, 5, 60, 90]], np.float32)])
    assert poses.keypoints.shape == (1, 17, 2) and poses.meta["model"] == "SDPose coco_17, cross-attention"


def test_half_precision_ends_in_float32(checkpoint: Path) -> None:
    half = load_sdpose(checkpoint, dtype="bf16", device="cpu").heatmaps(pictures())
    assert half.dtype == torch.float32 and torch.allclose(half, make_model().heatmaps(pictures()), atol=0.1)


def test_the_background_starts_as_the_empty_prompt() -> None:
    wide = replace(CONFIG, unet=replace(CONFIG.unet, cross_attention_dim=1024))
    shipped, head = SDPose(replace(wide, read_out="features", feature_levels=("F1",))), SDPose(wide).head
    assert isinstance(head, AttentionReadOut) and shipped.empty_prompt_embedding is not None
    assert torch.equal(head.background_embeddings, shipped.empty_prompt_embedding[0])
    last = shipped.empty_prompt_embedding[0, -1]
    spread = (head.keypoint_embeddings.detach() - last).std()
    assert spread == pytest.approx(float(last.std()), rel=0.05)


@pytest.mark.parametrize(("what", "message"), [
    (lambda path, out: convert(path, out / "x.safetensors", "comfy"), "layout comfy: not for a model with read_out"),
    (lambda path, out: export_onnx(path, out / "x.onnx"), "exporting ONNX: not for a model"),
    (lambda path, out: fold_constants(make_model()), "folding constants: not for a model"),
    (lambda path, out: make_model().compile_backbone(), "compilation: not for a model"),
    (lambda path, out: SDPose(CONFIG, with_rgb_branch=True), "no RGB task"),
    (lambda path, out: make_model().reconstruct(pictures()), "without its RGB branch"),
    (lambda path, out: replace(CONFIG, feature_levels=("F1", "F4")), "at F4; choose from F1, F2, F3"),
    (lambda path, out: replace(CONFIG, read_out="attention"), "read_out: expected features or cross_attention"),
])  # fmt: skip
def test_what_cannot_work_is_one_error(
    checkpoint: Path, tmp_path: Path, what: Callable[[Path, Path], object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        what(checkpoint, tmp_path)


def test_the_kinds_are_not_mistaken_for_each_other(checkpoint: Path, tmp_path: Path) -> None:
    state, plain = make_model().state_dict(), tiny.make_model()
    with pytest.raises(CheckpointError, match="does not hold an SDPose of 17 keypoints at the cross-attention of F1"):
        save_checkpoint(plain.state_dict(), CONFIG, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="does not hold an SDPose"):
        save_checkpoint(state, tiny.SMALL, tmp_path / "x.safetensors")
    save_file(state, tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="reads cross-attention maps, but has no configuration"):
        inspect_checkpoint(tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="does not hold an SDPose"):
        load_sdpose(checkpoint, feature_level="F1", device="cpu")
