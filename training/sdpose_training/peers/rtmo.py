"""RTMO (arXiv 2312.07526) from ONNX files, as exported by MMDeploy and distributed by rtmlib.

Pictures are BGR from 0 to 255 in a letterbox; the file suppresses by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdpose_core.errors import CheckpointError
from sdpose_training.peers.base import checked
from sdpose_training.peers.onnx_files import shapes_of
from sdpose_training.peers.whole_picture import Found, Letterbox, OnnxPeoplePeer, suppressed


class RtmoPeer(OnnxPeoplePeer):
    """RTMO over boxes.

    Args:
        path: the ONNX file: one input (n, 3, h, w), outputs (n, N, 5) people and (n, N, K, 3) keypoints.
        settings, device, options: see `OnnxPeoplePeer`.
    """

    title, what = "RTMO", "an RTMO model"

    def _count(self) -> int:
        return self._read(self.model.run({self._input.name: self._empty()}))[1].shape[1]

    def _people(self, image_rgb: np.ndarray) -> Found:
        box = Letterbox.of((image_rgb.shape[1], image_rgb.shape[0]), self._input.size)
        pixels = np.ascontiguousarray(box.fill(image_rgb)[:, :, ::-1].transpose(2, 0, 1)[None], np.float32)
        people, keypoints = self._read(self.model.run({self._input.name: pixels}))
        checked(self.name, people), checked(self.name, keypoints)
        corners = box.to_image(people[:, :4].reshape(-1, 2, 2)).reshape(-1, 4)
        found = Found(corners, people[:, 4], box.to_image(keypoints[..., :2]), keypoints[..., 2])
        return suppressed(found, self.settings, overlap=False)

    def _read(self, outputs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Outputs -> people (N, 5) as x1, y1, x2, y2, score, and keypoints (N, K, 3), in input pixels."""
        people = [each for each in outputs if each.ndim == 3 and each.shape[0] == 1 and each.shape[2] == 5]
        points = [each for each in outputs if each.ndim == 4 and each.shape[0] == 1 and each.shape[3] == 3]
        if len(outputs) != 2 or not people or not points or people[0].shape[1] != points[0].shape[1]:
            raise CheckpointError(
                f"{self.model.path} is not {self.what}: its outputs are {shapes_of(outputs)}, expected people "
                "(1, N, 5) and keypoints (1, N, K, 3)"
            )
        return people[0][0].astype(np.float32), points[0][0].astype(np.float32)
