"""Names in patterns, lists, options, COCO files and `.pose.npz`: nothing is written or read as a picture elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sdpose_core.batch.inputs import find_items
from sdpose_core.cli.main import main
from sdpose_core.coco.files import picture_paths
from sdpose_core.errors import InputError
from sdpose_core.exports.targets import TARGETS, export
from sdpose_core.poses import Poses, PoseSequence


@pytest.fixture
def sequence() -> PoseSequence:
    points = np.full((1, 17, 2), 20, np.float32)
    frame = Poses(points, np.ones((1, 17), np.float32), np.ones((1, 5), np.float32), (64, 48), "coco_17")
    return PoseSequence.from_poses([frame, frame])


@pytest.mark.parametrize(
    "texts",
    [
        ["in/*/../../other/*.mp4"], ["in/a/../../other/*.mp4"], ["in/../other/*.mp4"], ["in/*/.."], ["in/*/../.."],
        ["{}/in/*/../../other/*.mp4"], ["in/**/../../other/*.mp4"], ["in/[a]/../../other/?.mp4"], ["@in/list.txt"],
        ["@in/up.txt"], ["in/a/.."], [".."], ["in/none/.."], ["in/a/../../in/*/../../*/*.mp4"],
    ],
)  # fmt: skip
def test_results_of_a_batch_lie_below_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str]) -> None:
    root = tmp_path / "root"
    for name in ("in/a/1.mp4", "in/b/2.mp4", "other/3.mp4", "4.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"frames")
    (root / "in" / "list.txt").write_text(f"../other/3.mp4\na/../../other/3.mp4\n{root}/4.mp4\n..\n../..\n")
    (root / "in" / "up.txt").write_text("a/../..\n")
    monkeypatch.chdir(root)
    out = root / "deep" / "out"
    for item in find_items([text.format(root) for text in texts], out).items:
        place = Path(*(item.folder(out) / f"{item.stem}.pose.npz").parts)
        assert ".." not in place.parts and place.is_relative_to(out), item


def test_a_pattern_that_leads_out_of_its_folder_finds_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("in/a/1.mp4", "other/3.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"frames")
    monkeypatch.chdir(tmp_path)
    [item] = find_items(["in/*/../../other/*.mp4"], tmp_path / "out").items
    assert (item.relative, item.source.resolve()) == ("other/3.mp4", tmp_path / "other" / "3.mp4")


@pytest.mark.parametrize("name", ["../esc", "a/b", "/tmp/esc", "..", "a\\b", "C:\\esc", "..\\esc", "nul\0", "\x1b[31m"])
@pytest.mark.parametrize("target", [name for name in TARGETS if name in ("openpose", "unianimate", "coco", "ltx")])
def test_the_name_of_exported_files_is_no_path(tmp_path: Path, sequence: PoseSequence, name: str, target: str) -> None:
    out = tmp_path / "deep" / "out"
    with pytest.raises(InputError, match="the name of the files"):
        export(sequence, target, out, name=name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "source", ["..", "../..", "a/..", "x\0y", "../../clip.mp4", "C:\\clips\\clip.mp4", "/a/clip.mp4"]
)
def test_the_source_in_a_sequence_gives_no_path(tmp_path: Path, sequence: PoseSequence, source: str) -> None:
    out = tmp_path / "deep" / "out"
    sequence = replace(sequence, meta={**sequence.meta, "source": source})
    if source.endswith("clip.mp4"):
        assert [path.name for path in export(sequence, "openpose", out).files] == ["clip_openpose"]
    else:
        with pytest.raises(InputError, match="the name of the files"):
            export(sequence, "openpose", out)
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")} <= {"deep"}


def test_the_command_says_it_in_one_line(
    tmp_path: Path, sequence: PoseSequence, capsys: pytest.CaptureFixture[str]
) -> None:
    sequence.save(tmp_path / "a.pose.npz")
    command = ["export", str(tmp_path / "a.pose.npz"), "--to", "openpose", "-o", str(tmp_path / "out")]
    assert main([*command, "--name", "../esc"]) in (1, 2)
    [line] = capsys.readouterr().err.splitlines()
    assert "the name of the files '../esc'" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pose.npz"]


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "{}/secret.png", "..\\secret.png", "a/../../secret.png", "~/x.png", "nul\0.png", "x" * 300],
)
def test_pictures_of_a_coco_file_lie_in_their_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    with pytest.raises(InputError, match="the picture"):
        picture_paths([name.format(tmp_path)], folder)


def test_names_with_other_folders_are_found_by_themselves(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("images/a.png", "a.png", "images/b.png"):
        (tmp_path / name).write_bytes(b"x")
    names = ["../a.png", "C:\\old\\b.png"]
    assert picture_paths(names, tmp_path / "images") == [tmp_path / "images" / name for name in ("a.png", "b.png")]
