"""What was corrected by hand on the review page, kept in ComfyUI's user folder.

    user/__sdpose_review/NAME/DIGEST.journal    the corrections of the poses with this digest
    user/__sdpose_review/NAME/DIGEST.pose.npz   these poses, to tell who is who in others
    user/__sdpose_review/NAME/last.json         node -> the digest of the poses that were corrected in it last

NAME is the node's input `corrections`, which travels with the graph. DIGEST is made from the content of the poses, not
from where they came: they find their corrections again after any run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...sdpose_core.errors import InputError, counted, restated
from ...sdpose_core.files import atomic_write
from ...sdpose_core.review.identity import digest_of
from ...sdpose_core.texts import parse_json

if TYPE_CHECKING:
    from ...sdpose_core.poses import PoseSequence
    from ...sdpose_core.review.journal import Journal

FOLDER = "sdpose_review"
APPLY, START_OVER, STOP = CHOICES = ("apply the corrections again", "start over", "stop")
DAMAGED = "what this node wrote; the file is damaged: move it away"
UNNAMED = "unnamed"
"""For graphs that were never open in the page."""


@dataclass(frozen=True)
class Corrected:
    """Poses with their corrections.

    Attributes:
        count: number of corrections in force.
        to_check: number of places that the page suggests to look at.
        changes: what to say if the poses changed since they were corrected.
    """

    sequence: PoseSequence
    count: int
    to_check: int
    changes: Sequence[str]

    def describe(self) -> list[str]:
        """What the node says first."""
        done = f"{counted(self.count, 'correction')} applied" if self.count else "no corrections yet"
        return [*self.changes, f"{done}; {counted(self.to_check, 'place')} to check"]


class Corrections:
    """The folder of one name."""

    def __init__(self, name: str) -> None:
        """Raises `InputError` for a name that no folder should have; the value may come by wire."""
        name = str(name).strip() or UNNAMED
        if not re.fullmatch(r"[\w-]{1,40}", name):
            raise InputError(f"corrections: expected a name of up to 40 letters, digits, - and _, got {name[:80]!r}")
        self.name, self._folder = name, _root() / name

    def stamp(self) -> str:
        """Changes when something is corrected, not when corrections are carried over to other poses."""
        journals = [_read(path) for path in sorted(self._folder.glob("*.journal"))]
        made = [entries for about, entries in journals if len(entries) > about.get("carried", 0)]
        return hashlib.sha256(json.dumps(made).encode()).hexdigest()

    def corrected(self, sequence: PoseSequence, node: str, choice: str) -> Corrected:
        """The poses with their corrections.

        If there are none, and the node's last corrections are of other poses: as `choice` says, one of `CHOICES`. Those
        stay as they are. Raises `InputError` for the choice `stop`.
        """
        from ...sdpose_core.review.applying import corrected, result_of
        from ...sdpose_core.review.journal import active_edits
        from ...sdpose_core.review.views import worst_view

        digest = digest_of(sequence)
        last = self._last().get(node)
        notes = [] if self._path(digest).exists() or not last else self._carry(last, sequence, digest, choice)
        about, entries = _read(self._path(digest))
        edits, _ = active_edits(entries)  # read without a lock: another ComfyUI may have the journal open
        canvas = corrected(sequence, edits)
        if edits and last != digest:
            self._set_last(node, digest)
        result = result_of(canvas, edits, about) if edits else sequence
        return Corrected(result, len(edits), worst_view(canvas, 0)["total"], notes)

    def journal(self, sequence: PoseSequence) -> Journal:
        """The journal of these poses, open for new corrections. Raises `InUse` if another ComfyUI has it open."""
        from ...sdpose_core.review.journal import Journal

        digest = digest_of(sequence)
        if not (path := self._path(digest, ".pose.npz")).exists():
            _without_distrust(sequence).save(path)
        return Journal(self._path(digest), {"sha256": digest, "frames": len(sequence)})

    def _path(self, digest: str, suffix: str = ".journal") -> Path:
        return self._folder / f"{digest}{suffix}"

    # --- other poses ------------------------------------------------------------------------------------------------

    def _carry(self, last: str, sequence: PoseSequence, digest: str, choice: str) -> list[str]:
        """Begin the journal of new poses with the corrections of the poses `last`, if they are wanted and suit them."""
        from ...sdpose_core.poses import PoseSequence
        from ...sdpose_core.review.carrying import carry, same_frames
        from ...sdpose_core.review.journal import active_edits

        edits, _ = active_edits(_read(self._path(last))[1])
        if not edits:
            return []
        changed = f"the poses changed since {counted(len(edits), 'correction')} of them"
        if choice == STOP:
            raise InputError(f"{changed}: set when_source_changed to {APPLY!r} or {START_OVER!r}")
        if choice == START_OVER:
            return [f"{changed}: started over; they return with their poses"]
        before = PoseSequence.load(self._path(last, ".pose.npz"))
        if not same_frames(before, sequence):
            return [f"{changed}, and are of other frames: started over; they return with their poses"]
        carried = carry(edits, before, sequence)
        self._begin(digest, sequence, carried.edits, last)
        left = [f"{counted(count, 'correction')} left out: {why}" for why, count in carried.left_out.items()]
        return [f"{changed}: {len(carried.edits)} applied again", *left]

    def _begin(self, digest: str, sequence: PoseSequence, edits: list[dict[str, Any]], last: str) -> None:
        """Write the first corrections of new poses, all or none of them."""
        if not edits:
            return
        from ...sdpose_core.review.journal import VERSION

        _without_distrust(sequence).save(self._path(digest, ".pose.npz"))
        about = {"journal": VERSION, "sha256": digest, "frames": len(sequence), "carried": len(edits), "from": last}
        with atomic_write(self._path(digest), "w") as file:
            file.writelines(json.dumps(line) + "\n" for line in (about, *({"op": edit} for edit in edits)))

    def _last(self) -> dict[str, str]:
        path = self._folder / "last.json"
        return parse_json(path.read_text(encoding="utf-8"), str(path), DAMAGED) if path.exists() else {}

    def _set_last(self, node: str, digest: str) -> None:
        with atomic_write(self._folder / "last.json", "w") as file:
            json.dump({**self._last(), node: digest}, file)


def _without_distrust(sequence: PoseSequence) -> PoseSequence:
    return replace(sequence, distrust=None, distrust_reasons=None)


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The first line of a journal and its entries; empty if there is none."""
    from ...sdpose_core.review.journal import read_journal

    with restated("the file is damaged"):
        return read_journal(path)


def _root() -> Path:
    import folder_paths

    return Path(folder_paths.get_system_user_directory(FOLDER))
