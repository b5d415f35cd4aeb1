"""Count the errors of the tracker on clips with known ids.

    python benchmarks/track_benchmark.py [--dancers] [--no-pictures] [--json FILE]

MOTA and IDF1 come from the package `trackeval` if installed (pip install trackeval), else from our count by the same
definitions; the output says which.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from moving_people import CLIPS, FRAME_RATE, GROUP, Clip

from sdpose_core.boxes import iou
from sdpose_core.tracking.tracker import Tracker


@dataclass(frozen=True)
class Score:
    """Counts of one clip, and MOTA and IDF1 as fractions; `merges` counts track ids shared by two people."""

    clip: str
    frames: int
    people: int
    tracks: int
    switches: int
    fragments: int
    merges: int
    mota: float
    idf1: float
    counted_by: str


def track(clip: Clip, pictures: bool = True, rate: Fraction = FRAME_RATE) -> list[np.ndarray]:
    """Per frame the track id (P,) of each detected person, in the clip's order."""
    tracker = Tracker(rate, clip.poses[0].size)
    result = []
    for frame, (poses, image) in enumerate(zip(clip.poses, clip.images, strict=True)):
        tracked = tracker.update(poses, frame, image if pictures else None)
        row_of = {tuple(box): i for i, box in enumerate(tracked.boxes.tolist())}
        result.append(tracked.track_ids[[row_of[tuple(box)] for box in poses.boxes.tolist()]].astype(np.int64))
    return result


def without_groups(clip: Clip, ids: Sequence[np.ndarray]) -> tuple[Clip, list[np.ndarray]]:
    """The clip and the ids without boxes around several people, which belong to nobody."""
    single = [source != GROUP for source in clip.sources]
    kept = replace(
        clip,
        poses=[poses.select(at) for poses, at in zip(clip.poses, single, strict=True)],
        sources=[source[at] for source, at in zip(clip.sources, single, strict=True)],
    )
    return kept, [found[at] for found, at in zip(ids, single, strict=True)]


def score(clip: Clip, ids: Sequence[np.ndarray]) -> Score:
    """Compare the ids with the truth."""
    pairs = [set(zip(true.tolist(), got.tolist(), strict=True)) for true, got in zip(clip.sources, ids, strict=True)]
    last: dict[int, int] = {}
    switches = 0
    for frame in pairs:
        switches += sum(last.get(person, got) != got for person, got in frame)
        last.update(frame)
    joined = {pair for frame in pairs for pair in frame}
    people, tracks = {person for person, _ in joined}, {got for _, got in joined}
    mota, idf1, by = _rates(clip, ids, switches)
    return Score(
        clip.name, len(ids), len(people), len(tracks), switches,
        len(joined) - len(people), len(joined) - len(tracks), mota, idf1, by,
    )  # fmt: skip


def _rates(clip: Clip, ids: Sequence[np.ndarray], switches: int) -> tuple[float, float, str]:
    """MOTA, IDF1 and the counter's name."""
    data = _trackeval_data(clip, ids)
    try:
        from trackeval.metrics import CLEAR, Identity
    except ImportError:
        return *_own_rates(clip, ids, switches), "our count"
    clear, identity = CLEAR({"PRINT_CONFIG": False}), Identity({"PRINT_CONFIG": False})
    return float(clear.eval_sequence(data)["MOTA"]), float(identity.eval_sequence(data)["IDF1"]), "trackeval"


def _own_rates(clip: Clip, ids: Sequence[np.ndarray], switches: int) -> tuple[float, float]:
    """MOTA = 1 - (misses + switches) / truth, without false positives; IDF1 = 2 IDTP / (truth + found)."""
    from scipy.optimize import linear_sum_assignment

    truth, found = sum(len(people) for people, _ in clip.truth), sum(map(len, ids))
    together: dict[tuple[int, int], int] = {}
    for true, got in zip(clip.sources, ids, strict=True):
        for pair in zip(true.tolist(), got.tolist(), strict=True):
            together[pair] = together.get(pair, 0) + 1
    people, tracks = sorted({p for p, _ in together}), sorted({t for _, t in together})
    counts = np.asarray([[together.get((p, t), 0) for t in tracks] for p in people])
    hits = counts[linear_sum_assignment(-counts)].sum()
    return 1 - (truth - found + switches) / truth, 2 * hits / (truth + found)


def _trackeval_data(clip: Clip, ids: Sequence[np.ndarray]) -> dict:
    """Input of trackeval's metrics: ids numbered from 0, and the IoU of true and detected boxes."""
    people = {person: i for i, person in enumerate(sorted({p for true, _ in clip.truth for p in true.tolist()}))}
    tracks = {got: i for i, got in enumerate(sorted({t for frame in ids for t in frame.tolist()}))}
    truth = [np.asarray([people[p] for p in true.tolist()], int) for true, _ in clip.truth]
    found = [np.asarray([tracks[t] for t in frame.tolist()], int) for frame in ids]
    overlap = [iou(boxes, poses.boxes[:, :4]) for (_, boxes), poses in zip(clip.truth, clip.poses, strict=True)]
    return {
        "num_timesteps": len(ids), "num_gt_ids": len(people), "num_tracker_ids": len(tracks),
        "num_gt_dets": sum(map(len, truth)), "num_tracker_dets": sum(map(len, found)),
        "gt_ids": truth, "tracker_ids": found, "similarity_scores": overlap,
    }  # fmt: skip


def main() -> int:
    """Print a table; exit code 1 if an id was switched or shared."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--no-pictures", action="store_true", help="give the tracker keypoints and boxes only")
    parser.add_argument("--dancers", action="store_true", help="also clips from a real video, with the real detector")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures")
    args = parser.parse_args()
    scores, clips = [], list(CLIPS)
    if args.dancers:
        import moving_dancers  # needs a minute and onnxruntime

        clips += moving_dancers.CLIPS
    print(f"{'clip':24}{'people':>7}{'tracks':>7}{'switches':>9}{'fragments':>10}{'merges':>7}{'MOTA':>7}{'IDF1':>7}")
    for make in clips:
        clip = make()
        result = score(*without_groups(clip, track(clip, not args.no_pictures)))
        scores.append(result)
        print(
            f"{result.clip:24}{result.people:7}{result.tracks:7}{result.switches:9}{result.fragments:10}{result.merges:7}"
            f"{result.mota:7.3f}{result.idf1:7.3f}"
        )
    print(f"counted by: {scores[0].counted_by}")
    if args.json:
        args.json.write_text(json.dumps([asdict(each) for each in scores], indent=2) + "\n", encoding="utf-8")
    return int(any(each.switches or each.merges for each in scores))


if __name__ == "__main__":
    sys.exit(main())
