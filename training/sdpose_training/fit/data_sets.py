"""Reads the data sets of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.errors import InputError, restated
from sdpose_core.skeletons import KeypointSet
from sdpose_training.data.annotations import People, read_annotations, read_people, with_body
from sdpose_training.data.keypoint_sets import find_keypoint_set
from sdpose_training.data.mixing import describe_map, map_points, with_points
from sdpose_training.recipe.recipe import DataRecipe, MoreData, Recipe

log = logging.getLogger(__name__)

MAIN = "main"
"""Name of the data set that `[data]` itself describes."""

PICTURES_LOOKED_FOR = 20
"""A run starts if one of these first pictures exists; other missing pictures count as damaged files."""


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set of a run.

    Attributes:
        name, share: as in the recipe.
        annotations: the training annotations.
        people, val: with the keypoints of the run; `val` is None without validation on this set.
        problems: messages about damaged annotations.
    """

    name: str
    share: float
    annotations: str
    people: People
    val: People | None
    problems: list[str]

    @property
    def source(self) -> Mapping[str, Any]:
        """ "info" and "licenses" of the training annotations, if present."""
        return self.people.source


def read_data_sets(recipe: Recipe) -> tuple[DataSet, ...]:
    """The main data set, which gives the keypoints of the run, and those of `[[data.more]]`.

    Raises `InputError` for what is missing or does not fit; it names the table of the recipe.
    """
    main = _read_main(recipe)
    more = (_read_more(recipe, number, main.people.keypoint_set) for number in range(len(recipe.data.more)))
    return (main, *more)


def _read_main(recipe: Recipe) -> DataSet:
    data = recipe.data
    people, problems = load_people(data, "train")
    if data.need_body:
        people = with_body(people)
    val, found = load_people(data, "val") if recipe.validation.people else (None, [])
    if val is not None and val.keypoint_set != people.keypoint_set:
        other = f"{data.val_annotations} has other keypoints ({_set_text(val.keypoint_set)})"
        expected = f"{data.train_annotations} ({_set_text(people.keypoint_set)})"
        raise InputError(f"{other} than {expected}: set data.keypoint_set for both, or correct the categories")
    share = 1 - sum(each.share for each in data.more)
    return _data_set(recipe, data, MAIN, share, people, val, problems, found)


def _read_more(recipe: Recipe, number: int, points: KeypointSet) -> DataSet:
    more = recipe.data.more[number]
    with restated(f"data.more.{number} ({more.name})"):
        people, problems = load_people(more, "train")
        _check_map(people.keypoint_set, points, recipe.data.min_visible)
        log.info("data set %s, share %g: %s", more.name, more.share, describe_map(people.keypoint_set, points))
        people = with_points(people, points)
        val, found = load_people(more, "val") if recipe.validation.people and more.val_annotations else (None, [])
        val = None if val is None else with_points(val, points)
    return _data_set(recipe, more, more.name, more.share, people, val, problems, found)


def _data_set(
    recipe: Recipe, data: DataRecipe | MoreData, name: str, share: float, people: People, val: People | None,
    problems: list[str], found: list[str],
) -> DataSet:  # fmt: skip
    """`problems` are of the training annotations, `found` of those for validation."""
    other = data.val_annotations != data.train_annotations  # else the same problems, which count once
    if name != MAIN:
        problems = [f"{data.train_annotations}: {problem}" for problem in problems]
    problems = problems + [f"{data.val_annotations}: {problem}" for problem in found if other]
    val = None if val is None else val.first(recipe.validation.people)
    return DataSet(name, share, data.train_annotations, people, val, problems)


def _check_map(own: KeypointSet, points: KeypointSet, min_visible: int) -> None:
    """Raise `InputError` if nobody can have as many points in the crop as a sample needs."""
    shared = int(np.count_nonzero(map_points(own, points) >= 0))
    if shared < min_visible:
        found = f"only {shared} of its keypoints are among those of {points.name!r}"
        raise InputError(f"{found}, and data.min_visible is {min_visible}: lower data.min_visible")


def load_people(data: DataRecipe | MoreData, part: str) -> tuple[People, list[str]]:
    """The people of "train" or "val" with the keypoints of the file, and messages about damaged annotations."""
    names = (data.train_annotations, data.train_images) if part == "train" else (data.val_annotations, data.val_images)
    annotations, pictures = (Path(data.root) / name for name in names)
    content = read_annotations(_existing(annotations, part))
    keypoint_set = find_keypoint_set(data.keypoint_set, content.get("categories", ()))
    with restated(annotations):
        people, problems = read_people(content, pictures, keypoint_set)
    _check_pictures(people, pictures, part)
    log.info("%s: %d people in %d pictures", annotations, len(people), len(set(people.files)))
    return people, problems


def _existing(annotations: Path, part: str) -> Path:
    """The path; `InputError` that names the keys to change if there is nothing."""
    if not annotations.exists():
        without = "; without pictures for validation, use --validation.people 0" if part == "val" else ""
        raise InputError(f"no annotations {annotations}: set root and {part}_annotations of the data{without}")
    return annotations


def _set_text(keypoint_set: KeypointSet) -> str:
    return f"{keypoint_set.name!r}, {len(keypoint_set)}"


def _check_pictures(people: People, folder: Path, part: str) -> None:
    """Raise `InputError` if none of the first pictures exists, as in a wrong folder."""
    first = list(dict.fromkeys(people.files))[:PICTURES_LOOKED_FOR]
    if not any(path.exists() for path in first):
        missing = f"none of the first {len(first)} pictures of the annotations found, such as {first[0].name}"
        raise InputError(f"{folder}: {missing}: set the folder in {part}_images")
