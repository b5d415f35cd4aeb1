"""Tables of tensor names in the checkpoint layouts, made from the model's sizes.

Ours are `vae.*` and `unet.*` with diffusers' names, `head.*`, and `empty_prompt_embedding`. The Comfy-Org file has the
names of the original latent-diffusion code.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..model.config import POSE_PASS, SDPoseConfig, UNetConfig, VAEConfig

COMFY_UNET = "model.diffusion_model."
COMFY_HEAD = "model.diffusion_model.heatmap_head."
COMFY_VAE = "first_stage_model."
COMFY_TEXT = "sdpose_annotator.empty_prompt_embedding"
"""Our addition, ignored by ComfyUI: written only if it differs from the shipped constant."""

TEXT = "empty_prompt_embedding"
VAE_DECODER = ("vae.decoder.", "vae.post_quant_conv.")
"""Our names; kept by conversion, never loaded."""
RGB_OUTPUT = ("unet.conv_norm_out.", "unet.conv_out.")
"""Our names; used only by the RGB task, as are the later up-blocks."""
AGGREGATION, RECONSTRUCTION = "head.aggregation.", "head.reconstruction."
"""Our names, of models after the paper's third version; the second is used only by the RGB task."""

_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_VAE_RESNET = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "conv_shortcut": "nin_shortcut"}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}

OLD_DIFFUSERS_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Early diffusers' names of the VAE's attention -> today's."""


def rgb_output(config: SDPoseConfig) -> tuple[str, ...]:
    """Beginnings of the names of the layers that give the RGB task's result, and nothing else."""
    return (RECONSTRUCTION,) if config.reconstruction == POSE_PASS else RGB_OUTPUT


def unet_modules(config: UNetConfig) -> dict[str, str]:
    """Module names of the U-Net: diffusers -> latent diffusion."""
    per_level = config.layers_per_block + 1
    table = {
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "class_embedding.linear_1": "label_emb.0.0",
        "class_embedding.linear_2": "label_emb.0.2",
        "mid_block.attentions.0": "middle_block.1",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    table |= _inside("mid_block.resnets.0", "middle_block.0", _RESNET)
    table |= _inside("mid_block.resnets.1", "middle_block.2", _RESNET)
    levels = len(config.block_out_channels)
    for i in range(levels):
        for j in range(config.layers_per_block):
            place = f"input_blocks.{1 + i * per_level + j}"
            table |= _inside(f"down_blocks.{i}.resnets.{j}", f"{place}.0", _RESNET)
            if _attends(config.down_block_types[i]):
                table[f"down_blocks.{i}.attentions.{j}"] = f"{place}.1"
        if i < levels - 1:
            table[f"down_blocks.{i}.downsamplers.0.conv"] = f"input_blocks.{(i + 1) * per_level}.0.op"
        attends = _attends(config.up_block_types[i])
        for j in range(per_level):
            place = f"output_blocks.{i * per_level + j}"
            table |= _inside(f"up_blocks.{i}.resnets.{j}", f"{place}.0", _RESNET)
            if attends:
                table[f"up_blocks.{i}.attentions.{j}"] = f"{place}.1"
        if i < levels - 1:
            last = f"output_blocks.{i * per_level + per_level - 1}.{2 if attends else 1}"
            table[f"up_blocks.{i}.upsamplers.0.conv"] = f"{last}.conv"
    return table


def vae_modules(config: VAEConfig) -> dict[str, str]:
    """Module names of the VAE, decoder included: diffusers -> latent diffusion."""
    table = {name: name for name in ("quant_conv", "post_quant_conv")}
    levels = len(config.block_out_channels)
    for part, ours, theirs, layers in (
        ("encoder", "down_blocks", "down", config.layers_per_block),
        ("decoder", "up_blocks", "up", config.layers_per_block + 1),
    ):
        sampler, their_sampler = ("downsamplers", "downsample") if part == "encoder" else ("upsamplers", "upsample")
        for i in range(levels):
            place = i if part == "encoder" else levels - 1 - i
            for j in range(layers):
                block = f"{part}.{theirs}.{place}.block.{j}"
                table |= _inside(f"{part}.{ours}.{i}.resnets.{j}", block, _VAE_RESNET)
            if i < levels - 1:
                table[f"{part}.{ours}.{i}.{sampler}.0.conv"] = f"{part}.{theirs}.{place}.{their_sampler}.conv"
        table |= _inside(f"{part}.mid_block.resnets.0", f"{part}.mid.block_1", _VAE_RESNET)
        table |= _inside(f"{part}.mid_block.resnets.1", f"{part}.mid.block_2", _VAE_RESNET)
        table |= _inside(f"{part}.mid_block.attentions.0", f"{part}.mid.attn_1", _VAE_ATTENTION)
        table |= {f"{part}.{name}": f"{part}.{name}" for name in ("conv_in", "conv_out")}
        table[f"{part}.conv_norm_out"] = f"{part}.norm_out"
    return table


def renamed(name: str, modules: Mapping[str, str]) -> str | None:
    """`name` with its longest prefix that is in the table replaced; None if there is none."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        head = ".".join(parts[:length])
        if head in modules:
            return ".".join([modules[head], *parts[length:]])
    return None


def inverted(modules: Mapping[str, str]) -> dict[str, str]:
    """The inverse table; names must be unique."""
    turned = {theirs: ours for ours, theirs in modules.items()}
    if len(turned) != len(modules):
        raise AssertionError("two modules have the same name")
    return turned


def is_conv_attention(name: str) -> bool:
    """Whether a latent-diffusion name is a VAE attention weight, which that layout keeps as a 1 x 1 convolution."""
    return ".attn_1." in name and name.endswith(".weight") and ".norm." not in name


def _inside(ours: str, theirs: str, names: Mapping[str, str]) -> dict[str, str]:
    return {f"{ours}.{a}": f"{theirs}.{b}" for a, b in names.items()}


def _attends(block_type: str) -> bool:
    return "CrossAttn" in block_type
