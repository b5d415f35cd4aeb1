"""Training states to resume from: written atomically, only the newest are kept."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from sdpose_core.errors import InputError, one_line
from sdpose_core.files import atomic_write
from sdpose_core.folders import FolderKind, atomic_folder
from sdpose_core.texts import read_json

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger(__name__)

_PREFIX = "step-"
_PROGRESS = "progress.json"

STATE = FolderKind(
    "a training state",
    (
        _PROGRESS, "*.safetensors", "*.index.json", "*.bin", "*.pkl", "*.pt", "*/*.distcp", "*/.metadata", "*/*.pt",
        "latest", "zero_to_fp32.py",
    ),
    markers=(_PROGRESS,),
)  # fmt: skip
"""What accelerate writes, on one or several processes, whole or in shards."""

_DOES_NOT_FIT = (RuntimeError, ValueError, TypeError, KeyError, EOFError, OSError, UnpicklingError, SafetensorError)
"""Raised by PyTorch, safetensors and pickle for other names and shapes, and for truncated files."""

_WRITERS = ("inline_container", "PytorchStreamWriter")
"""In the messages of PyTorch's zip writer, which does not pass on what the system said."""


@dataclass
class Progress:
    """The progress of a run; with the recipe, it also gives the position in the data.

    Attributes:
        step: optimizer steps done.
        best_ap, best_step: best validation AP so far (-1 before the first), and its step.
        worse: validations in a row since the best AP, if it is above 0.
        bad: messages about damaged files and annotations so far, each once.
        metrics, metrics_step: of the last validation (empty before the first), and its step.
    """

    step: int = 0
    best_ap: float = -1.0
    best_step: int = 0
    worse: int = 0
    bad: list[str] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    metrics_step: int = -1

    def judge(self, ap: float) -> bool:
        """Note the AP of a validation at this step; whether it is the best so far.

        AP is 0 for a while if a new head is trained: such validations are not counted as worse ones.
        """
        better = ap > self.best_ap
        if better:
            self.best_ap, self.best_step = ap, self.step
        self.worse = self.worse + 1 if self.best_ap > 0 and not better else 0
        return better

    def exhausts(self, patience: int) -> bool:
        """Whether the run ends, as so many validations in a row were not the best; 0 never."""
        return 0 < patience <= self.worse


def step_name(step: int) -> str:
    """ "step-00001000": sorts by name."""
    return f"{_PREFIX}{step:08d}"


def save_state(accelerator: Accelerator, folder: Path, progress: Progress, keep: int) -> Path:
    """Save model, optimizer, random states and progress as FOLDER/step-...; all processes take part.

    It appears when it is complete; then all but the newest `keep` are removed, except those with files of others.
    """
    from accelerate.utils import broadcast_object_list

    target = folder / step_name(progress.step)
    with contextlib.ExitStack() as stack:
        shared = [str(stack.enter_context(atomic_folder(target, STATE))) if accelerator.is_main_process else ""]
        [unfinished] = broadcast_object_list(shared)
        with _whole(target):
            accelerator.save_state(unfinished)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            with atomic_write(Path(unfinished) / _PROGRESS, "w") as file:
                json.dump(asdict(progress), file)
    if accelerator.is_main_process:
        _remove_old(_states(folder)[:-keep])
    accelerator.wait_for_everyone()
    return target


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[None]:
    """What PyTorch and safetensors raise if a file cannot be written to its end, as our error."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        if not isinstance(error, SafetensorError) and not any(name in str(error) for name in _WRITERS):
            raise
        raise InputError(
            f"cannot write {target}: a file ended early ({one_line(error):.80}): if the disk is full, make room, then "
            "use --resume auto; earlier states are kept"
        ) from None


def _remove_old(states: Sequence[Path]) -> None:
    for state in states:
        try:
            STATE.remove(state)
        except InputError as error:  # the run goes on
            log.warning("%s", error)


def _states(folder: Path) -> list[Path]:
    return sorted(state for state in folder.glob(f"{_PREFIX}*") if (state / _PROGRESS).exists())


def find_state(folder: Path, resume: str) -> Path | None:
    """The state to resume from: "auto" is the newest in the folder (None if there is none), others are paths.

    Raises `InputError`: "never", but there are states; no state at the path.
    """
    states = _states(folder)
    if resume == "never":
        if states:
            advice = "resume it with --resume auto, or choose another --out"
            raise InputError(f"{folder.parent} already has a run ({states[-1].name}): {advice}")
        return None
    if resume == "auto":
        return states[-1] if states else None
    if not (Path(resume) / _PROGRESS).exists():
        raise InputError(f"{resume} has no training state (missing {_PROGRESS}): name a folder checkpoints/step-...")
    return Path(resume)


def check_same(state: Path | None) -> None:
    """Raise `InputError` if the processes found different states."""
    from accelerate.utils import gather_object

    found = set(gather_object([state.name if state else "none"]))
    if len(found) > 1:
        states = ", ".join(sorted(found))
        raise InputError(f"the processes found different states ({states}): --out must be a folder that all share")


def _read_progress(path: Path) -> Progress:
    """Raises `ValueError` for values of other types."""
    progress = Progress(**read_json(path, "the progress of a run"))
    kinds = {"best_ap": (int, float), "bad": list, "metrics": dict}
    for name, value in asdict(progress).items():
        if not isinstance(value, kinds.get(name, int)):
            raise ValueError(f"{_PROGRESS}: {name} is {value!r:.40}")
    return progress


def _refuse_programs(state: Path) -> None:
    """Raise `UnpicklingError` for pickles that would run code. These are the ones that accelerate does not check."""
    import torch

    for file in state.glob("custom_checkpoint_*.pkl"):
        torch.load(file, map_location="cpu", weights_only=True)


def load_state(accelerator: Accelerator, state: Path) -> Progress:
    """Load a state into the prepared objects; returns its progress. Raises `InputError` if it does not fit."""
    try:
        progress = _read_progress(state / _PROGRESS)
        _refuse_programs(state)
        accelerator.load_state(str(state))
    except _DOES_NOT_FIT as error:
        reason = next((line.strip() for line in str(error).splitlines()[::-1] if line.strip()), type(error).__name__)
        cause = "it is damaged, or was saved by another model than the recipe's"
        advice = "undo the changes to the recipe, resume from an earlier state, or choose another --out"
        raise InputError(f"cannot resume from {state}: {reason:.200}; {cause}: {advice}") from error
    return progress
