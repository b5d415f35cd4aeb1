"""`benchmarks/gpu_table.sh`: cells that resume, their tables, and all of it with a tiny model on a CPU."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gpu_cells
import gpu_table
import numpy as np
import pytest
import torch
from gpu_report import BEGIN, END, report, with_section
from gpu_table import Cell, cells_of, run_cells
from onnx_files import node, write_model

from sdpose_core.bench.settings import Settings
from sdpose_core.errors import InputError, SDPoseError

COMMON = {
    "processor": "a card", "memory_bytes": 24e9, "torch": "2", "cuda": "13", "diffusers": "0", "model": "body",
    "weights": None, "tiny": False, "dtype": "bf16",
}  # fmt: skip
CELLS = ["speed", "compile-default", "compile-reduce-overhead", "compile-max-autotune", "memory-6gb", "memory-8gb",
         "memory-12gb", "memory-24gb", "half-precision", "onnx-export", "onnx-cpu", "onnx-cuda", "onnx-tensorrt",
         "train-full", "train-lora"]  # fmt: skip


def cells(calls: list[str], **fails: Exception) -> list[Cell]:
    def measure(name: str) -> dict[str, Any]:
        calls.append(name)
        if name in fails:
            raise fails[name]
        return {"name": name}

    return [Cell(name, lambda name=name: measure(name)) for name in ("a", "b", "c", "d")]


def test_a_second_run_measures_only_what_is_missing(tmp_path: Path) -> None:
    """Skipped cells are tried again, failed ones when asked; a cell that was interrupted left nothing."""
    calls: list[str] = []
    errors = {
        "b": gpu_cells.Skipped("no weights given"),
        "c": RuntimeError("no compiler\nlong"),
        "d": KeyboardInterrupt(),
    }
    with pytest.raises(KeyboardInterrupt):
        run_cells(cells(calls, **errors), tmp_path)
    assert calls == ["a", "b", "c", "d"] and sorted(os.listdir(tmp_path)) == ["a.json", "b.json", "c.json"]
    found = run_cells(cells(calls, d=SDPoseError("no memory")), tmp_path)
    assert calls[4:] == ["b", "d"]
    assert [found[name]["status"] for name in "abcd"] == ["done", "done", "failed", "failed"]
    assert found["c"]["reason"] == "RuntimeError: no compiler long" and found["d"]["reason"] == "no memory"
    assert json.loads((tmp_path / "a.json").read_text())["result"] == {"name": "a"}
    found = run_cells(cells(calls), tmp_path, retry=True)
    assert calls[6:] == ["c", "d"] and {cell["status"] for cell in found.values()} == {"done"}


def test_every_cell_has_its_place_in_the_tables(tmp_path: Path) -> None:
    """Even if nothing could be measured, each says why."""
    options = SimpleNamespace(out=tmp_path, weights=None, root=None)
    names = [cell.name for cell in cells_of(options, Settings(device="cpu", tiny=True))]
    assert names == CELLS
    text = report(COMMON, {name: {"status": "failed", "reason": f"reason {name}"} for name in names})
    assert all(f"failed: reason {name}" in text for name in names)
    assert "on a card, 24 GB; torch 2, cuda 13, diffusers 0" in text and "random weights" in text


def test_tables_go_between_the_marks_and_nowhere_else() -> None:
    page = f"above\n{BEGIN}\nold\n{END}\nbelow\n"
    assert with_section(page, "new\n") == f"above\n{BEGIN}\nnew\n{END}\nbelow\n"
    assert with_section(with_section(page, "x"), "new") == with_section(page, "new")
    with pytest.raises(InputError, match="cards: begin"):
        with_section("a page", "new")
    assert gpu_table.DOCS.read_text(encoding="utf-8").count(BEGIN) == 1


def test_a_figure_of_each_kind() -> None:
    way = {"people_per_second": 2.0, "share_of_peak": 0.3, "peak_memory_bytes": 6e9}
    points = [{"count": 1, "people_per_second": 4.0}, {"count": 2, "people_per_second": 8.0}]
    modes = {
        "fp32": {**way, "growth": {"people": points}}, "bf16": {"error": "RuntimeError: none"},
        "fp16": {**way, "growth": {"people": [points[0], {"count": 2, "error": "out of memory"}]}},
    }  # fmt: skip
    done = {
        "speed": {"ways": {"released": way, "native": way, "ours": way}, "modes": modes},
        "compile-default": {"first_pass_seconds": 71.234, "seconds": 0.0512},
        "memory-6gb": {"bf16": {"batch": 4, "message": "out of memory with 8 crops: continued with 4",
                                "peak_memory_bytes": 5e9}, "fp32": {"batch": 0, "message": "ran out"}},
        "half-precision": {"text": "AP 61"},
        "onnx-export": {"seconds": 60.0, "bytes": 2e9},
        "onnx-cuda": {"first_pass_seconds": 3.0, "people": points, "heatmap_difference": 0.013},
        "train-full": {f"{part}_{what}": 1.0 for part in ("encoder", "forward", "backward", "optimizer")
                       for what in ("seconds", "peak_gib")},
    }  # fmt: skip
    text = report(COMMON, {name: {"status": "done", "result": result} for name, result in done.items()})
    for row in (
        "| released way | 2 |  |  |  | 30% | 6.00 |", "| ours, fp32 | 4 | 8 | 4 | 4 | 30% | 6.00 |",
        "| ours, fp16 | 4 |  | 2 | 2 | 30% | 6.00 |", "| ours, bf16 | RuntimeError: none |  |  |  |  |  |",
        "| `default` | 71.2 | 0.0512 |", "| 6 GB, bf16 | 4 | out of memory with 8 crops: continued with 4 | 5.00 |",
        "| 6 GB, fp32 | 0 | ran out |  |", "AP 61", "| export | 60 s, 2.00 GB |  |  |",
        "| cuda | 4 (1), 8 (2) | 3 | 1.3e-02 |", "| full | 4 | 1.00 |",
    ):  # fmt: skip
        assert row in text


@pytest.mark.parametrize(("options", "words"), [
    (["--tiny", "--write-docs"], "do not belong"), (["--device", "cuda:99"], "no device"),
    (["--weights", "nothing.safetensors"], "does not exist"),
])  # fmt: skip
def test_wrong_options_are_told_before_anything_is_measured(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu_table.main(["--out", str(tmp_path / "out"), *options]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert words in line and not (tmp_path / "out").exists()


def test_what_a_program_lacks_or_says(tmp_path: Path) -> None:
    with pytest.raises(gpu_cells.Skipped, match="^no weights and no data.root given$"):
        gpu_cells.program(tmp_path / "x.py", needs={"weights": None, "data.root": None})
    (tmp_path / "x.py").write_text("import sys; print('first'); sys.exit('the reason')")
    with pytest.raises(SDPoseError, match="^the reason$"):
        gpu_cells.program(tmp_path / "x.py")


def test_an_export_is_measured_beside_its_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model with random weights; a stand-in for the export, as tracing takes long: it averages pixels."""
    pytest.importorskip("onnxruntime", reason="runs an ONNX file")

    def export(source: Path, target: Path, *, dtype: torch.dtype, overwrite: bool) -> None:
        assert source.name == "random.safetensors" and dtype == torch.float16 and overwrite
        pool = node("AveragePool", ["images"], "heatmaps", kernel_shape=(4, 4), strides=(4, 4))
        write_model(target, [pool], {"images": ["n", 3, 256, 192]}, {"heatmaps": ["n", 3, 64, 48]}, {})

    monkeypatch.setattr("sdpose_core.checkpoints.onnx_export.export_onnx", export)
    folder, provider = tmp_path / "onnx", "CPUExecutionProvider"
    with pytest.raises(gpu_cells.Skipped, match="not exported"):
        gpu_cells.need_onnx(folder, provider)
    found = gpu_cells.exported(Settings(model="body", device="cpu", tiny=True), "fp16", folder)
    assert found["bytes"] == (folder / "model.onnx").stat().st_size
    gpu_cells.need_onnx(folder, provider)
    with np.load(folder / "reference.npz") as reference:
        images = reference["images"]
        assert reference["heatmaps"].shape == (1, 17, 64, 48) and np.abs(reference["heatmaps"]).max() > 0.1
    heatmaps = images.reshape(1, 3, 64, 4, 48, 4).mean(axis=(3, 5))
    np.savez(folder / "reference.npz", images=images, heatmaps=heatmaps + np.float32(0.5))
    speed = gpu_cells.onnx_speed(folder, provider, 0, (1, 2), runs=1)
    assert speed["heatmap_difference"] == pytest.approx(0.5, abs=1e-4)
    assert [point["count"] for point in speed["people"]] == [1, 2]
