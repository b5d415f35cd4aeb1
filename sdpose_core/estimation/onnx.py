"""Running what `sdpose convert IN OUT.onnx` wrote, through onnxruntime: on CPUs, CUDA, TensorRT and others."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..codec.heatmaps import flip_back
from ..dependencies import require
from ..errors import CheckpointError, InputError
from ..files import sha256_of
from ..model.config import SDPoseConfig
from ..onnx_runtime import OnnxModel, Provider, provider_name
from .crop_jobs import BATCH_SIZE_OF_DEVICE
from .sdpose import PoseEstimator

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

PROVIDERS_OF_DEVICE: dict[str, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider",),
    "coreml": ("CoreMLExecutionProvider",),
    "directml": ("DmlExecutionProvider",),
}
"""What `--device` means for an ONNX file; without it the first of CUDA, CoreML, DirectML and CPU that starts."""


class OnnxNetwork:
    """The network of an exported file, with what `PoseEstimator` asks of an SDPose.

    Attributes:
        config: of the model that was exported.
        approximations: what makes its answer another than the checkpoint's.
        backend: what computes, see `OnnxModel`.
    """

    def __init__(self, path: str | Path, providers: Sequence[Provider] | None = None) -> None:
        require("torch", "reading heatmaps")
        require("onnxruntime", f"running {Path(path).name}")
        self._onnx = OnnxModel(path, providers=providers, backend="onnxruntime", max_threads=os.cpu_count() or 1)
        self.backend, self.notes = self._onnx.backend, self._onnx.notes
        try:
            self.config = SDPoseConfig.from_dict(json.loads(self._onnx.metadata["config"]))
        except (KeyError, ValueError, TypeError):
            raise CheckpointError(
                f"{path} does not say which SDPose it is: expected a file of 'sdpose convert CHECKPOINT NAME.onnx'"
            ) from None
        self.approximations: dict[str, Any] = json.loads(self._onnx.metadata.get("approximations", "{}"))

    def parameters(self) -> Iterator[torch.Tensor]:
        """Where pictures are to lie, and in what type: the weights are onnxruntime's own."""
        import torch

        yield torch.zeros(0)

    def heatmaps(self, images: torch.Tensor, flip_test: bool = False) -> torch.Tensor:
        """As `SDPose.heatmaps`."""
        import torch

        if not flip_test:
            return torch.from_numpy(self._onnx.run({"images": images.contiguous().numpy()})[0])
        straight, mirrored = self.heatmaps(torch.cat([images, images.flip(-1)])).chunk(2)
        return (straight + flip_back(mirrored, list(self.config.flip_indices))) * 0.5


class OnnxEstimator(PoseEstimator):
    """`PoseEstimator` over an `OnnxNetwork`; `meta` says what computed."""

    model: OnnxNetwork  # type: ignore[assignment]

    @property
    def notes(self) -> list[str]:
        """What runs it, and a line for everything that was tried and did not work."""
        return [self.model.backend, *self.model.notes]

    def meta(self) -> dict[str, Any]:
        """As `PoseEstimator.meta`; the device is onnxruntime's."""
        meta = super().meta()
        return {**meta, "settings": {**meta["settings"], "device": self.model.backend}}

    def to(self, device: Any) -> OnnxEstimator:
        """Stays where it is: the place is chosen when the file is loaded (`device`, `providers`)."""
        log.info("%s does not move to %s: it runs on %s, as it was loaded", self.name, device, self.model.backend)
        return self


def load_onnx_estimator(
    path: str | Path, *, device: Any = None, providers: Sequence[Provider] | None = None, **settings: Any
) -> OnnxEstimator:
    """The estimator of an exported file.

    Args:
        path: NAME.onnx, with NAME.onnx.data beside it if there was one.
        device: one of `PROVIDERS_OF_DEVICE`, "cuda:1" and the like, or None.
        providers: onnxruntime's own names, or (name, options), in order; instead of `device`.
        settings: batch_size, flip_test, crop: as in `PoseEstimator`.

    Raises:
        CheckpointError: no such file, or no SDPose.
        InputError: a device that is not here.
        MissingDependency: torch or onnxruntime is not installed.
    """
    path = Path(path)
    asked = providers or _providers_of(device)
    network = OnnxNetwork(path, asked)
    if asked and not any(provider_name(provider) in network.backend for provider in asked):
        raise InputError(
            f"{path.name} was to run on {', '.join(map(provider_name, asked))}, which did not start here "
            f"({'; '.join(network.notes) or 'its libraries are missing'}): choose another device"
        )
    if settings.get("batch_size") is None and "CPUExecutionProvider" not in network.backend:
        settings["batch_size"] = BATCH_SIZE_OF_DEVICE["cuda"]
    name = f"SDPose {network.config.keypoint_set} (ONNX)"
    return OnnxEstimator(network, name=name, weights=_weights(path), **settings)  # type: ignore[arg-type]


def _providers_of(device: Any) -> Sequence[Provider] | None:
    if device is None or str(device) == "auto":
        return None
    kind, _, number = str(device).partition(":")
    if kind not in PROVIDERS_OF_DEVICE or (number and not number.isdigit()):
        raise InputError(f"device {str(device)!r}: an ONNX model runs on auto, {', '.join(PROVIDERS_OF_DEVICE)}")
    names = PROVIDERS_OF_DEVICE[kind]
    return [(name, {"device_id": number}) for name in names] if number else names


def _weights(path: Path) -> Mapping[str, Any]:
    files = [path, path.with_name(f"{path.name}.data")]
    return {"path": path.name, "sha256": {file.name: sha256_of(file) for file in files if file.is_file()}}
