"""`sdpose review`: a page on which poses are checked and corrected by hand."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import shlex
import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..dependencies import require
from ..errors import InputError
from ..estimation.crop_jobs import Estimator
from ..poses import Poses
from ..review.files import open_review
from ..review.folder import open_folder_review
from ..review.session import ReviewSession
from . import arguments
from .arguments import INTERRUPTED, OK, add_estimator_arguments, checking_usage, make_estimator, parse_whole, say


def add_parser(commands: Any) -> None:
    """Add `sdpose review` to the commands."""
    sub = commands.add_parser(
        "review",
        help="check and correct poses on a page in the browser",
        description="Opens a page on this machine: which frames to distrust, correct them by hand, save. Every edit is "
        "kept at once in NAME.review.jsonl; Save writes NAME_reviewed.pose.npz; SEQ stays as it is. Ctrl-C ends it.",
    )
    sub.add_argument(
        "sequence", type=arguments.path, metavar="SEQ", help="a .pose.npz, or a folder of those of 'sdpose image'"
    )
    sub.add_argument("--video", type=arguments.path, metavar="FILE", help="the source video")
    sub.add_argument("--pictures", type=arguments.path, metavar="FOLDER", help="the folder of source pictures")
    sub.add_argument(
        "--port", type=lambda text: parse_whole(text, 0), default=0, metavar="N", help="port (default: any free one)"
    )
    sub.add_argument("--no-browser", action="store_true", help="only print the address")
    add_estimator_arguments(sub)
    sub.set_defaults(run=_run_review)


def _run_review(args: argparse.Namespace) -> int:
    require("aiohttp", "the page")
    with checking_usage():
        if args.video and args.pictures:
            raise InputError("--video and --pictures: expected one of them")
    estimate = _Estimate(args)
    if os.path.isdir(args.sequence):
        session = open_folder_review(args.sequence, pictures=args.pictures, estimate=estimate)
    else:
        session = open_review(args.sequence, video=args.video, pictures=args.pictures, estimate=estimate)
    try:
        for note in session.notes:
            say(f"note: {note}")
        asyncio.run(_serve(session, args))
    finally:
        session.close()
    say("; ".join(["stopped", *_what_next(session)]))
    return OK


def _what_next(session: ReviewSession) -> Iterator[str]:
    """Where the corrections are, and what makes a file of them or of the file."""
    if not session.done:
        return
    yield f"the corrections are kept in {session.journal.path}"
    if session.saved_as is None or not session.state()["saved"]:
        yield "they are not saved as poses yet: run the same command again, and press Save"
    elif session.saved_as.suffix:
        yield f"draw the corrected poses with: sdpose draw {shlex.quote(str(session.saved_as))}"


async def _serve(session: ReviewSession, args: argparse.Namespace) -> None:
    from ..review.serving import serve

    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def end() -> None:
        if stop.is_set():  # again: an estimate can take minutes, and all that was edited is on the disk
            os._exit(INTERRUPTED)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, end)
        except NotImplementedError:  # Windows: Ctrl-C arrives as KeyboardInterrupt
            break

    def ready(address: str) -> None:
        print(address, flush=True)
        say(
            "open this address in your browser; Ctrl-C ends the review" if args.no_browser else "Ctrl-C ends the review"
        )
        if not args.no_browser:
            import webbrowser

            # in a thread, as browsers in the terminal return when they are closed
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    await serve(session, secrets.token_urlsafe(24), args.port, ready, stop)


class _Estimate:
    """Estimates the poses in a box with the model of the options, which is loaded at the first call."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._estimator: Estimator | None = None
        self._lock = threading.Lock()

    def __call__(self, image: np.ndarray, boxes: np.ndarray) -> Poses:
        with self._lock:  # two pages may ask at once
            if self._estimator is None:
                self._estimator = make_estimator(self._args)
            return self._estimator.estimate([image], [boxes])[0]
