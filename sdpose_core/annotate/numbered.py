"""Names with a counter, so that a set of files is never overwritten: NAME_00001, NAME_00002, ..."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..errors import InputError, reading
from ..files import atomic_path
from ..names import ROOM, fitted_name, folded, name_limit, output_name
from ..origins import DRAWINGS, Origin, OtherOrigin, is_drawn, kept_poses
from ..poses import PoseSequence
from ..resumable import read_settings
from ..version import __version__
from .clip import ClipFiles, ClipOutcome, annotate_clip
from .clip_options import ClipOptions
from .outputs import POSE_VIDEO
from .requests import before_cleaning
from .work_folder import SETTINGS, is_unfinished

_COUNTER = 7
"""Bytes of `_00001`, and one more digit."""


def annotate_numbered(
    source: Path,
    out: Path,
    name: str,
    keep_finished: bool,
    *,
    options: ClipOptions,
    own: Collection[Path] = (),
    **settings: Any,
) -> ClipOutcome:
    """`annotate_clip` under the first `numbered_name`. `settings`: of `annotate_clip`.

    An unfinished run that cannot be resumed, as it ran on another device, is passed over too.
    """
    tried: list[str] = []

    def choose(origin: Origin) -> str:
        tried.append(numbered_name(out, name, origin, options, keep_finished, tried, own))
        return tried[-1]

    while True:
        with contextlib.suppress(OtherOrigin):
            return annotate_clip(source, out, options=options, name=choose, **settings)


def numbered_name(
    out: Path,
    name: str,
    origin: Origin,
    options: ClipOptions,
    keep_finished: bool,
    tried: Collection[str] = (),
    own: Collection[Path] = (),
) -> str:
    """The name under which `annotate_clip` writes a clip of this origin into `out`: of the first set that is not
    in `tried`, and is

    - unfinished and of the same origin: it is resumed;
    - finished, of the same origin and drawn with the same settings, if `keep_finished` or if its poses are among `own`:
      it is used as it is.

    Else it is NAME with a number above all that are there, as ComfyUI's save nodes count. With `keep_finished`, the
    keypoints of a set of the same origin that is drawn in another way are copied there first, so that nothing is
    estimated again.

    Raises `InputError` if `out` cannot be read or written to.
    """
    short, earlier = fitted_name(name, name_limit(out) - ROOM - _COUNTER), None
    numbers = _numbers(out, short)
    for taken in (output_name(name, out), *(f"{short}_{number:05d}" for number in numbers)):
        files = ClipFiles(out, taken, options.codec)
        if taken in tried or _is_free(files):
            continue
        poses = _poses_of(files, origin)
        if _is_begun(files, origin) if poses is None else _is_to_draw(files):
            return taken
        if poses is not None and (keep_finished or files.sequence in own) and _is_drawn(files, poses, options):
            return taken
        if poses is not None and keep_finished:
            earlier = earlier or files
    free = (f"{short}_{number:05d}" for number in itertools.count(max(numbers, default=0) + 1))
    files = ClipFiles(out, next(new for new in free if new not in tried), options.codec)
    if earlier is not None:
        with atomic_path(files.sequence) as temporary:
            shutil.copyfile(earlier.sequence, temporary)
    return files.name


def _numbers(out: Path, short: str) -> list[int]:
    """The numbers of what is called SHORT_NUMBER in `out`, and of unfinished runs there, in order."""
    pattern = re.compile(rf"(\.?){re.escape(folded(short))}_([0-9]{{5,12}})(?![0-9])")
    found = ((entry, pattern.match(folded(entry))) for entry in _entries(out))
    return sorted(
        {int(match[2]) for entry, match in found if match and (not match[1] or os.path.exists(out / entry / SETTINGS))}
    )


def _entries(out: Path) -> list[str]:
    if not os.path.lexists(out):
        return []
    with reading(out):
        return os.listdir(out)


def _is_free(files: ClipFiles) -> bool:
    drawn = (files.out / f"{files.name}{end}" for end in DRAWINGS)
    return not any(os.path.exists(path) for path in (files.sequence, files.partial, files.work / SETTINGS, *drawn))


def _poses_of(files: ClipFiles, origin: Origin) -> PoseSequence | None:
    """The finished poses of a set if they are of this origin."""
    try:
        poses = kept_poses(files.sequence)
    except InputError:  # damaged: it stays as it is
        return None
    return poses if poses is not None and origin.difference(poses.meta) is None else None


def _is_begun(files: ClipFiles, origin: Origin) -> bool:
    """Whether a set is nothing but an unfinished run of this origin."""
    written = os.path.exists(files.sequence) or os.path.exists(files.pose_video)
    if written or not is_unfinished(files.work, files.sequence):
        return False
    try:
        found = read_settings(files.work / SETTINGS) or {}
    except InputError:
        return False
    wanted = {"source": origin.source, "asked": before_cleaning(origin), "library version": __version__}
    return all(found.get(name) == value for name, value in wanted.items())


def _is_to_draw(files: ClipFiles) -> bool:
    """Whether a set has all its poses, but was stopped before its pose video was drawn."""
    return not os.path.exists(files.pose_video) and os.path.exists(files.work / SETTINGS)


def _is_drawn(files: ClipFiles, poses: PoseSequence, options: ClipOptions) -> bool:
    try:
        return is_drawn(files.pose_video, files.mark(POSE_VIDEO, poses, options))
    except OtherOrigin:
        return False
