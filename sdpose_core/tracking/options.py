"""The options of the tracker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrackerOptions:
    """Settings of a `Tracker`. Interrupted runs store them by name, so names stay.

    Attributes:
        lost_seconds: how long a track keeps predicting while its person is unseen.
        remember_seconds: how long after that the person can still be recognized.
        least_similarity: minimum similarity, 0..1, of a track and a person to be matched.
        least_likeness: minimum likeness of clothes, 0..1, to recognize a person (needs pictures).
        likeness_lead: margin by which that likeness must exceed everybody else's.
        clothes_weight: weight of clothes in the similarity (0: not used while tracking).
        point_threshold: points with a lower score are ignored.
        trust_ids: keep the track ids of the poses (from SAM3 tracks, for example).
        cuts: end all ids at hard cuts (needs pictures).
        cut_threshold: see `SceneCuts`.
    """

    lost_seconds: float = 2.0
    remember_seconds: float = 20.0
    least_similarity: float = 0.2
    least_likeness: float = 0.8
    likeness_lead: float = 0.05
    clothes_weight: float = 0.5
    point_threshold: float = 0.3
    trust_ids: bool = False
    cuts: bool = True
    cut_threshold: float = 0.3
