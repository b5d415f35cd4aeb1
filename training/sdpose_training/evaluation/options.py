"""The command line of `evaluate.py`, and the names of its output files."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from sdpose_core.codec.crops import CROP_MODES
from sdpose_core.errors import InputError
from sdpose_training.evaluation.coco_figures import SCORERS
from sdpose_training.evaluation.predictors import BY_MEMORY
from sdpose_training.evaluation.protocols import BENCHMARKS
from sdpose_training.evaluation.robustness import SOURCES
from sdpose_training.evaluation.scoring import NMS_MODES, SCORE_MODES
from sdpose_training.options import add_device, size, whole_number
from sdpose_training.styles.corruption_options import add_corruptions


@dataclass(frozen=True)
class Outputs:
    """Files of one result, and the folder of its unfinished predictions; None unless asked for."""

    result: Path
    unfinished: Path
    predictions: Path | None
    oks: Path | None
    gallery: Path | None


def same_name(model: str) -> InputError:
    """The error for two models that tables and files could not tell apart."""
    return InputError(f"two models are named {model!r}: name them, with --checkpoint NAME=PATH or --peer NAME=SPEC")


class OutputNames:
    """Names of output files: as given for the first result, then with benchmark and model appended."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._used: dict[str, str] = {}

    def next(self, benchmark: str, model: str) -> Outputs:
        """Names for the next result; `InputError` if an earlier one has the same benchmark and model."""
        words = re.sub(r"[^\w.-]+", "_", f"{benchmark}_{model}").strip("_")
        ending = f"_{words}" if self._used else ""
        if words in self._used.values():
            raise same_name(model)
        self._used[ending] = words
        args = self._args
        extras = [
            _renamed(path, ending) if path else None for path in (args.save_predictions, args.oks_dump, args.gallery)
        ]
        result = _renamed(args.out, ending)
        return Outputs(result, result.with_name(f"{result.stem}.parts"), *extras)


def _renamed(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.stem}{ending}{path.suffix}")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The options; exits with status 2 if they do not go together."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if problem := _problem(args):
        parser.error(problem)
    return args


def _problem(args: argparse.Namespace) -> str | None:
    predictors = args.checkpoint or args.peer
    if args.predictions:
        if predictors:
            return "--predictions needs no model: leave out --checkpoint and --peer"
        if not args.annotations:
            return "--predictions needs --annotations FILE to score them against"
        if args.gallery and args.images is None:
            return "--gallery needs --images DIR to show pictures"
        return None
    if not predictors:
        return "nothing to evaluate: give --checkpoint, --peer, or --predictions with --annotations"
    if not args.benchmark:
        return f"--benchmark is missing: choose one of {', '.join(BENCHMARKS)}"
    return "--data.root is missing: the folder of the data" if args.data_root is None else None


def _names(value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _batch(value: str) -> int:
    if value == "auto":
        return BY_MEMORY
    if not value.isdigit() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"expected auto or a number of at least 1, got {value!r}")
    return int(value)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description="Evaluate SDPose and its peers as the paper does.",
        epilog="After a stop, the same command continues. On several GPUs: accelerate launch training/evaluate.py ...",
        allow_abbrev=False,
    )
    _add_inputs(parser)
    _add_model(parser)
    _add_corruption(parser)
    _add_outputs(parser)
    return parser


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what to evaluate (repeatable)").add_argument
    add("--checkpoint", action="append", default=[], metavar="[NAME=]C", help="SDPose weights: a path, body or "
        "wholebody; NAME: for tables")  # fmt: skip
    add("--peer", action="append", default=[], metavar="[NAME=]SPEC", help="preview, vitpose:NAME, rtmpose:FILE.onnx, "
        "...")  # fmt: skip
    names = list(BENCHMARKS)
    add("--benchmark", action="append", default=[], metavar="NAME", choices=names, help=", ".join(names))
    add("--predictions", type=Path, metavar="FILE", help="score this file instead of running a model")
    add("--trust-file", action="store_true", help="allow a peer's file (TorchScript) to run its code")
    add(
        "--download",
        action="store_true",
        help="allow the download of a ViTPose or Sapiens2 model from the Hugging Face hub",
    )
    group = parser.add_argument_group("data")
    add = group.add_argument
    add("--data.root", dest="data_root", type=Path, metavar="DIR", help="folder of the data, or its parent")
    add("--annotations", metavar="FILE", help="COCO file; relative to the root (default: the benchmark's)")
    add("--images", metavar="DIR", help="folder of pictures; relative to the root (default: the benchmark's)")
    boxes = group.add_mutually_exclusive_group()
    boxes.add_argument("--boxes", metavar="FILE", help="COCO detections; relative to the root")
    boxes.add_argument("--ground-truth-boxes", action="store_true", help="use annotated boxes instead of detections")
    add("--keypoint-set", metavar="NAME|FILE.toml", help="for custom data (default: as annotated)")
    add("--domain", metavar="NAME", help="name of custom data in comparisons, such as sketch")
    add("--pictures", type=whole_number(1), metavar="N", help="only the first N, for a quick try")


def _add_model(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    add = group.add_argument
    add("--batch", type=_batch, default=BY_MEMORY, metavar="N|auto", help="crops per pass (default: by memory)")
    add("--no-flip-test", dest="flip_test", action="store_false", help="half the cost, but not the paper's protocol")
    add("--crop", choices=CROP_MODES, default="affine", help="default: affine, as trained")
    add("--input-size", type=size(1), metavar="WxH", help="of a crop (default: the checkpoint's)")
    add_device(group)
    add = parser.add_argument_group("protocol (defaults: the paper's)").add_argument
    add("--nms", choices=NMS_MODES, help="oks (at .9), soft, or none (default: oks; none for COCO results)")
    add("--score-mode", choices=SCORE_MODES, help="of a person (default: bbox_keypoint; bbox for COCO results)")
    add("--scorer", choices=SCORERS, default=SCORERS[0], help="the second is slower, with the same figures")


def _add_corruption(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("benchmark coco-ood-corruption")
    add_corruptions(group)
    where = (
        "the folder that make_coco_ood.py made beside the clean pictures, or memory (default: the folder if it exists)"
    )
    group.add_argument("--corrupted-pictures", choices=SOURCES, default=SOURCES[0], help=where)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("results").add_argument
    add("--out", type=Path, required=True, metavar="FILE.json", help="figures, settings, versions, hashes")
    add("--save-predictions", type=Path, metavar="FILE.json", help="file for --predictions")
    add("--oks-dump", type=Path, metavar="FILE.json", help="OKS of each person by picture")
    add("--gallery", type=Path, metavar="DIR", help="page of the people with the lowest OKS")
    add("--gallery-people", type=whole_number(1), default=24, metavar="N")
    add("--compare", type=Path, metavar="DIR", help="tables and plots of all results, with intervals and differences")
    add("--also", action="append", default=[], metavar="[NAME=]FILE.json", help="earlier result to include, under its "
        "model's name or another")  # fmt: skip
    add("--order", type=_names, default=(), metavar="A,B,...", help="domains that come first in the comparison "
        "(default: photographs, then as the paper lists them)")  # fmt: skip
    add("--resamples", type=whole_number(0), default=1000, metavar="N", help="of the pictures, for the "
        "intervals of the comparison (default: 1000; 0: none)")  # fmt: skip
    add("--resample-seed", type=whole_number(0), default=0, metavar="S", help="of the resamples (default: 0)")
    add("--restart", action="store_true", help="delete predictions of an interrupted run")
