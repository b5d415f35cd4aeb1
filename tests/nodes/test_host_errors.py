"""What ComfyUI's page shows of an error: the class and the sentence, which begins with the name of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest


@pytest.fixture
def readable(inside: Any, base: Path) -> Any:
    return inside("nodes.host.errors").readable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{base}/input/dancer.mp4: no frames", "dancer.mp4: no frames"),
        ("{base}/input/clips/dancer.mp4 is empty (0 bytes)", "clips/dancer.mp4 is empty (0 bytes)"),
        ("cannot read {base}/input/my dance.mp4: Permission denied", "cannot read my dance.mp4: Permission denied"),
        ("{base}/temp/sdpose_a1b2c3d4/dance.mp4: no frames", "dance.mp4: no frames"),
        ("{base}/models/sdpose/x.safetensors: damaged: get it again", "x.safetensors: damaged: get it again"),
        ("/elsewhere/far away/dancer.mp4: no frames", "dancer.mp4: no frames"),
        ("path: '/elsewhere/dancer.mp4' lies outside", "path: '/elsewhere/dancer.mp4' lies outside"),
        ("other{base}/input/dancer.mp4", "other{base}/input/dancer.mp4"),
        ("no video: connect a video", "no video: connect a video"),
    ],
)
def test_files_are_named_as_users_know_them(readable: Any, base: Path, text: str, expected: str) -> None:
    assert readable(text.format(base=base)) == expected.format(base=base)


def test_a_folder_that_the_owner_allows_is_no_part_of_the_sentence(
    readable: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SDPOSE_COMFYUI_FOLDERS", str(tmp_path))
    assert (
        readable(f"cannot read {tmp_path}/dance.mp4: Permission denied") == "cannot read dance.mp4: Permission denied"
    )


def test_every_error_of_the_library_has_a_short_name(inside: Any) -> None:
    errors, host = inside("sdpose_core.errors"), inside("nodes.host.errors")
    kinds = [errors.SDPoseError, *errors.SDPoseError.__subclasses__()]
    assert len(kinds) > 4
    for kind in kinds:
        shown = type(host.readable_error(kind("a: b")))
        assert (shown.__module__, shown.__qualname__) == ("builtins", kind.__name__)
        assert issubclass(shown, kind)


def test_only_errors_of_the_library_are_changed(nodes: dict, inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt or an error of memory is the host's."""
    import comfy.model_management as management

    node = nodes["SDPoseAnnotatorLoadModel"]
    ours = inside("sdpose_core.errors").InputError("x")
    for error in (management.InterruptProcessingException(), MemoryError("x"), ours):
        monkeypatch.setattr(inside("nodes.load"), "weight_path", Mock(side_effect=error))
        with pytest.raises(type(error)) as caught:
            node.execute(model="x", dtype="auto", keypoints="auto", compile=False)
        assert (caught.value is error) == (error is not ours)


def test_every_node_has_a_text_that_the_host_sends_again_with_kept_results(nodes: dict) -> None:
    assert all(node.define_schema().has_intermediate_output for node in nodes.values())
