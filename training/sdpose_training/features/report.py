"""The files of a feature analysis: figure, Markdown table, JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sdpose_core
from sdpose_core.files import atomic_write
from sdpose_training.environment import package_version
from sdpose_training.features.collection import POOLINGS
from sdpose_training.features.figure import draw_figure
from sdpose_training.features.separation import Separation, perplexity_of
from sdpose_training.templates import markdown_table, text

NAME = "feature_analysis"

PAPER = (
    "The paper's figures (section 5.4: 300 people of COCO in four styles; how it pools is not stated): pretrained "
    "Sapiens +0.35 by style, -0.16 by person; pretrained Stable Diffusion 2 up to about +0.22 by person in its deeper "
    "blocks; SDPose +0.45 to +0.48 by person at mid level; Stable Diffusion 2 and SDPose near 0 by style."
)

_COLUMNS = ("network", "level", "channels", "by person", "by style", "t-SNE by person", "t-SNE by style")
_MARKDOWN = """\
{{ table }}

Silhouette scores, -1 to 1: of the features, and of their t-SNE as the picture shows it. F4 is the first up-block, F1 \
the last.

- {{ people }} people{% if left_out %} ({{ left_out }} left out for damaged pictures){% endif %} \
in the styles {{ styles | join(", ") }}.
- {{ how }}.
{% for model in models %}
- {{ model.name }}: {{ model.what }}; crops of {{ model.input_size | join(" x ") }}.
{% endfor %}

{{ paper }}
"""


@dataclass(frozen=True, eq=False)
class Report:
    """Settings, descriptions of the networks, and results of every network and level."""

    settings: dict[str, Any]
    models: Sequence[dict[str, Any]]
    results: Sequence[Separation]


def write_report(folder: Path, report: Report) -> list[Path]:
    """Write NAME.png, .md and .json into a folder, each atomically; returns their paths."""
    picture, table, figures = (folder / f"{NAME}.{suffix}" for suffix in ("png", "md", "json"))
    styles = list(report.settings["styles"])
    title = f"{report.settings['people']} people in {len(styles)} styles: t-SNE and silhouette scores"
    draw_figure(picture, report.results, styles, title, how(report.settings))
    with atomic_write(table, "w") as file:
        file.write(as_markdown(report))
    with atomic_write(figures, "w") as file:
        json.dump(as_dict(report), file, indent=1)
    return [picture, table, figures]


def how(settings: dict[str, Any]) -> str:
    """One line: pooling, scaling, seed."""
    scaled = "every channel standardized" if settings["standardised"] else "channels as they are"
    perplexity = perplexity_of(settings["people"] * len(settings["styles"]))
    return (
        f"Crops by ground-truth boxes; pooling: {POOLINGS[settings['pooling']]}; {scaled}; "
        f"t-SNE: perplexity {perplexity:g}, seed {settings['seed']}"
    )


def as_markdown(report: Report) -> str:
    """Table of the silhouette scores, and the settings."""
    settings = report.settings
    return text(
        _MARKDOWN, table=markdown_table(_COLUMNS, [_cells(result) for result in report.results], numbers=True),
        people=settings["people"], left_out=settings["people_left_out"], styles=settings["styles"], how=how(settings),
        models=report.models, paper=PAPER,
    )  # fmt: skip


def _cells(result: Separation) -> list[str]:
    scores = (result.by_person, result.by_style, result.plane_by_person, result.plane_by_style)
    return [result.model, result.level, str(result.width), *(f"{score:+.3f}" for score in scores)]


def as_dict(report: Report) -> dict[str, Any]:
    """The same as JSON, with versions and hashes of the weights."""
    versions = {"sdpose": sdpose_core.__version__}
    versions |= {name: package_version(name) for name in ("torch", "diffusers", "scikit-learn", "numpy")}
    results = [
        {
            "network": result.model,
            "level": result.level,
            "channels": result.width,
            "silhouette_by_person": result.by_person,
            "silhouette_by_style": result.by_style,
            "tsne_silhouette_by_person": result.plane_by_person,
            "tsne_silhouette_by_style": result.plane_by_style,
        }
        for result in report.results
    ]
    return {"settings": report.settings, "versions": versions, "networks": list(report.models), "results": results}
