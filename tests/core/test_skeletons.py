"""The keypoint tables against the figures that the official code carries."""

from __future__ import annotations

import json

import numpy as np
import pytest
from custom_sets import SETS
from paths import GOLDEN

from sdpose_core.errors import InputError
from sdpose_core.skeletons import (
    COCO_17,
    COCO_WHOLEBODY_133,
    KEYPOINT_SETS,
    SKELETON,
    KeypointSet,
    described,
    keypoint_set,
    skeleton_of,
)

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


@pytest.mark.parametrize("points", SETS, ids=lambda points: points.name)
def test_a_custom_set_survives_its_description(points: KeypointSet) -> None:
    meta = json.loads(json.dumps({"model": "x", **described(points)}))
    found = skeleton_of(points.name, len(points), meta)
    for key in ("name", "names", "links", "flip_pairs", "sigmas"):
        assert getattr(found, key) == getattr(points, key)
    assert skeleton_of(points.name, 0, meta) == found  # nobody was seen
    with pytest.raises(InputError, match=f"has {len(points)} points, the poses have 5"):
        skeleton_of(points.name, 5, meta)


def test_known_sets_need_no_description_and_unknown_ones_are_numbered() -> None:
    for known in KEYPOINT_SETS.values():
        assert described(known) == {} and skeleton_of(known.name, len(known), {}) is known
    assert skeleton_of("mine", 3, {}) == KeypointSet("mine", ("0", "1", "2"))


@pytest.mark.parametrize(
    "damage",
    [
        None, [], "names", {}, {"names": []}, {"names": "abcd"}, {"names": ["a", 2]}, {"names": ["a", "a"]},
        {"names": ["a", ""]}, {"names": ["a", "b\n"]}, {"names": ["a", "b"], "links": [[0, 2]]},
        {"names": ["a", "b"], "links": [[0, 1.0]]}, {"names": ["a", "b"], "links": [[0]]},
        {"names": ["a", "b"], "links": [["a", "b"]]}, {"names": ["a", "b"], "flip_pairs": [[0, True]]},
        {"names": ["a", "b"], "flip_pairs": [[0, 1], [1, 0]]}, {"names": ["a", "b"], "sigmas": [0.1]},
        {"names": ["a", "b"], "sigmas": [0.1, 0]}, {"names": ["a", "b"], "sigmas": [0.1, float("nan")]},
        {"names": ["a", "b"], "sigmas": 0.1}, {"names": ["a", "b"], "links": {}},
    ],
)  # fmt: skip
def test_damaged_descriptions_are_one_line(damage: object) -> None:
    with pytest.raises(InputError, match="'mine'") as error:
        skeleton_of("mine", 2, {SKELETON: damage})
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
