"""Compare pictures and animations made from poses of different estimators (paper, section 6).

    python training/downstream_check.py pictures --pictures DIR --poses SDPose=out_ours --poses DWPose=out_theirs \\
        --base SD15 --controlnet CONTROLNET_OPENPOSE --prompt "a knight in armor" --seeds 0,1 --out CHECK

    python training/downstream_check.py video --driving dance.mp4 --poses SDPose=dance.pose.npz \\
        --poses DWPose=dwpose.mp4 --result SDPose=animated_a.mp4 --result DWPose=animated_b.mp4 --out CHECK

Weights are folders on this machine in diffusers' layout; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdpose_core.drawing.styles import STYLES
from sdpose_core.errors import InputError
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.texts import read_json
from sdpose_training.downstream.controlnet import ControlNetPictures, ControlNetSettings
from sdpose_training.downstream.pictures import PictureCheck, compare_pictures, find_pictures
from sdpose_training.downstream.video import VideoCheck, compare_videos
from sdpose_training.options import add_device, check_seeds, exit_status, start_log, whole_numbers
from sdpose_training.peers.loading import load_peer


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 an error, 2 wrong usage."""
    options = build_parser().parse_args(argv)
    start_log()
    return exit_status("downstream_check", lambda: print(options.run(options)))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="downstream_check.py", description=__doc__.split("\n", 1)[0])
    checks = parser.add_subparsers(required=True, metavar="pictures | video")
    _add_pictures(checks.add_parser("pictures", help="ControlNet pictures with the same prompts and noise"))
    _add_video(checks.add_parser("video", help="animations that a tool made from each pose sequence"))
    return parser


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run_pictures)
    add = parser.add_argument
    add("--pictures", type=Path, required=True, metavar="FOLDER", help="folder of source pictures, or one picture")
    add("--base", type=Path, required=True, metavar="DIR", help="Stable Diffusion in diffusers' layout")
    add("--controlnet", type=Path, required=True, metavar="DIR", help="an OpenPose ControlNet for it")
    add("--prompt", default="a person, detailed", help="for pictures not in --prompts (default: %(default)r)")
    add("--prompts", type=Path, metavar="FILE", help="JSON: picture name -> prompt")
    add("--negative-prompt", default="")
    add("--seeds", type=whole_numbers, default=(0,), metavar="0,1,...", help="one picture per seed (default: 0)")
    add("--steps", type=int, default=20)
    add("--guidance", type=float, default=7.5)
    add("--conditioning-scale", type=float, default=1.0)
    add("--short-side", type=int, default=512, help="of the generated pictures, in pixels (default: 512)")
    add("--as-given", action="store_true", help="use the maps that the estimators drew, even if there are keypoints")
    add("--estimator", default="preview", help="estimates poses in the generated pictures: preview, an SDPose, a peer "
        "such as rtmpose:FILE.onnx, or none (default: preview)")  # fmt: skip
    add("--trust-file", action="store_true", help="run the code in a TorchScript file given as --estimator")
    add_device(parser)
    _add_common(parser, "an estimator's folder of NAME.pose.npz, NAME_keypoints.json or NAME.json, or else maps "
        "(NAME_pose.png or NAME.png)")  # fmt: skip


def _add_video(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run_video)
    add = parser.add_argument
    add("--driving", type=Path, required=True, metavar="VIDEO", help="a video, or a folder of frames")
    add("--result", action="append", default=[], metavar="NAME=PATH", help="the video or folder of frames that the "
        "animation tool made from the poses of that name")  # fmt: skip
    add("--height", type=int, default=320, help="panel height in pixels (default: 320)")
    add("--stills", type=int, default=6, help="number of stills on the page (default: 6)")
    _add_common(parser, "a .pose.npz, OpenPose JSON (file or folder), pose video or folder of pose maps")


def _add_common(parser: argparse.ArgumentParser, poses: str) -> None:
    add = parser.add_argument
    add("--poses", action="append", default=[], metavar="NAME=PATH", help=f"{poses}; once per estimator")
    add("--style", choices=list(STYLES), default="controlnet", help="style of maps drawn from keypoints")
    add("--threshold", type=float, default=0.3, help="minimum score of drawn keypoints (default: 0.3)")
    add("--out", type=Path, required=True, metavar="DIR")


def run_pictures(options: argparse.Namespace) -> Path:
    """Compare generated pictures; returns the page."""
    check = PictureCheck(
        find_pictures(options.pictures), _pairs("--poses", options.poses), options.prompt, _prompts(options.prompts),
        check_seeds(options.seeds, "--seeds"), options.short_side, options.style, options.threshold, options.as_given,
    )  # fmt: skip
    settings = ControlNetSettings(options.steps, options.guidance, options.conditioning_scale, options.negative_prompt)
    estimator, where = _estimator(options), {"device": options.device, "dtype": options.dtype}
    generate = ControlNetPictures(options.base, options.controlnet, settings, **where)
    return compare_pictures(check, generate, options.out, settings=generate.facts, estimator=estimator)


def run_video(options: argparse.Namespace) -> Path:
    """Compare animations; returns the page."""
    check = VideoCheck(
        options.driving, _pairs("--poses", options.poses), _pairs("--result", options.result),
        options.height, options.stills, options.style, options.threshold,
    )  # fmt: skip
    return compare_videos(check, options.out)


def _estimator(options: argparse.Namespace) -> Any:
    if options.estimator == "none":
        return None
    if ":" in options.estimator and not Path(options.estimator).exists():
        return load_peer(options.estimator, device=options.device, trust_file=options.trust_file)
    return load_estimator(options.estimator, device=options.device)


def _pairs(option: str, values: Sequence[str]) -> dict[str, Path]:
    pairs: dict[str, Path] = {}
    for value in values:
        name, _, path = value.partition("=")
        if not name or not path or name in pairs:
            raise InputError(f"{option} {value!r}: expected NAME=PATH, each name once")
        pairs[name] = Path(path)
    return pairs


def _prompts(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    content = read_json(path, "the prompts of --prompts")
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise InputError(f'--prompts {path}: expected {{"picture": "its prompt", ...}}')
    return content


if __name__ == "__main__":
    sys.exit(main())
