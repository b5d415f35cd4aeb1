"""The page as a whole in a real browser: what to check next, hints, layout, names that are no text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from review_clips import FIRST, SECOND, of_person, two_people
from review_page import opened

from sdpose_core.sequences.distrust import REASONS

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WRIST = 9


def test_next_to_check_leads_to_the_worst_and_yes_takes_it_off_the_list(tmp_path, browser):
    sequence = two_people()
    distrust = np.full(sequence.scores.shape, 0.05, np.float32)
    for t, track_id, value in ((2, FIRST, 0.7), (3, FIRST, 0.6), (30, SECOND, 0.9)):
        distrust[t, sequence.track_ids[t].tolist().index(track_id), [7, WRIST]] = value
    replace(sequence, distrust=distrust, distrust_reasons=np.ones(distrust.shape)).save(tmp_path / "clip.pose.npz")
    with opened(browser, tmp_path / "clip.pose.npz") as review:
        page = review.page
        review.until(lambda: page.text_content("#worst-total") == "2")  # one for a person and second
        review.press("n")
        assert (review.ask("frame"), review.ask("person")) == (30, SECOND)
        assert "left wrist" in page.text_content("#reason-card")
        review.press("y")
        review.until(lambda: page.text_content("#worst-total") == "1")
        review.until(lambda: (review.ask("frame"), review.ask("person")) == (2, FIRST))
        review.press("y")
        review.until(lambda: page.is_visible("#worst-empty"))


def mixed_up(path: Path) -> None:
    """Write `two_people` with ids exchanged in frames 10 to 14 and a wrist that jumps in frame 30, both distrusted."""
    sequence = two_people()
    ids, keypoints = sequence.track_ids.copy(), sequence.keypoints.copy()
    ids[10:15] = np.where(ids[10:15] == FIRST, SECOND, FIRST)
    slot = ids[30].tolist().index(FIRST)
    keypoints[30, slot, WRIST] += [40, -30]
    distrust, reasons = np.full(sequence.scores.shape, 0.05), np.zeros(sequence.scores.shape, np.uint16)
    distrust[14, ids[14].tolist().index(FIRST)], reasons[14] = 0.95, 1 << REASONS.index("identity")
    distrust[30, slot, WRIST], reasons[30, slot, WRIST] = 0.9, 1 << REASONS.index("jump")
    replace(
        sequence, track_ids=ids, keypoints=keypoints, distrust=distrust, distrust_reasons=reasons,
    ).save(path)  # fmt: skip


def test_the_hints_alone_lead_through_mixed_up_ids_and_a_wrong_wrist(tmp_path, browser):
    clip = tmp_path / "clip.pose.npz"
    mixed_up(clip)
    with opened(browser, clip) as review:
        page = review.page
        review.until(lambda: page.text_content("#worst-total") == "2")
        assert "Press N" in review.hint()
        review.press("n")
        assert all(word in review.hint() for word in ("Press I", "O at the last", "Who is who", "Swap people"))
        review.press("o", *["ArrowLeft"] * 4, "i")
        assert review.ask("range") == [10, 14] and "frames 10–14" in review.hint()
        review.click("#exchange-ids")
        review.press("Escape", "n")
        review.until(lambda: review.ask("frame") == 30)
        assert "Drag what is wrong" in review.hint() and "left wrist" in page.text_content("#reason-card")
        page.wait_for_timeout(100)
        scale = review.ask("scale")
        review.drag(review.at(30, FIRST, WRIST), -40 * scale, 30 * scale)
        after, truth = review.saved(clip), two_people()
        for person in (FIRST, SECOND):
            np.testing.assert_allclose(of_person(after, person), of_person(truth, person), atol=0.02)


def test_a_name_with_markup_is_shown_as_text(tmp_path, browser):
    name = "<img src=x onerror=document.title=1>.pose.npz"
    two_people().save(tmp_path / name)
    with opened(browser, tmp_path / name) as review:
        page = review.page
        assert page.text_content("#clip-name") == name.removesuffix(".pose.npz")
        assert page.locator("img").count() == 0 and page.title() != "1"


@pytest.mark.parametrize("size", [(1000, 650), (1366, 768), (2560, 1440)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("query", ["?lang=en&theme=light", "?lang=zh&theme=dark"])
def test_every_control_of_the_bars_is_inside_the_window(tmp_path, browser, size, query):
    two_people().save(tmp_path / "clip.pose.npz")
    with opened(browser, tmp_path / "clip.pose.npz", query, size) as review:
        page = review.page
        for control in page.locator("#top-bar button, #transport button, #zoom-tools button, #hint").all():
            if control.is_visible():
                box = control.bounding_box()
                assert box["x"] >= 0 and box["x"] + box["width"] <= size[0], control.get_attribute("id")
                assert box["y"] >= 0 and box["y"] + box["height"] <= size[1], control.get_attribute("id")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= size[0]
        assert page.get_attribute("html", "lang") == ("zh-CN" if "zh" in query else "en")
