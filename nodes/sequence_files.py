"""Load Pose Sequence, Export Pose Sequence: `.pose.npz` in, the files of animation tools out."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..sdpose_core.errors import InputError
from ..sdpose_core.exports.targets import TARGETS
from ..sdpose_core.poses import Poses, PoseSequence
from . import widgets
from .files import SUFFIXES, pose_files, pose_path
from .host.folders import file_stamp
from .host.info import show_text
from .host.progress import Progress
from .sockets.poses import PoseClip, PoseFrames, PoseKeypoint, poses_from_socket
from .sockets.sequence import clip_input, clip_outputs, clip_values, frame_rate_input, sequence_from_socket
from .sockets.video import video_file

PERSONS = ("as the target wants", "all", "best score", "largest", "leftmost", "rightmost", "id")
NO_SEQUENCE = "(no .pose.npz found)"


class LoadSequence(io.ComfyNode):
    """Load Pose Sequence."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorLoadSequence",
            display_name="Load Pose Sequence",
            category=widgets.CATEGORY,
            description="Reads a .pose.npz (of the sdpose command, Annotate Video or Save Poses) with its ids and its "
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
    def fingerprint_inputs(cls, file: str) -> tuple:
        """Read again when the file was changed."""
        return file, file_stamp(_sequence_path(file))

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        sequence = PoseSequence.load(_sequence_path(file))
        return clip_values(cls, sequence, 0.3, [f"model: {sequence.meta.get('model', 'not stated')}"])


def _sequence_files() -> list[str]:
    return [name for name in pose_files() if f"{SUFFIXES[1]} [" in name] or [NO_SEQUENCE]


def _sequence_path(choice: str) -> Path:
    if choice == NO_SEQUENCE:
        raise InputError("there is no .pose.npz: put one into ComfyUI's input folder, then refresh")
    return pose_path(choice)


class ExportSequence(io.ComfyNode):
    """Export Pose Sequence."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorExport",
            display_name="Export Pose Sequence",
            category=widgets.CATEGORY,
            description="Writes a pose sequence as an animation tool reads it, into ComfyUI's output folder: "
            "AnimateAnyone, MusePose, MimicMotion, UniAnimate, Wan-Animate and others; OpenPose and COCO JSON.",
            search_aliases=[*widgets.ALIASES, "AnimateAnyone", "MusePose", "MimicMotion", "UniAnimate", "Wan Animate"],
            inputs=[
                clip_input(),
                io.Combo.Input(
                    "target",
                    options=list(TARGETS),
                    default="animate_anyone",
                    tooltip="Who is to read it. Size, style, number of frames, rate and channel order follow from it.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="poses/export",
                    tooltip="Name in the output folder, a subfolder before '/'. Each run makes a folder of its own.",
                ),
                io.Combo.Input(
                    "person",
                    options=list(PERSONS),
                    default=PERSONS[0],
                    tooltip="Who is written. AnimateAnyone's rule is the best score; it is used where a tool knows one "
                    "person only.",
                ),
                io.Int.Input("number", default=0, min=0, max=2**31 - 1, tooltip="For person = id: the id."),
                io.Int.Input(
                    "width", default=0, min=0, max=16384, tooltip="Of the canvas; 0 is what the target wants."
                ),
                io.Int.Input(
                    "height", default=0, min=0, max=16384, tooltip="Of the canvas; 0 is what the target wants."
                ),
                io.String.Input(
                    "frames",
                    default="",
                    tooltip="How many: a number, or a form like 4n+1; empty is what the target wants.",
                    advanced=True,
                ),
                frame_rate_input(
                    tooltip="Frames per second of the result, poses between frames are interpolated; 0 is what the "
                    "target wants.",
                    advanced=True,
                ),
                io.MultiType.Input(
                    "reference",
                    types=[PoseFrames, PoseClip, PoseKeypoint],
                    optional=True,
                    tooltip="Poses of the character, which MimicMotion and UniAnimate want before the clip.",
                ),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="The driving video: Wan-Animate's face video is cut from it, lists for training name it.",
                ),
            ],
            outputs=[
                io.String.Output("path", tooltip="The folder with the files."),
                io.String.Output("info", tooltip="The files, and what was decided."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

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

        clip, notes = sequence_from_socket(sequence)
        options = ExportOptions(
            person={PERSONS[0]: None, "id": number}.get(person, person),
            size=_size(width, height),
            frames=frames.strip() or None,
            frame_rate=Fraction(frame_rate).limit_denominator(1001) if frame_rate else None,
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
        info = "\n".join([*(str(file.relative_to(folder.parent)) for file in result.files), *result.notes, *notes])
        show_text(cls, info)
        return io.NodeOutput(str(folder), info)


def _size(width: int, height: int) -> tuple[int, int] | None:
    if bool(width) != bool(height):
        raise InputError(f"canvas: expected both width and height, or 0 for both, got {width} x {height}")
    return (width, height) if width else None


def _one_frame(reference: Any) -> Poses | None:
    """The first frame of the character's poses."""
    return None if reference is None else poses_from_socket(reference)[0][0]


def _new_folder(prefix: str, size: tuple[int, int]) -> tuple[Path, str]:
    """A folder in ComfyUI's output folder that is not there yet, and the name of its files."""
    import folder_paths

    folder, name, counter, _, _ = folder_paths.get_save_image_path(prefix, folder_paths.get_output_directory(), *size)
    taken = [re.fullmatch(re.escape(name) + r"_(\d{5})_?", path.name) for path in Path(folder).glob(f"{name}_*")]
    counter = max([counter, *(int(match[1]) + 1 for match in taken if match)])
    return Path(folder) / f"{name}_{counter:05}", name
