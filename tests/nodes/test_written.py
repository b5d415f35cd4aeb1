"""Results whose files are gone, or are no longer theirs, are made again."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from paths import DATA

pytestmark = pytest.mark.usefixtures("remembered_networks")


class Prompt:
    """A node with its values, run as ComfyUI does: `fingerprint_inputs` with what does not come by wire, then, if the
    answer is new, `execute`."""

    def __init__(self, node: Any, wires: dict[str, Any], **values: Any) -> None:
        settings = {entry.id: entry.settings["default"] for entry in node.define_schema().inputs if not entry.optional
                    and "default" in entry.settings}  # fmt: skip
        self.node, self.wires, self.values = node, wires, {**settings, **values}
        self.seen: Any = None
        self.outputs: tuple = ()

    def runs(self) -> bool:
        """Queue it; whether it was executed."""
        asked = {**self.values, **dict.fromkeys(self.wires)}
        before, self.seen = self.seen, self.node.fingerprint_inputs(**asked)
        if before == self.seen:
            return False
        self.outputs = self.node.execute(**self.values, **self.wires).args
        return True

    def again(self) -> Path:
        """Queue it after ComfyUI has dropped the result; the poses."""
        self.seen = None
        assert self.runs()
        return Path(self.outputs[3])


@pytest.mark.parametrize(
    ("node", "wire", "values"),
    [
        ("Save", "poses", {"format": "pose.npz"}),
        ("Save", "poses", {"format": "OpenPose JSON, one file per frame"}),
        ("Export", "sequence", {"target": "openpose"}),
    ],
)
def test_saved_files_that_are_gone_are_saved_again_under_a_name_of_their_own(
    nodes: dict, base: Path, sequence: Any, node: str, wire: str, values: dict
) -> None:
    prompt = Prompt(nodes[f"SDPoseAnnotator{node}"], {wire: sequence}, filename_prefix=f"again/{node}", **values)
    assert prompt.runs() and not prompt.runs()
    first = Path(prompt.outputs[0])
    file = first if first.is_file() else next(path for path in first.rglob("*") if path.is_file())
    file.write_bytes(b"edited by hand")
    assert not prompt.runs(), "an edited file is still there"
    shutil.rmtree(base / "output" / "again")
    assert prompt.runs() and not prompt.runs()
    second = Path(prompt.outputs[0])
    assert second.exists() and second.name != first.name, "a name that an earlier result has is given to other files"


def test_the_results_of_a_video_that_are_gone_or_replaced_are_made_again(
    nodes: dict, inside: Any, base: Path, tmp_path: Path
) -> None:
    with inside("sdpose_core.video.opening").open_video(DATA / "dancer.mp4") as source:
        frames = [frame.image for frame, _ in zip(source.frames(), range(2), strict=False)]
    (base / "input").mkdir(exist_ok=True)
    with inside("sdpose_core.video.writer").VideoWriter(base / "input" / "two.mp4", (350, 350), Fraction(16)) as writer:
        for image in frames:
            writer.write(image)
    prompt = Prompt(nodes["SDPoseAnnotatorVideo"], {}, path="two.mp4", folder="made", smooth=False)
    assert prompt.runs() and not prompt.runs()
    poses = Path(prompt.outputs[3])
    assert poses.name == "two_00001.pose.npz"
    pose_video = poses.with_name("two_00001_kps.mp4")
    pose_video.unlink()
    assert prompt.runs() and not prompt.runs()
    assert Path(prompt.outputs[3]).name == "two_00002.pose.npz" and poses.exists()
    assert prompt.again().name == "two_00002.pose.npz", "estimated though its own files are there"
    replaced = poses.with_name("two_00002_kps.mp4")
    shutil.copy(DATA / "dancer.mp4", replaced)
    assert prompt.runs() and Path(prompt.outputs[3]).name == "two_00003.pose.npz"


def test_files_of_other_nodes_and_values_do_not_count(inside: Any, tmp_path: Path) -> None:
    written, kind = inside("nodes.host.written").WrittenFiles(), "Save"
    files = [tmp_path / name for name in "abc"]
    for file in files:
        file.touch()
    for node, values, file in (("1", {"x": 1}, files[0]), ("2", {"x": 1}, files[1]), ("1", {"x": 2}, files[2])):
        assert written.changes(kind, node, values) == 0
        written.remember(kind, node, [file], edited=True)
    files[1].unlink()
    files[2].unlink()
    asked = [written.changes(kind, node, {"x": x}) for node, x in (("1", 1), ("2", 1), ("1", 2), ("2", 1))]
    assert asked == [0, 1, 1, 1]


def test_results_over_other_wires_are_noticed_too(inside: Any, tmp_path: Path) -> None:
    """ComfyUI keeps results of earlier runs, as of another tab whose node has the same id and values."""
    written = inside("nodes.host.written").WrittenFiles()
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.touch()
        written.changes("Video", "1", {"path": ""})
        written.remember("Video", "1", [file], edited=False)
    assert written.intact("Video", "1") == set(files)
    files[0].unlink()
    assert [written.changes("Video", "1", {"path": ""}) for _ in range(2)] == [1, 1]
    assert written.intact("Video", "1") == {files[1]}
    assert written.intact("Video", "2") == set()


def test_all_files_of_a_list_of_inputs_count(inside: Any, tmp_path: Path) -> None:
    written = inside("nodes.host.written").WrittenFiles()
    files = [tmp_path / name for name in "ab"]
    written.changes("Save", "1", {})
    for file in files:
        file.touch()
        written.remember("Save", "1", [file], edited=False)
    os.utime(files[0], (files[0].stat().st_atime, files[0].stat().st_mtime + 1))
    assert written.changes("Save", "1", {}) == 0, "file systems round times"
    files[0].unlink()
    assert written.changes("Save", "1", {}) == 1
