"""Running small ONNX models: onnxruntime where it is installed, else OpenCV's own DNN module (OpenCV 5 and later)."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from .dependencies import installed
from .errors import CheckpointError, InputError, MissingDependency

log = logging.getLogger(__name__)

PROVIDERS = ("CUDAExecutionProvider", "CoreMLExecutionProvider", "DmlExecutionProvider", "CPUExecutionProvider")
"""onnxruntime's execution providers, in the order in which they are tried."""

BACKENDS = ("onnxruntime", "cv2")


class OnnxModel:
    """One ONNX file, ready to run.

    Args:
        path: the file.
        backend: "onnxruntime" or "cv2"; None takes the first that is there.

    Attributes:
        backend: what runs it, in words, such as "onnxruntime CPUExecutionProvider".
        notes: what did not go as first tried (a provider that could not start, say).
        inputs: name -> shape of each input; empty on OpenCV, which does not tell.

    Raises:
        CheckpointError: the file is missing or no ONNX model.
        MissingDependency: neither backend is there.
    """

    def __init__(self, path: str | Path, *, backend: str | None = None) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        self.inputs: dict[str, tuple] = {}
        if not self.path.is_file():
            raise CheckpointError(f"{path}: no such file; expected an ONNX model")
        if backend not in (None, *BACKENDS):
            raise InputError(f"ONNX backend {backend!r}: choose one of {', '.join(BACKENDS)}")
        if backend == "onnxruntime" or (backend is None and installed("onnxruntime")):
            self._open_onnxruntime()
        else:
            self._open_cv2()
        log.info("%s runs on %s", self.path.name, self.backend)

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The model's outputs, in its own order, for named input arrays."""
        if self._session is not None:
            return self._session.run(None, inputs)
        for name, array in inputs.items():
            self._net.setInput(array, name if len(inputs) > 1 else "")
        return list(self._net.forward(self.output_names))

    def _open_onnxruntime(self) -> None:
        import onnxruntime

        available = onnxruntime.get_available_providers()
        for provider in (name for name in PROVIDERS if name in available):
            try:
                session = onnxruntime.InferenceSession(str(self.path), providers=[provider])
            except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common class
                if provider == PROVIDERS[-1]:
                    raise CheckpointError(
                        f"{self.path} cannot be loaded as an ONNX model: {_one_line(error)}"
                    ) from None
                self._note(f"{provider} could not start: {_one_line(error)}")
                continue
            used = session.get_providers()[0]
            if used != provider:
                self._note(f"{provider} could not start: {used} is used")
            self._session, self._net = session, None
            self.backend = f"onnxruntime {used}"
            self.inputs = {value.name: tuple(value.shape) for value in session.get_inputs()}
            self.output_names = [value.name for value in session.get_outputs()]
            return
        raise MissingDependency(f"onnxruntime has none of {', '.join(PROVIDERS)}; it has {', '.join(available)}")

    def _open_cv2(self) -> None:
        import cv2

        if int(cv2.__version__.split(".")[0]) < 5:
            raise MissingDependency(
                f"running {self.path.name} needs onnxruntime or OpenCV 5; found OpenCV {cv2.__version__} and no "
                'onnxruntime: pip install "sdpose-annotator[onnx]"'
            )
        try:
            net = cv2.dnn.readNetFromONNX(str(self.path))
        except cv2.error as error:
            raise CheckpointError(f"{self.path} cannot be loaded as an ONNX model: {_one_line(error)}") from None
        self._session, self._net = None, net
        self.backend = f"cv2.dnn {cv2.__version__}"
        self.output_names = list(net.getUnconnectedOutLayersNames())

    def _note(self, text: str) -> None:
        log.warning("%s: %s", self.path.name, text)
        self.notes.append(text)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
