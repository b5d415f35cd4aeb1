"""The configuration of an SDPose model: sizes of U-Net and VAE, keypoints, feature levels. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import InputError, counted
from ..pose_values import MAX_NAME
from ..skeletons import KEYPOINT_SETS, KeypointSet, custom_set, numbered
from .value_checks import MAX_CHANNELS, check_levels, check_number, check_whole, check_widths, known_values

FEATURE_LEVELS = ("F1", "F2", "F3", "F4")
"""F1 is the last up-block (finest), F4 the first (paper, section 4: decoder features)."""

UP_BLOCK_OF_LEVEL = {"F1": 3, "F2": 2, "F3": 1, "F4": 0}

FEATURES, CROSS_ATTENTION = "features", "cross_attention"
"""What heatmaps are read from: features of the U-Net (SDPose), or its attention to learned tokens (GenLoc)."""

SUM, GATED = "sum", "gated"
"""How several levels become one feature: see `head.HeatmapHead`, `aggregation.GatedAggregation`."""

RGB_PASS, POSE_PASS = "rgb_pass", "pose_pass"
"""The pass of the U-Net that the RGB task reconstructs the clean latent from: one of its own, with class label [0, 1]
(versions 1 and 2 of the paper); or that of the heatmaps, from the same feature, by two layers of the head."""

CHOICES = {
    "read_out": (FEATURES, CROSS_ATTENTION), "aggregation": (SUM, GATED), "reconstruction": (RGB_PASS, POSE_PASS),
}  # fmt: skip
USUAL = {name: values[0] for name, values in CHOICES.items()}
"""The choices of the released models, which files without them have."""

STRIDE_OF_LEVEL = {"F1": 1, "F2": 1, "F3": 2, "F4": 4}
"""Latent pixels per feature pixel, after the up-block's upsampler."""

MAX_LAYERS = 8
"""Most layers of a block; Stable Diffusion 2 has 2."""

MAX_KEYPOINTS = 1024
"""Most keypoints of a model; whole bodies have 133, or 308."""

MAX_INPUT_SIDE = 8192
"""Largest side of a crop in pixels; the heatmaps of one person would take gigabytes beyond it."""

TIMESTEPS = 1000
"""Steps of Stable Diffusion's noise schedule."""

_UNET_BLOCKS = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}


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
        check_widths("U-Net", self.block_out_channels, self.norm_num_groups)
        check_levels("U-Net attention_head_dim", self.attention_head_dim)
        for width, heads in zip(self.block_out_channels, self.attention_head_dim, strict=True):
            check_whole("U-Net attention_head_dim (heads of a level)", heads, 1, width)
            if width % heads:
                raise InputError(f"U-Net: {heads} heads do not divide {width} channels")
        check_whole("U-Net layers_per_block", self.layers_per_block, 1, MAX_LAYERS)
        for name in ("cross_attention_dim", "in_channels", "out_channels"):
            check_whole(f"U-Net {name}", getattr(self, name), 1, MAX_CHANNELS)
        if not isinstance(linear := self.use_linear_projection, bool):
            raise InputError(f"U-Net use_linear_projection: expected true or false, found {linear!r:.60}")
        for name, known in _UNET_BLOCKS.items():
            check_levels(f"U-Net {name}", getattr(self, name))
            if unknown := [kind for kind in getattr(self, name) if kind not in known]:
                raise InputError(f"U-Net {name}: expected {' or '.join(known)}, found {unknown[0]!r:.60}")


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of the Stable Diffusion VAE encoder (names as in diffusers' AutoencoderKL)."""

    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    latent_channels: int = 4
    norm_num_groups: int = 32
    scaling_factor: float = 0.18215

    def __post_init__(self) -> None:
        check_widths("VAE", self.block_out_channels, self.norm_num_groups)
        check_whole("VAE layers_per_block", self.layers_per_block, 1, MAX_LAYERS)
        check_whole("VAE latent_channels", self.latent_channels, 1, MAX_CHANNELS)
        check_number("VAE scaling_factor", self.scaling_factor, 1000)


@dataclass(frozen=True)
class SDPoseConfig:
    """One SDPose model.

    Attributes:
        keypoint_set: name in `skeletons.KEYPOINT_SETS`, or a custom name.
        num_keypoints: K.
        feature_levels: one level, or several that are fused.
        aggregation, reconstruction: see `CHOICES`.
        read_out: see `CHOICES`; "cross_attention" reads the maps of these levels, see `attention_maps.py`.
        input_size: (w, h) of the crop in pixels, multiples of 64; the heatmap is a quarter of it.
        heatmap_sigma: of the training target, in heatmap pixels.
        timestep: fixed (the paper's t = 1000 of 1..1000 is 999 of 0..999).
        flip_pairs: (left, right) channels that swap in a mirrored picture. None: those of the known keypoint set. A
            custom set needs its own (or () for none) for a flip test.
        keypoint_names, links, sigmas: of a custom set, see `KeypointSet`; () where they are not known, as in weights
            of other tools.
    """

    keypoint_set: str = "coco_17"
    num_keypoints: int = 17
    feature_levels: tuple[str, ...] = ("F1",)
    aggregation: str = SUM
    reconstruction: str = RGB_PASS
    input_size: tuple[int, int] = (768, 1024)
    heatmap_sigma: float = 6.0
    timestep: int = 999
    flip_pairs: tuple[tuple[int, int], ...] | None = None
    keypoint_names: tuple[str, ...] = ()
    links: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] = ()
    read_out: str = FEATURES
    unet: UNetConfig = field(default_factory=UNetConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)

    def __post_init__(self) -> None:
        self._check_keypoints()
        levels = self.feature_levels
        fits = isinstance(levels, tuple) and levels and all(level in FEATURE_LEVELS for level in levels)
        if not fits or len(set(levels)) != len(levels):
            raise InputError(f"feature levels: expected some of F1, F2, F3, F4, each once, got {levels!r:.60}")
        self._check_choices()
        sides = self.input_size if isinstance(self.input_size, tuple) else ()
        if len(sides) != 2 or any(type(v) is not int or not 64 <= v <= MAX_INPUT_SIDE or v % 64 for v in sides):
            expected = f"(width, height) as multiples of 64, up to {MAX_INPUT_SIDE}"
            raise InputError(f"input size: expected {expected}, got {self.input_size!r:.60}")
        check_number("heatmap_sigma", self.heatmap_sigma, MAX_INPUT_SIDE / 4)
        check_whole("timestep", self.timestep, 0, TIMESTEPS - 1)
        if not isinstance(self.unet, UNetConfig) or not isinstance(self.vae, VAEConfig):
            raise InputError("model configuration: expected tables of values for unet and vae")
        if self.unet.in_channels != self.vae.latent_channels:
            expected = f"{self.vae.latent_channels} as in the VAE's latent_channels"
            raise InputError(f"U-Net in_channels: expected {expected}, found {self.unet.in_channels}")

    def _check_keypoints(self) -> None:
        name, count = self.keypoint_set, self.num_keypoints
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= MAX_NAME:
            expected = f"a name of 1 to {MAX_NAME} printable characters"
            raise InputError(f"keypoint set: expected {expected}, found {name!r:.60}")
        check_whole("num_keypoints", count, 1, MAX_KEYPOINTS)
        known = KEYPOINT_SETS.get(name)
        if known is not None and len(known) != count:
            raise InputError(f"{name!r} has {len(known)} keypoints, the model has {count}")
        pairs = () if self.flip_pairs is None else self.flip_pairs
        if not isinstance(pairs, tuple) or any(not isinstance(pair, tuple) or len(pair) != 2 for pair in pairs):
            raise InputError(f"flip pairs: expected pairs of keypoints, got {pairs!r:.60}")
        flipped = [i for pair in pairs for i in pair]
        if any(type(i) is not int or not 0 <= i < count for i in flipped) or len(set(flipped)) != len(flipped):
            raise InputError(f"flip pairs: expected each of 0..{count - 1} at most once, got {flipped!r:.60}")
        if (self.keypoint_names or self.links or self.sigmas) and known is None and len(self.skeleton) != count:
            named = counted(len(self.skeleton), "point")
            raise InputError(f"keypoint set {name!r}: it names {named}, the model has {count}")

    def _check_choices(self) -> None:
        for name, known in CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise InputError(f"{name}: expected {' or '.join(known)}, found {value!r:.60}")
        if self.aggregation == GATED and len(self.feature_levels) == 1:
            found = f"only {self.feature_levels[0]}"
            raise InputError(f'aggregation "gated": expected two or more feature levels, found {found}')
        if self.reads_attention and isinstance(self.unet, UNetConfig):
            self._check_read_out()

    def _check_read_out(self) -> None:
        if (self.aggregation, self.reconstruction) != (SUM, RGB_PASS):
            self.need_features(f'aggregation "{self.aggregation}", reconstruction "{self.reconstruction}"')
        kinds = self.unet.up_block_types
        attending = [level for level in FEATURE_LEVELS if kinds[UP_BLOCK_OF_LEVEL[level]].startswith("CrossAttn")]
        if blind := [level for level in self.feature_levels if level not in attending]:
            found = f"this U-Net has no cross-attention at {', '.join(blind)}"
            known = f"choose from {', '.join(attending)}" if attending else "choose another U-Net"
            raise InputError(f'feature levels for read_out "cross_attention": {found}; {known}')

    @property
    def reads_attention(self) -> bool:
        """Whether heatmaps are read from cross-attention maps."""
        return self.read_out == CROSS_ATTENTION

    def need_features(self, what: str) -> None:
        """Raise `InputError` if heatmaps are read from attention maps: `what` is only for models that read features."""
        if self.reads_attention:
            raise InputError(f'{what}: not for a model with read_out "cross_attention": choose one that reads features')

    @property
    def skeleton(self) -> KeypointSet:
        """The keypoint set: a known one, a custom one with its names and links, or only numbered points."""
        name, pairs = self.keypoint_set, self.flip_pairs or ()
        if name in KEYPOINT_SETS:
            return KEYPOINT_SETS[name]
        if not (self.keypoint_names or self.links or self.sigmas):
            return numbered(name, self.num_keypoints, pairs)
        values = {"names": self.keypoint_names, "links": self.links, "flip_pairs": pairs, "sigmas": self.sigmas}
        return custom_set(name, values)

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
        """Nested plain values for JSON or TOML; without what is not known of the keypoints, and the usual choices."""
        values = asdict(self)
        left_out = {"flip_pairs": None, "keypoint_names": (), "links": (), "sigmas": (), **USUAL}
        return {name: value for name, value in values.items() if name not in left_out or value != left_out[name]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SDPoseConfig:
        """The inverse of `to_dict`. Raises `InputError` for an unknown key, a wrong type or size."""
        known = known_values(cls, values, "model configuration")
        if isinstance(known.get("unet"), Mapping):
            known["unet"] = UNetConfig(**known_values(UNetConfig, known["unet"], "U-Net configuration"))
        if isinstance(known.get("vae"), Mapping):
            known["vae"] = VAEConfig(**known_values(VAEConfig, known["vae"], "VAE configuration"))
        return cls(**known)


BODY = SDPoseConfig()
"""SDPose-Body as released: 17 points from F1."""

WHOLEBODY = SDPoseConfig(keypoint_set="coco_wholebody_133", num_keypoints=133, feature_levels=("F2",))
"""SDPose-WholeBody as released: 133 points from F2."""
