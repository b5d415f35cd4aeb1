"""The optional detector for art: where it is on this machine, and which detector "auto" stands for."""

from __future__ import annotations

from pathlib import Path

from ..errors import CheckpointError
from ..files import why_missing
from ..network import download_home

ART_DETECTOR = "art-detector"
FILE = "yolox_m_humanart.onnx"


def art_detector_path() -> Path:
    """Where `sdpose download art-detector` puts it."""
    return download_home() / ART_DETECTOR / FILE


def resolved(name_or_path: str | Path) -> str | Path:
    """The detector that is meant: "auto" is the art detector if it was downloaded, otherwise "yolox".

    Raises `CheckpointError` for "art-detector" where it is missing.
    """
    path = art_detector_path()
    if str(name_or_path) == "auto":
        return "yolox" if why_missing(path) else path
    if str(name_or_path) != ART_DETECTOR:
        return name_or_path
    if missing := why_missing(path):
        raise CheckpointError(
            f"no detector {ART_DETECTOR!r} on this machine ({path}: {missing}): download it with 'sdpose download "
            f"{ART_DETECTOR}', or choose another one"
        )
    return path
