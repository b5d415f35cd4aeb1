"""What a run needs and what the machine has, before the first step: memory, shared memory, disk.

The numbers follow from the recipe: no weights are read and nothing is downloaded. Time is measured, see `pace.py`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sdpose_core.bench.processes import container_memory
from sdpose_core.model.devices import DTYPES
from sdpose_core.model.network import VAE_AT_ONCE
from sdpose_core.skeletons import KeypointSet
from sdpose_training.fit.dry_run import encoder_memory, step_memory, validation_memory
from sdpose_training.fit.optimizers import state_bytes
from sdpose_training.fit.precision import set_precision
from sdpose_training.fit.setup import PREFETCHED, StagePlan, plan_stages
from sdpose_training.fit.starting_weights import outline
from sdpose_training.fit.trained_parts import choose_trained
from sdpose_training.recipe.recipe import (
    CheckpointRecipe,
    DataRecipe,
    HardwareRecipe,
    HubRecipe,
    LogRecipe,
    OptimizerRecipe,
    Recipe,
    Stage,
    ValidationRecipe,
)

if TYPE_CHECKING:
    from accelerate import Accelerator

GIB = 1 << 30

RESERVE = {"cpu": 0.25}
OTHER_RESERVE = 0.06
"""Share of the memory for what is not counted: fragments between tensors, workspaces of the kernels. On a CPU, a
full-size step took 13% to 19% more than its tensors; on GPUs it is not measured."""

PICTURE_BYTES = 2_000_000
"""Of a sheet of predictions with eight people, rounded up."""

SHARED_MEMORY = Path("/dev/shm")
"""Where PyTorch on Linux hands batches from loader processes to the training process."""


@dataclass(frozen=True)
class Launch:
    """How a run was started.

    Attributes:
        processes, local_processes: of the whole run, and on this machine.
        device: type of the device, "cuda", "mps" or "cpu".
        sharded: what the processes divide among them, of "weights", "gradients", "optimizer".
    """

    processes: int = 1
    local_processes: int = 1
    device: str = "cpu"
    sharded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Needs:
    """Bytes that a run needs.

    Attributes:
        memory: of one process in a step, by part.
        validation: of one process in validation; 0 without.
        shared: shared memory of all processes on this machine.
        disk: of the folder of the run at its end, by part.
    """

    memory: Mapping[str, int]
    validation: int
    shared: int
    disk: Mapping[str, int]

    @property
    def peak(self) -> int:
        return max(sum(self.memory.values()), self.validation)


@dataclass(frozen=True)
class Room:
    """Bytes that are free: memory for one process, shared memory (None: not limited), disk; and the device's name.

    What the run has written before is free: a resumed run replaces it, or needs no more of it.
    """

    memory: int
    shared: int | None
    disk: int
    device: str


def launch_of(accelerator: Accelerator) -> Launch:
    """How accelerate was started."""
    from accelerate.utils import DistributedType

    processes = accelerator.num_processes
    sharded: tuple[str, ...] = ()
    if accelerator.distributed_type == DistributedType.FSDP:
        sharded = ("weights", "gradients", "optimizer")
    elif accelerator.distributed_type == DistributedType.DEEPSPEED:
        stage = accelerator.state.deepspeed_plugin.zero_stage
        sharded = ((), ("optimizer",), ("gradients", "optimizer"))[stage]
    local = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    return Launch(processes, local, accelerator.device.type, sharded)


def room_of(accelerator: Accelerator, launch: Launch, out: Path) -> Room:
    """What is free on this machine for one process of a run in the folder `out`."""
    import psutil

    device = accelerator.device
    if device.type == "cuda":
        memory, name = torch.cuda.mem_get_info(device)[0], f"{device} ({torch.cuda.get_device_name(device)})"
    else:
        free = min(psutil.virtual_memory().available, container_memory())
        memory, name = free // launch.local_processes, "the CPU" if device.type == "cpu" else str(device)
    shared = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None
    folder = next(folder for folder in (out.resolve(), *out.resolve().parents) if folder.is_dir())
    written = sum(path.lstat().st_size for path in out.rglob("*"))
    return Room(memory, shared, shutil.disk_usage(folder).free + written, name)


def needs_of(recipe: Recipe, keypoints: int, people: float, launch: Launch) -> Needs:
    """What a recipe needs for so many keypoints and so many people to train on. Raises as `outline`."""
    stages = plan_stages(recipe, people, launch.processes)
    largest = max(stages, key=_pixels)
    fixed = _fixed(replace(_plain(recipe, largest.stage), optimizer=recipe.optimizer), keypoints, launch.device)
    memory = {**fixed.memory(launch), "activations": _activations(recipe, keypoints, largest, launch, fixed)}
    reserve = RESERVE.get(launch.device, OTHER_RESERVE)
    memory["reserve"] = int(reserve * sum(memory.values()))
    kept = sum(memory[part] for part in ("weights", "frozen VAE", "optimizer states", "moving average"))
    shown = _validation(recipe, keypoints, launch) if recipe.validation.people else 0
    validation = int((kept + shown) * (1 + reserve)) if shown else 0
    return Needs(memory, validation, _shared_memory(recipe, stages, launch), _disk(recipe, stages[-1].end, fixed))


def _pixels(plan: StagePlan) -> int:
    w, h = plan.stage.input_size
    return plan.batch.micro * w * h


@dataclass(frozen=True)
class _Fixed:
    """Bytes that do not depend on pictures; `saved` and `adapter` are the numbers in these files."""

    weights: int
    frozen_vae: int
    gradients: int
    optimizer: int
    average: int
    saved: int
    adapter: int

    @classmethod
    def of(cls, model: nn.Module, recipe: Recipe) -> _Fixed:
        vae = [p for name, p in model.named_parameters() if name.startswith("vae.") and not p.requires_grad]
        trained = [p for p in model.parameters() if p.requires_grad]
        return cls(
            _bytes(model.parameters()) - _bytes(vae), _bytes(vae), _bytes(trained),
            sum(state_bytes(recipe.optimizer, p) for p in trained),
            _bytes(trained) if recipe.optimizer.ema_decay else 0,
            sum(p.numel() for p in model.parameters()),
            sum(p.numel() for p in trained) if recipe.lora.rank else 0,
        )  # fmt: skip

    def memory(self, launch: Launch) -> dict[str, int]:
        def share(part: str, size: int) -> int:
            return size // launch.processes if part in launch.sharded else size

        return {
            "weights": share("weights", self.weights), "frozen VAE": self.frozen_vae,
            "gradients": share("gradients", self.gradients),
            "optimizer states": share("optimizer", self.optimizer), "moving average": self.average,
        }  # fmt: skip


def _bytes(parameters: Iterable[torch.Tensor]) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)


def _prepared(recipe: Recipe, keypoints: int, device: str) -> Any:
    names = tuple(map(str, range(keypoints)))
    model = outline(recipe, KeypointSet(f"{keypoints} points", names))
    choose_trained(model, recipe)
    hardware = replace(recipe.hardware, compile=False)
    set_precision(model, replace(recipe, hardware=hardware), device)
    return model


def _activations(recipe: Recipe, keypoints: int, plan: StagePlan, launch: Launch, fixed: _Fixed) -> int:
    """Of a micro-batch. Where a step has only one, gradients appear while activations go, which takes less."""
    growing = plan.batch.accumulation == launch.processes == 1
    plain, micro = _plain(recipe, plan.stage), plan.batch.micro
    peak = _step(replace(plain, validation=ValidationRecipe()), keypoints, micro, launch.device, growing)
    pictures = 2 * micro if recipe.rgb_reconstruction else micro
    return max(peak - fixed.gradients if growing else peak, _encoder(recipe, keypoints, plan.stage, pictures, launch))


def _validation(recipe: Recipe, keypoints: int, launch: Launch) -> int:
    """Of a batch in the size of the last stage, where most validations are."""
    settings, stage = recipe.validation, recipe.stages[-1]
    people = settings.batch if settings.people < 0 else min(settings.batch, settings.people)
    crops = 2 * people if settings.flip_test else people
    plain = _plain(recipe, stage)
    hardware = replace(plain.hardware, gradient_checkpointing=False)
    peak = _heatmaps(replace(plain, hardware=hardware), keypoints, people, launch.device)
    return max(peak, _encoder(recipe, keypoints, stage, crops, launch))


def _encoder(recipe: Recipe, keypoints: int, stage: Stage, pictures: int, launch: Launch) -> int:
    """Of the frozen VAE, on a GPU a few pictures at a time."""
    if recipe.model.train_vae:
        return 0
    at_once = pictures if launch.device == "cpu" else min(pictures, VAE_AT_ONCE)
    hardware = HardwareRecipe(vae_dtype=recipe.hardware.vae_dtype)
    plain = replace(_plain(recipe, stage), hardware=hardware, validation=ValidationRecipe())
    return at_once * _one_encoded(plain, keypoints, launch.device)


@lru_cache(maxsize=64)
def _fixed(recipe: Recipe, keypoints: int, device: str) -> _Fixed:
    return _Fixed.of(_prepared(recipe, keypoints, device), recipe)


@lru_cache(maxsize=64)
def _step(recipe: Recipe, keypoints: int, micro: int, device: str, growing: bool) -> int:
    return step_memory(_prepared(recipe, keypoints, device), micro, half=_half(recipe), gradients=growing)


@lru_cache(maxsize=64)
def _heatmaps(recipe: Recipe, keypoints: int, people: int, device: str) -> int:
    flip_test = recipe.validation.flip_test
    return validation_memory(_prepared(recipe, keypoints, device), people, flip_test=flip_test, half=_half(recipe))


@lru_cache(maxsize=64)
def _one_encoded(recipe: Recipe, keypoints: int, device: str) -> int:
    return encoder_memory(_prepared(recipe, keypoints, device), on_cpu=device == "cpu")


def _half(recipe: Recipe) -> torch.dtype | None:
    name = recipe.hardware.mixed_precision
    return None if name == "no" else DTYPES[name]


def _plain(recipe: Recipe, stage: Stage) -> Recipe:
    """A recipe of one stage without what has no influence on activations, so that equal ones are computed once."""
    return replace(
        recipe, name="", seed=0, data=DataRecipe(), hub=HubRecipe(), log=LogRecipe(), optimizer=OptimizerRecipe(),
        checkpoints=CheckpointRecipe(), hardware=replace(recipe.hardware, workers=0, batch_per_device=1),
        stages=(Stage(stage.input_size, samples=1),),
    )  # fmt: skip


def _shared_memory(recipe: Recipe, stages: Iterable[StagePlan], launch: Launch) -> int:
    """Pictures that wait: of all workers on this machine, in the largest stage; bytes, three per pixel."""
    pictures = 2 if recipe.rgb_reconstruction else 1
    waiting = launch.local_processes * recipe.hardware.workers * PREFETCHED
    return waiting * pictures * 3 * max(_pixels(plan) for plan in stages)


def _disk(recipe: Recipe, steps: int, fixed: _Fixed) -> dict[str, int]:
    """Bytes at the end of a run. A new state and new weights are written before the old ones are removed."""
    settings = recipe.checkpoints
    state = fixed.weights + fixed.frozen_vae + fixed.optimizer + fixed.average
    dtype = DTYPES[settings.weights_dtype]
    checkpoints = 1 + (steps - 1) // settings.every if settings.every else 1
    regular = steps // settings.weights_every if settings.weights_every else 0
    files = min(checkpoints, settings.weights + 1 + regular) + bool(recipe.validation.people)
    sheets = 1 + steps // recipe.log.pictures_every if recipe.log.pictures_every and recipe.validation.people else 0
    return {
        "states": min(checkpoints, settings.keep + 1) * state,
        "weights": files * fixed.saved * dtype.itemsize,
        "adapters": files * fixed.adapter * dtype.itemsize,
        "pictures": sheets * PICTURE_BYTES,
    }
