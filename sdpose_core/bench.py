"""`sdpose bench`: what SDPose costs on this machine, beside the released way and ComfyUI's own node.

One full-size model with random weights, one person. Each way runs in a process of its own, so that its peak memory
is its own. On a CPU the ratios are of CPU seconds, which do not depend on what else the machine is doing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .dependencies import require
from .errors import InputError
from .files import atomic_write
from .model_config import BODY, WHOLEBODY, SDPoseConfig, UNetConfig, VAEConfig

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

CONFIGS = {"body": BODY, "wholebody": WHOLEBODY}
DECODE_CROPS = 64


@dataclass(frozen=True)
class Settings:
    """What to measure; see `add_arguments`."""

    model: str = "wholebody"
    device: str | None = None
    dtype: str = "auto"
    runs: int = 1
    tiny: bool = False

    def __post_init__(self) -> None:
        if self.model not in CONFIGS:
            raise InputError(f"unknown model {self.model!r} to measure: choose one of {', '.join(CONFIGS)}")
        if self.runs < 1:
            raise InputError(f"runs: expected at least 1, got {self.runs}")

    @property
    def config(self) -> SDPoseConfig:
        """Of the model, full size or tiny."""
        config = CONFIGS[self.model]
        if not self.tiny:
            return config
        unet = UNetConfig((16, 32, 32, 32), 2, (1, 2, 2, 2), cross_attention_dim=16, norm_num_groups=8)
        vae = VAEConfig((8, 8, 16, 16), 1, norm_num_groups=4)
        return dataclasses.replace(config, input_size=(192, 256), unet=unet, vae=vae)

    def resolve(self) -> tuple[torch.device, torch.dtype]:
        """Device and dtype, "auto" decided."""
        from .model import pick_device, pick_dtype

        device = pick_device(self.device)
        return device, pick_dtype(self.dtype, device)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `sdpose bench`."""
    parser.add_argument("--model", choices=tuple(CONFIGS), default="wholebody", help="default: wholebody")
    parser.add_argument("--device", help="cuda, cuda:1, mps, cpu (default: the best there is)")
    parser.add_argument("--dtype", choices=("auto", "fp32", "bf16", "fp16"), default="auto", help="default: by device")
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="passes per way; the fastest counts")
    parser.add_argument("--tiny", action="store_true", help="a tiny model: shows that it runs, measures nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result as JSON")


def main(args: argparse.Namespace) -> int:
    """Run `sdpose bench`: print the table, write the JSON."""
    result = run_bench(Settings(args.model, args.device, args.dtype, args.runs, args.tiny))
    print(format_table(result))
    if args.json:
        with atomic_write(args.json, "w") as file:
            json.dump(result, file, indent=1)
    return 0


def run_bench(settings: Settings) -> dict[str, Any]:
    """Measure every way.

    Returns:
        JSON values. At the top level those of our way: `stages` (per stage `seconds`, `cpu_seconds`, `gflop`),
        `gflop`, `peak_memory_bytes`, `ratio_to_released` and `ratio_to_native` (CPU seconds on a CPU, else
        seconds), `gflop_ratio_to_released`, `heatmap_difference` and `keypoint_difference_px` (largest, against the
        released way); and of the machine `gemm_gflops` (matrix multiplication, fp32 and the model's dtype, per CPU
        second on a CPU). `ways` has the same of each way, `decode` the time of decoding 64 crops.
    """
    require("torch", "sdpose bench")
    require("diffusers", "sdpose bench")
    from .bench_ways import WAYS

    device, dtype = settings.resolve()
    peaks, decode = _in_own_process(measure_machine, settings)
    ways, heatmaps, keypoints = {}, {}, {}
    for way in WAYS:
        log.info("measuring the %s way", way)
        flops = count_gflop(way, settings.config)
        ways[way], heatmaps[way], keypoints[way] = _in_own_process(measure_way, way, settings)
        _add_gflop(ways[way], flops, peaks["best"], device.type)
    ours, cost = ways["ours"], _cost_key(device.type)
    return {
        "model": settings.model,
        "tiny": settings.tiny,
        "device": str(device),
        "dtype": str(dtype).removeprefix("torch."),
        "runs": settings.runs,
        **machine(),
        **ours,
        "ratio_to_released": ours[cost] / ways["released"][cost],
        "ratio_to_native": ours[cost] / ways["native"][cost],
        "gflop_ratio_to_released": ours["gflop"] / ways["released"]["gflop"],
        "heatmap_difference": float(np.abs(heatmaps["ours"] - heatmaps["released"]).max()),
        "keypoint_difference_px": float(np.abs(keypoints["ours"] - keypoints["released"]).max()),
        "gemm_gflops": peaks["fp32"],
        "gemm": peaks,
        "decode": decode,
        "ways": ways,
    }


# --- in a process of its own ---------------------------------------------------------------------------------------


def _in_own_process(function: Callable[..., Any], *args: Any) -> Any:
    """Call `function` in a fresh process: nothing measured before is in its memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def measure_way(way: str, settings: Settings) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """One way, `runs` times: stages and peak memory; heatmaps (1, K, h, w); keypoints (1, K, 2)."""
    import torch

    from .bench_ways import build

    device, dtype = settings.resolve()
    stages: dict[str, dict[str, float]] = {}
    with torch.no_grad():
        steps = build(way, settings.config, device, dtype)
        for _ in range(settings.runs):
            value, heatmaps = None, None
            for name, step in steps:
                heatmaps = value
                value, seconds, cpu_seconds = _timed(lambda step=step, value=value: step(value), device)
                if name not in stages or cpu_seconds < stages[name]["cpu_seconds"]:
                    stages[name] = {"seconds": seconds, "cpu_seconds": cpu_seconds}
    total = {key: sum(stage[key] for stage in stages.values()) for key in ("seconds", "cpu_seconds")}
    result = {"stages": stages, **total, "peak_memory_bytes": peak_memory(device)}
    return result, heatmaps.cpu().numpy(), value[0]


def measure_machine(settings: Settings) -> tuple[dict[str, float], dict[str, Any]]:
    """`measure_gemm` and `measure_decode`."""
    return measure_gemm(settings), measure_decode(settings)


def measure_decode(settings: Settings) -> dict[str, Any]:
    """Seconds to decode the whole-body heatmaps of 64 crops."""
    import torch

    from .heatmaps import decode_dark_udp, encode_udp

    device, _ = settings.resolve()
    config = dataclasses.replace(settings, model="wholebody").config
    points = np.random.default_rng(0).uniform(20, min(config.input_size) - 20, (1, config.num_keypoints, 2))
    maps, _ = encode_udp(points, np.ones(points.shape[:2]), config.input_size, config.heatmap_size, 6.0)
    batch = torch.from_numpy(maps).to(device).repeat(DECODE_CROPS, 1, 1, 1)
    _, seconds, cpu_seconds = _timed(lambda: decode_dark_udp(batch, config.input_size), device)
    return {"shape": list(batch.shape), "seconds": seconds, "cpu_seconds": cpu_seconds}


def measure_gemm(settings: Settings) -> dict[str, float]:
    """GFLOP/s (per CPU second on a CPU) of square matrix multiplications.

    "fp32" and "bf16" are `torch.matmul`; "onednn" is fp32 through oneDNN's convolution, which on some processors is
    twice as fast; "best" is the larger of those in the dtype in use.
    """
    import torch

    device, dtype = settings.resolve()
    size = 256 if settings.tiny else 2048
    rates = {"fp32": _matmul_rate(size, device, torch.float32), "bf16": _matmul_rate(size, device, torch.bfloat16)}
    if device.type == "cpu":
        rates["onednn"] = _matmul_rate(size, device, torch.float32, through_convolution=True)
    if dtype == torch.float32:
        best = max(rates["fp32"], rates.get("onednn", 0.0))
    else:
        best = rates["bf16"] if dtype == torch.bfloat16 else _matmul_rate(size, device, dtype)
    return {**rates, "best": best}


def _matmul_rate(size: int, device: torch.device, dtype: torch.dtype, through_convolution: bool = False) -> float:
    import torch

    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    if through_convolution:
        a, b = (x.view(size, 1, 1, size).permute(0, 3, 1, 2) for x in (a, b))
        a = a.transpose(0, 2)  # rows of a become pixels
    multiply = torch.nn.functional.conv2d if through_convolution else torch.matmul
    rates = []
    for _ in range(6):  # the first also warms up
        _, seconds, cpu_seconds = _timed(lambda: multiply(a, b), device)
        rates.append(2e-9 * size**3 / max(cpu_seconds if device.type == "cpu" else seconds, 1e-9))
    return max(rates)


def _timed(function: Callable[[], Any], device: torch.device) -> tuple[Any, float, float]:
    """Result, seconds and CPU seconds (all threads of this process)."""
    _wait_for(device)
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    _wait_for(device)
    return result, time.perf_counter() - wall, time.process_time() - cpu


def _wait_for(device: torch.device) -> None:
    import torch

    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()


def peak_memory(device: torch.device) -> int | None:
    """Bytes: of tensors on a CUDA device; else of this process, which holds the weights too. None where unknown."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":  # getrusage would count the parent's memory from before this program was started
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


# --- counting and reporting ----------------------------------------------------------------------------------------


def count_gflop(way: str, config: SDPoseConfig) -> dict[str, float]:
    """GFLOP of the network's stages, counted on shapes: 2 per multiply-add of convolutions, products and attention."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from .bench_ways import NETWORK_STAGES, build

    meta = torch.device("meta")
    w, h = config.input_size
    value, gflop = torch.empty(1, 3, h, w, device=meta), {}
    for name, step in build(way, config, meta, torch.float32):
        if name in NETWORK_STAGES:
            with FlopCounterMode(display=False) as counter:
                value = step(value)
            gflop[name] = counter.get_total_flops() / 1e9
    return gflop


def _add_gflop(result: dict[str, Any], gflop: dict[str, float], peak: float, device_type: str) -> None:
    """Counted operations, and the share of the measured peak, into a way's result."""
    cost = _cost_key(device_type)
    for name, amount in gflop.items():
        stage = result["stages"][name]
        stage["gflop"] = amount
        stage["share_of_peak"] = amount / stage[cost] / peak
    result["gflop"] = sum(gflop.values())
    result["share_of_peak"] = result["gflop"] / result[cost] / peak


def _cost_key(device_type: str) -> str:
    return "cpu_seconds" if device_type == "cpu" else "seconds"


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    import platform

    import diffusers
    import torch

    return {
        "processor": _processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
    }


def _processor() -> str:
    """The processor's own name, where the system tells it."""
    import platform

    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        return next((x.split(":")[1].strip() for x in cpuinfo.read_text().splitlines() if "model name" in x), "")
    return platform.processor()


def format_table(result: dict[str, Any]) -> str:
    """The result as text, one line per way and stage."""
    gemm = result["gemm"]
    title = f"SDPose {result['model']}{' (tiny)' if result['tiny'] else ''}, one person, {result['dtype']}"
    lines = [
        f"{title} on {result['device']}: {result['processor']}, {result['threads']} threads, torch {result['torch']}",
        "matrix multiplication, GFLOP/s: " + ", ".join(f"{name} {rate:.0f}" for name, rate in gemm.items()),
        "",
        f"{'way':<9} {'stage':<7} {'seconds':>8} {'CPU s':>8} {'GFLOP':>8} {'of peak':>8} {'peak GB':>8}",
    ]
    for way, measured in result["ways"].items():
        lines += [_row("", name, stage) for name, stage in measured["stages"].items()]
        lines.append(_row(way, "all", measured))
    decode = result["decode"]
    return "\n".join(
        [
            *lines,
            "",
            f"ours : released = {result['ratio_to_released']:.2f} in time, "
            f"{result['gflop_ratio_to_released']:.2f} in operations;  ours : native = {result['ratio_to_native']:.2f}",
            f"largest difference from released: heatmaps {result['heatmap_difference']:.1e}, "
            f"keypoints {result['keypoint_difference_px']:.1e} px (random weights, maps without clear peaks)",
            f"decoding {decode['shape'][0]} crops x {decode['shape'][1]} points: {decode['seconds']:.2f} s "
            f"({decode['cpu_seconds']:.2f} CPU s)",
        ]
    )


def _row(way: str, stage: str, values: dict[str, Any]) -> str:
    gflop = f"{values['gflop']:8.0f}" if "gflop" in values else " " * 8
    share = f"{values['share_of_peak']:8.0%}" if "share_of_peak" in values else " " * 8
    memory = values.get("peak_memory_bytes")
    peak = f"{memory / 1e9:8.2f}" if memory else ""
    row = f"{way:<9} {stage:<7} {values['seconds']:8.2f} {values['cpu_seconds']:8.2f} {gflop} {share} {peak}"
    return row.rstrip()
