"""How far tensors are from their targets, in units of the targets' own spread."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_SMALLEST = 1e-12
"""Of a variance, so that a constant target gives no infinite error."""


def relative_error(found: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error of tensors (N, C, h, w), divided by the variance of the target around its channels' means."""
    found, target = found.float(), target.float()
    spread = (target - target.mean(dim=(0, 2, 3), keepdim=True)).square().mean()
    return (found - target).square().mean() / spread.clamp_min(_SMALLEST)


@dataclass
class ErrorSum:
    """The same over many batches, in float64.

    Attributes:
        squared: sum of squared errors.
        count: pixels.
        sums: (C,) sums of the target.
        squares: sum of squares of the target.
    """

    squared: float = 0.0
    count: int = 0
    sums: torch.Tensor | float = 0.0
    squares: float = 0.0

    def add(self, found: torch.Tensor, target: torch.Tensor) -> None:
        """Tensors (N, C, h, w)."""
        found, target = found.double(), target.double()
        self.squared += float((found - target).square().sum())
        self.count += target[:, 0].numel()
        self.sums = self.sums + target.sum(dim=(0, 2, 3)).cpu()
        self.squares += float(target.square().sum())

    def join(self, other: ErrorSum) -> ErrorSum:
        """The sum of two."""
        return ErrorSum(
            self.squared + other.squared, self.count + other.count, self.sums + other.sums, self.squares + other.squares
        )

    @property
    def rms(self) -> float:
        """Root of the mean squared error over the target's standard deviation: 0 equal, 1 as bad as the mean."""
        means = torch.as_tensor(self.sums) ** 2 / max(self.count, 1)
        spread = max(self.squares - float(means.sum()), _SMALLEST)
        return (self.squared / spread) ** 0.5
