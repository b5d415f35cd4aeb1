"""Why is SDPose robust? Compares whether a network's features cluster by person or by picture style (paper, 5.4).

    python training/analyze_features.py --checkpoint SDPose=body --checkpoint SD2=sd2-base --data.root COCO \\
        --style photo=val2017 --style ukiyo-e=val2017ukiyoe --style oil=val2017oil --style sketch --out OUT

Crops the same people from the same pictures in several styles, pools the output of every up-block (F4 to F1) into one
vector per crop, and writes OUT/feature_analysis.png (t-SNE, as in the paper's figure 6), .md and .json (silhouette
scores). Needs the `train` extra.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.cli.progress import progress_bar
from sdpose_core.dependencies import require
from sdpose_core.errors import InputError
from sdpose_training.data.annotations import People, read_annotations, read_people
from sdpose_training.data.keypoint_sets import find_keypoint_set
from sdpose_training.features.picture_styles import PictureStyle, check_pictures, parse_styles
from sdpose_training.features.separation import separate
from sdpose_training.options import add_device, exit_status, size, start_log

log = logging.getLogger("analyze_features")

USUAL_PLACES = (("annotations/person_keypoints_val2017.json", "val2017"), ("annotations/val.json", "images"))
"""Annotations and pictures under the root: of COCO, and of make_synthetic_people.py."""

RANDOM = "Random weights"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 an error, 2 wrong usage."""
    parser = build_parser()
    options = parser.parse_args(argv)
    if not options.checkpoint:
        parser.error("give at least one --checkpoint NAME=PATH")
    start_log()
    return exit_status("analyze_features", lambda: print(*run(options), sep="\n"))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="analyze_features.py", description=__doc__.split("\n", 1)[0])
    add = parser.add_argument
    add("--checkpoint", action="append", default=[], metavar="NAME=PATH", help="SDPose, a Stable Diffusion 2 folder "
        "(unet/, vae/), or a Sapiens TorchScript file; repeat for several columns")  # fmt: skip
    add("--random", action="store_true", help="add a column: the first checkpoint's architecture with random weights")
    add("--data.root", dest="root", type=Path, required=True, metavar="DIR")
    add("--data.annotations", dest="annotations", metavar="FILE", help="COCO format (default: COCO's val2017, or "
        "val.json of synthetic people)")  # fmt: skip
    add("--data.images", dest="images", metavar="FOLDER", help="the original pictures (default: those of the "
        "annotations)")  # fmt: skip
    add("--keypoint-set", default="annotations", metavar="NAME|FILE.toml", help="keypoint set of the annotations "
        "(default: the one that they name)")  # fmt: skip
    add("--style", action="append", default=[], metavar="NAME[=FOLDER]", help="a folder with the same file names, or "
        "the name of a filter (default: original, oil, sketch, posterise)")  # fmt: skip
    add("--out", type=Path, required=True, metavar="DIR")
    add("--people", type=int, default=300, help="number of people, chosen by the seed (default: 300, as in the paper)")
    add("--pooling", choices=["mean", "grid", "keypoints"], default="mean", help="how maps are pooled (default: mean)")
    add("--no-standardize", "--no-standardise", action="store_true", help="do not standardize the channels")
    add("--seed", type=int, default=0, help="for people, random weights and t-SNE (default: 0)")
    add("--input-size", type=size(64, multiple_of=64), metavar="WxH", help="crop size (default: the network's)")
    add("--batch", type=int, default=8, help="crops per batch (default: 8)")
    add_device(parser)
    add("--trust-file", action="store_true", help="run the code in TorchScript files")
    return parser


def run(options: argparse.Namespace) -> list[Path]:
    """Run the analysis; returns the files written."""
    for package in ("torch", "diffusers", "sklearn", "matplotlib"):
        require(package, "the feature analysis")
    from sdpose_training.features.report import Report, write_report

    for name, minimum in (("batch", 1), ("seed", 0)):
        if getattr(options, name) < minimum:
            raise InputError(f"--{name} {getattr(options, name)}: expected {minimum} or more")
    pairs = [named(value) for value in options.checkpoint]
    if len({name for name, _ in pairs}) < len(pairs):
        raise InputError("--checkpoint: two networks have the same name: give each a different one, NAME=PATH")
    people, styles = _people_and_styles(options)
    models, vectors = _collect(options, pairs, people, styles)
    complete = np.all([np.isfinite(values).all(axis=(0, 2)) for values in vectors.values()], axis=0)
    if not vectors or complete.sum() < 2:
        raise InputError("fewer than two people could be read in every style: see the warnings above")
    results = [
        separate(name, level, values[:, complete], standardize=not options.no_standardize, seed=options.seed)
        for (name, level), values in vectors.items()
    ]
    settings = {
        "data": options.root.name,
        "styles": {style.name: style.origin for style in styles},
        "people": int(complete.sum()),
        "people_left_out": int((~complete).sum()),
        "pooling": options.pooling,
        "standardised": not options.no_standardize,
        "seed": options.seed,
        "dtype": options.dtype or "auto",
    }
    return write_report(options.out, Report(settings, models, results))


def _people_and_styles(options: argparse.Namespace) -> tuple[People, list[PictureStyle]]:
    from sdpose_training.features.collection import choose_people

    if not options.root.is_dir():
        raise InputError(f"--data.root {options.root}: no such folder")
    found = [place for place in USUAL_PLACES if (options.root / place[0]).is_file()] or [USUAL_PLACES[0]]
    annotations, images = options.annotations or found[0][0], options.images or found[0][1]
    content = read_annotations(options.root / annotations)
    keypoint_set = find_keypoint_set(options.keypoint_set, content.get("categories", ()))
    styles = parse_styles(options.style, options.root, options.root / images)
    people, problems = read_people(content, options.root / images, keypoint_set)
    for problem in problems[:5]:
        log.warning("%s", problem)
    people = choose_people(people, options.people, options.seed)
    check_pictures(styles, people.files)
    return people, styles


def _collect(
    options: argparse.Namespace, pairs: Sequence[tuple[str, str]], people: People, styles: Sequence[PictureStyle]
) -> tuple[list[dict[str, Any]], dict[tuple[str, str], np.ndarray]]:
    """Descriptions of the networks; features (S, N, C) by (network, level). One network is in memory at a time."""
    from sdpose_training.features.collection import collect
    from sdpose_training.features.models import ModelOptions, load_feature_model, random_model

    loading = ModelOptions(options.device, options.dtype, options.input_size, options.trust_file)
    config, models, vectors = None, [], {}
    for name, checkpoint in [*pairs, *([(RANDOM, None)] if options.random else [])]:
        if checkpoint is not None:
            model = load_feature_model(name, checkpoint, loading)
        elif config is not None:
            model = random_model(name, config, options.seed, loading)
        else:
            raise InputError("--random needs the architecture of an SDPose or Stable Diffusion --checkpoint")
        config = config or model.config
        models.append({"name": name, "what": model.what, "input_size": list(model.input_size), **model.identity})
        with progress_bar(len(people) * len(styles), "crop", name) as bar:
            found = collect(
                model, people, styles, pooling=options.pooling, batch=options.batch,
                on_progress=lambda done, bar=bar: bar.update(done - bar.n),
            )  # fmt: skip
        vectors |= {(name, level): values for level, values in found.items()}
        del model
    return models, vectors


def named(value: str) -> tuple[str, str]:
    """ "NAME=PATH" -> (name, path); without a name, the file's stem is the name."""
    name, given, path = value.partition("=")
    if not given:
        return Path(value).stem, value
    if not name or not path:
        raise InputError(f"--checkpoint {value!r}: expected NAME=PATH")
    return name, path


if __name__ == "__main__":
    sys.exit(main())
