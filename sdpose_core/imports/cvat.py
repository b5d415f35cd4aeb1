"""CVAT's XML, version 1.1: "CVAT for images" and "CVAT for video", with skeletons or points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

import numpy as np

from ..errors import InputError
from ..images import IMAGE_SUFFIXES
from .cvat_xml import Document, Series, parse_cvat, whole_number
from .found import Found, FoundFrame, FoundPerson
from .points import PointTable, counted_table, point_table

MAX_CLIP = 1_000_000
"""Frames of a task: 9 hours at 30 frames per second. A file of a few lines can state any number."""


def read_cvat(content: bytes) -> Found:
    """The pictures and people of the XML in `content`.

    A point that is outside is absent; one that is occluded is there. Between two frames of a track that are listed,
    points are interpolated linearly, unless the first one is outside. Points of skeletons, and single points whose
    label is the name of a point, go by their names; 17 or 133 points in one shape are in COCO's order. Single points of
    one `group_id` are one person.

    Raises `InputError` for text that is no XML of CVAT, a document type, and values of another kind.
    """
    document = parse_cvat(content)
    if not document.images and not any(person.track is not None for person in document.people.values()):
        raise InputError("it has neither pictures nor tracks: export it from CVAT as 'CVAT for images' or 'for video'")
    table = _table(document)
    notes = table.notes()
    if document.hidden:
        notes.append(f"points marked as occluded count as seen: {document.hidden}")
    frames = _of_images(document, table) if document.images else _of_video(document, table, notes)
    return Found(frames, table.keypoint_set, notes)


def _table(document: Document) -> PointTable:
    names = list(dict.fromkeys(name for person in document.people.values() for name in person.points))
    if not names:
        raise InputError("nobody in it has keypoints: expected skeletons, or points")
    if document.named and document.counts:
        raise InputError("it has skeletons or named points, and shapes of points without names: export only one kind")
    return point_table(names) if document.named else counted_table(max(document.counts))


def _of_images(document: Document, table: PointTable) -> list[FoundFrame]:
    """One frame for each picture; its number is its id where these differ, else its place."""
    ids = [whole_number(image.get("id"), "the id of a picture") for image in document.images]
    numbers = ids if len(set(ids)) == len(ids) else list(range(len(ids)))
    people: dict[int, list[FoundPerson]] = {place: [] for place in range(len(ids))}
    for person in document.people.values():
        for place, points in _rows(person, sorted(person.frames), table):
            people[place].append(FoundPerson(points, person.track))
    return [
        FoundFrame(number, _picture_name(image), _size(image), people[place])
        for place, (number, image) in enumerate(zip(numbers, document.images, strict=True))
    ]


def _picture_name(image: Mapping[str, str]) -> str | None:
    """The name of the picture's file; None for a frame of a video, whose name has no suffix."""
    name = image.get("name", "")
    return name if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES else None


def _size(values: Mapping[str, str]) -> tuple[int, int] | None:
    if not values.get("width") or not values.get("height"):
        return None
    w, h = whole_number(values["width"], "width"), whole_number(values["height"], "height")
    if min(w, h) < 1:
        raise InputError(f"a picture of {w} x {h} pixels: expected at least 1")
    return w, h


def _of_video(document: Document, table: PointTable, notes: list[str]) -> list[FoundFrame]:
    """One frame for each of the task, also where nobody is."""
    numbers = _frame_numbers(document)
    people: dict[int, list[FoundPerson]] = {number: [] for number in numbers}
    rows = []
    for person in document.people.values():
        first, last = min(person.frames, default=0), max(person.frames, default=-1)
        rows.append([*_rows(person, [number for number in numbers if first <= number <= last], table)])
    seen = {number for found in rows for number, _ in found}
    tracked = len(seen) < 2 or any(len(found) > 1 for found in rows)
    if not tracked:
        notes.append("every track is in one frame only, as CVAT writes shapes without tracks: their ids are not used")
    for person, found in zip(document.people.values(), rows, strict=True):
        for number, points in found:
            people[number].append(FoundPerson(points, person.track if tracked else None))
    size = _size(document.meta)
    return [FoundFrame(number, None, size, people[number]) for number in numbers]


def _frame_numbers(document: Document) -> list[int]:
    """The frames of the task: from `start_frame` to `stop_frame`, every N with the filter step=N; and all that are
    listed."""
    listed = {frame for person in document.people.values() for frame in person.frames}
    meta = document.meta
    rule = meta.get("frame_filter", "").replace(" ", "")
    step = whole_number(rule.removeprefix("step="), "frame_filter") if rule.startswith("step=") else 1
    first = whole_number(meta["start_frame"], "start_frame") if meta.get("start_frame") else 0
    if meta.get("stop_frame"):
        last = whole_number(meta["stop_frame"], "stop_frame")
    else:
        count = whole_number(meta["size"], "size") if meta.get("size") else 0
        last = max(first + (count - 1) * max(step, 1), max(listed, default=0))
    numbers = range(first, last + 1, max(step, 1))
    if len(numbers) > MAX_CLIP:
        raise InputError(f"a task of {len(numbers):,} frames, the limit is {MAX_CLIP:,}: export it in parts")
    return sorted({*numbers, *listed})


def _rows(person: Series, numbers: Iterable[int], table: PointTable) -> Iterable[tuple[int, np.ndarray]]:
    """(frame, (K, 3) x, y, score) of the frames in which the person has points."""
    frames = list(numbers)
    points = np.zeros((len(frames), len(table.keypoint_set), 3))
    for name, listed in person.points.items():
        if name in table.places:
            points[:, table.places[name]] = _filled(listed, frames)
    for number, row in zip(frames, points, strict=True):
        if (row[:, 2] > 0).any():
            yield number, row


def _filled(listed: Mapping[int, tuple[float, float, bool]], frames: list[int]) -> np.ndarray:
    """(T, 3) x, y, score of one point, interpolated between the frames that are listed."""
    known = sorted(listed)
    values = np.asarray([listed[frame] for frame in known], np.float64)
    at = np.asarray(frames, np.float64)
    before = np.searchsorted(known, frames, side="right") - 1
    after = np.minimum(before + 1, len(known) - 1)
    inside = (before >= 0) & (at <= known[-1])
    a, b = values[before], values[after]
    steps = np.asarray(known, np.float64)[after] - np.asarray(known, np.float64)[before]
    share = np.where(steps > 0, (at - np.asarray(known)[before]) / np.where(steps > 0, steps, 1), 0)
    share = np.where(b[:, 2] > 0, 0, share)[:, None]  # what goes outside stays in place until then
    places = a[:, :2] * (1 - share) + b[:, :2] * share
    shown = inside & (a[:, 2] == 0)
    return np.concatenate([np.where(shown[:, None], places, math.nan), shown[:, None]], axis=1)
