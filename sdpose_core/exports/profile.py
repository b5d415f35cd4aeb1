"""The parts of an export: a target's profile, the user's options, and the job that the target writes."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..dependencies import opencv
from ..drawing.canvas import place
from ..drawing.pose_maps import draw_poses
from ..errors import InputError
from ..files import same_again
from ..origins import INSTEAD, OtherOrigin, mark_of, mark_text
from ..poses import Poses, PoseSequence
from ..sequences.cleaning import drawing_threshold
from .timing import Timeline, pose_at

log = logging.getLogger(__name__)

OnProgress = Callable[[int, int | None], None]
"""Called with (frames done, frames in all) of the file being written; may raise to stop."""


@dataclass(frozen=True)
class ExportProfile:
    """What one tool requires.

    Attributes:
        tool: the project that reads the files.
        files: files below the output folder; NAME is the sequence's.
        write: writes the files of an `ExportJob`.
        style: of `drawing.styles.STYLES`; None: nothing is drawn.
        one_person: the tool supports one person only.
        threshold: points with a lower score are absent.
        size: (w, h) of the canvas, if fixed.
        turned: swap the sides of `size` for pictures that are not upright.
        short_side: of the canvas, if fixed.
        area: maximum pixels of the canvas.
        multiple: both sides of the canvas are multiples of this.
        shrink: the pose video is this many times smaller than the canvas.
        drawn_short_side: draw at this short side and downscale, as the tool does.
        fit: how a picture (the character's) maps onto the canvas, see `drawing.canvas.place`.
        frames: rule for the number of frames, see `timing.frame_count`.
        frame_rate: frames per second; None: the source's.
        codec: of the pose video, see `video.writer.CODECS`.
        reference: what is needed of the character: "poses", "picture", or "" for nothing.
        any_points: takes custom keypoint sets; other tools need the points of OpenPose.
    """

    tool: str
    files: str
    write: Callable[[ExportJob], None]
    style: str | None = None
    one_person: bool = False
    threshold: float = 0.3
    size: tuple[int, int] | None = None
    turned: bool = False
    short_side: int | None = None
    area: int | None = None
    multiple: int = 1
    shrink: int = 1
    drawn_short_side: int | None = None
    fit: str = "stretch"
    frames: str = "all"
    frame_rate: Fraction | None = None
    codec: str = "lossless"
    reference: str = ""
    any_points: bool = False

    def canvas_size(self, source: tuple[int, int]) -> tuple[int, int]:
        """(w, h) of the canvas for a picture of `source` (w, h)."""
        w, h = source
        if self.size:
            return self.size[::-1] if self.turned and h <= w else self.size
        if self.area:
            return _within_area(source, self.area, self.multiple)
        scale = self.short_side / min(w, h) if self.short_side else 1.0
        return _nearest(w * scale, self.multiple), _nearest(h * scale, self.multiple)


def _nearest(side: float, multiple: int) -> int:
    return max(round(side / multiple), 1) * multiple


def _within_area(source: tuple[int, int], area: int, multiple: int) -> tuple[int, int]:
    """The (w, h) near the largest one of at most `area` pixels that best keeps the aspect ratio of `source`."""
    scale = math.sqrt(area / (source[0] * source[1])) / multiple
    choices = [
        (w * multiple, h * multiple)
        for w in _around(source[0] * scale)
        for h in _around(source[1] * scale)
        if w * h * multiple**2 <= area
    ]
    return min(choices, key=lambda size: (abs(math.log(size[0] * source[1] / (size[1] * source[0]))), -size[0]))


def _around(value: float) -> tuple[int, int]:
    lower = max(math.floor(value + 1e-6), 1)
    return lower, lower + 1


@dataclass(frozen=True)
class ExportOptions:
    """The user's settings; None leaves a setting to the target's profile.

    Attributes:
        person: a track id, or see `people.parse_person`, such as "largest" or "point:320,200".
        size: (w, h) of the canvas.
        fit: see `drawing.canvas.place`.
        threshold: points with a lower score are absent.
        frames: "all", a number such as "77" or a form such as "4n+1", see `timing.frame_count`; of coco also "edited".
        frame_rate: frames per second, or "source" for one frame per source frame.
        codec: of the pose video; "png" for a folder of pictures, if the target is one pose video.
        overwrite: replace existing files; otherwise those that would be the same are kept, and others refused.
    """

    person: int | str | None = None
    size: tuple[int, int] | None = None
    fit: str | None = None
    threshold: float | None = None
    frames: str | None = None
    frame_rate: Fraction | str | None = None
    codec: str | None = None
    overwrite: bool = False


@dataclass
class ExportResult:
    """The outcome of an export: files written, existing files kept, and notes for the user."""

    files: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        log.info("%s", text)
        self.notes.append(text)


@dataclass(frozen=True)
class ExportJob:
    """One export with all settings resolved.

    Attributes:
        sequence: the selected people, in pixels of the source.
        timeline: the frames to write.
        frame_rate: of the result.
        size: (w, h) of the canvas.
        fit: how the sequence maps onto the canvas, see `drawing.canvas.place`.
        threshold: the user's, or None; see `min_score`.
        name: of the sequence, for file names.
        faces: the sequence in pixels of the source `video`, for face crops.
        reference, reference_picture: poses and picture of the character, or None.
    """

    profile: ExportProfile
    sequence: PoseSequence
    timeline: Timeline
    frame_rate: Fraction
    size: tuple[int, int]
    fit: str
    threshold: float | None
    codec: str
    overwrite: bool
    name: str
    out: Path
    video: Path | None
    faces: PoseSequence
    reference: Poses | None
    reference_picture: Path | None
    on_progress: OnProgress | None
    result: ExportResult = field(default_factory=ExportResult)

    def add(self, path: Path, make: Callable[[Path], None]) -> None:
        """Write `path` by `make`, which must be atomic. What exists is kept if it is the same, otherwise refused."""
        if self.overwrite or not os.path.exists(path):
            make(path)
            self.result.files.append(path)
        elif same_again(path, make):
            self.result.kept.append(path)
        else:
            raise OtherOrigin(f"{path} exists, but it is of other poses or settings: {INSTEAD}")

    def mark(self) -> str:
        """The mark of its pictures, videos and OpenPose JSON, which shows that they are ours."""
        return mark_text(mark_of(None, {"export": self.profile.tool}))

    def min_score(self, of: Poses | PoseSequence) -> float:
        """The threshold for these poses: the user's, otherwise the profile's, or 0 for cleaned poses."""
        return drawing_threshold(of.meta, self.profile.threshold) if self.threshold is None else self.threshold

    def poses(self) -> Iterator[Poses]:
        """The people of each frame, in pixels of the canvas."""
        for number in self.numbers():
            yield place(pose_at(self.sequence, self.timeline, number), self.size, self.fit)

    def numbers(self) -> Iterator[int]:
        """The frame numbers of the result, reporting progress."""
        for number in range(len(self.timeline)):
            yield number
            if self.on_progress:
                self.on_progress(number + 1, len(self.timeline))

    def pose_map_size(self) -> tuple[int, int]:
        return self.size[0] // self.profile.shrink, self.size[1] // self.profile.shrink

    def pose_map(self, poses: Poses) -> np.ndarray:
        """The pose map of poses on the canvas: RGB uint8 (h, w, 3)."""
        cv2 = opencv()

        style, (w, h), threshold = self.profile.style, self.pose_map_size(), self.min_score(poses)
        if style is None:
            raise InputError(f"{self.profile.tool} has no pose maps")
        if not self.profile.drawn_short_side:
            return draw_poses(poses, style=style, size=(w, h), threshold=threshold)
        scale = self.profile.drawn_short_side / min(w, h)
        drawn = draw_poses(poses, style=style, size=(int(w * scale), int(h * scale)), threshold=threshold)
        return cv2.resize(drawn, (w, h), interpolation=cv2.INTER_AREA)

    def pose_maps(self) -> Iterator[np.ndarray]:
        """The pose map of each frame, one at a time; black if there is nobody."""
        return (self.pose_map(poses) for poses in self.poses())

    def reference_poses(self) -> Poses:
        """The character's poses on the canvas; without a reference, the first frame with people, with a note."""
        if self.reference is not None:
            return place(self.reference, self.size, self.profile.fit)
        seen = np.flatnonzero((self.sequence.track_ids >= 0).any(axis=1))
        first = int(seen[0]) if len(seen) else 0
        self.result.note(f"no reference was given: used frame {first} of the sequence instead")
        return place(self.sequence.frame(first), self.size, self.fit)
