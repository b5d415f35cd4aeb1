"""Which row of the paper's tables a published model has, by its name.

Names as in MMPose (config and weights, 0.x and 1.x), on the Hugging Face hub, and in DWPose's and Sapiens' releases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from sdpose_training.evaluation.paper_tables import in_the_paper, paper_row

Row = TypeVar("Row", bound=Mapping)

_COCO, _HUMANART = ("COCO",), ("HumanArt",)
_WHOLEBODY = ("COCO-WholeBody", "COCO-OOD Monet (133)", "COCO-OOD Ukiyo-e (133)")
_BODY = ("COCO", "HumanArt", "COCO-OOD Monet", "COCO-OOD Ukiyo-e")
_SCHEDULE = r"(?:\d+xb\d+-\d+e-)?"
_NOT_ANOTHER = r"(?!-dark|-udp|-fp16|-regress|-simple)"
_LETTER = {"tiny": "T", "small": "S", "base": "B", "large": "L", "huge": "H"}

_RULES: Sequence[tuple[str, Sequence[str], str]] = (
    (r"vitpose-plus-(?P<size>small|base|large|huge)$", (*_COCO, *_WHOLEBODY), "ViTPose++-{size}"),
    (r"vitpose\+{1,2}-(?P<size>s|b|l|h)$", (*_COCO, *_WHOLEBODY), "ViTPose++-{size}"),
    (r"td-hm-vitpose-(?P<size>small|base|large|huge)-\d+xb\d+-\d+e-coco-256x192", _BODY, "ViTPose-{size}"),
    (r"vitpose-(?P<size>s|b|l|h|small|base|large|huge)(?:-coco-256x192)?$", _BODY, "ViTPose-{size}"),
    (r"rtmpose-(?P<size>t|tiny|s|m|l)-(?:simcc-coco-|\d+xb\d+-420e-coco-)(?!wholebody)", _HUMANART, "RTMPose-{size}"),
    (r"rtmpose-x-(?:simcc-coco-wholebody-|\d+xb\d+-270e-coco-wholebody-).*384x288", _WHOLEBODY, "RTMPose-x"),
    (r"dw-ll-ucoco-384|dwpose-l-ll-coco-ubody-384x288|dwpose-l-384", _WHOLEBODY, "DWPose-l"),
    (rf"res152-{_SCHEDULE}coco-256x192{_NOT_ANOTHER}", _COCO, "SimpleBaseline"),
    (rf"hrformer-base-{_SCHEDULE}coco-(?:256x192|384x288)", _COCO, "HRFormer"),
    (rf"hrnet-w48-{_SCHEDULE}coco-384x288{_NOT_ANOTHER}", _COCO, "HRNet"),
    (rf"hrnet-(?P<size>w32|w48)-{_SCHEDULE}coco-256x192{_NOT_ANOTHER}", _HUMANART, "HRNet-{size}"),
    (rf"hrnet-w32-{_SCHEDULE}coco-wholebody-384x288{_NOT_ANOTHER}", _WHOLEBODY, "HRNet"),
    (r"sapiens-(?P<size>0\.3b|0\.6b|1b|2b)-coco-(?!wholebody)", _BODY, "Sapiens-{size}"),
    (r"sapiens-(?P<size>0\.3b|0\.6b|1b|2b)-coco-wholebody-", _WHOLEBODY, "Sapiens-{size}"),
)
"""Pattern of a plain name, the domains of its keypoints and training, and the paper's name.

Models that were trained on more or other data than the paper's are not meant: `-simple` decoders of ViTPose,
`coco-aic-mpii`, `aic-coco`, `body7`, `humanart`, Sapiens' 308 points.
"""


def estimator_in_paper(model: str, domain: str) -> str | None:
    """The paper's name of a model that evaluate.py has measured on a domain; None if the paper does not have it there.

    Args:
        model: name of a peer, such as "ViTPose (usyd-community/vitpose-plus-huge)"; more may follow.
        domain: as in `comparison`.
    """
    inside = re.search(r"\(([^()]*)\)", model)
    name = (inside[1] if inside else model).rpartition("/")[2].lower()
    plain = re.sub(r"[\s_\-]+", "-", name)
    for pattern, domains, template in _RULES:
        if domain in domains and (found := re.search(pattern, plain)):
            size = found.groupdict().get("size", "")
            estimator = template.format(size=_LETTER.get(size, size.upper()))
            return estimator if paper_row(estimator, domain) else None
    return None


def with_paper_rows(rows: Mapping[str, Row], peers: Mapping[str, Row]) -> dict[str, Row]:
    """Every row in the order of reading: under a measured estimator its row in the paper, then the paper's others.

    Args:
        rows: estimator -> domain -> figures, as measured.
        peers: the same for the paper's figures of others, with the labels of `in_the_paper`.
    """
    result: dict[str, Row] = {}
    for label, row in rows.items():
        result[label] = row
        names = {estimator_in_paper(label, domain) for domain in row} - {None}
        result |= {name: peers[name] for name in map(in_the_paper, sorted(map(str, names))) if name in peers}
    return result | {name: row for name, row in peers.items() if name not in result}
