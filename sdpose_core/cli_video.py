"""`sdpose video`, `sdpose draw` and `sdpose info`. This file prints; the library logs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError, SDPoseError

if TYPE_CHECKING:
    from .clip_options import ClipOptions, Selection
    from .clip_stream import ChunkResult
    from .smoothing import CleanOptions
    from .tracking import TrackerOptions


def add_parser(commands: Any) -> None:
    """Add the three commands."""
    _add_video(commands)
    _add_draw(commands)
    _add_info(commands)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


# --- sdpose video --------------------------------------------------------------------------------------------------


def _add_video(commands: Any) -> None:
    sub = commands.add_parser(
        "video",
        help="annotate a video",
        description="Writes NAME_kps.mp4 (the poses on black, lossless) and NAME.pose.npz. A run that was stopped goes "
        "on when the same command is run again; finished files are kept.",
    )
    sub.add_argument("input", type=Path, metavar="INPUT", help="video, animated picture, or folder of pictures")
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the results")
    add_clip_arguments(sub)
    sub.add_argument(
        "--profile", action="store_true", help="print how long each stage of estimating the poses was busy and idle"
    )
    sub.set_defaults(run=_run_video)


def add_clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the way from a video to its pose sequence and pose video."""
    from . import cli

    parser.add_argument("--overlay", action="store_true", help="also write NAME_overlay.mp4: the poses on the video")
    parser.add_argument("--overwrite", action="store_true", help="redo what is there")
    cli.add_estimator_arguments(parser)
    cli.add_detector_arguments(parser)
    parser.add_argument_group("people of a clip").add_argument(
        "--person", type=_person, metavar="WHO",
        help="keep one: an id, largest, best, leftmost, rightmost (largest:1: second), point:X,Y in pixels, mask:FILE",
    )  # fmt: skip
    _add_time_arguments(parser)
    _add_cleaning_arguments(parser)
    cli.add_drawing_arguments(parser)
    group = parser.add_argument_group("reading and writing")
    _add_codec_argument(group)
    group.add_argument("--frame-rate", type=_rate, metavar="R", help="of a folder of pictures (default: 25)")
    group.add_argument("--alpha-color", type=cli.color, metavar="R,G,B", help="colour under transparent frames")
    group.add_argument(
        "--chunk", type=cli.count, default=64, metavar="FRAMES", help="finished and kept together (default: 64)"
    )


def _add_time_arguments(parser: argparse.ArgumentParser) -> None:
    from .cli import count

    group = parser.add_argument_group("along time")
    group.add_argument(
        "--every", type=count, default=1, metavar="FRAMES",
        help="estimate each Nth frame and the last, interpolate those between (default: 1)",
    )  # fmt: skip
    group.add_argument(
        "--detect-every", type=count, default=1, metavar="FRAMES",
        help="look for people in each Nth estimated frame; between, boxes follow the poses (default: 1)",
    )  # fmt: skip
    group.add_argument("--lost", type=_seconds, metavar="SECONDS", help="a track waits so long unseen (default: 2)")
    group.add_argument(
        "--remember", type=_seconds, metavar="SECONDS", help="who comes back after that is known (default: 20)"
    )
    group.add_argument("--no-cuts", action="store_true", help="do not end ids at hard cuts")
    group.add_argument("--trust-ids", action="store_true", help="take the track_id of --boxes as they come")


def _add_cleaning_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cleaning up (raw scores stay as they are)")
    group.add_argument("--no-clean", action="store_true", help="none of it: the poses as they were estimated")
    group.add_argument("--smooth", type=_amount, metavar="HZ", help="least cut-off of the body (default: 1.2)")
    group.add_argument("--smooth-hands", type=_amount, metavar="HZ", help="of the hands (default: 0.8)")
    group.add_argument("--smooth-face", type=_amount, metavar="HZ", help="of the face (default: 1.0)")
    group.add_argument("--no-smooth", action="store_true", help="no smoothing")
    group.add_argument("--causal", action="store_true", help="smooth from the past only, as live video must")
    group.add_argument(
        "--fill-gaps", type=_frames, metavar="FRAMES", help="longest gap that is filled (default: 8; 0: off)"
    )
    group.add_argument(
        "--outliers", type=_amount, metavar="SHARE",
        help="points that jump further than this and back are removed; in sizes of the person (default: 0.12; 0: off)",
    )  # fmt: skip
    group.add_argument(
        "--hysteresis", type=_amount, metavar="S",
        help="points appear at --threshold + S and vanish below --threshold - S (score; default: 0.08)",
    )  # fmt: skip
    group.add_argument("--no-hysteresis", action="store_true", help="each frame's scores decide for themselves")
    group.add_argument(
        "--flip-repair", type=_frames, metavar="FRAMES",
        help="longest run of exchanged left and right that is put back (default: 8; 0: off)",
    )  # fmt: skip
    group.add_argument("--no-flip-repair", action="store_true", help="leave left and right as they were estimated")
    group.add_argument("--keep-hidden-faces", action="store_true", help="keep the faces of heads that are turned away")


def _add_codec_argument(parser: Any) -> None:
    from .video_writer import CODECS

    parser.add_argument(
        "--codec", choices=tuple(CODECS), default="lossless",
        help="lossless, ffv1 (lossless, .mkv), or h264 for players (default: lossless)",
    )  # fmt: skip


def clip_options(args: argparse.Namespace) -> ClipOptions:
    """What the options of `add_clip_arguments` ask for. Raises `InputError`."""
    from dataclasses import replace

    from .clip_options import ClipOptions, Selection
    from .drawing import check_style

    check_style(args.style)
    person = args.person or Selection()
    return ClipOptions(
        every=args.every, detect_every=args.detect_every, chunk=args.chunk, if_nobody=args.if_nobody or "empty",
        tracker=_tracker_options(args), clean=_clean_options(args),
        person=replace(person, max_people=args.max_people) if args.max_people else person,
        style=args.style, parts=args.parts, threshold=args.threshold, size=args.size, fit=args.fit,
        codec=args.codec, overlay=args.overlay, overwrite=args.overwrite, frame_rate=args.frame_rate,
        background=args.alpha_color,
    )  # fmt: skip


def _tracker_options(args: argparse.Namespace) -> TrackerOptions:
    from .tracking import TrackerOptions

    given = {"lost_seconds": args.lost, "remember_seconds": args.remember}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return TrackerOptions(trust_ids=args.trust_ids, cuts=not args.no_cuts, **settings)


def _clean_options(args: argparse.Namespace) -> CleanOptions | None:
    from .smoothing import CleanOptions

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


def make_clip_detector(args: argparse.Namespace) -> Any:
    """The detector of a clip: it shows everybody, as `--max-people` chooses along time, not frame by frame."""
    from .cli import make_detector

    return make_detector(argparse.Namespace(**{**vars(args), "max_people": None}))


def _run_video(args: argparse.Namespace) -> int:
    from .box_files import BoxFile
    from .cli import INTERRUPTED, OK, WRONG_USAGE, make_estimator
    from .clip import ClipFiles, annotate_clip, clip_name
    from .poses import PoseSequence
    from .stage_times import StageTimes

    try:
        options = clip_options(args)
        boxes = BoxFile(args.boxes) if args.boxes else None
    except SDPoseError as error:
        _say(f"sdpose video: {error}")
        return WRONG_USAGE

    times = StageTimes() if args.profile else None

    def estimator() -> Any:
        made = make_estimator(args)
        _say("; ".join([f"model: {made.name}", *getattr(made, "notes", [])]))
        return made

    with _Bar() as bar:
        try:
            outcome = annotate_clip(
                args.input, args.out, estimator=estimator, detector=lambda: make_clip_detector(args), options=options,
                boxes=boxes, on_progress=bar.shows("poses"), on_chunk=bar.show_people, on_draw=bar.shows("drawing"),
                times=times,
            )  # fmt: skip
        except KeyboardInterrupt:
            bar.close()
            partial = ClipFiles(args.out, clip_name(args.input)).partial
            done = len(PoseSequence.load(partial)) if partial.exists() else 0
            so_far = f"the {done} frames so far are in {partial}" if done else "no part of it is finished yet"
            _say(f"sdpose video: stopped; {so_far}; run the same command again to go on")
            return INTERRUPTED
    _say(f"{outcome.source}: {outcome.status}: {outcome.message}")
    if times is not None:
        print(times.table() if times.wall_seconds else "no profile: nothing had to be estimated")
    return OK


class _Bar:
    """A progress bar for each part of the work in turn."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._what = ""

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def shows(self, what: str) -> Callable[[int, int | None], None]:
        """A progress function whose bar is called `what`."""
        from tqdm import tqdm

        def show(done: int, total: int | None) -> None:
            if self._bar is None or self._what != what or done < self._bar.n:
                self.close()
                self._what = what
                self._bar = tqdm(desc=what, total=total, initial=done, unit="frame", disable=None, file=sys.stderr)
            self._bar.total = total
            self._bar.update(done - self._bar.n)

        return show

    def show_people(self, chunk: ChunkResult) -> None:
        """Beside the bar, how many people the last frame of a chunk shows."""
        if self._bar is not None:
            self._bar.set_postfix(people=int((chunk.sequence.track_ids[-1] >= 0).sum()), refresh=False)

    def close(self) -> None:
        """The bar stays as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


# --- sdpose draw ---------------------------------------------------------------------------------------------------


def _add_draw(commands: Any) -> None:
    from . import cli

    sub = commands.add_parser(
        "draw",
        help="draw a pose sequence",
        description="Draws a .pose.npz as a video, a picture (a sequence of one frame), or a folder of pictures.",
    )
    sub.add_argument("sequence", type=Path, metavar="SEQ", help=".pose.npz")
    sub.add_argument(
        "-o", "--out", type=Path, metavar="OUT", help=".mp4, .png, or a folder (default: NAME_kps.mp4 beside SEQ)"
    )
    sub.add_argument("--background", default="black", metavar="VIDEO", help="draw on this video (default: black)")
    _add_codec_argument(sub)
    sub.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    cli.add_drawing_arguments(sub)
    sub.set_defaults(run=_run_draw)


def _run_draw(args: argparse.Namespace) -> int:
    from contextlib import ExitStack

    from .cli import OK
    from .drawing import check_style
    from .poses import PoseSequence
    from .sequence_drawing import draw_sequence
    from .video_writer import SUFFIX

    check_style(args.style)
    sequence = PoseSequence.load(args.sequence)
    name = args.sequence.name.removesuffix(".npz").removesuffix(".pose")
    out = args.out or args.sequence.with_name(f"{name}_kps{SUFFIX[args.codec]}")
    if out.exists() and not args.overwrite and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} is there: use --overwrite, or another name")
    with ExitStack() as stack:
        frames = None
        if args.background != "black":
            from .video import open_video

            frames = stack.enter_context(open_video(args.background)).frames()
        bar = stack.enter_context(_Bar())
        draw_sequence(
            sequence, out, style=args.style, parts=args.parts, threshold=args.threshold, size=args.size, fit=args.fit,
            codec=args.codec, background=frames, on_progress=bar.shows("drawing"),
        )  # fmt: skip
    print(out)
    return OK


# --- sdpose info ---------------------------------------------------------------------------------------------------


def _add_info(commands: Any) -> None:
    sub = commands.add_parser("info", help="what a .pose.npz or a video holds")
    sub.add_argument("file", type=Path, metavar="FILE")
    sub.add_argument("--json", action="store_true", help="as JSON")
    sub.set_defaults(run=_run_info)


def _run_info(args: argparse.Namespace) -> int:
    from .cli import OK

    found = describe_file(args.file)
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            for line in _lines(name, value):
                print(line)
    return OK


def describe_file(path: Path) -> dict[str, Any]:
    """What a `.pose.npz` or a video holds, as JSON-able values. Raises `InputError`."""
    from .poses import PoseSequence

    if path.suffix.lower() == ".npz":
        return {"file": str(path)} | describe_sequence(PoseSequence.load(path))
    from .video import open_video

    with open_video(path) as video:
        info = video.info
        rate = str(info.frame_rate) if info.frame_rate else None
        return {
            "file": str(path), "kind": "video", "frames_stated": info.frames, "size": list(info.size),
            "frame_rate": rate, "seconds": info.duration,
        }  # fmt: skip


def describe_sequence(sequence: Any) -> dict[str, Any]:
    """What a `PoseSequence` holds, as JSON-able values."""
    from .tracks import split_tracks

    rate = sequence.frame_rate
    people = [
        {
            "id": track.id,
            "frames": int(track.present.sum()),
            "first_frame": int(track.times[0]),
            "last_frame": int(track.times[-1]),
            "mean_score": round(float(track.scores[track.present].mean()), 3),
        }
        for track in split_tracks(sequence)
    ]
    return {
        "kind": "pose sequence",
        "frames": len(sequence),
        "seconds": round(float(sequence.pts[-1] - sequence.pts[0]) + (float(1 / rate) if rate else 0), 3),
        "size": list(sequence.size),
        "frame_rate": None if rate is None else str(rate),
        "keypoint_set": sequence.keypoint_set,
        "points": sequence.keypoints.shape[2],
        "people": people,
        "meta": dict(sequence.meta),
    }


def _lines(name: str, value: Any, indent: str = "") -> list[str]:
    """A value of `describe_file` for people to read."""
    label = f"{indent}{name.replace('_', ' ')}: "
    if isinstance(value, dict) and value:
        return [label.rstrip(), *(line for key, inner in value.items() for line in _lines(key, inner, indent + "  "))]
    if name == "people" and isinstance(value, list):
        rows = [
            f"  id {own['id']}: {own['frames']} frames ({own['first_frame']} to {own['last_frame']}), "
            f"mean score {own['mean_score']}"
            for own in value
        ]
        return [label + str(len(value)), *rows]
    if name == "size":
        return [f"{label}{value[0]} x {value[1]}"]
    text = ", ".join(str(item) for item in value) if isinstance(value, list) else value
    return [f"{label}{'-' if text in (None, '', {}) else text}"]


# --- values of options ---------------------------------------------------------------------------------------------


def _parse_person(text: str) -> Selection:
    from .clip_options import Selection
    from .sequence_selection import parse_person

    return Selection(**parse_person(text))


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


def _parse_frames(text: str) -> int:
    if int(text) < 0:
        raise ValueError
    return int(text)


def _value(convert: Any, expected: str) -> Any:
    """A type for argparse; `cli` is imported when it is used, as it imports this file."""

    def read(text: str) -> Any:
        from .cli import option

        return option(convert, expected)(text)

    return read


_person = _value(
    _parse_person,
    "an id, largest, best, leftmost or rightmost (the second: largest:1), point:X,Y or mask:FILE",
)
_rate = _value(_parse_rate, "frames per second such as 25, 23.976 or 30000/1001")
_amount = _value(_parse_amount, "a number of at least 0")
_seconds = _value(_parse_amount, "seconds of at least 0")
_frames = _value(_parse_frames, "a whole number of at least 0")
