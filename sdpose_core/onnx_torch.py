"""ONNX files in PyTorch, on the CPU: the operators of the embedded models and of YOLOX.

ComfyUI always has PyTorch, but often neither onnxruntime nor OpenCV 5. Fields and operators: onnx.ai, opset 11 to 17.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

FAULTS = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RuntimeError, struct.error)
"""What a damaged file, or one with other operators, raises here."""

DTYPES = {
    1: np.float32, 2: np.uint8, 3: np.int8, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16,
    11: np.float64,
}  # fmt: skip
"""Element types by their number in the file."""

_Fields = dict[int, list[Any]]


class Graph:
    """A loaded file.

    Attributes:
        inputs: shape of each input by name; None stands for any length.

    Raises one of `FAULTS`.
    """

    def __init__(self, content: bytes) -> None:
        [graph] = map(_fields, _fields(memoryview(content))[7])
        self._values = {_text(t, 8): torch.from_numpy(_array(t)) for t in map(_fields, graph.get(5, []))}
        ports = {_text(port, 1): _port(port) for port in map(_fields, graph[11])}
        self._types = {name: dtype for name, (dtype, _) in ports.items() if name not in self._values}
        self.inputs = {name: ports[name][1] for name in self._types}
        self._outputs = [_text(port, 1) for port in map(_fields, graph[12])]
        self._nodes = []
        for node in map(_Node, map(_fields, graph[1])):
            if all(name in self._values for name in node.inputs):  # half-precision weights become float32 once
                self._values |= node.run(self._values)
            else:
                self._nodes.append(node)
        last_use = {name: node for node in self._nodes for name in node.inputs if name not in self._values}
        for name, node in last_use.items():
            if name not in self._outputs:
                node.finished.append(name)
        self._worker = _one_thread()

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Arrays by input name -> all outputs in the file's order. Raises one of `FAULTS`."""
        return self._worker.submit(self._run, inputs).result()

    def _run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        values = dict(self._values)
        for name, array in inputs.items():
            values[name] = torch.from_numpy(np.array(array, self._types[name]))
        with torch.inference_mode():
            for node in self._nodes:
                values |= node.run(values)
                for name in node.finished:
                    del values[name]
        return [values[name].numpy() for name in self._outputs]


def _one_thread() -> ThreadPoolExecutor:
    """A thread in which PyTorch starts no others.

    Networks this small lose more time waiting for other threads, on a busy machine, than these save. The number is one
    of each thread, but new threads begin with the one that was set last: it is set back for SDPose and other models.
    """
    before = torch.get_num_threads()
    worker = ThreadPoolExecutor(1, "onnx_torch")
    worker.submit(torch.get_num_threads).result()  # until it has been asked for, a number that is set does not stay
    worker.submit(torch.set_num_threads, 1).result()
    torch.set_num_threads(before)
    return worker


class _Node:
    """One operator. `finished` are the values that no later node needs."""

    def __init__(self, fields: _Fields) -> None:
        self.inputs = [bytes(name).decode() for name in fields.get(1, [])]
        self.outputs = [bytes(name).decode() for name in fields.get(2, [])]
        self.finished: list[str] = []
        kind = _text(fields, 4)
        if kind not in OPERATORS:
            raise ValueError(f"operator {kind}")
        self._operator = OPERATORS[kind]
        self._settings = {_text(a, 1): _attribute(a) for a in map(_fields, fields.get(5, []))}
        if kind == "Split":
            self._settings["count"] = len(self.outputs)

    def run(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name; an input whose name is empty is left out."""
        found = self._operator(*(values[name] if name else None for name in self.inputs), **self._settings)
        return dict(zip(self.outputs, found if isinstance(found, tuple) else (found,), strict=True))


def _fields(data: memoryview) -> _Fields:
    """The values of a protobuf message by field number: whole numbers as they are, anything else as bytes."""
    fields: _Fields = {}
    at = 0
    while at < len(data):
        tag, at = _whole_number(data, at)
        kind = tag & 7
        value: int | memoryview
        if kind == 0:
            value, at = _whole_number(data, at)
        else:
            size, at = _whole_number(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = data[at : at + size], at + size
            if at > len(data):
                raise ValueError("the file is cut off")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _whole_number(data: memoryview, at: int) -> tuple[int, int]:
    """The signed 64-bit number at a place, and the place after it."""
    number = shift = 0
    while shift < 64:
        byte = data[at]
        number, shift, at = number | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            break
    number &= 2**64 - 1
    return number - (number >> 63 << 64), at


def _whole_numbers(values: Sequence[int | memoryview]) -> list[int]:
    """The numbers of a repeated field, which may be packed."""
    numbers = []
    for value in values:
        if isinstance(value, int):
            numbers.append(value)
            continue
        at = 0
        while at < len(value):
            number, at = _whole_number(value, at)
            numbers.append(number)
    return numbers


def _text(fields: _Fields, number: int) -> str:
    return bytes(fields[number][0]).decode()


def _array(tensor: _Fields) -> np.ndarray:
    """The values of a TensorProto."""
    shape, dtype = _whole_numbers(tensor.get(1, [])), DTYPES[tensor[2][0]]
    if 13 in tensor:
        raise ValueError("weights in other files")
    if 9 in tensor:
        return np.frombuffer(tensor[9][0], dtype).reshape(shape).copy()
    if 4 in tensor:
        return np.frombuffer(b"".join(tensor[4]), np.float32).astype(dtype).reshape(shape)
    return np.array(_whole_numbers(tensor.get(7, tensor.get(5, []))), dtype).reshape(shape)


def _port(port: _Fields) -> tuple[Any, tuple[int | None, ...]]:
    """Element type and shape of a ValueInfoProto of a tensor."""
    tensor = _fields(_fields(port[2][0])[1][0])
    lengths = [_fields(length).get(1, [0])[0] for length in _fields(tensor[2][0]).get(1, [])]
    return DTYPES[tensor[1][0]], tuple(n if n > 0 else None for n in lengths)


def _attribute(attribute: _Fields) -> Any:
    """The value of an AttributeProto: a number, a text, or whole numbers."""
    if 2 in attribute:
        return struct.unpack("<f", attribute[2][0])[0]
    if 3 in attribute:
        return attribute[3][0]
    return _text(attribute, 4) if 4 in attribute else _whole_numbers(attribute.get(8, []))


# Each operator takes its inputs, then its attributes by name: one that is not listed is an error.


def _cast(x: Tensor, *, to: int) -> Tensor:
    return x.to(torch.from_numpy(np.empty(0, DTYPES[to])).dtype)


def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, kernel_shape: object = None, group: int = 1,
    dilations: Sequence[int] = (1, 1), strides: Sequence[int] = (1, 1), pads: Sequence[int] = (0, 0, 0, 0),
) -> Tensor:  # fmt: skip
    top, left, bottom, right = pads
    if (top, left) != (bottom, right):
        x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
    return F.conv2d(x, weight, bias, tuple(strides), (top, left), tuple(dilations), group)


def _max_pool(
    x: Tensor, *, kernel_shape: Sequence[int], strides: Sequence[int] = (1, 1), pads: Sequence[int] = (0, 0, 0, 0),
    ceil_mode: int = 0,
) -> Tensor:  # fmt: skip
    top, left, bottom, right = pads
    x = F.pad(x, (left, right, top, bottom), value=-torch.inf)
    return F.max_pool2d(x, tuple(kernel_shape), tuple(strides), ceil_mode=bool(ceil_mode))


def _pad(x: Tensor, pads: Tensor, value: Tensor | None = None, *, mode: str = "constant") -> Tensor:
    if mode != "constant":
        raise ValueError(f"Pad with the mode {mode}")
    before_and_after = pads.reshape(2, x.ndim).T.flip(0)  # the last axis first, as PyTorch has it
    return F.pad(x, before_and_after.flatten().tolist(), value=0.0 if value is None else float(value))


def _resize(
    x: Tensor, _region: Tensor | None, scales: Tensor, *, mode: str, coordinate_transformation_mode: str,
    nearest_mode: str = "floor", exclude_outside: int = 0, cubic_coeff_a: float = 0.0,
) -> Tensor:  # fmt: skip
    kinds = {("linear", "half_pixel"): "bilinear", ("nearest", "asymmetric"): "nearest"}
    kind = kinds.get((mode, coordinate_transformation_mode))
    if kind is None or nearest_mode != "floor" or scales[:2].tolist() != [1, 1]:
        raise ValueError(f"Resize with the modes {mode}, {coordinate_transformation_mode}, {nearest_mode}")
    size = [int(n * scale) for n, scale in zip(x.shape[2:], scales[2:].tolist(), strict=True)]
    return F.interpolate(x, size, mode=kind)


def _multiply_and_add(
    a: Tensor, b: Tensor, c: Tensor | None = None, *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0,
    transB: int = 0,
) -> Tensor:  # fmt: skip
    product = alpha * ((a.T if transA else a) @ (b.T if transB else b))
    return product if c is None else product + beta * c


def _split(x: Tensor, sizes: Tensor | None = None, *, count: int, axis: int = 0) -> tuple[Tensor, ...]:
    return x.split(x.shape[axis] // count if sizes is None else sizes.tolist(), axis)


def _reshape(x: Tensor, shape: Tensor) -> Tensor:
    return x.reshape([n or x.shape[axis] for axis, n in enumerate(shape.tolist())])


def _slice(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None) -> Tensor:
    places = range(len(starts)) if axes is None else axes.tolist()
    by = [1] * len(starts) if steps is None else steps.tolist()
    where = [slice(None)] * x.ndim
    for axis, *section in zip(places, starts.tolist(), ends.tolist(), by, strict=True):
        where[axis] = slice(*section)
    return x[tuple(where)]


def _unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes.tolist()):
        x = x.unsqueeze(axis)
    return x


OPERATORS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "Add": torch.add,
    "ArgMax": lambda x, *, axis=0, keepdims=1: x.argmax(axis, bool(keepdims)),
    "Cast": _cast,
    "Clip": torch.clamp,
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "Conv": _convolve,
    "Div": lambda x, y: torch.div(x, y, rounding_mode=None if x.is_floating_point() else "trunc"),
    "GatherND": lambda x, indices: x[indices.unbind(-1)],
    "Gemm": _multiply_and_add,
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    "MatMul": torch.matmul,
    "MaxPool": _max_pool,
    "Mul": torch.mul,
    "PRelu": lambda x, slope: torch.where(x < 0, slope * x, x),
    "Pad": _pad,
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Split": _split,
    "Sqrt": torch.sqrt,
    "Squeeze": lambda x, axes: x.squeeze(tuple(axes.tolist())),
    "Sub": torch.sub,
    "Transpose": lambda x, *, perm: x.permute(perm),
    "Unsqueeze": _unsqueeze,
}
