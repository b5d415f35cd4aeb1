"""Annotate Video: a video of any length, streamed from file to file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..sdpose_core.detection.people import MIN_PERSON_SCORE
from ..sdpose_core.errors import InputError
from ..sdpose_core.estimation.options import EstimatorOptions
from ..sdpose_core.files import sha256_of
from ..sdpose_core.names import path_inside
from ..sdpose_core.poses import PoseSequence
from ..sdpose_core.sequences.short_tracks import MIN_SECONDS
from . import clip_inputs, widgets
from .checks import NOT_CONNECTED, answer, check_canvas
from .detect import detector_options
from .host.folders import file_stamp
from .host.info import Stopwatch, nobody_found, node_ui, not_sdpose, video_preview
from .host.input_paths import input_path
from .host.progress import Progress
from .host.written import WRITTEN
from .sockets.images import tensor_from_images
from .sockets.poses import sequence_output
from .sockets.sequence import describe, people_in
from .sockets.video import video_file, video_of_file

if TYPE_CHECKING:
    from ..sdpose_core.annotate.outputs import Output

NODE = "SDPoseAnnotatorVideo"
LOSSLESS = "lossless"
CODECS = {"h264": LOSSLESS, LOSSLESS: LOSSLESS, "webm": "webm", "gif": "gif"}
"""Choice -> codec of NAME_kps; a lossless pose video has a playable copy."""


class AnnotateVideo(io.ComfyNode):
    """Annotate Video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=NODE,
            display_name="Annotate Video",
            category=widgets.VIDEO_CATEGORY,
            description="Video in, pose video and pose sequence out. The frames are streamed, so a long video needs no "
            "more memory than a short one. After a cancel or a crash, queue it again: it resumes where it stopped. "
            "Earlier results are never overwritten.",
            search_aliases=[
                *widgets.ESTIMATING,
                "video openpose",
                "video dwpose",
                "driving video",
                "long video",
                "pose video",
                "batch",
                "resume",
            ],
            inputs=[
                io.Video.Input("video", optional=True, tooltip="For example from Load Video. Or enter a file in path."),
                io.String.Input(
                    "path",
                    default="",
                    tooltip="A video file, an animated image or a folder of frames: a name in ComfyUI's input folder "
                    "or a full path in its input, output or temp folder. Use it for long videos that no other node "
                    "should load.",
                ),
                clip_inputs.model_input(),
                widgets.style(),
                widgets.parts(),
                *clip_inputs.person_inputs("everybody"),
                clip_inputs.clean_input(),
                io.Combo.Input(
                    "codec",
                    options=list(CODECS),
                    default="h264",
                    tooltip="Codec of the output pose_video. h264 plays everywhere, with slightly changed colors. "
                    "lossless keeps every pixel, but browsers and many players show wrong colors. Both choices write "
                    "both files: NAME_kps.mp4 (lossless) and NAME_kps_play.mp4 (h264). webm and gif write one file.",
                ),
                io.String.Input(
                    "folder",
                    default="poses",
                    tooltip="A folder inside ComfyUI's output folder. The files are named after the video, with a "
                    "counter: NAME_00001, NAME_00002.",
                    advanced=True,
                ),
                io.Boolean.Input(
                    "keep_finished",
                    default=False,
                    tooltip="Use earlier results of the same video, model and settings. If only the drawing "
                    "(style, parts, size, codec) differs, it is redrawn from their keypoints under a new name. Off: "
                    "estimate again.",
                    advanced=True,
                ),
                widgets.threshold(advanced=True),
                io.Int.Input(
                    "every",
                    default=1,
                    min=1,
                    max=100,
                    tooltip="Estimate every Nth frame and interpolate the rest: faster, but less accurate.",
                    advanced=True,
                ),
                *clip_inputs.detector_inputs(),
                widgets.crop(),
                widgets.flip_test(),
                widgets.batch_size(),
                *widgets.canvas(optional=True, advanced=True),
                widgets.line_width(),
                *clip_inputs.found_inputs(),
            ],
            outputs=[
                io.Video.Output("pose_video", tooltip="The pose maps as a video, one per frame."),
                sequence_output(),
                io.Image.Output("preview", tooltip="The pose map of the middle frame."),
                io.String.Output("path", tooltip="The .pose.npz file. The pose video is in the same folder."),
                io.String.Output("info", tooltip="Model, people and their IDs, speed, and warnings."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, path: str | None, **others: Any) -> tuple:
        """Run again after the file is replaced, or the results are gone."""
        stamp = file_stamp(input_path(path)) if path and path.strip() else None  # None: it comes by wire
        return stamp, WRITTEN.changes(NODE, cls.hidden.unique_id, {"path": path, **others})

    @classmethod
    def validate_inputs(
        cls, path: str | None, video: Any = NOT_CONNECTED, width: int | None = 0, height: int | None = 0
    ) -> bool | str:
        """Refuse a wrong source or size before anything runs."""
        return answer(
            lambda: path is None or _check_source(video is not NOT_CONNECTED, path),
            lambda: path and path.strip() and input_path(path),
            lambda: check_canvas(width, height),
        )

    @classmethod
    def execute(
        cls,
        path: str,
        style: str,
        parts: str,
        person: str,
        number: int,
        smooth: bool,
        codec: str,
        folder: str,
        keep_finished: bool,
        threshold: float,
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
        width: int = 0,
        height: int = 0,
        fit: str = "pad",
        line_width: float = 0.0,
        min_person_score: float = MIN_PERSON_SCORE,
        min_track: float = MIN_SECONDS,
    ) -> io.NodeOutput:
        from ..sdpose_core.annotate.clip import ClipFiles
        from ..sdpose_core.annotate.numbered import annotate_numbered

        _check_source(video is not None, path)
        watch = Stopwatch()
        options = clip_inputs.clip_options(
            person, number, smooth, threshold, every=every, detect_every=detect_every, style=style,
            parts=widgets.PARTS[parts], codec=CODECS[codec], size=widgets.both_sides(width, height), fit=fit,
            line_width=line_width or None, min_track=min_track,
        )  # fmt: skip
        models = (
            model,
            EstimatorOptions(batch_size=batch_size or None, flip_test=flip_test, crop=crop),
            detector,
            detector_options(detect_threshold, max_people, min_person_score=min_person_score),
        )
        estimator, finder = clip_inputs.makers(*models)
        out = _output_folder(folder)
        with video_file(video) as given:
            source = given or input_path(path)
            outcome = annotate_numbered(
                source, out, _name_of(source), keep_finished, options=options, asked=clip_inputs.asked(*models),
                own=WRITTEN.intact(NODE, cls.hidden.unique_id), estimator=estimator, detector=finder,
                on_progress=Progress(1), on_draw=Progress(1),
            )  # fmt: skip
        files = ClipFiles(out, outcome.name, options.codec)
        made = [files.sequence, *files.drawings(options)]
        WRITTEN.remember(NODE, cls.hidden.unique_id, made, edited=False)
        sequence = PoseSequence.load(files.sequence)
        kept = outcome.status == "kept"
        did = ["these files were already finished"] if kept else [outcome.message, watch.speed(len(sequence))]
        written = ", ".join(
            [files.sequence.name, *(_told(file, made) for file, made in files.drawings(options).items())]
        )
        first = [*nobody_found(people_in(sequence)), *not_sdpose(model)]
        info = describe(sequence, [written, *did], first)
        middle = _frame_of(files.pose_video, len(sequence) // 2)
        clip = video_of_file(files.pose_video if codec == LOSSLESS else files.playable)
        shown = node_ui(info, video_preview(files.playable, "output"))
        return io.NodeOutput(clip, sequence, middle, str(files.sequence), info, ui=shown)


def _told(file: Path, output: Output) -> str:
    return f"{file.name} (to look at)" if output.for_eyes else file.name


def _check_source(connected: bool, path: str) -> None:
    """Raise `InputError` unless there is one video: connected, or named by a path."""
    if not connected and not path.strip():
        raise InputError("no video: connect a video or enter a file in path")
    if connected and path.strip():
        raise InputError("two videos: disconnect video, or clear path")


def _output_folder(text: str) -> Path:
    """A folder inside ComfyUI's output folder. Raises `InputError` for one outside it."""
    import folder_paths

    root = Path(folder_paths.get_output_directory())
    folder = path_inside(root, text, "folder") if (text := text.strip()) not in ("", ".") else root
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise InputError(f"folder: {text!r} is a file: enter the name of a folder")
    return folder


def _name_of(source: Path) -> str:
    """The name of the video; for a video that was in memory, a name made from its content."""
    import folder_paths

    from ..sdpose_core.annotate.clip import clip_name

    temporary, name = Path(folder_paths.get_temp_directory()).resolve(), clip_name(source)
    if source.resolve().is_relative_to(temporary):
        name += f"_{sha256_of(source)[:12]}"
    return name


def _frame_of(path: Path, number: int) -> Any:
    """One frame of a video as IMAGE."""
    from ..sdpose_core.video.opening import open_video

    with open_video(path) as source:
        return tensor_from_images([next(source.frames(number)).image])
