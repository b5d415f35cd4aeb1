"""The keypoint tables against the figures that the official code carries."""

from __future__ import annotations

import json

import numpy as np
import pytest
from paths import GOLDEN

from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133, KeypointSet, keypoint_set

OFFICIAL = json.loads((GOLDEN / "metainfo.json").read_text())
TABLES = [("body", COCO_17), ("wholebody", COCO_WHOLEBODY_133), ("humanart", COCO_17)]


@pytest.mark.parametrize(("official", "table"), TABLES)
def test_tables_equal_the_official_ones(official: str, table: KeypointSet) -> None:
    expected = OFFICIAL[official]
    assert list(table.names) == expected["names"]
    assert table.flip_indices.tolist() == expected["flip_indices"]
    assert [list(link) for link in table.links] == expected["skeleton_links"]
    assert list(table.upper_body) == expected["upper_body_ids"]
    assert list(table.lower_body) == expected["lower_body_ids"]
    np.testing.assert_allclose(table.sigmas, expected["sigmas"], atol=1e-6)


@pytest.mark.parametrize("table", [COCO_17, COCO_WHOLEBODY_133])
def test_every_named_pair_flips_left_to_right(table: KeypointSet) -> None:
    flipped = table.flip_indices
    assert (flipped[flipped] == np.arange(len(table))).all()
    for index, name in enumerate(table.names):
        other = table.names[flipped[index]]
        if "left" in name:
            assert other == name.replace("left", "right")
        if not any(word in name for word in ("left", "right", "face")):
            assert other == name


def test_parts_cover_the_whole_body_once() -> None:
    indices = [i for part in COCO_WHOLEBODY_133.parts.values() for i in part]
    assert sorted(indices) == list(range(133))
    for part, side in (("left_hand", "left"), ("right_hand", "right")):
        assert all(COCO_WHOLEBODY_133.names[i].startswith(side) for i in COCO_WHOLEBODY_133.parts[part])


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(InputError, match="left_wrist"):
        COCO_17.index("left_wirst")
    with pytest.raises(InputError, match="coco_17"):
        keypoint_set("coco17")
    assert keypoint_set("wholebody") is COCO_WHOLEBODY_133
    assert COCO_17.index("right_knee") == 14


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("a", "a")}, "not unique"),
        ({"sigmas": (0.1,)}, "expected 2 sigmas"),
        ({"flip_pairs": ((0, 2),)}, "outside 0..1"),
        ({"flip_pairs": ((0, 1), (1, 0))}, "more than one flip pair"),
    ],
)
def test_a_wrong_custom_set_is_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        KeypointSet(**{"name": "custom", "names": ("a", "b"), **change})
