"""What a run asks for: the same on every machine, and another if a file's content is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import DATA

from sdpose_core.annotate.clip_options import ClipOptions
from sdpose_core.annotate.requests import before_cleaning, clip_origin, drawing_asked, models_asked
from sdpose_core.cli.arguments import asked_models
from sdpose_core.cli.clip_arguments import asked_clip_models
from sdpose_core.cli.main import build_parser
from sdpose_core.detection.people import DetectorOptions
from sdpose_core.errors import CheckpointError
from sdpose_core.estimation.options import EstimatorOptions
from sdpose_core.video.opening import open_video


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SDPOSE_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


WEIGHTS = {"bytes": 9, "sample": "0"}


def asked(model: Any = WEIGHTS, detector: Any = "yolox", boxes: Path | None = None, **options: Any) -> dict[str, Any]:
    return models_asked(model, EstimatorOptions(**options), detector, DetectorOptions(), boxes)


def folder_of_weights(folder: Path, content: bytes = b"weights") -> Path:
    for part in ("unet", "vae", "decoder"):
        (folder / part).mkdir(parents=True)
        (folder / part / "model.safetensors").write_bytes(content + part.encode())
    return folder


def test_it_is_json_and_where_it_runs_does_not_count() -> None:
    first = asked()
    assert json.loads(json.dumps(first)) == first
    assert asked(device="cuda:1", batch_size=3, compile=True, channels_last=True, providers=["x"]) == first
    for other in ({"flip_test": True}, {"crop": "stretch_demo"}, {"dtype": "fp16"}, {"input_size": (64, 64)}):
        assert asked(**other) != first


def test_the_preview_has_none_of_these_options() -> None:
    first = asked("preview")
    for other in ({"flip_test": True}, {"crop": "stretch_demo"}, {"dtype": "fp16"}, {"input_size": (64, 64)}):
        assert asked("preview", **other) == asked("auto", **other) == first


def test_a_dtype_has_the_name_that_results_have() -> None:
    for given, name in {None: "auto", "auto": "auto", "bf16": "bfloat16", torch.float32: "float32"}.items():
        assert asked(dtype=given)["estimator"]["dtype"] == name
    assert asked(vae_dtype="fp32")["estimator"]["vae_dtype"] == "float32"
    assert asked(vae_dtype="auto")["estimator"]["vae_dtype"] is None, "that of the rest"


def test_automatic_is_what_is_there(tmp_path: Path) -> None:
    assert asked("auto") == asked("preview") != asked("preview-body")
    with pytest.raises(CheckpointError, match="no weights 'body'"):
        asked("body")
    folder_of_weights(tmp_path / "home" / "wholebody")
    found = asked("auto")
    assert found["model"] == asked("wholebody")["model"] == asked(tmp_path / "home" / "wholebody")["model"] != "preview"


def test_weights_are_their_content(tmp_path: Path) -> None:
    here, there = folder_of_weights(tmp_path / "here"), folder_of_weights(tmp_path / "elsewhere" / "snapshot")
    (there / "sdpose_download.json").write_text('{"downloaded": "today"}')
    (there / "text_encoder").mkdir()
    (there / "text_encoder" / "model.safetensors").write_bytes(b"is not read")
    assert asked(here) == asked(there)
    (there / "vae" / "model.safetensors").write_bytes(b"Weightsvae")
    assert asked(here) != asked(there)


@pytest.mark.parametrize("kind", ["model.onnx", "model.onnx.data", "detector.onnx", "tiny", "boxes", "detector folder"])
def test_another_content_of_a_file_is_another_request(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "in" / kind
    file.parent.mkdir()
    (tmp_path / "in" / "model.onnx").write_bytes(b"graph, weights in model.onnx.data")
    (tmp_path / "in" / "detector folder").mkdir()
    file = file / "model.safetensors" if file.is_dir() else file

    def request() -> dict[str, Any]:
        choice = {
            "model": {"model": tmp_path / "in" / "model.onnx"}, "detector": {"detector": tmp_path / "in" / kind},
            "tiny": {"tiny_encoder": file}, "boxes": {"boxes": file},
        }[kind.split(".")[0].split()[0]]  # fmt: skip
        return asked(**choice)

    file.write_bytes(b"a" * 10_000)
    first = request()
    file.touch()
    assert request() == first
    file.write_bytes(b"b" * 10_000)
    assert request() != first
    assert str(tmp_path) not in json.dumps(first), "no path"


def test_boxes_replace_the_detector(tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text("[[1, 2, 3, 4]]")
    assert asked(boxes=tmp_path / "boxes.json") == asked(boxes=tmp_path / "boxes.json", detector="full")
    assert asked() != asked(detector="full")
    limits = replace(DetectorOptions(), threshold=0.5)
    assert models_asked(WEIGHTS, EstimatorOptions(), "yolox", limits) != asked()
    faster = replace(DetectorOptions(), backend="cv2", device="cpu")
    assert models_asked(WEIGHTS, EstimatorOptions(), "yolox", faster) == asked()


def test_the_commands_ask_for_what_their_options_say(tmp_path: Path) -> None:
    def parse(*words: str) -> Any:
        return build_parser().parse_args([words[0], "a", "-o", "out", "--model", "preview", *words[1:]])

    weights = str(folder_of_weights(tmp_path / "weights"))
    preview = asked("preview")
    assert asked_models(parse("image")) == preview == asked_clip_models(parse("video", "--max-people", "1"))
    assert asked_models(parse("image", "--max-people", "1"))["detector"]["max_people"] == 1
    assert asked_models(parse("image", "--device", "cpu", "--batch-size", "2")) == preview
    assert asked_models(parse("image", "--model", weights, "--flip-test"))["estimator"]["flip_test"] is True


def test_equal_drawings_are_equal() -> None:
    assert drawing_asked("s", ("body", "face"), 0.3, None, "crop") == drawing_asked("s", ("face", "body"), 0.3)
    assert drawing_asked("s", None, 0.3, (4, 5), "crop") != drawing_asked("s", None, 0.3, (4, 5), "pad")


def test_another_minimum_length_makes_another_result_from_the_same_chunks() -> None:
    with open_video(DATA / "dancer.mp4") as video:
        first, second = (clip_origin(video, ClipOptions(min_track=seconds), {}) for seconds in (0.0, 0.3))
        other = clip_origin(video, ClipOptions(find_missed=False, min_track=0.3), {})
    assert first.settings != second.settings
    assert before_cleaning(first) == before_cleaning(second)
    assert before_cleaning(other) != before_cleaning(second)
