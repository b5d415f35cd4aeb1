"""Options of what generates pictures from pose maps, shared by `downstream_check.py` and `make_figures.py`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sdpose_core.errors import InputError
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.texts import read_json
from sdpose_training.downstream.controlnet import ControlNetSettings
from sdpose_training.options import whole_numbers
from sdpose_training.peers.loading import load_peer


def add_generation(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add weights, prompts, seeds and settings of Stable Diffusion with a ControlNet."""
    add = parser.add_argument
    add("--base", type=Path, required=required, metavar="DIR", help="Stable Diffusion in diffusers' layout")
    add("--controlnet", type=Path, required=required, metavar="DIR", help="an OpenPose ControlNet for it")
    add("--prompt", default="a person, detailed", help="for pictures not in --prompts (default: %(default)r)")
    add("--prompts", type=Path, metavar="FILE", help="JSON: picture name -> prompt")
    add("--negative-prompt", default="")
    add("--seeds", type=whole_numbers, default=(0,), metavar="0,1,...", help="one picture per seed (default: 0)")
    add("--steps", type=int, default=20)
    add("--guidance", type=float, default=7.5)
    add("--conditioning-scale", type=float, default=1.0)
    add("--short-side", type=int, default=512, help="of the generated pictures, in pixels (default: 512)")


def generation_settings(options: argparse.Namespace) -> ControlNetSettings:
    """The settings of `add_generation`."""
    return ControlNetSettings(options.steps, options.guidance, options.conditioning_scale, options.negative_prompt)


def add_checker(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the estimator that looks at the generated pictures."""
    add = parser.add_argument
    add("--estimator", default=default, help="estimates poses in the generated pictures: preview, an SDPose, a peer "
        f"such as rtmpose:FILE.onnx, or none (default: {default})")  # fmt: skip
    add("--trust-file", action="store_true", help="run the code in a TorchScript file given as --estimator")


def load_checker(options: argparse.Namespace) -> Any:
    """The estimator of `add_checker`; None for "none"."""
    if options.estimator == "none":
        return None
    if ":" in options.estimator and not Path(options.estimator).exists():
        return load_peer(options.estimator, device=options.device, trust_file=options.trust_file)
    from sdpose_core.model.devices import fp32_on_cpu

    dtype = None if options.estimator.lower().endswith(".onnx") else fp32_on_cpu(None, options.device)
    return load_estimator(options.estimator, device=options.device, dtype=dtype)


def read_prompts(path: Path | None) -> dict[str, str]:
    """The prompts of --prompts, none without it. `InputError` for another kind of file."""
    if path is None:
        return {}
    content = read_json(path, "the prompts of --prompts")
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise InputError(f'--prompts {path}: expected {{"picture": "its prompt", ...}}')
    return content
