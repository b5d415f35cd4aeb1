"""Asks the Hugging Face hub, or a mirror of it, what a repository holds. Nothing is taken from the answer unchecked."""

from __future__ import annotations

import fnmatch
import importlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..dependencies import installed
from ..errors import DownloadError, InputError, SDPoseError, one_line
from ..names import folded, path_inside
from ..network import endpoint, quiet_client, shown
from ..texts import decode_text, parse_json
from .published import KnownCheckpoint

TIMEOUT = 30
"""Seconds without a byte, after which a server counts as not answering."""

MAX_ANSWER = 4 << 20
"""Bytes of a repository's list of files; those of the published checkpoints have some 10,000."""

MAX_FILES = 200
"""Files of a download; the published checkpoints have about 10."""

MAX_BYTES, MAX_TEXT = 50_000_000_000, 10_000_000
"""Bytes of a download, and of each of its files that has no checksum. The largest published one has some 6 GB."""

MAX_NAME = 255
"""Bytes of a file's name with its folders."""

_WEIGHTS = ".safetensors"
_TEXTS = (".json", ".md", ".txt", "")
"""Suffixes of the other files that are fetched; "" is LICENSE. Anything else, such as a pickle, is not."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: name, size in bytes, SHA-256 (None for small text files)."""

    name: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Listing:
    """The files of a repository that are wanted, at a commit of 40 hex digits."""

    commit: str
    files: tuple[RemoteFile, ...]


def list_files(known: KnownCheckpoint, target: Path, reserved: str) -> Listing:
    """What the hub says about a repository, checked for a download into `target`, where `reserved` is a file of ours.

    Raises `DownloadError` if the hub cannot be asked, or if anything in its answer cannot be trusted: names that leave
    `target`, hidden or equal names, weights without a checksum, sizes that are missing or too large.
    """
    name = f"the list of files of {known.repo}"
    pinned = f"/revision/{known.revision}" if known.revision else ""
    with hub_errors(known.repo):
        content = _answer(f"{endpoint()}/api/models/{known.repo}{pinned}?blobs=true", name)
    try:
        listing = _listing(parse_json(decode_text(content, name), name, "the hub's answer"), known)
        for file in listing.files:
            _check_name(file.name, known.repo, target)
    except InputError as error:
        raise DownloadError(f"{error}; nothing was downloaded: check HF_ENDPOINT, or ask its owner") from None
    _check_clashes([file.name for file in listing.files], reserved, known.repo)
    return listing


def _answer(url: str, name: str) -> bytes:
    """The hub's answer, read in pieces, as it may be of any length."""
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    session: Any = get_session()
    asked = {"url": url, "headers": build_hf_headers(), "timeout": TIMEOUT}
    # huggingface-hub uses requests before 1.0, then httpx
    opened = session.stream("GET", **asked) if hasattr(session, "stream") else session.get(stream=True, **asked)
    content = bytearray()
    with opened as response:
        hf_raise_for_status(response)
        for piece in response.iter_bytes() if hasattr(response, "iter_bytes") else response.iter_content(1 << 16):
            content += piece
            if len(content) > MAX_ANSWER:
                raise DownloadError(f"{name} has more than {MAX_ANSWER:,} bytes: check HF_ENDPOINT, or ask its owner")
    return bytes(content)


def _listing(answer: Any, known: KnownCheckpoint) -> Listing:
    """The wanted files. Raises `InputError` for an answer of another form, or one that cannot be trusted."""
    commit, siblings = (answer.get(key) if isinstance(answer, dict) else None for key in ("sha", "siblings"))
    if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise InputError(f"{known.repo}: the hub names the commit {shown(commit)}: expected 40 hex digits")
    if known.revision not in (None, commit):
        raise InputError(f"{known.repo}: the hub offers the commit {commit}: expected {known.revision}")
    if not isinstance(siblings, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("rfilename"), str) for entry in siblings
    ):
        raise InputError(f"{known.repo}: the hub's list of files is {shown(siblings)}: expected entries with names")
    names = {entry["rfilename"] for entry in siblings}
    wanted = [entry for entry in siblings if _is_wanted(entry["rfilename"], known, names)]
    if len(wanted) > MAX_FILES:
        raise InputError(f"{known.repo}: the hub lists {len(wanted):,} files: expected at most {MAX_FILES}")
    files = tuple(_file(entry, known.repo) for entry in wanted)
    if (total := sum(file.size for file in files)) > MAX_BYTES:
        raise InputError(f"{known.repo}: the hub lists {total:,} bytes: expected at most {MAX_BYTES:,}")
    if not any(file.name.endswith(_WEIGHTS) for file in files):
        raise InputError(f"{known.repo} at {commit[:12]} has none of the expected files ({', '.join(known.files)})")
    return Listing(commit, files)


def _is_wanted(name: str, known: KnownCheckpoint, names: set[str]) -> bool:
    """Whether a file matches the patterns; no pickles, and only the plain one of several variants."""
    if not any(fnmatch.fnmatch(name, pattern) for pattern in known.files):
        return False
    return PurePosixPath(name).suffix in (_WEIGHTS, *_TEXTS) and not _has_plain_twin(name, names)


def _has_plain_twin(name: str, names: set[str]) -> bool:
    """Whether the repository also has `x.safetensors` for a name like `x.fp16.safetensors`."""
    path = PurePosixPath(name)
    stem = path.name.partition(".")[0]
    return bool(stem) and (plain := path.with_name(stem + path.suffix).as_posix()) != name and plain in names


def _file(entry: dict[str, Any], repo: str) -> RemoteFile:
    """One file. Raises `InputError` for an uncertain size, and for weights without a checksum."""
    name, size, stored = entry["rfilename"], entry.get("size"), entry.get("lfs")
    listed = f"{repo}: the hub lists {shown(name)}"
    if not isinstance(stored, dict | None):
        raise InputError(f"{listed} with {shown(stored)} for its checksum")
    sha256 = stored["sha256"] if stored and "sha256" in stored else None
    if type(size) is not int or size < 0 or (stored and stored.get("size", size) != size):
        raise InputError(f"{listed} without a certain size ({shown(size)}): expected a number of bytes")
    if sha256 is not None and not (isinstance(sha256, str) and re.fullmatch(r"[0-9a-f]{64}", sha256)):
        raise InputError(f"{listed} with the SHA-256 {shown(sha256)}: expected 64 hex digits")
    if sha256 is None and name.endswith(_WEIGHTS):
        raise InputError(f"{listed} without a SHA-256: weights are only taken with one")
    if sha256 is None and size > MAX_TEXT:
        raise InputError(f"{listed} of {size:,} bytes without a SHA-256: expected at most {MAX_TEXT:,}")
    return RemoteFile(name, size, sha256)


def _check_name(name: str, repo: str, target: Path) -> None:
    """Raise `InputError` for a name that is not a plain file name below `target`."""
    what = f"{repo}: the hub lists the file"
    path = path_inside(target, name, what, hidden=False)
    if path.relative_to(target).as_posix() != name or "\\" in name or ":" in name:
        raise InputError(f"{what} {shown(name)}: expected a plain name")
    if len(os.fsencode(name)) > MAX_NAME:
        raise InputError(f"{what} {shown(name)}: its name has more than {MAX_NAME} bytes")


def _check_clashes(names: list[str], reserved: str, repo: str) -> None:
    """Raise `DownloadError` if two names are one file where case does not count, or one is a folder of another."""
    folders = {folded(str(parent)) for name in names for parent in PurePosixPath(name).parents}
    taken = {folded(reserved)}
    for name in names:
        if folded(name) in taken | folders:
            raise DownloadError(f"{repo}: the hub lists {shown(name)}, whose place is taken: nothing was downloaded")
        taken.add(folded(name))
    if taken & folders:
        raise DownloadError(f"{repo}: the hub lists files below {reserved}: nothing was downloaded")


@contextmanager
def hub_errors(repo: str, file: str = "") -> Iterator[None]:
    """The hub's client asks only what it is told, and what it raises is one line."""
    from huggingface_hub import errors

    where = f"{repo}/{file}" if file else repo
    try:
        with quiet_client(offline=False):
            yield
    except SDPoseError:
        raise
    except errors.GatedRepoError:
        raise DownloadError(f"{where} is gated: accept its terms on the hub, then log in ('hf auth login')") from None
    except errors.RepositoryNotFoundError:
        raise DownloadError(f"{where}: no such repository on the hub, or your token has expired") from None
    except (errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise DownloadError(f"{where}: not on the hub ({one_line(error)})") from None
    except fetch_errors() as error:
        raise DownloadError(f"{where} could not be fetched ({one_line(error)}); run it again to resume") from None
    except (AttributeError, TypeError, ValueError) as error:  # the client expects errors to have a certain form
        raise DownloadError(f"{where} could not be fetched: the server does not answer like a hub") from error


def fetch_errors() -> tuple[type[Exception], ...]:
    """Errors of network and disk; those of the HTTP libraries that huggingface-hub uses may not be OSErrors."""
    return OSError, *(importlib.import_module(name).HTTPError for name in ("httpx", "httpx2") if installed(name))
