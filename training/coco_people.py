"""People in pictures as training samples: read, cut out, augmented, encoded.

A sample is a pure function of (recipe, seed, epoch, index): the same whatever the number of workers or processes, and
after any interruption.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from augmentation import Placement, augment, place, visible_inside
from coco_annotations import People
from photometric import distort, occlude
from recipe import AugmentationRecipe

from sdpose_core.crops import warp
from sdpose_core.errors import InputError, SDPoseError
from sdpose_core.heatmaps import encode_udp_profiles

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

MAX_TRIES = 1000
"""People drawn for one sample before giving up: they have hardly any usable points."""

_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


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


def read_picture(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """A picture as RGB uint8 (H, W, 3), by OpenCV's decoder, which takes half the time of Pillow's.

    An EXIF orientation is applied, as the released pipeline does, unless only the picture as it is stored has the
    annotated size: then that is what was annotated.

    Args:
        path: the file.
        size: (w, h) as annotated; None for any.

    Raises `InputError`: missing, damaged, cut off, or not of the annotated size.
    """
    import cv2

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    image = _decoded(data, cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path}: the picture is damaged or cut off ({len(data):,} bytes)")
    found = image.shape[1::-1]
    if size is not None and found != tuple(size):
        image = _decoded(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if found[::-1] == tuple(size) else None
        if image is None or image.shape[1::-1] != tuple(size):
            raise InputError(f"{path}: {found[0]} x {found[1]} pixels, annotated as {size[0]} x {size[1]}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def _decoded(data: bytes, flags: int) -> np.ndarray | None:
    """BGR uint8 (H, W, 3); None for what is no whole picture."""
    import cv2

    # OpenCV fills up a JPEG that ends early with grey; its end mark is gone then.
    whole = not data.startswith(_JPEG) or data.rfind(_JPEG_END) > 0
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data and whole else None


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
