"""`sdpose convert`: a checkpoint in another layout, or as ONNX."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..checkpoints.layouts import convert
from ..errors import InputError
from .arguments import OK, say, show_path, size

LARGE = 200_000_000
"""Bytes that take some seconds to convert."""


def add_parser(commands: Any) -> None:
    """Add `sdpose convert` to the commands."""
    sub = commands.add_parser("convert", help="write a checkpoint in another layout, or as ONNX")
    sub.add_argument("input", type=Path, metavar="IN", help="checkpoint: a file or a folder")
    sub.add_argument("output", type=Path, metavar="OUT", help="file or folder to write")
    sub.add_argument(
        "--layout", choices=("ours", "diffusers", "comfy", "onnx"), help="default: onnx for NAME.onnx, otherwise ours"
    )
    sub.add_argument("--dtype", choices=("fp32", "bf16", "fp16"), help="default: unchanged; for ONNX fp32 (or fp16)")
    sub.add_argument("--keypoint-set", metavar="NAME", help="if the checkpoint does not say")
    sub.add_argument("--feature-level", choices=("F1", "F2", "F3", "F4"), help="if the checkpoint does not say")
    sub.add_argument("--vae", type=Path, metavar="PATH", help="take the VAE decoder from here, if IN has none")
    sub.add_argument("--input-size", type=size, metavar="WxH", help="crop size for ONNX (default: the checkpoint's)")
    sub.add_argument(
        "--entry", metavar="NAME", help="the set of weights to take from a training state with several, such as ema"
    )
    sub.add_argument(
        "--base", metavar="PATH|NAME", help="of an adapter: the weights it was trained on (default: found by name)"
    )
    sub.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from ..model.devices import DTYPES

    dtype = DTYPES[args.dtype] if args.dtype else None
    if (size_of_input := _size_of(args.input)) > LARGE:
        say(f"converting {args.input} ({size_of_input / 1e9:.1f} GB)")
    to_onnx = args.layout == "onnx" or (args.layout is None and args.output.suffix.lower() == ".onnx")
    report = (_export_onnx if to_onnx else _convert)(args, dtype)
    for note in report.notes:
        say(f"note: {note}")
    say(f"{report.tensors} tensors written in layout {report.layout!r}")
    show_path(report.path)
    return OK


def _size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _convert(args: argparse.Namespace, dtype: Any) -> Any:
    if args.input_size:
        raise InputError("--input-size is for ONNX, whose crop size is fixed: leave it out for other layouts")
    return convert(
        args.input, args.output, args.layout or "ours", dtype=dtype, keypoint_set=args.keypoint_set,
        feature_level=args.feature_level, vae=args.vae, entry=args.entry, base=args.base, overwrite=args.overwrite,
    )  # fmt: skip


def _export_onnx(args: argparse.Namespace, dtype: Any) -> Any:
    from ..checkpoints.onnx_export import export_onnx

    if args.vae:
        raise InputError("--vae: an ONNX file has no VAE decoder: leave it out")
    if args.entry or args.base:
        raise InputError("--entry, --base: convert to .safetensors first, and that file to ONNX")
    return export_onnx(
        args.input, args.output, dtype=dtype, keypoint_set=args.keypoint_set, feature_level=args.feature_level,
        input_size=args.input_size, overwrite=args.overwrite,
    )  # fmt: skip
