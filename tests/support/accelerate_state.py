"""accelerate's state of the process, which outlives a run of the trainer."""

from __future__ import annotations

from accelerate.state import AcceleratorState, PartialState


def forget_accelerate() -> None:
    """Let the next run in this process start accelerate again."""
    AcceleratorState._reset_state()
    PartialState._reset_state()
