"""What ComfyUI asks before it runs a graph. It shows the answer at each input that `validate_inputs` names.

An input that is named there loses ComfyUI's own checks of range and choices. Its value is None where it comes by wire,
and `NOT_CONNECTED`, as the default, where an optional input is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..sdpose_core.errors import InputError
from .host.errors import readable
from .sockets.poses import MAX_SIDE
from .widgets import both_sides

NOT_CONNECTED: Any = object()


def answer(*checks: Callable[[], object]) -> bool | str:
    """What `validate_inputs` returns: True, or the sentence of the first check that raises `InputError`."""
    try:
        for check in checks:
            check()
    except InputError as error:
        return readable(str(error))
    return True


def check_range(name: str, value: float | None, low: float, high: float) -> None:
    """Raise `InputError` for a value outside a range. None: it comes by wire."""
    if value is not None and not low <= value <= high:
        raise InputError(f"{name}: expected {low:g} to {high:g}, got {value:g}")


def check_canvas(width: int | None, height: int | None) -> None:
    """Raise `InputError` for one side alone, or one that is too long. None: it comes by wire."""
    check_range("width", width, 0, MAX_SIDE)
    check_range("height", height, 0, MAX_SIDE)
    if width is not None and height is not None:
        both_sides(width, height)
