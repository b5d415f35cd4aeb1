"""The page in a real browser: what is done with mouse and keys, against the saved arrays."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from review_clips import FIRST, SECOND, of_person, two_people
from review_page import ReviewPage, opened
from video_files import pictures, write

from sdpose_core.poses import PoseSequence
from sdpose_core.skeletons import COCO_17

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WRIST = 9


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("video") / "clip.mp4", pictures(40, (320, 240)), codec="h264")


@pytest.fixture
def clip(tmp_path: Path, video: Path) -> Path:
    """`two_people` as clip.pose.npz, and the video that it states as its source."""
    two_people().save(tmp_path / "clip.pose.npz")
    shutil.copy(video, tmp_path)
    return tmp_path / "clip.pose.npz"


@pytest.fixture
def review(clip: Path, browser: Any) -> Iterator[ReviewPage]:
    """The page with `clip`, opened; what it reports as an error fails the test."""
    with opened(browser, clip) as page:
        yield page


def test_a_dragged_point_is_where_it_was_dropped_and_its_neighbors_follow(review, clip):
    before = of_person(PoseSequence.load(clip), FIRST)
    scale = review.ask("scale")
    review.drag(review.at(0, FIRST, WRIST), 30, -18)
    after = review.saved(clip)
    moved = of_person(after, FIRST) - before
    assert moved[0, WRIST] == pytest.approx([30 / scale, -18 / scale], abs=0.01)
    lengths = np.linalg.norm(moved[:, WRIST], axis=-1)
    assert (np.diff(lengths[:7]) < 0).all() and lengths[5] > 0 and lengths[6:].max() == 0
    others = np.delete(moved, WRIST, axis=1)
    assert others.max() == 0 and others.min() == 0
    assert of_person(after, FIRST, "edited")[0, WRIST]
    assert (of_person(after, FIRST, "scores") == of_person(PoseSequence.load(clip), FIRST, "scores")).all()


def test_nothing_follows_with_a_range_of_zero(review, clip):
    review.page.fill("#spread", "0")
    review.page.press("#spread", "Enter")
    review.page.click("#stage", position={"x": 3, "y": 3})
    review.press("ArrowRight", "ArrowRight")
    review.drag(review.at(2, SECOND, WRIST), -20, 10)
    before, after = of_person(PoseSequence.load(clip), SECOND), of_person(review.saved(clip), SECOND)
    changed = np.argwhere((before != after) & ~np.isnan(before))
    assert changed.tolist() == [[2, WRIST, 0], [2, WRIST, 1]]


def test_ids_are_exchanged_over_a_marked_range(review, clip):
    before = PoseSequence.load(clip)
    review.press(*["ArrowRight"] * 5, "i", *["ArrowRight"] * 10, "o")
    assert review.ask("range") == [5, 15]
    review.page.click('[data-testid="person-4"]')
    review.click("#exchange-ids")
    after = review.saved(clip)
    first, second = of_person(before, FIRST), of_person(before, SECOND)
    first[5:16], second[5:16] = second[5:16].copy(), first[5:16].copy()
    np.testing.assert_array_equal(of_person(after, FIRST), first)
    np.testing.assert_array_equal(of_person(after, SECOND), second)


def test_undo_takes_back_and_a_reload_keeps(review, clip):
    review.drag(review.at(0, FIRST, WRIST), 25, 0)
    corrected = review.at(0, FIRST, WRIST)
    review.drag(review.at(0, FIRST, 10), 0, 25)
    review.press("Control+z")
    assert review.page.is_enabled("#redo")
    review.open()
    assert review.at(0, FIRST, WRIST) == pytest.approx(corrected, abs=0.05)
    before = of_person(PoseSequence.load(clip), FIRST)
    after = of_person(review.saved(clip), FIRST)
    np.testing.assert_array_equal(after[:, 10], before[:, 10])
    assert (after[0, WRIST] != before[0, WRIST]).any()


def test_an_absent_point_is_placed_with_a_click_and_deleted_again(review, clip):
    review.click('[data-testid="person-9"]')
    review.page.click('[data-testid="absent-left_ear"]')
    assert "Click" in review.hint()
    x, y = review.at(0, SECOND, 0)
    review.page.mouse.click(x + 12, y + 7)
    review.settle()
    placed = of_person(review.saved(clip), SECOND)
    nose = of_person(PoseSequence.load(clip), SECOND)[0, 0]
    assert placed[0, 3] == pytest.approx(nose + np.array([12, 7]) / review.ask("scale"), abs=0.02)
    review.press("Delete")
    assert np.isnan(of_person(review.saved(clip), SECOND)[0, 3]).all()


def test_keys_nudge_the_point_by_whole_pixels(review, clip):
    review.click('[data-testid="person-4"]')
    review.press("]", "Alt+ArrowRight", "Alt+ArrowRight", "Alt+ArrowUp")
    moved = of_person(review.saved(clip), FIRST)[0, 0] - of_person(PoseSequence.load(clip), FIRST)[0, 0]
    assert moved == pytest.approx([2, -1], abs=0.01)


def free_limb(points: np.ndarray) -> tuple[int, int]:
    """The limb whose middle is the farthest from all points (K, 2)."""
    distances = {(a, b): np.linalg.norm(points - (points[a] + points[b]) / 2, axis=-1).min() for a, b in COCO_17.links}
    return max(distances, key=lambda link: distances[link])


def test_a_limb_moves_both_its_ends(review, clip):
    before = of_person(PoseSequence.load(clip), FIRST)[0]
    limb = free_limb(before)
    (ax, ay), (bx, by) = (review.at(0, FIRST, end) for end in limb)
    review.click('[data-testid="person-4"]')
    review.drag(((ax + bx) / 2, (ay + by) / 2), 15, 15)
    moved = of_person(review.saved(clip), FIRST)[0] - before
    assert np.flatnonzero(np.abs(moved).max(axis=-1)).tolist() == sorted(limb)
    assert moved[list(limb)] == pytest.approx(np.full((2, 2), 15 / review.ask("scale")), abs=0.01)


def test_an_error_is_a_sentence_that_stays_until_it_is_closed(review):
    review.press("Control+Shift+s")
    review.page.fill("#ask-value", "../elsewhere")
    review.page.click("#ask-ok")
    review.until(lambda: review.page.is_visible("#errors"))
    assert "elsewhere" in review.page.text_content("#error-text")
    review.click("#error-close")
    assert not review.page.is_visible("#errors")
    assert review.problems and all("400" in problem for problem in review.problems)  # the browser's own note of it
    review.problems.clear()


LEFT_HAND = list(range(91, 112))


@pytest.fixture
def whole_body(tmp_path: Path, browser: Any) -> Iterator[ReviewPage]:
    """One drawn person with hands, without a right hand; no pictures."""
    person(tmp_path / "clip.pose.npz")
    with opened(browser, tmp_path / "clip.pose.npz") as page:
        yield page


def person(path: Path) -> None:
    """Write three frames of a person of 133 points on a grid, whose left hand is a small cluster of its own."""
    places = np.stack(np.meshgrid(np.arange(14) * 16 + 20, np.arange(10) * 16 + 20), -1).reshape(-1, 2)[:133]
    keypoints = np.tile(places.astype(np.float32), (3, 1, 1, 1))
    cluster = np.stack(np.meshgrid(np.arange(7) * 2, np.arange(3) * 2), -1).reshape(-1, 2)
    keypoints[:, :, LEFT_HAND] = cluster + [280, 200]
    keypoints[:, :, 112:133] = np.nan
    boxes = np.tile(np.array([10, 10, 310, 230, 1], np.float32), (3, 1, 1))
    PoseSequence(
        keypoints, np.full((3, 1, 133), 0.9), boxes, np.zeros((3, 1)), np.arange(3), np.arange(3) / 25, (320, 240),
        Fraction(25), "coco_wholebody_133",
    ).save(path)  # fmt: skip


def test_a_closed_hand_moves_as_one(whole_body, tmp_path):
    review = whole_body
    before = PoseSequence.load(tmp_path / "clip.pose.npz").keypoints[0, 0]
    review.click('[data-testid="person-0"]')
    box = review.page.locator('.handle[data-part="left_hand"]').bounding_box()
    review.drag((box["x"] + box["width"] / 2, box["y"] + box["height"] / 2), -12, -24)
    moved = review.saved(tmp_path / "clip.pose.npz").keypoints[0, 0] - before
    assert moved[LEFT_HAND] == pytest.approx(np.tile(np.array([-12, -24]) / review.ask("scale"), (21, 1)), abs=0.02)
    assert np.nanmax(np.abs(np.delete(moved, LEFT_HAND, axis=0))) == 0


def test_an_absent_hand_is_placed_whole(whole_body, tmp_path):
    review = whole_body
    review.click('[data-testid="person-0"]')
    review.page.click('[data-testid="absent-right_hand"]')
    stage = review.page.locator("#stage").bounding_box()
    review.page.mouse.click(stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2)
    review.settle()
    hand = review.saved(tmp_path / "clip.pose.npz").keypoints[0, 0, 112:133]
    assert np.isfinite(hand).all()
    assert hand[0] == pytest.approx([160, 120], abs=0.5)  # the root is where the click was
