"""How a run ends early: a signal, or a loss that is not finite."""

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
