"""Pictures that another program stylized, taken in as a data set if they are aligned with the photos."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sdpose_core.cli.progress import progress_bar
from sdpose_core.drawing.canvas import same_shape
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_path, atomic_write, remove_abandoned, sha256_of
from sdpose_core.images import read_image
from sdpose_training.data.annotations import only_pictures, read_annotations
from sdpose_training.data.pictures import COMMON_SUFFIXES
from sdpose_training.styles.alignment import MIN_CONFIDENCE, measure
from sdpose_training.styles.folder import (
    SETTINGS,
    SOURCES,
    PaintedData,
    agree,
    copy_annotations,
    picture_names,
    write_picture,
)

log = logging.getLogger(__name__)

REPORT = "alignment.json"
ALIGNED, MOVED, UNSURE, SHAPE, DAMAGED, MISSING = (
    "aligned", "not aligned", "cannot be measured", "other shape", "unreadable", "missing",
)  # fmt: skip
"""What is said of a picture."""

JUDGED = (ALIGNED, MOVED, UNSURE)
"""Verdicts after a measurement."""

SHOWN = 10
"""Pictures in the list of the worst."""

_SAVED_EVERY = 200


@dataclass(frozen=True)
class ImportSettings:
    """How pictures are taken in.

    Attributes:
        folder: of the stylized pictures, with the photos' names; the suffix may differ.
        name: of the style; ends the name of the new folder.
        max_offset: pixels of the photo, see `Alignment.offset`; pictures above it are not aligned.
        leave_out: take the others in if some are not aligned; otherwise refuse them all.
        quality: of JPEGs that must be written anew.

    Raises `InputError` for a name that cannot end a folder's name, or a limit that is not positive.
    """

    folder: Path
    name: str
    max_offset: float = 5.0
    leave_out: bool = False
    quality: int = 95

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise InputError(f"--folder {self.folder}: no such folder; expected a folder of stylized pictures")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", self.name):
            raise InputError(f"--style-name {self.name!r}: expected up to 40 letters, digits, - and _, such as sketch")
        if not self.max_offset > 0:
            raise InputError(f"--max-offset {self.max_offset}: expected pixels above 0")


@dataclass(frozen=True)
class Checked:
    """One picture of the report; `file` is the stylized one ("" if missing), lengths are pixels of the photo."""

    name: str
    file: str
    verdict: str
    sha256: str = ""
    resized_from: tuple[int, int] | None = None
    photo_size: tuple[int, int] | None = None
    shift: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    offset: float = 0.0
    bend: float = 0.0
    confidence: float = 0.0

    def line(self) -> str:
        """In words."""
        if self.verdict == SHAPE and self.resized_from and self.photo_size:
            (w, h), (w0, h0) = self.resized_from, self.photo_size
            return f"{self.name}: {SHAPE} ({w} x {h}, the photo {w0} x {h0})"
        if self.verdict not in (ALIGNED, MOVED):
            return f"{self.name}: {self.verdict}"
        x, y = self.shift
        return (
            f"{self.name}: {self.offset:.1f} px (shift {x:+.1f}, {y:+.1f}, scale {self.scale:.3f}, "
            f"confidence {self.confidence:.2f})"
        )


def import_pictures(source: PaintedData, out: Path, settings: ImportSettings) -> list[str]:
    """Check all pictures against their photos, then write them beside the photos; returns lines for the user.

    Writes OUT/IMAGES+NAME with the pictures in the photos' sizes and alignment.json, and annotations of the pictures
    that were taken in if some were not. An interrupted run continues.

    Raises `InputError`: no picture fits, or some do not and `leave_out` is off. Nothing but the report is written then.
    """
    folder, record = out / f"{source.images.rstrip('/')}{settings.name}", _recorded(source, settings)
    notes = {"opencv": cv2.__version__, "annotations_sha256": copy_annotations(source, out)}
    if (folder / SETTINGS).exists():  # before the minutes of checking; a new folder is claimed when all is known
        agree(folder, record, notes)
    remove_abandoned(folder)
    checked = check_all(source, folder, settings)
    lines = summary(checked, settings)
    fit = [each for each in checked if each.verdict == ALIGNED]
    if len(fit) < len(checked) and not (fit and settings.leave_out):
        raise InputError(_refusal(checked, fit, folder / REPORT, lines))
    agree(folder, record, notes)
    with progress_bar(len(checked), "picture", "writing", smoothing=0.05) as bar:
        for each in checked:
            if each.verdict == ALIGNED:
                _take_in(source, folder, each, settings)
            else:
                (folder / each.name).unlink(missing_ok=True)  # of an earlier run, when its file was another
            bar.update()
    lines.append(f"{folder}: {len(fit)} of {len(checked)} pictures")
    if len(fit) < len(checked):
        lines += _write_subsets(source, out, {each.name for each in fit}, settings.name)
    return lines


def _recorded(source: PaintedData, settings: ImportSettings) -> dict[str, Any]:
    """What the pictures of the folder depend on."""
    how = {"style": "import", "name": settings.name, "folder": settings.folder.name}
    return how | {"max_offset": settings.max_offset, "pictures": source.images, "jpeg_quality": settings.quality}


def check_all(source: PaintedData, folder: Path, settings: ImportSettings) -> list[Checked]:
    """The verdict of every picture; the report in `folder` is written on the way and read when a run continues."""
    names = picture_names(source)
    known = _report_of(folder / REPORT)
    files = _files_by_stem(settings.folder)
    found = [_file_of(name, files) for name in names]
    if not any(found):
        raise InputError(
            f"--folder {settings.folder}: no picture in it has a photo's name; it has "
            f"{min(files.values()).relative_to(settings.folder)}, the photos are {names[0]}, ..."
        )
    checked: list[Checked] = []
    with progress_bar(len(names), "picture", "checking", smoothing=0.05) as bar:
        for name, file in zip(names, found, strict=True):
            checked.append(_check(source.pictures / name, name, file, known.get(name), settings))
            bar.update()
            if len(checked) % _SAVED_EVERY == 0:
                _write_report(folder / REPORT, checked, settings)
    _write_report(folder / REPORT, checked, settings)
    return checked


def _file_of(name: str, files: Mapping[str, Path]) -> Path | None:
    """The stylized picture of a photo: with its name, or else with another suffix."""
    return files.get(name.casefold(), files.get(Path(name).with_suffix("").as_posix().casefold()))


def _files_by_stem(folder: Path) -> dict[str, Path]:
    """Pictures by name, and by name without suffix, both in lower case and relative to the folder."""
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in COMMON_SUFFIXES and path.is_file():
            place = path.relative_to(folder)
            files.setdefault(place.with_suffix("").as_posix().casefold(), path)
            files[place.as_posix().casefold()] = path
    if not files:
        raise InputError(f"--folder {folder}: no pictures in it ({', '.join(COMMON_SUFFIXES)})")
    return files


def _check(photo: Path, name: str, file: Path | None, known: Checked | None, settings: ImportSettings) -> Checked:
    """The verdict of one picture, from the report if the stylized picture is the same file as then."""
    if file is None:
        return Checked(name, "", MISSING)
    place, digest = file.relative_to(settings.folder).as_posix(), sha256_of(file)
    if known is not None and (known.file, known.sha256) == (place, digest):
        return replace(known, verdict=_verdict(known, settings)) if known.verdict in JUDGED else known
    original = read_image(photo)
    try:
        stylized = read_image(file)
    except InputError as error:
        log.warning("%s", error)
        return Checked(name, place, DAMAGED, digest)
    size, found = original.shape[1::-1], stylized.shape[1::-1]
    resized = None if size == found else tuple(found)
    if not same_shape(size, found):
        return Checked(name, place, SHAPE, digest, resized, tuple(size))
    result = Checked(
        name, place, UNSURE, digest, resized, tuple(size), **asdict(measure(original, _fitted(stylized, size)))
    )
    return replace(result, verdict=_verdict(result, settings))


def _verdict(measured: Checked, settings: ImportSettings) -> str:
    if measured.confidence < MIN_CONFIDENCE:
        return UNSURE
    return ALIGNED if measured.offset <= settings.max_offset else MOVED


def _fitted(stylized: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture at `size` (w, h)."""
    if stylized.shape[1::-1] == tuple(size):
        return stylized
    shrinks = stylized.shape[1] > size[0]
    return cv2.resize(stylized, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _report_of(path: Path) -> dict[str, Checked]:
    if not path.is_file():
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["pictures"]
        return {row["name"]: Checked(**{**row, "shift": tuple(row["shift"])}) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be used (%s): all pictures are checked again", path, error)
        return {}


def _write_report(path: Path, checked: Sequence[Checked], settings: ImportSettings) -> None:
    limits = {"max_offset": settings.max_offset, "min_confidence": MIN_CONFIDENCE}
    with atomic_write(path, "w") as file:
        json.dump({"limits": limits, "pictures": [asdict(each) for each in checked]}, file, indent=1)


def summary(checked: Sequence[Checked], settings: ImportSettings) -> list[str]:
    """Lines that say how many pictures got which verdict, how far they are off, and which are the worst."""
    verdicts = [each.verdict for each in checked]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
    lines = [f"{len(checked)} pictures: {counts} (limit: {settings.max_offset:g} px of the photo)"]
    measured = [each for each in checked if each.verdict in (ALIGNED, MOVED)]
    if measured:
        offsets = np.array([each.offset for each in measured])
        middle, high = np.percentile(offsets, (50, 95))
        lines.append(f"offset: median {middle:.1f} px, 95% below {high:.1f} px, largest {offsets.max():.1f} px")
        if resized := sum(each.resized_from is not None for each in measured):
            lines.append(f"{resized} had another size and were resized to their photo's")
        lines += ["the worst:", *(f"  {e.line()}" for e in sorted(measured, key=lambda e: -e.offset)[:SHOWN])]
    others = [each for each in checked if each.verdict not in (ALIGNED, MOVED)]
    return lines + [f"  {each.line()}" for each in others[:SHOWN]]


def _refusal(checked: Sequence[Checked], fit: Sequence[Checked], report: Path, lines: Sequence[str]) -> str:
    for line in lines:
        log.info("%s", line)
    bad = [each for each in checked if each.verdict != ALIGNED]
    advice = "none fits" if not fit else "--leave-out takes in the others, --max-offset PIXELS sets the limit"
    return f"{len(bad)} of {len(checked)} pictures do not fit, the first {bad[0].line()}; {advice}; see {report}"


def _take_in(source: PaintedData, folder: Path, each: Checked, settings: ImportSettings) -> None:
    """Write one picture under the photo's name and in its size: the same bytes if neither needs to change."""
    target, origin = folder / each.name, settings.folder / each.file
    if each.resized_from is None and origin.suffix.lower() == target.suffix.lower():
        with atomic_path(target) as temporary:
            shutil.copyfile(origin, temporary)
        return
    size = read_image(source.pictures / each.name).shape[1::-1]
    write_picture(target, _fitted(read_image(origin), size), settings.quality)


def _write_subsets(source: PaintedData, out: Path, names: set[str], style: str) -> list[str]:
    """Annotations of the pictures that were taken in, for evaluate.py --annotations; lines that say so."""
    places = [place for place, images in SOURCES if images == source.images and (source.root / place).is_file()]
    files = {source.annotations.resolve(), *((source.root / place).resolve() for place in places)}
    lines = []
    for file in sorted(files):
        target = out / "annotations" / f"{file.stem}_{style}.json"
        with atomic_write(target, "w") as handle:
            json.dump(only_pictures(read_annotations(file), names), handle)
        lines.append(f"annotations of these pictures alone: {target}")
    return lines
