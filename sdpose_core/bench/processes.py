"""Processes that measure alone, and what the machine has left for them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SDPoseError

if TYPE_CHECKING:
    import torch


class OwnProcess:
    """A fresh process, whose peak memory has nothing of other measurements. It waits between calls, until closed.

    It may use huge pages: with small ones, allocation takes a sixth of the released way's CPU seconds on a virtual
    machine. Ours is as fast without.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_allow_huge_pages)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function` there; errors are raised here."""
        try:
            return self._pool.submit(function, *args).result()
        except BrokenProcessPool as error:
            raise SDPoseError(
                "the system ended the measuring process, probably because memory ran out: close other programs (the "
                "released way takes 6.4 GB at full size)"
            ) from error

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()

    def __enter__(self) -> OwnProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def in_own_process(function: Callable[..., Any], *args: Any) -> Any:
    """Call `function` in an `OwnProcess` of its own."""
    with OwnProcess() as process:
        return process.call(function, *args)


def _allow_huge_pages() -> None:
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by PyTorch at its first allocation


def peak_memory(device: torch.device) -> int | None:
    """Bytes of tensors on a CUDA device, else of this process with the weights; None if unknown."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":  # getrusage would count memory of the parent process
        return _bytes_in(Path("/proc/self/status"), "VmHWM:")
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def forget_peak_memory() -> None:
    """Let `peak_memory` count from now on, where Linux allows it: building random weights in float32 takes more memory
    than reading a file in the model's dtype.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def free_memory(device: torch.device) -> int | None:
    """Bytes that new processes can use on a CUDA device, else on this machine; None if unknown."""
    if device.type == "cuda":
        import torch

        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu" or sys.platform != "linux":
        return None
    return min(_bytes_in(Path("/proc/meminfo"), "MemAvailable:"), container_memory())


def _bytes_in(file: Path, name: str) -> int:
    return next(int(line.split()[1]) * 1024 for line in file.read_text().splitlines() if line.startswith(name))


def container_memory(root: Path = Path("/sys/fs/cgroup")) -> int:
    """What a container's limit (cgroup 2) leaves; very much without one. Cached files make room if it is needed."""
    try:
        limit, used = ((root / name).read_text().strip() for name in ("memory.max", "memory.current"))
        lines = (line.split() for line in (root / "memory.stat").read_text().splitlines())
        cached = sum(int(size) for name, size in lines if name in ("active_file", "inactive_file"))
        return max(int(limit) - int(used) + cached, 0)
    except (OSError, ValueError):  # no cgroup 2, or "max"
        return 1 << 62


def load_average() -> float | None:
    """Programs that ran or waited to run in the last minute, on average; None if unknown."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def stolen_ticks(file: Path = Path("/proc/stat")) -> tuple[int, int]:
    """Processor time that a virtual machine's host has given to others, and all time, since the start; 0, 0 if
    unknown. In units of the kernel."""
    try:
        ticks = [int(word) for word in file.read_text().partition("\n")[0].split()[1:9]]
    except (OSError, ValueError):
        return 0, 0
    return (ticks[7], sum(ticks)) if len(ticks) == 8 else (0, 0)
