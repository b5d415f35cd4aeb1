"""Reading a `.pose.npz` that anybody may have written: one kind of error, and no memory that a file only states."""

from __future__ import annotations

import io
import json
import tracemalloc
import warnings
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdpose_core.errors import InputError
from sdpose_core.npz_files import read_npz
from sdpose_core.pose_values import MAX_PEOPLE
from sdpose_core.poses import Poses, PoseSequence


def clip() -> PoseSequence:
    """Two frames of three points: one person, then nobody."""
    rng = np.random.default_rng(0)
    one = Poses(rng.uniform(0, 48, (1, 3, 2)), rng.uniform(0, 1, (1, 3)), [[1, 2, 30, 40, 0.5]], (64, 48), "three")
    return PoseSequence.from_poses([one, Poses.empty((64, 48), "three")], frame_rate=Fraction(25))


def nobody_between() -> dict[str, Any]:
    """The arrays of three frames of two people, of whom the second is absent in the middle."""
    keypoints = np.ones((3, 2, 3, 2), np.float32)
    ids = np.array([[0, 7], [0, -1], [0, 7]], np.int32)
    boxes = np.tile(np.array([1, 1, 9, 9, 1], np.float32), (3, 2, 1))
    return {
        "keypoints": keypoints, "scores": np.ones((3, 2, 3), np.float32), "boxes": boxes, "track_ids": ids,
        "frame_index": np.arange(3), "pts": np.arange(3) / 25, "size": np.array([64, 48], np.int32),
        "frame_rate": np.array([25, 1]), "keypoint_set": np.array("three"), "meta": np.array("{}"),
    }  # fmt: skip


def written(path: Path, **changes: Any) -> Path:
    np.savez_compressed(path, **{**nobody_between(), **changes})
    return path


@pytest.mark.parametrize("mask", [0xFF, pytest.param(0x01, marks=pytest.mark.slow)])
def test_a_flipped_byte_anywhere_is_found_or_has_no_meaning(tmp_path: Path, mask: int) -> None:
    path, sequence = tmp_path / "clip.pose.npz", clip()
    sequence.save(path)
    content, expected = path.read_bytes(), sequence.arrays()
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for place in range(0, len(content), 3 if mask == 0xFF else 1):
            changed = bytearray(content)
            changed[place] ^= mask
            try:
                found = PoseSequence.of_arrays(read_npz(bytes(changed), "clip"), "clip").arrays()
            except InputError as error:
                refused += 1
                assert "\n" not in str(error) and str(error).startswith("clip")
                continue
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values, err_msg=f"byte {place}, {name}")
    assert refused > len(content) // 6  # more than half of those that were changed


def test_a_cut_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "clip.pose.npz"
    clip().save(path)
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"clip\.pose\.npz"):
            PoseSequence.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": np.full((3, 2, 3), 1 + 2j)}, "scores: .*type 'c16'|scores has the type '<c16'"),
        ({"boxes": np.full((3, 2, 5), "1")}, "boxes: expected an array of numbers, got texts"),
        ({"boxes": np.full((3, 2, 5), b"1")}, "boxes has the type"),
        ({"boxes": np.full((3, 2, 5), {}, object)}, "Python objects, which are never opened: found them in boxes"),
        ({"pts": np.array([0, 1, 2], "datetime64[s]")}, "pts has a header that cannot be read"),
        ({"track_ids": np.array([[0.5, 1], [0, 1], [0, 1]])}, "track_ids: expected whole numbers, got 0.5"),
        ({"track_ids": np.array([[1 << 40, 1], [0, 1], [0, 1]])}, "track_ids: expected whole numbers of 32 bits"),
        ({"track_ids": np.array([[0, 0], [0, 1], [0, 1]])}, "frame 0 has the id 0 twice"),
        ({"track_ids": np.array([[0, -2], [0, 1], [0, 1]])}, "expected ids from 0, and -1 for an empty slot, got -2"),
        ({"frame_index": np.array([0, 1.5, 2])}, "frame_index: expected whole numbers, got 1.5"),
        ({"frame_index": np.array([0, 1, np.nan])}, "frame_index: expected whole numbers, got nan"),
        ({"frame_index": np.array([0, 1, 1])}, "frame_index .* rise from frame to frame, got 1, then 1"),
        ({"pts": np.array([0, 2.0, 1.0])}, "pts .* rise from frame to frame, got 2, then 1"),
        ({"pts": np.array([0, np.nan, 1.0])}, r"pts\[1\] is nan"),
        ({"size": np.array([64.5, 48])}, "size: expected whole numbers, got 64.5"),
        ({"size": np.array([64, 0])}, "at least 1 pixel"),
        ({"size": np.array([1 << 30, 48])}, "at most 1,000,000 pixels"),
        ({"frame_rate": np.array([25.5, 1])}, "frame_rate: expected whole numbers, got 25.5"),
        ({"frame_rate": np.array([25, 0])}, "frame_rate: expected a fraction from 0/1, got 25/0"),
        ({"frame_rate": np.array([-25, 1])}, "frame_rate: expected a fraction from 0/1, got -25/1"),
        ({"frame_rate": np.array([1 << 40, 1])}, "frame_rate: expected a fraction of numbers below 2,147,483,648"),
        ({"scores": np.full((3, 2, 3), np.nan)}, r"scores\[0, 0, 0\] is nan"),
        ({"scores": np.full((3, 2, 3), 1e300)}, r"scores\[0, 0, 0\] is inf"),
        ({"boxes": np.full((3, 2, 5), np.nan)}, r"boxes\[0, 0, 0\] is nan"),
        ({"keypoints": np.full((3, 2, 3, 2), np.inf)}, r"keypoints\[0, 0, 0, 0\] is inf.*or NaN where no point"),
        ({"keypoint_set": np.array("x" * 1_000_000)}, "keypoint_set: expected a name of at most 100 characters"),
        ({"keypoint_set": np.array(3)}, "keypoint_set: expected a text"),
        ({"keypoint_set": np.array(["a"])}, "keypoint_set: expected a text"),
        ({"meta": np.array("[1]")}, "meta: expected a JSON object"),
        ({"meta": np.array('{"format_version": true}')}, "meta: expected a JSON object"),
        ({"meta": np.array('{"format_version": 1e999}')}, "meta: expected a JSON object"),
        ({"meta": np.array("[" * 100_000)}, "meta: lists or objects are nested too deep"),
        ({"meta": np.array("{")}, "meta is not JSON"),
        ({name: values[:0] for name, values in nobody_between().items() if np.ndim(values) and name not in
          ("size", "frame_rate")}, "has no frames"),
    ],
)  # fmt: skip
def test_values_that_no_sequence_has(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with warnings.catch_warnings(), pytest.raises(InputError, match=message) as refused:
        warnings.simplefilter("error")
        PoseSequence.load(written(tmp_path / "clip.pose.npz", **changes))
    assert "clip.pose.npz" in str(refused.value) and len(str(refused.value)) < 400


def test_what_an_empty_slot_holds_does_not_matter(tmp_path: Path) -> None:
    boxes, scores = nobody_between()["boxes"].copy(), nobody_between()["scores"].copy()
    boxes[1, 1], scores[1, 1] = np.nan, np.nan
    read = PoseSequence.load(written(tmp_path / "clip.pose.npz", boxes=boxes, scores=scores))
    assert [len(frame) for frame in read.frames()] == [2, 1, 2]


def test_other_types_of_the_same_numbers_are_read(tmp_path: Path) -> None:
    changes = {"track_ids": np.array([[0, 7], [0, -1], [0, 7]], np.float64), "frame_index": np.arange(3, dtype=">u2")}
    fortran = np.asfortranarray(nobody_between()["keypoints"].astype(">f8"))
    read = PoseSequence.load(written(tmp_path / "clip.pose.npz", **changes, keypoints=fortran))
    assert read.track_ids.tolist() == [[0, 7], [0, -1], [0, 7]] and read.frame_index.tolist() == [0, 1, 2]
    assert read.keypoints.dtype == np.float32 and (read.keypoints == 1).all()


def test_too_many_people_are_refused(tmp_path: Path) -> None:
    many, points = MAX_PEOPLE + 1, np.zeros((1, MAX_PEOPLE + 1, 1, 2))
    changes = {
        "keypoints": points, "scores": points[..., 0], "boxes": np.zeros((1, many, 5)), "pts": np.zeros(1),
        "frame_index": np.zeros(1, int), "track_ids": np.arange(many)[None],
    }  # fmt: skip
    with pytest.raises(InputError, match="1,001 people in one picture, the limit is 1,000"):
        PoseSequence.load(written(tmp_path / "clip.pose.npz", **changes))


def member(header: bytes, data: bytes = b"", compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive with one array "pts" that begins with this header."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr("pts.npy", b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,), }\n", "states 800,000,000,000 bytes"),
        (b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + b"9" * 5000 + b",), }\n", "cannot be read"),
        (b"{'descr': '<U99999999', 'fortran_order': False, 'shape': (), }\n", "states 399,999,996 bytes"),
        (b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }\n", "cannot be read"),
        (b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,)" + b"(" * 900 + b"\n", "cannot be read"),
        (b"{'descr': __import__('os').abort(), 'fortran_order': False, 'shape': (1,), }\n", "cannot be read"),
        (b"{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }\n", "cannot be read"),
        (b"{'descr': '<f3', 'fortran_order': False, 'shape': (1,), }\n", "has the type '<f3'"),
        (b" " * 20_000, "header of 20,000 bytes, the limit is 10,000"),
        (b"\0\xff", "cannot be read"),
    ],
)
def test_headers_are_checked_before_their_data_are_read(header: bytes, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message):
            read_npz(member(header, bytes(8)), "clip")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_small_file_cannot_ask_for_much_memory() -> None:
    content = bytearray(member(b"{'descr': '|u1', 'fortran_order': False, 'shape': (4000000000,), }\n", bytes(100)))
    directory = content.rindex(b"PK\1\2")
    content[directory + 24 : directory + 28] = (4_000_000_000 + 77).to_bytes(4, "little")  # the size it states
    with pytest.raises(InputError, match="more than the file can hold"):
        read_npz(bytes(content), "bomb")
    with pytest.raises(InputError, match="compressed by method 12: write it with numpy.savez_compressed"):
        read_npz(member(b"", compression=zipfile.ZIP_BZIP2), "clip")


def test_the_constructor_says_the_same() -> None:
    sequence = clip()
    arrays = {**sequence.arrays(), "scores": np.full((2, 1, 3), np.nan)}
    with pytest.raises(InputError, match=r"scores\[0, 0, 0\] is nan"):
        PoseSequence.of_arrays(arrays, "clip")
    rest = (sequence.track_ids, sequence.frame_index, sequence.pts, sequence.size, sequence.frame_rate, "three")
    with pytest.raises(InputError, match=r"scores\[0, 0, 0\] is nan"):
        PoseSequence(sequence.keypoints, arrays["scores"], sequence.boxes, *rest)
    with pytest.raises(InputError, match="meta: expected a mapping"):
        PoseSequence(sequence.keypoints, sequence.scores, sequence.boxes, *rest, json.dumps({}))  # type: ignore[arg-type]


def test_folders_and_devices_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "clip.pose.npz").mkdir()
    with pytest.raises(InputError, match="not a file"):
        PoseSequence.load(tmp_path / "clip.pose.npz")
    with pytest.raises(InputError, match="null"):
        PoseSequence.load("a\0b.pose.npz")
