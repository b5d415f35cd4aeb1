"""Devices for ONNX files: the names that `--device` takes, and the onnxruntime provider of each, with its options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import InputError

Provider = str | tuple[str, dict[str, Any]]
"""An onnxruntime provider by name, or as (name, options)."""


@dataclass(frozen=True)
class OnnxDevice:
    """A device.

    Attributes:
        provider: its name in onnxruntime.
        install: what brings the provider.
        options: of the provider.
        parts: what may follow a colon, and the provider's options for it; "N" stands for a number.
        automatic: whether it is tried where no device is asked for, if onnxruntime here has it.
    """

    provider: str
    install: str
    options: dict[str, str] = field(default_factory=dict)
    parts: dict[str, dict[str, str]] = field(default_factory=dict)
    automatic: bool = False

    def of(self, part: str) -> Provider | None:
        """The provider for what follows the colon ("" for nothing); None if this device has no such part."""
        given = self.parts.get("N" if part.isdigit() else part, {}) if part else {}
        if part and not given:
            return None
        options = self.options | {name: part if value == "N" else value for name, value in given.items()}
        return (self.provider, options) if options else self.provider


_NUMBERED = {"N": {"device_id": "N"}}
_FP32, _ITS_OWN = {"precision": "FP32"}, {"precision": "ACCURACY"}

DEVICES: dict[str, OnnxDevice] = {
    "cuda": OnnxDevice("CUDAExecutionProvider", "onnxruntime-gpu", parts=_NUMBERED, automatic=True),
    "coreml": OnnxDevice(
        "CoreMLExecutionProvider", "onnxruntime on macOS", {"ModelFormat": "MLProgram"}, automatic=True
    ),
    "directml": OnnxDevice(
        "DmlExecutionProvider", "onnxruntime-directml on Windows", parts=_NUMBERED, automatic=True
    ),
    "cpu": OnnxDevice("CPUExecutionProvider", "onnxruntime", automatic=True),
    "tensorrt": OnnxDevice("TensorrtExecutionProvider", "onnxruntime-gpu and TensorRT", parts=_NUMBERED),
    "openvino": OnnxDevice(
        "OpenVINOExecutionProvider",
        "onnxruntime-openvino",
        # without a precision, OpenVINO computes in bf16 on a CPU that has it, and in fp16 on a GPU
        {"device_type": "CPU"} | _FP32,
        {
            "cpu": {"device_type": "CPU"} | _FP32,
            "gpu": {"device_type": "GPU"} | _FP32,
            "npu": {"device_type": "NPU", "disable_dynamic_shapes": "True"} | _ITS_OWN,  # it has neither these nor fp32
        },
    ),
    "migraphx": OnnxDevice("MIGraphXExecutionProvider", "onnxruntime-migraphx", parts=_NUMBERED),
}  # fmt: skip
"""By name; those that are tried by themselves, in this order."""

PROVIDERS: tuple[Provider, ...] = tuple(device.provider for device in DEVICES.values() if device.automatic)
"""Providers that are tried where none is asked for. OpenVINO is not among them: see docs/benchmark.md."""

_OF_PYTORCH = ("auto", "mps", "xpu", "npu", "hpu", "xla")
"""More names that PyTorch or its extensions take, beside "cuda" and "cpu"."""

_FOR_SDPOSE = ("cuda", "cpu", "tensorrt")
"""Devices that do not concern the preview and the detectors: PyTorch has the first two, and TensorRT would build an
engine of each small model, which takes minutes."""


def device_names() -> str:
    """All names, for help texts and errors: "cuda, cuda:N, ..."."""
    return ", ".join(f"{name}{part and ':' + part}" for name, device in DEVICES.items() for part in ("", *device.parts))


def providers_of(device: Any) -> Sequence[Provider] | None:
    """The provider of a device such as "cuda:1" or "openvino:gpu", in a list; None for None and "auto".

    Raises `InputError` for a device that is not in `DEVICES`.
    """
    if device is None or str(device) == "auto":
        return None
    name, colon, part = str(device).partition(":")
    provider = DEVICES[name].of(part) if name in DEVICES and (part or not colon) else None
    if provider is None:
        raise InputError(f"device {str(device)!r}: for ONNX files choose one of auto, {device_names()}")
    return [provider]


def only_onnx(device: Any) -> str | None:
    """The device, if it is for the preview and the detectors too: OpenVINO and others that PyTorch does not have."""
    name = str(device).partition(":")[0]
    return str(device) if name in DEVICES and name not in _FOR_SDPOSE else None


def for_pytorch(device: Any) -> Any:
    """The device for a detector that runs in PyTorch; None, its default, for one that only ONNX files run on."""
    name = str(device).partition(":")[0]
    return None if only_onnx(device) or name in ("auto", "tensorrt") else device


def for_small_models(device: Any) -> str | None:
    """As `only_onnx`, for what runs nothing but small models. Raises `InputError` for a name that nobody knows."""
    if isinstance(device, str) and device.partition(":")[0] not in (*DEVICES, *_OF_PYTORCH):
        providers_of(device)  # raises
    return only_onnx(device)


def provider_name(provider: Provider) -> str:
    """The provider's name without its options."""
    return provider if isinstance(provider, str) else provider[0]


def how_to_get(providers: Sequence[Provider]) -> str:
    """What brings these providers, as far as known: "OpenVINOExecutionProvider comes with onnxruntime-openvino"."""
    of = {device.provider: device.install for device in DEVICES.values()}
    names = [provider_name(provider) for provider in providers]
    return "; ".join(f"{name} comes with {of[name]}" for name in names if name in of)
