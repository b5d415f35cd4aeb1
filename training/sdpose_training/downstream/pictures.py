"""ControlNet pictures from the poses of several estimators, with the same prompts and noise (paper, 6.1)."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.cli.progress import progress_bar
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_write
from sdpose_core.images import read_image, write_png
from sdpose_core.names import in_natural_order
from sdpose_training.data.pictures import pictures_in
from sdpose_training.downstream.poses import Condition, faithfulness, find_pose_files, read_condition, resized
from sdpose_training.pages import Picture, Row, write_page

log = logging.getLogger(__name__)

PAGE, RESULTS, PICTURES = "index.html", "results.json", "pictures"
STEP = 64
"""Sides of generated pictures are multiples of this, as the U-Net halves the latents three times."""

MIXED = (
    "some maps are drawn from keypoints, others used as given: line widths differ, which changes pictures too; "
    "--as-given uses all maps as given"
)

Generator = Callable[[np.ndarray, str, int], np.ndarray]
"""(pose map RGB uint8 (h, w, 3), prompt, seed) -> picture of the same shape."""


@dataclass(frozen=True)
class PictureCheck:
    """The pictures to generate: one for each source picture, estimator and seed.

    Attributes:
        poses: estimator -> folder of its poses; two or more.
        prompt, prompts: for all pictures; for some, by file name or stem.
        short_side: of the generated pictures in pixels.
        style, threshold: of maps drawn from keypoints.
        as_given: use the estimators' maps even if there are keypoints.
    """

    pictures: Sequence[Path]
    poses: Mapping[str, Path]
    prompt: str
    prompts: Mapping[str, str] = field(default_factory=dict)
    seeds: Sequence[int] = (0,)
    short_side: int = 512
    style: str = "controlnet"
    threshold: float = 0.3
    as_given: bool = False

    def __post_init__(self) -> None:
        if len(self.poses) < 2:
            raise InputError("expected poses of at least two estimators: give --poses NAME=FOLDER --poses NAME=FOLDER")
        if not self.seeds or self.short_side < STEP:
            raise InputError(f"expected at least one seed and a short side of at least {STEP} pixels")

    def prompt_of(self, picture: Path) -> str:
        """The prompt of a picture, or the common one."""
        return self.prompts.get(picture.name, self.prompts.get(picture.stem, self.prompt))


@dataclass(frozen=True)
class Generated:
    """One generated picture. `drawn`: its map was drawn from keypoints; `score`: its faithfulness, None if unknown."""

    picture: str
    poses: str
    prompt: str
    seed: int
    drawn: bool
    pose_map: str
    result: str
    score: float | None


def find_pictures(place: Path) -> list[Path]:
    """The pictures of a folder in natural order, or one picture. `InputError` if there is none."""
    return [place] if os.path.isfile(place) else in_natural_order(pictures_in(place, "--pictures"))


def canvas_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """(w, h) of a generated picture: about the aspect of the source, in multiples of 64."""
    scale = short_side / min(size)
    w, h = (max(round(side * scale / STEP), 1) * STEP for side in size)
    return w, h


def compare_pictures(
    check: PictureCheck, generate: Generator, out: Path, *, settings: Mapping[str, Any], estimator: Any = None
) -> Path:
    """Generate the missing pictures, then the page; return its path.

    Args:
        generate: must depend only on its arguments.
        out: folder of page, pictures and results.json. The name of a generated picture has a hash of map, prompt, seed
            and `settings`: an interrupted run continues, and other settings make another picture.
        settings: of the generator; for the hash and the page.
        estimator: finds the poses in the generated pictures, for the score; or None.

    Raises `InputError` for missing poses, before anything is generated, and for damaged ones.
    """
    for picture in check.pictures:
        for folder in check.poses.values():
            find_pose_files(folder, picture, as_given=check.as_given)
    done, rows = [], []
    with progress_bar(len(check.pictures) * len(check.seeds) * len(check.poses), "picture", "generating") as bar:
        for picture in check.pictures:
            for row, generated in _rows(check, picture, generate, out, settings, estimator):
                rows.append(row)
                done += generated
                _save(check, done, rows, out, settings, estimator)  # after every row, to be looked at early
                bar.update(len(generated))
    return out / PAGE


def _rows(
    check: PictureCheck, picture: Path, generate: Generator, out: Path, settings: Mapping[str, Any], estimator: Any
) -> Iterator[tuple[Row, list[Generated]]]:
    """A row for each seed of a picture."""
    image = read_image(picture)
    picture_size = (image.shape[1], image.shape[0])
    size, prompt = canvas_size(picture_size, check.short_side), check.prompt_of(picture)
    source = out / PICTURES / f"{picture.name}-source.png"
    write_png(source, resized(image, size))
    look = {"style": check.style, "threshold": check.threshold, "as_given": check.as_given}
    conditions = {
        name: read_condition(find_pose_files(folder, picture, as_given=check.as_given), picture_size, size, **look)
        for name, folder in check.poses.items()
    }
    if len({condition.drawn for condition in conditions.values()}) > 1:
        log.warning("%s: %s", picture.name, MIXED)
    for seed in check.seeds:
        cells, generated = [Picture(source, picture.name)], []
        for number, (name, condition) in enumerate(conditions.items()):
            stem = f"{picture.name}-{number}"
            map_file = out / PICTURES / f"{stem}-map.png"
            write_png(map_file, condition.pose_map)
            result = out / PICTURES / f"{stem}-{seed}-{_digest(condition, prompt, seed, settings)}.png"
            if not result.exists():
                log.info("%s, %s, seed %d", picture.name, name, seed)
                write_png(result, generate(condition.pose_map, prompt, seed))
            score = None
            if estimator is not None and condition.poses is not None:
                score = faithfulness(read_image(result), condition.poses, estimator, check.threshold)
            names = (map_file.relative_to(out).as_posix(), result.relative_to(out).as_posix())
            generated.append(Generated(picture.name, name, prompt, seed, condition.drawn, *names, score))
            cells += [Picture(map_file, condition.origin), Picture(result, "" if score is None else f"OKS {score:.2f}")]
        yield Row(f"{picture.name}: \u201c{prompt}\u201d, seed {seed}", cells), generated


def _digest(condition: Condition, prompt: str, seed: int, settings: Mapping[str, Any]) -> str:
    key = json.dumps([condition.pose_map.shape, prompt, seed, dict(settings)], sort_keys=True)
    return hashlib.sha256(key.encode() + condition.pose_map.tobytes()).hexdigest()[:12]


def mean_scores(done: Sequence[Generated]) -> dict[str, float | None]:
    """Mean faithfulness of each estimator's pictures that have one."""
    names = dict.fromkeys(g.poses for g in done)
    scores = {name: [g.score for g in done if g.poses == name and g.score is not None] for name in names}
    return {name: float(np.mean(values)) if values else None for name, values in scores.items()}


def _save(
    check: PictureCheck, done: Sequence[Generated], rows: Sequence[Row], out: Path, settings: Mapping[str, Any],
    estimator: Any,
) -> None:  # fmt: skip
    means = mean_scores(done)
    with atomic_write(out / RESULTS, "w") as file:
        content = {"settings": dict(settings), "mean_oks": means, "pictures": [asdict(g) for g in done]}
        json.dump(content, file, indent=1)
    facts = {key: str(value) for key, value in settings.items()}
    facts |= {f"mean OKS, {name}": "unknown" if v is None else f"{v:.3f}" for name, v in means.items()}
    notes = ["In each row, prompt, noise and settings are the same; only the pose map differs."]
    if estimator is not None:
        notes.append(
            f"OKS: the conditioning poses against those that {estimator.name} finds in the generated picture, in the "
            "box of each person, 17 body points. It shows how well a picture follows its map, not how good the map is."
        )
    if len({g.drawn for g in done}) > 1:
        notes.append(f"Not comparable: {MIXED}.")
    columns = ["source", *(text for name in check.poses for text in (f"{name}: map", f"{name}: picture"))]
    write_page(out / PAGE, "Pictures from pose maps", facts, columns, rows, notes=notes)
