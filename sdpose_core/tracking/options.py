"""The options of the tracker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrackerOptions:
    """Settings of a `Tracker`.

    Attributes:
        lost_seconds: how long a track goes on predicting without being seen.
        remember_seconds: how long after that a person is still known again.
        least_similarity: 0..1; pairs of a track and a person below it are never joined.
        least_likeness: 0..1; least likeness of clothes to be known again (needs pictures).
        likeness_lead: by how much the likeness must exceed that of anybody else.
        clothes_weight: how much the likeness of clothes adds to the similarity (0: not used while tracking).
        point_threshold: points of a lower score are not used.
        trust_ids: take the track ids of the poses as they come (from SAM3 tracks, say).
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
