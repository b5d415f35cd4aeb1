"""Opens video files with PyAV (FFmpeg) so that nothing but the file itself is read."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from .dependencies import require
from .files import open_regular

_READ_MORE = frozenset(
    {"applehttp", "avisynth", "concat", "concatf", "dash", "hls", "image2", "image2pipe", "imf", "lavfi", "rtp",
     "rtsp", "sap", "sdp", "vapoursynth"}
)  # fmt: skip
"""FFmpeg's formats that name other files, addresses or programs, image2 by patterns such as `a%d.jpg`."""

_LISTS = ((b"#EXTM3U", "hls"), (b"ffconcat", "concat"), (b"v=0", "sdp"))
"""How such texts begin."""

_XML_LISTS = ((b"<MPD", "dash"), (b"<CompositionPlaylist", "imf"))
"""Elements of such texts in XML."""


def open_container(path: Path) -> Any:
    """PyAV's container of a file, whose result would belong to no other file. Raises PyAV's errors and `OSError`."""
    av = require("av", "reading videos")
    open_regular(path).close()
    settings = {"protocol_whitelist": "file", "format_whitelist": _formats()}
    # "file:" allows names with a colon
    return av.open(f"file:{path}", metadata_errors="replace", container_options=settings)


@functools.cache
def _formats() -> str:
    import av

    names = {name for names in av.formats_available for name in names.split(",")}
    return ",".join(sorted(names - _READ_MORE))


def kind_of_list(path: Path) -> str | None:
    """FFmpeg's name of a text that names other files, by its beginning; None for other files."""
    try:
        with open_regular(path) as file:
            head = file.read(1024)
    except OSError:
        return None
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    found = [name for begin, name in _LISTS if start.startswith(begin)]
    if start.startswith(b"<"):
        found += [name for element, name in _XML_LISTS if element in start]
    return next(iter(found), None)
