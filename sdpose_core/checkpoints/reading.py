"""Opens checkpoints of any layout: their tensors under our names, and their stored configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, InputError, reason_of
from ..model.config import POSE_PASS, UP_BLOCK_OF_LEVEL, SDPoseConfig, UNetConfig, VAEConfig
from ..tensor_files import PICKLES, Tensors, files_of, kind_of, open_tensors, read_json, some
from . import names as keys
from .adapters import Adapter, adapter_of, find_base, merged_tensors
from .sizes import config_of, settings_of_metadata, unet_config, unet_from_comfy, vae_config, vae_from_comfy, what_it_is
from .wrappers import holds_a_head, unwrapped

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class CheckpointInfo:
    """Origin of weights.

    Attributes:
        path: file or folder.
        layout: one of `LAYOUTS`, "pickle", or "adapter".
        metadata: text entries (training step, recipe, ...) of a single file, or of a folder's sdpose.json.
        input_size: (w, h) of the checkpoint's crops, without overrides.
    """

    path: Path
    layout: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    input_size: tuple[int, int] = SDPoseConfig.input_size


@dataclass(frozen=True)
class OpenedCheckpoint:
    """An opened checkpoint, with tensors under our names."""

    info: CheckpointInfo
    tensors: Tensors
    settings: Mapping[str, Any]
    unet: UNetConfig | None = None
    vae: VAEConfig | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Which of the stored tensors these are, if that was not obvious."""
        return self.tensors.notes

    def config(self, **overrides: Any) -> SDPoseConfig:
        """Its configuration; overrides as in `config_of`."""
        return config_of(self.tensors.shapes, self.info.path, self.settings, self.unet, self.vae, **overrides)

    def described(
        self, *, input_size: tuple[int, int] | None = None, **overrides: Any
    ) -> tuple[SDPoseConfig, CheckpointInfo]:
        """Its configuration with overrides, and its origin with the stored input size."""
        stored = self.config(**overrides)
        config = stored if input_size is None else self.config(**overrides, input_size=input_size)
        return config, replace(self.info, input_size=stored.input_size)


@contextmanager
def opened(
    path: Path,
    pickles: bool = False,
    entry: str | None = None,
    *,
    base: str | Path | None = None,
    search: Sequence[str | Path] = (),
) -> Iterator[OpenedCheckpoint]:
    """The checkpoint at `path`; an adapter with its base is one, too. Raises `CheckpointError`.

    Args:
        pickles: whether they may be read.
        entry: chooses one of several sets of weights.
        base, search: of an adapter, see `adapters.find_base`.
    """
    with ExitStack() as stack:
        with damage_named(path):
            if path.is_dir():
                checkpoint = _open_folder(path, stack, pickles)
            else:
                found = stack.enter_context(open_tensors(path, pickles=pickles, entry=entry, fits=holds_a_head))
                adapter = adapter_of(found.metadata, path)
                if adapter is not None:
                    checkpoint = _open_adapter(path, adapter, found, base, search, stack)
                else:
                    checkpoint = _from_single(path, unwrapped(found, path, None if entry == found.entry else entry))
        if base is not None and checkpoint.info.layout != "adapter":
            raise CheckpointError(f"{path} is no adapter: leave out the base")
        yield checkpoint


def _open_adapter(
    path: Path,
    adapter: Adapter,
    found: Tensors,
    base: str | Path | None,
    search: Sequence[str | Path],
    stack: ExitStack,
) -> OpenedCheckpoint:
    """An adapter and its base as one checkpoint."""
    settings = settings_of_metadata(found.metadata, path)
    if not settings:
        raise CheckpointError(f"{path}: the adapter has no configuration in its metadata: it is damaged")
    place = find_base(path, adapter, base, search)
    if place.is_dir() and not (place / "decoder").is_dir():
        below = open_base(place, stack)
    else:
        below = stack.enter_context(opened(place, search=search)).tensors
    tensors = merged_tensors(path, adapter, found, below)
    unet, vae = settings.pop("unet"), settings.pop("vae")
    checkpoint = OpenedCheckpoint(CheckpointInfo(path, "adapter", dict(found.metadata)), tensors, settings, unet, vae)
    config, rgb = checkpoint.config(), adapter.rgb_branch
    used = {n: s for n, s in tensors.shapes.items() if n.startswith(keys.VAE_DECODER) or is_needed(n, config, rgb)}
    return replace(checkpoint, tensors=replace(tensors, shapes=used))


def open_base(folder: Path, stack: ExitStack) -> Tensors:
    """U-Net, VAE, and the embedding of the empty prompt if there is one, of a folder in diffusers' layout."""
    parts = {f"{part}.": open_folder_part(folder, part, stack) for part in ("unet", "vae")}
    if (folder / f"{keys.TEXT}.safetensors").exists():
        parts[""] = stack.enter_context(open_tensors(folder / f"{keys.TEXT}.safetensors"))
    return renamed_tensors(parts)


def is_needed(name: str, config: SDPoseConfig, with_rgb_branch: bool) -> bool:
    """Whether a model of this configuration has a tensor of this name."""
    if name.startswith(keys.VAE_DECODER):
        return False
    from_pose = config.reconstruction == POSE_PASS
    if with_rgb_branch and not from_pose:
        return True
    last = max(UP_BLOCK_OF_LEVEL[level] for level in config.feature_levels)
    later = tuple(f"unet.up_blocks.{i}." for i in range(last + 1, 4))
    reconstruction = () if with_rgb_branch else (keys.RECONSTRUCTION,)
    return not name.startswith(keys.RGB_OUTPUT + later + reconstruction)


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Sizes that no model has, and files that cannot be read, become a `CheckpointError` that names `path`."""
    try:
        yield
    except InputError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {reason_of(error)}") from None


def _open_folder(path: Path, stack: ExitStack, pickles: bool) -> OpenedCheckpoint:
    parts_of_folder = ("unet", "vae", "decoder")
    if missing := [name for name in parts_of_folder if not (path / name).is_dir()]:
        files = sorted(file.name for file in path.iterdir() if file.suffix.lower() in (".safetensors", *PICKLES))
        advice = f"choose the folder {path.parent}" if path.name in parts_of_folder else ""
        advice = advice or (f"choose a file in it: {some(files)}" if files else "")
        raise CheckpointError(
            f"{path} is not an SDPose folder: expected unet/, vae/ and decoder/, missing {', '.join(missing)}"
            + (" (a plain Stable Diffusion folder has no heatmap head)" if missing == ["decoder"] else "")
            + (f"; {advice}" if advice else "")
        )
    folders = {"unet.": "unet", "vae.": "vae", "head.": "decoder"}
    parts = {prefix: open_folder_part(path, folder, stack, pickles) for prefix, folder in folders.items()}
    if (path / f"{keys.TEXT}.safetensors").exists():
        parts[""] = stack.enter_context(open_tensors(path / f"{keys.TEXT}.safetensors"))
    settings = _json_if_there(path / "sdpose.json") or {}
    metadata = settings.pop("metadata", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise CheckpointError(f"{path / 'sdpose.json'}: expected texts by name as metadata, found {metadata!r:.60}")
    unet, vae = (_json_if_there(path / part / "config.json") for part in ("unet", "vae"))
    return OpenedCheckpoint(
        CheckpointInfo(path, "diffusers", metadata),
        renamed_tensors(parts),
        settings,
        unet_config(unet) if unet else None,
        vae_config(vae) if vae else None,
    )


def open_folder_part(folder: Path, part: str, stack: ExitStack, pickles: bool = False) -> Tensors:
    """The tensors of a folder's "unet", "vae" or "decoder", under the file's names."""
    stem = "decoder" if part == "decoder" else "diffusion_pytorch_model"
    found = stack.enter_context(open_tensors(*files_of(folder / part, stem, pickles), pickles=pickles))
    return unwrapped(found, folder / part)


def _json_if_there(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.exists() else None


def _from_single(path: Path, tensors: Tensors) -> OpenedCheckpoint:
    metadata = dict(tensors.metadata)
    settings = settings_of_metadata(metadata, path)
    unet, vae = settings.pop("unet", None), settings.pop("vae", None)
    if any(name.startswith(keys.COMFY_UNET) for name in tensors.shapes):
        return _from_comfy(path, tensors, settings, unet, vae)
    if not any(name.startswith("head.") for name in tensors.shapes):
        folder = path.parent.parent
        hint = f"the folder {folder}" if path.parent.name in ("unet", "vae", "decoder") else "an SDPose checkpoint"
        kind = what_it_is(list(tensors.shapes))
        raise CheckpointError(f"{path} is not an SDPose checkpoint but {kind}; choose {hint}")
    layout = "pickle" if kind_of(path) == "pickle" else "ours"
    return OpenedCheckpoint(CheckpointInfo(path, layout, metadata), tensors, settings, unet, vae)


def _from_comfy(
    path: Path, tensors: Tensors, settings: Mapping[str, Any], unet: UNetConfig | None, vae: VAEConfig | None
) -> OpenedCheckpoint:
    if f"{keys.COMFY_HEAD}final_layer.weight" not in tensors.shapes:
        raise CheckpointError(
            f"{path} has no heatmap head (missing '{keys.COMFY_HEAD}final_layer.weight'), it is "
            f"{what_it_is(list(tensors.shapes))}; choose an SDPose checkpoint"
        )
    unet = unet or unet_from_comfy(tensors.shapes, path)
    vae = vae or vae_from_comfy(tensors.shapes, path)
    unet_table, vae_table = keys.inverted(keys.unet_modules(unet)), keys.inverted(keys.vae_modules(vae))
    ours = {name: _from_comfy_name(name, unet_table, vae_table) for name in tensors.shapes}
    if unknown := [name for name, our_name in ours.items() if our_name is None]:
        raise CheckpointError(f"{path} has tensors that no SDPose has: {some(unknown)}")
    origin = {our_name: (tensors, name) for name, our_name in ours.items() if our_name is not None}
    info = CheckpointInfo(path, "comfy", dict(tensors.metadata))
    return OpenedCheckpoint(info, _under_names(origin), settings, unet, vae)


def _from_comfy_name(name: str, unet: Mapping[str, str], vae: Mapping[str, str]) -> str | None:
    if name == keys.COMFY_TEXT:
        return keys.TEXT
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


def read_vae_decoder(path: Path) -> dict[str, torch.Tensor]:
    """The VAE decoder, under our names, of a folder with vae/ or of a checkpoint."""
    with ExitStack() as stack:
        if path.is_dir():
            tensors = renamed_tensors({"vae.": open_folder_part(path, "vae", stack)})
        else:
            tensors = stack.enter_context(opened(path)).tensors
        state = {name: tensors.read(name) for name in tensors.shapes if name.startswith(keys.VAE_DECODER)}
    if not state:
        raise CheckpointError(f"{path} has no VAE decoder: choose a folder with vae/, or a checkpoint with decoder")
    return state


def renamed_tensors(parts: Mapping[str, Tensors]) -> Tensors:
    """The tensors of a folder's parts, with each part's prefix and diffusers' present names."""
    return _under_names({at + _modern(name): (found, name) for at, found in parts.items() for name in found.shapes})


def _under_names(origin: Mapping[str, tuple[Tensors, str]]) -> Tensors:
    """Tensors under new names, with the VAE's attention as matrices: some files keep it as 1 x 1 convolutions."""

    def shape(name: str) -> tuple[int, ...]:
        tensors, old = origin[name]
        stored = tensors.shapes[old]
        flat = name.startswith("vae.") and ".attentions." in name and len(stored) == 4 and stored[2:] == (1, 1)
        return stored[:2] if flat else stored

    def read(name: str) -> torch.Tensor:
        tensors, old = origin[name]
        return tensors.read(old).reshape(shape(name))

    notes = dict.fromkeys(note for tensors, _ in origin.values() for note in tensors.notes)
    return Tensors({name: shape(name) for name in origin}, read, notes=tuple(notes))


def _modern(name: str) -> str:
    """Early diffusers' names of the VAE's attention -> today's."""
    parts = name.split(".")
    if "attentions" in parts and len(parts) > 1 and parts[-2] in keys.OLD_DIFFUSERS_ATTENTION:
        parts[-2] = keys.OLD_DIFFUSERS_ATTENTION[parts[-2]]
    return ".".join(parts)
