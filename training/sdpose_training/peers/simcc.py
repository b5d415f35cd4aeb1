"""RTMPose, RTMW and DWPose from ONNX files: one distribution per keypoint and axis (SimCC, arXiv 2107.03332).

Crop, normalization, decoding and flip test are those of the projects' evaluation (MMPose): box x 1.25, aspect of the
input, RGB, the maximum of each axis without refinement, and the smaller of the two maxima as score.
RTMPose: arXiv 2303.07399. DWPose: arXiv 2307.15880. RTMW: arXiv 2407.08634.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.codec.crops import PADDING
from sdpose_core.errors import CheckpointError
from sdpose_core.onnx_runtime import OnnxModel
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133
from sdpose_training.peers.base import Peer, checked, normalized, unseen
from sdpose_training.peers.onnx_files import PictureInput, open_onnx, picture_input, run_in_batches, title_of
from sdpose_training.peers.plain_crop import PlainCrop

SPLIT_RATIO = 2
"""Bins per input pixel."""

SET_OF_COUNT = {17: COCO_17, 26: COCO_17, 133: COCO_WHOLEBODY_133}
"""The 26 points of Halpe begin with COCO's 17 in the same order; the other nine are left out."""

LABELS = {"rtmpose": "RTMPose", "rtmw": "RTMW", "dwpose": "DWPose"}
COUNTS = {"rtmpose": (17, 26, 133), "rtmw": (133,), "dwpose": (133,)}


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
        self.model = open_onnx(path, device)
        self._input = picture_input(self.model, "an RTMPose, RTMW or DWPose model")
        self.input_size = self._input.size
        count = _keypoints_of(self.model, self._input)
        if count not in COUNTS[kind]:
            known = ", ".join(str(n) for n in COUNTS[kind])
            raise CheckpointError(
                f"{path} has {count} keypoints; {LABELS[kind]} is supported with {known}"
                + (" (21: a hand, 68 or 106: a face)" if count in (21, 68, 106) else "")
            )
        super().__init__(f"{LABELS[kind]} ({title_of(path)})", SET_OF_COUNT[count], path, **options)
        self.notes += self.model.notes
        if count != len(self.points):
            self.notes.append(f"COCO's {len(self.points)} of its {count} points are used")

    def _find(self, images: Sequence[np.ndarray], boxes_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        crops = [PlainCrop.of_box(box, self.input_size) for box in boxes_xyxy]
        pixels = normalized(np.stack([crop.cut(image) for crop, image in zip(crops, images, strict=True)]))
        x, y = self._distributions(pixels)
        if self.flip_test:
            mirrored_x, mirrored_y = self._distributions(np.ascontiguousarray(pixels[..., ::-1]))
            swap = self.points.flip_indices
            x, y = (x + mirrored_x[:, swap, ::-1]) / 2, (y + mirrored_y[:, swap]) / 2
        points, scores = decode_simcc(x, y)
        return np.stack([crop.to_image(each) for crop, each in zip(crops, points, strict=True)]), scores

    def _distributions(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, 3, h, w) -> x (n, K, 2 w) and y (n, K, 2 h), K of the keypoint set."""
        outputs = run_in_batches(self.model, self._input, pixels)
        x, y = (axis[:, : len(self.points)].astype(np.float32) for axis in outputs)
        return checked(self.name, x), checked(self.name, y)

    def _settings(self) -> dict[str, Any]:
        return {"backend": self.model.backend, "input_size": list(self.input_size), "box_padding": PADDING}


def decode_simcc(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distributions x (n, K, 2 w), y (n, K, 2 h) -> points (n, K, 2) in input pixels, scores (n, K).

    A point is the bin of each maximum / `SPLIT_RATIO`; the score is the smaller maximum. Not positive: NaN, 0.
    """
    points = np.stack([x.argmax(axis=-1), y.argmax(axis=-1)], axis=-1) / SPLIT_RATIO
    return unseen(points, np.minimum(x.max(axis=-1), y.max(axis=-1)))


def _keypoints_of(model: OnnxModel, port: PictureInput) -> int:
    """K, by one pass: the file often leaves it open."""
    (w, h), batch = port.size, port.batch or 1
    outputs = model.run({port.name: np.zeros((batch, 3, h, w), np.float32)})
    shapes = [output.shape for output in outputs]
    if len(shapes) == 2 and all(len(shape) == 3 and shape[0] == batch for shape in shapes):
        (_, count, bins_x), (_, count_y, bins_y) = shapes
        if count == count_y and (bins_x, bins_y) == (SPLIT_RATIO * w, SPLIT_RATIO * h):
            return count
    raise CheckpointError(
        f"{model.path} is not an RTMPose, RTMW or DWPose model: its outputs have the shapes {shapes}; for its input of "
        f"{w} x {h} expected (n, K, {SPLIT_RATIO * w}) and (n, K, {SPLIT_RATIO * h})"
    )
