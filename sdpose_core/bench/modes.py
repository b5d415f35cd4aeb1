"""The modes in which `sdpose bench` measures our way. Add new ones to `MODES`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Mode:
    """How our way is run: dtype "fp32", "bf16" or "fp16"; mode of `torch.compile`; (w, h) of the crop."""

    dtype: str
    flip_test: bool = False
    compile: bool = False
    compile_mode: str | None = None
    pool_attention: bool = False
    input_size: tuple[int, int] | None = None

    @property
    def exact(self) -> bool:
        """Whether the result equals the released one except for rounding."""
        return not self.pool_attention and self.input_size is None

    @property
    def warm_ups(self) -> int:
        """Slow first passes: compilation, and recording of CUDA graphs."""
        return 0 if not self.compile else 1 if self.compile_mode is None else 3

    @property
    def reference(self) -> str:
        """The mode that it is compared with."""
        return "fp32-flip" if self.flip_test else "fp32"


_DTYPES = ("fp32", "bf16", "fp16")

MODES = {
    **{dtype: Mode(dtype) for dtype in _DTYPES},
    **{f"{dtype}-flip": Mode(dtype, flip_test=True) for dtype in _DTYPES},
    **{f"{dtype}-compile": Mode(dtype, compile=True) for dtype in _DTYPES},
    **{
        f"{dtype}-{name}": Mode(dtype, compile=True, compile_mode=mode)
        for dtype in _DTYPES
        for name, mode in (("graphs", "reduce-overhead"), ("autotune", "max-autotune"))
    },
    **{f"{dtype}-pool": Mode(dtype, pool_attention=True) for dtype in _DTYPES},
    **{f"{dtype}-{w}x{h}": Mode(dtype, input_size=(w, h)) for dtype in _DTYPES for w, h in ((576, 768), (384, 512))},
}
"""Name -> mode. Pooled attention and smaller crops are approximations, see `approximations.py`."""

_ON_CUDA = ("fp32", "bf16", "fp16", "bf16-flip", "bf16-compile", "bf16-graphs", "bf16-autotune")


def default_modes(device: torch.device, dtype: str) -> tuple[str, ...]:
    """The modes to measure by default. On a CPU only fp32 and `dtype`, as half precision can take minutes."""
    return _ON_CUDA if device.type == "cuda" else tuple(dict.fromkeys(("fp32", dtype)))


def parse_modes(text: str) -> tuple[str, ...]:
    """ "fp32,bf16" -> ("fp32", "bf16"). Raises `InputError`."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in MODES]
    if unknown or not names:
        raise InputError(f"modes: found {text!r}, expected some of {', '.join(MODES)}, separated by commas")
    return names


def parse_counts(text: str) -> tuple[int, ...]:
    """ "1,2,4" -> (1, 2, 4), rising. Raises `InputError`."""
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = ()
    if not counts or counts[0] < 1 or list(counts) != sorted(set(counts)):
        raise InputError(f"counts: found {text!r}, expected rising whole numbers from 1, such as 1,2,4,8")
    return counts
