"""What a node shows: previews, counts, and how long it took."""

from __future__ import annotations

import contextlib
import html
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ...sdpose_core.errors import counted
from ...sdpose_core.poses import Poses

if TYPE_CHECKING:
    import torch

PREVIEWED = 64
FEW = 5


def show_text(node: Any, text: str) -> None:
    """Write `text` on the running node, where the host can. It shows HTML; names of files stay text."""
    with contextlib.suppress(ImportError, AttributeError):
        from server import PromptServer

        PromptServer.instance.send_progress_text(html.escape(text, quote=False), node.hidden.unique_id)


def preview(node: Any, images: torch.Tensor) -> Any:
    """The images (B, H, W, 3) that the node shows: the first `PREVIEWED`, because writing them to disk takes time and
    cannot be canceled."""
    from comfy_api.latest import ui

    return ui.PreviewImage(images[:PREVIEWED], cls=node)


def tally(people: int, frames: int) -> str:
    """ "3 people in 1 frame"."""
    return f"{counted(people, 'person', 'people')} in {counted(frames, 'frame')}"


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

    def describe(self, poses: Sequence[Poses], notes: Sequence[str] = ()) -> str:
        """Model, device, dtype, people, seconds, frames per second; then the notes, one per line."""
        meta = poses[0].meta if poses else {}
        settings = meta.get("settings", {})
        where = " ".join(str(settings[key]) for key in ("device", "dtype") if key in settings)
        count = tally(sum(map(len, poses)), len(poses))
        parts = [str(meta.get("model", "unknown model")), where, count, self.speed(len(poses))]
        return "\n".join([" | ".join(part for part in parts if part), *notes, *_skipped(poses)])
