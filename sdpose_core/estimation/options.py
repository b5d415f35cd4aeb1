"""The options of an estimator, as the command, the nodes and Python share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from ..onnx_runtime import Provider

_KEY = "fixed by an export"


def _fixed_by_export(default: Any = None) -> Any:
    """A field that an ONNX file has decided once and for all."""
    return field(default=default, metadata={_KEY: True})


@dataclass(frozen=True)
class EstimatorOptions:
    """How an estimator is loaded, and how it runs.

    Attributes:
        device: "cuda", "cuda:1", "mps", "cpu"; of an ONNX file also "tensorrt", "coreml", "directml"; None or "auto":
            the best that is here.
        batch_size: crops per pass; None: by device.
        flip_test: average with the mirrored crop (twice the cost).
        crop: one of `crops.CROP_MODES`; "affine" is the crop of training.
        dtype, vae_dtype, keypoint_set, feature_level, input_size: see `load_sdpose`.
        channels_last, compile: memory format (always so on CUDA) and `torch.compile`, for speed.
        pool_attention, tiny_encoder: stated approximations, see `load_sdpose`; recorded in every result.
        providers: onnxruntime providers of an ONNX file, instead of a device.
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
    compile: bool = _fixed_by_export(False)
    pool_attention: bool = _fixed_by_export(False)
    tiny_encoder: str | Path | None = _fixed_by_export()
    providers: Sequence[Provider] | None = None

    def __post_init__(self) -> None:
        for name in ("dtype", "vae_dtype"):
            if getattr(self, name) == "auto":
                object.__setattr__(self, name, None)

    def fixed_by_export(self) -> list[str]:
        """Names of the options that were given although an ONNX file has decided them."""
        return [own.name for own in fields(self) if _KEY in own.metadata and getattr(self, own.name) != own.default]
