"""What `sdpose bench` measures: model, device, modes, rounds."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoints.layouts import inspect_checkpoint
from ..errors import InputError
from ..images import read_image
from ..model.config import BODY, WHOLEBODY, SDPoseConfig, UNetConfig, VAEConfig
from .modes import Mode

if TYPE_CHECKING:
    import torch

CONFIGS = {"body": BODY, "wholebody": WHOLEBODY}


@dataclass(frozen=True)
class Settings:
    """What to measure; fields are the options of `sdpose bench`."""

    model: str = "wholebody"
    device: str | None = None
    dtype: str = "auto"
    runs: int | None = None
    rounds: int = 3
    tiny: bool = False
    modes: tuple[str, ...] | None = None
    people: tuple[int, ...] = (1,)
    frames: int = 1
    weights: Path | None = None
    picture: Path | None = None

    def __post_init__(self) -> None:
        if self.model not in CONFIGS:
            raise InputError(f"unknown model {self.model!r} to measure: choose one of {', '.join(CONFIGS)}")
        for name in ("runs", "rounds", "frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}: expected at least 1, got {value}")
        for name in ("weights", "picture"):
            path = getattr(self, name)
            if path and not os.path.exists(path):
                raise InputError(f"{name}: {path} does not exist")
        if self.weights and self.tiny:
            raise InputError("weights and tiny: expected only one of them, as the weights set the model's size")

    def config_in(self, mode: Mode) -> SDPoseConfig:
        """`config` with the mode's input size; for a tiny model in proportion, in multiples of 64."""
        size = mode.input_size
        if size is None:
            return self.config
        if self.tiny:
            full = CONFIGS[self.model].input_size
            w, h = (
                64 * max(round(tiny * part / whole / 64), 1)
                for tiny, part, whole in zip(self.config.input_size, size, full, strict=True)
            )
            size = w, h
        return dataclasses.replace(self.config, input_size=size)

    @property
    def config(self) -> SDPoseConfig:
        """The model's configuration: of the weights file, full size, or tiny."""
        if self.weights:
            stored, _ = inspect_checkpoint(self.weights)
            stored.need_features("the benchmark, which compares with the released code")
            return stored
        config = CONFIGS[self.model]
        if not self.tiny:
            return config
        unet = UNetConfig((16, 32, 32, 32), 2, (1, 2, 2, 2), cross_attention_dim=16, norm_num_groups=8)
        vae = VAEConfig((8, 8, 16, 16), 1, norm_num_groups=4)
        return dataclasses.replace(config, input_size=(192, 256), unet=unet, vae=vae)

    @property
    def grows(self) -> bool:
        """Whether several people or frames are measured, too."""
        return self.frames > 1 or self.people != (1,)

    def check_files(self) -> None:
        """Read the weights' header and the picture once, to fail before minutes of measuring."""
        _ = self.config
        if self.picture:
            read_image(self.picture)

    def runs_on(self, device_type: str) -> int:
        """Passes in a round, of which the fastest counts; on a GPU single passes take milliseconds and vary."""
        return self.runs or (10 if device_type == "cuda" else 1)

    def resolve(self) -> tuple[torch.device, str]:
        """Device and dtype ("fp32", ...), with "auto" resolved."""
        from ..model.devices import pick_device

        device = pick_device(self.device)
        return device, dtype_name(self.dtype, device)


def dtype_name(dtype: str | None, device: torch.device) -> str:
    """The name ("fp32", ...) of the dtype that "auto", None or a name means on a device."""
    from ..model.devices import DTYPES, pick_dtype

    chosen = pick_dtype(dtype, device)
    return next(name for name, known in DTYPES.items() if known == chosen)
