"""Tiny ONNX files for tests, written field by field, without the `onnx` package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def field(number: int, content: bytes | str | int) -> bytes:
    """One field of a protobuf message."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    data = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(data)) + data


FLOAT32, INT64 = 1, 7
WHOLE = "int64:"
"""Before the name of an input or output of whole numbers."""


def port(name: str, shape: Sequence[int | str]) -> bytes:
    """A float32 input or output, or an int64 one; a length given as a name is variable."""
    lengths = b"".join(field(1, field(2 if isinstance(n, str) else 1, n)) for n in shape)
    kind = INT64 if name.startswith(WHOLE) else FLOAT32
    return field(1, name.removeprefix(WHOLE)) + field(2, field(1, field(1, kind) + field(2, lengths)))


def constant(name: str, values: np.ndarray) -> bytes:
    """A float32 tensor in the file, or an int64 one for whole numbers."""
    kind = INT64 if values.dtype.kind in "iu" else FLOAT32
    array = np.asarray(values, np.int64 if kind == INT64 else np.float32, order="C")
    return b"".join(field(1, n) for n in array.shape) + field(2, kind) + field(8, name) + field(9, array.tobytes())


def node(operator: str, inputs: Sequence[str], output: str, **attributes: int | Sequence[int]) -> bytes:
    """One operation; attributes are numbers or lists of numbers."""
    data = b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, operator)
    for name, value in attributes.items():
        kind = 2 if isinstance(value, int) else 7
        numbers = field(3, value) if isinstance(value, int) else b"".join(field(8, n) for n in value)
        data += field(5, field(1, name) + numbers + field(20, kind))
    return data


def write_model(
    path: Path,
    nodes: Sequence[bytes],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
    constants: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """An ONNX file (opset 17) of these nodes."""
    graph = b"".join(field(1, each) for each in nodes) + field(2, "g")
    graph += b"".join(field(5, constant(name, values)) for name, values in constants.items())
    graph += b"".join(field(11, port(name, shape)) for name, shape in inputs.items())
    graph += b"".join(field(12, port(name, shape)) for name, shape in outputs.items())
    texts = b"".join(field(14, field(1, key) + field(2, text)) for key, text in (metadata or {}).items())
    path.write_bytes(field(1, 8) + field(8, field(2, 17)) + field(7, graph) + texts)
    return path


def write_simcc_that_sees_dots(
    path: Path, colors: Sequence[int], size: tuple[int, int], *, batch: int | str = "batch"
) -> Path:
    """A SimCC model for crops of `size` (w, h): point k is the dot of its color (0 red, 1 green, 2 blue) on black."""
    count = len(colors)
    w, h = size
    nodes = [node("Relu", ["crop"], "light")]
    constants = {"color_of_point": np.eye(3)[list(colors)]}
    for axis, other, length in (("x", 2, w), ("y", 3, h)):
        bins = np.arange(2 * length) / 2
        constants[f"blur_{axis}"] = np.exp(-((bins - np.arange(length)[:, None]) ** 2) / (2 * 2.0**2))
        nodes += [
            node("ReduceMax", ["light"], f"max_{axis}", axes=[other], keepdims=0),
            node("MatMul", [f"max_{axis}", f"blur_{axis}"], f"blurred_{axis}"),
            node("MatMul", ["color_of_point", f"blurred_{axis}"], f"simcc_{axis}"),
        ]
    outputs = {"simcc_x": (batch, count, 2 * w), "simcc_y": (batch, count, 2 * h)}
    return write_model(path, nodes, {"crop": (batch, 3, h, w)}, outputs, constants)


def write_simcc_that_says(path: Path, x: np.ndarray, y: np.ndarray, size: tuple[int, int]) -> Path:
    """A model that returns x (K, X) and y (K, Y) for every crop of `size` (w, h)."""
    nodes = [
        node("Mul", ["crop", "zero"], "black"),
        node("ReduceMax", ["black"], "rows", axes=[3], keepdims=0),
        node("ReduceMax", ["rows"], "nothing", axes=[1, 2], keepdims=1),
        node("Add", ["nothing", "x"], "simcc_x"),
        node("Add", ["nothing", "y"], "simcc_y"),
    ]
    outputs = {"simcc_x": ("batch", *x.shape), "simcc_y": ("batch", *y.shape)}
    constants = {"zero": np.zeros(1), "x": x[None], "y": y[None]}
    return write_model(path, nodes, {"crop": ("batch", 3, size[1], size[0])}, outputs, constants)
