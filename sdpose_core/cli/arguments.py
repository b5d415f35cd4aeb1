"""Arguments shared by several commands, and the objects made from them."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ..annotate.presence import Presence
from ..annotate.requests import models_asked
from ..detection.loading import load_detector
from ..detection.people import MIN_PERSON_SCORE, SURE, DetectorOptions
from ..drawing.styles import MAX_LINE_WIDTH
from ..errors import InputError, SDPoseError, counted, on_one_line, restated
from ..estimation.loading import load_estimator
from ..estimation.options import COMPILE_MODES, EstimatorOptions
from ..images import MAX_PIXELS
from ..onnx_devices import device_names
from ..options import options_among
from ..streams import log_to_stderr

if TYPE_CHECKING:
    from ..detection.people import PersonDetector
    from ..estimation.crop_jobs import Estimator

OK, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
OUT = Path("sdpose_out")
"""The folder for results, if none is named."""

_PARTS = ("body", "hands", "face", "feet", "head")


class WrongUsage(SDPoseError):
    """The arguments cannot be used: the command exits with 2."""


def checking_usage() -> AbstractContextManager[None]:
    """Errors in the block are errors of usage."""
    return restated(None, WrongUsage, of=SDPoseError)


def say(text: str) -> None:
    """Print one line to stderr, above a progress bar if there is one. Names in it may have any characters."""
    say_as_it_is(on_one_line(text))


def say_as_it_is(text: str) -> None:
    """Print lines of our own to stderr, as `say`."""
    tqdm.write(text, file=sys.stderr)


def show_path(path: object) -> None:
    """Print a path to stdout: as it is for a program that reads it, without what a terminal obeys in a terminal."""
    print(on_one_line(str(path)) if sys.stdout.isatty() else path)


def start_output(*, verbose: bool) -> None:
    """Print the library's log to stderr: warnings, or all of it."""
    tqdm.set_lock(threading.RLock())  # the usual one is shared among processes, and one that is killed would leak it
    level = logging.DEBUG if verbose else logging.WARNING
    log_to_stderr(level, _Log())


class _Log(logging.Handler):
    """Prints above a progress bar, if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        say_as_it_is(self.format(record))


def say_result(source: object, status: str, message: str) -> None:
    """Print what became of an input, in one line."""
    say(f"{source}: {status}: {message}")


def say_which_is_which(for_tools: Path, to_look_at: Sequence[Path]) -> None:
    """Print what the videos are for: a player shows those for tools in wrong colors, or not at all."""
    if to_look_at:
        say(f"{for_tools.name} is for tools, without loss; to look at: {', '.join(file.name for file in to_look_at)}")


def check_folder(out: Path, option: str = "OUT") -> Path:
    """`out`, if it is a folder or can become one. Raises `InputError` if it is something else; `option` names it."""
    if os.path.lexists(out) and not os.path.isdir(out):
        raise InputError(f"{option}: {out} is {'a broken link' if out.is_symlink() else 'a file'}: expected a folder")
    return out


def report_inputs(
    sources: Sequence[object], failed: Sequence[tuple[str, str]], results: int, left_out: str, word: str
) -> int:
    """Print what `inputs.expand` left out; returns how many arguments failed.

    Raises `InputError` if no input is left.
    """
    if results:
        say(f"passed over {counted(results, 'result')} of sdpose")
    if left_out:
        say(f"left out {left_out}")
    if not sources and len(failed) == 1 and not results:
        raise InputError(": ".join(failed[0]))
    for text, reason in failed:
        say_result(text, "failed", reason)
    if not sources:
        what = "all are results of sdpose" if results and not failed else "see above" if failed else "none was found"
        raise InputError(f"nothing to do: expected at least one {word}, {what}")
    return len(failed)


def add_out_argument(parser: argparse.ArgumentParser) -> None:
    """The folder for results."""
    parser.add_argument(
        "-o", "--out", type=path, default=OUT, metavar="OUT", help=f"folder for the results (default: {OUT})"
    )


def say_where(out: Path) -> None:
    """Print the folder of the results, after the last line about them."""
    say(f"results are in {out}")


def add_estimator_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that choose and configure the estimator."""
    group = parser.add_argument_group("pose estimator")
    group.add_argument(
        "--model",
        default="auto",
        help="auto, preview, preview-body, body, wholebody, a checkpoint, or NAME.onnx (default: auto)",
    )
    group.add_argument(
        "--dtype", choices=("auto", "fp32", "bf16", "fp16"), default="auto",
        help="auto: the fastest that keeps accuracy; on a CPU bf16 where it is measured to be faster (default: auto)",
    )  # fmt: skip
    group.add_argument(
        "--device", metavar="NAME",
        help=f"cuda, cuda:1, mps or cpu; for ONNX files {device_names()}; openvino, coreml, directml, migraphx "
        "also run the preview and the detector (default: the best)",
    )  # fmt: skip
    group.add_argument("--batch-size", type=count, metavar="N", help="crops per pass (default: by device)")
    group.add_argument("--flip-test", action="store_true", help="average with the mirrored crop; takes twice the time")
    group.add_argument(
        "--crop", choices=("affine", "stretch_native", "stretch_demo"), default="affine",
        help="affine: as in training; for comparison: stretch_native (ComfyUI's node), stretch_demo (official demo)",
    )  # fmt: skip
    group.add_argument(
        "--keypoint-set", metavar="NAME", help="coco_17 or coco_wholebody_133, if the checkpoint does not say"
    )
    group.add_argument("--feature-level", choices=("F1", "F2", "F3", "F4"), help="if the checkpoint does not say")
    group.add_argument("--channels-last", action="store_true", help="channels-last memory format (always on CUDA)")
    group.add_argument(
        "--compile", nargs="?", const=COMPILE_MODES[0], default=False, choices=COMPILE_MODES, metavar="MODE",
        help="torch.compile: minutes at the first picture, for hundreds of pictures on a GPU; MODE: default, "
        "reduce-overhead (CUDA graphs) or max-autotune (also tries kernels)",
    )  # fmt: skip
    group = parser.add_argument_group("approximations (faster, but the results differ; recorded in every result)")
    group.add_argument("--input-size", type=size, metavar="WxH", help="crop size, multiples of 64, such as 576x768")
    group.add_argument(
        "--pool-attention", action="store_true", help="average 2 x 2 keys and values where attention is largest"
    )
    group.add_argument(
        "--tiny-encoder",
        type=Path,
        metavar="FILE",
        help="a small encoder of distill_encoder.py, or TAESD's, to replace the VAE",
    )


def add_detector_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that choose and configure the person detector."""
    group = parser.add_argument_group("finding people")
    group.add_argument(
        "--detector", default="auto", metavar="NAME",
        help="art-detector, yolox, full (the whole picture), FILE.onnx, or an RT-DETR or D-FINE name or folder "
        "(default: auto, which is art-detector if it was downloaded, otherwise yolox)",
    )  # fmt: skip
    group.add_argument(
        "--download", action="store_true", help="allow the download of a --detector OWNER/MODEL of the Hugging Face hub"
    )
    group.add_argument(
        "--detector-threshold", type=score, default=SURE, metavar="S",
        help=f"boxes of at least this score are sure; others need a clear pose (default: {SURE})",
    )  # fmt: skip
    group.add_argument(
        "--min-person-score", type=score, default=MIN_PERSON_SCORE, metavar="S",
        help="minimum score of a pose where the detector is not sure; lower finds more people, 0 believes every box "
        f"(default: {MIN_PERSON_SCORE})",
    )  # fmt: skip
    group.add_argument("--sure-only", action="store_true", help="no doubtful boxes, only sure ones")
    group.add_argument("--max-people", type=count, metavar="N", help="keep at most N people")
    group.add_argument("--min-size", type=_side, default=0, metavar="PX", help="leave out boxes with a shorter side")
    group.add_argument("--boxes", type=path, metavar="FILE", help="JSON file with boxes, instead of a detector")
    group.add_argument(
        "--if-nobody", choices=("empty", "full-image"),
        help="if nobody is found: no poses, or one box around the whole picture, whatever its pose (default: empty)",
    )  # fmt: skip


def add_presence_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say which points are there."""
    group = parser.add_argument_group("points that are not there (absent by default)")
    group.add_argument("--keep-outside", action="store_true", help="keep points outside the picture")
    group.add_argument("--keep-isolated", action="store_true", help="keep body points without a visible neighbor")


def add_drawing_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the pose map."""
    group = parser.add_argument_group("drawing")
    group.add_argument("--style", default="controlnet", help="style of the pose map (default: controlnet)")
    group.add_argument(
        "--parts", type=parts, metavar="LIST", help=f"comma-separated list of {', '.join(_PARTS)} (default: all)"
    )
    group.add_argument(
        "--threshold", type=score, default=0.3, metavar="S", help="minimum score of a point (default: 0.3)"
    )
    group.add_argument("--size", type=size, metavar="WxH", help="size of the pose map (default: the picture's)")
    group.add_argument(
        "--fit", choices=("pad", "crop", "stretch"), default="pad", help="how to fit another --size (default: pad)"
    )
    group.add_argument(
        "--line-width", type=line_width, metavar="PX",
        help="half width of a limb in pixels; the rest in proportion (default: by the style: mostly 4 at a short side "
        "of 512, growing with the size)",
    )  # fmt: skip


def presence(args: argparse.Namespace) -> Presence:
    """Which points stay although they are not there."""
    return options_among(Presence, vars(args))


def make_estimator(args: argparse.Namespace) -> Estimator:
    """The estimator that the options choose."""
    return load_estimator(args.model, options_among(EstimatorOptions, vars(args)))


def make_detector(args: argparse.Namespace) -> PersonDetector:
    """The detector that the options choose."""
    return load_detector(args.detector, _detector_options(args))


def _detector_options(args: argparse.Namespace) -> DetectorOptions:
    return DetectorOptions(
        threshold=args.detector_threshold, max_people=args.max_people, min_size=args.min_size,
        sure_only=args.sure_only, min_person_score=args.min_person_score, download=args.download,
        device=args.device,
    )  # fmt: skip


def asked_models(args: argparse.Namespace) -> dict[str, Any]:
    """What `make_estimator` and `make_detector` make, without loading it, see `models_asked`."""
    options = options_among(EstimatorOptions, vars(args))
    return models_asked(args.model, options, args.detector, _detector_options(args), args.boxes)


def announce(estimator: Estimator) -> str:
    """A line with the model's name and notes."""
    return "; ".join([f"model: {estimator.name}", *estimator.notes])


def option(convert: Callable[[str], Any], expected: str) -> Callable[[str], Any]:
    """A type for argparse whose error message says what was expected."""

    def read(text: str) -> Any:
        try:
            return convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None

    return read


def _parse_size(text: str) -> tuple[int, int]:
    w, h = (int(value) for value in text.lower().split("x"))
    if w < 1 or h < 1 or w * h > MAX_PIXELS:
        raise ValueError
    return w, h


def _parse_line_width(text: str) -> float:
    if not 0 < float(text) <= MAX_LINE_WIDTH:
        raise ValueError
    return float(text)


def _from_0_to(limit: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not 0 <= float(text) <= limit:
            raise ValueError
        return float(text)

    return parse


def _parse_path(text: str) -> Path:
    if not text:  # as of a variable that is not set; Path("") would be the current folder
        raise ValueError
    return Path(text)


def parse_whole(text: str, minimum: int = 1) -> int:
    if int(text) < minimum:
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


size = option(_parse_size, f"WIDTHxHEIGHT in pixels, such as 768x1024, of at most {MAX_PIXELS:,} pixels")
line_width = option(_parse_line_width, f"pixels above 0, at most {MAX_LINE_WIDTH}")
score = option(_from_0_to(1), "a score from 0 to 1")
_side = option(_from_0_to(MAX_PIXELS), f"pixels from 0 to {MAX_PIXELS:,}")
path = option(_parse_path, "a file or a folder")
count = option(parse_whole, "a whole number of at least 1")
color = option(_parse_color, "three numbers from 0 to 255, such as 255,255,255")
parts = option(_parse_parts, f"a comma-separated list of {', '.join(_PARTS)}")
