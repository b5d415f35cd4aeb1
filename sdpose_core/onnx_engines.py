"""What runs an ONNX file: onnxruntime, OpenCV 5 and PyTorch, each as an `Engine`; `OnnxModel` chooses."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .dependencies import install_command, opencv
from .errors import CheckpointError, InputError, one_line
from .onnx_devices import Provider, how_to_get, provider_name

Note = Callable[[str], None]


@dataclass(frozen=True)
class Port:
    """A model input; None in `shape` stands for any length."""

    name: str
    shape: tuple[int | None, ...]

    def takes(self, shape: tuple[int | None, ...]) -> bool:
        """Whether an array of `shape` fits."""
        same_rank = len(shape) == len(self.shape)
        return same_rank and all(want in (None, n) for want, n in zip(self.shape, shape, strict=True))


class Engine(Protocol):
    """Runs one file; the attributes are those of `OnnxModel`, `description` is its `backend`."""

    description: str
    inputs: tuple[Port, ...]
    metadata: Mapping[str, str]

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See `OnnxModel.run`; names and shapes fit."""


class OnnxRuntimeEngine:
    """onnxruntime on the first provider that starts. Raises `InputError` if none does."""

    def __init__(
        self, onnxruntime: Any, path: Path, providers: Sequence[Provider], max_threads: int, note: Note
    ) -> None:
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        # onnxruntime's errors have no common base class; texts in a damaged file may not be UTF-8
        known = [e for e in vars(state).values() if isinstance(e, type) and issubclass(e, Exception)]
        self._errors: tuple[type[Exception], ...] = (*known, UnicodeDecodeError)
        self._path, self._max_threads = path, max_threads
        available = onnxruntime.get_available_providers()
        wanted = [provider for provider in providers if provider_name(provider) in available]
        if not wanted:
            asked, how = ", ".join(map(provider_name, providers)), how_to_get(providers)
            raise InputError(f"onnxruntime here has {', '.join(available)}: none of {asked}{how and f' ({how})'}")
        self._session, provider = self._first_that_starts(onnxruntime, wanted, note)
        self.description = f"onnxruntime {onnxruntime.__version__} {_described(provider)}"
        try:
            ports = self._session.get_inputs()
            self.metadata: Mapping[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        except UnicodeDecodeError as error:
            raise _unusable(path, "onnxruntime", error) from None
        self.inputs = tuple(
            Port(port.name, tuple(n if isinstance(n, int) and n > 0 else None for n in port.shape)) for port in ports
        )
        self._types = {port.name: _NUMPY_TYPES.get(port.type) for port in ports}

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See `OnnxModel.run`."""
        typed = {name: np.asarray(array, dtype=self._types[name]) for name, array in inputs.items()}
        try:
            outputs = self._session.run(None, typed)
        except self._errors as error:
            raise _cannot_run(self._path, self.description, error) from error
        if not outputs or not all(isinstance(output, np.ndarray) for output in outputs):
            kinds = ", ".join(type(output).__name__ for output in outputs) or "nothing"
            raise CheckpointError(f"{self._path}: expected arrays as outputs, found {kinds}")
        return outputs

    def _first_that_starts(self, onnxruntime: Any, wanted: Sequence[Provider], note: Note) -> tuple[Any, Provider]:
        problems = []
        for provider in wanted:
            name = provider_name(provider)
            try:
                session = self._session_on(onnxruntime, provider)
            except self._errors as error:
                if name == "CPUExecutionProvider" or type(error).__name__ in _FAULTS_OF_THE_FILE:
                    raise _unusable(self._path, "onnxruntime", error) from None
                problems.append(f"{name} did not start ({one_line(error)})")
            else:
                # onnxruntime silently uses the CPU if the libraries of a provider are missing
                if session.get_providers()[0] == name:
                    return session, provider
                problems.append(f"{name} did not start (its libraries are missing or incompatible)")
            if provider is not wanted[-1]:
                note(problems[-1])
        raise InputError(f"{self._path.name}: {'; '.join(problems)}: choose another device")

    def _session_on(self, onnxruntime: Any, provider: Provider) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = min(self._max_threads, _cpus())
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would use whole cores
        options.log_severity_level = 4  # failures raise errors, too, which we report
        # fallback off: onnxruntime's own prints and leaves no trace; ours is logged and noted
        providers = [provider]
        name = provider_name(provider)
        if name == "TensorrtExecutionProvider":  # for the operators that TensorRT cannot run
            providers.append("CUDAExecutionProvider")
        if name == "DmlExecutionProvider":  # which has neither memory patterns nor parallel execution
            options.enable_mem_pattern = False
            options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        if name == "OpenVINOExecutionProvider":  # which has threads of its own
            given: dict[str, Any] = {} if isinstance(provider, str) else provider[1]
            providers = [(name, {"num_of_threads": str(options.intra_op_num_threads)} | given)]
        return onnxruntime.InferenceSession(str(self._path), options, providers=providers, enable_fallback=0)


def _described(provider: Provider) -> str:
    """Its name, with the kind of device that it was told."""
    kind = "" if isinstance(provider, str) else provider[1].get("device_type")
    return f"{provider_name(provider)} ({kind})" if kind else provider_name(provider)


_FAULTS_OF_THE_FILE = ("InvalidProtobuf", "InvalidGraph", "InvalidArgument", "NoSuchFile", "UnicodeDecodeError")

_NUMPY_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
}


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):  # a container or a job may use fewer CPUs than the machine has
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_OTHER_FILES = re.compile(rb"[\x00\x08]location")
"""The key under which a tensor names the file of its values, after the length of the key."""


class OpenCVEngine:
    """cv2.dnn of OpenCV 5, on the CPU."""

    metadata: Mapping[str, str] = {}

    def __init__(self, path: Path) -> None:
        cv2 = opencv()

        self._path = path
        self.description = f"cv2.dnn {cv2.__version__}"
        # from memory, as OpenCV on Windows cannot open names outside the system's code page
        content = np.fromfile(path, dtype=np.uint8)
        if _OTHER_FILES.search(content.data):
            raise CheckpointError(
                f"{path} keeps weights in other files, and {self.description} would read any file that it names. "
                f"Install onnxruntime: {install_command('onnxruntime')}"
            )
        try:
            self._net = cv2.dnn.readNetFromONNX(content)
        except cv2.error as error:
            raise _unusable(path, self.description, error) from None
        self.inputs = ports_of_dump(self._net.dump())
        if not self.inputs:
            raise CheckpointError(
                f"{path}: {self.description} does not list the model's inputs. "
                f"Install onnxruntime: {install_command('onnxruntime')}"
            )
        self._outputs = self._net.getUnconnectedOutLayersNames()

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See `OnnxModel.run`."""
        cv2 = opencv()

        try:
            for name, array in inputs.items():
                self._net.setInput(np.ascontiguousarray(array), name)
            return [np.array(output) for output in self._net.forward(self._outputs)]
        except cv2.error as error:
            raise _cannot_run(self._path, self.description, error) from error


class TorchEngine:
    """PyTorch on the CPU, for the operators of `onnx_torch`."""

    metadata: Mapping[str, str] = {}

    def __init__(self, path: Path) -> None:
        import torch

        from .onnx_torch import FAULTS, Graph

        self._path, self._faults = path, FAULTS
        self.description = f"PyTorch {torch.__version__}"
        try:
            self._graph = Graph(path.read_bytes())
        except FAULTS as error:
            raise _unusable(path, self.description, error) from None
        self.inputs = tuple(Port(name, shape) for name, shape in self._graph.inputs.items())

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See `OnnxModel.run`."""
        try:
            return self._graph.run(inputs)
        except self._faults as error:
            raise _cannot_run(self._path, self.description, error) from error


def ports_of_dump(dump: str) -> tuple[Port, ...]:
    """Inputs from `cv2.dnn.Net.dump()`, the only place where OpenCV lists them; () if there are none."""
    head = re.search(r"main_graph:.*?inputs: \[(.*?)\n\s*\],\n", dump, re.DOTALL)
    lines = re.findall(r'"(.+?)" // <Input> \w+ \[([^]]*)]', head.group(1)) if head else []
    return tuple(
        Port(name, tuple(int(n) if n.isdigit() and int(n) > 0 else None for n in shape.split(" x ")))
        for name, shape in lines
    )


def _unusable(path: Path, by: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} cannot be loaded by {by} ({one_line(error)}): the file is damaged, cut off, or not an ONNX model "
        "that it can run; get it again"
    )


def _cannot_run(path: Path, by: str, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path} cannot be run by {by} ({one_line(error)}): try another backend")
