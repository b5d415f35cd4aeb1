"""An SDPose as an ONNX file: the same heatmaps through onnxruntime, whole files, and an estimator that runs them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from onnx_files import node, write_model
from paths import DATA, ROOT
from tiny import SMALL as BODY
from tiny import make_checkpoint, make_model

from sdpose_core.checkpoints import onnx_export
from sdpose_core.checkpoints.layouts import save_checkpoint
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.checkpoints.published import used_data_files, weight_files
from sdpose_core.checkpoints.sizes import metadata_of
from sdpose_core.cli.main import main
from sdpose_core.errors import CheckpointError, InputError, MissingDependency
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.estimation.onnx import OnnxNetwork, load_onnx_estimator
from sdpose_core.images import read_image

WHOLEBODY = dataclasses.replace(
    BODY, keypoint_set="coco_wholebody_133", num_keypoints=133, feature_levels=("F2",), input_size=(64, 64)
)


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and tiny.onnx of it beside it, made by the command, for another size than the checkpoint's."""
    path = make_checkpoint(tmp_path_factory.mktemp("body") / "tiny.safetensors", BODY)
    assert main(["convert", str(path), str(path.with_suffix(".onnx")), "--input-size", "64x64"]) == 0
    return path


@pytest.fixture(scope="module")
def wholebody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a whole body, its weights in a file of their own."""
    path = make_checkpoint(tmp_path_factory.mktemp("wholebody") / "tiny.safetensors", WHOLEBODY)
    report = onnx_export.export_onnx(path, path.with_suffix(".onnx"), external_data=True)
    assert report.layout == "onnx" and re.search(r"tiny\.onnx\.[0-9a-f]{16}\.data:", report.notes[0])
    return path


def test_a_file_of_one_layer_runs_as_a_network(tmp_path: Path) -> None:
    """What reads and runs a file, without the minutes of an export: crops to heatmaps by one convolution."""
    weights = np.random.default_rng(0).normal(size=(17, 3, 4, 4)).astype(np.float32)
    layer = node("Conv", ["images", "weights"], "heatmaps", kernel_shape=(4, 4), strides=(4, 4))
    ports = {"images": ("batch", 3, 128, 64)}, {"heatmaps": ("batch", 17, 32, 16)}
    path = write_model(tmp_path / "one.onnx", [layer], *ports, {"weights": weights}, metadata_of(BODY))
    network = OnnxNetwork(path, ["CPUExecutionProvider"])
    assert (network.config, network.approximations) == (BODY, {})
    images = torch.rand(3, 3, 128, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def expected(images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(images, torch.from_numpy(weights), stride=4)

    torch.testing.assert_close(network.heatmaps(images), expected(images), atol=1e-4, rtol=0)
    mirrored = expected(images.flip(-1)).flip(-1)[:, list(BODY.flip_indices)]
    both = (expected(images) + mirrored) / 2
    torch.testing.assert_close(network.heatmaps(images, flip_test=True), both, atol=1e-4, rtol=0)
    assert network.heatmaps(images[:0]).shape == network.heatmaps(images[:0], flip_test=True).shape == (0, 17, 32, 16)
    boxes = [np.array([[60, 0, 400, 500], [100, 50, 300, 400]], np.float32)]
    [found] = load_estimator(path, device="cpu", batch_size=2).estimate([read_image(DATA / "astronaut.png")], boxes)
    assert len(found) == 2 and np.isfinite(found.keypoints).any()
    assert "CPUExecutionProvider" in found.meta["settings"]["device"]
    assert set(found.meta["weights"]["sha256"]) == {"one.onnx"}


@pytest.mark.slow  # exports
@pytest.mark.parametrize("which", ["body", "wholebody"])
def test_heatmaps_are_those_of_torch_for_any_number_of_crops(which: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(which)
    model = load_sdpose(path, device="cpu", with_rgb_branch=False, input_size=(64, 64))
    network = OnnxNetwork(path.with_suffix(".onnx"), ["CPUExecutionProvider"])
    assert (network.config, network.approximations) == (model.config, model.approximations)
    assert network.approximations == ({"input_size": "64x64 instead of 64x128"} if which == "body" else {})
    for count in (1, 2, 5):
        images = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(count)) * 2 - 1
        with torch.no_grad():
            expected = model.heatmaps(images)
            assert expected.abs().max() > 0.1
            torch.testing.assert_close(network.heatmaps(images), expected, atol=1e-4, rtol=0)
            mirrored = model.heatmaps(images, flip_test=True)
        torch.testing.assert_close(network.heatmaps(images, flip_test=True), mirrored, atol=1e-4, rtol=0)


@pytest.mark.slow  # 100 million values: 5 seconds
@pytest.mark.parametrize("staged", [True, False])
def test_norms_of_full_size_are_as_exact_as_torchs(staged: bool, tmp_path: Path) -> None:
    """onnxruntime's own norm is not, on a CPU: should that change, `StagedGroupNorm` can go."""
    import onnxruntime

    norm = torch.nn.GroupNorm(32, 128, eps=1e-6).eval()
    if staged:
        norm.__class__ = onnx_export.StagedGroupNorm
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 128, 1024, 768, generator=generator) + torch.randn(1, 128, 1, 1, generator=generator)
    torch.onnx.export(norm, (x,), dynamo=True, verbose=False, input_names=["x"]).save(tmp_path / "norm.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "norm.onnx", providers=["CPUExecutionProvider"])
    [found] = session.run(None, {"x": x.numpy()})
    exact = torch.nn.functional.group_norm(x.double(), 32, eps=1e-6).numpy()
    assert (np.abs(found - exact).max() < 1e-5) == staged


def test_norms_in_stages_are_the_same_norms() -> None:
    torch.manual_seed(0)
    for plain, staged, shape in [
        (torch.nn.GroupNorm(4, 8), onnx_export.StagedGroupNorm, (2, 8, 6, 5)),
        (torch.nn.GroupNorm(4, 8), onnx_export.StagedGroupNorm, (2, 8, 30)),
        (torch.nn.InstanceNorm2d(8), onnx_export.StagedInstanceNorm, (2, 8, 6, 5)),
    ]:
        for weight in plain.parameters():
            torch.nn.init.normal_(weight)
        x = torch.randn(shape) + 3
        expected = plain(x)
        plain.__class__ = staged
        torch.testing.assert_close(plain(x), expected, rtol=0, atol=1e-5)


@pytest.mark.slow  # exports
def test_a_file_is_whole_and_says_what_it_is(body: Path) -> None:
    import onnx

    assert sorted(p.name for p in body.parent.iterdir()) == ["tiny.onnx", "tiny.safetensors"]
    model = onnx.load(body.with_suffix(".onnx"))
    texts = {entry.key: entry.value for entry in model.metadata_props}
    assert (texts["keypoint_set"], texts["feature_levels"]) == ("coco_17", "F1")
    assert texts["input_size"] == "64x64" and "Open RAIL++-M" in texts["weights_licence"]
    assert json.loads(texts["source"])["path"] == "tiny.safetensors"
    assert str(Path.cwd()).encode() not in body.with_suffix(".onnx").read_bytes()  # no paths of this machine
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.dim_param and not batch.dim_value
    used = {operation.op_type for operation in model.graph.node}
    assert "InstanceNormalization" not in used and "ScatterND" not in used


def test_norms_of_half_precision_compute_in_float() -> None:
    """Values whose squares are beyond half precision."""
    torch.manual_seed(0)
    x = torch.randn(2, 8, 6, 5) * 1000 + 3000
    for plain in (torch.nn.GroupNorm(4, 8), torch.nn.InstanceNorm2d(8)):
        expected = plain(x.half().float())
        plain.half().__class__ = onnx_export._IN_FLOAT[type(plain)]
        found = plain(x.half())
        assert found.dtype == torch.float16
        torch.testing.assert_close(found.float(), expected, rtol=0, atol=4e-3)


@pytest.mark.slow  # an export more, of a model that ends after its first up-block: half the time
def test_a_half_precision_export_keeps_norms_and_the_last_layer_in_float(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its heatmaps are those of fp32, though the squares of a norm's input are beyond half precision."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    config = dataclasses.replace(BODY, feature_levels=("F4",), input_size=(64, 64))
    state = make_model(config, with_rgb_branch=True).state_dict()
    state["vae.encoder.conv_in.weight"] *= 1000
    source, path = tmp_path / "large.safetensors", tmp_path / "fp16.onnx"
    save_checkpoint(state, config, source)
    strict_or_not, export = [], torch.export.export
    monkeypatch.setattr(torch.export, "export", lambda *a, **k: strict_or_not.append(k["strict"]) or export(*a, **k))
    onnx_export.export_onnx(source, path, dtype=torch.float16)
    assert strict_or_not == [False]  # PyTorch's first way to trace; when it fails, the second takes as long again

    graph = onnx.load(path).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    by_kind = {
        kind: [types[node.input[0]] for node in graph.node if node.op_type == kind]
        for kind in ("Conv", "InstanceNormalization")
    }
    assert set(by_kind["InstanceNormalization"]) == {onnx.TensorProto.FLOAT}
    assert by_kind["Conv"][-1] == onnx.TensorProto.FLOAT and set(by_kind["Conv"][:-1]) == {onnx.TensorProto.FLOAT16}
    assert types["images"] == types["heatmaps"] == onnx.TensorProto.FLOAT
    layer_norms = [node for node in graph.node if node.op_type == "LayerNormalization"]
    stashed = [entry.i for node in layer_norms for entry in node.attribute if entry.name == "stash_type"]
    assert layer_norms and set(stashed) <= {onnx.TensorProto.FLOAT}  # of the statistics; by default float

    model = load_sdpose(source, device="cpu", dtype="fp32", with_rgb_branch=False)
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        exact = model.heatmaps(images)
    weight, bias = (state[f"vae.encoder.conv_in.{name}"] for name in ("weight", "bias"))
    first = torch.nn.functional.conv2d(images, weight, bias, padding=1)  # the input of the first norm
    assert 300 < first.abs().max() < 6e4 and first.half().square().isinf().any()
    half = OnnxNetwork(path, ["CPUExecutionProvider"]).heatmaps(images).numpy()
    # a CPU computes much of it in fp32, onnx's reference every operator in the type that the graph says
    [strict] = ReferenceEvaluator(str(path)).run(None, {"images": images.numpy()})
    for found in (half, strict):
        assert np.isfinite(found).all() and 0 < np.abs(found - exact.numpy()).max() < 0.03 * exact.abs().max()


@pytest.mark.slow  # an export more
def test_large_weights_lie_beside_the_file(wholebody: Path) -> None:
    import onnx

    [data] = used_data_files(wholebody.with_suffix(".onnx"))
    assert {p.name for p in wholebody.parent.iterdir()} == {"tiny.onnx", data.name, "tiny.safetensors"}
    model = onnx.load(wholebody.with_suffix(".onnx"), load_external_data=False)
    texts = {entry.key: entry.value for entry in model.metadata_props}
    assert (texts["keypoint_set"], texts["feature_levels"]) == ("coco_wholebody_133", "F2")
    places = {
        entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"
    }
    assert places == {data.name}


@pytest.mark.slow  # exports
def test_the_estimator_runs_the_file(body: Path) -> None:
    image = read_image(DATA / "astronaut.png")
    boxes = [np.array([[60, 0, 400, 500], [100, 50, 300, 400]], np.float32)]
    [expected] = load_estimator(body, device="cpu", batch_size=2, input_size=(64, 64)).estimate([image], boxes)
    estimator = load_estimator(body.with_suffix(".onnx"), device="cpu", batch_size=2)
    [found] = estimator.estimate([image], boxes)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    clear = np.isfinite(expected.keypoints).all(axis=-1)  # a random network's maps are flat: most peaks, not all
    distance = np.linalg.norm(found.keypoints[clear] - expected.keypoints[clear], axis=-1)
    assert np.median(distance) < 0.05
    assert "CPUExecutionProvider" in found.meta["settings"]["device"]
    assert set(found.meta["weights"]["sha256"]) == {"tiny.onnx"}


@pytest.mark.slow  # exports
def test_the_command_runs_the_file(body: Path, tmp_path: Path) -> None:
    model = str(body.with_suffix(".onnx"))
    assert main(["image", str(DATA / "astronaut.png"), "-o", str(tmp_path), "--model", model, "--device", "cpu"]) == 0
    assert (tmp_path / "astronaut.pose.npz").exists()


def test_an_export_that_fails_leaves_nothing_and_keeps_what_was_there(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        model = None

        def save(self, path: Path, **_: object) -> None:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(onnx_export, "trace", lambda model: Full())
    monkeypatch.setattr(onnx_export, "_label", lambda model, texts: None)
    target = tmp_path / "old.onnx"
    target.write_bytes(b"old")
    with pytest.raises(InputError, match="No space left"):
        onnx_export.export_onnx(checkpoint, target, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["old.onnx"] and target.read_bytes() == b"old"


class Traced:
    """Stands in for a traced model: writes the .onnx, which names its weights, and the weights."""

    def __init__(self, weights: bytes) -> None:
        value = SimpleNamespace(const_value=SimpleNamespace(tobytes=lambda: weights))
        self.model = SimpleNamespace(graph=SimpleNamespace(initializers={"w": value}))
        self.weights = weights

    def save(self, path: Path, external_data: bool) -> None:
        data = path.with_name(f"{path.name}.data")
        if external_data:
            data.write_bytes(self.weights)
        path.write_bytes(f"graph of {data.name}".encode() if external_data else self.weights)


def loadable(target: Path) -> bytes:
    """The weights that a .onnx file has or names."""
    content = target.read_bytes()
    return target.with_name(content.split()[-1].decode()).read_bytes() if b"graph of" in content else content


class Steps:
    """Lets a number of changes to m.onnx and its weights happen; the next one kills."""

    def __init__(self, left: int) -> None:
        self.left = left

    def counted(self, function: Callable) -> Callable:
        def call(path: Path, *more: Any, **options: Any) -> None:
            if "m.onnx" in str(path) and not str(path).endswith("lock"):
                if not self.left:
                    raise KeyboardInterrupt
                self.left -= 1
            function(path, *more, **options)

        return call


@pytest.mark.parametrize("before", ["one file", "two files", "two files of an earlier version"])
@pytest.mark.parametrize("external", [True, False])
def test_a_kill_while_saving_leaves_a_whole_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, external: bool
) -> None:
    """Whatever rename or removal is the last one, the old or the new weights can be loaded."""
    for last in range(4):
        target = tmp_path / str(last) / "m.onnx"
        target.parent.mkdir()
        if before.endswith("version"):
            target.write_bytes(b"graph of m.onnx.data")
            target.with_name("m.onnx.data").write_bytes(b"old")
        else:
            onnx_export._save(Traced(b"old"), target, before == "two files")
        steps = Steps(last)
        monkeypatch.setattr(os, "replace", steps.counted(os.replace))
        monkeypatch.setattr(Path, "unlink", steps.counted(Path.unlink))
        with suppress(KeyboardInterrupt):
            onnx_export._save(Traced(b"new"), target, external)
        monkeypatch.undo()
        assert loadable(target) in (b"old", b"new")
        onnx_export._save(Traced(b"new"), target, external)
        assert loadable(target) == b"new"
        assert len([path for path in target.parent.iterdir() if not path.name.endswith(".lock")]) == 1 + external
        assert [target, *used_data_files(target)] == weight_files(target)
        assert len(weight_files(target)) == 1 + external


def test_other_models_beside_it_keep_their_weights(tmp_path: Path) -> None:
    for name in ("m.onnx", "m.onnx.onnx", "n.onnx"):
        onnx_export._save(Traced(name.encode()), tmp_path / name, True)
    onnx_export._save(Traced(b"new"), tmp_path / "m.onnx", True)
    for name in ("m.onnx.onnx", "n.onnx"):
        assert loadable(tmp_path / name) == name.encode()


CONFIG = json.dumps(BODY.to_dict())
METADATA: dict[str, tuple[dict[str, str], str]] = {
    "no configuration": ({}, "does not say which SDPose"),
    "a list": ({"config": "[]"}, "its config: expected a JSON object"),
    "half": ({"config": CONFIG[:50]}, "its config is not JSON"),
    "nested": ({"config": "[" * 100_000}, "its config"),
    "NaN": ({"config": CONFIG.replace("6.0", "NaN")}, "heatmap_sigma: .* found nan"),
    "approximations": ({"config": CONFIG, "approximations": "7"}, "its approximations: expected a JSON object"),
    "another size": (
        {"config": CONFIG.replace("[64, 128]", "[128, 64]")},
        r"one input images of shape \(N, 3, 64, 128\)",
    ),
}


def one_layer(path: Path, metadata: dict[str, str], points: int = 17, **ports: str) -> Path:
    weights = np.zeros((points, 3, 4, 4), np.float32)
    name = ports.get("name", "images")
    layer = node("Conv", [name, "weights"], "heatmaps", kernel_shape=(4, 4), strides=(4, 4))
    shapes = {name: ("batch", 3, 128, 64)}, {"heatmaps": ("batch", points, 32, 16)}
    return write_model(path, [layer], *shapes, {"weights": weights}, metadata)


@pytest.mark.parametrize("kind", METADATA)
def test_metadata_that_are_damaged(tmp_path: Path, kind: str) -> None:
    metadata, message = METADATA[kind]
    with pytest.raises(CheckpointError, match=message) as error:
        OnnxNetwork(one_layer(tmp_path / "x.onnx", metadata))
    assert "\n" not in str(error.value)


def test_inputs_and_outputs_of_another_network(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected one input images"):
        OnnxNetwork(one_layer(tmp_path / "x.onnx", {"config": CONFIG}, name="pixels"))
    network = OnnxNetwork(one_layer(tmp_path / "x.onnx", {"config": CONFIG}, points=5))
    with pytest.raises(CheckpointError, match=r"expected heatmaps of shape \(2, 17, 32, 16\), found \(2, 5, 32, 16\)"):
        network.heatmaps(torch.zeros(2, 3, 128, 64))


def test_mistakes_are_told_in_a_line(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "there.onnx"
    file.touch()
    with pytest.raises(InputError, match="exists"):
        onnx_export.export_onnx(checkpoint, file)
    with pytest.raises(InputError, match=r"\.onnx"):
        onnx_export.export_onnx(checkpoint, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="fp32 or fp16"):
        onnx_export.export_onnx(checkpoint, tmp_path / "x.onnx", dtype=torch.bfloat16)
    assert main(["convert", str(checkpoint), str(tmp_path / "x.safetensors"), "--input-size", "64x64"]) == 1
    assert "--input-size is for ONNX" in capsys.readouterr().err
    with pytest.raises(InputError, match="leave out dtype, input-size"):
        load_estimator(file, dtype="fp16", input_size=(64, 64))
    with pytest.raises(InputError, match="device 'mps'"):
        load_estimator(file, device="mps")
    with pytest.raises(CheckpointError, match="does not say which SDPose"):
        load_onnx_estimator(ROOT / "sdpose_core" / "assets" / "yolox_nano.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(MissingDependency, match=r"sdpose-annotator\[onnx-export\]"):
        onnx_export.export_onnx(checkpoint, tmp_path / "x.onnx")


@pytest.mark.slow  # exports
def test_a_provider_that_does_not_start_is_not_replaced_in_silence(body: Path) -> None:
    """Asked for by name, onnxruntime without it says what it has."""
    with pytest.raises(InputError, match="TensorrtExecutionProvider"):
        load_estimator(body.with_suffix(".onnx"), device="tensorrt")
