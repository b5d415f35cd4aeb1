"""Running a file written by `sdpose convert IN OUT.onnx` with onnxruntime: on CPUs, CUDA, TensorRT and others."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoints.published import identify
from ..codec.heatmaps import flip_back
from ..dependencies import require
from ..errors import CheckpointError, restated
from ..model.config import SDPoseConfig
from ..onnx_devices import Provider
from ..onnx_runtime import OnnxModel
from ..texts import parse_json
from .crop_jobs import BATCH_SIZE_OF_DEVICE
from .sdpose import PoseEstimator

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


class OnnxNetwork:
    """The network of an exported file, with the methods of `SDPose` that `PoseEstimator` calls.

    Attributes:
        config: of the exported model.
        approximations: those that were exported with it.
        backend: see `OnnxModel`.
    """

    def __init__(self, path: str | Path, providers: Sequence[Provider] | None = None, *, device: Any = None) -> None:
        require("torch", "reading heatmaps")
        require("onnxruntime", f"running {Path(path).name}")
        self._onnx = OnnxModel(
            path, device=device, providers=providers, backend="onnxruntime", max_threads=os.cpu_count() or 1
        )
        self.backend, self.notes = self._onnx.backend, self._onnx.notes
        if "config" not in self._onnx.metadata:
            raise CheckpointError(
                f"{path} does not say which SDPose it is: expected a file written by 'sdpose convert IN NAME.onnx'"
            )
        with restated(path, CheckpointError):
            self.config = SDPoseConfig.from_dict(self._stored("config"))
            self.approximations = self._stored("approximations")
        self._check_input(path)

    def _stored(self, name: str) -> dict[str, Any]:
        """The JSON object of that name in the file's metadata; {} if there is none. Raises `InputError`."""
        return parse_json(self._onnx.metadata.get(name, "{}"), f"its {name}", "a JSON object", dict)

    def _check_input(self, path: str | Path) -> None:
        w, h = self.config.input_size
        ports = self._onnx.inputs
        fits = [port.name for port in ports if port.takes((*port.shape[:1], 3, h, w))]
        if len(ports) != 1 or fits != ["images"]:
            found = [(port.name, port.shape) for port in ports]
            raise CheckpointError(f"{path}: expected one input images of shape (N, 3, {h}, {w}), found {found!r:.100}")

    def parameters(self) -> Iterator[torch.Tensor]:
        """A tensor with the device and dtype that the input must have; the weights belong to onnxruntime."""
        import torch

        yield torch.zeros(0)

    def heatmaps(self, images: torch.Tensor, flip_test: bool = False) -> torch.Tensor:
        """As `SDPose.heatmaps`."""
        import torch

        if not len(images):
            w, h = self.config.heatmap_size
            return torch.zeros(0, self.config.num_keypoints, h, w)
        if not flip_test:
            outputs = self._onnx.run({"images": images.contiguous().numpy()})
            return torch.from_numpy(self._checked(outputs[0], len(images)))
        straight, mirrored = self.heatmaps(torch.cat([images, images.flip(-1)])).chunk(2)
        return (straight + flip_back(mirrored, list(self.config.flip_indices))) * 0.5

    def _checked(self, heatmaps: np.ndarray, count: int) -> np.ndarray:
        """The heatmaps of `count` crops as float32; `CheckpointError` if they have another shape."""
        w, h = self.config.heatmap_size
        expected = (count, self.config.num_keypoints, h, w)
        if heatmaps.shape != expected or not np.issubdtype(heatmaps.dtype, np.floating):
            found = f"{heatmaps.shape} of {heatmaps.dtype}"
            raise CheckpointError(f"{self._onnx.path}: expected heatmaps of shape {expected}, found {found}")
        return heatmaps.astype(np.float32, copy=False)


class OnnxEstimator(PoseEstimator):
    """`PoseEstimator` with an `OnnxNetwork`; `meta` names the backend."""

    model: OnnxNetwork  # type: ignore[assignment]

    @property
    def notes(self) -> list[str]:
        """The backend, and a line for each provider that was tried and did not start."""
        return [self.model.backend, *self.model.notes, *super().notes]

    def meta(self) -> dict[str, Any]:
        """As `PoseEstimator.meta`, with onnxruntime's device."""
        meta = super().meta()
        return {**meta, "settings": {**meta["settings"], "device": self.model.backend}}

    def to(self, device: Any) -> OnnxEstimator:
        """Logs that it stays: `device` or `providers` chose the device when the file was loaded."""
        log.info("%s cannot move to %s: it was loaded to run on %s", self.name, device, self.model.backend)
        return self


def load_onnx_estimator(
    path: str | Path, *, device: Any = None, providers: Sequence[Provider] | None = None, **settings: Any
) -> OnnxEstimator:
    """The estimator of an exported file.

    Args:
        path: NAME.onnx, with NAME.onnx.DIGEST.data beside it if the export wrote one.
        device: one of `onnx_devices.DEVICES`, optionally with a part ("cuda:1", "openvino:gpu"), or None.
        providers: onnxruntime's names, or (name, options), in order of preference; instead of `device`.
        settings: batch_size, flip_test, crop: as in `PoseEstimator`.

    Raises:
        CheckpointError: the file does not exist or is not an SDPose export.
        InputError: the device is unknown or did not start.
        MissingDependency: torch or onnxruntime is not installed.
    """
    path = Path(path)
    network = OnnxNetwork(path, providers, device=device)
    if settings.get("batch_size") is None and "CPU" not in network.backend:  # CPUExecutionProvider, OpenVINO on a CPU
        settings["batch_size"] = BATCH_SIZE_OF_DEVICE["cuda"]
    name = f"SDPose {network.config.keypoint_set} (ONNX)"
    return OnnxEstimator(network, name=name, weights=identify(path), **settings)  # type: ignore[arg-type]
