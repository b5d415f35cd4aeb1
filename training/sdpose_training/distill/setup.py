"""Sets up a run before its first step: the frozen teacher, the encoder, the pictures."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from sdpose_core.checkpoints.layouts import read_checkpoint
from sdpose_core.checkpoints.loading import from_state
from sdpose_core.checkpoints.published import find_weights, identify
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_write
from sdpose_core.model.compiling import need_compiler
from sdpose_core.model.devices import DTYPES
from sdpose_core.model.encoder_config import EncoderConfig
from sdpose_core.model.folding import fold_constants
from sdpose_core.model.network import SDPose
from sdpose_core.model.tiny_encoder import AnyEncoder, load_tiny_encoder, make_encoder
from sdpose_core.texts import read_json
from sdpose_training.data.order import SampleOrder
from sdpose_training.distill.crops import Crops, Pictures, picture_folder, read_pictures
from sdpose_training.distill.recipe import DistillRecipe, StudentRecipe
from sdpose_training.fit.budget import Room, launch_of, room_of
from sdpose_training.fit.optimizers import make_optimizer
from sdpose_training.fit.precision import make_accelerator
from sdpose_training.fit.setup import RunParts, check_launch, make_average, plan_stages

log = logging.getLogger(__name__)

_TEACHER = "teacher.json"
"""File of a run with name and digests of the teacher's weights."""


@dataclass(frozen=True)
class Teacher:
    """A frozen SDPose.

    Attributes:
        name, digests: of the files of its weights.
    """

    model: SDPose
    name: str
    digests: tuple[str, ...]


@dataclass(frozen=True)
class Basis:
    """What a run stands on: how it was launched, what was free before anything was loaded, the teacher on the CPU in
    float32, the pictures, the encoder."""

    accelerator: Accelerator
    room: Room
    teacher: Teacher
    pictures: Pictures
    student: AnyEncoder
    config: EncoderConfig


@dataclass
class DistillParts(RunParts):
    """The parts of a run.

    Attributes:
        student: the encoder that is trained.
        config: its layout and sizes.
    """

    student: AnyEncoder
    config: EncoderConfig
    teacher: Teacher
    pictures: Pictures
    val_crops: Crops | None

    @property
    def val(self) -> Crops | None:
        return self.val_crops

    @property
    def problems(self) -> list[str]:
        return self.pictures.problems


def read_basis(recipe: DistillRecipe, out: Path) -> Basis:
    """Start accelerate, read the weights and find the pictures; raises `CheckpointError` and `InputError`."""
    if recipe.hardware.threads:
        torch.set_num_threads(recipe.hardware.threads)
    accelerator = make_accelerator(recipe.hardware.mixed_precision)
    check_launch(accelerator)
    if accelerator.distributed_type.value not in ("NO", "MULTI_GPU", "MULTI_CPU"):
        found = f"a small encoder is trained on one process or with DDP, found {accelerator.distributed_type.value}"
        raise InputError(f"{found}: choose another configuration of accelerate")
    picture_folder(recipe.data)  # before the weights, which take longer to read
    room = room_of(accelerator, launch_of(accelerator), out)
    teacher = load_teacher(recipe)
    pictures = read_pictures(recipe.data, teacher.model.config.skeleton)
    log.info("%d crops to learn from, %d held out", len(pictures.train), len(pictures.val))
    torch.manual_seed(recipe.seed)
    student, config = first_student(recipe.student, teacher.model.config.vae.latent_channels)
    return Basis(accelerator, room, teacher, pictures, student, config)


def load_teacher(recipe: DistillRecipe) -> Teacher:
    """The weights of a recipe, frozen and folded, at the size of its crops. Raises `CheckpointError`, `InputError`."""
    if not recipe.weights:
        raise InputError("--weights: expected the SDPose checkpoint whose encoder is to be replaced")
    path = find_weights(recipe.weights)
    config, state, _ = read_checkpoint(path, input_size=recipe.input_size)
    config.need_features("a small encoder")
    model = fold_constants(from_state(config, state, str(path)).float().eval().requires_grad_(False))
    named = identify(path)
    return Teacher(model, named["path"], tuple(named["sha256"].values()))


def first_student(recipe: StudentRecipe, latent_channels: int) -> tuple[AnyEncoder, EncoderConfig]:
    """The encoder before the first step. Raises `CheckpointError` for a start that does not fit."""
    if not recipe.start:
        config = recipe.config(latent_channels)
        return make_encoder(config), config
    loaded = load_tiny_encoder(recipe.start, latent_channels)
    if loaded.config.layout != recipe.layout:
        found = f"--start {recipe.start} has the layout {loaded.config.layout!r}"
        raise InputError(f"{found}: add --layout {loaded.config.layout}")
    return loaded.encoder.float(), loaded.config


def set_precision(teacher: nn.Module, student: nn.Module, recipe: DistillRecipe, device: torch.device) -> None:
    """Dtypes of the frozen teacher, checkpointing and compilation; the teacher goes to the device.

    Raises `MissingDependency` if `torch.compile` does not work there.
    """
    hardware = recipe.hardware
    assert isinstance(teacher, SDPose)
    if device.type != "cpu":
        teacher.vae.to(DTYPES[hardware.vae_dtype])
        half = DTYPES["fp32" if hardware.mixed_precision == "no" else hardware.mixed_precision]
        nn.Module.to(teacher.unet, dtype=half)  # diffusers' version would warn about mixed dtypes
        teacher.head.to(half)
    teacher.to(device)
    if hardware.gradient_checkpointing:
        teacher.enable_gradient_checkpointing()
    if hardware.channels_last:
        for part in (teacher, student):
            part.to(memory_format=torch.channels_last)
    if hardware.compile:
        need_compiler(device)
        teacher.unet.compile(dynamic=False)


def set_up(recipe: DistillRecipe, basis: Basis) -> DistillParts:
    """Optimizer, moving average and what accelerate prepares."""
    accelerator, student = basis.accelerator, basis.student
    set_precision(basis.teacher.model, student, recipe, accelerator.device)
    optimizer = make_optimizer(list(student.parameters()), recipe.optimizer, recipe.stages[0].learning_rate)
    trained, optimizer = accelerator.prepare(student.train(), optimizer)
    average = make_average(accelerator, student, recipe.optimizer)
    order = SampleOrder(recipe.seed, (len(basis.pictures.train),))
    stages = plan_stages(recipe, order.epoch, accelerator.num_processes)
    val = basis.pictures.val.first(recipe.validation.people) if recipe.validation.people else None
    return DistillParts(
        accelerator, trained, optimizer, average, order, stages, student, basis.config, basis.teacher, basis.pictures,
        val,
    )  # fmt: skip


def keep_teacher(root: Path, teacher: Teacher) -> None:
    """Note the teacher in the folder of a run; `InputError` if the run was started with other weights."""
    path, mine = root / _TEACHER, {"name": teacher.name, "sha256": sorted(teacher.digests)}
    if path.exists():
        before = read_json(path, "the weights that teach", dict)
        if before.get("sha256") != mine["sha256"]:
            found = f"{root} was started with other weights ({before.get('name')!r:.80})"
            raise InputError(f"{found} than {teacher.name!r:.80}: use those, or choose another --out")
    with atomic_write(path, "w") as file:
        json.dump(mine, file)
