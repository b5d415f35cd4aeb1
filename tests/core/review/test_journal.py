"""The journal of a review, whatever happened to its file: full disks, editors, other poses, odd names."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from review_clips import two_people

from sdpose_core.errors import InputError
from sdpose_core.poses import PoseSequence
from sdpose_core.review import journal as journal_module
from sdpose_core.review.files import open_review
from sdpose_core.review.journal import Journal

EDITS = [
    {"kind": "move", "t": 10, "id": 4, "points": [9], "to": [[60.5, 70.25]], "spread": 4},
    {"kind": "exchange_ids", "from": 20, "to": 39, "ids": [4, 9]},
]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    two_people().save(tmp_path / "clip.pose.npz")
    return tmp_path / "clip.pose.npz"


def corrected(clip: Path) -> tuple[PoseSequence, Path]:
    """A clip with both edits in its journal."""
    session = open_review(clip)
    for op in EDITS:
        session.edit(op)
    result = session.result()
    session.close()
    return result, session.journal.path


def reopened(clip: Path) -> PoseSequence:
    session = open_review(clip)
    session.close()
    return session.result()


def same_points(a: PoseSequence, b: PoseSequence) -> None:
    np.testing.assert_array_equal(a.keypoints, b.keypoints)
    np.testing.assert_array_equal(a.track_ids, b.track_ids)


def test_a_disk_that_fills_up_within_a_line_leaves_no_part_of_it(tmp_path):
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")
    journal = Journal(tmp_path / "a.review.jsonl", {})
    journal.add(op={"kind": "check"})
    content = journal.path.read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + 50, limits[1]))
    try:
        with pytest.raises(InputError, match="cannot write"):
            journal.add(op={"kind": "x" * 80})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert journal.path.read_bytes() == content
    journal.add(undo=True)
    journal.close()
    assert Journal(journal.path, {}).entries == [{"op": {"kind": "check"}}, {"undo": True}]


@pytest.mark.parametrize("change", [lambda text: text[:-1], lambda text: text.replace(b"\n", b"\r\n") + b"\r\n\r\n"])
def test_what_an_editor_does_to_line_ends_loses_no_edit(clip, change):
    expected, path = corrected(clip)
    path.write_bytes(change(path.read_bytes()))
    same_points(reopened(clip), expected)
    session = open_review(clip)
    session.edit({"kind": "check", "from": 0, "to": 0, "id": 4, "checked": True})
    session.close()
    assert len(open_review(clip).done) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"op":{"kind":"split","t":0,"id":4}}\n', "review.jsonl: move.*correction 3 of 3 cannot be applied.*begins"),
        (b'{"op":[1]}\n', "correction 3 of 3 cannot be applied again.*expected an object"),
        (b"[" * 100_000 + b"\n", "line 4 is damaged"),
    ],
)  # fmt: skip
def test_lines_that_do_not_apply_are_named_with_their_journal(clip, line, message):
    _, path = corrected(clip)
    path.write_bytes(path.read_bytes() + line)
    content = path.read_bytes()
    with pytest.raises(InputError, match=message):
        open_review(clip)
    assert path.read_bytes() == content
    path.unlink()
    open_review(clip).close()  # the lock was freed


def test_a_journal_that_is_no_file_is_an_error_of_one_line(clip):
    clip.with_name("clip.review.jsonl").mkdir()
    with pytest.raises(InputError, match="cannot read .*clip.review.jsonl"):
        open_review(clip)


def test_a_journal_removed_while_it_is_open_is_written_again(clip):
    session = open_review(clip)
    session.edit(EDITS[0])
    session.journal.path.unlink()
    session.edit(EDITS[1])
    session.close()
    same_points(reopened(clip), session.result())


def test_a_journal_without_edits_becomes_that_of_other_poses(clip):
    _, path = corrected(clip)
    path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n")
    replace(two_people(), scores=two_people().scores / 2).save(clip)
    expected, _ = corrected(clip)
    same_points(reopened(clip), expected)


@pytest.mark.skipif(sys.platform != "linux", reason="names of arbitrary bytes are Linux's")
def test_names_that_are_not_unicode_are_reviewed_like_others(tmp_path):
    clip = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.pose.npz"))
    two_people().save(clip)
    expected, path = corrected(clip)
    same_points(reopened(clip), expected)
    assert json.loads(path.read_bytes().splitlines()[0])["sequence"] == clip.name


def test_undo_after_saving_and_closing_is_not_saved(clip):
    session = open_review(clip)
    session.edit(EDITS[0])
    session.save()
    session.undo()
    session.close()
    assert not open_review(clip).state()["saved"]


def test_a_folder_that_cannot_be_written_to_is_an_error_with_advice(clip, monkeypatch):
    def refuse(*_: object) -> None:
        raise InputError("cannot write x: Read-only file system")

    monkeypatch.setattr(journal_module, "take_lock", refuse)
    with pytest.raises(InputError, match="Read-only file system.*copy the poses to a folder"):
        open_review(clip)


def test_corrections_return_with_their_poses(clip):
    expected, path = corrected(clip)
    first = clip.read_bytes()
    replace(two_people(), scores=two_people().scores / 2).save(clip)
    other = open_review(clip)
    assert not other.done
    other.edit({"kind": "split", "t": 5, "id": 4})
    other.close()
    second = clip.read_bytes()
    clip.write_bytes(first)
    session = open_review(clip)
    same_points(session.result(), expected)
    assert any("applied again" in note for note in session.notes)
    session.close()
    clip.write_bytes(second)
    assert [op["kind"] for op in open_review(clip).done] == ["split"]
    assert sorted(file.name for file in clip.parent.glob("*.jsonl")) == ["clip.review-1.jsonl", "clip.review.jsonl"]
