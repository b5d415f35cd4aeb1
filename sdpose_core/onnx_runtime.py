"""`OnnxModel` runs an ONNX file with onnxruntime, OpenCV 5 or PyTorch behind one interface, and says which one."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .dependencies import install_command, installed, opencv
from .errors import CheckpointError, InputError, MissingDependency
from .files import sha256_of
from .onnx_devices import PROVIDERS, Provider, provider_name, providers_of
from .onnx_engines import Engine, OnnxRuntimeEngine, OpenCVEngine, TorchEngine

log = logging.getLogger(__name__)

BACKENDS = ("onnxruntime", "cv2", "torch")

MAX_THREADS = 8
"""More do not make these small models faster."""


class OnnxModel:
    """A loaded ONNX file.

    Args:
        path: the `.onnx` file.
        device: one of `onnx_devices.DEVICES`, such as "cuda:1" or "openvino:gpu"; None: see `providers`.
        providers: instead of a device, onnxruntime providers to try in order, by name or as (name, options); None:
            `PROVIDERS`. Unavailable ones are skipped. If one does not start, this is logged and noted, and the next
            one is tried.
        backend: "onnxruntime", "cv2" (cv2.dnn of OpenCV 5) or "torch"; None takes the first of them that is installed.
        max_threads: upper limit, together with the number of CPUs.

    Attributes:
        backend: "onnxruntime 1.x CPUExecutionProvider", "cv2.dnn 5.x" or "PyTorch 2.x".
        inputs: a `Port` per input.
        metadata: text entries of the file (onnxruntime only).
        notes: a line for everything that was tried and failed.

    Raises:
        CheckpointError: the file is missing or damaged, or the backend cannot run it.
        MissingDependency: none of onnxruntime, OpenCV 5 and PyTorch is installed, or not the one that was asked for.
        InputError: an unknown backend or device, or nothing that was asked for is available and starts.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        device: Any = None,
        providers: Sequence[Provider] | None = None,
        backend: str | None = None,
        max_threads: int = MAX_THREADS,
    ) -> None:
        if backend not in (None, *BACKENDS):
            raise InputError(f"ONNX backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
        self.path = Path(path)
        self.notes: list[str] = []
        if not os.path.isfile(self.path):
            raise CheckpointError(f"{self.path}: no such file: expected an ONNX model (.onnx)")
        asked = providers or providers_of(device) or PROVIDERS
        if not any(provider_name(provider) == "CPUExecutionProvider" for provider in asked):
            backend = "onnxruntime"  # the others run on a CPU
        self._engine = self._start(asked, backend, max_threads)
        self.backend = self._engine.description
        self.inputs = self._engine.inputs
        self.metadata = self._engine.metadata
        log.info("%s runs on %s", self.path.name, self.backend)

    @functools.cached_property
    def sha256(self) -> str:
        """Of the file, 64 hex digits."""
        return sha256_of(self.path)

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Arrays by input name -> all outputs in the file's order.

        Raises `InputError` for wrong names or shapes, `CheckpointError` if the backend fails.
        """
        wanted = [port.name for port in self.inputs]
        if sorted(inputs) != sorted(wanted):
            got = ", ".join(inputs) or "none"
            raise InputError(f"{self.path.name} takes the inputs {', '.join(wanted)}, got {got}")
        for port in self.inputs:
            if not port.takes(inputs[port.name].shape):  # OpenCV would return a wrong result
                expected = ", ".join("any" if n is None else str(n) for n in port.shape)
                found = inputs[port.name].shape
                raise InputError(f"{self.path.name}: input {port.name} has the shape ({expected}), got {found}")
        return self._engine.run(inputs)

    def _start(self, providers: Sequence[Provider], backend: str | None, max_threads: int) -> Engine:
        if backend in (None, "onnxruntime") and installed("onnxruntime"):
            try:
                import onnxruntime
            except ImportError as error:  # built for another system, or a shared library is missing
                self._note(f"onnxruntime is installed but importing it failed: {error}")
            else:
                return OnnxRuntimeEngine(onnxruntime, self.path, providers, max_threads, self._note)
        if backend in (None, "cv2") and _opencv_major() >= 5:
            return OpenCVEngine(self.path)
        if backend in (None, "torch") and installed("torch"):
            return TorchEngine(self.path)
        needed = {"cv2": "OpenCV 5 or later", None: "onnxruntime, OpenCV 5 or later, or PyTorch"}.get(backend, backend)
        found = [*self.notes, f"found OpenCV {_opencv_major()}"]
        how = install_command(backend or "onnxruntime", broken=backend == "cv2")
        raise MissingDependency(
            f"running {self.path.name} needs {needed}, which is not installed ({'; '.join(found)}). "
            f"Install it with: {how}"
        )

    def _note(self, text: str) -> None:
        log.warning("%s: %s", self.path.name, text)
        self.notes.append(text)


def _opencv_major() -> int:
    cv2 = opencv()  # OpenCV 4 cannot be used: its importer lacks GatherND, which MoveNet needs

    return int(cv2.__version__.partition(".")[0])
