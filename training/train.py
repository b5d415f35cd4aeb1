"""Fine-tune SDPose; see README.md.

    python training/train.py --recipe training/recipes/body.toml --data.root DIR --out RUN [--key value ...]

Every recipe value can be given on the command line ("--stages.0.learning-rate 1e-5", "--rgb-reconstruction off").
Several processes or machines: accelerate launch training/train.py ...
--plan prints what the run needs, and ends; --plan measure also times a few steps.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sdpose_core.dependencies import require
from sdpose_core.errors import InputError
from sdpose_training.fit.folder import RunFolder
from sdpose_training.options import exit_status, start_log
from sdpose_training.recipe.recipe import Recipe, load_recipe
from sdpose_training.recipe.values import known_keys

if TYPE_CHECKING:
    from sdpose_training.fit.hub import Uploads
    from sdpose_training.fit.loop import Trainer
    from sdpose_training.fit.setup import Basis

log = logging.getLogger("train")

_SHORT = ("styles", "style_share")
"""Values of the recipe's augmentation with an option of their own."""

REFUSE = "refuse"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 trained to the end, or stopped by a signal; 1 an error; 2 wrong usage; 130 a second Ctrl-C.

    The state is saved whenever a signal stopped it.
    """
    args, overrides = build_parser().parse_known_args(argv)
    for key in _SHORT:
        if (value := getattr(args, key)) is not None:
            overrides += [f"--augmentation.{key}", value]
    start_log("accelerate", "faster_coco_eval")
    return exit_status(
        "train",
        lambda: run(load_recipe(args.recipe, overrides), RunFolder(args.out), args.resume, args.budget, args.plan),
        resumes="use --resume auto to continue",
    )  # fmt: skip


def run(recipe: Recipe, folder: RunFolder, resume: str = "never", budget: str = REFUSE, plan: str | None = None) -> int:
    """Train a recipe in a folder.

    Args:
        resume: "never", "auto", or the path of a state.
        budget: "refuse" or "warn", if the run does not fit this machine; "off": do not compute it.
        plan: "show" or "measure": print the table of what the run needs instead of training.
    """
    for package in ("accelerate", "faster_coco_eval"):
        require(package, "training")
    from sdpose_training.fit.loop import Trainer
    from sdpose_training.fit.lora import check_same_adapter
    from sdpose_training.fit.optimizers import check_kind
    from sdpose_training.fit.setup import batch_text, read_basis, set_up
    from sdpose_training.fit.state import Progress, check_same, find_state, load_state

    state = None if plan else find_state(folder.states, resume)
    basis = read_basis(recipe)
    if plan or budget != "off":
        _check_budget(recipe, basis, folder, "warn" if plan else budget, sys.stdout if plan else sys.stderr)
    if plan == "show":
        return 0
    uploads = _uploads(recipe, folder) if basis.accelerator.is_main_process and not plan else None
    parts = set_up(recipe, basis)
    if plan:
        _print_speed(Trainer(recipe, parts, folder, Progress(), None))
        return 0
    check_same(state)
    if state:
        check_same_adapter(parts.adapter, folder.adapters)
    progress = load_state(parts.accelerator, state) if state else Progress()
    check_kind(parts.optimizer, recipe)
    run_log = _start_run_log(recipe, folder, progress.step) if parts.accelerator.is_main_process else None
    log.info("%s at step %d of %d; %s", recipe.name, progress.step, parts.stages[-1].end, batch_text(parts.stages))
    try:
        trainer = Trainer(recipe, parts, folder, progress, run_log, uploads)
        complete = trainer.fit()
        if complete and run_log:
            run_log.write("end", progress.step)
    finally:
        if run_log:
            run_log.close()
    log.info("%s at step %d", "trained" if complete else "stopped and saved", progress.step)
    parts.accelerator.end_training()
    if uploads and complete:
        uploads.finish()
    return 0


def _uploads(recipe: Recipe, folder: RunFolder) -> Uploads | None:
    """Uploads to the hub, if the recipe asks for them. What would prevent them is reported before the first step."""
    if not recipe.hub.repo:
        return None
    from sdpose_training.fit.hub import Uploads, prepare

    prepare(recipe.hub)
    return Uploads(folder, recipe.hub)


def _check_budget(recipe: Recipe, basis: Basis, folder: RunFolder, mode: str, stream: TextIO) -> None:
    """Print what the run needs; raise `InputError` in all processes if one of them has too little of something."""
    from accelerate.utils import gather_object

    from sdpose_training.fit.budget_table import budget_of, refusal, refusals, table

    budget = budget_of(recipe, basis, folder.root)
    if basis.accelerator.is_main_process:
        print(table(budget), file=stream)
    if problems := list(dict.fromkeys(gather_object(refusals(budget)))):
        if mode == REFUSE:
            raise InputError(refusal(problems))
        log.warning("%s", ". ".join(problems))


def _print_speed(trainer: Trainer) -> None:
    from sdpose_training.fit.pace import speed_text

    text = speed_text(trainer.parts.stages, trainer.measure(), trainer.parts.accelerator.device)
    if trainer.parts.accelerator.is_main_process:
        print(text)


def _start_run_log(recipe: Recipe, folder: RunFolder, step: int):
    from sdpose_training.fit.log import RunLog

    changed = folder.write_settings(recipe)
    run_log = RunLog(folder, recipe, step)
    run_log.write("start", step, changed=changed)
    return run_log


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="train.py", description="Fine-tune SDPose.", allow_abbrev=False,
        epilog="Recipe values: " + ", ".join(f"--{key}" for key in known_keys(Recipe)),
    )  # fmt: skip
    parser.add_argument("--recipe", type=Path, required=True, metavar="FILE", help="TOML file, see recipes/")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--resume",
        default="never",
        metavar="auto|never|STATE",
        help="continue from a state of the run (default: never)",
    )
    styles = "repaint a share of the crops: oil, sketch, posterise, edge (augmentation.styles)"
    parser.add_argument("--styles", metavar="NAME,NAME", help=styles)
    parser.add_argument(
        "--style-share", metavar="SHARE", help="of the crops that are repainted (augmentation.style-share)"
    )
    parser.add_argument(
        "--budget", choices=(REFUSE, "warn", "off"), default=REFUSE,
        help="what to do with a run that does not fit; off: do not compute what it needs (default: refuse)",
    )  # fmt: skip
    parser.add_argument(
        "--plan", nargs="?", choices=("show", "measure"), const="show",
        help="print what the run needs, and end; measure: also time a few steps of each stage",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
