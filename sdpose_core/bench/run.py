"""`sdpose bench`: the cost of SDPose on this machine, compared with the released code and ComfyUI's own node.

Measures one full-size model, with random weights by default, on one person and on batches. Each way and each mode runs
in a separate process, to measure its peak memory.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoints.fusion import described_levels, is_usual
from ..checkpoints.layouts import inspect_checkpoint
from ..codec.heatmaps import decode_dark_udp, encode_udp
from ..dependencies import require
from ..errors import InputError, SDPoseError
from ..estimation.crop_jobs import is_out_of_memory
from ..images import read_image
from ..model.config import BODY, WHOLEBODY, SDPoseConfig, UNetConfig, VAEConfig
from .measure import cost_key, current, gemm_rates, in_own_process, machine, peak_memory, peak_of, stage_gflop, timed
from .modes import MODES, Mode, default_modes

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

CONFIGS = {"body": BODY, "wholebody": WHOLEBODY}
DECODE_CROPS = 64
CONFIDENT = 0.3
"""Minimum score of a confident keypoint."""


@dataclass(frozen=True)
class Settings:
    """What to measure; fields are the options of `sdpose bench`."""

    model: str = "wholebody"
    device: str | None = None
    dtype: str = "auto"
    runs: int | None = None
    tiny: bool = False
    modes: tuple[str, ...] | None = None
    people: tuple[int, ...] = (1,)
    frames: int = 1
    weights: Path | None = None
    picture: Path | None = None

    def __post_init__(self) -> None:
        if self.model not in CONFIGS:
            raise InputError(f"unknown model {self.model!r} to measure: choose one of {', '.join(CONFIGS)}")
        for name in ("runs", "frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}: expected at least 1, got {value}")
        for name in ("weights", "picture"):
            path = getattr(self, name)
            if path and not os.path.exists(path):
                raise InputError(f"{name}: {path} does not exist")
        if self.weights and self.tiny:
            raise InputError("weights and tiny: expected only one of them, as the weights set the model's size")

    def config_in(self, mode: Mode) -> SDPoseConfig:
        """`config` with the mode's input size; for a tiny model in proportion, in multiples of 64."""
        size = mode.input_size
        if size is None:
            return self.config
        if self.tiny:
            full = CONFIGS[self.model].input_size
            w, h = (
                64 * max(round(tiny * part / whole / 64), 1)
                for tiny, part, whole in zip(self.config.input_size, size, full, strict=True)
            )
            size = w, h
        return dataclasses.replace(self.config, input_size=size)

    @property
    def config(self) -> SDPoseConfig:
        """The model's configuration: of the weights file, full size, or tiny."""
        if self.weights:
            stored, _ = inspect_checkpoint(self.weights)
            stored.need_features("the benchmark")
            if not is_usual(stored):
                found = f"this is one at {described_levels(stored)}, reconstruction {stored.reconstruction!r}"
                raise InputError(
                    f"the benchmark compares with the released code, which cannot run every model: {found}"
                )
            return stored
        config = CONFIGS[self.model]
        if not self.tiny:
            return config
        unet = UNetConfig((16, 32, 32, 32), 2, (1, 2, 2, 2), cross_attention_dim=16, norm_num_groups=8)
        vae = VAEConfig((8, 8, 16, 16), 1, norm_num_groups=4)
        return dataclasses.replace(config, input_size=(192, 256), unet=unet, vae=vae)

    def check_files(self) -> None:
        """Read the weights' header and the picture once, to fail before minutes of measuring."""
        _ = self.config
        if self.picture:
            read_image(self.picture)

    def runs_on(self, device_type: str) -> int:
        """Passes, of which the fastest counts; on a GPU single passes take milliseconds and vary."""
        return self.runs or (10 if device_type == "cuda" else 1)

    def resolve(self) -> tuple[torch.device, str]:
        """Device and dtype ("fp32", ...), with "auto" resolved."""
        from ..model.devices import DTYPES, pick_device, pick_dtype

        device = pick_device(self.device)
        chosen = pick_dtype(self.dtype, device)
        return device, next(name for name, dtype in DTYPES.items() if dtype == chosen)


def run_bench(settings: Settings) -> dict[str, Any]:
    """Measure every way, and ours in every mode.

    Returns:
        JSON values. At the top level, for our way: `stages` (each with `seconds`, `cpu_seconds`, `gflop`), `gflop`,
        `peak_memory_bytes`, `people_per_second`, `ratio_to_released` and `ratio_to_native` (CPU seconds on a CPU, else
        seconds), `gflop_ratio_to_released`, `released_share_of_peak` (of the fastest matrix multiplication in its
        dtype), `released_share_of_matmul` (of `torch.matmul` in fp32), `heatmap_difference` and
        `keypoint_difference_px` (largest, from the released way; `confident_difference_px` for its
        `confident_keypoints`). For the machine: `gemm_gflops` (matrix multiplication in fp32, per CPU second on a CPU)
        and `gemm`. `ways` has each way, and `modes` each mode of ours with differences from our fp32 and `growth`: cost
        and peak memory by people in a batch and by frames. `decode` is the time to decode 64 crops.
    """
    require("torch", "sdpose bench")
    require("diffusers", "sdpose bench")
    from .ways import WAYS

    device, dtype = settings.resolve()
    settings.check_files()
    rates, decode = in_own_process(measure_machine, settings)
    ways, answers = {}, {}
    for way in WAYS:
        log.info("measuring the %s way", way)
        mode = Mode("fp32" if way == "released" else dtype)
        ways[way], answers[way] = _measured(way, mode, settings, rates, device.type)
    modes = _modes(settings, rates, device, {dtype: (ways["ours"], answers["ours"])})
    ours, cost = ways["ours"], cost_key(device.type)
    return {
        "model": settings.model if not settings.weights else settings.weights.name,
        "weights": "trained" if settings.weights else "random",
        "tiny": settings.tiny,
        "device": str(device),
        "dtype": dtype,
        "runs": settings.runs_on(device.type),
        **machine(device),
        **ours,
        "ratio_to_released": ours[cost] / ways["released"][cost],
        "ratio_to_native": ours[cost] / ways["native"][cost],
        "gflop_ratio_to_released": ours["gflop"] / ways["released"]["gflop"],
        "released_share_of_peak": ways["released"]["share_of_peak"],
        "released_share_of_matmul": ways["released"]["gflop"] / ways["released"][cost] / rates["fp32"],
        **_differences(answers["ours"], answers["released"]),
        "gemm_gflops": rates["fp32"],
        "gemm": rates,
        "decode": decode,
        "ways": ways,
        "modes": modes,
    }


_FAILURES = (RuntimeError, MemoryError, OSError, ImportError, SDPoseError)
"""Errors of a mode that this machine cannot run: from PyTorch, a missing compiler, or lack of memory."""

Answer = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Heatmaps (1, K, h, w), keypoints (1, K, 2) in pixels of the model's full-size crop, scores (1, K)."""


def _modes(
    settings: Settings, rates: dict[str, float], device: torch.device, known: dict[str, tuple[dict[str, Any], Answer]]
) -> dict[str, Any]:
    """Results of our way in each mode that is not in `known`, with differences from the mode's reference."""
    names = settings.modes or default_modes(device)
    answers: dict[str, Answer] = {}
    modes: dict[str, Any] = {}
    references = {MODES[name].reference for name in names}
    for name in sorted(references.union(names), key=list(MODES).index):
        if name not in known:
            log.info("measuring ours, %s", name)
            try:
                known[name] = _measured("ours", MODES[name], settings, rates, device.type)
            except _FAILURES as error:  # go on with the other modes
                if name in references:
                    raise
                text = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
                log.warning("%s could not be measured: %s", name, text)
                modes[name] = {"error": text}
                continue
        measured, answers[name] = known[name]
        reference = answers[MODES[name].reference]
        about = {"exact": MODES[name].exact, "reference": MODES[name].reference}
        modes[name] = {**measured, **about, **_differences(answers[name], reference)}
    return modes


def _measured(
    way: str, mode: Mode, settings: Settings, rates: dict[str, float], device_type: str
) -> tuple[dict[str, Any], Answer]:
    try:
        result, answer = in_own_process(measure_way, way, settings, mode)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise SDPoseError(
                f"the memory of {device_type} ran out while the {way} way was measured, in {mode.dtype}: close other "
                "programs, or measure on a larger device"
            ) from error
        raise
    half_precision = way == "released" and device_type == "cuda"  # its U-Net runs in bf16 there
    peak = peak_of(rates, "bf16" if half_precision else mode.dtype)
    _add_gflop(result, count_gflop(way, settings.config_in(mode), mode, device_type), peak, device_type)
    result["people_per_second"] = 1 / result["seconds"]
    return result, answer


def _differences(answer: Answer, reference: Answer) -> dict[str, Any]:
    """Largest differences of heatmaps, of keypoints, and of those that the reference is confident of; None if unknown.

    `lost_keypoints` counts the points that only one of the two has.
    """
    distance = np.hypot(*np.moveaxis(answer[1] - reference[1], -1, 0))
    in_one = np.isnan(answer[1]).any(-1) != np.isnan(reference[1]).any(-1)
    sure = distance[reference[2] >= CONFIDENT]
    same_size = answer[0].shape == reference[0].shape
    return {
        "heatmap_difference": _largest(np.abs(answer[0] - reference[0])) if same_size else None,
        "keypoint_difference_px": _largest(distance),
        "confident_keypoints": int(sure.size),
        "confident_difference_px": _largest(sure),
        "lost_keypoints": int(in_one.sum()),
    }


def _largest(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else None


def measure_way(way: str, settings: Settings, mode: Mode) -> tuple[dict[str, Any], Answer]:
    """Measure one way: stages, peak memory, `growth` (if asked for, only ours), and its answer."""
    import torch

    from .ways import build

    device, _ = settings.resolve()
    if way == "ours":  # the fp32 reference must not be TF32; the other ways keep PyTorch's default
        torch.backends.cudnn.allow_tf32 = False
    with torch.inference_mode(), current(device):
        config, full = settings.config_in(mode), settings.config.input_size
        steps = build(way, config, device, mode, weights=settings.weights, picture=settings.picture)
        runs = settings.runs_on(device.type)
        found, stages = _fastest(steps, 1, device, mode, runs)
        total = {key: sum(stage[key] for stage in stages.values()) for key in ("seconds", "cpu_seconds")}
        result: dict[str, Any] = {"stages": stages, **total, "peak_memory_bytes": peak_memory(device)}
        if way == "ours" and (settings.frames > 1 or settings.people != (1,)):
            result["growth"] = _growth(steps, settings, device, mode)
    heatmaps, (keypoints, scores) = found
    return result, (heatmaps.cpu().numpy(), keypoints * np.divide(full, config.input_size), scores)


def _fastest(
    steps: list[Any], people: int, device: torch.device, mode: Mode, runs: int
) -> tuple[tuple[Any, Any], dict[str, dict[str, float]]]:
    """As `_run`, with each stage's fastest of `runs` after the warm-up passes for this batch size."""
    for _ in range(max(mode.warm_ups, int(device.type == "cuda"))):
        _run(steps, people, device)
    stages: dict[str, dict[str, float]] = {}
    cost = cost_key(device.type)
    for _ in range(runs):
        found, times = _run(steps, people, device)
        stages |= {n: time for n, time in times.items() if n not in stages or time[cost] < stages[n][cost]}
    return found, stages


def _run(steps: list[Any], people: int, device: torch.device) -> tuple[tuple[Any, Any], dict[str, dict[str, float]]]:
    """One batch: (heatmaps, keypoints and scores), and the times of each stage."""
    value: Any = people
    heatmaps, times = None, {}
    for name, step in steps:
        heatmaps = value
        value, seconds, cpu_seconds = timed(functools.partial(step, value), device)
        times[name] = {"seconds": seconds, "cpu_seconds": cpu_seconds}
    return (heatmaps, value), times


def _growth(
    steps: list[Any], settings: Settings, device: torch.device, mode: Mode
) -> dict[str, list[dict[str, float | None]]]:
    """Cost and peak memory after each frame of one person, then by people in a batch."""
    cost = cost_key(device.type)
    growth: dict[str, list[dict[str, float | None]]] = {"frames": [], "people": []}
    spent = 0.0
    for frame in range(1, settings.frames + 1):
        spent += sum(stage[cost] for stage in _run(steps, 1, device)[1].values())
        growth["frames"].append({"count": frame, cost: spent, "peak_memory_bytes": peak_memory(device)})
    for people in settings.people:
        _, stages = _fastest(steps, people, device, mode, settings.runs_on(device.type))
        seconds, taken = (sum(stage[key] for stage in stages.values()) for key in ("seconds", cost))
        point = {"count": people, cost: taken, "people_per_second": people / seconds}
        growth["people"].append({**point, "peak_memory_bytes": peak_memory(device)})
    return growth


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


def count_gflop(way: str, config: SDPoseConfig, mode: Mode | None = None, device_type: str = "cpu") -> dict[str, float]:
    """GFLOP of the network's stages for one person on a type of device, counted on shapes."""
    import torch

    from .ways import NETWORK_STAGES, build

    mode, meta = mode or Mode("fp32"), torch.device("meta")
    in_strips = device_type == "cpu" and mode.dtype in ("fp32", "bf16")
    mode = dataclasses.replace(mode, compile=False)
    w, h = config.input_size
    images = torch.empty(1, 3, h, w, device=meta)
    with torch.no_grad():
        return stage_gflop(build(way, config, meta, mode, in_strips=in_strips), images, NETWORK_STAGES)


def _add_gflop(result: dict[str, Any], gflop: dict[str, float], peak: float, device_type: str) -> None:
    """Add counted operations and the share of the measured peak to a way's result."""
    cost = cost_key(device_type)
    for name, amount in gflop.items():
        stage = result["stages"][name]
        stage["gflop"] = amount
        stage["share_of_peak"] = amount / max(stage[cost], 1e-9) / peak
    result["gflop"] = sum(gflop.values())
    result["share_of_peak"] = result["gflop"] / result[cost] / peak
