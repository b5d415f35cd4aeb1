"""Fine-tune SDPose; see README.md.

    python training/train.py --recipe training/recipes/body.toml --data.root DIR --out RUN [--key value ...]

Every recipe value can be given on the command line ("--stages.0.learning-rate 1e-5", "--rgb-reconstruction off").
Several processes or machines: accelerate launch training/train.py ...
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from sdpose_core.dependencies import require
from sdpose_training.fit.folder import RunFolder
from sdpose_training.options import exit_status, start_log
from sdpose_training.recipe.recipe import Recipe, load_recipe
from sdpose_training.recipe.values import known_keys

log = logging.getLogger("train")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 trained to the end, or stopped by a signal; 1 an error; 2 wrong usage; 130 a second Ctrl-C.

    The state is saved whenever a signal stopped it.
    """
    args, overrides = build_parser().parse_known_args(argv)
    start_log("accelerate", "faster_coco_eval")
    return exit_status(
        "train", lambda: run(load_recipe(args.recipe, overrides), RunFolder(args.out), args.resume),
        resumes="use --resume auto to continue",
    )  # fmt: skip


def run(recipe: Recipe, folder: RunFolder, resume: str = "never") -> int:
    """Train a recipe in a folder; `resume` is "never", "auto", or the path of a state."""
    for package in ("accelerate", "faster_coco_eval"):
        require(package, "training")
    from sdpose_training.fit.loop import Trainer
    from sdpose_training.fit.optimizers import check_kind
    from sdpose_training.fit.setup import batch_text, set_up
    from sdpose_training.fit.state import Progress, check_same, find_state, load_state

    state = find_state(folder.states, resume)
    parts = set_up(recipe)
    check_same(state)
    progress = load_state(parts.accelerator, state) if state else Progress()
    check_kind(parts.optimizer, recipe)
    run_log = _start_run_log(recipe, folder, progress.step) if parts.accelerator.is_main_process else None
    log.info("%s at step %d of %d; %s", recipe.name, progress.step, parts.stages[-1].end, batch_text(parts.stages))
    try:
        trainer = Trainer(recipe, parts, folder, progress, run_log)
        complete = trainer.fit()
        if complete and run_log:
            run_log.write("end", progress.step)
    finally:
        if run_log:
            run_log.close()
    log.info("%s at step %d", "trained" if complete else "stopped and saved", progress.step)
    parts.accelerator.end_training()
    return 0


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
    return parser


if __name__ == "__main__":
    sys.exit(main())
