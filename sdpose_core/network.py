"""Whether the network may be used, which hosts, and where downloads go. Nothing here opens a connection."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .errors import DownloadError

_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def is_hub_name(name: str) -> bool:
    """Whether a name can only be one of the Hugging Face hub: owner/model, and nothing here is named owner."""
    return bool(_HUB_NAME.fullmatch(name)) and not os.path.lexists(name) and not os.path.lexists(name.partition("/")[0])


def endpoint() -> str:
    """The address of the hub: HF_ENDPOINT, or the one that huggingface-hub knows.

    It must be https, as names, sizes and checksums come from it; http is for a mirror on this machine alone. Raises
    `DownloadError` for anything else.
    """
    from huggingface_hub.constants import ENDPOINT

    text = os.environ.get("HF_ENDPOINT") or ENDPOINT  # huggingface_hub reads it only once, at import
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:  # no address at all
        parts, host = urlsplit(""), None
    if not host or not text.isprintable() or parts.query or parts.fragment or parts.username is not None:
        raise DownloadError(f"HF_ENDPOINT is {shown(text)}: expected an address such as https://huggingface.co")
    if parts.scheme != "https" and (parts.scheme != "http" or host not in _THIS_MACHINE):
        raise DownloadError(
            f"HF_ENDPOINT is {shown(text)}: expected https://, as anybody on the way can change what http:// brings; "
            "http:// is for this machine (127.0.0.1)"
        )
    return text.rstrip("/")


def download_home() -> Path:
    """The download folder: SDPOSE_HOME, or one in the user's cache folder."""
    if value := os.environ.get("SDPOSE_HOME"):
        return Path(value).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "sdpose"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sdpose"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sdpose"


def need_https(url: str) -> None:
    """Raise `DownloadError` for an address that is neither https nor of this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in _THIS_MACHINE):
        raise DownloadError(f"{shown(url)}: expected an address that begins with https://")


def need_network(what: str, cannot: str = "cannot be downloaded", instead: str = " or copy the files") -> None:
    """Raise `DownloadError` if the user has forbidden to ask the network."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            raise DownloadError(f"{what} {cannot}: {name} is set: unset it{instead}")


@contextlib.contextmanager
def quiet_client(*, offline: bool) -> Iterator[None]:
    """Within the block, huggingface_hub sends no requests of its own, and if `offline`, none at all.

    It fetches a list of programs from its server to tell which one runs it, even where only local files are read. Its
    settings are those of the process: other threads have them too.
    """
    from huggingface_hub import constants

    names = ("HF_HUB_DISABLE_TELEMETRY", *(("HF_HUB_OFFLINE",) if offline else ()))
    before = {name: getattr(constants, name, False) for name in names}
    try:
        for name in names:
            setattr(constants, name, True)
        yield
    finally:
        for name, value in before.items():
            setattr(constants, name, value)


def shown(value: Any) -> str:
    """A value of unknown origin for a message: short, and without characters that a terminal would obey."""
    text = ascii(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:80]}…"
