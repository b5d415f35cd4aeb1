"""Arguments that several commands share, and the objects made from them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..detection.loading import load_detector
from ..detection.people import DetectorOptions
from ..estimation.loading import load_estimator
from ..estimation.options import EstimatorOptions
from ..options import options_among

if TYPE_CHECKING:
    from ..detection.people import PersonDetector
    from ..estimation.crop_jobs import Estimator

OK, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
_PARTS = ("body", "hands", "face", "feet", "head")


def say(text: str) -> None:
    print(text, file=sys.stderr)


def add_estimator_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that choose and set the estimator."""
    group = parser.add_argument_group("pose estimator")
    group.add_argument(
        "--model", default="auto", help="auto, preview, body, wholebody, a checkpoint or NAME.onnx (default: auto)"
    )
    group.add_argument("--dtype", choices=("auto", "fp32", "bf16", "fp16"), default="auto", help="default: by device")
    group.add_argument("--device", help="cuda, cuda:1, mps, cpu; of NAME.onnx also tensorrt (default: the best)")
    group.add_argument("--batch-size", type=count, metavar="N", help="crops per pass (default: by device)")
    group.add_argument("--flip-test", action="store_true", help="average with the mirrored crop; twice the time")
    group.add_argument(
        "--crop",
        choices=("affine", "stretch_native", "stretch_demo"),
        default="affine",
        help="affine: as trained; the others, for comparison: as ComfyUI's own node, as the official demo",
    )
    group.add_argument("--keypoint-set", help="where a checkpoint does not say: coco_17 or coco_wholebody_133")
    group.add_argument("--feature-level", choices=("F1", "F2", "F3", "F4"), help="where a checkpoint does not say")
    group.add_argument("--channels-last", action="store_true", help="channels-last memory format (CUDA: always)")
    group.add_argument("--compile", action="store_true", help="torch.compile the model")
    group = parser.add_argument_group("approximations (less work for another answer; recorded in the result)")
    group.add_argument("--input-size", type=size, metavar="WxH", help="crop size, multiples of 64, such as 576x768")
    group.add_argument(
        "--pool-attention",
        action="store_true",
        help="attention at the latent's size reads 2 x 2 means",
    )
    group.add_argument(
        "--tiny-encoder", type=Path, metavar="FILE", help="weights in TAESD's layout, instead of the VAE"
    )


def add_detector_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that choose and set the person detector."""
    group = parser.add_argument_group("people")
    group.add_argument(
        "--detector", default="yolox", help="yolox, full, FILE.onnx, or an RT-DETR / D-FINE name or folder"
    )
    group.add_argument("--detector-threshold", type=float, metavar="S", help="least score of a person")
    group.add_argument("--max-people", type=count, metavar="N", help="at most so many people, best score first")
    group.add_argument("--min-size", type=float, default=0, metavar="PX", help="leave out boxes with a shorter side")
    group.add_argument("--boxes", type=Path, metavar="FILE", help="JSON with the boxes, instead of a detector")
    group.add_argument(
        "--if-nobody",
        choices=("empty", "full-image"),
        help="when nobody is found: no poses, or the whole picture as one box (default: full-image for one picture)",
    )


def add_drawing_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the pose map."""
    group = parser.add_argument_group("drawing")
    group.add_argument("--style", default="controlnet", help="style of the pose map (default: controlnet)")
    group.add_argument("--parts", type=parts, metavar="LIST", help=f"comma-separated, of {', '.join(_PARTS)}")
    group.add_argument(
        "--threshold", type=float, default=0.3, metavar="S", help="least score of a point (default: 0.3)"
    )
    group.add_argument("--size", type=size, metavar="WxH", help="size of the pose map (default: the picture's)")
    group.add_argument("--fit", choices=("pad", "crop", "stretch"), default="pad", help="how another --size is filled")


def make_estimator(args: argparse.Namespace) -> Estimator:
    """The estimator that the options ask for."""
    return load_estimator(args.model, options_among(EstimatorOptions, vars(args)))


def make_detector(args: argparse.Namespace) -> PersonDetector:
    """The detector that the options ask for."""
    options = DetectorOptions(max_people=args.max_people, min_size=args.min_size)
    if args.detector_threshold is not None:
        options = replace(options, threshold=args.detector_threshold)
    return load_detector(args.detector, options)


def announce(estimator: Estimator) -> str:
    """The line that says which model runs, and what is unusual about it."""
    return "; ".join([f"model: {estimator.name}", *estimator.notes])


def option(convert: Callable[[str], Any], expected: str) -> Callable[[str], Any]:
    """A type for argparse whose error says what was expected."""

    def read(text: str) -> Any:
        try:
            return convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None

    return read


def _parse_size(text: str) -> tuple[int, int]:
    w, h = (int(value) for value in text.lower().split("x"))
    if w < 1 or h < 1:
        raise ValueError
    return w, h


def _parse_count(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def _parse_color(text: str) -> tuple[int, int, int]:
    r, g, b = (int(value) for value in text.split(","))
    if not all(0 <= value <= 255 for value in (r, g, b)):
        raise ValueError
    return r, g, b


def _parse_parts(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if not set(parts) <= set(_PARTS):
        raise ValueError
    return parts


size = option(_parse_size, "WIDTHxHEIGHT in pixels, such as 768x1024")
count = option(_parse_count, "a whole number of at least 1")
color = option(_parse_color, "three numbers of 0..255, such as 255,255,255")
parts = option(_parse_parts, f"a comma-separated list of {', '.join(_PARTS)}")
