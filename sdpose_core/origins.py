"""What an output was made from, so that no result of another file, or of other settings, is taken for it.

A `.pose.npz` keeps its origin in `meta["origin"]`: the source (size and SHA-256 of its bytes, never its name) and the
settings that determine the poses. Everything drawn or written from it carries a mark: the SHA-256 of the `.pose.npz`
and the settings of the drawing. So each output can be followed back to its source.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .dependencies import require
from .errors import InputError
from .files import sha256_of
from .images import DAMAGE, open_picture
from .resumable import first_difference, plain
from .version import __version__

MARK = "sdpose-annotator"
"""Key of the mark in a PNG's text; the comment of a video begins with it."""

SAMPLES, SAMPLE_BYTES = 256, 4096
"""Blocks of a weights file that its fingerprint covers: two trained models differ in nearly every block."""


class OtherOrigin(InputError):
    """An existing output belongs to another source, or was made with other settings."""


@dataclass(frozen=True)
class Origin:
    """What poses are made from.

    Attributes:
        source: see `file_identity` and `folder_identity`.
        settings: every setting that determines the poses, JSON-able.
    """

    source: Mapping[str, Any]
    settings: Mapping[str, Any]

    def as_meta(self) -> dict[str, Any]:
        """For `meta["origin"]` of the poses."""
        return plain({"source": self.source, "settings": self.settings})

    def difference(self, meta: Mapping[str, Any]) -> str | None:
        """Why poses with this `meta` are of another origin; None if they are of this one."""
        found = meta.get("origin")
        if not isinstance(found, Mapping):
            return "it does not say what it was made from"
        if found.get("source") != plain(self.source):
            return f"it was made from another file ({_size(found.get('source'))}, this one has {_size(self.source)})"
        other = first_difference(found.get("settings"), plain(self.settings))
        return f"it was made with other settings ({other})" if other else None

    def refuse_other(self, meta: Mapping[str, Any], file: Path) -> None:
        """Raise `OtherOrigin` if `file`, whose poses have this `meta`, is of another origin."""
        if difference := self.difference(meta):
            raise OtherOrigin(f"{file} exists, but {difference}: use --overwrite to replace it, or another folder")


def _size(source: Any) -> str:
    if not isinstance(source, Mapping) or "bytes" not in source:
        return "unknown"
    return (f"{source['files']} files, " if "files" in source else "") + f"{source['bytes']:,} bytes"


def file_identity(path: str | Path) -> dict[str, Any]:
    """{"bytes", "sha256"} of a file. Raises `InputError` if it cannot be read."""
    try:
        return {"bytes": os.path.getsize(path), "sha256": sha256_of(path)}
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None


def folder_identity(files: Sequence[Path]) -> dict[str, Any]:
    """{"files", "bytes", "sha256"} of the pictures of a clip, in their order: of their names and content."""
    digest, size = hashlib.sha256(), 0
    for file in files:
        identity = file_identity(file)
        size += identity["bytes"]
        digest.update(os.fsencode(file.name) + b"\0" + identity["sha256"].encode())
    return {"files": len(files), "bytes": size, "sha256": digest.hexdigest()}


def weights_fingerprint(path: str | Path) -> dict[str, Any]:
    """{"name", "bytes", "sample"} of a weights file or folder: a hash of blocks spread over it, as reading it takes
    seconds. Raises `InputError` if it cannot be read."""
    path = Path(path)
    digest, size = hashlib.sha256(), 0
    try:
        parts = sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]
        for part in parts:
            length = part.stat().st_size
            size += length
            with open(part, "rb") as file:
                for number in range(SAMPLES):
                    file.seek(number * max(length - SAMPLE_BYTES, 0) // (SAMPLES - 1))
                    digest.update(file.read(SAMPLE_BYTES))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    return {"name": path.name, "bytes": size, "sample": digest.hexdigest()}


# --- marks ---------------------------------------------------------------------------------------------------------


def mark_of(poses: Path | None, drawing: Mapping[str, Any]) -> dict[str, Any]:
    """The mark of a file drawn or written from the `.pose.npz` at `poses` (None: it is not in a file)."""
    return plain({"poses": sha256_of(poses) if poses else None, "drawing": drawing})


def mark_text(mark: Mapping[str, Any]) -> str:
    """A mark as text, for a PNG or the comment of a video."""
    return f"{MARK} {__version__} {json.dumps(mark, sort_keys=True)}"


def parse_mark(text: Any) -> dict[str, Any] | None:
    """The reverse of `mark_text`; None for any other text, {} for a mark whose content is damaged."""
    if not isinstance(text, str) or not text.startswith(f"{MARK} "):
        return None
    try:
        mark = json.loads(text.split(" ", 2)[2])
    except (ValueError, IndexError):
        return {}
    return mark if isinstance(mark, dict) else {}


def read_mark(path: str | Path) -> dict[str, Any] | None:
    """The mark of a PNG, an MP4 or MKV, or an OpenPose JSON; None if it has none, or is missing or unreadable."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".png":
        return _png_mark(path)
    if suffix in (".mp4", ".mkv"):
        return _video_mark(path)
    return _json_mark(path) if suffix == ".json" else None


def _png_mark(path: Path) -> dict[str, Any] | None:
    from PIL import Image

    try:
        with open_picture(path) as image:
            return parse_mark(image.info.get(MARK))
    except (*DAMAGE, Image.DecompressionBombError):
        return None


def _video_mark(path: Path) -> dict[str, Any] | None:
    av = require("av", "reading videos")
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            texts = {name.lower(): text for name, text in container.metadata.items()}
            return parse_mark(texts.get("comment"))
    except (av.error.FFmpegError, OSError, ValueError):
        return None


def _json_mark(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return parse_mark(content.get(MARK)) if isinstance(content, dict) else None
