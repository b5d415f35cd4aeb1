"""A review: the poses, the pictures, the edits in force, the journal. What the page shows and asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from ..errors import InputError
from ..poses import Poses, PoseSequence
from ..sequences.distrust import not_calibrated, with_distrust
from ..sequences.doubts import is_calibrated
from .applying import apply_all, apply_edit, result_of
from .canvas import PLACED, Canvas, Change
from .journal import Journal, active_edits
from .pictures import Pictures
from .refresh import OF_PEOPLE
from .views import people_of

ROUGH = "distrust is not calibrated for this model: it ranks points, its percentages are rough"

T = TypeVar("T")
Estimate = Callable[[np.ndarray, np.ndarray], Poses]
"""(RGB picture, (1, 5) box) -> the poses in it."""


class Store(Protocol):
    """Where the results of a review go."""

    default_name: str

    def save(self, sequence: PoseSequence, name: str) -> Path:
        """Write the corrected poses. Raises `InputError`, with nothing lost, where that is not possible."""
        ...

    def save_training(self, session: ReviewSession, folder: str) -> tuple[Path, int, int]:
        """Write the frames that were looked at as training data: the folder, its pictures and people."""
        ...


class _Closed(Exception):
    """The review was closed while something was computed for it."""


class ReviewSession:
    """One review. All methods may be called by any thread; those that fail raise `InputError` and change nothing.

    Args:
        sequence: the poses. Distrust that they do not have is computed meanwhile, see `computing`.
        name: what is reviewed, for the page.
        journal: in which edits are kept; those in it are applied.
        pictures: None: the page shows the poses on gray.
        estimate: for "estimate again"; None: not offered.
        store: None: nothing can be saved, as in ComfyUI, where the journal is the result.
        sizes: (w, h) of each frame, if they differ.
        notes: for the page; one is added if the distrust is not calibrated for the model.
    """

    def __init__(
        self,
        sequence: PoseSequence,
        *,
        name: str,
        journal: Journal,
        pictures: Pictures | None = None,
        estimate: Estimate | None = None,
        store: Store | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.name, self.journal, self.pictures, self.store = name, journal, pictures, store
        self.estimate, self.sizes, self.notes = estimate, sizes, [*notes, *_notes_of(sequence)]
        self.version = 0
        self._closed = False
        self._learning: threading.Thread | None = None
        self.saved_as: Path | None = None
        self._lock, self._saving = threading.RLock(), threading.Lock()
        self.done, self.undone = active_edits(journal.entries)
        self.canvas, self._history = apply_all(sequence, self.done, judge=False)
        self.computing = sequence.distrust is None or any(op.get("kind") in OF_PEOPLE for op in self.done)
        saves = ["saved" in entry for entry in journal.entries]
        self._saved = saves[-1] if any(saves) else not self.done
        if self.computing:
            self._learning = threading.Thread(target=self._learn, args=(sequence,), daemon=True)
            self._learning.start()

    def _learn(self, sequence: PoseSequence) -> None:
        """Compute the distrust, which takes long for a long clip or many edits, while the page is in use."""
        try:
            known = sequence
            if sequence.distrust is None:
                known = with_distrust(sequence, on_piece=self._stop_if_closed)
            while self.computing and not self._closed:
                with self._lock:
                    done = list(self.done)
                canvas, history = apply_all(known, done, judge=True)
                with self._lock:
                    if self.done == done:
                        self.canvas, self._history, self.computing = canvas, history, False
                        self.version += 1
        except _Closed:
            pass
        finally:
            self.computing = False

    def _stop_if_closed(self) -> None:
        if self._closed:
            raise _Closed

    # --- edits ------------------------------------------------------------------------------------------------------

    def edit(self, op: Mapping[str, Any]) -> dict[str, Any]:
        """Apply an edit. Returns the state after it."""
        with self._lock:
            change = self._do(op, {"op": op})
            self.undone.clear()
            return self._changed(change)

    def undo(self) -> dict[str, Any]:
        """Take the last edit back. Returns the state after it."""
        with self._lock:
            if not self.done:
                raise InputError("there is nothing to undo")
            self.journal.add(undo=True)
            self.undone.append(self.done.pop())
            if (change := self._history.pop()) is not None:
                self.canvas.revert(change)
                return self._changed(change)
            self.canvas, self._history = apply_all(self.canvas.opened, self.done, judge=not self.computing)
            return self._changed(Change(frames=(0, len(self.canvas) - 1)))

    def redo(self) -> dict[str, Any]:
        """Apply the edit that was undone last. Returns the state after it."""
        with self._lock:
            if not self.undone:
                raise InputError("there is nothing to redo")
            change = self._do(self.undone[-1], {"redo": True})
            self.undone.pop()
            return self._changed(change)

    def _do(self, op: Mapping[str, Any], entry: Mapping[str, Any]) -> Change:
        """Apply an edit and write the entry into the journal, or change nothing."""
        # while distrust is computed, all edits are applied again to what comes
        change = apply_edit(self.canvas, op, judge=not self.computing)
        try:
            self.journal.add(**entry)
        except BaseException:
            self.canvas.revert(change)
            raise
        self._history.add(change)
        self.done.append(dict(op))
        return change

    def _changed(self, change: Change) -> dict[str, Any]:
        self.version += 1
        self._saved = False
        return {**self.state(), "changed": list(change.frames or (0, 0))}

    def estimate_again(self, t: int, track_id: int | None, box: Sequence[float], points: Sequence[int] | None) -> Any:
        """Estimate the poses in a box (x1, y1, x2, y2) of frame `t`: a new person, or the points of one."""
        if self.estimate is None or self.pictures is None:
            raise InputError("estimating again needs the pictures and a model: name the video or the pictures")
        chosen = range(self.canvas.point_count) if points is None else points
        if not all(0 <= point < self.canvas.point_count for point in chosen):
            raise InputError(f"points: expected numbers from 0 to {self.canvas.point_count - 1}")
        x1, y1, x2, y2 = box
        if not x2 - x1 >= 2 or not y2 - y1 >= 2:
            raise InputError(f"box: expected at least 2 x 2 pixels, got {x2 - x1:g} x {y2 - y1:g}")
        found = self.estimate(self.pictures.picture(t), np.asarray([[*box, 1.0]], np.float32))
        if not len(found) or found.keypoints.shape[1] != self.canvas.point_count:
            raise InputError("nobody was found in this box: draw it closely around the whole person")
        to = [pair if np.isfinite(pair).all() else None for pair in found.keypoints[0, list(chosen)].tolist()]
        scores = found.scores[0, list(chosen)].tolist()
        op = {"kind": "put", "t": t, "id": track_id, "box": [*map(float, box), 1.0], "points": list(chosen), "to": to}
        return self.edit({**op, "scores": scores})

    # --- results ----------------------------------------------------------------------------------------------------

    def result(self) -> PoseSequence:
        """The poses as they are now, see `result_of`."""
        with self._lock:
            return result_of(self.canvas, self.done, self.journal.about)

    def looked_at(self) -> PoseSequence:
        """Only those people, in the frames, where a point was placed by hand or who were found right."""
        with self._lock:
            seen = (self.canvas.marks == PLACED).any(axis=-1) | self.canvas.checked
            sequence = self.result()
            used = (self.canvas.track_ids >= 0).any(axis=0)
            return replace(sequence, track_ids=np.where(seen[:, used], sequence.track_ids, -1))

    def save(self, name: str | None = None) -> tuple[Path, dict[str, Any]]:
        """Write the poses as they are now. Returns the file and the state."""
        if self.store is None:
            raise InputError("there is no file to save: every correction is already in the graph's next run")
        with self._saving:
            with self._lock:
                sequence, done = self.result(), list(self.done)
            path = self.store.save(sequence, name or self.store.default_name)  # a long clip takes seconds
            self.saved_as = path
            with self._lock:
                if self.done == done:  # distrust that came meanwhile changes nothing that was edited
                    self.journal.add(saved=path.name)
                    self._saved = True
                return path, self.state()

    def save_training(self, folder: str | None = None) -> tuple[Path, int, int]:
        """Write the frames that were looked at as training data. Returns the folder, its pictures and people."""
        if self.store is None or self.pictures is None:
            raise InputError("training data need the pictures: name the video or the folder of pictures")
        with self._saving:  # two pages may ask at once
            return self.store.save_training(self, folder or "training_data")

    def state(self) -> dict[str, Any]:
        """Counts for the page."""
        with self._lock:
            return {
                "version": self.version,
                "undo": len(self.done),
                "redo": len(self.undone),
                "saved": self._saved,
                "computing": self.computing,
                "people": people_of(self.canvas),
            }

    def view(self, make: Callable[[Canvas], T]) -> T:
        """What `make` reads from the canvas, while nobody changes it."""
        with self._lock:
            return make(self.canvas)

    def stop(self) -> None:
        """Let nobody wait for pictures any more; edits that have begun are finished."""
        if self.pictures is not None:
            self.pictures.stop()

    def close(self) -> None:
        """Close the journal and the pictures, and stop computing."""
        self._closed = True
        if self._learning is not None:
            self._learning.join()  # Python must not end while it is at work
        self.journal.close()
        if self.pictures is not None:
            self.pictures.close()


def _notes_of(sequence: PoseSequence) -> list[str]:
    """What to know of the distrust that a sequence has, or will get."""
    known = sequence.distrust is not None
    fitted = is_calibrated(sequence) if known else not not_calibrated(sequence)
    return [] if fitted else [ROUGH]
