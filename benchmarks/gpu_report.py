"""The results of `gpu_table.py` as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sdpose_core.errors import InputError

BEGIN, END = "<!-- cards: begin -->", "<!-- cards: end -->"
"""Around the tables in docs/benchmark.md."""

Results = Mapping[str, Mapping[str, Any]]


def with_section(page: str, tables: str) -> str:
    """The page with `tables` between its two marks. Raises `InputError` if a mark is missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"the page has no place for the tables: expected the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{tables.strip()}\n{END}{after}"


def report(common: Mapping[str, Any], results: Results) -> str:
    """All tables; a cell without a result is a line with its reason."""
    return "\n\n".join([
        _title(common),
        *_speed(results), *_compiled(results), *_memory(results), *_half_precision(results), *_onnx(results),
        *_training(results),
    ]) + "\n"  # fmt: skip


def _title(common: Mapping[str, Any]) -> str:
    memory = f", {common['memory_bytes'] / 1e9:.0f} GB" if common["memory_bytes"] else ""
    versions = ", ".join(f"{name} {common[name]}" for name in ("torch", "cuda", "diffusers") if common.get(name))
    weights = "trained weights" if common["weights"] else "random weights"
    tiny = ", **a tiny model**" if common["tiny"] else ""
    return (
        f"Measured by `benchmarks/gpu_table.sh` on {common['processor']}{memory}; {versions}. Model {common['model']}, "
        f"{weights}{tiny}; `auto` chooses {common['dtype']}."
    )


def _speed(results: Results) -> list[str]:
    cell = results["speed"]
    if cell["status"] != "done":
        return [f"People per second: {_reason(cell)}"]
    found = cell["result"]
    counts = [point["count"] for point in found["modes"]["fp32"]["growth"]["people"]]
    rows = [
        [f"{way} way", _figure(ways["people_per_second"]), *[""] * (len(counts) - 1), "", "", *_shares(ways)]
        for way, ways in found["ways"].items()
        if way != "ours"
    ]
    for name, mode in found["modes"].items():
        if "error" in mode:
            rows.append([f"ours, {name}", mode["error"], *[""] * (len(counts) + 3)])
            continue
        points = {point["count"]: point for point in mode.get("growth", {}).get("people", [])}
        rates = [points.get(count, {}).get("people_per_second") for count in counts]
        best = max((rate for rate in rates if rate), default=None)
        times = [best and best / found["ways"][way]["people_per_second"] for way in ("released", "native")]
        rows.append([f"ours, {name}", *map(_figure, rates), *(_figure(each) for each in times), *_shares(mode)])
    heads = ["people per second, in a batch of", *map(str, counts), "best : released", "best : native"]
    return [_table([*heads, "share of peak", "memory of one, GB"], rows)]


def _shares(values: Mapping[str, Any]) -> list[str]:
    memory = values["peak_memory_bytes"]
    return [f"{values['share_of_peak']:.0%}", f"{memory / 1e9:.2f}" if memory else ""]


def _compiled(results: Results) -> list[str]:
    rows = []
    for name, cell in _named(results, "compile-"):
        found = cell.get("result")
        figures = [found["first_pass_seconds"], found["seconds"]] if found else []
        rows.append([f"`{name}`", *map(_figure, figures)] if found else [f"`{name}`", _reason(cell), ""])
    return [_table(["torch.compile", "first pass (compiles), s", "one crop then, s"], rows)]


def _memory(results: Results) -> list[str]:
    rows = []
    for name, cell in _named(results, "memory-"):
        size = name.removesuffix("gb") + " GB"
        if cell["status"] != "done":
            rows.append([size, "", _reason(cell), ""])
            continue
        for dtype, found in cell["result"].items():
            memory = found.get("peak_memory_bytes")
            rows.append(
                [f"{size}, {dtype}", str(found["batch"]), found["message"], f"{memory / 1e9:.2f}" if memory else ""]
            )
    return [_table(["memory", "largest batch", "the next one", "peak, GB"], rows)]


def _half_precision(results: Results) -> list[str]:
    cell = results["half-precision"]
    title = "Keypoints in half precision (`benchmarks/half_precision.py`)"
    return [
        f"{title}:\n\n```text\n{cell['result']['text']}\n```"
        if cell["status"] == "done"
        else f"{title}: {_reason(cell)}"
    ]


def _onnx(results: Results) -> list[str]:
    rows = []
    for name, cell in _named(results, "onnx-"):
        found = cell.get("result")
        if not found:
            rows.append([name, _reason(cell), "", ""])
        elif name == "export":
            rows.append([name, f"{found['seconds']:.0f} s, {found['bytes'] / 1e9:.2f} GB", "", ""])
        else:
            rates = ", ".join(f"{_figure(each['people_per_second'])} ({each['count']})" for each in found["people"])
            rows.append([name, rates, _figure(found["first_pass_seconds"]), f"{found['heatmap_difference']:.1e}"])
    return [_table(["onnxruntime", "people per second (batch)", "start, s", "heatmaps from PyTorch's fp32"], rows)]


def _training(results: Results) -> list[str]:
    parts, rows = ("encoder", "forward", "backward", "optimizer"), []
    for name, cell in _named(results, "train-"):
        found = cell.get("result")
        if not found:
            rows.append([name, _reason(cell), ""])
            continue
        seconds = sum(found[f"{part}_seconds"] for part in parts)
        rows.append([name, _figure(seconds), f"{max(found[f'{part}_peak_gib'] for part in parts):.2f}"])
    return [_table(["first training step, one person", "seconds", "peak, GiB"], rows)]


def _named(results: Results, start: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The results whose names have this start, without it."""
    return [(name.removeprefix(start), cell) for name, cell in results.items() if name.startswith(start)]


def _reason(cell: Mapping[str, Any]) -> str:
    return f"{cell['status']}: {cell['reason']}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
