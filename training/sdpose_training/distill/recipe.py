"""The recipe of a small encoder: all settings of a run of distill_encoder.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from sdpose_core.errors import restated
from sdpose_core.model.encoder_config import SIZES, EncoderConfig
from sdpose_training.recipe.recipe import (
    CHECKED,
    AnyStage,
    CheckpointRecipe,
    Count,
    CropAugmentation,
    HardwareRecipe,
    LogRecipe,
    OptimizerRecipe,
    Size,
    ValidationRecipe,
)
from sdpose_training.recipe.toml_files import read_toml
from sdpose_training.recipe.values import build, with_overrides


@dataclass(frozen=True, config=CHECKED)
class StudentRecipe:
    """The encoder that is taught.

    Attributes:
        layout: "small" (ours) or "taesd".
        widths, blocks: see `EncoderConfig`; empty for the full size.
        start: a file with its first weights, which also gives widths and blocks; "" for random ones.
    """

    layout: Literal["small", "taesd"] = "small"
    widths: tuple[Size, ...] = ()
    blocks: tuple[Count, ...] = ()
    start: str = ""

    @model_validator(mode="after")
    def _fits_the_layout(self) -> StudentRecipe:
        for name, given, usual in zip(
            ("widths", "blocks"), (self.widths, self.blocks), SIZES[self.layout], strict=True
        ):
            if given and len(given) != len(usual):
                raise ValueError(f"{name}: the layout {self.layout!r} has {len(usual)}, found {len(given)}")
        return self

    def config(self, latent_channels: int) -> EncoderConfig:
        """Raises `InputError` for widths beyond all measure."""
        widths, blocks = SIZES[self.layout]
        return EncoderConfig(self.layout, self.widths or widths, self.blocks or blocks, latent_channels)


@dataclass(frozen=True, config=CHECKED)
class PicturesRecipe:
    """The pictures.

    Attributes:
        pictures: their folder, searched with its subfolders; with annotations, the folder that these name files in.
        annotations: a COCO file whose people give the crops; "" for random crops of the size of people.
        val_annotations: of the people to hold out, with annotations; "" to hold out a share of the pictures.
        held_out: this share.
        max_bad: the run stops if more pictures and annotations than this are damaged.
    """

    pictures: str = ""
    annotations: str = ""
    val_annotations: str = ""
    held_out: float = Field(0.05, gt=0, lt=1)
    max_bad: Count = 100

    @model_validator(mode="after")
    def _validation_needs_annotations(self) -> PicturesRecipe:
        if self.val_annotations and not self.annotations:
            raise ValueError("val_annotations without annotations: set annotations too")
        return self


@dataclass(frozen=True, config=CHECKED)
class TeachingStage(AnyStage):
    """A part of the run. Each term is a squared error in units of the variance of its target.

    Attributes:
        latents, features, heatmaps: weights of the terms. Without the last two, the U-Net does not run in training.
    """

    latents: float = Field(1.0, ge=0)
    features: float = Field(0.0, ge=0)
    heatmaps: float = Field(0.0, ge=0)

    @property
    def needs_unet(self) -> bool:
        return self.features > 0 or self.heatmaps > 0

    @model_validator(mode="after")
    def _has_a_term(self) -> TeachingStage:
        if not self.latents and not self.needs_unet:
            raise ValueError("expected a weight above 0 for latents, features or heatmaps")
        return self


def _check_stages(stages: tuple[TeachingStage, ...]) -> tuple[TeachingStage, ...]:
    if not stages:
        raise ValueError("expected at least one of [[stages]]")
    if len({stage.input_size for stage in stages}) > 1:
        raise ValueError("expected the same input_size in all stages")
    return stages


@dataclass(frozen=True, config=CHECKED)
class DistillRecipe:
    """One run. `weights`: the SDPose checkpoint (file, folder or known name) whose VAE is replaced.

    The optimizer, hardware, log, validation and checkpoints are those of train.py's recipes.
    """

    name: str = "encoder"
    seed: int = Field(0, ge=0, lt=1 << 63)
    weights: str = ""
    student: StudentRecipe = field(default_factory=StudentRecipe)
    data: PicturesRecipe = field(default_factory=PicturesRecipe)
    augmentation: CropAugmentation = field(default_factory=CropAugmentation)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    stages: Annotated[tuple[TeachingStage, ...], AfterValidator(_check_stages)] = (TeachingStage(epochs=1),)
    hardware: HardwareRecipe = field(default_factory=HardwareRecipe)
    log: LogRecipe = field(default_factory=LogRecipe)
    validation: ValidationRecipe = field(default_factory=ValidationRecipe)
    checkpoints: CheckpointRecipe = field(default_factory=CheckpointRecipe)

    @model_validator(mode="after")
    def _is_trained_in_float32(self) -> DistillRecipe:
        if self.hardware.weights_dtype != "fp32":
            raise ValueError('hardware.weights_dtype: the encoder is trained in "fp32"')
        return self

    @property
    def input_size(self) -> tuple[int, int]:
        """(w, h) of the crops."""
        return self.stages[0].input_size


def load_distill_recipe(path: str | Path, overrides: Sequence[str] = ()) -> DistillRecipe:
    """Read a recipe and apply overrides, as `load_recipe` does; raises as it."""
    values = with_overrides(read_toml(path), overrides, DistillRecipe)
    with restated(path):
        return build(DistillRecipe, values)
