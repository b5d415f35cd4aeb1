"""What of a frame the page shows: people and points brought into view, names, rows of the timeline."""

from __future__ import annotations

from dataclasses import replace

import pytest
from review_clips import crowd, two_people
from review_page import opened, opened_doubted

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WRIST = 9
FIRST = 4
"""An id of `two_people`."""


def test_an_item_of_the_list_brings_its_points_on_the_screen(tmp_path, browser):
    doubts = {(t, FIRST): 0.9 - t / 100 for t in range(0, 40, 13)}
    with opened_doubted(browser, tmp_path, doubts, slice(0, 3)) as review:
        review.until(lambda: review.page.locator("#worst-list button").count() == 2)
        stage = review.page.locator("#stage").bounding_box()
        for number, t in ((1, 26), (0, 0)):
            for _ in range(12):
                review.page.click("#zoom-in")
            review.page.locator("#worst-list button").nth(number).click()
            review.until(lambda t=t: review.ask("frame") == t)
            review.settle()
            for point in range(3):
                x, y = review.at(t, FIRST, point)
                assert stage["x"] < x < stage["x"] + stage["width"] and stage["y"] < y < stage["y"] + stage["height"]


def test_the_row_of_the_selected_person_comes_into_view(tmp_path, browser):
    crowd(12).save(tmp_path / "clip.pose.npz")
    with opened(browser, tmp_path / "clip.pose.npz") as review:
        page = review.page
        review.until(lambda: page.is_visible("#rows-more"))
        height = page.locator("#timeline").bounding_box()["height"]
        review.click('[data-testid="person-11"]')
        review.until(lambda: page.evaluate("() => document.getElementById('rows').scrollTop") > 0)
        review.until(lambda: not page.is_visible("#rows-more"))
        divider = page.locator("#divider").bounding_box()
        review.drag((divider["x"] + 300, divider["y"] + 3), 0, -60)
        assert page.locator("#timeline").bounding_box()["height"] == pytest.approx(height + 60, abs=2)
        review.open()
        assert page.locator("#timeline").bounding_box()["height"] == pytest.approx(height + 60, abs=2)


def test_names_of_people_close_together_stand_apart_on_the_stage(tmp_path, browser):
    crowd(8).save(tmp_path / "clip.pose.npz")
    with opened(browser, tmp_path / "clip.pose.npz") as review:
        stage = review.page.locator("#stage").bounding_box()
        boxes = [name.bounding_box() for name in review.page.locator("#overlay .name").all()]
        assert len(boxes) == 8
        for i, a in enumerate(boxes):
            assert stage["x"] <= a["x"] and a["x"] + a["width"] <= stage["x"] + stage["width"]
            for b in boxes[:i]:
                across = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
                down = min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"])
                assert across <= 0 or down < 5


def test_a_smaller_window_shows_the_same_points(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {(2, FIRST): 0.9}) as review:
        review.until(lambda: review.page.text_content("#worst-total") == "1")
        review.press("n")
        review.page.set_viewport_size({"width": 1000, "height": 620})
        review.page.wait_for_timeout(100)
        stage = review.page.locator("#stage").bounding_box()
        x, y = review.at(2, FIRST, WRIST)
        assert x == pytest.approx(stage["x"] + stage["width"] / 2, abs=3)
        assert stage["y"] < y < stage["y"] + stage["height"]


def test_a_person_as_large_as_the_frame_is_not_shown_smaller_than_it(tmp_path, browser):
    sequence = two_people()
    boxes = sequence.boxes.copy()
    boxes[sequence.track_ids == FIRST, :4] = [4, 4, 316, 236]
    replace(sequence, boxes=boxes).save(tmp_path / "clip.pose.npz")
    with opened(browser, tmp_path / "clip.pose.npz") as review:
        whole = review.ask("scale")
        review.click('[data-testid="person-4"]')
        for _ in range(3):
            review.page.click("#zoom-in")
        review.press("f")
        assert review.ask("scale") >= whole
