"""Proportions of drawn people: large heads, long or short limbs. The joints move with the skin.

Each part (head, thigh, shin, foot, upper arm, forearm, hand) has an affine motion; a vertex follows the parts by its
skinning weights, as in linear blend skinning. A limb is stretched along its bone, and the parts
after it are shifted by as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BONES = {
    "head": ("head", "eye"),
    "thigh": ("upperleg",), "shin": ("lowerleg",), "foot": ("foot", "toe"),
    "upper_arm": ("upperarm",), "forearm": ("lowerarm",), "hand": ("wrist", "finger", "metacarpal"),
}  # fmt: skip
_CHAINS = (
    ("legs", "feet", ("upperleg01", "lowerleg01", "foot"), ("thigh", "shin", "foot")),
    ("arms", "hands", ("upperarm01", "lowerarm01", "wrist"), ("upper_arm", "forearm", "hand")),
)
_HEAD_PIVOT = "neck02"
"""A larger head grows from the start of this bone, at the height of the chin."""


@dataclass(frozen=True)
class Proportions:
    """Factors; 1 is the body model's. `slim`: thickness of arms and legs; `eyes`: size of the painted eyes."""

    head: float = 1.0
    legs: float = 1.0
    arms: float = 1.0
    slim: float = 1.0
    hands: float = 1.0
    feet: float = 1.0
    eyes: float = 1.0


def sample_proportions(rng: np.random.Generator, drawn: bool) -> Proportions:
    """Four of five photographed people are like the body model; most drawn ones have long legs or large heads."""
    u, kind = (
        rng.uniform,
        rng.choice(["real", "tall", "large_head"], p=[0.25, 0.45, 0.3] if drawn else [0.8, 0.14, 0.06]),
    )
    if kind == "real":
        return Proportions(eyes=u(0.95, 1.25))
    if kind == "tall":
        return Proportions(
            u(1.0, 1.3), u(1.05, 1.3), u(1.0, 1.16), u(0.75, 1.0), u(0.85, 1.05), u(0.85, 1.1), u(1.2, 1.8)
        )
    return Proportions(u(1.3, 1.8), u(0.75, 1.1), u(0.8, 1.05), u(0.85, 1.1), u(0.9, 1.25), u(0.9, 1.3), u(1.3, 1.9))


class Stretcher:
    """Changes the proportions of posed bodies.

    `labels` of the J bones; numbers of the `bones` (V, N) that a vertex follows, and their `weights` (V, N).
    """

    def __init__(self, labels: Sequence[str], bones: np.ndarray, weights: np.ndarray) -> None:
        self._labels = list(labels)
        self._part = [_part(label) for label in labels]
        names = sorted({part for part in self._part if part})
        in_part = np.array([[part == name for name in names] for part in self._part], float)
        shares = np.einsum("vn,vnp->pv", weights, in_part[bones])
        self._follow = [
            (name, np.flatnonzero(share), share[share > 0, None]) for name, share in zip(names, shares, strict=True)
        ]

    def __call__(self, vertices: np.ndarray, heads: np.ndarray, wanted: Proportions) -> tuple[np.ndarray, np.ndarray]:
        """Posed vertices (V, 3), starts (J, 3) of the bones -> the same with other proportions."""
        moves = {"head": _scaled(heads[self._labels.index(_HEAD_PIVOT)], wanted.head)}
        for length, end_size, bones, parts in _CHAINS:
            for side in ("L", "R"):
                joints = [heads[self._labels.index(f"{bone}.{side}")] for bone in bones]
                moves |= _chain(joints, [f"{part}.{side}" for part in parts], getattr(wanted, length), wanted.slim,
                                getattr(wanted, end_size))  # fmt: skip
        moved = vertices.copy()
        for name, where, share in self._follow:
            matrix, shift = moves[name]
            moved[where] += share * (vertices[where] @ matrix.T + shift)
        at = [moves.get(part, (np.zeros((3, 3)), np.zeros(3))) for part in self._part]
        return moved, np.stack([head + matrix @ head + shift for head, (matrix, shift) in zip(heads, at, strict=True)])


def _part(label: str) -> str:
    """`lowerleg02.L` -> `shin.L`; empty for the trunk."""
    name = next((part for part, words in _BONES.items() if label.startswith(words)), "")
    return f"{name}.{label[-1]}" if name and name != "head" else name


def _scaled(pivot: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Displacement as matrix (3, 3) and shift (3,) of scaling around a point."""
    return np.eye(3) * (factor - 1), -pivot * (factor - 1)


def _chain(joints: list[np.ndarray], parts: list[str], length: float, slim: float, end: float) -> dict:
    """Displacements of the parts of a limb: both bones `length` times as long, `slim` times as thick."""
    moves, shift = {}, np.zeros(3)
    for start, stop, part in zip(joints[:-1], joints[1:], parts[:-1], strict=True):
        along = (stop - start) / np.linalg.norm(stop - start)
        matrix = (length - slim) * np.outer(along, along) + (slim - 1) * np.eye(3)
        moves[part] = matrix, shift - matrix @ start
        shift = shift + (length - 1) * (stop - start)
    matrix, back = _scaled(joints[-1], end)
    return moves | {parts[-1]: (matrix, back + shift)}
