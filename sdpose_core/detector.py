"""Finding people: the embedded YOLOX-Nano, any ONNX file of YOLOX layout, RT-DETR or D-FINE, or the whole picture.

A detector has a `name` and `detect(image_rgb) -> boxes_xyxy (N, 4) float32, scores (N,) float32`, best score first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import boxes as box_tools
from .errors import CheckpointError, InputError, MissingDependency
from .onnx_runtime import OnnxModel

EMBEDDED = Path(__file__).parent / "assets" / "yolox_nano.onnx"
THRESHOLD = 0.35
NMS_IOU = 0.5
_EMBEDDED_SIZE = (416, 416)
_STRIDES = (8, 16, 32)
_PADDING_VALUE = 114


class PersonDetector(Protocol):
    """What finds the people of a picture."""

    name: str

    def detect(self, image_rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RGB uint8 (H, W, 3) -> boxes_xyxy (N, 4) float32 in pixels, scores (N,) float32, best first."""
        ...


@dataclass(frozen=True)
class Limits:
    """Which of the boxes found are kept.

    Attributes:
        threshold: least score.
        max_people: at most so many, best first; None: all.
        min_size: least shorter side, in pixels.
    """

    threshold: float = THRESHOLD
    max_people: int | None = None
    min_size: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise InputError(f"detector threshold: expected 0..1, got {self.threshold}")
        if self.max_people is not None and self.max_people < 1:
            raise InputError(f"max_people: expected at least 1, got {self.max_people}")

    def apply(self, boxes: np.ndarray, scores: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, 4) clipped to a picture of `size` (w, h) and chosen, best score first."""
        clipped = box_tools.clip(boxes, size)
        sides = (clipped[:, 2:] - clipped[:, :2]).min(axis=1, initial=np.inf)
        kept = np.flatnonzero((scores >= self.threshold) & (sides > 0) & (sides >= self.min_size))
        kept = kept[np.argsort(-scores[kept], kind="stable")][: self.max_people]
        return clipped[kept].astype(np.float32), scores[kept].astype(np.float32)


class WholePicture:
    """One person who fills the picture."""

    name = "full"

    def detect(self, image_rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One box of the whole picture, score 1."""
        h, w = image_rgb.shape[:2]
        return np.array([[0, 0, w, h]], np.float32), np.ones(1, np.float32)


class YOLOX:
    """A detector of YOLOX layout in ONNX (arXiv 2107.08430).

    Understood are outputs (1, A, 5 + classes) on the grid of strides 8, 16, 32, with or without the grid decoded, and
    (1, N, 5) with suppression done inside, as mmdeploy exports it. Class 0 is the person.
    """

    def __init__(
        self, path: str | Path, limits: Limits, *, nms_iou: float = NMS_IOU, backend: str | None = None
    ) -> None:
        self.limits, self.nms_iou = limits, nms_iou
        self.model = OnnxModel(path, backend=backend)
        embedded = Path(path) == EMBEDDED
        self.input_name, self.input_size = ("images", _EMBEDDED_SIZE) if embedded else self._input()
        label = "YOLOX-Nano (embedded)" if embedded else Path(path).name
        self.name = f"{label}, {self.model.backend}"

    def detect(self, image_rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `PersonDetector`."""
        pixels, ratio = letterbox(image_rgb, self.input_size)
        outputs = self.model.run({self.input_name: pixels})
        boxes, scores = self._people(outputs[0])
        likely = scores >= max(self.limits.threshold, 1e-3)
        boxes, scores = boxes[likely], scores[likely]
        kept = box_tools.nms(boxes, scores, self.nms_iou)
        size = (image_rgb.shape[1], image_rgb.shape[0])
        return self.limits.apply(boxes[kept] / ratio, scores[kept], size)

    def _input(self) -> tuple[str, tuple[int, int]]:
        """Name and (w, h) of the input of a file that is not ours."""
        if not self.model.inputs:
            raise MissingDependency(
                f"a detector of your own ({self.model.path.name}) needs onnxruntime: OpenCV does not tell its input "
                'size. pip install "sdpose-annotator[onnx]"'
            )
        name, shape = next(iter(self.model.inputs.items()))
        if len(shape) != 4 or shape[1] != 3 or not all(isinstance(side, int) for side in shape[2:]):
            raise CheckpointError(
                f"{self.model.path} has an input of shape {shape}; expected a YOLOX export (1, 3, height, width) with "
                "fixed height and width"
            )
        return name, (shape[3], shape[2])

    def _people(self, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, 4) in input pixels and scores (N,) of class 0."""
        w, h = self.input_size
        cells = sum((w // stride) * (h // stride) for stride in _STRIDES)
        if output.ndim == 3 and output.shape[2] == 5:
            return output[0, :, :4], output[0, :, 4]
        if output.ndim == 3 and output.shape[1] == cells and output.shape[2] > 5:
            values = output[0].astype(np.float32)
            boxes = values[:, :4] if values[:, :2].max() > max(w, h) / 4 else _decode_grid(values[:, :4], (w, h))
            middle, size = boxes[:, :2], boxes[:, 2:]
            corners = np.concatenate([middle - size / 2, middle + size / 2], axis=1)
            return corners, values[:, 4] * values[:, 5]
        raise CheckpointError(
            f"{self.model.path} gives an output of shape {output.shape}; expected YOLOX: (1, {cells}, 5 + classes) or "
            "(1, N, 5)"
        )


class TransformersDetector:
    """RT-DETR, RT-DETRv2 or D-FINE through transformers, by name on the hub or by folder.

    The preparation is our own (resize, divide by 255, normalise if the model asks for it): the library's needs
    torchvision.
    """

    _KINDS = ("rt_detr", "rt_detr_v2", "d_fine")

    def __init__(self, name_or_path: str | Path, limits: Limits, *, device: Any = None) -> None:
        from .dependencies import require

        what = f"the detector {str(name_or_path)!r}"
        torch = require("torch", what)
        transformers = require("transformers", what)
        try:
            config = transformers.AutoConfig.from_pretrained(name_or_path)
            if config.model_type not in self._KINDS:
                raise CheckpointError(
                    f"{name_or_path} is a {config.model_type!r} model; expected one of {', '.join(self._KINDS)}"
                )
            model = transformers.AutoModelForObjectDetection.from_pretrained(name_or_path, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{name_or_path} cannot be loaded as a detector: {' '.join(str(error).split())[:300]}"
            ) from None
        self.limits = limits
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.eval().to(self.device)
        self.person = _person_label(config, name_or_path)
        self.preparation = _preparation(name_or_path)
        self.name = f"{config.model_type} {name_or_path}"

    def detect(self, image_rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `PersonDetector`."""
        import torch

        with torch.inference_mode():
            result = self.model(pixel_values=torch.from_numpy(self.preparation(image_rgb)).to(self.device))
        scores = result.logits[0, :, self.person].sigmoid().float().cpu().numpy()
        middle_size = result.pred_boxes[0].float().cpu().numpy()
        h, w = image_rgb.shape[:2]
        corners = np.concatenate(
            [middle_size[:, :2] - middle_size[:, 2:] / 2, middle_size[:, :2] + middle_size[:, 2:] / 2], axis=1
        )
        return self.limits.apply(corners * [w, h, w, h], scores, (w, h))


def load_detector(
    name_or_path: str | Path = "yolox",
    *,
    threshold: float = THRESHOLD,
    max_people: int | None = None,
    min_size: float = 0.0,
    nms_iou: float = NMS_IOU,
    device: Any = None,
    backend: str | None = None,
) -> PersonDetector:
    """The detector called `name_or_path`.

    Args:
        name_or_path: "yolox" (embedded), "full" (the whole picture), an ONNX file of YOLOX layout, or an RT-DETR /
            D-FINE model of transformers: a folder, or a name on the hub (which is then fetched).
        threshold, max_people, min_size: see `Limits`.
        nms_iou: boxes that overlap more than this are one person (YOLOX).
        device: for transformers models.
        backend: for ONNX files, see `OnnxModel`.

    Raises:
        CheckpointError: the file is missing or of another kind.
        MissingDependency: a package is missing; the message names the extra.
    """
    limits = Limits(threshold, max_people, min_size)
    name = str(name_or_path)
    if name == "full":
        return WholePicture()
    if name == "yolox":
        return YOLOX(EMBEDDED, limits, nms_iou=nms_iou, backend=backend)
    if name.lower().endswith(".onnx"):
        return YOLOX(name, limits, nms_iou=nms_iou, backend=backend)
    if not Path(name).is_dir() and "/" not in name:
        raise InputError(
            f"unknown detector {name!r}: choose yolox, full, an .onnx file, or an RT-DETR / D-FINE folder or hub name"
        )
    return TransformersDetector(name_or_path, limits, device=device)


def letterbox(image_rgb: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """RGB uint8 (H, W, 3) -> (1, 3, h, w) float32 BGR 0..255, shrunk into the top left corner; and the ratio used."""
    import cv2

    w, h = size
    ratio = min(w / image_rgb.shape[1], h / image_rgb.shape[0])
    inner = max(round(image_rgb.shape[1] * ratio), 1), max(round(image_rgb.shape[0] * ratio), 1)
    canvas = np.full((h, w, 3), _PADDING_VALUE, np.uint8)
    canvas[: inner[1], : inner[0]] = cv2.resize(image_rgb, inner, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)[None], dtype=np.float32), ratio


def _decode_grid(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Raw (A, 4) offsets and log sizes on the grid -> centre x, y, width, height in input pixels."""
    parts = []
    for stride in _STRIDES:
        x, y = np.meshgrid(np.arange(size[0] // stride), np.arange(size[1] // stride))
        parts.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], axis=1))
    grid = np.concatenate(parts).astype(np.float32)
    middle = (values[:, :2] + grid[:, :2]) * grid[:, 2:]
    return np.concatenate([middle, np.exp(values[:, 2:]) * grid[:, 2:]], axis=1)


def _person_label(config: Any, name: str | Path) -> int:
    for index, label in config.id2label.items():
        if str(label).lower() == "person":
            return int(index)
    raise CheckpointError(f"{name} has no class 'person': its classes are {', '.join(config.id2label.values())[:200]}")


def _preparation(name_or_path: str | Path) -> Callable[[np.ndarray], np.ndarray]:
    """What the model wants done to a picture, from its preprocessor_config.json: RGB (H, W, 3) -> (1, 3, h, w)."""
    from transformers.image_processing_utils import BaseImageProcessor

    settings, _ = BaseImageProcessor.get_image_processor_dict(name_or_path)
    size = settings.get("size", {"height": 640, "width": 640})
    if not {"height", "width"} <= set(size):
        raise CheckpointError(f"{name_or_path}: expected a fixed height and width in its preprocessor, got {size}")
    factor = np.float32(settings.get("rescale_factor", 1 / 255))
    mean, std = (
        np.asarray(settings[f"image_{what}"], np.float32) if settings.get("do_normalize") else np.float32(default)
        for what, default in (("mean", 0), ("std", 1))
    )

    def prepare(image: np.ndarray) -> np.ndarray:
        import cv2

        resized = cv2.resize(image, (size["width"], size["height"]), interpolation=cv2.INTER_LINEAR)
        return ((resized * factor - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)

    return prepare
