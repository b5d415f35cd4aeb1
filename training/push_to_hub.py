"""Upload the weights and the model card of a run to the Hugging Face hub; see README.md.

    python training/push_to_hub.py RUN --repo user/name

Needs a login (hf auth login). The repository is made if it does not exist, private unless --public. To continue an
interrupted upload, run the same command again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sdpose_training.fit.folder import RunFolder
from sdpose_training.options import exit_status, start_log
from sdpose_training.recipe.recipe import Recipe, recipe_from


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 uploaded, 1 an error, 2 wrong usage."""
    args = build_parser().parse_args(argv)
    start_log("httpx")
    return exit_status("push_to_hub", lambda: _push(args))


def _push(args: argparse.Namespace) -> None:
    from sdpose_training.fit.hub import upload

    recipe: Recipe = recipe_from({"hub": {"repo": args.repo, "private": not args.public}})
    print(upload(RunFolder(args.run), recipe.hub))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="push_to_hub.py", description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run of train.py")
    parser.add_argument("--repo", required=True, metavar="USER/NAME", help="repository on the hub")
    parser.add_argument("--public", action="store_true", help="make a new repository public (default: private)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
