"""Finding people by their poses: every rule, with a detector and a judge that are told what to see."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest
from paths import DATA

from sdpose_core.detection import finding
from sdpose_core.detection.finding import PersonFinder, fitted_box, pose_score, tiles
from sdpose_core.detection.loading import load_detector
from sdpose_core.detection.people import SURE, SURE_BOX, DetectorOptions
from sdpose_core.errors import InputError
from sdpose_core.images import read_image

ASTRONAUT = read_image(DATA / "astronaut.png")
PICTURE = np.full((400, 600, 3), 90, np.uint8)


class Told:
    """A detector that proposes what it is told, of every picture."""

    name = "told"

    def __init__(self, *rows: list[float]) -> None:
        self.rows = np.asarray(rows, np.float32).reshape(-1, 5)
        self.sizes: list[tuple[int, ...]] = []

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.sizes.append(image.shape[:2])
        return self.rows[:, :4], self.rows[:, 4]

    def meta(self) -> dict[str, Any]:
        return {"name": self.name}


class Judge:
    """Sees people where it is told: a pose of a score spread over the box that overlaps it most."""

    def __init__(self, *people: tuple[list[float], float], mirrored: float = 1.0) -> None:
        self.people, self.mirror, self.looks, self.glances = people, mirrored, 0, 0

    def find(self, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.looks += 1
        return self._pose(box)

    def glance(self, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.glances += 1
        return self._pose(box)

    def _pose(self, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place, score = self._nearest(box)
        spread = np.stack([np.linspace(0.1, 0.9, 17), np.linspace(0, 1, 17) % 0.4 * 2 + 0.1], axis=1)
        corner, size = np.asarray(place[:2]), np.asarray(place[2:]) - place[:2]
        return corner + spread * size, np.full(17, score)

    def agreed(self, image: np.ndarray, box: np.ndarray) -> np.ndarray:
        return np.full(17, self._nearest(box)[1] * self.mirror)

    def settings(self) -> dict[str, Any]:
        return {}

    def _nearest(self, box: np.ndarray) -> tuple[list[float], float]:
        shared = [finding.box_tools.iou(np.asarray([box]), np.asarray([place]))[0, 0] for place, _ in self.people]
        best = int(np.argmax(shared)) if shared else -1
        return self.people[best] if best >= 0 and shared[best] > 0.05 else (box.tolist(), 0.05)


def finder(detector: Any, judge: Judge, **options: Any) -> PersonFinder:
    subject = PersonFinder(detector, DetectorOptions(**options))
    subject.__dict__["judge"] = judge
    return subject


LEFT, RIGHT = [50, 50, 200, 350], [350, 60, 500, 360]


def test_a_sure_box_stays_as_it_is() -> None:
    found = finder(Told([*LEFT, 0.9]), Judge((LEFT, 0.12))).find(PICTURE)
    np.testing.assert_allclose(found.boxes, [[*LEFT, 0.9]])
    assert found.how == (SURE_BOX,)


def test_a_sure_box_whose_pose_shows_nobody_is_dropped_and_counted() -> None:
    found = finder(Told([*LEFT, 0.5]), Judge()).find(PICTURE)
    assert (len(found.boxes), found.not_there) == (0, 1)
    assert len(finder(Told([*LEFT, 0.95]), Judge()).find(PICTURE).boxes) == 1, "the surer the box, the less is asked"


@pytest.mark.parametrize("score", [0.02, 0.1, SURE - 0.01])
def test_a_doubtful_box_needs_a_clear_pose(score: float) -> None:
    clear, vague = (finder(Told([*LEFT, score]), Judge((LEFT, s))).find(PICTURE) for s in (0.5, 0.25))
    assert len(vague.boxes) == 0
    assert clear.how == (f"doubtful box (score {score:.2f}), confirmed by its pose",)
    assert 0.3 < clear.boxes[0, 4] < SURE
    assert finding.box_tools.iou(clear.boxes[:, :4], np.asarray([LEFT]))[0, 0] > 0.6


def test_a_pose_that_the_mirrored_picture_does_not_have_is_background() -> None:
    assert len(finder(Told([*LEFT, 0.2]), Judge((LEFT, 0.5), mirrored=0.3)).find(PICTURE).boxes) == 0


def test_nothing_that_a_person_explains_is_looked_at() -> None:
    judge = Judge((LEFT, 0.8))
    shifted = [60, 55, 205, 345, 0.3]
    assert len(finder(Told([*LEFT, 0.9], shifted), judge).find(PICTURE).boxes) == 1
    assert judge.looks == 1


def test_a_glance_is_enough_for_background_and_for_sure_people() -> None:
    head, judge = [60, 50, 190, 160], Judge((LEFT, 0.8), (RIGHT, 0.15))
    found = finder(Told([*LEFT, 0.9], [*head, 0.3], [*RIGHT, 0.3]), judge).find(PICTURE)
    assert (len(found.boxes), judge.looks, judge.glances) == (1, 1, 2)


@pytest.mark.parametrize(
    ("box", "score", "glances"), [(RIGHT, 0.03, 0), (RIGHT, 0.05, 1), (LEFT, 0.05, 0), (LEFT, 0.07, 1)]
)
def test_the_least_likely_boxes_count_only_where_nobody_is_sure(box: list[float], score: float, glances: int) -> None:
    inner = [box[0] + 60, box[1], box[2], box[1] + 90]
    beside_somebody, alone = Judge((LEFT, 0.8)), Judge()
    finder(Told([*LEFT, 0.9], [*inner, score]), beside_somebody).find(PICTURE)
    finder(Told([*inner, score]), alone).find(PICTURE)
    assert (beside_somebody.glances, alone.glances) == (glances, 2), "alone, the whole picture is tried as well"


def test_within_somebody_a_clearer_pose_is_needed() -> None:
    inset = [150, 60, 190, 140]
    vague, clear = (
        finder(Told([*LEFT, 0.9], [*inset, 0.1]), Judge((LEFT, 0.8), (inset, score))).find(PICTURE)
        for score in (0.4, 0.7)
    )
    assert (len(vague.boxes), len(clear.boxes)) == (1, 2)


def test_two_boxes_with_one_pose_are_one_person() -> None:
    head = [60, 50, 190, 160]
    both = finder(Told([*LEFT, 0.9], [*head, 0.8]), Judge((LEFT, 0.8))).find(PICTURE)
    assert len(both.boxes) == 1
    two = finder(Told([*LEFT, 0.9], [*RIGHT, 0.8]), Judge((LEFT, 0.8), (RIGHT, 0.7))).find(PICTURE)
    assert len(two.boxes) == 2


def test_two_sure_boxes_with_one_pose_are_looked_at_again() -> None:
    """The judge sees the left one in both boxes, until the left one is erased."""
    beside = [130, 60, 280, 360]
    judge = Judge((LEFT, 0.8), (beside, 0.7))
    find = judge.find

    def prominent(image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return find(image, np.asarray(LEFT) if (image == PICTURE).all() else box)

    judge.find = prominent  # type: ignore[method-assign]
    found = finder(Told([*LEFT, 0.9], [*beside, 0.8]), judge).find(PICTURE)
    np.testing.assert_allclose(found.boxes, [[*LEFT, 0.9], [*beside, 0.8]])


def test_the_whole_picture_comes_last() -> None:
    person = [100, 20, 500, 390]
    found = finder(Told(), Judge((person, 0.6))).find(PICTURE)
    assert found.how == ("whole picture, confirmed by its pose",)
    assert finding.box_tools.iou(found.boxes[:, :4], np.asarray([person]))[0, 0] > 0.6
    assert len(finder(Told(), Judge()).find(PICTURE).boxes) == 0
    assert len(finder(Told([*LEFT, 0.9]), Judge((LEFT, 0.8), (person, 0.9))).find(PICTURE).boxes) == 1


def test_large_pictures_are_looked_at_in_parts() -> None:
    large = np.zeros((1000, 2000, 3), np.uint8)
    detector = Told()
    detector.rows = np.asarray([[10, 10, 200, 400, 0.5]], np.float32)
    whole = finder(detector, Judge(([1250 - 490, 10, 1440 - 490, 400], 0.6)), sure_only=False)
    detector_of_whole = Told()
    whole.detector = Parts(detector_of_whole, detector)
    found = whole.find(large)
    assert found.how == ("box in a part of the picture (score 0.50), confirmed by its pose",)
    assert len(tiles((2000, 1000))) == 4
    covered = np.zeros((1000, 2000), int)
    for rows, columns in tiles((2000, 1000)):
        covered[rows, columns] += 1
    assert covered.min() == 1


class Parts(Told):
    """One detector for the first picture, another for those after it."""

    def __init__(self, whole: Told, parts: Told) -> None:
        super().__init__()
        self.order = [whole, parts, parts, parts, parts]

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.order.pop(0).detect(image)


def test_sure_only_and_no_demands() -> None:
    doubtful = Told([*LEFT, 0.9], [*RIGHT, 0.2])
    judge = Judge((LEFT, 0.8), (RIGHT, 0.7))
    assert len(finder(doubtful, judge).find(PICTURE).boxes) == 2
    assert len(finder(doubtful, judge, sure_only=True).find(PICTURE).boxes) == 1
    nobody = Judge()
    plain = finder(doubtful, nobody, sure_only=True, min_person_score=0).find(PICTURE)
    assert (len(plain.boxes), nobody.looks) == (1, 0)
    assert len(finder(doubtful, nobody, min_person_score=0).find(PICTURE).boxes) == 2


def test_limits_apply_to_the_people_found() -> None:
    proposed = Told([*LEFT, 0.6], [*RIGHT, 0.9], [5, 5, 20, 60, 0.8])
    judge = Judge((LEFT, 0.8), (RIGHT, 0.7), ([5, 5, 20, 60], 0.9))
    found = finder(proposed, judge, max_people=1, min_size=20).find(PICTURE)
    np.testing.assert_allclose(found.boxes, [[*RIGHT, 0.9]])


def test_a_score_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="detector min_person_score: expected 0 to 1, got 2"):
        DetectorOptions(min_person_score=2)


def test_a_portrait_is_judged_by_the_points_it_has() -> None:
    portrait = np.asarray([0.38, 0.5, 0.6, 0.71, 0.45, 0.5, 0.4, 0.2, *[0.02] * 9])
    assert portrait.mean() < 0.25 < pose_score(portrait)


def test_a_fitted_box_holds_the_points_and_stays_inside() -> None:
    points = np.asarray([[5.0, 50.0], [60.0, 90.0], [300.0, 300.0]])
    box = fitted_box(points, np.asarray([0.9, 0.9, 0.05]), (310, 310))
    assert box is not None
    assert (box[:2] <= points[:2].min(axis=0)).all()
    assert (box[2:] >= points[:2].max(axis=0)).all()
    assert box.min() >= 0
    assert box[2] < 200
    assert fitted_box(points, np.asarray([0.9, 0.0, 0.0]), (310, 310)) is None


def test_results_are_json_and_name_the_judge() -> None:
    subject = load_detector()
    meta = json.loads(json.dumps(subject.meta()))
    assert meta["judge"]["name"] == "MoveNet Thunder"
    assert meta["settings"]["threshold"] == SURE


@pytest.mark.parametrize("name", ["astronaut.png", "grace_hopper.jpg", "anime_sylvie.png"])
def test_the_people_of_real_pictures(name: str) -> None:
    assert load_detector().find(read_image(DATA / name)).how == (SURE_BOX,)


def test_a_person_too_faint_for_the_detector_is_found() -> None:
    """The astronaut in the colors of a faded print."""
    faded = cv2.GaussianBlur(ASTRONAUT, (0, 0), 5).astype(float) * 0.12 + 110
    faint = faded.clip(0, 255).astype(np.uint8)
    subject = load_detector()
    assert subject.detector.detect(faint)[1].max(initial=0) < SURE
    found = subject.find(faint)
    assert len(found.boxes) == 1
    assert "confirmed by its pose" in found.how[0]


@pytest.mark.parametrize("seed", range(3))
def test_nobody_is_found_in_noise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    assert len(load_detector().find(noise).boxes) == 0
