"""What the benchmark prints and draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TOP = 0.05
"""Share of the points that a person looks at."""


MANY = 1000
"""Points for ten bins of a reliability diagram."""


@dataclass(frozen=True)
class Judged:
    """Points with truth and their distrust: (n,) each."""

    wrong: np.ndarray
    distrust: np.ndarray
    score: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Judged]) -> Judged:
        """All of them."""
        return cls(*(np.concatenate([getattr(one, name) for one in parts]) for name in ("wrong", "distrust", "score")))


@dataclass(frozen=True)
class Ranking:
    """How well an order of the points puts the wrong ones first: area under the ROC curve, the share of wrong points
    among the first 5%, and the share of the wrong points that are among them."""

    auc: float
    precision: float
    recall: float


def ranking(wrong: np.ndarray, suspicion: np.ndarray) -> Ranking:
    """Of points in the order of falling suspicion."""
    from sklearn.metrics import roc_auc_score

    count = max(int(round(TOP * len(wrong))), 1)
    first = wrong[np.argsort(-suspicion, kind="stable")[:count]]
    return Ranking(float(roc_auc_score(wrong, suspicion)), float(first.mean()), float(first.sum() / wrong.sum()))


def reliability(judged: Judged) -> list[tuple[float, float, int]]:
    """Mean distrust, share wrong and number of points in bins of equal width: ten, or four for few points."""
    bins = 10 if len(judged.wrong) >= MANY else 4
    at = np.minimum((judged.distrust * bins).astype(int), bins - 1)
    return [
        (float(judged.distrust[at == i].mean()), float(judged.wrong[at == i].mean()), int((at == i).sum()))
        for i in range(bins)
        if (at == i).any()
    ]


def calibration_error(judged: Judged) -> float:
    """Mean distance of distrust from the share wrong, over `reliability`'s bins, weighted by their points (ECE)."""
    bins = reliability(judged)
    return sum(abs(a - b) * n for a, b, n in bins) / max(sum(n for *_, n in bins), 1)


HEADER = "| points | number | wrong | AUC | by score | wrong in top 5% | by score | found in top 5% | by score | ECE |"


def row(name: str, judged: Judged) -> str:
    """A line of the table."""
    by_distrust, by_score = ranking(judged.wrong, judged.distrust), ranking(judged.wrong, -judged.score)
    pairs = ((by_distrust.auc, by_score.auc), (by_distrust.precision, by_score.precision),
             (by_distrust.recall, by_score.recall))  # fmt: skip
    cells = [f"{value:.3f}" for pair in pairs for value in pair]
    return " | ".join(
        [
            "| " + name,
            f"{len(judged.wrong):,}",
            f"{judged.wrong.mean():.3f}",
            *cells,
            f"{calibration_error(judged):.3f} |",
        ]
    )


def draw(path: Path, panels: Mapping[str, Judged]) -> None:
    """The reliability diagrams, one beside the other."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 4.6), sharey=True, squeeze=False)
    for axis, (name, judged) in zip(axes[0], panels.items(), strict=True):
        bins = reliability(judged)
        axis.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="perfect")
        axis.plot([b[0] for b in bins], [b[1] for b in bins], color="#1f6fb4", marker="o", label="measured")
        shares = [b[2] / len(judged.wrong) for b in bins]
        axis.bar([b[0] for b in bins], shares, width=0.06, color="#1f6fb4", alpha=0.2, label="share of points")
        axis.set(title=f"{name}\n{len(judged.wrong):,} points", xlabel="distrust", xlim=(0, 1), ylim=(0, 1))
        axis.set_aspect("equal")
    axes[0][0].set_ylabel("share wrong")
    axes[0][0].legend(loc="upper left", frameon=False, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
