"""IMAGE and MASK tensors to arrays, and back."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...sdpose_core.errors import InputError, counted, restated
from ...sdpose_core.images import CHANNELS, as_array, laid_on, white_of
from ..host.progress import stoppable

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


def images_from_tensor(image: torch.Tensor) -> list[np.ndarray]:
    """IMAGE as B RGB uint8 arrays (H, W, 3); see `frames_of`."""
    return list(frames_of(image))


def frames_of(image: torch.Tensor) -> Iterator[np.ndarray]:
    """IMAGE (B, H, W, C), of 0..1, as RGB uint8 arrays (H, W, 3), one by one.

    Gray is repeated, and transparent pixels are laid on white. Also takes what other nodes produce by mistake, with a
    warning in the log: values of 0..255, a single picture without batch, channels first.

    Raises `InputError` for any other shape, for an empty batch, and for values that are not numbers.
    """
    batch = _batch(image)
    white, opaque = (_white(part) if part.shape[-1] else 1 for part in (batch[..., :3], batch[..., 3:]))
    return (_rgb(frame, white, opaque) for frame in stoppable(batch))


def count_and_size(image: torch.Tensor) -> tuple[int, tuple[int, int]]:
    """The number of frames of an IMAGE and their size (w, h). Accepts and raises what `frames_of` does."""
    frames, height, width = _batch(image).shape[:3]
    return frames, (width, height)


def _batch(image: torch.Tensor) -> torch.Tensor:
    """Any order of axes whose meaning is clear -> (B, H, W, C) of 1, 3 or 4 channels."""
    torch = _torch()
    given = torch.from_numpy(image) if isinstance(image, np.ndarray) else image
    shape = tuple(getattr(given, "shape", ()))
    batch, note = given, ""
    if len(shape) == 5 and shape[0] == 1:
        batch = batch[0]
    elif len(shape) == 2 or (len(shape) == 3 and shape[0] == 1 and shape[-1] not in CHANNELS):
        batch, note = batch.reshape(1, *shape[-2:], 1), "a mask"
    elif len(shape) == 3 and (shape[-1] in CHANNELS or shape[0] in CHANNELS):
        batch, note = batch[None], "a single picture without a batch"
    if batch is not None and getattr(batch, "ndim", 0) == 4 and batch.shape[-1] not in CHANNELS:
        if batch.shape[1] in CHANNELS:
            batch, note = batch.movedim(1, -1), "channels first"
    if getattr(batch, "ndim", 0) != 4 or batch.shape[-1] not in CHANNELS or 0 in batch.shape:
        raise InputError(
            f"image: expected an IMAGE of shape (frames, height, width, 3), got {shape or type(image).__name__}"
        )
    if note:
        log.warning("image: shape %s taken as %s; an IMAGE is (frames, height, width, 3)", shape, note)
    return batch.detach()


def _white(batch: torch.Tensor) -> int:
    """The value of white. Raises `InputError` for values of no known range."""
    torch = _torch()
    if batch.dtype == torch.uint8:
        return 255
    whole = not batch.is_floating_point()
    if batch.is_complex():
        raise InputError(f"image: expected an IMAGE of numbers from 0 to 1, got {batch.dtype}")
    known = batch if batch.dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16) else batch.float()
    low, high = (float(value) for value in known.aminmax())
    if not math.isfinite(low) or not math.isfinite(high):
        number, count = next((i, n) for i, frame in enumerate(known) if (n := int((~torch.isfinite(frame)).sum())))
        raise InputError(
            f"image, frame {number}: NaN or infinity in {counted(count, 'value')}, often because a VAE ran in half "
            "precision: run it in fp32"
        )
    mean = 0.0 if high <= 1 else float(known.mean(dtype=torch.float32))
    with restated("image"):
        white = white_of(low, high, mean, whole=whole)
    if white > 1:
        log.warning("image: values up to %g: taken as 0..%d, an IMAGE has 0..1", high, white)
    return white


def _rgb(frame: torch.Tensor, white: int, opaque: int) -> np.ndarray:
    """A frame whose white and whose full alpha have these values."""
    pixels = _bytes(frame[..., :3], white)
    if frame.shape[-1] == 4:
        return laid_on(np.concatenate([pixels, _bytes(frame[..., 3:], opaque)], axis=-1))
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels)


def _bytes(values: torch.Tensor, white: int) -> np.ndarray:
    if values.dtype == _torch().uint8:
        return values.cpu().numpy()
    return values.float().mul(255.0 / white).round_().clamp_(0, 255).byte().cpu().numpy()


def _torch() -> Any:
    import torch

    return torch


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
    inside = masks_of(masks)
    if len(inside) != sum(counts):
        raise InputError(
            f"masks: expected one per box, {sum(counts)} in total, got {tuple(masks.shape)}: connect the masks and the "
            "boxes of the same 'Boxes From ...' node"
        )
    flat = resized_masks(inside, (images[0].shape[1], images[0].shape[0]))
    return [own if len(own) else None for own in np.split(flat, np.cumsum(counts)[:-1])]


def masks_of(value: Any) -> np.ndarray:
    """MASK of any number type, with values of 0..1 or 0..255 -> (N, H, W) bool: what is at least half inside.

    Takes (H, W), (N, H, W), (B, N, H, W) and (N, H, W, 1). Raises `InputError` for another shape or range.
    """
    array = as_array(value)
    shape = array.shape
    if array.ndim == 4 and array.shape[-1] == 1 and array.shape[1] > 1:
        array = array[..., 0]
    is_picture = array.ndim == 4 and shape[-1] in CHANNELS and shape[1] not in CHANNELS
    if array.ndim not in (2, 3, 4) or 0 in array.shape[-2:] or is_picture:
        raise InputError(f"mask: expected a MASK of shape (masks, height, width), got {shape}")
    array = array.reshape(-1, *array.shape[-2:])
    if array.dtype == bool or not len(array):
        return array.astype(bool)
    low, high = float(array.min()), float(array.max())
    if not (math.isfinite(low) and -0.5 <= low and high <= 255.5):
        raise InputError(f"mask: values from {low:g} to {high:g}: expected 0 outside and 1 inside")
    return array > (0.5 if high <= 1.5 else 127.5)


def resized_masks(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, h, w) -> (N, H, W) of `size` (w, h), nearest neighbor."""
    h, w = masks.shape[-2:]
    if (w, h) == size:
        return masks
    rows, columns = (np.arange(size[1]) * h // size[1]), (np.arange(size[0]) * w // size[0])
    return masks[:, rows][:, :, columns]
