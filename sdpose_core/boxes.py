"""Boxes in pixels: formats, clipping, overlap, non-maximum suppression. The format is in the name."""

from __future__ import annotations

import numpy as np

from .errors import InputError


def as_boxes_xyxy(boxes, what: str = "boxes") -> np.ndarray:
    """Boxes x1, y1, x2, y2 (array, lists or tuples; may be empty) -> float32 (N, 4). Raises `InputError`."""
    try:
        array = np.asarray(boxes, dtype=np.float32)
    except (TypeError, ValueError):
        raise InputError(f"{what}: expected numbers of shape (N, 4) as x1, y1, x2, y2, got {boxes!r:.80}") from None
    if array.size == 0:
        return np.zeros((0, 4), np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"{what}: expected shape (N, 4) as x1, y1, x2, y2, got shape {array.shape}")
    return array


def xywh_to_xyxy(boxes_xywh: np.ndarray) -> np.ndarray:
    """(..., 4) x, y, width, height -> (..., 4) x1, y1, x2, y2."""
    boxes = np.asarray(boxes_xywh)
    return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)


def xyxy_to_xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(..., 4) x1, y1, x2, y2 -> (..., 4) x, y, width, height."""
    boxes = np.asarray(boxes_xyxy)
    return np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)


def area(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(..., 4) -> (...,) square pixels; an inverted box has area 0."""
    size = np.asarray(boxes_xyxy)[..., 2:] - np.asarray(boxes_xyxy)[..., :2]
    return np.prod(np.maximum(size, 0), axis=-1)


def clip(boxes_xyxy: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(..., 4) boxes clipped to a picture of `size` (w, h)."""
    return np.clip(np.asarray(boxes_xyxy), 0, np.asarray([*size, *size], dtype=np.float32))


def box_problem(box_xyxy: np.ndarray, size: tuple[int, int]) -> str | None:
    """Why a box cannot be used on a picture of `size` (w, h), as a phrase for an error or a log; None if it can."""
    x1, y1, x2, y2 = (float(v) for v in np.asarray(box_xyxy)[:4])
    text = f"box ({x1:g}, {y1:g}, {x2:g}, {y2:g})"
    if not np.isfinite([x1, y1, x2, y2]).all():
        return f"{text} is not finite"
    if x2 <= x1 or y2 <= y1:
        return f"{text} is empty or inverted (expected x1 < x2 and y1 < y2)"
    if x2 <= 0 or y2 <= 0 or x1 >= size[0] or y1 >= size[1]:
        return f"{text} is outside the {size[0]} x {size[1]} picture"
    return None


def iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Intersection over union of every box of (N, 4) with every box of (M, 4) -> (N, M) in 0..1."""
    a, b = np.asarray(a_xyxy, np.float64), np.asarray(b_xyxy, np.float64)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    union = area(a[:, :4])[:, None] + area(b[:, :4])[None, :] - shared
    return np.where(union > 0, shared / np.maximum(union, 1e-12), 0.0)


def nms(boxes_xyxy: np.ndarray, scores: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Greedy non-maximum suppression of (N, 4) boxes -> kept indices, highest score first (ties: lower index first)."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    overlaps = iou(boxes_xyxy, boxes_xyxy)
    kept: list[int] = []
    for i in order:
        if all(overlaps[i, j] <= iou_threshold for j in kept):
            kept.append(int(i))
    return np.asarray(kept, dtype=np.int64)
