"""Reads tensors by name from safetensors files, and from pickles for conversion."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CheckpointError, one_line

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, tuple[int, ...]]
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_UNFINISHED = (".incomplete", ".part", ".tmp", ".crdownload")
_LFS_POINTER = b"version https://git-lfs"
# torch's restricted loader raises these for harmful, damaged and other files: it interprets any bytes.
_UNPICKLING_ERRORS = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError,
)  # fmt: skip


@dataclass(frozen=True)
class Tensors:
    """Tensors of one or more files: shapes by name, `read(name)`, and the text entries of the files."""

    shapes: Shapes
    read: Callable[[str], torch.Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def open_tensors(*paths: Path, pickles: bool = False) -> Iterator[Tensors]:
    """The tensors of several safetensors files (and of pickles, if allowed). Raises `CheckpointError`."""
    from safetensors import SafetensorError, safe_open

    with ExitStack() as stack:
        shapes: dict[str, tuple[int, ...]] = {}
        metadata: dict[str, str] = {}
        readers: dict[str, Callable[[str], torch.Tensor]] = {}
        for path in paths:
            if pickles and path.suffix in PICKLES and path.is_file():
                found = read_pickle(path)
                shapes |= found.shapes
                readers |= dict.fromkeys(found.shapes, found.read)
                continue
            check_file(path)
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
        yield Tensors(shapes, lambda name: readers[name](name), metadata)


def check_file(path: Path) -> None:
    """Raise `CheckpointError` if `path` cannot be a complete safetensors file."""
    if not path.exists():
        raise CheckpointError(f"{path}: no such file")
    if path.suffix in _UNFINISHED:
        raise CheckpointError(f"{path} is an unfinished download: let the download finish (it resumes)")
    if path.suffix in PICKLES:
        raise CheckpointError(
            f"{path} is a pickle, which can run code when it is opened: convert it with 'sdpose convert "
            f"{path.name} {path.stem}.safetensors' and use the result"
        )
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: expected a .safetensors file or a folder, found a {path.suffix or 'bare'} file")
    with path.open("rb") as handle:
        start = handle.read(len(_LFS_POINTER))
    if start == _LFS_POINTER:
        raise CheckpointError(f"{path} is a git-lfs pointer, not the weights: run 'git lfs pull'")
    if not start:
        raise CheckpointError(f"{path} is empty: download it again")


def read_pickle(path: Path) -> Tensors:
    """The tensors of a pickle, read by torch's restricted loader: no code is run."""
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNPICKLING_ERRORS as error:
        raise CheckpointError(
            f"{path} is not a plain pickle of tensors ({one_line(error)}): it is refused, as loading it could run code"
        ) from None
    while isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    state = {k: v.contiguous() for k, v in content.items() if isinstance(v, torch.Tensor)} if content else {}
    if not state:
        raise CheckpointError(f"{path} has no tensors")
    return Tensors({name: tuple(value.shape) for name, value in state.items()}, state.__getitem__)


def files_of(folder: Path, stem: str, pickles: bool = False) -> list[Path]:
    """The files of a diffusers model: one safetensors, a variant (fp16), shards with an index, or a pickle if allowed.

    Raises `CheckpointError` if there is none, or a shard is missing.
    """
    whole = [*folder.glob(f"{stem}.safetensors"), *sorted(folder.glob(f"{stem}.*.safetensors"))]
    if whole:
        return whole[:1]
    for index in sorted(folder.glob(f"{stem}*.safetensors.index*.json")):
        names = sorted(set(read_json(index).get("weight_map", {}).values()))
        missing = [name for name in names if not (folder / name).exists()]
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
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from None
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
