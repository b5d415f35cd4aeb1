"""SDPose as the paper evaluates it: with the flip test, in batches that fill the memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from sdpose_core.errors import InputError
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.estimation.options import EstimatorOptions
from sdpose_core.estimation.sdpose import PoseEstimator

FULL_SIZE_PIXELS = 768 * 1024
"""Pixels of one crop of the released models; a batch on a CPU holds this many."""

BY_MEMORY = 0
"""Batch size to be chosen by the first process for all."""

LARGEST_BATCH = 64
SPARE_MEMORY = 0.8
"""Share of a GPU's free memory that a batch may fill."""

EVALUATION = EstimatorOptions(flip_test=True)
"""The paper's settings: the crop of training, averaged with its mirror image."""


def load_sdpose_predictor(
    checkpoint: str | Path, options: EstimatorOptions = EVALUATION, *, by_memory: bool = False
) -> PoseEstimator:
    """SDPose with its VAE in fp32, as in the official evaluation; "auto" is fp32 on every CPU.

    Args:
        checkpoint: a checkpoint in any layout, or the name of a downloaded one ("body", "wholebody").
        options: see `load_estimator`.
        by_memory: let `prediction_run` set the batch size by `batch_for_memory`.

    Raises what `load_estimator` raises.
    """
    from sdpose_core.model.devices import fp32_on_cpu

    if not str(checkpoint).lower().endswith(".onnx"):
        options = replace(options, dtype=fp32_on_cpu(options.dtype, options.device), vae_dtype="fp32")
    estimator = load_estimator(checkpoint, options)
    if not isinstance(estimator, PoseEstimator):
        raise InputError(f"{checkpoint}: expected an SDPose checkpoint; to evaluate the preview, give --peer preview")
    estimator.name = predictor_name(checkpoint)
    if by_memory:
        estimator.batch_size = BY_MEMORY
    return estimator


def predictor_name(checkpoint: str | Path) -> str:
    """The name of a checkpoint in tables: tells checkpoints apart."""
    return f"SDPose {Path(checkpoint).name.removesuffix('.safetensors')}"


def batch_for_memory(estimator: PoseEstimator) -> int:
    """Crops per pass, a power of two up to 64.

    On CUDA, as many as fit in the free memory, by the measured peak of one crop. Elsewhere, as many as have the pixels
    of one full-size crop, whatever the machine.
    """
    w, h = estimator.model.config.input_size
    if estimator.device.type != "cuda":
        return _power_of_two(FULL_SIZE_PIXELS / (w * h))
    import torch

    crop = np.zeros((1, h, w, 3), np.uint8)
    estimator.heatmaps(crop)  # allocates what is kept between passes
    torch.cuda.synchronize(estimator.device)
    before = torch.cuda.memory_allocated(estimator.device)
    torch.cuda.reset_peak_memory_stats(estimator.device)
    estimator.heatmaps(crop)
    each = max(torch.cuda.max_memory_allocated(estimator.device) - before, 1)
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(estimator.device)
    return _power_of_two(SPARE_MEMORY * free / each)


def _power_of_two(limit: float) -> int:
    """The largest power of two up to `limit`, within 1..64."""
    return 2 ** int(np.log2(min(max(limit, 1), LARGEST_BATCH)))
