"""Tables 1 to 7 of the paper (arXiv 2509.24980): every figure that this project shows as the paper's is from here.

AP and AR in percent. HumanArt has ground-truth boxes, the others have detections. All models were trained on COCO only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from sdpose_core.errors import InputError, did_you_mean

SDPOSE = "SDPose"

_Cells = tuple[float | None, ...]


@dataclass(frozen=True)
class PaperRow:
    """What the paper has of one estimator on one domain, in percent.

    Attributes:
        source: table of arXiv 2509.24980.
        figures: for all keypoints.
        parts: of whole bodies, AP and AR of each part; "hands" is one figure for both.
        parameters: of the model, such as "0.95B"; "" if no table says.
        input_size: (w, h) of the crops, None if the table does not say.
    """

    source: str
    figures: Mapping[str, float]
    parts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    parameters: str = ""
    input_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper, or its half for 17 or 133 keypoints.

    Attributes:
        number: of the table.
        columns: (domain, part or "" for all keypoints, figure); domains are named as in `comparison`.
        rows: estimator -> a figure per column, None where the table has none.
        input_sizes: estimator -> (w, h), where the table says it.
    """

    number: int
    columns: tuple[tuple[str, str, str], ...]
    rows: Mapping[str, _Cells]
    input_sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def row(self, estimator: str, domain: str) -> PaperRow | None:
        """The figures of an estimator on a domain; None if the table has none."""
        cells = zip(self.columns, self.rows.get(estimator, ()), strict=False)
        found = [(part, name, value) for (place, part, name), value in cells if place == domain and value is not None]
        if not found:
            return None
        parts: dict[str, dict[str, float]] = {}
        for part, name, value in found:
            parts.setdefault(part, {})[name] = value
        whole, size = parts.pop("", {}), self.input_sizes.get(estimator)
        return PaperRow(f"Table {self.number}", whole, parts, PARAMETERS.get(estimator, ""), size)

    def domains(self) -> tuple[str, ...]:
        """Its domains, each once, in order."""
        return tuple(dict.fromkeys(domain for domain, _, _ in self.columns))


def _columns(
    domains: Sequence[str], parts: Sequence[str] = ("",), names: Sequence[str] = ("AP", "AR")
) -> tuple[tuple[str, str, str], ...]:
    return tuple((domain, part, name) for domain in domains for part in parts for name in names)


_MONET, _UKIYOE = "COCO-OOD Monet", "COCO-OOD Ukiyo-e"
_BODY = ("COCO", "HumanArt", _MONET, _UKIYOE)
_WHOLEBODY = ("COCO-WholeBody", f"{_MONET} (133)", f"{_UKIYOE} (133)")
PARAMETERS: Mapping[str, str] = MappingProxyType(
    {"Sapiens-1B": "1.169B", "Sapiens-2B": "2.163B", "GenLoc (SD1.5)": "0.95B", SDPOSE: "0.95B"}
)
"""Estimator -> number of parameters, of table 1."""
_SIZES = {"256x192": (192, 256), "384x288": (288, 384), "1024x768": (768, 1024)}
"""The paper writes height x width."""

_COCO: Mapping[str, tuple[str, float, float]] = {
    "SimpleBaseline": ("256x192", 73.5, 79.0), "HRNet": ("384x288", 76.3, 81.2), "HRFormer": ("256x192", 77.2, 82.0),
    "ViTPose-S": ("256x192", 73.8, 79.2), "ViTPose-B": ("256x192", 75.8, 81.1), "ViTPose-L": ("256x192", 78.3, 83.5),
    "ViTPose-H": ("256x192", 79.1, 84.1), "ViTPose++-S": ("256x192", 75.8, 81.0),
    "ViTPose++-B": ("256x192", 77.0, 82.6), "ViTPose++-L": ("256x192", 78.6, 84.1),
    "ViTPose++-H": ("256x192", 79.4, 84.8), "Sapiens-0.3B": ("1024x768", 79.6, 83.6),
    "Sapiens-0.6B": ("1024x768", 81.2, 84.9), "Sapiens-1B": ("1024x768", 82.1, 85.9),
    "Sapiens-2B": ("1024x768", 82.2, 86.0), SDPOSE: ("1024x768", 81.3, 85.2),
}  # fmt: skip
_HUMANART: Mapping[str, _Cells] = {
    "RTMPose-T": (44.4, 72.5, 45.3, 48.8, 75.0), "RTMPose-S": (48.0, 73.9, 49.8, 52.1, 76.3),
    "RTMPose-M": (53.2, 76.5, 56.3, 57.1, 78.9), "RTMPose-L": (56.4, 78.9, 60.2, 59.9, 80.8),
    "ViTPose-S": (50.7, 75.8, 53.1, 55.1, 78.0), "ViTPose-B": (55.5, 78.2, 59.0, 59.9, 80.9),
    "ViTPose-L": (63.7, 83.8, 68.9, 67.7, 85.9), "ViTPose-H": (66.5, 86.0, 71.5, 70.1, 87.1),
    "HRNet-W32": (53.3, 77.1, 56.2, 57.4, 79.2), "HRNet-W48": (55.7, 78.2, 59.3, 59.5, 80.4),
    "Sapiens-1B": (64.3, 82.1, 67.9, 67.4, 83.7), "Sapiens-2B": (69.6, 85.3, 73.3, 72.2, 86.8),
    SDPOSE: (71.2, 87.3, 76.3, 73.9, 88.6),
}  # fmt: skip
_PARTS: Mapping[str, _Cells] = {
    "HRNet": (70.1, 77.3, 58.6, 69.2, 72.7, 78.3, 51.6, 60.4, 58.6, 67.4),
    "ViTPose++-L": (75.3, None, 77.1, None, 63.0, None, 54.2, None, 60.6, None),
    "ViTPose++-H": (75.9, None, 77.9, None, 63.6, None, 54.7, None, 61.2, None),
    "RTMPose-x": (71.4, 78.4, 69.2, 81.0, 88.8, 92.2, 59.0, 68.5, 65.3, 73.3),
    "DWPose-l": (72.2, 78.9, 70.4, 81.7, 88.7, 92.1, 62.1, 71.0, 66.5, 74.3),
    "Sapiens-0.3B": (66.4, 73.4, 67.3, 78.4, 87.1, 91.2, 58.1, 67.1, 62.0, 69.4),
    "Sapiens-0.6B": (74.3, 80.2, 79.4, 87.0, 89.5, 92.9, 65.4, 74.0, 69.5, 76.3),
    "Sapiens-1B": (77.4, 82.9, 83.0, 89.8, 90.7, 93.6, 69.2, 77.1, 72.7, 79.2),
    "Sapiens-2B": (79.2, 84.6, 84.1, 90.9, 91.2, 93.8, 70.4, 78.1, 74.4, 81.0),
    SDPOSE: (77.9, 83.4, 81.5, 88.7, 88.5, 92.2, 65.2, 74.0, 71.5, 78.4),
}
_SIX_PARTS = ("body", "feet", "face", "left_hand", "right_hand", "")

TABLES: Mapping[str, PaperTable] = MappingProxyType({
    "1, body": PaperTable(1, _columns(_BODY), {
        "Sapiens-1B": (82.1, 85.9, 64.3, 67.4, 58.8, 63.3, 61.5, 66.2),
        "Sapiens-2B": (82.2, 86.0, 69.6, 72.2, 59.6, 64.0, 62.3, 66.8),
        "GenLoc (SD1.5)": (77.6, 80.7, 67.0, 70.8, None, None, None, None),
        SDPOSE: (81.3, 85.2, 71.2, 73.9, 64.3, 68.9, 66.0, 70.7),
    }),
    "1, whole body": PaperTable(1, _columns(_WHOLEBODY), {
        "Sapiens-1B": (72.7, 79.2, 38.7, 46.8, 40.5, 49.4),
        "Sapiens-2B": (74.4, 81.0, 44.4, 53.0, 46.6, 55.8),
        SDPOSE: (71.5, 78.4, 46.6, 54.8, 47.7, 56.4),
    }),
    "2, body": PaperTable(2, _columns(_BODY[:3]), {
        "full (F1)": (81.3, 85.2, 71.2, 73.9, 63.5, 68.2),
        "without RGB reconstruction": (80.8, 84.9, 69.8, 72.6, 62.5, 67.3),
        "without diffusion prior": (74.9, 79.4, 53.8, 58.0, 52.7, 57.9),
        "F1": (81.3, 85.2, 71.2, 73.9, 63.5, 68.2),
        "F2": (81.1, 85.0, 70.4, 73.3, 64.3, 68.9),
        "F3": (81.0, 85.1, 70.6, 73.3, 63.5, 68.2),
        "F4": (79.2, 83.4, 65.0, 68.1, 58.1, 62.8),
    }),
    "2, whole body": PaperTable(2, _columns(_WHOLEBODY[:2]), {
        "F1": (70.5, 77.5, 44.7, 53.0), "F2": (71.5, 78.4, 46.6, 54.8),
        "F3": (70.4, 77.6, 45.5, 53.8), "F4": (64.6, 72.1, 37.1, 45.4),
    }),
    "3": PaperTable(
        3, _columns(_BODY[:1]), {name: figures for name, (_, *figures) in _COCO.items()},
        input_sizes={name: _SIZES[size] for name, (size, *_) in _COCO.items()},
    ),
    "4": PaperTable(4, _columns(_BODY[1:2], names=("AP", "AP50", "AP75", "AR", "AR50")), _HUMANART),
    "5": PaperTable(5, _columns(_WHOLEBODY[:1], ("body", "feet", "face", "hands", "")), _PARTS),
    "6": PaperTable(6, _columns(_WHOLEBODY[1:2], _SIX_PARTS), {
        "Sapiens-1B": (52.1, 58.6, 55.9, 66.2, 57.6, 63.0, 43.1, 52.0, 41.5, 50.6, 38.7, 46.8),
        "Sapiens-2B": (59.9, 65.8, 63.8, 72.4, 58.4, 64.2, 48.2, 56.8, 46.8, 55.3, 44.4, 53.0),
        SDPOSE: (60.0, 66.1, 62.5, 72.0, 64.2, 69.9, 46.3, 55.2, 44.9, 54.4, 46.6, 54.8),
    }),
    "7": PaperTable(7, _columns(_WHOLEBODY[2:], _SIX_PARTS), {
        "Sapiens-1B": (54.0, 60.9, 57.9, 69.9, 58.7, 65.3, 43.7, 52.8, 40.9, 50.6, 40.5, 49.4),
        "Sapiens-2B": (62.2, 68.2, 67.3, 76.5, 59.9, 66.9, 49.8, 58.7, 46.7, 55.7, 46.6, 55.8),
        SDPOSE: (61.2, 67.5, 64.7, 75.0, 64.7, 71.2, 45.9, 55.7, 44.1, 54.3, 47.7, 56.4),
    }),
})  # fmt: skip
"""Table, and its half where it has two -> its content."""

_MOST_DETAILED = ("3", "4", "5", "6", "7", "1, body", "1, whole body")
"""In which order tables are asked for a row: 1 sums up the others."""


def paper_row(estimator: str, domain: str) -> PaperRow | None:
    """The paper's figures of an estimator on a domain, from its most detailed table; None if it has none."""
    rows = (TABLES[table].row(estimator, domain) for table in _MOST_DETAILED)
    return next((row for row in rows if row is not None), None)


def sdpose_row(domain: str) -> PaperRow:
    """The paper's figures of SDPose on a domain. Raises `InputError` for a domain that the paper does not have."""
    row = paper_row(SDPOSE, domain)
    if row is None:
        raise InputError(f"the paper has no figures of SDPose on {domain!r}: it has {', '.join(_BODY + _WHOLEBODY)}")
    return row


def peers_of(domains: Sequence[str]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Estimator -> domain -> all its figures as fractions, of the estimators that the paper has for these domains."""
    rows: dict[str, dict[str, dict[str, float | None]]] = {}
    for domain in domains:
        names = [name for table in _MOST_DETAILED for name in TABLES[table].rows if name != SDPOSE]
        for name in dict.fromkeys(names):
            if row := paper_row(name, domain):
                fractions = {figure: round(value / 100, 4) for figure, value in row.figures.items()}
                rows.setdefault(in_the_paper(name), {})[domain] = {"AR": None, **fractions}
    return rows


def in_the_paper(estimator: str) -> str:
    """The label of the paper's row of an estimator."""
    return f"{estimator} in the paper"


def ablation_row(name: str) -> dict[str, tuple[float, float]]:
    """Domain -> (AP, AR) of a row of table 2, such as "body, F2"; COCO-OOD's domains by their style alone.

    Raises `InputError` for an unknown row.
    """
    rows = {f"{key[3:]}, {row}": (key, row) for key in TABLES if key.startswith("2, ") for row in TABLES[key].rows}
    if name not in rows:
        hint = did_you_mean(name, rows) or f"known are {'; '.join(rows)}"
        raise InputError(f"table 2 of the paper has no row {name!r}: {hint}")
    key, row = rows[name]
    found = {domain: TABLES[key].row(row, domain) for domain in TABLES[key].domains()}
    short = {domain: domain.removeprefix("COCO-OOD ").removesuffix(" (133)") for domain in found}
    return {short[domain]: (each.figures["AP"], each.figures["AR"]) for domain, each in found.items() if each}
