"""`PoseEstimator`: SDPose on the crops of all people of all pictures, in batches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..codec.crops import CROP_MODES, Crop
from ..codec.heatmaps import damage_in, decode_to_tensor, with_damage
from ..codec.transfers import Download, upload
from ..errors import InputError, NotFiniteError, SDPoseError
from ..model.config import SUM
from ..poses import Poses
from ..skeletons import KEYPOINT_SETS, described
from ..version import __version__
from .crop_jobs import (
    BATCH_SIZE_OF_DEVICE,
    Arrays,
    Masks,
    OnBatch,
    PlannedCrop,
    is_out_of_memory,
    one_ahead,
    plan_crops,
)
from .croppers import Cropper, HostCropper, RoundedDeviceCropper
from .stage_times import MODEL, StageTimes

if TYPE_CHECKING:
    import torch

    from ..model.config import SDPoseConfig
    from ..model.network import SDPose

log = logging.getLogger(__name__)

NUMBERED = (
    "the weights do not name their keypoints: they are numbered and drawn without limbs (the file that training wrote "
    "has names and links)"
)


def notes_of(config: SDPoseConfig) -> list[str]:
    """What readers of the results should know about a model: that its points have no names."""
    return [] if config.keypoint_names or config.keypoint_set in KEYPOINT_SETS else [NUMBERED]


def dtype_notes(model: SDPose) -> list[str]:
    """What "auto" chose on a CPU that has bf16."""
    why = getattr(model, "why_dtype", "")
    if not why.startswith("CPU with "):
        return []
    half = str(model.dtype) == "torch.bfloat16"
    return [f"{why}: computing in {'bf16 (dtype fp32 for exact results)' if half else 'fp32'}"]


class PoseEstimator:
    """SDPose on boxes.

    Args:
        model: an `SDPose` module, already on its device.
        name: its name in results.
        weights: path and SHA-256 of the weights, for `meta`.
        batch_size: crops per forward pass; None: `BATCH_SIZE_OF_DEVICE`. It is halved, for good, when memory runs out;
            the result's `meta` has the value used.
        flip_test: average with the mirrored crop (as in evaluation; twice the cost).
        crop: one of `codec.crops.CROP_MODES`; "affine" is the crop used in training.
        crops_on_device: cut "affine" crops on the model's device; None: only on CUDA. Recorded in `meta`.
    """

    def __init__(
        self,
        model: SDPose,
        *,
        name: str = "SDPose",
        weights: Mapping[str, Any] | None = None,
        batch_size: int | None = None,
        flip_test: bool = False,
        crop: str = "affine",
        crops_on_device: bool | None = None,
    ) -> None:
        if crop not in CROP_MODES:
            raise InputError(f"unknown crop mode {crop!r}: choose one of {', '.join(CROP_MODES)}")
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch size: expected at least 1, got {batch_size}")
        self.model = model
        self.name = name
        self.weights = dict(weights or {})
        self.flip_test = flip_test
        self.crop = crop
        self._crops_on_device = crops_on_device
        self.times = StageTimes()
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, getattr(model, "dtype", parameter.dtype)
        self.batch_size = batch_size or BATCH_SIZE_OF_DEVICE.get(self.device.type, 1)

    @property
    def notes(self) -> list[str]:
        """See `Estimator.notes`."""
        return [*notes_of(self.model.config), *dtype_notes(self.model)]

    @property
    def keypoint_set(self) -> str:
        """Name of the keypoint set of the results."""
        return self.model.config.keypoint_set

    @property
    def crops_on_device(self) -> bool:
        """Whether crops are cut on the model's device."""
        choice = self._crops_on_device
        return self.crop == "affine" and (self.device.type == "cuda" if choice is None else choice)

    def to(self, device: Any) -> PoseEstimator:
        """Move the model to a device; the batch size does not change."""
        self.model.to(device)
        self.device = next(self.model.parameters()).device
        return self

    def estimate(
        self, images: Arrays, boxes: Arrays, *, masks: Masks | None = None, on_batch: OnBatch | None = None
    ) -> list[Poses]:
        """Poses of the people in `boxes` of each picture.

        Args:
            images: RGB uint8 (H, W, 3); sizes may differ.
            boxes: for each picture (N, 4) x1, y1, x2, y2 or (N, 5) with a score, in pixels. N may be 0.
            masks: for each picture (N, H, W) bool or None; pixels outside the mask are black in the crop.
            on_batch: called with (crops done, total crops) after each batch; may raise to stop.

        Returns:
            One `Poses` per picture. A box that cannot be used (empty, not finite, outside) is left out, with the
            reason in `meta["dropped_boxes"]`.

        Raises:
            InputError: pictures, boxes and masks do not match, or have the wrong shape or type.
            NotFiniteError: the network gave NaN or infinity for a crop.
            SDPoseError: not even one crop fits into memory.
        """
        jobs, results = plan_crops(images, boxes, masks)
        batches = self._batches(self.cropper(images, jobs), jobs)
        done = 0
        for batch, crops, points in one_ahead(batches) if self.device.type == "cuda" else batches:
            for job, crop, person in zip(batch, crops, points.array(), strict=True):
                if damage := damage_in(person):
                    raise NotFiniteError(self._damage(damage, job.number), job.image, len(images))
                results[job.image].add(job, crop.to_image(person[:, :2]), person[:, 2])
            done += len(batch)
            if on_batch:
                on_batch(done, len(jobs))
        count, meta = self.model.config.num_keypoints, self.meta()
        return [
            result.poses(image, self.keypoint_set, count, meta) for image, result in zip(images, results, strict=True)
        ]

    def heatmaps(self, crops: np.ndarray) -> torch.Tensor:
        """RGB crops (N, H, W, 3) of 0..255, at the model's input size -> heatmaps (N, K, H/4, W/4) float32 on its
        device."""
        import torch

        with torch.inference_mode():
            return self._heatmaps(upload(crops, self.device).permute(0, 3, 1, 2))

    def _heatmaps(self, pixels: torch.Tensor) -> torch.Tensor:
        """Crops (N, 3, H, W) of 0..255 on the device -> heatmaps (N, K, H/4, W/4) float32."""
        import torch

        images = pixels.to(torch.float32, copy=True).div_(127.5).sub_(1.0)
        return self.model.heatmaps(images, flip_test=self.flip_test)

    def cropper(self, images: Arrays, jobs: Sequence[PlannedCrop]) -> Cropper:
        """The cropper for these jobs."""
        size = self.model.config.input_size
        if self.crops_on_device and jobs:
            return RoundedDeviceCropper(images, jobs, size, self.device)
        return HostCropper(images, jobs, size, self.crop, self.device)

    def start(self, cropper: Cropper, part: slice) -> tuple[list[Crop], Download]:
        """Start a batch: its crops, and the download of its points (N, K, 3).

        On CUDA nothing here waits for the device, so the next batch is prepared while this one runs.
        """
        import torch

        with torch.inference_mode():
            with self.times.busy("crop"):
                crops, pixels = cropper.cut(part)
            with self.times.busy_on(MODEL, self.device):
                maps = self._heatmaps(pixels)
                points = with_damage(decode_to_tensor(maps, self.model.config.input_size), maps)
            return crops, Download(points)

    def _batches(
        self, cropper: Cropper, jobs: Sequence[PlannedCrop]
    ) -> Iterator[tuple[Sequence[PlannedCrop], list[Crop], Download]]:
        """The jobs, crops and points of each batch, once it is started."""
        done = 0
        while done < len(jobs):
            stop = min(done + self.batch_size, len(jobs))
            try:
                started = self.start(cropper, slice(done, stop))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                started = None  # the error keeps the tensors of the failed pass alive: leave the block first
            if started is None:
                self._halve_batch()
                continue
            yield jobs[done:stop], *started
            done = stop

    def _damage(self, count: int, box: int) -> str:
        """What is wrong, and what to do: in half precision, values between the layers may be too large."""
        w, h = self.model.config.heatmap_size
        total = self.model.config.num_keypoints * w * h
        found = f"{count:,} of {total:,} heatmap values of box {box} are not numbers (NaN or infinity)"
        vae = self._vae_dtype().get("vae_dtype", "float32")
        half = {"float16": "bf16 or fp32", "bfloat16": "fp32"}
        others = [half[name] for name in (str(self.dtype).removeprefix("torch."), vae) if name in half]
        damaged = "the weights are damaged: get them again"
        if not others:
            return f"{found}: {self.name} runs in full precision, so {damaged}"
        advice = f"choose another dtype ({others[0]}); if that does not help, {damaged}"
        return f"{found}: {self.name} runs in half precision: {advice}"

    def _halve_batch(self) -> None:
        if self.batch_size == 1:
            w, h = self.model.config.input_size
            raise SDPoseError(
                f"{self.name} ran out of memory on {self.device} with a single {w} x {h} crop in {self.dtype}: close "
                "other programs, use a half-precision dtype (fp16 or bf16), a smaller input size, or the CPU"
            )
        self.batch_size //= 2
        log.warning("out of memory on %s: continuing with a batch size of %d", self.device, self.batch_size)
        if self.device.type == "cuda":
            import torch

            torch.cuda.empty_cache()

    def meta(self) -> dict[str, Any]:
        """Model, weights and every setting that affects a keypoint."""
        config, approximations = self.model.config, getattr(self.model, "approximations", {})
        return {
            "model": self.name,
            "preview": False,
            "weights": self.weights,
            "library_version": __version__,
            "settings": {
                "batch_size": self.batch_size,
                "crop": self.crop,
                "crops_cut_on": self.device.type if self.crops_on_device else "cpu",
                "device": self.device.type,
                "dtype": str(self.dtype).removeprefix("torch."),
                **self._vae_dtype(),
                **({"dtype_reason": why} if (why := getattr(self.model, "why_dtype", "")) else {}),
                "feature_levels": list(config.feature_levels),
                **({} if config.aggregation == SUM else {"aggregation": config.aggregation}),
                "flip_test": self.flip_test,
                "input_size": list(config.input_size),
                **({"approximations": approximations} if approximations else {}),
            },
            **described(config.skeleton),
        }

    def _vae_dtype(self) -> dict[str, str]:
        """An entry for the VAE's dtype, if it differs from the rest of the model."""
        vae = getattr(self.model, "vae", None)
        weights = next(vae.parameters(), None) if vae is not None else None
        if weights is None or weights.dtype == self.dtype:
            return {}
        return {"vae_dtype": str(weights.dtype).removeprefix("torch.")}
