"""What this CPU computes fast, by its instructions and by a short measurement, once per process."""

from __future__ import annotations

import functools
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from .strips import WinogradConv2d
from .timing import times_as_fast

log = logging.getLogger(__name__)

MIN_GAIN = 1.3
"""bf16 must be this many times as fast as float32: near a tie, noise would change results from run to run."""

_BF16 = {
    "AMX-BF16": ("amx_bf16", ("AMX",)),
    "AVX512-BF16": ("avx512_bf16", ("BF16", "FP16", "AMX", "AVX10")),
    "ARM's BF16": ("bf16", ("SVE",)),
}
"""Instructions: their flag, and what a value of ONEDNN_MAX_CPU_ISA has in its name if it allows them."""


def bf16_pays(smallest_map: tuple[int, int]) -> tuple[bool, str]:
    """Whether to compute in bf16 on this CPU, and what it has, such as "CPU with AVX512-BF16".

    Args:
        smallest_map: (w, h) of the smallest picture inside the network, on which bf16 is compared with float32.
    """
    name = bf16_instructions()
    if name is None:
        capped = any(flag in cpu_flags() for flag, _ in _BF16.values())
        return False, "CPU without bf16 instructions" + f" that ONEDNN_MAX_CPU_ISA={_limit()} allows" * capped
    cpu = f"CPU with {name}"
    if not onednn_uses_bf16():
        return False, f"{cpu}, which this PyTorch does not use"
    if not is_right_on_small_maps(smallest_map):
        advice = "; with ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 it may be right" * name.startswith("AMX")
        return False, f"{cpu}, whose bf16 gives wrong numbers for pictures as small as the network's{advice}"
    if bf16_gain() < MIN_GAIN:
        return False, f"{cpu}, where bf16 was not clearly faster when measured"
    return True, cpu


def bf16_instructions() -> str | None:
    """The best instructions for bf16 that oneDNN may use here, such as "AVX512-BF16"; None: there are none."""
    flags, limit = cpu_flags(), _limit()
    return next((name for name, (flag, allowed) in _BF16.items() if flag in flags and _allows(limit, allowed)), None)


@functools.cache
def cpu_flags() -> frozenset[str]:
    """The processor's instruction sets, as in /proc/cpuinfo; those that PyTorch knows elsewhere."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # missing in older versions
    found = {name for name, there in known.items() if there is True}
    found.update(*(line.split(":", 1)[1].split() for line in _cpuinfo() if line.startswith(("flags", "Features"))))
    if sys.platform == "darwin" and _sysctl("hw.optional.arm.FEAT_BF16") == "1":
        found.add("bf16")
    return frozenset(found)


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux, or a container without it
        return []


def _sysctl(name: str) -> str:
    try:
        run = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.strip()


def processor_name() -> str:
    """The processor's name; may be empty."""
    if lines := _cpuinfo():
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return platform.processor()


def _limit() -> str:
    """The best instruction set that oneDNN may use, by the environment; empty: any."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    return "" if limit.upper() in ("ALL", "DEFAULT") else limit.upper()


def _allows(limit: str, names: tuple[str, ...]) -> bool:
    return not limit or any(name in limit for name in names)


def onednn_uses_bf16() -> bool:
    """Whether this PyTorch hands bf16 to oneDNN."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # missing without oneDNN
    mkldnn = torch.backends.mkldnn
    return bool(mkldnn.is_available() and mkldnn.enabled and supported is not None and supported())


@functools.cache
def is_right_on_small_maps(smallest: tuple[int, int]) -> bool:
    """Whether bf16 agrees with float32 for layers on the two smallest sizes of pictures.

    Some kernels for AMX gave NaN on pictures of a few pixels.
    """
    w, h = smallest
    with torch.no_grad():
        return all(_agrees(layer, x) for size in ((h, w), (2 * h, 2 * w)) for layer, x in _small_layers(*size))


Layer = Callable[[torch.Tensor], torch.Tensor]


def _small_layers(h: int, w: int) -> Iterator[tuple[Layer, torch.Tensor]]:
    """Layers as the network has them, with an input."""
    for width in (8, 32, 320):
        x, kernel = _values(1, width, h, w), _values(width, width, 3, 3)
        for layout in (torch.contiguous_format, torch.channels_last):
            y, weight = x.contiguous(memory_format=layout), kernel.contiguous(memory_format=layout)
            for stride in (1, 2):
                yield functools.partial(_convolve, weight, stride), y
        yield functools.partial(_multiply, _values(width, width)), x.flatten(2).transpose(1, 2)


def _convolve(kernel: torch.Tensor, stride: int, x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(x, kernel.to(x.dtype), stride=stride, padding=1)


def _multiply(matrix: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, matrix.to(x.dtype))


def _agrees(layer: Layer, x: torch.Tensor) -> bool:
    exact, found = layer(x), layer(x.bfloat16()).float()
    return bool(((found - exact).abs() <= 0.02 * exact.abs().max()).all())  # False for NaN


def _values(*shape: int) -> torch.Tensor:
    """Numbers that bf16 holds exactly, mixed, without touching the random generator."""
    count = torch.Size(shape).numel()
    return (((torch.arange(count, device="cpu") * 7919) % 257 - 128) / 128).bfloat16().float().view(shape)


@functools.cache
def bf16_gain() -> float:
    """How many times as fast as float32 bf16 is, for a convolution and a matrix product of the network's sizes.

    In float32, the convolution needs fewer multiplications (`winograd.py`).
    """
    conv = WinogradConv2d(256, 256, 3, padding=1, device="meta")  # plain in bf16
    exact, half = (
        (
            _values(1, 256, 64, 64).to(dtype, memory_format=torch.channels_last),
            {
                "weight": _values(256, 256, 3, 3).to(dtype, memory_format=torch.channels_last),
                "bias": _values(256).to(dtype),
            },
            _values(4096, 640).to(dtype),
            _values(1280, 640).to(dtype),
        )
        for dtype in (torch.float32, torch.bfloat16)
    )

    def work(pixels: torch.Tensor, layer: dict[str, torch.Tensor], rows: torch.Tensor, matrix: torch.Tensor) -> None:
        torch.func.functional_call(conv, layer, pixels)
        F.linear(rows, matrix)

    gain = times_as_fast(lambda: work(*half), lambda: work(*exact))
    log.info("bf16 is %.1f times as fast as fp32 on this CPU (needed: %.1f)", gain, MIN_GAIN)
    return gain
