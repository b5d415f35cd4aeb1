"""Downloads the published checkpoints from the Hugging Face hub: resumable, verified and recorded.

Written by hand, around the hub client's `http_get`, so that a download reports its progress, can be canceled at any
chunk, and resumes in the target folder.
"""

from __future__ import annotations

import fnmatch
import importlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..dependencies import installed
from ..errors import DownloadError, InputError, counted, one_line
from ..files import atomic_write, sha256_of
from ..texts import read_json
from .published import KNOWN, UNFINISHED, KnownCheckpoint, home

log = logging.getLogger(__name__)

RECORD = "sdpose_download.json"
_SAFE = (".safetensors", ".json", ".md", ".txt", "")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: name, size in bytes, SHA-256 (None for small text files)."""

    name: str
    size: int
    sha256: str | None


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
    """

    name: str
    repo: str
    revision: str
    files: tuple[RemoteFile, ...]
    license: str
    target: Path
    entry: Path

    @property
    def size(self) -> int:
        """Total bytes."""
        return sum(file.size for file in self.files)

    def describe(self) -> str:
        """Source, size, target and license, as lines of text."""
        files = counted(len(self.files), "file")
        return (
            f"{self.name}: {files}, {size_text(self.size)}\n"
            f"from {self.repo} at {self.revision[:12]}\nto {self.target}\nlicense: {self.license}"
        )


def size_text(count: int) -> str:
    """Bytes as "3.26 GB" or "30 MB"."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def plan(name: str, to: str | Path | None = None) -> Plan:
    """Ask the hub what a download consists of.

    Args:
        name: a key of `published.KNOWN`.
        to: target folder; None: a folder in `published.home()`.

    Raises:
        InputError: an unknown name.
        DownloadError: offline, no such repository, no answer.
    """
    if name not in KNOWN:
        raise InputError(f"unknown download {name!r}: choose one of {', '.join(KNOWN)}")
    known = KNOWN[name]
    _need_network(known)
    with _hub_errors(known.repo):
        from huggingface_hub import HfApi

        info = HfApi(endpoint=_endpoint()).model_info(known.repo, revision=known.revision, files_metadata=True)
    files = tuple(_needed(known, info.siblings or []))
    if not any(file.name.endswith(".safetensors") for file in files):
        raise DownloadError(f"{known.repo} at {info.sha} has none of the expected files ({', '.join(known.files)})")
    target = Path(to) if to is not None else home() / name
    entry = next((file.name for file in files if known.entry and Path(file.name).name == known.entry), known.entry)
    return Plan(name, known.repo, str(info.sha), files, known.license, target, target / entry)


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
        DownloadError: offline, refused, interrupted, a full disk, or a wrong checksum.
    """
    planned = plan(name, to)
    if on_plan:
        on_plan(planned)
    before = _record(planned.target)
    missing = [file for file in planned.files if not _is_here(file, planned, before)]
    _need_space(planned, sum(file.size - _length(_part(file, planned)) for file in missing))
    report = on_bytes or (lambda _done, _total: None)
    finished = planned.size - sum(file.size for file in missing)
    for file in missing:
        _fetch(file, planned, report, finished)
        finished += file.size
        report(finished, planned.size)
    shutil.rmtree(planned.target / UNFINISHED, ignore_errors=True)
    _write_record(planned)
    return planned.entry


def _needed(known: KnownCheckpoint, siblings: list[Any]) -> Iterator[RemoteFile]:
    """The files that match the patterns; no pickles, and only the plain one of several variants."""
    names = {sibling.rfilename for sibling in siblings}
    for sibling in siblings:
        name = sibling.rfilename
        wanted = any(fnmatch.fnmatch(name, pattern) for pattern in known.files)
        if not wanted or Path(name).suffix not in _SAFE or _has_plain_twin(name, names):
            continue
        yield RemoteFile(name, int(sibling.size or 0), getattr(sibling.lfs, "sha256", None))


def _has_plain_twin(name: str, names: set[str]) -> bool:
    """Whether the repository also has `x.safetensors` for a name like `x.fp16.safetensors`."""
    path = Path(name)
    plain = path.with_name(f"{path.name.partition('.')[0]}{path.suffix}").as_posix()
    return plain != name and plain in names


def _fetch(file: RemoteFile, planned: Plan, report: Callable[[int, int], None], finished: int) -> None:
    """Download or resume one file, verify it, then rename it.

    `hf_hub_download` is not used: since huggingface-hub 1.x it does not resume in a new process.
    """
    part = _part(file, planned)
    part.parent.mkdir(parents=True, exist_ok=True)
    if file.sha256 is None or _length(part) > file.size:
        part.unlink(missing_ok=True)  # cannot tell whether it belongs to this file
    with _hub_errors(planned.repo, file.name), open(part, "ab") as handle:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        if handle.tell() < file.size or not file.size:
            http_get(
                hf_hub_url(planned.repo, file.name, revision=planned.revision, endpoint=_endpoint()),
                cast("BinaryIO", _Watched(handle, lambda length: report(finished + length, planned.size))),
                resume_size=handle.tell(),
                headers={**build_hf_headers(), "Accept-Encoding": "identity"},
                expected_size=file.size or None,
            )
    if problem := _mismatch(part, file):
        part.unlink()
        raise DownloadError(
            f"{planned.repo}/{file.name}: {problem}; the file was removed: try again, or another mirror"
        )
    (planned.target / file.name).parent.mkdir(parents=True, exist_ok=True)
    os.replace(part, planned.target / file.name)


def _part(file: RemoteFile, planned: Plan) -> Path:
    """The unfinished file; its name has the checksum, so that a changed file is not resumed."""
    return planned.target / UNFINISHED / f"{file.name.replace('/', '--')}.{(file.sha256 or planned.revision)[:16]}.part"


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class _Watched:
    """A file that reports its length after each write."""

    def __init__(self, handle: BinaryIO, on_length: Callable[[int], None]) -> None:
        self._handle, self._on_length = handle, on_length

    def write(self, data: bytes) -> int:
        written = self._handle.write(data)
        self._on_length(self._handle.tell())
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


def _mismatch(path: Path, file: RemoteFile) -> str | None:
    """How a file differs from the hub's, or None."""
    if file.size and path.stat().st_size != file.size:
        return f"{path.stat().st_size} bytes arrived, expected {file.size}"
    if file.sha256 and (found := sha256_of(path)) != file.sha256:
        return f"its SHA-256 is {found[:16]}…, expected {file.sha256[:16]}…"
    return None


def _is_here(file: RemoteFile, planned: Plan, before: dict[str, Any]) -> bool:
    """Whether a file is already there, verified by an earlier run or now."""
    path = planned.target / file.name
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    recorded = before.get("files", {}).get(file.name, {})
    same = before.get("revision") == planned.revision and recorded.get("sha256") == file.sha256
    return same or (file.sha256 is not None and _mismatch(path, file) is None)


def _record(folder: Path) -> dict[str, Any]:
    """What is recorded of an earlier download; {} without a word if there is none, with a warning if it is damaged."""
    path = folder / RECORD
    if not os.path.lexists(path):
        return {}
    try:
        content = read_json(path, "the record of a download")
        files = content["files"].values()
        if all(isinstance(file, dict) for file in files) and isinstance(content["repo"], str):
            return content
    except (InputError, LookupError, TypeError, AttributeError):
        pass
    log.warning("%s is damaged: the files are checked again", path)
    return {}


def downloaded_from(path: Path) -> str:
    """ " (repository at revision)" of a checkpoint that `download` fetched, else ""."""
    record = _record(path if path.is_dir() else path.parent)
    return f" ({record['repo']} at {record['revision']})" if {"repo", "revision"} <= record.keys() else ""


def _write_record(planned: Plan) -> None:
    content = {
        "name": planned.name,
        "repo": planned.repo,
        "revision": planned.revision,
        "licence": planned.license,
        "downloaded": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "files": {file.name: {"size": file.size, "sha256": file.sha256} for file in planned.files},
    }
    with atomic_write(planned.target / RECORD, "w") as handle:
        json.dump(content, handle, indent=2)


def _need_network(known: KnownCheckpoint) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            raise DownloadError(f"{known.repo} cannot be downloaded: {name} is set: unset it or copy the files")


def _need_space(planned: Plan, needed: int) -> None:
    try:
        planned.target.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(planned.target).free
    except OSError as error:
        raise DownloadError(f"cannot write to {planned.target}: {error.strerror or error}") from None
    if free < needed:
        raise DownloadError(
            f"{planned.target} has {size_text(free)} free, {size_text(needed)} are needed: free up space or choose "
            "another folder"
        )


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None  # huggingface_hub reads it only once, at import


@contextmanager
def _hub_errors(repo: str, file: str = "") -> Iterator[None]:
    from huggingface_hub import errors

    where = f"{repo}/{file}" if file else repo
    try:
        yield
    except errors.GatedRepoError:
        raise DownloadError(f"{where} is gated: accept its terms on the hub, then log in ('hf auth login')") from None
    except errors.RepositoryNotFoundError:
        raise DownloadError(f"{where}: no such repository on the hub, or your token has expired") from None
    except (errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise DownloadError(f"{where}: not on the hub ({one_line(error)})") from None
    except _fetch_errors() as error:
        raise DownloadError(f"{where} could not be fetched ({one_line(error)}); run it again to resume") from None


def _fetch_errors() -> tuple[type[Exception], ...]:
    """Errors of network and disk; those of the HTTP libraries that huggingface-hub uses may not be OSErrors."""
    return OSError, *(importlib.import_module(name).HTTPError for name in ("httpx", "httpx2") if installed(name))
