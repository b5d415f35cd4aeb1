"""The result of `sdpose bench` as a table and as curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..dependencies import require
from ..errors import counted
from ..files import atomic_path
from .rounds import load_text

FAIR_SHARE = 0.75
"""Fraction of the speed of `torch.matmul` that the released way must reach on a CPU to be a fair baseline."""


def format_table(result: dict[str, Any]) -> str:
    """The result as text: a line per way and stage, then one per mode."""
    title = f"SDPose {result['model']}{' (tiny)' if result['tiny'] else ''}, {result['weights']} weights, one person"
    device = f"{result['device']}: {result['processor']}, {result['threads']} threads, torch {result['torch']}"
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in result["gemm"].items())
    lines = [
        f"{title}, {result['dtype']} on {device} (--dtype auto: {result['auto_dtype']})",
        f"matrix multiplication, GFLOP/s: {rates}",
        "",
        f"{'way':<12} {'stage':<7} {'ms':>9} {'CPU s':>8} {'GFLOP':>8} {'of peak':>8} {'peak GB':>8} {'people/s':>9}",
    ]
    for way, measured in result["ways"].items():
        lines += [_row("", name, stage) for name, stage in measured["stages"].items()]
        lines.append(_row(way, "all", measured))
    lines.append("ours, by mode")
    for name, measured in result["modes"].items():
        lines.append(f"{name:<12} {measured['error']}" if "error" in measured else _row(name, "all", measured))
    lines += _several_people(result)
    return "\n".join([*lines, "", *_ratios(result), *_mode_differences(result), *_warnings(result)])


def _several_people(result: dict[str, Any]) -> list[str]:
    """People per second by batch size, compared with the other ways, which take one person at a time."""
    lines = []
    for name, measured in result["modes"].items():
        for point in measured.get("growth", {}).get("people", []):
            start = f"{name:<12} {point['count']:>3} in a batch:"
            if "error" in point:
                lines.append(f"{start} {point['error']}")
                continue
            rate = point["people_per_second"]
            released, native = (rate / result["ways"][way]["people_per_second"] for way in ("released", "native"))
            lines.append(f"{start} {rate:.3f} people/s, {released:.2f} x released, {native:.2f} x native")
    return ["ours, by people in a batch", *lines] if lines else []


def _ratios(result: dict[str, Any]) -> list[str]:
    decode, what = result["decode"], "CPU seconds" if result["device"] == "cpu" else "seconds"
    rounds, pairs = result["rounds"], result["pairs"]
    models = "models stay loaded" if result["processes_kept"] else "models are loaded for each"
    loads = ", ".join(load_text(each["load_average"]) for each in rounds)
    stolen = ", ".join(f"{each['stolen']:.0%}" for each in rounds)
    lines = [
        f"{counted(len(rounds), 'round')} ({models}); load {loads}; taken by the machine's host {stolen}",
        *(_pair(f"ours : {way}", pair, what, len(rounds)) for way, pair in pairs.items()),
        *(
            _pair(f"{name} : released", mode["pair"], what, len(rounds))
            for name, mode in result["modes"].items()
            if "error" not in mode and name != result["dtype"]
        ),
    ]
    return [
        *lines,
        f"ours : released = {result['gflop_ratio_to_released']:.2f} in operations",
        f"released way: {result['released_share_of_matmul']:.0%} of the speed of torch.matmul in fp32, "
        f"{result['released_share_of_peak']:.0%} of the fastest matrix multiplication",
        f"ours from released: {_difference(result)}",
        f"decoding {decode['shape'][0]} crops x {decode['shape'][1]} points: {decode['seconds']:.2f} s "
        f"({decode['cpu_seconds']:.2f} CPU s)",
    ]


def _pair(names: str, pair: dict[str, Any], what: str, rounds: int) -> str:
    """A ratio with its two figures, and its spread."""
    (cost, other), (low, high) = pair["costs"], pair["spread"]
    spread = f"round {pair['round']}, the quietest; {low:.2f} to {high:.2f} over all" if rounds > 1 else "one round"
    return f"{names} = {pair['ratio']:.2f} in {what} ({cost:.3g} : {other:.3g}; {spread})"


def _mode_differences(result: dict[str, Any]) -> list[str]:
    known = {name: measured for name, measured in result["modes"].items() if "error" not in measured}
    lines = [
        f"{name} from {mode['reference']}: {_difference(mode)}{'' if mode['exact'] else ' (an approximation)'}"
        for name, mode in known.items()
    ]
    if result["weights"] == "random":
        lines.append("weights are random: heatmaps have no clear peaks, so differences of keypoints mean little")
    return lines


def _difference(values: dict[str, Any]) -> str:
    text = f"heatmaps {_number(values['heatmap_difference'])}, keypoints {_number(values['keypoint_difference_px'])} px"
    if values["confident_keypoints"]:
        largest = _number(values["confident_difference_px"])
        text += f", {values['confident_keypoints']} confident keypoints {largest} px"
    if values["lost_keypoints"]:
        text += f", {values['lost_keypoints']} keypoints in only one of the two"
    return text


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1e}"


def _warnings(result: dict[str, Any]) -> list[str]:
    if result["tiny"]:
        return []
    lines = [
        f"warning: ours : {way} varied by {high - low:.2f} over the rounds, more than its distance from 1 "
        f"({abs(1 - pair['ratio']):.2f}): run again on an idle machine, or with more --rounds"
        for way, pair in result["pairs"].items()
        for low, high in [pair["spread"]]
        if high - low > abs(1 - pair["ratio"])
    ]
    share = result["released_share_of_matmul"]
    if result["device"] == "cpu" and share < FAIR_SHARE:
        lines.append(
            f"warning: the released way reached {share:.0%} of this machine's speed of torch.matmul, less than "
            f"{FAIR_SHARE:.0%}: the ratios above favor ours; run again on an idle machine"
        )
    return lines


def _row(way: str, stage: str, values: dict[str, Any]) -> str:
    gflop = f"{values['gflop']:8.0f}" if "gflop" in values else " " * 8
    share = f"{values['share_of_peak']:8.0%}" if "share_of_peak" in values else " " * 8
    memory, rate = values.get("peak_memory_bytes"), values.get("people_per_second")
    peak = f"{memory / 1e9:8.2f}" if memory else " " * 8
    people = f"{rate:9.3f}" if rate else ""
    times = f"{values['seconds'] * 1e3:9.1f} {values['cpu_seconds']:8.2f}"
    return f"{way:<12} {stage:<7} {times} {gflop} {share} {peak} {people}".rstrip()


def plot(result: dict[str, Any], path: Path) -> None:
    """Cost and peak memory against people in a batch and frames of a clip, one line per mode, as a PNG."""
    require("matplotlib", "a plot")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    cost = "cpu_seconds" if result["device"] == "cpu" else "seconds"
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots(2, 2)
    for column, what in enumerate(("people", "frames")):
        for row, (key, label, unit) in enumerate(((cost, cost.replace("_", " "), 1), ("peak_memory_bytes", "GB", 1e9))):
            axis = axes[row][column]
            for name, measured in result["modes"].items():
                points = measured.get("growth", {}).get(what, [])
                known = [(point["count"], point[key] / unit) for point in points if point.get(key)]
                if known:
                    axis.plot(*zip(*known, strict=True), "o-", label=name)
            axis.set(xlabel=what, ylabel=label, ylim=(0, axis.dataLim.y1 * 1.1 if axis.lines else None), xlim=(0, None))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes[0][0].lines:
        axes[0][0].legend()
    figure.suptitle(
        f"SDPose {result['model']} on {result['processor'] or result['device']}, {result['weights']} weights"
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
