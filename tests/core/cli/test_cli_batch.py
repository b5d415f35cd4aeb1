"""`sdpose batch`, as it is typed."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT
from stand_ins import StandInEstimator
from video_files import levels, write

from sdpose_core.batch.folder import Batch, CannotStart
from sdpose_core.batch.inputs import Item
from sdpose_core.cli import batch as cli_batch
from sdpose_core.cli import progress
from sdpose_core.cli.arguments import INTERRUPTED, SOME_FAILED, WRONG_USAGE
from sdpose_core.cli.main import build_parser, main
from sdpose_core.dependencies import installed
from sdpose_core.errors import CheckpointError
from sdpose_core.images import read_image
from sdpose_core.poses import PoseSequence
from sdpose_core.resumable import take_lock

SUFFIXES = (".pose.npz", "_kps.mp4", "_kps_play.mp4")


class FakeEstimator(StandInEstimator):
    name = "fake"

    def __init__(self, batch_size: int = 8, sha: str = "aa", dtype: str = "float16", device: str = "cuda") -> None:
        self.batch_size, self.sha, self.dtype, self.device = batch_size, sha, dtype, device

    def meta(self) -> dict[str, Any]:
        return {
            "model": self.name, "weights": {"path": "w", "sha256": {"w": self.sha}}, "library_version": "0",
            "settings": {"batch_size": self.batch_size, "dtype": self.dtype, "device": self.device, "size": (3, 4)},
        }  # fmt: skip


def estimator_of(out: Path, made: Any, *options: str) -> Any:
    """The estimator of a new process of the batch in `out`, where `made` is what its options load."""
    args = build_parser().parse_args(["batch", "a.mp4", "-o", str(out), *options])

    def make(args: argparse.Namespace) -> Any:
        if isinstance(made, Exception):
            raise made
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli_batch, "make_estimator", make)
        return cli_batch.ClipRun(args, Batch.begin(out, cli_batch.settings_hash(args)))._estimator


def test_the_batch_size_of_the_first_process_holds_for_all(tmp_path: Path) -> None:
    assert estimator_of(tmp_path, FakeEstimator(8)).batch_size == 8
    assert estimator_of(tmp_path, FakeEstimator(1, device="cpu")).batch_size == 8
    assert estimator_of(tmp_path, FakeEstimator(8), "--batch-size", "8").batch_size == 8
    with pytest.raises(CannotStart, match="begun with batch size 8, this is 4"):
        estimator_of(tmp_path, FakeEstimator(4), "--batch-size", "4")
    assert estimator_of(tmp_path, FakeEstimator(4), "--batch-size", "4", "--flip-test").batch_size == 4


def test_a_video_in_another_process_says_which_frame_it_is_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.mp4", levels(4))
    args = build_parser().parse_args(
        ["batch", "a.mp4", "-o", str(tmp_path), "--model", "preview", "--detector", "full"]
    )
    said: list[str] = []
    monkeypatch.setattr(progress, "TICK", 0.0)
    monkeypatch.setattr(progress, "BLINK", -1.0)
    run = cli_batch.ClipRun(args, Batch.begin(tmp_path, "x"), said.append)
    run(Item(tmp_path / "a.mp4", "a.mp4", "a"), tmp_path / "out")
    assert (said[0], said[-1]) == ("a.mp4: frame 0 of 4", "a.mp4: frame 4 of 4")
    assert said[1] == "a.mp4: frame 0 of 4, person 1 of 4"


@pytest.mark.parametrize(("other", "what"), [({"sha": "bb"}, "weights"), ({"dtype": "float32"}, "settings")])
def test_a_process_with_another_model_does_not_start(tmp_path: Path, other: dict[str, str], what: str) -> None:
    estimator_of(tmp_path, FakeEstimator())
    with pytest.raises(CannotStart, match=f"begun with {what} .* this is .*another OUT"):
        estimator_of(tmp_path, FakeEstimator(**other))


def test_missing_weights_are_no_videos_fault(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="no such weights"):
        estimator_of(tmp_path, CheckpointError("no such weights"))


def test_sigterm_stops_like_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), cli_batch._stoppable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


# --- real videos, real processes, the preview as the model ----------------------------------------------------------


def make_clip(path: Path, step: int, frames: int = 5) -> None:
    """A photo that moves `step` pixels per frame."""
    import av

    picture = read_image(ROOT / "tests" / "data" / "astronaut.png")[::2, ::2]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=12)
        stream.width, stream.height = picture.shape[1] - 32, picture.shape[0]
        for number in range(frames):
            start = (number * step) % 32
            view = np.ascontiguousarray(picture[:, start : start + stream.width])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        file.mux(stream.encode())


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in")
    for number, name in enumerate(("a.mp4", "b c.mp4", "x/a.mp4", "x/a.avi")):
        make_clip(folder / name, number + 1)
    return folder


def command(*arguments: object, hold: bool = False) -> Any:
    """Run `sdpose batch`; the finished process, or with `hold` the running one."""
    line = [sys.executable, "-m", "sdpose_core.cli", "batch", *map(str, arguments), "--model", "preview-body"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    if hold:
        return process
    out, err = process.communicate()
    return subprocess.CompletedProcess(line, process.returncode, out, err)


def files_of(out: Path) -> dict[str, bytes]:
    """All files that are results, with their bytes."""
    found = (path for path in out.rglob("*") if path.is_file() and not path.name.startswith("manifest"))
    results = {path.relative_to(out).as_posix(): path.read_bytes() for path in found}
    return {name: content for name, content in results.items() if not name.startswith(".sdpose-batch/")}


@pytest.fixture(scope="module")
def one_process(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one")
    done = command(videos, "-o", out, "--recursive")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "4 done, 0 kept, 0 failed"
    assert done.stdout == f"{out}/manifest.jsonl\n"
    return out


def manifest(out: Path) -> dict[str, dict[str, Any]]:
    return {line["name"]: line for line in map(json.loads, (out / "manifest.jsonl").read_text().splitlines())}


@pytest.mark.slow  # a start of the program, and four videos
def test_each_video_gets_what_sdpose_video_writes_and_a_line(videos: Path, one_process: Path, tmp_path: Path) -> None:
    names = ["a", "b c", "x/a.avi", "x/a.mp4"]
    assert sorted(files_of(one_process)) == sorted(f"{n}{s}" for n in names for s in SUFFIXES)
    lines = manifest(one_process)
    assert list(lines) == names
    for name, line in lines.items():
        sequence = PoseSequence.load(one_process / f"{name}.pose.npz")
        assert (line["status"], line["frames"], line["people"], line["batch_size"]) == ("done", 5, 1, 1)
        assert len(sequence) == 5
        expected = {f"{name}{suffix}": (one_process / f"{name}{suffix}").stat().st_size for suffix in SUFFIXES}
        assert line["files"] == expected
        assert line["seconds"] > 0
    assert len({line["settings"] for line in lines.values()}) == 1
    assert main(["video", str(videos / "a.mp4"), "-o", str(tmp_path), "--model", "preview-body"]) == 0
    assert files_of(tmp_path) == {name: data for name, data in files_of(one_process).items() if name.startswith("a")}


@pytest.mark.slow  # two starts of the program
def test_two_shards_side_by_side_make_the_same_bytes(videos: Path, one_process: Path, tmp_path: Path) -> None:
    pair = [command(videos, "-o", tmp_path, "-r", "--shard", f"{n}/2", hold=True) for n in (1, 2)]
    errors = [process.communicate()[1] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], errors
    assert files_of(tmp_path) == files_of(one_process)
    assert [line["shard"] for line in manifest(tmp_path).values()] == ["1/2", "2/2", "1/2", "2/2"]


@pytest.mark.slow  # three starts of the program
@pytest.mark.skipif(not installed("ray"), reason='Ray is not installed: pip install -e ".[ray]"')
def test_ray_makes_the_same_bytes(videos: Path, one_process: Path, tmp_path: Path) -> None:
    done = command(videos, "-o", tmp_path, "-r", "--ray", "--actors", 2)
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path) == files_of(one_process)


@pytest.mark.slow  # takes seconds
def test_a_damaged_video_fails_alone(videos: Path, one_process: Path, tmp_path: Path) -> None:
    make_clip(tmp_path / "in" / "z.mp4", 1, frames=2)
    (tmp_path / "in" / "bad.mp4").write_bytes((tmp_path / "in" / "z.mp4").read_bytes()[:100])
    (tmp_path / "list.txt").write_text("in/bad.mp4\nin/gone.mp4\nin/z.mp4\n")
    done = command(f"@{tmp_path}/list.txt", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "1 done, 0 kept, 2 failed"
    assert "Traceback" not in done.stderr
    lines = manifest(tmp_path / "out")
    assert {name: line["status"] for name, line in lines.items()} == {
        "in/bad": "failed", "in/gone": "failed", "in/z": "done",
    }  # fmt: skip
    assert "bad.mp4" in lines["in/bad"]["message"]
    assert "gone.mp4" in lines["in/gone"]["message"]


@pytest.mark.slow  # starts of the program
def test_a_run_killed_in_a_video_is_finished_by_the_rerun(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", 1, frames=24)
    killed = command(tmp_path / "a.mp4", "-o", tmp_path / "out", "--chunk", 2, hold=True)
    wait_for(tmp_path / "out" / ".a.sdpose" / "chunk_00001.npz")
    killed.kill()
    killed.communicate()
    assert files_of(tmp_path / "out").keys().isdisjoint({"a.pose.npz", "a_kps.mp4"})
    again = command(tmp_path / "a.mp4", "-o", tmp_path / "out", "--chunk", 2)
    assert again.returncode == 0, again.stderr
    assert command(tmp_path / "a.mp4", "-o", tmp_path / "undisturbed", "--chunk", 2).returncode == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "undisturbed")


@pytest.mark.slow  # a start of the program
def test_a_cancelled_job_says_how_to_go_on_and_frees_its_video(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", 1, frames=24)
    stopped = command(tmp_path / "a.mp4", "-o", tmp_path / "out", "--chunk", 2, hold=True)
    wait_for(tmp_path / "out" / ".a.sdpose" / "chunk_00001.npz")
    stopped.terminate()
    assert "run the same command again" in stopped.communicate()[1]
    assert stopped.returncode == INTERRUPTED
    take_lock(tmp_path / "out" / ".sdpose-batch" / "a.lock").release()
    assert (tmp_path / "out" / "manifest.jsonl").exists()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 600
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to do"),
        (["nowhere/*.mp4"], "no video matches"),
        (["@nowhere.txt"], "cannot be read"),
        (["a.mp4", "--shard", "3/2"], "expected i/n"),
        (["a.mp4", "--shard", "auto"], "not a task of a SLURM job array"),
        (["a.mp4", "--style", "nothing"], "style"),
        (["a.mp4", "--boxes", "b.json"], "one video"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["batch", *arguments, "-o", str(tmp_path / "out")]) == WRONG_USAGE
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.skipif(installed("ray"), reason="Ray is installed")
def test_without_ray_one_line_names_the_extra(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_clip(tmp_path / "a.mp4", 1, frames=2)
    assert main(["batch", str(tmp_path / "a.mp4"), "-o", str(tmp_path / "out"), "--ray"]) == SOME_FAILED
    error = capsys.readouterr().err
    assert 'pip install "sdpose-annotator[ray]"' in error
    assert error.count("\n") == 1


def test_missing_weights_end_the_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_clip(tmp_path / "a.mp4", 1, frames=2)
    code = main(["batch", str(tmp_path / "a.mp4"), "-o", str(tmp_path / "out"), "--model", str(tmp_path / "none")])
    assert code == SOME_FAILED
    assert "Traceback" not in capsys.readouterr().err
