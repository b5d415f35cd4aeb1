"""Distrust: the probability that a point of a pose sequence is wrong, with reasons.

Signals of every point and frame (`suspicion.signals`) are combined by a table fitted on rendered clips with known
points (`suspicion.calibration`). Nothing is looked at but the sequence itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..poses import PoseSequence
from .suspicion.calibration import Calibration, calibration
from .suspicion.layout import GROUPS, layout_of
from .suspicion.scene import Scene
from .suspicion.scenes import is_pictures, scenes
from .suspicion.signals import SIGNALS, signals_of
from .tracks import POINTS_AT_ONCE

REASONS: tuple[str, ...] = tuple(dict.fromkeys(SIGNALS.values()))
"""Reason number i is bit `1 << i` of `PoseSequence.distrust_reasons`."""

HIGH = 0.3
"""Points with this distrust or more have reasons."""
_WEIGHTY = 0.5
"""A reason adds this much or more to the log-odds, or more than every other reason."""


def with_distrust(
    sequence: PoseSequence, raw: PoseSequence | None = None, *, on_piece: Callable[[], None] = lambda: None
) -> PoseSequence:
    """The sequence with `distrust` (T, P, K) and `distrust_reasons` (T, P, K).

    Args:
        sequence: as estimated, or cleaned (its meta says which).
        raw: the same frames before cleaning, if they are known: the figures are better with them.
        on_piece: called between pieces of the work; may raise to stop.

    Distrust is NaN for absent points, and 0 for points placed by hand. `meta["distrust"]` names the calibration,
    and the groups of points for which the estimator has none of its own.
    Raises `InputError` if `raw` is of other frames or points.
    """
    raw = raw if raw is not None and "clean" in sequence.meta else None
    _check_raw(sequence, raw)
    used = choose_calibration(sequence, raw)
    distrust, reasons = _judge_all(sequence, raw, used, on_piece)
    if sequence.edited is not None:
        by_hand = sequence.edited & np.isfinite(distrust)
        distrust[by_hand], reasons[by_hand] = 0, 0
    note = {"calibration": used.name, "reasons": list(REASONS)}
    if borrowed := not_calibrated(sequence, raw):
        note["not_calibrated"] = borrowed
    return replace(sequence, distrust=distrust, distrust_reasons=reasons, meta={**sequence.meta, "distrust": note})


def _judge_all(
    sequence: PoseSequence, raw: PoseSequence | None, used: Calibration, on_piece: Callable[[], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Distrust and reasons (T, P, K) each; person by person and in chunks of points, to save memory."""
    distrust = np.full(sequence.scores.shape, np.nan, np.float32)
    reasons = np.zeros(sequence.scores.shape, np.uint16)
    count = sequence.scores.shape[2]
    for scene, frames, slots in scenes(sequence, raw):
        for first in range(0, count, POINTS_AT_ONCE):
            on_piece()
            points = np.arange(first, min(first + POINTS_AT_ONCE, count))
            probability, why = judge(scene, points, used)
            where = frames[:, None], slots[:, None], points
            distrust[where], reasons[where] = probability[scene.rows], why[scene.rows]
    return distrust, reasons


def _groups(sequence: PoseSequence) -> np.ndarray:
    return layout_of(sequence.keypoint_set, sequence.scores.shape[2]).group


def not_calibrated(sequence: PoseSequence, raw: PoseSequence | None = None) -> list[str]:
    """The groups of points for which the estimator has no calibration of its own; arguments as of `with_distrust`."""
    used = choose_calibration(sequence, raw)
    return [group for group in used.borrowed if (_groups(sequence) == GROUPS.index(group)).any()]


def choose_calibration(sequence: PoseSequence, raw: PoseSequence | None) -> Calibration:
    """By the estimator and by what was done to the sequence since."""
    estimator = "preview" if sequence.meta.get("preview") else "heatmaps" if "weights" in sequence.meta else "any"
    if is_pictures(sequence):
        return calibration(estimator, "picture")
    if "clean" not in sequence.meta:
        return calibration(estimator, "raw")
    return calibration(estimator, "cleaned" if raw is None else "cleaned_raw")


def _check_raw(sequence: PoseSequence, raw: PoseSequence | None) -> None:
    if raw is None:
        return
    if raw.keypoint_set != sequence.keypoint_set or not np.array_equal(raw.frame_index, sequence.frame_index):
        raise InputError(
            f"raw: {len(raw)} frames of {raw.keypoint_set!r}, expected the same {len(sequence)} frames of "
            f"{sequence.keypoint_set!r}: give the sequence from which this one was cleaned"
        )


def judge(scene: Scene, points: np.ndarray, used: Calibration) -> tuple[np.ndarray, np.ndarray]:
    """P(wrong) (N, k) of the points with indices `points`, NaN where absent; and their reasons (N, k)."""
    values = signals_of(scene, points, used.signals)
    shape = values.shape[1:]
    probability, reasons = np.full(shape, np.nan, np.float32), np.zeros(shape, np.uint16)
    group = scene.layout.group[points]
    of_signal = np.array([REASONS.index(SIGNALS[name]) for name in used.signals])
    for number in np.unique(group).tolist():
        columns = np.flatnonzero(group == number)
        shares, bias = used.shares(values[:, :, columns], GROUPS[number])
        found = 1 / (1 + np.exp(-np.clip(bias + shares.sum(axis=0), -30, 30)))
        shares -= used.groups[GROUPS[number]].usual[:, None, None].astype(np.float32)
        probability[:, columns] = found
        reasons[:, columns] = np.where(found >= HIGH, _reasons(shares, of_signal), 0)
    known = np.isfinite(scene.track.keypoints[:, points]).all(axis=-1)
    return np.where(known, probability, np.nan), np.where(known, reasons, 0).astype(np.uint16)


def _reasons(shares: np.ndarray, of_signal: np.ndarray) -> np.ndarray:
    """Shares (S, N, k) of the signals in the log-odds -> bit masks (N, k) of the reasons that weigh most."""
    added = np.stack([shares[of_signal == number].sum(axis=0) if (of_signal == number).any() else
                      np.full(shares.shape[1:], -np.inf, np.float32) for number in range(len(REASONS))])  # fmt: skip
    given = (added >= _WEIGHTY) | (added == added.max(axis=0))
    bits = (1 << np.arange(len(REASONS))).astype(np.uint16)
    return (given * bits[:, None, None]).sum(axis=0)
