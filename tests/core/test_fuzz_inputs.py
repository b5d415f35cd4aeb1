"""`benchmarks/fuzz_inputs.py`: a slice of it, and that it would find what it looks for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fuzz_inputs
import numpy as np
import pytest
from fuzzing.cases import KINDS, Case, Place, make_case
from fuzzing.checks import check_messages, check_results, listing, sequence_problems
from fuzzing.seeds import make_seeds, sequence

IMAGE = Case("", (("sdpose", "image", "in/a.png", "-o", "out"),), ("in/a.png",), nobody=True)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "seeds"
    make_seeds(folder, ())
    return folder


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"checkpoints", "onnx", "state"}))
def test_a_case_is_made_again_from_its_seed_and_number(kind, seeds, tmp_path):
    made = [make_case(kind, 3, 7, Place(seeds, tmp_path / name)) for name in "ab"]
    assert made[0] == made[1]
    assert listing(tmp_path / "a") == listing(tmp_path / "b")
    other = make_case(kind, 4, 7, Place(seeds, tmp_path / "c"))
    assert (other, listing(tmp_path / "c")) != (made[0], listing(tmp_path / "a"))


def test_all_kinds_have_their_share():
    cases = fuzz_inputs.deal(2000, list(KINDS))
    assert abs(len(cases) - 2000) < len(KINDS)
    assert len(set(cases)) == len(cases) and {kind for kind, _ in cases} == set(KINDS)


@pytest.mark.parametrize(
    ("code", "text", "problem"),
    [
        (1, "sdpose image: in/a.png is damaged: get the file again", None),
        (0, "", None),
        (3, "in/a.png", "exit code 3"),
        (1, "", "no message"),
        (1, "sdpose image: it is damaged", "no message names the file"),
        (1, "in/a.png: KeyError: 'people'", "the bare class name KeyError in a message"),
        (0, "/x/y.py:3: RuntimeWarning: overflow\n", "a Python warning: RuntimeWarning: overflow"),
    ],
)
def test_messages_are_judged(code, text, problem):
    assert list(check_messages(IMAGE, code, text)) == ([problem] if problem else [])


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("scores", np.nan, "scores are not finite"),
        ("keypoints", np.inf, "keypoints with a score are not finite"),
        ("boxes", np.nan, "boxes are not finite"),
        ("track_ids", 3, "a track id twice in a frame"),
        ("pts", [0, 0.1, 0.05, 0.2, 0.3, 0.4], "times that fall or are not finite"),
    ],
)
def test_values_are_judged(name, value, problem):
    class Changed:
        """The attributes of a sequence, one of them other than a sequence would take."""

        def __init__(self) -> None:
            good = sequence()
            for each in ("keypoints", "scores", "boxes", "track_ids", "pts"):
                setattr(self, each, np.array(getattr(good, each)))
            self.size, self.meta = good.size, good.meta
            getattr(self, name)[...] = value

        def __len__(self) -> int:
            return len(self.pts)

    assert list(sequence_problems(sequence())) == []
    assert list(sequence_problems(Changed())) == [problem]


def test_results_are_judged(tmp_path):
    out = tmp_path / "out"
    assert list(check_results(IMAGE, tmp_path, [0], [""])) == ["image gave 0 and wrote nothing"]
    out.mkdir()
    sequence(1).save(out / "a.pose.npz")
    (out / "a_keypoints.json").write_text('{"people": [NaN]}')
    (out / ".a.x.part.png").touch()
    found = list(check_results(IMAGE, tmp_path, [0], [""]))
    assert found == [
        "a temporary file is left in OUT",
        ".pose.npz: people out of nothing",
        "_keypoints.json: result is not JSON (NaN)",
    ]


FAKE = """
import os, pathlib, sys, time
folder = pathlib.Path(sys.argv[-1])
folder.mkdir(parents=True)
print("{}", flush=True)
for line in sys.stdin:
    (folder / "stderr").write_text("the last words")
    if line.startswith("crash"):
        os.abort()
    held = bytearray(300 << 20) if line.startswith("memory") else None
    if not line.startswith("good"):
        time.sleep(60)
    print('{"findings": []}', flush=True)
"""


@pytest.mark.slow
def test_a_worker_that_crashes_or_hangs_is_found_out_and_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_inputs, "HANG_SECONDS", 1.5)
    monkeypatch.setattr(fuzz_inputs, "CEILING", 200 << 20)
    process = fuzz_inputs.Process([sys.executable, "-c", FAKE], tmp_path)
    found = {}
    for kind in ("good", "crash", "good", "hang", "memory", "good"):
        found[kind] = process.run(kind, 1)["findings"]
    process.stop()
    assert found == {
        "good": [],
        "crash": [("crash", "SIGABRT; place unknown; the last words")],
        "hang": [("hang", "place unknown")],
        "memory": [("memory", "place unknown")],
    }


@pytest.mark.slow
def test_nothing_is_found_in_a_slice(tmp_path):
    command = [sys.executable, fuzz_inputs.__file__, "--inputs", "150", "--seed", "17", "--keep", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
