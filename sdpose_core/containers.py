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
