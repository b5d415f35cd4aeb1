"""The options of an estimator, shared by the command, the nodes and Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    import torch

    from ..onnx_devices import Provider

COMPILE_MODES = ("default", "reduce-overhead", "max-autotune")
"""Modes of `torch.compile`: the last two record CUDA graphs, and the last one also times kernels, for minutes."""

_KEY = "fixed by an export"


def _fixed_by_export(default: Any = None) -> Any:
    """A field whose value an ONNX export fixes."""
    return field(default=default, metadata={_KEY: True})


@dataclass(frozen=True)
class EstimatorOptions:
    """How an estimator is loaded, and how it runs.

    Attributes:
        device: "cuda", "cuda:1", "mps", "cpu"; for an ONNX file one of `onnx_devices.DEVICES`, such as "openvino:gpu";
            None or "auto": the best one available.
        batch_size: crops per pass; None: by device.
        flip_test: average with the mirrored crop (twice the cost).
        crop: one of `codec.crops.CROP_MODES`; "affine" is the crop used in training.
        dtype, vae_dtype, keypoint_set, feature_level, input_size: see `load_sdpose`.
        channels_last: the channels-last memory format, for speed (always used on CUDA).
        compile: one of `COMPILE_MODES` (True: "default") for `torch.compile`, see `SDPose.compile_backbone`.
        pool_attention, tiny_encoder: approximations, see `load_sdpose`; recorded in every result.
        providers: onnxruntime providers for an ONNX file, instead of a device.
    """

    device: str | torch.device | None = None
    batch_size: int | None = None
    flip_test: bool = False
    crop: str = "affine"
    dtype: str | torch.dtype | None = _fixed_by_export()
    vae_dtype: str | torch.dtype | None = _fixed_by_export()
    keypoint_set: str | None = _fixed_by_export()
    feature_level: str | None = _fixed_by_export()
    input_size: tuple[int, int] | None = _fixed_by_export()
    channels_last: bool = _fixed_by_export(False)
    compile: bool | str = _fixed_by_export(False)
    pool_attention: bool = _fixed_by_export(False)
    tiny_encoder: str | Path | None = _fixed_by_export()
    providers: Sequence[Provider] | None = None

    def __post_init__(self) -> None:
        for name in ("dtype", "vae_dtype"):
            if getattr(self, name) == "auto":
                object.__setattr__(self, name, None)
        if self.compile is True:
            object.__setattr__(self, "compile", COMPILE_MODES[0])
        if self.compile and self.compile not in COMPILE_MODES:
            raise InputError(f"compile: found {self.compile!r}, expected one of {', '.join(COMPILE_MODES)}")

    def changed(self) -> list[str]:
        """Names of the options that differ from their default."""
        return [f.name for f in fields(self) if getattr(self, f.name) != f.default]

    def fixed_by_export(self) -> list[str]:
        """Names of the options that differ from their default although an ONNX export fixes them."""
        fixed = {f.name for f in fields(self) if _KEY in f.metadata}
        return [name for name in self.changed() if name in fixed]
