"""What the measuring processes of `sdpose bench` run: passes of one way, batches and frames, decoding, the machine."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from ..codec.heatmaps import decode_dark_udp, encode_udp
from ..errors import one_line
from ..estimation.crop_jobs import is_out_of_memory
from .measure import cost_key, current, gemm_rates, timed
from .modes import MODES, Mode
from .processes import forget_peak_memory, free_memory, peak_memory
from .settings import Settings

if TYPE_CHECKING:
    import torch

    from .ways import Stage

DECODE_CROPS = 64

Answer = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Heatmaps (1, K, h, w), keypoints (1, K, 2) in pixels of the model's full-size crop, scores (1, K)."""
Times = dict[str, dict[str, float]]
"""Of each stage, `seconds` and `cpu_seconds`."""


def measure_way(way: str, settings: Settings, mode_name: str) -> tuple[dict[str, Any], Answer]:
    """Measure one person by one way, and give its answer. The model stays in memory for the next call.

    Returns:
        `stages`, their sums `seconds` and `cpu_seconds`, `first_pass_seconds` (None where nothing is warmed up),
        `peak_memory_bytes`, `free_memory_bytes` (afterwards); and the answer.
    """
    import torch

    mode, (device, _) = MODES[mode_name], settings.resolve()
    _choose_tf32(way)
    with torch.inference_mode(), current(device):
        steps = _steps(way, settings, mode)
        first = warm_up(steps, 1, device, mode)
        found, stages = fastest(steps, 1, device, settings.runs_on(device.type))
        result = {
            "stages": stages, **_sums(stages), "first_pass_seconds": first,
            "peak_memory_bytes": peak_memory(device), "free_memory_bytes": free_memory(device),
        }  # fmt: skip
    heatmaps, (keypoints, scores) = found
    size, full = settings.config_in(mode).input_size, settings.config.input_size
    return result, (heatmaps.cpu().numpy(), keypoints * np.divide(full, size), scores)


def measure_growth(settings: Settings, mode_name: str) -> dict[str, list[dict[str, Any]]]:
    """Our way's cost and peak memory after each frame of one person, then by people in a batch.

    A batch that memory does not suffice for is the last, with an `error` in place of figures.
    """
    import torch

    mode, (device, _) = MODES[mode_name], settings.resolve()
    _choose_tf32("ours")
    cost = cost_key(device.type)
    growth: dict[str, list[dict[str, Any]]] = {"frames": [], "people": []}
    spent = 0.0
    with torch.inference_mode(), current(device):
        steps = _steps("ours", settings, mode)
        warm_up(steps, 1, device, mode)
        for frame in range(1, settings.frames + 1):
            spent += _sums(run_once(steps, 1, device)[1])[cost]
            growth["frames"].append({"count": frame, cost: spent, "peak_memory_bytes": peak_memory(device)})
        for people in settings.people:
            try:
                warm_up(steps, people, device, mode)
                _, stages = fastest(steps, people, device, settings.runs_on(device.type))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                growth["people"].append({"count": people, "error": one_line(error)})
                break
            taken = _sums(stages)
            point = {"count": people, cost: taken[cost], "people_per_second": people / taken["seconds"]}
            growth["people"].append({**point, "peak_memory_bytes": peak_memory(device)})
    return growth


@functools.lru_cache(maxsize=1)
def _steps(way: str, settings: Settings, mode: Mode) -> list[Stage]:
    """The stages with their model, which is built once in a process."""
    from .ways import build

    device, _ = settings.resolve()
    steps = build(way, settings.config_in(mode), device, mode, weights=settings.weights, picture=settings.picture)
    forget_peak_memory()
    return steps


def _choose_tf32(way: str) -> None:
    """Our fp32, which is a reference, must not be TF32; the other ways keep PyTorch's default."""
    import torch

    if way == "ours":
        torch.backends.cudnn.allow_tf32 = False


def warm_up(steps: list[Any], people: int, device: torch.device, mode: Mode) -> float | None:
    """Slow first passes for this batch size, which are not measured; seconds of the first, None if there are none."""
    passes = max(mode.warm_ups, int(device.type == "cuda"))
    times = [run_once(steps, people, device)[1] for _ in range(passes)]
    return _sums(times[0])["seconds"] if times else None


def fastest(steps: list[Any], people: int, device: torch.device, runs: int) -> tuple[tuple[Any, Any], Times]:
    """As `run_once`, with each stage's fastest of `runs`."""
    stages: Times = {}
    cost = cost_key(device.type)
    for _ in range(runs):
        found, times = run_once(steps, people, device)
        stages |= {n: time for n, time in times.items() if n not in stages or time[cost] < stages[n][cost]}
    return found, stages


def run_once(steps: list[Any], people: int, device: torch.device) -> tuple[tuple[Any, Any], Times]:
    """One batch: (heatmaps, keypoints and scores), and the times of each stage."""
    value: Any = people
    heatmaps, times = None, {}
    for name, step in steps:
        heatmaps = value
        value, seconds, cpu_seconds = timed(functools.partial(step, value), device)
        times[name] = {"seconds": seconds, "cpu_seconds": cpu_seconds}
    return (heatmaps, value), times


def _sums(stages: Times) -> dict[str, float]:
    return {key: sum(stage[key] for stage in stages.values()) for key in ("seconds", "cpu_seconds")}


def measure_machine(settings: Settings) -> tuple[dict[str, float], dict[str, Any]]:
    """`gemm_rates` and `measure_decode`."""
    from ..model.devices import DTYPES

    device, dtype = settings.resolve()
    size = 256 if settings.tiny else 8192 if device.type == "cuda" else 2048
    with current(device):
        return gemm_rates(device, DTYPES[dtype], size), measure_decode(settings)


def measure_decode(settings: Settings) -> dict[str, Any]:
    """Seconds to decode the whole-body heatmaps of 64 crops."""
    import torch

    device, _ = settings.resolve()
    config = dataclasses.replace(settings, model="wholebody", weights=None).config
    points = np.random.default_rng(0).uniform(20, min(config.input_size) - 20, (1, config.num_keypoints, 2))
    maps, _ = encode_udp(points, np.ones(points.shape[:2]), config.input_size, config.heatmap_size, 6.0)
    batch = torch.from_numpy(maps).to(device).repeat(DECODE_CROPS, 1, 1, 1)
    if device.type == "cuda":
        decode_dark_udp(batch, config.input_size)  # loads kernels
    _, seconds, cpu_seconds = timed(lambda: decode_dark_udp(batch, config.input_size), device)
    return {"shape": list(batch.shape), "seconds": seconds, "cpu_seconds": cpu_seconds}
