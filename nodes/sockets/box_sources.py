"""Boxes around people, and masks if there are any, from the values of other nodes: BBOX, SEGS, MASK, SAM 3, poses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from comfy_api.latest import io

from ...sdpose_core.annotate.images import FramePeople
from ...sdpose_core.boxes import clip, xywh_to_xyxy
from ...sdpose_core.dependencies import opencv
from ...sdpose_core.errors import InputError, counted
from ...sdpose_core.images import MAX_PIXELS, as_array, as_numbers, is_tensor
from ...sdpose_core.openpose.layouts import is_frame
from ...sdpose_core.pose_values import check_size
from ...sdpose_core.poses import Poses
from .arrays import without_tensors
from .boxes import box_array, boxes_from_socket, in_pixels, object_label, objects_ignored
from .images import masks_of, resized_masks
from .poses import PoseFrames, PoseKeypoint, poses_from_socket

SOURCE_TYPES = (
    io.BoundingBox,
    io.Custom("BBOX"),
    io.Custom("SEGS"),
    io.Mask,
    io.Custom("SAM3_TRACK_DATA"),
    PoseKeypoint,
    PoseFrames,
    io.Custom("MHR_POSE_DATA"),
)
BBOX_FORMATS = ("x, y, width, height", "x1, y1, x2, y2")
MASK_MEANINGS = ("each mask is a person", "each connected part is a person")
MIN_PART_SHARE = 0.0005
"""Connected parts smaller than this share of the image are specks, not people."""


def filled_masks(people: FramePeople, size: tuple[int, int]) -> np.ndarray:
    """(N, H, W) bool: the masks, or filled boxes if the source has none."""
    if people.masks is not None:
        return people.masks
    masks = np.zeros((len(people.boxes), size[1], size[0]), bool)
    inside = clip(np.nan_to_num(np.round(people.boxes[:, :4])), size).astype(int)
    for mask, (x1, y1, x2, y2) in zip(masks, inside, strict=True):
        mask[y1:y2, x1:x2] = True
    return masks


def people_of(
    source: Any, frames: int, size: tuple[int, int], *, bbox_format: str, mask_meaning: str
) -> tuple[list[FramePeople], list[str]]:
    """The people in each of `frames` images of `size` (w, h), and notes for the info text.

    Raises `InputError` for a value of an unknown kind or a different number of frames.
    """
    notes: list[str] = []
    if _is_box_array(source):
        source = as_array(source).tolist()
    elif isinstance(source, (list, tuple)) and not _is_segs(source):
        source = without_tensors(source)
    if is_tensor(source) or isinstance(source, np.ndarray):
        people = _from_masks(source, frames, size, mask_meaning)
    elif isinstance(source, Mapping) and "packed_masks" in source:
        people = _from_sam3(source, size)
    elif isinstance(source, Mapping) and "frames" in source:
        people = [_from_mhr(frame or (), number) for number, frame in enumerate(_listed(source["frames"]))]
    elif _is_segs(source):
        people, notes = _from_segs(source, size)
    elif _is_poses(source):
        poses, notes = poses_from_socket(source, size=size)
        people = [_from_poses(frame, size) for frame in poses]
    elif _is_bbox(source):
        people, notes = in_pixels(_from_bbox(source, frames, bbox_format), size)
    else:
        given = boxes_from_socket(source, frames, size, hint="")
        people, notes = given.people, given.notes
    if len(people) != frames:
        raise InputError(
            f"source has boxes for {counted(len(people), 'frame')}, image has {counted(frames, 'frame')}: connect the "
            "same frames"
        )
    return people, notes


def _is_box_array(source: Any) -> bool:
    """Whether a tensor or array holds boxes (N, 4) or (frames, N, 4), maybe with scores, not masks of 0 and 1."""
    if not is_tensor(source) and not isinstance(source, np.ndarray):
        return False
    if not 1 <= source.ndim <= 3 or source.shape[-1] not in (4, 5):
        return False
    array = as_array(source)
    return array.ndim < 3 or not array.size or (array.itemsize > 1 and float(array.max()) > 1.5)


def _is_segs(source: Any) -> bool:
    return (
        isinstance(source, (list, tuple))
        and len(source) == 2
        and isinstance(source[0], (list, tuple))
        and len(source[0]) == 2
        and isinstance(source[1], (list, tuple))
        and all(hasattr(segment, "crop_region") for segment in source[1])
        and not any(isinstance(value, (list, tuple, Mapping)) for value in source[0])
    )


def _is_poses(source: Any) -> bool:
    while isinstance(source, (list, tuple)) and source:
        source = source[0]
    return hasattr(source, "keypoint_set") or (isinstance(source, Mapping) and is_frame(source))


def _is_bbox(source: Any) -> bool:
    """Whether it is BBOX: four numbers, a list of them, or a list of such lists."""
    depth = 0
    while isinstance(source, (list, tuple, np.ndarray)) and len(source):
        filled = (part for part in source if _holds_something(part))
        source, depth = next(filled, None), depth + 1
    return depth in (1, 2, 3) and isinstance(source, (int, float, np.number))


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _holds_something(value: Any) -> bool:
    return any(map(_holds_something, value)) if _is_list(value) else value is not None


def _listed(value: Any) -> Sequence[Any]:
    """A list of a value of another pack. Raises `InputError` for anything else."""
    if not isinstance(value, (list, tuple)):
        raise InputError(f"source: expected a list, got {type(value).__name__}")
    return value


def _from_bbox(source: Any, frames: int, bbox_format: str) -> list[FramePeople]:
    """One box, a list of boxes (one image: its people; else one per frame), or a list per frame. None is nobody."""
    parts: list[Any] = [source] if not _is_list(source[0]) and source[0] is not None else list(source)
    parts = [() if part is None else part for part in parts]
    if not all(map(_is_list, parts)):
        raise InputError(f"BBOX: expected boxes of four numbers, got {source!r:.80}")
    if not all(len(part) == 0 or _is_list(part[0]) for part in parts):
        people = [[box] if len(box) else [] for box in parts]
        parts = [sum(people, [])] if frames == 1 else people
    return [FramePeople(_bbox_rows(rows, bbox_format)) for rows in parts]


def _bbox_rows(rows: Sequence[Any], bbox_format: str) -> np.ndarray:
    if not len(rows):
        return np.zeros((0, 5), np.float32)
    boxes = as_numbers(rows, "BBOX").reshape(len(rows), -1)
    if boxes.shape[1] not in (4, 5):
        raise InputError(f"BBOX: expected boxes of four numbers (and a score), got {boxes.shape[1]} numbers")
    corners = boxes[:, :4] if bbox_format == BBOX_FORMATS[1] else xywh_to_xyxy(boxes[:, :4])
    scores = boxes[:, 4:] if boxes.shape[1] == 5 else np.ones((len(boxes), 1))
    return box_array(np.concatenate([corners, scores], axis=1), "BBOX")


def _from_masks(source: Any, frames: int, size: tuple[int, int], meaning: str) -> list[FramePeople]:
    """MASK (B, H, W): one per frame, or, for a single image, one per person."""
    masks = resized_masks(masks_of(source), size)
    if meaning == MASK_MEANINGS[1]:
        return [_from_mask_stack(_connected_parts(mask)) for mask in masks]
    if frames == 1:
        return [_from_mask_stack(masks)]
    return [_from_mask_stack(mask[None]) for mask in masks]


def _connected_parts(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool -> (N, H, W) bool: its connected parts, from left to right."""
    cv2 = opencv()

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= max(MIN_PART_SHARE * mask.size, 1)]
    large.sort(key=lambda i: (stats[i, cv2.CC_STAT_LEFT], stats[i, cv2.CC_STAT_TOP]))
    return np.stack([labels == i for i in large]) if large else np.zeros((0, *mask.shape), bool)


def _from_mask_stack(masks: np.ndarray, ids: Sequence[int] | None = None, scores: Sequence[float] = ()) -> FramePeople:
    """(N, H, W) bool -> one person for each mask that is not empty."""
    seen = [i for i, mask in enumerate(masks) if mask.any()]
    rows = [[*_mask_box(masks[i]), scores[i] if i < len(scores) else 1.0] for i in seen]
    boxes = np.asarray(rows, np.float32).reshape(-1, 5)
    return FramePeople(boxes, None if ids is None else [ids[i] for i in seen], masks[seen])


def _mask_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 around the true pixels of (H, W)."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _from_sam3(source: Mapping[str, Any], size: tuple[int, int]) -> list[FramePeople]:
    """SAM 3 tracks: the number of the object is the track ID; an object out of sight has an empty mask."""
    packed = source["packed_masks"]
    if packed is None:
        return [FramePeople(np.zeros((0, 5), np.float32))] * int(source["n_frames"])
    scores = [float(score) for score in source.get("scores", [])]
    people = []
    for frame in packed.cpu().numpy():
        masks = resized_masks(np.unpackbits(frame, axis=-1, bitorder="little").astype(bool), size)
        people.append(_from_mask_stack(masks, range(len(masks)), scores))
    return people


def _from_mhr(frame: Sequence[Mapping[str, Any]], number: int) -> FramePeople:
    """SAM 3D Body: the box of each person, or the extent of the 2-D keypoints; people with neither are skipped."""
    rows = [row for row in map(_mhr_row, _listed(frame)) if row is not None]
    return FramePeople(box_array(rows, f"poses, frame {number}"))


def _mhr_row(person: Mapping[str, Any]) -> list[float] | None:
    """x1, y1, x2, y2, score: the box, or the extent of the keypoints plus a tenth per side; None without either."""
    if not isinstance(person, Mapping):
        raise InputError(f"poses: expected an object for each person, got {person!r:.80}")
    if person.get("bbox") is not None:
        return [*as_numbers(person["bbox"], "bbox").reshape(-1)[:4], 1.0]
    points = as_numbers(person.get("pred_keypoints_2d", ()), "pred_keypoints_2d")
    if points.ndim < 1 or points.shape[-1] < 2:
        return None
    points = points[..., :2].reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.1 * (high - low)
    return [*(low - margin), *(high + margin), 1.0]


def _from_segs(source: Any, size: tuple[int, int]) -> tuple[list[FramePeople], list[str]]:
    """Impact Pack's SEGS of one image, without objects. The mask of a segment is the mask of its person."""
    found = source[1]
    width, height = check_size([source[0][1], source[0][0]])
    if width * height > MAX_PIXELS:
        raise InputError(f"SEGS of {width} x {height} pixels, the limit is {MAX_PIXELS:,}: scale the image")
    labels = [object_label(getattr(segment, "label", None)) for segment in found]
    segments = [segment for segment, label in zip(found, labels, strict=True) if label is None]
    scale = np.asarray([size[0] / width, size[1] / height] * 2 + [1.0])
    rows, masks = [], np.zeros((len(segments), height, width), bool)
    for mask, segment in zip(masks, segments, strict=True):
        own, confidence = getattr(segment, "bbox", None), getattr(segment, "confidence", None)
        box = as_numbers(segment.crop_region if own is None else own, "SEGS, bbox").reshape(-1)[:4]
        scores = as_numbers(() if confidence is None else confidence, "SEGS, confidence")
        rows.append([*box, float(scores.max()) if scores.size else 1.0])
        _paste_segment(mask, segment)
    boxes = box_array(rows, "SEGS")
    people = FramePeople((boxes * scale).astype(np.float32), None, resized_masks(masks, size))
    return [people], objects_ignored(Counter(filter(None, labels)))


def _paste_segment(mask: np.ndarray, segment: Any) -> None:
    """Set the pixels of (H, W) that a segment covers; its region may extend past the image."""
    [[x1, y1, x2, y2, _]] = box_array([[*as_numbers(segment.crop_region, "SEGS").reshape(-1)[:4], 1]], "SEGS").tolist()
    if not (0 < x2 - x1 < MAX_PIXELS and 0 < y2 - y1 < MAX_PIXELS and (x2 - x1) * (y2 - y1) <= MAX_PIXELS):
        raise InputError(f"SEGS: expected a crop_region of x1, y1, x2, y2 in pixels, got {segment.crop_region!r:.80}")
    x1, y1, x2, y2 = int(x1), int(y1), int(x2), int(y2)
    left, top = max(x1, 0), max(y1, 0)
    inside = mask[top : max(y2, 0), left : max(x2, 0)]
    cropped = getattr(segment, "cropped_mask", None)
    if cropped is None or not inside.size:
        inside[:] = True
        return
    covered = masks_of(cropped)[:1]
    covered = resized_masks(covered, (x2 - x1, y2 - y1))[0, top - y1 :, left - x1 :]
    inside[:] = covered[: inside.shape[0], : inside.shape[1]]


def _from_poses(poses: Poses, size: tuple[int, int]) -> FramePeople:
    """The boxes of poses, scaled if the poses come from an image of another size."""
    scale = np.asarray([size[0] / poses.size[0], size[1] / poses.size[1]] * 2 + [1.0])
    ids = [] if poses.track_ids is None else [int(track) for track in poses.track_ids]
    return FramePeople((poses.boxes * scale).astype(np.float32), ids)
