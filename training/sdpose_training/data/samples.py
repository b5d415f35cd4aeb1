"""People in pictures as training samples: read, cut out, augmented, encoded.

A sample is a pure function of (recipe, seed, epoch, index): the same whatever the number of workers or processes, and
after any interruption.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sdpose_core.codec.crops import warp
from sdpose_core.codec.heatmaps import encode_udp_profiles
from sdpose_core.errors import InputError, SDPoseError
from sdpose_training.data.annotations import People
from sdpose_training.data.augmentation import Placement, augment, place, visible_inside
from sdpose_training.data.photometric import distort, occlude
from sdpose_training.data.pictures import read_picture
from sdpose_training.recipe.recipe import AugmentationRecipe

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

MAX_TRIES = 1000
"""People drawn for one sample before giving up: they have hardly any usable points."""


@dataclass(frozen=True)
class SampleSettings:
    """What a sample looks like.

    Attributes:
        input_size: (w, h).
        heatmap_sigma: in heatmap pixels.
        min_visible: fewer labelled points in the crop: another person is drawn.
        with_clean: also give the picture before blur and hole, the target of the RGB task.
        seed: of everything random.
    """

    input_size: tuple[int, int]
    heatmap_sigma: float
    min_visible: int
    with_clean: bool
    seed: int


class PeopleSamples:
    """Samples by (epoch, index), as torch's DataLoader asks for them."""

    def __init__(self, people: People, augmentation: AugmentationRecipe, settings: SampleSettings) -> None:
        self.people = people
        self.augmentation = augmentation
        self.settings = settings

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """The sample of person `index` in `epoch`, or of another one drawn in its place.

        Returns:
            "input" and (if asked for) "clean": (H, W, 3) uint8 RGB; "rows" (K, h), "columns" (K, w): factors of the
            target heatmaps; "weights" (K,); "index": whose picture it is; "problems": damaged files that were met.

        Raises `SDPoseError` if hardly anybody is usable.
        """
        epoch, index = key
        rng = np.random.default_rng((self.settings.seed, epoch, index))
        problems: list[str] = []
        for _ in range(MAX_TRIES):
            try:
                sample = self._sample(rng, index)
            except InputError as error:
                problems.append(str(error))
                sample = None
            if sample is not None:
                return {**sample, "index": index, "problems": problems}
            index = int(rng.integers(len(self.people)))
        raise SDPoseError(
            f"{MAX_TRIES} people in a row had fewer than {self.settings.min_visible} points in the crop or a damaged "
            f"picture ({'; '.join(problems[-3:]) or 'none was damaged'}): check the annotations, lower data.min_visible"
        )

    def _sample(self, rng: np.random.Generator, index: int) -> dict[str, Any] | None:
        """None where too few points are left: known before the picture is opened."""
        people, settings = self.people, self.settings
        width = int(people.picture_sizes[index, 0])
        placement = place(people.keypoints[index], people.visibility[index], people.boxes_xyxy[index])
        placement = augment(rng, placement, width, people.keypoint_set, self.augmentation)
        matrix = placement.warp_matrix(settings.input_size)
        keypoints = placement.keypoints @ matrix[:, :2].T + matrix[:, 2]
        if visible_inside(keypoints, placement.visibility, settings.input_size) < settings.min_visible:
            return None
        image = read_picture(people.files[index], tuple(people.picture_sizes[index]))
        return {**self._pixels(rng, image, placement, matrix), **self._target(keypoints, placement.visibility)}

    def _pixels(
        self, rng: np.random.Generator, image: np.ndarray, placement: Placement, matrix: np.ndarray
    ) -> dict[str, np.ndarray]:
        import cv2

        if placement.mirrored:
            image = cv2.flip(image, 1)
        crop = warp(image, matrix, self.settings.input_size)
        if self.augmentation.photometric:
            crop = distort(rng, crop, self.augmentation.as_released)
        crop = np.ascontiguousarray(crop)
        clean = {"clean": crop.copy()} if self.settings.with_clean else {}
        return {"input": occlude(rng, crop, self.augmentation), **clean}

    def _target(self, keypoints: np.ndarray, visibility: np.ndarray) -> dict[str, np.ndarray]:
        w, h = self.settings.input_size
        rows, columns, weights = encode_udp_profiles(
            keypoints[None], visibility[None], (w, h), (w // 4, h // 4), self.settings.heatmap_sigma
        )
        return {"rows": rows[0], "columns": columns[0], "weights": weights[0]}


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Samples -> one batch of tensors: arrays stacked, "index" (N,), "problems" of all in one list."""
    import torch

    arrays = [key for key, value in samples[0].items() if isinstance(value, np.ndarray)]
    batch: dict[str, Any] = {key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in arrays}
    batch["index"] = torch.tensor([sample["index"] for sample in samples])
    batch["problems"] = [problem for sample in samples for problem in sample["problems"]]
    return batch


def quiet_worker(_worker: int) -> None:
    """For the processes of a DataLoader: one thread each, and no end before that of the process they work for.

    Ctrl-C and a scheduler's SIGTERM go to the whole group: the trainer answers them, and needs its workers until it
    has. It ends them itself: `Batches`.
    """
    import cv2

    cv2.setNumThreads(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class Batches:
    """Iterator over a DataLoader whose workers are `quiet_worker`s. `close` ends them, wherever the iterator stands.

    Left to the end of the program, Python would send them the SIGTERM that they ignore and wait for ever.
    """

    def __init__(self, loader: DataLoader) -> None:
        before = multiprocessing.active_children()
        self._batches = iter(loader)
        self._workers = [worker for worker in multiprocessing.active_children() if worker not in before]

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> dict[str, Any]:
        return next(self._batches)

    def close(self) -> None:
        if self._workers:
            self._batches._shutdown_workers()  # type: ignore[attr-defined]  # no public way in torch
        for worker in self._workers:
            worker.kill()  # those that took longer over their last batch than torch waits
            worker.join()
        self._workers = []
