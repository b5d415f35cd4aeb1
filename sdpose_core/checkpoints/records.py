"""What is written beside a finished download, and what that tells without the network."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..names import path_inside
from ..texts import read_json
from .archives import ARCHIVES, is_unpacked
from .published import KNOWN, UNFINISHED

log = logging.getLogger(__name__)

RECORD = "sdpose_download.json"


def read_record(folder: Path) -> dict[str, Any]:
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
    record = read_record(path if path.is_dir() else path.parent)
    return f" ({record['repo']} at {record['revision']})" if record else ""


def finished(name: str, folder: Path) -> Path | None:
    """The path to load of a download that an earlier run finished in `folder`; None if there is none, or not all of it.

    Compares the files with the record of that run: their sizes, and of a model from an archive its content. Raises
    `InputError` for an unknown name.
    """
    if name in ARCHIVES:
        path = folder / ARCHIVES[name].entry
        return path if is_unpacked(ARCHIVES[name], path) else None
    if name not in KNOWN:
        raise InputError(f"unknown download {name!r}: choose one of {', '.join((*KNOWN, *ARCHIVES))}")
    known, record = KNOWN[name], read_record(folder)
    whole = record.get("repo") == known.repo and known.revision in (None, record.get("revision"))
    if not whole or os.path.lexists(folder / UNFINISHED):
        return None
    files = {path_inside(folder, file, "a download"): entry.get("size") for file, entry in record["files"].items()}
    if not files or not all(path.is_file() and path.stat().st_size == size for path, size in files.items()):
        return None
    return next((path for path in files if path.name == known.entry), folder / known.entry)


def outline(name: str, folder: Path) -> str:
    """Source, size, target and license of a download that is still to come, as lines of text. Uses no network.

    The size is that of the archive; for repositories only the hub knows it. `name`: one that `finished` knows.
    """
    archive = ARCHIVES.get(name)
    if archive is not None:
        where, size, terms = archive.url, f"{archive.size / 1e6:.0f} MB", archive.license
    else:
        where, size, terms = KNOWN[name].repo, "2 to 4 GB; the hub is asked for the exact size", KNOWN[name].license
    return f"{name}: not downloaded\nfrom {where}\nsize: {size}\nto {folder}\nlicense: {terms}"
