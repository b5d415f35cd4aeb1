"""Pose maps inside a mask, the frames outside."""

from __future__ import annotations

import numpy as np
import pytest

from sdpose_core.drawing.in_mask import FILLS, draw_in_mask
from sdpose_core.drawing.pose_maps import draw_poses
from sdpose_core.errors import InputError
from sdpose_core.exports.person_masks import person_masks
from sdpose_core.poses import PoseSequence
from sdpose_core.presets import preset

SIZE = (128, 192)
FRAME = np.random.default_rng(0).integers(0, 256, (192, 128, 3), np.uint8)
POSES = preset("waving", SIZE)


@pytest.mark.parametrize("fill", FILLS)
def test_outside_are_the_frames_and_inside_the_pose_on_the_fill(fill: str) -> None:
    mask = next(person_masks(PoseSequence.from_poses([POSES]))) > 0
    result = draw_in_mask(FRAME, mask, POSES, fill=fill)
    np.testing.assert_array_equal(result[~mask], FRAME[~mask])
    expected = draw_poses(POSES, background=FILLS[fill])
    np.testing.assert_array_equal(result[mask], expected[mask])
    background = (result[mask] == FILLS[fill]).all(axis=1).mean()
    assert 0.3 < background < 0.98


def test_parts_style_and_threshold_are_those_of_the_pose_map() -> None:
    everything = np.ones(SIZE[::-1], bool)
    settings = {"style": "xinsir", "parts": ("body",), "threshold": 0.5}
    np.testing.assert_array_equal(
        draw_in_mask(FRAME, everything, POSES, **settings), draw_poses(POSES, background=(0, 0, 0), **settings)
    )
    assert not draw_in_mask(FRAME, everything, POSES, threshold=1.5).any()


def test_other_sizes_and_fills_are_refused() -> None:
    mask = np.ones(SIZE[::-1], bool)
    with pytest.raises(InputError, match="expected one size"):
        draw_in_mask(FRAME, mask[1:], POSES)
    with pytest.raises(InputError, match="expected one size"):
        draw_in_mask(FRAME, mask, preset("waving", (64, 64)))
    with pytest.raises(InputError, match="expected one of black, gray, got 'blue'"):
        draw_in_mask(FRAME, mask, POSES, fill="blue")
