"""What a node shows: its text, pictures or a video, counts, and how long it took."""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...sdpose_core.errors import counted
from ...sdpose_core.poses import USUAL_RATE, Poses
from .progress import stoppable

if TYPE_CHECKING:
    import numpy as np
    import torch

PREVIEWED = 64
FEW = 5
BOXES = ("box", "boxes")
NOT_SDPOSE = "Preview, not SDPose: connect Load SDPose Model"


def not_sdpose(model: Any) -> list[str]:
    """That the preview model ran, if no model is connected. A first line, as those of `nobody_found` and `no_boxes`."""
    return [NOT_SDPOSE] if model is None else []


def nobody_found(people: int, threshold: str = "detect_threshold") -> list[str]:
    """What to try if a detector, whose threshold has this name, found no people."""
    return [] if people else [f"Nobody found: lower {threshold} or min_person_score, or choose another detector"]


def no_boxes(people: int) -> list[str]:
    """What to do if no boxes came by wire."""
    return [] if people else ["Nobody: no boxes came in; check the node that finds the people, or set if_nobody"]


def node_ui(text: str, media: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the page shows on a node: the text, which `web/texts.js` draws, and pictures or a video."""
    return {"sdpose_text": [text], **(media or {})}


def preview(node: Any, images: torch.Tensor) -> dict[str, Any]:
    """The images (B, H, W, 3) on the node: the first `PREVIEWED`, because writing them to disk takes time and cannot be
    canceled."""
    from comfy_api.latest import ui

    return ui.PreviewImage(images[:PREVIEWED], cls=node).as_dict()


def clip_preview(node: Any, images: Sequence[np.ndarray], frame_rate: Fraction | None) -> dict[str, Any]:
    """RGB uint8 arrays (H, W, 3) of one size on the node, as a video in ComfyUI's temporary folder; one of them alone
    as a picture."""
    import folder_paths

    from ...sdpose_core.video.writer import VideoWriter
    from ..sockets.images import tensor_from_images

    if len(images) == 1:
        return preview(node, tensor_from_images(images))
    path = Path(folder_paths.get_temp_directory()) / f"SDPose_{secrets.token_hex(8)}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, images[0].shape[1::-1], frame_rate or USUAL_RATE, codec="h264") as writer:
        for image in stoppable(images):
            writer.write(image)
    return video_preview(path, "temp")


def video_preview(path: Path, place: str) -> dict[str, Any]:
    """A video on the node; `place` is the one of ComfyUI's folders that it is in. A GIF is shown as a picture."""
    import folder_paths

    folder = os.path.relpath(path.parent, folder_paths.get_directory_by_type(place))
    file = {"filename": path.name, "subfolder": "" if folder == "." else Path(folder).as_posix(), "type": place}
    return {"images": [file], "animated": (path.suffix != ".gif",)}


def tally(found: int, frames: int, what: tuple[str, str] = ("pose", "poses")) -> str:
    """ "3 people in 1 frame"; of several frames, where somebody counts once in each, "90 poses in 45 frames"."""
    return f"{counted(found, *(('person', 'people') if frames == 1 else what))} in {counted(frames, 'frame')}"


def few(lines: Iterable[str]) -> list[str]:
    """The first `FEW` different lines, and how many more there are: a video may have one per frame."""
    different = list(dict.fromkeys(lines))
    more = [f"and {len(different) - FEW} more like these"] if len(different) > FEW else []
    return [*different[:FEW], *more]


def _skipped(poses: Sequence[Poses]) -> list[str]:
    """One line per reason for which boxes were skipped, with the number of boxes."""
    reasons = Counter(reason for frame in poses for reason in frame.meta.get("dropped_boxes", []))
    return few(f"skipped {counted(count, 'box', 'boxes')}: {reason}" for reason, count in reasons.items())


class Stopwatch:
    """Measures a run, and describes it in one line."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def speed(self, frames: int) -> str:
        """Seconds since the start, and frames per second."""
        seconds = max(time.perf_counter() - self._start, 1e-6)
        return f"{seconds:.2f} s, {frames / seconds:.2f} frames/s"

    def describe(self, poses: Sequence[Poses], notes: Sequence[str] = (), first: Sequence[str] = ()) -> str:
        """The first lines; people, model, device, dtype, seconds, frames per second; the notes, one per line."""
        meta = poses[0].meta if poses else {}
        settings = meta.get("settings", {})
        where = " ".join(str(settings[key]) for key in ("device", "dtype") if key in settings)
        count = tally(sum(map(len, poses)), len(poses))
        parts = [count, str(meta.get("model", "unknown model")), where, self.speed(len(poses))]
        return "\n".join([*first, " | ".join(part for part in parts if part), *notes, *_skipped(poses)])
