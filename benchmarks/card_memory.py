"""Memory of one GPU for a full-size training, as `train.py --plan` computes it: the tables of training/README.md.

    python benchmarks/card_memory.py

Computed on tensors without values; needs no GPU, no weights and no data.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "training"))

from sdpose_training.fit.budget import GIB, Launch, needs_of
from sdpose_training.recipe.recipe import load_recipe
from sdpose_training.templates import markdown_table

LORA = "--lora.rank 16 --stages.0.learning-rate 3e-4"
CROPS = "--validation.batch 4"
WAYS = (
    ("body", ""),
    ("body", "--hardware.batch-per-device 1"),
    ("body", f"--hardware.batch-per-device 8 {LORA}"),
    ("body", "--hardware.batch-per-device 1 --optimizer.kind adamw_8bit"),
    ("body", "--hardware.batch-per-device 1 --optimizer.kind adafactor --stages.0.learning-rate 1e-3"),
    ("body", f"--hardware.batch-per-device 1 --hardware.weights-dtype bf16 {CROPS}"),
    ("body", f"--hardware.batch-per-device 4 {LORA} {CROPS}"),
    ("body", f"--hardware.batch-per-device 1 {LORA} --hardware.weights-dtype bf16 {CROPS}"),
    ("finetune_small", ""),
    ("finetune_small", LORA),
)
PEOPLE = 500.0


def row(name: str, flags: str) -> list[str]:
    """GiB by part, in a step and in all (a step with its reserve, or validation), and of the disk."""
    base = () if name != "body" or "lora" not in flags else ("--model.base", "body")
    recipe = load_recipe(ROOT / "training" / "recipes" / f"{name}.toml", [*base, *flags.split()])
    needs = needs_of(recipe, 17, PEOPLE, Launch(device="cuda"))
    memory = needs.memory
    weights = memory["weights"] + memory["frozen VAE"]
    parts = (weights, memory["gradients"], memory["optimizer states"], memory["moving average"], memory["activations"])
    sizes = [*parts, sum(memory.values()), needs.validation, sum(needs.disk.values())]
    return [name, f"`{flags}`" if flags else "", *(f"{size / GIB:.2f}" for size in sizes)]


def main() -> None:
    heads = ["recipe", "add", "weights", "gradients", "optimizer", "average", "activations", "step", "validation"]
    print(markdown_table([*heads, "disk, 500 people"], [row(*way) for way in WAYS]))


if __name__ == "__main__":
    main()
