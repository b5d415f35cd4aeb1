"""A page of the people with the lowest OKS, truth beside prediction; the pictures are inside the file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.errors import InputError
from sdpose_core.files import atomic_write
from sdpose_core.skeletons import KeypointSet
from sdpose_training.data.pictures import read_picture
from sdpose_training.evaluation.oks_report import Match
from sdpose_training.evaluation.pose_pictures import draw_points
from sdpose_training.evaluation.scoring import Kept
from sdpose_training.templates import html

HEIGHT = 360
"""Height of a picture on the page in pixels."""

MARGIN = 0.25
"""Shown around a person, as a share of the longer side."""

THRESHOLD = 0.2
"""Minimum score of a drawn point: the same as for the score of a person."""

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem;
  color: #1c1e21; background: #f6f7f8; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(520px, 1fr)); gap: 1rem; }
figure { margin: 0; padding: .75rem; background: #fff; border-radius: 8px; box-shadow: 0 1px 3px #0002; }
.pair { display: flex; gap: .5rem; } .pair div { flex: 1; min-width: 0; } img { width: 100%; border-radius: 4px; }
.pair span { font-size: 13px; color: #65676b; } figcaption { margin-top: .5rem; }
</style></head>
<body><h1>{{ title }}</h1><p>The {{ people | length }} people with the lowest OKS, of {{ count }}.</p>
<main>
{% for person in people %}
<figure><div class="pair">
{% for caption, picture in person.pair %}
<div><img alt="{{ caption }}" src="{{ picture }}"><span>{{ caption }}</span></div>
{% endfor %}
</div>
<figcaption><b>OKS {{ "%.3f" % person.oks }}</b> · {{ person.file }} · annotation {{ person.id }}</figcaption></figure>
{% endfor %}
</main></body></html>
"""


@dataclass(frozen=True)
class _View:
    """A part of a picture with its corner at (x, y), enlarged by `scale`."""

    corner: np.ndarray
    scale: float
    pixels: np.ndarray

    def place(self, keypoints: np.ndarray) -> np.ndarray:
        return (keypoints - self.corner + 0.5) * self.scale - 0.5


def write_gallery(
    scored: Kept, matches: Sequence[Match], files: Mapping[Any, Path], keypoint_set: KeypointSet,
    folder: str | Path, *, count: int = 24, title: str = "",
) -> Path:  # fmt: skip
    """Write FOLDER/index.html with the `count` people of the lowest OKS; return its path.

    Raises `InputError` if a picture cannot be read.
    """
    worst = sorted(matches, key=lambda match: match.oks)[:count]
    people = [_person(scored, match, files, keypoint_set) for match in worst]
    path = Path(folder) / "index.html"
    with atomic_write(path, "w") as handle:
        handle.write(html(_PAGE, title=title, people=people, count=len(matches)))
    return path


def _person(scored: Kept, match: Match, files: Mapping[Any, Path], keypoint_set: KeypointSet) -> dict[str, Any]:
    truth = scored.truth
    file = files.get(truth.image_ids[match.person])
    if file is None:
        raise InputError(f"the annotations have no file name for picture {truth.image_ids[match.person]}")
    points = truth.keypoints[match.person]
    view = _view(read_picture(file), truth.boxes_xywh[match.person], points)
    known = draw_points(view.pixels, view.place(points[:, :2]), (points[:, 2] > 0) * 1.0, keypoint_set, THRESHOLD)
    shown, caption = view.pixels, "not found"
    if match.prediction is not None:
        found = view.place(scored.kept.keypoints[match.prediction])
        shown = draw_points(view.pixels, found, scored.kept.keypoint_scores[match.prediction], keypoint_set, THRESHOLD)
        caption = f"prediction, score {scored.scores[match.prediction]:.2f}"
    pair = ("annotated", _data_uri(known)), (caption, _data_uri(shown))
    return {"oks": match.oks, "file": file.name, "id": truth.ids[match.person], "pair": pair}


def _view(picture: np.ndarray, box_xywh: np.ndarray, points: np.ndarray) -> _View:
    """The annotated person with a margin."""
    import cv2

    known = points[points[:, 2] > 0, :2]
    low = np.minimum(box_xywh[:2], known.min(axis=0)) if box_xywh[2:].all() else known.min(axis=0)
    high = np.maximum(box_xywh[:2] + box_xywh[2:], known.max(axis=0))
    margin = MARGIN * max((high - low).max(), 16)
    edge = np.array(picture.shape[1::-1])
    first = np.clip(np.floor(low - margin), 0, edge - 1).astype(int)
    last = np.clip(np.ceil(high + margin), first + 1, edge).astype(int)
    part = picture[first[1] : last[1], first[0] : last[0]]
    scale = HEIGHT / part.shape[0]
    size = (max(round(part.shape[1] * scale), 1), HEIGHT)
    return _View(first, scale, cv2.resize(part, size, interpolation=cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA))


def _data_uri(picture: np.ndarray) -> str:
    import cv2

    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
