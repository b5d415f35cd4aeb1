"""Pose maps of custom keypoint sets: their colors, their limbs, and what they share with OpenPose's body."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import numpy as np
import pytest
from custom_sets import HAND, KNIGHT, PEN, SETS, custom_poses

from sdpose_core.drawing.coloring import COLORS, OPENPOSE, STICKS, coloring_of
from sdpose_core.drawing.pose_maps import draw_people, draw_poses, overlay
from sdpose_core.drawing.styles import STYLES
from sdpose_core.errors import InputError
from sdpose_core.openpose.order import PART_SIZES, OpenPosePerson
from sdpose_core.skeletons import KeypointSet

APART = 40
"""Pixels between points of `spread`."""


def spread(count: int) -> list[tuple[float, float]]:
    """Places well apart, no three of which lie on a line."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = APART * count / (2 * np.pi)
    return [(radius * (1 + np.cos(a)) + 10, radius * (1 + np.sin(a)) + 10) for a in angles]


def canvas(places: list[tuple[float, float]]) -> tuple[int, int]:
    side = int(np.max(places)) + 20
    return side, side


def hue_of(color: tuple[int, int, int]) -> tuple[float, float]:
    """(degrees, saturation) of a color."""
    hue, saturation, _ = colorsys.rgb_to_hsv(*(channel / 255 for channel in color))
    return 360 * hue, saturation


def test_the_colors_of_a_pen() -> None:
    """Left green, right violet, the middle pale: as pose maps are to look in every version."""
    pen = coloring_of(PEN)
    assert pen.limb_colors == ((255, 153, 153), (128, 255, 0), (128, 0, 255))
    assert pen.point_colors == ((128, 255, 0), (128, 0, 255), (255, 153, 153), (153, 255, 255))


@pytest.mark.parametrize("points", SETS, ids=lambda points: points.name)
def test_every_limb_and_every_point_has_a_color_of_its_own(points: KeypointSet) -> None:
    coloring = coloring_of(points)
    assert coloring.limbs == points.links
    for colors, count in ((coloring.limb_colors, len(points.links)), (coloring.point_colors, len(points))):
        assert len(colors) == len(set(colors)) == count
        assert all(max(color) == 255 for color in colors)  # bright on black


@pytest.mark.parametrize("points", [PEN, KNIGHT], ids=lambda points: points.name)
def test_hues_of_left_and_right_are_mirrored_and_the_middle_is_pale(points: KeypointSet) -> None:
    coloring, other = coloring_of(points), points.flip_indices
    limbs = {frozenset(link): color for link, color in zip(points.links, coloring.limb_colors, strict=True)}
    sided = {i for pair in points.flip_pairs for i in pair}
    left = {pair[0] for pair in points.flip_pairs}
    for i, color in enumerate(coloring.point_colors):
        (hue, saturation), (mirrored, _) = hue_of(color), hue_of(coloring.point_colors[other[i]])
        assert saturation == pytest.approx(1.0 if i in sided else 0.4, abs=0.01)
        if i in left:
            assert 30 <= hue <= 150 and hue + mirrored == pytest.approx(360, abs=0.5)
    for link, color in limbs.items():
        partner = limbs[frozenset(int(other[i]) for i in link)]
        if partner != color:
            assert hue_of(color)[0] + hue_of(partner)[0] == pytest.approx(360, abs=0.5)
            assert hue_of(color)[1] == 1
        else:  # between left and right, or of neither
            assert hue_of(color)[1] == pytest.approx(0.4, abs=0.01)


def test_a_set_without_sides_has_evenly_spaced_pure_hues() -> None:
    found = [hue_of(color) for color in coloring_of(HAND).limb_colors]
    np.testing.assert_allclose([hue for hue, _ in found], np.arange(20) * 18, atol=0.5)
    assert all(saturation == 1 for _, saturation in found)


@pytest.mark.parametrize("points", SETS, ids=lambda points: points.name)
def test_each_limb_is_drawn_between_its_points_in_its_color_and_goes_with_either(points: KeypointSet) -> None:
    places = spread(len(points))
    coloring = coloring_of(points)
    for (a, b), color in zip(points.links, coloring.limb_colors, strict=True):
        middle = tuple(np.mean([places[a], places[b]], axis=0).astype(int))
        for absent, drawn in ((None, True), (a, False), (b, False)):
            shown = [place if i in (a, b) and i != absent else (np.nan, np.nan) for i, place in enumerate(places)]
            pose_map = draw_poses(custom_poses(points, shown, canvas(places)))
            expected = [int(int(channel) * 0.6) for channel in color] if drawn else [0, 0, 0]
            assert pose_map[middle[1], middle[0]].tolist() == expected
            for i in {a, b} - {absent}:
                x, y = (int(value) for value in places[i])
                assert pose_map[y, x].tolist() == list(coloring.point_colors[i])


@pytest.mark.parametrize(("size", "width"), [((96, 64), None), ((1024, 1024), None), ((512, 600), 9.0)])
def test_widths_are_those_of_the_limb_of_a_body(size: tuple[int, int], width: float | None) -> None:
    start, end = (0.2 * size[0], 0.3 * size[1]), (0.7 * size[0], 0.6 * size[1])
    stick = KeypointSet("stick", ("a", "b"), ((0, 1),))
    ours = draw_poses(custom_poses(stick, [start, end], size), line_width=width)
    parts = {name: np.zeros((count, 3)) for name, count in PART_SIZES.items()}
    parts["body"][list(STICKS[2])] = (*start, 1), (*end, 1)
    body = draw_people([OpenPosePerson(**parts)], size, line_width=width)
    np.testing.assert_array_equal(ours.any(axis=2), body.any(axis=2))


def test_thresholds_and_parts_are_those_of_a_body() -> None:
    poses = custom_poses(PEN, [(10, 10), (80, 10), (10, 50), (80, 50)])
    low = replace(poses, scores=np.float32([[1, 1, 0.29, 1]]))
    assert draw_poses(poses)[30, 10].any() and not draw_poses(low)[30, 10].any()
    assert draw_poses(low, threshold=0.29)[30, 10].any()
    for parts, drawn in (((), False), (("head", "hands", "face", "feet"), False), (("body",), True)):
        assert draw_poses(poses, parts=parts).any() == drawn
    assert overlay(np.full((64, 96, 3), 9, np.uint8), poses)[10, 10].tolist() == [98, 194, 2]


def test_only_the_style_that_is_nobody_elses_is_for_custom_sets() -> None:
    poses = custom_poses(PEN, spread(4), (200, 200))
    for style in STYLES:
        if style == "controlnet":
            assert draw_poses(poses, style=style).any()
        else:
            with pytest.raises(InputError, match=f"style '{style}' draws OpenPose's points, which 'pen_4' does not"):
                draw_poses(poses, style=style)


def test_points_without_names_are_drawn_without_limbs() -> None:
    poses = custom_poses(PEN, [(10, 10), (80, 10), (10, 50), (80, 50)])
    bare = draw_poses(replace(poses, meta={}))
    assert bare[10, 10].any() and bare[50, 80].any() and not bare[30, 10].any()


def test_a_body_keeps_openposes_colors() -> None:
    assert OPENPOSE.limbs is STICKS and (*OPENPOSE.limb_colors, COLORS[17]) == OPENPOSE.point_colors == COLORS
