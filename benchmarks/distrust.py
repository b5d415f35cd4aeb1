"""Is distrust right? Fit it on rendered clips, and measure it on others and on photos.

    python training/make_synthetic_people.py --clip 40 --count 20 --people 3 --style shaded --size 480x360 \\
        --supersample 1 --seed 1000 --out CLIPS/calibration        # and --count 12 --seed 2000 --out CLIPS/heldout
    python benchmarks/distrust.py CLIPS                            # measures; --fit writes the library's table first

A point is wrong if it is off by more than a tenth of the torso; in hands and face, by a fifth of the hand or face.
Estimates are kept beside the clips. `--weights` adds a model with heatmaps (`heatmaps` in the table). Needs the extra
`train`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from distrusting.clips import Estimated, as_pictures, errors, estimated, photos
from distrusting.figures import HEADER, Judged, draw, row
from distrusting.fit import Samples, fit, knots_of

from sdpose_core.detection.loading import load_detector
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.files import atomic_write
from sdpose_core.poses import PoseSequence
from sdpose_core.sequences.distrust import with_distrust
from sdpose_core.sequences.suspicion.calibration import FORMS, SCORES, TABLE, read_table
from sdpose_core.sequences.suspicion.layout import GROUPS

COCO = Path(__file__).parents[2] / "shared" / "data" / "coco_samples"
DOCS = Path(__file__).parents[1] / "docs"
PARTS = {"body": slice(0, 17), "feet": slice(17, 23), "face": slice(23, 91), "hands": slice(91, 133)}
PANELS = {
    "preview, raw": "clips, as estimated", "preview, cleaned": "clips, cleaned",
    "preview, cleaned_raw": "cleaned, before cleaning known", "preview, picture": "single frames",
    "COCO photos, preview, picture": "COCO photos",
}  # fmt: skip
"""Diagrams, of the body points, and their titles."""

Case = tuple[PoseSequence, PoseSequence | None]


def main() -> None:
    """Fit if asked to, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="folder with calibration/ and heldout/")
    parser.add_argument("--weights", type=Path, help="a trained checkpoint, for `heatmaps`")
    parser.add_argument("--coco", type=Path, default=COCO, help="folder with the photos and test_coco_wholebody.json")
    parser.add_argument("--fit", action="store_true", help="fit the table of the library first")
    parser.add_argument("--figure", type=Path, default=DOCS / "distrust.png")
    args = parser.parse_args()
    models = {"preview": "preview", **({"heatmaps": str(args.weights)} if args.weights else {})}
    if args.fit:
        clips = {name: list(_clips(args.clips / "calibration", name, model)) for name, model in models.items()}
        _write_table(clips)
    panels: dict[str, Judged] = {}
    for name, model in models.items():
        panels |= _measure(name, list(_clips(args.clips / "heldout", name, model)))
    estimator = load_estimator("preview")
    panels |= _report("COCO photos, preview", "picture", [(s, None, off) for s, off in photos(args.coco, estimator)])
    draw(args.figure, {title: panels[f"{name}, body"] for name, title in PANELS.items()})


def _measure(name: str, held_out: Sequence[Estimated]) -> dict[str, Judged]:
    """Print the tables of all forms of an estimator; the judged points by form and part."""
    panels: dict[str, Judged] = {}
    for form in FORMS:
        cases = []
        for clip in held_out:
            sequence, raw = _case(clip, form)
            cases.append((sequence, raw, errors(sequence, _truth_of(form, clip.truth))))
        panels |= _report(name, form, cases)
        if name == "preview":
            _report("preview, by the curves of any estimator", form, [(_of_anyone(s), r, e) for s, r, e in cases])
    return panels


def _clips(folder: Path, name: str, model: str) -> Iterator[Estimated]:
    estimator, detector = load_estimator(model), load_detector()
    for clip in sorted(folder.glob("clip_*")):
        yield estimated(clip, name, estimator, detector)


def _case(clip: Estimated, form: str) -> Case:
    """The sequence of a form, and the raw one beside it."""
    if form == "picture":
        return as_pictures(clip.raw), None
    return (clip.raw if form == "raw" else clip.cleaned), (clip.raw if form == "cleaned_raw" else None)


def _of_anyone(sequence: PoseSequence) -> PoseSequence:
    """The sequence as if nobody knew its estimator."""
    return replace(sequence, meta={k: v for k, v in sequence.meta.items() if k not in ("preview", "weights")})


def _truth_of(form: str, truth: PoseSequence) -> PoseSequence:
    return as_pictures(truth) if form == "picture" else truth


def _write_table(clips: dict[str, Sequence[Estimated]]) -> None:
    """Fit all forms of all estimators, and write the library's table."""
    samples: dict[tuple[str, str], Samples] = {}
    for name, some in clips.items():
        for form in FORMS:
            samples[name, form] = found = Samples()
            for clip in some:
                sequence, raw = _case(clip, form)
                found.add(sequence, raw, errors(sequence, _truth_of(form, clip.truth)), form)
    knots = knots_of((form, found) for (name, form), found in samples.items() if name == "preview")
    curves = {}
    for (name, form), found in samples.items():
        curves[f"{name} {form}"] = fit(found, form, knots, GROUPS if name == "preview" else list(found.wrong))
        if name == "preview":
            curves[f"any {form}"] = fit(found, form, knots, GROUPS, without=SCORES)
    with atomic_write(TABLE, "w") as file:
        file.write(_as_json({"knots": knots, "curves": curves}))
    read_table.cache_clear()


def _as_json(table: dict) -> str:
    """One line for each set of curves."""
    lines = [f'"{name}": {json.dumps(curves)}' for name, curves in table["curves"].items()]
    return f'{{"knots": {json.dumps(table["knots"])},\n"curves": {{\n' + ",\n".join(lines) + "\n}}\n"


def _report(name: str, form: str, cases: Sequence[tuple[PoseSequence, PoseSequence | None, np.ndarray]]) -> dict:
    """Print the table of one estimator and form; the judged points by part."""
    parts: dict[str, list[Judged]] = {part: [] for part in (*PARTS, "all")}
    for sequence, raw, off in cases:
        distrust = with_distrust(sequence, raw).distrust
        assert distrust is not None
        for part, points in {**PARTS, "all": slice(None)}.items():
            known = ~np.isnan(off[..., points]) & np.isfinite(distrust[..., points])
            parts[part].append(
                Judged(off[..., points][known] > 1, distrust[..., points][known], sequence.scores[..., points][known])
            )
    print(f"\n### {name}, {form}\n\n{HEADER}\n" + "| --- " * HEADER.count(" |") + "|")
    result = {}
    for part, several in parts.items():
        judged = Judged.joined(several)
        if len(judged.wrong) and 0 < judged.wrong.mean() < 1:
            result[f"{name}, {form}, {part}"] = judged
            print(row(part, judged))
    return result


if __name__ == "__main__":
    main()
