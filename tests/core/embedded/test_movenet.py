"""The MoveNet that finding and estimating people share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from paths import DATA

from sdpose_core.detection.loading import load_detector
from sdpose_core.embedded import movenet as rooms
from sdpose_core.embedded.movenet import MoveNet, movenet
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.images import read_image

ASTRONAUT = read_image(DATA / "astronaut.png")
BOX = np.array([11, 20, 369, 507], np.float32)


def counted_runs(model: MoveNet, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    run, runs = model.model.run, []

    def counting(inputs: Any) -> list[np.ndarray]:
        runs.append(1)
        return run(inputs)

    monkeypatch.setattr(model.model, "run", counting)
    return runs


def test_what_the_finder_saw_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    movenet.cache_clear()
    runs = counted_runs(movenet(None, None), monkeypatch)
    boxes, _ = load_detector().detect(ASTRONAUT)
    looked = len(runs)
    assert looked
    for name in ("preview-body", "preview"):
        load_estimator(name).estimate([ASTRONAUT], [boxes])
        assert len(runs) == looked


def test_a_picture_that_was_drawn_on_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    image, model = ASTRONAUT.copy(), MoveNet()
    runs = counted_runs(model, monkeypatch)
    before = model.find(image, BOX)
    again = model.find(image, BOX)
    np.testing.assert_array_equal(before[0], again[0])
    again[0][:] = again[1][:] = 0  # what a caller does with a result stays with the caller
    np.testing.assert_array_equal(model.find(image, BOX)[0], before[0])
    seen = len(runs)
    image[:, :200] = 0
    assert (model.find(image, BOX)[0] != before[0]).any()
    assert len(runs) > seen


def test_a_glance_costs_nothing_where_the_person_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MoveNet()
    runs = counted_runs(model, monkeypatch)
    keypoints, scores = model.glance(ASTRONAUT, BOX)
    assert len(runs) == 1
    found, found_scores = model.find(ASTRONAUT, BOX)
    assert len(runs) == 1 + 2 + 1, "the square around the pose, its mirror image, and the square beyond the edge"
    seen = np.minimum(scores, found_scores) > 0.5
    assert seen.sum() >= 5
    assert np.linalg.norm(keypoints - found, axis=1)[seen].max() < 25


def test_a_glance_leaves_out_a_more_prominent_neighbor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow strip of wall beside the astronaut: without the strip's surroundings nobody is there."""
    model, strip = MoveNet(), np.array([380, 150, 440, 500], np.float32)
    runs = counted_runs(model, monkeypatch)
    _, alone = model.glance(ASTRONAUT, strip)
    _, around = model._first(ASTRONAUT, strip)
    assert len(runs) == 2
    assert around.max() > 0.6
    assert alone.max() < 0.4


@pytest.mark.parametrize(("score", "looks", "y"), [(0.5, 1, 490), (0.7, 0, 490), (0.1, 0, 490), (0.5, 0, 505)])
def test_the_edge_is_looked_at_only_if_that_can_change_a_point(
    score: float, looks: int, y: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sure points near the edge stay, unsure ones close to it and all on it go, and none needs another look."""
    model, runs = MoveNet(), []
    keypoints, scores = np.tile([[250.0, 250.0]], (17, 1)), np.full(17, 0.9)
    keypoints[15], keypoints[16], scores[15] = (250, y), (250, 511), score

    def run(*_: object, **__: object) -> tuple[np.ndarray, np.ndarray]:
        runs.append(1)
        return np.where(np.arange(17)[:, None] == 15, [[250.0, 511.0]], keypoints), scores

    monkeypatch.setattr(model, "_run", run)
    beyond = model._beyond_edge(ASTRONAUT, BOX, keypoints, scores)
    assert (len(runs), beyond.nonzero()[0].tolist()) == (looks, [15, 16] if score == 0.5 else [16])


def test_only_so_many_crops_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "REMEMBERED", 3)
    model = MoveNet()
    for level in range(5):
        model._forward(np.full((256, 256, 3), 40 * level, np.uint8))
    assert len(model._known) == 3
