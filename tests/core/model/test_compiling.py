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


@pytest.mark.parametrize(("device", "needs"), [("cpu", r"a C\+\+ compiler \(Linux: g\+\+;"), ("meta", "Triton")])
def test_what_is_missing_and_what_to_do_is_one_sentence(
    device: str, needs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_function: object) -> object:
        raise RuntimeError(SAID)

    monkeypatch.setattr(torch, "compile", failing)
    with pytest.raises(MissingDependency, match=f"{needs}.*turn compile off.*InvalidCxxCompiler") as caught:
        need_compiler(torch.device(device))
    assert "\n" not in str(caught.value) and "TORCHDYNAMO" not in str(caught.value)


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
    assert last.startswith("sdpose_core.errors.MissingDependency: compile does not work here: it needs a C++ compiler")
    assert "no-such-compiler" in last
