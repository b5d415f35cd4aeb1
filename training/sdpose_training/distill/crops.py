"""The crops that a small encoder learns from: of annotated people, or random ones of their size, without labels."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.codec.crops import PADDING, Crop, box_to_center_scale, make_crop
from sdpose_core.errors import InputError, SDPoseError
from sdpose_core.input_kinds import PICTURES
from sdpose_core.inputs import expand
from sdpose_core.skeletons import KeypointSet
from sdpose_training.data.annotations import People, read_annotations, read_people
from sdpose_training.data.augmentation import Placement, jitter
from sdpose_training.data.photometric import occlude
from sdpose_training.data.pictures import read_picture
from sdpose_training.data.samples import MAX_TRIES, augmented_crop
from sdpose_training.distill.recipe import PicturesRecipe
from sdpose_training.recipe.recipe import CropAugmentation
from sdpose_training.styles.filters import FILTERS

HEIGHTS = (0.25, 1.0)
"""Height of a random box as a share of the picture's, evenly on a logarithmic scale."""

ASPECTS = (0.3, 0.9)
"""Width of a random box as a share of its height."""


@dataclass(frozen=True, eq=False)
class Crops:
    """Pictures to cut crops from.

    Attributes:
        files: a picture per crop.
        people: whose boxes these are; None for random boxes.
    """

    files: tuple[Path, ...]
    people: People | None = None

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A picture, RGB uint8 (H, W, 3), and the box (4,) x1, y1, x2, y2 in it. Raises `InputError`."""
        if self.people is None:
            picture = read_picture(self.files[index])
            return picture, random_box(rng, (picture.shape[1], picture.shape[0]))
        size = tuple(self.people.picture_sizes[index].tolist())
        return read_picture(self.files[index], size), self.people.boxes_xyxy[index]  # type: ignore[arg-type]

    def at_inference(self, index: int, input_size: tuple[int, int]) -> tuple[np.ndarray, Crop]:
        """The crop (h, w, 3) uint8 without augmentation; the same at each call. Raises `InputError`."""
        picture, box = self.read(index, np.random.default_rng((0, index)))
        return make_crop(picture, box, input_size)

    def first(self, count: int) -> Crops:
        """The first `count`; all if it is negative."""
        if count < 0:
            return self
        return Crops(self.files[:count], None if self.people is None else self.people.first(count))


@dataclass(frozen=True, eq=False)
class Pictures:
    """Crops to learn from, crops of other pictures to measure with, and messages about damaged annotations."""

    train: Crops
    val: Crops
    problems: list[str] = field(default_factory=list)


def random_box(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A box (4,) of the size that people have in pictures, inside a picture of `size` (w, h)."""
    w, h = size
    low, high = HEIGHTS
    height = h * math.exp(rng.uniform(math.log(low), math.log(high)))
    width = min(height * rng.uniform(*ASPECTS), w)
    x, y = rng.uniform(0, w - width), rng.uniform(0, h - height)
    return np.array([x, y, x + width, y + height], np.float32)


def picture_folder(recipe: PicturesRecipe) -> Path:
    """The folder of a recipe; `InputError` if it is none."""
    folder = Path(recipe.pictures)
    if not recipe.pictures or not folder.is_dir():
        raise InputError(f"--pictures {recipe.pictures or '(not given)'}: expected a folder of pictures")
    return folder


def read_pictures(recipe: PicturesRecipe, points: KeypointSet) -> Pictures:
    """The pictures of a recipe; `points` are those of the model, for AP. Raises `InputError`."""
    folder = picture_folder(recipe)
    if recipe.annotations:
        return _annotated(recipe, folder, points)
    found = expand([str(folder)], PICTURES, folder / "none", recursive=True).sources
    found = sorted(found, key=lambda each: each.relative)
    if len(found) < 2:
        raise InputError(f"--pictures {folder}: expected two pictures or more, found {len(found)}")
    held = held_out([each.relative for each in found], recipe.held_out)
    train, val = (tuple(each.source for each in found if (each.relative in held) is chosen) for chosen in (False, True))
    return Pictures(Crops(train), Crops(val))


def _annotated(recipe: PicturesRecipe, folder: Path, points: KeypointSet) -> Pictures:
    people, problems = _people(recipe.annotations, folder, points)
    if recipe.val_annotations:
        val, found = _people(recipe.val_annotations, folder, points)
        return Pictures(Crops(people.files, people), Crops(val.files, val), [*problems, *found])
    names = [Path(os.path.relpath(file, folder)).as_posix() for file in people.files]  # the same on every machine
    if len(set(names)) < 2:
        raise InputError(f"{recipe.annotations}: expected people in two pictures or more")
    held = held_out(names, recipe.held_out)
    train, val = (
        people.select([i for i, name in enumerate(names) if (name in held) is chosen]) for chosen in (False, True)
    )
    return Pictures(Crops(train.files, train), Crops(val.files, val), problems)


def _people(file: str, folder: Path, points: KeypointSet) -> tuple[People, list[str]]:
    """Everybody with a box: crops need no keypoints."""
    return read_people(read_annotations(file), folder, points, unlabeled=True)


def held_out(names: Sequence[str], share: float) -> set[str]:
    """The share of the names to hold out, at least one and not all; a name's turn depends on the name alone."""
    ordered = sorted(set(names), key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).digest())
    return set(ordered[: min(max(round(share * len(ordered)), 1), len(ordered) - 1)])


class CropSamples:
    """Samples by (epoch, index), for torch's DataLoader; each depends on seed, epoch and index alone."""

    def __init__(self, crops: Crops, augmentation: CropAugmentation, input_size: tuple[int, int], seed: int) -> None:
        self.crops, self.augmentation, self.input_size, self.seed = crops, augmentation, input_size, seed
        self._filters = tuple(FILTERS[name] for name in augmentation.styles)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """The sample of picture `index` in `epoch`, or of another picture if that is damaged.

        Returns:
            "input": (H, W, 3) uint8 RGB; "index"; "problems": messages about damaged files.

        Raises `SDPoseError` if `MAX_TRIES` pictures in a row are damaged.
        """
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        problems: list[str] = []
        for _ in range(MAX_TRIES):
            try:
                return {"input": self._sample(rng, index), "index": index, "problems": problems}
            except InputError as error:
                problems.append(str(error))
            index = int(rng.integers(len(self)))
        raise SDPoseError(f"{MAX_TRIES} pictures in a row cannot be read: {problems[-1]}")

    def _sample(self, rng: np.random.Generator, index: int) -> np.ndarray:
        picture, box = self.crops.read(index, rng)
        center, scale = box_to_center_scale(box, PADDING)
        placement = Placement(np.empty((0, 2)), np.empty(0), center, scale)
        if rng.random() < self.augmentation.flip:
            mirrored = np.array([picture.shape[1] - 1 - center[0], center[1]])
            placement = replace(placement, center=mirrored, mirrored=True)
        placement = jitter(rng, placement, self.augmentation)
        matrix = placement.warp_matrix(self.input_size)
        crop = augmented_crop(rng, picture, placement, matrix, self.input_size, self.augmentation, self._filters)
        return occlude(rng, crop, self.augmentation)
