"""`load_detector`: the embedded detector, an ONNX file, or a DETR folder, by name."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import InputError
from .people import Limits, PersonDetector, WholePicture
from .yolox import EMBEDDED_YOLOX, YoloxDetector


def load_detector(
    name_or_path: str | Path = "yolox",
    *,
    threshold: float = 0.35,
    nms_iou: float = 0.5,
    max_people: int | None = None,
    min_size: float = 0,
    backend: str | None = None,
    device: str | None = None,
) -> PersonDetector:
    """The detector called `name_or_path`.

    Args:
        name_or_path: "yolox" (embedded YOLOX-Nano, no download), "full" (the whole picture), the path of an ONNX file
            of YOLOX's layout, the folder of an RT-DETR, RT-DETRv2 or D-FINE model in transformers' layout, or its name
            on the Hugging Face hub ("owner/model"), which is downloaded.
        threshold: least score of a person.
        nms_iou: overlap above which the less sure of two boxes is dropped; RT-DETR and D-FINE need no suppression.
        max_people: at most so many, the surest first; None: all.
        min_size: people whose box is narrower or lower than this many pixels are left out.
        backend: for ONNX files, "onnxruntime" or "cv2"; None: the first that is here.
        device: where RT-DETR and D-FINE run; None: CUDA if there is one, else the CPU.

    Raises:
        InputError: an unknown name or an impossible setting.
        CheckpointError: the weights are missing, damaged or of another kind.
        MissingDependency: a package is missing; the message names the extra.
        DownloadError: the hub does not have the model, or cannot be reached.
    """
    limits = Limits(threshold, nms_iou, max_people, min_size)
    name = str(name_or_path)
    if name == "full":
        return WholePicture()
    if name == "yolox":
        return YoloxDetector(EMBEDDED_YOLOX, limits, name="YOLOX-Nano (embedded)", backend=backend)
    if name.lower().endswith(".onnx"):
        return YoloxDetector(name_or_path, limits, backend=backend)
    if (name and Path(name).is_dir()) or _HUB_NAME.fullmatch(name):
        from .detr import DetrDetector

        return DetrDetector(name, limits, device=device)
    raise InputError(
        f"unknown detector {name!r}: expected yolox, full, the path of a YOLOX .onnx file, or the folder or hub name "
        "(owner/model) of an RT-DETR or D-FINE model"
    )


_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
