"""ONNX files on onnxruntime, OpenCV, PyTorch: the same numbers, the choice said, one line for what cannot be used."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnx_files
import onnxruntime
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from paths import ROOT

import sdpose_core.onnx_runtime as rooms
import sdpose_core.onnx_torch as onnx_torch
from sdpose_core.errors import CheckpointError, InputError, MissingDependency
from sdpose_core.onnx_devices import device_names, for_small_models, only_onnx
from sdpose_core.onnx_engines import Port, ports_of_dump
from sdpose_core.onnx_runtime import OnnxModel

ASSETS = Path(rooms.__file__).parent / "assets"
YOLOX, MOVENET = ASSETS / "yolox_nano.onnx", ASSETS / "movenet_thunder_f16.onnx"

needs_opencv_5 = pytest.mark.skipif(int(cv2.__version__.split(".")[0]) < 5, reason=f"OpenCV is {cv2.__version__}")
BACKENDS = ["onnxruntime", pytest.param("cv2", marks=needs_opencv_5), "torch"]


def message(number: int, content: bytes | str | int) -> bytes:
    """One field of a protobuf message (short ones: lengths and numbers below 128)."""
    if isinstance(content, int):
        return bytes([number << 3, content])
    data = content.encode() if isinstance(content, str) else content
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def model_of(operator: str, *shape: int | str) -> bytes:
    """An ONNX file of one operator, x -> y (x with itself for a product); a length given by name is free."""
    lengths = b"".join(message(1, message(2 if isinstance(n, str) else 1, n)) for n in shape)
    tensor = message(1, message(1, 1) + message(2, lengths))
    inputs = message(1, "x") * (2 if operator == "MatMul" else 1)
    node = inputs + message(2, "y") + message(4, operator)
    ports = message(11, message(1, "x") + message(2, tensor)) + message(12, message(1, "y") + message(2, tensor))
    graph = message(1, node) + message(2, "g") + ports
    return message(1, 8) + message(8, message(2, 17)) + message(7, graph)


@pytest.mark.parametrize("backend", BACKENDS)
def test_inputs_and_backend_are_told(backend: str) -> None:
    yolox, movenet = OnnxModel(YOLOX, backend=backend), OnnxModel(MOVENET, backend=backend)
    assert yolox.inputs == (Port("images", (1, 3, 416, 416)),)
    assert movenet.inputs == (Port("input:0", (1, 256, 256, 3)),)
    names = {"onnxruntime": ("onnxruntime", onnxruntime), "cv2": ("cv2.dnn", cv2), "torch": ("PyTorch", torch)}
    name, module = names[backend]
    assert yolox.backend.startswith(f"{name} {module.__version__}")
    assert yolox.notes == []


@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize("path", sorted(ASSETS.glob("*.onnx")), ids=lambda path: path.stem)
def test_all_backends_give_the_same_numbers(path: Path, backend: str) -> None:
    model = OnnxModel(path, backend=backend)
    [port] = model.inputs
    highest = 255 if path in (YOLOX, MOVENET) else 1
    picture = np.random.default_rng(0).uniform(0, highest, port.shape)
    inputs = {port.name: picture.astype(np.int32 if path == MOVENET else np.float32)}
    expected = OnnxModel(path, backend="onnxruntime").run(inputs)
    assert expected[0].std() > 0.01
    for found, wanted in zip(model.run(inputs), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_free_lengths_and_names_beyond_ascii(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "\u30e2\u30c7\u30eb \u00fc.onnx"
    path.write_bytes(model_of("Relu", "batch", 3, "h", "w"))
    model = OnnxModel(path, backend=backend)
    assert model.inputs == (Port("x", (None, 3, None, None)),)
    x = np.linspace(-1, 1, 2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    [y] = model.run({"x": x})
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def with_other_file(path: Path, name: str) -> Path:
    """An ONNX file whose constant c lies in another file: y = x + c, 4 numbers."""
    place = onnx_files.field(13, onnx_files.field(1, "location") + onnx_files.field(2, name))
    constant = onnx_files.field(1, 4) + onnx_files.field(2, 1) + onnx_files.field(8, "c") + place
    graph = onnx_files.field(1, onnx_files.node("Add", ["x", "c"], "y")) + onnx_files.field(2, "g")
    graph += onnx_files.field(5, constant + onnx_files.field(14, 1))
    graph += onnx_files.field(11, onnx_files.port("x", (4,))) + onnx_files.field(12, onnx_files.port("y", (4,)))
    path.write_bytes(onnx_files.field(1, 8) + onnx_files.field(8, onnx_files.field(2, 17)) + onnx_files.field(7, graph))
    return path


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["../secret", "{root}/secret", "link", "/dev/zero"])
def test_weights_outside_the_folder_are_not_read(tmp_path: Path, backend: str, name: str) -> None:
    (tmp_path / "secret").write_bytes(np.ones(4, np.float32).tobytes())
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "secret")
    path = with_other_file(tmp_path / "inside" / "m.onnx", name.format(root=tmp_path))
    with pytest.raises(CheckpointError) as error:
        OnnxModel(path, backend=backend)
    assert "\n" not in str(error.value) and (backend == "onnxruntime" or "weights in other files" in str(error.value))


def test_weights_beside_the_file_are_read_by_onnxruntime(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(np.ones(4, np.float32).tobytes())
    model = OnnxModel(with_other_file(tmp_path / "m.onnx", "weights"), backend="onnxruntime")
    np.testing.assert_array_equal(model.run({"x": np.zeros(4, np.float32)})[0], np.ones(4))


def test_texts_that_are_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(
        model_of("Relu", 4) + onnx_files.field(14, onnx_files.field(1, "a") + onnx_files.field(2, b"\xff"))
    )
    with pytest.raises(CheckpointError, match="utf-8"):
        OnnxModel(path, backend="onnxruntime")


@pytest.mark.parametrize("backend", BACKENDS)
def test_inputs_of_other_names_are_refused(backend: str) -> None:
    with pytest.raises(InputError, match=r"takes the inputs images, got picture"):
        OnnxModel(YOLOX, backend=backend).run({"picture": np.zeros((1, 3, 416, 416), np.float32)})


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(1, 5, 416, 416), (1, 3, 32, 32), (3, 416, 416)], ids=str)
def test_inputs_of_other_shapes_are_refused(backend: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"yolox_nano\.onnx: input images has the shape \(1, 3, 416, 416\), got"):
        OnnxModel(YOLOX, backend=backend).run({"images": np.zeros(shape, np.float32)})


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_the_backend_cannot_compute_is_one_clear_error(tmp_path: Path, backend: str) -> None:
    """A matrix product whose free lengths do not meet."""
    path = tmp_path / "product.onnx"
    path.write_bytes(model_of("MatMul", "a", "b"))
    with pytest.raises(CheckpointError, match="cannot be run by") as caught:
        OnnxModel(path, backend=backend).run({"x": np.ones((2, 3), np.float32)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "content", [b"", b"no model at all " * 50, YOLOX.read_bytes()[:100_000]], ids=["empty", "text", "cut off"]
)
def test_damaged_files_are_one_clear_error(tmp_path: Path, backend: str, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.onnx cannot be loaded by .*damaged, cut off") as caught:
        OnnxModel(path, backend=backend)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", [None, "onnxruntime", "cv2", "torch"])
def test_a_missing_file_or_a_folder(tmp_path: Path, backend: str | None) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(CheckpointError, match="no such file"):
            OnnxModel(path, backend=backend)


def test_unknown_backends_and_absent_providers_are_refused() -> None:
    with pytest.raises(InputError, match="onnxruntime, cv2, torch, got 'tensorrt'"):
        OnnxModel(YOLOX, backend="tensorrt")
    with pytest.raises(InputError, match="none of NoSuchProvider"):
        OnnxModel(YOLOX, providers=["NoSuchProvider"])


class Sessions:
    """Stands for onnxruntime's session class on a machine with more providers than this one."""

    def __init__(self, behaviour: dict[str, str]) -> None:
        self.behaviour = behaviour
        self.asked: list[str] = []
        self.real = onnxruntime.InferenceSession

    def __call__(self, path: str, options: object, *, providers: list[str], enable_fallback: int):
        assert enable_fallback == 0
        self.asked += providers
        self.options = options
        names = [provider if isinstance(provider, str) else provider[0] for provider in providers]
        what = self.behaviour.get(names[0])
        if what == "fails":
            raise Fail("no driver\nand more lines")
        session = self.real(path, options, providers=["CPUExecutionProvider"])
        if what == "works":
            session.get_providers = lambda: [*names, "CPUExecutionProvider"]
        return session


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch):
    def set_up(**behaviour: str) -> Sessions:
        here = ["CPUExecutionProvider", *(f"{name}ExecutionProvider" for name in behaviour)]
        sessions = Sessions({f"{name}ExecutionProvider": what for name, what in behaviour.items()})
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: here)
        monkeypatch.setattr(onnxruntime, "InferenceSession", sessions)
        return sessions

    return set_up


def test_the_first_provider_that_works_is_taken(providers, caplog: pytest.LogCaptureFixture) -> None:
    sessions = providers(Dml="works", CoreML="works", CUDA="works", Azure="works")
    with caplog.at_level(logging.INFO):
        model = OnnxModel(YOLOX)
    assert sessions.asked == ["CUDAExecutionProvider"]
    assert model.backend.endswith("CUDAExecutionProvider")
    assert model.notes == []
    assert "yolox_nano.onnx runs on onnxruntime" in caplog.text


def test_providers_that_do_not_start_are_noted_and_the_next_is_tried(
    providers, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = providers(Dml="silently the CPU", CoreML="fails", CUDA="fails")
    model = OnnxModel(YOLOX)
    names = ["CUDA", "CoreML", "Dml", "CPU"]
    assert sessions.asked == [f"{name}ExecutionProvider" for name in names]
    assert model.backend.endswith("CPUExecutionProvider")
    assert len(model.notes) == 3
    assert model.notes[0] == "CUDAExecutionProvider did not start (no driver and more lines)"
    assert "libraries are missing" in model.notes[2]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3


@pytest.mark.parametrize(
    ("device", "name", "options"),
    [
        ("cuda:1", "CUDA", {"device_id": "1"}),
        ("directml", "Dml", {}),
        ("coreml", "CoreML", {"ModelFormat": "MLProgram"}),
        ("openvino", "OpenVINO", {"device_type": "CPU", "precision": "FP32"}),
        ("openvino:gpu", "OpenVINO", {"device_type": "GPU", "precision": "FP32"}),
        ("openvino:npu", "OpenVINO", {"device_type": "NPU", "precision": "ACCURACY"}),
        ("migraphx:0", "MIGraphX", {"device_id": "0"}),
    ],
)
def test_a_device_is_a_provider_with_its_options(providers, device: str, name: str, options: dict[str, str]) -> None:
    sessions = providers(**{name: "works"})
    model = OnnxModel(YOLOX, device=device, max_threads=1)
    [asked] = sessions.asked
    found_name, found = (asked, {}) if isinstance(asked, str) else asked
    assert found_name == f"{name}ExecutionProvider" and options.items() <= found.items()
    kind = f" ({options['device_type']})" if "device_type" in options else ""
    assert model.backend.endswith(f"{name}ExecutionProvider{kind}") and model.notes == []
    assert (found.get("num_of_threads") == "1") == (name == "OpenVINO")
    assert sessions.options.enable_mem_pattern == (name != "Dml")


def test_openvino_is_not_taken_unasked(providers) -> None:
    sessions = providers(OpenVINO="works", Tensorrt="works", MIGraphX="works")
    assert OnnxModel(YOLOX).backend.endswith("CPUExecutionProvider")
    assert sessions.asked == ["CPUExecutionProvider"]


@pytest.mark.parametrize("what", ["fails", "silently the CPU"])
def test_a_device_that_was_asked_for_and_does_not_start_is_one_sentence(providers, what: str) -> None:
    providers(OpenVINO=what)
    with pytest.raises(
        InputError, match=r"OpenVINOExecutionProvider did not start \(.*\): choose another dev"
    ) as error:
        OnnxModel(YOLOX, device="openvino:gpu")
    assert "\n" not in str(error.value)


def test_a_device_that_onnxruntime_lacks_says_what_brings_it() -> None:
    with pytest.raises(InputError, match="DmlExecutionProvider comes with onnxruntime-directml"):
        OnnxModel(YOLOX, device="directml")


@pytest.mark.parametrize("device", ["gpu", "openvino:vpu", "cuda:", "cuda:x", "cpu:1", "openvino:", "CUDA"])
def test_unknown_devices_are_refused_with_those_there_are(device: str) -> None:
    with pytest.raises(InputError, match=f"device '{device}': for ONNX files choose one of auto, cuda, cuda:N.*npu"):
        OnnxModel(YOLOX, device=device)


def test_every_device_is_in_the_documentation() -> None:
    table = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")
    for name in device_names().split(", "):
        assert f"`{name.replace('N', '1')}`" in table, name


def test_only_devices_that_torch_lacks_are_for_the_small_models_too() -> None:
    devices = ["openvino:gpu", "directml:1", "tensorrt", "cuda:1", "cpu", "mps", "auto", None, torch.device("cuda")]
    for chosen in (only_onnx, for_small_models):
        assert [chosen(device) for device in devices] == ["openvino:gpu", "directml:1", *[None] * 7]


@pytest.mark.parametrize("device", ["opnvino", "gpu", "", "opnvino:gpu"])
def test_small_models_refuse_a_device_that_nobody_knows(device: str) -> None:
    with pytest.raises(InputError, match=f"device '{device}': for ONNX files choose one of auto, cuda"):
        for_small_models(device)
    assert only_onnx(device) is None  # PyTorch may know it, or says that it does not


def test_the_kind_of_device_is_that_of_the_provider_that_started(providers, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = providers(OpenVINO="works")

    def without_a_gpu(path: str, options: object, *, providers: list, enable_fallback: int):
        if providers[0][1]["device_type"] == "GPU":
            raise Fail("no GPU")
        return sessions(path, options, providers=providers, enable_fallback=enable_fallback)

    monkeypatch.setattr(onnxruntime, "InferenceSession", without_a_gpu)
    asked = [("OpenVINOExecutionProvider", {"device_type": kind}) for kind in ("GPU", "CPU")]
    model = OnnxModel(YOLOX, providers=asked)
    assert model.backend.endswith("OpenVINOExecutionProvider (CPU)")
    assert model.notes == ["OpenVINOExecutionProvider did not start (no GPU)"]


def test_a_damaged_file_is_not_blamed_on_a_provider(providers, tmp_path: Path) -> None:
    sessions = providers(CUDA="silently the CPU")
    (tmp_path / "broken.onnx").write_bytes(b"text " * 20)
    with pytest.raises(CheckpointError, match="cannot be loaded by onnxruntime"):
        OnnxModel(tmp_path / "broken.onnx")
    assert sessions.asked == ["CUDAExecutionProvider"]


@needs_opencv_5
def test_opencv_runs_it_where_onnxruntime_is_absent_or_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libgomp.so.1 is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime")
    broken = OnnxModel(YOLOX)
    assert broken.backend == f"cv2.dnn {cv2.__version__}"
    assert broken.notes == ["onnxruntime is installed but importing it failed: libgomp.so.1 is missing"]
    assert broken.notes[0] in caplog.text
    monkeypatch.setattr(rooms, "installed", lambda name: False)
    absent = OnnxModel(YOLOX)
    assert (absent.backend, absent.notes) == (broken.backend, [])


def test_pytorch_runs_it_where_onnxruntime_is_absent_and_opencv_is_4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "__version__", "4.11.0")
    monkeypatch.setattr(rooms, "installed", lambda name: name == "torch")
    model = OnnxModel(YOLOX)
    assert (model.backend, model.notes) == (f"PyTorch {torch.__version__}", [])


def test_an_operator_that_pytorch_is_not_asked_for_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model_of("Softplus", 4))
    with pytest.raises(CheckpointError, match=r"m\.onnx cannot be loaded by PyTorch .*\(operator Softplus\)"):
        OnnxModel(path, backend="torch")


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        (None, r"needs onnxruntime, OpenCV 5 or later, or PyTorch.*found OpenCV 4.*sdpose-annotator\[onnx\]"),
        ("onnxruntime", r"needs onnxruntime, which.*sdpose-annotator\[onnx\]"),
        ("cv2", r"needs OpenCV 5 or later, which.*pip install .*opencv-python-headless"),
        ("torch", r"needs torch, which.*sdpose-annotator\[torch\]"),
    ],
)
def test_nothing_to_run_it_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, backend: str | None, expected: str
) -> None:
    monkeypatch.setattr(cv2, "__version__", "4.12.0")
    monkeypatch.setattr(rooms, "installed", lambda name: False)
    with pytest.raises(MissingDependency, match=expected):
        OnnxModel(YOLOX, backend=backend)


def test_a_dump_without_inputs_gives_none() -> None:
    assert ports_of_dump("{ model_format: 'ONNX' }") == ()


def test_pytorch_runs_it_in_one_thread_and_leaves_other_threads_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """SDPose may begin in a new thread while a detector runs: it must not be held to one thread."""
    found: list[tuple[int, int]] = []

    def relu(x: torch.Tensor) -> torch.Tensor:
        with ThreadPoolExecutor(1) as new:
            found.append((torch.get_num_threads(), new.submit(torch.get_num_threads).result()))
        return torch.relu(x)

    monkeypatch.setitem(onnx_torch.OPERATORS, "Relu", relu)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model = OnnxModel(MOVENET, backend="torch")
        [port] = model.inputs
        model.run({port.name: np.zeros(port.shape, np.int32)})
        assert set(found) == {(1, 2)} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
