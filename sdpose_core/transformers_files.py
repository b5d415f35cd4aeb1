"""Configurations of models in transformers' layout: read so that nothing beyond their own folder is fetched or run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .errors import CheckpointError
from .network import shown
from .texts import read_json

_NAMES_OF_OTHERS = ("backbone", "attn_implementation", "_attn_implementation")
"""Entries that transformers may look up on the hub, whatever it was told about the network."""


def damage() -> tuple[type[Exception], ...]:
    """What transformers raises for a missing or damaged file, or a configuration with odd values."""
    from huggingface_hub import errors
    from safetensors import SafetensorError

    strict = getattr(errors, "StrictDataclassError", OSError)  # newer versions have it
    return OSError, ValueError, RuntimeError, AttributeError, ImportError, KeyError, TypeError, SafetensorError, strict


def read_config(name: str, *, offline: bool) -> Any:
    """transformers' configuration of a folder, or of a name on the hub; `offline`: only of its local cache.

    Raises `damage`, or `CheckpointError` if it needs something from elsewhere. Code of a repository never runs.
    """
    from transformers import AutoConfig
    from transformers.utils import cached_file

    entries = read_json(str(cached_file(name, "config.json", local_files_only=offline)))
    for part in _objects(entries):
        for key in _NAMES_OF_OTHERS:
            if isinstance(value := part.get(key), str) and ({"/", ":"} & {*value} or _is_alone(part, key)):
                raise CheckpointError(
                    f"{name}: its config.json names the {key.strip('_')} {shown(value)}, which is not part of it: "
                    "expected a model that is whole"
                )
    return AutoConfig.from_pretrained(name, local_files_only=offline, trust_remote_code=False)  # None would ask


def _is_alone(part: Mapping[str, Any], key: str) -> bool:
    """Whether a backbone is named, but not described: its name would be looked up."""
    return key == "backbone" and part.get("backbone_config") is None and part.get("model_type") != "timm_backbone"


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """All objects of a JSON value, at most as deep as Python reads it."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
        if isinstance(found, dict | list):
            waiting += found.values() if isinstance(found, dict) else found
