"""What tests share: what they need installed, tiny weights, drawn people, and the pack over a stand-in for ComfyUI."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pack_loading import FAKE_COMFY, FOLDER_NAME, load_pack, nodes_of
from paths import ROOT, TESTS

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Tiny matrices on many threads spend their time waiting; programs that tests start inherit it."""

os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")
"""So that "auto" is fp32 on every processor; tests/core/model/test_processor.py pretends to have others."""

NEEDS = {
    "core/bench/*": ("torch", "diffusers"),
    "core/test_fuzz_inputs.py": ("torch", "diffusers", "onnxruntime", "accelerate", "faster_coco_eval"),
    "core/checkpoints/test_adapters.py": ("torch", "diffusers"),
    "core/checkpoints/test_checkpoints.py": ("torch", "diffusers"),
    "core/checkpoints/test_version_3.py": ("torch", "diffusers"),
    "core/checkpoints/test_onnx_export.py": ("torch", "diffusers", "onnxruntime", "onnxscript"),
    "core/codec/test_device_crops.py": ("torch",),
    "core/codec/test_heatmaps.py": ("torch",),
    "core/codec/test_transfers.py": ("torch", "diffusers"),
    "core/estimation/test_end_to_end.py": ("torch", "diffusers"),
    "core/estimation/test_estimator.py": ("torch",),
    "core/model/*": ("torch", "diffusers"),
    "docs/test_training_readme.py": ("torch",),
    "nodes/test_native_decode.py": ("torch",),
    "training/test_distill_*.py": ("torch", "diffusers", "accelerate", "faster_coco_eval"),
    "training/test_evaluation_downstream.py": ("torch", "diffusers", "transformers"),
    "training/test_evaluation_features.py": ("torch", "diffusers", "sklearn", "matplotlib"),
    "training/test_evaluation_peers.py": ("onnxruntime",),
    "training/test_evaluation_peers_heatmap.py": ("onnxruntime", "torch"),
    "training/test_evaluation_peers_sapiens2.py": ("torch", "transformers"),
    "training/test_evaluation_peers_whole_picture.py": ("onnxruntime",),
    "training/test_evaluation_peers_whole_way.py": ("onnxruntime", "torch", "faster_coco_eval", "matplotlib"),
    "training/test_evaluation_run.py": ("torch", "diffusers", "faster_coco_eval"),
    "training/test_evaluation_scoring.py": ("faster_coco_eval",),
    "training/test_training_low_memory.py": ("peft",),
    "training/test_training_*.py": ("torch", "accelerate", "faster_coco_eval"),
}
"""Files below tests/ and the optional packages without which all of their tests are skipped."""


class Skipped(pytest.Module):
    """A file of tests that is not imported, as something that it needs is not installed."""

    missing: list[str]

    def collect(self) -> list[pytest.Item]:
        pytest.skip(f"needs {', '.join(self.missing)}: pip install -e '.[test]'", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    name = module_path.relative_to(TESTS).as_posix()
    needed = {package for files, packages in NEEDS.items() if fnmatch(name, files) for package in packages}
    missing = sorted(package for package in needed if importlib.util.find_spec(package) is None)
    if not missing:
        return None
    module = Skipped.from_parent(parent, path=module_path)
    module.missing = missing
    return module


@contextmanager
def unchanged(folder: Path) -> Iterator[Path]:
    """A folder that all tests of a run share: whoever writes into it is found out at the end."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    yield folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before, f"a test changed {folder}"


@pytest.fixture(scope="module")
def remembered_networks() -> Iterator[None]:
    """See `remembered.remembered`."""
    from remembered import remembered

    with remembered():
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`tiny.safetensors`: the weights of `tiny.SMALL`, RGB branch included."""
    from tiny import make_checkpoint

    path = make_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.safetensors")
    with unchanged(path.parent):
        yield path


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data set in COCO's format: twelve drawn people."""
    from drawn_people import make_people

    with unchanged(make_people(tmp_path_factory.mktemp("data") / "people")) as folder:
        yield folder


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The pack, in a ComfyUI of its own, in a folder with a space and a dot in its name."""
    base = tmp_path_factory.mktemp("comfy")
    folder = base / "custom_nodes" / FOLDER_NAME
    folder.parent.mkdir()
    folder.symlink_to(ROOT, target_is_directory=True)
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FAKE_COMFY))
        import folder_paths

        folder_paths.use(base)
        yield load_pack(folder)
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("comfy", "comfy_api", "folder_paths"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def nodes(pack: ModuleType) -> dict[str, type]:
    return nodes_of(pack)


@pytest.fixture(scope="module")
def inside(pack: ModuleType) -> Any:
    """A module of the loaded pack by its name, as `inside("nodes.sockets.boxes")`."""
    return lambda name: importlib.import_module(f"{pack.__name__}.{name}")


@pytest.fixture
def input_error(inside: Any) -> type[Exception]:
    return inside("sdpose_core.errors").InputError


@pytest.fixture
def base(nodes: dict[str, type]) -> Path:
    import folder_paths

    return Path(folder_paths.base)
