"""Select Person, Filter Poses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..sdpose_core.errors import counted
from ..sdpose_core.sequences.selection import ORDERS, keep_people, keep_points, select_person
from . import widgets
from .host.info import few, node_ui, tally
from .sockets.poses import (
    PoseClip,
    PoseFrames,
    PoseKeypoint,
    keypoints_output,
    keypoints_to_socket,
    poses_from_socket,
    poses_output,
)
from .sockets.sequence import ids_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..sdpose_core.poses import Poses, PoseSequence

ONE, EACH = "one person", "each person"
"""Choices of nodes that make something of one person or, as a list, of everybody in turn."""


def poses_input(
    name: str = "poses",
    tooltip: str = "Poses or a pose sequence from this pack, or POSE_KEYPOINT from any node or pose editor.",
) -> io.MultiType.Input:
    return io.MultiType.Input(name, types=[PoseFrames, PoseClip, PoseKeypoint], tooltip=tooltip)


def pose_outputs() -> list[io.Output]:
    return [
        poses_output(),
        keypoints_output(),
        io.String.Output("info", tooltip="Number of people and frames, and warnings."),
    ]


def pose_values(
    node: Any, poses: list[Poses], threshold: float, notes: list[str], media: Any = None, first: Sequence[str] = ()
) -> io.NodeOutput:
    """What `pose_outputs` declares; `media` is what the node shows beside its text, `first` the text's first lines."""
    info = "\n".join([*first, tally(sum(map(len, poses)), len(poses)), *notes])
    return io.NodeOutput(poses, keypoints_to_socket(poses, threshold), info, ui=node_ui(info, media))


def chosen_people(clip: PoseSequence, person: int, each: bool) -> dict[str, int]:
    """Whom to make something of: what the info text calls them -> their ID, -1 for nobody.

    Everybody in turn, or the one with the ID `person`; -1 is the one of the best score.
    """
    from ..sdpose_core.sequences.people import select_people

    ids = known = ids_in(clip)
    if not each and person >= 0:
        ids = [track for track in ids if track == person]
    elif not each:
        ids = ids_in(select_people(clip, "best score", max_people=1))
    nobody = "nobody" if each or person < 0 or not known else _no_such_id(person, known)
    return {f"ID {track}": track for track in ids} or {nobody: -1}


def _no_such_id(number: int, known: Iterable[int]) -> str:
    """That nobody has this ID, and the IDs there are."""
    return f"Nobody has ID {number} (IDs: {', '.join(few(map(str, known)))})"


class SelectPerson(io.ComfyNode):
    """Select Person."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorSelectPerson",
            display_name="Select Person",
            category=widgets.IMAGE_CATEGORY,
            description="Keeps one person per frame: by ID, size, position, score or distance to a point. A frame "
            "without that person is left empty.",
            search_aliases=[*widgets.ALIASES, "choose person", "person id", "largest person", "multi-person"],
            inputs=[
                poses_input(),
                io.Combo.Input("by", options=list(ORDERS), default="largest", tooltip="How to choose the person."),
                io.Int.Input(
                    "number",
                    default=0,
                    min=0,
                    max=2**31 - 1,
                    tooltip="For id: the person's ID. Otherwise the rank; 0 is first, 1 is second.",
                ),
                io.Int.Input(
                    "x",
                    default=0,
                    min=-65536,
                    max=65536,
                    tooltip="For nearest point: pixels from the left edge.",
                    advanced=True,
                ),
                io.Int.Input(
                    "y",
                    default=0,
                    min=-65536,
                    max=65536,
                    tooltip="For nearest point: pixels from the top edge.",
                    advanced=True,
                ),
            ],
            outputs=pose_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, poses: Any, by: str, number: int, x: int, y: int) -> io.NodeOutput:
        frames, notes = poses_from_socket(poses)
        chosen = [select_person(frame, by, number, (x, y)) for frame in frames]
        gone = any(map(len, frames)) and not any(map(len, chosen))
        return pose_values(cls, chosen, 0.3, notes, first=[_nobody_chosen(frames, by, number)] if gone else [])


def _nobody_chosen(frames: Sequence[Poses], by: str, number: int) -> str:
    """Why none of the people were chosen."""
    if by == "id":
        return _no_such_id(number, sorted({int(track) for frame in frames for track in frame.track_ids}))
    return f"Nobody is number {number}: at most {counted(max(map(len, frames)), 'person', 'people')} per frame, from 0"


class FilterPoses(io.ComfyNode):
    """Filter Poses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorFilter",
            display_name="Filter Poses",
            category=widgets.IMAGE_CATEGORY,
            description="Keeps the body parts and keypoints you want, and the people who have enough of them.",
            search_aliases=[*widgets.ALIASES, "remove face", "body only", "hands only", "confidence threshold"],
            inputs=[
                poses_input(),
                *widgets.part_switches(),
                widgets.threshold(),
                io.Float.Input(
                    "min_person_score",
                    default=0.0,
                    min=0.0,
                    max=2.0,
                    step=0.01,
                    tooltip="Minimum mean score of a person's remaining keypoints. People below it are removed.",
                    advanced=True,
                ),
                io.Int.Input(
                    "min_points",
                    default=1,
                    min=0,
                    max=133,
                    tooltip="Minimum number of remaining keypoints. People with fewer are removed.",
                    advanced=True,
                ),
                io.Int.Input(
                    "max_people",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip="Maximum number of people per frame, largest first; 0 means no limit.",
                ),
            ],
            outputs=pose_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, poses: Any, threshold: float, min_person_score: float, min_points: int, max_people: int, **switches: bool
    ) -> io.NodeOutput:
        frames, notes = poses_from_socket(poses)
        parts = widgets.chosen_parts(switches)
        kept = [
            keep_people(
                keep_points(frame, parts, threshold),
                min_score=min_person_score,
                min_points=min_points,
                max_people=max_people,
            )
            for frame in frames
        ]
        return pose_values(cls, kept, threshold, notes)
