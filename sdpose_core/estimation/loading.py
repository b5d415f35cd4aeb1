"""`load_estimator`: SDPose, an ONNX export, or the preview, by name or path."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..checkpoints.published import find_weights, identify
from ..dependencies import install_command, installed
from ..errors import CheckpointError, InputError, MissingDependency
from ..options import with_settings
from .crop_jobs import Estimator
from .onnx import load_onnx_estimator
from .options import EstimatorOptions
from .preview import PREVIEWS, PreviewEstimator
from .sdpose import PoseEstimator

log = logging.getLogger(__name__)


def load_estimator(
    name_or_path: str | Path = "auto",
    options: EstimatorOptions | None = None,
    *,
    search: Sequence[str | Path] = (),
    **settings: Any,
) -> Estimator:
    """The estimator called `name_or_path`.

        load_estimator("wholebody", flip_test=True)
        load_estimator("wholebody", EstimatorOptions(flip_test=True))

    Args:
        name_or_path: "auto" (SDPose weights if this machine has them, whole body before body; otherwise the preview,
            as the log and every result say), "preview" (the embedded models, 133 points), "preview-body" (17 points),
            "body", "wholebody", or the path of a checkpoint or of an ONNX file made by `export_onnx`.
        options: how to load and run it; the preview takes a device such as "openvino", and
            names the others that were given, which it ignores.
        search: more folders in which to look for weights.
        settings: fields of `EstimatorOptions` by name; they replace those of `options`.

    Raises:
        CheckpointError: the weights are missing or of another kind.
        InputError: an option is unknown or cannot be used.
        MissingDependency: SDPose needs torch and diffusers, and one is missing.
    """
    options = with_settings(options or EstimatorOptions(), settings, "estimator")
    path, why = chosen_weights(name_or_path, search=search)
    if path is None:
        if why:
            log.info("%s", why)
        if ignored := [name.replace("_", "-") for name in options.changed() if name != "device"]:
            log.warning("the preview runs as it is, without these options: %s", ", ".join(ignored))
        body_only = str(name_or_path) == "preview-body"
        return PreviewEstimator(body_only=body_only, note=why or None, device=options.device)
    if path.name.lower().endswith(".onnx"):
        return _load_export(path, options)
    return _load_checkpoint(path, options, search)


def chosen_weights(name_or_path: str | Path = "auto", *, search: Sequence[str | Path] = ()) -> tuple[Path | None, str]:
    """The checkpoint or ONNX file that `load_estimator` loads, without loading it; None for the preview, and why.

    The reason is empty if the preview was asked for. Raises `CheckpointError` if the weights are missing, and
    `MissingDependency` if what runs them is missing too.
    """
    name = str(name_or_path)
    if name in PREVIEWS:
        return None, ""
    if name == "auto":
        return _find_any(search)
    if name.lower().endswith(".onnx") or os.path.exists(name):
        return Path(name), ""
    try:
        return find_weights(name, search=search), ""
    except CheckpointError:
        _need_torch(name)  # first things first: without it, the weights are of no use
        raise


def _load_export(path: Path, options: EstimatorOptions) -> Estimator:
    if given := options.fixed_by_export():
        names = ", ".join(name.replace("_", "-") for name in given)
        raise InputError(f"{path}: some options were fixed by the export: leave out {names}, or export it again")
    return load_onnx_estimator(
        path, device=options.device, providers=options.providers, batch_size=options.batch_size,
        flip_test=options.flip_test, crop=options.crop,
    )  # fmt: skip


def _load_checkpoint(path: Path, options: EstimatorOptions, search: Sequence[str | Path]) -> PoseEstimator:
    _need_torch(path.name)
    from ..checkpoints.loading import load_sdpose
    from ..model.devices import channels_last

    model = load_sdpose(
        path, keypoint_set=options.keypoint_set, feature_level=options.feature_level, input_size=options.input_size,
        dtype=options.dtype, vae_dtype=options.vae_dtype, device=options.device, fold=True,
        pool_attention=options.pool_attention, tiny_encoder=options.tiny_encoder, search=search,
    )  # fmt: skip
    if options.channels_last or model.device.type == "cuda":
        channels_last(model)
    if options.compile:
        log.warning("%s", cost_of_compiling(model.device.type))
        model.compile_backbone(str(options.compile))
    return PoseEstimator(
        model,
        name=f"SDPose {model.config.keypoint_set}" + ", cross-attention" * model.config.reads_attention,
        weights=identify(path),
        batch_size=options.batch_size,
        flip_test=options.flip_test,
        crop=options.crop,
    )


def cost_of_compiling(device_type: str) -> str:
    """What `compile` costs on a type of device, in one line."""
    if device_type == "cpu":
        return "compiling: the first picture takes minutes longer, and on a CPU the later ones are seldom faster"
    return (
        "compiling: the first picture takes minutes longer, and so does the first with another number of people; "
        "for some hundred pictures or more"
    )


def _need_torch(name: str) -> None:
    absent = [package for package in ("torch", "diffusers") if not installed(package)]
    if absent:
        raise MissingDependency(
            f"SDPose ({name!r}) needs {' and '.join(absent)}, which this Python does not have: "
            f"{install_command(*absent)} (or use the preview: --model preview)"
        )


def _find_any(search: Sequence[str | Path]) -> tuple[Path | None, str]:
    """The best SDPose weights on this machine, or None and the reason why the preview is used."""
    for name in ("wholebody", "body"):
        try:
            path = find_weights(name, search=search)
        except CheckpointError:
            continue
        if installed("torch") and installed("diffusers"):
            return path, ""
        return None, (
            f"SDPose weights found ({path}), but torch or diffusers is not installed: using the preview "
            f"(MoveNet and MediaPipe), not SDPose; {install_command('torch', 'diffusers')}"
        )
    return None, (
        "no SDPose weights on this machine: using the preview (MoveNet and MediaPipe), not SDPose; "
        "'sdpose download wholebody' fetches them"
    )
