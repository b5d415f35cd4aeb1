"""Teach a small encoder that replaces the VAE's, on pictures without labels; see README.md.

    python training/distill_encoder.py --weights W.safetensors --pictures FOLDER --out RUN [--layout small|taesd]

Every recipe value can be given on the command line ("--stages.0.samples 20000"). RUN/encoder.safetensors goes to
`sdpose image --tiny-encoder`. Several processes: accelerate launch training/distill_encoder.py ...
--plan prints what the run needs, and ends; --plan measure also times a few steps.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdpose_core.dependencies import require
from sdpose_training.fit.folder import RunFolder
from sdpose_training.options import exit_status, start_log
from sdpose_training.recipe.values import known_keys

if TYPE_CHECKING:
    from sdpose_training.distill.recipe import DistillRecipe
    from sdpose_training.distill.setup import Basis

log = logging.getLogger("distill_encoder")

RECIPE = Path(__file__).parent / "recipes" / "distill_encoder.toml"
RESULT = "encoder.safetensors"
"""File of a finished run."""

_SHORT = {
    "weights": "weights", "pictures": "data.pictures", "annotations": "data.annotations", "layout": "student.layout",
    "start": "student.start",
}  # fmt: skip
"""Options of their own, and the recipe's values that they set."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 taught to the end, or stopped by a signal; 1 an error; 2 wrong usage; 130 a second Ctrl-C.

    The state is saved whenever a signal stopped it.
    """
    args, overrides = build_parser().parse_known_args(argv)
    for option, key in _SHORT.items():
        if (value := getattr(args, option)) is not None:
            overrides += [f"--{key}", value]
    start_log("accelerate", "faster_coco_eval")
    return exit_status(
        "distill_encoder",
        lambda: run(args.recipe, overrides, RunFolder(args.out), args.resume, args.budget, args.plan),
        resumes="use --resume auto to continue",
    )  # fmt: skip


def run(
    recipe_file: Path, overrides: Sequence[str], folder: RunFolder, resume: str, budget: str, plan: str | None
) -> int:
    """Teach by a recipe in a folder. Args: `resume`, `budget`, `plan` as in train.py."""
    for package in ("accelerate", "diffusers"):
        require(package, "training")
    from sdpose_training.distill.loop import EncoderTrainer
    from sdpose_training.distill.recipe import load_distill_recipe
    from sdpose_training.distill.setup import keep_teacher, read_basis, set_up
    from sdpose_training.fit.log import RunLog
    from sdpose_training.fit.pace import speed_text
    from sdpose_training.fit.setup import batch_text
    from sdpose_training.fit.state import Progress, check_same, find_state, load_state

    recipe = load_distill_recipe(recipe_file, overrides)
    state = None if plan else find_state(folder.states, resume)
    basis = read_basis(recipe, folder.root)
    main_process = basis.accelerator.is_main_process
    if plan or budget != "off":
        _check_budget(recipe, basis, folder.root, "warn" if plan else budget)
    parts = set_up(recipe, basis)
    if plan == "measure":
        trainer = EncoderTrainer(recipe, parts, folder, Progress(), None)
        text = speed_text(parts.stages, trainer.measure(), parts.accelerator.device)
        if main_process:
            print(text)
    if plan:
        return 0
    check_same(state)
    if main_process:
        keep_teacher(folder.root, parts.teacher)
    progress = load_state(parts.accelerator, state) if state else Progress()
    run_log = None
    if main_process:
        changed = folder.write_settings(recipe)
        run_log = RunLog(folder, recipe, progress.step)
        run_log.write("start", progress.step, changed=changed)
    log.info("%s at step %d of %d; %s", recipe.name, progress.step, parts.stages[-1].end, batch_text(parts.stages))
    try:
        trainer = EncoderTrainer(recipe, parts, folder, progress, run_log)
        complete = trainer.fit()
        if complete and run_log:
            run_log.write("end", progress.step)
    finally:
        if run_log:
            run_log.close()
    log.info("%s at step %d", "taught" if complete else "stopped and saved", progress.step)
    if complete:
        trainer.write_result(RESULT)
        log.info("last validation: %s", {name: round(value, 4) for name, value in progress.metrics.items()} or "none")
        log.info("%s: after %d steps", folder.root / RESULT, progress.best_step or progress.step)
    parts.accelerator.end_training()
    return 0


def _check_budget(recipe: DistillRecipe, basis: Basis, out: Path, mode: str) -> None:
    """Print what the run needs; refuse it, or warn, if this machine has too little of something."""
    from sdpose_core.errors import InputError
    from sdpose_training.distill.budget import check, needs_of, table
    from sdpose_training.fit.setup import plan_stages

    stages = plan_stages(recipe, len(basis.pictures.train), basis.accelerator.num_processes)
    needs = needs_of(recipe, basis.teacher.model.config, basis.config, stages, basis.accelerator.device.type)
    if basis.accelerator.is_main_process:
        print(table(recipe, stages, needs, basis.room, out), file=sys.stderr)
    try:
        check(needs, basis.room)
    except InputError as error:
        if mode == "refuse":
            raise
        log.warning("%s", error)


def build_parser() -> argparse.ArgumentParser:
    from sdpose_training.distill.recipe import DistillRecipe

    parser = argparse.ArgumentParser(
        prog="distill_encoder.py", description="Teach a small encoder that replaces the VAE's.", allow_abbrev=False,
        epilog="Recipe values: " + ", ".join(f"--{key}" for key in known_keys(DistillRecipe)),
    )  # fmt: skip
    add = parser.add_argument
    add("--weights", metavar="FILE", help="SDPose checkpoint (file, folder or known name) to teach for")
    add("--pictures", metavar="FOLDER", help="pictures of any kind, searched with subfolders; no labels are needed")
    add("--annotations", metavar="FILE", help="COCO file: crops of its people, and AP with both encoders")
    add("--layout", choices=("small", "taesd"), help="of the encoder (default: small, ours)")
    add("--start", metavar="FILE", help="first weights, such as taesd_encoder.safetensors (default: random)")
    add("--recipe", type=Path, default=RECIPE, metavar="FILE", help="TOML file (default: recipes/distill_encoder.toml)")
    add("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    add("--resume", default="never", metavar="auto|never|STATE", help="continue from a state of the run")
    add("--budget", choices=("refuse", "warn", "off"), default="refuse", help="what to do with a run that does not fit")
    add(
        "--plan", nargs="?", choices=("show", "measure"), const="show",
        help="print what the run needs, and end; measure: also time a few steps of each stage",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
