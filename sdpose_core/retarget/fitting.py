"""Retargeting: the canvas, place, size and proportions of a reference with the motion of a clip."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..boxes import area
from ..errors import InputError, counted
from ..poses import Poses, PoseSequence
from ..sequences.cleaning import drawing_threshold
from ..sequences.people import parse_person, select_people
from ..sequences.tracks import Track, split_tracks
from .affine import Similarity, fit_affine, fit_canvas
from .body import Figure, NothingInCommon, measure
from .limbs import Fit, fit_limbs, refit

log = logging.getLogger(__name__)

METHODS = ("limbs", "affine", "none")
MATCHES = ("order", "same")
FRAMES = ("typical", "first")
AUTO = "auto"
"""The canvas of the reference, extended where the result would leave it."""

AUTO_MARGIN = 0.03
"""Room beyond the outermost points of an extended canvas, as a share of the reference's shorter side."""

LARGEST_CANVAS = 16384

CUT = 0.02
"""Points of the reference closer to the edge than this share of the shorter side may be cut off: limbs are not measured
by them."""
BODY_SETS = ("coco_17", "coco_wholebody_133")


@dataclass(frozen=True)
class _Person:
    """A track, which of its points count, and its body's measures."""

    track: Track
    seen: np.ndarray
    figure: Figure


_Pair = tuple[_Person, _Person | None]


@dataclass(frozen=True)
class _Change:
    """What is done to one person, and the notes about it."""

    fit: Fit | Similarity
    note: dict[str, Any]


def retarget(
    sequence: PoseSequence,
    reference: Poses | PoseSequence,
    method: str = "limbs",
    *,
    person: int | str | None = None,
    reference_person: int | str | None = None,
    match: str | None = None,
    at: str = "typical",
    feet: bool = True,
    canvas: tuple[int, int] | str | None = None,
    threshold: float = 0.3,
) -> PoseSequence:
    """Fit a pose sequence to a reference: keypoints and boxes in pixels of the reference's canvas.

    Limb directions, scores, times, ids, slots and absent points (NaN) are kept. A reference that is a frame of the clip
    changes nothing. `meta["retarget"]` of the result records what was done.

    Args:
        sequence: coco_17 or coco_wholebody_133 (any set with "none").
        reference: poses of a picture or a sequence of the character; only its 17 body points count. A sequence gives
            steadier limb lengths; its most typical frame gives place and size.
        method: "limbs": limbs get the reference's lengths, by one ratio for all frames, as in MusePose; paths are
            scaled by the ratio of the legs. "affine": the whole figure is moved and scaled, by MimicMotion's least
            squares over 14 joints and all frames. "none": the picture is fitted into the canvas.
        person, reference_person: whom to keep of clip and reference, see `people.parse_person`; None: everybody.
        match: "order": pair people from left to right, those of the first frame first; people without a partner move
            along with the first. "same": everybody gets the proportions of the reference's largest person, and keeps
            relative size and place. None: "order" if both show several people.
        at: the frame of the clip that is placed on the reference, among those with the feet on the ground: "typical",
            closest to the medians over the clip, or "first", the first that shows most of the body. A frame with the
            reference's pose has priority. "affine" uses all frames.
        feet: for "limbs": keep the lower foot, not the hips, at the reference's height. Jumps remain, scaled.
        canvas: (w, h) of the result, into which the reference is fitted first; None: the reference's; "auto": the
            reference's, extended to even sides that hold all points, at the same scale.
        threshold: points with a lower score are moved, but not measured and carry no other points.

    `meta["retarget"]["outside"]` counts what lies outside the canvas, see `describe_canvas`.

    Raises `InputError` for an unknown option or keypoint set, and a reference with nobody or nothing in common.
    """
    if isinstance(canvas, str) and canvas != AUTO:
        raise InputError(f"canvas: expected (w, h), None or {AUTO!r}, got {canvas!r}")
    for word, known, what in ((method, METHODS, "method"), (match, (None, *MATCHES), "match"), (at, FRAMES, "at")):
        _check(word, known, what)
    sequence = _chosen(sequence, person, "the sequence")
    clip = reference if isinstance(reference, PoseSequence) else PoseSequence.from_poses([reference])
    size = clip.size if canvas is None or isinstance(canvas, str) else canvas
    finished = _extended if canvas == AUTO else _counted
    meta: dict[str, Any] = {"method": method, "canvas": list(size), "reference": _described(clip)}
    if method == "none":
        return finished(_laid_on(sequence, fit_canvas(sequence.size, size), size, meta), threshold)
    _check_body(sequence, "sequence", method)
    _check_body(clip, "reference", method)
    clip = _chosen(clip, reference_person, "the reference")
    clip = _laid_on(clip, fit_canvas(clip.size, size), size)
    people, models = _people(sequence, threshold), _people(clip, threshold, CUT if method == "limbs" else 0)
    if not models:
        raise InputError("no person was found in the reference: choose another one, or lower the detection threshold")
    if not people:
        return replace(sequence, size=size, meta={**sequence.meta, "retarget": {**meta, "people": {}}})
    match = match or ("order" if len(models) > 1 and len(people) > 1 else "same")
    changes = _changes(_pairs(people, models, match), method, match, feet, at)
    meta |= {"match": match, "feet": feet, "people": {str(p.track.id): c.note for p, c in changes}}
    return finished(_changed(sequence, changes, size, meta), threshold)


def describe_canvas(result: PoseSequence) -> str:
    """One line about points outside the canvas, or an extended canvas; "" if there is nothing to say."""
    note = result.meta["retarget"]
    w, h = result.size
    if "outside" in note:
        points, frames = note["outside"]["points"], note["outside"]["frames"]
        return f"{counted(points, 'point')} in {frames} of {len(result)} frames lie outside the canvas of {w} x {h}"
    if "reference_at" in note:
        x, y = note["reference_at"]
        return f"canvas extended to {w} x {h}: the reference's picture begins at {x}, {y}"
    return ""


def _shown(result: PoseSequence, threshold: float) -> np.ndarray:
    """(T, P, K) points that are drawn."""
    drawn = result.shown_scores() >= drawing_threshold(result.meta, threshold)
    return np.isfinite(result.keypoints).all(axis=-1) & drawn & (result.track_ids >= 0)[..., None]


def _counted(result: PoseSequence, threshold: float) -> PoseSequence:
    """The result with what lies outside its canvas in `meta["retarget"]["outside"]`, if anything does."""
    points = result.keypoints
    out = _shown(result, threshold) & ((points < 0) | (points > np.asarray(result.size))).any(axis=-1)
    if not out.any():
        return result
    outside = {"points": int(out.sum()), "frames": int(out.any(axis=(1, 2)).sum())}
    return replace(result, meta={**result.meta, "retarget": {**result.meta["retarget"], "outside": outside}})


def _extended(result: PoseSequence, threshold: float) -> PoseSequence:
    """The result on a canvas that holds all its points, with the reference's picture at `reference_at` of it."""
    if "outside" not in _counted(result, threshold).meta["retarget"]:
        return result
    points = result.keypoints[_shown(result, threshold)].astype(float)
    lowest, highest, margin = points.min(axis=0), points.max(axis=0), AUTO_MARGIN * min(result.size)
    low = np.where(lowest < 0, np.floor(lowest - margin), 0).astype(int)
    high = np.where(highest > result.size, np.ceil(highest + margin), result.size).astype(int)
    w, h = ((high - low) + (high - low) % 2).tolist()
    if max(w, h) > LARGEST_CANVAS:
        raise InputError(f"the motion needs a canvas of {w} x {h}: the largest is {LARGEST_CANVAS} a side; give a size")
    x, y = (-low).tolist()
    note = {**result.meta["retarget"], "canvas": [w, h], "reference_at": [x, y]}
    return replace(_laid_on(result, Similarity(1.0, (0, 0), (x, y)), (w, h)), meta={**result.meta, "retarget": note})


def _described(clip: PoseSequence) -> dict[str, Any]:
    origin = {key: clip.meta[key] for key in ("source", "model") if key in clip.meta}
    return {"size": list(clip.size), "frames": len(clip), "keypoint_set": clip.keypoint_set, **origin}


def _check(value: Any, known: Sequence[Any], what: str) -> None:
    if value not in known:
        raise InputError(f"{what}: expected one of {', '.join(map(str, known))}, got {value!r}")


def _check_body(sequence: PoseSequence, name: str, method: str) -> None:
    if sequence.keypoint_set not in BODY_SETS:
        raise InputError(
            f"retargeting by {method!r} needs {' or '.join(BODY_SETS)}, the {name} is {sequence.keypoint_set!r}: "
            "use the method 'none'"
        )


def _chosen(sequence: PoseSequence, person: int | str | None, where: str) -> PoseSequence:
    if person is None:
        return sequence
    chosen = select_people(sequence, **parse_person(str(person)))
    if not (chosen.track_ids >= 0).any():
        ids = [track_id for track_id in np.unique(sequence.track_ids).tolist() if track_id >= 0]
        raise InputError(f"person {person!r} is not in {where}: {f'it has ids {ids}' if ids else 'it shows nobody'}")
    return chosen


def _people(sequence: PoseSequence, threshold: float, cut: float = 0) -> list[_Person]:
    """Everybody, from left to right, those of the first frame first. Points within `cut` of the edge do not count."""
    min_score, margin = drawing_threshold(sequence.meta, threshold), cut * min(sequence.size)
    people = []
    for track in split_tracks(sequence):
        seen = np.isfinite(track.keypoints).all(axis=-1) & (track.scores >= min_score)
        if cut:
            to_edge = np.minimum(np.abs(track.keypoints), np.abs(track.keypoints - sequence.size))
            seen &= (to_edge > margin).all(axis=-1)
        people.append(_Person(track, seen, measure(track.keypoints, seen)))
    first = min((person.track.start for person in people), default=0)
    return sorted(people, key=lambda p: (p.track.start > first, float(p.track.boxes[0, [0, 2]].sum())))


def _largest(people: Sequence[_Person]) -> _Person:
    """The person with the largest box area, summed over time."""
    return max(people, key=lambda person: float(area(person.track.boxes[person.track.present, :4]).sum()))


def _pairs(people: Sequence[_Person], models: Sequence[_Person], match: str) -> list[_Pair]:
    """(person, the reference's person or None); people without a partner follow the first pair."""
    if match == "same":
        main, model = _largest(people), _largest(models)
        return [(main, model), *((person, model) for person in people if person is not main)]
    partners = [*models, *[None] * len(people)]
    return list(zip(people, partners, strict=False))


def _changes(pairs: Sequence[_Pair], method: str, match: str, feet: bool, at: str) -> list[tuple[_Person, _Change]]:
    main, model = pairs[0]
    assert model is not None
    lead = _fitted(main, model, method, feet, at)
    if lead is None:
        raise InputError(
            f"person {main.track.id} and the reference have nothing in common: use a reference with more of the body"
        )
    changes = [(main, lead)]
    for person, partner in pairs[1:]:
        change = _fitted(person, partner, method, feet, at) if partner is not None else None
        if match == "same" and change is not None:
            change = _beside(change, lead)
        changes.append((person, change or _along(lead)))
    return changes


def _fitted(person: _Person, model: _Person, method: str, feet: bool, at: str) -> _Change | None:
    """The change from a person to the reference's; None if they have nothing in common."""
    try:
        if method == "limbs":
            fit = fit_limbs(person.figure, model.figure, feet, at)
            return _Change(fit, _note(fit))
        place, note = fit_affine(person.figure, model.figure)
        return _Change(place, {"scale": round(place.scale, 4), **note})
    except NothingInCommon as error:
        log.info("person %d: %s", person.track.id, error)
        return None


def _note(fit: Fit) -> dict[str, Any]:
    return {
        "ratios": {name: round(ratio, 4) for name, ratio in fit.ratios.items()},
        "unseen": [name for name in fit.ratios if name not in fit.known],
        "scale": round(fit.place.scale, 4),
        "frame": fit.frame,
        "likeness": round(fit.likeness, 4),
        "grounded": fit.grounded,
    }


def _along(lead: _Change) -> _Change:
    """The change of people who follow the first person: moved and scaled, with their proportions."""
    place = lead.fit.place if isinstance(lead.fit, Fit) else lead.fit
    return _Change(place, {"scale": round(place.scale, 4), "note": "moved and scaled along with the first person"})


def _beside(change: _Change, lead: _Change) -> _Change | None:
    """The reference's proportions, with the size and place relative to the first person."""
    if not (isinstance(change.fit, Fit) and isinstance(lead.fit, Fit)):
        return None
    grounded = change.fit.grounded and lead.fit.grounded
    fit = change.fit.scaled(lead.fit.mean / change.fit.mean, lead.fit.place, grounded)
    return _Change(fit, _note(fit))


def _changed(
    sequence: PoseSequence, changes: Sequence[tuple[_Person, _Change]], size: tuple[int, int], meta: Mapping[str, Any]
) -> PoseSequence:
    keypoints, boxes = np.array(sequence.keypoints, np.float64), np.array(sequence.boxes, np.float64)
    for person, change in changes:
        track, fit = person.track, change.fit
        points = fit(track.keypoints) if isinstance(fit, Similarity) else refit(track.keypoints, person.seen, fit)
        scale, place = (fit.scale, fit) if isinstance(fit, Similarity) else (fit.mean, fit.place)
        frames, slots = np.nonzero(sequence.track_ids == track.id)
        rows = frames - track.start
        keypoints[frames, slots] = points[rows]
        boxes[frames, slots, :4] = _boxes(track, person.seen, points, scale, place)[rows]
    meta = {**sequence.meta, "retarget": dict(meta)}
    return replace(sequence, keypoints=keypoints, boxes=boxes, size=size, meta=meta)


def _boxes(track: Track, seen: np.ndarray, points: np.ndarray, scale: float, place: Similarity) -> np.ndarray:
    """(N, 4) boxes around the moved points, with the scaled margins of the old boxes."""
    moved = place(track.boxes[:, :4].reshape(-1, 2, 2)).reshape(-1, 4)
    counted = np.where(seen.any(axis=1, keepdims=True), seen, np.isfinite(track.keypoints).all(axis=-1))
    some = counted.any(axis=1)
    margins = track.boxes[some, :4] - _extent(track.keypoints[some], counted[some])
    moved[some] = _extent(points[some], counted[some]) + scale * margins
    return moved


def _extent(points: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """(N, K, 2), (N, K) with at least one in each row -> (N, 4) x1, y1, x2, y2."""
    low = np.where(counted[..., None], points, np.inf).min(axis=1)
    high = np.where(counted[..., None], points, -np.inf).max(axis=1)
    return np.concatenate([low, high], axis=1)


def _laid_on(
    sequence: PoseSequence, place: Similarity, size: tuple[int, int], meta: Mapping[str, Any] | None = None
) -> PoseSequence:
    """A whole sequence mapped onto a canvas of `size`; empty slots stay zero."""
    boxes, present = np.array(sequence.boxes, np.float64), sequence.track_ids >= 0
    boxes[present, :4] = place(boxes[present, :4].reshape(-1, 2, 2)).reshape(-1, 4)
    note = {} if meta is None else {"retarget": {**meta, "scale": place.scale}}
    keypoints = place(np.array(sequence.keypoints, np.float64))
    return replace(sequence, keypoints=keypoints, boxes=boxes, size=size, meta={**sequence.meta, **note})
