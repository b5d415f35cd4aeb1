"""The folder of corrupted pictures: KIND/SEVERITY/NAME, made ahead of an evaluation, and how it was made."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.cli.progress import progress_bar
from sdpose_core.coco.annotations import Coco
from sdpose_core.errors import InputError
from sdpose_core.files import clean_once
from sdpose_core.resumable import read_settings
from sdpose_training.data.annotations import read_annotations
from sdpose_training.data.pictures import read_picture
from sdpose_training.styles.corruptions import CORRUPTION_VERSION, Corruption, corrupted
from sdpose_training.styles.folder import SETTINGS, PaintedData, folder_name, write_picture

log = logging.getLogger(__name__)

CORRUPTION_STYLE = "corruption"
"""The value of `--style`, and the ending of the folder's name."""

_PILOTS = 3
"""Pictures that are made first, to estimate the disk space of the others from their bytes per pixel."""

_USUAL_SIZE = (640, 480)
"""(w, h) of a picture whose size is not annotated, for the estimate."""


@dataclass(frozen=True)
class CorruptedFolder:
    """A folder of corrupted pictures.

    Attributes:
        path: of the folder.
        seed: of the corruptions.
        quality: of the JPEGs; None: all pictures are PNG, with the same pixels as corruption in memory.
    """

    path: Path
    seed: int
    quality: int | None

    def file(self, corruption: Corruption, name: str) -> Path:
        """The picture that was made from the one with this file name."""
        path = self.path / corruption.kind / str(corruption.severity) / name
        return path if self.quality is not None else path.with_suffix(".png")

    def settings(self) -> dict[str, Any]:
        """What the pictures depend on besides their sources."""
        return {"generator_version": CORRUPTION_VERSION, "seed": self.seed, "jpeg_quality": self.quality}


def find_corrupted(images: Path) -> CorruptedFolder | None:
    """The corrupted pictures beside the folder of the clean ones (val2017corruption for val2017), None without any.

    Raises `InputError` if the folder was made by another version, or is not one of ours.
    """
    path = images.with_name(folder_name(images.name, CORRUPTION_STYLE))
    if not path.is_dir():
        return None
    settings = (read_settings(path / SETTINGS) or {}).get("settings", {})
    expected = {"style": CORRUPTION_STYLE, "generator_version": CORRUPTION_VERSION, "pictures": images.name}
    wrong = [key for key, value in expected.items() if settings.get(key) != value]
    if wrong or not isinstance(settings.get("seed"), int):
        key = wrong[0] if wrong else "seed"
        raise InputError(
            f"{path / SETTINGS} has {key} {settings.get(key)!r}, expected {expected.get(key, 'a number')!r}: make "
            "the pictures again with make_coco_ood.py --style corruption, or corrupt in memory (--corrupted-pictures "
            "memory)"
        )
    return CorruptedFolder(path, settings["seed"], settings.get("jpeg_quality"))


def make_missing(
    source: PaintedData, names: Sequence[str], folder: CorruptedFolder, chosen: Sequence[Corruption]
) -> tuple[int, list[str]]:
    """Make the missing corrupted pictures of `names`. After the first few, the disk space for the others is logged.

    Returns how many were made, and the names of the sources that failed (logged). Raises `InputError` if the disk has
    too little space.
    """
    sizes = _annotated_sizes(source)
    jobs = _jobs(names, folder, chosen)
    made, failed, space = 0, [], _Space(folder.path, sizes)
    with progress_bar(sum(len(wanted) for _, wanted in jobs), "picture", "corrupting", smoothing=0.05) as bar:
        for number, (name, wanted) in enumerate(jobs):
            if number == _PILOTS:
                space.check(jobs[number:])
            try:
                rgb = read_picture(source.pictures / name, sizes.get(name))
                for corruption in wanted:
                    pixels = corrupted(rgb, corruption, name, folder.seed)
                    space.add(pixels, write_picture(folder.file(corruption, name), pixels, folder.quality or 100))
                    made += 1
                    bar.update()
            except InputError as error:
                log.warning("%s: %s", name, error)
                failed.append(name)
    return made, failed


def _annotated_sizes(source: PaintedData) -> dict[str, tuple[int, int]]:
    """File name -> (w, h), where annotated."""
    coco = Coco.of(read_annotations(source.annotations))
    sizes = coco.sizes()
    return {str(image.file_name): sizes[key] for key, image in coco.images.items() if key in sizes}


_Job = tuple[str, list[Corruption]]


def _jobs(names: Sequence[str], folder: CorruptedFolder, chosen: Sequence[Corruption]) -> list[_Job]:
    """Sources with their missing corruptions; first some from the whole list, for the estimate."""
    for corruption in chosen:
        clean_once(folder.file(corruption, "").parent)
    pairs = [(name, [c for c in chosen if not folder.file(c, name).is_file()]) for name in names]
    jobs = [(name, missing) for name, missing in pairs if missing]
    pilots = sorted({len(jobs) * k // _PILOTS for k in range(_PILOTS)} if jobs else ())
    return [jobs[i] for i in pilots] + [job for i, job in enumerate(jobs) if i not in pilots]


class _Space:
    """Disk space of pictures, estimated from the bytes per pixel of those that were written."""

    def __init__(self, folder: Path, sizes: Mapping[str, tuple[int, int]]) -> None:
        self._folder, self._sizes = folder, sizes
        self._bytes = self._pixels = 0

    def add(self, rgb: np.ndarray, size: int) -> None:
        """Count a picture that was written as `size` bytes."""
        self._bytes, self._pixels = self._bytes + size, self._pixels + rgb.shape[0] * rgb.shape[1]

    def check(self, jobs: Sequence[_Job]) -> None:
        """Log what the jobs need; `InputError` if it is more than what is free."""
        if not self._pixels:
            return
        pixels = sum(math.prod(self._sizes.get(name, _USUAL_SIZE)) * len(wanted) for name, wanted in jobs)
        needed, free = pixels * self._bytes // self._pixels, shutil.disk_usage(self._folder).free
        count = sum(len(wanted) for _, wanted in jobs)
        log.info("%s: %s more pictures need about %s; %s are free", self._folder, f"{count:,}", _gb(needed), _gb(free))
        if needed > free:
            raise InputError(
                f"{self._folder}: {count:,} more pictures need about {_gb(needed)}, but only {_gb(free)} are free: "
                "choose fewer --corruptions or --severities, another --out, or none (evaluate.py corrupts in memory)"
            )


def _gb(count: int) -> str:
    return f"{count / 1e9:,.2f} GB"
