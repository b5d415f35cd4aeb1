"""Evaluate as in the paper; see README.md.

    python training/evaluate.py --checkpoint C --benchmark coco --data.root DIR --out FILE.json
    python training/evaluate.py --predictions P.json --annotations A.json --out FILE.json

Several processes or machines: accelerate launch training/evaluate.py ...  To resume, run the same command again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sdpose_core.cli.arguments import check_folder
from sdpose_core.dependencies import require
from sdpose_training.evaluation.bootstrap import Bootstrap
from sdpose_training.evaluation.comparison import check_order, compare, domains_of
from sdpose_training.evaluation.comparison_report import format_comparison, write_comparison
from sdpose_training.evaluation.options import OutputNames, parse
from sdpose_training.evaluation.picture_matches import matches_of
from sdpose_training.evaluation.result import UNNAMED, read_named, table
from sdpose_training.evaluation.robustness_curves import write_robustness
from sdpose_training.evaluation.robustness_figures import robustness_table
from sdpose_training.evaluation.run import evaluate_all, score_given
from sdpose_training.options import RESUMES, exit_status, start_log


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 an error, 2 wrong usage, 130 interrupted."""
    args = parse(None if argv is None else list(argv))
    return exit_status("evaluate", lambda: _evaluate(args), resumes=RESUMES)


def _evaluate(args: argparse.Namespace) -> int:
    earlier = [read_named(value) for value in args.also]
    if args.compare:
        require("matplotlib", "the picture of a comparison")
        check_folder(args.compare, "--compare")
        check_order(args.order, _coming(args), [result for result, _ in earlier])
    results = score_given(args) if args.predictions else evaluate_all(args)
    if not results:
        return 0
    names = OutputNames(args)
    files = [names.next(result["benchmark"], result["model"]).result for result in results]
    results, files = [*results, *(result for result, _ in earlier)], [*files, *(file for _, file in earlier)]
    print(table(results))
    curves = [result for result in results if "robustness" in result]
    for result in curves:
        print(f"\n{robustness_table(result)}")
    if args.compare:
        matches = [matches_of(result, file) for result, file in zip(results, files, strict=True)]
        comparison = compare(results, matches, Bootstrap(args.resamples, args.resample_seed), args.order)
        print(f"\n{format_comparison(comparison)}")
        write_comparison(comparison, args.compare)
        if curves:
            write_robustness(curves, args.compare / "robustness.png")
    return 0


def _coming(args: argparse.Namespace) -> list[str]:
    """The domains that results of this command may have."""
    return [args.domain] if args.domain else domains_of(args.benchmark or UNNAMED)


if __name__ == "__main__":
    start_log("accelerate", "faster_coco_eval", "sdpose_core")
    sys.exit(main())
