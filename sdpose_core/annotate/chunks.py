"""Joining the chunks of a clip, and interpolating the frames that were not estimated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..poses import PoseSequence
from ..sequences.interpolation import interpolate
from ..times import rate_of
from ..video.frames import Frame
from .images import FramePeople

FRAME_NAMES = "frame_names"
"""Key in a sequence's meta: the file name of each frame of a folder of pictures."""


def join_chunks(chunks: Iterable[ChunkResult]) -> PoseSequence:
    """The sequence of all chunks; frames that were not estimated are interpolated (see `interpolate`).

    Its frame rate agrees with its times. `meta["frame_names"]` lists the files of a folder of pictures. `meta["clip"]`
    holds the scene cuts and the counts of frames estimated, frames detected and other events. Raises
    `InputError` if there are no chunks.
    """
    chunks = list(chunks)
    if not chunks:
        raise InputError("the clip has no frames: expected at least one")
    parts = [chunk.sequence for chunk in chunks]
    frame_names = _frame_names(parts)
    raw = PoseSequence(
        keypoints=_stacked([part.keypoints for part in parts], np.nan),
        scores=_stacked([part.scores for part in parts], 0),
        boxes=_stacked([part.boxes for part in parts], 0),
        track_ids=_stacked([part.track_ids for part in parts], -1),
        frame_index=np.concatenate([part.frame_index for part in parts]),
        pts=np.concatenate([part.pts for part in parts]),
        size=parts[0].size,
        frame_rate=parts[0].frame_rate,
        keypoint_set=parts[0].keypoint_set,
        meta={**_joined_meta([part.meta for part in parts]), **frame_names},
    )
    raw = replace(raw, frame_rate=rate_of(raw))
    return interpolate(raw, np.concatenate([chunk.estimated for chunk in chunks]))


def _frame_names(parts: Sequence[PoseSequence]) -> dict[str, list[str]]:
    """The file names of all frames, if they are pictures of a folder."""
    names = [name for part in parts for name in part.meta.get(FRAME_NAMES, ())]
    return {FRAME_NAMES: names} if len(names) == sum(map(len, parts)) else {}


def _stacked(parts: Sequence[np.ndarray], empty: float) -> np.ndarray:
    """Concatenate arrays (T_i, P_i, ...) -> (sum T_i, max P_i, ...), padded with `empty`."""
    inner = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    result = np.full((sum(map(len, parts)), *inner), empty, parts[0].dtype)
    start = 0
    for part in parts:
        if part.size:
            result[(slice(start, start + len(part)), *(slice(length) for length in part.shape[1:]))] = part
        start += len(part)
    result.setflags(write=False)
    return result


def _joined_meta(metas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The meta of the last estimated chunk, with the counts and cuts of all, without the names of its frames."""
    full = [meta for meta in metas if meta["clip"]["counts"]] or list(metas)
    counts: Counter[str] = Counter()
    for meta in metas:
        counts.update(meta["clip"]["counts"])
    cuts = [index for meta in metas for index in meta["clip"]["scene_cuts"]]
    clip: dict[str, Any] = {"counts": dict(counts), "scene_cuts": cuts}
    sizes = [meta.get("settings", {}).get("batch_size") for meta in full]
    changes = [size for number, size in enumerate(sizes) if number == 0 or size != sizes[number - 1]]
    if len(changes) > 1:
        clip["batch_sizes"] = changes
    return {**{name: value for name, value in full[-1].items() if name != FRAME_NAMES}, "clip": clip}


@dataclass(frozen=True)
class ChunkResult:
    """Finished frames.

    Attributes:
        sequence: their tracked poses, with raw scores. Frames that were not estimated are empty.
        estimated: (T,) bool.
        state: to resume, pass it to `estimate_frames` with the frames from `state["next_frame"]` on. JSON-able.
        last: whether the clip ends here.
    """

    sequence: PoseSequence
    estimated: np.ndarray
    state: Mapping[str, Any]
    last: bool


Given = Callable[[Frame], FramePeople]
"""Gives the people of a frame, instead of a detector."""
