"""Save Poses, Load Poses: .pose.npz and OpenPose JSON in ComfyUI's output and input folders."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..sdpose_core.errors import InputError, counted
from ..sdpose_core.files import atomic_write
from ..sdpose_core.names import is_hidden, natural_key
from ..sdpose_core.openpose.reader import json_files, read_openpose_json
from ..sdpose_core.poses import Poses, PoseSequence
from ..sdpose_core.sequences.cleaning import drawing_threshold
from . import widgets
from .checks import answer
from .host.errors import readable
from .host.folders import PLACES, annotated_path, file_stamp, save_path
from .host.info import node_ui
from .host.progress import each_frame
from .host.written import WRITTEN
from .select import pose_outputs, pose_values, poses_input
from .sockets.poses import canvas_inputs, canvas_of, is_sequence, poses_from_frames, poses_from_socket, swap_hands_input

SAVE = "SDPoseAnnotatorSave"
FORMATS = ("pose.npz", "OpenPose JSON, one file per frame", "OpenPose JSON, one file")
SUFFIXES = (".json", ".pose.npz")
FRAME_SUFFIX = "_keypoints.json"
DEPTH = 3
ASK = "set canvas_width and canvas_height to the size of the image"
NO_FILE = "(no pose file found)"


class SavePoses(io.ComfyNode):
    """Save Poses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=SAVE,
            display_name="Save Poses",
            category=widgets.FILES_CATEGORY,
            description="Saves poses to ComfyUI's output folder. .pose.npz keeps everything (scores, boxes, IDs); "
            "OpenPose JSON is for editors and other tools.",
            search_aliases=[*widgets.ALIASES, "save keypoints", "export json", "save openpose json"],
            inputs=[
                poses_input(),
                io.String.Input(
                    "filename_prefix",
                    default="poses/SDPose",
                    tooltip="File name in the output folder; put a subfolder before '/'. %year%, %month%, %day%, "
                    "%hour%, %minute%, %second%, %width% and %height% are replaced.",
                ),
                io.Combo.Input(
                    "format",
                    options=list(FORMATS),
                    default=FORMATS[0],
                    tooltip="pose.npz: one file that keeps everything. One JSON file per frame: for OpenPose tools. "
                    "One JSON file: a list of frames, like POSE_KEYPOINT.",
                ),
                widgets.threshold(),
            ],
            outputs=[io.String.Output("path", tooltip="The file, or the first of several files.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **values: Any) -> int:
        """Save again after the files are removed."""
        return WRITTEN.changes(SAVE, cls.hidden.unique_id, values)

    @classmethod
    def execute(cls, poses: Any, filename_prefix: str, format: str, threshold: float) -> io.NodeOutput:
        frames, _ = poses_from_socket(poses)
        folder, name, counter = save_path(filename_prefix, frames[0].size)
        base = folder / f"{name}_{counter:05}"
        if format == FORMATS[0]:
            path = base.with_name(base.name + "_.pose.npz")
            (poses if is_sequence(poses) else PoseSequence.from_poses(frames)).save(path)
            written = [path]
        else:
            written = _write_openpose(base, frames, drawing_threshold(frames[0].meta, threshold), format == FORMATS[2])
        WRITTEN.remember(SAVE, cls.hidden.unique_id, written, edited=True)
        text = f"{counted(len(frames), 'frame')} -> {readable(str(written[0]))}"
        return io.NodeOutput(str(written[0]), ui=node_ui(text))


def _write_openpose(base: Path, frames: Sequence[Poses], threshold: float, one_file: bool) -> list[Path]:
    """Write the frames, whose sizes may differ, next to `base` (a name without a suffix); returns the files."""
    from ..sdpose_core.openpose.writer import to_pose_keypoint

    openpose = to_pose_keypoint(frames, threshold)
    if one_file:
        return [_write_json(base.with_name(base.name + "_.json"), openpose)]
    folder = base.with_name(base.name + "_")
    return [
        _write_json(folder / f"{base.name}_{number:012}{FRAME_SUFFIX}", frame)
        for number, frame in enumerate(each_frame(openpose))
    ]


def _write_json(path: Path, content: Any) -> Path:
    with atomic_write(path, "w") as handle:
        json.dump(content, handle, allow_nan=False)
    return path


def pose_files() -> list[str]:
    """.pose.npz and JSON files in ComfyUI's input and output folders, and folders of frames, as `name [output]`."""
    import folder_paths

    found = []
    for place in PLACES:
        root = Path(folder_paths.get_directory_by_type(place))
        found += [f"{name} [{place}]" for name in sorted(_pose_files_below(root), key=natural_key)]
    return found or [NO_FILE]


def _pose_files_below(root: Path) -> set[str]:
    """Names relative to `root`, at most `DEPTH` folders deep, without hidden files. Linked folders elsewhere count.

    A folder of frames is one name, which ends with /.
    """
    names = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        place = Path(folder).relative_to(root)
        near = [name for name in subfolders if not name.startswith(".") and len(place.parts) < DEPTH]
        subfolders[:] = [name for name in near if not _leads_back(Path(folder, name), root)]
        for file in files:
            if is_hidden(place / file):
                continue
            if file.lower().endswith(FRAME_SUFFIX) and place.parts:
                names.add(f"{place.as_posix()}/")
            elif file.lower().endswith(SUFFIXES):
                names.add((place / file).as_posix())
    return names


def _leads_back(folder: Path, root: Path) -> bool:
    """Whether a folder is a link to one that is listed anyway, or that leads to `root` again."""
    if not folder.is_symlink():
        return False
    real, root = folder.resolve(), root.resolve()
    return real.is_relative_to(root) or root.is_relative_to(real)


def pose_path(choice: str) -> Path:
    """The path of an entry of `pose_files`. Raises `InputError` for other places, as a value that comes by wire has."""
    if choice == NO_FILE:
        raise InputError(
            "there is no pose file: put .json or .pose.npz files into ComfyUI's input folder, then press R"
        )
    return annotated_path(choice)


class LoadPoses(io.ComfyNode):
    """Load Poses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorLoad",
            display_name="Load Poses",
            category=widgets.FILES_CATEGORY,
            description="Loads poses from ComfyUI's input and output folders: .pose.npz, and JSON from OpenPose, pose "
            "editors and other nodes. A folder is read as one file per frame.",
            search_aliases=[*widgets.ALIASES, "load keypoints", "import json", "load openpose json"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=pose_files(),
                    tooltip="Pose files in the input and output folders. A name that ends with / is a folder of "
                    "frames. Press R to refresh the list.",
                ),
                swap_hands_input(
                    tooltip="Swap left and right hands: for JSON from ComfyUI's SDPose node or the community pack."
                ),
                *canvas_inputs("JSON"),
            ],
            outputs=pose_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **_others: Any) -> tuple | None:
        """Read again after a file is changed."""
        if file is None:  # it comes by wire
            return None
        return file, tuple(file_stamp(part) for part in json_files(pose_path(file)))

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        """Refuse a file that is gone before anything runs."""
        return answer(lambda: file is None or pose_path(file))

    @classmethod
    def execute(cls, file: str, swap_hands: bool, canvas_width: int = 0, canvas_height: int = 0) -> io.NodeOutput:
        path, size = pose_path(file), canvas_of(canvas_width, canvas_height)
        if path.name.lower().endswith(SUFFIXES[1]):
            poses, notes = PoseSequence.load(path).frames(), []
        else:
            frames = read_openpose_json(path, swap_hands=swap_hands, size=size, ask=ASK)
            poses, notes = poses_from_frames(frames)
        return pose_values(cls, poses, 0.3, notes)
