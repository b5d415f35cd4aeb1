"""Plot learning curves: training loss and validation AP over the samples seen.

    python training/curves.py RUN [RUN ...] --out curves.png

`train.py` keeps RUN/curve.png up to date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sdpose_training.fit.curves import draw_curves
from sdpose_training.options import exit_status


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 an error, 2 wrong usage."""
    args = build_parser().parse_args(argv)
    return exit_status("curves", lambda: draw_curves(args.runs, args.out))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="curves.py", description="Learning curves of runs of train.py.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder of train.py")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    return parser


if __name__ == "__main__":
    sys.exit(main())
