"""Make a COCO-format data set of synthetic people with exact keypoints, on any laptop.

    python training/make_synthetic_people.py --count 20000 --out data/synthetic

writes DIR/images/*, DIR/annotations/{train,val}.json (17 points, feet and hands in COCO-WholeBody's fields) and the
notes for resuming (settings.json, records.jsonl). Picture i of a split depends only on the seed, the split and i, not
on workers, their order or interruptions. Needs the `train` extra (anny).

    python training/make_synthetic_people.py --clip 75 --count 10 --people 3 --out data/clips

makes 10 clips of 75 frames instead, with several moving people and the truth of every frame (see synthetic/clip.py):
DIR/clip_0000/{images/*, annotations.json, truth.pose.npz}.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from sdpose_training.data.pictures import COMMON_SUFFIXES, pictures_in
from sdpose_training.options import RESUMES, exit_status, size, whole_number
from sdpose_training.synthetic.clip import ClipPlan, make_clips
from sdpose_training.synthetic.dataset import DataSetPlan, make_data_set
from sdpose_training.synthetic.scene import PEOPLE
from sdpose_training.synthetic.styles import FILTERED, STYLES
from sdpose_training.synthetic.view import LOOKS, SceneSettings


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 an error, 2 wrong usage."""
    options = build_parser().parse_args(arguments)
    return exit_status("make_synthetic_people", lambda: _make(options), resumes=RESUMES)


def _make(options: argparse.Namespace) -> None:
    plan = _plan(options)
    started = time.monotonic()
    if options.clip:
        made = make_clips(ClipPlan(plan.out, plan.seed, options.clip, plan.scene), options.count)
        print(f"{plan.out}: {options.count} clips of {options.clip} frames, {made} made now")
        return
    val = max(options.count // 10, 1) if options.val is None else options.val
    made = make_data_set(plan, {"train": options.count, "val": val}, options.workers)
    seconds = time.monotonic() - started
    print(f"{plan.out}: {options.count} + {val} pictures, {made} made now, {made / seconds:.1f} per second")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make_synthetic_people.py", description=__doc__.split("\n", 1)[0])
    add = parser.add_argument
    add("--count", type=whole_number(1), required=True, help="training pictures, or clips")
    add("--clip", type=whole_number(2), metavar="FRAMES", help="make clips of so many frames instead of pictures")
    add(
        "--val", type=whole_number(1), help="held-out pictures, from other random numbers (default: a tenth of --count)"
    )
    add("--out", type=Path, required=True, metavar="DIR")
    add("--seed", type=whole_number(0), default=0)
    add("--size", type=size(32, 4096), default=(288, 384), metavar="WxH", help="picture size (default: 288x384)")
    add("--style", choices=[*STYLES, *FILTERED, "mixed"], default="mixed",
        help="default: mixed, 60%% shaded (40%% with --looks dressed)")  # fmt: skip
    add("--looks", choices=LOOKS, default=LOOKS[0], help="plain (default): bare bodies before flat backgrounds, the "
        "same bytes for a seed as ever; dressed: hair, clothes, drawn proportions, light, rooms, streets, "
        "landscapes")  # fmt: skip
    add("--people", type=int, choices=range(1, len(PEOPLE) + 1), default=len(PEOPLE), help="maximum people per picture")
    add("--backgrounds", type=Path, metavar="DIR", help="pictures without people, for half of the backgrounds")
    add("--hidden-face", choices=["label", "omit"], default="label", help="visibility of nose, eyes and ears behind "
        "the person's head: 1 (label), or 0 (omit), as in most of COCO (default: label)")  # fmt: skip
    add("--supersample", type=int, choices=[1, 2, 3, 4], default=2, help="samples per pixel side (default: 2)")
    add("--format", choices=["jpg", "png"], default="jpg")
    add("--workers", type=whole_number(1), default=os.cpu_count() or 1, help="processes (default: one per core)")
    return parser


def _plan(options: argparse.Namespace) -> DataSetPlan:
    pictures = ()
    if options.backgrounds:
        pictures = tuple(pictures_in(options.backgrounds, "--backgrounds", COMMON_SUFFIXES))
    scene = SceneSettings(
        options.size, options.style, options.people, options.supersample, options.hidden_face, pictures, options.looks
    )
    return DataSetPlan(options.out, options.seed, options.format, scene)


if __name__ == "__main__":
    sys.exit(main())
