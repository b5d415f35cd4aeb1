"""Boxes from a JSON file of the user."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..coco.boxes import FORMATS, BoxRow, read_boxes
from ..coco.names import NameTable, stem_of
from ..coco.values import read_id
from ..errors import InputError
from ..texts import read_json

log = logging.getLogger(__name__)

_AS_IN_NAMES = "the numbers are taken as those in the names of the pictures"
_FROM_1 = "the frame numbers begin at 1, and are taken as from 0: subtract 1 if 1 is the first frame"
_NUMBERED = re.compile(r"(.*?)(\d+)", re.DOTALL)


class BoxFile:
    """The boxes of `--boxes FILE.json`, see `FORMATS`. Raises `InputError` for a file of another format.

    Attributes:
        path: of the file.
        notes: what was left out or guessed; each is also logged once.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        self._found = read_boxes(read_json(self.path, FORMATS), str(self.path))
        self._rows: dict[Any, list[BoxRow]] = {}
        for row in self._found.rows:
            self._rows.setdefault(row.picture, []).append(row)
        self._names = NameTable(self._found.names if not self._found.single else {})
        self._are_shares = self._found.are_shares
        self._numbers = _plain_numbers(self._found.names)
        self._ids = _track_numbers(self._found.rows)
        self._frames = self._frame_numbers()
        self._expected: dict[str, Any] | None = None  # path -> key, after `expect` or `expect_frames`
        self._clip: dict[str, Any] = {}  # name of a picture of the clip -> key, after `expect_frames`
        for note in self._found.notes:
            self._note(note)
        if 0 < sum(_track(row) is None for row in self._found.rows) < len(self._found.rows):
            self._note("some boxes have no track_id: the ids of frames with such boxes are not used")

    def expect(self, pictures: Sequence[Path]) -> None:
        """Find all pictures of a run: those that the file does not name have nobody in them.

        Raises `InputError` if it names none of them, or if a name may mean two of them.
        """
        if self._found.single or not self._found.names:
            return
        self._expected = self._assign(pictures)
        if not self._expected:
            raise InputError(self._names_none(pictures))
        if absent := len(set(pictures)) - len(self._expected):
            self._note(f"{absent} of {len(set(pictures))} pictures are not named: nobody is in them")

    def expect_frames(self, pictures: Sequence[Path]) -> None:
        """The same for the pictures of a clip, whose boxes may also go by frame number, from 0.

        Names come first; numbers count where they do not name the pictures.
        """
        if self._found.single or not self._found.names:
            return
        numbers = self._numbers
        assigned = self._assign(pictures)
        from_0 = 0 in numbers and len(numbers) == len(self._found.names) and max(numbers) < len(pictures)
        if from_0 and len(assigned) < len(numbers) or not assigned:
            places = self._places(pictures)
            assigned = {str(places[number]): key for number, key in numbers.items() if number in places}
        if not assigned:
            raise InputError(self._names_none(pictures))
        self._clip = {Path(path).name: key for path, key in assigned.items()}

    def _places(self, pictures: Sequence[Path]) -> dict[int, Path]:
        """Frame number -> picture of a clip: counted from 0, or as their names end if these fit better."""
        counted = dict(enumerate(pictures))
        named = _end_numbers((picture, picture.name) for picture in pictures)
        if 0 not in self._numbers and self._numbers.keys() <= named.keys():
            if named != counted:
                self._note(_AS_IN_NAMES)
            return named
        if min(self._numbers, default=0) == 1:
            self._note(_FROM_1)
        if beyond := len(self._numbers.keys() - counted.keys()):
            self._note(
                f"frame numbers beyond the {len(pictures)} pictures are left out: {beyond} of {len(self._numbers)}"
            )
        return counted

    def _assign(self, pictures: Sequence[Path]) -> dict[str, Any]:
        return self._names.assign([os.path.abspath(picture) for picture in pictures])

    def _names_none(self, pictures: Sequence[Path]) -> str:
        known = ", ".join(f"{name!s:.60}" for name in list(self._found.names.values())[:3])
        wanted = ", ".join(picture.name for picture in pictures[:3])
        return f"{self.path} has no boxes for {wanted}: it names {known}: use the names of the pictures"

    def boxes_of(self, picture: Path, only_picture: bool, size: tuple[int, int] | None = None) -> np.ndarray:
        """(N, 5) x1, y1, x2, y2, score in pixels of a picture of `size` (w, h), found by its name or COCO number.

        Raises `InputError` if the file does not name the picture (unless `expect` was told of it), or is for one
        picture and there are several.
        """
        if self._found.single:
            if only_picture:
                return self._pixels(self._found.rows, size)
            raise InputError(f"{self.path} lists boxes for one picture, got several pictures: name them in the file")
        if not self._found.names:
            return np.zeros((0, 5), np.float32)
        expected = self._assign([picture]) if self._expected is None else self._expected
        if not expected:
            raise InputError(self._names_none([picture]))
        return self._pixels(self._rows.get(expected.get(os.path.abspath(picture)), []), size)

    def people_of_frame(
        self, frame_index: int, name: str | None = None, size: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """(N, 5) boxes of a video frame of `size` (w, h), and their ids (N,) if all have a `track_id`.

        Frames of a folder are found by the `name` of their picture, after `expect_frames`; other frames by their number
        from 0, with any leading zeros, prefix and suffix. A frame that is not named has no boxes. Raises `InputError`
        for a file that names no frame.
        """
        if self._found.single:
            raise InputError(f"{self.path} names no video frames: expected boxes by frame number, from 0")
        if not self._found.names:
            return np.zeros((0, 5), np.float32), np.zeros(0, np.int64)
        key = self._by_number(frame_index) if name is None else self._clip.get(name)
        rows = self._rows.get(key, []) if key is not None else []
        ids = [self._ids.get(_track(row)) for row in rows]
        usable = None not in ids and len(set(ids)) == len(ids)
        return self._pixels(rows, size), np.asarray(ids, np.int64) if usable else None

    def _by_number(self, frame_index: int) -> Any:
        if not self._frames:
            raise InputError(f"{self.path} names no video frames: expected boxes by frame number, from 0")
        first = self._frames[min(self._frames)]
        if not _plain_numbers({first: stem_of(str(first))}):
            self._note(f"the numbers at the end of names such as {self._found.names[first]} are taken as frame numbers")
        if min(self._frames) == 1:
            self._note(_FROM_1)
        return self._frames.get(frame_index)

    def _frame_numbers(self) -> dict[int, Any]:
        """Frame number -> key, for videos."""
        if self._found.single:
            return {}
        return _end_numbers(self._found.names.items())

    def _pixels(self, rows: Sequence[BoxRow], size: tuple[int, int] | None) -> np.ndarray:
        """(N, 5) x1, y1, x2, y2, score; boxes from 0 to 1 are scaled to `size` (w, h)."""
        boxes = np.asarray([[*row.box_xyxy, row.score] for row in rows], np.float32).reshape(-1, 5)
        if not len(boxes) or not self._are_shares:
            return boxes
        if size is None:
            raise InputError(f"{self.path}: the boxes are from 0 to 1: expected pixels")
        self._note(
            "the boxes are from 0 to 1: taken as shares of the picture, by corners and not by centers as in YOLO"
        )
        boxes[:, :4] *= np.asarray([*size, *size], np.float32)
        return boxes

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            log.warning("%s: %s", self.path, text)


def _end_numbers(names: Iterable[tuple[Any, Any]]) -> dict[int, Any]:
    """Number -> key of (key, name): the stem is the number, or ends with it if all have one beginning."""
    matches = {key: _NUMBERED.fullmatch(stem_of(str(name))) for key, name in names}
    whole = {int(match[2]): key for key, match in matches.items() if match and not match[1]}
    beginnings = {match[1] if match else None for match in matches.values()}
    if whole or len(beginnings) != 1 or None in beginnings:
        return whole
    return {int(match[2]): key for key, match in matches.items() if match}


def _plain_numbers(names: Mapping[Any, Any]) -> dict[int, Any]:
    """Number -> key of the names that are only a number, without a suffix."""
    return {int(name): key for key, name in names.items() if re.fullmatch(r"[0-9]+", str(name))}


def _track(row: BoxRow) -> Any:
    """The track id as in the file; None for none, which some trackers write as -1."""
    value = row.track_id
    return None if isinstance(value, bool | list | dict) or value == -1 else value


def _track_numbers(rows: Iterable[BoxRow]) -> dict[Any, int]:
    """Track id as in the file -> whole number from 0: itself, or if some are not numbers, by order of appearance."""
    written = list(dict.fromkeys(value for value in map(_track, rows) if value is not None))
    try:
        known: dict[Any, Any] = {value: read_id(value) for value in written}
    except ValueError:
        known = {value: str(value) for value in written}
    if all(isinstance(number, int) and 0 <= number < 2**31 for number in known.values()):
        return known
    order = {text: number for number, text in enumerate(dict.fromkeys(map(str, known.values())))}
    return {value: order[str(text)] for value, text in known.items()}
