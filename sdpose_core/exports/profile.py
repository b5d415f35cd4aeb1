"""What an export is made of: the profile of a target, the user's wishes, and the job that a target's file writes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..drawing.canvas import place
from ..drawing.pose_maps import draw_poses
from ..errors import InputError
from ..poses import Poses, PoseSequence
from ..sequences.cleaning import drawing_threshold
from .timing import Timeline, pose_at

log = logging.getLogger(__name__)

OnProgress = Callable[[int, int | None], None]
"""Called with (frames done, frames in all) of the file being written; may raise to stop."""


@dataclass(frozen=True)
class ExportProfile:
    """What one tool wants, in numbers.

    Attributes:
        tool: the project whose reader was followed.
        files: what is written below the output folder; NAME is the name of the sequence.
        write: writes the files of a `ExportJob`.
        style: of `drawing.styles.STYLES`; None where nothing is drawn.
        one_person: the tool knows one person only.
        threshold: points of a lower score are absent.
        size: (w, h) of the canvas, where the tool has one.
        turned: `size` is for upright pictures; the sides are exchanged for others.
        short_side: of the canvas, where the tool has one.
        area: pixels of the canvas at most.
        multiple: both sides of the canvas are multiples of this.
        shrink: the pose video is this many times smaller than the canvas.
        drawn_short_side: pose maps are drawn at this short side and reduced, as the tool does.
        fit: how the frame of a picture (the character's) maps onto the canvas, see `drawing.canvas.place`.
        frames: rule of the number of frames, see `timing.frame_count`.
        frame_rate: frames per second; None: the source's.
        codec: of the pose video, see `video.writer.CODECS`.
        reference: what the tool wants to know of the character: "poses", "picture", or "" for nothing.
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
    """The (w, h) of at most `area` pixels, next to the largest of the proportions of `source`, that keeps them best."""
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
    """What the user asks for beside the target; None leaves it to the target's profile.

    Attributes:
        person: the id of a track, or words of `people.parse_person`, such as "largest" or "point:320,200".
        size: (w, h) of the canvas.
        fit: see `drawing.canvas.place`.
        threshold: points of a lower score are absent.
        frames: "all", a number such as "77" or a form such as "4n+1", see `timing.frame_count`.
        frame_rate: frames per second, or "source" for one frame per source frame.
        codec: of the pose video; "png" for a folder of pictures, where the target is one pose video.
        overwrite: replace files that are there; otherwise they are kept.
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
    """What became of an export.

    Attributes:
        files: written.
        kept: were there already and stayed.
        notes: what a user should know: frames cut or held, who was chosen, what was missing.
    """

    files: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        log.info("%s", text)
        self.notes.append(text)


@dataclass(frozen=True)
class ExportJob:
    """One export, prepared: who, when and how large are decided.

    Attributes:
        sequence: the people to show, in pixels of the source.
        timeline: the frames to show.
        frame_rate: of the result.
        size: (w, h) of the canvas.
        fit: how the frame of the sequence maps onto the canvas, see `drawing.canvas.place`.
        threshold: the one asked for, or None; `min_score` tells which holds.
        name: of the sequence, for file names.
        out: folder.
        video: the source video, or None.
        faces: the sequence in pixels of `video`, from which faces are cut.
        reference: poses of the character, or None.
        reference_picture: its picture, or None.
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
        """Let `make` write `path`, unless it is there and is to be kept. `make` must be atomic."""
        if path.exists() and not self.overwrite:
            self.result.kept.append(path)
            return
        make(path)
        self.result.files.append(path)

    def min_score(self, of: Poses | PoseSequence) -> float:
        """The threshold for these poses: as asked, else the profile's, or 0 where cleaning decided who is seen."""
        return drawing_threshold(of.meta, self.profile.threshold) if self.threshold is None else self.threshold

    def poses(self) -> Iterator[Poses]:
        """The people of each frame, in pixels of the canvas."""
        for number in self.numbers():
            yield place(pose_at(self.sequence, self.timeline, number), self.size, self.fit)

    def numbers(self) -> Iterator[int]:
        """0, 1, ... for each frame of the result, reporting progress."""
        for number in range(len(self.timeline)):
            yield number
            if self.on_progress:
                self.on_progress(number + 1, len(self.timeline))

    def pose_map_size(self) -> tuple[int, int]:
        """(w, h) of the pose maps."""
        return self.size[0] // self.profile.shrink, self.size[1] // self.profile.shrink

    def pose_map(self, poses: Poses) -> np.ndarray:
        """The pose map of people on the canvas: RGB uint8 (h, w, 3)."""
        import cv2

        style, (w, h), threshold = self.profile.style, self.pose_map_size(), self.min_score(poses)
        if style is None:
            raise InputError(f"{self.profile.tool} has no pose maps")
        if not self.profile.drawn_short_side:
            return draw_poses(poses, style=style, size=(w, h), threshold=threshold)
        scale = self.profile.drawn_short_side / min(w, h)
        drawn = draw_poses(poses, style=style, size=(int(w * scale), int(h * scale)), threshold=threshold)
        return cv2.resize(drawn, (w, h), interpolation=cv2.INTER_AREA)

    def pose_maps(self) -> Iterator[np.ndarray]:
        """The pose map of each frame, one at a time; black where nobody is."""
        return (self.pose_map(poses) for poses in self.poses())

    def reference_poses(self) -> Poses:
        """The character's poses on the canvas; without any, the first frame in which somebody is, which is noted."""
        if self.reference is not None:
            return place(self.reference, self.size, self.profile.fit)
        seen = np.flatnonzero((self.sequence.track_ids >= 0).any(axis=1))
        first = int(seen[0]) if len(seen) else 0
        self.result.note(f"no reference was given: frame {first} of the sequence stands for it")
        return place(self.sequence.frame(first), self.size, self.fit)
