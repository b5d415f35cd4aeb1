"""Sets up a run before its first step: data, model, optimizer, prepared by accelerate."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from sdpose_core.checkpoints.adapters import Adapter
from sdpose_core.errors import InputError
from sdpose_core.model.network import SDPose
from sdpose_training.data.annotations import People
from sdpose_training.data.order import BatchPlan, SampleOrder, micro_batches, plan_batches
from sdpose_training.data.samples import Batches, PeopleSamples, SampleSettings, collate, quiet_worker
from sdpose_training.fit.data_sets import DataSet, read_data_sets
from sdpose_training.fit.lora import adapter_of_run
from sdpose_training.fit.optimizers import make_optimizer, parameter_groups
from sdpose_training.fit.precision import check_precision, make_accelerator, set_precision
from sdpose_training.fit.starting_weights import Start, starting_model
from sdpose_training.fit.trained_parts import choose_trained
from sdpose_training.fit.weight_average import WeightAverage
from sdpose_training.recipe.recipe import AnyStage, HardwareRecipe, OptimizerRecipe, Recipe, Stage
from sdpose_training.styles.filters import FILTERS

log = logging.getLogger(__name__)


class AnyRecipe(Protocol):
    """What the steps of any run follow from."""

    @property
    def stages(self) -> tuple[AnyStage, ...]: ...
    @property
    def hardware(self) -> HardwareRecipe: ...


PREFETCHED = 4
"""Micro-batches that each loader process prepares in advance."""


@dataclass(frozen=True)
class StagePlan:
    """A stage in optimizer steps.

    Attributes:
        stage: a `Stage`, or the other kind of `AnyStage` that the recipe has.
        first_step, steps: start, counted over the whole run, and length.
        first_sample: number of samples seen before the stage.
    """

    stage: Any
    first_step: int
    steps: int
    first_sample: int
    batch: BatchPlan

    @property
    def end(self) -> int:
        return self.first_step + self.steps


@dataclass
class RunParts:
    """What any run has.

    Attributes:
        trained: the trained model as accelerate wraps it.
        average: of its weights, if the recipe has `ema_decay`.
        order: of the samples.
    """

    accelerator: Accelerator
    trained: Any
    optimizer: Any
    average: WeightAverage | None
    order: SampleOrder
    stages: list[StagePlan]

    @property
    def val(self) -> Any:
        """What a validation takes, with a length; None without validation."""
        raise NotImplementedError

    @property
    def problems(self) -> list[str]:
        """Messages about damaged data that were found before the first step."""
        return []


@dataclass
class Parts(RunParts):
    """The parts of a run of SDPose.

    Attributes:
        model: the one that is trained.
        start: origin of the weights, and tensors to save with them.
        adapter: description of the adapter that is written, with LoRA.
        data_sets: the main one first.
    """

    model: SDPose
    start: Start
    adapter: Adapter | None
    data_sets: tuple[DataSet, ...]

    @property
    def val(self) -> People | None:
        """The validation people of the main data set; None without validation."""
        return self.data_sets[0].val

    @property
    def problems(self) -> list[str]:
        """Messages about damaged annotations."""
        return [problem for each in self.data_sets for problem in each.problems]


@dataclass(frozen=True)
class Basis:
    """What a run stands on, before there is a model: how it was launched, and its data as in `Parts`."""

    accelerator: Accelerator
    data_sets: tuple[DataSet, ...]
    order: SampleOrder


def read_basis(recipe: Recipe) -> Basis:
    """Start accelerate and read the annotations; raises `InputError` for errors that a user can fix."""
    if recipe.hardware.threads:
        torch.set_num_threads(recipe.hardware.threads)
    accelerator = make_accelerator(recipe.hardware.mixed_precision)
    check_launch(accelerator)
    check_precision(recipe, accelerator)
    data_sets = read_data_sets(recipe)
    return Basis(accelerator, data_sets, sample_order(recipe, data_sets))


def set_up(recipe: Recipe, basis: Basis | None = None) -> Parts:
    """Build the model on its data; raises `InputError` or `CheckpointError` for errors that a user can fix."""
    basis = basis or read_basis(recipe)
    accelerator, data_sets, order = basis.accelerator, basis.data_sets, basis.order
    start = starting_model(recipe, data_sets[0].people.keypoint_set)
    model = start.model
    trained_count = sum(parameter.numel() for parameter in choose_trained(model, recipe))
    count = sum(parameter.numel() for parameter in model.parameters())
    log.info("%.1f M of %.1f M parameters are trained", trained_count / 1e6, count / 1e6)
    set_precision(model, recipe, accelerator.device.type)
    groups = parameter_groups(model, start.new, recipe.optimizer)
    optimizer = make_optimizer(groups, recipe.optimizer, recipe.stages[0].learning_rate)
    stages = plan_stages(recipe, order.epoch, accelerator.num_processes)
    _configure_deepspeed(accelerator, recipe.optimizer, stages[0])
    trained, optimizer = _prepare(accelerator, model, optimizer)
    average = make_average(accelerator, model, recipe.optimizer)
    adapter = adapter_of_run(recipe, start) if recipe.lora.rank else None
    return Parts(accelerator, trained, optimizer, average, order, stages, model, start, adapter, data_sets)


def _prepare(accelerator: Accelerator, model: SDPose, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
    """Both as accelerate wraps them. The frozen VAE, which has another dtype, stays outside of FSDP's shards."""
    if accelerator.distributed_type != DistributedType.FSDP:
        return accelerator.prepare(model, optimizer)
    if not model.vae_is_frozen:
        raise InputError("model.train_vae does not work with FSDP: use DDP")
    vae = model.vae
    del model.vae
    trained, optimizer = accelerator.prepare(model, optimizer)
    model.vae = vae.to(accelerator.device)
    share_methods(model)
    return trained, optimizer


def check_launch(accelerator: Accelerator) -> None:
    """Raise `InputError` for a configuration of accelerate that the loop does not support."""
    deepspeed = getattr(accelerator.state, "deepspeed_plugin", None)
    if deepspeed is not None and deepspeed.zero_stage not in (0, 1, 2):
        found = f"accelerate's configuration has ZeRO stage {deepspeed.zero_stage}, where validation cannot run"
        raise InputError(f"{found}: expected zero_stage 1 or 2, or FSDP with fsdp_version: 2")
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is not None and plugin.fsdp_version != 2:
        found = f"accelerate's configuration has FSDP version {plugin.fsdp_version}, where validation cannot run"
        raise InputError(f"{found}: expected fsdp_version: 2")
    asked = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != asked:
        advice = "FSDP needs GPUs; on CPUs use `ACCELERATE_USE_CPU=true torchrun --nproc_per_node N`"
        raise InputError(f"{asked} processes were launched but do not know of each other: {advice}")


def _configure_deepspeed(accelerator: Accelerator, recipe: OptimizerRecipe, plan: StagePlan) -> None:
    """DeepSpeed accumulates, clips and steps by itself, so it needs these values in advance."""
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    if plugin is not None:
        plugin.deepspeed_config.update(
            train_micro_batch_size_per_gpu=plan.batch.micro,
            gradient_accumulation_steps=plan.batch.accumulation,
            gradient_clipping=recipe.max_grad_norm,
            zero_allow_untested_optimizer=True,
        )


def share_out_batches(accelerator: Accelerator, trained: Any, plan: StagePlan) -> None:
    """Set the number of micro-batches per step in accelerate and DeepSpeed."""
    accelerator.gradient_accumulation_steps = plan.batch.accumulation
    accelerator.step = 0  # its count of micro-batches does not fit after a change of stage or process count
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        trained.set_train_micro_batch_size(plan.batch.micro)
        trained.set_train_batch_size(plan.batch.total)


def share_methods(model: SDPose) -> None:
    """Let the methods of validation gather FSDP's sharded weights, as `forward` does."""
    from torch.distributed.fsdp import register_fsdp_forward_method

    for name in ("heatmaps", "reconstruct"):
        register_fsdp_forward_method(model, name)


def sample_order(recipe: Recipe, data_sets: Sequence[DataSet]) -> SampleOrder:
    sizes, shares = (len(each.people) for each in data_sets), (each.share for each in data_sets[1:])
    return SampleOrder(recipe.seed, tuple(sizes), tuple(shares))


def plan_stages(recipe: AnyRecipe, epoch: float, processes: int) -> list[StagePlan]:
    """The stages in optimizer steps, rounded up to full steps; `epoch` is in samples."""
    plans: list[StagePlan] = []
    step = sample = 0
    for stage in recipe.stages:
        batch = plan_batches(stage.total_batch, processes, recipe.hardware.batch_per_device)
        steps = max(1, math.ceil((stage.samples or stage.epochs * epoch) / stage.total_batch))
        plans.append(StagePlan(stage, step, steps, sample, batch))
        step, sample = step + steps, sample + steps * stage.total_batch
    return plans


def samples_at(stages: Sequence[StagePlan], step: int) -> int:
    """Samples seen after so many steps of the run."""
    return sum(min(max(step - plan.first_step, 0), plan.steps) * plan.batch.total for plan in stages)


def passes_multiple(stages: Sequence[StagePlan], step: int, samples: float) -> bool:
    """Whether the samples seen reach or pass a multiple of `samples` (0: never) in this step of the run."""
    return samples > 0 and samples_at(stages, step) // samples > samples_at(stages, step - 1) // samples


def batch_text(stages: Sequence[StagePlan]) -> str:
    """How each stage's total batch is split, for the log."""
    batches = (plan.batch for plan in stages)
    parts = (
        f"{b.total} = {b.processes} process{'es' * (b.processes > 1)} x {b.accumulation} x {b.micro}" for b in batches
    )
    return f"batch {', '.join(dict.fromkeys(parts))}"


def sample_settings(recipe: Recipe, stage: Stage) -> SampleSettings:
    """How the samples of a stage are made."""
    return SampleSettings(
        stage.input_size, stage.heatmap_sigma, recipe.data.min_visible, recipe.rgb_reconstruction, recipe.seed,
        recipe.data.visible, tuple(FILTERS[name] for name in recipe.augmentation.styles),
    )  # fmt: skip


def load_batches(recipe: Recipe, parts: Parts, plan: StagePlan, first: int) -> Batches:
    """The micro-batches of this process from step `first` of a stage; the caller closes them."""
    settings = sample_settings(recipe, plan.stage)
    samples = PeopleSamples([each.people for each in parts.data_sets], recipe.augmentation, settings)
    return load_samples(samples, recipe.hardware.workers, parts, plan, first)


def load_samples(samples: Any, workers: int, parts: RunParts, plan: StagePlan, first: int) -> Batches:
    """As `load_batches`, of any samples by (epoch, index)."""
    from torch.utils.data import DataLoader

    steps, process = range(first, plan.steps), parts.accelerator.process_index
    loader = DataLoader(
        samples,
        batch_sampler=micro_batches(parts.order, plan.first_sample, steps, plan.batch, process),  # type: ignore[arg-type]
        num_workers=workers, prefetch_factor=PREFETCHED if workers else None, worker_init_fn=quiet_worker,
        collate_fn=collate,
        pin_memory=parts.accelerator.device.type == "cuda",
    )  # fmt: skip
    return Batches(loader)


def learning_rate(recipe: OptimizerRecipe, plan: StagePlan, step: int) -> float:
    """Learning rate at a step of a stage (from 0): linear warm-up, then constant or a half cosine to 0."""
    steps = recipe.warmup_steps or math.ceil(recipe.warmup_share * plan.steps)
    warm = min(1.0, (step + 1) / steps) if steps else 1.0
    if plan.stage.schedule == "constant":
        return plan.stage.learning_rate * warm
    return plan.stage.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / plan.steps))


def make_average(accelerator: Accelerator, model: torch.nn.Module, recipe: OptimizerRecipe) -> WeightAverage | None:
    """The moving average of the trained weights, saved with the states; None without `ema_decay`."""
    if not recipe.ema_decay:
        return None
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise InputError("optimizer.ema_decay does not work with FSDP or DeepSpeed: set it to 0, or use DDP")
    average = WeightAverage([p for p in model.parameters() if p.requires_grad], recipe.ema_decay)
    accelerator.register_for_checkpointing(average)
    return average
