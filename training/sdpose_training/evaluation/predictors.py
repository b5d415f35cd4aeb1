"""What an evaluation asks for poses: SDPose with the flip test, the preview, and peers, through one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sdpose_core.errors import InputError
from sdpose_core.estimation.crop_jobs import with_scores
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.estimation.sdpose import PoseEstimator
from sdpose_core.poses import Poses

FULL_SIZE_PIXELS = 768 * 1024
"""Of one crop of the released models: what a CPU is given at a time."""

BY_MEMORY = 0
"""A batch size that is still to be chosen, by one process for all."""

LARGEST_BATCH = 64
SPARE_MEMORY = 0.8
"""Share of a GPU's free memory that a batch may fill."""


class PosePredictor(Protocol):
    """What turns pictures and boxes into poses; `PoseEstimator` and `PreviewEstimator` are such.

    Attributes:
        name: what tables call it.
        keypoint_set: name of a set of `sdpose_core.skeletons`, or a custom name.

    An optional method `meta() -> dict` says what made the poses (model, weights with sha256, settings): it goes into
    the result, and a run that is taken up again is refused if it differs.
    """

    name: str
    keypoint_set: str

    def estimate(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> list[Poses]:
        """Poses of the people in `boxes` of each picture.

        Args:
            images: RGB uint8 (H, W, 3), sizes may differ.
            boxes: for each picture (N, 4) x1, y1, x2, y2 in its pixels.

        Returns:
            One `Poses` per picture, people in the order of their boxes and with these boxes (float32). Boxes in which
            nobody is found, or that cannot be used, may be left out.
        """
        ...


def load_sdpose_predictor(
    checkpoint: str | Path,
    *,
    batch: int | None = None,
    flip_test: bool = True,
    crop: str = "affine",
    input_size: tuple[int, int] | None = None,
    dtype: str | None = None,
    device: Any = None,
) -> PoseEstimator:
    """SDPose as the paper evaluates it: the crop of training, averaged with its mirror image.

    Args:
        checkpoint: a checkpoint in any layout, or the name of one that was downloaded ("body", "wholebody").
        batch: crops per pass; `BY_MEMORY` leaves it to `prediction_run`, which sets it by `batch_for_memory`; None: the
            device's usual one.
        flip_test, crop, input_size, dtype, device: as in `load_estimator`.

    Raises what `load_estimator` raises.
    """
    estimator = load_estimator(
        checkpoint,
        batch_size=batch or None,
        flip_test=flip_test,
        crop=crop,
        input_size=input_size,
        dtype=dtype,
        vae_dtype=None if str(checkpoint).endswith(".onnx") else "fp32",  # as the official evaluation
        device=device,
    )
    if not isinstance(estimator, PoseEstimator):
        raise InputError(f"{checkpoint}: expected an SDPose checkpoint; the preview is a peer: --peer preview")
    estimator.name = f"SDPose {Path(checkpoint).name.removesuffix('.safetensors')}"  # tells checkpoints apart
    if batch == BY_MEMORY:
        estimator.batch_size = BY_MEMORY
    return estimator


def batch_for_memory(estimator: PoseEstimator) -> int:
    """How many crops to run at a time, a power of two up to 64.

    On CUDA the peak memory of one crop is measured and the free memory filled with such; elsewhere as many as have the
    pixels of one full-size crop, so that it does not depend on the machine.
    """
    w, h = estimator.model.config.input_size
    if estimator.device.type != "cuda":
        return _power_of_two(FULL_SIZE_PIXELS / (w * h))
    import torch

    crop = np.zeros((1, h, w, 3), np.uint8)
    estimator.heatmaps(crop)  # what is allocated once
    torch.cuda.synchronize(estimator.device)
    before = torch.cuda.memory_allocated(estimator.device)
    torch.cuda.reset_peak_memory_stats(estimator.device)
    estimator.heatmaps(crop)
    each = max(torch.cuda.max_memory_allocated(estimator.device) - before, 1)
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(estimator.device)
    return _power_of_two(SPARE_MEMORY * free / each)


def _power_of_two(limit: float) -> int:
    """The largest one that is at most `limit`, within 1..64."""
    return 2 ** int(np.log2(min(max(limit, 1), LARGEST_BATCH)))


def box_indices(poses: Poses, boxes_xyxy: np.ndarray) -> list[int]:
    """Which of the boxes (N, 4) each person of a predictor's answer belongs to.

    Raises `ValueError` for an answer whose boxes are not among those given, in their order: a defect of the predictor.
    """
    given = with_scores(boxes_xyxy)[:, :4]
    found: list[int] = []
    place = 0
    for box in poses.boxes[:, :4]:
        while place < len(given) and not np.array_equal(given[place], box):
            place += 1
        if place == len(given):
            raise ValueError(f"the predictor returned a box {box.tolist()} that it was not given, or out of order")
        found.append(place)
        place += 1
    return found
