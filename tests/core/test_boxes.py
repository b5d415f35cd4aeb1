"""Boxes: formats, overlap, suppression."""

from __future__ import annotations

import numpy as np
import pytest

from sdpose_core import boxes
from sdpose_core.errors import InputError


def test_formats_round_trip() -> None:
    xywh = np.array([[1.0, 2, 3, 4], [0, 0, 10, 20]])
    xyxy = boxes.xywh_to_xyxy(xywh)
    np.testing.assert_array_equal(xyxy, [[1, 2, 4, 6], [0, 0, 10, 20]])
    np.testing.assert_array_equal(boxes.xyxy_to_xywh(xyxy), xywh)


def test_iou_by_hand() -> None:
    a = np.array([[0, 0, 10, 10], [5, 5, 5, 9]])
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]])
    np.testing.assert_allclose(boxes.iou(a, b), [[1, 50 / 150, 0], [0, 0, 0]])


def test_nms_keeps_the_best_of_each_cluster() -> None:
    found = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [0, 0, 10, 10]], np.float32)
    assert boxes.nms(found, np.array([0.5, 0.9, 0.3, 0.5]), 0.5).tolist() == [1, 2]
    assert boxes.nms(found, np.array([0.5, 0.9, 0.3, 0.5]), 0.99).tolist() == [1, 0, 2]
    assert boxes.nms(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ((0, 0, 5, 5), None),
        ((-5, -5, 1, 1), None),
        ((0, 0, 0, 0), "empty or inverted"),
        ((5, 5, 1, 9), "empty or inverted"),
        ((100, 0, 120, 5), "outside the 100 x 50 picture"),
        ((-9, 0, 0, 5), "outside"),
        ((0, 0, float("nan"), 5), "not finite"),
        ((0, 0, float("inf"), 5), "not finite"),
    ],
)
def test_what_is_wrong_with_a_box(box: tuple, problem: str | None) -> None:
    found = boxes.box_problem(np.array(box, np.float32), (100, 50))
    assert (found is None) if problem is None else (problem in found)


def test_shapes_are_checked() -> None:
    assert boxes.as_boxes_xyxy([]).shape == (0, 4)
    assert boxes.as_boxes_xyxy([[1, 2, 3, 4]]).dtype == np.float32
    for wrong in ([1, 2, 3, 4], [[1, 2, 3]], "box", [[1, 2], [3]]):
        with pytest.raises(InputError, match="expected"):
            boxes.as_boxes_xyxy(wrong)
