"""Reads a file of annotations, whichever tool wrote it."""

from __future__ import annotations

import os
import zipfile
import zlib
from fractions import Fraction
from pathlib import Path, PurePosixPath

from ..errors import InputError, counted, one_line, reading, restated
from ..files import ZIP, kind_of, open_regular
from ..names import is_hidden
from ..poses import PoseSequence
from ..texts import MAX_BYTES, decode_text, parse_json
from .coco import from_annotations, from_results, is_coco, is_results
from .cvat import read_cvat
from .found import Found, to_sequence

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""Raised by `zipfile` for damaged, encrypted and unknown archives."""

EXPECTED = "COCO keypoints (annotations or results), CVAT's XML, a ZIP with one of them, or OpenPose JSON"


def import_poses(
    path: str | Path, *, size: tuple[int, int] | None = None, frame_rate: Fraction | None = None
) -> PoseSequence | None:
    """The annotations of a file as a sequence; None for JSON of another kind, such as OpenPose's.

    Args:
        path: COCO keypoints (annotations or results), CVAT's XML, or a ZIP archive with one of them.
        size, frame_rate: see `to_sequence`.

    `meta["notes"]` says what was guessed. Raises `InputError` for other files, and for damage.
    """
    path = Path(path)
    found = _found(path)
    if found is None:
        return None
    with restated(path):
        return to_sequence(found, size=size, frame_rate=frame_rate, source=path.name)


def _found(path: Path) -> Found | None:
    name, content = str(path), _content(path)
    if kind_of(path) == ZIP:
        name, content = _member(path)
    start = content[:200].lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")
    if start.startswith(b"<"):
        with restated(name):
            return read_cvat(content)
    if not start.startswith((b"{", b"[")):
        raise InputError(f"{name} is {kind_of(path) or 'of an unknown kind'}: expected {EXPECTED}")
    parsed = parse_json(decode_text(content, name), name)
    with restated(name):
        if is_coco(parsed):
            return from_annotations(parsed)
        return from_results(parsed) if is_results(parsed) else None


def _content(path: Path) -> bytes:
    """The bytes of a file; of an archive none. Raises `InputError` for more than `MAX_BYTES`."""
    if kind_of(path) == ZIP:
        return b""
    with reading(path), open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise InputError(f"{path} has more than {MAX_BYTES:,} bytes: split it")
        return file.read()


def _member(path: Path) -> tuple[str, bytes]:
    """The name, for messages, and the bytes of the annotations in an archive.

    Raises `InputError` if there are none or several, and for a damaged archive.
    """
    try:
        with reading(path), open_regular(path) as handle, zipfile.ZipFile(handle) as archive:
            infos = [info for info in archive.infolist() if _is_annotation(info.filename)]
            listed = ", ".join(info.filename for info in infos[:4])
            if len(infos) != 1:
                found = f"{counted(len(infos), 'file')} of annotations" + (f" ({listed})" if infos else "")
                raise InputError(f"{path} has {found}, expected one .xml or .json: unpack it, and import one by one")
            with archive.open(infos[0]) as file:
                content = file.read(MAX_BYTES + 1)
    except _DAMAGE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is a damaged archive ({one_line(error)}): get it again") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: {listed} has more than {MAX_BYTES:,} bytes: split it")
    return f"{path}: {listed}", content


def _is_annotation(name: str) -> bool:
    file = PurePosixPath(name)
    return file.suffix.lower() in (".xml", ".json") and not is_hidden(Path(name))
