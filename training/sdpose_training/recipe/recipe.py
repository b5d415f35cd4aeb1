"""A recipe: everything that decides what a training run does, as one frozen tree.

A recipe is a TOML file (`recipes/*.toml`) plus `--key value` from the command line; see `values.py` for how they are
read. Values that the paper (arXiv 2509.24980) gives are the defaults; values that it leaves open are our choice and
marked so. "every" counts optimizer steps throughout; 0 is never.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from sdpose_core.model.config import UNetConfig, VAEConfig
from sdpose_training.recipe.toml_files import read_toml
from sdpose_training.recipe.values import build, with_overrides

SCRATCH = "scratch"

_CHECKED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

DtypeName = Literal["fp32", "bf16", "fp16"]
Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=64, multiple_of=64)]
Beta = Annotated[float, Field(ge=0, lt=1)]


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("expected two numbers, the smaller one first")
    return pair


def _some(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    if not stages:
        raise ValueError("expected at least one of [[stages]]")
    return stages


Rising = AfterValidator(_rising)


@dataclass(frozen=True, config=_CHECKED)
class ModelRecipe:
    """What is trained, and from which weights.

    Attributes:
        base: "sd2-base" (`sdpose download sd2-base`), a folder with unet/ and vae/, an SDPose checkpoint (file, folder
            or known name), or "scratch" for random weights of the sizes below.
        feature_levels: one level, or several that are fused (F1 the last up-block).
        random_unet: do not take the base's U-Net, only its VAE: the paper's "without diffusion prior".
        timestep: fixed.
        train_vae: train the VAE's encoder along: only where there is no pretrained one (the paper freezes it).
        unet, vae: sizes, for "scratch"; else those of the base.
    """

    base: str = "sd2-base"
    random_unet: bool = False
    feature_levels: tuple[str, ...] = ("F1",)
    timestep: int = Field(999, ge=0, lt=1000)
    train_vae: bool = False
    unet: UNetConfig = field(default_factory=UNetConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)


@dataclass(frozen=True, config=_CHECKED)
class DataRecipe:
    """Where the people are: COCO format; paths are below `root` unless absolute.

    Attributes:
        keypoint_set: "coco_17", "coco_wholebody_133", a TOML file with a set of one's own, or "annotations": the names
            of the annotation file's category.
        min_visible: samples with fewer points in the crop are drawn again (released pipeline: 3, whole body 8).
        max_bad: damaged pictures and annotations after which the run stops.
    """

    root: str = ""
    train_annotations: str = "annotations/person_keypoints_train2017.json"
    train_images: str = "train2017"
    val_annotations: str = "annotations/person_keypoints_val2017.json"
    val_images: str = "val2017"
    keypoint_set: str = "coco_17"
    min_visible: Count = 3
    max_bad: Count = 100


@dataclass(frozen=True, config=_CHECKED)
class AugmentationRecipe:
    """Chances (0..1) and ranges, in the order of the released pipeline; see `augmentation.py` and `photometric.py`."""

    flip: Probability = 0.5
    half_body: Probability = 0.3
    half_body_min_points: int = 9
    half_body_min_upper: int = 2
    half_body_min_lower: int = 3
    half_body_upper: float = 0.7
    half_body_padding: float = 1.5
    shift: Probability = 0.3
    shift_range: float = 0.16
    scale: Probability = 1.0
    scale_range: Annotated[tuple[Positive, Positive], Rising] = (0.5, 1.5)
    rotation: Probability = 0.6
    rotation_range_deg: float = 80.0
    photometric: bool = True
    as_released: bool = True
    blur: Probability = 0.1
    median_blur: Probability = 0.1
    dropout: Probability = 1.0
    dropout_range: Annotated[tuple[Probability, Probability], Rising] = (0.2, 0.4)


@dataclass(frozen=True, config=_CHECKED)
class LossRecipe:
    """Weights of the paper's two terms."""

    heatmap: float = Field(1.0, ge=0)
    rgb: float = Field(1.0, ge=0)


@dataclass(frozen=True, config=_CHECKED)
class OptimizerRecipe:
    """AdamW. The paper states the learning rate only (a stage's); the rest is our choice.

    Attributes:
        warmup_steps: of each stage, with a learning rate that rises in a straight line.
        max_grad_norm: longer gradients are cut to it; 0 never.
        ema_decay: of an average of the weights, which is then what is validated and saved; 0 for none.
    """

    betas: tuple[Beta, Beta] = (0.9, 0.999)
    weight_decay: float = Field(0.01, ge=0)
    warmup_steps: Count = 0
    max_grad_norm: float = Field(1.0, ge=0)
    ema_decay: float = Field(0.0, ge=0, lt=1)


@dataclass(frozen=True, config=_CHECKED)
class Stage:
    """A part of the run at one input size; several make progressive resizing.

    Attributes:
        input_size: (w, h), multiples of 64.
        heatmap_sigma: of the target, in heatmap pixels.
        epochs: passes over the data, unless `samples` says how long.
        samples: how many samples are seen; 0 leaves it to `epochs`.
        schedule: of the learning rate: "constant", or "cosine" down to 0 at the end of the stage (our choice).
        total_batch: samples per optimizer step, over all processes and accumulated micro-batches.
    """

    input_size: tuple[Side, Side] = (768, 1024)
    heatmap_sigma: Positive = 6.0
    epochs: float = 0.0
    samples: int = 0
    learning_rate: Positive = 3e-5
    schedule: Literal["constant", "cosine"] = "constant"
    total_batch: Size = 128

    @model_validator(mode="after")
    def _has_a_length(self) -> Stage:
        if self.epochs <= 0 and self.samples <= 0:
            raise ValueError("expected epochs or samples, to say how long the stage is")
        return self


@dataclass(frozen=True, config=_CHECKED)
class HardwareRecipe:
    """How it is computed; no value here changes what is learnt, but for rounding.

    Attributes:
        batch_per_device: the largest micro-batch; the total batch is kept by accumulating gradients.
        mixed_precision: "no" or "bf16"; the trained weights are float32 in either case.
        vae_dtype: of the frozen VAE on a GPU ("bf16", "fp16", "fp32"); on a CPU it is float32.
        workers: processes that load data, per process; 0 loads in the training process.
        threads: of PyTorch on the CPU; 0 leaves its choice.
    """

    batch_per_device: Size = 16
    mixed_precision: Literal["no", "bf16"] = "bf16"
    gradient_checkpointing: bool = True
    vae_dtype: DtypeName = "bf16"
    channels_last: bool = False
    compile: bool = False
    workers: Count = 8
    threads: Count = 0


@dataclass(frozen=True, config=_CHECKED)
class LogRecipe:
    """What is written while it runs, besides log.jsonl."""

    every: Size = 10
    pictures_every: int = 1000
    tensorboard: bool = True
    wandb: bool = False


@dataclass(frozen=True, config=_CHECKED)
class ValidationRecipe:
    """AP on ground-truth boxes during the run, and always at its end unless `people` is 0.

    Attributes:
        people: the first so many of the validation people (-1 all, 0 no validation).
    """

    every: int = 0
    people: int = -1
    batch: Size = 16
    flip_test: bool = True


@dataclass(frozen=True, config=_CHECKED)
class CheckpointRecipe:
    """What a run can go on from, and the weights it leaves.

    Attributes:
        every: steps between checkpoints; one is always written at the end.
        keep: newest states that are kept (weights are all kept); at least 1.
        weights_dtype: "fp16", "bf16" or "fp32", of RUN/weights.
    """

    every: Count = 1000
    keep: Size = 2
    weights_dtype: DtypeName = "fp16"


@dataclass(frozen=True, config=_CHECKED)
class Recipe:
    """One run. `rgb_reconstruction` trains the second task (paper, section 4.3); off is the paper's ablation."""

    name: str = "unnamed"
    seed: int = Field(0, ge=0, lt=1 << 63)
    rgb_reconstruction: bool = True
    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    augmentation: AugmentationRecipe = field(default_factory=AugmentationRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    stages: Annotated[tuple[Stage, ...], AfterValidator(_some)] = (Stage(epochs=40),)
    hardware: HardwareRecipe = field(default_factory=HardwareRecipe)
    log: LogRecipe = field(default_factory=LogRecipe)
    validation: ValidationRecipe = field(default_factory=ValidationRecipe)
    checkpoints: CheckpointRecipe = field(default_factory=CheckpointRecipe)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and the command line's changes to it.

    Args:
        path: a TOML file.
        overrides: "--key", "value", ... or "--key=value"; keys as in the file ("data.root", "stages.0.samples"), with
            - or _ alike.

    Raises `InputError`: no such file, no TOML, an unknown key (with the nearest known one), a value of another kind.
    """
    return recipe_from(with_overrides(read_toml(path), overrides, Recipe))


def recipe_from(values: Mapping) -> Recipe:
    """A recipe from nested plain values; raises as `load_recipe`."""
    return build(Recipe, values)
