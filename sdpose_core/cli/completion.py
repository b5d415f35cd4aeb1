"""Completion of the command in a shell, with argcomplete (extra `completion`)."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any

from ..checkpoints.published import KNOWN
from ..drawing.styles import STYLES
from ..images import IMAGE_SUFFIXES
from ..video.frames import VIDEO_SUFFIXES
from .parser import CommandParser

_PEOPLE = ("largest", "best", "leftmost", "rightmost", "point:", "mask:")
_WORDS: dict[str, Iterable[str]] = {
    "model": ("auto", "preview", *KNOWN),
    "download name": KNOWN,
    "detector": ("yolox", "full"),
    "style": STYLES,
    "person": _PEOPLE,
    "reference_person": _PEOPLE,
    "parts": ("body", "hands", "face", "feet", "head"),
    "keypoint_set": ("coco_17", "coco_wholebody_133"),
    "background": ("black",),
}
"""Words that an argument takes, by its `dest`, or by its command and `dest`, besides the files below."""

_POSES = (".npz", ".json")
_WEIGHTS = (".safetensors", ".onnx")
_FILES: dict[str, Collection[str]] = {
    "image inputs": IMAGE_SUFFIXES,
    "video input": VIDEO_SUFFIXES | IMAGE_SUFFIXES,
    "batch inputs": VIDEO_SUFFIXES,
    "info file": (*_POSES, *VIDEO_SUFFIXES),
    "retarget to": (*_POSES, *IMAGE_SUFFIXES),
    "draw out": (".mp4", ".mkv", ".png"),
    "retarget out": (".npz",),
    "out": (),
    "sequence": _POSES,
    "reference": (*_POSES, *IMAGE_SUFFIXES),
    "face_poses": _POSES,
    "background": VIDEO_SUFFIXES | IMAGE_SUFFIXES,
    "video": VIDEO_SUFFIXES,
    "picture": IMAGE_SUFFIXES,
    "boxes": (".json",),
    "config": (".toml",),
    "model": _WEIGHTS,
    "weights": _WEIGHTS,
    "tiny_encoder": _WEIGHTS,
    "detector": (".onnx",),
}
"""Endings of the files that an argument takes, as above. Folders are offered, too."""


def complete(parser: CommandParser) -> int:
    """Answer a shell that completes a command line; returns the exit code if argcomplete is not installed."""
    try:
        import argcomplete
    except ImportError:
        return 1
    add_completers(parser)
    argcomplete.autocomplete(parser, always_complete_options=False)
    return 0


def add_completers(parser: CommandParser) -> None:
    """Say, for argcomplete, what may stand in the arguments of all commands."""
    for name, command in parser.commands.items():
        for action in command._actions:
            words = _WORDS.get(f"{name} {action.dest}", _WORDS.get(action.dest))
            endings = _FILES.get(f"{name} {action.dest}", _FILES.get(action.dest))
            if action.choices is None and (words or endings is not None):
                action.completer = _Completer(words or (), endings)  # type: ignore[attr-defined]


class _Completer:
    """Words, and files of some endings."""

    def __init__(self, words: Iterable[str], endings: Collection[str] | None) -> None:
        self._words, self._endings = list(words), endings

    def __call__(self, prefix: str, **_: Any) -> list[str]:
        """What may follow `prefix`."""
        files = [] if self._endings is None else _files(prefix, self._endings)
        return [word for word in self._words if word.startswith(prefix)] + files


def _files(prefix: str, endings: Collection[str]) -> list[str]:
    """The folders, and the files with these endings, that begin with `prefix`; hidden ones only if it says so."""
    folder, start = os.path.split(prefix)
    try:
        entries = sorted(os.scandir(folder or os.curdir), key=lambda entry: entry.name)
    except OSError:
        return []
    found = []
    for entry in entries:
        if not entry.name.startswith(start) or (entry.name.startswith(".") and not start.startswith(".")):
            continue
        path = os.path.join(folder, entry.name)
        if entry.is_dir():
            found.append(path + "/")
        elif entry.name.lower().endswith(tuple(endings)):
            found.append(path)
    return found
