"""Pose models in transformers' layout: from a folder, the local cache or the hub, with one-line errors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from sdpose_core.errors import CheckpointError, DownloadError, one_line
from sdpose_core.transformers_files import commit_of, damage, read_config


def config_of(name: str, model_type: str, *, offline: bool) -> Any:
    """The configuration of a folder or hub name. Raises `CheckpointError` if it is of another model."""
    config = read_config(name, offline=offline)
    if config.model_type != model_type:
        raise CheckpointError(f"{name} is a model of type {config.model_type!r}: expected {model_type!r}")
    return config


def weights_of(name: str, class_name: str, config: Any, *, offline: bool) -> Any:
    """The model in float32, for inference. Raises `CheckpointError` if tensors are missing."""
    import transformers

    model, report = getattr(transformers, class_name).from_pretrained(
        name, config=config, local_files_only=offline, use_safetensors=True, output_loading_info=True,
        revision=commit_of(config),
    )  # fmt: skip
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise CheckpointError(f"{name}: the weights lack tensors ({len(missing)}, the first {missing[0]!r})")
    return model.float().eval()


@contextlib.contextmanager
def explained(name: str, title: str, files: str, *, offline: bool) -> Iterator[None]:
    """What transformers raises in the block becomes one line.

    Args:
        name: folder or hub name.
        title: of the model, such as "ViTPose".
        files: what a folder must have.
        offline: without network.

    Raises: `CheckpointError` for a folder, `DownloadError` for a hub name.
    """
    try:
        yield
    except damage() as error:
        reason = one_line(error)
        if os.path.isdir(name):
            raise CheckpointError(f"{name} cannot be loaded ({reason}): expected {files} of a {title} model") from error
        if offline:
            raise DownloadError(
                f"{name!r} is neither a folder nor complete in the local Hugging Face cache: give the folder of a "
                f"{title} model, or allow the download with --download"
            ) from error
        raise DownloadError(
            f"cannot download {name!r} from the Hugging Face hub ({reason}): check the name and the network"
        ) from error
