"""Detection of hard cuts in a video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..dependencies import opencv

GRID, BLOCK, BINS = 6, 8, 16
"""A frame is reduced to GRID x GRID blocks of BLOCK x BLOCK gray pixels, each a histogram of BINS bins."""


class SceneCuts:
    """Decides frame by frame whether a new scene begins.

    At a cut, the L1 distance of the block histograms, halved and averaged over the blocks (0 equal, 1 disjoint), is at
    least `threshold` and at least three times its running mean, so that a shaking camera makes no cuts.
    """

    def __init__(self, threshold: float = 0.3) -> None:
        self.threshold = threshold
        self._last: np.ndarray | None = None
        self._usual = 0.0

    def update(self, image: np.ndarray) -> bool:
        """Whether a scene begins with `image`, RGB uint8 (H, W, 3); False for the first picture."""
        histograms = _block_histograms(image)
        last, self._last = self._last, histograms
        if last is None:
            return False
        jump = float(np.abs(histograms - last).sum(axis=1).mean() / 2)
        cut = jump >= max(self.threshold, 3 * self._usual)
        self._usual = 0.0 if cut else 0.9 * self._usual + 0.1 * jump
        return cut

    def foresees(self, image: np.ndarray) -> bool:
        """What `update` would say, without going on to `image`."""
        ahead = SceneCuts(self.threshold)
        ahead.restore(self.state())
        return ahead.update(image)

    def state(self) -> dict[str, Any]:
        return {"usual": self._usual, "last": None if self._last is None else self._last.tolist()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state`."""
        self._usual = float(state["usual"])
        self._last = None if state["last"] is None else np.asarray(state["last"])


def _block_histograms(image: np.ndarray) -> np.ndarray:
    """(GRID * GRID, BINS) histograms of gray, blurred so that a small brightness change stays small."""
    cv2 = opencv()

    side = GRID * BLOCK
    gray = cv2.cvtColor(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    blocks = gray.reshape(GRID, BLOCK, GRID, BLOCK).transpose(0, 2, 1, 3).reshape(GRID * GRID, -1)
    bins = blocks.astype(np.int64) * BINS // 256
    shares = np.stack([(bins == value).mean(axis=1) for value in range(BINS)], axis=1)
    padded = np.pad(shares, ((0, 0), (1, 1)), mode="edge")
    return 0.25 * padded[:, :-2] + 0.5 * padded[:, 1:-1] + 0.25 * padded[:, 2:]
