"""The page as a newcomer walks through it: what a key does next, what is offered, what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from review_clips import FIRST, SECOND, two_people
from review_page import ReviewPage, opened, opened_doubted

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WRIST = 9


def status(review: ReviewPage) -> str:
    return review.page.text_content("#status")


def test_after_a_repair_the_next_fault_of_the_same_second_comes_next(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {(2, FIRST): 0.9, (8, FIRST): 0.8, (30, SECOND): 0.6}) as review:
        review.until(lambda: review.page.text_content("#worst-total") == "2")
        review.press("n")
        review.until(lambda: review.ask("frame") == 2 and review.page.is_visible("#reason-card"))
        review.press("Delete")
        assert not review.page.is_visible("#reason-card")  # it is repaired
        assert "frame 2" in status(review)
        review.press("n")
        review.until(lambda: review.ask("frame") == 8)
        assert review.ask("person") == FIRST and "80%" in review.page.text_content("#reason-card")
        review.press("n")
        review.until(lambda: review.ask("frame") == 30)


def test_yes_stops_where_nothing_is_left(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {(2, FIRST): 0.9}) as review:
        review.until(lambda: review.page.text_content("#worst-total") == "1")
        review.press("n", "y")
        review.until(lambda: "Press Ctrl+S to save" in status(review))
        version = review.ask("version")
        review.press("y")
        review.press("Tab", "y")
        assert review.ask("version") == version and not review.page.is_enabled("#looks-right")


def test_a_person_whose_making_was_undone_is_left(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {}) as review:
        review.click('[data-testid="person-4"]')
        review.press("ArrowRight", "b")
        made = review.ask("person")
        assert made == 10 and status(review) == "From frame 1 on, Person 4 is now Person 10."
        review.press("Control+z")
        assert review.ask("person") is None and not review.page.is_enabled("#exchange-ids")
        version = review.ask("version")
        review.press("e", "x", "Shift+Delete")
        assert review.ask("version") == version and "Select a person" in status(review)


def test_people_are_swapped_only_where_the_selected_one_is(tmp_path, browser):
    sequence = two_people()
    ids = sequence.track_ids.copy()
    ids[:20][ids[:20] == SECOND] = -1
    replace(sequence, track_ids=ids).save(tmp_path / "clip.pose.npz")
    with opened(browser, tmp_path / "clip.pose.npz", "?frame=20") as review:
        review.click('[data-testid="person-9"]')
        assert review.page.is_enabled("#exchange-ids")
        review.press("Home", "i", "ArrowRight", "o")
        buttons = ("#exchange-ids", "#exchange-sides", "#remove", "#split")
        assert not any(review.page.is_enabled(name) for name in buttons)
        review.press("e")
        assert status(review) == "Person 9 is not in frames 0–1."
        assert not review.page.is_enabled("#undo")


def test_a_range_that_is_half_marked_says_what_is_missing(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {}) as review:
        review.press("ArrowRight", "i")
        assert all(word in review.hint() for word in ("range starts", "press O", "end of the clip"))
        review.press("ArrowRight", "o")
        assert review.ask("range") == [1, 2] and "range starts" not in review.hint()
        review.press("Escape", "o")
        assert all(word in review.hint() for word in ("range ends", "press I", "start of the clip"))


def test_errors_go_with_the_next_step_and_leave_the_reason_card_free(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {(2, FIRST): 0.9}) as review:
        page = review.page

        def fail() -> None:
            review.press("Control+Shift+s")
            page.fill("#ask-value", "../elsewhere")
            page.click("#ask-ok")
            review.until(lambda: page.is_visible("#errors"))

        review.until(lambda: page.text_content("#worst-total") == "1")
        review.press("n")
        review.until(lambda: page.is_visible("#reason-card"))
        fail()
        card, error = (page.locator(name).bounding_box() for name in ("#reason-card", "#errors"))
        assert error["y"] >= card["y"] + card["height"]
        review.press("ArrowRight")
        assert not page.is_visible("#errors")
        fail()
        review.press("Delete")
        assert not page.is_visible("#errors") and "Deleted" in status(review)
        assert len(review.problems) == 2 and all("400" in problem for problem in review.problems)
        review.problems.clear()


def test_a_note_fades(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {}) as review:
        review.page.clock.install()
        review.open()
        review.page.clock.run_for(100)
        review.page.keyboard.press("Delete")
        assert "Select a person" in status(review)
        review.page.clock.run_for(20_000)
        assert status(review) == ""


def test_only_who_shares_no_frame_is_offered_for_joining(tmp_path, browser):
    sequence = two_people()
    ids = sequence.track_ids.copy()
    ids[20:][ids[20:] == SECOND] = 30
    replace(sequence, track_ids=ids).save(tmp_path / "clip.pose.npz")
    with opened(browser, tmp_path / "clip.pose.npz") as review:
        page = review.page
        review.click('[data-testid="person-9"]')
        options = "#join-with option"
        review.until(lambda: page.locator(options).all_text_contents() == ["Person 30"])
        review.click('[data-testid="person-4"]')
        review.until(lambda: not page.is_visible("#join"))
        review.click('[data-testid="person-9"]')
        review.press("j")
        review.until(lambda: review.ask("person") == 30)
        assert [person["id"] for person in review.ask("people")] == [4, 30]


def test_a_click_on_a_body_selects_the_person_with_the_smallest_box(tmp_path, browser):
    sequence = two_people()
    ids = sequence.track_ids[0].tolist()
    boxes = sequence.boxes.copy()
    first, second = boxes[0, ids.index(FIRST)], boxes[0, ids.index(SECOND)]
    second[:4] = [first[0] - 10, first[1] - 10, 310, 230]
    replace(sequence, boxes=boxes).save(tmp_path / "clip.pose.npz")
    with opened(browser, tmp_path / "clip.pose.npz") as review:
        for free, who in ((first, FIRST), ([second[2] - 6, second[3] - 6, 0, 0], SECOND)):
            x, y = review.ask(f"toWindow({free[0] + 1}, {free[1] + 1})").values()
            review.page.mouse.click(x, y)
            review.settle()
            assert review.ask("person") == who
        review.page.mouse.click(*review.ask("toWindow(-8, 100)").values())
        assert review.ask("person") is None


def test_a_person_who_jumps_as_a_whole_may_be_mixed_up_with_another(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {(14, FIRST): 0.9}, slice(0, 12)) as review:
        review.until(lambda: review.page.text_content("#worst-total") == "1")
        review.press("n")
        by_key = review.hint()
        assert "Two people mixed up?" in by_key
        review.press("Home", "Escape", "Escape")
        review.click("#worst-list button")
        assert review.ask("frame") == 14 and review.hint() == by_key


def test_what_is_said_of_a_correction_is_what_happened(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {}) as review:
        review.press("ArrowRight", "ArrowRight")
        review.drag(review.at(2, FIRST, WRIST), 20, 0)
        assert status(review) == "Moved left wrist in frame 2; frames 0–7 follow."
        review.press("Escape", *["ArrowRight"] * 10)
        review.drag(review.at(12, FIRST, WRIST), 20, 0)
        assert status(review) == "Moved left wrist in frame 12; 5 frames on each side follow."
        review.press("Control+z")
        assert status(review) == "Undone in frame 12."
        review.press("Control+Shift+z")
        assert status(review) == "Redone in frame 12."
        review.click('[data-testid="person-9"]')
        review.page.click('[data-testid="absent-left_ear"]')
        x, y = review.at(12, SECOND, 0)
        review.page.mouse.click(x + 12, y + 7)
        review.settle()
        assert status(review).startswith("Placed left ear in frame 12")
        review.press("Control+s")
        review.until(lambda: "Draw it: sdpose draw clip_reviewed.pose.npz" in status(review))


def test_ten_pixels_with_shift(tmp_path, browser):
    with opened_doubted(browser, tmp_path, {}) as review:
        before = two_people().keypoints[0, 0, 0]
        review.click('[data-testid="person-4"]')
        review.press("]", "Shift+Alt+ArrowRight", "Alt+ArrowUp")
        saved = review.saved(tmp_path / "clip.pose.npz")
        assert saved.keypoints[0, 0, 0] - before == pytest.approx([10, -1], abs=0.01)
