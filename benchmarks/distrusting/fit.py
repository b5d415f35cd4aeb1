"""The fit of the table `sdpose_core/assets/distrust.json`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sdpose_core.poses import PoseSequence
from sdpose_core.sequences.suspicion.calibration import FORMS, basis
from sdpose_core.sequences.suspicion.layout import GROUPS, layout_of
from sdpose_core.sequences.suspicion.scenes import scenes
from sdpose_core.sequences.suspicion.signals import SIGNALS, signals_of

RIDGE = 100.0
"""Penalty on the squared slopes of normed signals, in points. Found by leaving out clips: the points of a clip are
alike, so the few clips count, not their many points."""
KNOTS = (60, 90)
"""Percentiles of the values above 0 of a signal, where its slope changes."""
LEAST = 300
"""A group with fewer points has no curves of its own; a face or a hand counts as one."""
_POINTS = {"face": 68, "hands": 21}


@dataclass(eq=False)
class Samples:
    """Points with truth: per group, lists of signals (S, n), wrong (n,), and the clip (n,) that each is of."""

    values: dict[str, list[np.ndarray]] = field(default_factory=dict)
    wrong: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, sequence: PoseSequence, raw: PoseSequence | None, errors: np.ndarray, form: str) -> None:
        """The points of a sequence whose errors (T, P, K) are known."""
        group = layout_of(sequence.keypoint_set, sequence.scores.shape[2]).group
        for scene, frames, slots in scenes(sequence, raw):
            values = signals_of(scene, np.arange(len(group)), FORMS[form])[:, scene.rows]
            off = errors[frames, slots]
            for number, name in enumerate(GROUPS):
                known = ~np.isnan(off) & (group == number)
                if known.any():
                    self.values.setdefault(name, []).append(values[:, known])
                    self.wrong.setdefault(name, []).append(off[known] > 1)


def knots_of(samples: Iterable[tuple[str, Samples]]) -> dict[str, list[float]]:
    """Knots of every signal, from all samples: form and samples."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in SIGNALS}
    for form, some in samples:
        for blocks in some.values.values():
            for block in blocks:
                for name, values in zip(FORMS[form], block, strict=True):
                    found[name].append(values[values > 0][::7])
    result = {}
    for name, parts in found.items():
        values = np.concatenate(parts) if parts else np.zeros(0)
        low, high = np.percentile(values, KNOTS) if len(values) > 100 else (0.5, 1.0)
        result[name] = [round(float(low), 3), round(float(max(high, low + 0.01)), 3)]
    return result


def fit(
    samples: Samples, form: str, knots: dict[str, list[float]], needed: Sequence[str], without: Sequence[str] = ()
) -> dict[str, dict]:
    """The curves of the groups `needed`, as in the table.

    A group with few points has those of all points together, the face those of the head.

    Signals `without` have no influence.
    """
    silent = np.isin(FORMS[form], without)
    groups = {
        name: (np.where(silent[:, None], 0, np.concatenate(blocks, axis=1)), np.concatenate(samples.wrong[name]))
        for name, blocks in samples.values.items()
    }
    enough = {
        name: data
        for name, data in groups.items()
        if len(data[1]) >= LEAST * _POINTS.get(name, 1) and 0 < data[1].mean() < 1
    }
    together = tuple(np.concatenate(parts, axis=-1) for parts in zip(*groups.values(), strict=True))
    fitted = {name: _curves(*data, form, knots) for name, data in enough.items()}
    if "face" in needed and "face" not in fitted and "head" in fitted:
        print(f"{form}: too few faces: they have the curves of the head")
        fitted["face"] = fitted["head"]
    few = [name for name in needed if name not in fitted]
    if few:
        print(f"{form}: too few points of {', '.join(few)}: they have the curves of all points")
        fitted |= dict.fromkeys(few, _curves(*together, form, knots))
    return fitted


def _curves(values: np.ndarray, wrong: np.ndarray, form: str, knots: dict[str, list[float]]) -> dict:
    """Of signals (S, n) and wrong (n,)."""
    columns = np.stack([part for name, row in zip(FORMS[form], values, strict=True)
                        for part in basis(row, np.asarray(knots[name]))], axis=1)  # fmt: skip
    bias, slopes = _logistic(columns.astype(np.float64), wrong)
    share = (columns * slopes).reshape(len(wrong), -1, 3).sum(axis=2)
    return {
        "bias": round(bias, 3),
        "slopes": [[round(float(s), 3) for s in row] for row in slopes.reshape(-1, 3)],
        "usual": [round(float(u), 3) for u in share.mean(axis=0)],
    }


def _logistic(columns: np.ndarray, wrong: np.ndarray) -> tuple[float, np.ndarray]:
    """Logistic regression of wrong (n,) on columns (n, C), with slopes of 0 or more: bias, slopes (C,)."""
    from scipy.optimize import minimize

    spread = np.maximum(columns.std(axis=0), 1e-3)
    scaled, target = columns / spread, wrong.astype(np.float64)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        odds = weights[0] + scaled @ weights[1:]
        value = np.logaddexp(0, odds).sum() - target @ odds + RIDGE * (weights[1:] ** 2).sum()
        slope = 1 / (1 + np.exp(-odds)) - target
        return value, np.concatenate([[slope.sum()], scaled.T @ slope + 2 * RIDGE * weights[1:]])

    start = np.zeros(scaled.shape[1] + 1)
    start[0] = np.log(target.mean() / (1 - target.mean()))
    bounds = [(None, None)] + [(0, None)] * scaled.shape[1]
    best = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 400}).x
    return float(best[0]), best[1:] / spread
