"""Does fine-tuning on 500 pictures work? A tiny model that knows shaded people learns another style.

    python training/make_synthetic_people.py --count 4000 --val 260 --style shaded --people 1 --hidden-face omit \\
        --out people
    python training/train.py --recipe training/recipes/synthetic_cpu.toml --data.root people --out base
    python benchmarks/finetune_small.py --base base/weights/best.safetensors --known people --out tuning

Makes 500 people of the style, with clothes and drawn proportions, for training, 60 for validation and 200 to measure,
then fine-tunes by several commands: that of before `finetune_small.toml`, this recipe, with LoRA, mixed with the
known people. Prints AP on the new style and on the known people, which shows how much was forgotten. Finished arms are
kept: the same command resumes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "training"))

from evaluate import main as evaluate
from make_synthetic_people import main as make_people
from sdpose_core.checkpoints.layouts import inspect_checkpoint
from sdpose_core.files import atomic_write
from sdpose_core.texts import read_json
from sdpose_training.fit.log import read_log
from sdpose_training.synthetic.styles import STYLES
from sdpose_training.templates import markdown_table

PEOPLE, VALIDATED, MEASURED = 500, 60, 200

TINY_MODEL = (
    "--rgb-reconstruction", "off", "--hardware.mixed-precision", "no", "--hardware.gradient-checkpointing", "off",
    "--hardware.channels-last", "on", "--hardware.batch-per-device", "8", "--hardware.workers", "1",
    "--log.tensorboard", "off", "--log.pictures-every", "0", "--checkpoints.weights-dtype", "fp32",
    "--validation.batch", "16", "--stages.0.epochs", "4",
    "--augmentation.half-body", "0", "--augmentation.shift", "0", "--augmentation.scale-range", ".85,1.15",
    "--augmentation.rotation-range-deg", "15", "--augmentation.photometric", "off", "--augmentation.blur", "0",
    "--augmentation.median-blur", "0", "--augmentation.dropout", "0",
)  # fmt: skip
"""What a model of synthetic_cpu.toml needs instead of the full-size one: a CPU, no RGB branch, minutes, and the
augmentation that it was trained with: in minutes it does not get used to a stronger one."""


@dataclass(frozen=True)
class Arm:
    """One training: its title in the table, the recipe, further arguments, the weights to measure."""

    title: str
    recipe: str
    more: tuple[str, ...] = ()
    weights: str = "best"


def arms(rate: float, known: Path) -> dict[str, Arm]:
    """The arms by name; `rate` is the learning rate that the tiny model needs, where the full-size one has 3e-5."""
    tiny_rate = ("--stages.0.learning-rate", str(rate))
    lora = ("--lora.rank", "16", "--stages.0.learning-rate", str(10 * rate))
    mixed = ("--data.more.0.name", "known", "--data.more.0.root", str(known), "--data.more.0.share", "0.3")
    before = ("--data.train-annotations", "annotations/train.json", "--data.train-images", "images",
              "--data.val-images", "images")  # fmt: skip
    return {
        "before": Arm("before: `body.toml`", "body", before, "step-*"),
        "before_rate": Arm("the same, higher learning rate", "body", (*before, *tiny_rate), "step-*"),
        "full": Arm("`finetune_small.toml`", "finetune_small", tiny_rate),
        "no_styles": Arm("without style filters", "finetune_small", (*tiny_rate, "--style-share", "0")),
        "mixed": Arm("with 30% known people", "finetune_small", (*tiny_rate, *mixed)),
        "lora": Arm("LoRA", "finetune_small", lora),
        "lora_mixed": Arm("LoRA, with 30% known people", "finetune_small", (*lora, *mixed)),
    }


def sizes_of(base: Path) -> list[str]:
    """The base's feature levels, input size and heatmap sigma, as recipe values."""
    config, _ = inspect_checkpoint(base)
    size = ",".join(map(str, config.input_size))
    words = ["--model.feature-levels", ",".join(config.feature_levels), "--stages.0.input-size", size]
    return [*words, "--stages.0.heatmap-sigma", str(config.heatmap_sigma)]


def make_data(folder: Path, style: str) -> None:
    """Dressed people in the style; val.json is split into validation.json and test.json."""
    words = ["--count", PEOPLE, "--val", VALIDATED + MEASURED, "--seed", 21, "--style", style, "--looks", "dressed"]
    if make_people([*map(str, words), "--people", "1", "--hidden-face", "omit", "--out", str(folder)]):
        raise SystemExit(f"make_synthetic_people.py failed for {folder}")
    content = read_json(folder / "annotations" / "val.json", "annotations", dict)
    for name, wanted in (("validation", range(1, VALIDATED + 1)), ("test", range(VALIDATED + 1, 1 << 30))):
        parts = {"images": "id", "annotations": "image_id"}
        some = {part: [each for each in content[part] if each[key] in wanted] for part, key in parts.items()}
        with atomic_write(folder / "annotations" / f"{name}.json", "w") as file:
            json.dump(content | some, file)


def train(arm: Arm, base: Path, data: Path, out: Path, more: list[str]) -> dict[str, float]:
    """Train in a process of its own; returns its steps, the step of the measured weights, and its CPU minutes."""
    words = ["--model.base", base, "--data.root", data, "--data.val-annotations", "annotations/validation.json"]
    recipe = ROOT / "training" / "recipes" / f"{arm.recipe}.toml"
    overrides = [*map(str, words), *TINY_MODEL, *sizes_of(base), *arm.more, *more]
    command = ["--recipe", str(recipe), "--out", str(out), "--resume", "auto", *overrides]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, str(ROOT / "training" / "train.py"), *command], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    steps = read_log(out / "log.jsonl", "step")[-1]["step"]
    return {"steps": steps, "cpu_minutes": seconds / 60}


def measure(weights: Path, folder: Path, annotations: str, out: Path) -> float:
    """AP on ground-truth boxes, as in the validation during training."""
    words = ["--checkpoint", weights, "--benchmark", "custom", "--data.root", folder]
    words += ["--nms", "none", "--device", "cpu"]
    if evaluate([*map(str, words), "--annotations", str(folder / "annotations" / annotations), "--out", str(out)]):
        raise SystemExit(f"evaluate.py failed for {weights}")
    return read_json(out, "figures", dict)["AP"]


def run(args: argparse.Namespace, more: list[str]) -> dict[str, dict[str, Any]]:
    """Figures by arm: AP on "new" and "known" people, steps and CPU minutes; each is kept in OUT/ARM.json."""
    data = args.out / args.style
    make_data(data, args.style)
    found: dict[str, dict[str, Any]] = {}
    chosen = {name: arm for name, arm in arms(args.rate, args.known).items() if not args.only or name in args.only}
    for name, arm in {"base": None, **chosen}.items():
        kept = args.out / f"{name}.json"
        if not kept.exists():
            figures: dict[str, Any] = {"title": "the tiny model before"}
            weights = args.base
            if arm:
                figures = {"title": arm.title, **train(arm, args.base, data, args.out / name, more)}
                weights = max((args.out / name / "weights").glob(f"{arm.weights}.safetensors"))
            figures["new"] = measure(weights, data, "test.json", args.out / f"{name}_new.json")
            figures["known"] = measure(weights, args.known, "val.json", args.out / f"{name}_known.json")
            with atomic_write(kept, "w") as file:
                json.dump(figures, file)
        found[name] = read_json(kept, "figures", dict)
    return found


def table(found: dict[str, dict[str, Any]], style: str) -> str:
    rows = [
        [each["title"], *(f"{100 * each[test]:.1f}" for test in ("new", "known")), str(each.get("steps", "")),
         f"{each['cpu_minutes']:.1f}" if "cpu_minutes" in each else ""]
        for each in found.values()
    ]  # fmt: skip
    return markdown_table(["training", f"AP, {style}", "AP, known people", "steps", "CPU minutes"], rows)


def main() -> None:
    args, more = _parser().parse_known_args()
    os.environ.setdefault("ACCELERATE_USE_CPU", "true")
    print(table(run(args, more), args.style))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], allow_abbrev=False,
        epilog="Recipe values may follow as --key value: they are those of all arms.",
    )  # fmt: skip
    parser.add_argument("--base", type=Path, required=True, metavar="FILE", help="weights of the tiny model")
    parser.add_argument("--known", type=Path, required=True, metavar="DIR", help="the people that it was trained on")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--style", choices=STYLES, default="sketch")
    parser.add_argument("--rate", type=float, default=5e-4, help="learning rate of the tiny model")
    parser.add_argument("--only", nargs="+", metavar="ARM", help=f"of {', '.join(arms(0, Path()))}")
    return parser


if __name__ == "__main__":
    main()
