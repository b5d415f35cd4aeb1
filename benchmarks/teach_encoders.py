"""Teaches both layouts of small encoders for a tiny model, with and without the U-Net's features, and compares them.

    python benchmarks/teach_encoders.py --weights W.safetensors --data.root people --out DIR [--key value ...]

W: of synthetic_cpu; people: the folder it was trained on. Arms without features have as many samples, all in the first
stage. More values go to `distill_encoder.py`. Resumes by itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "training"))

from accelerate.state import AcceleratorState, PartialState
from approximations import measure_encoders

import distill_encoder
from sdpose_core.checkpoints.layouts import inspect_checkpoint
from sdpose_training.distill.recipe import load_distill_recipe

RECIPE = ROOT / "training" / "recipes" / "distill_encoder_cpu.toml"
LAYOUTS = {"small": [], "taesd": ["--layout", "taesd", "--student.widths", "8", "--student.blocks", "0,1,1,3"]}
WITHOUT_FEATURES = ["--stages.1.features", "0"]


def main() -> int:
    """Teach, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE")
    parser.add_argument("--data.root", dest="root", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--people", type=int, default=-1, metavar="N", help="to measure with (default: all)")
    args, more = parser.parse_known_args()
    load_distill_recipe(RECIPE, more)  # mistakes before the first run
    labels = args.root / "annotations"
    size = "{},{}".format(*inspect_checkpoint(args.weights)[0].input_size)
    common = [
        "--recipe", str(RECIPE), "--weights", str(args.weights), "--pictures", str(args.root / "images"),
        "--annotations", str(labels / "train.json"), "--data.val-annotations", str(labels / "val.json"),
        "--stages.0.input-size", size, "--stages.1.input-size", size, "--resume", "auto", *more,
    ]  # fmt: skip
    files = []
    for layout, sizes in LAYOUTS.items():
        for name, changes in ((layout, []), (f"{layout}_latents_only", WITHOUT_FEATURES)):
            out = args.out / name
            if status := distill_encoder.main([*common, *sizes, *changes, "--out", str(out)]):
                return status
            AcceleratorState._reset_state()
            PartialState._reset_state()
            files.append(out / distill_encoder.RESULT)
    measure_encoders(args.weights, args.root, args.people, files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
