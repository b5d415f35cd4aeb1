"""`sdpose bench`: the cost of SDPose on this machine, compared with the released code and ComfyUI's own node.

Measures one full-size model, with random weights by default, on one person in interleaved rounds (see `rounds.py`),
then on batches and frames. Each way and each mode runs in a separate process, to measure its peak memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..dependencies import require
from .measure import cost_key, machine, peak_of
from .modes import MODES, default_modes
from .operations import add_gflop, count_gflop
from .passes import Answer, measure_machine
from .processes import in_own_process
from .rounds import Rounds, Subject, run_rounds
from .settings import CONFIGS, Settings, dtype_name

if TYPE_CHECKING:
    import torch

__all__ = ["CONFIGS", "Settings", "count_gflop", "run_bench"]

CONFIDENT = 0.3
"""Minimum score of a confident keypoint."""


def run_bench(settings: Settings) -> dict[str, Any]:
    """Measure every way, and ours in every mode.

    Returns:
        JSON values. At the top level, for our way: `stages` (each with `seconds`, `cpu_seconds`, `gflop`), `gflop`,
        `peak_memory_bytes`, `people_per_second`, `ratio_to_released` and `ratio_to_native` (CPU seconds on a CPU, else
        seconds), `gflop_ratio_to_released`, `released_share_of_peak` (of the fastest matrix multiplication in its
        dtype), `released_share_of_matmul` (of `torch.matmul` in fp32), `heatmap_difference` and
        `keypoint_difference_px` (largest, from the released way; `confident_difference_px` for its
        `confident_keypoints`). For the machine: `gemm_gflops` (matrix multiplication in fp32, per CPU second on a CPU),
        `gemm`, and `auto_dtype`, which "auto" chooses here.

        `ways` has each way and `modes` each mode of ours, in its fastest round. `pairs` compares ours with the other
        two, each mode's `pair` the mode with the released way, as `quietest_pair` does: the ratios above are theirs.
        `rounds` has each round's costs, load average at its start, and share of time that the machine's host took;
        `processes_kept` says whether models stayed loaded between rounds. Modes also have differences from our fp32
        and `growth`: cost and peak memory by people in a batch and by frames. `decode` is the time to decode 64 crops.
    """
    require("torch", "sdpose bench")
    require("diffusers", "sdpose bench")

    device, dtype = settings.resolve()
    settings.check_files()
    rates, decode = in_own_process(measure_machine, settings)
    released, ours, native = Subject("released", "fp32"), Subject("ours", dtype), Subject("native", dtype)
    names = settings.modes or default_modes(device, dtype)
    references = {MODES[name].reference for name in names}
    wanted = [Subject("ours", name) for name in sorted(references.union(names), key=list(MODES).index)]
    subjects = [released, ours, native, *(subject for subject in wanted if subject != ours)]  # ours beside both others
    required = {released, ours, native, *(Subject("ours", name) for name in references)}
    cost = cost_key(device.type)
    found = run_rounds(subjects, required, settings)
    results = {each: _result(found, each, settings, rates, device) for each in subjects if each not in found.errors}
    for subject in results:
        if subject.way == "ours":
            results[subject]["pair"] = found.pair(subject, released, cost)
            results[subject] |= {"growth": found.growth[subject]} if subject in found.growth else {}
    pairs = {other.way: found.pair(ours, other, cost) for other in (released, native)}
    return {
        "model": settings.model if not settings.weights else settings.weights.name,
        "weights": "trained" if settings.weights else "random",
        "tiny": settings.tiny,
        "device": str(device),
        "dtype": dtype,
        "auto_dtype": dtype_name(None, device),
        "runs": settings.runs_on(device.type),
        **machine(device),
        **results[ours],
        **{f"ratio_to_{way}": pair["ratio"] for way, pair in pairs.items()},
        "pairs": pairs,
        "rounds": found.notes,
        "processes_kept": found.kept,
        "gflop_ratio_to_released": results[ours]["gflop"] / results[released]["gflop"],
        "released_share_of_peak": results[released]["share_of_peak"],
        "released_share_of_matmul": results[released]["gflop"] / results[released][cost] / rates["fp32"],
        **_differences(found.answers[ours], found.answers[released]),
        "gemm_gflops": rates["fp32"],
        "gemm": rates,
        "decode": decode,
        "ways": {subject.way: results[subject] for subject in (released, native, ours)},
        "modes": {subject.mode: _as_mode(subject, found, results) for subject in wanted},
    }


def _result(
    found: Rounds, subject: Subject, settings: Settings, rates: dict[str, float], device: torch.device
) -> dict[str, Any]:
    """The subject's fastest run, with counted operations."""
    mode, result = MODES[subject.mode], found.fastest(subject, cost_key(device.type))
    half_precision = subject.way == "released" and device.type == "cuda"  # its U-Net runs in bf16 there
    peak = peak_of(rates, "bf16" if half_precision else mode.dtype)
    add_gflop(result, count_gflop(subject.way, settings.config_in(mode), mode, device.type), peak, device.type)
    result["people_per_second"] = 1 / result["seconds"]
    return result


def _as_mode(subject: Subject, found: Rounds, results: dict[Subject, dict[str, Any]]) -> dict[str, Any]:
    """A mode's result with differences from its reference, or its error."""
    if subject in found.errors:
        return {"error": found.errors[subject]}
    mode = MODES[subject.mode]
    differences = _differences(found.answers[subject], found.answers[Subject("ours", mode.reference)])
    return {**results[subject], "exact": mode.exact, "reference": mode.reference, **differences}


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
