"""Reads tensors by name from safetensors files, and from pickles for conversion."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import texts
from .errors import CheckpointError, one_line, reading, restated
from .files import why_missing
from .names import path_inside

if TYPE_CHECKING:
    import torch

    State = dict[str, torch.Tensor]

Fits = Callable[[Sequence[str]], bool]
Shapes = Mapping[str, tuple[int, ...]]
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
WHOLE_FILE = "."
"""Name of the entry of tensors that lie in no entry."""

MAX_HEADER = 16 << 20
"""Bytes of a safetensors header, and of a JSON file beside weights; that of a whole Stable Diffusion has 0.2 MB."""

MAX_NAME = 500
"""Characters of a tensor's name."""

_MAX_DEPTH = 16
"""Entries within entries that are searched for weights in a pickle."""

_ZIP_START = b"PK\x03\x04"
_PICKLE_STARTS = (_ZIP_START, b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_NO_WEIGHTS = ("optim", "lr_sched", "sched", "scaler", "rng", "callback", "loop")
"""What the entries of a training state begin with that hold tensors, but no weights."""

_UNFINISHED = (".incomplete", ".part", ".tmp", ".crdownload")
_LFS_POINTER = b"version https://git-lfs"
# torch's restricted loader raises these for harmful, damaged and other files: it interprets any bytes.
_UNPICKLING_ERRORS = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError,
    ArithmeticError, AssertionError, MemoryError, struct.error,
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
    with ExitStack() as stack:
        shapes: dict[str, tuple[int, ...]] = {}
        metadata: dict[str, str] = {}
        readers: dict[str, Callable[[str], torch.Tensor]] = {}
        notes: tuple[str, ...] = ()
        taken = WHOLE_FILE
        for path in paths:
            if kind_of(path) == "safetensors":
                found = _read_safetensors(path, stack)
            elif pickles:
                found = read_pickle(path, entry, fits)
                notes, taken = notes + found.notes, found.entry
            else:
                raise _pickle_refused(path)
            if long := next((name for name in found.shapes if len(name) > MAX_NAME), None):
                raise CheckpointError(f"{path}: a tensor's name has {len(long)} characters, expected up to {MAX_NAME}")
            shapes |= found.shapes
            metadata |= found.metadata
            readers |= dict.fromkeys(found.shapes, found.read)
        yield Tensors(shapes, lambda name: readers[name](name), dict(sorted(metadata.items())), notes, taken)


def _read_safetensors(path: Path, stack: ExitStack) -> Tensors:
    """The tensors of a safetensors file, which is open until `stack` ends. Raises `CheckpointError`."""
    from safetensors import SafetensorError, safe_open

    @contextmanager
    def undamaged() -> Iterator[None]:
        try:
            yield
        except (SafetensorError, OSError, AttributeError) as error:  # AttributeError: a number type that torch lacks
            raise CheckpointError(
                f"{path} cannot be read as safetensors ({one_line(error)}): it is damaged or incomplete; download it "
                "again"
            ) from None

    with undamaged():
        with path.open("rb") as start:
            length = int.from_bytes(start.read(8), "little")
        if length > MAX_HEADER and length < path.stat().st_size:  # safetensors names one beyond the file
            raise CheckpointError(f"{path}: its header has {length} bytes, expected up to {MAX_HEADER}: it is damaged")
        file = stack.enter_context(safe_open(path, framework="pt"))
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        metadata = file.metadata() or {}

    def read(name: str) -> torch.Tensor:
        with undamaged():
            return file.get_tensor(name)

    return Tensors(shapes, read, metadata)


def kind_of(path: Path) -> Literal["safetensors", "pickle"]:
    """The kind of a weights file, by its content; the suffix only counts for a damaged one.

    Raises `CheckpointError` if it is missing, unfinished, empty, or of another kind.
    """
    suffix = path.suffix.lower()
    if missing := why_missing(path):
        raise CheckpointError(f"{path}: {missing.removesuffix(' or folder')}")
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file: expected a .safetensors file")
    if suffix in _UNFINISHED:
        raise CheckpointError(f"{path} is an unfinished download: let the download finish (it resumes)")
    with reading(path, CheckpointError), path.open("rb") as handle:
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


def all_finite(values: torch.Tensor) -> bool:
    """Whether a tensor holds no NaN and no infinity."""
    import torch

    known = values if values.dtype.itemsize > 1 else values.float()  # fp8 has no minimum
    return not (values.is_floating_point() and values.numel()) or bool(torch.stack(known.aminmax()).isfinite().all())


def starts_as_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a header, and the header, which is JSON."""
    try:
        if not path.is_file():  # a pipe would wait
            return False
        with path.open("rb") as handle:
            head = handle.read(9)
        return head[8:] == b"{" and int.from_bytes(head[:8], "little") <= MAX_HEADER  # not a text with a brace there
    except OSError:
        return False


def _check_zip(path: Path) -> None:
    """Raise `CheckpointError` for a zip file that torch did not write."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            size = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise CheckpointError(f"{path} is damaged or incomplete: download it again") from None
    if any("/code/" in name for name in names):
        raise CheckpointError(f"{path} is a TorchScript model, which cannot be read: use the weights it was made from")
    if not any(name.endswith("/data.pkl") for name in names):
        raise CheckpointError(f"{path} is a zip file with {some(names)}: unpack it, and choose the checkpoint in it")
    if size > 2 * path.stat().st_size:
        raise CheckpointError(f"{path} is compressed, {size} bytes in all: expected a file as torch.save writes it")


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
    [(name, state)] = found.items()
    _check_amount(path, state)
    notes = () if name == WHOLE_FILE else (f"the tensors are from its entry {name!r}",)
    return Tensors(
        {key: tuple(value.shape) for key, value in state.items()},
        lambda key: state[key].contiguous(), notes=notes, entry=name,
    )  # fmt: skip


def _check_amount(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Raise `CheckpointError` for tensors that are far larger than their file: views that repeat a few numbers."""
    size, amount = path.stat().st_size, sum(value.numel() * value.dtype.itemsize for value in state.values())
    if amount > 4 * size + MAX_HEADER:
        raise CheckpointError(f"{path}: its tensors would take {amount} bytes, the file has {size}: it is damaged")


def several_sets(path: Path, names: Sequence[str]) -> CheckpointError:
    """The error for a file with several sets of weights."""
    return CheckpointError(
        f"{path} has several sets of weights: {some(names, 8)}; choose one with 'sdpose convert ... --entry NAME'"
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


def _state_dicts(content: Any, at: tuple[str, ...] = (), seen: set[int] | None = None) -> Iterator[tuple[str, State]]:
    """The sets of named tensors in a pickle's content, by entry ("model", "state.model"), without optimizers'.

    `seen` are the entries that were searched: one may hold itself.
    """
    import torch

    seen = set() if seen is None else seen
    if not isinstance(content, Mapping) or id(content) in seen or len(at) > _MAX_DEPTH:
        return
    seen.add(id(content))
    named = {key: value for key, value in content.items() if isinstance(key, str)}
    tensors = {key: value for key, value in named.items() if isinstance(value, torch.Tensor)}
    if any(value.ndim for value in tensors.values()):  # numbers alone are counters
        yield ".".join(at) or WHOLE_FILE, tensors
    for key, value in named.items():
        if not key.lower().startswith(_NO_WEIGHTS):
            yield from _state_dicts(value, (*at, key), seen)


def _contents(content: Any) -> str:
    """What a pickle holds, for a message: "epoch (int), args (dict)"."""
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    names = [key[:60] if isinstance(key, str) else f"a {type(key).__name__}" for key in content]
    return some([f"{n} ({type(v).__name__})" for n, v in zip(names, content.values(), strict=True)]) or "nothing"


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
        with restated(None, CheckpointError):
            shards = [path_inside(folder, name, f"{index} names") for name in names]
        missing = [path.name for path in shards if not path.is_file()]
        if missing or not shards:
            raise CheckpointError(f"{index} names {some(missing) or 'no files'}, missing in {folder}")
        return shards
    found = sorted(folder.glob(f"{stem}*.bin"))
    if found and pickles:
        return found[:1]
    convert = f"sdpose convert {folder.parent.name} {folder.parent.name}.safetensors"
    hint = f" (found {found[0].name}, a pickle: convert the folder with '{convert}')" if found else ""
    raise CheckpointError(f"{folder}: expected {stem}.safetensors, or its shards{hint}")


def read_json(path: Path) -> dict:
    """The JSON object in a file. Raises `CheckpointError`."""
    if not path.is_file() or path.stat().st_size > MAX_HEADER:
        raise CheckpointError(f"{path}: expected a file of up to {MAX_HEADER} bytes with a JSON object")
    with restated(None, CheckpointError):
        return texts.read_json(path, "a JSON object", dict)


def shape_problems(expected: Shapes, found: Shapes) -> str:
    """How the tensors found differ from the expected ones, by name; "" if they do not."""
    wrong = [f"{n} {found[n]} instead of {shape}" for n, shape in expected.items() if found.get(n, shape) != shape]
    missing, unexpected = [n for n in expected if n not in found], [n for n in found if n not in expected]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
    return "; ".join(f"{kind}: {some(names)}" for kind, names in kinds if names)


def some(names: Sequence[str], max_shown: int = 3, separator: str = ", ") -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - max_shown} more" if len(names) > max_shown else ""
    return separator.join(names[:max_shown]) + more
