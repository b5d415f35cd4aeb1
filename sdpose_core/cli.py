"""The `sdpose` command. This file prints; the library logs."""

from __future__ import annotations

import argparse
import functools
import glob
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .errors import SDPoseError

OK, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
_PARTS = ("body", "hands", "face", "feet", "head")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 1 some inputs failed, 2 wrong usage."""
    args = build_parser().parse_args(argv)
    level = logging.DEBUG if args.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        return args.run(args)
    except SDPoseError as error:
        _say(f"sdpose {args.command}: {error}")
        return SOME_FAILED
    except KeyboardInterrupt:
        _say(f"sdpose {args.command}: stopped; what is finished is kept, run the same command again to go on")
        return INTERRUPTED


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    from . import cli_batch, cli_convert, cli_export, cli_sequence, cli_video

    parser = argparse.ArgumentParser(prog="sdpose", description="Human poses with SDPose, as OpenPose-compatible maps.")
    parser.add_argument("--version", action="version", version=f"sdpose {__version__}")
    parser.set_defaults(verbose=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _image_parser(commands)
    cli_convert.add_parser(commands)
    _download_parser(commands)
    _bench_parser(commands)
    cli_sequence.add_parser(commands)
    cli_export.add_parser(commands)
    cli_video.add_parser(commands)
    cli_batch.add_parser(commands)
    doctor = commands.add_parser("doctor", help="what is installed, which weights are here, what is missing")
    doctor.set_defaults(run=_run_doctor)
    for sub in commands.choices.values():
        sub.add_argument("-v", "--verbose", action="store_true", help="show the library's log")
    return parser


# --- sdpose image --------------------------------------------------------------------------------------------------


def _image_parser(commands: Any) -> None:
    sub = commands.add_parser(
        "image",
        help="annotate pictures",
        description="Writes NAME_pose.png, NAME_keypoints.json and NAME.pose.npz per picture. Existing files are kept.",
    )
    sub.add_argument("inputs", nargs="+", metavar="INPUT", help="picture, folder of pictures, or glob pattern")
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the results")
    sub.add_argument("--overlay", action="store_true", help="also write NAME_overlay.png: the pose on the picture")
    sub.add_argument("--overwrite", action="store_true", help="redo pictures whose files are there")
    add_estimator_arguments(sub)
    add_detector_arguments(sub)
    add_drawing_arguments(sub)
    group = sub.add_argument_group("reading and writing")
    group.add_argument("--json-scores", action="store_true", help="raw scores in the JSON instead of 1.0 and 0.0")
    group.add_argument("--max-pixels", type=count, metavar="N", help="refuse pictures of more pixels than this")
    group.add_argument(
        "--alpha-color", type=color, metavar="R,G,B", help="colour under transparent pictures (default: white)"
    )
    sub.set_defaults(run=_run_image)


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
    group.add_argument("--input-size", type=_size, metavar="WxH", help="crop size, multiples of 64, such as 576x768")
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
    group.add_argument("--parts", type=_parts, metavar="LIST", help=f"comma-separated, of {', '.join(_PARTS)}")
    group.add_argument(
        "--threshold", type=float, default=0.3, metavar="S", help="least score of a point (default: 0.3)"
    )
    group.add_argument("--size", type=_size, metavar="WxH", help="size of the pose map (default: the picture's)")
    group.add_argument("--fit", choices=("pad", "crop", "stretch"), default="pad", help="how another --size is filled")


def _run_image(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .annotate import Outcome, PictureOptions, annotate_pictures, output_names
    from .box_files import BoxFile
    from .drawing import check_style

    try:
        check_style(args.style)
        sources = expand_inputs(args.inputs)
        output_names(sources)
        boxes = BoxFile(args.boxes) if args.boxes else None
        args.out.mkdir(parents=True, exist_ok=True)
    except (SDPoseError, OSError) as error:
        _say(f"sdpose image: {error}")
        return WRONG_USAGE
    options = PictureOptions(
        size=args.size, fit=args.fit, style=args.style, parts=args.parts, threshold=args.threshold,
        overlay=args.overlay, json_scores=args.json_scores, overwrite=args.overwrite,
        if_nobody=args.if_nobody or ("full-image" if len(sources) == 1 else "empty"),
        max_pixels=args.max_pixels, background=args.alpha_color,
    )  # fmt: skip

    @functools.cache
    def estimator() -> Any:
        made = make_estimator(args)
        bar.write("; ".join([f"model: {made.name}", *getattr(made, "notes", [])]), file=sys.stderr)
        return made

    @functools.cache
    def detector() -> Any:
        return make_detector(args)

    outcomes: list[Outcome] = []
    with tqdm(total=len(sources), unit="picture", disable=len(sources) < 2, file=sys.stderr) as bar:
        for outcome in annotate_pictures(
            sources, args.out, estimator=estimator, detector=detector, options=options, boxes=boxes
        ):
            outcomes.append(outcome)
            bar.write(f"{outcome.source}: {outcome.status}: {outcome.message}", file=sys.stderr)
            bar.update()
    return _summary(outcomes)


def _summary(outcomes: Sequence[Any]) -> int:
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if len(outcomes) > 1:
        kept = sum(outcome.status == "kept" for outcome in outcomes)
        _say(f"{len(outcomes) - kept - len(failed)} done, {kept} kept, {len(failed)} failed")
    return SOME_FAILED if failed else OK


def make_estimator(args: argparse.Namespace) -> Any:
    """The estimator that the options ask for."""
    from .estimator import load_estimator

    return load_estimator(
        args.model, dtype=args.dtype, device=args.device, batch_size=args.batch_size, flip_test=args.flip_test,
        crop=args.crop, keypoint_set=args.keypoint_set, feature_level=args.feature_level,
        input_size=args.input_size, channels_last=args.channels_last, compile=args.compile,
        pool_attention=args.pool_attention, tiny_encoder=args.tiny_encoder,
    )  # fmt: skip


def make_detector(args: argparse.Namespace) -> Any:
    """The detector that the options ask for."""
    from .detector import load_detector

    settings: dict[str, Any] = {"max_people": args.max_people, "min_size": args.min_size}
    if args.detector_threshold is not None:
        settings["threshold"] = args.detector_threshold
    return load_detector(args.detector, **settings)


def expand_inputs(inputs: Sequence[str]) -> list[Path]:
    """Files for the arguments: a folder stands for the pictures in it, a pattern for what it matches.

    Raises `InputError` for a folder without pictures or a pattern without a match; a missing file is met later.
    """
    from .errors import InputError
    from .images import IMAGE_SUFFIXES

    found: list[Path] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            pictures = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            if not pictures:
                raise InputError(f"{path}: no picture in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})")
            found += pictures
        elif not path.exists() and glob.has_magic(text):
            matches = sorted(Path(match) for match in glob.glob(text, recursive=True))
            if not matches:
                raise InputError(f"{text}: nothing matches this pattern")
            found += [match for match in matches if match.is_file()]
        else:
            found.append(path)
    return list(dict.fromkeys(found))


# --- the other commands --------------------------------------------------------------------------------------------


def _download_parser(commands: Any) -> None:
    sub = commands.add_parser("download", help="fetch SDPose weights; shows size and licence first")
    sub.add_argument("name", help="body, wholebody, wholebody-comfy or sd2-base")
    sub.add_argument("--to", type=Path, metavar="DIR", help="default: SDPOSE_HOME or the user cache")
    sub.set_defaults(run=_run_download)


def _bench_parser(commands: Any) -> None:
    from . import bench

    sub = commands.add_parser("bench", help="measure speed and memory beside the released way")
    bench.add_arguments(sub)
    sub.set_defaults(run=bench.main)


def _run_download(args: argparse.Namespace) -> int:
    from .download import download

    print(download(args.name, args.to, on_plan=lambda plan: _say(plan.describe())))
    return OK


def _run_doctor(args: argparse.Namespace) -> int:
    from .doctor import report

    for line in report():
        print(line)
    return OK


# --- values of options ---------------------------------------------------------------------------------------------


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


_size = option(_parse_size, "WIDTHxHEIGHT in pixels, such as 768x1024")
count = option(_parse_count, "a whole number of at least 1")
color = option(_parse_color, "three numbers of 0..255, such as 255,255,255")
_parts = option(_parse_parts, f"a comma-separated list of {', '.join(_PARTS)}")


if __name__ == "__main__":
    sys.exit(main())
