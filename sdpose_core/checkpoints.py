"""SDPose checkpoints in three layouts, read strictly and written: see `Layout`.

"diffusers": the released folder. "comfy": the single file of Comfy-Org, which ComfyUI's own nodes load. "ours": one
safetensors file with our names and the configuration in its metadata; what training writes.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import checkpoint_keys as keys
from .errors import CheckpointError, InputError
from .files import atomic_path
from .model_config import FEATURE_LEVELS, STRIDE_OF_LEVEL, UP_BLOCK_OF_LEVEL, SDPoseConfig, UNetConfig, VAEConfig
from .skeletons import KEYPOINT_SETS
from .skeletons import keypoint_set as find_keypoint_set
from .tensor_files import PICKLES, Tensors, files_of, open_tensors, read_json, read_pickle

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

Layout = Literal["ours", "diffusers", "comfy"]
LAYOUTS: tuple[Layout, ...] = ("ours", "diffusers", "comfy")
FORMAT = "sdpose-annotator"
FORMAT_VERSION = 1
HEAD_DIM = 64
"""Channels per attention head in Stable Diffusion 2: what a file without a configuration is read with."""

_TEXT = "empty_prompt_embedding"
_SETTINGS = ("keypoint_set", "feature_levels", "input_size", "heatmap_sigma", "timestep", "flip_pairs")
_VAE_DECODER = ("vae.decoder.", "vae.post_quant_conv.")
_RGB_ONLY = ("unet.conv_norm_out.", "unet.conv_out.")


@dataclass(frozen=True)
class CheckpointInfo:
    """Where weights came from.

    Attributes:
        path: file or folder.
        layout: one of `LAYOUTS`, or "pickle".
        metadata: text entries of a single file (training step, recipe, ...); empty for a folder.
    """

    path: Path
    layout: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Source:
    """An opened checkpoint, its tensors under our own names."""

    info: CheckpointInfo
    tensors: Tensors
    settings: Mapping[str, Any]
    unet: UNetConfig | None = None
    vae: VAEConfig | None = None


@dataclass(frozen=True)
class ConversionReport:
    """What `convert` wrote.

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
    with _opened(Path(path)) as source:
        return _config(source, **overrides), source.info


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
        keypoint_set, feature_level, input_size: override what the checkpoint says, or say what it does not.
        with_rgb_branch: also the later up-blocks and the output convolution, where the checkpoint has them.

    Returns:
        The configuration, the state dict of an `SDPose`, and where it came from.

    Raises:
        CheckpointError: no SDPose checkpoint; missing, unexpected or misshapen tensors, by name; a pickle.
        InputError: an override that does not exist.
    """
    with _opened(Path(path)) as source:
        config = _config(source, keypoint_set=keypoint_set, feature_level=feature_level, input_size=input_size)
        has_rgb = all(any(name.startswith(part) for name in source.tensors.shapes) for part in _RGB_ONLY)
        rgb = with_rgb_branch and has_rgb
        wanted = [name for name in source.tensors.shapes if _is_needed(name, config, rgb)]
        _check_names(source, config, wanted, rgb)
        return config, {name: source.tensors.read(name) for name in wanted}, source.info


def save_checkpoint(
    state: Mapping[str, torch.Tensor],
    config: SDPoseConfig,
    path: str | Path,
    *,
    layout: Layout = "ours",
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
) -> ConversionReport:
    """Write a state dict of an `SDPose` (VAE decoder tensors, `vae.decoder.*`, may be with it), atomically.

    Args:
        state: tensors under our own names.
        config: what they are.
        path: a .safetensors file, or a folder for "diffusers".
        layout: one of `LAYOUTS`.
        dtype: None keeps each tensor's.
        metadata: more text entries for "ours": training step, recipe, ...
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r}: choose one of {', '.join(LAYOUTS)}")
    tensors = {
        name: (value if dtype is None else value.to(dtype)).detach().contiguous() for name, value in state.items()
    }
    path = Path(path)
    if layout == "diffusers":
        notes = _write_folder(tensors, config, path)
    else:
        if path.suffix != ".safetensors":
            raise InputError(f"{path}: a checkpoint of layout {layout!r} is one file: give it the name ….safetensors")
        notes = _write_file(tensors, config, path, layout, metadata or {})
    return ConversionReport(path, layout, len(tensors), tuple(notes))


def convert(
    source: str | Path,
    target: str | Path,
    layout: Layout = "ours",
    *,
    dtype: torch.dtype | None = None,
    keypoint_set: str | None = None,
    feature_level: str | None = None,
    overwrite: bool = False,
) -> ConversionReport:
    """Write a checkpoint in another layout: every tensor, bit for bit unless `dtype` says otherwise.

    A pickle is accepted here, and here only: its tensors are read by torch's restricted loader.

    Raises:
        CheckpointError, InputError: as `read_checkpoint`; the target exists and `overwrite` is not set.
    """
    target = Path(target)
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists: choose another name, or overwrite it explicitly (--overwrite)")
    if target.resolve() == Path(source).resolve():
        raise InputError(f"{target} is the checkpoint itself: choose another name")
    with _opened(Path(source), pickles=True) as opened:
        config = _config(opened, keypoint_set=keypoint_set, feature_level=feature_level)
        names = list(opened.tensors.shapes)
        rgb = any(name.startswith(_RGB_ONLY) for name in names)
        _check_names(opened, config, [name for name in names if not name.startswith(_VAE_DECODER)], rgb)
        state = {name: opened.tensors.read(name) for name in names}
        kept = {k: v for k, v in opened.info.metadata.items() if k not in _metadata(config)}
        return save_checkpoint(state, config, target, layout=layout, dtype=dtype, metadata=kept)


# --- opening --------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path, pickles: bool = False) -> Iterator[_Source]:
    """The checkpoint at `path` with its tensors under our own names."""
    if path.is_dir():
        with ExitStack() as stack:
            yield _open_folder(path, stack)
    elif pickles and path.suffix in PICKLES and path.exists():
        yield _from_single(path, read_pickle(path))
    else:
        with open_tensors(path) as tensors:
            yield _from_single(path, tensors)


def _open_folder(path: Path, stack: ExitStack) -> _Source:
    missing = [name for name in ("unet", "vae", "decoder") if not (path / name).is_dir()]
    if missing:
        raise CheckpointError(
            f"{path} is no SDPose folder: expected unet/, vae/ and decoder/, missing {', '.join(missing)}"
            + (" (a plain Stable Diffusion folder has no heatmap head)" if missing == ["decoder"] else "")
        )
    parts = {
        "unet.": stack.enter_context(open_tensors(*files_of(path / "unet", "diffusion_pytorch_model"))),
        "vae.": stack.enter_context(open_tensors(*files_of(path / "vae", "diffusion_pytorch_model"))),
        "head.": stack.enter_context(open_tensors(*files_of(path / "decoder", "decoder"))),
    }
    if (path / f"{_TEXT}.safetensors").exists():
        parts[""] = stack.enter_context(open_tensors(path / f"{_TEXT}.safetensors"))
    origin = {prefix + _modern(name): (tensors, name) for prefix, tensors in parts.items() for name in tensors.shapes}
    settings = read_json(path / "sdpose.json") if (path / "sdpose.json").exists() else {}
    return _Source(
        CheckpointInfo(path, "diffusers"),
        _renamed_tensors(origin),
        settings,
        _unet_config(read_json(path / "unet" / "config.json")),
        _vae_config(read_json(path / "vae" / "config.json")),
    )


def _from_single(path: Path, tensors: Tensors) -> _Source:
    metadata = dict(tensors.metadata)
    settings = _settings_of(metadata, path)
    unet, vae = settings.pop("unet", None), settings.pop("vae", None)
    if any(name.startswith(keys.COMFY_UNET) for name in tensors.shapes):
        return _from_comfy(path, tensors, settings, unet, vae)
    if not any(name.startswith("head.") for name in tensors.shapes):
        raise CheckpointError(f"{path} is no SDPose checkpoint: {_what_it_is(tensors.shapes)}; choose an SDPose one")
    layout = "pickle" if path.suffix in PICKLES else "ours"
    return _Source(CheckpointInfo(path, layout, metadata), tensors, settings, unet, vae)


def _from_comfy(
    path: Path, tensors: Tensors, settings: Mapping[str, Any], unet: UNetConfig | None, vae: VAEConfig | None
) -> _Source:
    if f"{keys.COMFY_HEAD}final_layer.weight" not in tensors.shapes:
        raise CheckpointError(
            f"{path} has no heatmap head (missing '{keys.COMFY_HEAD}final_layer.weight'): it is "
            f"{_what_it_is(tensors.shapes)}; choose an SDPose checkpoint"
        )
    # The tables follow from the sizes, the sizes from the shapes: block types first, then names, then widths.
    unet = unet or _unet_from_comfy(tensors.shapes, path)
    vae = vae or _vae_from_comfy(tensors.shapes, path)
    unet_table, vae_table = keys.inverted(keys.unet_modules(unet)), keys.inverted(keys.vae_modules(vae))
    origin: dict[str, tuple[Tensors, str]] = {}
    unknown = []
    for name in tensors.shapes:
        ours = _from_comfy_name(name, unet_table, vae_table)
        if ours is None:
            unknown.append(name)
        else:
            origin[ours] = (tensors, name)
    if unknown:
        raise CheckpointError(f"{path} has tensors that no SDPose has: {_some(unknown)}")
    return _Source(CheckpointInfo(path, "comfy", dict(tensors.metadata)), _renamed_tensors(origin), settings, unet, vae)


def _from_comfy_name(name: str, unet: Mapping[str, str], vae: Mapping[str, str]) -> str | None:
    if name == keys.COMFY_TEXT:
        return _TEXT
    for prefix, ours, table in (
        (keys.COMFY_HEAD, "head.", None),
        (keys.COMFY_UNET, "unet.", unet),
        (keys.COMFY_VAE, "vae.", vae),
    ):
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            translated = rest if table is None else keys.renamed(rest, table)
            return None if translated is None else ours + translated
    return None


def _renamed_tensors(origin: Mapping[str, tuple[Tensors, str]]) -> Tensors:
    """Tensors under new names; the VAE's attention always as matrices, however the file keeps it."""

    def shape(name: str) -> tuple[int, ...]:
        tensors, old = origin[name]
        return _matrix_shape(name, tensors.shapes[old])

    def read(name: str) -> torch.Tensor:
        tensors, old = origin[name]
        return tensors.read(old).reshape(shape(name))

    return Tensors({name: shape(name) for name in origin}, read)


def _matrix_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    flat = name.startswith("vae.") and ".attentions." in name and len(shape) == 4 and shape[2:] == (1, 1)
    return shape[:2] if flat else shape


def _modern(name: str) -> str:
    """Early diffusers' names of the VAE's attention -> today's."""
    parts = name.split(".")
    if "attentions" in parts and len(parts) > 1 and parts[-2] in keys.OLD_DIFFUSERS_ATTENTION:
        parts[-2] = keys.OLD_DIFFUSERS_ATTENTION[parts[-2]]
    return ".".join(parts)


# --- configuration ---------------------------------------------------------------------------------------------------


def _settings_of(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The configuration in the metadata of a file that we wrote."""
    if metadata.get("format") != FORMAT:
        return {}
    if int(metadata.get("format_version", 0)) > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {metadata['format_version']}, this library reads up to {FORMAT_VERSION}: "
            "update it"
        )
    try:
        config = SDPoseConfig.from_dict(json.loads(metadata["config"]))
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: the configuration in its metadata cannot be read ({error})") from None
    return {"unet": config.unet, "vae": config.vae, **{name: getattr(config, name) for name in _SETTINGS}}


def _config(
    source: _Source,
    *,
    keypoint_set: str | None = None,
    feature_level: str | None = None,
    input_size: tuple[int, int] | None = None,
) -> SDPoseConfig:
    """What the checkpoint is: overrides first, then what it says, then what its shapes tell."""
    shapes, path = source.tensors.shapes, source.info.path
    if "head.final_layer.weight" not in shapes:
        raise CheckpointError(
            f"{path} has no heatmap head (missing 'head.final_layer.weight'): choose an SDPose checkpoint"
        )
    unet = source.unet or _unet_from_shapes(shapes, path)
    vae = source.vae or _vae_from_shapes(shapes, path)
    count, width = shapes["head.final_layer.weight"][:2]
    said = dict(source.settings)
    if (level := said.pop("feature_level", None)) is not None:
        said["feature_levels"] = [level]
    said = {name: tuple(v) if isinstance(v, list) else v for name, v in said.items() if v is not None}
    levels = (feature_level,) if feature_level else said.get("feature_levels")
    if levels is None:
        levels = (_level_from_shapes(shapes, unet, width, path),)
    name = find_keypoint_set(keypoint_set).name if keypoint_set in ("body", "wholebody") else keypoint_set
    values = {
        **said,
        "keypoint_set": name or said.get("keypoint_set") or _set_of_count(count),
        "feature_levels": levels,
        **({"input_size": input_size} if input_size else {}),
    }
    try:
        return SDPoseConfig.from_dict({**values, "num_keypoints": count, "unet": unet, "vae": vae})
    except InputError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _set_of_count(count: int) -> str:
    for known in KEYPOINT_SETS.values():
        if len(known) == count:
            return known.name
    return f"custom_{count}"


def _level_from_shapes(shapes: Mapping[str, tuple[int, ...]], unet: UNetConfig, width: int, path: Path) -> str:
    """The level whose width and number of deconvolutions the head has."""
    deconvolutions = sum(name.startswith("head.deconv_layers.") for name in shapes)
    widths = unet.block_out_channels[::-1]
    fitting = [
        level
        for level in FEATURE_LEVELS
        if widths[UP_BLOCK_OF_LEVEL[level]] == width and 1 + int(math.log2(STRIDE_OF_LEVEL[level])) == deconvolutions
    ]
    if len(fitting) == 1 and not any(name.startswith("head.fusion.") for name in shapes):
        return fitting[0]
    raise CheckpointError(
        f"{path}: the feature level does not follow from the head (width {width}, {deconvolutions} deconvolutions; "
        f"fitting: {', '.join(fitting) or 'none'}): say which with feature_level (--feature-level F1..F4)"
    )


def _unet_config(stored: Mapping[str, Any]) -> UNetConfig:
    """From unet/config.json; the class embedding is always SDPose's, whatever the file says."""
    known = {name: stored[name] for name in UNetConfig.__dataclass_fields__ if stored.get(name) is not None}
    heads = known.get("attention_head_dim")
    levels = len(known.get("block_out_channels", UNetConfig().block_out_channels))
    if isinstance(heads, int):
        known["attention_head_dim"] = [heads] * levels
    return UNetConfig(**{name: tuple(v) if isinstance(v, list) else v for name, v in known.items()})


def _vae_config(stored: Mapping[str, Any]) -> VAEConfig:
    """From vae/config.json."""
    known = {name: stored[name] for name in VAEConfig.__dataclass_fields__ if stored.get(name) is not None}
    return VAEConfig(**{name: tuple(v) if isinstance(v, list) else v for name, v in known.items()})


def _unet_from_shapes(shapes: Mapping[str, tuple[int, ...]], path: Path) -> UNetConfig:
    """Sizes of a U-Net under our names, without a stored configuration: Stable Diffusion 2's rules."""

    def width(i: int) -> int:
        return _shape(shapes, f"unet.down_blocks.{i}.resnets.0.conv1.weight", path)[0]

    widths = tuple(width(i) for i in range(4))
    layers = sum(f"unet.down_blocks.0.resnets.{j}.conv1.weight" in shapes for j in range(9))
    text = [s[1] for name, s in shapes.items() if name.startswith("unet.") and name.endswith("attn2.to_k.weight")]

    def types(part: str) -> tuple[str, ...]:
        attends = [any(name.startswith(f"unet.{part}_blocks.{i}.attentions.") for name in shapes) for i in range(4)]
        kind = part.capitalize()
        return tuple(f"CrossAttn{kind}Block2D" if yes else f"{kind}Block2D" for yes in attends)

    return _standard_unet(widths, layers, text, types("down"), types("up"), path)


def _unet_from_comfy(shapes: Mapping[str, tuple[int, ...]], path: Path) -> UNetConfig:
    """The same from latent diffusion's names: level i begins at input block 1 + i x (layers + 1)."""
    at = keys.COMFY_UNET
    downs = sorted(
        int(name.split(".")[3])
        for name in shapes
        if name.startswith(f"{at}input_blocks.") and name.endswith("0.op.weight")
    )
    if not downs:
        raise CheckpointError(f"{path}: its U-Net has no downsampling; expected Stable Diffusion 2's")
    per_level = downs[0]
    widths = tuple(
        _shape(shapes, f"{at}input_blocks.{1 + i * per_level}.0.in_layers.2.weight", path)[0] for i in range(4)
    )
    text = [s[1] for name, s in shapes.items() if name.startswith(at) and name.endswith("attn2.to_k.weight")]

    def types(part: str, first: int, kind: str) -> tuple[str, ...]:
        places = [f"{at}{part}.{first + i * per_level}.1.transformer_blocks." for i in range(4)]
        return tuple(
            f"CrossAttn{kind}Block2D" if any(name.startswith(place) for name in shapes) else f"{kind}Block2D"
            for place in places
        )

    down, up = types("input_blocks", 1, "Down"), types("output_blocks", 0, "Up")
    return _standard_unet(widths, per_level - 1, text, down, up, path)


def _standard_unet(
    widths: tuple[int, ...], layers: int, text: Sequence[int], down: tuple[str, ...], up: tuple[str, ...], path: Path
) -> UNetConfig:
    if any(w % HEAD_DIM for w in widths):
        raise CheckpointError(
            f"{path}: a U-Net of widths {widths} is not Stable Diffusion 2's, and its file has no configuration"
        )
    return UNetConfig(
        block_out_channels=widths,
        layers_per_block=layers,
        attention_head_dim=tuple(w // HEAD_DIM for w in widths),
        cross_attention_dim=text[0] if text else UNetConfig().cross_attention_dim,
        down_block_types=down,
        up_block_types=up,
    )


def _vae_from_shapes(shapes: Mapping[str, tuple[int, ...]], path: Path) -> VAEConfig:
    """Sizes of a VAE under our names, without a stored configuration."""
    names = [f"vae.encoder.down_blocks.{i}.resnets.0.conv1.weight" for i in range(4)]
    layers = sum(f"vae.encoder.down_blocks.0.resnets.{j}.conv1.weight" in shapes for j in range(9))
    return _standard_vae([_shape(shapes, name, path)[0] for name in names], layers, path)


def _vae_from_comfy(shapes: Mapping[str, tuple[int, ...]], path: Path) -> VAEConfig:
    at = f"{keys.COMFY_VAE}encoder.down"
    layers = sum(f"{at}.0.block.{j}.conv1.weight" in shapes for j in range(9))
    return _standard_vae([_shape(shapes, f"{at}.{i}.block.0.conv1.weight", path)[0] for i in range(4)], layers, path)


def _standard_vae(widths: Sequence[int], layers: int, path: Path) -> VAEConfig:
    if any(w % VAEConfig().norm_num_groups for w in widths):
        raise CheckpointError(f"{path}: a VAE of widths {widths} is not Stable Diffusion's, and has no configuration")
    return VAEConfig(block_out_channels=tuple(widths), layers_per_block=layers)


def _shape(shapes: Mapping[str, tuple[int, ...]], name: str, path: Path) -> tuple[int, ...]:
    if name not in shapes:
        raise CheckpointError(f"{path} is no SDPose checkpoint: missing '{name}'; {_what_it_is(shapes)}")
    return shapes[name]


# --- strictness ------------------------------------------------------------------------------------------------------


def _is_needed(name: str, config: SDPoseConfig, with_rgb_branch: bool) -> bool:
    """Whether a model of this configuration has the tensor, as far as its name tells."""
    if name.startswith(_VAE_DECODER):
        return False
    if with_rgb_branch:
        return True
    last = max(UP_BLOCK_OF_LEVEL[level] for level in config.feature_levels)
    later = tuple(f"unet.up_blocks.{i}." for i in range(last + 1, 4))
    return not name.startswith(_RGB_ONLY + later)


def _check_names(source: _Source, config: SDPoseConfig, names: Sequence[str], with_rgb_branch: bool) -> None:
    """Raise unless `names` are exactly the tensors of such a model, with their shapes."""
    import torch

    from .model import SDPose

    with torch.device("meta"):
        model = SDPose(config, with_rgb_branch=with_rgb_branch)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if _TEXT not in names:
        del expected[_TEXT]  # the shipped constant stands in, where it fits
    missing = [name for name in expected if name not in names]
    unexpected = [name for name in names if name not in expected]
    wrong = [
        f"{name} {source.tensors.shapes[name]} instead of {shape}"
        for name, shape in expected.items()
        if name in source.tensors.shapes and name != _TEXT and source.tensors.shapes[name] != shape
    ]
    problems = [
        f"{what}: {_some(found)}"
        for what, found in (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
        if found
    ]
    if problems:
        levels = ", ".join(config.feature_levels)
        raise CheckpointError(
            f"{source.info.path} does not hold an SDPose of {config.num_keypoints} keypoints at {levels}: "
            + "; ".join(problems)
        )


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _what_it_is(names: Mapping[str, Any]) -> str:
    """A phrase for a file of another kind."""
    signs = (
        ("conditioner.embedders.1.", "a Stable Diffusion XL checkpoint"),
        ("cond_stage_model.", "a Stable Diffusion checkpoint"),
        ("control_model.", "a ControlNet"),
        ("lora_", "a LoRA"),
        ("first_stage_model.", "a Stable Diffusion checkpoint without text encoder"),
        ("encoder.down", "a VAE"),
        ("text_model.", "a text encoder"),
        ("down_blocks.", "a U-Net alone"),
    )
    for start, kind in signs:
        if any(name.startswith(start) for name in names):
            return f"it looks like {kind}"
    return f"its tensors are {_some(list(names))}" if names else "it holds no tensors"


# --- writing ---------------------------------------------------------------------------------------------------------


def _metadata(config: SDPoseConfig) -> dict[str, str]:
    """What our own files say about themselves: text only, as the format wants it."""
    from . import __version__

    return {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "library_version": __version__,
        "keypoint_set": config.keypoint_set,
        "feature_levels": ",".join(config.feature_levels),
        "input_size": "x".join(map(str, config.input_size)),
        "heatmap_sigma": str(config.heatmap_sigma),
        "config": json.dumps(config.to_dict(), sort_keys=True),
    }


def _write_file(
    tensors: Mapping[str, torch.Tensor],
    config: SDPoseConfig,
    path: Path,
    layout: Layout,
    metadata: Mapping[str, str],
) -> list[str]:
    from safetensors.torch import save_file

    notes = []
    if layout == "comfy":
        notes = _comfy_notes(tensors, config)
        tensors = _comfy_tensors(tensors, config)
    with atomic_path(path) as temporary:
        save_file(dict(tensors), temporary, metadata={**metadata, **_metadata(config)})
    return notes


def _comfy_tensors(tensors: Mapping[str, torch.Tensor], config: SDPoseConfig) -> dict[str, torch.Tensor]:
    unet, vae = keys.unet_modules(config.unet), keys.vae_modules(config.vae)
    written: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        if name == _TEXT:
            if not _is_shipped_text(value):
                written[keys.COMFY_TEXT] = value
        elif name.startswith("head."):
            written[keys.COMFY_HEAD + name.removeprefix("head.")] = value
        elif name.startswith("unet."):
            written[keys.COMFY_UNET + _translated(name.removeprefix("unet."), unet)] = value
        else:
            theirs = keys.COMFY_VAE + _translated(name.removeprefix("vae."), vae)
            written[theirs] = value[..., None, None] if keys.is_conv_attention(theirs) else value
    return {name: value.contiguous() for name, value in written.items()}


def _translated(name: str, table: Mapping[str, str]) -> str:
    translated = keys.renamed(name, table)
    if translated is None:
        raise CheckpointError(f"the tensor '{name}' has no name in latent diffusion's layout")
    return translated


def _comfy_notes(tensors: Mapping[str, torch.Tensor], config: SDPoseConfig) -> list[str]:
    notes = []
    if (config.num_keypoints, config.feature_levels) != (133, ("F2",)):
        notes.append(
            f"ComfyUI's own SDPose nodes read 133 keypoints at F2 only, this is {config.num_keypoints} at "
            f"{', '.join(config.feature_levels)}: our nodes read it"
        )
    return [*notes, *_incomplete(tensors, "ComfyUI's own checkpoint loader needs them")]


def _incomplete(tensors: Mapping[str, torch.Tensor], why: str) -> list[str]:
    """What a released reader would miss."""
    absent = [
        what
        for what, prefix in (("the VAE decoder", _VAE_DECODER), ("the RGB branch", _RGB_ONLY))
        if not any(name.startswith(prefix) for name in tensors)
    ]
    return [f"without {' and '.join(absent)}, which the source does not have; {why}"] if absent else []


def _write_folder(tensors: Mapping[str, torch.Tensor], config: SDPoseConfig, path: Path) -> list[str]:
    """The released folder, written beside its name and renamed."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        for folder, stem, prefix in (
            ("unet", "diffusion_pytorch_model", "unet."),
            ("vae", "diffusion_pytorch_model", "vae."),
            ("decoder", "decoder", "head."),
        ):
            part = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
            (temporary / folder).mkdir()
            save_file(part, temporary / folder / f"{stem}.safetensors", metadata={"format": "pt"})
        if _TEXT in tensors:
            save_file({_TEXT: tensors[_TEXT]}, temporary / f"{_TEXT}.safetensors")
        for name, content in _folder_configs(config).items():
            (temporary / name).parent.mkdir(exist_ok=True)
            (temporary / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        _replace_folder(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    lacking = "without text_encoder/ and tokenizer/: our tools never need them, the official demo does"
    return [lacking, *_incomplete(tensors, "diffusers' own loaders expect them")]


def _replace_folder(new: Path, path: Path) -> None:
    new.chmod(0o755)
    if path.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
        path.rename(old / path.name)
        new.rename(path)
        shutil.rmtree(old)
    else:
        new.rename(path)


def _folder_configs(config: SDPoseConfig) -> dict[str, dict[str, Any]]:
    values = config.to_dict()
    unet, vae = values.pop("unet"), values.pop("vae")
    levels = len(config.vae.block_out_channels)
    return {
        "unet/config.json": {
            "_class_name": "UNet2DConditionModel",
            **unet,
            "class_embed_type": "projection",
            "projection_class_embeddings_input_dim": 4,
            "sample_size": config.latent_size[0],
        },
        "vae/config.json": {
            "_class_name": "AutoencoderKL",
            **vae,
            "in_channels": 3,
            "out_channels": 3,
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
        },
        "scheduler/scheduler_config.json": {
            "_class_name": "DDPMScheduler",
            "num_train_timesteps": 1000,
            "prediction_type": "sample",
        },
        "sdpose.json": {name: values[name] for name in _SETTINGS if name in values},
    }


def _is_shipped_text(value: torch.Tensor) -> bool:
    from .model import EMPTY_PROMPT_WIDTH, empty_prompt_embedding

    return value.shape[-1] == EMPTY_PROMPT_WIDTH and bool((value.float() == empty_prompt_embedding()).all())
