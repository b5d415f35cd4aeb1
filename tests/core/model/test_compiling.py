"""`torch.compile` where it cannot work is one sentence, before anything large is compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import make_model

from sdpose_core.errors import MissingDependency
from sdpose_core.model.compiling import need_compiler

SAID = "InvalidCxxCompiler: No working C++ compiler\n\nSet TORCHDYNAMO_VERBOSE=1 for the internal stack trace"


CXX = "compile needs a C++ compiler (Linux: g++; "
TRITON = "compile needs Triton and a C compiler (Linux: gcc; "


@pytest.mark.parametrize(
    ("device", "said", "begins", "ends"),
    [
        ("cpu", SAID, CXX, "install that, or turn compile off"),
        ("meta", "TritonMissing: Cannot find", TRITON, "install that, or turn compile off"),
        ("cpu", "CppCompileError: no header\nmore", CXX, "turn compile off (PyTorch says: CppCompileError: no header)"),
    ],
)
def test_what_is_missing_and_what_to_do_is_one_sentence(
    device: str, said: str, begins: str, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_function: object) -> object:
        raise RuntimeError(said)

    monkeypatch.setattr(torch, "compile", failing)
    with pytest.raises(MissingDependency) as caught:
        need_compiler(torch.device(device))
    assert str(caught.value).startswith(begins) and str(caught.value).endswith(ends)


def test_nothing_is_compiled_then(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_function: object) -> object:
        raise RuntimeError(SAID)

    monkeypatch.setattr(torch, "compile", failing)
    model = make_model()
    with pytest.raises(MissingDependency):
        model.compile_backbone("max-autotune")
    assert model.unet._compiled_call_impl is None


@pytest.mark.slow  # imports PyTorch's compiler
def test_without_a_compiler_pytorch_fails_as_expected(tmp_path: Path) -> None:
    code = "import torch; from sdpose_core.model.compiling import need_compiler; need_compiler(torch.device('cpu'))"
    environment = {**os.environ, "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"sdpose_core.errors.MissingDependency: {CXX}")
    assert last.endswith("turn compile off")
