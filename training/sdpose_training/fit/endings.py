"""How a run ends early: a signal, or a loss that is not finite; and steps that are skipped instead."""

from __future__ import annotations

import json
import logging
import math
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sdpose_core.errors import SDPoseError
from sdpose_core.files import atomic_path

log = logging.getLogger(__name__)


class NonFiniteLoss(SDPoseError):
    """The loss or the gradient is not finite; the batch was saved."""


class StopSignal:
    """In its block, SIGTERM and the first Ctrl-C set `asked`; the second Ctrl-C interrupts, but not what is `held`."""

    def __init__(self) -> None:
        self.asked = False
        self._held = self._again = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A second Ctrl-C in this block interrupts at its end, so that weights and state are whole."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._again:
            self._again = False
            raise KeyboardInterrupt

    def _ask(self, number: int, _frame: Any) -> None:
        if self.asked and number == signal.SIGINT:
            if not self._held:
                raise KeyboardInterrupt
            self._again = True
            return
        self.asked = True
        log.warning("signal %d: stopping after this step", number)


class SkippedSteps:
    """Counts steps that the scaling of fp16 skips, one after the other, because their gradients overflow.

    After each, the scale is halved: some at the start of a run are normal.
    """

    MOST = 30
    """From the largest scale, so many steps lead below 1: then it is not the scale."""

    def __init__(self) -> None:
        self._count = 0

    def counted(self, figures: dict[str, float], skipped: bool) -> dict[str, float]:
        """The figures of a step, without the norm of gradients that overflow. Raises `NonFiniteLoss`."""
        self._count = self._count + 1 if skipped else 0
        if not skipped:
            return figures
        if self._count > self.MOST:
            raise NonFiniteLoss(
                f"the gradients of {self._count} steps in a row are not finite in fp16: use hardware.mixed_precision "
                "'bf16' or 'no', or lower the learning rate"
            )
        log.warning("skipped a step whose gradients overflow in fp16: the scale of the loss is halved")
        return {name: value for name, value in figures.items() if math.isfinite(value)}


def check_finite(figures: Mapping[str, float], batches: Sequence[Mapping[str, Any]], path: Path) -> None:
    """If a figure of a step is not finite, write its batches to `path` (safetensors) and raise `NonFiniteLoss`."""
    if all(math.isfinite(value) for value in figures.values()):
        return
    from safetensors.torch import save_file

    names = [name for name, value in batches[0].items() if isinstance(value, torch.Tensor)]
    tensors = {name: torch.cat([batch[name] for batch in batches]).contiguous() for name in names}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"figures": json.dumps(figures)})
    raise NonFiniteLoss(
        f"loss {figures['loss']}, gradient norm {figures['gradient_norm']}: stopped before the weights are damaged; "
        f"check the batch in {path} or lower the learning rate, and resume from the last checkpoint"
    )
