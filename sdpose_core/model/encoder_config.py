"""Layouts and sizes of the small encoders that replace the VAE's. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError
from .value_checks import MAX_CHANNELS, check_whole

TAESD, SMALL = "taesd", "small"
SIZES = {TAESD: ((64,), (1, 3, 3, 3)), SMALL: ((96, 320), (2, 5))}
"""Widths and blocks of each layout at full size."""

MAX_BLOCKS = 64


@dataclass(frozen=True)
class EncoderConfig:
    """Layout and sizes.

    Attributes:
        layout: "taesd" or "small".
        widths: channels: one number for TAESD, two for "small" (at a quarter and an eighth of the size).
        blocks: residual blocks of each size: four numbers for TAESD (from full size on), two for "small".
    """

    layout: str = SMALL
    widths: tuple[int, ...] = SIZES[SMALL][0]
    blocks: tuple[int, ...] = SIZES[SMALL][1]
    latent_channels: int = 4

    def __post_init__(self) -> None:
        if self.layout not in SIZES:
            raise InputError(f"encoder layout: expected {' or '.join(SIZES)}, found {self.layout!r:.60}")
        for name, smallest, largest in (("widths", 1, MAX_CHANNELS), ("blocks", 0, MAX_BLOCKS)):
            values, expected = getattr(self, name), len(SIZES[self.layout][name == "blocks"])
            if not isinstance(values, tuple) or len(values) != expected:
                raise InputError(f"encoder {name}: the layout {self.layout!r} has {expected}, found {values!r:.60}")
            for value in values:
                check_whole(f"encoder {name}", value, smallest, largest)
        check_whole("encoder latent_channels", self.latent_channels, 1, MAX_CHANNELS)
