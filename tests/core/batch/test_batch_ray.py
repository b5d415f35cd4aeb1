"""The same files on Ray as in one process, whatever dies."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_worker import FakeRun
from paths import ROOT, SUPPORT

from sdpose_core.batch.folder import Batch, CannotStart, annotate_videos, one_after_another
from sdpose_core.batch.inputs import Item, find_items
from sdpose_core.dependencies import installed
from sdpose_core.errors import MissingDependency

needs_ray = pytest.mark.skipif(not installed("ray"), reason='Ray is not installed: pip install -e ".[ray]"')


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A Ray of this machine with two processors, whose workers find the modules of the tests."""
    import ray

    paths = os.pathsep.join([str(SUPPORT), str(ROOT)])
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": paths}})
    yield
    ray.shutdown()


def make_run(batch: Batch) -> FakeRun:
    return FakeRun()


class Deadly:
    """Kills its process at b.mp4."""

    def __init__(self, batch: Batch) -> None:
        self.deaths = batch.out / "deaths"

    def __call__(self, item: Item, folder: Path) -> object:
        if item.name == "b":
            with open(self.deaths, "a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return FakeRun()(item, folder)


def without_weights(batch: Batch) -> object:
    def run(item: Item, folder: Path) -> object:
        raise CannotStart("no weights")

    return run


def fill(folder: Path, *names: str) -> list[Item]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"damaged" if "bad" in name else b"frames of " + name.encode())
    return find_items([str(folder)], folder / "out", recursive=True).items


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.pose.npz")}


@pytest.mark.skipif(installed("ray"), reason="Ray is installed")
def test_without_ray_one_line_names_the_extra(tmp_path: Path) -> None:
    from sdpose_core.batch.ray import on_ray

    with pytest.raises(MissingDependency, match=r'--ray needs .*pip install "sdpose-annotator\[ray\]"'):
        on_ray(Batch.begin(tmp_path), make_run)


@pytest.mark.slow  # starts Ray
@needs_ray
def test_ray_makes_what_one_process_makes(tmp_path: Path, local_ray: None) -> None:
    from sdpose_core.batch.ray import on_ray

    items = fill(tmp_path / "in", "a.mp4", "bad.mp4", "x/c \u4eba.mp4", "d.mp4", "e.mp4")
    one, many = Batch.begin(tmp_path / "one"), Batch.begin(tmp_path / "many")
    expected = list(annotate_videos(one, items, one_after_another(one, FakeRun())))
    records = list(annotate_videos(many, items, on_ray(many, make_run, actors=2)))
    assert sorted((r.name, r.status, r.files) for r in records) == sorted((r.name, r.status, r.files) for r in expected)
    assert files(many.out) == files(one.out)
    lines = [json.loads(line) for line in (many.out / "manifest.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == ["a", "bad", "d", "e", "x/c \u4eba"]
    again = Batch.begin(tmp_path / "many")
    statuses = {r.name: r.status for r in annotate_videos(again, items, on_ray(again, make_run))}
    assert statuses == {"a": "kept", "bad": "failed", "x/c \u4eba": "kept", "d": "kept", "e": "kept"}


@pytest.mark.slow  # starts Ray
@needs_ray
def test_a_video_that_kills_its_worker_fails_and_the_others_are_done(tmp_path: Path, local_ray: None) -> None:
    from sdpose_core.batch.ray import TRIES, on_ray

    items = fill(tmp_path / "in", "a.mp4", "b.mp4", "c.mp4", "d.mp4")
    batch = Batch.begin(tmp_path / "out")
    records = {r.name: r for r in annotate_videos(batch, items, on_ray(batch, Deadly, actors=2))}
    assert {name: r.status for name, r in records.items()} == {"a": "done", "b": "failed", "c": "done", "d": "done"}
    assert f"died {TRIES} times" in records["b"].message
    assert (batch.out / "deaths").read_text() == "x" * TRIES


@pytest.mark.slow  # starts Ray
@needs_ray
def test_a_model_that_cannot_be_loaded_ends_the_batch(tmp_path: Path, local_ray: None) -> None:
    from sdpose_core.batch.ray import on_ray

    items = fill(tmp_path / "in", "a.mp4", "b.mp4")
    batch = Batch.begin(tmp_path / "out")
    with pytest.raises(CannotStart, match="no weights"):
        list(annotate_videos(batch, items, on_ray(batch, without_weights)))
