"""Writes the weights of a run, for inference, and their model card."""

from __future__ import annotations

import json

from sdpose_core.checkpoints.adapters import merged_state
from sdpose_core.checkpoints.layouts import save_adapter, save_checkpoint
from sdpose_core.model.devices import DTYPES
from sdpose_training.environment import git_commit
from sdpose_training.fit.folder import RunFolder
from sdpose_training.fit.lora import own_tensors, plain_names
from sdpose_training.fit.model_card import write_model_card
from sdpose_training.fit.setup import Parts
from sdpose_training.fit.state import Progress
from sdpose_training.recipe.recipe import Recipe


def write_weights(folder: RunFolder, name: str, recipe: Recipe, parts: Parts, progress: Progress) -> None:
    """Write RUN/weights/NAME.safetensors and the model card; with LoRA also RUN/adapters/NAME.safetensors.

    All processes take part; the main one writes.
    """
    state = parts.accelerator.get_state_dict(parts.trained)  # the parameters, not copies
    if not parts.accelerator.is_main_process:
        return
    state = plain_names(state)
    commit = git_commit() or "unknown"
    metrics = progress.metrics if progress.metrics_step == progress.step else {}
    metadata = {"training_step": progress.step, "recipe": recipe.name, "seed": recipe.seed}
    metadata |= {"started_from": parts.start.origin, "git_commit": commit, "metrics": json.dumps(metrics)}
    dtype = DTYPES[recipe.checkpoints.weights_dtype]
    if parts.adapter:
        save_adapter(
            own_tensors(parts.model, state, parts.start.new), parts.adapter, parts.model.config,
            folder.adapters / f"{name}.safetensors", dtype=dtype, metadata=metadata,
        )  # fmt: skip
        state = merged_state(state, parts.adapter.scale)
    save_checkpoint(
        {**state, **parts.start.kept}, parts.model.config, folder.weights / f"{name}.safetensors",
        dtype=dtype, metadata=metadata,
    )  # fmt: skip
    write_model_card(
        folder.weights, recipe, parts.model.config, origin=parts.start.origin, data_sets=parts.data_sets,
        progress=progress, commit=commit,
    )  # fmt: skip
