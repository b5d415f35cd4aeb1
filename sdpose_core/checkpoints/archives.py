"""Models that are published as a .zip at a plain address: one file is taken out of it, verified and tried.

Nothing in an archive decides where a file is written, and no more is unpacked than the model is known to have.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from ..detection.art_detector import ART_DETECTOR, FILE
from ..errors import DownloadError, SDPoseError, one_line, restated
from ..files import sha256_of

_PIECE = 1 << 20


@dataclass(frozen=True)
class KnownArchive:
    """A model in a published archive.

    Attributes:
        url: its address.
        size, sha256: of the archive, in bytes and 64 hex digits.
        member: name of the model's file in the archive, whatever its folder.
        entry: name that the file gets here.
        entry_size, entry_sha256: of that file.
        license: one line.
    """

    url: str
    size: int
    sha256: str
    member: str
    entry: str
    entry_size: int
    entry_sha256: str
    license: str


ARCHIVES: dict[str, KnownArchive] = {
    # OpenMMLab publishes no digests of its archives (the digits in the name are those of the .pth file). These are
    # stated, alike, by several projects that use the file.
    ART_DETECTOR: KnownArchive(
        url="https://download.openmmlab.com/mmpose/v1/projects/rtmposev1/onnx_sdk/"
        "yolox_m_8xb8-300e_humanart-c2c7a14a.zip",
        size=94_223_081,
        sha256="a000224fd8ba283202bc62d4a5fcdfe353adb9f468777dbac1ea2ada2093adde",
        member="end2end.onnx",
        entry=FILE,
        entry_size=101_400_344,
        entry_sha256="3dea6513388889f0fff4b77bf7a26013600321b9eb9ceb0e9a400a82572f5f23",
        license="Apache-2.0 like MMPose, whose authors publish it; trained on Human-Art, whose pictures are given out "
        "for non-commercial purposes. Neither says what that means for the weights: before commercial use, ask or "
        "take another detector",
    ),
}


def is_unpacked(known: KnownArchive, path: Path) -> bool:
    """Whether the model is at `path`, with the right content."""
    return path.is_file() and path.stat().st_size == known.entry_size and sha256_of(path) == known.entry_sha256


def unpack(known: KnownArchive, archive: Path, part: Path, path: Path) -> None:
    """Take the model out of a verified archive into `part`, verify it, load it, then rename it to `path`.

    Raises `DownloadError` if the archive does not hold exactly that model, or if it cannot be loaded here.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with restated(None, DownloadError):
            _extract(known, archive, part)
        _try(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _extract(known: KnownArchive, archive: Path, part: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            info = _member(known, opened, archive)
            with opened.open(info) as source, open(part, "wb") as target:
                digest = _copy(source, target, known.entry_size)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DownloadError(f"{archive.name} cannot be unpacked: {one_line(error)}") from None
    if digest != known.entry_sha256:
        raise DownloadError(
            f"{known.member} of {archive.name}: its SHA-256 is {digest[:16]}…, expected {known.entry_sha256[:16]}…"
        )


def _member(known: KnownArchive, opened: zipfile.ZipFile, archive: Path) -> zipfile.ZipInfo:
    """The one plain file of the model."""
    found = [info for info in opened.infolist() if PurePosixPath(info.filename).name == known.member]
    if len(found) != 1 or found[0].is_dir() or stat.S_ISLNK(found[0].external_attr >> 16):
        raise DownloadError(f"{archive.name} has {len(found)} files {known.member}: expected one plain file")
    if found[0].file_size != known.entry_size:
        raise DownloadError(
            f"{known.member} of {archive.name} has {found[0].file_size:,} bytes: expected {known.entry_size:,}"
        )
    return found[0]


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> str:
    """Copy at most `size` bytes, whatever the archive states; returns their SHA-256."""
    digest = hashlib.sha256()
    while piece := source.read(min(_PIECE, size + 1)):
        size -= len(piece)
        if size < 0:
            raise DownloadError("the archive holds more than it states")
        digest.update(piece)
        target.write(piece)
    return digest.hexdigest()


def _try(path: Path) -> None:
    """Load the detector and run it once."""
    import numpy as np

    from ..detection.yolox import YoloxDetector

    try:
        YoloxDetector(path, name=path.name).detect(np.full((64, 64, 3), 114, np.uint8))
    except SDPoseError as error:
        raise DownloadError(f"the detector was downloaded, but cannot run here: {error}") from None
