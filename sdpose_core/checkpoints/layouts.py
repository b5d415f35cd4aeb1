"""SDPose checkpoints in three layouts, read strictly and converted: see `LAYOUTS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import CheckpointError, InputError
from ..model.config import UP_BLOCK_OF_LEVEL, SDPoseConfig, UNetConfig, VAEConfig
from ..tensor_files import open_tensors, read_json, some
from . import names as keys
from .reading import CheckpointInfo, open_folder_part, opened, read_vae_decoder, renamed_tensors
from .sizes import Shapes, metadata_of, unet_config, vae_config
from .writing import write_file, write_folder

if TYPE_CHECKING:
    import torch

Layout = Literal["ours", "diffusers", "comfy"]
LAYOUTS: tuple[Layout, ...] = ("ours", "diffusers", "comfy")
"""One safetensors file with our names and the configuration in its metadata, what training writes; the released folder;
the single file of Comfy-Org, which ComfyUI's own nodes load."""


@dataclass(frozen=True)
class ConversionReport:
    """What was written.

    Attributes:
        tensors: how many.
        notes: what the result lacks, or who cannot read it.
    """

    path: Path
    layout: str
    tensors: int
    notes: tuple[str, ...]


def inspect_checkpoint(path: str | Path, **overrides: Any) -> tuple[SDPoseConfig, CheckpointInfo]:
    """Configuration and origin of a checkpoint, from its headers alone; see `read_checkpoint` for errors."""
    with opened(Path(path)) as source:
        return source.described(**overrides)


def read_checkpoint(
    path: str | Path,
    *,
    keypoint_set: str | None = None,
    feature_level: str | None = None,
    input_size: tuple[int, int] | None = None,
    with_rgb_branch: bool = False,
) -> tuple[SDPoseConfig, dict[str, torch.Tensor], CheckpointInfo]:
    """Read what a model needs; tensors that it does not need are not touched.

    Args:
        path: a file or a folder of any layout.
        keypoint_set, feature_level, input_size: override what the checkpoint says, or say what it does not; several
            fused levels as "F1,F2".
        with_rgb_branch: also the later up-blocks and the output convolution, where the checkpoint has them.

    Returns:
        The configuration, the state dict of an `SDPose`, and where it came from (with the stored input size).

    Raises:
        CheckpointError: no SDPose checkpoint; missing, unexpected or misshapen tensors, by name; a pickle; an override
            that does not fit.
    """
    with opened(Path(path)) as source:
        config, info = source.described(keypoint_set=keypoint_set, feature_level=feature_level, input_size=input_size)
        shapes = source.tensors.shapes
        rgb = with_rgb_branch and _has_rgb_branch(shapes)
        wanted = {name: shape for name, shape in shapes.items() if _is_needed(name, config, rgb)}
        _check(wanted, config, rgb, str(path))
        return config, {name: source.tensors.read(name) for name in wanted}, info


def save_checkpoint(
    state: Mapping[str, torch.Tensor],
    config: SDPoseConfig,
    path: str | Path,
    *,
    layout: Layout = "ours",
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> ConversionReport:
    """Write a state dict of an `SDPose` (VAE decoder tensors, `vae.decoder.*`, may be with it), atomically.

    Args:
        state: tensors under our own names.
        config: what they are.
        path: a .safetensors file, or a folder for "diffusers".
        layout: one of `LAYOUTS`.
        dtype: None keeps each tensor's.
        metadata: more entries, kept as text: training step, recipe, ...

    Raises:
        CheckpointError: the tensors are not those of such a model.
        InputError: the layout or the path's name; the path cannot be written.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r}: choose one of {', '.join(LAYOUTS)}")
    shapes = {name: tuple(value.shape) for name, value in state.items() if not name.startswith(keys.VAE_DECODER)}
    _check(shapes, config, _has_rgb_branch(shapes), "what is to be written")
    tensors = {
        name: (value if dtype is None else value.to(dtype)).detach().contiguous() for name, value in state.items()
    }
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
    overwrite: bool = False,
) -> ConversionReport:
    """Write a checkpoint in another layout: every tensor, bit for bit unless `dtype` says otherwise.

    Pickles are accepted here, and here only: their tensors are read by torch's restricted loader.

    Args:
        source, target: files or folders.
        layout, dtype: see `save_checkpoint`.
        keypoint_set, feature_level: see `read_checkpoint`.
        vae: where to take the VAE's decoder from if the source has none (SDPose never uses it; ComfyUI's and
            diffusers' loaders want it): a folder with vae/, or a checkpoint that was converted with its decoder.
        overwrite: replace the target.

    Raises:
        CheckpointError, InputError: as `read_checkpoint`; the target exists and `overwrite` is not set.
    """
    target = Path(target)
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists: choose another name, or overwrite it explicitly (--overwrite)")
    if target.resolve() == Path(source).resolve():
        raise InputError(f"{target} is the checkpoint itself: choose another name")
    with opened(Path(source), pickles=True) as found:
        config = found.config(keypoint_set=keypoint_set, feature_level=feature_level)
        state = {name: found.tensors.read(name) for name in found.tensors.shapes}
        if vae is not None:
            state |= read_vae_decoder(Path(vae))
        kept = {k: v for k, v in found.info.metadata.items() if k not in metadata_of(config)}
        return save_checkpoint(state, config, target, layout=layout, dtype=dtype, metadata=kept)


def read_base(folder: str | Path) -> tuple[UNetConfig, VAEConfig, dict[str, torch.Tensor]]:
    """Stable Diffusion 2's own weights (`sdpose download sd2-base`), as a training may start from them.

    Args:
        folder: with unet/ and vae/ in diffusers' layout; an SDPose folder will do.

    Returns:
        Sizes, and the tensors of U-Net and VAE, decoder included, under our own names; and the embedding of the empty
        prompt, if the folder has its own. Class embedding and heatmap head are not among them, unless SDPose has
        trained them.

    Raises:
        CheckpointError: a part is missing or damaged.
    """
    folder = Path(folder)
    with ExitStack() as stack:
        parts = {f"{part}.": open_folder_part(folder, part, stack) for part in ("unet", "vae")}
        if (folder / f"{keys.TEXT}.safetensors").exists():
            parts[""] = stack.enter_context(open_tensors(folder / f"{keys.TEXT}.safetensors"))
        tensors = renamed_tensors(parts)
        unet, vae = (read_json(folder / part / "config.json") for part in ("unet", "vae"))
        return unet_config(unet), vae_config(vae), {name: tensors.read(name) for name in tensors.shapes}


def _has_rgb_branch(shapes: Shapes) -> bool:
    return any(name.startswith(keys.RGB_OUTPUT) for name in shapes)


def _is_needed(name: str, config: SDPoseConfig, with_rgb_branch: bool) -> bool:
    """Whether a model of this configuration has the tensor, as far as its name tells."""
    if name.startswith(keys.VAE_DECODER):
        return False
    if with_rgb_branch:
        return True
    last = max(UP_BLOCK_OF_LEVEL[level] for level in config.feature_levels)
    later = tuple(f"unet.up_blocks.{i}." for i in range(last + 1, 4))
    return not name.startswith(keys.RGB_OUTPUT + later)


def _check(shapes: Shapes, config: SDPoseConfig, with_rgb_branch: bool, source: str) -> None:
    """Raise `CheckpointError` unless these are exactly the tensors of such a model, with their shapes."""
    import torch

    from ..model.network import SDPose

    with torch.device("meta"):
        model = SDPose(config, with_rgb_branch=with_rgb_branch)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if keys.TEXT not in shapes:
        del expected[keys.TEXT]  # the shipped constant stands in, where it fits
    missing = [name for name in expected if name not in shapes]
    unexpected = [name for name in shapes if name not in expected]
    wrong = [
        f"{name} {shapes[name]} instead of {shape}"
        for name, shape in expected.items()
        if name != keys.TEXT and shapes.get(name, shape) != shape
    ]
    problems = _problems(missing, unexpected, wrong)
    if problems:
        levels = ", ".join(config.feature_levels)
        raise CheckpointError(
            f"{source} does not hold an SDPose of {config.num_keypoints} keypoints at {levels}: {problems}"
        )


def _problems(missing: Sequence[str], unexpected: Sequence[str], wrong: Sequence[str]) -> str:
    found = (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
    return "; ".join(f"{what}: {some(names)}" for what, names in found if names)
