"""The table that turns signals into the probability that a point is wrong; fitted by `benchmarks/distrust.py`.

For each estimator (`preview`; `heatmaps`: SDPose weights, if fitted; `any`: all others, without `SCORES`), form (`raw`,
`cleaned`, `cleaned_raw`, `picture`) and group of points: a logistic regression over piecewise linear functions of the
signals that never fall.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

TABLE = Path(__file__).parents[2] / "assets" / "distrust.json"

PICTURE = (
    "score", "part_score", "person_score", "relative", "small", "long_bone", "short_bone", "apart", "facing",
    "collapsed", "beyond", "border", "shared", "covered",
)  # fmt: skip
CLIP = (
    *PICTURE, "score_drop", "jump", "jitter", "speed", "swapped", "box_jump", "brief", "rare",
)  # fmt: skip
CLEANED_RAW = (*CLIP, "moved", "filled", "raw_jump", "raw_swapped")
SCORES = ("score", "score_drop", "part_score", "person_score")
"""Signals that depend on the scale of the scores, which each estimator has for itself."""
FORMS: Mapping[str, tuple[str, ...]] = {
    "raw": CLIP, "cleaned": CLIP, "cleaned_raw": CLEANED_RAW, "picture": PICTURE,
}  # fmt: skip
"""Signals of each form: a clip as estimated; cleaned; cleaned, with the clip as estimated beside it; pictures."""


@dataclass(frozen=True, eq=False)
class Curves:
    """A group of points: P(wrong) = sigmoid(bias + sum over signals of slopes . `basis`).

    Attributes:
        bias: log-odds of a point without any suspicion.
        slopes: (S, 3), 0 or more.
        usual: (S,) mean share of each signal in the log-odds.
    """

    bias: float
    slopes: np.ndarray
    usual: np.ndarray


@dataclass(frozen=True, eq=False)
class Calibration:
    """The curves of an estimator and form.

    Attributes:
        name: "preview raw".
        signals: names of the S signals.
        knots: (S, 2) where the slopes change.
        groups: name of a group of `body_layout.GROUPS` -> its curves.
        borrowed: groups whose curves are those of `preview`, as the estimator has none.
    """

    name: str
    signals: tuple[str, ...]
    knots: np.ndarray
    groups: Mapping[str, Curves]
    borrowed: tuple[str, ...] = ()

    def shares(self, values: np.ndarray, group: str) -> tuple[np.ndarray, float]:
        """Signals (S, ...) -> what each adds to the log-odds (S, ...), and the bias."""
        curves = self.groups[group]
        rows = [
            sum(slope * part for slope, part in zip(slopes, basis(value, knots), strict=True))
            for value, slopes, knots in zip(values, curves.slopes, self.knots, strict=True)
        ]
        return np.stack(rows).astype(np.float32), curves.bias


def basis(values: np.ndarray, knots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The parts of the values below, between and above two knots; their sum is the values."""
    first, second = knots
    return np.minimum(values, first), np.clip(values - first, 0, second - first), np.maximum(values - second, 0)


@lru_cache(maxsize=1)
def read_table() -> dict:
    """The table of the library."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


def calibration(estimator: str, form: str, table: dict | None = None) -> Calibration:
    """The calibration of an estimator and form; groups that `heatmaps` lacks, or all, are those of `preview`."""
    table = read_table() if table is None else table
    curves, knots = table["curves"], table["knots"]
    own = curves.get(f"{estimator} {form}", {})
    entries = {**curves[f"preview {form}"], **own}
    groups = {
        group: Curves(entry["bias"], np.asarray(entry["slopes"]).reshape(-1, 3), np.asarray(entry["usual"]))
        for group, entry in entries.items()
    }
    borrowed = tuple(group for group in entries if group not in own)
    name = f"{estimator if own else 'preview'} {form}"
    return Calibration(name, FORMS[form], np.asarray([knots[signal] for signal in FORMS[form]]), groups, borrowed)
