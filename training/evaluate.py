"""Evaluate as in the paper; see README.md.

    python training/evaluate.py --checkpoint C --benchmark coco --data.root DIR --out FILE.json
    python training/evaluate.py --predictions P.json --annotations A.json --out FILE.json

Several processes or machines: accelerate launch training/evaluate.py ...  To resume, run the same command again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sdpose_core.dependencies import require
from sdpose_training.evaluation.bootstrap import Bootstrap
from sdpose_training.evaluation.comparison import compare
from sdpose_training.evaluation.comparison_report import format_comparison, write_comparison
from sdpose_training.evaluation.options import parse
from sdpose_training.evaluation.picture_matches import matches_of
from sdpose_training.evaluation.result import read_result, table
from sdpose_training.evaluation.robustness_curves import write_robustness
from sdpose_training.evaluation.robustness_figures import robustness_table
from sdpose_training.evaluation.run import evaluate_all, score_given
from sdpose_training.options import RESUMES, exit_status, start_log


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 an error, 2 wrong usage, 130 interrupted."""
    args = parse(None if argv is None else list(argv))
    return exit_status("evaluate", lambda: _evaluate(args), resumes=RESUMES)


def _evaluate(args: argparse.Namespace) -> int:
    earlier = [read_result(path) for path in args.also]
    if args.compare:
        require("matplotlib", "the picture of a comparison")
    results = score_given(args) if args.predictions else evaluate_all(args)
    if not results:
        return 0
    results = [*results, *earlier]
    print(table(results))
    curves = [result for result in results if "robustness" in result]
    for result in curves:
        print(f"\n{robustness_table(result)}")
    if args.compare:
        folders = [*[args.out.parent] * (len(results) - len(earlier)), *(path.parent for path in args.also)]
        matches = [matches_of(result, folder) for result, folder in zip(results, folders, strict=True)]
        comparison = compare(results, matches, Bootstrap(args.resamples, args.resample_seed), args.order)
        print(f"\n{format_comparison(comparison)}")
        write_comparison(comparison, args.compare)
        if curves:
            write_robustness(curves, args.compare / "robustness.png")
    return 0


if __name__ == "__main__":
    start_log("accelerate", "faster_coco_eval", "sdpose_core")
    sys.exit(main())
