"""A tiny Stable Diffusion, ControlNet and motion adapter with random weights, as folders in diffusers' layout."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDPMScheduler, MotionAdapter, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

WIDTH = 32
_SIDES = {
    "block_out_channels": (8, 16), "layers_per_block": 1, "cross_attention_dim": WIDTH, "attention_head_dim": 2,
    "norm_num_groups": 4, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
}  # fmt: skip


def make_base(folder: Path) -> Path:
    """Write every part and model_index.json. The scheduler draws noise at each step."""
    torch.manual_seed(0)
    UNet2DConditionModel(sample_size=8, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **_SIDES).save_pretrained(
        folder / "unet"
    )
    AutoencoderKL(
        block_out_channels=(4, 4, 4, 8), norm_num_groups=2, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    ).save_pretrained(folder / "vae")  # fmt: skip
    vocabulary = _write_tokenizer(folder / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=WIDTH, intermediate_size=37, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"], pad_token_id=vocabulary["<|endoftext|>"],
    )  # fmt: skip
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")
    DDPMScheduler().save_pretrained(folder / "scheduler")
    parts = {
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDPMScheduler"], "safety_checker": [None, None], "feature_extractor": [None, None],
    }  # fmt: skip
    index = {"_class_name": "StableDiffusionPipeline", **parts}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def make_controlnet(folder: Path, width: int = WIDTH) -> Path:
    """Random in the last layers too: zeros, as in a new ControlNet, would ignore the map."""
    torch.manual_seed(1)
    sides = {**_SIDES, "cross_attention_dim": width}
    net = ControlNetModel(conditioning_embedding_out_channels=(4, 4, 8, 8), **sides)
    with torch.no_grad():
        for layer in (*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out):
            layer.weight.normal_(std=3.0)
    net.save_pretrained(folder)
    return folder


def make_motion(folder: Path, longest: int = 6) -> Path:
    """An AnimateDiff motion adapter for `make_base`, for up to `longest` frames."""
    torch.manual_seed(2)
    sides = {"block_out_channels": (8, 16), "motion_layers_per_block": 1, "motion_mid_block_layers_per_block": 1}
    sides |= {"motion_num_attention_heads": 2, "motion_norm_num_groups": 4}
    MotionAdapter(motion_max_seq_length=longest, **sides).save_pretrained(folder)
    return folder


def _write_tokenizer(folder: Path) -> dict[str, int]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["an", *letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\na n\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    settings = {"model_max_length": 16, "pad_token": "<|endoftext|>", "tokenizer_class": "CLIPTokenizer", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return vocabulary
