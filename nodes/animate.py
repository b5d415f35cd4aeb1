"""AnimateAnyone Pose Sequence: a driving video to pose maps, one per frame, as AnimateAnyone was trained."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..sdpose_core.detection.people import MIN_PERSON_SCORE
from ..sdpose_core.drawing.canvas import place
from ..sdpose_core.errors import InputError
from ..sdpose_core.estimation.options import EstimatorOptions
from ..sdpose_core.sequences.short_tracks import MIN_SECONDS
from . import clip_inputs, widgets
from .checks import NOT_CONNECTED, answer, check_range
from .detect import detector_options
from .draw import draw
from .host.info import Stopwatch, clip_preview, nobody_found, node_ui, not_sdpose
from .host.progress import Progress
from .sockets.images import images_from_tensor, tensor_from_images
from .sockets.poses import sequence_output
from .sockets.sequence import FRAME_RATES, describe, frame_rate_input, people_in, rate_from_socket
from .sockets.video import video_file, video_of_images

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

TARGET = "animate_anyone"


class AnimateAnyone(io.ComfyNode):
    """AnimateAnyone Pose Sequence."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorAnimateAnyone",
            display_name="AnimateAnyone Pose Sequence",
            category=widgets.VIDEO_CATEGORY,
            description="Driving video or frames in, pose maps of one person out: exactly one per frame, in the size "
            "and style that AnimateAnyone needs. If the person is not in a frame, its pose map is black.",
            search_aliases=[*widgets.ALIASES, "Moore AnimateAnyone", "driving video", "pose video", "dance"],
            inputs=[
                io.Image.Input("image", optional=True, tooltip="The driving video as frames. Connect image or video."),
                io.Video.Input("video", optional=True, tooltip="The driving video. Connect image or video."),
                frame_rate_input(tooltip="Frame rate of image; 0 means 25. A video has its own frame rate."),
                clip_inputs.model_input(),
                *clip_inputs.person_inputs("best score"),
                clip_inputs.clean_input(),
                widgets.threshold(),
                io.Int.Input(
                    "short_side",
                    default=512,
                    min=64,
                    max=4096,
                    step=64,
                    tooltip="Shorter side of the pose map in pixels. Both sides are rounded to multiples of 64.",
                ),
                *clip_inputs.detector_inputs(),
                widgets.crop(),
                widgets.flip_test(),
                widgets.batch_size(),
                *clip_inputs.found_inputs(),
            ],
            outputs=[
                io.Image.Output("pose_map", tooltip="One pose map per frame."),
                io.Video.Output("video", tooltip="The pose maps as a video, at the frame rate of the source."),
                sequence_output(tooltip="The poses in source pixels, for the other nodes of this pack."),
                io.Float.Output("frame_rate", tooltip="Frames per second."),
                io.String.Output("info", tooltip="Model, people and their IDs, and speed."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(
        cls, frame_rate: float | None, image: Any = NOT_CONNECTED, video: Any = NOT_CONNECTED
    ) -> bool | str:
        """Refuse two sources, or none, before anything runs."""
        return answer(
            lambda: _check_source(image is not NOT_CONNECTED, video is not NOT_CONNECTED),
            lambda: check_range("frame_rate", frame_rate, *FRAME_RATES),
        )

    @classmethod
    def execute(
        cls,
        frame_rate: float,
        person: str,
        number: int,
        smooth: bool,
        threshold: float,
        short_side: int,
        detector: str,
        detect_threshold: float,
        max_people: int,
        detect_every: int,
        crop: str,
        flip_test: bool,
        batch_size: int,
        image: torch.Tensor | None = None,
        video: Any = None,
        model: Any = None,
        min_person_score: float = MIN_PERSON_SCORE,
        min_track: float = MIN_SECONDS,
    ) -> io.NodeOutput:
        from ..sdpose_core.annotate.clip import annotate_frames
        from ..sdpose_core.exports.targets import TARGETS

        _check_source(image is not None, video is not None)
        watch = Stopwatch()
        options = clip_inputs.clip_options(
            person, number, smooth, threshold, detect_every=detect_every, min_track=min_track
        )
        estimator, finder = clip_inputs.makers(
            model,
            EstimatorOptions(batch_size=batch_size or None, flip_test=flip_test, crop=crop),
            detector,
            detector_options(detect_threshold, max_people, min_person_score=min_person_score),
        )
        with video_file(video) as path:
            frames, rate, total, notes = _frames(path, image, frame_rate)
            sequence = annotate_frames(
                frames, estimator=estimator(), detector=finder(), options=options, frame_rate=rate,
                on_progress=Progress(total or 1),
            )  # fmt: skip
        size = replace(TARGETS[TARGET], short_side=short_side).canvas_size(sequence.size)
        placed = [place(poses, size, "stretch") for poses in sequence.frames()]
        drawn = draw(placed, [None] * len(placed), style=TARGET, threshold=threshold)
        rate = sequence.frame_rate or rate
        did = [str(sequence.meta.get("model", "")), f"{size[0]} x {size[1]}; {watch.speed(len(sequence))}"]
        info = describe(sequence, [*did, *notes], [*nobody_found(people_in(sequence)), *not_sdpose(model)])
        maps, shown = tensor_from_images(drawn), clip_preview(cls, drawn, rate)
        clip = video_of_images(maps, rate)
        return io.NodeOutput(maps, clip, sequence, float(rate), info, ui=node_ui(info, shown))


def _check_source(image: bool, video: bool) -> None:
    """Raise `InputError` unless exactly one of the two is connected."""
    if image == video:
        raise InputError("connect either image or video")


def _frames(
    path: Any, image: torch.Tensor | None, frame_rate: float
) -> tuple[Iterator, Fraction, int | None, tuple[str, ...]]:
    """The frames of the file or of the batch, their rate, how many are stated, and notes about the file."""
    from ..sdpose_core.poses import USUAL_RATE
    from ..sdpose_core.video.frames import Frame
    from ..sdpose_core.video.opening import open_video

    if image is None:
        source = open_video(path)
        return source.frames(), source.info.frame_rate, source.info.frames, source.info.notes
    rate = rate_from_socket(frame_rate) or USUAL_RATE
    images = images_from_tensor(image)
    return (Frame(n, float(n / rate), each) for n, each in enumerate(images)), rate, len(images), ()
