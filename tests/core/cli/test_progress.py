"""The bar of `sdpose image`: moves with the crops of a chunk, says what is done, and stays quiet in a log file."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from sdpose_core.cli.progress import PictureBar, progress_bar


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
def test_the_bar_moves_within_a_chunk_and_says_what_is_done(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    stream = Stream(True, encoding)
    monkeypatch.setattr(sys, "stderr", stream)
    with PictureBar(8) as bar:
        bar.doing("loading the model")
        bar.doing("finding people")
        for done in range(1, 17):
            bar.crops_done(done, 16, 8)
    text = stream.text()
    assert all(word in text for word in ("loading the model", "finding people", "poses, crop 9 of 16", "4/8", "8/8"))


def test_in_a_log_file_there_are_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(False, "utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    with PictureBar(100) as bar:
        for _ in range(100):
            bar.doing("finding people")
            bar.crops_done(1, 1, 1)
            bar.finish_one()
    assert stream.text().count("\r") <= 3
    assert "100/100" in stream.text()


@pytest.mark.parametrize("people", [[0, 0, 0, 0], [1, 0, 3, 0], [9, 9, 9, 9]])
def test_every_picture_is_counted_once(monkeypatch: pytest.MonkeyPatch, people: list[int]) -> None:
    stream = Stream(False, "utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    with PictureBar(4) as bar:
        for done in range(int(np.sum(people))):
            bar.crops_done(done + 1, sum(people), 4)
        for _ in people:
            bar.finish_one()
    assert "4/4" in stream.text()


def test_one_picture_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(True, "utf-8")
    monkeypatch.setattr(sys, "stderr", stream)
    with PictureBar(1) as bar:
        bar.doing("loading the model")
        bar.crops_done(1, 1, 1)
        bar.finish_one()
    assert stream.text() == ""


def test_a_bar_of_unknown_length(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(False, "cp437")
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(None, "step", "training") as bar:
        bar.update(3)
    assert "training: 3step" in stream.text()
