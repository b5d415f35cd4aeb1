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
    runs = counted_runs(movenet(None), monkeypatch)
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


def test_only_so_many_crops_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "REMEMBERED", 3)
    model = MoveNet()
    for level in range(5):
        model._forward(np.full((256, 256, 3), 40 * level, np.uint8))
    assert len(model._known) == 3
