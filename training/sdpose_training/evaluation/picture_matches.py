"""Which found people of each picture are right at each OKS threshold: AP and AR of any choice of pictures follow.

COCO's evaluation matches inside a picture and pools the pictures only afterwards. So the matches of one run give the
figures of any subset (a scenario, a level of crowding) and of any resample of the pictures, without another run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.errors import InputError
from sdpose_core.files import atomic_path, sha256_of
from sdpose_core.npz_files import read_npz
from sdpose_training.data.truth import Truth
from sdpose_training.evaluation.coco_figures import Detections

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""COCO's OKS thresholds."""
MATCH_FIGURES = ("AP", "AP50", "AP75", "AR", "AR50", "AR75")
"""What `PictureMatches.figures` gives; the figures by size need other matches."""
ENDING = ".matches.npz"

_RECALLS = np.linspace(0, 1, 101)
_MAX_FOUND = 20
"""Of a picture, those with the best scores: COCO's limit for keypoints."""
_ARRAYS = ("picture_ids", "people", "pictures", "scores", "right", "ignored")


@dataclass(frozen=True, eq=False)
class PictureMatches:
    """Matches of N pictures with D found people, by falling score, at the T thresholds of `THRESHOLDS`.

    Attributes:
        picture_ids: (N,) as in the annotations, in their order.
        people: (N,) int, annotated people that count.
        pictures: (D,) int, place of each found person's picture in `picture_ids`.
        scores: (D,).
        right: (T, D) bool, matched to a person that counts.
        ignored: (T, D) bool, matched to a crowd or to a person without labeled points.
    """

    picture_ids: tuple[Any, ...]
    people: np.ndarray
    pictures: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    ignored: np.ndarray

    @cached_property
    def _steps(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Of each threshold: places of the right people, of the ignored ones, and how many of these come before."""
        places = [(np.flatnonzero(r), np.flatnonzero(i)) for r, i in zip(self.right, self.ignored, strict=True)]
        return [(right, ignored, np.searchsorted(ignored, right)) for right, ignored in places]

    def figures(self, weights: np.ndarray | None = None) -> dict[str, float]:
        """`MATCH_FIGURES` as fractions, NaN without people that count.

        Args:
            weights: (N,) how often each picture counts, 0 to leave it out; None: each once.
        """
        weights = np.ones(len(self.people)) if weights is None else weights
        people = float(weights @ self.people)
        if not people:
            return dict.fromkeys(MATCH_FIGURES, float("nan"))
        each = weights[self.pictures].astype(np.float64)
        seen = np.cumsum(each)
        curves = np.asarray([_area_and_recall(each, seen, people, *steps) for steps in self._steps])
        (ap, ar), half, three_quarters = curves.mean(axis=0), curves[0], curves[5]
        values = (ap, half[0], three_quarters[0], ar, half[1], three_quarters[1])
        return dict(zip(MATCH_FIGURES, map(float, values), strict=True))

    def weights_of(self, pictures: Sequence[Any]) -> np.ndarray:
        """(N,) 1 for these picture ids, 0 for the others."""
        chosen = set(pictures)
        return np.asarray([picture in chosen for picture in self.picture_ids], float)


def _area_and_recall(
    each: np.ndarray, seen: np.ndarray, people: float, right: np.ndarray, ignored: np.ndarray, before: np.ndarray
) -> tuple[float, float]:
    """COCO's area under precision and recall, and the recall of all found people, at one threshold.

    Only at right people can recall rise and precision be the best of all later ones: others need not be looked at.
    """
    if not len(right):
        return 0.0, 0.0
    found = np.cumsum(each[right])
    left_out = np.concatenate([[0.0], np.cumsum(each[ignored])])[before]
    precision = found / (seen[right] - left_out + np.spacing(1))
    best_later = np.maximum.accumulate(precision[::-1])[::-1]
    recall = found / people
    places = np.searchsorted(recall, _RECALLS, side="left")
    return float(best_later[places[places < len(recall)]].sum() / len(_RECALLS)), float(recall[-1])


def match_pictures(truth: Truth, found: Detections, sigmas: Sequence[float]) -> PictureMatches:
    """Match people as COCO's keypoint evaluation does, in each picture and at each threshold.

    Args:
        truth, found: with the same K points; everybody found is in a picture of `truth`.
        sigmas: K values.
    """
    place = {picture: n for n, picture in enumerate(truth.picture_ids)}
    scores = np.asarray(found.scores, np.float64)
    annotated, detected = _by_place(place, truth.image_ids), _by_place(place, found.image_ids)
    counts = ~truth.crowd & (truth.labeled > 0)
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for picture in sorted(detected):
        members = np.asarray(detected[picture])
        members = members[np.argsort(-scores[members], kind="stable")][:_MAX_FOUND]
        people = np.asarray(annotated.get(picture, ()), int)
        people = people[np.argsort(~counts[people], kind="stable")]
        similarity = _similarity(truth, people, found.keypoints[members], np.asarray(sigmas, np.float64))
        rows.append((members, *_match(similarity, int(counts[people].sum()), truth.crowd[people])))
    kept = np.concatenate([row[0] for row in rows]) if rows else np.zeros(0, int)
    right, ignored = (
        np.concatenate([row[k] for row in rows], axis=1) if rows else np.zeros((len(THRESHOLDS), 0), bool)
        for k in (1, 2)
    )
    pictures = np.asarray([place[found.image_ids[i]] for i in kept], np.int64)
    order = np.argsort(-scores[kept], kind="stable")
    at = np.asarray([place[truth.image_ids[i]] for i in np.flatnonzero(counts)], np.int64)
    people_in = np.bincount(at, minlength=len(place))
    columns = (pictures[order], scores[kept][order], right[:, order], ignored[:, order])
    return PictureMatches(truth.picture_ids, people_in, *columns)


def _by_place(place: Mapping[Any, int], image_ids: Sequence[Any]) -> dict[int, list[int]]:
    members: dict[int, list[int]] = {}
    for i, picture in enumerate(image_ids):
        members.setdefault(place[picture], []).append(i)
    return members


def _similarity(truth: Truth, people: np.ndarray, keypoints: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """(D, G): OKS of D found with G annotated people; of people without labeled points, by the distance to a box of
    three times their size, as in COCO's evaluation."""
    known, box = truth.keypoints[people], truth.boxes_xywh[people]
    points = np.nan_to_num(keypoints.astype(np.float64))[:, None]
    labeled = known[..., 2] > 0
    corner, size = box[None, :, None, :2], box[None, :, None, 2:]
    beyond = np.maximum(corner - size - points, 0) + np.maximum(points - corner - 2 * size, 0)
    nobody = ~labeled.any(axis=1)
    offset = np.where(nobody[None, :, None, None], beyond, points - known[None, ..., :2])
    spread = (2 * sigmas) ** 2 * (truth.areas[people, None] + np.spacing(1)) * 2
    alike = np.exp(-(offset**2).sum(axis=-1) / spread[None])
    used = labeled | nobody[:, None]
    return np.where(used[None], alike, 0).sum(axis=-1) / np.maximum(used.sum(axis=-1), 1)


def _match(similarity: np.ndarray, counted: int, crowd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`right` and `ignored`, (T, D) each, of the found people of a picture.

    Args:
        similarity: (D, G), found people by falling score; of the annotated ones, those that count come first.
        counted: how many of them count.
        crowd: (G,) any number of found people may match these.
    """
    count, people = similarity.shape
    limits = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
    right, ignored = np.zeros((2, len(limits), count), bool)
    free = np.ones((len(limits), people), bool)
    levels = np.arange(len(limits))
    for d in np.flatnonzero(similarity.max(axis=1, initial=0) >= limits[0]):
        able = free & (similarity[d] >= limits)
        able[able[:, :counted].any(axis=1), counted:] = False
        fit = np.where(able, similarity[d], -1.0)
        best = people - 1 - np.argmax(fit[:, ::-1], axis=1)  # of equal ones the last
        matched = able.any(axis=1)
        right[:, d], ignored[:, d] = matched & (best < counted), matched & (best >= counted)
        taken = matched & ~crowd[best]
        free[levels[taken], best[taken]] = False
    return right, ignored


def matches_file(result: Path) -> Path:
    """The file of the matches beside a result."""
    return result.with_name(f"{result.stem}{ENDING}")


def write_matches(matches: PictureMatches, path: Path) -> dict[str, str]:
    """Write the matches, atomically; what a result says of them: "file" (its name) and "sha256"."""
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary, picture_ids=json.dumps(matches.picture_ids), people=matches.people.astype(np.int32),
            pictures=matches.pictures.astype(np.int32), scores=matches.scores,
            right=np.packbits(matches.right, axis=1), ignored=np.packbits(matches.ignored, axis=1),
        )  # fmt: skip
    return {"file": path.name, "sha256": sha256_of(path)}


def read_matches(path: Path) -> PictureMatches:
    """What `write_matches` wrote; `InputError` for any other file."""
    arrays = read_npz(path, str(path), _ARRAYS)
    if missing := [name for name in _ARRAYS if name not in arrays]:
        raise InputError(f"{path} holds no matches of evaluate.py: it lacks {', '.join(missing)}")
    count = len(arrays["scores"])
    bits = [np.unpackbits(arrays[name], axis=1, count=count).astype(bool) for name in ("right", "ignored")]
    ids = tuple(json.loads(str(arrays["picture_ids"])))
    return PictureMatches(ids, arrays["people"], arrays["pictures"], arrays["scores"], *bits)


def matches_of(result: Mapping[str, Any], folder: Path) -> tuple[PictureMatches | None, str]:
    """The matches of a result of `evaluate.py`, or None and why there are none.

    Args:
        result: content of its file.
        folder: of its file.
    """
    if "robustness" in result:
        return None, "its figures are means over corruptions, for which matches of pictures are not kept"
    entry = result.get("matches")
    if not isinstance(entry, Mapping):
        return None, "its result has no matches of pictures (made before they were kept): evaluate again"
    path = folder / str(entry.get("file"))
    if not path.is_file():
        return None, f"{path.name} is not beside its result: copy it there, or evaluate again"
    if sha256_of(path) != entry.get("sha256"):
        return None, f"{path.name} is of another run than its result: evaluate again"
    return read_matches(path), ""
