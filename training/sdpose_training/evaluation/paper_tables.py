"""Figures of other estimators in the paper (arXiv 2509.24980), in percent, to show beside our measurements.

All were trained on COCO only. HumanArt has ground-truth boxes, the others have detections.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_Table = Mapping[str, tuple[float, float | None]]

_COCO: _Table = {
    "SimpleBaseline": (73.5, 79.0), "HRNet": (76.3, 81.2), "HRFormer": (77.2, 82.0),
    "ViTPose-S": (73.8, 79.2), "ViTPose-B": (75.8, 81.1), "ViTPose-L": (78.3, 83.5), "ViTPose-H": (79.1, 84.1),
    "ViTPose++-S": (75.8, 81.0), "ViTPose++-B": (77.0, 82.6), "ViTPose++-L": (78.6, 84.1), "ViTPose++-H": (79.4, 84.8),
    "Sapiens-0.3B": (79.6, 83.6), "Sapiens-0.6B": (81.2, 84.9), "Sapiens-1B": (82.1, 85.9), "Sapiens-2B": (82.2, 86.0),
    "GenLoc (SD1.5)": (77.6, 80.7),
}  # fmt: skip
_HUMANART: _Table = {
    "RTMPose-T": (44.4, 48.8), "RTMPose-S": (48.0, 52.1), "RTMPose-M": (53.2, 57.1), "RTMPose-L": (56.4, 59.9),
    "ViTPose-S": (50.7, 55.1), "ViTPose-B": (55.5, 59.9), "ViTPose-L": (63.7, 67.7), "ViTPose-H": (66.5, 70.1),
    "HRNet-W32": (53.3, 57.4), "HRNet-W48": (55.7, 59.5), "Sapiens-1B": (64.3, 67.4), "Sapiens-2B": (69.6, 72.2),
    "GenLoc (SD1.5)": (67.0, 70.8),
}  # fmt: skip
_WHOLEBODY: _Table = {
    "HRNet": (58.6, 67.4), "ViTPose++-L": (60.6, None), "ViTPose++-H": (61.2, None), "RTMPose-x": (65.3, 73.3),
    "DWPose-l": (66.5, 74.3), "Sapiens-0.3B": (62.0, 69.4), "Sapiens-0.6B": (69.5, 76.3), "Sapiens-1B": (72.7, 79.2),
    "Sapiens-2B": (74.4, 81.0),
}  # fmt: skip

PEERS: Mapping[str, _Table] = MappingProxyType({
    "COCO": _COCO,
    "HumanArt": _HUMANART,
    "COCO-OOD Monet": {"Sapiens-1B": (58.8, 63.3), "Sapiens-2B": (59.6, 64.0)},
    "COCO-OOD Ukiyo-e": {"Sapiens-1B": (61.5, 66.2), "Sapiens-2B": (62.3, 66.8)},
    "COCO-WholeBody": _WHOLEBODY,
    "COCO-OOD Monet (133)": {"Sapiens-1B": (38.7, 46.8), "Sapiens-2B": (44.4, 53.0)},
    "COCO-OOD Ukiyo-e (133)": {"Sapiens-1B": (40.5, 49.4), "Sapiens-2B": (46.6, 55.8)},
})  # fmt: skip
"""Domain, named as in `comparison` -> estimator -> AP and AR: tables 1, 3, 4 and 5."""


def peers_of(domains: tuple[str, ...]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Estimator -> domain -> AP and AR as fractions, of the estimators that the paper has for these domains."""
    rows: dict[str, dict[str, dict[str, float | None]]] = {}
    for domain in domains:
        for name, (ap, ar) in PEERS.get(domain, {}).items():
            figures = {"AP": round(ap / 100, 4), "AR": None if ar is None else round(ar / 100, 4)}
            rows.setdefault(f"{name} in the paper", {})[domain] = figures
    return rows
