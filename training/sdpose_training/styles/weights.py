"""Weights of the style models: conversion of the authors' pickles to safetensors, and loading of the result.

Nothing is downloaded. The authors' files are CycleGAN's `style_ukiyoe` (latest_net_G.pth) and three of StyTr2
(embedding_iter_*.pth, transformer_iter_*.pth, decoder_iter_*.pth).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.files import atomic_path, sha256_of
from sdpose_core.tensor_files import PICKLES, kind_of, open_tensors, read_pickle
from sdpose_training.styles import cyclegan, stytr2

log = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class StyleModel:
    """A style network.

    Attributes:
        method, build: its name, also in converted files; returns it at the released size.
        parts: for each of the authors' files, their tensor names -> ours.
        is_left_out: whether one of their tensors is not needed.
    """

    method: str
    build: Callable[[], nn.Module]
    parts: Mapping[str, Mapping[str, str]]
    is_left_out: Callable[[str], bool] = lambda name: False


STYLE_MODELS = {
    "ukiyoe": StyleModel(
        "CycleGAN", cyclegan.CycleGANGenerator, {"generator": cyclegan.released_names()}, cyclegan.is_left_out
    ),
    "monet": StyleModel("StyTR2", stytr2.StyTR2, stytr2.released_names()),
}
"""Style -> network, as for the released benchmark."""


def convert(style: str, sources: Sequence[Path], out: Path) -> None:
    """Convert the authors' pickles to one safetensors file; no code in them is run.

    Raises:
        CheckpointError: a file is damaged, not a plain pickle of tensors, or of another network or size; a part is
            missing or given twice.
        InputError: `out` does not end with .safetensors, or cannot be written.
    """
    kind = STYLE_MODELS[style]
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: expected a name that ends with .safetensors")
    parts: dict[str, Tensors] = {}
    origin: dict[str, str] = {}
    for source in sources:
        part, tensors = _read_part(kind, source)
        if part in parts:
            raise CheckpointError(f"{source} is {kind.method}'s {part}, like another file: {_expected(kind)}")
        parts[part] = tensors
        origin[f"{part}_sha256"] = sha256_of(source)
    if missing := [part for part in kind.parts if part not in parts]:
        raise CheckpointError(f"no file is {kind.method}'s {' or '.join(missing)}: {_expected(kind)}")
    state = {name: value.float().contiguous() for tensors in parts.values() for name, value in tensors.items()}
    _check(_shapes(kind), {k: tuple(v.shape) for k, v in state.items()}, ", ".join(str(s) for s in sources), kind)
    with atomic_path(out) as temporary:
        save_file(state, temporary, metadata={"style_model": kind.method, **origin})


def load_style_model(style: str, path: Path) -> nn.Module:
    """The network for inference with the weights of a converted file, float32 on the CPU.

    Raises `CheckpointError` for any other file.
    """
    kind = STYLE_MODELS[style]
    command = f"'python training/make_coco_ood.py convert IN.pth OUT.safetensors --style {style}'"
    if kind_of(path) == "pickle":
        raise CheckpointError(f"{path} is a pickle, and opening it can run code: convert it once with {command}")
    with open_tensors(path) as file:
        found = file.metadata.get("style_model")
        if found != kind.method:
            was = f"made for {found}" if found else "not made by that command"
            raise CheckpointError(f"{path} is {was}: style {style!r} needs {kind.method}'s weights from {command}")
        _check(_shapes(kind), file.shapes, str(path), kind)
        state = {name: file.read(name).float() for name in file.shapes}
    with torch.device("meta"):
        model = kind.build()
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def _read_part(kind: StyleModel, source: Path) -> tuple[str, Tensors]:
    """The part of the network in a pickle, and its tensors by our names."""
    if kind_of(source) != "pickle":
        raise CheckpointError(f"{source}: expected one of the authors' pickles ({', '.join(PICKLES)})")
    file = read_pickle(source)
    names = [name for name in file.shapes if not kind.is_left_out(name)]
    part = max(kind.parts, key=lambda part: len(kind.parts[part].keys() & set(names)))
    table = kind.parts[part]
    if not table.keys() & set(names):
        raise CheckpointError(
            f"{source} has no tensor of {kind.method} (its first: {next(iter(file.shapes))}): {_expected(kind)}"
        )
    _check_names(table.keys(), names, f"{source} ({kind.method}'s {part})")
    if left_out := len(file.shapes) - len(names):
        log.info("%s: left out running statistics that are not needed (%d)", source, left_out)
    return part, {table[name]: file.read(name) for name in names}


def _expected(kind: StyleModel) -> str:
    return f"give {len(kind.parts)} file{'s' if len(kind.parts) > 1 else ''}: {', '.join(kind.parts)}"


def _shapes(kind: StyleModel) -> Shapes:
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in kind.build().state_dict().items()}


def _check(expected: Shapes, found: Shapes, source: str, kind: StyleModel) -> None:
    """Raise `CheckpointError` unless names and shapes are those of the network."""
    _check_names(expected, found, source)
    if other := [name for name in expected if tuple(found[name]) != tuple(expected[name])]:
        raise CheckpointError(
            f"{source}: shapes differ from the released {kind.method} ({len(other)}, the first {other[0]!r} "
            f"{tuple(found[other[0]])}, expected {tuple(expected[other[0]])}): use the released weights"
        )


def _check_names(expected: Sequence[str] | Mapping, found: Sequence[str] | Mapping, source: str) -> None:
    """Raise `CheckpointError` unless the tensors are the expected ones."""
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    if missing or unexpected:
        raise CheckpointError(
            f"{source} is of another network or variant: missing tensors: {_first(missing)}; unexpected: "
            f"{_first(unexpected)}: use the released weights"
        )


def _first(names: Sequence[str]) -> str:
    return f"{len(names)} (the first {names[0]!r})" if names else "0"
