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

_FROM_ELSEWHERE: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("attn_implementation", "_attn_implementation"), (None, "eager", "sdpa")),
    "quantization_config": (None,),
    "use_pretrained_backbone": (None, False),
}
"""Entries for which transformers may fetch weights or programs, and the values for which it does not."""


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
    from transformers.utils.hub import extract_commit_hash

    file = cached_file(name, "config.json", local_files_only=offline)
    if file is None:  # some versions say so instead of raising
        raise OSError("no config.json")
    refuse_elsewhere(read_json(str(file)), name)
    config = AutoConfig.from_pretrained(name, local_files_only=offline, trust_remote_code=False)  # None would ask
    config._commit_hash = extract_commit_hash(str(file), None)  # some versions leave it out
    return config


def refuse_elsewhere(entries: Any, name: str) -> None:
    """Raise `CheckpointError` if a configuration makes its library fetch or run something from elsewhere."""
    for part in _objects(entries):
        odd = [key for key, plain in _FROM_ELSEWHERE.items() if part.get(key) not in plain]
        for key in [*odd, *(["backbone"] if _names_a_backbone(part) else [])]:
            raise CheckpointError(
                f"{name}: its config.json names the {key.strip('_')} {shown(part[key])}, which is not part of it: "
                "expected a model that is whole"
            )


def _names_a_backbone(part: Mapping[str, Any]) -> bool:
    """Whether a backbone is named by its place, or without a description: it would be looked up."""
    if not isinstance(name := part.get("backbone"), str):
        return False
    described = part.get("backbone_config") is not None or part.get("model_type") == "timm_backbone"
    return bool({"/", ":"} & {*name}) or not described


def commit_of(config: Any) -> str:
    """The commit that a configuration came from, "main" for a folder, so that all files are of one commit.

    With "main", transformers asks a converter elsewhere for weights that a repository has only as a pickle.
    """
    return getattr(config, "_commit_hash", None) or "main"


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """All objects of a JSON value, at most as deep as Python reads it."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
        if isinstance(found, dict | list):
            waiting += found.values() if isinstance(found, dict) else found
