"""The XML of CVAT as a stream of shapes: people, their points and frames.

A document type is refused: only with one can XML name other files or expand entities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from ..coco.values import read_number
from ..errors import InputError, one_line
from ..pose_values import MAX_COORDINATE, MAX_FRAMES
from ..texts import decode_text

_META = ("size", "start_frame", "stop_frame", "frame_filter", "width", "height")
"""Texts of `meta` that are read, by the innermost tag; those of a job follow those of its task."""

TRACK_ATTRIBUTE = "track_id"
"""An attribute of a skeleton in a picture: its id over time."""


@dataclass
class Series:
    """One person: point -> frame -> (x, y, whether it is outside)."""

    track: int | None
    points: dict[str, dict[int, tuple[float, float, bool]]] = field(default_factory=dict)
    frames: set[int] = field(default_factory=set)

    def add(self, name: str, frame: int, x: float, y: float, outside: bool) -> None:
        at = self.points.setdefault(name, {})
        if frame in at:
            raise InputError(f"frame {frame} has the point {name:.40} of one person twice: give people a group each")
        at[frame] = (x, y, outside)


@dataclass
class Document:
    """What is read from the XML."""

    meta: dict[str, str] = field(default_factory=dict)
    images: list[dict[str, str]] = field(default_factory=list)
    people: dict[Any, Series] = field(default_factory=dict)
    counts: set[int] = field(default_factory=set)
    named: bool = False
    hidden: int = 0


def parse_cvat(content: bytes) -> Document:
    handler = _Handler()
    parser = expat.ParserCreate("utf-8")  # whatever it declares: an editor may have saved it in another encoding
    parser.StartElementHandler, parser.EndElementHandler = handler.start, handler.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = handler.text, handler.doctype
    try:
        parser.Parse(decode_text(content, "the XML").encode(), True)
    except expat.ExpatError as error:
        raise InputError(f"it is not whole XML ({one_line(error)}): export it again") from None
    if handler.root != "annotations":
        raise InputError(f"its outermost tag is {handler.root!r:.40}, expected 'annotations', as CVAT writes")
    return handler.document


class _Handler:
    """Events of the parser -> a `Document`."""

    def __init__(self) -> None:
        self.document, self.root = Document(), ""
        self._tags: list[str] = []
        self._text = ""
        self._image: Mapping[str, str] | None = None
        self._track: Mapping[str, str] | None = None
        self._person: Series | None = None
        self._frame = 0
        self._attribute = ""

    def doctype(self, *_: Any) -> None:
        raise InputError("the XML has a document type, which CVAT never writes: it is refused, remove the DOCTYPE")

    def start(self, tag: str, values: dict[str, str]) -> None:
        self.root = self.root or tag
        self._tags.append(tag)
        self._text, self._attribute = "", values.get("name", "") if tag == "attribute" else ""
        if tag == "image":
            self._image = values
            self.document.images.append(values)
        elif tag == "track":
            self._track = values
        elif tag == "skeleton" and (self._image or self._track):
            self._begin_skeleton(values)
        elif tag == "points" and (self._image or self._track):
            if self._person is not None:
                self._element(values)
            else:
                self._alone(values)

    def text(self, text: str) -> None:
        if len(self._text) < 1000:
            self._text += text

    def end(self, tag: str) -> None:
        self._tags.pop()
        text = self._text.strip()
        if "meta" in self._tags and tag in _META:
            self.document.meta[tag] = text
        elif tag == "attribute" and self._attribute == TRACK_ATTRIBUTE and self._person and self._image and text:
            self._person.track = whole_number(text, f"the attribute {TRACK_ATTRIBUTE}")
        elif tag == "skeleton":
            self._person = None
        elif tag in ("image", "track"):
            self._image = self._track = None
        self._text = ""

    def _begin_skeleton(self, values: Mapping[str, str]) -> None:
        self.document.named = True
        self._frame = self._frame_of(values)
        if self._track is not None:
            self._person = self._series(("track", self._track.get("id")), _track_id(self._track))
        else:
            self._person = self._series(("shape", len(self.document.people)), None)
        self._person.frames.add(self._frame)

    def _frame_of(self, values: Mapping[str, str]) -> int:
        """The frame of a track's shape; of a picture, its place in the file."""
        if self._track is None:
            return len(self.document.images) - 1
        return whole_number(values.get("frame"), "frame")

    def _series(self, key: Any, track: int | None) -> Series:
        return self.document.people.setdefault(key, Series(track))

    def _element(self, values: Mapping[str, str]) -> None:
        """A point of a skeleton."""
        assert self._person is not None
        name = values.get("label", "")
        rows = _pairs(values.get("points", ""))
        if len(rows) != 1:
            raise InputError(f"frame {self._frame}: the point {name!r:.40} of a skeleton has {len(rows)} places, not 1")
        self._add(self._person, name, rows[0], values)

    def _alone(self, values: Mapping[str, str]) -> None:
        """A shape of points without a skeleton."""
        self._frame = self._frame_of(values)
        rows = _pairs(values.get("points", ""))
        outer = self._track or values
        if len(rows) == 1:
            self.document.named = True
            person = self._grouped(outer.get("group_id") or "0")
            person.frames.add(self._frame)
            self._add(person, outer.get("label", ""), rows[0], values)
            return
        self.document.counts.add(len(rows))
        if self._track is not None:
            person = self._series(("track", self._track.get("id")), _track_id(self._track))
        else:
            person = self._series(("shape", len(self.document.people)), None)
        person.frames.add(self._frame)
        for number, row in enumerate(rows):
            self._add(person, str(number), row, values)

    def _grouped(self, group: str) -> Series:
        """The person of single points of a group: of a picture, or of all tracks."""
        if self._track is not None:
            return self._series(("group", group), whole_number(group, "group_id"))
        return self._series(("group", self._frame, group), None)

    def _add(self, person: Series, name: str, row: tuple[float, float], values: Mapping[str, str]) -> None:
        outside = values.get("outside", "0") in ("1", "True", "true")
        self.document.hidden += not outside and values.get("occluded", "0") in ("1", "True", "true")
        person.add(name, self._frame, *row, outside)


def _track_id(track: Mapping[str, str]) -> int:
    return whole_number(track.get("id"), "the id of a track")


def whole_number(text: str | None, what: str) -> int:
    value = (text or "").strip()
    if not (value.isascii() and value.isdecimal() and int(value[:12]) < MAX_FRAMES and len(value) < 12):
        raise InputError(f"{what} is {text!r:.40}, expected a whole number from 0, below {MAX_FRAMES:,}")
    return int(value)


def _pairs(text: str) -> list[tuple[float, float]]:
    """The places of "x,y;x,y". Raises `InputError` for anything else."""
    try:
        rows = [tuple(map(read_number, pair.split(","))) for pair in text.split(";") if pair.strip()]
        if rows and all(len(row) == 2 and max(map(abs, row)) <= MAX_COORDINATE for row in rows):
            return rows  # type: ignore[return-value]
    except ValueError:
        pass
    raise InputError(f"points is {text!r:.60}, expected x,y;x,y in pixels")
