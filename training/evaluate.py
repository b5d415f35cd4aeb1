"""Evaluate like the paper: see README.md beside this file.

    python training/evaluate.py --checkpoint C --benchmark coco --data.root DIR --out FILE.json
    python training/evaluate.py --predictions P.json --annotations A.json --out FILE.json

Several processes or machines: accelerate launch training/evaluate.py ...  The same command goes on after a stop.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import Any

from sdpose_core.dependencies import require
from sdpose_core.errors import SDPoseError
from sdpose_training.evaluation.options import parse
from sdpose_training.evaluation.result import read_result, table
from sdpose_training.evaluation.run import evaluate_all, score_given

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0 done, 1 for an error, 130 stopped by Ctrl-C; wrong usage ends the process with 2."""
    args = parse(None if argv is None else list(argv))
    try:
        earlier = [read_result(path) for path in args.also]
        if args.compare:
            require("matplotlib", "the picture of a comparison")
        results = score_given(args) if args.predictions else evaluate_all(args)
        if results:
            _show(args, [*results, *earlier])
    except SDPoseError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("evaluate: stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 0


def _show(args: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    print(table(results))
    if args.compare:
        from sdpose_training.evaluation.comparison import format_comparison, write_comparison

        print(f"\n{format_comparison(results)}")
        write_comparison(results, args.compare)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for package in ("accelerate", "faster_coco_eval", "sdpose_core"):
        logging.getLogger(package).setLevel(logging.WARNING)
    sys.exit(main())
