"""From a box to the crop that the model sees, and keypoints back, by one 2 x 3 matrix per crop.

Input pixels are pixel centers of the crop, 0 to w - 1: the UDP convention (arXiv 1911.07524) of SDPose's training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..boxes import box_problem
from ..dependencies import opencv
from ..errors import InputError

CROP_MODES = ("affine", "stretch_native", "stretch_demo")
"""The training crop; for comparison, the crops of ComfyUI's own node and of the official demo."""

PADDING = 1.25
_OPENCV_SIDE = 32_766  # longest side of a source picture that cv2.warpAffine takes


@dataclass(frozen=True, eq=False)
class Crop:
    """How a crop was cut: a mode of `CROP_MODES`, (w, h), and the float64 (2, 3) matrix, picture -> input pixels."""

    mode: str
    input_size: tuple[int, int]
    matrix: np.ndarray

    def to_input(self, keypoints_image: np.ndarray) -> np.ndarray:
        """Keypoints (..., 2) in picture pixels (x, y) -> input pixels."""
        return np.asarray(keypoints_image) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def to_image(self, keypoints_input: np.ndarray) -> np.ndarray:
        """Keypoints (..., 2) in input pixels (x, y) -> picture pixels; the inverse of `to_input`."""
        return (np.asarray(keypoints_input) - self.matrix[:, 2]) @ np.linalg.inv(self.matrix[:, :2]).T


def box_to_center_scale(boxes_xyxy: np.ndarray, padding: float = PADDING) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (..., 4) -> center (..., 2) and scale (..., 2) = padded (w, h), in picture pixels."""
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    return (boxes[..., :2] + boxes[..., 2:4]) * 0.5, (boxes[..., 2:4] - boxes[..., :2]) * padding


def fix_aspect(scale: np.ndarray, input_size: tuple[int, int]) -> np.ndarray:
    """Scale (..., 2) with one side enlarged to the aspect ratio of `input_size` (w, h)."""
    aspect = input_size[0] / input_size[1]
    w, h = np.asarray(scale)[..., 0], np.asarray(scale)[..., 1]
    return np.stack([np.where(w > h * aspect, w, h * aspect), np.where(w > h * aspect, w / aspect, h)], axis=-1)


def udp_warp_matrix(
    center: np.ndarray, scale: np.ndarray, rotation_deg: float, output_size: tuple[int, int]
) -> np.ndarray:
    """(2, 3) float64, picture to output pixels: rotation about `center`, then `scale` (w, h) onto the output.

    The factor is (output - 1) / scale, which maps pixel centers to pixel centers (UDP, section 3).
    """
    angle = np.deg2rad(rotation_deg)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    factor = (np.asarray(output_size, np.float64) - 1) / np.asarray(scale, np.float64)
    linear = factor[:, None] * rotation
    offset = factor * np.asarray(scale, np.float64) / 2 - linear @ np.asarray(center, np.float64)
    return np.concatenate([linear, offset[:, None]], axis=1)


def make_crop(
    image_rgb: np.ndarray,
    box_xyxy: np.ndarray,
    input_size: tuple[int, int],
    mode: str = "affine",
    padding: float = PADDING,
) -> tuple[np.ndarray, Crop]:
    """Cut one box out of a picture.

    Args:
        image_rgb: (H, W, 3) uint8.
        box_xyxy: (4,) x1, y1, x2, y2 in picture pixels; may extend beyond the picture.
        input_size: (w, h) of the crop.
        mode: "affine" as in training: padded, aspect ratio kept, black outside the picture. "stretch_native" and
            "stretch_demo": the tight box in whole pixels, stretched.
        padding: factor on the size of the box, for "affine".

    Returns:
        The crop (h, w, 3), 0..255, and its `Crop`. uint8; float32 for "stretch_native", as that node does not round
        (rounding moves its heatmaps by 6e-3 of their maximum instead of 4e-4).

    Raises:
        InputError: the box is empty, inverted, not finite or outside the picture; an unknown mode.
    """
    size = (image_rgb.shape[1], image_rgb.shape[0])
    if problem := box_problem(box_xyxy, size):
        raise InputError(f"cannot cut out a person: {problem}")
    if mode == "affine":
        crop = affine_crop(box_xyxy, input_size, padding)
        return warp(image_rgb, crop.matrix, input_size), crop
    if mode not in CROP_MODES:
        raise InputError(f"unknown crop mode {mode!r}: choose one of {', '.join(CROP_MODES)}")
    x1, y1, x2, y2 = tight_box(box_xyxy, size)
    tight = image_rgb[y1:y2, x1:x2]
    w, h = input_size
    if mode == "stretch_native":
        factor = np.array([w / (x2 - x1), h / (y2 - y1)])
        pixels = _resize_native(tight, input_size)
    else:
        factor = np.array([(w - 1) / (x2 - x1), (h - 1) / (y2 - y1)])
        pixels = resize_antialiased(tight, input_size)
    matrix = np.concatenate([np.diag(factor), -factor[:, None] * np.array([[x1], [y1]])], axis=1)
    return pixels, Crop(mode, input_size, matrix)


def affine_crop(box_xyxy: np.ndarray, input_size: tuple[int, int], padding: float = PADDING) -> Crop:
    """The training crop of a valid box (4,) x1, y1, x2, y2, not yet cut; arguments as in `make_crop`."""
    center, scale = box_to_center_scale(box_xyxy, padding)
    return Crop("affine", input_size, udp_warp_matrix(center, fix_aspect(scale, input_size), 0, input_size))


def tight_box(box_xyxy: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box in whole pixels, clipped to a picture of `size` (w, h), at least one pixel wide and high."""
    x1, y1, x2, y2 = (int(value) for value in np.asarray(box_xyxy)[:4])
    x1, y1 = min(max(x1, 0), size[0] - 1), min(max(y1, 0), size[1] - 1)
    return x1, y1, max(min(x2, size[0]), x1 + 1), max(min(y2, size[1]), y1 + 1)


def masked(image: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """The picture (H, W, 3) with black where `mask` (H, W) is false; the picture itself without a mask."""
    return image if mask is None else np.where(np.asarray(mask, bool)[..., None], image, np.uint8(0))


def warp(image: np.ndarray, matrix: np.ndarray, output_size: tuple[int, int], *, cubic: bool = False) -> np.ndarray:
    """Affine warp of (H, W, C), bilinear or bicubic, black outside; `matrix` (2, 3) maps picture to output pixels.

    Pictures too long for OpenCV (webtoons, panoramas) are cut first. Raises `InputError` if the part is still too long.
    """
    cv2 = opencv()

    if max(image.shape[:2]) > _OPENCV_SIDE:
        image, matrix = _needed_part(image, matrix, output_size)
    h, w = image.shape[:2]
    if max(h, w) > _OPENCV_SIDE:
        raise InputError(
            f"a person of {w} x {h} pixels: at most {_OPENCV_SIDE:,} can be cropped; make the picture smaller"
        )
    flags = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    return cv2.warpAffine(image, matrix, output_size, flags=flags, borderMode=cv2.BORDER_CONSTANT)


def _needed_part(image: np.ndarray, matrix: np.ndarray, output_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The part of a picture that a warp reads, and the matrix for it."""
    w, h = output_size
    corners = np.array([[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1]]) - matrix[:, 2]
    seen = corners @ np.linalg.inv(matrix[:, :2]).T
    last = np.array([image.shape[1], image.shape[0]]) - 1
    low = np.clip(np.floor(seen.min(axis=0)) - 2, 0, last).astype(int)
    high = np.clip(np.ceil(seen.max(axis=0)) + 2, low, last).astype(int)
    part = image[low[1] : high[1] + 1, low[0] : high[0] + 1]
    return part, np.concatenate([matrix[:, :2], matrix[:, 2:] + matrix[:, :2] @ low[:, None]], axis=1)


def _resize_native(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As ComfyUI's own SDPose node: area interpolation if both axes shrink, else bilinear; float32, not rounded."""
    import torch

    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    shrunk = size[0] <= image.shape[1] and size[1] <= image.shape[0]
    resized = torch.nn.functional.interpolate(pixels, size=(size[1], size[0]), mode="area" if shrunk else "bilinear")
    return resized[0].permute(1, 2, 0).numpy()


def resize_antialiased(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 -> `size` (w, h) by Pillow's bilinear filter, as in the official demo and in torchvision."""
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.BILINEAR))
