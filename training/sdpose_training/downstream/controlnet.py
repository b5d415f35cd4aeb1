"""ControlNet through diffusers, from local folders."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.dependencies import require
from sdpose_core.errors import CheckpointError, InputError, NotFiniteError
from sdpose_core.network import quiet_client, shown
from sdpose_core.texts import read_json
from sdpose_core.transformers_files import refuse_elsewhere

_INDEX = "model_index.json"

_LIBRARIES = (None, "diffusers", "transformers", "stable_diffusion")
"""Where the parts of a pipeline may come from; diffusers would import any module."""

_PROBE = 1 << 20


@dataclass(frozen=True)
class ControlNetSettings:
    """Options of diffusers' pipeline."""

    steps: int = 20
    guidance: float = 7.5
    conditioning_scale: float = 1.0
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"--steps {self.steps}: expected 1 or more")


class ControlNetPictures:
    """Stable Diffusion with a ControlNet: pose map, prompt and seed -> picture.

    Each picture has a new generator on the CPU with its seed, so two maps with one seed get the same noise, also in
    schedulers that draw noise at every step.

    Args:
        base: folder of Stable Diffusion in diffusers' layout (model_index.json), safetensors.
        controlnet: folder of an OpenPose ControlNet for it.
        device, dtype: as in `load_sdpose`.

    Raises:
        CheckpointError: a folder is missing or incomplete, or the two do not fit together.
        MissingDependency: diffusers or transformers is not installed.
    """

    def __init__(
        self, base: Path, controlnet: Path, settings: ControlNetSettings, *, device: Any = None, dtype: Any = None
    ) -> None:
        for package in ("torch", "diffusers", "transformers"):
            require(package, "the downstream check")
        from sdpose_core.model.devices import fp32_on_cpu, pick_device, pick_dtype

        self.settings, self._device = settings, pick_device(device)
        from diffusers import StableDiffusionControlNetPipeline

        unchecked = {"safety_checker": None, "requires_safety_checker": False}
        pipeline = load_pipeline(StableDiffusionControlNetPipeline, Path(base), Path(controlnet), **unchecked)
        self._pipeline = pipeline.to(self._device, pick_dtype(fp32_on_cpu(dtype, self._device), self._device))
        self._pipeline.set_progress_bar_config(disable=True)
        self.facts = {
            "base": Path(base).name,
            "ControlNet": Path(controlnet).name,
            "weights": fingerprint(Path(base), Path(controlnet)),
            "scheduler": type(self._pipeline.scheduler).__name__,
            "dtype": str(self._pipeline.unet.dtype).removeprefix("torch."),
            **asdict(settings),
        }

    def __call__(self, pose_map: np.ndarray, prompt: str, seed: int) -> np.ndarray:
        """Pose map RGB uint8 (h, w, 3), sides multiples of 64 -> picture RGB uint8 (h, w, 3).

        Raises `NotFiniteError`.
        """
        import torch
        from PIL import Image

        h, w = pose_map.shape[:2]
        output = self._pipeline(
            prompt=prompt, negative_prompt=self.settings.negative_prompt, image=Image.fromarray(pose_map), width=w,
            height=h, num_inference_steps=self.settings.steps, guidance_scale=self.settings.guidance,
            controlnet_conditioning_scale=self.settings.conditioning_scale,
            generator=torch.Generator("cpu").manual_seed(seed), output_type="np",
        )  # fmt: skip
        return as_uint8(output.images[0])


def as_uint8(picture: np.ndarray) -> np.ndarray:
    """Values 0..1 -> uint8, of any shape. Raises `NotFiniteError`."""
    if not np.isfinite(picture).all():  # it would be black
        raise NotFiniteError("ControlNet gave values that are not numbers (NaN or infinity): use full precision")
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _refuse_programs(folder: Path) -> None:
    """Raise `CheckpointError` for a folder that some versions of diffusers or transformers would run programs of."""
    for pattern in "*.py", "*/*.py":
        if found := next(folder.glob(pattern), None):
            raise CheckpointError(f"{found} is a program: expected a folder of weights and configurations alone")
    index = read_json(folder / _INDEX) if (folder / _INDEX).exists() else {}
    for name, place in index.items() if isinstance(index, dict) else ():
        library = place[0] if isinstance(place, list) and place else None
        if library not in _LIBRARIES or (name == "_class_name" and not isinstance(place, str)):
            raise CheckpointError(f"{folder / _INDEX}: {name} is {shown(str(place))}: expected a part of diffusers")
    for file in (*folder.glob("config.json"), *folder.glob("*/config.json")):
        refuse_elsewhere(read_json(file), str(file.parent))


def check_folder(folder: Path, file: str, option: str) -> None:
    """Raise `CheckpointError` unless `folder` has `file` and holds weights and configurations alone."""
    if not (folder / file).is_file():
        raise CheckpointError(f"{option} {folder} has no {file}: expected a folder in diffusers' layout")
    _refuse_programs(folder)


def load_part(kind: Any, folder: Path, **options: Any) -> Any:
    """A model or pipeline of diffusers from a local folder of safetensors. Raises `CheckpointError`."""
    try:
        with quiet_client(offline=True):
            return kind.from_pretrained(folder, local_files_only=True, use_safetensors=True, **options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:  # for damaged or other folders
        raise CheckpointError(f"cannot load {folder}: {str(error).strip().splitlines()[0]}") from None


def load_pipeline(kind: Any, base: Path, controlnet: Path, **parts: Any) -> Any:
    """A pipeline with a ControlNet from two local folders, and more `parts`.

    Raises `CheckpointError` for folders that are missing, damaged, hold programs, or do not fit together.
    """
    check_folder(base, _INDEX, "--base")
    check_folder(controlnet, "config.json", "--controlnet")
    from diffusers import ControlNetModel

    net = load_part(ControlNetModel, controlnet)
    pipeline = load_part(kind, base, controlnet=net, **parts)
    widths = (net.config.cross_attention_dim, pipeline.unet.config.cross_attention_dim)
    if widths[0] != widths[1]:
        raise CheckpointError(
            f"{controlnet} expects text of width {widths[0]}, {base} has {widths[1]}: use a ControlNet for this base"
        )
    return pipeline


def fingerprint(*folders: Path) -> str:
    """A quick hash that tells weights apart: of their names, lengths, first and last megabytes."""
    digest = hashlib.sha256()
    for path in (file for folder in folders for file in sorted(folder.rglob("*.safetensors"))):
        digest.update(f"{path.parent.name}/{path.name} {path.stat().st_size}\n".encode())
        with open(path, "rb") as file:
            digest.update(file.read(_PROBE))
            file.seek(max(path.stat().st_size - _PROBE, 0))
            digest.update(file.read(_PROBE))
    return digest.hexdigest()[:12]
