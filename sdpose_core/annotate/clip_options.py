"""The options of `annotate_clip` and `estimate_frames`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

from ..drawing.canvas import FITS
from ..errors import InputError
from ..sequences.cleaning import CleanOptions
from ..sequences.short_tracks import MIN_SECONDS
from ..tracking.options import TrackerOptions
from ..video.writer import CODECS
from .presence import DEFAULT_PRESENCE, Presence

CLIP_IF_NOBODY = ("empty", "full-image")
"""Not "previous" (see `fill_empty`): a frame would then depend on the chunk before."""


@dataclass(frozen=True)
class Selection:
    """Which people of a clip are kept: the arguments of `select_people`.

    Attributes:
        by: the order in which they are ranked; None: everybody, or the `max_people` largest.
        number: with "id" the track id, otherwise the rank (0 is the first).
        point: (x, y) in pixels of the source, for "nearest point".
        mask: path of a picture, white where the person is, for "mask".
        max_people: how many from that rank on; None: one.
    """

    by: str | None = None
    number: int = 0
    point: tuple[float, float] | None = None
    mask: str | None = None
    max_people: int | None = None

    def __bool__(self) -> bool:
        return self.by is not None or self.max_people is not None


@dataclass(frozen=True)
class ClipOptions:
    """How a clip is annotated, and what is written.

    Attributes:
        every: estimate every Nth frame (and the last); the frames in between are interpolated.
        detect_every: run the detector on every Nth estimated frame. In between, boxes follow the last poses; the
            detector runs at once on a frame where these cannot be trusted.
        chunk: number of frames that are finished, and saved for resuming, together.
        if_nobody: what a frame in which the detector finds nobody gets, see `annotate_images`.
        presence: which points stay although they are not there.
        find_missed: look for tracked people whom the detector missed, and for new people in the first frames of a
            scene, see `MissedPeople`.
        tracker: see `TrackerOptions`.
        clean: see `CleanOptions`; None leaves the poses as estimated.
        min_track: people who are in the clip for less than this many seconds are left out; 0 keeps everybody. See
            `drop_short_tracks`.
        person: who is kept.
        check: also compute which points to distrust, see `sequences.distrust`; it changes no pose.
        style, parts, threshold: of the pose video, see `draw_poses`.
        size, fit: (w, h) of the pose video and how the frame is fitted to it; None: the source's size.
        line_width: see `draw_poses`.
        codec: of the pose video, see `VideoWriter`. Videos for looking have it too if it plays everywhere, else h264.
        playable: also write NAME_kps_play.mp4, a copy of the pose video for looking, if its codec is for tools only.
        overlay: also write NAME_overlay.mp4, the poses on the video.
        compare: also write NAME_compare.mp4: the video, the overlay and the pose video side by side.
        overwrite: replace existing results.
        frame_rate: of a folder of pictures; None: 25.
        background: RGB behind transparent frames; None: the reader's default.

    Raises `InputError` for a setting that cannot be used.
    """

    every: int = 1
    detect_every: int = 1
    chunk: int = 64
    if_nobody: str = "empty"
    presence: Presence = DEFAULT_PRESENCE
    find_missed: bool = True
    tracker: TrackerOptions = field(default_factory=TrackerOptions)
    clean: CleanOptions | None = field(default_factory=CleanOptions)
    min_track: float = MIN_SECONDS
    person: Selection = field(default_factory=Selection)
    check: bool = False
    style: str = "controlnet"
    parts: tuple[str, ...] | None = None
    threshold: float = 0.3
    size: tuple[int, int] | None = None
    fit: str = "pad"
    line_width: float | None = None
    codec: str = "lossless"
    playable: bool = True
    overlay: bool = False
    compare: bool = False
    overwrite: bool = False
    frame_rate: Fraction | None = None
    background: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("every", "detect_every", "chunk"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected a number of frames of at least 1, got {getattr(self, name)}")
        if not 0 <= self.min_track < float("inf"):
            raise InputError(f"min_track: expected seconds of at least 0, got {self.min_track}")
        for name, known in (("if_nobody", CLIP_IF_NOBODY), ("fit", FITS), ("codec", tuple(CODECS))):
            if getattr(self, name) not in known:
                raise InputError(f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}")

    def estimation(self) -> dict[str, Any]:
        """The settings that affect the estimated keypoints, JSON-able. A run resumes only with the same ones."""
        return {
            "every": self.every,
            "detect_every": self.detect_every,
            "chunk": self.chunk,
            "if_nobody": self.if_nobody,
            "presence": asdict(self.presence),
            "find_missed": self.find_missed,
            "tracker": asdict(self.tracker),
            "frame_rate": None if self.frame_rate is None else str(self.frame_rate),
            "background": None if self.background is None else list(self.background),
        }
