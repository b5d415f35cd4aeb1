"""IMAGE and MASK tensors to arrays, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...sdpose_core.errors import InputError
from ..host.progress import stoppable

if TYPE_CHECKING:
    import torch


def images_from_tensor(image: torch.Tensor) -> list[np.ndarray]:
    """IMAGE (B, H, W, C) float 0..1 -> B RGB uint8 arrays (H, W, 3). Alpha is dropped, gray is repeated.

    Raises `InputError` for any other shape and for an empty batch.
    """
    shape = tuple(getattr(image, "shape", ()))
    if len(shape) != 4 or shape[-1] not in (1, 3, 4) or 0 in shape:
        raise InputError(f"image: expected an IMAGE of shape (frames, height, width, 3), got {shape or type(image)}")
    return [_rgb(frame[..., :3]) for frame in stoppable(image.detach())]


def _rgb(frame: torch.Tensor) -> np.ndarray:
    pixels = frame.float().nan_to_num(0.0).mul_(255.0).round_().clamp_(0, 255).byte().cpu().numpy()
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def tensor_from_images(images: Sequence[np.ndarray]) -> torch.Tensor:
    """RGB uint8 arrays (H, W, 3) of one size -> IMAGE (B, H, W, 3) float 0..1 on ComfyUI's intermediate device."""
    import comfy.model_management
    import torch

    sizes = {image.shape for image in images}
    if len(sizes) != 1:
        raise InputError(f"all images of a batch must have the same size, got {sorted(sizes)}: set width and height")
    batch = torch.empty((len(images), *images[0].shape), dtype=torch.float32)
    for frame, image in stoppable(list(zip(batch, images, strict=True))):
        frame.copy_(torch.from_numpy(image)).div_(255.0)
    return batch.to(comfy.model_management.intermediate_device())


def tensor_from_masks(masks: Sequence[np.ndarray]) -> torch.Tensor:
    """Per frame (N, H, W) bool -> MASK (all boxes, H, W) float, frame by frame; one empty mask if there is nobody."""
    import comfy.model_management
    import torch

    flat = np.concatenate(list(masks))
    flat = flat if len(flat) else np.zeros((1, *flat.shape[1:]), bool)
    return torch.from_numpy(flat).to(torch.float32).to(comfy.model_management.intermediate_device())


def masks_from_tensor(
    masks: torch.Tensor | None, counts: Sequence[int], images: Sequence[np.ndarray]
) -> list[np.ndarray | None]:
    """MASK, one per box, frame by frame -> per frame (N, H, W) bool in the size of the image; None: no masks.

    Raises `InputError` if the number of masks is not the number of boxes.
    """
    if masks is None or sum(counts) == 0:
        return [None] * len(images)
    if masks.ndim != 3 or len(masks) != sum(counts):
        raise InputError(
            f"masks: expected one per box, {sum(counts)} in total, got {tuple(masks.shape)}: connect the masks and the "
            "boxes of the same 'Boxes From ...' node"
        )
    flat = resized_masks(masks.detach().cpu().numpy() > 0.5, (images[0].shape[1], images[0].shape[0]))
    return [own if len(own) else None for own in np.split(flat, np.cumsum(counts)[:-1])]


def resized_masks(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, h, w) -> (N, H, W) of `size` (w, h), nearest neighbor."""
    h, w = masks.shape[-2:]
    if (w, h) == size:
        return masks
    rows, columns = (np.arange(size[1]) * h // size[1]), (np.arange(size[0]) * w // size[0])
    return masks[:, rows][:, :, columns]
