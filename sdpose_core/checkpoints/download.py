"""Fetching the known checkpoints from the Hugging Face hub: only when asked, resumable, verified, recorded."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..errors import DownloadError, InputError
from ..files import atomic_write, sha256_of
from .published import KNOWN, UNFINISHED, KnownCheckpoint, home

RECORD = "sdpose_download.json"
_SAFE = (".safetensors", ".json", ".md", ".txt", "")


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository: its name, size in bytes, and SHA-256 (None for small text files)."""

    name: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Plan:
    """What a download will fetch, known before a byte of it is.

    Attributes:
        name: "body", "wholebody", ...
        repo, revision: where from; the revision is a commit.
        files: what is needed.
        license: one line.
        target: folder for the files.
        entry: what to open afterwards.
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
        """Bytes in all."""
        return sum(file.size for file in self.files)

    def describe(self) -> str:
        """Where from, how much, where to, and the license, as lines of text."""
        return (
            f"{self.name}: {len(self.files)} files, {self.size / 1e9:.2f} GB\n"
            f"from {self.repo} at {self.revision[:12]}\ninto {self.target}\nlicense: {self.license}"
        )


def plan(name: str, to: str | Path | None = None) -> Plan:
    """Ask the hub what a download consists of.

    Args:
        name: a key of `published.KNOWN`.
        to: folder for it; None: a folder of its own in `published.home()`.

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
        raise DownloadError(f"{known.repo} at {info.sha} holds none of the expected files ({', '.join(known.files)})")
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
    """Fetch a known checkpoint; finished files are kept, unfinished ones resumed.

    Args:
        name, to: see `plan`.
        on_plan: called before anything is fetched; may raise to refuse.
        on_bytes: called with (bytes done, bytes in all) while fetching; may raise to stop.

    Returns:
        What to open.

    Raises:
        InputError: an unknown name.
        DownloadError: offline, refused, broken off, a full disk, or other bytes than the hub promises.
    """
    made = plan(name, to)
    if on_plan:
        on_plan(made)
    before = _record(made.target)
    missing = [file for file in made.files if not _is_here(file, made, before)]
    _need_space(made, sum(file.size - _length(_part(file, made)) for file in missing))
    report = on_bytes or _ignore
    finished = made.size - sum(file.size for file in missing)
    for file in missing:
        _fetch(file, made, partial(_report_part, report, finished, made.size))
        finished += file.size
        report(finished, made.size)
    shutil.rmtree(made.target / UNFINISHED, ignore_errors=True)
    _write_record(made)
    return made.entry


def _ignore(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


def _report_part(report: Callable[[int, int], None], before: int, total: int, length: int) -> None:
    report(before + length, total)


def _needed(known: KnownCheckpoint, siblings: list[Any]) -> Iterator[RemoteFile]:
    """The files worth fetching: of the wanted patterns, no pickles, and of several variants the plain one."""
    names = {sibling.rfilename for sibling in siblings}
    for sibling in siblings:
        name = sibling.rfilename
        wanted = any(fnmatch.fnmatch(name, pattern) for pattern in known.files)
        if not wanted or Path(name).suffix not in _SAFE or _has_plain_twin(name, names):
            continue
        lfs = sibling.lfs
        digest = getattr(lfs, "sha256", None) if lfs is not None else None
        yield RemoteFile(name, int(sibling.size or 0), digest)


def _has_plain_twin(name: str, names: set[str]) -> bool:
    """Whether `x.fp16.safetensors` stands beside `x.safetensors`."""
    path = Path(name)
    plain = path.with_name(f"{path.name.partition('.')[0]}{path.suffix}").as_posix()
    return plain != name and plain in names


def _fetch(file: RemoteFile, made: Plan, on_length: Callable[[int], None]) -> None:
    """One file, going on where an earlier attempt stopped; it gets its name once its bytes are verified.

    Not by `hf_hub_download`: since huggingface-hub 1.x that starts a file again in each process.
    """
    part = _part(file, made)
    part.parent.mkdir(parents=True, exist_ok=True)
    if file.sha256 is None or _length(part) > file.size:
        part.unlink(missing_ok=True)  # nothing tells whether the rest would fit
    with _hub_errors(made.repo, file.name), open(part, "ab") as handle:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        if handle.tell() < file.size or not file.size:
            http_get(
                hf_hub_url(made.repo, file.name, revision=made.revision, endpoint=_endpoint()),
                cast("BinaryIO", _Watched(handle, on_length)),
                resume_size=handle.tell(),
                headers={**build_hf_headers(), "Accept-Encoding": "identity"},
                expected_size=file.size or None,
            )
    if problem := _mismatch(part, file):
        part.unlink()
        raise DownloadError(f"{made.repo}/{file.name}: {problem}; the file is removed, try again or another mirror")
    (made.target / file.name).parent.mkdir(parents=True, exist_ok=True)
    os.replace(part, made.target / file.name)


def _part(file: RemoteFile, made: Plan) -> Path:
    """Where the bytes of a file gather; the name holds what they are to become."""
    return made.target / UNFINISHED / f"{file.name.replace('/', '--')}.{(file.sha256 or made.revision)[:16]}.part"


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class _Watched:
    """A file that says how long it is whenever something was written to it."""

    def __init__(self, handle: BinaryIO, on_length: Callable[[int], None]) -> None:
        self._handle, self._on_length = handle, on_length

    def write(self, data: bytes) -> int:
        written = self._handle.write(data)
        self._on_length(self._handle.tell())
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


def _mismatch(path: Path, file: RemoteFile) -> str | None:
    """How a file on disk differs from what the hub says, or None."""
    if file.size and path.stat().st_size != file.size:
        return f"{path.stat().st_size} bytes arrived, the hub says {file.size}"
    if file.sha256 and (found := sha256_of(path)) != file.sha256:
        return f"its SHA-256 is {found[:16]}…, the hub says {file.sha256[:16]}…"
    return None


def _is_here(file: RemoteFile, made: Plan, before: dict[str, Any]) -> bool:
    """Whether a file need not be fetched: verified by an earlier run, or now."""
    path = made.target / file.name
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    recorded = before.get("files", {}).get(file.name, {})
    same = before.get("revision") == made.revision and recorded.get("sha256") == file.sha256
    return same or (file.sha256 is not None and _mismatch(path, file) is None)


def _record(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def downloaded_from(path: Path) -> str:
    """ " (repository at revision)" of a checkpoint that `download` fetched; else nothing."""
    record = _record(path if path.is_dir() else path.parent)
    return f" ({record['repo']} at {record['revision']})" if {"repo", "revision"} <= record.keys() else ""


def _write_record(made: Plan) -> None:
    content = {
        "name": made.name,
        "repo": made.repo,
        "revision": made.revision,
        "licence": made.license,
        "downloaded": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "files": {file.name: {"size": file.size, "sha256": file.sha256} for file in made.files},
    }
    with atomic_write(made.target / RECORD, "w") as handle:
        json.dump(content, handle, indent=2)


def _need_network(known: KnownCheckpoint) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            raise DownloadError(f"{known.repo} is not fetched: {name} is set; unset it, or copy the files by hand")


def _need_space(made: Plan, needed: int) -> None:
    try:
        made.target.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(made.target).free
    except OSError as error:
        raise DownloadError(f"cannot write to {made.target}: {error.strerror or error}") from None
    if free < needed:
        raise DownloadError(
            f"{made.target} has {free / 1e9:.2f} GB free, {needed / 1e9:.2f} GB are needed: make room or use --to"
        )


def _endpoint() -> str | None:
    """The hub or its mirror; read at each call, as the hub's own library reads it only when it is imported."""
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def _hub_errors(repo: str, file: str = "") -> Iterator[None]:
    """The hub's and the network's errors as one line that says what to do."""
    from huggingface_hub import errors

    where = f"{repo}/{file}" if file else repo
    try:
        yield
    except errors.GatedRepoError:
        raise DownloadError(f"{where} is gated: accept its terms on the hub, then log in ('hf auth login')") from None
    except errors.RepositoryNotFoundError:
        raise DownloadError(f"{where}: the hub knows no such repository, or an expired token hides it") from None
    except (errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise DownloadError(f"{where}: not on the hub ({_line(error)})") from None
    except OSError as error:  # the network's errors and a full disk; the hub's own HTTP errors among them
        raise DownloadError(f"{where} could not be fetched ({_line(error)}); run the same again to resume") from None
    except _network_errors() as error:
        raise DownloadError(f"{where} could not be fetched ({_line(error)}); run the same again to resume") from None


def _network_errors() -> tuple[type[Exception], ...]:
    """Errors of the HTTP library that this version of huggingface-hub uses, as far as they are no OSError."""
    from importlib import import_module, util

    found: list[type[Exception]] = []
    for library in ("httpx", "httpx2"):
        if util.find_spec(library):
            found.append(import_module(library).HTTPError)
    return tuple(found)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
