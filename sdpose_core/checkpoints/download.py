"""Downloads the published checkpoints from the Hugging Face hub, and archives: resumable, verified and recorded.

Written by hand, around the hub client's `http_get`, so that a download reports its progress, can be canceled at any
chunk, and resumes in the target folder. What the hub lists is checked first, see `hub.py`.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..errors import DownloadError, InputError, counted, did_you_mean, reason_of, restated
from ..files import atomic_write, sha256_of
from ..folders import FolderKind
from ..names import fitted_name, name_limit
from ..network import endpoint, need_https, need_network
from .archives import ARCHIVES, KnownArchive, is_unpacked, unpack
from .hub import RemoteFile, hub_errors, list_files
from .published import KNOWN, UNFINISHED, home
from .records import RECORD, read_record

log = logging.getLogger(__name__)


_PARTS = FolderKind("an unfinished download", ("*.part",))


class _TooMuch(Exception):
    """A server sends more than it said."""


@dataclass(frozen=True)
class Plan:
    """What a download will fetch.

    Attributes:
        name: "body", "wholebody", ...
        repo, revision: the source; the revision is a commit.
        files: the files that are needed.
        license: one line.
        target: folder for the files.
        entry: the path to load afterwards.
        archive: the archive that the entry is in; None: the files come from the hub.
    """

    name: str
    repo: str
    revision: str
    files: tuple[RemoteFile, ...]
    license: str
    target: Path
    entry: Path
    archive: KnownArchive | None = None

    @property
    def size(self) -> int:
        """Total bytes."""
        return sum(file.size for file in self.files)

    def describe(self) -> str:
        """Source, size, target and license, as lines of text."""
        files = counted(len(self.files), "file")
        which = self.revision[:12] if self.archive is None else f"SHA-256 {self.revision[:12]}…"
        return (
            f"{self.name}: {files}, {size_text(self.size)}\n"
            f"from {self.repo} at {which}\nto {self.target}\nlicense: {self.license}"
        )


def size_text(count: int) -> str:
    """Bytes as "3.26 GB" or "30 MB"."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def plan(name: str, to: str | Path | None = None) -> Plan:
    """Ask the hub what a download consists of.

    Args:
        name: a key of `published.KNOWN` or `archives.ARCHIVES`.
        to: target folder; None: a folder in `published.home()`.

    Raises:
        InputError: an unknown name.
        DownloadError: offline, no such repository, no answer, or one that cannot be trusted.
    """
    if name not in (names := (*KNOWN, *ARCHIVES)):
        raise InputError(
            f"unknown download {name!r}: {did_you_mean(name, names) or 'choose one of ' + ', '.join(names)}"
        )
    target = Path(to) if to is not None else home() / name
    if name in ARCHIVES:
        return _plan_archive(name, ARCHIVES[name], target)
    known = KNOWN[name]
    need_network(known.repo)
    listing = list_files(known, target, RECORD)
    entry = next((file.name for file in listing.files if Path(file.name).name == known.entry), known.entry)
    return Plan(name, known.repo, listing.commit, listing.files, known.license, target, target / entry)


def _plan_archive(name: str, known: KnownArchive, target: Path) -> Plan:
    need_network(known.url)
    need_https(known.url)
    file = RemoteFile(known.url.rpartition("/")[2], known.size, known.sha256)
    return Plan(name, known.url, known.sha256, (file,), known.license, target, target / known.entry, known)


def download(
    name: str,
    to: str | Path | None = None,
    *,
    on_plan: Callable[[Plan], None] | None = None,
    on_bytes: Callable[[int, int], None] | None = None,
) -> Path:
    """Download a published checkpoint; keeps finished files, resumes unfinished ones. Returns the path to load.

    Args:
        name, to: see `plan`.
        on_plan: called before the download; may raise to refuse it.
        on_bytes: called with (bytes done, total bytes); may raise to stop.

    Raises:
        InputError: an unknown name.
        DownloadError: offline, refused, interrupted, a full disk, or a wrong checksum; names that leave the target, or
            links in it that would be written through.
    """
    planned = plan(name, to)
    if on_plan:
        on_plan(planned)
    before = read_record(planned.target)
    archive = planned.archive
    if archive is not None and is_unpacked(archive, planned.entry):
        return planned.entry
    missing = [file for file in planned.files if not _is_here(file, planned, before)]
    _refuse_links(planned, [file.name for file in missing] + ([] if archive is None else [archive.entry]))
    needed = sum(file.size - _length(_part(file, planned)) for file in missing)
    _need_space(planned, needed + (0 if archive is None else archive.entry_size))
    report = on_bytes or (lambda _done, _total: None)
    finished = planned.size - sum(file.size for file in missing)
    for file in missing:
        _fetch(file, planned, report, finished)
        finished += file.size
        report(finished, planned.size)
    if archive is not None:
        fetched = planned.target / planned.files[0].name
        unpack(archive, fetched, planned.target / UNFINISHED / f"{archive.entry}.part", planned.entry)
        fetched.unlink()
    with restated(None, DownloadError):
        _PARTS.remove(planned.target / UNFINISHED)
        _write_record(planned)
    return planned.entry


def _refuse_links(planned: Plan, missing: list[str]) -> None:
    """Raise `DownloadError` if a file would be written through a link, or the unfinished files are not only ours."""
    with restated(None, DownloadError):
        _PARTS.check(planned.target / UNFINISHED)
    for name in (*missing, RECORD):
        path = planned.target / name
        for place in (path, *list(path.parents)[: name.count("/")]):
            if place.is_symlink():
                raise DownloadError(
                    f"{place} is a link to {os.readlink(place)}: nothing is written through it; remove it, or choose "
                    "another folder"
                )


def _fetch(file: RemoteFile, planned: Plan, report: Callable[[int, int], None], finished: int) -> None:
    """Download or resume one file, verify it, then rename it."""
    part, path = _part(file, planned), planned.target / file.name
    with hub_errors(planned.repo, file.name):
        part.parent.mkdir(parents=True, exist_ok=True)
        if file.sha256 is None or _length(part) > file.size:
            part.unlink(missing_ok=True)  # cannot tell whether it belongs to this file
        try:
            _transfer(file, part, planned, lambda length: report(finished + length, planned.size))
            problem = _mismatch(part, file)
        except _TooMuch:
            problem = f"more than the stated {file.size:,} bytes arrived"
        if problem:
            part.unlink()
            raise DownloadError(
                f"{planned.repo}/{file.name}: {problem}; the file was removed: try again, or another mirror"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, path)


def _transfer(file: RemoteFile, part: Path, planned: Plan, on_length: Callable[[int], None]) -> None:
    """Fetch what `part` lacks.

    `hf_hub_download` is not used: since huggingface-hub 1.x it does not resume in a new process.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    if planned.archive is None:
        url = hf_hub_url(planned.repo, file.name, revision=planned.revision, endpoint=endpoint())
        headers = build_hf_headers()
    else:
        url, headers = planned.archive.url, {}  # the hub's token is not for others
    with open(part, "ab") as handle:
        if handle.tell() < file.size:
            http_get(
                url,
                cast("BinaryIO", _Watched(handle, file.size, on_length)),
                resume_size=handle.tell(),
                headers={**headers, "Accept-Encoding": "identity"},
                expected_size=file.size,
            )


def _part(file: RemoteFile, planned: Plan) -> Path:
    """The unfinished file; its name has the checksum, so that a changed file is not resumed."""
    ending = f".{(file.sha256 or planned.revision)[:16]}.part"
    name = fitted_name(file.name.replace("/", "--"), name_limit(planned.target) - len(ending))
    return planned.target / UNFINISHED / (name + ending)


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class _Watched:
    """A file that reports its length after each write, and raises `_TooMuch` instead of growing beyond its size."""

    def __init__(self, handle: BinaryIO, size: int, on_length: Callable[[int], None]) -> None:
        self._handle, self._size, self._on_length = handle, size, on_length

    def write(self, data: bytes) -> int:
        if self._handle.tell() + len(data) > self._size:
            raise _TooMuch
        written = self._handle.write(data)
        self._on_length(self._handle.tell())
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


def _mismatch(path: Path, file: RemoteFile) -> str | None:
    """How a file differs from the hub's, or None."""
    if path.stat().st_size != file.size:
        return f"{path.stat().st_size} bytes arrived, expected {file.size}"
    if file.sha256 and (found := sha256_of(path)) != file.sha256:
        return f"its SHA-256 is {found[:16]}…, expected {file.sha256[:16]}…"
    return None


def _is_here(file: RemoteFile, planned: Plan, before: dict[str, Any]) -> bool:
    """Whether a file is already there, verified by an earlier run or now."""
    path = planned.target / file.name
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    same = before.get("revision") == planned.revision and before["files"].get(file.name) == _entry(file)
    return same or (file.sha256 is not None and _mismatch(path, file) is None)


def _entry(file: RemoteFile) -> dict[str, Any]:
    """A file as it is recorded."""
    return {"size": file.size, "sha256": file.sha256}


def _write_record(planned: Plan) -> None:
    content = {
        "name": planned.name,
        "repo": planned.repo,
        "revision": planned.revision,
        "licence": planned.license,
        "downloaded": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "files": {file.name: _entry(file) for file in planned.files},
    }
    if planned.archive is not None:
        content["unpacked"] = {planned.archive.entry: planned.archive.entry_sha256}
    with atomic_write(planned.target / RECORD, "w") as handle:
        json.dump(content, handle, indent=2)


def _need_space(planned: Plan, needed: int) -> None:
    try:
        planned.target.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(planned.target).free
    except OSError as error:
        raise DownloadError(f"cannot write to {planned.target}: {reason_of(error)}") from None
    if free < needed:
        raise DownloadError(
            f"{planned.target} has {size_text(free)} free, {size_text(needed)} are needed: free up space or choose "
            "another folder"
        )
