"""Fitting a pose sequence to a character: the reference's canvas, place, size and proportions, the clip's motion."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError
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
CUT = 0.02
"""Points of the reference this near to the edge of its picture, as a share of its shorter side, may be cut off there:
limbs are not measured by them."""
BODY_SETS = ("coco_17", "coco_wholebody_133")


@dataclass(frozen=True)
class _Person:
    """A track, which of its points count, and its measures (of the 17 points of the body)."""

    track: Track
    seen: np.ndarray
    figure: Figure


_Pair = tuple[_Person, _Person | None]


@dataclass(frozen=True)
class _Change:
    """What is done to one person, and what is said about it."""

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
    canvas: tuple[int, int] | None = None,
    threshold: float = 0.3,
) -> PoseSequence:
    """A pose sequence fitted to a reference: keypoints and boxes in pixels of the reference's canvas.

    Directions of limbs, scores, time stamps, ids and slots stay; absent points stay NaN. A reference that is a frame of
    the clip itself changes nothing. What was done is in the meta of the result under "retarget".

    Args:
        sequence: coco_17 or coco_wholebody_133 (with "none" any set).
        reference: poses of a picture of the character, or a sequence of it, of either set: its 17 points of the body
            count. A sequence gives steadier lengths of limbs; its most typical frame gives place and size.
        method: "limbs": each limb gets the reference's length, by one ratio for all frames, from the root outwards, as
            MusePose does it; the ways of the person are scaled by the ratio of the legs. "affine": the figure as a
            whole is moved and scaled, by MimicMotion's least squares over 14 joints and all frames. "none": the clip's
            picture is laid onto the canvas, as large as it goes.
        person, reference_person: who is kept of clip and reference, see `people.parse_person`; None: everybody.
        match: "order": people of clip and reference from left to right, those of the first frame first; whoever has no
            partner is moved and scaled along with the first. "same": all get the proportions of the reference's largest
            person, and keep their sizes and places among themselves. None: "order" where both show several people.
        at: the frame of the clip in which a person has the place and size of the reference: the "typical" one, nearest
            to the medians over the clip, or the "first" in which most of the body is seen. (Of frames with the feet on
            the ground. A frame that shows the very pose of the reference goes before.) "affine" takes all frames.
        feet: "limbs" only: the lower foot, not the hips, is held at the reference's height. Jumps remain, scaled.
        canvas: (w, h) of the result, onto which the reference is laid first; None: the reference's.
        threshold: points of a lower score are not measured, and nothing hangs on them; they are moved all the same.

    Raises `InputError` for an unknown method, other keypoint sets, and a reference with nobody or nothing in common.
    """
    for word, known, what in ((method, METHODS, "method"), (match, (None, *MATCHES), "match"), (at, FRAMES, "at")):
        _check(word, known, what)
    sequence = _chosen(sequence, person, "the sequence")
    clip = reference if isinstance(reference, PoseSequence) else PoseSequence.from_poses([reference])
    size = canvas or clip.size
    meta: dict[str, Any] = {"method": method, "canvas": list(size), "reference": _described(clip)}
    if method == "none":
        return _laid_on(sequence, fit_canvas(sequence.size, size), size, meta)
    _check_body(sequence, "sequence", method)
    _check_body(clip, "reference", method)
    clip = _chosen(clip, reference_person, "the reference")
    clip = _laid_on(clip, fit_canvas(clip.size, size), size)
    people, models = _people(sequence, threshold), _people(clip, threshold, CUT if method == "limbs" else 0)
    if not models:
        raise InputError("nobody is in the reference: choose a picture of a person, or lower the detector's threshold")
    if not people:
        return replace(sequence, size=size, meta={**sequence.meta, "retarget": {**meta, "people": {}}})
    match = match or ("order" if len(models) > 1 and len(people) > 1 else "same")
    changes = _changes(_pairs(people, models, match), method, match, feet, at)
    meta |= {"match": match, "feet": feet, "people": {str(p.track.id): c.note for p, c in changes}}
    return _changed(sequence, changes, size, meta)


def _check(value: Any, known: Sequence[Any], what: str) -> None:
    if value not in known:
        raise InputError(f"{what}: expected one of {', '.join(str(each) for each in known)}, got {value!r}")


def _check_body(sequence: PoseSequence, name: str, method: str) -> None:
    if sequence.keypoint_set not in BODY_SETS:
        raise InputError(
            f"retargeting by {method!r} needs {' or '.join(BODY_SETS)}, the {name} is {sequence.keypoint_set!r}: "
            "use the method 'none'"
        )


def _chosen(sequence: PoseSequence, person: int | str | None, where: str) -> PoseSequence:
    if person is None:
        return sequence
    own = select_people(sequence, **parse_person(str(person)))
    if not (own.track_ids >= 0).any():
        ids = [int(each) for each in np.unique(sequence.track_ids) if each >= 0]
        raise InputError(f"person {person!r} is not in {where}: it has ids {ids or 'of nobody'}")
    return own


def _described(clip: PoseSequence) -> dict[str, Any]:
    words = {key: clip.meta[key] for key in ("source", "model") if key in clip.meta}
    return {"size": list(clip.size), "frames": len(clip), "keypoint_set": clip.keypoint_set, **words}


def _people(sequence: PoseSequence, threshold: float, cut: float = 0) -> list[_Person]:
    """Everybody of whom anything is there, from left to right, those of the first frame first.

    With `cut`, points this near to the edge of the picture do not count.
    """
    min_score, margin = drawing_threshold(sequence.meta, threshold), cut * min(sequence.size)
    people = []
    for track in split_tracks(sequence):
        seen = np.isfinite(track.keypoints).all(axis=-1) & (track.scores >= min_score)
        if cut:
            to_edge = np.minimum(np.abs(track.keypoints), np.abs(track.keypoints - sequence.size))
            seen &= (to_edge > margin).all(axis=-1)
        people.append(_Person(track, seen, measure(track.keypoints, seen)))
    first = min((one.track.start for one in people), default=0)
    return sorted(people, key=lambda one: (one.track.start > first, float(one.track.boxes[0, [0, 2]].sum())))


def _largest(people: Sequence[_Person]) -> _Person:
    """Whoever covers most of the picture over time."""

    def covered(one: _Person) -> float:
        sides = one.track.boxes[one.track.present, 2:4] - one.track.boxes[one.track.present, :2]
        return float(np.prod(sides, axis=1).sum())

    return max(people, key=covered)


def _pairs(people: Sequence[_Person], models: Sequence[_Person], match: str) -> list[_Pair]:
    """(person, the reference's person or None); the first pair leads those who have no partner."""
    if match == "same":
        main, model = _largest(people), _largest(models)
        return [(main, model), *((one, model) for one in people if one is not main)]
    partners = [*models, *[None] * len(people)]
    return list(zip(people, partners, strict=False))


def _changes(pairs: Sequence[_Pair], method: str, match: str, feet: bool, at: str) -> list[tuple[_Person, _Change]]:
    main, model = pairs[0]
    assert model is not None
    lead = _fitted(main, model, method, feet, at)
    if lead is None:
        raise InputError(
            f"the reference and person {main.track.id} of the clip show nothing in common: choose a reference in which "
            "more of the body is seen, or another person"
        )
    changes = [(main, lead)]
    for one, partner in pairs[1:]:
        own = _fitted(one, partner, method, feet, at) if partner is not None else None
        if match == "same" and own is not None:
            own = _beside(own, lead)
        changes.append((one, own or _along(lead)))
    return changes


def _fitted(person: _Person, model: _Person, method: str, feet: bool, at: str) -> _Change | None:
    """What makes a person into the reference's; None if they have nothing in common."""
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
    """For those who go along with the first person: moved and scaled, not changed in proportions."""
    place = lead.fit.place if isinstance(lead.fit, Fit) else lead.fit
    return _Change(place, {"scale": round(place.scale, 4), "note": "moved and scaled along with the first person"})


def _beside(own: _Change, lead: _Change) -> _Change | None:
    """The reference's proportions, at the size and place that the person has beside the first one."""
    if not (isinstance(own.fit, Fit) and isinstance(lead.fit, Fit)):
        return None
    fit = own.fit.scaled(lead.fit.mean / own.fit.mean, lead.fit.place, own.fit.grounded and lead.fit.grounded)
    return _Change(fit, _note(fit))


def _changed(
    sequence: PoseSequence, changes: Sequence[tuple[_Person, _Change]], size: tuple[int, int], meta: Mapping[str, Any]
) -> PoseSequence:
    """The sequence with everybody changed, each in the slots that they have."""
    keypoints, boxes = np.array(sequence.keypoints, np.float64), np.array(sequence.boxes, np.float64)
    for person, change in changes:
        track, fit = person.track, change.fit
        points = fit(track.keypoints) if isinstance(fit, Similarity) else refit(track.keypoints, person.seen, fit)
        scale = fit.scale if isinstance(fit, Similarity) else fit.mean
        place = fit if isinstance(fit, Similarity) else fit.place
        frames, slots = np.nonzero(sequence.track_ids == track.id)
        rows = frames - track.start
        keypoints[frames, slots] = points[rows]
        boxes[frames, slots, :4] = _boxes(track, person.seen, points, scale, place)[rows]
    return replace(
        sequence, keypoints=keypoints, boxes=boxes, size=size, meta={**sequence.meta, "retarget": dict(meta)}
    )


def _boxes(track: Track, seen: np.ndarray, points: np.ndarray, scale: float, place: Similarity) -> np.ndarray:
    """(N, 4) boxes about the moved points, with the margins that the old boxes had about the old points."""
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
    """All of a sequence moved by one map onto a canvas of `size`; empty slots stay zero."""
    boxes = np.array(sequence.boxes, np.float64)
    there = sequence.track_ids >= 0
    boxes[there, :4] = place(boxes[there, :4].reshape(-1, 2, 2)).reshape(-1, 4)
    own = dict(sequence.meta) if meta is None else {**sequence.meta, "retarget": {**meta, "scale": place.scale}}
    keypoints = place(np.array(sequence.keypoints, np.float64))
    return replace(sequence, keypoints=keypoints, boxes=boxes, size=size, meta=own)
