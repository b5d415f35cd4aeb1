"""Measurements of `sdpose bench`: time, speed of matrix products, counted operations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from .ways import Stage


def current(device: torch.device) -> AbstractContextManager[Any]:
    """Makes a CUDA device the current one, so that events are recorded on its stream."""
    import torch

    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def timed(function: Callable[[], Any], device: torch.device) -> tuple[Any, float, float]:
    """Result, seconds (on CUDA by events, needs `current`) and CPU seconds (all threads of this process)."""
    import torch

    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        cpu = time.process_time()
        start.record()
        result = function()
        end.record()
        end.synchronize()
        return result, start.elapsed_time(end) / 1e3, time.process_time() - cpu
    wait_for(device)
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    wait_for(device)
    return result, time.perf_counter() - wall, time.process_time() - cpu


def wait_for(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    import torch

    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize(*([device] if device.type == "cuda" else []))


def cost_key(device_type: str) -> str:
    """What ratios compare: on a CPU, CPU seconds, which depend less on the machine's other load; else seconds."""
    return "cpu_seconds" if device_type == "cpu" else "seconds"


def gemm_rates(device: torch.device, dtype: torch.dtype, size: int) -> dict[str, float]:
    """GFLOP/s (per CPU second on a CPU) of square matrix multiplications.

    "fp32", "bf16" (on a CPU only with instructions for it, as it would take minutes) and, on CUDA, "fp16" use
    `torch.matmul`; "onednn" uses oneDNN's convolution in fp32, twice as fast on some CPUs; "best" is the highest in
    `dtype`.
    """
    import torch

    from ..model.onednn import is_native

    rates = {"fp32": _matmul_rate(size, device, torch.float32)}
    if device.type != "cpu" or dtype == torch.bfloat16 or is_native(torch.bfloat16):
        rates["bf16"] = _matmul_rate(size, device, torch.bfloat16)
    if device.type == "cuda" or dtype == torch.float16:
        rates["fp16"] = _matmul_rate(size, device, torch.float16)
    if device.type == "cpu":
        rates["onednn"] = _matmul_rate(size, device, torch.float32, through_convolution=True)
    return {**rates, "best": peak_of(rates, {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(dtype, "fp32"))}


def peak_of(rates: dict[str, float], dtype: str) -> float:
    """The highest rate measured in a dtype ("fp32", ...)."""
    return max(rates["fp32"], rates.get("onednn", 0.0)) if dtype == "fp32" else rates.get(dtype, rates["fp32"])


def _matmul_rate(size: int, device: torch.device, dtype: torch.dtype, through_convolution: bool = False) -> float:
    import torch

    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    if through_convolution:
        a, b = (x.view(size, 1, 1, size).permute(0, 3, 1, 2) for x in (a, b))
        a = a.transpose(0, 2)  # rows of a become pixels
    multiply = torch.nn.functional.conv2d if through_convolution else torch.matmul
    rates = []
    for _ in range(6):  # the first also warms up
        _, seconds, cpu_seconds = timed(lambda: multiply(a, b), device)
        rates.append(2e-9 * size**3 / max(cpu_seconds if device.type == "cpu" else seconds, 1e-9))
    return max(rates)


def stage_gflop(stages: Iterable[Stage], images: torch.Tensor, counted: Iterable[str]) -> dict[str, float]:
    """GFLOP of stages, counted on shapes: 2 per multiply-add of convolutions, products and attention."""
    from torch.utils.flop_counter import FlopCounterMode

    value, gflop, wanted = images, {}, set(counted)
    for name, step in stages:
        if name in wanted:
            with FlopCounterMode(display=False) as counter:
                value = step(value)
            gflop[name] = counter.get_total_flops() / 1e9
    return gflop


def machine(device: torch.device) -> dict[str, Any]:
    """Processor, threads and versions; on CUDA, `processor` is the GPU and `host` the CPU."""
    import platform

    import diffusers
    import torch

    from ..model.processor import processor_name

    host, on_cuda = processor_name() or platform.machine(), device.type == "cuda"
    return {
        "processor": torch.cuda.get_device_name(device) if on_cuda else host,
        **({"host": host, "cuda": torch.version.cuda} if on_cuda else {}),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
    }
