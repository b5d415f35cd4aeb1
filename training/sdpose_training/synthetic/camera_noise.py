"""What a camera and a website do to a picture: resizing, motion blur, noise, vignette, JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CameraNoise:
    """Each is off in many pictures.

    Attributes:
        shrink: the picture is made smaller by this factor and enlarged again (1: not).
        blur_px: length of the motion blur, and `blur_degrees` its direction.
        noise: standard deviation at medium gray, of 255; dark parts have less.
        vignette: how much darker the corners are, 0..1.
        contrast: power of the tone curve. quality: of a JPEG that the picture has been (0: none).
    """

    shrink: float = 1.0
    blur_px: float = 0.0
    blur_degrees: float = 0.0
    noise: float = 0.0
    vignette: float = 0.0
    contrast: float = 1.0
    quality: int = 0

    def apply(self, rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
        """RGB uint8 (h, w, 3) -> the same, worse."""
        import cv2

        h, w = picture.shape[:2]
        image = picture.astype(np.float32)
        if self.contrast != 1 or self.vignette:
            y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j].astype(np.float32)
            image = 255 * (image / 255) ** self.contrast * (1 - self.vignette * (x * x + y * y) / 2)[..., None]
        if self.blur_px:
            image = cv2.filter2D(image, -1, _line(self.blur_px, self.blur_degrees), borderType=cv2.BORDER_REPLICATE)
        if self.shrink < 1:
            small = max(round(w * self.shrink), 8), max(round(h * self.shrink), 8)
            image = cv2.resize(
                cv2.resize(image, small, interpolation=cv2.INTER_AREA), (w, h), interpolation=cv2.INTER_CUBIC
            )
        if self.noise:
            grain = rng.standard_normal(image.shape, np.float32)
            image = image + self.noise * grain * np.sqrt(np.clip(image, 0, 255) / 128 + 0.2)
        image = np.clip(image, 0, 255).astype(np.uint8)
        if self.quality:
            code = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1]
            image = np.ascontiguousarray(cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1])
        return image


def sample_camera_noise(rng: np.random.Generator, photo: bool) -> CameraNoise:
    """Drawings are resized and saved, but have no blur, noise or vignette."""
    u = rng.uniform
    shrink = u(0.4, 0.95) if rng.random() < 0.4 else 1.0
    quality = int(rng.integers(25, 95)) if rng.random() < 0.6 else 0
    if not photo:
        return CameraNoise(shrink=shrink, quality=quality)
    return CameraNoise(
        shrink, u(2, 7) if rng.random() < 0.1 else 0.0, u(0, 180), u(1, 10) if rng.random() < 0.6 else 0.0,
        u(0, 0.5) if rng.random() < 0.3 else 0.0, u(0.7, 1.15), quality,
    )  # fmt: skip


def _line(length: float, degrees: float) -> np.ndarray:
    """A motion-blur kernel: symmetric, so that nothing moves."""
    import cv2

    side = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((side, side), np.float32)
    step = np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))]) * length / 2
    for share in np.linspace(-1, 1, 4 * side):
        x, y = np.round(step * share).astype(int) + side // 2
        kernel[y, x] += 1
    return cv2.GaussianBlur(kernel, (0, 0), 0.6) / kernel.sum()
