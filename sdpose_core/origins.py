"""What an output was made from, so that no result of another file, or of other settings, is taken for it.

A `.pose.npz` keeps its origin in `meta["origin"]`: the source (size and SHA-256 of its bytes, never its name) and the
settings that determine the poses. Everything drawn or written from it carries a mark: the SHA-256 of the `.pose.npz`
and the settings of the drawing. So each output can be followed back to its source.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .containers import open_container
from .dependencies import require
from .errors import InputError, reading
from .files import clean_once, is_sealed, open_regular, sha256_of
from .folders import FolderKind
from .images import of_picture
from .poses import PoseSequence
from .resumable import first_difference, plain, settings_hash
from .texts import parse_json, read_json
from .version import __version__

MARK = "sdpose-annotator"
"""Key of the mark in a PNG's text; the comment of a video begins with it."""

_CONTENT = f"{MARK}-sha256"
"""Key of the SHA-256 of a JSON file's content."""

_VIDEOS = (".mp4", ".mkv", ".webm", ".gif")

DRAWINGS = (
    "_pose.png", "_keypoints.json", "_overlay.png", "_compare.png",
    *(f"_{what}{suffix}" for what in ("kps", "kps_play", "overlay", "compare") for suffix in _VIDEOS),
)  # fmt: skip
"""What NAME.pose.npz may have beside it, drawn or written from it: the ends of the names, after NAME."""

T = TypeVar("T")

AUTO = "auto"
"""The dtype of a request that leaves it to the machine."""

_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

SAMPLES, SAMPLE_BYTES = 256, 4096
"""Blocks of a weights file that its fingerprint covers: two trained models differ in nearly every block."""


INSTEAD = "use --overwrite to replace it, or another folder"
"""What to do about a file that is in the way."""


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
        """Why poses with this `meta` are of another origin; None if they are of this one.

        Who asks for any dtype takes what "auto" chose on any machine; who asks for one also takes what "auto" computed
        in it.
        """
        found = meta.get("origin")
        if not isinstance(found, Mapping) or not isinstance(settings := found.get("settings"), Mapping):
            return "it does not say what it was made from"
        if "retarget" in meta:
            return "its poses were fitted to a character"
        if found.get("source") != plain(self.source):
            return f"it was made from another file ({_compared(found.get('source'), self.source)})"
        if (as_video := "clean" in settings) != ("clean" in self.settings):
            return f"it was annotated as a {'video' if as_video else 'picture'}"
        asked = plain(self.settings)
        other = first_difference(_with_dtype(settings, meta, asked), asked)
        return f"it was made with other settings ({other})" if other else None

    def refuse_other(self, meta: Mapping[str, Any], file: Path) -> None:
        """Raise `OtherOrigin` if `file`, whose poses have this `meta`, is of another origin."""
        if difference := self.difference(meta):
            raise OtherOrigin(f"{file} exists, but {difference}: {INSTEAD}")

    def refuse_other_source(self, meta: Mapping[str, Any], file: Path) -> None:
        """Raise `OtherOrigin` if `file` is of another source, whatever its settings."""
        found = meta.get("origin")
        if not isinstance(found, Mapping) or found.get("source") != plain(self.source):
            self.refuse_other(meta, file)

    def is_of_source(self, source: Mapping[str, Any]) -> bool:
        """Whether `source` is still the same: it may have been replaced meanwhile."""
        return plain(self.source) == plain(source)


def dtype_name(dtype: Any) -> str:
    """torch's name of a dtype, as in the `meta` of results; "auto" for None."""
    name = AUTO if dtype is None else str(dtype).removeprefix("torch.")
    return _DTYPES.get(name, name)


def _with_dtype(settings: Mapping[str, Any], meta: Mapping[str, Any], asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of poses with this `meta`, where a dtype "auto" is what computed them if a dtype is asked for.

    Files that were written before the names were torch's have None for "auto", or "fp32".
    """
    estimator, wanted = _part(settings, "estimator"), _part(_part(asked, "estimator"), "dtype")
    if wanted is None or not isinstance(estimator, Mapping) or "dtype" not in estimator:
        return settings
    found, computed = dtype_name(estimator["dtype"]), _part(_part(meta, "settings"), "dtype")
    if AUTO == found != wanted and computed is not None:
        found = computed if computed == wanted else f"{AUTO}: {computed}"
    return {**settings, "estimator": {**estimator, "dtype": found}}


def _part(tree: Any, name: str) -> Any:
    return tree.get(name) if isinstance(tree, Mapping) else None


def _compared(found: Any, source: Mapping[str, Any]) -> str:
    """Both sizes of two sources, or that only the content differs."""
    before, now = _size(found), _size(source)
    return f"{before}, this one has {now}" if before != now else f"of the same size, {now}, with other content"


def _size(source: Any) -> str:
    if not isinstance(source, Mapping) or "bytes" not in source:
        return "unknown"
    return (f"{source['files']} files, " if "files" in source else "") + f"{source['bytes']:,} bytes"


def file_identity(path: str | Path) -> dict[str, Any]:
    """{"bytes", "sha256"} of a file. Raises `InputError` if it cannot be read."""
    with reading(path):
        return {"bytes": os.path.getsize(path), "sha256": sha256_of(path)}


def folder_identity(files: Sequence[Path]) -> dict[str, Any]:
    """{"files", "bytes", "sha256"} of the pictures of a clip, in their order: of their names and content."""
    digest, size = hashlib.sha256(), 0
    for file in files:
        identity = file_identity(file)
        size += identity["bytes"]
        digest.update(os.fsencode(file.name) + b"\0" + identity["sha256"].encode())
    return {"files": len(files), "bytes": size, "sha256": digest.hexdigest()}


def weights_fingerprint(files: Sequence[Path]) -> dict[str, Any]:
    """{"bytes", "sample"} of the files of a model, in their order: a hash of blocks spread over each, as reading all
    takes seconds. It does not depend on their names. Raises `InputError` if one cannot be read."""
    digest, size = hashlib.sha256(), 0
    for path in files:
        with reading(path), open_regular(path) as file:
            length = os.path.getsize(path)
            size += length
            for number in range(SAMPLES):
                file.seek(number * max(length - SAMPLE_BYTES, 0) // (SAMPLES - 1))
                digest.update(file.read(SAMPLE_BYTES))
    return {"bytes": size, "sample": digest.hexdigest()}


def kept_poses(file: Path) -> PoseSequence | None:
    """The poses in a `.pose.npz` of an earlier run; None if there is none. Raises `InputError` if it is damaged."""
    clean_once(file.parent)
    if not os.path.exists(file):
        return None
    try:
        return PoseSequence.load(file)
    except InputError as error:
        raise InputError(f"{error}: {INSTEAD}") from None


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
        return parse_json(text.split(" ", 2)[2], "the mark", "an object", dict)
    except (InputError, IndexError):
        return {}


def with_mark(content: Mapping[str, Any], mark: str) -> dict[str, Any]:
    """The content of a JSON file with its mark, and the SHA-256 of both."""
    marked = {**content, MARK: mark}
    return {**marked, _CONTENT: settings_hash(marked)}


def _is_unchanged(content: Mapping[str, Any]) -> bool:
    """Whether a JSON file has the content that `with_mark` gave it; files of earlier versions do not say."""
    rest = {key: value for key, value in content.items() if key != _CONTENT}
    return content.get(_CONTENT) in (None, settings_hash(rest))


def read_mark(path: str | Path) -> dict[str, Any] | None:
    """The mark of a PNG, JPEG, GIF, MP4, MKV or WebM, or an OpenPose JSON; None if it has none or cannot be read."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in (".png", ".jpg", ".gif"):
        return of_picture(path, _mark_of_picture, None)
    if suffix in _VIDEOS:
        return _of_video(path, _mark_of_video)
    return _json_mark(path) if suffix == ".json" else None


def marked_files(pattern: str) -> FolderKind:
    """The kind of an exported folder, all of whose files match `pattern` and have a mark."""
    return FolderKind("an exported folder", (pattern,), is_ours=lambda file: read_mark(file) is not None)


def is_drawn(file: Path, mark: Mapping[str, Any]) -> bool:
    """Whether a PNG, video or OpenPose JSON is there, whole, and has this mark; if not, it may be written.

    Raises `OtherOrigin` for a file that has no mark, but is whole: it is somebody's own, or of an earlier version; and
    for JSON that was changed by an editor.
    """
    if not os.path.exists(file):
        return False
    found = read_mark(file)
    if found is None and _is_readable(file):
        raise OtherOrigin(f"{file} exists, but it does not say what it was drawn from: {INSTEAD}")
    if found is not None and file.suffix.lower() == ".json" and not _is_unchanged(read_json(file)):
        raise OtherOrigin(f"{file} was changed after it was written: {INSTEAD}")
    return found == plain(mark) and _is_whole(file)


def refuse_orphans(poses: Path, files: Sequence[Path]) -> None:
    """Raise `OtherOrigin` if one of `files`, to be drawn from `poses`, exists although `poses` does not."""
    for file in files:
        if os.path.exists(file):
            raise OtherOrigin(f"{file} exists, but {poses.name}, from which it was drawn, does not: {INSTEAD}")


def remove_stale(poses: Path, name: str) -> None:
    """Remove the drawings of NAME beside `poses` that were drawn from other poses of this name."""
    digest = sha256_of(poses)
    for end in DRAWINGS:
        file = poses.with_name(f"{name}{end}")
        if os.path.exists(file) and (read_mark(file) or {}).get("poses", digest) not in (digest, None):
            file.unlink()


def _is_readable(file: Path) -> bool:
    """Whether a file is any picture, video or JSON text at all."""
    if file.suffix.lower() == ".png":
        return of_picture(file, lambda _: True, False)
    if file.suffix.lower() != ".json":
        return _of_video(file, lambda container: bool(container.streams)) or False
    try:
        read_json(file)
    except InputError:
        return False
    return True


def _is_whole(file: Path) -> bool:
    """Whether a file with a mark is as it was written, by the checksums of a picture and the seal of a video."""
    suffix = file.suffix.lower()
    if suffix == ".png":
        return of_picture(file, lambda _: True, False) and _is_whole_png(file.read_bytes())
    return suffix not in _VIDEOS or is_sealed(file)


def _is_whole_png(content: bytes) -> bool:
    """Whether all chunks have their checksums, and the last one ends the file. (Pillow skips some.)"""
    place, kind = 8, b""
    while place < len(content) and kind != b"IEND":
        end = place + 8 + int.from_bytes(content[place : place + 4], "big")
        kind = content[place + 4 : place + 8]
        if int.from_bytes(content[end : end + 4], "big") != zlib.crc32(content[place + 4 : end]):
            return False
        place = end + 4
    return kind == b"IEND" and place == len(content)


def _of_video(file: Path, fact: Callable[[Any], T]) -> T | None:
    """`fact` of a video's container; None if it cannot be read."""
    av = require("av", "reading videos")
    try:
        with open_container(file) as container:
            return fact(container)
    except (av.error.FFmpegError, OSError, ValueError):
        return None


def _mark_of_picture(image: Any) -> dict[str, Any] | None:
    comment = image.info.get("comment", b"")  # of a JPEG or GIF
    return parse_mark(image.info.get(MARK) or (comment.decode("utf-8", "replace") if comment else None))


def _mark_of_video(container: Any) -> dict[str, Any] | None:
    texts = {name.lower(): text for name, text in container.metadata.items()}
    return parse_mark(texts.get("comment"))


def _json_mark(path: Path) -> dict[str, Any] | None:
    try:
        content = read_json(path)
    except InputError:
        return None
    return parse_mark(content.get(MARK)) if isinstance(content, dict) else None
