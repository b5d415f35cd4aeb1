"""Memory and time of one training step of the full-size model.

    python benchmarks/full_size_step.py [--keypoint-set wholebody] [--input-size W H] [--save FILE.safetensors]

Random weights, a random picture, both tasks in one U-Net batch, float32, gradient checkpointing, AdamW. --save writes
the weights after the step as fp16 in our layout, with a random VAE decoder, so that `sdpose convert` can read them.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "training"))

from sdpose_core.checkpoints.layouts import save_checkpoint
from sdpose_core.model.backbone import POSE, RGB
from sdpose_core.model.config import BODY, WHOLEBODY, VAEConfig
from sdpose_core.model.network import SDPose
from sdpose_training.fit.losses import heatmap_loss, rgb_loss
from sdpose_training.fit.setup import make_optimizer
from sdpose_training.recipe.recipe import OptimizerRecipe

GIB = 1 << 30


def peak_gib(device: torch.device) -> float:
    """Peak memory so far: of the process on a CPU, of PyTorch's tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB


def memory_of(model: SDPose) -> dict[str, float]:
    """GiB computed from the number of parameters: float32 weights, gradients, and AdamW's two averages."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    gib = 4 * trained / GIB
    return {"weights": gib + 4 * frozen / GIB, "gradients": gib, "optimizer": 2 * gib, "trained_parameters": trained}


def one_step(model: SDPose, batch: int, bf16: bool) -> dict[str, float]:
    """Forward, backward, AdamW; seconds and peak GiB of each."""
    device = model.device
    w, h = model.config.input_size
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(2 * batch, 3, h, w, generator=generator) * 2 - 1).to(device)
    target = torch.rand(batch, model.config.num_keypoints, h // 4, w // 4, generator=generator).to(device)
    optimizer = make_optimizer([p for p in model.parameters() if p.requires_grad], OptimizerRecipe(), 3e-5)
    figures: dict[str, float] = {}

    def done(name: str, began: float) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        figures[f"{name}_seconds"], figures[f"{name}_peak_gib"] = time.perf_counter() - began, peak_gib(device)
        print(f"{name:10}{figures[f'{name}_seconds']:8.1f} s, peak {figures[f'{name}_peak_gib']:6.2f} GiB", flush=True)

    began = time.perf_counter()
    latents = model.latents(images)
    done("encoder", began)
    began = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        prediction = model(latents=latents[:batch], tasks=(POSE, RGB))
    weights = torch.ones(target.shape[:2], device=device)
    loss = heatmap_loss(prediction.heatmaps, target, weights) + rgb_loss(prediction.rgb_latents, latents[batch:])
    done("forward", began)
    began = time.perf_counter()
    loss.backward()
    done("backward", began)
    began = time.perf_counter()
    optimizer.step()
    done("optimizer", began)
    return {**figures, "loss": float(loss.detach())}


def random_vae_decoder(config: VAEConfig) -> dict[str, torch.Tensor]:
    """Random weights of the decoder that the released files have, which SDPose does not use."""
    from diffusers import AutoencoderKL

    levels = len(config.block_out_channels)
    state = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=config.block_out_channels, layers_per_block=config.layers_per_block,
        norm_num_groups=config.norm_num_groups,
    ).state_dict()  # fmt: skip
    return {f"vae.{k}": v for k, v in state.items() if k.startswith(("decoder.", "post_quant_conv."))}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures."""
    args = _parser().parse_args(argv)
    base = WHOLEBODY if args.keypoint_set == "wholebody" else BODY
    torch.manual_seed(0)
    model = SDPose(replace(base, input_size=tuple(args.input_size)), with_rgb_branch=True).to(args.device).train()
    model.vae.requires_grad_(False)
    model.enable_gradient_checkpointing()
    figures = memory_of(model)
    print(
        f"{args.keypoint_set}, {args.input_size[0]} x {args.input_size[1]}, batch {args.batch}: "
        f"{figures['trained_parameters']:,} trained parameters; weights {figures['weights']:.2f}, gradients "
        f"{figures['gradients']:.2f}, AdamW {figures['optimizer']:.2f} GiB"
    )
    figures |= one_step(model, args.batch, args.bf16)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if args.save:
        state = {**model.state_dict(), **random_vae_decoder(model.config.vae)}
        report = save_checkpoint(state, model.config, args.save, dtype=torch.float16, metadata={"training_step": 1})
        print(f"{report.path}: {report.tensors} tensors")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keypoint-set", choices=("body", "wholebody"), default="body")
    parser.add_argument("--input-size", type=int, nargs=2, default=(768, 1024), metavar=("W", "H"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="autocast, for GPUs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the weights after the step")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
