"""A recipe: everything that decides what a training run does, as one frozen tree of dataclasses.

A recipe is a TOML file (`recipes/*.toml`) plus `--key value` from the command line; see `recipe_values.py` for how they
are read. Values that the paper (arXiv 2509.24980) gives are the defaults; values that it leaves open are our choice and
marked so. "every" counts optimizer steps throughout; 0 is never.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sdpose_core.errors import InputError
from sdpose_core.model.config import UNetConfig, VAEConfig
from sdpose_training.recipe.checks import check_recipe
from sdpose_training.recipe.values import build, read_toml, with_overrides

SCRATCH = "scratch"


@dataclass(frozen=True)
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
    timestep: int = 999
    train_vae: bool = False
    unet: UNetConfig = field(default_factory=UNetConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)


@dataclass(frozen=True)
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
    min_visible: int = 3
    max_bad: int = 100


@dataclass(frozen=True)
class AugmentationRecipe:
    """Chances (0..1) and ranges, in the order of the released pipeline; see `augmentation.py` and `photometric.py`."""

    flip: float = 0.5
    half_body: float = 0.3
    half_body_min_points: int = 9
    half_body_min_upper: int = 2
    half_body_min_lower: int = 3
    half_body_upper: float = 0.7
    half_body_padding: float = 1.5
    shift: float = 0.3
    shift_range: float = 0.16
    scale: float = 1.0
    scale_range: tuple[float, float] = (0.5, 1.5)
    rotation: float = 0.6
    rotation_range_deg: float = 80.0
    photometric: bool = True
    as_released: bool = True
    blur: float = 0.1
    median_blur: float = 0.1
    dropout: float = 1.0
    dropout_range: tuple[float, float] = (0.2, 0.4)


@dataclass(frozen=True)
class LossRecipe:
    """Weights of the paper's two terms."""

    heatmap: float = 1.0
    rgb: float = 1.0


@dataclass(frozen=True)
class OptimizerRecipe:
    """AdamW. The paper states the learning rate only (a stage's); the rest is our choice.

    Attributes:
        warmup_steps: of each stage, with a learning rate that rises in a straight line.
        max_grad_norm: longer gradients are cut to it; 0 never.
        ema_decay: of an average of the weights, which is then what is validated and saved; 0 for none.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    warmup_steps: int = 0
    max_grad_norm: float = 1.0
    ema_decay: float = 0.0


@dataclass(frozen=True)
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

    input_size: tuple[int, int] = (768, 1024)
    heatmap_sigma: float = 6.0
    epochs: float = 0.0
    samples: int = 0
    learning_rate: float = 3e-5
    schedule: str = "constant"
    total_batch: int = 128

    def __post_init__(self) -> None:
        if self.epochs <= 0 and self.samples <= 0:
            raise InputError("a stage needs epochs or samples, to say how long it is")
        if self.schedule not in ("constant", "cosine"):
            raise InputError(f"a stage's schedule: expected 'constant' or 'cosine', got {self.schedule!r}")
        if self.total_batch < 1:
            raise InputError(f"a stage's total_batch must be at least 1, got {self.total_batch}")


@dataclass(frozen=True)
class HardwareRecipe:
    """How it is computed; no value here changes what is learnt, but for rounding.

    Attributes:
        batch_per_device: the largest micro-batch; the total batch is kept by accumulating gradients.
        mixed_precision: "no" or "bf16"; the trained weights are float32 in either case.
        vae_dtype: of the frozen VAE on a GPU ("bf16", "fp16", "fp32"); on a CPU it is float32.
        workers: processes that load data, per process; 0 loads in the training process.
        threads: of PyTorch on the CPU; 0 leaves its choice.
    """

    batch_per_device: int = 16
    mixed_precision: str = "bf16"
    gradient_checkpointing: bool = True
    vae_dtype: str = "bf16"
    channels_last: bool = False
    compile: bool = False
    workers: int = 8
    threads: int = 0

    def __post_init__(self) -> None:
        if self.mixed_precision not in ("no", "bf16"):
            raise InputError(f"hardware.mixed_precision: expected 'no' or 'bf16', got {self.mixed_precision!r}")


@dataclass(frozen=True)
class LogRecipe:
    """What is written while it runs, besides log.jsonl."""

    every: int = 10
    pictures_every: int = 1000
    tensorboard: bool = True
    wandb: bool = False


@dataclass(frozen=True)
class ValidationRecipe:
    """AP on ground-truth boxes during the run, and always at its end unless `people` is 0.

    Attributes:
        people: the first so many of the validation people (-1 all, 0 no validation).
    """

    every: int = 0
    people: int = -1
    batch: int = 16
    flip_test: bool = True


@dataclass(frozen=True)
class CheckpointRecipe:
    """What a run can go on from, and the weights it leaves.

    Attributes:
        every: steps between checkpoints; one is always written at the end.
        keep: newest states that are kept (weights are all kept); at least 1.
        weights_dtype: "fp16", "bf16" or "fp32", of RUN/weights.
    """

    every: int = 1000
    keep: int = 2
    weights_dtype: str = "fp16"

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise InputError(f"checkpoints.keep: expected at least 1, got {self.keep}")


@dataclass(frozen=True)
class Recipe:
    """One run. `rgb_reconstruction` trains the second task (paper, section 4.3); off is the paper's ablation."""

    name: str = "unnamed"
    seed: int = 0
    rgb_reconstruction: bool = True
    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    augmentation: AugmentationRecipe = field(default_factory=AugmentationRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    stages: tuple[Stage, ...] = (Stage(epochs=40),)
    hardware: HardwareRecipe = field(default_factory=HardwareRecipe)
    log: LogRecipe = field(default_factory=LogRecipe)
    validation: ValidationRecipe = field(default_factory=ValidationRecipe)
    checkpoints: CheckpointRecipe = field(default_factory=CheckpointRecipe)

    def __post_init__(self) -> None:
        if not self.stages:
            raise InputError("a recipe needs at least one of [[stages]]")
        check_recipe(self)


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
