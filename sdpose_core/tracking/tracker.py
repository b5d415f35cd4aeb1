"""Stable track ids through crossings, short occlusions and missed detections.

Every track predicts its person's box: constant velocity; somebody seen once may stand or move like everybody else. The
Hungarian algorithm matches predictions to people by box overlap, pose similarity (OKS), distance and clothes. A track
unmatched for too long stops predicting, but its person can be recognized by the clothes or, if these are unseen, by the
edge of the picture where they left. A hard cut ends all ids. Causal: ids depend on the current and earlier frames only.
Written by hand because tracking libraries match boxes alone: they know neither keypoints nor a resumable state.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from fractions import Fraction
from typing import Any

import numpy as np

from .. import boxes as box_tools
from ..errors import InputError
from ..oks import body_sigmas, oks
from ..poses import USUAL_RATE, Poses
from ..times import frames_between, is_pause
from .looks import likeness, looks, no_looks
from .options import TrackerOptions
from .scene_cuts import SceneCuts
from .track import KNOWN_HITS, MIN_POINTS, Track, follow

log = logging.getLogger(__name__)

STATE_VERSION = 1
ROOM, ROOM_FRAMES = 0.2, 5
"""A missed person may be farther from the prediction, by this share per missed frame, for so many frames."""
TRIES = 2
"""How often in a row somebody whom the detector missed is looked for in vain, see `Tracker.missed`."""
FRESH_NEARNESS = 0.6
"""Weight of nearness alone for people seen once: the boxes of somebody fast do not overlap."""
MIN_NEARNESS = 0.1
"""Minimum mean of box overlap and nearness for a match."""


class Tracker:
    """Assigns track ids to the people of successive frames.

    Args:
        frame_rate: frames per second of the source; None: 25.
        size: (w, h) of the source.
    """

    def __init__(
        self, frame_rate: Fraction | None, size: tuple[int, int], options: TrackerOptions | None = None
    ) -> None:
        self.frame_rate = frame_rate or USUAL_RATE
        self.size = size
        self.options = options or TrackerOptions()
        self._tracks: list[Track] = []
        self._gone: list[Track] = []
        self._next_id = 0
        self._before: float | None = None
        self._last_frame: int | None = None
        self._last_seconds: float | None = None
        self._extra: float = 0
        self._paused = False
        self._cuts = SceneCuts(self.options.cut_threshold)

    def update(
        self, poses: Poses, frame_index: int, image: np.ndarray | None = None, seconds: float | None = None
    ) -> Poses:
        """The poses of the next frame with their track ids, sorted by id.

        Args:
            poses: in pixels of the source.
            frame_index: number of the frame in the source; must increase, gaps are allowed.
            image: RGB uint8 (H, W, 3); needed to find cuts and to recognize people by their clothes.
            seconds: time of the frame; None: its number at a constant rate.

        `meta["scene_cut"]` of the result says whether a scene begins here. Raises `InputError` for poses of another
        size, a frame number that does not increase or, with `trust_ids`, two people with the same id.
        """
        frame_index = int(frame_index)
        self._check(poses, frame_index)
        cut = self.options.cuts and image is not None and self._cuts.update(image)
        now = self._advance(frame_index, seconds)
        if self.options.trust_ids:
            return _in_order(poses.with_meta(scene_cut=cut))
        if cut:
            log.info("frame %d: new scene, all ids end", frame_index)
            self._tracks, self._gone = [], []
        self._age(now)
        ids = self._assign(poses, now, image)
        return _in_order(replace(poses, track_ids=ids, meta={**poses.meta, "scene_cut": cut}))

    def predict(self, frame_index: int, seconds: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Predicted boxes (N, 4) in pixels of the tracked people, and their ids (N,)."""
        now = self.time_of(frame_index, seconds)
        boxes = [track.box + np.tile(track.shift(now, self.size), 2) for track in self._tracks]
        return np.asarray(boxes).reshape(-1, 4), np.asarray([track.id for track in self._tracks], np.int64)

    def missed(
        self, poses: Poses, frame_index: int, image: np.ndarray, seconds: float | None = None
    ) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """The tracked people who are not among the poses of the next frame: ids, expected boxes (4,) and body points
        (K, 2; NaN unseen).

        Call it before `update`. Nobody is named who was seen in one frame only, who was looked for `TRIES` times in a
        row in vain, or whom the detector has missed for `lost_seconds`; after a pause or at a cut, nobody at all.
        """
        now, limit = self.time_of(frame_index, seconds), self.options.lost_seconds * self.frame_rate
        waiting = [
            track for track in self._tracks
            if track.hits > 1 and track.failed < TRIES and now - _seen_by_detector(track) <= limit
        ]  # fmt: skip
        if not waiting or self.options.trust_ids or self.pauses_before(frame_index, seconds):
            return []
        seen = looks(image, poses)
        found = {id(self._tracks[row]) for row, _ in self._pairs(poses, now, seen, self._last_time())}
        absent = [track for track in waiting if id(track) not in found]
        if not absent or (self.options.cuts and self._cuts.foresees(image)):
            return []
        for track in absent:
            track.unseen_since = _seen_by_detector(track)
        shifts = [track.shift(now, self.size) for track in absent]
        return [
            (track.id, track.box + np.tile(shift, 2), track.keypoints + shift)
            for track, shift in zip(absent, shifts, strict=True)
        ]

    def looked_for(self, track_id: int, found: bool) -> None:
        """Record whether somebody who was `missed` is in the next frame after all."""
        for track in self._tracks:
            if track.id == track_id:
                track.failed, track.confirmed = 0 if found else track.failed + 1, found

    def _last_time(self) -> float | None:
        """The time of the last frame, in frames."""
        return None if self._last_frame is None else self._last_frame + self._extra

    def time_of(self, frame_index: int, seconds: float | None = None) -> float:
        """The time of a frame after the last one, in frames: its number, plus what pauses of the recording lasted."""
        return frame_index + self._extra_at(frame_index, seconds)

    def _extra_at(self, frame_index: int, seconds: float | None) -> float:
        last, before = self._last_frame, self._last_seconds
        if last is None or before is None or seconds is None or not seconds > before:
            return self._extra
        numbers = frame_index - last
        return self._extra + (frames_between(seconds - before, numbers, self.frame_rate) - numbers)

    def pauses_before(self, frame_index: int, seconds: float | None) -> bool:
        """Whether the recording paused between the last frame and this one."""
        last = self._last_frame
        if last is None or seconds is None:
            return False
        return is_pause(self.time_of(frame_index, seconds) - last - self._extra, frame_index - last, self.frame_rate)

    def _advance(self, frame_index: int, seconds: float | None) -> float:
        """Go on to a frame; returns its time in frames."""
        self._before = None if self._last_frame is None else self._last_frame + self._extra
        self._paused, self._extra = self.pauses_before(frame_index, seconds), self._extra_at(frame_index, seconds)
        self._last_frame, self._last_seconds = frame_index, seconds
        return frame_index + self._extra

    def _check(self, poses: Poses, frame_index: int) -> None:
        if poses.size != self.size:
            raise InputError(f"frame {frame_index}: poses of size {poses.size} in a clip of size {self.size}")
        if self._last_frame is not None and frame_index <= self._last_frame:
            raise InputError(f"frame {frame_index} came after frame {self._last_frame}: frames must come in order")
        ids = poses.track_ids
        if self.options.trust_ids and ids is not None and len(np.unique(ids)) < len(ids):
            raise InputError(f"frame {frame_index}: two people have the same track id: {ids.tolist()}")

    # --- matching --------------------------------------------------------------------------------------------------

    def _assign(self, poses: Poses, now: float, image: np.ndarray | None) -> np.ndarray:
        """(P,) ids; updates the tracks."""
        seen = no_looks(len(poses)) if image is None else looks(image, poses)
        ids = np.full(len(poses), -1)
        for row, person in self._pairs(poses, now, seen, self._before):
            self._confirm(self._tracks[row], seen[person])
            ids[person] = self._tracks[row].id
            follow(self._tracks[row], poses, person, now, self._points(poses)[person], seen[person])
        for person in np.flatnonzero(ids < 0).tolist():
            ids[person] = self._begin(poses, person, now, seen[person])
        return ids

    def _pairs(self, poses: Poses, now: float, seen: np.ndarray, before: float | None) -> list[tuple[int, int]]:
        """(row of a track, person) of all that match. `before`: the time of the frame before."""
        from scipy.optimize import linear_sum_assignment

        similarity = self._similarity(poses, now, seen, before)
        possible = similarity >= self.options.least_similarity
        # A forbidden pair is worth 0, not less: otherwise it would force others into worse pairs.
        worth = np.where(possible, np.maximum(similarity - self._penalty(now, before)[:, None], 1e-6), 0)
        rows, people = linear_sum_assignment(-worth)
        return [(int(row), int(person)) for row, person in zip(rows, people, strict=True) if possible[row, person]]

    def _points(self, poses: Poses) -> np.ndarray:
        """(P, K, 2) float64 body points, NaN below the threshold."""
        count = len(body_sigmas(poses.keypoint_set, poses.keypoints.shape[1]))
        sure = poses.scores[:, :count] >= self.options.point_threshold
        return np.where(sure[..., None], poses.keypoints[:, :count], np.nan).astype(np.float64)

    def _similarity(self, poses: Poses, now: float, seen: np.ndarray, before: float | None) -> np.ndarray:
        """(tracks, people) mean of box overlap, OKS and nearness, plus a term for the clothes; 0 if too far apart."""
        if not self._tracks or not len(poses):
            return np.zeros((len(self._tracks), len(poses)))
        fresh = self._fresh()
        shifts = np.stack([track.shift(now, self.size) for track in self._tracks])
        shifts = np.where(fresh[:, None], self._common_step(now, before), shifts)
        boxes = np.stack([track.box for track in self._tracks]) + np.tile(shifts, 2)
        points = np.stack([track.keypoints for track in self._tracks]) + shifts[:, None]
        found, found_points = poses.boxes[:, :4].astype(np.float64), self._points(poses)
        overlap, near = box_tools.iou(boxes, found), self._nearness(boxes, found, now)
        sigmas = body_sigmas(poses.keypoint_set, poses.keypoints.shape[1])
        alike = oks(points, found_points, box_tools.area(boxes), sigmas, spread=1.5)
        shared = np.isfinite(points[:, None] - found_points[None]).all(axis=-1).sum(axis=-1)
        place = (overlap + np.where(shared >= MIN_POINTS, alike, overlap) + near) / 3
        place = np.where(fresh[:, None], np.maximum(place, FRESH_NEARNESS * near), place)
        colors = np.asarray([[likeness(track.look, look) for look in seen] for track in self._tracks])
        clothes = self.options.clothes_weight * np.nan_to_num(colors - 0.75)
        return np.where((overlap + near) / 2 < MIN_NEARNESS, 0.0, place + clothes)

    def _nearness(self, boxes: np.ndarray, found: np.ndarray, now: float) -> np.ndarray:
        """(tracks, people) see `_nearness`: with more room for people who were missed, and also from the last place of
        people seen once."""
        missed = np.asarray([now - track.last_frame - 1 for track in self._tracks], np.float64)
        near = _nearness(boxes, found, 1 + ROOM * np.clip(missed, 0, ROOM_FRAMES))
        here = _nearness(np.stack([track.box for track in self._tracks]), found, 1)
        return np.where(self._fresh()[:, None], np.maximum(near, here), near)

    def _fresh(self) -> np.ndarray:
        """(tracks,) whether a track was seen once, so that its motion is unknown."""
        return np.asarray([track.hits == 1 for track in self._tracks], bool)

    def _common_step(self, now: float, before: float | None) -> np.ndarray:
        """(2,) pixels that the known tracks move from one frame to the next, as in a pan; 0 if they do not agree."""
        known = [track.velocity for track in self._tracks if track.hits >= KNOWN_HITS and track.last_frame == before]
        if not known or before is None:
            return np.zeros(2)
        middle = np.median(known, axis=0)
        agree = np.linalg.norm(np.asarray(known) - middle, axis=1) <= 0.5 * np.linalg.norm(middle)
        return middle * (now - before) if agree.all() else np.zeros(2)

    def _penalty(self, now: float, before: float | None) -> np.ndarray:
        """(tracks,) what a track's similarity loses, the more the longer its person has been unseen."""
        waited = np.asarray([(now - track.last_frame) / self.frame_rate for track in self._tracks], np.float64)
        seen_last = np.asarray([track.last_frame == before for track in self._tracks], bool)
        return np.where(seen_last, 0, 0.2 + 0.1 * np.minimum(waited / max(self.options.lost_seconds, 1e-9), 1))

    # --- life of tracks --------------------------------------------------------------------------------------------

    def _age(self, now: float) -> None:
        """Tracks unseen for too long are kept for recognition only, and finally dropped.

        After a pause of the recording, who was there before it is still looked for in their place: nobody saw them go.
        """
        seconds = {id(track): (now - track.last_frame) / self.frame_rate for track in self._tracks + self._gone}
        lost, end = self.options.lost_seconds, self.options.lost_seconds + self.options.remember_seconds
        stays = [
            seconds[id(track)] <= (end if self._paused and track.last_frame == self._before else lost)
            for track in self._tracks
        ]
        left = [track for track, stay in zip(self._tracks, stays, strict=True) if not stay]
        self._tracks = [track for track, stay in zip(self._tracks, stays, strict=True) if stay]
        self._gone = [track for track in self._gone + left if seconds[id(track)] <= end]

    def _begin(self, poses: Poses, person: int, now: float, look: np.ndarray) -> int:
        """Start a track for somebody new or recognized; returns its id."""
        box, points = poses.boxes[person, :4].astype(np.float64), self._points(poses)[person]
        unseen = bool(np.isnan(look).all())
        known = self._by_edge(box) if unseen else self._by_clothes(look)
        track_id = self._new_id() if known is None else known.id
        if known is not None:
            self._gone.remove(known)
            look = known.look
        guessed = unseen and known is not None
        self._tracks.append(Track(track_id, box, points, np.zeros(2), now, 1, look, guessed))
        return track_id

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _by_clothes(self, look: np.ndarray) -> Track | None:
        """The person who left and looks most like this, unless somebody else looks nearly as similar."""
        others = [likeness(track.look, look) for track in self._tracks]
        scores = [likeness(track.look, look) for track in self._gone]
        if not scores or np.isnan(scores).all():
            return None
        best = int(np.nanargmax(scores))
        rivals = [score for i, score in enumerate(scores) if i != best] + others
        clear = all(not score > scores[best] - self.options.likeness_lead for score in rivals)
        return self._gone[best] if scores[best] >= self.options.least_likeness and clear else None

    def _by_edge(self, box: np.ndarray) -> Track | None:
        """The only person of about this height who left by the edge that this box touches."""
        height = box[3] - box[1]
        candidates = [
            track
            for track in self._gone
            if _edges(track.box, self.size) & _edges(box, self.size)
            and abs(np.log((track.box[3] - track.box[1]) / height)) < 0.25
            and abs(track.box[3] - box[3]) + abs(track.box[0] - box[0]) < 1.5 * height
        ]
        return candidates[0] if len(candidates) == 1 else None

    def _confirm(self, track: Track, look: np.ndarray) -> None:
        """Check a guess once the clothes are seen: if they differ, the person gets a new id."""
        alike = likeness(track.look, look)
        if track.guessed and np.isfinite(alike):
            track.guessed = False
            if alike < self.options.least_likeness - 0.2:
                track.id, track.look = self._new_id(), look

    # --- resuming --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The complete state, JSON-able, for `Tracker.from_state`."""
        return {
            "version": STATE_VERSION,
            "frame_rate": [self.frame_rate.numerator, self.frame_rate.denominator],
            "size": list(self.size),
            "options": asdict(self.options),
            "tracks": [track.state() for track in self._tracks],
            "gone": [track.state() for track in self._gone],
            "next_id": self._next_id,
            "last_frame": self._last_frame,
            "last_seconds": self._last_seconds,
            "extra_frames": self._extra,
            "cuts": self._cuts.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Tracker:
        """The tracker that wrote `state`. Raises `InputError` for a state of another version."""
        if state.get("version") != STATE_VERSION:
            raise InputError(f"tracker state: expected version {STATE_VERSION}, got {state.get('version')!r}")
        w, h = state["size"]
        tracker = cls(Fraction(*state["frame_rate"]), (w, h), TrackerOptions(**state["options"]))
        tracker._tracks = [Track.from_state(track) for track in state["tracks"]]
        tracker._gone = [Track.from_state(track) for track in state["gone"]]
        tracker._next_id, tracker._last_frame = state["next_id"], state["last_frame"]
        tracker._last_seconds = state.get("last_seconds")  # older states have no times
        tracker._extra = state.get("extra_frames", 0)
        tracker._cuts.restore(state["cuts"])
        return tracker


def _seen_by_detector(track: Track) -> float:
    """When a detector saw a person last, in frames of time."""
    return track.last_frame if track.unseen_since is None else track.unseen_since


def _in_order(poses: Poses) -> Poses:
    return poses.select(np.argsort(np.asarray(poses.track_ids), kind="stable"))


def _nearness(boxes: np.ndarray, found: np.ndarray, room: np.ndarray | float) -> np.ndarray:
    """(N, M) Gaussian of the distance between centers, in halves of the box's longer side times `room`; 1 for the same
    center."""
    centers, found_centers = (boxes[:, :2] + boxes[:, 2:]) / 2, (found[:, :2] + found[:, 2:]) / 2
    distance = np.linalg.norm(centers[:, None] - found_centers[None], axis=-1)
    extent = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1) * room, 1)[:, None] / 2
    return np.exp(-((distance / extent) ** 2))


def _edges(box: np.ndarray, size: tuple[int, int]) -> set[str]:
    """Edges of the picture within a tenth of the box's size."""
    reach_x, reach_y = 0.1 * (box[2:] - box[:2])
    near = {
        "left": box[0] <= reach_x, "top": box[1] <= reach_y,
        "right": box[2] >= size[0] - reach_x, "bottom": box[3] >= size[1] - reach_y,
    }  # fmt: skip
    return {edge for edge, reached in near.items() if reached}
