"""Choosing people over a clip."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdpose_core.errors import InputError
from sdpose_core.images import write_png
from sdpose_core.poses import PoseSequence
from sdpose_core.sequences.people import ORDERS, parse_person, select_people

SIZE = (200, 100)


def clip() -> PoseSequence:
    """Ten frames. Id 7: small, left, score .5. Id 3: large, middle, score .4, its score .95 in frame 4. Id 5: largest
    and best of all, right, but in two frames only. Slots change."""
    people = {
        7: ([10, 40, 30, 80], 0.5, range(10)),
        3: ([60, 10, 110, 90], 0.4, range(10)),
        5: ([120, 5, 190, 95], 0.9, (6, 7)),
    }
    shape = (10, 3)
    keypoints, scores = np.full((*shape, 17, 2), np.nan), np.zeros((*shape, 17))
    boxes, ids = np.zeros((*shape, 5)), np.full(shape, -1)
    for t in range(10):
        here = [track for track, (_, _, frames) in people.items() if t in frames]
        for slot, track in enumerate(here if t % 2 else here[::-1]):
            (x1, y1, x2, y2), score, _ = people[track]
            ids[t, slot], boxes[t, slot] = track, [x1, y1, x2, y2, 0.8]
            scores[t, slot] = 0.95 if (track, t) == (3, 4) else score
            steps = np.linspace(0.1, 0.9, 17)
            keypoints[t, slot] = np.stack([x1 + steps * (x2 - x1), y1 + steps * (y2 - y1)], axis=1)
    return PoseSequence(
        keypoints, scores, boxes, ids, np.arange(10), np.arange(10) / 25, SIZE, Fraction(25), "coco_17", {"a": 1}
    )


def ids_of(sequence: PoseSequence) -> list[int]:
    """Ids of the slots, each of which has one id only."""
    found = [set(column[column >= 0].tolist()) for column in sequence.track_ids.T]
    assert all(len(ids) == 1 for ids in found)
    return [ids.pop() for ids in found]


@pytest.mark.parametrize(
    ("by", "everybody"),
    [
        ("largest", [3, 5, 7]),  # 4000, 6300 x 2/10, 800
        ("best score", [7, 3, 5]),  # .5, .455, .18
        ("leftmost", [7, 3, 5]),
        ("rightmost", [5, 3, 7]),
    ],
)
def test_orders_over_the_clip(by: str, everybody: list[int]) -> None:
    assert ids_of(select_people(clip(), by, max_people=9)) == everybody
    assert ids_of(select_people(clip(), by)) == everybody[:1]
    assert ids_of(select_people(clip(), by, number=1, max_people=1)) == everybody[1:2]
    assert ids_of(select_people(clip(), by, max_people=2)) == everybody[:2]


def test_by_id() -> None:
    assert ids_of(select_people(clip(), "id", 5)) == [5]
    assert ids_of(select_people(clip(), "id", 3, max_people=2)) == [3, 5]
    assert select_people(clip(), "id", 4).keypoints.shape == (10, 0, 17, 2)


def test_a_chosen_person_has_one_slot_and_keeps_all_their_values() -> None:
    whole, own = clip(), select_people(clip(), "id", 5)
    assert own.track_ids[:, 0].tolist() == [-1] * 6 + [5, 5] + [-1] * 2
    frames, slots = np.nonzero(whole.track_ids == 5)
    for name in ("keypoints", "scores", "boxes"):
        np.testing.assert_array_equal(getattr(own, name)[frames, 0], getattr(whole, name)[frames, slots])
    assert np.isnan(own.keypoints[:6]).all()
    assert (own.size, own.frame_rate, own.meta) == (whole.size, whole.frame_rate, whole.meta)


def test_the_rule_of_each_frame_changes_people_and_the_rule_of_the_clip_does_not() -> None:
    assert select_people(clip(), "best score per frame").track_ids[:, 0].tolist() == [7] * 4 + [3, 7, 5, 5, 7, 7]
    assert select_people(clip(), "best score").track_ids[:, 0].tolist() == [7] * 10


@pytest.mark.parametrize(("point", "track"), [((0, 0), 7), ((62, 12), 3), ((45, 60), 7), ((117, 50), 5), ((85, 50), 3)])
def test_nearest_point(point: tuple[float, float], track: int) -> None:
    assert ids_of(select_people(clip(), "nearest point", point=point)) == [track]


def test_people_who_cross_are_where_they_stood_first() -> None:
    crossing = clip()
    boxes = np.array(crossing.boxes)
    frames, slots = np.nonzero(crossing.track_ids == 7)
    boxes[frames[frames >= 8], slots[frames >= 8], [[0], [2]]] = 199
    assert ids_of(select_people(replace(crossing, boxes=boxes), "leftmost")) == [7]


def test_mask() -> None:
    mask = np.zeros((100, 200), bool)
    mask[:, 55:140] = True
    assert ids_of(select_people(clip(), "mask", mask=mask, max_people=9)) == [3, 5]
    mask[:] = False
    assert select_people(clip(), "mask", mask=mask).track_ids.shape == (10, 0)


def test_a_mask_for_each_frame_follows_the_person() -> None:
    masks = np.zeros((10, 100, 200))
    masks[:2, :, :50], masks[2:, :, 55:115] = 1, 1
    assert ids_of(select_people(clip(), "mask", mask=masks, max_people=9)) == [3, 7]


def test_a_mask_where_no_point_is_seen_goes_by_the_box() -> None:
    blind = replace(clip(), keypoints=np.full((10, 3, 17, 2), np.nan))
    mask = np.zeros((100, 200), bool)
    mask[:, :50] = True
    assert ids_of(select_people(blind, "mask", mask=mask, max_people=9)) == [7]


def test_a_mask_from_a_file(tmp_path: Path) -> None:
    mask = np.zeros((100, 200, 3), np.uint8)
    mask[:, :50] = 255
    write_png(tmp_path / "mask.png", mask)
    assert ids_of(select_people(clip(), **parse_person(f"mask:{tmp_path / 'mask.png'}"))) == [7]
    inside = mask.max(axis=2)
    Image.fromarray(np.dstack([np.full_like(mask, 255), inside])).save(tmp_path / "cutout.png")
    assert ids_of(select_people(clip(), **parse_person(f"mask:{tmp_path / 'cutout.png'}"))) == [7]


@pytest.mark.parametrize("by", ORDERS)
def test_nobody_stays_nobody(by: str) -> None:
    nobody = select_people(clip(), "id", 99)
    mask = np.ones((100, 200), bool)
    assert select_people(nobody, by, point=(1, 1), mask=mask).keypoints.shape == (10, 0, 17, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "smallest"}, "largest"),
        ({"by": "nearest point"}, "needs the point"),
        ({"by": "mask"}, "needs the mask"),
        ({"by": "mask", "mask": np.ones((200, 100))}, "200 x 100"),
        ({"by": "mask", "mask": np.ones((3, 100, 200))}, "10 frames"),
        ({"by": "largest", "max_people": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_chosen_by(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        select_people(clip(), **arguments)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("3", {"by": "id", "number": 3}),
        ("id:3", {"by": "id", "number": 3}),
        ("largest", {"by": "largest", "number": 0}),
        ("largest:1", {"by": "largest", "number": 1}),
        ("best", {"by": "best score", "number": 0}),
        ("best-score", {"by": "best score", "number": 0}),
        ("best-per-frame", {"by": "best score per frame", "number": 0}),
        ("Leftmost", {"by": "leftmost", "number": 0}),
        ("rightmost:2", {"by": "rightmost", "number": 2}),
        ("point:120,340.5", {"by": "nearest point", "point": (120.0, 340.5)}),
        ("mask:a folder/C:file.png", {"by": "mask", "mask": "a folder/C:file.png"}),
    ],
)
def test_words_of_the_command_line(text: str, arguments: dict) -> None:
    assert parse_person(text) == arguments


@pytest.mark.parametrize("text", ["", "id", "id:x", "tallest", "point", "point:1", "point:1,2,3", "mask", "mask:", "-"])
def test_other_words_are_errors_that_name_the_known(text: str) -> None:
    with pytest.raises(InputError, match="leftmost"):
        parse_person(text)
