"""Evaluate like the paper: see README.md beside this file.

    python training/evaluate.py --checkpoint C --benchmark coco --data.root DIR --out FILE.json
    python training/evaluate.py --predictions P.json --annotations A.json --out FILE.json

Several processes or machines: accelerate launch training/evaluate.py ...  The same command goes on after a stop.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from sdpose_core.dependencies import require
from sdpose_training.evaluation.comparison import format_comparison, write_comparison
from sdpose_training.evaluation.options import parse
from sdpose_training.evaluation.result import read_result, table
from sdpose_training.evaluation.run import evaluate_all, score_given
from sdpose_training.options import exit_status, start_log


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0 done, 1 for an error, 130 stopped by Ctrl-C; wrong usage ends the process with 2."""
    args = parse(None if argv is None else list(argv))
    return exit_status("evaluate", lambda: _evaluate(args), resumes=True)


def _evaluate(args: argparse.Namespace) -> int:
    earlier = [read_result(path) for path in args.also]
    if args.compare:
        require("matplotlib", "the picture of a comparison")
    results = score_given(args) if args.predictions else evaluate_all(args)
    if results:
        _show(args, [*results, *earlier])
    return 0


def _show(args: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    print(table(results))
    if args.compare:
        print(f"\n{format_comparison(results)}")
        write_comparison(results, args.compare)


if __name__ == "__main__":
    start_log("accelerate", "faster_coco_eval", "sdpose_core")
    sys.exit(main())
