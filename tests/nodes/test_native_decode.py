"""Our decoder against that of ComfyUI's own SDPose nodes, on the same synthetic maps.

`golden/native_decode.npz`: `small` and `full` keypoints (23, 2) in input pixels and scores (23,), the numbers that
`HeatmapHead` of ComfyUI 0.26.0 gives, with an identity for its layers, for the maps of `c_decode.npz` (in the order of
`names`). It multiplies heatmap pixels by (input - 1) / (heatmap - 1), as we do: the same input pixels, no offset;
the offset of half a pixel lies in its way back to the picture, which `crop="stretch_native"` repeats.
"""

from __future__ import annotations

import numpy as np
import pytest
from known_maps import CODECS, DECODE, NO_PEAK, WITH_PEAK, full_size_maps
from paths import GOLDEN

from sdpose_core.codec.crops import make_crop
from sdpose_core.codec.heatmaps import decode_dark_udp

NATIVE = np.load(GOLDEN / "native_decode.npz")
NAMES = NATIVE["names"].tolist()
FULL = full_size_maps()


@pytest.mark.parametrize("size", CODECS)
def test_the_same_point_and_score(size: str) -> None:
    for name in WITH_PEAK:
        index = NAMES.index(name)
        maps = DECODE["small_s2_heatmaps"][index] if size == "small" else FULL[name]
        keypoints, scores = decode_dark_udp(maps[None, None], CODECS[size][0])
        np.testing.assert_allclose(keypoints[0, 0], NATIVE[f"{size}_keypoints"][index], atol=5e-4, err_msg=name)
        assert scores[0, 0] == pytest.approx(NATIVE[f"{size}_scores"][index], abs=1e-6), name


@pytest.mark.parametrize("name", NO_PEAK)
def test_where_there_is_no_peak_the_native_node_marks_a_corner_and_we_give_no_point(name: str) -> None:
    index = NAMES.index(name)
    keypoints, scores = decode_dark_udp(DECODE["small_s2_heatmaps"][index][None, None], CODECS["small"][0])
    assert np.isnan(keypoints).all() and scores[0, 0] == 0
    assert (NATIVE["small_keypoints"][index] < 0).all()


@pytest.mark.parametrize("box", [(30, 40, 230, 290), (0, 0, 64, 400), (10.7, 20.2, 300.9, 60.4)])
def test_back_in_the_picture_the_native_offset_is_where_it_should_be(box: tuple[float, ...]) -> None:
    """The native node divides by the scale: .5 - .5 x crop / input short of the pixel that was looked at."""
    image = np.zeros((420, 320, 3), np.uint8)
    x1, y1, x2, y2 = np.trunc(box)
    crop_size, size = np.array([x2 - x1, y2 - y1]), np.array([768, 1024])
    _, crop = make_crop(image, np.asarray(box, np.float32), (768, 1024), "stretch_native")
    points = NATIVE["full_keypoints"][[NAMES.index(name) for name in WITH_PEAK]]
    found = crop.to_image(points)
    np.testing.assert_allclose(found, points / (size / crop_size) + [x1, y1], atol=1e-3)
    looked_at = (points + 0.5) * crop_size / size - 0.5 + [x1, y1]
    np.testing.assert_allclose(found - looked_at, np.broadcast_to(0.5 - 0.5 * crop_size / size, found.shape), atol=1e-3)
