"""`sdpose convert`: a checkpoint in another layout, or as ONNX. This file prints."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..checkpoints.layouts import convert
from ..errors import InputError
from .arguments import size


def add_parser(commands: Any) -> None:
    """Add `convert`."""
    sub = commands.add_parser("convert", help="write a checkpoint in another layout, or as ONNX")
    sub.add_argument("input", type=Path, metavar="IN", help="checkpoint: a file or a folder")
    sub.add_argument("output", type=Path, metavar="OUT")
    sub.add_argument(
        "--layout", choices=("ours", "diffusers", "comfy", "onnx"), help="default: onnx for NAME.onnx, else ours"
    )
    sub.add_argument("--dtype", choices=("fp32", "bf16", "fp16"), help="default: as it is; of ONNX fp32")
    sub.add_argument("--keypoint-set", help="where the checkpoint does not say")
    sub.add_argument("--feature-level", choices=("F1", "F2", "F3", "F4"), help="where the checkpoint does not say")
    sub.add_argument("--vae", type=Path, metavar="PATH", help="take the VAE decoder from here, where IN has none")
    sub.add_argument("--input-size", type=size, metavar="WxH", help="of ONNX: crop size (default: the checkpoint's)")
    sub.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from ..model.devices import DTYPES

    dtype = DTYPES[args.dtype] if args.dtype else None
    report = (_export_onnx if _wants_onnx(args) else _convert)(args, dtype)
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{report.tensors} tensors written in layout {report.layout!r}", file=sys.stderr)
    print(report.path)
    return 0


def _wants_onnx(args: argparse.Namespace) -> bool:
    return args.layout == "onnx" or (args.layout is None and args.output.suffix == ".onnx")


def _convert(args: argparse.Namespace, dtype: Any) -> Any:
    if args.input_size:
        raise InputError("--input-size is for ONNX, whose crops have one size; elsewhere it is chosen with the model")
    return convert(
        args.input, args.output, args.layout or "ours", dtype=dtype, keypoint_set=args.keypoint_set,
        feature_level=args.feature_level, vae=args.vae, overwrite=args.overwrite,
    )  # fmt: skip


def _export_onnx(args: argparse.Namespace, dtype: Any) -> Any:
    from ..checkpoints.onnx_export import export_onnx

    if args.vae:
        raise InputError("--vae: an ONNX file holds no VAE decoder; leave it out")
    return export_onnx(
        args.input, args.output, dtype=dtype, keypoint_set=args.keypoint_set, feature_level=args.feature_level,
        input_size=args.input_size, overwrite=args.overwrite,
    )  # fmt: skip
