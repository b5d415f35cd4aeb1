"""Make the figures of the paper (arXiv 2509.24980) from any pictures, estimators and weights; see README.md.

    python training/make_figures.py styles --pictures val2017 --style original --style sketch --out figure5.png
    python training/make_figures.py estimators --pictures photos --checkpoint body --peer preview --out figure1.png
    python training/make_figures.py features --checkpoint SDPose=body ... --out DIR
    python training/make_figures.py poses --pictures photos --checkpoint SDPose=wholebody --peer DWPose=dwpose:F.onnx \\
        --out P
    python training/make_figures.py controlnet --pictures photos --poses SDPose=P/SDPose --poses DWPose=P/DWPose \\
        --base SD15 --controlnet CONTROLNET_OPENPOSE --out figure7.png
    python training/make_figures.py animation --driving dance.mp4 --poses SDPose=a.pose.npz --poses DWPose=b.pose.npz \\
        --result SDPose=a.mp4 --result DWPose=b.mp4 --out figure8.png

figure1, figure4, ... name the same commands by the paper's figures.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import analyze_features
from sdpose_core.errors import InputError
from sdpose_core.version import __version__
from sdpose_training.downstream.options import generation_settings, load_checker, read_prompts
from sdpose_training.downstream.pictures import PictureCheck, find_pictures
from sdpose_training.evaluation.tasks import Places
from sdpose_training.figures.options import FIGURES, build_parser, check_names, columns_of
from sdpose_training.figures.scenes import Scenes, annotated_scenes, free_scenes, need_scenes
from sdpose_training.figures.sheet import check_figure_path
from sdpose_training.options import check_seeds, exit_status, named_paths, start_log


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 an error, 2 wrong usage."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and given[0] in ("features", *FIGURES["features"]):
        return analyze_features.main(given[1:])
    options = build_parser().parse_args(given)
    options.record = {"command": shlex.join(["make_figures.py", *given]), "library_version": __version__}
    start_log()
    return exit_status("make_figures", lambda: print(*MAKERS[options.command](options), sep="\n"))


def make_styles(options: argparse.Namespace) -> list[Path]:
    """Figures 5 and 9."""
    from sdpose_training.features.picture_styles import parse_styles
    from sdpose_training.figures.styles import chosen_pictures, style_sheet

    check_figure_path(options.out)
    styles = parse_styles(options.style, Path(), options.pictures)
    files, how = chosen_pictures(options.pictures, options.count, options.seed, options.picture)
    look = {"height": options.height, "title": options.title, "record": options.record}
    return style_sheet(options.out, files, how, styles, **look)


def make_estimators(options: argparse.Namespace) -> list[Path]:
    """Figures 1, 4 and 10."""
    from sdpose_training.figures.estimators import estimator_figure
    from sdpose_training.figures.failures import Rule

    check_figure_path(options.out)
    rule = Rule(options.min_oks, options.max_distance, options.threshold)
    columns, scenes = columns_of(options), _scenes(options)
    return estimator_figure(
        options.out, scenes, columns, rule, height=options.height, with_source=options.source, title=options.title,
        record=options.record,
    )  # fmt: skip


def _scenes(options: argparse.Namespace) -> Scenes:
    need_scenes(options.pictures, options.root)
    if options.root is None:
        return free_scenes(options.pictures, options.detector)
    places = Places(options.root, options.annotations, options.images, options.boxes, options.boxes is None)
    return annotated_scenes(places, count=options.count, seed=options.seed, keypoint_set=options.keypoint_set)


def make_controlnet(options: argparse.Namespace) -> list[Path]:
    """Figure 7: generated where weights are given, otherwise of other tools' pictures, or the maps alone."""
    from sdpose_training.figures.pictures import generated_figure, given_figure

    poses, results = _sources(options)
    check = PictureCheck(
        find_pictures(options.pictures), poses, options.prompt, read_prompts(options.prompts),
        check_seeds(options.seeds, "--seeds"), options.short_side, options.map_style, options.threshold,
        options.as_given,
    )  # fmt: skip
    look = {"height": options.height, "record": options.record}
    if options.base is None:
        return given_figure(options.out, check, results, **look)
    from sdpose_training.downstream.controlnet import ControlNetPictures

    where = {"device": options.device, "dtype": options.dtype}
    generate = ControlNetPictures(options.base, options.controlnet, generation_settings(options), **where)
    return generated_figure(options.out, check, generate, estimator=load_checker(options), **look)


def make_animation(options: argparse.Namespace) -> list[Path]:
    """Figure 8: generated where weights are given, otherwise of other tools' frames, or the maps alone."""
    from sdpose_training.figures.animation import AnimationFigure, animation_figure

    poses, results = _sources(options)
    if options.prompts is not None or len(options.seeds) > 1:
        raise InputError("animation takes one --prompt and one seed (--seeds 0), for all sources of poses")
    figure = AnimationFigure(
        options.driving, poses, results, options.of_chosen, options.first, options.every, options.frames,
        options.columns, options.height, options.short_side, options.map_style, options.threshold, options.prompt,
        check_seeds(options.seeds, "--seeds")[0],
    )  # fmt: skip
    return animation_figure(options.out, figure, _animator(options), options.record)


def _animator(options: argparse.Namespace) -> Any:
    """What generates the frames; None without weights."""
    if options.base is None and options.motion is None:
        return None
    if options.base is None or options.motion is None:
        raise InputError("generating frames needs --base, --controlnet and --motion: give all of them")
    from sdpose_training.downstream.animation import ControlNetAnimation

    where = {"device": options.device, "dtype": options.dtype}
    return ControlNetAnimation(
        options.base, options.controlnet, options.motion, generation_settings(options), **where
    )  # fmt: skip


def _sources(options: argparse.Namespace) -> tuple[dict[str, Path], dict[str, Path]]:
    """The poses and the results by name, after checking what was given together."""
    check_figure_path(options.out)
    poses, results = named_paths("--poses", options.poses), named_paths("--result", options.result)
    check_names(list(poses))
    if (options.base is None) != (options.controlnet is None):
        raise InputError("generating needs both --base DIR and --controlnet DIR")
    if options.base is not None and results:
        raise InputError("give either --result (made by another tool) or --base (generated here), not both")
    return poses, results


def make_poses(options: argparse.Namespace) -> list[str]:
    """Poses of every estimator in files; returns the options that give them to the other commands."""
    from sdpose_training.figures.pose_sources import prepare_pictures, prepare_video

    columns = columns_of(options)
    if options.video is not None:
        if options.pictures or options.root:
            raise InputError("give either --video or pictures, not both")
        prepared = prepare_video(options.out, options.video, columns, options.detector)
    else:
        prepared = prepare_pictures(options.out, _scenes(options), columns)
    return [f"--poses {name}={place}" for name, place in prepared.items()]


MAKERS = {
    "styles": make_styles,
    "estimators": make_estimators,
    "controlnet": make_controlnet,
    "animation": make_animation,
    "poses": make_poses,
}

if __name__ == "__main__":
    sys.exit(main())
