"""Matches of pictures: the evaluators' figures, of all pictures and of some; kept beside a result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_truth import random_found, random_truth

from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_17
from sdpose_training.data.truth import Truth
from sdpose_training.evaluation.coco_figures import SCORERS, Detections, coco_figures
from sdpose_training.evaluation.picture_matches import (
    MATCH_FIGURES,
    PictureMatches,
    match_pictures,
    matches_of,
    read_matches,
    write_matches,
)

SIGMAS = COCO_17.sigmas


def of_pictures(truth: Truth, found: Detections, pictures: list[int]) -> tuple[Truth, Detections]:
    """The same people, without the other pictures."""
    people = [i for i, picture in enumerate(truth.image_ids) if picture in pictures]
    others = [i for i, picture in enumerate(found.image_ids) if picture in pictures]
    arrays = (truth.keypoints, truth.labeled, truth.crowd, truth.areas, truth.boxes_xywh)
    ids = tuple(truth.ids[i] for i in people), tuple(truth.image_ids[i] for i in people)
    columns = (found.keypoints[others], found.scores[others], found.areas[others])
    return (
        Truth(tuple(pictures), *ids, *(array[people] for array in arrays)),
        Detections(tuple(found.image_ids[i] for i in others), *columns),
    )


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_figures_are_the_evaluators(seed: int, scorer: str) -> None:
    """With equal scores, several people in a picture, crowds, unlabeled people and strangers."""
    if scorer == "pycocotools":
        pytest.importorskip("pycocotools", reason="the reference scorer is not installed")
    truth = random_truth(seed=seed)
    found = random_found(truth, error=15, seed=seed)
    ours, theirs = match_pictures(truth, found, SIGMAS).figures(), coco_figures(truth, found, SIGMAS, scorer)
    assert 0.05 < ours["AP"] < 0.95
    assert ours == pytest.approx({name: theirs[name] for name in MATCH_FIGURES}, abs=1e-6)


def test_more_than_twenty_of_a_picture_do_not_count() -> None:
    truth = random_truth(pictures=4)
    found = random_found(truth, error=5, strangers=120)
    ours = match_pictures(truth, found, SIGMAS)
    assert np.bincount(ours.pictures).max() == 20
    theirs = coco_figures(truth, found, SIGMAS)
    assert ours.figures() == pytest.approx({name: theirs[name] for name in MATCH_FIGURES}, abs=1e-6)


def test_some_of_the_pictures_are_as_if_the_others_were_not_there() -> None:
    truth = random_truth()
    found = random_found(truth, error=15)
    matches = match_pictures(truth, found, SIGMAS)
    some = list(truth.picture_ids[10:30])
    alone = coco_figures(*of_pictures(truth, found, some), SIGMAS)
    ours = matches.figures(matches.weights_of(some))
    assert ours == pytest.approx({name: alone[name] for name in MATCH_FIGURES}, abs=1e-6)
    assert ours["AP"] != pytest.approx(matches.figures()["AP"], abs=1e-3)


def test_a_picture_drawn_twice_counts_as_two_pictures() -> None:
    truth = random_truth(pictures=20)
    found = random_found(truth, error=15)
    found = replace(found, scores=np.random.default_rng(0).permutation(len(found.scores)) / len(found.scores))
    weights = np.random.default_rng(1).integers(0, 4, 20)
    copies = [(picture, k) for picture, n in zip(truth.picture_ids, weights, strict=True) for k in range(n)]
    parts = [(*of_pictures(truth, found, [picture]), 1000 * picture + k) for picture, k in copies]
    people, others = [part[0] for part in parts], [part[1] for part in parts]
    ids = tuple(name for truth_of, _, name in parts for _ in truth_of.ids)
    joined = Truth(
        tuple(part[2] for part in parts), tuple(range(len(ids))), ids,
        *(np.concatenate([getattr(each, name) for each in people])
          for name in ("keypoints", "labeled", "crowd", "areas", "boxes_xywh")),
    )  # fmt: skip
    image_ids = tuple(name for _, found_of, name in parts for _ in found_of.image_ids)
    columns = (np.concatenate([getattr(each, name) for each in others]) for name in ("keypoints", "scores", "areas"))
    theirs = coco_figures(joined, Detections(image_ids, *columns), SIGMAS)
    ours = match_pictures(truth, found, SIGMAS).figures(weights)
    assert ours == pytest.approx({name: theirs[name] for name in MATCH_FIGURES}, abs=1e-6)


def test_nobody_found_and_nobody_there() -> None:
    truth = random_truth(pictures=5)
    nobody = match_pictures(truth, Detections((), np.zeros((0, 17, 2)), np.zeros(0), np.zeros(0)), SIGMAS)
    assert set(nobody.figures().values()) == {0.0}
    matches = match_pictures(truth, random_found(truth, error=5), SIGMAS)
    assert all(np.isnan(value) for value in matches.figures(np.zeros(5)).values())


def kept(folder: Path) -> tuple[PictureMatches, dict]:
    truth = random_truth()
    matches = match_pictures(truth, random_found(truth, error=15), SIGMAS)
    return matches, {"matches": write_matches(matches, folder / "r.matches.npz")}


def test_kept_beside_a_result(tmp_path: Path) -> None:
    matches, result = kept(tmp_path)
    again, note = matches_of(result, tmp_path)
    assert note == "" and again is not None
    assert (again.picture_ids, again.figures()) == (matches.picture_ids, matches.figures())
    first = (tmp_path / "r.matches.npz").read_bytes()
    write_matches(matches, tmp_path / "r.matches.npz")
    assert (tmp_path / "r.matches.npz").read_bytes() == first


def test_what_is_not_there_or_of_another_run_is_told(tmp_path: Path) -> None:
    matches, result = kept(tmp_path)
    assert matches_of({}, tmp_path) == (None, matches_of({"AP": 1}, tmp_path)[1])
    assert "evaluate again" in matches_of({}, tmp_path)[1]
    assert "r.matches.npz is not beside its result" in matches_of(result, tmp_path / "elsewhere")[1]
    write_matches(replace(matches, scores=matches.scores / 2), tmp_path / "r.matches.npz")
    assert "is of another run than its result" in matches_of(result, tmp_path)[1]
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(InputError, match=r"other\.npz holds no matches of evaluate\.py: it lacks picture_ids"):
        read_matches(tmp_path / "other.npz")
