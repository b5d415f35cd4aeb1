"""`load_detector`: the embedded detector, an ONNX file, or a DETR folder, by name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..options import with_settings
from .detr import DetrDetector
from .people import DetectorOptions, PersonDetector, WholePicture
from .yolox import EMBEDDED_YOLOX, YoloxDetector

_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def load_detector(
    name_or_path: str | Path = "yolox", options: DetectorOptions | None = None, **settings: Any
) -> PersonDetector:
    """Load a detector, as in `load_detector("yolox", threshold=0.5)`.

    Args:
        name_or_path: "yolox" (embedded YOLOX-Nano, no download), "full" (the whole picture), the path of a YOLOX ONNX
            file, the folder of an RT-DETR, RT-DETRv2 or D-FINE model in transformers' layout, or its name on the
            Hugging Face hub ("owner/model"), which is downloaded.
        options: how it is loaded, and which detections count.
        settings: fields of `DetectorOptions` that override those of `options`.

    Raises:
        InputError: an unknown name or option, or a setting out of range.
        CheckpointError: the weights are missing, damaged or of another model.
        MissingDependency: a package is missing; the message names the extra.
        DownloadError: the hub does not have the model, or cannot be reached.
    """
    options = with_settings(options or DetectorOptions(), settings, "detector")
    limits = options.limits()
    name = str(name_or_path)
    if name == "full":
        return WholePicture()
    if name == "yolox":
        return YoloxDetector(EMBEDDED_YOLOX, limits, name="YOLOX-Nano (embedded)", backend=options.backend)
    if name.lower().endswith(".onnx"):
        return YoloxDetector(name_or_path, limits, backend=options.backend)
    if (name and os.path.isdir(name)) or _HUB_NAME.fullmatch(name):
        return DetrDetector(name, limits, device=options.device)
    raise InputError(
        f"unknown detector {name!r}: expected yolox, full, the path of a YOLOX .onnx file, or the folder or hub name "
        "(owner/model) of an RT-DETR or D-FINE model"
    )
