"""What all estimators share: their interface, and the list of crops for the boxes of some pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from .. import boxes as box_tools
from ..errors import InputError
from ..images import check_image
from ..poses import Poses
from .stage_times import StageTimes

log = logging.getLogger(__name__)

BATCH_SIZE_OF_DEVICE = {"cuda": 8, "mps": 2, "cpu": 1}
"""Default crops per batch. Fixed for each kind of device, so that the same command gives the same bytes."""

Arrays = Sequence[np.ndarray]
Masks = Sequence[np.ndarray | None]
OnBatch = Callable[[int, int], None]
Item = TypeVar("Item")


class Estimator(Protocol):
    """Turns pictures and boxes into poses.

    Attributes:
        name: its name in results and tables.
        batch_size: crops per pass. The last digits of results may depend on it, so a resumed run sets it to the first
            run's value. The preview ignores it and takes one crop at a time.
        notes: notes for readers of the results, one line each.
        times: records the time of each stage; a caller that measures replaces it.
    """

    name: str
    batch_size: int
    times: StageTimes

    @property
    def keypoint_set(self) -> str:
        """Name of a set in `skeletons`, or a custom name."""
        ...

    @property
    def notes(self) -> Sequence[str]: ...

    def meta(self) -> dict[str, Any]:
        """ "model" (its name), "weights" (path and SHA-256) and "settings" (all that affect a keypoint, and
        "batch_size"). They are saved in every result, and a run is resumed only with the same ones."""
        ...

    def to(self, device: Any) -> Estimator:
        """Move to a device. An estimator that cannot move logs this and stays."""
        ...

    def estimate(
        self, images: Arrays, boxes: Arrays, *, masks: Masks | None = None, on_batch: OnBatch | None = None
    ) -> list[Poses]:
        """See `PoseEstimator.estimate`. Boxes without a person may be left out; `box_index` says which are kept."""
        ...


@dataclass(frozen=True)
class PlannedCrop:
    """One crop to make: box `number` of picture `image`."""

    image: int
    number: int
    box: np.ndarray  # (5,) x1, y1, x2, y2, score
    mask: np.ndarray | None


@dataclass
class CropResults:
    """The people found in one picture so far."""

    crops: list[PlannedCrop] = field(default_factory=list)
    keypoints: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def add(self, crop: PlannedCrop, keypoints: np.ndarray, scores: np.ndarray) -> None:
        """Add a person: keypoints (K, 2) in picture pixels, scores (K,)."""
        self.crops.append(crop)
        self.keypoints.append(keypoints)
        self.scores.append(scores)

    def poses(self, image: np.ndarray, keypoint_set: str, count: int, meta: Mapping[str, Any]) -> Poses:
        """All people found in `image`, as one `Poses`."""
        return Poses(
            np.asarray(self.keypoints, np.float32).reshape(-1, count, 2),
            np.asarray(self.scores, np.float32).reshape(-1, count),
            np.asarray([crop.box for crop in self.crops], np.float32).reshape(-1, 5),
            (image.shape[1], image.shape[0]),
            keypoint_set,
            meta={**meta, **({"dropped_boxes": self.dropped} if self.dropped else {})},
            box_index=np.asarray([crop.number for crop in self.crops], np.int32),
        )


def one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each yielded after the next one was made."""
    held: list[Item] = []
    for item in items:
        yield from held
        held = [item]
    yield from held


def plan_crops(images: Arrays, boxes: Arrays, masks: Masks | None) -> tuple[list[PlannedCrop], list[CropResults]]:
    """Check the arguments of `estimate` and list the crops to make; unusable boxes are noted in the results."""
    if len(images) != len(boxes) or (masks is not None and len(masks) != len(images)):
        counts = f"{len(images)} pictures, {len(boxes)} lists of boxes"
        counts += f", {len(masks)} masks" if masks is not None else ""
        raise InputError(f"expected one list of boxes (and one mask array, if any) per picture, got {counts}")
    jobs: list[PlannedCrop] = []
    results = [CropResults() for _ in images]
    for index, (image, image_boxes) in enumerate(zip(images, boxes, strict=True)):
        check_image(image)
        scored = with_scores(image_boxes)
        image_masks = masks[index] if masks is not None else None
        if image_masks is not None and image_masks.shape != (len(scored), *image.shape[:2]):
            expected = (len(scored), *image.shape[:2])
            raise InputError(f"masks of picture {index}: expected shape {expected}, got {image_masks.shape}")
        for number, box in enumerate(scored):
            problem = box_tools.box_problem(box, (image.shape[1], image.shape[0]))
            if problem:
                log.warning("picture %d: %s; left out", index, problem)
                results[index].dropped.append(problem)
            else:
                jobs.append(PlannedCrop(index, number, box, None if image_masks is None else image_masks[number]))
    return jobs, results


def with_scores(boxes: Any) -> np.ndarray:
    """(N, 4) or (N, 5) -> (N, 5) float32; a box without a score gets 1."""
    array = np.asarray(boxes, dtype=np.float32)
    if array.ndim == 2 and array.shape[1] == 5:
        return array
    plain = box_tools.as_boxes_xyxy(boxes)
    return np.concatenate([plain, np.ones((len(plain), 1), np.float32)], axis=1)


_NO_MEMORY = (
    "out of memory", "can't allocate memory",
    "cublas_status_alloc_failed", "cudnn_status_alloc_failed", "cusolver_status_alloc_failed",
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device or the machine ran out of memory."""
    import torch

    known: tuple[type[BaseException], ...] = (torch.cuda.OutOfMemoryError, MemoryError)
    text = str(error).lower()
    return isinstance(error, known) or any(words in text for words in _NO_MEMORY)
