"""A recipe: all settings of a training run, from a TOML file (`recipes/*.toml`) and `--key value` arguments.

The defaults are the paper's (arXiv 2509.24980); where the paper says nothing, they are our choice and marked so.
"every" counts optimizer steps; 0 is never.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from sdpose_core.errors import restated
from sdpose_core.model.config import FEATURES, UNetConfig, VAEConfig
from sdpose_training.recipe.toml_files import read_toml
from sdpose_training.recipe.values import build, with_overrides

SCRATCH = "scratch"

FROM_ANNOTATIONS = "annotations"
"""Keypoint set: as the category of the annotation file names it."""

SMALLEST_SHARE = 1e-4
"""Of a data set, and the step to which shares are rounded."""

CHECKED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

DtypeName = Literal["fp32", "bf16", "fp16"]
StyleName = Literal["oil", "sketch", "posterise", "edge"]
Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
BatchSize = Annotated[int, Field(ge=1, le=1 << 16)]
Side = Annotated[int, Field(ge=64, multiple_of=64)]
Beta = Annotated[float, Field(ge=0, lt=1)]


def _check_range(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("expected two numbers, the smaller one first")
    return pair


def _check_stages(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    if not stages:
        raise ValueError("expected at least one of [[stages]]")
    return stages


Range = AfterValidator(_check_range)


@dataclass(frozen=True, config=CHECKED)
class ModelRecipe:
    """The model and its starting weights.

    Attributes:
        base: "sd2-base" (`sdpose download sd2-base`), a folder with unet/ and vae/, an SDPose checkpoint (file, folder
            or known name), or "scratch" for random weights of the sizes below.
        feature_levels: one level, or several to fuse (F1 is the last up-block).
        aggregation: of several levels: "sum" of 1 x 1 convolutions, or "gated" by a score per level and pixel.
        reconstruction: what the RGB task reads the clean latent from: "rgb_pass", one of its own through the U-Net, or
            "pose_pass", the feature of the heatmaps (a guess at the paper's third version: docs/fidelity.md).
        read_out: "features" (SDPose), or "cross_attention": the U-Net's attention, at these levels, to learned
            embeddings of the keypoints (GenLoc's way, see docs/fidelity.md), without the RGB task.
        train_unet: with "cross_attention", also train the U-Net, which is frozen otherwise.
        random_unet: take only the VAE of the base, not its U-Net: the paper's "without diffusion prior".
        train_vae: also train the VAE's encoder, if there is no pretrained one (the paper freezes it).
        head_init: random weights of a new head. "last": std .001 in the last layer, PyTorch's defaults in the others.
            "all": std .001 in every layer. "pytorch": PyTorch's defaults in every layer. Reasons: docs/fidelity.md.
        latents: of the frozen VAE in training: its "mode" (our choice), or a "sample" of its distribution, as in the
            released evaluation; its noise follows from the seed. Validation and inference take the mode.
        freeze: parts of the model that are not trained, by module name: "unet.down_blocks", "head".
        unet, vae: sizes for "scratch" and for the tiny prior; other bases have their sizes.
    """

    base: str = "sd2-base"
    random_unet: bool = False
    feature_levels: tuple[str, ...] = ("F1",)
    aggregation: Literal["sum", "gated"] = "sum"
    reconstruction: Literal["rgb_pass", "pose_pass"] = "rgb_pass"
    read_out: Literal["features", "cross_attention"] = FEATURES
    train_unet: bool = False
    timestep: int = Field(999, ge=0, lt=1000)
    train_vae: bool = False
    head_init: Literal["last", "all", "pytorch"] = "last"
    latents: Literal["mode", "sample"] = "mode"
    freeze: tuple[str, ...] = ()
    unet: UNetConfig = field(default_factory=UNetConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)

    @model_validator(mode="after")
    def _samples_only_a_frozen_vae(self) -> ModelRecipe:
        if self.train_vae and self.latents == "sample":
            raise ValueError('latents = "sample" needs a frozen VAE: turn train_vae off, or use "mode"')
        return self

    @model_validator(mode="after")
    def _unet_is_trained_by_default(self) -> ModelRecipe:
        if self.train_unet and self.read_out == FEATURES:
            raise ValueError('train_unet is for read_out = "cross_attention"; with "features", the U-Net is trained')
        return self


@dataclass(frozen=True, config=CHECKED)
class LoraRecipe:
    """LoRA: a low-rank change of the U-Net's attention is trained instead of the U-Net (our choice; not in the paper).

    Head and class embedding are trained in full. The usual learning rate is some ten times that of a full training.

    Attributes:
        rank: of the matrices; 0: no LoRA.
        alpha: the change is multiplied by alpha / rank.
        targets: last parts of the names of the linear layers.
    """

    rank: Count = 0
    alpha: Positive = 16.0
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")

    @model_validator(mode="after")
    def _has_targets(self) -> LoraRecipe:
        if self.rank and not self.targets:
            raise ValueError("targets: expected names of layers such as to_q, found none")
        return self


@dataclass(frozen=True, config=CHECKED)
class MoreData:
    """One more data set, with the keys of `DataRecipe`: `[[data.more]]`.

    Attributes:
        name: of its validation figures (AP/NAME) and in messages.
        share: of the samples; the main data set has what the others leave.
        val_annotations: "" for no validation on this data set.
        keypoint_set: as in `DataRecipe`; its points are mapped by name to those of the main data set.
    """

    name: str = ""
    share: float = 0.0
    root: str = ""
    train_annotations: str = "annotations/train.json"
    train_images: str = "images"
    val_annotations: str = ""
    val_images: str = "images"
    keypoint_set: str = FROM_ANNOTATIONS

    @model_validator(mode="after")
    def _has_name_and_share(self) -> MoreData:
        if not re.fullmatch("[A-Za-z0-9_.-]+", self.name):
            raise ValueError(f"expected a name of letters, digits, _, - and ., found {self.name!r:.60}")
        if not SMALLEST_SHARE <= self.share < 1:
            raise ValueError(f"expected a share from {SMALLEST_SHARE} to less than 1, found {self.share:g}")
        return self


@dataclass(frozen=True, config=CHECKED)
class DataRecipe:
    """Data in COCO format; paths are relative to `root` unless absolute.

    Attributes:
        keypoint_set: "coco_17", "coco_wholebody_133", a TOML file with a custom set, or "annotations" for the names in
            the annotation file's category.
        min_visible: a sample with fewer points in the crop is replaced (released pipeline: 3, whole body 8).
        visible: which points count for it: "touching", those whose Gaussian touches the crop (as released), or
            "inside", those in the crop.
        need_body: leave out people without a labeled body point, as the released pipeline does in whole-body data; only
            in the training annotations of this data set.
        max_bad: the run stops if more pictures and annotations than this are damaged.
        more: further data sets, with their shares of the samples.
    """

    root: str = ""
    train_annotations: str = "annotations/person_keypoints_train2017.json"
    train_images: str = "train2017"
    val_annotations: str = "annotations/person_keypoints_val2017.json"
    val_images: str = "val2017"
    keypoint_set: str = "coco_17"
    min_visible: Count = 3
    visible: Literal["touching", "inside"] = "touching"
    need_body: bool = False
    max_bad: Count = 100
    more: tuple[MoreData, ...] = ()

    @model_validator(mode="after")
    def _can_be_mixed(self) -> DataRecipe:
        names, total = [each.name for each in self.more], sum(each.share for each in self.more)
        if len(set(names)) < len(names):
            raise ValueError(f"expected different names in [[data.more]], found {', '.join(names)}")
        if total > 1 - SMALLEST_SHARE:
            found = f"the shares of [[data.more]] add up to {total:g}"
            raise ValueError(f"{found}: expected less than 1, as the main data set has the rest")
        return self


@dataclass(frozen=True, config=CHECKED)
class CropAugmentation:
    """Probabilities and ranges of what needs no keypoints, see `augmentation.py` and `photometric.py`.

    Attributes:
        styles: filters of `styles/filters.py`, one of which repaints a crop with the probability `style_share`. The
            released pipeline has none.
        as_released: keep the bugs of the released photometric step, see `photometric.distort`.
        blur_kind: "box", as released, or "gaussian".
    """

    flip: Probability = 0.5
    shift: Probability = 0.3
    shift_range: float = 0.16
    scale: Probability = 1.0
    scale_range: Annotated[tuple[Positive, Positive], Range] = (0.5, 1.5)
    rotation: Probability = 0.6
    rotation_range_deg: float = 80.0
    styles: tuple[StyleName, ...] = ()
    style_share: Probability = 0.3
    photometric: bool = True
    as_released: bool = True
    blur: Probability = 0.1
    blur_kind: Literal["box", "gaussian"] = "box"
    median_blur: Probability = 0.1
    dropout: Probability = 1.0
    dropout_range: Annotated[tuple[Probability, Probability], Range] = (0.2, 0.4)


@dataclass(frozen=True, config=CHECKED)
class AugmentationRecipe(CropAugmentation):
    """All of the released pipeline, in its order: flip, half body, shift, scale, rotation, and the pixels."""

    half_body: Probability = 0.3
    half_body_min_points: int = 9
    half_body_min_upper: int = 2
    half_body_min_lower: int = 3
    half_body_upper: float = 0.7
    half_body_padding: float = 1.5


@dataclass(frozen=True, config=CHECKED)
class LossRecipe:
    """Weights of the paper's two loss terms.

    Attributes:
        reduction: "mean": each term is a mean over its own values. "sum": the ratio of the paper's squared norms, see
            `losses.term_weights`. Which one trained the released weights is unpublished; "mean" is our choice.
    """

    heatmap: float = Field(1.0, ge=0)
    rgb: float = Field(1.0, ge=0)
    reduction: Literal["mean", "sum"] = "mean"


@dataclass(frozen=True, config=CHECKED)
class OptimizerRecipe:
    """AdamW, or an optimizer that takes less memory. The paper states only the learning rate (see `Stage`).

    Attributes:
        kind: "adamw" (8 bytes per trained weight), "adamw_8bit" (2 bytes; bitsandbytes), or "adafactor" (about 2 bytes;
            its learning rate is relative to the size of the weights: 1e-3 instead of 3e-5).
        betas: not of Adafactor.
        warmup_steps: linear warm-up at the start of each stage.
        warmup_share: its length as a share of the stage's steps, if `warmup_steps` is 0.
        new_learning_rate_factor: learning rate of parameters that the base lacks, such as the head's last layer for
            other keypoints, as a multiple of the stage's.
        max_grad_norm: gradients are clipped to this norm; 0 never.
        ema_decay: decay of a moving average of the weights, which is then validated and saved; 0 for none.
    """

    kind: Literal["adamw", "adamw_8bit", "adafactor"] = "adamw"
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    weight_decay: float = Field(0.01, ge=0)
    warmup_steps: Count = 0
    warmup_share: Probability = 0.0
    new_learning_rate_factor: Positive = 1.0
    max_grad_norm: float = Field(1.0, ge=0)
    ema_decay: float = Field(0.0, ge=0, lt=1)


@dataclass(frozen=True, config=CHECKED)
class AnyStage:
    """A part of a run with one input size.

    Attributes:
        input_size: (w, h), multiples of 64.
        epochs, samples: length of the stage; `samples` wins unless 0.
        schedule: of the learning rate: "constant", or "cosine" down to 0 at the end of the stage (our choice).
        total_batch: samples per optimizer step, over all processes and accumulated micro-batches.
    """

    input_size: tuple[Side, Side] = (768, 1024)
    epochs: float = Field(0.0, ge=0, le=1e6)
    samples: int = Field(0, ge=0, le=10**12)
    learning_rate: Positive = 3e-5
    schedule: Literal["constant", "cosine"] = "constant"
    total_batch: BatchSize = 128

    @model_validator(mode="after")
    def _has_a_length(self) -> AnyStage:
        if not self.epochs and not self.samples:
            raise ValueError("expected epochs or samples for the length of the stage")
        return self


@dataclass(frozen=True, config=CHECKED)
class Stage(AnyStage):
    """A part of the training of SDPose; several stages make progressive resizing.

    Attributes:
        heatmap_sigma: of the target, in heatmap pixels.
    """

    heatmap_sigma: Positive = 6.0


@dataclass(frozen=True, config=CHECKED)
class HardwareRecipe:
    """Settings that change speed and memory, and results only by rounding.

    Attributes:
        batch_per_device: maximum micro-batch; gradients are accumulated up to the total batch.
        mixed_precision: "no", "bf16", or "fp16" for GPUs without bf16: the loss is scaled, and steps whose gradients
            overflow are skipped. The trained weights are float32 in all cases, except for `weights_dtype`.
        weights_dtype: "bf16" halves weights, gradients and averages of AdamW, which then rounds by chance; accuracy
            suffers. With LoRA, only the frozen weights are bf16. Needs mixed_precision "bf16".
        vae_dtype: of the frozen VAE on a GPU; on a CPU it is float32.
        compile: `torch.compile` the U-Net, once for each size of batch and picture.
        workers: data loading processes per training process; 0 loads in the training process.
        threads: CPU threads of PyTorch; 0 for PyTorch's default.
    """

    batch_per_device: BatchSize = 16
    mixed_precision: Literal["no", "bf16", "fp16"] = "bf16"
    weights_dtype: Literal["fp32", "bf16"] = "fp32"
    gradient_checkpointing: bool = True
    vae_dtype: DtypeName = "bf16"
    channels_last: bool = False
    compile: bool = False
    workers: Count = 8
    threads: Count = 0


@dataclass(frozen=True, config=CHECKED)
class LogRecipe:
    """What a run writes besides log.jsonl."""

    every: Size = 10
    pictures_every: Count = 1000
    tensorboard: bool = True
    wandb: bool = False


@dataclass(frozen=True, config=CHECKED)
class ValidationRecipe:
    """AP on ground-truth boxes, also at the end of the run.

    Attributes:
        every: steps between validations.
        every_epochs: epochs between validations, in addition to those by steps.
        patience: the run ends after so many validations in a row without a new best AP, once it is above 0; 0 never.
        people: only the first; -1 all, 0 no validation.
    """

    every: Count = 0
    every_epochs: float = Field(0.0, ge=0)
    patience: Count = 0
    people: int = Field(-1, ge=-1)
    batch: BatchSize = 16
    flip_test: bool = True

    @model_validator(mode="after")
    def _patience_has_validations(self) -> ValidationRecipe:
        if self.patience and self.people and not self.every and not self.every_epochs:
            raise ValueError(
                "patience counts validations, but there are none before the end: set every_epochs or every"
            )
        return self


@dataclass(frozen=True, config=CHECKED)
class CheckpointRecipe:
    """States to resume from, and weights.

    Attributes:
        every: steps between checkpoints; the last step always has one.
        keep: number of newest states to keep.
        weights: number of newest weights to keep, besides the best by AP.
        weights_every: also keep the weights of every multiple of so many steps; 1 keeps all.
        weights_dtype: of RUN/weights.
    """

    every: Count = 1000
    keep: Size = 2
    weights: Size = 1
    weights_every: Count = 0
    weights_dtype: DtypeName = "fp16"


def _check_repo(name: str) -> str:
    if name and not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name, re.ASCII):
        raise ValueError("expected a name such as user/my-pose")
    return name


@dataclass(frozen=True, config=CHECKED)
class HubRecipe:
    """Upload of the weights and the model card to the Hugging Face hub; needs a login (`hf auth login`).

    Attributes:
        repo: "user/name"; "" uploads nothing.
        private: whether a repository that is made for it is private.
        each_checkpoint: also upload during the run, in the background; otherwise only at its end.
    """

    repo: Annotated[str, AfterValidator(_check_repo)] = ""
    private: bool = True
    each_checkpoint: bool = False


@dataclass(frozen=True, config=CHECKED)
class Recipe:
    """One run. `rgb_reconstruction` trains the second task (paper, section 4.3; off in its ablation)."""

    name: str = "unnamed"
    seed: int = Field(0, ge=0, lt=1 << 63)
    rgb_reconstruction: bool = True
    model: ModelRecipe = field(default_factory=ModelRecipe)
    lora: LoraRecipe = field(default_factory=LoraRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    augmentation: AugmentationRecipe = field(default_factory=AugmentationRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    stages: Annotated[tuple[Stage, ...], AfterValidator(_check_stages)] = (Stage(epochs=40),)
    hardware: HardwareRecipe = field(default_factory=HardwareRecipe)
    log: LogRecipe = field(default_factory=LogRecipe)
    validation: ValidationRecipe = field(default_factory=ValidationRecipe)
    checkpoints: CheckpointRecipe = field(default_factory=CheckpointRecipe)
    hub: HubRecipe = field(default_factory=HubRecipe)

    @model_validator(mode="after")
    def _goes_with_attention_maps(self) -> Recipe:
        if self.model.read_out == FEATURES:
            return self
        others = {
            "rgb_reconstruction": self.rgb_reconstruction, "lora.rank": self.lora.rank > 0,
            "hardware.compile": self.hardware.compile,
        }  # fmt: skip
        if wrong := [name for name, is_on in others.items() if is_on]:
            found = f'model.read_out "cross_attention" does not go with {", ".join(wrong)}'
            raise ValueError(f"{found}: turn it off (lora.rank: 0), or read features")
        return self


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a TOML file and apply overrides.

    Args:
        overrides: "--key", "value", ... or "--key=value"; keys as in the file ("data.root", "stages.0.samples"), with
            - or _.

    Raises `InputError`: a missing file, invalid TOML, an unknown key (names the nearest known one), or a wrong value.
    """
    values = with_overrides(read_toml(path), overrides, Recipe)
    with restated(path):
        return recipe_from(values)


def recipe_from(values: Mapping) -> Recipe:
    """A recipe from nested plain values; raises as `load_recipe`."""
    return build(Recipe, values)
