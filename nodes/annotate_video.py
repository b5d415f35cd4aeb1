"""Annotate Video: a video of any length, streamed from file to file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..sdpose_core.errors import InputError
from ..sdpose_core.estimation.options import EstimatorOptions
from ..sdpose_core.poses import PoseSequence
from . import clip_inputs, widgets
from .annotate import NO_MODEL
from .detect import detector_options
from .host.folders import file_stamp
from .host.info import Stopwatch, preview, show_text
from .host.progress import Progress
from .sockets.images import tensor_from_images
from .sockets.poses import PoseClip
from .sockets.sequence import describe
from .sockets.video import video_file, video_of_file


class AnnotateVideo(io.ComfyNode):
    """Annotate Video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorVideo",
            display_name="Annotate Video",
            category=widgets.CATEGORY,
            description="A video in, its pose video and pose sequence out, streamed: memory does not grow with the "
            "length. Cancelled or crashed, it goes on where it was when it is queued again.",
            search_aliases=[*widgets.ESTIMATING, "driving video", "long video", "pose video", "batch", "resume"],
            inputs=[
                io.Video.Input("video", optional=True, tooltip="Of Load Video, say. Or name a file below."),
                io.String.Input(
                    "path",
                    default="",
                    tooltip="A video file, animated picture or folder of frames: in ComfyUI's input folder, or a whole "
                    "path. For videos that are not to be loaded by another node.",
                ),
                clip_inputs.model_input(),
                io.String.Input(
                    "folder",
                    default="poses",
                    tooltip="Folder in ComfyUI's output folder; the files are named after the video.",
                ),
                io.Boolean.Input(
                    "keep_finished",
                    default=False,
                    tooltip="If the video's files are there already, take them as they are, whatever the settings.",
                ),
                *clip_inputs.person_inputs("everybody"),
                clip_inputs.clean_input(),
                widgets.style(),
                *widgets.part_switches(),
                widgets.threshold(),
                io.Combo.Input(
                    "codec",
                    options=["lossless", "h264"],
                    default="lossless",
                    tooltip="Of the pose video. lossless keeps every pixel for the models that read it, but browsers "
                    "and many players show its colours wrongly; h264 is for watching.",
                ),
                io.Int.Input(
                    "every",
                    default=1,
                    min=1,
                    max=100,
                    tooltip="Estimate every Nth frame and interpolate between: faster, less exact.",
                    advanced=True,
                ),
                *clip_inputs.detector_inputs(),
                widgets.crop(),
                widgets.flip_test(),
                widgets.batch_size(),
            ],
            outputs=[
                io.Video.Output("pose_video", tooltip="One pose map per frame, without loss."),
                PoseClip.Output("sequence", tooltip="The poses with ids over time, for our other nodes."),
                io.Image.Output("preview", tooltip="The pose map of the middle frame."),
                io.String.Output("path", tooltip="The .pose.npz; the pose video lies beside it."),
                io.String.Output("info", tooltip="Which model ran, who is there, how fast, what was unusual."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, path: str, **_others: Any) -> tuple | None:
        """Run again when the file was replaced."""
        return file_stamp(_input_path(path)) if path.strip() else None

    @classmethod
    def execute(
        cls,
        path: str,
        folder: str,
        keep_finished: bool,
        person: str,
        number: int,
        smooth: bool,
        style: str,
        threshold: float,
        codec: str,
        every: int,
        detector: str,
        detect_threshold: float,
        max_people: int,
        detect_every: int,
        crop: str,
        flip_test: bool,
        batch_size: int,
        video: Any = None,
        model: Any = None,
        **switches: bool,
    ) -> io.NodeOutput:
        from ..sdpose_core.annotate.clip import ClipFiles, annotate_clip

        if (video is None) != bool(path.strip()):
            raise InputError("connect a video or name a file in path, and not both")
        watch = Stopwatch()
        options = clip_inputs.clip_options(
            person, number, smooth, threshold, every=every, detect_every=detect_every, style=style,
            parts=widgets.chosen_parts(switches), codec=codec, overwrite=not keep_finished,
        )  # fmt: skip
        estimator, finder = clip_inputs.makers(
            model,
            EstimatorOptions(batch_size=batch_size or None, flip_test=flip_test, crop=crop),
            detector,
            detector_options(detect_threshold, max_people),
        )
        with video_file(video) as given:
            source = given or _input_path(path)
            files = ClipFiles(_output_folder(folder), _name_of(source))
            outcome = annotate_clip(
                source, files.out, estimator=estimator, detector=finder, options=options, name=files.name,
                on_progress=Progress(1), on_draw=Progress(1),
            )  # fmt: skip
        sequence = PoseSequence.load(files.sequence)
        notes = [outcome.message, watch.speed(len(sequence)), *([NO_MODEL] if model is None else [])]
        info = describe(sequence, notes)
        show_text(cls, info)
        middle = _frame_of(files.pose_video, len(sequence) // 2)
        clip = video_of_file(files.pose_video)
        return io.NodeOutput(clip, sequence, middle, str(files.sequence), info, ui=preview(cls, middle))


def _input_path(text: str) -> Path:
    """A path as it is, or in ComfyUI's input folder. Raises `InputError` if there is nothing."""
    import folder_paths

    path = Path(text.strip().strip('"'))
    places = [path] if path.is_absolute() else [Path(folder_paths.get_input_directory()) / path]
    for place in places:
        if place.exists():
            return place
    raise InputError(f"path: {places[0]} is not there: expected a video file or a folder of frames")


def _output_folder(text: str) -> Path:
    """A folder in ComfyUI's output folder. Raises `InputError` for one outside."""
    import folder_paths

    root = Path(folder_paths.get_output_directory()).resolve()
    folder = (root / text.strip()).resolve()
    if not folder.is_relative_to(root):
        raise InputError(f"folder: {text!r} is outside of ComfyUI's output folder: name one inside")
    return folder


def _name_of(source: Path) -> str:
    """The video's name; one by content for a video that was in memory, and has none."""
    import folder_paths

    temporary = Path(folder_paths.get_temp_directory()).resolve()
    if not source.resolve().is_relative_to(temporary):
        return source.stem
    return f"{source.stem}_{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"


def _frame_of(path: Path, number: int) -> Any:
    """One frame of a video as IMAGE."""
    from ..sdpose_core.video.opening import open_video

    with open_video(path) as source:
        return tensor_from_images([next(source.frames(number)).image])
