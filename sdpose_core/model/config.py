"""The configuration of an SDPose model: sizes of U-Net and VAE, keypoints, feature levels. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import InputError, did_you_mean
from ..skeletons import KEYPOINT_SETS

FEATURE_LEVELS = ("F1", "F2", "F3", "F4")
"""F1 is the last up-block (finest), F4 the first (paper, section 4: decoder features)."""

UP_BLOCK_OF_LEVEL = {"F1": 3, "F2": 2, "F3": 1, "F4": 0}

STRIDE_OF_LEVEL = {"F1": 1, "F2": 1, "F3": 2, "F4": 4}
"""Latent pixels per feature pixel, after the up-block's upsampler."""


def _known(cls: type, values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """`values` as tuples; an unknown key raises `InputError` with the nearest known one."""
    names = [f.name for f in fields(cls)]
    for key in values:
        if key not in names:
            hint = did_you_mean(key, names) or f"known are {', '.join(names)}"
            raise InputError(f"unknown {what} key {key!r}: {hint}")
    return {k: _tuples(v) for k, v in values.items()}


def _tuples(value: Any) -> Any:
    """Nested lists, as in JSON and TOML, to tuples."""
    return tuple(_tuples(v) for v in value) if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of the Stable Diffusion 2 U-Net (names as in diffusers' UNet2DConditionModel)."""

    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    attention_head_dim: tuple[int, ...] = (5, 10, 20, 20)
    cross_attention_dim: int = 1024
    norm_num_groups: int = 32
    in_channels: int = 4
    out_channels: int = 4
    use_linear_projection: bool = True
    down_block_types: tuple[str, ...] = (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D")
    up_block_types: tuple[str, ...] = ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3)

    def __post_init__(self) -> None:
        per_level = (self.block_out_channels, self.attention_head_dim, self.down_block_types, self.up_block_types)
        if any(len(values) != 4 for values in per_level):
            raise InputError("U-Net: expected four levels in block_out_channels, attention_head_dim and block types")


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of the Stable Diffusion VAE encoder (names as in diffusers' AutoencoderKL)."""

    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    latent_channels: int = 4
    norm_num_groups: int = 32
    scaling_factor: float = 0.18215

    def __post_init__(self) -> None:
        if len(self.block_out_channels) != 4:
            raise InputError(f"VAE: expected four levels (a factor of 8), got {self.block_out_channels}")


@dataclass(frozen=True)
class SDPoseConfig:
    """One SDPose model.

    Attributes:
        keypoint_set: name in `skeletons.KEYPOINT_SETS`, or a custom name.
        num_keypoints: K.
        feature_levels: one level, or several that are fused.
        input_size: (w, h) of the crop in pixels, multiples of 64; the heatmap is a quarter of it.
        heatmap_sigma: of the training target, in heatmap pixels.
        timestep: fixed (the paper's t = 1000 of 1..1000 is 999 of 0..999).
        flip_pairs: (left, right) channels that swap in a mirrored picture. None: those of the known keypoint set. A
            custom set needs its own (or () for none) for a flip test.
    """

    keypoint_set: str = "coco_17"
    num_keypoints: int = 17
    feature_levels: tuple[str, ...] = ("F1",)
    input_size: tuple[int, int] = (768, 1024)
    heatmap_sigma: float = 6.0
    timestep: int = 999
    flip_pairs: tuple[tuple[int, int], ...] | None = None
    unet: UNetConfig = field(default_factory=UNetConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)

    def __post_init__(self) -> None:
        known = KEYPOINT_SETS.get(self.keypoint_set)
        if known is not None and len(known) != self.num_keypoints:
            raise InputError(f"{self.keypoint_set!r} has {len(known)} keypoints, the model has {self.num_keypoints}")
        wrong = [level for level in self.feature_levels if level not in FEATURE_LEVELS]
        if wrong or not self.feature_levels or len(set(self.feature_levels)) != len(self.feature_levels):
            raise InputError(f"feature levels: expected some of F1, F2, F3, F4, each once, got {self.feature_levels}")
        if len(self.input_size) != 2 or any(int(v) < 64 or int(v) % 64 for v in self.input_size):
            raise InputError(f"input size: expected (width, height) as multiples of 64, got {self.input_size}")
        flipped = [i for pair in self.flip_pairs or () for i in pair]
        if len(set(flipped)) != len(flipped) or any(not 0 <= i < self.num_keypoints for i in flipped):
            raise InputError(f"flip pairs: expected each of 0..{self.num_keypoints - 1} at most once, got {flipped}")

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """(w, h) in heatmap pixels."""
        return self.input_size[0] // 4, self.input_size[1] // 4

    @property
    def latent_size(self) -> tuple[int, int]:
        """(w, h) in latent pixels."""
        return self.input_size[0] // 8, self.input_size[1] // 8

    @property
    def finest_level(self) -> str:
        """The level that sets width and size of the (fused) feature."""
        return min(self.feature_levels, key=FEATURE_LEVELS.index)

    @property
    def feature_widths(self) -> dict[str, int]:
        """Channels of each configured level."""
        widths = self.unet.block_out_channels[::-1]
        return {level: widths[UP_BLOCK_OF_LEVEL[level]] for level in self.feature_levels}

    @property
    def flip_indices(self) -> tuple[int, ...]:
        """For each of the K channels of a mirrored result, its channel in the original. Raises `InputError`."""
        pairs = self.flip_pairs
        if pairs is None and self.keypoint_set in KEYPOINT_SETS:
            pairs = KEYPOINT_SETS[self.keypoint_set].flip_pairs
        if pairs is None:
            raise InputError(
                f"keypoint set {self.keypoint_set!r} has no flip pairs, which the flip test needs: set flip_pairs in "
                "the model's configuration, or turn off the flip test"
            )
        partner = {a: b for left, right in pairs for a, b in ((left, right), (right, left))}
        return tuple(partner.get(i, i) for i in range(self.num_keypoints))

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values for JSON or TOML; without the flip pairs if they are None."""
        values = asdict(self)
        if self.flip_pairs is None:
            del values["flip_pairs"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SDPoseConfig:
        """The inverse of `to_dict`. Raises `InputError` for an unknown key."""
        known = _known(cls, values, "model configuration")
        if isinstance(known.get("unet"), Mapping):
            known["unet"] = UNetConfig(**_known(UNetConfig, known["unet"], "U-Net configuration"))
        if isinstance(known.get("vae"), Mapping):
            known["vae"] = VAEConfig(**_known(VAEConfig, known["vae"], "VAE configuration"))
        return cls(**known)


BODY = SDPoseConfig()
"""SDPose-Body as released: 17 points from F1."""

WHOLEBODY = SDPoseConfig(keypoint_set="coco_wholebody_133", num_keypoints=133, feature_levels=("F2",))
"""SDPose-WholeBody as released: 133 points from F2."""
