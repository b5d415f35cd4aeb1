"""Cutting crops on the host or on the model's device, behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..codec.crops import Crop, affine_crop, make_crop, masked
from ..codec.transfers import upload
from .crop_jobs import PlannedCrop

if TYPE_CHECKING:
    import torch


class Cropper(Protocol):
    """Cuts planned crops, in order."""

    def cut(self, part: slice) -> tuple[list[Crop], torch.Tensor]:
        """The crops of these jobs, and their pixels (N, 3, h, w) of 0..255, RGB, on the model's device."""
        ...


class HostCropper:
    """Cuts with OpenCV, in any crop mode, and uploads the crops.

    Args:
        images: RGB uint8 (H, W, 3).
        jobs: which box of which picture.
        input_size: (w, h) of a crop.
        mode: one of `codec.crops.CROP_MODES`.
        device: of the pixels.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        jobs: Sequence[PlannedCrop],
        input_size: tuple[int, int],
        mode: str,
        device: torch.device,
    ) -> None:
        self.images, self.jobs, self.input_size, self.mode, self.device = images, jobs, input_size, mode, device

    def cut(self, part: slice) -> tuple[list[Crop], torch.Tensor]:
        """See `Cropper.cut`. Pixels are rounded, except in "stretch_native": ComfyUI's node does not round."""
        cut = [
            make_crop(masked(self.images[job.image], job.mask), job.box[:4], self.input_size, mode=self.mode)
            for job in self.jobs[part]
        ]
        pixels = upload(np.stack([pixels for pixels, _ in cut]), self.device)
        return [crop for _, crop in cut], pixels.permute(0, 3, 1, 2)


class RoundedDeviceCropper:
    """`DeviceCropper` ("affine" only) with rounded pixels, as on the host; arguments as for `HostCropper`."""

    def __init__(
        self,
        images: Sequence[np.ndarray],
        jobs: Sequence[PlannedCrop],
        input_size: tuple[int, int],
        device: torch.device,
    ) -> None:
        from ..codec.device_crops import CropJob, DeviceCropper

        planned = [CropJob(images[job.image], affine_crop(job.box[:4], input_size), job.mask) for job in jobs]
        self._cropper = DeviceCropper(planned, device)

    def cut(self, part: slice) -> tuple[list[Crop], torch.Tensor]:
        """See `Cropper.cut`."""
        return self._cropper.crops[part], self._cropper.cut(part.start, part.stop).round_()
