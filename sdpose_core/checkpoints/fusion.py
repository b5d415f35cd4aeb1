"""How a checkpoint fuses levels and reconstructs latents, by the names of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..model.config import FEATURE_LEVELS, GATED, POSE_PASS, RGB_PASS, SUM, USUAL, SDPoseConfig
from ..tensor_files import Shapes
from . import names as keys

_SUMMED, _AGGREGATED = "head.fusion.{}.weight", keys.AGGREGATION + "projections.{}.weight"


def fused_levels(shapes: Shapes) -> list[str]:
    """The levels that a head fuses, in the order F1 to F4; [] for a head of one level."""
    return _levels_with(shapes, _SUMMED) or _levels_with(shapes, _AGGREGATED)


def fusion_of(shapes: Shapes, levels: Any, stored: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Aggregation and reconstruction, by the tensors under our names.

    Args:
        levels: of the configuration, or asked for.
        stored: the configuration, or parts of it; the reconstruction is read from it if the file has no layers for it.
        path: of the checkpoint, for messages.

    Raises `CheckpointError`: the configuration says otherwise, or the file aggregates other levels.
    """
    gated = any(name.startswith(keys.AGGREGATION) for name in shapes)
    from_pose = any(name.startswith(keys.RECONSTRUCTION) for name in shapes)
    found = {
        "aggregation": GATED if gated else SUM,
        "reconstruction": POSE_PASS if from_pose else stored.get("reconstruction", RGB_PASS),
    }
    for name, value in found.items():
        if (said := stored.get(name, value)) != value:
            advice = "the file is damaged or was edited: get the weights again"
            raise CheckpointError(
                f"{path}: {name} {said!r:.60} by its configuration, {value!r} by its tensors: {advice}"
            )
    if gated:
        _check_levels(_levels_with(shapes, _AGGREGATED), levels, path)
    return found


def _check_levels(aggregated: Sequence[str], levels: Any, path: Path) -> None:
    """An aggregation only works with its own levels. Raises `CheckpointError`."""
    if sorted(map(str, levels)) != sorted(aggregated):
        asked = ", ".join(map(str, levels))
        raise CheckpointError(
            f"{path} aggregates {', '.join(aggregated) or 'no known level'} and cannot be read at {asked:.60}: leave "
            "out the feature level, or choose a checkpoint of that level"
        )


def _levels_with(shapes: Shapes, name: str) -> list[str]:
    """The levels whose tensor of this name is there."""
    return [level for level in FEATURE_LEVELS if name.format(level) in shapes]


def described_levels(config: SDPoseConfig) -> str:
    """ "F1", "F1, F2", "F1, F2 (gated)" or "the cross-attention of F1", for messages."""
    levels = ", ".join(config.feature_levels)
    if config.reads_attention:
        return f"the cross-attention of {levels}"
    return levels if config.aggregation == SUM else f"{levels} ({config.aggregation})"


def is_usual(config: SDPoseConfig) -> bool:
    """Whether the model makes the choices of the released ones, so that their readers know its layers."""
    return all(getattr(config, name) == value for name, value in USUAL.items())
