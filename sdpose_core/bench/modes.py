"""The modes in which `sdpose bench` measures our way. To measure another, add it to `MODES`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Mode:
    """How our way is run."""

    dtype: str
    """"fp32", "bf16" or "fp16"."""
    flip_test: bool = False
    compile: bool = False
    compile_mode: str | None = None
    """Of `torch.compile`; "reduce-overhead" records CUDA graphs."""
    pool_attention: bool = False
    input_size: tuple[int, int] | None = None
    """(W, H) of the crop; None: the model's own."""

    @property
    def exact(self) -> bool:
        """Whether the answer is the released one but for rounding."""
        return not self.pool_attention and self.input_size is None

    @property
    def warm_ups(self) -> int:
        """Passes that are not like those after them: a compiler's first; of CUDA graphs another that records them."""
        return 0 if not self.compile else 1 if self.compile_mode is None else 3

    @property
    def reference(self) -> str:
        """The mode whose answer it is compared with."""
        return "fp32-flip" if self.flip_test else "fp32"


MODES = {
    "fp32": Mode("fp32"),
    "bf16": Mode("bf16"),
    "fp16": Mode("fp16"),
    "fp32-flip": Mode("fp32", flip_test=True),
    "bf16-flip": Mode("bf16", flip_test=True),
    "fp16-flip": Mode("fp16", flip_test=True),
    "fp32-compile": Mode("fp32", compile=True),
    "bf16-compile": Mode("bf16", compile=True),
    "fp16-compile": Mode("fp16", compile=True),
    "bf16-graphs": Mode("bf16", compile=True, compile_mode="reduce-overhead"),
    "fp16-graphs": Mode("fp16", compile=True, compile_mode="reduce-overhead"),
    **{f"{dtype}-pool": Mode(dtype, pool_attention=True) for dtype in ("fp32", "bf16", "fp16")},
    **{
        f"{dtype}-{w}x{h}": Mode(dtype, input_size=(w, h))
        for dtype in ("fp32", "bf16", "fp16")
        for w, h in ((576, 768), (384, 512))
    },
}
"""Name -> mode. Those of pooled attention and of smaller crops are approximations, see `approximations.py`."""

_ON_CUDA = ("fp32", "bf16", "fp16", "bf16-flip", "bf16-compile", "bf16-graphs")


def default_modes(device: torch.device) -> tuple[str, ...]:
    """What is measured when nothing is asked for. On a CPU half precision can take minutes: only what is asked for."""
    return _ON_CUDA if device.type == "cuda" else ("fp32",)


def parse_modes(text: str) -> tuple[str, ...]:
    """ "fp32,bf16" -> ("fp32", "bf16"); `InputError` for an unknown name."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in MODES]
    if unknown or not names:
        raise InputError(f"modes: found {text!r}, expected some of {', '.join(MODES)}, separated by commas")
    return names


def parse_counts(text: str) -> tuple[int, ...]:
    """ "1,2,4" -> (1, 2, 4), rising; `InputError` for anything else."""
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = ()
    if not counts or counts[0] < 1 or list(counts) != sorted(set(counts)):
        raise InputError(f"counts: found {text!r}, expected rising whole numbers from 1 on, such as 1,2,4,8")
    return counts
