"""What must be true after a case: its messages, its results, and everything beside them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.texts import decode_text

from .cases import Case

EXIT_CODES = (0, 1, 2)
_BARE_CLASS = re.compile(r"(?:^|[\s(:])(?!\w*ONNXRuntime)([A-Z]\w+(?:Error|Exception))(?::|\)|$)", re.MULTILINE)
_PYTHON_WARNING = re.compile(r"^\S+\.py:\d+: (\w*Warning): (.*)", re.MULTILINE)
_PARTS = (".part", ".sdpose-old")


def listing(folder: Path) -> dict[str, str]:
    """Every entry below a folder -> a hash of its content."""
    return {path.relative_to(folder).as_posix(): _digest(path) for path in sorted(folder.rglob("*"))}


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder or pipe"


_INSTEAD = ("the annotation", "evaluate: annotation ", "keypoint set")
"""What messages of readers that know no file name instead."""


def check_messages(case: Case, code: int, text: str) -> Iterator[str]:
    """What is wrong with an exit code and the text on standard error."""
    if code not in EXIT_CODES:
        yield f"exit code {code}"
    if "Traceback (most recent" in text:
        yield "a traceback in the messages"
    for found in sorted(set(_BARE_CLASS.findall(text))):
        yield f"the bare class name {found} in a message"
    for kind, message in sorted(set(_PYTHON_WARNING.findall(text))):
        yield f"a Python warning: {kind}: {message}"
    if code and not text.strip():
        yield "no message"
    elif code and not any(name in text for name in (*case.names, *_INSTEAD)):
        yield "no message names the file"


def check_results(case: Case, folder: Path, codes: list[int], printed: list[str]) -> Iterator[str]:
    """What is wrong with the files in OUT, and with what was printed."""
    out = folder / "out"
    for command, code, text in zip(case.commands, codes, printed, strict=True):
        if code == 0 and "--json" in command:
            yield from _check_json(text, "info --json")
        if code == 0 and command[1] == "info" and command[2].endswith(".npz"):
            yield from _check_input(folder / command[2])
        if code == 0 and ("-o" in command or "--out" in command) and not any(out.rglob("*")):
            yield f"{command[1]} gave 0 and wrote nothing"
    for name in case.expected:
        if not (folder / name).exists():
            yield f"a good input beside a damaged one was not done: {Path(name).name} is missing"
    for path in sorted(out.rglob("*")):
        name = path.name
        if name.startswith(".") and any(part in name for part in _PARTS):
            yield "a temporary file is left in OUT"
        if name.startswith(".") and name.endswith(".sdpose") and not any(codes):
            yield "the work folder of a finished run is left in OUT"
    if codes[-1] == 0:
        for path in sorted(path for path in out.rglob("*") if path.is_file() and not _hidden(path, out)):
            yield from (f"{_kind(path)}: {problem}" for problem in _check_file(path, case))


def _hidden(path: Path, out: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(out).parts)


def _kind(path: Path) -> str:
    return next((end for end in (".pose.npz", "_keypoints.json") if path.name.endswith(end)), path.suffix)


def _check_file(path: Path, case: Case) -> Iterator[str]:
    if path.name.endswith(".pose.npz"):
        yield from _check_sequence(path, case)
    elif path.suffix == ".json":
        yield from _check_json(decode_text(path.read_bytes(), path.name), "result")
        yield from _check_figures(path)
    elif path.suffix == ".jsonl":
        for line in path.read_text(encoding="utf-8").splitlines():
            yield from _check_json(line, "line")
    elif path.suffix == ".png":
        yield from _check_picture(path, case)
    elif path.suffix in (".mp4", ".mkv"):
        yield from _check_video(path)
    elif path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        if not load_file(
            path
        ):  # damaged values are converted bit for bit, with a note, and refused where they are used
            yield "no weights"


def _check_json(text: str, what: str) -> Iterator[str]:
    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError as error:
        yield f"{what} is not JSON ({str(error)[:20]})"


def _check_figures(path: Path) -> Iterator[str]:
    """What is wrong with a result of an evaluation."""
    figures = json.loads(decode_text(path.read_bytes(), path.name))
    if isinstance(figures, dict) and "AP50" in figures:
        for name in ("AP", "AP50", "AP75", "AR"):
            if not (figures[name] == -1 or 0 <= figures[name] <= 1):
                yield f"{name} is {figures[name]}"


def _check_picture(path: Path, case: Case) -> Iterator[str]:
    from PIL import Image

    with Image.open(path) as image:
        image.load()
        words = case.commands[-1]
        if "--size" in words and image.size != (40, 32) and not path.name.endswith("_overlay.png"):
            yield f"it does not have the size that was asked for: {image.size}"


def _check_video(path: Path) -> Iterator[str]:
    import av

    with av.open(str(path)) as file:
        frames = sum(1 for _ in file.decode(video=0))
    poses = path.with_name(re.sub(r"_(kps|overlay)$", "", path.stem) + ".pose.npz")
    if poses.exists():
        with np.load(poses) as arrays:
            if len(arrays["pts"]) != frames:
                yield "it has another number of frames than its poses"
    if not frames:
        yield "it has no frames"


def _check_sequence(path: Path, case: Case) -> Iterator[str]:
    from sdpose_core.poses import PoseSequence

    sequence = PoseSequence.load(path)
    yield from sequence_problems(sequence)
    people = (sequence.track_ids >= 0).sum(1).max(initial=0)
    if case.nobody and people:
        yield "people out of nothing"
    if case.people is not None and people > case.people:
        yield "more people than boxes"


def sequence_problems(sequence: Any) -> Iterator[str]:
    """What is wrong with the values of a pose sequence."""
    seen = sequence.track_ids >= 0
    points, scores = sequence.keypoints[seen], sequence.scores[seen]
    if not np.isfinite(sequence.scores).all():
        yield "scores are not finite"
    scored = scores > (1e9 if sequence.meta.get("visibility_decided") else 0)  # cleaning keeps the scores it judged by
    if np.isinf(points).any() or not np.isfinite(points[scored]).all():
        yield "keypoints with a score are not finite"
    if not np.isfinite(sequence.boxes[seen]).all():
        yield "boxes are not finite"
    if any(len(set(row[mask])) != mask.sum() for row, mask in zip(sequence.track_ids, seen, strict=True)):
        yield "a track id twice in a frame"
    if not np.isfinite(sequence.pts).all() or (np.diff(sequence.pts) < 0).any():
        yield "times that fall or are not finite"
    if not len(sequence):
        yield "no frames"
    if min(sequence.size) < 1 or max(sequence.size) > 1_000_000:
        yield f"a picture of size {sequence.size}"


def _check_input(path: Path) -> Iterator[str]:
    """What is wrong with a `.pose.npz` that was accepted: its values must be those that were read."""
    from sdpose_core.poses import PoseSequence

    sequence = PoseSequence.load(path)
    yield from (f"accepted: {problem}" for problem in sequence_problems(sequence))
    with np.load(path) as file:
        for name in ("keypoints", "scores", "boxes", "track_ids", "frame_index", "pts"):
            raw, read = file[name], getattr(sequence, name)
            if raw.dtype.kind not in "fiu":
                yield f"accepted: {name} of type {raw.dtype.str}"
            elif not np.allclose(raw.astype(np.float64), read.astype(np.float64), rtol=1e-6, equal_nan=True):
                yield f"accepted: {name} with other values than those read"
