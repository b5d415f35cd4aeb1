"""Arguments shared by `sdpose video` and `sdpose batch`, and the options made from them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..annotate.clip_options import ClipOptions, Selection
from ..drawing.styles import check_style
from ..sequences.cleaning import CleanOptions
from ..sequences.people import parse_person
from ..sequences.short_tracks import MIN_SECONDS
from ..tracking.options import TrackerOptions
from ..video.writer import CODECS
from .arguments import (
    add_detector_arguments,
    add_drawing_arguments,
    add_estimator_arguments,
    add_presence_arguments,
    asked_models,
    color,
    count,
    make_detector,
    option,
    parse_whole,
    presence,
)

if TYPE_CHECKING:
    from ..detection.people import PersonDetector


def add_clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `sdpose video` and `sdpose batch`."""
    parser.add_argument("--overlay", action="store_true", help="also write NAME_overlay.mp4: the poses on the video")
    parser.add_argument(
        "--compare", action="store_true", help="also write NAME_compare.mp4: video, overlay and poses side by side"
    )
    parser.add_argument(
        "--check", action="store_true", help="also find out which points to distrust, and name the worst frames"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results, whatever they were made from")
    add_estimator_arguments(parser)
    add_detector_arguments(parser)
    add_presence_arguments(parser)
    parser.add_argument_group("selecting people").add_argument(
        "--person", type=_person, metavar="WHO",
        help="keep one: an id, largest, best, leftmost, rightmost (largest:1: second largest), point:X,Y or mask:FILE",
    )  # fmt: skip
    _add_time_arguments(parser)
    _add_cleaning_arguments(parser)
    add_drawing_arguments(parser)
    group = parser.add_argument_group("reading and writing")
    add_codec_argument(group)
    group.add_argument("--frame-rate", type=rate, metavar="R", help="of a folder of pictures (default: 25)")
    group.add_argument(
        "--alpha-color", type=color, metavar="R,G,B", help="color behind transparent frames (default: white)"
    )
    group.add_argument(
        "--chunk", type=count, default=64, metavar="FRAMES", help="frames finished and saved together (default: 64)"
    )


def _add_time_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("over time")
    group.add_argument(
        "--every", type=count, default=1, metavar="N",
        help="estimate every Nth frame and the last one, and interpolate the frames in between (default: 1)",
    )  # fmt: skip
    group.add_argument(
        "--detect-every", type=count, default=1, metavar="N",
        help="detect people in every Nth estimated frame; in between, boxes follow the poses (default: 1)",
    )  # fmt: skip
    group.add_argument(
        "--lost", type=_seconds, metavar="SECONDS", help="keep a track this long without detections (default: 2)"
    )
    group.add_argument(
        "--remember", type=_seconds, metavar="SECONDS", help="how long a person who left is recognized (default: 20)"
    )
    group.add_argument(
        "--min-track", type=_seconds, default=MIN_SECONDS, metavar="SECONDS",
        help=f"leave out people who are in the clip for a shorter time (default: {MIN_SECONDS}; 0: keep everybody)",
    )  # fmt: skip
    group.add_argument(
        "--detected-only", action="store_true", help="do not look for people in frames where the detector missed them"
    )
    group.add_argument("--no-cuts", action="store_true", help="do not end tracks at hard cuts")
    group.add_argument("--trust-ids", action="store_true", help="use the track_id values of --boxes as they are")


def _add_cleaning_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cleaning (never changes the raw scores)")
    group.add_argument("--no-clean", action="store_true", help="no cleaning: the poses as estimated")
    group.add_argument(
        "--smooth", type=_amount, metavar="HZ", help="minimum cutoff for the body; lower is smoother (default: 1.2)"
    )
    group.add_argument("--smooth-hands", type=_amount, metavar="HZ", help="the same for the hands (default: 0.8)")
    group.add_argument("--smooth-face", type=_amount, metavar="HZ", help="the same for the face (default: 1.0)")
    group.add_argument("--no-smooth", action="store_true", help="no smoothing")
    group.add_argument("--causal", action="store_true", help="smooth with past frames only, as for live video")
    group.add_argument("--fill-gaps", type=_frames, metavar="FRAMES", help="longest gap to fill (default: 8; 0: off)")
    group.add_argument(
        "--outliers", type=_amount, metavar="SHARE",
        help="remove one-frame spikes larger than this share of the body size (default: 0.12; 0: off)",
    )  # fmt: skip
    group.add_argument(
        "--hysteresis", type=_amount, metavar="S",
        help="points appear at a score of --threshold + S and vanish below --threshold - S (default: 0.08)",
    )  # fmt: skip
    group.add_argument("--no-hysteresis", action="store_true", help="judge each frame by its scores alone")
    group.add_argument(
        "--flip-repair", type=_frames, metavar="FRAMES",
        help="longest left/right swap to correct (default: 8; 0: off)",
    )  # fmt: skip
    group.add_argument("--no-flip-repair", action="store_true", help="do not correct left/right swaps")
    group.add_argument(
        "--keep-hidden-faces", action="store_true", help="keep nose, eyes and face where the head is turned away"
    )


def add_codec_argument(parser: Any, default: str = "lossless") -> None:
    parser.add_argument(
        "--codec", choices=tuple(CODECS),
        help="of the pose video. For tools: lossless (.mp4) or ffv1 (.mkv). For looking, with changed colors: h264 "
        f"(.mp4), webm or gif (default: {default})",
    )  # fmt: skip
    parser.add_argument(
        "--no-playable", dest="playable", action="store_false",
        help="leave out NAME_kps_play.mp4, the copy of a lossless pose video that players and browsers show",
    )  # fmt: skip


def clip_options(args: argparse.Namespace) -> ClipOptions:
    """The values of the options of `add_clip_arguments`. Raises `InputError`."""
    check_style(args.style)
    person = args.person or Selection()
    return ClipOptions(
        every=args.every, detect_every=args.detect_every, chunk=args.chunk, if_nobody=args.if_nobody or "empty",
        presence=presence(args), find_missed=not args.detected_only, tracker=_tracker_options(args),
        clean=_clean_options(args), min_track=args.min_track,
        person=replace(person, max_people=args.max_people) if args.max_people else person,
        style=args.style, parts=args.parts, threshold=args.threshold, size=args.size, fit=args.fit,
        line_width=args.line_width, codec=args.codec or "lossless", playable=args.playable, overlay=args.overlay,
        compare=args.compare, overwrite=args.overwrite, frame_rate=args.frame_rate,
        background=args.alpha_color, check=args.check,
    )  # fmt: skip


def _tracker_options(args: argparse.Namespace) -> TrackerOptions:
    given = {"lost_seconds": args.lost, "remember_seconds": args.remember}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return TrackerOptions(trust_ids=args.trust_ids, cuts=not args.no_cuts, **settings)


def _clean_options(args: argparse.Namespace) -> CleanOptions | None:
    if args.no_clean:
        return None
    given = {
        "smooth": args.smooth, "smooth_hands": args.smooth_hands, "smooth_face": args.smooth_face,
        "fill_gaps": args.fill_gaps, "outliers": args.outliers, "hysteresis": args.hysteresis,
        "repair_flips": args.flip_repair,
    }  # fmt: skip
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if args.no_smooth:
        settings |= {"smooth": 0.0, "smooth_hands": 0.0, "smooth_face": 0.0}
    if args.no_hysteresis:
        settings["hysteresis"] = -1.0
    if args.no_flip_repair:
        settings["repair_flips"] = 0
    return CleanOptions(
        threshold=args.threshold, two_way=not args.causal, hide_faces=not args.keep_hidden_faces, **settings
    )


def make_clip_detector(args: argparse.Namespace) -> PersonDetector:
    """The detector of a clip. It finds everybody: `--max-people` selects over the whole clip, not in each frame."""
    return make_detector(_for_everybody(args))


def asked_clip_models(args: argparse.Namespace) -> dict[str, Any]:
    """What the estimator and the detector of a clip are, without loading them."""
    return asked_models(_for_everybody(args))


def _for_everybody(args: argparse.Namespace) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(args), "max_people": None})


def _parse_rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except ZeroDivisionError:
        raise ValueError from None
    if rate <= 0:
        raise ValueError
    return rate


def _parse_amount(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError
    return value


_person = option(
    lambda text: Selection(**parse_person(text)),
    "an id, largest, best, leftmost or rightmost (second largest: largest:1), point:X,Y or mask:FILE",
)
rate = option(_parse_rate, "frames per second such as 25, 23.976 or 30000/1001")
_amount = option(_parse_amount, "a number of at least 0")
_seconds = option(_parse_amount, "seconds of at least 0")
_frames = option(lambda text: parse_whole(text, 0), "a whole number of at least 0")
