"""Load Pose Sequence, Export Pose Sequence: `.pose.npz` in, the files of animation tools out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..sdpose_core.errors import InputError
from ..sdpose_core.exports.targets import TARGETS
from ..sdpose_core.poses import Poses, PoseSequence
from . import widgets
from .checks import answer, check_canvas
from .files import SUFFIXES, pose_files, pose_path
from .host.folders import file_stamp, save_path
from .host.info import node_ui
from .host.progress import Progress
from .host.written import WRITTEN
from .sockets.poses import PoseClip, PoseFrames, PoseKeypoint, poses_from_socket
from .sockets.sequence import (
    clip_input,
    clip_outputs,
    clip_values,
    frame_rate_input,
    rate_from_socket,
    sequence_from_socket,
)
from .sockets.video import video_file

PERSONS = ("as the target wants", "all", "best score", "largest", "leftmost", "rightmost", "id")
EXPORT = "SDPoseAnnotatorExport"
NO_SEQUENCE = "(no .pose.npz found)"


class LoadSequence(io.ComfyNode):
    """Load Pose Sequence."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorLoadSequence",
            display_name="Load Pose Sequence",
            category=widgets.FILES_CATEGORY,
            description="Loads a .pose.npz (from Annotate Video, Save Poses or the sdpose command) with its IDs and "
            "frame rate, from ComfyUI's input and output folders.",
            search_aliases=[*widgets.ALIASES, "load pose video", "pose.npz"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=_sequence_files(),
                    tooltip=".pose.npz files in the input and output folders. Press R to refresh the list.",
                )
            ],
            outputs=clip_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None) -> tuple | None:
        """Read again after the file is changed."""
        return None if file is None else (file, file_stamp(_sequence_path(file)))  # None: it comes by wire

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        """Refuse a file that is gone before anything runs."""
        return answer(lambda: file is None or _sequence_path(file))

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        sequence = PoseSequence.load(_sequence_path(file))
        return clip_values(cls, sequence, 0.3, [f"model: {sequence.meta.get('model', 'not stated')}"])


def _sequence_files() -> list[str]:
    return [name for name in pose_files() if f"{SUFFIXES[1]} [" in name.lower()] or [NO_SEQUENCE]


def _sequence_path(choice: str) -> Path:
    if choice == NO_SEQUENCE:
        raise InputError("there is no .pose.npz: put one into ComfyUI's input folder, then press R")
    return pose_path(choice)


class ExportSequence(io.ComfyNode):
    """Export Pose Sequence."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=EXPORT,
            display_name="Export Pose Sequence",
            category=widgets.FILES_CATEGORY,
            description="Saves a pose sequence to ComfyUI's output folder in the format of an animation tool: "
            "AnimateAnyone, MusePose, MimicMotion, UniAnimate, Wan-Animate and others; OpenPose and COCO JSON.",
            search_aliases=[*widgets.ALIASES, "AnimateAnyone", "MusePose", "MimicMotion", "UniAnimate", "Wan Animate"],
            inputs=[
                clip_input(),
                io.Combo.Input(
                    "target",
                    options=list(TARGETS),
                    default="animate_anyone",
                    tooltip="The tool that reads the files. Sets size, style, frame count, frame rate, channel order.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="poses/export",
                    tooltip="Name in the output folder; put a subfolder before '/'. Each run makes a new folder.",
                ),
                io.Combo.Input(
                    "person",
                    options=list(PERSONS),
                    default=PERSONS[0],
                    tooltip="Which people to export. as the target wants: the best score if the tool takes one person "
                    "only, otherwise everybody.",
                ),
                io.Int.Input("number", default=0, min=0, max=2**31 - 1, tooltip="For person = id: the person's ID."),
                io.Int.Input(
                    "width", default=0, min=0, max=16384, tooltip="Canvas width in pixels; 0 uses the target's default."
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=16384,
                    tooltip="Canvas height in pixels; 0 uses the target's default.",
                ),
                io.String.Input(
                    "frames",
                    default="",
                    tooltip="Number of frames: a number or a formula such as 4n+1; empty uses the target's default.",
                    advanced=True,
                ),
                frame_rate_input(
                    tooltip="Frame rate of the result; poses are interpolated. 0 uses the target's default.",
                    advanced=True,
                ),
                io.MultiType.Input(
                    "reference",
                    types=[PoseFrames, PoseClip, PoseKeypoint],
                    optional=True,
                    tooltip="Pose of the character, which MimicMotion and UniAnimate need before the video.",
                ),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="The driving video. Wan-Animate's face video is cropped from it; training lists name it.",
                ),
            ],
            outputs=[
                io.String.Output("path", tooltip="The folder with the files."),
                io.String.Output("info", tooltip="The files written, and notes."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, width: int | None, height: int | None) -> bool | str:
        """Refuse half a size before anything runs."""
        return answer(lambda: check_canvas(width, height))

    @classmethod
    def fingerprint_inputs(cls, **values: Any) -> int:
        """Export again after the files are removed."""
        return WRITTEN.changes(EXPORT, cls.hidden.unique_id, values)

    @classmethod
    def execute(
        cls,
        sequence: Any,
        target: str,
        filename_prefix: str,
        person: str,
        number: int,
        width: int,
        height: int,
        frames: str,
        frame_rate: float,
        reference: Any = None,
        video: Any = None,
    ) -> io.NodeOutput:
        from ..sdpose_core.exports.profile import ExportOptions
        from ..sdpose_core.exports.targets import export

        if person not in PERSONS:  # by wire; the library would also take the path of a mask
            raise InputError(f"person: expected one of {', '.join(PERSONS)}, got {person!r}")
        clip, notes = sequence_from_socket(sequence)
        options = ExportOptions(
            person={PERSONS[0]: None, "all": None, "id": number}.get(person, person),
            size=widgets.both_sides(width, height),
            frames=frames.strip() or None,
            frame_rate=rate_from_socket(frame_rate),
        )
        folder, name = _new_folder(filename_prefix, clip.size)
        with video_file(video) as path:
            result = export(
                clip,
                target,
                folder,
                name=name,
                video=path,
                reference=_one_frame(reference),
                options=options,
                on_progress=Progress(len(clip)),
            )
        WRITTEN.remember(EXPORT, cls.hidden.unique_id, result.files, edited=True)
        info = "\n".join([*(str(file.relative_to(folder.parent)) for file in result.files), *result.notes, *notes])
        return io.NodeOutput(str(folder), info, ui=node_ui(info))


def _one_frame(reference: Any) -> Poses | None:
    """The first frame of the character's poses."""
    return None if reference is None else poses_from_socket(reference)[0][0]


def _new_folder(prefix: str, size: tuple[int, int]) -> tuple[Path, str]:
    """A new folder (not made yet) in ComfyUI's output folder, and the name of its files."""
    folder, name, counter = save_path(prefix, size)
    return folder / f"{name}_{counter:05}", name
