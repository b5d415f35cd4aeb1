"""Pictures that ControlNet makes from the poses of several estimators, in one picture (figure 7 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.errors import InputError
from sdpose_core.images import read_image, write_png
from sdpose_core.texts import read_json
from sdpose_training.data.pictures import COMMON_SUFFIXES
from sdpose_training.downstream.controlnet import ControlNetPictures
from sdpose_training.downstream.pictures import RESULTS, PictureCheck, canvas_size, compare_pictures
from sdpose_training.downstream.poses import find_pose_files, read_condition, resized
from sdpose_training.figures.sheet import Row, Sheet, check_figure_path, shown, write_figure


def generated_figure(
    path: Path, check: PictureCheck, generate: ControlNetPictures, *, estimator: Any = None, height: int = 280,
    record: dict[str, Any] | None = None,
) -> list[Path]:  # fmt: skip
    """Generate the pictures by `compare_pictures` into FIGURE_pictures, then write the figure; returns its files.

    Args:
        estimator: finds the poses in the generated pictures for the OKS in the labels; or None.
        height: of a cell in pixels.
    """
    check_figure_path(path)
    folder = path.with_name(f"{path.stem}_pictures")
    compare_pictures(check, generate, folder, settings=generate.facts, estimator=estimator)
    results = read_json(folder / RESULTS)
    rows = []
    by_row: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for each in results["pictures"]:
        by_row.setdefault((each["picture"], each["seed"]), []).append(each)
    for (picture, seed), made in by_row.items():
        cells = [read_image(folder / "pictures" / f"{picture}-source.png")]
        cells += [read_image(folder / each[part]) for each in made for part in ("pose_map", "result")]
        label = f"{picture}, seed {seed}: \u201c{made[0]['prompt']}\u201d"
        scores = ", ".join(f"{each['poses']} {each['score']:.2f}" for each in made if each["score"] is not None)
        rows.append(Row([shown(cell, height) for cell in cells], f"{label}; OKS: {scores}" if scores else label))
    caption = ["In each row, prompt, noise and settings are the same; only the pose map differs."]
    if estimator is not None:
        caption.append(f"OKS: the poses of the map against those that {estimator.name} finds in the result.")
    facts = generate.facts
    caption.append(
        f"{facts['base']} with {facts['ControlNet']}, {facts['steps']} steps, guidance {facts['guidance']:g}."
    )
    return _write(path, check, rows, caption, {**(record or {}), **facts, "mean_oks": results["mean_oks"]})


def given_figure(
    path: Path, check: PictureCheck, results: Mapping[str, Path], *, height: int = 280,
    record: dict[str, Any] | None = None,
) -> list[Path]:  # fmt: skip
    """As `generated_figure`, with pictures that another tool made (name -> folder), or with the pose maps alone.

    The maps for that tool are in FIGURE_maps/NAME, under the pictures' names. Raises `InputError` for a missing result.
    """
    check_figure_path(path)
    if unknown := sorted(set(results) - set(check.poses)):
        raise InputError(f"--result {unknown[0]}: no --poses of that name; there are {', '.join(check.poses)}")
    rows = [
        Row([None if each is None else shown(each, height) for each in cells], picture.name)
        for picture in check.pictures
        for cells in [_cells(path, check, results, picture)]
    ]
    made = "No results were given: the pose maps are beside the figure, for a picture generator."
    if results:
        made = "Results of another tool: " + ", ".join(f"{n} {folder.name}" for n, folder in results.items()) + "."
    return _write(path, check, rows, [made], record or {}, with_results=bool(results))


def _cells(path: Path, check: PictureCheck, results: Mapping[str, Path], picture: Path) -> list[np.ndarray | None]:
    image = read_image(picture)
    picture_size = (image.shape[1], image.shape[0])
    size = canvas_size(picture_size, check.short_side)
    cells: list[np.ndarray | None] = [resized(image, size)]
    for name, folder in check.poses.items():
        files = find_pose_files(folder, picture, as_given=check.as_given)
        look = {"style": check.style, "threshold": check.threshold, "as_given": check.as_given}
        pose_map = read_condition(files, picture_size, size, **look).pose_map
        write_png(path.with_name(f"{path.stem}_maps") / name / f"{picture.stem}.png", pose_map)
        cells.append(pose_map)
        if results:
            cells.append(read_image(_result(results[name], picture)) if name in results else None)
    return cells


def _result(folder: Path, picture: Path) -> Path:
    names = [f"{stem}{suffix}" for stem in (picture.stem, picture.name) for suffix in COMMON_SUFFIXES]
    found = next((folder / name for name in (picture.name, *names) if (folder / name).is_file()), None)
    if found is None:
        raise InputError(f"no result of {picture.name} in {folder}: expected {picture.stem}.png or the like")
    return found


def _write(
    path: Path, check: PictureCheck, rows: Sequence[Row], caption: Sequence[str], record: Mapping[str, Any], *,
    with_results: bool = True,
) -> list[Path]:  # fmt: skip
    parts = ("map", "picture") if with_results else ("map",)
    columns = ["source", *(f"{name}: {part}" for name in check.poses for part in parts)]
    pictures = [picture.name for picture in check.pictures]
    sheet = Sheet("Pictures from poses of several estimators", columns, rows, caption)
    return write_figure(path, sheet, {**record, "pictures": pictures, "poses": dict(check.poses)})
