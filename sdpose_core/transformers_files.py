"""Configurations of models in transformers' layout: read so that nothing beyond their own folder is fetched or run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from .errors import CheckpointError, DownloadError
from .network import endpoint, is_hub_name, need_network, quiet_client, shown
from .texts import read_json

log = logging.getLogger(__name__)

T = TypeVar("T")

_NAMES_OF_OTHERS = ("backbone", "attn_implementation", "_attn_implementation")
"""Entries that transformers may look up on the hub, whatever it was told about the network."""


def damage() -> tuple[type[Exception], ...]:
    """What transformers raises for a missing or damaged file, or a configuration with odd values."""
    from huggingface_hub import errors
    from safetensors import SafetensorError

    strict = getattr(errors, "StrictDataclassError", OSError)  # newer versions have it
    return OSError, ValueError, RuntimeError, AttributeError, ImportError, KeyError, TypeError, SafetensorError, strict


def from_cache_or_hub(load: Callable[..., T], name: str, *, download: bool) -> T:
    """`load(name, offline=...)`: from a folder or the hub's local cache, else from the hub, if that is allowed.

    Raises `DownloadError` as `load`, for a name that is no hub name, and if the user has forbidden downloads.
    """
    try:
        with quiet_client(offline=True):
            return load(name, offline=True)
    except DownloadError:
        if not download or not is_hub_name(name):
            raise
    need_network(repr(name))
    log.info("%s: from %s", name, endpoint())
    with quiet_client(offline=False):
        return load(name, offline=False)


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
