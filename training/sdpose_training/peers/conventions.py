"""How published heatmap models are cropped and decoded, by their names in MMPose (0.x and 1.x) and elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Convention:
    """How a top-down heatmap model was trained: with UDP's crop or without, and its decoder (`decoding.DECODERS`)."""

    udp: bool
    decode: str


PLAIN = Convention(False, "quarter")
DARK = Convention(False, "dark")
UDP = Convention(True, "dark-udp")


def convention_of(name: str) -> Convention:
    """The convention of a published heatmap model, by its name; `PLAIN` if the name does not tell.

    In MMPose, ViTPose and models with "udp" in their names use UDP, and models with "dark" use DARK; all others, such
    as SimpleBaseline, HRNet and HRFormer, move the maximum by a quarter of a pixel. Sapiens uses UDP.
    """
    lower = name.lower()
    if re.search(r"vitpose|udp|sapiens", lower):
        return UDP
    return DARK if "dark" in lower else PLAIN
