"""The bar of `sdpose image`: moves with the crops of a chunk, says what is done, and stays quiet in a log file."""

from __future__ import annotations

import io
import re
import sys
import time

import numpy as np
import pytest

from sdpose_core.cli import progress
from sdpose_core.cli.arguments import say
from sdpose_core.cli.progress import Bar, Moment, PictureBar, progress_bar


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars that do not wait to see whether the work takes long."""
    monkeypatch.setattr(progress, "BLINK", 0.0)
    monkeypatch.setattr(progress, "FIRST_LOG_SECONDS", 0.0)


class Stream(io.TextIOWrapper):
    """A stderr in an encoding, in a terminal or not."""

    def __init__(self, terminal: bool, encoding: str) -> None:
        self.terminal, self.bytes = terminal, io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return self.terminal

    def text(self) -> str:
        return self.bytes.getvalue().decode(self.encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_the_bar_moves_within_a_chunk_and_says_what_is_done(
    monkeypatch: pytest.MonkeyPatch, encoding: str, at_once: None
) -> None:
    stream = Stream(True, encoding)
    monkeypatch.setattr(sys, "stderr", stream)
    with PictureBar(8) as bar:
        bar.doing("loading the model")
        bar.doing("finding people")
        for done in range(17):
            bar.crops_done(done, 16, 8)
    text = stream.text()
    assert all(word in text for word in ("loading the model", "finding people", "person 9 of 16", "4/8", "8/8"))


def test_in_a_log_file_there_are_few_lines(monkeypatch: pytest.MonkeyPatch, at_once: None) -> None:
    stream = Stream(False, "utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    with PictureBar(100) as bar:
        for _ in range(100):
            bar.doing("finding people")
            bar.crops_done(1, 1, 1)
            bar.finish_one()
    assert stream.text().count("\r") <= 3
    assert "100/100" in stream.text()


def test_messages_do_not_repeat_the_bar_in_a_log_file(monkeypatch: pytest.MonkeyPatch, at_once: None) -> None:
    stream = Stream(False, "utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    with PictureBar(100) as bar:
        for number in range(100):
            bar.crops_done(1, 1, 1)
            say(f"{number}.png: done")
            bar.finish_one()
    lines = stream.text().splitlines()
    states = [line for line in lines if "picture" in line]
    assert len(states) <= 3 and "\r" not in stream.text()
    assert [line for line in lines if line not in states] == [f"{number}.png: done" for number in range(100)]


def test_the_rate_counts_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(False, "utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "FIRST_LOG_SECONDS", 0.2)
    with PictureBar(100) as bar:
        time.sleep(0.25)
        for _ in range(50):
            bar.finish_one()
    rates = [float(rate) for rate in re.findall(r"([\d.]+)picture/s", stream.text())]
    assert rates and max(rates) <= 50 / 0.25
    assert " 0/100" not in stream.text()


@pytest.mark.parametrize("people", [[0, 0, 0, 0], [1, 0, 3, 0], [9, 9, 9, 9]])
def test_every_picture_is_counted_once(monkeypatch: pytest.MonkeyPatch, people: list[int], at_once: None) -> None:
    stream = Stream(False, "utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    with PictureBar(4) as bar:
        for done in range(int(np.sum(people))):
            bar.crops_done(done + 1, sum(people), 4)
        for _ in people:
            bar.finish_one()
    assert "4/4" in stream.text()


@pytest.mark.parametrize("pictures", [1, 3])
@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_done_at_once_has_no_bar(monkeypatch: pytest.MonkeyPatch, pictures: int, terminal: bool) -> None:
    stream = Stream(terminal, "utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    with PictureBar(pictures) as bar:
        bar.doing("loading the model")
        bar.crops_done(0, 5, pictures)
        bar.crops_done(5, 5, pictures)
        bar.finish_one()
    assert stream.text() == ""


def test_a_single_picture_counts_its_people(monkeypatch: pytest.MonkeyPatch, at_once: None) -> None:
    stream = Stream(True, "utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    with PictureBar(1) as bar:
        bar.doing("loading the model")
        for done in range(6):
            bar.crops_done(done, 5, 1)
            time.sleep(0.02)
        bar.finish_one()
    shown = [line.strip() for line in re.split("[\r\n]", stream.text()) if line.strip()]
    assert shown[0] == "loading the model [00:00]"
    first = next(line for line in shown if "person" in line)
    assert first.startswith("person 1 of 5:   0%") and "0/5" in first
    second = next(line for line in shown if "person 2 of 5" in line)
    assert re.search(r"1/5 \[00:00<00:0\d", second), f"no time left in {second}"
    assert "5/5" in shown[-1]


def test_a_terminal_is_told_that_time_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(True, "utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "BLINK", 0.05)
    monkeypatch.setattr(progress, "TICK", 0.02)
    with PictureBar(1) as bar:
        bar.crops_done(0, 5, 1)
        assert stream.text() == ""
        deadline = time.monotonic() + 5
        while "person 1 of 5" not in stream.text() and time.monotonic() < deadline:
            time.sleep(0.02)
    assert "person 1 of 5" in stream.text()


def test_a_stage_that_is_done_at_once_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(True, "utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    with Bar() as bar:
        for what in ("poses", "drawing"):
            for done in range(3):
                bar.shows(what)(done, 2)
    assert stream.text() == ""


def test_a_stage_that_is_resumed_counts_on(monkeypatch: pytest.MonkeyPatch, at_once: None) -> None:
    stream = Stream(True, "utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    with Bar() as bar:
        for what in ("poses", "drawing"):
            for done in range(8, 11):
                bar.shows(what)(done, 10)
    assert stream.text().count("\n") == 2
    for what in ("poses", "drawing"):
        assert re.search(rf"{what}:  80%.* 8/10 ", stream.text())
        assert re.search(rf"{what}: 100%.* 10/10 ", stream.text())


def test_a_slow_frame_shows_its_people(monkeypatch: pytest.MonkeyPatch, at_once: None) -> None:
    stream = Stream(True, "utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    with Bar() as bar:
        bar.shows("poses")(0, 2)
        monkeypatch.setattr(progress, "BLINK", 60)
        bar.show_crops(0, 3)
        assert "person" not in stream.text()
        monkeypatch.setattr(progress, "BLINK", -1)
        bar.show_crops(1, 3)
        assert "0/2" in stream.text() and "person 2 of 3" in stream.text()
        bar.shows("poses")(2, 2)
    assert "person" not in re.split("[\r\n]", stream.text().strip())[-1]


def test_a_clip_elsewhere_says_what_is_done_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    moment = Moment("a/b.mp4", said.append)
    for number in range(100):
        moment.frames(number, 300)
        moment.crops(1, 5)
        now += 0.125
    assert said[:2] == ["a/b.mp4: frame 0 of 300", "a/b.mp4: frame 8 of 300"] and len(said) == 13
    now += 60
    moment.crops(2, 5)
    assert said[-1] == "a/b.mp4: frame 99 of 300, person 3 of 5"
    Moment("x" * 300 + ".mp4", said.append).frames(7, None)
    assert said[-1] == f"...{'x' * 33}.mp4: frame 7"


def test_a_bar_of_unknown_length(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(False, "cp437")
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(None, "step", "training") as bar:
        bar.update(3)
    assert "training: 3step" in stream.text()


def test_lines_of_a_log_file_come_soon_and_then_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, now, seen = Stream(False, "utf-8"), 0.0, []
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(300, "step") as bar:
        bar._time = lambda: now
        bar.start_t = bar.last_print_t = 0.0
        for second in range(1, 301):
            now, before = float(second), len(stream.text())
            bar.update()
            seen += [second] if len(stream.text()) > before else []
    assert seen[0] <= 3 and seen[1] <= 8 and len(seen) <= 15
    pauses = np.diff(seen)
    assert (np.diff(pauses) >= 0).all() and 25 < pauses[-1] <= 31
