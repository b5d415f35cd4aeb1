"""Robustness curves: a table of each result of evaluate.py --benchmark coco-ood-corruption, and one picture of all.

    python training/robustness.py preview.json body.json --out robustness.png

`evaluate.py --compare DIR` writes the picture as DIR/robustness.png.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sdpose_training.evaluation.result import read_named
from sdpose_training.evaluation.robustness_curves import write_robustness
from sdpose_training.evaluation.robustness_figures import robustness_table
from sdpose_training.options import exit_status


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 an error, 2 wrong usage."""
    args = build_parser().parse_args(argv)
    return exit_status("robustness", lambda: _draw(args))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="robustness.py", description="Robustness curves of results of evaluate.py.")
    parser.add_argument("results", nargs="+", metavar="[NAME=]FILE.json", help="result of coco-ood-corruption, under "
        "its model's name or another")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    return parser


def _draw(args: argparse.Namespace) -> None:
    results = [read_named(value)[0] for value in args.results]
    print("\n\n".join(robustness_table(result) for result in results))
    write_robustness(results, args.out)


if __name__ == "__main__":
    sys.exit(main())
