"""Squares of a picture: what a turned one shows, and the way back to the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sdpose_core.embedded.squares import Square, turn_of


@pytest.mark.parametrize("turn", [0.0, 0.4, math.pi / 2, -2.0, math.pi])
@pytest.mark.parametrize("side", [60.0, 200.0, 900.0])
def test_a_point_of_the_crop_goes_back_where_it_was(turn: float, side: float) -> None:
    """A white disk on black: the center of what the crop shows of it, in the picture again."""
    image = np.zeros((1000, 1200, 3), np.uint8)
    yy, xx = np.mgrid[:1000, :1200]
    center, place = (600.0, 480.0), np.array([600 + side / 5, 480 - side / 8])
    image[np.hypot(xx + 0.5 - place[0], yy + 0.5 - place[1]) < side / 10] = 255
    square = Square(center, side, turn)
    crop = square.crop(image, 128)[..., 0].astype(np.float64)
    rows, columns = np.mgrid[:128, :128] + 0.5
    seen = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum() / 128
    np.testing.assert_allclose(square.to_picture(seen[None])[0], place, atol=side * 0.004)


def test_up_in_the_square_is_the_direction_of_its_turn() -> None:
    for upward in ((0, -1), (1, 0), (-3, 4), (0, 2)):
        square = Square((50, 50), 20, turn_of(np.array(upward)))
        middle, top = square.to_picture(np.array([[0.5, 0.5], [0.5, 0.0]]))
        np.testing.assert_allclose(middle, (50, 50))
        np.testing.assert_allclose(top - middle, 10 * np.array(upward) / np.hypot(*upward), atol=1e-9)


def test_the_square_around_points_holds_them_in_its_middle() -> None:
    points = np.random.default_rng(1).normal((300, 200), (40, 10), (30, 2))
    for turn in (0.0, 0.7, 3.0):
        square = Square.around(points, 1.5, turn)
        inside = (
            (points - square.center)
            / square.side
            @ np.linalg.inv(square.to_picture(np.array([[1, 0], [0, 1.0]])) - square.to_picture(np.zeros((2, 2))))
            * square.side
        )
        assert np.abs(inside).max() == pytest.approx(1 / 3)
        np.testing.assert_allclose(inside.max(axis=0), -inside.min(axis=0), atol=1e-9)


def test_a_square_outside_the_picture_is_black_and_a_point_has_a_square() -> None:
    image = np.full((40, 40, 3), 200, np.uint8)
    assert not Square((500, 500), 30, 0.5).crop(image, 32).any()
    assert Square.around(np.zeros((5, 2)), 1.7).side == 1
