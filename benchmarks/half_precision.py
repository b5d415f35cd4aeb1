"""What half precision does to keypoints: a checkpoint in bf16 and fp16, compared with fp32.

    python benchmarks/half_precision.py --checkpoint W.safetensors --data.root people [--device cuda]

Prints AP (true boxes, no flip test), and in pixels of the picture how far confident points move.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "training")]

from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.codec.heatmaps import decode_dark_udp
from sdpose_core.model.network import SDPose
from sdpose_core.skeletons import KEYPOINT_SETS
from sdpose_training.data.annotations import People, read_annotations, read_people
from sdpose_training.fit.validation import average_precision, crops_of

CONFIDENT = 0.3
"""Minimum fp32 score of the points that are compared."""

DTYPES = {
    "fp32": ("fp32", "fp32"), "bf16": ("bf16", "bf16"), "bf16, VAE in fp32": ("bf16", "fp32"), "fp16": ("fp16", "fp16")
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data.root", dest="root", type=Path, required=True)
    parser.add_argument("--people", type=int, default=-1, help="only the first N (default: all)")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    points = KEYPOINT_SETS[load_sdpose(args.checkpoint, device="cpu").config.keypoint_set]
    annotations = read_annotations(args.root / "annotations" / "val.json")
    people = read_people(annotations, args.root / "images", points)[0].first(args.people)
    reference: tuple[np.ndarray, np.ndarray] | None = None
    print(f"{'':<18} {'AP':>6} {'median':>8} {'99%':>8} {'largest':>8}  px, of {len(people)} people")
    for name, (dtype, vae_dtype) in DTYPES.items():
        model = load_sdpose(args.checkpoint, dtype=dtype, vae_dtype=vae_dtype, device=args.device, fold=True)
        found = predict(model, people)
        reference = reference or found
        moved = np.hypot(*np.moveaxis(found[0] - reference[0], -1, 0))[reference[1] >= CONFIDENT]
        figures = np.nanmedian(moved), np.nanpercentile(moved, 99), np.nanmax(moved)
        ap = 100 * average_precision(people, *found)["AP"]
        print(f"{name:<18} {ap:6.1f} " + " ".join(f"{figure:8.3f}" for figure in figures))


@torch.inference_mode()
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
