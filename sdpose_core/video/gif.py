"""What GIF needs besides an encoder: a palette per frame, times in hundredths of a second, and a comment."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

GIF_TIME_BASE = Fraction(1, 100)
GIF_SHORTEST = 2
"""Ticks that a frame is shown: browsers slow shorter ones down to a tenth of a second."""

_HEADER, _BLOCK = 13, 255


class Palettes:
    """Reduces frames to 256 colors, each frame to its own. Frames with no more colors, as most pose maps, keep them."""

    def __init__(self, size: tuple[int, int]) -> None:
        import av
        import av.filter

        self._graph = graph = av.filter.Graph()
        kind = av.VideoFormat("rgb24", *size)
        source = graph.add_buffer(width=size[0], height=size[1], format=kind, time_base=GIF_TIME_BASE)
        split = graph.add("split")
        palette = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
        use, sink = graph.add("paletteuse", "new=1:dither=sierra2_4a"), graph.add("buffersink")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(palette, 1, 0)
        palette.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        self._number = 0

    def reduce(self, frame: Any) -> Any:
        """The frame (rgb24) with a palette (pal8)."""
        frame.pts, frame.time_base = self._number, GIF_TIME_BASE
        self._number += 1
        self._graph.push(frame)
        return self._graph.pull()


def insert_comment(path: Path, text: str) -> None:
    """Put a comment before the first frame of a GIF, where readers look for it."""
    data = text.encode()
    blocks = (data[start : start + _BLOCK] for start in range(0, len(data), _BLOCK))
    comment = b"!\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    new = path.with_name(f"commented{path.suffix}")
    with open(path, "rb") as old, open(new, "wb") as file:
        header = old.read(_HEADER)
        colors = old.read(3 * 2 ** ((header[10] & 7) + 1)) if header[10] & 0x80 else b""
        file.write(header + colors + comment)
        shutil.copyfileobj(old, file)
    new.replace(path)
