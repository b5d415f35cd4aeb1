"""Reads, writes and converts SDPose checkpoints in three layouts, see `LAYOUTS`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import CheckpointError, InputError
from ..model.config import SDPoseConfig, UNetConfig, VAEConfig
from ..tensor_files import Shapes, all_finite, read_json, shape_problems, some
from . import names as keys
from .adapters import ADAPTER_KEYS, Adapter
from .fusion import described_levels
from .reading import CheckpointInfo, damage_named, is_needed, open_base, opened, read_vae_decoder
from .sizes import metadata_of, unet_config, vae_config
from .writing import write_file, write_folder

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

Layout = Literal["ours", "diffusers", "comfy"]
LAYOUTS: tuple[Layout, ...] = ("ours", "diffusers", "comfy")
"""ours: one safetensors file with our names and the configuration in its metadata, written by training; diffusers: the
released folder; comfy: the single file of Comfy-Org, which ComfyUI's own nodes load."""


MAX_TOKENS = 1024
"""Longest embedding of the empty prompt; Stable Diffusion's has 77 tokens, or 2 without the filling."""

_OF_FOLDED = ".attn2.score.weight"
"""End of a name that only a model after `folding.fold_constants` has."""


@dataclass(frozen=True)
class ConversionReport:
    """What was written: path, layout, number of tensors, and notes on what is missing or which readers fail."""

    path: Path
    layout: str
    tensors: int
    notes: tuple[str, ...]


def inspect_checkpoint(path: str | Path, **overrides: Any) -> tuple[SDPoseConfig, CheckpointInfo]:
    """Configuration and origin of a checkpoint, read from its headers; errors as in `read_checkpoint`."""
    with opened(Path(path)) as source:
        return source.described(**overrides)


def read_checkpoint(
    path: str | Path,
    *,
    keypoint_set: str | None = None,
    feature_level: str | None = None,
    input_size: tuple[int, int] | None = None,
    with_rgb_branch: bool = False,
    base: str | Path | None = None,
    search: Sequence[str | Path] = (),
) -> tuple[SDPoseConfig, dict[str, torch.Tensor], CheckpointInfo]:
    """Read the tensors that a model needs.

    Args:
        path: a file or a folder of any layout.
        keypoint_set, feature_level, input_size: override or complete the stored configuration; several fused levels as
            "F1,F2".
        with_rgb_branch: also the later up-blocks and the output convolution, if the checkpoint has them.
        base, search: of an adapter, see `adapters.find_base`. The weights that it changes are float32.

    Returns:
        The configuration, the state dict of an `SDPose`, and the origin (with the stored input size).

    Raises:
        CheckpointError: not an SDPose checkpoint; missing, unexpected or misshapen tensors, by name; NaN or infinity
            in one; a pickle; an override that does not fit.
    """
    with opened(Path(path), base=base, search=search) as source:
        config, info = source.described(keypoint_set=keypoint_set, feature_level=feature_level, input_size=input_size)
        shapes = source.tensors.shapes
        rgb = with_rgb_branch and _has_rgb_branch(shapes, config)
        wanted = {name: shape for name, shape in shapes.items() if is_needed(name, config, rgb)}
        _check(wanted, config, rgb, str(path))
        for note in source.notes:
            log.info("%s: %s", path, note)
        state = {name: source.tensors.read(name) for name in wanted}
        _check_types(state, str(path))
        if damage := _damage(state):
            raise CheckpointError(f"{path}: {damage}: get the weights again")
        return config, state, info


def save_checkpoint(
    state: Mapping[str, torch.Tensor],
    config: SDPoseConfig,
    path: str | Path,
    *,
    layout: Layout = "ours",
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, Any] | None = None,
    source: str = "the state to write",
) -> ConversionReport:
    """Write a state dict of an `SDPose` atomically.

    Args:
        state: tensors under our names, with or without the VAE decoder (`vae.decoder.*`).
        config: the model's configuration.
        path: a .safetensors file, or a folder for "diffusers".
        layout: one of `LAYOUTS`.
        dtype: None keeps each tensor's.
        metadata: more text entries: training step, recipe, ...
        source: where the state is from, for errors.

    Raises:
        CheckpointError: the tensors do not match the configuration.
        InputError: an unknown layout, a wrong suffix, or the path cannot be written.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r}: choose one of {', '.join(LAYOUTS)}")
    if layout == "comfy":
        config.need_features("layout comfy")
    if any(name.endswith(_OF_FOLDED) for name in state):
        raise CheckpointError(
            f"{source} has its constants folded into its weights: save a model loaded without fold=True"
        )
    shapes = {name: tuple(value.shape) for name, value in state.items() if not name.startswith(keys.VAE_DECODER)}
    _check(shapes, config, _has_rgb_branch(shapes, config), source)
    _check_types(state, source)
    tensors = {name: value.to(dtype or value.dtype).detach().contiguous() for name, value in state.items()}
    if dtype is not None and (lost := _damage(tensors)) and not _damage(state):
        raise InputError(f"{source}: as {str(dtype).removeprefix('torch.')}, {lost}: choose bf16 or fp32")
    texts = {name: str(value) for name, value in (metadata or {}).items()}
    if layout == "diffusers":
        notes = write_folder(tensors, config, Path(path), texts)
    else:
        notes = write_file(tensors, config, Path(path), texts, comfy=layout == "comfy")
    return ConversionReport(Path(path), layout, len(tensors), tuple(notes))


def convert(
    source: str | Path,
    target: str | Path,
    layout: Layout = "ours",
    *,
    dtype: torch.dtype | None = None,
    keypoint_set: str | None = None,
    feature_level: str | None = None,
    vae: str | Path | None = None,
    entry: str | None = None,
    base: str | Path | None = None,
    overwrite: bool = False,
) -> ConversionReport:
    """Write a checkpoint in another layout: every tensor, bit for bit unless `dtype` is given.

    Only this function accepts pickles, and reads them with torch's restricted loader.

    Args:
        source, target: files or folders.
        layout, dtype: see `save_checkpoint`.
        keypoint_set, feature_level: see `read_checkpoint`.
        vae: source of the VAE decoder, which loaders of ComfyUI and diffusers require: a folder with vae/, or a
            checkpoint that has it. None: the decoder of `source`, if any.
        entry: which set of weights to take from a training state that has several, such as "model" and "ema".
        base: of an adapter, which becomes a whole checkpoint; None: found by its name, see `adapters.find_base`.
        overwrite: replace the target.

    Raises:
        CheckpointError, InputError: as `read_checkpoint`; the target exists and `overwrite` is not set, holds the
            source, or is a folder with files of others.
    """
    target = Path(target)
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists: choose another name, or use --overwrite")
    for read in (Path(source), *([Path(vae)] if vae is not None else [])):
        if read.resolve().is_relative_to(target.resolve()):
            what = "the source itself" if read.resolve() == target.resolve() else f"the folder that holds {read}"
            raise InputError(f"{target} is {what}: choose another name")
    with opened(Path(source), pickles=True, entry=entry, base=base) as found:
        config = found.config(keypoint_set=keypoint_set, feature_level=feature_level)
        state = {name: found.tensors.read(name) for name in found.tensors.shapes}
        if vae is not None:
            state |= read_vae_decoder(Path(vae))
        if found.info.layout == "adapter" and dtype is None:
            dtype = state["unet.conv_in.weight"].dtype  # the base's: merged weights are float32
        kept = {k: v for k, v in found.info.metadata.items() if k not in (*metadata_of(config), *ADAPTER_KEYS)}
        report = save_checkpoint(state, config, target, layout=layout, dtype=dtype, metadata=kept, source=str(source))
        damage = [f"{text}: the weights are damaged" for text in [_damage(state)] if text]
        return replace(report, notes=(*found.notes, *damage, *report.notes))


def read_base(folder: str | Path) -> tuple[UNetConfig, VAEConfig, dict[str, torch.Tensor]]:
    """Stable Diffusion 2's weights (`sdpose download sd2-base`), to start training from.

    Args:
        folder: with unet/ and vae/ in diffusers' layout; an SDPose folder also works.

    Returns:
        Sizes, and the tensors of U-Net and VAE with its decoder, and the embedding of the empty prompt if the folder
        has one, under our names.

    Raises:
        CheckpointError: a part is missing or damaged.
    """
    folder = Path(folder)
    with ExitStack() as stack, damage_named(folder):
        tensors = open_base(folder, stack)
        unet, vae = (read_json(folder / part / "config.json") for part in ("unet", "vae"))
        return unet_config(unet), vae_config(vae), {name: tensors.read(name) for name in tensors.shapes}


def save_adapter(
    state: Mapping[str, torch.Tensor],
    adapter: Adapter,
    config: SDPoseConfig,
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write an adapter as one safetensors file, atomically.

    Args:
        state: what the fine-tuned model does not share with its base, under our names; the matrices of a layer as
            `LAYER.lora_A.weight` and `LAYER.lora_B.weight`.
        config: of the fine-tuned model.
        dtype, metadata: as in `save_checkpoint`.

    Raises `InputError`: a wrong suffix, or the path cannot be written.
    """
    tensors = {name: value.to(dtype or value.dtype).detach().contiguous() for name, value in state.items()}
    texts = {**{name: str(value) for name, value in (metadata or {}).items()}, **adapter.metadata()}
    write_file(tensors, config, Path(path), texts, comfy=False)


def _damage(state: Mapping[str, torch.Tensor]) -> str:
    """Which tensors hold values that are not numbers; "" if none does."""
    names = [name for name, value in state.items() if not all_finite(value)]
    return f"{len(names)} of {len(state)} tensors hold NaN or infinity ({some(names)})" if names else ""


def _check_types(state: Mapping[str, torch.Tensor], source: str) -> None:
    """Raise `CheckpointError` for tensors of whole numbers, as in quantized weights."""
    if names := [f"{name} ({value.dtype})" for name, value in state.items() if not value.is_floating_point()]:
        raise CheckpointError(f"{source} has tensors that are not floating-point numbers: {some(names)}")


def _has_rgb_branch(shapes: Shapes, config: SDPoseConfig) -> bool:
    return any(name.startswith(keys.rgb_output(config)) for name in shapes)


def _check(shapes: Shapes, config: SDPoseConfig, with_rgb_branch: bool, source: str) -> None:
    """Raise `CheckpointError` unless these are exactly the tensors of such a model."""
    import torch

    from ..model.network import SDPose

    if with_rgb_branch and config.reads_attention:
        raise CheckpointError(f"{source} has an RGB branch, which no model of read_out {config.read_out!r} has")
    with torch.device("meta"):
        model = SDPose(config, with_rgb_branch=with_rgb_branch)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    has_text = expected.pop(keys.TEXT, None) is not None  # optional, of any length
    if has_text and keys.TEXT in shapes:
        shape = shapes[keys.TEXT]
        tokens = shape[1] if len(shape) == 3 and 1 <= shape[1] <= MAX_TOKENS else 1
        expected[keys.TEXT] = (1, tokens, config.unet.cross_attention_dim)
    if problems := shape_problems(expected, shapes):
        levels = described_levels(config)
        raise CheckpointError(
            f"{source} does not hold an SDPose of {config.num_keypoints} keypoints at {levels}: {problems}"
        )
