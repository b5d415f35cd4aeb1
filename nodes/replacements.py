"""Saved graphs of other packs: where a pack is not installed, ComfyUI offers our nodes in place of its nodes.

ComfyUI never replaces a node that is installed. The page asks first; a prompt sent by a program is changed at once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from comfy_api.latest import io

from .annotate import Annotate
from .load import LoadModel

log = logging.getLogger(__name__)

DWPOSE_SWITCH = "SDPOSE_REPLACE_DWPOSE"
"""Environment variable; 1: also offer our node for DWPose Estimator, instead of the pack that has it."""


@dataclass(frozen=True)
class Replacement:
    """One of our nodes for those of another pack.

    Attributes:
        new: our node.
        old_ids: ids under which the other node is known.
        old_widgets: its widgets in their order, as saved graphs have their values without names.
        inputs: our input -> theirs, whose connection or value it takes. A prompt without it cannot be replaced.
        outputs: our output -> the number of theirs.
        chosen: our inputs that are left to the user, because their values are files of this machine.
    """

    new: type[io.ComfyNode]
    old_ids: tuple[str, ...]
    old_widgets: tuple[str, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, int]
    chosen: tuple[str, ...] = field(default=())


COMMUNITY = (
    Replacement(
        LoadModel,
        ("SDPoseOODLoader", "NewSDPoseOODLoader"),
        ("model_type", "unet_precision", "device", "unload_on_finish"),
        {"dtype": "unet_precision"},
        {"model": 0},
        chosen=("model",),
    ),
    Replacement(
        Annotate,
        ("SDPoseOODProcessor", "NewSDPoseOODProcessor"),
        (
            "score_threshold", "overlay_alpha", "batch_size", "prompt", "gd_threshold", "save_for_editor",
            "filename_prefix_edit", "keep_face", "keep_hands", "keep_feet", "scale_for_xinsr",
        ),
        {"model": "sdpose_model", "image": "images", "threshold": "score_threshold"},
        {"pose_map": 0, "keypoints": 1},
    ),
)  # fmt: skip
"""For ComfyUI-SDPose-OOD and the fork with New in its ids. Detectors are left out: our node has its own.
Its switches of the parts too: a value goes over unchanged, and `parts` is one choice."""

DWPOSE = Replacement(
    Annotate,
    ("DWPreprocessor",),
    (
        "detect_hand", "detect_body", "detect_face", "resolution", "bbox_detector", "pose_estimator",
        "scale_stick_for_xinsr_cn",
    ),
    {"image": "image"},
    {"pose_map": 0, "keypoints": 1},
)  # fmt: skip


def wanted() -> tuple[Replacement, ...]:
    """The replacements to register."""
    return (*COMMUNITY, DWPOSE) if os.environ.get(DWPOSE_SWITCH) == "1" else COMMUNITY


async def register_replacements() -> None:
    """Tell ComfyUI. A version that cannot replace nodes is left alone."""
    try:
        from comfy_api.latest import ComfyAPI

        register = ComfyAPI().node_replacement.register
        entries = [entry for replacement in wanted() for entry in entries_of(replacement)]
    except (ImportError, AttributeError):
        log.info("this ComfyUI cannot replace nodes of other packs in saved graphs")
        return
    for entry in entries:
        await register(entry)


def entries_of(replacement: Replacement) -> Iterator[Any]:
    """An `io.NodeReplace` for each of the old ids.

    What our node requires and theirs does not have gets our default, for prompts that no page has filled in.
    """
    schema = replacement.new.define_schema()
    inputs: list[dict[str, Any]] = [{"new_id": new, "old_id": old} for new, old in replacement.inputs.items()]
    given = {*replacement.inputs, *replacement.chosen}
    inputs += [
        {"new_id": own.id, "set_value": own.default}
        for own in schema.inputs
        if own.id not in given and not own.optional and getattr(own, "default", None) is not None
    ]
    places = {output.id: index for index, output in enumerate(schema.outputs)}
    outputs = [{"new_idx": places[name], "old_idx": old} for name, old in replacement.outputs.items()]
    for old_id in replacement.old_ids:
        yield io.NodeReplace(
            new_node_id=schema.node_id, old_node_id=old_id, old_widget_ids=list(replacement.old_widgets),
            input_mapping=inputs, output_mapping=outputs,
        )  # fmt: skip
