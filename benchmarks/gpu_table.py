"""Speed and memory of SDPose on one device, cell by cell, as the tables of docs/benchmark.md.

    benchmarks/gpu_table.sh --out DIR [--device cuda:0] [--weights FILE --picture FILE] [--data.root people]

Each cell is a JSON file in DIR, so a stopped run goes on with the next cell. A cell that fails keeps its reason, which
the table shows; --retry runs failed ones again. Without --weights the model has random weights and full size.
DIR/table.md has the tables; --write-docs also puts them into docs/benchmark.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "training"), str(ROOT / "benchmarks")]

from gpu_cells import Skipped, compiled, exported, largest_batch, need_onnx, onnx_speed, program
from gpu_report import report, with_section

from sdpose_core import resumable
from sdpose_core.bench.measure import machine
from sdpose_core.bench.processes import in_own_process
from sdpose_core.bench.run import run_bench
from sdpose_core.bench.settings import CONFIGS, Settings
from sdpose_core.errors import InputError, MissingDependency, SDPoseError, one_line
from sdpose_core.files import atomic_write
from sdpose_core.version import __version__

DOCS = ROOT / "docs" / "benchmark.md"
MEMORY_GB = (6, 8, 12, 24)
COMPILE_MODES = {"default": "compile", "reduce-overhead": "graphs", "max-autotune": "autotune"}
"""Of `torch.compile`, and how they end in the names of `MODES`."""
PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
TRAINING = {
    "full": ["--autocast", "bf16"],
    "lora": ["--autocast", "bf16", "--lora", "16", "--weights-dtype", "bf16"],
}


@dataclass(frozen=True)
class Cell:
    """One measurement: its name, which is also its file's, and what returns its JSON values."""

    name: str
    measure: Callable[[], dict[str, Any]]


def cells_of(args: argparse.Namespace, settings: Settings) -> list[Cell]:
    """All measurements, in the order in which they run."""
    device, dtype = settings.resolve()
    modes = ("fp32",) if settings.tiny else ("fp32", "bf16", "fp16", "bf16-flip")
    runs, onnx = settings.runs_on(device.type), args.out / "onnx"
    own = Settings(**{**vars(settings), "modes": modes})
    dtypes = dict.fromkeys((dtype, "fp32"))
    providers = PROVIDERS if device.type == "cuda" else {"cpu": "CPUExecutionProvider", **PROVIDERS}
    script = ROOT / "benchmarks"
    step = ["--device", str(device), *(["--tiny"] if settings.tiny else [])]
    if device.type == "cpu":  # bf16 can be a hundred times slower there
        step += ["--autocast", "no", "--weights-dtype", "fp32"]
    people = ["--checkpoint", str(args.weights), "--data.root", str(args.root), "--device", str(device)]
    return [
        Cell("speed", lambda: run_bench(own)),
        *(
            Cell(f"compile-{name}", lambda mode=mode: in_own_process(compiled, settings, f"{dtype}-{mode}"))
            for name, mode in COMPILE_MODES.items()
        ),
        *(
            Cell(f"memory-{size}gb", lambda size=size: {
                name: in_own_process(largest_batch, settings, name, size) for name in dtypes
            })
            for size in MEMORY_GB
        ),
        Cell("half-precision", lambda: program(
            script / "half_precision.py", *people, needs={"weights": args.weights, "data.root": args.root}
        )),
        Cell("onnx-export", lambda: not_tiny(settings) or in_own_process(
            exported, settings, "fp16" if device.type == "cuda" else "fp32", onnx
        )),
        *(
            Cell(f"onnx-{name}", lambda provider=provider: need_onnx(onnx, provider) or in_own_process(
                onnx_speed, onnx, provider, device.index or 0, settings.people, runs
            ))
            for name, provider in providers.items()
        ),
        *(
            Cell(f"train-{name}", lambda name=name, options=options: program(
                script / "full_size_step.py", *options, *step, "--json", str(args.out / f"{name}-step.json")
            ))
            for name, options in TRAINING.items()
        ),
    ]  # fmt: skip


def not_tiny(settings: Settings) -> None:
    """Raise `Skipped` for a tiny model: tracing takes as long for it as for a large one."""
    if settings.tiny:
        raise Skipped("a tiny model is not exported: tests/core/checkpoints/test_onnx_export.py does that")


def run_cells(cells: Sequence[Cell], out: Path, retry: bool = False) -> dict[str, dict[str, Any]]:
    """Measure the cells that `out` has no result of, and return all results by name.

    A result has `status` ("done", "failed", "skipped"), `seconds`, and `result` or `reason`. Skipped cells are tried
    again, as what they need may be here now; failed ones only with `retry`.
    """
    results = {}
    for cell in cells:
        file = out / f"{cell.name}.json"
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"status": "skipped"}
        if known["status"] == "done" or (known["status"] == "failed" and not retry):
            print(f"{cell.name}: {known['status']} before", flush=True)
        else:
            print(f"{cell.name} ...", flush=True)
            known = _measured(cell)
            print(f"{cell.name}: {known['status']} {known.get('reason', '')}".rstrip(), flush=True)
            with atomic_write(file, "w") as handle:
                json.dump(known, handle, indent=1)
        results[cell.name] = known
    return results


def _measured(cell: Cell) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        known = {"status": "done", "result": cell.measure()}
    except (Skipped, MissingDependency) as error:
        known = {"status": "skipped", "reason": one_line(error)}
    except Exception as error:  # noqa: BLE001 # whatever it is, the other cells are measured, and the table shows it
        text = one_line(error)
        known = {
            "status": "failed",
            "reason": text if isinstance(error, SDPoseError) else f"{type(error).__name__}: {text}",
        }
    return {**known, "seconds": time.perf_counter() - began}


def asked(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """The device, versions and options that results of one folder have in common."""
    import torch

    device, dtype = settings.resolve()
    card = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    files = {
        name: path and str(path.resolve()) for name, path in (("weights", args.weights), ("picture", args.picture))
    }
    return {
        **machine(device), "memory_bytes": card, "device": device.type, "dtype": dtype, "version": __version__,
        "model": settings.model, "tiny": settings.tiny, "people": list(settings.people), **files,
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing, and write the tables."""
    args = _parser().parse_args(argv)
    try:
        if args.write_docs and args.tiny:
            raise InputError("--write-docs and --tiny: figures of a tiny model do not belong into the documentation")
        settings = Settings(
            model=args.model, device=args.device, tiny=args.tiny, weights=args.weights, picture=args.picture,
            people=(1, 2) if args.tiny else (1, 2, 4, 8), runs=1 if args.tiny else None,
        )  # fmt: skip
        settings.check_files()
        common = asked(args, settings)
        args.out.mkdir(parents=True, exist_ok=True)
        found = resumable.begin(args.out / "settings.json", common)
        resumable.refuse_other(found, common, args.out, "cells", "choose another --out")
        logging.basicConfig(level=logging.INFO, format="  %(message)s")
        tables = report(common, run_cells(cells_of(args, settings), args.out, args.retry))
        targets = {args.out / "table.md": tables}
        if args.write_docs:
            targets[DOCS] = with_section(DOCS.read_text(encoding="utf-8"), tables)
        for target, text in targets.items():
            with atomic_write(target, "w") as file:
                file.write(text)
            print(f"wrote {target}")
    except SDPoseError as error:
        print(f"gpu_table: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the cells and tables")
    parser.add_argument("--device", default="cuda:0", help="default: cuda:0")
    parser.add_argument("--model", choices=tuple(CONFIGS), default="wholebody", help="default: wholebody")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="trained checkpoint (default: random weights)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="picture filled by one person (default: noise)")
    parser.add_argument(
        "--data.root", dest="root", type=Path, metavar="DIR",
        help="people with annotations/val.json, for keypoints in half precision",
    )  # fmt: skip
    parser.add_argument("--retry", action="store_true", help="run failed cells again")
    parser.add_argument("--write-docs", action="store_true", help="replace the tables in docs/benchmark.md")
    parser.add_argument("--tiny", action="store_true", help="a tiny model, only to check that every cell runs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
