"""Memory and time of one training step of the full-size model.

    python benchmarks/full_size_step.py [--keypoint-set wholebody] [--input-size W H] [--save FILE.safetensors]
    python benchmarks/full_size_step.py --lora 16 --weights-dtype bf16 --autocast bf16

Random weights, a random picture, both tasks in one U-Net batch, gradient checkpointing; float32 and AdamW without
options. The peaks are those of the whole process on a CPU, PyTorch included, and of PyTorch's tensors on a GPU. --save
writes the weights after the step as fp16 in our layout, with a random VAE decoder: `sdpose convert` can read them.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "training"))

from sdpose_core.bench.settings import Settings
from sdpose_core.checkpoints.adapters import merged_state
from sdpose_core.checkpoints.layouts import save_checkpoint
from sdpose_core.model.backbone import POSE, RGB
from sdpose_core.model.config import VAEConfig
from sdpose_core.model.devices import DTYPES
from sdpose_core.model.network import SDPose
from sdpose_training.fit.lora import plain_names
from sdpose_training.fit.losses import heatmap_loss, rgb_loss
from sdpose_training.fit.optimizers import make_optimizer, state_bytes
from sdpose_training.fit.precision import set_precision
from sdpose_training.fit.trained_parts import choose_trained
from sdpose_training.recipe.recipe import HardwareRecipe, LoraRecipe, ModelRecipe, OptimizerRecipe, Recipe

GIB = 1 << 30


def peak_gib(device: torch.device) -> float:
    """Peak memory so far: of the process on a CPU, of PyTorch's tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB


def gib_of(tensors: Iterable[torch.Tensor]) -> float:
    """Memory of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / GIB


def memory_of(model: SDPose, recipe: OptimizerRecipe) -> dict[str, float]:
    """GiB of all weights, of gradients and optimizer, computed by number and dtype; number of trained parameters."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return {
        "weights": gib_of(model.parameters()), "gradients": gib_of(trained),
        "optimizer": sum(state_bytes(recipe, p) for p in trained) / GIB,
        "trained_parameters": sum(p.numel() for p in trained),
    }  # fmt: skip


def full_size_model(args: argparse.Namespace) -> tuple[SDPose, Recipe]:
    """The model with random weights and the recipe of the options, prepared as for training."""
    base = Settings(model=args.keypoint_set, tiny=args.tiny).config
    recipe = Recipe(
        lora=LoraRecipe(rank=args.lora),
        model=ModelRecipe(base="random weights", freeze=tuple(args.freeze)),
        optimizer=OptimizerRecipe(kind=args.optimizer),
        hardware=HardwareRecipe(
            mixed_precision=args.autocast, weights_dtype=args.weights_dtype, channels_last=args.channels_last,
            compile=args.compile, gradient_checkpointing=not args.no_checkpointing,
        ),
    )  # fmt: skip
    torch.manual_seed(0)
    model = SDPose(replace(base, input_size=tuple(args.input_size)), with_rgb_branch=True)
    choose_trained(model, recipe)
    set_precision(model, recipe, torch.device(args.device).type)
    return model.to(args.device), recipe


def one_step(model: SDPose, recipe: Recipe, batch: int) -> dict[str, float]:
    """Forward, backward, optimizer; seconds and peak GiB of each."""
    device = model.device
    w, h = model.config.input_size
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(2 * batch, 3, h, w, generator=generator) * 2 - 1).to(device)
    target = torch.rand(batch, model.config.num_keypoints, h // 4, w // 4, generator=generator).to(device)
    optimizer = make_optimizer([p for p in model.parameters() if p.requires_grad], recipe.optimizer, 3e-5)
    dtype = DTYPES.get(recipe.hardware.mixed_precision)
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
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
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
    model, recipe = full_size_model(args)
    figures = memory_of(model, recipe.optimizer)
    print(
        f"{args.keypoint_set}, {args.input_size[0]} x {args.input_size[1]}, batch {args.batch}: "
        f"{figures['trained_parameters']:,} trained parameters; weights {figures['weights']:.2f}, gradients "
        f"{figures['gradients']:.2f}, {args.optimizer} {figures['optimizer']:.2f} GiB; peak "
        f"{peak_gib(model.device):.2f} GiB"
    )
    figures |= one_step(model, recipe, args.batch)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if args.save:
        state = merged_state(plain_names(model.state_dict()), recipe.lora.alpha / max(recipe.lora.rank, 1))
        state = {**state, **random_vae_decoder(model.config.vae)}
        report = save_checkpoint(state, model.config, args.save, dtype=torch.float16, metadata={"training_step": 1})
        print(f"{report.path}: {report.tensors} tensors")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keypoint-set", choices=("body", "wholebody"), default="body")
    parser.add_argument("--input-size", type=int, nargs=2, default=(768, 1024), metavar=("W", "H"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--autocast", choices=("no", "bf16", "fp16"), default="no")
    parser.add_argument("--weights-dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--lora", type=int, default=0, metavar="RANK")
    parser.add_argument("--optimizer", choices=("adamw", "adamw_8bit", "adafactor"), default="adamw")
    parser.add_argument("--freeze", nargs="*", default=(), metavar="PART")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--no-checkpointing", action="store_true", help="keep all activations")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, only to check that the command runs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the weights after the step")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
