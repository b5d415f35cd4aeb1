"""The measurements of `gpu_table.py`, each for a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.bench.passes import measure_way
from sdpose_core.bench.processes import peak_memory
from sdpose_core.bench.settings import Settings
from sdpose_core.errors import SDPoseError, one_line

BATCHES = (1, 2, 4, 8, 16, 32, 64)
CONTEXT_BYTES = 500e6
"""Of a card's memory, for CUDA itself: PyTorch's limit does not count it."""
TINY = 1 / 50
"""Of the stated memory, for a tiny model on a CPU."""


class Skipped(Exception):
    """Something that a measurement needs is not here."""


def compiled(settings: Settings, mode: str) -> dict[str, Any]:
    """Seconds of the first pass, which compiles, without what earlier runs compiled; and per crop afterwards.

    A tiny model on a CPU is not compiled, which would take minutes.
    """
    if settings.tiny and settings.resolve()[0].type == "cpu":
        os.environ["TORCHDYNAMO_DISABLE"] = "1"  # read when PyTorch's compiler is imported
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.environ["TRITON_CACHE_DIR"] = folder
        result, _ = measure_way("ours", settings, mode)
    return {name: result[name] for name in ("first_pass_seconds", "seconds", "cpu_seconds", "peak_memory_bytes")}


def largest_batch(settings: Settings, mode: str, gigabytes: float) -> dict[str, Any]:
    """The largest batch of the estimator with so much memory, and what it says to the next one.

    Returns `batch` (0: not even one person), `message`, `peak_memory_bytes`.
    """
    import torch

    from sdpose_core.bench.modes import MODES
    from sdpose_core.bench.ways import our_model, person
    from sdpose_core.estimation.sdpose import PoseEstimator

    device, _ = settings.resolve()
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        if gigabytes * 1e9 > total:
            raise Skipped(f"this card has {total / 1e9:.0f} GB")
        torch.cuda.set_per_process_memory_fraction((gigabytes * 1e9 - CONTEXT_BYTES) / total, device)
    found: dict[str, Any] = {"batch": 0, "message": ""}
    with torch.inference_mode():
        try:
            model = our_model(settings.config, device, MODES[mode], settings.weights)
        except torch.cuda.OutOfMemoryError as error:
            return {**found, "message": one_line(error)}
        if device.type == "cpu":
            _limit_process(gigabytes * 1e9 * (TINY if settings.tiny else 1))
        pixels, box = person(settings.picture)
        for count in BATCHES:
            estimator = PoseEstimator(model, batch_size=count)
            try:
                estimator.estimate([pixels], [np.repeat(box[None], count, axis=0)])
            except SDPoseError as error:
                return {**found, "message": one_line(error)}
            if estimator.batch_size < count:
                text = f"out of memory with {count} crops: continued with {estimator.batch_size}"
                return {**found, "message": text}
            found |= {"batch": count, "peak_memory_bytes": peak_memory(device)}
    return found


def _limit_process(more: float) -> None:
    """Let this process allocate so many bytes more than it has."""
    import resource

    lines = Path("/proc/self/status").read_text().splitlines()
    used = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (used + int(more), resource.RLIM_INFINITY))


def program(script: Path, *options: str, needs: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a script of this folder with Python; its JSON if it has the option `--json`, and else its `text`.

    Raises `Skipped` if a value of `needs` is None.
    """
    if missing := [name for name, value in (needs or {}).items() if value is None]:
        raise Skipped(f"no {' and no '.join(missing)} given")
    done = subprocess.run([sys.executable, str(script), *options], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with exit code {done.returncode}"]
        raise SDPoseError(lines[-1][:200])
    if "--json" in options:
        return json.loads(Path(options[options.index("--json") + 1]).read_text(encoding="utf-8"))
    return {"text": done.stdout.strip()}


def exported(settings: Settings, dtype: str, folder: Path) -> dict[str, Any]:
    """Export the model to `folder`/model.onnx, with a crop and its heatmaps in fp32 to compare; seconds, bytes."""
    import torch

    from sdpose_core.bench.ways import crop_tensor
    from sdpose_core.checkpoints.layouts import save_checkpoint
    from sdpose_core.checkpoints.loading import load_sdpose
    from sdpose_core.checkpoints.onnx_export import export_onnx
    from sdpose_core.model.devices import DTYPES
    from sdpose_core.model.network import SDPose

    folder.mkdir(parents=True, exist_ok=True)
    source, cpu, config = settings.weights, torch.device("cpu"), settings.config
    if source is None:
        source = folder / "random.safetensors"
        torch.manual_seed(0)
        model = SDPose(config)
        torch.nn.init.normal_(model.head.final_layer.weight, std=model.head.final_layer.in_channels**-0.5)
        save_checkpoint(model.state_dict(), config, source, dtype=torch.float16)
        del model
    began = time.perf_counter()
    export_onnx(source, folder / "model.onnx", dtype=DTYPES[dtype], overwrite=True)
    seconds = time.perf_counter() - began
    images = crop_tensor(config, "affine", cpu, picture=settings.picture)
    with torch.inference_mode():
        heatmaps = load_sdpose(source, dtype="fp32", device="cpu").heatmaps(images)
    np.savez(folder / "reference.npz", images=images.numpy(), heatmaps=heatmaps.numpy())
    return {"seconds": seconds, "bytes": sum(file.stat().st_size for file in folder.glob("model.onnx*"))}


def need_onnx(folder: Path, provider: str) -> None:
    """Raise `Skipped` if onnxruntime, this provider of it, or the exported model is missing."""
    try:
        import onnxruntime
    except ImportError as error:
        raise Skipped("onnxruntime is not installed: pip install onnxruntime-gpu") from error
    if provider not in (known := onnxruntime.get_available_providers()):
        raise Skipped(f"this onnxruntime has no {provider}, only {', '.join(known)}")
    if not (folder / "reference.npz").exists():
        raise Skipped("the model was not exported, see onnx-export")


def onnx_speed(folder: Path, provider: str, device_id: int, people: tuple[int, ...], runs: int) -> dict[str, Any]:
    """Seconds of the first pass, which may build an engine, people per second by batch (crops and heatmaps are copied
    to the device and back), and the largest difference of heatmaps from PyTorch in fp32."""
    import onnxruntime
    import torch  # noqa: F401 # loads the libraries of CUDA

    reference = np.load(folder / "reference.npz")
    images = reference["images"]
    fallback = [] if provider == "CPUExecutionProvider" else [("CUDAExecutionProvider", {"device_id": device_id})]
    options = _provider_options(provider, device_id, images.shape[1:], people, folder)
    wanted: list[Any] = [(provider, options)] + [each for each in fallback if each[0] != provider]
    began = time.perf_counter()
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=wanted)
    if session.get_providers()[0] != provider:
        raise SDPoseError(f"onnxruntime could not start {provider}: it chose {session.get_providers()[0]}")
    heatmaps = session.run(["heatmaps"], {"images": images})[0]
    result = {
        "first_pass_seconds": time.perf_counter() - began, "people": [],
        "heatmap_difference": float(np.abs(heatmaps - reference["heatmaps"]).max()),
    }  # fmt: skip
    for count in people:
        batch = {"images": np.repeat(images, count, axis=0)}
        times = []
        for _ in range(runs + 1):  # the first warms up
            began = time.perf_counter()
            session.run(["heatmaps"], batch)
            times.append(time.perf_counter() - began)
        result["people"].append({"count": count, "people_per_second": count / min(times[1:])})
    return result


def _provider_options(
    provider: str, device_id: int, shape: tuple[int, ...], people: tuple[int, ...], folder: Path
) -> dict[str, Any]:
    if provider == "CPUExecutionProvider":
        return {}
    if provider != "TensorrtExecutionProvider":
        return {"device_id": device_id}
    size = "x".join(map(str, shape))
    return {
        "device_id": device_id, "trt_fp16_enable": True,
        "trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder / "engines"),
        "trt_profile_min_shapes": f"images:1x{size}", "trt_profile_opt_shapes": f"images:{max(people)}x{size}",
        "trt_profile_max_shapes": f"images:{max(people)}x{size}",
    }  # fmt: skip
