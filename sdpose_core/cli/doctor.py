"""`sdpose doctor`: what is installed, what SDPose would use, and what is missing. No network."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from ..checkpoints.published import find_weights, identify
from ..dependencies import install_command, installed
from ..detection.art_detector import art_detector_path
from ..detection.loading import load_detector
from ..errors import SDPoseError
from ..estimation.preview import PreviewEstimator
from ..files import why_missing
from ..onnx_devices import DEVICES
from ..version import __version__
from .arguments import OK

_PACKAGES = (
    "numpy", "opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless",
    "pillow", "scipy", "av", "safetensors", "huggingface-hub", "torch", "diffusers", "transformers", "onnxruntime",
    "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-migraphx", "controlnet-aux", "ray",
)  # fmt: skip
_ONE_OF_EACH = ("opencv", "onnxruntime")
"""Packages of these names overwrite each other's files."""


def add_parser(commands: Any) -> None:
    """Add `sdpose doctor` to the commands."""
    sub = commands.add_parser("doctor", help="show what is installed, which weights are found, and what is missing")
    sub.set_defaults(run=_run_doctor)


def _run_doctor(args: argparse.Namespace) -> int:
    for line in _report():
        print(line)
    return OK


def _report() -> Iterator[str]:
    yield f"sdpose {__version__}, Python {sys.version.split()[0]}, {platform.system()} {platform.machine()}"
    versions = {name: version for name in _PACKAGES if (version := _version(name))}
    yield from (f"  {name} {version}" for name, version in versions.items())
    yield from _doubles(versions)
    yield from _torch()
    yield from _onnx()
    yield from _weights()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _doubles(versions: dict[str, str]) -> Iterator[str]:
    for kind in _ONE_OF_EACH:
        found = [name for name in versions if name.startswith(kind)]
        if len(found) > 1:
            yield f"warning: {' and '.join(found)} overwrite each other's files; keep one of them"


def _torch() -> Iterator[str]:
    missing = [name for name in ("torch", "diffusers") if not installed(name)]
    if missing:
        yield f"SDPose: cannot run without {' and '.join(missing)}: {install_command(*missing)}"
        return
    from ..model.devices import choose_dtype, name_of, pick_device

    device = pick_device(None)
    dtype, why = choose_dtype(None, device)
    yield f"SDPose: would run on {device} in {name_of(dtype)} ({why})"


def _onnx() -> Iterator[str]:
    if installed("onnxruntime"):
        import onnxruntime

        available = onnxruntime.get_available_providers()
        devices = [name for name, device in DEVICES.items() if device.provider in available]
        yield f"ONNX: onnxruntime with {', '.join(available)}: --device {', '.join(devices)}"
    try:
        yield f"detector: {load_detector().name}"
        if missing := why_missing(art_detector_path()):
            yield f"art-detector: {art_detector_path()}: {missing}; 'sdpose download art-detector' gets it"
        yield f"preview: {PreviewEstimator().name}"
    except SDPoseError as error:
        yield f"detector and preview: cannot run: {error}"


def _weights() -> Iterator[str]:
    for name in ("body", "wholebody"):
        try:
            path = find_weights(name)
        except SDPoseError as error:
            yield f"weights {name}: {error}"
            continue
        yield f"weights {name}: {path}"
        yield from (f"  sha256 {key}: {value}" for key, value in identify(path).get("sha256", {}).items())
