"""Stand-ins for published keypoint models: tiny ONNX files that find red, green and blue dots on black."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx_files import WHOLE, node, write_model

MARGIN = 10.0
"""Input pixels between the outermost dots of a person and the box."""

CELLS_PER_PERSON = 2
"""Cells of YOLO's output that see the same person: the second one is less sure and off by `SLIP` input pixels."""
SLIP = 2.0

Size = tuple[int, int]


def write_heatmaps(
    path: Path,
    colors: Sequence[int],
    size: Size,
    *,
    udp: bool,
    batch: int | str = "batch",
    heatmap_size: Size | None = None,
    open_size: bool = False,
) -> Path:
    """A heatmap model for crops of `size` (w, h): map k is a blurred picture of the dot of color k (0 red, 1 green, 2
    blue).

    The maps are a quarter as large as the crop, and lie on it with UDP's convention or the plain one.
    """
    w, h = size
    small = heatmap_size or (w // 4, h // 4)
    constants: dict[str, np.ndarray] = {"points": np.array(colors, np.int64)}
    for axis, length, cells in (("x", w, small[0]), ("y", h, small[1])):
        factor = (length - 1) / (cells - 1) if udp else length / cells
        apart = np.arange(length)[:, None] / factor - np.arange(cells)
        constants[axis] = np.exp(-(apart**2) / 2) / factor
    constants["y"] = constants["y"].T.copy()
    nodes = [
        node("Relu", ["crop"], "light"),
        node("MatMul", ["light", "x"], "narrow"),
        node("MatMul", ["y", "narrow"], "maps"),
        node("Gather", ["maps", "points"], "heatmaps", axis=1),
    ]
    sides: tuple[int | str, int | str] = ("h", "w") if open_size else (h, w)
    outputs: Mapping[str, Sequence[int | str]] = {"heatmaps": (batch, len(colors), small[1], small[0])}
    return write_model(path, nodes, {"crop": (batch, 3, *sides)}, outputs, constants)


def _person(side: str, size: Size, picture: str) -> tuple[list[bytes], dict[str, np.ndarray]]:
    """What finds the dots in one half of the picture: `SIDE_points` (1, 3, 3) as x, y, seen; `SIDE_low`, `SIDE_high`
    (1, 2) corners of the box; `SIDE_sure` (1, 1)."""
    w, h = size
    half = (np.arange(w) < w / 2) == (side == "left")
    constants = {f"{side}_half": np.broadcast_to(half, (1, 1, h, w)).astype(np.float32)}
    nodes = [
        node("Mul", [picture, f"{side}_half"], f"{side}_light"),
        node("ReduceMean", [f"{side}_light"], f"{side}_mass", axes=[2, 3], keepdims=0),
        node("Add", [f"{side}_mass", "tiny"], f"{side}_some"),
        node("Div", [f"{side}_mass", f"{side}_some"], f"{side}_seen"),
    ]
    for axis in ("x", "y"):
        nodes += [
            node("Mul", [f"{side}_light", f"grid_{axis}"], f"{side}_moment_{axis}"),
            node("ReduceMean", [f"{side}_moment_{axis}"], f"{side}_mean_{axis}", axes=[2, 3], keepdims=0),
            node("Div", [f"{side}_mean_{axis}", f"{side}_some"], f"{side}_at_{axis}"),
        ]
    for name in ("at_x", "at_y", "seen"):
        nodes.append(node("Unsqueeze", [f"{side}_{name}", "two"], f"{side}_{name}_column"))
    nodes += [
        node("Concat", [f"{side}_at_x_column", f"{side}_at_y_column"], f"{side}_places", axis=2),
        node("Concat", [f"{side}_places", f"{side}_seen_column"], f"{side}_points", axis=2),
        node("ReduceMin", [f"{side}_places"], f"{side}_least", axes=[1], keepdims=0),
        node("ReduceMax", [f"{side}_places"], f"{side}_most", axes=[1], keepdims=0),
        node("Sub", [f"{side}_least", "margin"], f"{side}_low"),
        node("Add", [f"{side}_most", "margin"], f"{side}_high"),
        node("ReduceMean", [f"{side}_seen"], f"{side}_sure", axes=[1], keepdims=1),
    ]
    return nodes, constants


def _two_people(colors: Sequence[int], size: Size, threshold: float) -> tuple[list[bytes], dict[str, np.ndarray]]:
    """A person in each half: also `SIDE_keypoints` (1, K, 3) and `SIDE_flat` (1, 3 K), in input pixels."""
    w, h = size
    x, y = np.meshgrid(np.arange(w), np.arange(h))
    constants: dict[str, np.ndarray] = {
        "threshold": np.array([threshold]), "tiny": np.array([1e-9]), "margin": np.array([MARGIN]),
        "grid_x": x[None, None].astype(np.float32), "grid_y": y[None, None].astype(np.float32),
        "one": np.array([1]), "two": np.array([2]), "points": np.array(colors, np.int64), "half": np.array([0.5]),
    }  # fmt: skip
    nodes = [node("Sub", ["picture", "threshold"], "above"), node("Relu", ["above"], "light")]
    for side in ("left", "right"):
        more, values = _person(side, size, "light")
        nodes += more
        constants |= values
        nodes += [
            node("Gather", [f"{side}_points", "points"], f"{side}_keypoints", axis=1),
            node("Flatten", [f"{side}_keypoints"], f"{side}_flat", axis=1),
        ]
    return nodes, constants


def write_yolo_cells(
    path: Path,
    colors: Sequence[int],
    size: Size,
    *,
    turned: bool = False,
    open_size: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """YOLOv8's output (1, 5 + 3 K, N): N cells of strides 8, 16, 32, of which a few see the people."""
    cells = sum((size[0] // stride) * (size[1] // stride) for stride in (8, 16, 32))
    nodes, constants = _two_people(colors, size, 0.6)
    columns = 5 + 3 * len(colors)
    slip = np.zeros((1, columns, cells))
    for number, side in enumerate(("left", "right")):
        at = 10 * number + np.arange(CELLS_PER_PERSON)
        sees = np.zeros((1, 1, cells))
        sees[..., at] = 1
        constants[f"{side}_cells"] = sees
        slip[:, :2, at[1:]] += SLIP
        slip[:, 4, at[1:]] -= 0.3
        slip[:, 5::3, at[1:]] += SLIP
        nodes += [
            node("Add", [f"{side}_low", f"{side}_high"], f"{side}_sum"),
            node("Mul", [f"{side}_sum", "half"], f"{side}_center"),
            node("Sub", [f"{side}_high", f"{side}_low"], f"{side}_size"),
            node(
                "Concat",
                [f"{side}_center", f"{side}_size", f"{side}_sure", f"{side}_flat"],
                f"{side}_row",
                axis=1,
            ),
            node("Unsqueeze", [f"{side}_row", "two"], f"{side}_column"),
            node("MatMul", [f"{side}_column", f"{side}_cells"], f"{side}_all"),
        ]
    constants["slip"] = slip
    nodes += [node("Add", ["left_all", "right_all"], "both"), node("Add", ["both", "slip"], "columns")]
    last = (
        node("Transpose", ["columns"], "output", perm=[0, 2, 1]) if turned else node("Identity", ["columns"], "output")
    )
    shape = (1, cells, columns) if turned else (1, columns, cells)
    w, h = ("w", "h") if open_size else size
    return write_model(path, [*nodes, last], {"picture": (1, 3, h, w)}, {"output": shape}, constants, metadata)


def write_yolo_people(
    path: Path, colors: Sequence[int], size: Size, *, metadata: Mapping[str, str] | None = None
) -> Path:
    """YOLO26's output (1, 3, 6 + 3 K): two people, and a third one of another class over the first."""
    nodes, constants = _two_people(colors, size, 0.6)
    constants |= {"person": np.zeros((1, 1)), "dog": np.ones((1, 1))}
    for side, kind, row in (("left", "person", "a"), ("right", "person", "b"), ("left", "dog", "c")):
        parts = [f"{side}_low", f"{side}_high", f"{side}_sure", kind, f"{side}_flat"]
        nodes += [node("Concat", parts, f"{row}_flat", axis=1), node("Unsqueeze", [f"{row}_flat", "one"], f"{row}_row")]
    nodes.append(node("Concat", ["a_row", "b_row", "c_row"], "output", axis=1))
    w, h = size
    shape = (1, 3, 6 + 3 * len(colors))
    return write_model(path, nodes, {"picture": (1, 3, h, w)}, {"output": shape}, constants, metadata)


def write_rtmo(path: Path, colors: Sequence[int], size: Size) -> Path:
    """RTMO's outputs for BGR pictures of 0 to 255: people (1, 2, 5), keypoints (1, 2, K, 3)."""
    nodes, constants = _two_people([2 - color for color in colors], size, 150.0)
    for side in ("left", "right"):
        nodes += [
            node("Concat", [f"{side}_low", f"{side}_high", f"{side}_sure"], f"{side}_flat_box", axis=1),
            node("Unsqueeze", [f"{side}_flat_box", "one"], f"{side}_box"),
            node("Unsqueeze", [f"{side}_keypoints", "one"], f"{side}_body"),
        ]
    nodes += [
        node("Concat", ["left_box", "right_box"], "dets", axis=1),
        node("Concat", ["left_body", "right_body"], "keypoints", axis=1),
    ]
    w, h = size
    outputs = {"dets": (1, 2, 5), "keypoints": (1, 2, len(colors), 3)}
    return write_model(path, nodes, {"picture": ("batch", 3, h, w)}, outputs, constants)


def write_ecpose(path: Path, colors: Sequence[int], size: Size, *, scores: bool = True, flat: bool = False) -> Path:
    """ECPose's outputs, in pixels of the picture before: labels, scores (1, 4), keypoints (1, 4, K, 3, or 2), or flat.

    The people are there twice: as label 1, and less sure and in a wrong place as label 0, the background.
    """
    nodes, constants = _two_people(colors, size, 0.0)
    w, h = size
    constants |= {
        "input_size": np.array([[[w, h]]], np.float32), "labels_of_all": np.array([[1, 1, 0, 0]]),
        "xy": np.array([0, 1]), "third": np.array([2]),
    }  # fmt: skip
    nodes += [
        node("Cast", ["orig_target_sizes"], "real_size", to=1),
        node("Unsqueeze", ["real_size", "one"], "real"),
        node("Div", ["real", "input_size"], "scale"),
    ]
    for side in ("left", "right"):
        nodes += [
            node("Gather", [f"{side}_keypoints", "xy"], f"{side}_small", axis=2),
            node("Gather", [f"{side}_keypoints", "third"], f"{side}_marks", axis=2),
            node("Mul", [f"{side}_small", "scale"], f"{side}_real"),
            node("Concat", [f"{side}_real", f"{side}_marks"], f"{side}_three", axis=2),
            node("Unsqueeze", [f"{side}_three" if scores else f"{side}_real", "one"], f"{side}_body"),
            node("Mul", [f"{side}_body", "half"], f"{side}_wrong"),
            node("Mul", [f"{side}_sure", "half"], f"{side}_unsure"),
        ]
    nodes += [
        node("Identity", ["labels_of_all"], "labels"),
        node("Concat", ["left_sure", "right_sure", "left_unsure", "right_unsure"], "scores", axis=1),
        node("Concat", ["left_body", "right_body", "left_wrong", "right_wrong"], "by_point", axis=1),
        node("Reshape", ["by_point", "shape"], "keypoints"),
    ]
    values = 3 if scores else 2
    shape = (1, 4, len(colors) * values) if flat else (1, 4, len(colors), values)
    constants["shape"] = np.array(shape)
    outputs = {f"{WHOLE}labels": (1, 4), "scores": (1, 4), "keypoints": shape}
    inputs = {"picture": (1, 3, h, w), f"{WHOLE}orig_target_sizes": (1, 2)}
    return write_model(path, nodes, inputs, outputs, constants)
