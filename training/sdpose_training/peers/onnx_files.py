"""What all peers from ONNX files share: loading on a device, the input, batches, the title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.onnx_devices import DEVICES
from sdpose_core.onnx_runtime import OnnxModel


@dataclass(frozen=True)
class PictureInput:
    """The picture input of a model.

    Attributes:
        name: of the input.
        size: (w, h) of the pictures.
        batch: number of pictures that the file fixes, None if it is free.
    """

    name: str
    size: tuple[int, int]
    batch: int | None


def open_onnx(path: Path, device: Any = None) -> OnnxModel:
    """Load an ONNX file on a device of `onnx_devices.DEVICES`, or on the best one for any other device and None.

    Raises what `OnnxModel` raises.
    """
    return OnnxModel(path, device=device if str(device).partition(":")[0] in DEVICES else None)


def picture_input(
    model: OnnxModel, what: str, asked: tuple[int, int] | None = None, *, example: str = "", more: Sequence[str] = ()
) -> PictureInput:
    """The model's input for pictures.

    Args:
        model: loaded.
        what: the kind of model, for errors.
        asked: (w, h), for files that leave the size open.
        example: of the option that gives the size; "" if there is none.
        more: names of the other inputs.

    Raises:
        CheckpointError: other inputs, or another number of channels or pictures.
        InputError: the size is open and was not given, or it is fixed to another one.
    """
    ports = [port for port in model.inputs if port.name not in more]
    shape = ports[0].shape if len(ports) == 1 and len(model.inputs) == 1 + len(more) else ()
    open_size = len(shape) == 4 and None in shape[2:]
    if len(shape) != 4 or shape[1] not in (3, None) or shape[0] not in (1, None) or (open_size and not example):
        inputs = [each.shape for each in model.inputs]
        fixed = "" if example else " with a fixed height and width"
        raise CheckpointError(
            f"{model.path} is not {what}: expected one input of shape (1 or any, 3, height, width){fixed}"
            f"{' and ' if more else ''}{', '.join(more)}, its inputs are {inputs}"
        )
    return PictureInput(ports[0].name, _size(model, shape[3], shape[2], asked, example), shape[0])


def _size(
    model: OnnxModel, w: int | None, h: int | None, asked: tuple[int, int] | None, example: str
) -> tuple[int, int]:
    """(w, h) of the file, or the one asked for where the file leaves it open."""
    if asked is None:
        if w is None or h is None:
            raise InputError(f"{model.path} leaves the size of its input open: give it, such as {example} (w x h)")
        return w, h
    if w not in (None, asked[0]) or h not in (None, asked[1]):
        raise InputError(f"{model.path} takes pictures of {w or 'any'} x {h or 'any'}, not {asked[0]} x {asked[1]}")
    return asked


def run_in_batches(model: OnnxModel, port: PictureInput, pixels: np.ndarray) -> list[np.ndarray]:
    """All outputs for pictures (n, 3, h, w), in as many passes as the file's batch size needs."""
    step = port.batch or max(len(pixels), 1)
    parts = [model.run({port.name: pixels[start : start + step]}) for start in range(0, len(pixels), step)]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def shapes_of(outputs: Sequence[np.ndarray]) -> str:
    """The shapes of outputs, for messages."""
    return ", ".join(str(output.shape) for output in outputs) or "none"


def title_of(path: Path) -> str:
    """The file's name; its folder's for `end2end.onnx`, as MMDeploy names every model."""
    return path.resolve().parent.name if path.stem == "end2end" else path.stem
