"""Run a list of ablations and print the paper's table 2 with ours: see README.md beside this file.

    python training/ablate.py --list training/recipes/ablations_synthetic.toml --data.root people \\
        --test painted=people_painted --test sketch=people_sketch --out runs/ablations [--key value ...]

Each arm and seed is a run of train.py in OUT/ARM/seed-N. The same command goes on after an interruption: what is
finished is not repeated. Writes OUT/table.md and OUT/table.json. Any value of the recipe may be given, for all arms.
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
from sdpose_training.ablation.arms import AblationList, Arm, choose_arms, read_list
from sdpose_training.ablation.runs import IN_DOMAIN, EvaluationSet, Run, make_run, measure, people_of, train_runs
from sdpose_training.ablation.table import summary, table_lines
from sdpose_training.environment import environment
from sdpose_training.options import check_seeds, exit_status, start_log, whole_number, whole_numbers
from sdpose_training.recipe.recipe import Recipe

log = logging.getLogger("ablate")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0 all done, 1 an arm failed or an error that is told, 2 wrong usage, 130 interrupted."""
    args, overrides = build_parser().parse_known_args(argv)
    start_log()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the runs are saved
    try:
        return exit_status("ablate", lambda: ablate(read_list(args.list, overrides), args), resumes=True)
    finally:
        signal.signal(signal.SIGTERM, before)


def ablate(ablations: AblationList, args: argparse.Namespace) -> int:
    """Train, measure, print; 1 if a run failed. Raises `SDPoseError` for what concerns all of them."""
    for package in ("accelerate", "faster_coco_eval"):
        require(package, "training")
        logging.getLogger(package).setLevel(logging.WARNING)
    arms = choose_arms(ablations.arms, [name for text in args.only for name in text.split(",") if name])
    seeds = ablations.seeds if args.seeds is None else check_seeds(args.seeds, "--seeds")
    tests = [_in_domain(arms[0].recipe), *(held_out(text, arms[0].recipe) for text in args.test)]
    names = [test.name for test in tests]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--test {twice[0]}: two tests are called so; each needs a name of its own")
    for test in tests if not args.table_only else ():
        people_of(arms[0].recipe, test)  # what is wrong with them is told before the hours of training
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
    """One line for each run that failed; the others go on."""
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
    prior = _prior(arms[0].recipe)
    if prior:
        cost = ", ".join(f"{part} {prior[part]['samples']} windows" for part in ("vae", "unet"))
        minutes = sum(prior[part]["cpu_seconds"] for part in ("vae", "unet")) / 60
        lines += ["", f"The prior ({cost}; {minutes:.0f} CPU minutes, once for all arms) is not counted above."]
    print("\n".join(lines))
    with atomic_write(out / "table.md", "w") as file:
        file.write("\n".join(lines) + "\n")
    content = {
        "title": title,
        "arms": [
            {
                "name": arm.name,
                "title": arm.title,
                "paper": arm.paper,
                "mean": {test: summary(results[arm.name], test) for test in tests},
                "runs": results[arm.name],
            }
            for arm in arms
        ],
        "prior": prior,
        "environment": environment(),
    }
    with atomic_write(out / "table.json", "w") as file:
        json.dump(content, file, indent=2)


def _prior(recipe: Recipe) -> dict[str, Any] | None:
    """What make_tiny_prior.py wrote about the base of the runs, if it made it."""
    path = Path(recipe.model.base) / "prior.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _in_domain(recipe: Recipe) -> EvaluationSet:
    data = recipe.data
    return _checked(EvaluationSet(IN_DOMAIN, Path(data.root) / data.val_annotations, Path(data.root) / data.val_images))


def held_out(text: str, recipe: Recipe) -> EvaluationSet:
    """NAME=DIR, with the recipe's file names below DIR, or NAME=DIR,ANNOTATIONS,IMAGES; `InputError` if not there."""
    name, _, place = text.partition("=")
    folder, *files = place.split(",")
    if not name or not folder or len(files) not in (0, 2):
        raise InputError(f"--test {text}: expected NAME=DIR or NAME=DIR,ANNOTATIONS,IMAGES")
    annotations, images = files or (recipe.data.val_annotations, recipe.data.val_images)
    return _checked(EvaluationSet(name, Path(folder) / annotations, Path(folder) / images))


def _checked(test: EvaluationSet) -> EvaluationSet:
    if not test.annotations.exists():
        raise InputError(f"test {test.name}: no annotations at {test.annotations}: check --data.root and --test")
    return test


def build_parser() -> argparse.ArgumentParser:
    """The options that are not values of the recipe."""
    parser = argparse.ArgumentParser(
        prog="ablate.py",
        description="Train and measure a list of ablations.",
        epilog="Values of the recipe may follow as --key value; see train.py --help.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--list", type=Path, required=True, metavar="FILE", help="recipes/ablations_*.toml, or one of your own")
    add("--out", type=Path, required=True, metavar="DIR")
    add(
        "--test", action="append", default=[], metavar="NAME=DIR[,ANNOTATIONS,IMAGES]", help="held-out data; repeatable"
    )
    add("--only", nargs="+", default=[], metavar="ARM", help="these arms")
    add("--seeds", type=whole_numbers, metavar="N,N", help="instead of the list's")
    add("--jobs", type=whole_number(1), default=1, help="runs at a time (default: 1)")
    add(
        "--threads-per-job", type=whole_number(0), default=0, metavar="N", help="CPU threads of each run (default: all)"
    )
    add("--weights", choices=["last", "best"], default="last", help="which are measured (default: last)")
    add("--launch", type=shlex.split, default=[], metavar="COMMAND", help='before train.py: "accelerate launch ..."')
    add("--table-only", action="store_true", help="print what is finished; train nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
