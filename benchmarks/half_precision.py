"""What half precision does to keypoints: a checkpoint in bf16 and fp16, compared with fp32.

    python benchmarks/half_precision.py --checkpoint W.safetensors --data.root people [--device cuda] [--emulate]

Prints AP (true boxes, no flip test), and in pixels of the picture how far confident points move. `--emulate` is for
CPUs without bf16 instructions, on which bf16 takes a hundred times as long.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "training")]

from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.codec.heatmaps import decode_dark_udp
from sdpose_core.model import head
from sdpose_core.model.network import SDPose
from sdpose_core.skeletons import KEYPOINT_SETS
from sdpose_training.data.annotations import People, read_annotations, read_people
from sdpose_training.fit.validation import average_precision, crops_of

CONFIDENT = 0.3
"""Minimum fp32 score of the points that are compared."""

DTYPES = {
    "fp32": ("fp32", "fp32"), "bf16": ("bf16", "bf16"), "bf16, last layer too": ("bf16", "bf16"),
    "bf16, VAE in fp32": ("bf16", "fp32"), "fp16": ("fp16", "fp16"),
}  # fmt: skip

aten = torch.ops.aten
PRODUCTS = {
    aten.convolution.default, aten.conv2d.default, aten.conv_transpose2d.input, aten.linear.default, aten.mm.default,
    aten.addmm.default, aten.bmm.default, aten.baddbmm.default, aten.matmul.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
}  # fmt: skip


class ProductsInFloat32(TorchDispatchMode):
    """Products of half-precision numbers are summed in float32 and rounded, as instructions for them do, only faster
    where there are none."""

    def __torch_dispatch__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        first = next((arg for arg in args if isinstance(arg, torch.Tensor)), None)
        if func not in PRODUCTS or first is None or first.dtype not in (torch.bfloat16, torch.float16):
            return func(*args, **(kwargs or {}))
        wide = tree_map_only(torch.Tensor, torch.Tensor.float, (args, kwargs or {}))
        return tree_map_only(torch.Tensor, lambda y: y.to(first.dtype), func(*wide[0], **wide[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data.root", dest="root", type=Path, required=True)
    parser.add_argument("--people", type=int, default=-1, help="only the first N (default: all)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--emulate", action="store_true", help="compute products in fp32 and round them")
    parser.add_argument("--modes", nargs="+", choices=DTYPES, default=list(DTYPES), help="fp32 always comes first")
    args = parser.parse_args()
    points = KEYPOINT_SETS[load_sdpose(args.checkpoint, device="cpu").config.keypoint_set]
    annotations = read_annotations(args.root / "annotations" / "val.json")
    people = read_people(annotations, args.root / "images", points)[0].first(args.people)
    reference: tuple[np.ndarray, np.ndarray] | None = None
    print(f"{'':<20} {'AP':>6} {'median':>8} {'99%':>8} {'largest':>8}  px, of {len(people)} people")
    for name in dict.fromkeys(["fp32", *args.modes]):
        dtype, vae_dtype = DTYPES[name]
        model = load_sdpose(args.checkpoint, dtype=dtype, vae_dtype=vae_dtype, device=args.device, fold=True)
        last_layer = head.last_layer
        if name.endswith("last layer too"):
            head.last_layer = lambda layer, feature: layer(feature)
        with ProductsInFloat32() if args.emulate else contextlib.nullcontext():
            found = predict(model, people)
        head.last_layer = last_layer
        reference = reference or found
        moved = np.hypot(*np.moveaxis(found[0] - reference[0], -1, 0))[reference[1] >= CONFIDENT]
        figures = np.nanmedian(moved), np.nanpercentile(moved, 99), np.nanmax(moved)
        ap = 100 * average_precision(people, *found)["AP"]
        print(f"{name:<20} {ap:6.2f} " + " ".join(f"{figure:8.3f}" for figure in figures), flush=True)


@torch.no_grad()
def predict(model: SDPose, people: People, batch: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (N, K, 2) in pixels of the pictures, scores (N, K)."""
    keypoints, scores = [], []
    for start in range(0, len(people), batch):
        _, images, crops = crops_of(people, range(start, min(start + batch, len(people))), model.config.input_size)
        points, values = decode_dark_udp(model.heatmaps(images.to(model.device)).float(), model.config.input_size)
        keypoints += [crop.to_image(each) for crop, each in zip(crops, points, strict=True)]
        scores.append(values)
    return np.stack(keypoints), np.concatenate(scores)


if __name__ == "__main__":
    main()
