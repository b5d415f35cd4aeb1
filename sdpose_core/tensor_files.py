"""Reads tensors by name from safetensors files, and from pickles for conversion."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import texts
from .errors import CheckpointError, InputError, one_line

if TYPE_CHECKING:
    import torch

Fits = Callable[[Sequence[str]], bool]
Shapes = Mapping[str, tuple[int, ...]]
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
WHOLE_FILE = "."
"""Name of the entry of tensors that lie in no entry."""

_ZIP_START = b"PK\x03\x04"
_PICKLE_STARTS = (_ZIP_START, b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_NO_WEIGHTS = ("optim", "lr_sched", "sched", "scaler", "rng", "callback", "loop")
"""What the entries of a training state begin with that hold tensors, but no weights."""

_UNFINISHED = (".incomplete", ".part", ".tmp", ".crdownload")
_LFS_POINTER = b"version https://git-lfs"
# torch's restricted loader raises these for harmful, damaged and other files: it interprets any bytes.
_UNPICKLING_ERRORS = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError,
)  # fmt: skip


@dataclass(frozen=True)
class Tensors:
    """Tensors of one or more files: shapes by name, `read(name)`, the text entries of the files, notes on which tensors
    these are, and the entry of a pickle that they are from."""

    shapes: Shapes
    read: Callable[[str], torch.Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    entry: str = WHOLE_FILE


@contextmanager
def open_tensors(
    *paths: Path, pickles: bool = False, entry: str | None = None, fits: Fits = lambda names: True
) -> Iterator[Tensors]:
    """The tensors of several safetensors files (and of pickles, if allowed), by content, whatever their suffix.

    Args:
        entry, fits: see `read_pickle`.

    Raises `CheckpointError`.
    """
    from safetensors import SafetensorError, safe_open

    with ExitStack() as stack:
        shapes: dict[str, tuple[int, ...]] = {}
        metadata: dict[str, str] = {}
        readers: dict[str, Callable[[str], torch.Tensor]] = {}
        notes: tuple[str, ...] = ()
        taken = WHOLE_FILE
        for path in paths:
            if kind_of(path) == "pickle":
                if not pickles:
                    raise _pickle_refused(path)
                found = read_pickle(path, entry, fits)
                shapes |= found.shapes
                readers |= dict.fromkeys(found.shapes, found.read)
                notes, taken = notes + found.notes, found.entry
                continue
            try:
                file = stack.enter_context(safe_open(path, framework="pt"))
                names = list(file.keys())
            except (SafetensorError, OSError) as error:
                raise CheckpointError(
                    f"{path} cannot be read as safetensors ({error}): it is damaged or incomplete; download it again"
                ) from None
            metadata |= file.metadata() or {}
            for name in names:
                shapes[name] = tuple(file.get_slice(name).get_shape())
                readers[name] = file.get_tensor
        yield Tensors(shapes, lambda name: readers[name](name), dict(sorted(metadata.items())), notes, taken)


def kind_of(path: Path) -> Literal["safetensors", "pickle"]:
    """The kind of a weights file, by its content; the suffix only counts for a damaged one.

    Raises `CheckpointError` if it is missing, unfinished, empty, or of another kind.
    """
    suffix = path.suffix.lower()
    if not os.path.exists(path):
        raise CheckpointError(f"{path}: no such file")
    if not os.path.isfile(path):
        raise CheckpointError(f"{path} is not a file: expected a .safetensors file")
    if suffix in _UNFINISHED:
        raise CheckpointError(f"{path} is an unfinished download: let the download finish (it resumes)")
    with path.open("rb") as handle:
        start = handle.read(64)
    if start.startswith(_LFS_POINTER):
        raise CheckpointError(f"{path} is a git-lfs pointer, not the weights: run 'git lfs pull'")
    if not start:
        raise CheckpointError(f"{path} is empty: download it again")
    if start[8:9] != b"{" and start.lstrip().startswith((b"<", b"{")):
        raise CheckpointError(f"{path} is a text, such as the error page of a failed download: download it again")
    if start[8:9] == b"{" or suffix == ".safetensors" and not start.startswith(_PICKLE_STARTS):
        return "safetensors"  # the length of its header, and the header, which is JSON
    if start.startswith(_ZIP_START):
        _check_zip(path)
    if start.startswith(_PICKLE_STARTS) or suffix in PICKLES:
        return "pickle"
    raise CheckpointError(
        f"{path}: expected a .safetensors file or a folder, found a {path.suffix or 'bare'} file that begins with "
        f"{start[:12]!r}"
    )


def _check_zip(path: Path) -> None:
    """Raise `CheckpointError` for a zip file that is none of torch's pickles."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        raise CheckpointError(f"{path} is damaged or incomplete: download it again") from None
    if any("/code/" in name for name in names):
        raise CheckpointError(f"{path} is a TorchScript model, which cannot be read: use the weights it was made from")
    if not any(name.endswith("/data.pkl") for name in names):
        raise CheckpointError(f"{path} is a zip file with {some(names)}: unpack it, and choose the checkpoint in it")


def _pickle_refused(path: Path) -> CheckpointError:
    stem = path.name.removesuffix(".tar").rpartition(".")[0] or path.name
    stem += "_converted" if path.suffix.lower() == ".safetensors" else ""
    return CheckpointError(
        f"{path} is a pickle, which can run code when it is opened: convert it with 'sdpose convert "
        f"{path.name} {stem}.safetensors' and use the result"
    )


def read_pickle(path: Path, entry: str | None = None, fits: Fits = lambda names: True) -> Tensors:
    """The tensors of a pickle, read by torch's restricted loader: no code is run.

    The tensors may lie in an entry, as in {"model": ..., "optimizer": ...}; the notes name it.

    Args:
        entry: its name, such as "ema" or "state.model"; None: the only one that has weights.
        fits: says by the names of its tensors whether an entry can be meant, if there are several.

    Raises `CheckpointError`: it is refused, has no weights, or several sets of weights.
    """
    content = _unpickled(path)
    found = dict(_state_dicts(content))
    if entry in found:
        found = {entry: found[entry]}
    if len(found) > 1:
        found = {name: state for name, state in found.items() if fits(list(state))} or found
    if not found:
        raise CheckpointError(f"{path} has no weights: it holds {_contents(content)}")
    if len(found) > 1:
        raise several_sets(path, list(found))
    [(name, tensors)] = found.items()
    state = {key: value.contiguous() for key, value in tensors.items()}
    notes = () if name == WHOLE_FILE else (f"the tensors are from its entry {name!r}",)
    return Tensors(
        {key: tuple(value.shape) for key, value in state.items()}, state.__getitem__, notes=notes, entry=name
    )


def several_sets(path: Path, names: Sequence[str]) -> CheckpointError:
    """The error for a file with several sets of weights."""
    return CheckpointError(
        f"{path} has several sets of weights: {', '.join(names)}; choose one with 'sdpose convert ... --entry NAME'"
    )


def _unpickled(path: Path) -> Any:
    import torch

    try:
        with path.open("rb") as file:  # of a path, torch would look at the suffix
            return torch.load(file, map_location="cpu", weights_only=True)
    except _UNPICKLING_ERRORS as error:
        if named := re.search(r"GLOBAL ([\w.]+)", str(error)):  # as torch names it
            raise CheckpointError(
                f"{path} holds an object of the class {named.group(1)}: it is refused, as loading it "
                "could run code; where you trust it, save its state_dict() alone with torch.save, and use that file"
            ) from None
        raise CheckpointError(
            f"{path} is not a plain pickle of tensors ({one_line(error)}): it is refused, as loading it could run code"
        ) from None


def _state_dicts(content: Any, at: str = "") -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """The sets of named tensors in a pickle's content, by entry ("model", "state.model"), without optimizers'."""
    import torch

    if not isinstance(content, Mapping):
        return
    named = {key: value for key, value in content.items() if isinstance(key, str)}
    tensors = {key: value for key, value in named.items() if isinstance(value, torch.Tensor)}
    if any(value.ndim for value in tensors.values()):  # numbers alone are counters
        yield at or WHOLE_FILE, tensors
    for key, value in named.items():
        if not key.lower().startswith(_NO_WEIGHTS):
            yield from _state_dicts(value, f"{at}.{key}" if at else key)


def _contents(content: Any) -> str:
    """What a pickle holds, for a message: "epoch (int), args (dict)"."""
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    return some([f"{key} ({type(value).__name__})" for key, value in content.items()]) or "nothing"


def files_of(folder: Path, stem: str, pickles: bool = False) -> list[Path]:
    """The files of a diffusers model: one safetensors, a variant (fp16), shards with an index, or a pickle if allowed.

    Raises `CheckpointError` if there is none, or a shard is missing.
    """
    whole = [*folder.glob(f"{stem}.safetensors"), *sorted(folder.glob(f"{stem}.*.safetensors"))]
    if whole:
        return whole[:1]
    for index in sorted(folder.glob(f"{stem}*.safetensors.index*.json")):
        files = read_json(index).get("weight_map")
        names = sorted({str(name) for name in files.values()}) if isinstance(files, dict) else []
        missing = [name for name in names if not os.path.exists(folder / name)]
        if missing or not names:
            raise CheckpointError(f"{index} names {', '.join(missing) or 'no files'}, missing in {folder}")
        return [folder / name for name in names]
    found = sorted(folder.glob(f"{stem}*.bin"))
    if found and pickles:
        return found[:1]
    convert = f"sdpose convert {folder.parent.name} {folder.parent.name}.safetensors"
    hint = f" (found {found[0].name}, a pickle: convert the folder with '{convert}')" if found else ""
    raise CheckpointError(f"{folder}: expected {stem}.safetensors, or its shards{hint}")


def read_json(path: Path) -> dict:
    """The JSON object in a file. Raises `CheckpointError`."""
    try:
        content = texts.read_json(path, "a JSON object")
    except InputError as error:
        raise CheckpointError(str(error)) from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def shape_problems(expected: Shapes, found: Shapes) -> str:
    """How the tensors found differ from the expected ones, by name; "" if they do not."""
    wrong = [f"{n} {found[n]} instead of {shape}" for n, shape in expected.items() if found.get(n, shape) != shape]
    missing, unexpected = [n for n in expected if n not in found], [n for n in found if n not in expected]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
    return "; ".join(f"{kind}: {some(names)}" for kind, names in kinds if names)


def some(names: Sequence[str], max_shown: int = 3) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - max_shown} more" if len(names) > max_shown else ""
    return ", ".join(names[:max_shown]) + more
