"""Keypoint models of the YOLO family from ONNX files, as Ultralytics exports them.

Two kinds of output: one column per cell, (1, 4 + classes + 3 K, N), to be suppressed here (YOLOv8, YOLO11); and people,
(1, N, 6 + 3 K), of models that need no suppression (YOLO26) and of exports with it. Pictures are RGB from 0 to 1 in a
letterbox.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sdpose_core.detection.yolox import strides_of
from sdpose_core.errors import CheckpointError
from sdpose_core.onnx_runtime import OnnxModel
from sdpose_training.peers.base import checked
from sdpose_training.peers.onnx_files import shapes_of
from sdpose_training.peers.whole_picture import Found, Letterbox, OnnxPeoplePeer, split_values, suppressed

WHAT = "a keypoint model of the YOLO family"

_OF_A_PERSON = 6
"""Values before the keypoints of a person: x1, y1, x2, y2, score, class."""


@dataclass(frozen=True)
class YoloLayout:
    """What the columns of an output mean.

    Attributes:
        cells: a column per cell; else a row per person.
        turned: cells are rows, where Ultralytics has columns.
        person: index of the class.
        classes: number of classes, for cells.
        count, values: keypoints, and values of each: x, y and mostly a score.
    """

    cells: bool
    turned: bool
    person: int
    classes: int
    count: int
    values: int

    def people(self, output: np.ndarray) -> Found:
        """An output (1, a, b) -> people in input pixels, not yet suppressed."""
        rows = output[0] if self.turned or not self.cells else output[0].T
        if self.cells:
            center, half, scores = rows[:, :2], rows[:, 2:4] / 2, rows[:, 4 + self.person]
            boxes, start = np.concatenate([center - half, center + half], axis=1), 4 + self.classes
        else:
            rows = rows[np.round(rows[:, 5]) == self.person]
            boxes, scores, start = rows[:, :4], rows[:, 4], _OF_A_PERSON
        points = rows[:, start:].reshape(len(rows), self.count, self.values)
        seen = points[..., 2] if self.values == 3 else np.repeat(scores[:, None], self.count, axis=1)
        return Found(boxes, scores, points[..., :2], seen)


class YoloPeer(OnnxPeoplePeer):
    """A YOLO keypoint model over boxes.

    Args:
        path: the ONNX file.
        settings, device, options: see `OnnxPeoplePeer`.
    """

    title, what = "YOLO", WHAT

    def _stated_size(self) -> tuple[int, int] | None:
        return _stated_size(self.model)

    def _count(self) -> int:
        outputs = self.model.run({self._input.name: self._empty()})
        self._layout = layout_of(outputs, self._input.size, self.model)
        return self._layout.count

    def _people(self, image_rgb: np.ndarray) -> Found:
        box = Letterbox.of((image_rgb.shape[1], image_rgb.shape[0]), self._input.size)
        pixels = np.ascontiguousarray(box.fill(image_rgb).transpose(2, 0, 1)[None], np.float32) / 255
        output = self.model.run({self._input.name: pixels})[0]
        found = self._layout.people(checked(self.name, output.astype(np.float32)))
        found = suppressed(found, self.settings, overlap=self._layout.cells)
        corners = box.to_image(found.boxes_xyxy.reshape(-1, 2, 2)).reshape(-1, 4)
        return Found(corners, found.scores, box.to_image(found.keypoints), found.keypoint_scores)

    def _settings(self) -> dict[str, Any]:
        kind = {"suppression": self.settings.nms} if self._layout.cells else {}
        return {**super()._settings(), **kind}


def layout_of(outputs: list[np.ndarray], input_size: tuple[int, int], model: OnnxModel) -> YoloLayout:
    """The layout of the outputs of a model for an input of (w, h), with the help of the file's metadata.

    Raises `CheckpointError` if they are those of another kind of model.
    """
    shape = outputs[0].shape if len(outputs) == 1 else ()
    if len(shape) != 3 or shape[0] != 1:
        raise _unknown(model, outputs)
    turned = bool(strides_of(shape[1], input_size))
    cells = turned or bool(strides_of(shape[2], input_size))
    if not cells and 3 * _cells(input_size) in shape:
        raise CheckpointError(
            f"{model.path} has three boxes per cell, as YOLOv5 and YOLOv7: expected YOLOv8 or later, or an export with "
            "suppression"
        )
    names = _names(model.metadata)
    classes = max(len(names), 1) if cells else 1
    length = shape[1] if cells and not turned else shape[2]
    rest = length - (4 + classes if cells else _OF_A_PERSON)
    count, values = _keypoint_shape(model.metadata) or split_values(rest)
    if count < 1 or count * values != rest:
        raise _unknown(model, outputs)
    return YoloLayout(cells, turned, _person(names, model), classes, count, values)


def _cells(input_size: tuple[int, int]) -> int:
    return sum((input_size[0] // stride) * (input_size[1] // stride) for stride in (8, 16, 32))


def _names(metadata: Mapping[str, str]) -> dict[int, str]:
    """Class -> name, from the file; {} if it does not say."""
    found = _literal(metadata.get("names", ""))
    return {int(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _stated_size(model: OnnxModel) -> tuple[int, int] | None:
    """(w, h) that the file names in its metadata (h, w), where its input leaves it open."""
    found = _literal(model.metadata.get("imgsz", ""))
    is_open = any(None in port.shape[2:] for port in model.inputs)
    fits = isinstance(found, list | tuple) and len(found) == 2 and all(type(n) is int and n > 0 for n in found)
    return (found[1], found[0]) if fits and is_open else None


def _keypoint_shape(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Number of keypoints and values of each, from the file; None if it does not say."""
    found = _literal(metadata.get("kpt_shape", ""))
    fits = isinstance(found, list | tuple) and len(found) == 2 and all(type(n) is int and n > 0 for n in found)
    return (found[0], found[1]) if fits and found[1] in (2, 3) else None


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _person(names: Mapping[int, str], model: OnnxModel) -> int:
    people = [number for number, name in names.items() if name.lower() == "person"]
    if people or len(names) < 2:
        return people[0] if people else 0
    raise CheckpointError(f"{model.path} has the classes {', '.join(names.values())}: expected one named person")


def _unknown(model: OnnxModel, outputs: list[np.ndarray]) -> CheckpointError:
    return CheckpointError(
        f"{model.path} is not {WHAT}: its outputs are {shapes_of(outputs)}, expected (1, 4 + classes + 3 K, cells) or "
        "(1, people, 6 + 3 K) for K keypoints"
    )
