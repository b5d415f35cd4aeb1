"""Frames of an animation from pose maps, through diffusers' AnimateDiff with a ControlNet, from local folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.dependencies import require
from sdpose_core.errors import InputError
from sdpose_core.files import temporary_folder
from sdpose_core.images import write_png
from sdpose_training.downstream.controlnet import (
    ControlNetSettings,
    as_uint8,
    check_folder,
    fingerprint,
    load_part,
    load_pipeline,
)

FrameGenerator = Callable[[Sequence[np.ndarray], str, int], Sequence[np.ndarray]]
"""(pose maps RGB uint8 (h, w, 3), prompt, seed) -> as many frames of the same shape."""

_LINEAR = {"beta_schedule": "linear", "clip_sample": False, "timestep_spacing": "linspace", "steps_offset": 1}
"""Schedule for which AnimateDiff's motion modules were trained."""


class ControlNetAnimation:
    """Stable Diffusion with AnimateDiff's motion modules and a ControlNet: pose maps, prompt and seed -> frames.

    Args:
        base: folder of Stable Diffusion 1.x in diffusers' layout (model_index.json), safetensors.
        controlnet: folder of an OpenPose ControlNet for it.
        motion: folder of a motion adapter (config.json) for it.
        device, dtype: as in `load_sdpose`.

    Raises:
        CheckpointError: a folder is missing or incomplete, or they do not fit together.
        MissingDependency: diffusers or transformers is not installed.
    """

    def __init__(
        self, base: Path, controlnet: Path, motion: Path, settings: ControlNetSettings, *, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        for package in ("torch", "diffusers", "transformers"):
            require(package, "animations")
        from diffusers import AnimateDiffControlNetPipeline, DDIMScheduler, MotionAdapter

        from sdpose_core.model.devices import fp32_on_cpu, pick_device, pick_dtype

        check_folder(Path(motion), "config.json", "--motion")
        adapter = load_part(MotionAdapter, Path(motion))
        pipeline = load_pipeline(
            AnimateDiffControlNetPipeline, Path(base), Path(controlnet), motion_adapter=adapter
        )  # fmt: skip
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, **_LINEAR)
        self.settings, self._device = settings, pick_device(device)
        self._pipeline = pipeline.to(self._device, pick_dtype(fp32_on_cpu(dtype, self._device), self._device))
        self._pipeline.set_progress_bar_config(disable=True)
        self.longest = int(adapter.config.motion_max_seq_length)
        folders = [Path(folder) for folder in (base, controlnet, motion)]
        names = dict(zip(("base", "ControlNet", "motion adapter"), (folder.name for folder in folders), strict=True))
        self.facts = {**names, "weights": fingerprint(*folders), "scheduler": "DDIMScheduler", **asdict(settings)}

    def __call__(self, pose_maps: Sequence[np.ndarray], prompt: str, seed: int) -> list[np.ndarray]:
        """Pose maps RGB uint8 (h, w, 3), sides multiples of 64 -> frames RGB uint8 (h, w, 3).

        Raises `InputError` for more frames than the motion adapter has places for, and `NotFiniteError`.
        """
        import torch
        from PIL import Image

        if len(pose_maps) > self.longest:
            raise InputError(
                f"{len(pose_maps)} frames, the motion adapter takes at most {self.longest}: give fewer --frames"
            )
        h, w = pose_maps[0].shape[:2]
        output = self._pipeline(
            prompt=prompt, negative_prompt=self.settings.negative_prompt, num_frames=len(pose_maps), width=w, height=h,
            conditioning_frames=[Image.fromarray(each) for each in pose_maps], guidance_scale=self.settings.guidance,
            num_inference_steps=self.settings.steps, generator=torch.Generator("cpu").manual_seed(seed),
            controlnet_conditioning_scale=self.settings.conditioning_scale, output_type="np",
        )  # fmt: skip
        return list(as_uint8(output.frames[0]))


def animate(
    generate: FrameGenerator, pose_maps: Sequence[np.ndarray], prompt: str, seed: int, folder: Path,
    facts: Mapping[str, Any],
) -> Path:  # fmt: skip
    """A folder of frames 000000.png, ... below `folder`, made unless it is there: its name has a hash of all inputs."""
    key = hashlib.sha256(json.dumps([prompt, seed, dict(facts)], sort_keys=True).encode())
    for pose_map in pose_maps:
        key.update(f"{pose_map.shape}".encode() + pose_map.tobytes())
    target = folder / f"frames-{seed}-{key.hexdigest()[:12]}"
    if target.is_dir():
        return target
    frames = generate(pose_maps, prompt, seed)
    with temporary_folder(target) as temporary:
        for number, frame in enumerate(frames):
            write_png(temporary / "whole" / f"{number:06d}.png", frame)
        (temporary / "whole").rename(target)
    return target
