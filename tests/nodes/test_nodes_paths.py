"""Names that come by wire instead of from a list: they stay in ComfyUI's folders."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

OUTSIDE = [
    "../secret.json [input]", "../secret.json", "a/../../secret.json [output]", "..\\secret.json [input]",
    "{}/secret.json [input]", "{}/secret.json", "C:\\secret.json [input]", "\\\\host\\secret.json", "~/secret.json",
    "secret.json [temp]", "../temp/secret.json [input]", "../input/../secret.json [output]", "nul\0.json [input]",
    "x" * 300 + ".json [input]", "", " [input]", "/ [input]", "[input]",
]  # fmt: skip
PREFIXES = [
    "../x", "a/../../x", "/tmp/x", "C:\\x", "\\\\host\\x", "..\\x", "nul\0", "x" * 300, "line\nend", "~/x", "a/..",
    "..",
]  # fmt: skip


@pytest.fixture
def places(pack: Any, tmp_path: Path) -> Any:
    """A ComfyUI with a file outside its folders, `secret.json`, which no node may read."""
    import folder_paths

    before = Path(folder_paths.base)
    root = tmp_path / "comfy"
    root.mkdir()
    folder_paths.use(root)
    folder_paths.add_model_folder_path("sdpose", str(root / "models" / "sdpose"))
    folder_paths.folder_names_and_paths["sdpose"][1].update({".safetensors", ".onnx"})
    (root / "temp").mkdir()
    for place in (root, root / "temp", root / "input" / "sub"):
        place.mkdir(exist_ok=True)
        (place / "secret.json").write_text(json.dumps({"canvas_width": 8, "canvas_height": 8, "people": []}))
    yield root
    folder_paths.use(before)


@pytest.mark.parametrize("node", ["SDPoseAnnotatorLoad", "SDPoseAnnotatorLoadSequence"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_nothing_outside_input_and_output_is_read(
    nodes: dict, places: Path, input_error: type[Exception], node: str, name: str
) -> None:
    more = {"swap_hands": False} if node.endswith("Load") else {}
    with pytest.raises(input_error) as caught:
        nodes[node].execute(file=name.format(places), **more)
    assert "\n" not in str(caught.value)
    with pytest.raises(input_error):
        nodes[node].fingerprint_inputs(file=name.format(places), **more)
    assert nodes[node].fingerprint_inputs(file=None, **more) is None


def test_names_inside_and_links_of_the_user_are_read(nodes: dict, places: Path) -> None:
    (places / "output" / "own").symlink_to(places)
    for name in ("sub/secret.json [input]", "sub/secret.json", "own/secret.json [output]", "./sub/secret.json [input]"):
        assert nodes["SDPoseAnnotatorLoad"].execute(file=name, swap_hands=False).args


@pytest.mark.parametrize(
    "name", ["../../x", "../../../secret.json", "/etc", "C:\\x", "..", "nul\0", "x" * 300, "", None]
)
def test_models_and_detectors_come_from_the_model_folders(
    nodes: dict, inside: Any, places: Path, input_error: type[Exception], name: str | None
) -> None:
    (places.parent / "x" / "unet").mkdir(parents=True)
    with pytest.raises(input_error) as caught:
        nodes["SDPoseAnnotatorLoadModel"].execute(model=name, dtype="auto", keypoints="auto", compile=False)
    assert "\n" not in str(caught.value)
    with pytest.raises(input_error):
        inside("nodes.detect").load(name, inside("nodes.detect").detector_options(0.3, 0))


@pytest.mark.parametrize("name", ["ownr/mistyped", "facebook/detr"])
def test_detectors_by_wire_are_no_names_of_the_hub(inside: Any, places: Path, name: str, input_error: Any) -> None:
    with pytest.raises(input_error, match="choose another model"):
        inside("nodes.detect").load(name, inside("nodes.detect").detector_options(0.3, 0))


@pytest.mark.parametrize("prefix", PREFIXES)
def test_nothing_outside_output_is_written(
    nodes: dict, places: Path, input_error: type[Exception], sequence: Any, prefix: str
) -> None:
    before = set(places.parent.rglob("*"))
    with pytest.raises(input_error, match="filename_prefix"):
        nodes["SDPoseAnnotatorSave"].execute(sequence, prefix, "pose.npz", 0.3)
    with pytest.raises(input_error, match="filename_prefix"):
        nodes["SDPoseAnnotatorExport"].execute(sequence, "openpose", prefix, "all", 0, 0, 0, "", 0.0)
    assert set(places.parent.rglob("*")) == before


def test_everybody_and_an_empty_prefix(nodes: dict, places: Path, sequence: Any) -> None:
    export = nodes["SDPoseAnnotatorExport"].execute(sequence, "openpose", " ", "all", 0, 0, 0, "", 0.0)
    assert Path(export.args[0]) == places / "output" / "SDPose_00001"
    assert len(list(places.glob("output/SDPose_00001/*/*.json"))) == 2


def test_a_person_by_wire_is_no_mask_of_another_place(
    nodes: dict, places: Path, input_error: type[Exception], sequence: Any
) -> None:
    for person in (f"mask:{places}/secret.json", "point:1,1", "3"):
        with pytest.raises(input_error, match="person: expected one of"):
            nodes["SDPoseAnnotatorExport"].execute(sequence, "openpose", "x", person, 0, 0, 0, "", 0.0)


@pytest.mark.parametrize("text", [*(prefix for prefix in PREFIXES if prefix != "a/.."), "../input", "sub\0"])
def test_the_folder_of_a_video_is_inside_output(inside: Any, places: Path, input_error: Any, text: str) -> None:
    with pytest.raises(input_error, match="folder"):
        inside("nodes.annotate_video")._output_folder(text)


def test_folders_inside_output(inside: Any, places: Path, input_error: Any) -> None:
    choose, output = inside("nodes.annotate_video")._output_folder, places / "output"
    assert [choose(text) for text in ("", ".", " poses ", "a/b")] == [output, output, output / "poses", output / "a/b"]
    (output / "file").write_text("x")
    with pytest.raises(input_error, match="is a file"):
        choose("file")


@pytest.mark.parametrize("text", ["../secret.json", "sub/../../secret.json", "../../comfy/secret.json", "C:\\x", "~"])
def test_names_of_videos_stay_in_input(inside: Any, places: Path, input_error: Any, text: str) -> None:
    with pytest.raises(input_error, match="path .* lies outside|path: .* lies outside"):
        inside("nodes.host.input_paths").input_path(text)


def test_full_paths_stay_in_the_folders_that_users_have(
    inside: Any, places: Path, input_error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    input_path = inside("nodes.host.input_paths").input_path
    monkeypatch.delenv("SDPOSE_COMFYUI_FOLDERS", raising=False)
    for path in (places / "temp" / "secret.json", places / "input" / "sub", places / "output"):
        assert input_path(str(path)) == path
    assert input_path(f"{places}/output/../input/sub/secret.json") == places / "input" / "sub" / "secret.json"
    with pytest.raises(input_error, match="does not exist"):
        input_path(str(places / "input" / "missing.mp4"))
    for path in (places / "secret.json", f"{places}/input/../secret.json", f"{places}/inputs/x", places, "/"):
        with pytest.raises(input_error, match="lies outside ComfyUI's input, output, temp folders"):
            input_path(str(path))


def test_a_refused_path_does_not_tell_whether_it_exists(
    nodes: dict, places: Path, input_error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by the sentence nor by a look at the file, which for a Windows share would call another machine."""
    monkeypatch.delenv("SDPOSE_COMFYUI_FOLDERS", raising=False)
    looked, exists, stat = [], os.path.exists, os.stat
    monkeypatch.setattr(os.path, "exists", lambda path: looked.append(str(path)) or exists(path))
    monkeypatch.setattr(os, "stat", lambda path, **more: looked.append(str(path)) or stat(path, **more))
    video, said = nodes["SDPoseAnnotatorVideo"], []
    for name in ("secret.json", "missing"):
        path = str(places / name)
        said.append(str(video.validate_inputs(path=path)).replace(name, "NAME"))
        with pytest.raises(input_error, match="lies outside"):
            video.fingerprint_inputs(path=path)
        assert path not in looked
    assert said[0] == said[1] and "lies outside" in said[0]


@pytest.mark.parametrize(("allowed", "text"), [("{0}/a:{0}", "{0}/secret.json"), ("*", "{0}/secret.json")])
def test_the_owner_of_a_server_can_allow_more(
    inside: Any, places: Path, input_error: Any, monkeypatch: pytest.MonkeyPatch, allowed: str, text: str
) -> None:
    input_path, path = inside("nodes.host.input_paths").input_path, text.format(places)
    monkeypatch.setenv("SDPOSE_COMFYUI_FOLDERS", allowed.format(places).replace(":", os.pathsep))
    assert input_path(path) == places / "secret.json"
    monkeypatch.setenv("SDPOSE_COMFYUI_FOLDERS", f"{places}/other{os.pathsep}")
    with pytest.raises(input_error, match="with SDPOSE_COMFYUI_FOLDERS"):
        input_path(path)


def test_what_is_named_must_be_a_video(inside: Any, places: Path, input_error: Any) -> None:
    open_video = inside("sdpose_core.video.opening").open_video
    for path, word in ((places / "secret.json", "cannot be read as a video"), (places, "no picture in this folder")):
        with pytest.raises(input_error, match=word):
            open_video(path)


def test_no_tree_is_walked_to_see_whether_a_folder_changed(
    nodes: dict, inside: Any, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path such as / is looked at, not searched."""
    deep = places / "input" / "clip" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "far.png").write_text("x" * 100)
    (deep.parents[1] / "0.png").write_text("x")
    looked, scan = set(), os.scandir

    def watched(path: Any = ".") -> Any:
        looked.add(Path(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", watched)
    stamp = nodes["SDPoseAnnotatorVideo"].fingerprint_inputs(path="clip")[0]
    assert stamp is not None and stamp[1] == 1
    assert deep not in looked
    (deep.parents[1] / "1.png").write_text("xx")
    assert nodes["SDPoseAnnotatorVideo"].fingerprint_inputs(path="clip")[0][1] == 3
    assert nodes["SDPoseAnnotatorVideo"].fingerprint_inputs(path=None)[0] is None
