"""`load_detector`: the embedded detector, an ONNX file, or a DETR folder, by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..network import is_hub_name
from ..onnx_devices import for_pytorch, for_small_models
from ..options import with_settings
from .art_detector import resolved
from .detr import DetrDetector
from .finding import PersonFinder
from .people import DetectorOptions, PersonDetector, WholePicture
from .yolox import EMBEDDED_YOLOX, YoloxDetector


def load_detector(
    name_or_path: str | Path = "auto", options: DetectorOptions | None = None, **settings: Any
) -> PersonDetector:
    """A detector whose boxes are confirmed by poses (`PersonFinder`), as in `load_detector("yolox", threshold=0.5)`.

    Args:
        name_or_path: "auto" ("art-detector" if it was downloaded, otherwise "yolox"), "art-detector" (a YOLOX
            trained on art, from `sdpose download art-detector`), "yolox" (embedded YOLOX-Nano, no download), "full"
            (the whole picture), the path of a YOLOX ONNX file, the folder of an RT-DETR, RT-DETRv2 or D-FINE model in
            transformers' layout, or its name on the Hugging Face hub ("owner/model"), which is looked up in the hub's
            local cache, and downloaded only with `download=True`.
        options: how it is loaded, and which detections count.
        settings: fields of `DetectorOptions` that override those of `options`.

    Raises:
        InputError: an unknown name or option, or a setting out of range.
        CheckpointError: the weights are missing, damaged or of another model.
        MissingDependency: a package is missing; the message names the extra.
        DownloadError: the model is not in the hub's local cache, and may not or cannot be downloaded.
    """
    options = with_settings(options or DetectorOptions(), settings, "detector")
    name_or_path = resolved(name_or_path)
    if str(name_or_path) == "full":
        return WholePicture()
    return PersonFinder(_load(name_or_path, options), options)


def _load(name_or_path: str | Path, options: DetectorOptions) -> PersonDetector:
    """The detector alone, with everything it can propose."""
    limits, name, device = options.proposals(), str(name_or_path), options.device
    if name == "yolox":
        embedded = "YOLOX-Nano (embedded)"
        on = for_small_models(device)
        return YoloxDetector(EMBEDDED_YOLOX, limits, name=embedded, device=on, backend=options.backend)
    if name.lower().endswith(".onnx"):
        return YoloxDetector(name_or_path, limits, device=for_small_models(device), backend=options.backend)
    if (name and os.path.isdir(name)) or is_hub_name(name):
        return DetrDetector(name, limits, device=for_pytorch(device), download=options.download)
    if (parent := os.path.dirname(name)) and os.path.isdir(parent):
        raise InputError(f"unknown detector {name!r}: {parent} has no such folder")
    raise InputError(
        f"unknown detector {name!r}: expected auto, art-detector, yolox, full, the path of a YOLOX .onnx file, or the "
        "folder or hub name (owner/model) of an RT-DETR or D-FINE model"
    )
