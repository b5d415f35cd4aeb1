"""The tables and figures of the paper, one entry each: what it says, what is run for it, what differs here.

A new figure or benchmark is one more entry of `CLAIMS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdpose_core.errors import InputError
from sdpose_training.evaluation.protocols import BODY, WHOLEBODY
from sdpose_training.reproduction.figure_parts import FREE, Estimators, Features, PoseSources, StyleSheet
from sdpose_training.reproduction.parts import Ablation, Corruptions, Evaluation, Part

TABLE, FIGURE, MORE = "table", "figure", "more"

EVALUATIONS = {
    "COCO": Evaluation("coco", BODY),
    "HumanArt": Evaluation("humanart", BODY),
    "COCO-OOD Monet": Evaluation("coco-ood-monet", BODY),
    "COCO-OOD Ukiyo-e": Evaluation("coco-ood-ukiyoe", BODY),
    "COCO-WholeBody": Evaluation("coco-wholebody", WHOLEBODY),
    "COCO-OOD Monet (133)": Evaluation("coco-ood-monet", WHOLEBODY),
    "COCO-OOD Ukiyo-e (133)": Evaluation("coco-ood-ukiyoe", WHOLEBODY),
}
"""Domain of the paper's tables -> the evaluation that fills its columns."""

OTHERS = ("coco-gt-boxes", "ochuman", "ochuman-val", "crowdpose")
"""Benchmarks of evaluate.py that no table of the paper has."""

_OOD = (
    "The paper's pictures are those of the release. Those that make_coco_ood.py paints are similar, not the same: "
    "their figures are not to be compared."
)
_CHOICE = "The pictures are ours, not those of the paper."
_MARKS = (
    "Figures 1, 4 and 10 of the paper show estimators side by side; which data goes with which number is our choice. "
    "Failures are marked by a rule that our figure states; the paper's is not known."
)
_MODE = "The VAE's mean is encoded, where the released code draws a sample: the same picture gives the same figures."


@dataclass(frozen=True)
class Claim:
    """A table or figure.

    Attributes:
        kind, number: `TABLE` or `FIGURE` and its number in the paper, or `MORE` and a word.
        title: what it shows.
        says: what the paper concludes from it.
        parts: what is run.
        tables: keys of `paper_tables.TABLES`, which are shown beside our figures.
        differences: from the paper's protocol, whatever is run.
    """

    kind: str
    number: str
    title: str
    says: str
    parts: tuple[Part, ...]
    tables: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """ "Table 3", or "Corruption"."""
        return self.number.capitalize() if self.kind == MORE else f"{self.kind.capitalize()} {self.number}"

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        return f"{self.kind}-{self.number}"


def _evaluations(*domains: str) -> tuple[Part, ...]:
    return tuple(EVALUATIONS[domain] for domain in domains)


_BODY_DOMAINS = ("COCO", "HumanArt", "COCO-OOD Monet", "COCO-OOD Ukiyo-e")
_WHOLEBODY_DOMAINS = ("COCO-WholeBody", "COCO-OOD Monet (133)", "COCO-OOD Ukiyo-e (133)")

CLAIMS: tuple[Claim, ...] = (
    Claim(
        TABLE, "1", "In and out of the domain",
        "SDPose is close to Sapiens on COCO, and better on HumanArt and on COCO-OOD.",
        _evaluations(*_BODY_DOMAINS, *_WHOLEBODY_DOMAINS), ("1, body", "1, whole body"),
        (_MODE, _OOD, "Monet, 17 points: the paper's figure is that of F2 in table 2; the released weights read F1."),
    ),
    Claim(
        TABLE, "2", "Ablations",
        "RGB reconstruction helps a little, the diffusion prior a lot; on COCO, F1 is the best level for bodies, F2 for"
        " whole bodies.",
        (Ablation("ablations_body.toml", "Ablations, 17 points (paper, table 2)", 6, 3),
         Ablation("ablations_wholebody.toml", "Ablations, 133 points (paper, table 2)", 4, 3.5)),
        ("2, body", "2, whole body"),
        ("ablate.py measures with annotated boxes, the paper with detections (HumanArt: annotated ones, too).",
         "Schedule, warm-up, weight decay and other values that the paper does not state are ours: docs/fidelity.md."),
    ),
    Claim(
        TABLE, "3", "COCO, 17 points",
        "SDPose reaches Sapiens-0.6B, and is about one point below Sapiens-1B and 2B.",
        _evaluations("COCO"), ("3",), (_MODE,),
    ),
    Claim(
        TABLE, "4", "HumanArt, 17 points, annotated boxes", "SDPose is better than every other estimator.",
        _evaluations("HumanArt"), ("4",), (_MODE,),
    ),
    Claim(
        TABLE, "5", "COCO-WholeBody, by part", "SDPose is between Sapiens-0.6B and 1B, and better than DWPose.",
        _evaluations("COCO-WholeBody"), ("5",), (_MODE,),
    ),
    Claim(
        TABLE, "6", "COCO-OOD Monet, whole body, by part",
        "SDPose is the best for the whole body, and by far for faces.",
        _evaluations("COCO-OOD Monet (133)"), ("6",), (_MODE, _OOD),
    ),
    Claim(
        TABLE, "7", "COCO-OOD Ukiyo-e, whole body, by part", "SDPose is the best for the whole body and for faces.",
        _evaluations("COCO-OOD Ukiyo-e (133)"), ("7",), (_MODE, _OOD),
    ),
    Claim(
        FIGURE, "1", "Estimators on free pictures",
        "On stylized paintings, other estimators fail where SDPose does not.",
        (Estimators(FREE),), (), (_CHOICE, "Without annotations, failures are not marked."),
    ),
    Claim(
        FIGURE, "4", "Estimators on COCO-OOD", "As figure 1.",
        (Estimators("coco-ood-monet"),), (), (_CHOICE, _MARKS),
    ),
    Claim(
        FIGURE, "5", "Styles of COCO-OOD", "The stylized pictures keep the poses of the photos.",
        (StyleSheet(),), (), (_CHOICE,),
    ),
    Claim(
        FIGURE, "6", "Features by person and by style",
        "Pretrained Sapiens clusters by style (silhouette +0.35, by person -0.16); Stable Diffusion 2 by person in "
        "deeper blocks (up to about +0.22), SDPose more so at mid level (+0.45 to +0.48), both near 0 by style.",
        (Features(),), (),
        ("The paper does not say how it pools the features: the pooling is stated in our figure.",
         "Color sketches, its fourth style, are replaced by our sketch filter."),
    ),
    Claim(
        FIGURE, "7", "Pictures out of ControlNet from each estimator's poses",
        "SDPose's poses guide the pictures better than those of others.",
        (PoseSources("controlnet", "pictures", ("generator", "controlnet")),), (), (_CHOICE,),
    ),
    Claim(
        FIGURE, "8", "Frames of an animation from each estimator's poses",
        "SDPose's poses guide the animation better than those of others.",
        (PoseSources("animation", "driving", ("generator", "controlnet", "motion")),), (),
        (_CHOICE, "The paper's animation tool is not part of this project: frames are generated by AnimateDiff with "
         "ControlNet, or taken from another tool by make_figures.py animation --result."),
    ),
    Claim(
        FIGURE, "9", "More styles of COCO-OOD", "As figure 5.", (StyleSheet(),), (), (_CHOICE,),
    ),
    Claim(
        FIGURE, "10", "Estimators on HumanArt", "As figure 1.",
        (Estimators("humanart"),), (), (_CHOICE, _MARKS),
    ),
    Claim(
        MORE, "corruption", "COCO with 15 corruptions in 5 severities",
        "The third version of the paper has such a subset; its figures are not known here.",
        (Corruptions(),), (),
        ("Corruptions as the field's benchmark defines them (mPC: mean AP under corruption; rPC: its share of the AP "
         "on clean pictures); whether the paper's are the same is not known.",),
    ),
    Claim(
        MORE, "benchmarks", "Other benchmarks, 17 points: annotated boxes, crowds, occlusion, scenarios of HumanArt",
        "The paper has no figures for these, except HumanArt as a whole.",
        (*(Evaluation(name, BODY) for name in OTHERS), EVALUATIONS["HumanArt"]), (),
        (_MODE, "CrowdPose has 14 points of its own: estimators of COCO's 17 are scored on the 12 that both have."),
    ),
)  # fmt: skip


def evaluations() -> tuple[Evaluation, ...]:
    """All evaluations of all claims, each once."""
    direct = [part for claim in CLAIMS for part in claim.parts if isinstance(part, Evaluation)]
    corrupted = [part.evaluation for claim in CLAIMS for part in claim.parts if isinstance(part, Corruptions)]
    return tuple(dict.fromkeys([*direct, *corrupted]))


def choose(
    tables: Sequence[str] | None, figures: Sequence[str] | None, more: Sequence[str] | None = None
) -> tuple[Claim, ...]:
    """The claims with these numbers or words; all if none are named.

    Raises `InputError` for a number that the paper, or this project, does not have.
    """
    if tables is figures is more is None:
        return CLAIMS
    chosen: list[Claim] = []
    for kind, numbers in ((TABLE, tables), (FIGURE, figures), (MORE, more)):
        known = {claim.number: claim for claim in CLAIMS if claim.kind == kind}
        for number in numbers or ():
            if number not in known:
                option = kind if kind == MORE else f"{kind}s"
                raise InputError(f"--{option} {number}: expected some of {', '.join(known)}")
            chosen.append(known[number])
    return tuple(dict.fromkeys(chosen))
