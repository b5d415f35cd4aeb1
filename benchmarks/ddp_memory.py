"""Peak memory of each of two processes that train together, with and without `gradient_as_bucket_view`.

    torchrun --nproc_per_node 2 benchmarks/ddp_memory.py [--views off] [--width 256]

A U-Net of Stable Diffusion 2's layers, but narrower (of width 320), with random weights, and a small picture: weights,
gradients and AdamW's averages are most of the memory, as in a full training.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from sdpose_core.model.backbone import POSE, RGB
from sdpose_core.model.config import BODY
from sdpose_core.model.network import SDPose

GIB = 1 << 30


def main(argv: Sequence[str] | None = None) -> int:
    """Print the gradients' size and the peak memory of this process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--views", choices=("on", "off"), default="on")
    parser.add_argument("--width", type=int, default=128, help="of the U-Net's first block, a multiple of 64")
    args = parser.parse_args(argv)
    accelerator = Accelerator(
        cpu=True, kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=args.views == "on")]
    )
    widths = tuple(args.width * times for times in (1, 2, 4, 4))
    unet = replace(BODY.unet, block_out_channels=widths, attention_head_dim=tuple(width // 64 for width in widths))
    torch.manual_seed(0)
    model = SDPose(replace(BODY, unet=unet, input_size=(64, 64)), with_rgb_branch=True).train()
    model.vae.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    wrapped, optimizer = accelerator.prepare(model, torch.optim.AdamW(trained, fused=True))
    for _ in range(3):
        prediction = wrapped(latents=torch.randn(1, 4, 8, 8), tasks=(POSE, RGB))
        accelerator.backward(prediction.heatmaps.square().mean() + prediction.rgb_latents.square().mean())
        optimizer.step()
        optimizer.zero_grad()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
    gradients = 4 * sum(p.numel() for p in trained) / GIB
    print(f"process {accelerator.process_index}: gradients {gradients:.2f} GiB, peak {peak:.2f} GiB", flush=True)
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
