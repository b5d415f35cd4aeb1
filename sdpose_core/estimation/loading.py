"""`load_estimator`: SDPose, an ONNX export, or the preview, by name or path."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dependencies import installed
from ..errors import CheckpointError, InputError, MissingDependency
from .crop_jobs import Estimator
from .sdpose import PoseEstimator

if TYPE_CHECKING:
    from ..model.network import SDPose
    from ..onnx_runtime import Provider

log = logging.getLogger(__name__)


def load_estimator(
    name_or_path: str | Path = "auto",
    *,
    dtype: Any = None,
    vae_dtype: Any = None,
    device: Any = None,
    batch_size: int | None = None,
    flip_test: bool = False,
    crop: str = "affine",
    keypoint_set: str | None = None,
    feature_level: str | None = None,
    input_size: tuple[int, int] | None = None,
    channels_last: bool = False,
    compile: bool = False,
    pool_attention: bool = False,
    tiny_encoder: str | Path | None = None,
    providers: Sequence[Provider] | None = None,
    search: Sequence[str | Path] = (),
) -> Estimator:
    """The estimator called `name_or_path`.

    Args:
        name_or_path: "auto" (SDPose weights if they are on this machine, whole body before body; else the preview,
            which is said in the log and in every result), "preview", "body", "wholebody", a checkpoint's path, or
            that of an ONNX file of `export_onnx`.
        dtype, vae_dtype, device, keypoint_set, feature_level, input_size: as in `load_sdpose`.
        batch_size, flip_test, crop: as in `PoseEstimator`.
        channels_last, compile: memory format (always so on CUDA) and `torch.compile`, for speed.
        pool_attention, tiny_encoder: stated approximations, see `load_sdpose`; recorded in every result.
        providers: of an ONNX file, see `load_onnx_estimator`.
        search: more folders in which to look for weights.

    Raises:
        CheckpointError: the weights are missing or of another kind.
        MissingDependency: SDPose was asked for without torch or diffusers.
    """
    name = str(name_or_path)
    if name == "preview":
        return _preview()
    if name == "auto":
        path, why = _find_any(search)
        if path is None:
            log.info("%s", why)
            return _preview(note=why)
        name_or_path = path
    if name.endswith(".onnx"):
        from .onnx import load_onnx_estimator

        fixed = {
            "dtype": dtype not in (None, "auto"), "vae_dtype": vae_dtype, "keypoint_set": keypoint_set,
            "feature_level": feature_level, "input_size": input_size, "channels_last": channels_last,
            "compile": compile, "pool_attention": pool_attention, "tiny_encoder": tiny_encoder,
        }  # fmt: skip
        if given := [key.replace("_", "-") for key, value in fixed.items() if value]:
            raise InputError(f"{name} is what it was exported as: leave out {', '.join(given)}, or export it anew")
        return load_onnx_estimator(
            name, device=device, providers=providers, batch_size=batch_size, flip_test=flip_test, crop=crop
        )
    _need_torch(name)
    from ..checkpoints.loading import load_sdpose
    from ..checkpoints.published import find_weights

    path = Path(name_or_path) if Path(name_or_path).exists() else find_weights(name, search=search)
    model = load_sdpose(
        path,
        keypoint_set=keypoint_set,
        feature_level=feature_level,
        input_size=input_size,
        dtype=dtype,
        vae_dtype=vae_dtype,
        device=device,
        fold=True,
        pool_attention=pool_attention,
        tiny_encoder=tiny_encoder,
    )
    model = _accelerated(model, channels_last, compile)
    return PoseEstimator(
        model,
        name=f"SDPose {model.config.keypoint_set}",
        weights=_identity(path),
        batch_size=batch_size,
        flip_test=flip_test,
        crop=crop,
    )


def _preview(note: str | None = None) -> Estimator:
    from .preview import PreviewEstimator

    return PreviewEstimator(note=note)


def _need_torch(name: str) -> None:
    absent = [package for package in ("torch", "diffusers") if not installed(package)]
    if absent:
        raise MissingDependency(
            f"SDPose ({name!r}) needs {' and '.join(absent)}, not installed here: "
            'pip install "sdpose-annotator[torch]" (or use the preview: --model preview)'
        )


def _find_any(search: Sequence[str | Path]) -> tuple[Path | None, str]:
    """The best SDPose weights of this machine, or None and one line that says why the preview runs."""
    from ..checkpoints.published import find_weights

    for name in ("wholebody", "body"):
        try:
            path = find_weights(name, search=search)
        except CheckpointError:
            continue
        if installed("torch") and installed("diffusers"):
            return path, ""
        return None, (
            f"SDPose weights are here ({path}) but torch or diffusers is not installed: using the 17-point preview "
            '(MoveNet), not SDPose; pip install "sdpose-annotator[torch]"'
        )
    return None, (
        "no SDPose weights on this machine: using the 17-point preview (MoveNet), not SDPose; "
        "'sdpose download wholebody' fetches them"
    )


def _accelerated(model: SDPose, channels_last: bool, compile: bool) -> SDPose:
    import torch

    if channels_last or model.device.type == "cuda":
        model = model.to(memory_format=torch.channels_last)
    if compile:
        model.compile_backbone()
    return model


def _identity(path: Path) -> dict[str, Any]:
    """Name and sha256 of a checkpoint (of each safetensors file of a folder)."""
    from ..checkpoints.published import identify

    return identify(path)
