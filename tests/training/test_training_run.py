"""Whole runs of a tiny model: interrupted, killed, on two processes, broken; and what they leave behind."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from accelerate_state import forget_accelerate
from paths import GOLDEN, ROOT
from safetensors import SafetensorError
from safetensors.torch import load_file

import curves
from sdpose_core.checkpoints.layouts import inspect_checkpoint, read_checkpoint, save_checkpoint
from sdpose_core.checkpoints.loading import from_state, load_sdpose
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.images import read_image
from sdpose_core.model.backbone import POSE, RGB
from sdpose_core.model.config import BODY, WHOLEBODY, SDPoseConfig
from sdpose_core.skeletons import COCO_17
from sdpose_training.data.annotations import read_annotations, read_people
from sdpose_training.fit import log as run_log
from sdpose_training.fit import task_losses
from sdpose_training.fit import validation as validation_ap
from sdpose_training.fit.endings import StopSignal
from sdpose_training.fit.latents import posterior_noise
from sdpose_training.fit.log import RunLog, read_log
from sdpose_training.fit.loop import Trainer
from sdpose_training.fit.losses import heatmap_loss, rgb_loss, target_heatmaps, term_weights
from sdpose_training.fit.model_card import _data_terms, write_model_card
from sdpose_training.fit.setup import check_launch, learning_rate, plan_stages, set_up
from sdpose_training.fit.starting_weights import starting_model
from sdpose_training.fit.state import Progress, save_state, step_name
from sdpose_training.fit.validation import average_precision, crops_of
from sdpose_training.fit.weight_average import WeightAverage
from sdpose_training.recipe.recipe import LossRecipe, load_recipe
from sdpose_training.templates import markdown_table
from train import main

pytestmark = pytest.mark.usefixtures("fresh_state")

DEBUG = ROOT / "training" / "recipes" / "debug_cpu.toml"
QUICK = ["--log.tensorboard", "off", "--validation.people", "0", "--hardware.gradient-checkpointing", "off"]
SHORT = [*QUICK, "--stages.0.samples", "40", "--stages.1.samples", "8", "--model.latents", "sample"]
LONG = [*QUICK, "--stages.0.samples", "160", "--stages.1.samples", "16"]
STEPS = 22
PATIENCE = 900
"""Seconds after which a process is taken to hang: far more than it needs on a slow, busy machine."""


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert main(command(data, out, *LONG)) == 0
    return out


@pytest.fixture(scope="module")
def short(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As undisturbed, of six steps and with sampled latents."""
    out = tmp_path_factory.mktemp("runs") / "short"
    assert main(command(data, out, *SHORT)) == 0
    return out


def command(data: Path, out: Path, *more: str) -> list[str]:
    return ["--recipe", str(DEBUG), "--data.root", str(data), "--out", str(out), "--budget", "off", *more]


def losses(out: Path) -> list[tuple[float, float, float]]:
    return [(s["heatmap_loss"], s["rgb_loss"], s["gradient_norm"]) for s in read_log(out / "log.jsonl", "step")]


def start(data: Path, out: Path, *more: str, **environment: str) -> subprocess.Popen:
    arguments = [sys.executable, str(ROOT / "training" / "train.py"), *command(data, out, *more)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", **environment}
    return subprocess.Popen(arguments, env=env, stderr=subprocess.PIPE, text=True)


class StateSaver:
    """An accelerator that saves a state of one file."""

    is_main_process = True

    def wait_for_everyone(self) -> None: ...

    def save_state(self, folder: str) -> None:
        (Path(folder) / "model.safetensors").write_text("weights")


def test_old_states_go_only_if_they_are_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    states, elsewhere = tmp_path / "checkpoints", tmp_path / "elsewhere"
    for step in range(3):
        save_state(StateSaver(), states, Progress(step), keep=9)
    (states / step_name(0)).rename(elsewhere)
    (states / step_name(0)).symlink_to(elsewhere, target_is_directory=True)
    (states / step_name(1) / "notes.md").write_text("mine")
    for step in range(2, 5):
        save_state(StateSaver(), states, Progress(step), keep=1)
    assert sorted(os.listdir(states)) == [step_name(step) for step in (0, 1, 4)]
    assert sorted(os.listdir(elsewhere)) == ["model.safetensors", "progress.json"]
    assert "is a link to" in caplog.text and "holds 'notes.md'" in caplog.text


class FullDisk(StateSaver):
    """As if the disk were full: the writers of PyTorch and safetensors do not raise `OSError`."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def save_state(self, folder: str) -> None:
        (Path(folder) / "model.safetensors").write_text("wei")
        raise self.error


@pytest.mark.parametrize("error", [
    RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 1522688 vs 1522576"),
    RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    OSError(28, "No space left on device"),
])  # fmt: skip
def test_a_state_on_a_full_disk_is_one_line_and_earlier_states_stay(tmp_path: Path, error: Exception) -> None:
    save_state(StateSaver(), tmp_path, Progress(1), keep=1)
    with pytest.raises(InputError, match=f"cannot write .*{step_name(2)}"):
        save_state(FullDisk(error), tmp_path, Progress(2), keep=1)
    assert os.listdir(tmp_path) == [step_name(1)]
    with pytest.raises(RuntimeError, match="other"):
        save_state(FullDisk(RuntimeError("other")), tmp_path, Progress(2), keep=1)


# --- the ways a run goes -------------------------------------------------------------------------------------------


@pytest.mark.slow  # a start of the program
def test_killed_and_resumed_is_bit_equal(data: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    process = start(data, out, *LONG)
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:  # after the first checkpoint, between two others
        if (out / "log.jsonl").exists() and len(losses(out)) >= 6:
            break
        time.sleep(0.01)
    process.kill()
    _, errors = process.communicate()
    assert 6 <= len(losses(out)) < STEPS, errors
    with (out / "log.jsonl").open("a") as file:
        file.write('{"kind": "step", "step": 99')  # cut off in the middle of a line
    assert main(command(data, out, *LONG, "--resume", "auto")) == 0
    assert len(losses(out)) == STEPS and losses(out) == losses(undisturbed)
    ours, theirs = (load_file(run / "weights" / f"step-{STEPS:08d}.safetensors") for run in (out, undisturbed))
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    assert len(list((out / "checkpoints").iterdir())) == 2


@pytest.mark.slow  # six starts of the program
def test_killed_three_times_anywhere_with_an_average_and_a_worker(data: Path, tmp_path: Path) -> None:
    more = ["--optimizer.ema-decay", "0.9", "--hardware.workers", "1", "--checkpoints.every", "3", "--validation.every"]
    more += ["5", "--stages.0.samples", "96", "--stages.1.samples", "64"]
    assert start(data, tmp_path / "undisturbed", *more).wait(PATIENCE) == 0
    out, rng = tmp_path / "killed", np.random.default_rng(3)
    for kill_after in sorted(rng.choice(np.arange(4, 19), 3, replace=False).tolist()):
        process = start(data, out, *more, "--resume", "auto")
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            if (out / "log.jsonl").exists() and len(losses(out)) >= kill_after:
                break
            time.sleep(0.005)
        assert process.poll() is None, f"it was to be killed after step {kill_after}"
        process.kill()
        process.communicate()
    assert start(data, out, *more, "--resume", "auto").wait(PATIENCE) == 0
    assert losses(out) == losses(tmp_path / "undisturbed") and len(losses(out)) == 20
    name = "weights/step-00000020.safetensors"
    ours, theirs = load_file(out / name), load_file(tmp_path / "undisturbed" / name)
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    kind = "validation"
    ours, theirs = (read_log(run / "log.jsonl", kind) for run in (out, tmp_path / "undisturbed"))
    assert [(line["step"], line["OKS"]) for line in ours] == [(line["step"], line["OKS"]) for line in theirs]


@pytest.mark.slow  # two starts of the program
def test_two_processes_see_the_same_losses(data: Path, undisturbed: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    out = tmp_path / "two"
    more = (*LONG, "--validation.people", "8", "--validation.every", "0", "--log.pictures-every", "0")
    both = [start(data, out, *more, RANK=str(rank), LOCAL_RANK=str(rank), **shared) for rank in (0, 1)]
    for process in both:
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
    one, two = np.array(losses(undisturbed)), np.array(losses(out))
    assert "batch 8 = 2 processes x 1 x 4" in errors
    assert one.shape == two.shape == (STEPS, 3)
    np.testing.assert_allclose(two[:20, :2], one[:20, :2], rtol=0, atol=1e-5)
    assert read_log(out / "log.jsonl", "validation")[-1]["people"] == 8


def test_sigterm_saves_and_the_run_goes_on(
    data: Path, short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write = tmp_path / "stopped", RunLog.write

    def terminate_at_three(self: RunLog, kind: str, step: int, **values: object) -> None:
        write(self, kind, step, **values)
        if kind == "step" and step == 3:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(RunLog, "write", terminate_at_three)
    assert main(command(data, out, *SHORT)) == 0
    last = read_log(out / "log.jsonl")[-1]
    assert (last["kind"], last["step"]) == ("checkpoint", 4)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert main(command(data, out, *SHORT)) == 1  # without --resume an existing run is not touched
    assert main(command(data, out, *SHORT, "--resume", "auto")) == 0
    assert [line["step"] for line in read_log(out / "log.jsonl", "step")] == list(range(1, 7))
    assert losses(out) == losses(short)
    ours, theirs = (load_file(run / "weights" / "step-00000006.safetensors") for run in (out, short))
    assert all(ours[name].equal(theirs[name]) for name in theirs)


@pytest.mark.slow
def test_a_signal_breaks_a_validation_off_and_the_next_start_does_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, looked = tmp_path / "run", []

    def terminate_in_the_second_batch(*args: object) -> tuple:
        looked.append(args)
        if len(looked) == 2:
            signal.raise_signal(signal.SIGTERM)
        return crops_of(*args)

    settings = ["--validation.every", "6", "--validation.people", "8", "--validation.batch", "2"]
    settings += ["--log.pictures-every", "0", "--checkpoints.every", "0"]
    with monkeypatch.context() as patch:
        patch.setattr(validation_ap, "crops_of", terminate_in_the_second_batch)
        assert main(command(data, out, *settings, "--stages.0.samples", "40", "--stages.1.samples", "8")) == 0
    assert len(looked) == 2 and not read_log(out / "log.jsonl", "validation")
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-00000006"]
    whole = [*settings, "--stages.0.samples", "40", "--stages.1.samples", "8", "--resume", "auto"]
    assert main(command(data, out, *whole)) == 0
    assert [line["step"] for line in read_log(out / "log.jsonl", "validation")] == [6]
    assert (out / "weights" / "best.safetensors").exists()


def children_of(process: subprocess.Popen) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(process.pid).children(recursive=True)]


def wait_for(done: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.slow  # a start of the program
def test_a_killed_worker_ends_the_run_in_a_line_with_its_state(data: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(data, out, *LONG, "--hardware.workers", "1", "--checkpoints.every", "0")
    wait_for(lambda: (out / "log.jsonl").exists() and len(losses(out)) >= 2 and bool(children_of(process)), process)
    for child in children_of(process):
        os.kill(child, signal.SIGKILL)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and "Traceback" not in errors
    [line] = [line for line in errors.splitlines() if line.startswith("train: ")]
    assert "a data loading process was killed" in line and "--resume auto" in line
    assert len(list((out / "checkpoints").iterdir())) == 1
    assert main(command(data, out, *LONG, "--resume", "auto")) == 0
    assert losses(out) == losses(undisturbed)


@pytest.mark.slow  # a start of the program
def test_a_second_ctrl_c_saves_the_state_too(data: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(data, out, *LONG, "--checkpoints.every", "0")
    wait_for(lambda: (out / "log.jsonl").exists() and len(losses(out)) >= 2, process)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode in (0, 130) and "Traceback" not in errors  # 0: it had stopped already
    assert len(list((out / "checkpoints").iterdir())) == 1
    assert main(command(data, out, *LONG, "--resume", "auto")) == 0
    assert losses(out) == losses(undisturbed)


@pytest.mark.parametrize("held", [True, False])
def test_a_second_ctrl_c_waits_for_what_is_held(held: bool) -> None:
    done = []
    with StopSignal() as stop, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
        with stop.held() if held else nullcontext():
            signal.raise_signal(signal.SIGINT)
            done.append("saved")
        done.append("went on")
    assert stop.asked and done == (["saved"] if held else [])


def test_a_second_ctrl_c_in_a_step_saves_the_last_whole_step(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    losses_of = Trainer._losses

    def interrupted(trainer: Trainer, batch: dict[str, Any]) -> torch.Tensor:
        if trainer.progress.step == 2:
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
        return losses_of(trainer, batch)

    monkeypatch.setattr(Trainer, "_losses", interrupted)
    assert main(command(data, tmp_path / "run", *SHORT, "--checkpoints.every", "0")) == 130
    assert "train: stopped; use --resume auto to continue" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000002"]


def test_a_loss_that_is_no_number_stops_with_the_batch(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = iter(range(100))

    def spoilt(predicted: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return heatmap_loss(predicted, target, weights) * (float("nan") if next(calls) == 9 else 1)

    monkeypatch.setattr(task_losses, "heatmap_loss", spoilt)
    assert main(command(data, tmp_path / "run", *QUICK)) == 1
    (path,) = (tmp_path / "run" / "non_finite").iterdir()
    batch = load_file(path)
    assert batch["input"].shape == (8, 128, 64, 3) and batch["index"].shape == (8,)
    assert str(path) in capsys.readouterr().err
    assert read_log(tmp_path / "run" / "log.jsonl")[-1]["kind"] == "non_finite"
    state = load_file(tmp_path / "run" / "checkpoints" / "step-00000004" / "model.safetensors")
    assert all(value.isfinite().all() for value in state.values())


def test_too_many_damaged_files_stop_the_run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(data, folder)
    for name in ("000.jpg", "001.jpg", "002.jpg"):
        (folder / "images" / name).write_bytes(b"\xff\xd8 cut off")
    once = [*QUICK, "--stages.0.samples", "16", "--stages.1.samples", "8"]
    assert main(command(folder, tmp_path / "a", *once)) == 0
    problems = [line["what"] for line in read_log(tmp_path / "a" / "log.jsonl", "problem")]
    assert len(problems) == 3 and all("damaged" in problem for problem in problems)
    assert main(command(folder, tmp_path / "b", *once, "--data.max-bad", "2")) == 1
    assert "data.max_bad allows 2" in capsys.readouterr().err


def test_damaged_annotations_of_the_validation_are_reported(data: Path, tmp_path: Path) -> None:
    content = json.loads((data / "annotations" / "val.json").read_text())
    content["annotations"][0]["keypoints"] = [1, 2]
    (tmp_path / "val.json").write_text(json.dumps(content))
    own = ["--data.val-annotations", str(tmp_path / "val.json"), "--validation.people", "2", "--validation.every", "0"]
    recipe = load_recipe(DEBUG, ["--data.root", str(data), *own])
    parts = set_up(recipe)
    assert len(parts.val) == 2
    assert len(parts.problems) == 1 and "val.json: annotation" in parts.problems[0]


def test_validation_with_other_keypoints_is_refused_at_the_start(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((data / "annotations" / "val.json").read_text())
    content["categories"] = [{"id": 1, "name": "pen", "keypoints": ["tip", "cap"]}]
    for annotation in content["annotations"]:
        annotation["keypoints"] = annotation["keypoints"][:6]
    (tmp_path / "val.json").write_text(json.dumps(content))
    own = ["--data.val-annotations", str(tmp_path / "val.json"), "--data.keypoint-set", "annotations"]
    assert main(command(data, tmp_path / "run", *own)) == 1
    assert "has other keypoints ('pen_2', 2) than" in capsys.readouterr().err


@pytest.mark.slow  # a training with all that it can have
def test_everything_at_once(data: Path, tmp_path: Path) -> None:
    """Average of the weights, pictures, validation, trained encoder, one worker, trackers; weights that load."""
    out = tmp_path / "run"
    more = ["--optimizer.ema-decay", "0.9", "--stages.0.schedule", "cosine", "--optimizer.warmup-steps", "2"]
    more += ["--model.train-vae", "on", "--hardware.workers", "1", "--checkpoints.weights-dtype", "fp16"]
    more += ["--stages.0.samples", "32", "--stages.1.samples", "16"]
    assert main(command(data, out, *more)) == 0
    assert {path.name for path in out.iterdir()} == {
        "config.toml", "environment.json", "log.jsonl", "checkpoints", "weights", "pictures", "tensorboard",
        "curve.png",
    }  # fmt: skip
    assert read_image(out / "curve.png").std() > 10  # something is drawn
    names = {path.name for path in (out / "weights").iterdir()}
    assert names == {"README.md", "best.safetensors", "step-00000006.safetensors"}
    assert [line["step"] for line in read_log(out / "log.jsonl", "validation")] == [6]
    card = re.sub(" +", " ", (out / "weights" / "README.md").read_text())
    assert "AP |" in card and "random values" in card and "terms are not known" in card
    rates = [line["learning_rate"] for line in read_log(out / "log.jsonl", "step")]
    assert rates[0] == pytest.approx(5e-4) and rates[3] == pytest.approx(1e-3 * 0.5 * (1 + np.cos(np.pi * 0.75)))
    model = load_sdpose(out / "weights" / "best.safetensors", device="cpu")
    assert model.config.input_size == (128, 192) and model.with_rgb_branch
    _, info = inspect_checkpoint(out / "weights" / "step-00000006.safetensors")
    assert (info.layout, info.metadata["training_step"], info.metadata["recipe"]) == ("ours", "6", "debug_cpu")
    state = load_file(out / "weights" / "step-00000006.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float16}
    last = load_file(out / "checkpoints" / "step-00000006" / "model.safetensors")
    name = "head.final_layer.weight"
    assert not last[name].half().equal(state[name])  # the average, not the weights


def test_curves_of_what_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert curves.main([str(tmp_path), "--out", str(tmp_path / "curves.png")]) == 1
    assert "expected the folder of a run" in capsys.readouterr().err
    (tmp_path / "log.jsonl").write_text('{"kind": "start", "step": 0}\n')
    assert curves.main([str(tmp_path), "--out", str(tmp_path / "curves.png")]) == 1
    assert "no training step yet" in capsys.readouterr().err and not (tmp_path / "curves.png").exists()


def test_without_the_rgb_task_and_from_several_levels(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    more = ["--rgb-reconstruction", "off", "--model.feature-levels", "F2,F3", "--stages.0.samples", "8"]
    assert main(command(data, out, *QUICK, *more, "--stages.1.samples", "8")) == 0
    assert all(line["rgb_loss"] == 0 for line in read_log(out / "log.jsonl", "step"))
    config, state, _ = read_checkpoint(out / "weights" / "step-00000002.safetensors")
    assert config.feature_levels == ("F2", "F3") and not any("up_blocks.3" in name for name in state)


# --- its parts -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_goes_on_learning_with_other_micro_batches(data: Path, tmp_path: Path) -> None:
    """An odd number of whole batches, then, resumed, batches of two halves, in two stages."""
    out, common = tmp_path / "run", [*QUICK, "--checkpoints.every", "1", "--stages.0.samples", "24"]
    common += ["--checkpoints.weights-every", "1"]
    whole = [*common, "--hardware.batch-per-device", "8", "--stages.1.samples", "8"]
    assert main(command(data, out, *whole)) == 0
    forget_accelerate()
    halves = [*common, "--hardware.batch-per-device", "4", "--stages.1.samples", "32", "--resume", "auto"]
    assert main(command(data, out, *halves)) == 0
    steps = [load_file(path) for path in sorted((out / "weights").glob("step-*"))]
    assert len(steps) == 7
    for number, (one, other) in enumerate(itertools.pairwise(steps), 2):
        assert any(not torch.equal(one[name], other[name]) for name in one), f"nothing was learnt in step {number}"


@pytest.mark.parametrize(("plugin", "asked", "words"), [
    ({"deepspeed_plugin": SimpleNamespace(zero_stage=3)}, "1", "zero_stage 1 or 2"),
    ({"fsdp_plugin": SimpleNamespace(fsdp_version=1)}, "1", "fsdp_version: 2"),
    ({}, "2", "do not know of each other"),
])  # fmt: skip
def test_launches_that_cannot_work_are_refused(
    monkeypatch: pytest.MonkeyPatch, plugin: dict[str, object], asked: str, words: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", asked)
    with pytest.raises(InputError, match=words):
        check_launch(SimpleNamespace(num_processes=1, state=SimpleNamespace(**plugin)))
    check_launch(SimpleNamespace(num_processes=int(asked), state=SimpleNamespace()))


PRETENDED_GPUS = """
import runpy, sys
import torch
from accelerate import state
from accelerate.utils import DistributedType
state.PartialState._prepare_backend = lambda self, *_args, **_kwargs: ("gloo", DistributedType.MULTI_GPU)
state.PartialState.set_device = lambda self: setattr(self, "device", torch.device("cpu"))
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""accelerate shards weights and optimizers on GPUs only."""

FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "ResnetBlock2D,BasicTransformerBlock",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
}
DEEPSPEED = {
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2",
    "DS_ACCELERATOR": "cpu",
}


@pytest.mark.slow  # five starts of the program
@pytest.mark.parametrize("plugin", [FSDP, DEEPSPEED], ids=["FSDP", "DeepSpeed"])
def test_shared_out_weights_and_optimizers_change_nothing(
    data: Path, tmp_path: Path, plugin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes, accumulation, two stages, validation, pictures, a state, a resume: the losses of one process."""
    if plugin is DEEPSPEED:
        pytest.importorskip("deepspeed", reason="DeepSpeed is not installed: pip install deepspeed")
    settings = ["--stages.0.samples", "24", "--stages.1.samples", "16", "--hardware.batch-per-device", "2"]
    settings += ["--checkpoints.every", "4", "--validation.every", "3", "--log.pictures-every", "3"]
    assert start(data, tmp_path / "one", *settings).wait(PATIENCE) == 0
    out = tmp_path / "two"
    for first in (True, False):
        both = _pretend(command(data, out, *settings, *([] if first else ["--resume", "auto"])), plugin)
        for process in both:
            _, errors = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, errors
        if first:
            before = losses(out)
            shutil.rmtree(out / "checkpoints" / "step-00000005")
    one = np.array(losses(tmp_path / "one"))
    assert losses(out) == before and one.shape == (5, 3)
    np.testing.assert_allclose(before, one, rtol=0, atol=1e-4)
    np.testing.assert_allclose(np.array(before)[:, :2], one[:, :2], rtol=0, atol=1e-5)
    ours, theirs = (load_file(tmp_path / run / "weights" / "step-00000005.safetensors") for run in ("two", "one"))
    assert ours.keys() == theirs.keys()
    assert max((ours[name] - theirs[name]).abs().max().item() for name in theirs) < 1e-3
    assert len(list((out / "pictures").iterdir())) == 2


def _pretend(arguments: list[str], plugin: dict[str, str]) -> list[subprocess.Popen]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", **plugin}
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **shared}
    line = [sys.executable, "-c", PRETENDED_GPUS, str(ROOT / "training" / "train.py"), *arguments]
    ranks = ({"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1"))
    return [subprocess.Popen(line, env={**env, **rank}, stderr=subprocess.PIPE, text=True) for rank in ranks]


SHARDED = """
import sys
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
sys.path[:0] = sys.argv[3:]
from sdpose_core.skeletons import COCO_17
from sdpose_training.fit.setup import share_methods
from sdpose_training.fit.starting_weights import starting_model
from sdpose_training.recipe.recipe import load_recipe
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
model = starting_model(load_recipe(f"{sys.argv[3]}/recipes/debug_cpu.toml"), COCO_17).model.eval()
images = torch.randn(1, 3, 128, 64, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    whole = model.heatmaps(images, flip_test=True)
    fully_shard(model)
    share_methods(model)
    difference = (model.heatmaps(images, flip_test=True) - whole).abs().max().item()
shares = {type(parameter).__name__ for parameter in model.parameters()}
print(difference, *shares)
dist.destroy_process_group()
"""


@pytest.mark.slow  # two processes
def test_validation_gathers_the_weights_that_fsdp_shards(tmp_path: Path) -> None:
    line = [str(tmp_path), str(ROOT / "training"), str(ROOT)]
    both = [
        subprocess.Popen([sys.executable, "-c", SHARDED, str(rank), *line], stdout=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    for process in both:
        out, _ = process.communicate(timeout=PATIENCE)
        difference, *shares = out.split()
        assert float(difference) < 1e-6 and "DTensor" in shares


@pytest.mark.parametrize(("key", "value"), [
    ("seed", "-1"), ("checkpoints.weights-dtype", "half"), ("stages.1.input-size", "100,100"),
    ("hardware.workers", "-1"),
    ("augmentation.dropout-range", "0.2,2"), ("augmentation.flip", "50"), ("validation.batch", "0"),
    ("optimizer.betas", "1,2"), ("stages.0.learning-rate", "nan"), ("seed", str(1 << 70)),
    ("model.timestep", "1000"), ("data.max-bad", "-1"),
])  # fmt: skip
def test_values_that_make_no_sense_are_told_at_the_start(key: str, value: str) -> None:
    with pytest.raises(InputError, match=rf"debug_cpu\.toml: {key.replace('-', '_')}: expected .*, found"):
        load_recipe(DEBUG, [f"--{key}", value])


def test_another_folder_of_pictures_is_told_at_the_start(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(data, tmp_path / "run", "--data.train-images", "elsewhere")) == 1
    assert "none of the first" in capsys.readouterr().err


@pytest.mark.parametrize(("info", "license", "words"), [
    ({"description": "COCO 2017 Dataset"}, "other", "CC BY 4.0"),
    ({"description": "Synthetic people with exact keypoints"}, "apache-2.0", "rendered people only"),
    ({}, "other", "not known here"),
])  # fmt: skip
def test_the_card_states_the_terms_of_the_data_it_was_given(
    tmp_path: Path, info: dict, license: str, words: str
) -> None:
    recipe = load_recipe(DEBUG)
    config = starting_model(recipe, COCO_17).model.config
    progress = Progress(7, 0.5, 4, metrics={"AP": 0.4}, metrics_step=6)
    data_set = SimpleNamespace(annotations="annotations/train.json", source={"info": info})
    write_model_card(
        tmp_path, recipe, config, origin="random weights", data_sets=[data_set], progress=progress, commit="0"
    )
    card = re.sub(" +", " ", (tmp_path / "README.md").read_text())
    assert f"license: {license}\n" in card and words in card
    assert "After 6 steps; the best AP so far, 50.0, after 4" in card and "| AP | 40.0 |" in card


def test_names_of_others_stay_text_in_markdown() -> None:
    data = {"licenses": [{"name": "none\n\n## Terms\n<script>x()</script>"}]}
    assert "(it names: none ## Terms &lt;script>x()&lt;/script>)" in _data_terms("a.json", data)
    lines = markdown_table(["name", "AP"], [["a\n| <img src=x> |", "< 1"]]).splitlines()
    assert len(lines) == 3 and r"a \| &lt;img src=x> \|" in lines[2] and "< 1" in lines[2]


@pytest.mark.parametrize("case", [0, 1, 2])
def test_the_heatmap_loss_is_the_official_one(case: int) -> None:
    with np.load(GOLDEN / "g_loss.npz") as arrays:
        predicted, target, weights, gradient = (
            torch.from_numpy(arrays[f"{case}_{name}"]) for name in ("pred", "target", "weights", "grad_pred")
        )
        expected, unweighted, given = (
            float(arrays[f"{case}_{name}"]) for name in ("loss", "loss_noweights", "loss_useFalse_but_weights_given")
        )
    predicted.requires_grad_()
    loss = heatmap_loss(predicted, target, weights)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(predicted.grad, gradient, rtol=1e-5, atol=1e-9)
    assert given == pytest.approx(loss.item(), rel=1e-6)  # the official loss weights in either case
    assert heatmap_loss(predicted, target, torch.ones_like(weights)).item() == pytest.approx(unweighted, rel=1e-6)


def test_both_tasks_in_one_pass_are_each_task_alone() -> None:
    """The RGB branch against the official code's numbers, together with the pose branch in one U-Net batch."""

    with np.load(GOLDEN / "f_tiny.npz") as arrays:
        golden = dict(arrays)
    model = from_state(tiny.BODY, tiny.golden_state(golden, "body"), "tiny").eval()
    images = torch.from_numpy(golden["inputs_uint8_bgr"][:, ::-1].copy()).float() / 127.5 - 1
    both = model(latents=model.latents(images), tasks=(POSE, RGB))
    np.testing.assert_allclose(both.rgb_latents.detach(), golden["rgb_recon_unet_out_class01"], atol=1e-4)
    np.testing.assert_allclose(both.heatmaps[:1].detach(), golden["body_mode_noflip_heatmaps"], atol=1e-4)
    assert rgb_loss(both.rgb_latents, both.rgb_latents + 2).item() == pytest.approx(4)


@pytest.mark.parametrize(("config", "ratio"), [(BODY, 17), (WHOLEBODY, 133)])
def test_two_means_weigh_the_rgb_term_more_than_the_papers_sums(config: SDPoseConfig, ratio: int) -> None:
    """By the number of values at 768 x 1024: 835,584 or 6,537,216 of the heatmaps, 49,152 of the latents."""
    (w, h), latents = config.input_size, (config.unet.out_channels, 128, 96)
    assert (w // 8, h // 8) == latents[:0:-1]
    heatmaps = torch.zeros(1, 1, h // 4, w // 4).expand(1, config.num_keypoints, -1, -1)
    parts = heatmap_loss(heatmaps, heatmaps + 1, torch.ones(1, config.num_keypoints)), rgb_loss(*torch.eye(2))
    assert [part.item() for part in parts] == [1, 1]  # one per value
    sums = heatmaps.numel(), torch.zeros(latents).numel()
    assert sums[0] / sums[1] == ratio
    for loss, expected in ((LossRecipe(), 1), (LossRecipe(reduction="sum"), 1 / ratio)):
        heatmap, rgb = term_weights(loss, config)
        assert heatmap == 1 and rgb == pytest.approx(expected)


def test_literal_sums_have_the_gradient_of_the_papers_loss() -> None:
    """Up to one factor, the number of values of the heatmaps."""
    model = starting_model(load_recipe(DEBUG), COCO_17).model
    images = torch.rand(2, 3, 128, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    gradients = []
    for literal in (True, False):
        latents = model.latents(images)
        found = model(latents=latents, tasks=(POSE, RGB))
        if literal:
            loss = (found.heatmaps - 1).square().sum() + (found.rgb_latents - latents).square().sum()
            loss = loss / found.heatmaps.numel()
        else:
            heatmap, rgb = term_weights(LossRecipe(reduction="sum"), model.config)
            loss = heatmap * heatmap_loss(found.heatmaps, torch.ones(()), torch.ones(2, 17))
            loss = loss + rgb * rgb_loss(found.rgb_latents, latents)
        parameters = [model.unet.conv_in.weight, model.unet.conv_out.weight, model.head.final_layer.weight]
        gradients.append(torch.autograd.grad(loss, parameters))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-9)


def test_the_noise_of_a_sample_is_its_own() -> None:
    """For two pictures of each sample: neither the other samples of a batch nor their number change it."""
    seeds = torch.tensor([7, 1 << 62, 3])
    whole = posterior_noise(seeds, torch.zeros(6, 3, 128, 64), 4)
    assert whole.shape == (6, 4, 16, 8)
    for i in range(3):
        alone = posterior_noise(seeds[i : i + 1], torch.zeros(2, 3, 128, 64), 4)
        assert alone.equal(whole[[i, 3 + i]]) and not alone[0].equal(alone[1])
    assert whole.mean().abs() < 0.05 and whole.std().sub(1).abs() < 0.05


def test_only_a_frozen_vae_is_sampled() -> None:
    with pytest.raises(InputError, match='latents = "sample" needs a frozen VAE'):
        load_recipe(DEBUG, ["--model.latents", "sample", "--model.train-vae", "on"])


def test_the_heads_random_weights_follow_the_recipe() -> None:
    heads = {
        how: starting_model(load_recipe(DEBUG, ["--model.head-init", how]), COCO_17).model.head.requires_grad_(False)
        for how in ("last", "all", "pytorch")
    }
    layers = {how: (h.deconv_layers[0], h.conv_layers[0], h.final_layer) for how, h in heads.items()}
    small = {how: [bool(layer.weight.std() < 0.002) for layer in found] for how, found in layers.items()}
    assert small == {"last": [False, False, True], "all": [True, True, True], "pytorch": [False, False, False]}
    for layer in layers["all"]:
        assert layer.weight.std() == pytest.approx(0.001, rel=0.1) and (layer.bias is None or not layer.bias.any())
    assert layers["last"][1].weight.equal(layers["pytorch"][1].weight)


def test_targets_are_products_of_their_factors() -> None:
    maps = target_heatmaps(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0, 4.0, 5.0]]]))
    assert maps.tolist() == [[[[3, 4, 5], [6, 8, 10]]]]


@pytest.mark.parametrize(("file", "message"), [
    ("model.safetensors", "damaged"), ("optimizer.bin", "damaged"), ("progress.json", "damaged"),
    ("../../environment.json", "is not JSON"), ("../../config.toml", "not valid TOML"),
])  # fmt: skip
def test_a_damaged_state_is_told(
    data: Path, short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, message: str
) -> None:
    out = tmp_path / "run"
    shutil.copytree(short, out)
    path = out / "checkpoints" / "step-00000006" / file
    path.write_bytes(b"[[" + path.read_bytes()[2:50])
    assert main(command(data, out, *SHORT, "--resume", "auto")) == 1
    assert message in capsys.readouterr().err


class Program:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("file", ["custom_checkpoint_0.pkl", "optimizer.bin"])
def test_no_pickle_of_a_state_runs(
    data: Path, short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    out = tmp_path / "run"
    shutil.copytree(short, out)
    torch.save(Program(tmp_path / "ran"), out / "checkpoints" / "step-00000006" / file)
    assert main(command(data, out, *SHORT, "--optimizer.ema-decay", "0.9", "--resume", "auto")) == 1
    assert "cannot resume from" in capsys.readouterr().err and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("change", [("--model.feature-levels", "F2"), ("--rgb-reconstruction", "off")])
def test_going_on_with_another_model_is_told(
    data: Path, short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(short, out)
    before = (out / "config.toml").read_text()
    assert main(command(data, out, *SHORT, *change, "--resume", "auto")) == 1
    error = capsys.readouterr().err
    assert "cannot resume from" in error and "saved by another model" in error
    assert (out / "config.toml").read_text() == before


@pytest.mark.parametrize(("change", "message"), [
    (("--model.unet.block-out-channels", "10,20,30,40"), "block_out_channels: .* a multiple of 8, found 10"),
    (("--model.vae.latent-channels", "8"), "U-Net in_channels: expected 8"),
    (("--model.vae.latent-channels", "8", "--model.unet.in-channels", "8"), "model.unet.out_channels: .* expected 8"),
])  # fmt: skip
def test_sizes_that_do_not_fit_together_are_told(change: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        starting_model(load_recipe(DEBUG, change), COCO_17)


def test_stages_follow_each_other() -> None:
    changes = ["--stages.1.epochs", "1.5", "--stages.1.samples", "0", "--optimizer.warmup-steps", "4"]
    recipe = load_recipe(DEBUG, changes)
    first, second = plan_stages(recipe, epoch=12, processes=2)
    assert (first.first_step, first.steps, first.end) == (0, 8, 8)
    assert (second.first_step, second.steps, second.first_sample) == (8, 3, 64)
    rates = [learning_rate(recipe.optimizer, first, step) for step in range(6)]
    np.testing.assert_allclose(rates, [0.00025, 0.0005, 0.00075, 0.001, 0.001, 0.001])


def test_ap_is_one_for_the_truth_and_falls_with_noise(data: Path) -> None:
    people, _ = read_people(read_annotations(data / "annotations" / "val.json"), data, COCO_17)
    scores = np.ones((len(people), 17), np.float32)
    assert average_precision(people, people.keypoints, scores)["AP"] == pytest.approx(1)
    noise = np.random.default_rng(0).normal(0, 6, people.keypoints.shape)
    assert 0.05 < average_precision(people, people.keypoints + noise, scores)["AP"] < 0.95
    nothing = np.full_like(people.keypoints, np.nan)
    assert average_precision(people, nothing, np.zeros_like(scores))["AP"] == 0


def test_starting_from_other_weights(tmp_path: Path) -> None:
    recipe = load_recipe(DEBUG)
    first = starting_model(recipe, COCO_17)
    assert (
        starting_model(recipe, COCO_17).model.state_dict()["unet.conv_in.weight"].equal(first.model.unet.conv_in.weight)
    )
    state = {**first.model.state_dict(), "vae.post_quant_conv.weight": torch.zeros(4, 4, 1, 1)}
    path = tmp_path / "base.safetensors"
    save_checkpoint(state, first.model.config, path)
    again = starting_model(load_recipe(DEBUG, ["--model.base", str(path), "--seed", "5"]), COCO_17)
    assert all(value.equal(state[name]) for name, value in again.model.state_dict().items())
    assert "vae.post_quant_conv.weight" in again.kept and "vae.quant_conv.weight" in again.kept
    small = ["--model.base", str(path), "--model.feature-levels", "F2", "--seed", "5"]
    other = starting_model(load_recipe(DEBUG, small), COCO_17)  # another level: a new head on the same U-Net
    assert other.model.unet.conv_in.weight.equal(state["unet.conv_in.weight"])
    absent = ("unet.conv_out.", "unet.conv_norm_out.", "vae.post_quant_conv.")
    poor = tmp_path / "poor.safetensors"
    save_checkpoint({k: v for k, v in state.items() if not k.startswith(absent)}, first.model.config, poor)
    with pytest.raises(CheckpointError, match="--rgb-reconstruction off"):
        starting_model(load_recipe(DEBUG, ["--model.base", str(poor)]), COCO_17)


def test_starting_from_stable_diffusion(tmp_path: Path) -> None:
    """A folder with unet/ and vae/ alone; head and class embedding are new."""
    folder = tmp_path / "sd2"
    for part in ("unet", "vae"):
        shutil.copytree(GOLDEN / "tiny_ckpt" / part, folder / part)
    start = starting_model(load_recipe(DEBUG, ["--model.base", str(folder)]), COCO_17)
    stored = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert start.model.unet.conv_in.weight.equal(stored["conv_in.weight"].float())
    assert start.model.config.unet.layers_per_block == 2  # the base's sizes, not the recipe's


def test_the_average_follows_and_changes_places() -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    average = WeightAverage([weight], 0.5)
    weight.data += 1
    average.update()
    value = average.average[0].clone()
    assert 0 < value[0] < 1
    with average.in_place():
        assert weight.equal(value)
    assert weight.tolist() == [1, 1, 1]
    other = WeightAverage([weight], 0.5)
    other.load_state_dict(average.state_dict())
    assert other.average[0].equal(value) and other.updates == 1


def test_log_lines_after_a_step_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps({"kind": "step", "step": i}) + "\n" for i in range(5)) + '{"kind"')
    run_log._drop_after(path, 2)
    assert [line["step"] for line in read_log(path)] == [0, 1, 2]
