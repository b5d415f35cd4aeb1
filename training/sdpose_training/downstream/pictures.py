"""ControlNet pictures from several estimators' poses, with the same prompt and noise, side by side (paper, 6.1)."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.errors import InputError
from sdpose_core.files import atomic_write
from sdpose_core.images import read_image, write_png
from sdpose_training.data.pictures import pictures_in
from sdpose_training.downstream.poses import Condition, faithfulness, find_pose_files, read_condition, resized
from sdpose_training.pages import Picture, Row, write_page

log = logging.getLogger(__name__)

PAGE, RESULTS, PICTURES = "index.html", "results.json", "pictures"
STEP = 64
"""Sides of generated pictures are multiples of it: the U-Net halves the latent three times."""

MIXED = (
    "some maps are drawn here from keypoints, others taken as given: widths of lines differ, which changes pictures "
    "too; --as-given takes all maps as given"
)

Generator = Callable[[np.ndarray, str, int], np.ndarray]
"""(pose map RGB uint8 (h, w, 3), prompt, seed) -> the picture made from it, of the same shape."""


@dataclass(frozen=True)
class PictureCheck:
    """What to make.

    Attributes:
        pictures: the source pictures.
        poses: name -> folder of the estimator's poses; two or more.
        prompts: file name or stem of a picture -> its prompt; `prompt` is for all others.
        seeds: one picture per seed.
        short_side: of the generated pictures, pixels.
        style, threshold: of maps that are drawn from keypoints.
        as_given: take the maps that the estimators drew, though there are keypoints.
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
            raise InputError("poses of at least two estimators are compared: --poses NAME=FOLDER --poses NAME=FOLDER")
        if not self.seeds or self.short_side < STEP:
            raise InputError(f"expected at least one seed and a short side of {STEP} pixels or more")

    def prompt_of(self, picture: Path) -> str:
        """Its own prompt, or the common one."""
        return self.prompts.get(picture.name, self.prompts.get(picture.stem, self.prompt))


@dataclass(frozen=True)
class Generated:
    """One generated picture: whether its map was drawn here; `score`: its faithfulness, None where it is unknown."""

    picture: str
    poses: str
    prompt: str
    seed: int
    drawn: bool
    pose_map: str
    result: str
    score: float | None


def find_pictures(place: Path) -> list[Path]:
    """The pictures of a folder by name, or one picture. `InputError` if there is none."""
    return [place] if place.is_file() else pictures_in(place, "--pictures")


def canvas_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """(w, h) of a generated picture: the source's shape, nearly, in multiples of 64."""
    scale = short_side / min(size)
    w, h = (max(round(side * scale / STEP), 1) * STEP for side in size)
    return w, h


def compare_pictures(
    check: PictureCheck, generate: Generator, out: Path, *, settings: Mapping[str, Any], estimator: Any = None
) -> Path:
    """Make every picture that is not there yet, then the page; returns its path.

    Args:
        generate: the same for all poses; what it makes may depend on nothing but its arguments.
        out: folder of page, pictures and results.json. A generated picture's name has a hash of what it was made from
            (map, prompt, seed, `settings`): an interrupted run goes on, another setting makes another picture.
        settings: of the generator; for the hash and the page.
        estimator: finds the poses again in the generated pictures, or None.

    Raises `InputError` for poses that are missing, before anything is generated, or damaged.
    """
    for picture in check.pictures:
        for folder in check.poses.values():
            find_pose_files(folder, picture, as_given=check.as_given)
    done, rows = [], []
    for picture in check.pictures:
        for row, generated in _rows(check, picture, generate, out, settings, estimator):
            rows.append(row)
            done += generated
            _save(check, done, rows, out, settings, estimator)  # after every row: something to look at early
    return out / PAGE


def _rows(
    check: PictureCheck, picture: Path, generate: Generator, out: Path, settings: Mapping[str, Any], estimator: Any
) -> Iterator[tuple[Row, list[Generated]]]:
    """A row for each seed of a picture."""
    image = read_image(picture)
    own_size = (image.shape[1], image.shape[0])
    size, prompt = canvas_size(own_size, check.short_side), check.prompt_of(picture)
    source = out / PICTURES / f"{picture.name}-source.png"
    write_png(source, resized(image, size))
    look = {"style": check.style, "threshold": check.threshold, "as_given": check.as_given}
    conditions = {
        name: read_condition(find_pose_files(folder, picture, as_given=check.as_given), own_size, size, **look)
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
            score = _score(condition, result, estimator, check.threshold)
            names = (map_file.relative_to(out).as_posix(), result.relative_to(out).as_posix())
            generated.append(Generated(picture.name, name, prompt, seed, condition.drawn, *names, score))
            cells += [Picture(map_file, condition.origin), Picture(result, _caption(score))]
        yield Row(f"{picture.name}: \u201c{prompt}\u201d, seed {seed}", cells), generated


def _digest(condition: Condition, prompt: str, seed: int, settings: Mapping[str, Any]) -> str:
    said = json.dumps([condition.pose_map.shape, prompt, seed, dict(settings)], sort_keys=True)
    return hashlib.sha256(said.encode() + condition.pose_map.tobytes()).hexdigest()[:12]


def _score(condition: Condition, result: Path, estimator: Any, threshold: float) -> float | None:
    if estimator is None or condition.poses is None:
        return None
    return faithfulness(read_image(result), condition.poses, estimator, threshold)


def _caption(score: float | None) -> str:
    return "" if score is None else f"found again: OKS {score:.2f}"


def mean_scores(done: Sequence[Generated]) -> dict[str, float | None]:
    """Mean faithfulness of each estimator's pictures, over those that have one."""
    scores = {name: [g.score for g in done if g.poses == name and g.score is not None] for name in _names(done)}
    return {name: float(np.mean(values)) if values else None for name, values in scores.items()}


def _names(done: Sequence[Generated]) -> list[str]:
    return list(dict.fromkeys(g.poses for g in done))


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
    notes = ["Each row: the same prompt, the same noise, the same settings; only the pose map differs."]
    if estimator is not None:
        notes.append(
            f"OKS: the conditioning poses against what {estimator.name} finds in the generated picture, in the box of "
            "each person, 17 body points. It says how well the picture follows its map, not how right the map is."
        )
    if len({g.drawn for g in done}) > 1:
        notes.append(f"Not alike: {MIXED}.")
    columns = ["source", *(text for name in check.poses for text in (f"{name}: map", f"{name}: picture"))]
    write_page(out / PAGE, "Pictures from pose maps", facts, columns, rows, notes=notes)
