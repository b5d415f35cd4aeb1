"""The page without a mouse: points placed, boxes drawn, whole parts moved; and texts that depend on what is served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from review_clips import FIRST, SECOND, of_person, two_people
from review_page import ReviewPage, opened, opened_doubted, served

from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.review.pictures import Pictures

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EAR, WRIST = 3, 9
ARM = [5, 7, 9]
RIGHT_HAND = list(range(112, 133))


@contextmanager
def estimating(browser: Any, folder: Path) -> Iterator[tuple[ReviewPage, list[list[float]]]]:
    """The page with `two_people` over gray pictures, and the boxes that an estimator was asked for."""
    two_people().save(folder / "clip.pose.npz")
    asked: list[list[float]] = []

    def estimate(image: np.ndarray, boxes: np.ndarray) -> Poses:
        asked.extend(boxes[:, :4].tolist())
        return Poses(np.full((1, 17, 2), 33.0), np.full((1, 17), 0.7), boxes, (320, 240), "coco_17")

    with served(folder / "clip.pose.npz", estimate) as (address, session):
        session.pictures = Pictures(lambda t: np.full((240, 320, 3), 99, np.uint8), 40)
        page = browser.new_page(viewport={"width": 1366, "height": 768}, locale="en-US")
        review = ReviewPage(page, address)
        review.open()
        yield review, asked
        page.close()
        assert not review.problems, review.problems


def status(review: ReviewPage) -> str:
    return review.page.text_content("#status")


def step(review: ReviewPage) -> float:
    """Source pixels of an arrow key."""
    return 10 / review.ask("scale")


def test_a_missing_point_is_placed_without_a_mouse(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {}) as review:
        review.press("Tab", "Tab")
        assert review.ask("person") == SECOND
        review.press("F6")
        focused = "() => document.activeElement.dataset.testid ?? ''"
        for _ in range(60):
            review.press("Tab")
            if review.page.evaluate(focused) == "absent-left_ear":
                break
        review.press("Enter")
        assert "arrow keys" in review.hint() and review.page.locator("#overlay .cross").count() == 1
        assert review.ask("aim") == pytest.approx([160, 120])
        moved = 2 * step(review)
        review.press("ArrowRight", "ArrowRight", "Alt+ArrowDown", "Enter")
        assert review.ask("frame") == 0 and review.page.locator("#overlay .cross").count() == 0
        placed = of_person(review.saved(tmp_path / "clip.pose.npz"), SECOND)
        assert placed[0, EAR] == pytest.approx([160 + moved, 121], abs=0.02)


def test_tab_goes_on_from_a_control_that_was_disabled_under_it(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {}) as review:
        held: list[Any] = []
        review.page.route("**/api/worst*", lambda route: held.append(route))
        review.page.reload()
        review.settle()
        review.press("Tab", "F6", "Tab")
        focused = "() => document.activeElement.id || document.activeElement.dataset.testid"
        assert review.page.evaluate(focused) == "looks-right"
        person = review.ask("person")
        review.until(lambda: bool(held))
        held[0].continue_()  # nothing is doubted: there is nothing to confirm
        review.until(lambda: not review.page.is_enabled("#looks-right"))
        review.until(lambda: review.page.evaluate("() => document.activeElement === document.body"))
        review.press("Tab")
        assert review.page.evaluate(focused) == f"person-{FIRST}" and review.ask("person") == person


def test_escape_places_nothing(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {}) as review:
        review.press("Tab", "Tab")
        review.page.locator('[data-testid="absent-left_ear"]').press("Enter")
        review.press("ArrowRight", "Escape")
        assert review.ask("aim") is None and not review.page.is_enabled("#undo")
        review.press("ArrowRight")
        assert review.ask("frame") == 1


def test_the_persons_own_box_is_taken_with_enter(tmp_path, browser):
    with estimating(browser, tmp_path) as (review, asked):
        review.press("g")
        assert "Select a person" in status(review)
        review.press("Tab", "g")
        assert "Press Enter" in review.hint() and review.page.locator("#overlay .drawn-box").count() == 1
        review.press("Enter")
        review.until(lambda: "Estimated again" in status(review))
        clip = PoseSequence.load(tmp_path / "clip.pose.npz")
        x1, y1, x2, y2 = clip.boxes[0, 0, :4]
        more = [(x2 - x1) * 0.05, (y2 - y1) * 0.05]
        expected = np.clip([x1 - more[0], y1 - more[1], x2 + more[0], y2 + more[1]], 0, [320, 240, 320, 240])
        assert asked == [pytest.approx(expected, abs=0.1)]
        assert (of_person(review.saved(tmp_path / "clip.pose.npz"), FIRST)[0] == 33).all()


def test_a_box_is_moved_and_resized_with_the_arrow_keys(tmp_path, browser):
    with estimating(browser, tmp_path) as (review, asked):
        review.press("a")
        x1, y1, x2, y2 = review.ask("aim")
        assert [(x1 + x2) / 2, (y1 + y2) / 2] == pytest.approx([160, 120])
        by = step(review)
        review.press("ArrowLeft", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowDown", "Enter")
        review.until(lambda: "Added a person" in status(review))
        assert asked == [pytest.approx([x1 - by, y1 - by, x2 + by, y2], abs=0.1)]
        assert review.ask("person") == 10


def test_the_whole_limb_of_a_point_moves_with_the_keys(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {}) as review:
        before = of_person(two_people(), FIRST)[0]
        review.press("Tab", "h")
        assert "Select a point" in status(review)
        review.press(*["]"] * (WRIST + 1), "h")
        assert review.ask("part") == "left_arm" and "Alt+arrow" in review.hint()
        assert review.page.locator("#overlay .part-box").count() == 1
        review.press("Alt+ArrowRight", "Alt+ArrowRight", "Alt+ArrowUp")
        assert "Moved left arm in frame 0" in status(review)
        moved = of_person(review.saved(tmp_path / "clip.pose.npz"), FIRST)[0] - before
        assert moved[ARM] == pytest.approx(np.tile([2, -1], (3, 1)), abs=0.02)
        assert np.abs(np.delete(moved, ARM, axis=0)).max() == 0


def test_the_whole_hand_and_then_the_arm_are_selected(tmp_path, browser):
    clip = tmp_path / "clip.pose.npz"
    before = two_people(points=133, keypoint_set="coco_wholebody_133")
    before.save(clip)
    with opened(browser, clip) as review:
        review.press("Tab", "[", "h")
        assert review.ask("part") == "right_hand"
        review.press("Alt+ArrowDown")
        moved = of_person(review.saved(clip), FIRST)[0] - of_person(before, FIRST)[0]
        assert np.flatnonzero(np.abs(moved).max(axis=-1)).tolist() == RIGHT_HAND
        review.press("h")
        assert review.ask("part") == "right_arm" and "24 points" in review.page.text_content("#point-facts")


def test_a_hand_is_turned_and_resized_with_keys(tmp_path, browser):
    clip = tmp_path / "clip.pose.npz"
    before = two_people(points=133, keypoint_set="coco_wholebody_133")
    before.save(clip)
    with opened(browser, clip) as review:
        review.press("Tab", "[", ".")
        assert "press H" in status(review)
        review.press("h", ".", ".", ",", ">")
        after = of_person(review.saved(clip), FIRST)[0]
    start = of_person(before, FIRST)[0]
    arms = start[RIGHT_HAND] - start[RIGHT_HAND[0]]
    angle = np.deg2rad(2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert after[RIGHT_HAND] == pytest.approx(start[RIGHT_HAND[0]] + 1.02 * arms @ turn, abs=0.02)
    assert np.delete(after, RIGHT_HAND, axis=0) == pytest.approx(np.delete(start, RIGHT_HAND, axis=0), abs=0.001)


def test_another_frame_ends_placing_and_keeps_a_box(tmp_path, browser):
    with estimating(browser, tmp_path) as (review, asked):
        review.press("Tab", "Tab")
        review.page.locator('[data-testid="absent-left_ear"]').press("Enter")
        review.press("End")
        assert review.ask("aim") is None and review.ask("frame") == 39
        review.press("a", "Home", "Enter")
        review.until(lambda: "Added a person" in status(review))
        assert review.ask("people")[-1]["first"] == 0 and len(asked) == 1


def test_after_a_repair_the_hint_leads_to_the_next_frame(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {(2, FIRST): 0.9, (30, SECOND): 0.6}) as review:
        review.until(lambda: review.page.text_content("#worst-total") == "2")
        review.press("n")
        review.until(lambda: review.ask("frame") == 2 and "press N" not in review.hint())
        review.press("Delete")
        review.until(lambda: "press N for the next" in review.hint())
        review.press("ArrowRight")
        assert "press N" not in review.hint()


def test_yes_marks_no_range_of_a_person_whom_the_list_selected(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {(2, FIRST): 0.9}) as review:
        review.until(lambda: review.page.text_content("#worst-total") == "1")
        review.press("n", "y")
        review.until(lambda: "Press Ctrl+S to save" in status(review))
        version = review.ask("version")
        review.press("i", "ArrowRight", "o", "y")
        assert review.ask("version") == version and "Select a person" in status(review)
        review.press("Tab", "y")
        review.until(lambda: review.ask("version") > version)


def test_the_page_names_the_model_and_speaks_of_what_serves_it(tmp_path, browser):
    replace(two_people(), meta={"source": "clip.mp4", "model": "a model"}).save(tmp_path / "clip.pose.npz")
    with opened(browser, tmp_path / "clip.pose.npz") as review:
        page = review.page
        assert page.text_content("#clip-facts").endswith("40 frames, poses from a model")
        assert ".pose.npz" in page.get_attribute("#kept", "title")

        def inside(route: Any) -> None:
            answer = route.fetch()
            route.fulfill(response=answer, json={**answer.json(), "in_comfy": True, "can_save": False})

        page.route("**/api/clip", inside)
        review.open()
        assert "ComfyUI's user folder" in page.get_attribute("#kept", "title")
        page.route("**/api/edit", lambda route: route.abort())
        review.press("Tab", "x")
        review.until(lambda: page.is_visible("#errors"))
        text = page.text_content("#error-text")
        assert text.startswith("ComfyUI does not answer") and "sdpose review" not in text
        review.problems.clear()  # the browser's own note of it
