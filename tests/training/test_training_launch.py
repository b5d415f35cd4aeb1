"""What starts a training elsewhere: the notebook, the script for SLURM, the container."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

TRAINING = ROOT / "training"


def notebook() -> dict:
    return json.loads((TRAINING / "train_on_cpu.ipynb").read_text(encoding="utf-8"))


def test_the_notebook_stores_no_results_and_its_cells_are_python() -> None:
    cells = [cell for cell in notebook()["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 4
    for cell in cells:
        assert not cell["outputs"] and cell["execution_count"] is None
        compile("".join(cell["source"]), "cell", "exec")


@pytest.mark.slow  # makes people, trains, evaluates
def test_the_notebook_runs_from_the_top(tmp_path: Path) -> None:
    for package in ("anny", "matplotlib"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    cells = ["".join(cell["source"]) for cell in notebook()["cells"] if cell["cell_type"] == "code"]
    (tmp_path / "cells.py").write_text("\n\n".join(cells), encoding="utf-8")
    (tmp_path / "training").symlink_to(TRAINING, target_is_directory=True)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "cells.py"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "optimizer states" in done.stdout and re.search(r"after 12 steps: AP 0\.\d+", done.stdout)
    work = tmp_path / "sdpose_notebook"
    assert 0 <= json.loads((work / "people.json").read_text())["AP"] <= 1
    assert len(list((work / "people" / "images").iterdir())) == 32


COMMANDS = {
    "scontrol": 'echo "$@" >> "$CALLS"; [ "$1" != show ] || echo node1',
    "scancel": 'echo "$@" >> "$CALLS"; kill -TERM "$(cat "$PROCESS")"',
    "srun": 'shift; SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NTASKS=2 SLURM_NNODES=1 exec "$@"',
    "python": 'echo $$ > "$PROCESS"; echo "$@" >> "$CALLS"; echo "rank $RANK of $WORLD_SIZE" >> "$CALLS"\n{then}',
}
"""A cluster of one machine, and a training that does what a test says."""

UNTIL_STOPPED = """trap 'exit 0' TERM; kill -USR1 "$BATCH"; while :; do sleep 0.05; done"""


@pytest.mark.slow  # starts processes
@pytest.mark.skipif(not shutil.which("bash") or os.name == "nt", reason="bash is not installed")
@pytest.mark.parametrize(("then", "status", "requeued"), [("exit 0", 0, False), ("exit 3", 3, False),
                                                          (UNTIL_STOPPED, 0, True)])  # fmt: skip
def test_a_job_that_is_stopped_is_queued_again(tmp_path: Path, then: str, status: int, requeued: bool) -> None:
    for name, script in COMMANDS.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/bash\n{script.replace('{then}', then)}\n")
        path.chmod(0o755)
    calls = tmp_path / "calls"
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls)}
    env |= {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "node[1-2]", "PROCESS": str(tmp_path / "process")}
    batch = f'export BATCH=$$; exec bash "{TRAINING / "train.sbatch"}" --out "a run"'
    done = subprocess.run(["bash", "-c", batch], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    said = calls.read_text().splitlines()
    assert said[1:3] == ["training/train.py --out a run --resume auto", "rank 0 of 2"]
    assert ("requeue 77" in said) == ("--signal=TERM 77" in said) == requeued


@pytest.mark.slow  # starts processes
@pytest.mark.parametrize(("program", "file"), [("shellcheck", "train.sbatch"), ("hadolint", "Dockerfile")])
def test_no_linter_complains(program: str, file: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, str(TRAINING / file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
