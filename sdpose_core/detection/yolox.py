"""YOLOX in ONNX: the embedded YOLOX-Nano or a file of the user.

Ge et al., "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..dependencies import opencv
from ..errors import CheckpointError
from ..files import sha256_of
from ..images import check_image
from ..onnx_runtime import OnnxModel
from .people import Detections, Limits, check_finite

EMBEDDED_YOLOX = Path(__file__).parents[1] / "assets" / "yolox_nano.onnx"

_FREE_INPUT_SIZE = 640
"""Training size of YOLOX-S to X, for files without a fixed size."""
_MAX_LOG_SIZE = 10.0


class YoloxDetector:
    """A YOLOX model in ONNX, from YOLOX's export (raw or with `decode_in_inference`) or mmdeploy's (boxes and labels).

    Class 0 is the person, as in COCO and HumanArt.

    Args:
        path: the ONNX file; it sets the input size (640 x 640 if it is not fixed).
        limits: which detections count.
        name: for results, followed by the backend; None: the file's name.
        device, backend: see `OnnxModel`.

    Raises:
        CheckpointError: the file is missing or damaged, or a picture is not its only input.
        MissingDependency: no package that runs ONNX is installed.
    """

    def __init__(
        self, path: str | Path, limits: Limits | None = None, *, name: str | None = None, device: str | None = None,
        backend: str | None = None,
    ) -> None:  # fmt: skip
        self.path = Path(path)
        self.limits = limits or Limits()
        self.model = OnnxModel(path, device=device, backend=backend)
        self.name = f"{name or self.path.name}, {self.model.backend}"
        shapes = [port.shape for port in self.model.inputs]
        if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] not in (3, None) or shapes[0][0] not in (1, None):
            raise CheckpointError(
                f"{path} is not a YOLOX model: expected one input of shape (1, 3, height, width), got inputs {shapes}"
            )
        h, w = shapes[0][2:]
        self.input_size = (w or _FREE_INPUT_SIZE, h or _FREE_INPUT_SIZE)

    def detect(self, image: np.ndarray) -> Detections:
        """See `PersonDetector.detect`. Raises `CheckpointError` for an unknown output layout."""
        check_image(image)
        pixels, ratio = letterbox(image, self.input_size)
        blob = np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1)[None], dtype=np.float32)  # BGR, 0..255
        boxes, scores, nms = self._read(self.model.run({self.model.inputs[0].name: blob}))
        check_finite(boxes, scores, self.limits.threshold, self.name)
        return self.limits.apply(boxes / ratio, scores, (image.shape[1], image.shape[0]), nms=nms)

    def meta(self) -> dict[str, Any]:
        """See `PersonDetector.meta`."""
        return {
            "name": self.name,
            "sha256": sha256_of(self.path),
            "backend": self.model.backend,
            "notes": list(self.model.notes),
            "settings": asdict(self.limits),
        }

    def _read(self, outputs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, bool]:
        """Outputs -> boxes_xyxy (N, 4) in input pixels, person scores (N,), and whether suppression is still needed."""
        shapes = [output.shape for output in outputs]
        if len(shapes[0]) == 3 and shapes[0][2] == 5 and len(shapes) <= 2:
            found = np.asarray(outputs[0][0], np.float32)
            person = outputs[1].reshape(-1) == 0 if len(outputs) == 2 else np.ones(len(found), bool)
            return found[person, :4], found[person, 4], False
        strides = strides_of(shapes[0][1], self.input_size) if len(shapes[0]) == 3 else None
        if len(shapes) == 1 and strides and shapes[0][2] > 5:
            boxes, scores = decode_yolox(np.asarray(outputs[0][0], np.float32), self.input_size, strides)
            return boxes, scores, True
        w, h = self.input_size
        raise CheckpointError(
            f"{self.path} is not a YOLOX model: its outputs have shapes {shapes}; expected (1, N, 5 + classes) with "
            f"N = {len(grid(self.input_size, (8, 16, 32))[0])} (cells of strides 8, 16, 32 on {w} x {h}), or "
            "mmdeploy's (1, N, 5) boxes and (1, N) labels"
        )


def letterbox(image: np.ndarray, input_size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Fit a picture into the top left of `input_size` (w, h), gray 114 elsewhere -> (h, w, 3) uint8, scale."""
    cv2 = opencv()

    (h, w), (out_w, out_h) = image.shape[:2], input_size
    ratio = min(out_w / w, out_h / h)
    new_w, new_h = max(1, int(w * ratio)), max(1, int(h * ratio))
    canvas = np.full((out_h, out_w, 3), 114, np.uint8)
    canvas[:new_h, :new_w] = cv2.resize(image, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    return canvas, ratio


def strides_of(cells: int, input_size: tuple[int, int]) -> tuple[int, ...] | None:
    """The strides whose grids have `cells` cells on `input_size` (w, h), or None."""
    return next((s for s in ((8, 16, 32), (8, 16, 32, 64)) if len(grid(input_size, s)[0]) == cells), None)


def grid(input_size: tuple[int, int], strides: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """All cells of all strides, row by row: cells (N, 2) as x, y, and strides (N, 1)."""
    cells, steps = [], []
    for stride in strides:
        columns, rows = input_size[0] // stride, input_size[1] // stride
        y, x = np.mgrid[:rows, :columns]
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        steps.append(np.full((rows * columns, 1), stride))
    return np.concatenate(cells), np.concatenate(steps)


def decode_yolox(
    output: np.ndarray, input_size: tuple[int, int], strides: Sequence[int] = (8, 16, 32)
) -> tuple[np.ndarray, np.ndarray]:
    """YOLOX's output (N, 5 + classes) -> boxes_xyxy (N, 4) in input pixels, person scores (N,).

    Raw columns are cx, cy relative to the cell and log width, log height, in strides. Exports with decoding give
    pixels; they are recognized by sizes above 10, since e^10 strides is impossible. Score = objectness x class 0.
    """
    center, size = output[:, :2], output[:, 2:4]
    if size.max(initial=0) <= _MAX_LOG_SIZE:
        cells, steps = grid(input_size, strides)
        center, size = (center + cells) * steps, np.exp(size) * steps
    boxes = np.concatenate([center - size / 2, center + size / 2], axis=1)
    return boxes, output[:, 4] * output[:, 5]
