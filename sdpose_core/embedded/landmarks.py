"""What the embedded landmark models of MediaPipe share: a square in, the values of their outputs out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import NotFiniteError
from ..onnx_runtime import OnnxModel
from .squares import Square

ASSETS = Path(__file__).parents[1] / "assets"


class LandmarkModel(OnnxModel):
    """An ONNX file with one input: an RGB square (1, pixels, pixels, 3) in 0..1, so one person's part at a time.

    Args:
        name: for messages.
        weights: the file.
        device, backend: see `OnnxModel`.

    Raises `MissingDependency` if nothing can run ONNX here.
    """

    def __init__(self, name: str, weights: Path, *, device: str | None = None, backend: str | None = None) -> None:
        super().__init__(weights, device=device, backend=backend)
        self.name = name
        self.pixels = int(self.inputs[0].shape[1] or 0)

    def look(self, image: np.ndarray, square: Square, *, mirrored: bool = False) -> list[np.ndarray]:
        """The outputs for one square of an RGB picture, or for its mirror image, each flat.

        Raises `NotFiniteError` if one of their values is NaN or infinite.
        """
        crop = square.crop(image, self.pixels)[:, :: -1 if mirrored else 1]
        blob = np.multiply(np.ascontiguousarray(crop)[None], np.float32(1 / 255), dtype=np.float32)
        outputs = [output.ravel() for output in self.run({self.inputs[0].name: blob})]
        if damage := sum(int((~np.isfinite(output)).sum()) for output in outputs):
            raise NotFiniteError(
                f"{damage:,} of {sum(map(len, outputs)):,} values of {self.name} are not numbers (NaN or infinity): "
                f"{self.path.name} or {self.backend} is damaged, install them again"
            )
        return outputs


def is_refused(presences: Sequence[float], runs: int, needed: float) -> bool:
    """Whether the mean presence of `runs` runs stays below what is needed, whatever those that are left find.

    No presence is above 1.
    """
    return sum(presences) + runs - len(presences) < needed * runs


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -50, 50)))
