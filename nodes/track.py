"""Track Poses, Smooth Poses: who is who over time, and no jitter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from . import widgets
from .host.progress import each_frame
from .select import poses_input
from .sockets.images import images_from_tensor
from .sockets.poses import is_sequence, poses_from_socket
from .sockets.sequence import (
    clip_input,
    clip_outputs,
    clip_values,
    frame_rate_input,
    rate_from_socket,
    sequence_from_socket,
)

if TYPE_CHECKING:
    import torch


class TrackPoses(io.ComfyNode):
    """Track Poses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorTrack",
            display_name="Track Poses",
            category=widgets.VIDEO_CATEGORY,
            description="Gives each person in a video a stable ID, through crossings, short occlusions and frames "
            "where the detector missed someone. After a scene cut, everyone gets a new ID.",
            search_aliases=[*widgets.ALIASES, "multi-person", "person id", "tracking", "identity", "video pose"],
            inputs=[
                poses_input(),
                frame_rate_input(
                    tooltip="Frames per second of the source; 29.97 means 30000/1001. 0: the rate of the pose "
                    "sequence, otherwise unknown."
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The frames. Needed to find scene cuts and to recognize people by their clothes.",
                ),
                io.Boolean.Input(
                    "keep_ids",
                    default=False,
                    tooltip="Keep the IDs that come in, for example from SAM 3 tracks through Boxes From ...",
                ),
                io.Float.Input(
                    "lost_seconds",
                    default=2.0,
                    min=0.0,
                    max=60.0,
                    step=0.1,
                    tooltip="How long, in seconds, to keep predicting the path of someone out of sight.",
                    advanced=True,
                ),
                io.Float.Input(
                    "remember_seconds",
                    default=20.0,
                    min=0.0,
                    max=3600.0,
                    step=1.0,
                    tooltip="How long after that, in seconds, someone who returns gets the same ID back.",
                    advanced=True,
                ),
                widgets.threshold(),
            ],
            outputs=clip_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        poses: Any,
        frame_rate: float,
        keep_ids: bool,
        lost_seconds: float,
        remember_seconds: float,
        threshold: float,
        image: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        from ..sdpose_core.errors import InputError
        from ..sdpose_core.times import has_times
        from ..sdpose_core.tracking.frames import track_frames
        from ..sdpose_core.tracking.options import TrackerOptions

        images = None if image is None else images_from_tensor(image)
        size = None if images is None else images[0].shape[1::-1]
        frames, notes = poses_from_socket(poses, size=size, ask="connect the image")
        if images is not None and len(images) != len(frames):
            raise InputError(f"frames: {len(frames)} in poses, {len(images)} in image: connect the same frames")
        options = TrackerOptions(
            lost_seconds=lost_seconds, remember_seconds=remember_seconds, point_threshold=threshold, trust_ids=keep_ids
        )
        rate, pts = rate_from_socket(frame_rate), None
        if is_sequence(poses) and rate is None:
            rate, pts = poses.frame_rate, poses.pts.tolist() if has_times(poses) else None
        sequence = track_frames(each_frame(frames), rate, pts=pts, images=images, options=options)
        cuts = sequence.meta["clip"]["scene_cuts"]
        found = [f"new scenes start at frames: {', '.join(map(str, cuts))}"] if cuts else []
        return clip_values(cls, sequence, threshold, [*notes, *found])


def _hertz(name: str, default: float, what: str) -> io.Float.Input:
    return io.Float.Input(
        name,
        default=default,
        min=0.0,
        max=30.0,
        step=0.1,
        tooltip=f"Cutoff frequency for {what} in Hz: slower motion is kept, faster jitter is removed. Lower is "
        "smoother; 0 turns smoothing off.",
    )


class SmoothPoses(io.ComfyNode):
    """Smooth Poses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorSmooth",
            display_name="Smooth Poses",
            category=widgets.VIDEO_CATEGORY,
            description="Smooths a pose sequence, person by person: removes jitter and flicker, fills short gaps, "
            "corrects left/right swaps, removes faces from heads turned away. Scores do not change.",
            search_aliases=[
                *widgets.ALIASES,
                "jitter",
                "flicker",
                "one euro",
                "stabilize",
                "interpolate",
                "video pose",
            ],
            inputs=[
                clip_input(),
                _hertz("body_hz", 1.2, "the body"),
                _hertz("hands_hz", 0.8, "the hands"),
                _hertz("face_hz", 1.0, "the face"),
                io.Float.Input(
                    "speed",
                    default=2.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="How much the cutoff rises with speed: Hz per body size per second. Higher values follow "
                    "fast motion more closely.",
                    advanced=True,
                ),
                io.Int.Input(
                    "fill_gaps",
                    default=8,
                    min=0,
                    max=1000,
                    tooltip="Longest gap to fill by interpolation, in frames; 0 turns it off.",
                ),
                io.Int.Input(
                    "repair_flips",
                    default=8,
                    min=0,
                    max=1000,
                    tooltip="Longest left/right swap to correct, in frames; 0 turns it off.",
                ),
                io.Float.Input(
                    "outliers",
                    default=0.12,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Removes one-frame spikes larger than this share of the body size; 0 turns it off.",
                    advanced=True,
                ),
                widgets.threshold(),
                io.Float.Input(
                    "hysteresis",
                    default=0.08,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="A keypoint appears above threshold + this score and disappears below threshold - this "
                    "score, so that limbs do not flicker. 0 means a plain threshold.",
                    advanced=True,
                ),
                io.Boolean.Input(
                    "hide_faces",
                    default=True,
                    tooltip="Remove nose, eyes and face while the head is turned away.",
                ),
                frame_rate_input(advanced=True),
            ],
            outputs=clip_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        sequence: Any,
        body_hz: float,
        hands_hz: float,
        face_hz: float,
        speed: float,
        fill_gaps: int,
        repair_flips: int,
        outliers: float,
        threshold: float,
        hysteresis: float,
        hide_faces: bool,
        frame_rate: float,
    ) -> io.NodeOutput:
        from ..sdpose_core.sequences.cleaning import CleanOptions, clean

        clip, notes = sequence_from_socket(sequence, frame_rate)
        options = CleanOptions(
            repair_flips=repair_flips, hysteresis=hysteresis, threshold=threshold, outliers=outliers,
            fill_gaps=fill_gaps, smooth=body_hz, smooth_hands=hands_hz, smooth_face=face_hz, speed=speed,
            hide_faces=hide_faces,
        )  # fmt: skip
        return clip_values(cls, clean(clip, options), 0.0, notes)
