"""Run a list of ablations and print our results beside the paper's table 2; see README.md.

    python training/ablate.py --list training/recipes/ablations_synthetic.toml --data.root people \\
        --test painted=people_painted --test sketch=people_sketch --out runs/ablations [--key value ...]

Each arm and seed is a run of train.py in OUT/ARM/seed-N. To resume, run the same command again: finished runs are not
repeated. Writes OUT/table.md and OUT/table.json. Recipe values on the command line apply to all arms.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sdpose_core.dependencies import require
from sdpose_core.errors import InputError, SDPoseError
from sdpose_core.files import atomic_write
from sdpose_core.texts import read_json
from sdpose_training.ablation.arms import AblationList, Arm, choose_arms, read_list
from sdpose_training.ablation.runs import IN_DOMAIN, EvaluationSet, Run, make_run, measure, people_of, train_runs
from sdpose_training.ablation.table import summary, table_lines
from sdpose_training.environment import environment
from sdpose_training.options import RESUMES, check_seeds, exit_status, start_log, whole_number, whole_numbers
from sdpose_training.recipe.recipe import Recipe

log = logging.getLogger("ablate")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 all done, 1 a run failed or another error, 2 wrong usage, 130 interrupted."""
    args, overrides = build_parser().parse_known_args(argv)
    start_log()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: the runs save their state
    try:
        return exit_status("ablate", lambda: ablate(read_list(args.list, overrides), args), resumes=RESUMES)
    finally:
        signal.signal(signal.SIGTERM, before)


def ablate(ablations: AblationList, args: argparse.Namespace) -> int:
    """Train, measure, print; 1 if a run failed. Raises `SDPoseError` for an error that concerns all runs."""
    for package in ("accelerate", "faster_coco_eval"):
        require(package, "training")
        logging.getLogger(package).setLevel(logging.WARNING)
    arms = choose_arms(ablations.arms, [name for text in args.only for name in text.split(",") if name])
    seeds = ablations.seeds if args.seeds is None else check_seeds(args.seeds, "--seeds")
    recipe = arms[0].recipe
    in_domain = _evaluation_set(IN_DOMAIN, recipe.data.root, recipe.data.val_annotations, recipe.data.val_images)
    tests = [in_domain, *(_held_out(text, recipe) for text in args.test)]
    names = [test.name for test in tests]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--test {twice[0]}: two tests have this name; give each a different one")
    for test in tests if not args.table_only else ():
        people_of(recipe, test)  # errors show up before the hours of training
    runs = [make_run(arm, seed, args.out, args.threads_per_job) for seed in seeds for arm in arms]
    failed = [] if args.table_only else _train_and_measure(runs, tests, args)
    results: dict[str, list[dict[str, Any]]] = {
        arm.name: [run.result for run in runs if run.arm is arm and run.result] for arm in arms
    }
    _write(ablations.title, arms, results, names, args.out)
    for problem in failed:
        print(f"ablate: {problem}", file=sys.stderr)
    return 1 if failed else 0


def _train_and_measure(runs: Sequence[Run], tests: Sequence[EvaluationSet], args: argparse.Namespace) -> list[str]:
    """One line for each failed run; a failure does not stop the others."""
    if args.threads_per_job:
        import torch

        torch.set_num_threads(args.threads_per_job)
    failed: list[str] = []

    def try_to_measure(run: Run) -> None:
        try:
            measure(run, tests, args.weights)
        except SDPoseError as error:
            failed.append(f"{run.name}: {error}")

    finished = [run for run in runs if run.is_trained]
    for run in finished:
        try_to_measure(run)
    with closing(train_runs([run for run in runs if run not in finished], args.jobs, args.launch)) as ended:
        for run, problem in ended:
            if problem:
                failed.append(problem)
            else:
                try_to_measure(run)
    return failed


def _write(
    title: str, arms: Sequence[Arm], results: dict[str, list[dict[str, Any]]], tests: Sequence[str], out: Path
) -> None:
    """The table on the screen, OUT/table.md and OUT/table.json."""
    lines = table_lines(title, arms, results, tests)
    notes = Path(arms[0].recipe.model.base) / "prior.json"  # of make_tiny_prior.py
    prior = read_json(notes, "the costs of a prior: remove the file") if notes.exists() else None
    if prior:
        cost = ", ".join(f"{part} {prior[part]['samples']} windows" for part in ("vae", "unet"))
        minutes = sum(prior[part]["cpu_seconds"] for part in ("vae", "unet")) / 60
        lines += ["", f"Not counted above: the prior ({cost}; {minutes:.0f} CPU minutes, once for all arms)."]
    print("\n".join(lines))
    with atomic_write(out / "table.md", "w") as file:
        file.write("\n".join(lines) + "\n")
    entries = [
        {"name": arm.name, "title": arm.title, "paper": arm.paper,
         "mean": {test: summary(results[arm.name], test) for test in tests}, "runs": results[arm.name]}
        for arm in arms
    ]  # fmt: skip
    content = {"title": title, "arms": entries, "prior": prior, "environment": environment()}
    with atomic_write(out / "table.json", "w") as file:
        json.dump(content, file, indent=2)


def _held_out(text: str, recipe: Recipe) -> EvaluationSet:
    """NAME=DIR, with the recipe's file names in DIR, or NAME=DIR,ANNOTATIONS,IMAGES."""
    name, _, place = text.partition("=")
    folder, *files = place.split(",")
    if not name or not folder or len(files) not in (0, 2):
        raise InputError(f"--test {text}: expected NAME=DIR or NAME=DIR,ANNOTATIONS,IMAGES")
    return _evaluation_set(name, folder, *(files or (recipe.data.val_annotations, recipe.data.val_images)))


def _evaluation_set(name: str, folder: str, annotations: str, images: str) -> EvaluationSet:
    test = EvaluationSet(name, Path(folder) / annotations, Path(folder) / images)
    if not test.annotations.exists():
        raise InputError(f"test {test.name}: no annotations at {test.annotations}: check --data.root and --test")
    return test


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ablate.py", description="Train and measure a list of ablations.", allow_abbrev=False,
        epilog="Recipe values may follow as --key value; see train.py --help.",
    )  # fmt: skip
    add = parser.add_argument
    add("--list", type=Path, required=True, metavar="FILE", help="recipes/ablations_*.toml, or your own list")
    add("--out", type=Path, required=True, metavar="DIR")
    add("--test", action="append", default=[], metavar="NAME=DIR[,ANNOTATIONS,IMAGES]",
        help="held-out data; repeatable")  # fmt: skip
    add("--only", nargs="+", default=[], metavar="ARM", help="run only these arms")
    add("--seeds", type=whole_numbers, metavar="N,N", help="instead of the seeds in the list")
    add("--jobs", type=whole_number(1), default=1, help="runs at the same time (default: 1)")
    add("--threads-per-job", type=whole_number(0), default=0, metavar="N", help="CPU threads per run (default: all)")
    add("--weights", choices=["last", "best"], default="last", help="weights to measure (default: last)")
    add("--launch", type=shlex.split, default=[], metavar="COMMAND", help='run train.py by "accelerate launch ..."')
    add("--table-only", action="store_true", help="print the finished results; train nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
