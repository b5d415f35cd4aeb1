"""A tiny replacement for Stable Diffusion: an autoencoder and a denoiser, trained in minutes."""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.checkpoints.layouts import read_checkpoint
from sdpose_core.checkpoints.names import TEXT
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_path, atomic_write
from sdpose_core.folders import FolderKind, atomic_folder
from sdpose_core.network import quiet_client
from sdpose_core.texts import read_json
from sdpose_training.data.pictures import read_picture
from sdpose_training.environment import environment
from sdpose_training.recipe.recipe import Recipe

log = logging.getLogger("make_tiny_prior")

KL_WEIGHT = 1e-3
"""Weight of the KL divergence per value of the picture: just enough to bound the latents."""
ZOOM = (0.35, 1.0)
"""Size of a window relative to the largest one that fits into the picture."""
LATENTS_MEASURED = 512
"""Number of windows to measure the deviation of the latents for the VAE's scaling factor."""
_PART = FolderKind("a part of a tiny prior", ("config.json", "diffusion_pytorch_model.safetensors"), ("config.json",))


def make_prior(recipe: Recipe, pictures: Sequence[Path], out: Path, args: argparse.Namespace) -> None:
    """Run both stages, unless their folders exist."""
    import torch

    if recipe.hardware.threads:
        torch.set_num_threads(recipe.hardware.threads)
    if not (out / "vae").exists():
        torch.manual_seed(recipe.seed)
        if args.encoder:
            take_encoder(recipe, args.encoder, pictures, out)
        else:
            _, seconds, loss = train_autoencoder(recipe, pictures, args.vae_samples, args.vae_window, out)
            _note(out, "vae", args.vae_samples, seconds, loss, recipe, len(pictures))
    if not (out / "unet").exists():
        torch.manual_seed(recipe.seed)
        seconds, loss = train_denoiser(recipe, pictures, args.unet_samples, out)
        _note(out, "unet", args.unet_samples, seconds, loss, recipe, len(pictures))


def train_autoencoder(
    recipe: Recipe, pictures: Sequence[Path], samples: int, window: int, out: Path
) -> tuple[Any, float, float]:
    """Train OUT/vae by mean absolute error and a little KL divergence; returns it, CPU seconds, last loss."""
    import torch

    vae = _autoencoder(recipe)
    batches = windows(pictures, (window, window), 16, recipe.seed)

    def loss_of(images: torch.Tensor) -> torch.Tensor:
        posterior = vae.encode(images).latent_dist
        absolute = (vae.decode(posterior.sample()).sample - images).abs().mean()
        return absolute + KL_WEIGHT * posterior.kl().mean() / images[0].numel()

    seconds, loss = _train("autoencoder", list(vae.parameters()), batches, samples, 16, 2e-3, loss_of)
    _save_vae(vae, recipe, pictures, out)
    return vae, seconds, loss


def take_encoder(recipe: Recipe, checkpoint: Path, pictures: Sequence[Path], out: Path) -> None:
    """Write OUT/vae with the encoder of an SDPose checkpoint, and a random decoder, which is not used.

    Raises `CheckpointError` if it is not an SDPose checkpoint, `InputError` if its sizes are not the recipe's.
    """
    config, tensors, _ = read_checkpoint(checkpoint)
    found, expected = asdict(config.vae), asdict(recipe.model.vae)
    if different := [name for name in expected if name != "scaling_factor" and found[name] != expected[name]]:
        sizes = "; ".join(f"{name} {found[name]}, expected {expected[name]}" for name in different)
        raise InputError(f"--encoder {checkpoint}: other sizes than model.vae of the recipe: found {sizes}")
    vae = _autoencoder(recipe)
    encoder = {name.removeprefix("vae."): value for name, value in tensors.items() if name.startswith("vae.")}
    missing, unexpected = vae.load_state_dict(encoder, strict=False)
    if unexpected or not all(name.startswith(("decoder.", "post_quant_conv.")) for name in missing):
        raise InputError(f"--encoder {checkpoint}: its VAE encoder has other tensors than the recipe's")
    _save_vae(vae, recipe, pictures, out)
    _note(out, "vae", 0, 0.0, None, recipe, len(pictures), encoder=str(checkpoint))


def _autoencoder(recipe: Recipe) -> Any:
    import torch
    from diffusers import AutoencoderKL

    sizes, levels = asdict(recipe.model.vae), len(recipe.model.vae.block_out_channels)
    down, up = ("DownEncoderBlock2D",) * levels, ("UpDecoderBlock2D",) * levels
    vae = AutoencoderKL(**sizes, down_block_types=down, up_block_types=up)
    return vae.to(memory_format=torch.channels_last)


def _save_vae(vae: Any, recipe: Recipe, pictures: Sequence[Path], out: Path) -> None:
    """Write OUT/vae with the scaling factor that gives latents unit variance, as in Stable Diffusion."""
    import torch

    vae.eval()
    batches = windows(pictures, recipe.stages[-1].input_size, 16, recipe.seed + 1)
    with torch.no_grad():
        means = [vae.encode(next(batches)).latent_dist.mean for _ in range(LATENTS_MEASURED // 16)]
    vae.register_to_config(scaling_factor=float(1 / torch.cat(means).std()))
    _save_part(vae, out / "vae")


def train_denoiser(recipe: Recipe, pictures: Sequence[Path], samples: int, out: Path) -> tuple[float, float]:
    """Train OUT/unet with a constant embedding for the empty prompt; returns CPU seconds, last loss."""
    import torch
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from safetensors.torch import save_file

    with quiet_client(offline=True):
        vae = AutoencoderKL.from_pretrained(out / "vae", local_files_only=True).eval().requires_grad_(False)
    unet = UNet2DConditionModel(**asdict(recipe.model.unet)).to(memory_format=torch.channels_last)
    text = torch.randn(1, 2, recipe.model.unet.cross_attention_dim)
    noise_of = DDPMScheduler(1000, 0.00085, 0.012, "scaled_linear", prediction_type="sample")
    batches = windows(pictures, recipe.stages[-1].input_size, 16, recipe.seed + 2)

    def loss_of(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            clean = vae.encode(images).latent_dist.mean * vae.config.scaling_factor
        times = torch.randint(0, 1000, (len(clean),))
        noisy = noise_of.add_noise(clean, torch.randn_like(clean), times)
        return (unet(noisy, times, text.expand(len(clean), -1, -1)).sample - clean).square().mean()

    seconds, loss = _train("denoiser", list(unet.parameters()), batches, samples, 16, 1.5e-3, loss_of)
    with atomic_path(out / f"{TEXT}.safetensors") as file:
        save_file({TEXT: text}, file)
    _save_part(unet, out / "unet")
    return seconds, loss


def _train(
    name: str, parameters: list[Any], batches: Iterator[Any], samples: int, batch: int, rate: float,
    loss_of: Callable[[Any], Any],
) -> tuple[float, float]:  # fmt: skip
    """AdamW, warm-up, cosine to 0; returns CPU seconds of all threads and the mean loss of the last tenth."""
    import torch
    from tqdm import tqdm

    steps, began, losses = max(1, samples // batch), time.process_time(), []
    optimizer = torch.optim.AdamW(parameters, lr=rate, fused=True)

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    with tqdm(range(steps), unit="step", desc=name, mininterval=5) as bar:
        for _ in bar:
            loss = loss_of(next(batches))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            losses.append(float(loss.detach()))
            bar.set_postfix(loss=f"{np.mean(losses[-100:]):.4f}", refresh=False)
    last = float(np.mean(losses[-max(1, steps // 10) :]))
    log.info("%s: %d samples, loss %.4f", name, steps * batch, last)
    return time.process_time() - began, last


def windows(pictures: Sequence[Path], size: tuple[int, int], batch: int, seed: int) -> Iterator[Any]:
    """Batches (N, 3, h, w) in [-1, 1] of random windows of random pictures, resized to `size` (w, h), half mirrored."""
    import cv2
    import torch

    rng = np.random.default_rng(seed)
    w, h = size
    while True:
        crops = []
        for index in rng.integers(len(pictures), size=batch):
            image = read_picture(pictures[index])
            room = np.array(image.shape[1::-1])
            crop_w, crop_h = np.maximum(np.array(size) * min(room / size) * rng.uniform(*ZOOM), 1).astype(int)
            x, y = rng.integers(room - (crop_w, crop_h) + 1)
            crop = cv2.resize(image[y : y + crop_h, x : x + crop_w], (w, h), interpolation=cv2.INTER_AREA)
            crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
        stacked = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1
        yield stacked.contiguous(memory_format=torch.channels_last)


def _save_part(part: Any, folder: Path) -> None:
    """Write a folder in diffusers' layout."""
    with atomic_folder(folder, _PART) as unfinished:
        part.save_pretrained(unfinished)


def _note(
    out: Path, part: str, samples: int, seconds: float, loss: float | None, recipe: Recipe, pictures: int, **more: str
) -> None:
    """Record in OUT/prior.json what a part cost."""
    path = out / "prior.json"
    known = read_json(path, "the costs of a prior: remove the file") if path.exists() else {}
    known[part] = {"samples": samples, "cpu_seconds": round(seconds, 1), "loss": loss, "seed": recipe.seed, **more}
    with atomic_write(path, "w") as file:
        json.dump({**known, "pictures": pictures, "environment": environment()}, file, indent=2)
