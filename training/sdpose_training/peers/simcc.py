"""RTMPose, RTMW and DWPose from ONNX files: one distribution per keypoint and axis (SimCC, arXiv 2107.03332).

Crop, normalization, decoding and flip test are those of the projects' evaluation (MMPose): box x 1.25, aspect of the
input, RGB, the maximum of each axis without refinement, and the smaller of the two maxima as score.
RTMPose: arXiv 2303.07399. DWPose: arXiv 2307.15880. RTMW: arXiv 2407.08634.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.codec.crops import PADDING, box_to_center_scale, fix_aspect, warp
from sdpose_core.errors import CheckpointError, MissingDependency
from sdpose_core.onnx_runtime import PROVIDERS, OnnxModel
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133, KEYPOINT_SETS, KeypointSet
from sdpose_training.peers.base import Peer, checked, normalized, unseen

log = logging.getLogger(__name__)

SPLIT_RATIO = 2
"""Bins per input pixel."""

SET_OF_COUNT = {17: COCO_17, 26: COCO_17, 133: COCO_WHOLEBODY_133}
"""The 26 points of Halpe begin with COCO's 17 in the same order; the other nine are left out."""

LABELS = {"rtmpose": "RTMPose", "rtmw": "RTMW", "dwpose": "DWPose"}
COUNTS = {"rtmpose": (17, 26, 133), "rtmw": (133,), "dwpose": (133,)}
_PROVIDERS_OF_DEVICE = {"cpu": ("CPUExecutionProvider",), "cuda": ("CUDAExecutionProvider",)}


@dataclass(frozen=True)
class SimccCrop:
    """A crop: the padded box, scaled to the input by its size (not by pixel centers).

    Attributes:
        center, scale: (2,) center and (w, h) of the padded box in picture pixels.
        input_size: (w, h).
    """

    center: np.ndarray
    scale: np.ndarray
    input_size: tuple[int, int]

    @classmethod
    def of_box(cls, box_xyxy: np.ndarray, input_size: tuple[int, int]) -> SimccCrop:
        """The crop of a box (4,): 1.25 times as large, then grown to the input's aspect."""
        center, scale = box_to_center_scale(box_xyxy, PADDING)
        return cls(center, fix_aspect(scale, input_size), input_size)

    @property
    def matrix(self) -> np.ndarray:
        """(2, 3): picture pixels -> input pixels."""
        factor = np.asarray(self.input_size) / self.scale
        offset = np.asarray(self.input_size) / 2 - factor * self.center
        return np.concatenate([np.diag(factor), offset[:, None]], axis=1)

    def cut(self, image_rgb: np.ndarray) -> np.ndarray:
        """The crop (h, w, 3), bilinear, black outside the picture."""
        return warp(image_rgb, self.matrix, self.input_size)

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) in input pixels -> picture pixels."""
        return points / np.asarray(self.input_size) * self.scale + self.center - self.scale / 2


class SimccPeer(Peer):
    """A top-down model with SimCC outputs, as exported by MMDeploy and distributed by rtmlib.

    Args:
        kind: "rtmpose", "rtmw" or "dwpose".
        path: the ONNX file: one input (n, 3, h, w), two outputs (n, K, 2 w) and (n, K, 2 h).
        device: "cpu", "cuda", or None for the best available.
        options: flip_test and batch of `Peer`. Mirrored distributions are flipped as in MMPose, without the half pixel
            that would align them exactly.

    Raises: see `load_peer`.
    """

    def __init__(self, kind: str, path: str | Path, *, device: Any = None, **options: Any) -> None:
        path = Path(path)
        self.model = OnnxModel(path, providers=_providers(device))
        _check_device(self.model, device)
        self.input_size, self._fixed_batch = _input_of(self.model)
        count = _keypoints_of(self.model, self.input_size, self._fixed_batch or 1)
        if count not in COUNTS[kind]:
            known = ", ".join(str(n) for n in COUNTS[kind])
            raise CheckpointError(
                f"{path} has {count} keypoints; {LABELS[kind]} is supported with {known}"
                + (" (21: a hand, 68 or 106: a face)" if count in (21, 68, 106) else "")
            )
        self._set: KeypointSet = SET_OF_COUNT[count]
        super().__init__(f"{LABELS[kind]} ({_title(path)})", self._set.name, path, **options)
        self.notes += self.model.notes
        if count != len(self._set):
            self.notes.append(f"COCO's {len(self._set)} of its {count} points are used")

    def _find(self, images: Sequence[np.ndarray], boxes_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        crops = [SimccCrop.of_box(box, self.input_size) for box in boxes_xyxy]
        pixels = normalized(np.stack([crop.cut(image) for crop, image in zip(crops, images, strict=True)]))
        x, y = self._distributions(pixels)
        if self.flip_test:
            mirrored_x, mirrored_y = self._distributions(np.ascontiguousarray(pixels[..., ::-1]))
            swap = KEYPOINT_SETS[self.keypoint_set].flip_indices
            x, y = (x + mirrored_x[:, swap, ::-1]) / 2, (y + mirrored_y[:, swap]) / 2
        points, scores = decode_simcc(x, y)
        return np.stack([crop.to_image(each) for crop, each in zip(crops, points, strict=True)]), scores

    def _distributions(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 3, h, w) -> x (n, K, 2 w) and y (n, K, 2 h), K of the keypoint set."""
        step = self._fixed_batch or len(pixels)
        port, used = self.model.inputs[0].name, len(self._set)
        parts = [self.model.run({port: pixels[start : start + step]}) for start in range(0, len(pixels), step)]
        x, y = (np.concatenate(axis)[:, :used].astype(np.float32) for axis in zip(*parts, strict=True))
        return checked(self.name, x), checked(self.name, y)

    def _settings(self) -> dict[str, Any]:
        return {"backend": self.model.backend, "input_size": list(self.input_size), "box_padding": PADDING}


def decode_simcc(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distributions x (n, K, 2 w), y (n, K, 2 h) -> points (n, K, 2) in input pixels, scores (n, K).

    A point is the bin of each maximum / `SPLIT_RATIO`; the score is the smaller maximum. Not positive: NaN, 0.
    """
    points = np.stack([x.argmax(axis=-1), y.argmax(axis=-1)], axis=-1) / SPLIT_RATIO
    return unseen(points, np.minimum(x.max(axis=-1), y.max(axis=-1)))


def _title(path: Path) -> str:
    """The file's name; its folder's for `end2end.onnx`, as MMDeploy names every model."""
    return path.resolve().parent.name if path.stem == "end2end" else path.stem


def _providers(device: Any) -> Sequence[str]:
    kind, _, number = str(device).partition(":")
    if number not in ("", "0"):
        log.warning("ONNX files run on the first GPU, not on %s: choose one with CUDA_VISIBLE_DEVICES", device)
    return _PROVIDERS_OF_DEVICE.get(kind, PROVIDERS)


def _check_device(model: OnnxModel, device: Any) -> None:
    """Raise `MissingDependency` if onnxruntime fell back to the CPU."""
    if str(device).startswith("cuda") and "CUDA" not in model.backend:
        raise MissingDependency(
            f"{model.path.name} cannot run on {device}, only {model.backend} works: "
            'pip install "sdpose-annotator[onnx-gpu]", or give --device cpu'
        )


def _input_of(model: OnnxModel) -> tuple[tuple[int, int], int | None]:
    """Input size (w, h), and the batch size if the file fixes it."""
    shapes = [port.shape for port in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] != 3 or None in shapes[0][2:] or shapes[0][0] not in (
        1, None,
    ):  # fmt: skip
        raise CheckpointError(
            f"{model.path} is not an RTMPose, RTMW or DWPose model: expected one input of shape (1 or any, 3, height, "
            f"width) with a fixed height and width, its inputs are {shapes}"
        )
    batch, _, h, w = shapes[0]
    assert h is not None and w is not None
    return (w, h), batch


def _keypoints_of(model: OnnxModel, input_size: tuple[int, int], batch: int) -> int:
    """K, by one pass: the file often leaves it open."""
    w, h = input_size
    outputs = model.run({model.inputs[0].name: np.zeros((batch, 3, h, w), np.float32)})
    shapes = [output.shape for output in outputs]
    if len(shapes) == 2 and all(len(shape) == 3 and shape[0] == batch for shape in shapes):
        (_, count, bins_x), (_, count_y, bins_y) = shapes
        if count == count_y and (bins_x, bins_y) == (SPLIT_RATIO * w, SPLIT_RATIO * h):
            return count
    raise CheckpointError(
        f"{model.path} is not an RTMPose, RTMW or DWPose model: its outputs have the shapes {shapes}; for its input of "
        f"{w} x {h} expected (n, K, {SPLIT_RATIO * w}) and (n, K, {SPLIT_RATIO * h})"
    )
