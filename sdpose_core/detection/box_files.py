"""Boxes from a JSON file of the user."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..boxes import xywh_to_xyxy
from ..errors import InputError

FORMATS = (
    "a list of [x1, y1, x2, y2] or [x1, y1, x2, y2, score] (for one picture), an object {file name: such a list}, "
    'or a list of {"file_name": ..., "bbox": [x, y, width, height], "score": ...} (COCO detections)'
)


class BoxFile:
    """The boxes of `--boxes FILE.json`, see `FORMATS`. Raises `InputError` for a file of another format."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror or error}") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path} is not JSON ({error}); expected {FORMATS}") from None
        self._ids: dict[str, list[int]] = {}
        self._all, self._by_name = self._parse(content)
        stems = {name: Path(name).stem for name in self._by_name}
        self._by_frame = {int(stem): name for name, stem in stems.items() if stem.isdecimal()}

    def _parse(self, content: Any) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        if isinstance(content, Mapping):
            return None, {str(name): self._rows(rows, str(name)) for name, rows in content.items()}
        if isinstance(content, list) and content and all(isinstance(row, Mapping) for row in content):
            return None, self._detections(content)
        if isinstance(content, list):
            return self._rows(content, "the list"), {}
        raise InputError(f"{self.path}: found {type(content).__name__}, expected {FORMATS}")

    def _rows(self, rows: Any, where: str) -> np.ndarray:
        if not isinstance(rows, list):
            raise InputError(f"{self.path}, {where}: found {type(rows).__name__}, expected {FORMATS}")
        boxes = np.ones((len(rows), 5), np.float32)
        for i, row in enumerate(rows):
            if not isinstance(row, list) or len(row) not in (4, 5) or not all(_is_number(value) for value in row):
                raise InputError(f"{self.path}, {where}, box {i}: found {row!r:.80}, expected {FORMATS}")
            boxes[i, : len(row)] = row
        return boxes

    def _detections(self, rows: list[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        found: dict[str, list[np.ndarray]] = {}
        for i, row in enumerate(rows):
            name, box = row.get("file_name", row.get("image_id")), row.get("bbox")
            if name is None or not isinstance(box, list) or len(box) != 4 or not all(_is_number(v) for v in box):
                raise InputError(f"{self.path}, detection {i}: found {dict(row)!r:.80}, expected {FORMATS}")
            score = row.get("score", 1.0)
            if not _is_number(score):
                raise InputError(f"{self.path}, detection {i}: score is {score!r:.40}, expected a number")
            corner = xywh_to_xyxy(np.asarray(box, np.float32))
            found.setdefault(str(name), []).append(np.append(corner, score).astype(np.float32))
            if isinstance(row.get("track_id"), int):
                self._ids.setdefault(str(name), []).append(row["track_id"])
        return {name: np.stack(boxes) for name, boxes in found.items()}

    def boxes_of(self, picture: Path, only_picture: bool) -> np.ndarray:
        """(N, 5) x1, y1, x2, y2, score in pixels of a picture, found by its path, name, stem or COCO number.

        Raises `InputError` if the file does not name the picture, or is for one picture and there are several.
        """
        if self._all is not None:
            if only_picture:
                return self._all
            raise InputError(f"{self.path} lists boxes for one picture, got several pictures: name them in the file")
        number = picture.stem.lstrip("0") or "0"
        for key in (str(picture), picture.as_posix(), picture.name, picture.stem, number):
            if key in self._by_name:
                return self._by_name[key]
        known = ", ".join(sorted(self._by_name)[:5])
        raise InputError(f"{self.path} has no boxes for {picture.name}: it names {known or 'no pictures'}")

    def people_of_frame(self, frame_index: int, name: str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """(N, 5) boxes of a frame, and their ids (N,) if all have a `track_id`.

        A frame that is a picture of a folder is found by the `name` of its file, with or without suffix, before its
        number.

        Frames are named by their number from 0, with any leading zeros and suffix. A frame that is not named has no
        boxes. Raises `InputError` for a file that names no frame by number.
        """
        if name is None and not self._by_frame:
            raise InputError(f"{self.path} names no video frames: expected boxes by frame number, from 0")
        names = () if name is None else (name, Path(name).stem)
        key = next((key for key in names if key in self._by_name), self._by_frame.get(frame_index))
        if key is None or (name is not None and key not in names and Path(key).suffix):  # another picture's name
            return np.zeros((0, 5), np.float32), np.zeros(0, np.int64)
        boxes, ids = self._by_name[key], self._ids.get(key, [])
        return boxes, np.asarray(ids, np.int64) if len(ids) == len(boxes) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
