"""Commands that are killed and run again, by a small share of `benchmarks/kill_and_resume.py`."""

from __future__ import annotations

import subprocess
import sys

import pytest
from paths import ROOT

ALL = r"all +(\d+) +0 +0 +0 "


@pytest.mark.slow  # starts and kills programs
@pytest.mark.skipif(sys.platform == "win32", reason="this system has no SIGKILL")
@pytest.mark.parametrize("commands", ["image,video,clip", "convert --layout diffusers,export,draw"])
def test_killed_at_any_moment_and_run_again_it_ends_as_undisturbed(commands: str) -> None:
    script = str(ROOT / "benchmarks" / "kill_and_resume.py")
    words = ["--kills", "14", "--commands", commands, "--seed", "3"]
    run = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
