"""What is drawn or written from the poses of a picture or a clip, beside NAME.pose.npz.

Pose maps and keypoints are for tools. Overlays, comparisons and the playable copy are for looking: their videos play
everywhere, whatever codec the pose map has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..video.writer import CODECS, SUFFIX, playable
from .requests import drawing_asked


class Drawing(Protocol):
    """The settings of what is drawn, of `PictureOptions` and `ClipOptions`."""

    @property
    def style(self) -> str: ...
    @property
    def parts(self) -> tuple[str, ...] | None: ...
    @property
    def line_width(self) -> float | None: ...
    @property
    def size(self) -> tuple[int, int] | None: ...
    @property
    def fit(self) -> str: ...


@dataclass(frozen=True)
class Output:
    """A file made from the poses.

    Attributes:
        what: the end of its name, NAME_WHAT.
        view: of `drawing.sequence.VIEWS`; "keypoints" for the JSON.
        option: name of the option that asks for it; "" if it is always written.
        for_eyes: made for looking, not for tools.
    """

    what: str
    view: str
    option: str = ""
    for_eyes: bool = True

    def codec(self, chosen: str) -> str:
        """Its codec in a clip whose pose map has the codec `chosen`."""
        return playable(chosen) if self.for_eyes else chosen

    def suffix(self, chosen: str) -> str:
        return SUFFIX[self.codec(chosen)]

    def canvas(self, options: Drawing) -> dict[str, Any]:
        """What it is drawn on: only a pose map has another size than its source."""
        return {"size": options.size, "fit": options.fit} if self.view == "map" else {}

    def asked(self, options: Drawing, threshold: float) -> dict[str, Any]:
        """The settings of the drawing, for its mark."""
        return drawing_asked(**look(options, threshold), **self.canvas(options))


POSE_MAP = Output("pose", "map", for_eyes=False)
KEYPOINTS = Output("keypoints", "keypoints", for_eyes=False)
POSE_VIDEO = Output("kps", "map", for_eyes=False)
PLAYABLE_COPY = Output("kps_play", "map", "playable")
OVERLAY = Output("overlay", "overlay", "overlay")
COMPARISON = Output("compare", "compare", "compare")


def picture_outputs(options: Any) -> dict[str, Output]:
    """What `PictureOptions` ask for, by the ends of the names."""
    wanted = (POSE_MAP, KEYPOINTS, OVERLAY, COMPARISON)
    ends = {output: ".json" if output == KEYPOINTS else ".png" for output in wanted}
    return {f"_{output.what}{end}": output for output, end in ends.items() if _is_asked(output, options)}


def clip_outputs(options: Any, codec: str) -> dict[str, Output]:
    """What `ClipOptions` ask for, by the ends of the names; no copy of a pose video that plays already."""
    wanted = (POSE_VIDEO, *(() if CODECS[codec].plays else (PLAYABLE_COPY,)), OVERLAY, COMPARISON)
    return {f"_{output.what}{output.suffix(codec)}": output for output in wanted if _is_asked(output, options)}


def _is_asked(output: Output, options: Any) -> bool:
    return not output.option or getattr(options, output.option)


def look(options: Drawing, threshold: float) -> Mapping[str, Any]:
    """How poses are drawn: the arguments of `draw_poses` that are not about the canvas."""
    return {
        "style": options.style, "parts": options.parts, "threshold": threshold, "line_width": options.line_width,
    }  # fmt: skip
