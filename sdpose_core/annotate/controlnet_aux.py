"""`SDPoseDetector`: SDPose behind the calling convention of controlnet_aux's annotators, for diffusers scripts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dependencies import opencv
from ..detection.loading import load_detector
from ..drawing.canvas import place
from ..drawing.pose_maps import draw_poses
from ..errors import InputError
from ..estimation.loading import load_estimator
from ..images import as_rgb
from ..poses import Poses
from .images import annotate_images

if TYPE_CHECKING:
    from PIL import Image

    from ..detection.people import PersonDetector
    from ..estimation.crop_jobs import Estimator

MULTIPLE = 64
"""The sides of pose maps are multiples of this, as in controlnet_aux and as Stable Diffusion needs."""


class SDPoseDetector:
    """A picture in, its pose map out; a drop-in replacement for controlnet_aux's `OpenposeDetector` and
    `DWposeDetector`.

        detector = SDPoseDetector.from_pretrained("wholebody")
        pose_map = detector(image, include_hand=True, include_face=True)

    Two things differ from controlnet_aux on purpose: people are found and estimated in the picture at its full size,
    not in a copy shrunk to 512 pixels, and the map is drawn at its final size, with limbs as wide as if it were
    enlarged.

    Args:
        estimator: from `load_estimator`.
        detector: from `load_detector`.
        if_nobody: "full-image" (the default for a single picture) or "empty", see `annotate_images`.
    """

    def __init__(self, estimator: Estimator, detector: PersonDetector, *, if_nobody: str = "full-image") -> None:
        self.estimator = estimator
        self.detector = detector
        self.if_nobody = if_nobody

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_or_path: str | Path = "auto",
        *,
        detector: str | Path = "auto",
        if_nobody: str = "full-image",
        **settings: Any,
    ) -> SDPoseDetector:
        """Load an estimator by name ("auto", "wholebody", "body", "preview", "preview-body") or path, and a detector.

        Args:
            detector: a name or path for `load_detector`.
            settings: keyword arguments of `load_estimator` (device, dtype, flip_test, ...).

        Downloads nothing. Raises what the two loaders raise.
        """
        estimator = load_estimator(pretrained_model_or_path, **settings)
        return cls(estimator, load_detector(detector), if_nobody=if_nobody)

    def to(self, device: Any) -> SDPoseDetector:
        """Move the model to a device. An estimator that cannot move logs this and stays."""
        self.estimator.to(device)
        return self

    def __call__(
        self,
        input_image: Image.Image | np.ndarray,
        detect_resolution: int | None = None,
        image_resolution: int | None = 512,
        include_body: bool = True,
        include_hand: bool = False,
        include_face: bool = False,
        hand_and_face: bool | None = None,
        output_type: str = "pil",
        *,
        style: str = "controlnet",
        threshold: float = 0.3,
    ) -> Image.Image | np.ndarray:
        """The pose map of a picture.

        Args:
            input_image: a Pillow picture, or uint8 gray (H, W), RGB (H, W, 3) or RGBA (H, W, 4). Transparent pixels
                become white.
            detect_resolution: resize the short side to this before finding people; None: do not resize.
            image_resolution: short side of the result, both sides rounded to multiples of 64; None: the picture's size.
            include_body, include_hand, include_face: the parts to draw.
            hand_and_face: sets both; deprecated in controlnet_aux, but still common in scripts.
            output_type: "pil" or "np" (RGB uint8 (H, W, 3)).
            style, threshold: see `draw_poses`.

        Raises `InputError` for a picture or setting that cannot be used.
        """
        if output_type not in ("pil", "np"):
            raise InputError(f"output_type: expected 'pil' or 'np', got {output_type!r}")
        if hand_and_face is not None:
            warnings.warn("hand_and_face is deprecated: use include_hand and include_face", FutureWarning, stacklevel=2)
            include_hand = include_face = hand_and_face
        rgb = as_rgb(input_image)
        size = (rgb.shape[1], rgb.shape[0])
        if detect_resolution is not None:
            rgb = _resized(rgb, resolution_size(size, detect_resolution))
        poses = self.detect_poses(rgb)
        if image_resolution is not None:
            size = resolution_size(size, image_resolution)
        parts = ("body", "head", "feet") * include_body + ("hands",) * include_hand + ("face",) * include_face
        pose_map = draw_poses(place(poses, size, "stretch"), style=style, parts=parts, threshold=threshold)
        if output_type == "np":
            return pose_map
        from PIL import Image

        return Image.fromarray(pose_map)

    def detect_poses(self, input_image: Image.Image | np.ndarray) -> Poses:
        """The people of a picture, in its pixels; `meta["boxes_from"]` says how they were found."""
        images = [as_rgb(input_image)]
        return annotate_images(images, estimator=self.estimator, detector=self.detector, if_nobody=self.if_nobody)[0]


def resolution_size(size: tuple[int, int], resolution: int) -> tuple[int, int]:
    """(w, h) scaled to a short side of `resolution`, each side rounded to a multiple of 64 (at least 64)."""
    if resolution < 1:
        raise InputError(f"resolution: expected at least 1 pixel, got {resolution}")
    scale = resolution / min(size)
    w, h = (max(1, round(side * scale / MULTIPLE)) * MULTIPLE for side in size)
    return w, h


def _resized(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    cv2 = opencv()

    enlarging = size[0] > rgb.shape[1]
    return cv2.resize(rgb, size, interpolation=cv2.INTER_LANCZOS4 if enlarging else cv2.INTER_AREA)
