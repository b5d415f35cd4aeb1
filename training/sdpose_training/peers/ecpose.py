"""ECPose of EdgeCrafter from ONNX files, as its own export writes them; DETRPose's have the same inputs and outputs.

The picture is stretched to the input (640 x 640) by Pillow's bilinear filter, RGB, with ImageNet's mean and deviation.
The file gets the picture's size and gives people in picture pixels, best first, without suppression.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdpose_core.codec.crops import resize_antialiased
from sdpose_core.errors import CheckpointError
from sdpose_training.peers.base import checked, normalized
from sdpose_training.peers.onnx_files import shapes_of
from sdpose_training.peers.whole_picture import Found, OnnxPeoplePeer, split_values, suppressed

SIZE_INPUT = "orig_target_sizes"

_BOX = 4
"""Values of a box, which other exports also give."""

_Read = tuple[np.ndarray, np.ndarray, np.ndarray]


class EcPosePeer(OnnxPeoplePeer):
    """ECPose over boxes. A person's box, to match it, is around the keypoints.

    Args:
        path: the ONNX file: a picture (n, 3, h, w) and its (w, h) as `orig_target_sizes` (n, 2); outputs labels (n, N),
            scores (n, N) and keypoints (n, N, K, 2), or 3 with scores of the points, also as (n, N, 2 K or 3 K).
        settings, device, options: see `OnnxPeoplePeer`.
    """

    title, what = "ECPose", "an ECPose model"
    more_inputs = (SIZE_INPUT,)

    def _count(self) -> int:
        return self._run(self._empty(), self._input.size)[2].shape[1]

    def _people(self, image_rgb: np.ndarray) -> Found:
        stretched = resize_antialiased(image_rgb, self._input.size)
        labels, scores, keypoints = self._run(normalized(stretched[None]), (image_rgb.shape[1], image_rgb.shape[0]))
        checked(self.name, scores), checked(self.name, keypoints)
        people = labels == labels.max(initial=0)  # of two classes, the first one is the background
        scores, keypoints = scores[people], keypoints[people]
        places = keypoints[..., :2]
        boxes = np.concatenate([places.min(axis=1), places.max(axis=1)], axis=1)
        seen = keypoints[..., 2] if keypoints.shape[2] == 3 else np.repeat(scores[:, None], places.shape[1], axis=1)
        return suppressed(Found(boxes, scores, places, seen), self.settings, overlap=False)

    def _run(self, pixels: np.ndarray, picture: tuple[int, int]) -> _Read:
        """A picture (1, 3, h, w) of (w, h) before -> labels (N,), scores (N,), keypoints (N, K, 2 or 3)."""
        outputs = self.model.run({self._input.name: pixels, SIZE_INPUT: np.array([picture])})
        return self._read(outputs)

    def _read(self, outputs: Sequence[np.ndarray]) -> _Read:
        labels = [each for each in outputs if each.ndim == 2 and each.dtype.kind in "iu"]
        scores = [each for each in outputs if each.ndim == 2 and each.dtype.kind == "f"]
        points = [each for each in map(_by_point, outputs) if each.ndim == 4 and each.shape[3] in (2, 3)]
        if not (len(labels) == len(scores) == len(points) == 1) or (
            not labels[0].shape == scores[0].shape == points[0].shape[:2]
        ):
            raise CheckpointError(
                f"{self.model.path} is not {self.what}: its outputs are {shapes_of(outputs)}, expected labels (1, N), "
                "scores (1, N) and keypoints (1, N, K, 2 or 3)"
            )
        return labels[0][0], scores[0][0].astype(np.float32), points[0][0].astype(np.float32)


def _by_point(output: np.ndarray) -> np.ndarray:
    """Keypoints (1, N, 2 K or 3 K) -> (1, N, K, 2 or 3); other outputs as they are."""
    if output.ndim != 3 or output.shape[2] <= _BOX:
        return output
    count, values = split_values(output.shape[2])
    return output.reshape(*output.shape[:2], count, values) if count * values == output.shape[2] else output
