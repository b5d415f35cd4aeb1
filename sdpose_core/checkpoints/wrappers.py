"""Undoes what trainers put around a model: names such as `module._orig_mod.unet...` become `unet...`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import CheckpointError
from ..tensor_files import Tensors, several_sets, some
from . import names as keys

_ANYWHERE = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Added by PyTorch around a model or around a part of it; no part of an SDPose has such a name."""

_IN_FRONT = frozenset(
    {"model", "ema", "ema_model", "model_ema", "online_model", "net", "network", "sdpose", "student", "teacher"}
)
"""Names that trainers give the whole model."""

_COUNTERS = frozenset({"n_averaged", "initted", "step", "num_updates", "decay"})
"""Single numbers that averages of weights keep beside them."""

_KNOWN = ("unet.", "vae.", "head.", keys.COMFY_UNET, keys.COMFY_VAE, keys.TEXT)


def holds_a_head(names: Sequence[str]) -> bool:
    """Whether these can be the tensors of an SDPose."""
    return any("head." in name for name in names)


def unwrapped(tensors: Tensors, path: Path, entry: str | None = None) -> Tensors:
    """The tensors under their names in the model; a note says what was removed.

    Args:
        path: for messages.
        entry: which set of weights to take, if trainers put several in one file, such as "model" and "ema".

    Raises `CheckpointError`: several sets of weights, or two tensors would get the same name.
    """
    names = {name: ".".join(part for part in name.split(".") if part not in _ANYWHERE) for name in tensors.shapes}
    names = {old: new for old, new in names.items() if new not in _COUNTERS or tensors.shapes[old] not in ((), (1,))}
    for front in _fronts(names.values(), path, entry):
        names = {old: new.removeprefix(front) for old, new in names.items() if new.startswith(front)}
    times = Counter(names.values())
    if len(times) < len(names):
        twice = sorted(old for old, new in names.items() if times[new] > 1)
        raise CheckpointError(f"{path} has tensors of the same name in the model: {some(twice)}")
    if list(names) == list(names.values()) and len(names) == len(tensors.shapes):
        return tensors
    old_of = {new: old for old, new in names.items()}
    return replace(
        tensors,
        shapes={new: tensors.shapes[old] for new, old in old_of.items()},
        read=lambda name: tensors.read(old_of[name]),
        notes=(*tensors.notes, _note(names)),
    )


def _fronts(names: Iterable[str], path: Path, entry: str | None) -> Iterator[str]:
    """The names of the model in front of all tensors, from the outside in."""
    names = list(names)
    while found := _wrapping(names):
        if len(found) > 1 and entry not in found:
            raise several_sets(path, sorted(found))
        front = f"{entry if entry in found else min(found)}."
        entry = None if entry in found else entry
        yield front
        names = [name.removeprefix(front) for name in names if name.startswith(front)]
    if entry is not None:
        raise CheckpointError(f"{path} has no set of weights {entry!r}: leave out --entry, or choose one that it has")


def _wrapping(names: Sequence[str]) -> set[str]:
    """The first parts of the names, if none belongs to the model itself: known ones, or one that all have."""
    found = {name.partition(".")[0] for name in names}
    inside = found <= _IN_FRONT or len(found) == 1 and any(f".{known}" in name for name in names for known in _KNOWN)
    return found if inside and not any(name.startswith(_KNOWN) for name in names) else set()


def _note(names: Mapping[str, str]) -> str:
    """By the first name that changed, old -> new."""
    old, new = next((pair for pair in names.items() if pair[0] != pair[1]), ("", ""))
    return f"names of tensors unwrapped, such as {old!r} to {new!r}" if old else "counters beside the tensors left out"
