"""What a run asks for, known without loading a model: the settings of an `Origin`.

The same command gives the same settings on every machine: files count by their content, never by path or time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoints.published import weight_files
from ..detection.art_detector import resolved
from ..detection.people import DetectorOptions
from ..estimation.loading import chosen_weights
from ..estimation.options import EstimatorOptions
from ..estimation.preview import PREVIEWS
from ..files import why_missing
from ..origins import Origin, dtype_name, file_identity, weights_fingerprint
from ..resumable import plain
from .clip_options import ClipOptions

if TYPE_CHECKING:
    from ..video.frames import VideoSource

_RUNNING = {"device", "batch_size", "compile", "channels_last", "providers"}
"""Options of an estimator that say where and how fast it runs."""

_AFTERWARDS = ("clean", "min_track", "person")
"""Settings of a clip that are applied to its finished chunks."""


def models_asked(
    model: str | Path | Mapping[str, Any],
    options: EstimatorOptions,
    detector: str | Path,
    limits: DetectorOptions,
    boxes: Path | None = None,
) -> dict[str, Any]:
    """The models of a run and their options, JSON-able.

    Args:
        model: as for `load_estimator`; or, for a model that is loaded, what identifies it.
        options: those that do not change a result are left out; the preview has none that does.
        detector, limits: as for `load_detector`.
        boxes: a file of boxes, which replaces the detector.

    Raises:
        CheckpointError: the weights are missing.
        InputError: a file cannot be read.
    """
    asked: dict[str, Any] = {"model": model if isinstance(model, Mapping) else _model(model)}
    if asked["model"] in PREVIEWS:
        options = EstimatorOptions()
    estimator = {field.name: getattr(options, field.name) for field in fields(options) if field.name not in _RUNNING}
    estimator["dtype"] = dtype_name(options.dtype)
    estimator["vae_dtype"] = None if options.vae_dtype is None else dtype_name(options.vae_dtype)
    if options.tiny_encoder is not None:
        estimator["tiny_encoder"] = weights_fingerprint([Path(options.tiny_encoder)])
    asked["estimator"] = estimator
    if boxes is not None:
        return plain({**asked, "boxes": file_identity(boxes)})
    found = {"model": _detector(detector), **asdict(limits.limits()), **limits.confirming()}
    return plain({**asked, "detector": found})


def _model(name_or_path: str | Path) -> str | dict[str, Any]:
    path, _ = chosen_weights(name_or_path)
    if path is None:
        return str(name_or_path) if str(name_or_path) in PREVIEWS else PREVIEWS[0]  # "auto" takes the first
    return weights_fingerprint(weight_files(path))


def _detector(name_or_path: str | Path) -> str | dict[str, Any]:
    name_or_path = resolved(name_or_path)
    path = Path(name_or_path)
    if str(name_or_path) in ("yolox", "full") or why_missing(path):
        return str(name_or_path)
    files = sorted(file for file in path.iterdir() if os.path.isfile(file)) if os.path.isdir(path) else [path]
    return weights_fingerprint(files)


def clip_origin(video: VideoSource, options: ClipOptions, asked: Mapping[str, Any]) -> Origin:
    """The origin of a clip's poses; `asked` is from `models_asked`."""
    person = asdict(options.person)
    if options.person.mask is not None:
        person["mask"] = file_identity(options.person.mask)
    clean = None if options.clean is None else asdict(options.clean)
    settings = {**asked, "options": options.estimation(), "clean": clean, "person": person}
    settings["min_track"] = options.min_track
    return Origin(video.identity(), plain(settings))


def before_cleaning(origin: Origin) -> dict[str, Any]:
    """The settings on which a clip's chunks depend: another cleaning, minimum length or person does not change
    them. Not the dtype that was asked for: what counts is the one that "auto" chose."""
    settings = {name: value for name, value in origin.settings.items() if name not in _AFTERWARDS}
    if isinstance(estimator := settings.get("estimator"), Mapping):
        settings["estimator"] = {name: value for name, value in estimator.items() if name != "dtype"}
    return settings


def drawing_asked(
    style: str,
    parts: tuple[str, ...] | None,
    threshold: float,
    size: tuple[int, int] | None = None,
    fit: str = "pad",
    line_width: float | None = None,
) -> dict[str, Any]:
    """The settings of a drawing, for its mark; equal for equal drawings."""
    return plain({
        "style": style, "parts": None if parts is None else sorted(parts), "threshold": threshold, "size": size,
        "fit": fit if size else None, "line_width": None if line_width is None else float(line_width),
    })  # fmt: skip
