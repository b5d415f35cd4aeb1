"""`sdpose batch`, as it is typed."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from sdpose_core import cli, cli_batch
from sdpose_core.batch import Batch, CannotStart
from sdpose_core.errors import CheckpointError


class FakeEstimator:
    name = "fake"
    keypoint_set = "coco_17"

    def __init__(self, batch_size: int = 8, sha: str = "aa", dtype: str = "float16", device: str = "cuda") -> None:
        self.batch_size, self.sha, self.dtype, self.device = batch_size, sha, dtype, device

    def meta(self) -> dict[str, Any]:
        return {
            "model": self.name, "weights": {"path": "w", "sha256": {"w": self.sha}}, "library_version": "0",
            "settings": {"batch_size": self.batch_size, "dtype": self.dtype, "device": self.device, "size": (3, 4)},
        }  # fmt: skip


def estimator_of(out: Path, made: Any, batch_size: int | None = None) -> Any:
    """The estimator of a new process of the batch in `out`, where `made` is what its options load."""

    def make(args: argparse.Namespace) -> Any:
        if isinstance(made, Exception):
            raise made
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "make_estimator", make)
        return cli_batch.ClipRun(argparse.Namespace(batch_size=batch_size), Batch.begin(out, "x"))._estimator


def test_the_batch_size_of_the_first_process_holds_for_all(tmp_path: Path) -> None:
    assert estimator_of(tmp_path, FakeEstimator(8)).batch_size == 8
    assert estimator_of(tmp_path, FakeEstimator(1, device="cpu")).batch_size == 8
    assert estimator_of(tmp_path, FakeEstimator(8), batch_size=8).batch_size == 8
    with pytest.raises(CannotStart, match="begun with 8 crops per pass, 4 are asked for now"):
        estimator_of(tmp_path, FakeEstimator(4), batch_size=4)


@pytest.mark.parametrize(("other", "what"), [({"sha": "bb"}, "weights"), ({"dtype": "float32"}, "settings")])
def test_a_process_with_another_model_does_not_start(tmp_path: Path, other: dict[str, str], what: str) -> None:
    estimator_of(tmp_path, FakeEstimator())
    with pytest.raises(CannotStart, match=f"begun with {what} .* here it is .*another OUT"):
        estimator_of(tmp_path, FakeEstimator(**other))


def test_missing_weights_are_no_videos_fault(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="no such weights"):
        estimator_of(tmp_path, CheckpointError("no such weights"))


def test_sigterm_stops_like_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), cli_batch._stopped_by_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
