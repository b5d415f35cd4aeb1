"""The command line of `make_figures.py`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sdpose_core.drawing.styles import STYLES
from sdpose_core.errors import InputError
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.estimation.options import EstimatorOptions
from sdpose_core.estimation.preview import PREVIEWS
from sdpose_training.downstream.options import add_checker, add_generation
from sdpose_training.evaluation.predictors import load_sdpose_predictor
from sdpose_training.figures.estimators import Column
from sdpose_training.options import add_device, split_name, whole_number
from sdpose_training.peers.loading import load_peer

FIGURES = {
    "styles": ("figure5", "figure9"),
    "estimators": ("figure1", "figure4", "figure10"),
    "features": ("figure6",),
    "controlnet": ("figure7",),
    "animation": ("figure8",),
}
"""Command -> its other names: the figures of the paper (arXiv 2509.24980) that it makes."""

_POSES = "an estimator's folder of NAME.pose.npz, NAME_keypoints.json or NAME.json, or else maps"
_SEQUENCE = "a .pose.npz, OpenPose JSON (file or folder), pose video or folder of pose maps"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make_figures.py", description="Make the figures of the paper.")
    commands = parser.add_subparsers(required=True, dest="command", metavar="|".join([*FIGURES, "poses"]))

    def command(name: str, text: str) -> argparse.ArgumentParser:
        also = FIGURES.get(name, ())
        made = commands.add_parser(name, aliases=also, help=f"{text} ({', '.join(also)})" if also else text)
        made.set_defaults(command=name)
        return made

    _add_styles(command("styles", "the same pictures in several styles"))
    _add_estimators(command("estimators", "estimators side by side, failures marked where there is truth"))
    command("features", "t-SNE of features: everything that analyze_features.py takes")
    _add_controlnet(command("controlnet", "pictures out of ControlNet from several sources of poses"))
    _add_animation(command("animation", "frames of animations from several sources of poses"))
    _add_poses(command("poses", "prepare the poses of several estimators for controlnet and animation"))
    return parser


def _add_figure(parser: argparse.ArgumentParser, height: int) -> None:
    add = parser.add_argument
    add(
        "--height", type=whole_number(32, 2000), default=height, metavar="PIXELS", help=f"of a cell (default: {height})"
    )
    add("--out", type=Path, required=True, metavar="FIGURE.png", help="or .jpg; FIGURE.json has how it was made")


def _add_styles(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--pictures", type=Path, required=True, metavar="DIR", help="the original pictures")
    add("--style", action="append", default=[], metavar="NAME[=FOLDER]", help="a folder with the same file names, the "
        "name of a filter, or original (default: original, oil, sketch, posterise)")  # fmt: skip
    add("--picture", action="append", default=[], metavar="NAME", help="one to show; repeatable (default: at random)")
    add("--count", type=whole_number(1), default=4, help="number of random pictures (default: 4)")
    add("--seed", type=whole_number(0), default=0, help="for the choice (default: 0)")
    add("--title", default="")
    _add_figure(parser, 240)


def _add_people(parser: argparse.ArgumentParser) -> None:
    """Pictures, boxes, and estimators."""
    add = parser.add_argument
    add("--pictures", type=Path, nargs="+", default=[], metavar="PLACE", help="free pictures: files or folders")
    add("--detector", default="yolox", help="finds the people of free pictures and videos (default: yolox, embedded)")
    add("--data.root", dest="root", type=Path, metavar="DIR", help="annotated pictures, as for evaluate.py's custom")
    add("--data.images", dest="images", metavar="FOLDER", help="in the root (default: images)")
    add("--data.annotations", dest="annotations", metavar="FILE", help="COCO format (default: annotations/val.json)")
    add("--keypoint-set", metavar="NAME|FILE.toml", help="of the annotations (default: the one that they name)")
    add("--boxes", metavar="FILE", help="COCO detections in the root (default: the annotated boxes)")
    add("--count", type=whole_number(1), default=4, help="number of annotated pictures, at random (default: 4)")
    add("--seed", type=whole_number(0), default=0, help="for the choice (default: 0)")
    listed = {"dest": "estimators", "action": "append", "default": []}
    add("--checkpoint", **listed, type=_tagged("checkpoint"), metavar="[NAME=]C", help="SDPose: a path, body or "
        "wholebody, or preview with hands and face; repeatable, columns in the given order")  # fmt: skip
    add("--peer", **listed, type=_tagged("peer"), metavar="[NAME=]SPEC", help="preview, vitpose:NAME, "
        "rtmpose:FILE.onnx, ...: as for evaluate.py")  # fmt: skip
    add("--no-flip-test", dest="flip_test", action="store_false", help="half the cost, but not the paper's protocol")
    add("--trust-file", action="store_true", help="allow a peer's file (TorchScript) to run its code")
    add("--download", action="store_true", help="allow the download of a ViTPose or Sapiens2 model from the "
        "Hugging Face hub")  # fmt: skip
    add_device(parser)


def _add_estimators(parser: argparse.ArgumentParser) -> None:
    _add_people(parser)
    add = parser.add_argument
    add("--threshold", type=float, default=0.2, help="minimum score of a drawn point (default: 0.2)")
    add("--min-oks", type=float, default=0.5, help="people below it are framed (default: 0.5)")
    add("--max-distance", type=float, default=0.2, help="share of the person's scale, the square root of the area, "
        "beyond which a point gets a ring (default: 0.2)")  # fmt: skip
    add("--no-source", dest="source", action="store_false", help="leave out the column of the pictures themselves")
    add("--title", default="")
    _add_figure(parser, 320)


def _add_poses(parser: argparse.ArgumentParser) -> None:
    parser.description = "Writes OUT/NAME/STEM.pose.npz for pictures, OUT/NAME.pose.npz for a video."
    parser.add_argument("--video", type=Path, metavar="VIDEO", help="instead of pictures")
    _add_people(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")


def _add_sources(parser: argparse.ArgumentParser, poses: str, results: str) -> None:
    add = parser.add_argument
    add("--poses", action="append", default=[], metavar="NAME=PATH", help=f"{poses}; once per estimator")
    add("--result", action="append", default=[], metavar="NAME=PATH", help=f"{results}, instead of --base")
    add("--map-style", choices=list(STYLES), default="controlnet", help="style of maps drawn from keypoints")
    add("--threshold", type=float, default=0.3, help="minimum score of drawn keypoints (default: 0.3)")
    add_generation(parser, required=False)
    add_device(parser)


def _add_controlnet(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--pictures", type=Path, required=True, metavar="FOLDER", help="folder of source pictures, or one picture")
    _add_sources(parser, _POSES, "folder of pictures that another tool made from these maps")
    add("--as-given", action="store_true", help="use the maps that the estimators drew, even if there are keypoints")
    add_checker(parser, "none")
    _add_figure(parser, 280)


def _add_animation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--driving", type=Path, required=True, metavar="VIDEO", help="a video, or a folder of frames")
    _add_sources(parser, _SEQUENCE, "video or folder of frames that an animation tool made from these poses")
    add("--of-chosen", action="store_true", help="--result has only the chosen frames, as in FIGURE_maps")
    add("--motion", type=Path, metavar="DIR", help="AnimateDiff's motion adapter for --base")
    add("--first", type=whole_number(0), default=0, metavar="N", help="first frame that is animated (default: 0)")
    add("--every", type=whole_number(1), default=2, metavar="N", help="only every N-th frame (default: 2)")
    add("--frames", type=whole_number(1), default=16, metavar="N", help="number of animated frames (default: 16)")
    add("--columns", type=whole_number(1, 24), default=6, metavar="N", help="frames in the figure (default: 6)")
    _add_figure(parser, 180)


def _tagged(kind: str):
    """Option type: the kind of the value, and the value."""
    return lambda value: (kind, value)


def columns_of(options: argparse.Namespace) -> list[Column]:
    """The estimators of --checkpoint and --peer in the given order. `InputError` if there are none."""
    if not options.estimators:
        raise InputError("no estimator: give --checkpoint C or --peer SPEC, once for every column")
    return [_column(kind, value, options) for kind, value in options.estimators]


def _column(kind: str, value: str, options: argparse.Namespace) -> Column:
    heading, spec = split_name(value)
    if not spec:
        raise InputError(f"--{kind} {value!r}: expected [NAME=]{'PATH' if kind == 'checkpoint' else 'SPEC'}")
    device = None if options.device == "auto" else options.device
    if kind == "checkpoint" and spec in PREVIEWS:
        return Column(heading or None, lambda: load_estimator(spec))
    if kind == "checkpoint":
        settings = EstimatorOptions(device=device, dtype=options.dtype, flip_test=options.flip_test)
        return Column(heading or None, lambda: load_sdpose_predictor(spec, settings))
    more = {"trust_file": options.trust_file, "download": options.download, "flip_test": options.flip_test}
    return Column(heading or None, lambda: load_peer(spec, device=device, **more))


def check_names(names: Sequence[str]) -> None:
    """`InputError` for a name of poses that cannot name a folder."""
    for name in names:
        if name != Path(name).name or "\\" in name or name.startswith("."):
            raise InputError(f"--poses {name}=...: expected a plain name, such as SDPose")
