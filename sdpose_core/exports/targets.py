"""Exports of pose sequences to other tools, and the table of targets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path, PureWindowsPath
from types import MappingProxyType

import numpy as np

from ..drawing.canvas import FITS
from ..errors import InputError, did_you_mean
from ..images import read_image
from ..names import file_inside, output_name
from ..poses import USUAL_RATE, Poses, PoseSequence
from ..sequences.people import parse_person, select_people
from ..sequences.selection import select_person
from ..skeletons import KEYPOINT_SETS
from ..times import clock_of, has_times, rate_of
from . import animate_anyone, coco, mimicmotion, musepose, openpose, pose_video, unianimate, wan
from .profile import ExportJob, ExportOptions, ExportProfile, ExportResult, OnProgress
from .timing import Timeline, at_rate, edited_frames, every_frame, frame_count

TARGETS: Mapping[str, ExportProfile] = MappingProxyType(
    {
        "animate_anyone": animate_anyone.PROFILE,
        "open_animate_anyone": animate_anyone.OPEN_PROFILE,
        "musepose": musepose.PROFILE,
        "mimicmotion": mimicmotion.PROFILE,
        "unianimate": unianimate.PROFILE,
        "wan": wan.PROFILE,
        "openpose": openpose.PROFILE,
        "coco": coco.PROFILE,
        "controlnet": pose_video.CONTROLNET,
        "scail2": pose_video.SCAIL2,
        "ltx": pose_video.LTX,
        "minimax_h3": pose_video.MINIMAX_H3,
    }
)


EDITED = "edited"
"""A rule for the frames of coco: only those with points placed or deleted by hand."""


def check_target(name: str) -> ExportProfile:
    """The profile called `name`. Raises `InputError` with the closest and all known names."""
    if name in TARGETS:
        return TARGETS[name]
    hint = did_you_mean(name, TARGETS)
    raise InputError(f"export target {name!r} is not known: {hint}{hint and ' '}known targets: {', '.join(TARGETS)}")


def export(
    sequence: PoseSequence,
    target: str,
    out: Path,
    *,
    name: str | None = None,
    video: Path | None = None,
    faces: PoseSequence | None = None,
    reference: Poses | Path | None = None,
    options: ExportOptions | None = None,
    on_progress: OnProgress | None = None,
) -> ExportResult:
    """Write a pose sequence for a tool into the folder `out`, frame by frame. Existing files are kept if they are the
    same as those that would be written.

    Args:
        sequence: tracked, cleaned and possibly fitted to a character (`retarget`).
        target: a name of `TARGETS`.
        name: for file names, no path; None: the stem of the sequence's source.
        video: the source video, for face crops and training lists.
        faces: the poses in pixels of `video`, if `sequence` was fitted to a character; None: `sequence`.
        reference: the character: its poses, or its picture if the target needs that.
        on_progress: called with (frames done, frames in all) of each file; may raise to stop.

    Raises `InputError` for settings that the target does not support, and `OtherOrigin` for an existing file of other
    poses or settings. Files are written atomically.
    """
    profile, options = check_target(target), options or ExportOptions()
    result = ExportResult()
    if not len(sequence):
        raise InputError("the pose sequence has no frames")
    if not profile.any_points and sequence.keypoint_set not in KEYPOINT_SETS:
        raise InputError(
            f"{target} needs the points of coco_17 or coco_wholebody_133, these are of {sequence.keypoint_set!r}: "
            "export them to coco, or draw them with `sdpose draw`"
        )
    selected = _people(sequence, profile, options, result)
    if options.frames == EDITED:
        timeline, frame_rate = _edited(selected, target, options), rate_of(selected) or USUAL_RATE
    else:
        timeline, frame_rate = _timing(selected, profile, options, result)
    poses, picture = _reference(reference, profile, target)
    if faces is not None and len(faces) != len(sequence):
        raise InputError(f"the poses for faces and the sequence differ in frames: {len(faces)} and {len(sequence)}")
    job = ExportJob(
        profile=profile, sequence=selected, timeline=timeline, frame_rate=frame_rate,
        size=_canvas(profile, options, _size_of(sequence, poses, picture)),
        fit=_fit(profile, options, fitted=poses is not None and poses.size == sequence.size),
        threshold=options.threshold, codec=options.codec or profile.codec, overwrite=options.overwrite,
        name=_name(name or PureWindowsPath(str(sequence.meta.get("source") or "poses")).stem, Path(out)), out=Path(out),
        video=video, faces=sequence if faces is None else faces, reference=poses, reference_picture=picture,
        on_progress=on_progress, result=result,
    )  # fmt: skip
    profile.write(job)
    return result


def _name(name: str, out: Path) -> str:
    """NAME of the files, shortened if it is long. Raises `InputError` if they would lie elsewhere than in `out`."""
    return file_inside(out, output_name(name, out), "the name of the files").name


def _people(
    sequence: PoseSequence, profile: ExportProfile, options: ExportOptions, result: ExportResult
) -> PoseSequence:
    """Everybody, or the selected person; by AnimateAnyone's rule if the tool supports one person only."""
    if options.person is None and not profile.one_person:
        return sequence
    person = "best" if options.person is None else str(options.person)
    selected = select_people(sequence, **parse_person(person))
    ids, known = _ids(selected), _ids(sequence)
    if options.person is not None and not ids:
        raise InputError(f"person {person}: nobody matches; the ids are {', '.join(map(str, known)) or 'none'}")
    if not ids:
        result.note("nobody is in the sequence: all frames are empty")
    elif options.person is None and len(known) > 1:
        result.note(
            f"{profile.tool} takes one person: exported id {ids[0]}, the best score of {len(known)} people; set "
            "person to choose another"
        )
    return selected


def _edited(sequence: PoseSequence, target: str, options: ExportOptions) -> Timeline:
    """The frames with points placed or deleted by hand. Raises `InputError` if there are none, or for other targets."""
    if target != "coco" or options.frame_rate not in (None, "source"):
        raise InputError("frames 'edited' are for the target coco, without another frame rate")
    frames = edited_frames(sequence)
    if not len(frames):
        raise InputError("no frame was edited by hand: correct some with `sdpose review`, or leave out the frames")
    return Timeline(frames, frames, np.zeros(len(frames)))


def _ids(sequence: PoseSequence) -> list[int]:
    return sorted({int(track) for track in sequence.track_ids.ravel() if track >= 0})


def _timing(
    sequence: PoseSequence, profile: ExportProfile, options: ExportOptions, result: ExportResult
) -> tuple[Timeline, Fraction]:
    asked = options.frame_rate or profile.frame_rate or "source"
    if asked == "source":
        rate = rate_of(sequence) or USUAL_RATE
    elif isinstance(asked, Fraction) and asked > 0:
        rate = asked
    else:
        raise InputError(f"frame rate: expected a positive Fraction or 'source', got {asked!r}")
    unchanged = asked == "source" or not has_times(sequence)
    timeline = every_frame(sequence) if unchanged else at_rate(sequence, rate)
    if unchanged and not clock_of(sequence).steady:
        result.note(
            f"the times of the frames vary; the result has one frame for each, {float(rate):.6g} per second: it will "
            "not keep time with the source; a frame rate other than 'source' follows the times"
        )
    count = frame_count(options.frames or profile.frames, len(timeline))
    if count < len(timeline):
        result.note(f"only the first {count} of {len(timeline)} frames are written")
    if count > len(timeline):
        which = f"the last of {len(timeline)} frames" if len(timeline) > 1 else "the only frame"
        result.note(f"{which} is repeated, to {count} frames")
    return timeline.to_length(count), rate


def _reference(reference: Poses | Path | None, profile: ExportProfile, target: str) -> tuple[Poses | None, Path | None]:
    if reference is None or isinstance(reference, Poses):
        if reference is not None and not profile.reference:
            raise InputError(f"{target} takes no reference: fit the poses to a character with `sdpose retarget` first")
        return reference and select_person(reference, "best score"), None
    if profile.reference != "picture":
        raise InputError(f"{target} needs the reference as poses, got the picture {reference}")
    return None, Path(reference)


def _size_of(sequence: PoseSequence, poses: Poses | None, picture: Path | None) -> tuple[int, int]:
    """(w, h) that sets the canvas: the reference's, otherwise the sequence's."""
    if poses is not None:
        return poses.size
    if picture is None:
        return sequence.size
    h, w = read_image(picture).shape[:2]
    return w, h


def _canvas(profile: ExportProfile, options: ExportOptions, source: tuple[int, int]) -> tuple[int, int]:
    size = options.size or profile.canvas_size(source)
    multiple = math.lcm(profile.multiple, profile.shrink)
    if min(size) < 1 or any(side % multiple for side in size):
        raise InputError(f"size {size[0]}x{size[1]}: {profile.tool} needs both sides to be multiples of {multiple}")
    return size


def _fit(profile: ExportProfile, options: ExportOptions, fitted: bool) -> str:
    """The user's fit, otherwise the profile's.

    The default never distorts for a size of the user, and never crops poses that were not fitted to the reference.
    """
    unsafe = "stretch" if options.size else "crop" if not fitted else None
    fit = options.fit or ("pad" if profile.fit == unsafe else profile.fit)
    if fit not in FITS:
        raise InputError(f"fit: expected one of {', '.join(FITS)}, got {fit!r}")
    return fit
