"""Training samples: read, crop, augment, encode.

A sample is a pure function of (recipe, seed, epoch, index), whatever the number of workers, processes or interruptions.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

import numpy as np

from sdpose_core.codec.crops import warp
from sdpose_core.codec.heatmaps import encode_udp_profiles
from sdpose_core.errors import InputError, SDPoseError
from sdpose_training.data.annotations import People
from sdpose_training.data.augmentation import Placement, augment, place, visible_inside
from sdpose_training.data.photometric import Filter, distort, occlude, repaint
from sdpose_training.data.pictures import read_picture
from sdpose_training.recipe.recipe import AugmentationRecipe, CropAugmentation

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

MAX_TRIES = 1000
"""People tried for one sample before giving up."""


@dataclass(frozen=True)
class SampleSettings:
    """How samples are made.

    Attributes:
        input_size: (w, h).
        heatmap_sigma: in heatmap pixels.
        min_visible: minimum labeled points in the crop; otherwise another person is chosen.
        visible: which points count for it, as in `DataRecipe`.
        with_clean: also return the crop before blur and hole, the target of the RGB task.
        seed: of all random choices.
        filters: of styles; one of them repaints a crop with the recipe's `style_share`.
    """

    input_size: tuple[int, int]
    heatmap_sigma: float
    min_visible: int
    with_clean: bool
    seed: int
    visible: str = "touching"
    filters: tuple[Filter, ...] = ()


class PeopleSamples:
    """Samples by (epoch, index), for torch's DataLoader."""

    def __init__(
        self, people: People | Sequence[People], augmentation: AugmentationRecipe, settings: SampleSettings
    ) -> None:
        """`people`: of one keypoint set; those of several data sets are numbered through."""
        self.data_sets = (people,) if isinstance(people, People) else tuple(people)
        self.augmentation, self.settings = augmentation, settings
        self._ends = np.cumsum([len(each) for each in self.data_sets])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """The sample of person `index` in `epoch`, or of another one of the same data set if that is not usable.

        Returns:
            "input" and "clean" (with `with_clean`): (H, W, 3) uint8 RGB; "rows" (K, h), "columns" (K, w): factors of
            the target heatmaps; "weights" (K,); "index" of the person; "noise_seed", for the noise of the latents;
            "problems": messages about damaged files.

        Raises `SDPoseError` if `MAX_TRIES` people in a row are not usable.
        """
        epoch, index = key
        rng = np.random.default_rng((self.settings.seed, epoch, index))
        number = int(np.searchsorted(self._ends, index, side="right"))
        people = self.data_sets[number]
        first = int(self._ends[number]) - len(people)
        problems: list[str] = []
        for _ in range(MAX_TRIES):
            try:
                sample = self._sample(rng, people, index - first)
            except InputError as error:
                problems.append(str(error))
                sample = None
            if sample is not None:
                seed = int(rng.integers(1 << 63))
                return {**sample, "index": index, "noise_seed": seed, "problems": problems}
            index = first + int(rng.integers(len(people)))
        few = f"fewer than {self.settings.min_visible} points in the crop"
        damaged = f"a damaged picture ({'; '.join(problems[-3:]) or 'none'})"
        advice = "check the annotations or lower data.min_visible"
        raise SDPoseError(f"{MAX_TRIES} people in a row had {few} or {damaged}: {advice}")

    def _sample(self, rng: np.random.Generator, people: People, index: int) -> dict[str, Any] | None:
        """None if too few points are in the crop, which is checked before the picture is read."""
        settings = self.settings
        width = int(people.picture_sizes[index, 0])
        placement = place(people.keypoints[index], people.visibility[index], people.boxes_xyxy[index])
        placement = augment(rng, placement, width, people.keypoint_set, self.augmentation)
        matrix = placement.warp_matrix(settings.input_size)
        keypoints = placement.keypoints @ matrix[:, :2].T + matrix[:, 2]
        target = self._target(keypoints, placement.visibility)
        if settings.visible == "touching":  # the weight of a point whose Gaussian is outside of the crop is 0
            visible = np.count_nonzero(target["weights"])
        else:
            visible = visible_inside(keypoints, placement.visibility, settings.input_size)
        if visible < settings.min_visible:
            return None
        image = read_picture(people.files[index], tuple(people.picture_sizes[index]))
        return {**self._pixels(rng, image, placement, matrix), **target}

    def _pixels(
        self, rng: np.random.Generator, image: np.ndarray, placement: Placement, matrix: np.ndarray
    ) -> dict[str, np.ndarray]:
        settings, chances = self.settings, self.augmentation
        crop = augmented_crop(rng, image, placement, matrix, settings.input_size, chances, settings.filters)
        # The RGB task reconstructs what the model sees, style and colors included: the original picture is not in it.
        clean = {"clean": crop.copy()} if self.settings.with_clean else {}
        return {"input": occlude(rng, crop, self.augmentation), **clean}

    def _target(self, keypoints: np.ndarray, visibility: np.ndarray) -> dict[str, np.ndarray]:
        (w, h), sigma = self.settings.input_size, self.settings.heatmap_sigma
        profiles = encode_udp_profiles(keypoints[None], visibility[None], (w, h), (w // 4, h // 4), sigma)
        rows, columns, weights = profiles
        return {"rows": rows[0], "columns": columns[0], "weights": weights[0]}


def augmented_crop(
    rng: np.random.Generator, image: np.ndarray, placement: Placement, matrix: np.ndarray, input_size: tuple[int, int],
    chances: CropAugmentation, filters: Sequence[Filter],
) -> np.ndarray:  # fmt: skip
    """The crop (h, w, 3) uint8 of a placement, repainted and with other colors, before blur and hole."""
    import cv2

    if placement.mirrored:
        image = cv2.flip(image, 1)
    crop = warp(image, matrix, input_size)
    crop = repaint(rng, crop, filters, chances.style_share)
    if chances.photometric:
        crop = distort(rng, crop, chances.as_released)
    return np.ascontiguousarray(crop)


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Samples -> one batch: arrays stacked to tensors, numbers to (N,), "problems" joined."""
    import torch

    arrays = [key for key, value in samples[0].items() if isinstance(value, np.ndarray)]
    batch: dict[str, Any] = {key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in arrays}
    for key in (key for key, value in samples[0].items() if isinstance(value, int)):
        batch[key] = torch.tensor([sample[key] for sample in samples])
    batch["problems"] = [problem for sample in samples for problem in sample["problems"]]
    return batch


def quiet_worker(_worker: int) -> None:
    """Set up a worker of a DataLoader: one thread, and deaf to SIGINT and SIGTERM.

    Both signals go to the whole process group. The trainer handles them, needs its workers until then, and ends them
    itself (see `Batches`).
    """
    import cv2

    cv2.setNumThreads(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class LostWorker(SDPoseError):
    """A data loading process was killed, or ran out of memory."""


class Batches:
    """Iterator over a DataLoader with `quiet_worker`s, which `close` ends.

    Otherwise Python would send them at exit the SIGTERM that they ignore, and wait forever. A worker that is killed is
    noticed between two batches: torch's handler of SIGCHLD, which would interrupt anything, is taken back.
    """

    def __init__(self, loader: DataLoader) -> None:
        before = multiprocessing.active_children()
        child = getattr(signal, "SIGCHLD", None)
        handler = signal.getsignal(child) if child else None
        self._batches = iter(loader)
        if child:
            signal.signal(child, handler)
        self._workers = [worker for worker in multiprocessing.active_children() if worker not in before]

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> dict[str, Any]:
        """The next batch. Raises `LostWorker`, and `SDPoseError` as `PeopleSamples`."""
        try:
            return next(self._batches)
        except MemoryError:
            raise LostWorker(_lost("ran out of memory")) from None
        except SDPoseError as error:  # torch puts the worker's traceback in front
            raise SDPoseError(str(error).strip().splitlines()[-1].partition("SDPoseError: ")[2] or str(error)) from None
        except (RuntimeError, EOFError, OSError) as error:
            if not self._lost_a_worker(error):
                raise
            raise LostWorker(_lost("was killed, perhaps because memory ran out")) from None

    def _lost_a_worker(self, error: Exception) -> bool:
        """Whether an error means that a worker is gone. If it is killed while it hands over a batch, its socket is
        closed (`EOFError`, `ConnectionError`, a missing file) before torch or anyone else notices its end."""
        if isinstance(error, RuntimeError) or not self._workers:
            return bool(self._workers) and "DataLoader worker" in str(error)
        return bool(wait([worker.sentinel for worker in self._workers], timeout=2))

    def close(self) -> None:
        if self._workers:
            self._batches._shutdown_workers()  # type: ignore[attr-defined]  # torch has no public method for it
        for worker in self._workers:
            worker.kill()  # if its last batch took longer than torch waits
            worker.join()
        self._workers = []


def _lost(what: str) -> str:
    return f"a data loading process {what}: lower hardware.workers or hardware.batch_per_device, and use --resume auto"
