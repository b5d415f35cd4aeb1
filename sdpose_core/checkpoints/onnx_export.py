"""Exports an SDPose as one ONNX network, pictures to heatmaps, which `estimation/onnx.py` runs.

It is traced from plain modules, not from those of `model/onednn.py`, which are for PyTorch on a CPU.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..dependencies import require
from ..errors import InputError, writing
from ..files import temporary_folder
from ..model.folding import fold_constants
from ..model.head import HeatmapHead
from ..model.network import SDPose
from .layouts import ConversionReport, read_checkpoint
from .loading import from_state, input_size_change
from .published import SDPOSE_LICENSE, data_files, identify, used_data_files
from .sizes import metadata_of

OPSET = 20

EXTERNAL_ABOVE = 1 << 30
"""Bytes. Larger weights go to a separate file, as ONNX files are limited to 2 GB."""

NETWORK = "images (N, 3, H, W) float32 RGB in [-1, 1] -> heatmaps (N, K, H/4, W/4) float32; N is free"

_DTYPES = (torch.float32, torch.float16)  # in opset 20, Conv and others do not take bfloat16


def export_onnx(
    source: str | Path,
    target: str | Path,
    *,
    dtype: torch.dtype | None = None,
    keypoint_set: str | None = None,
    feature_level: str | None = None,
    input_size: tuple[int, int] | None = None,
    external_data: bool | None = None,
    overwrite: bool = False,
) -> ConversionReport:
    """Export a checkpoint as ONNX, for any number of crops of one size.

    Args:
        source: a checkpoint of any layout.
        target: NAME.onnx; weights above 1 GB go to NAME.onnx.DIGEST.data in the same folder.
        dtype: of weights and computation, float32 (default) or float16; input, output, norms' statistics and the head's
            last layer are always float32.
        keypoint_set, feature_level, input_size: see `read_checkpoint`.
        external_data: whether weights go to a separate file; None: by their size.
        overwrite: replace the target.

    Raises:
        CheckpointError: the source is not an SDPose.
        InputError: a wrong suffix or dtype; the target exists and `overwrite` is not set, or cannot be written.
        MissingDependency: onnxscript is not installed.
    """
    source, target = Path(source), Path(target)
    dtype = dtype or torch.float32
    _check(target, dtype, overwrite)
    require("onnxscript", "exporting ONNX")
    config, state, info = read_checkpoint(
        source, keypoint_set=keypoint_set, feature_level=feature_level, input_size=input_size
    )
    config.need_features("exporting ONNX")
    model = from_state(config, state, str(source)).eval().requires_grad_(False)
    count = len(state)
    del state  # else a cast would hold the weights twice
    model = fold_constants(model, torch.float32).to(dtype)
    size = sum(value.numel() for value in model.parameters()) * dtype.itemsize
    texts = {**metadata_of(config), "network": NETWORK, "weights_licence": SDPOSE_LICENSE}
    texts["source"] = json.dumps(identify(source))
    if changed := input_size_change(config, info):
        texts["approximations"] = json.dumps({"input_size": changed})
    program = trace(model)
    _label(program.model, texts)
    external = size > EXTERNAL_ABOVE if external_data is None else external_data
    data = _save(program, target, external)
    notes = [f"the weights are in {data}: keep it beside {target.name}"] if data else []
    return ConversionReport(target, "onnx", count, tuple(notes))


def _check(target: Path, dtype: torch.dtype, overwrite: bool) -> None:
    if target.suffix.lower() != ".onnx":
        raise InputError(f"{target}: expected a name that ends in .onnx")
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists: choose another name, or use --overwrite")
    if dtype not in _DTYPES:
        raise InputError(f"ONNX in {str(dtype).removeprefix('torch.')}: choose fp32 or fp16")


class _Network(nn.Module):
    """`SDPose.heatmaps` of a folded model, with code that does not depend on the batch size."""

    def __init__(self, model: SDPose) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, H, W) float32 -> heatmaps (N, K, H/4, W/4) float32."""
        model, head = self.model, self.model.head
        assert isinstance(head, HeatmapHead)
        moments = model.vae.quant_conv(model.vae.encoder(images.to(model.dtype)))
        latents = moments.chunk(2, dim=1)[0] * model.vae.scaling_factor
        features, _ = model.unet(latents, None, None, num_pose=images.shape[0])
        return head.in_whole_layers(head.fuse(features)).float()


class StagedGroupNorm(nn.GroupNorm):
    """Group norm that averages rows first, then the row means.

    A traced group norm becomes onnxruntime's InstanceNormalization, which on a CPU sums the millions of values of a
    group one by one: in the VAE's first layers its error is 6e-4, here 3e-6, in the same time. In half precision,
    whose rounding is as large, see `FloatGroupNorm`.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, ..., W) float32 -> the same shape."""
        channels = (-1,) + (1,) * (x.ndim - 2)
        normal = _normalized(x.reshape(x.shape[0], self.num_groups, -1, x.shape[-1]), self.eps)
        return normal.reshape(x.shape) * self.weight.view(channels) + self.bias.view(channels)


class StagedInstanceNorm(nn.InstanceNorm2d):
    """The same for instance norm."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) float32 -> the same shape."""
        return _normalized(x, self.eps)


class FloatGroupNorm(nn.GroupNorm):
    """Group norm of half-precision values in float32, in a single layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, ...) -> the same shape and dtype."""
        return F.group_norm(x.float(), self.num_groups, self.weight.float(), self.bias.float(), self.eps).to(x.dtype)


class FloatInstanceNorm(nn.InstanceNorm2d):
    """The same for instance norm."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> the same shape and dtype."""
        return F.instance_norm(x.float(), eps=self.eps).to(x.dtype)


def _normalized(rows: torch.Tensor, eps: float) -> torch.Tensor:
    """(N, G, R, W) normalized over R and W."""
    away = rows - _mean(rows)
    return away * torch.rsqrt(_mean(away * away) + eps)


def _mean(rows: torch.Tensor) -> torch.Tensor:
    return rows.mean(dim=3, keepdim=True).mean(dim=2, keepdim=True)


_STAGED = {nn.GroupNorm: StagedGroupNorm, nn.InstanceNorm2d: StagedInstanceNorm}
_IN_FLOAT = {nn.GroupNorm: FloatGroupNorm, nn.InstanceNorm2d: FloatInstanceNorm}


def trace(model: SDPose) -> Any:
    """A folded model -> `torch.onnx.ONNXProgram`, "images" to "heatmaps". Replaces its norms in place."""
    w, h = model.config.input_size
    norms = _STAGED if model.dtype == torch.float32 else _IN_FLOAT  # ONNX has layer norm's statistics in float32
    for module in model.modules():
        module.__class__ = norms.get(type(module), type(module))
    with torch.no_grad():
        return torch.onnx.export(
            _Network(model).eval(),
            (torch.zeros(2, 3, h, w),),  # a batch size of 1 would become a constant
            dynamo=True,
            dynamic_shapes={"images": {0: "batch"}},
            input_names=["images"],
            output_names=["heatmaps"],
            opset_version=OPSET,
            verbose=False,
        )


def _label(model: Any, texts: Mapping[str, str]) -> None:
    """Replace the tracer's metadata, which contain local file names, by ours."""
    for node in model.graph:
        node.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.metadata_props.clear()
    model.metadata_props.update(texts)
    model.producer_name = "sdpose-annotator"


def _save(program: Any, target: Path, external: bool) -> str | None:
    """Write NAME.onnx, and its weights to a file of another name for other weights; returns that name.

    The old pair can be loaded until the new .onnx takes its place. Then the weights that it does not name are removed.
    """
    name = f"{target.name}.{_digest(program.model)}" if external else target.name
    data = target.with_name(f"{name}.data")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(target) as folder:
            program.save(folder / name, external_data=external)  # the .onnx names its data after itself
            if (folder / data.name).exists():
                os.replace(folder / data.name, data)
            os.replace(folder / name, target)
        used = used_data_files(target)
        for old in data_files(target):
            if old not in used:
                old.unlink(missing_ok=True)
    return data.name if used else None


def _digest(model: Any) -> str:
    """16 hex digits of the weights of a traced model."""
    digest = hashlib.sha256()
    for name, value in model.graph.initializers.items():
        digest.update(name.encode())
        digest.update(value.const_value.tobytes())
    return digest.hexdigest()[:16]
