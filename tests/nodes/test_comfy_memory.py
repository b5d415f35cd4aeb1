"""SDPose under the memory manager of a real ComfyUI: named in its log, unloaded, reloaded, partly offloaded.

How ComfyUI is found and started: `tests/support/comfy_host.py`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_host import COMFYUI_PATH, Server, interpreter, make_base, node, running
from paths import DATA, ROOT
from tiny import make_checkpoint

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(not COMFYUI_PATH, reason="COMFYUI_PATH is not set: no real ComfyUI to test against"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = make_base(tmp_path_factory.mktemp("comfy"), [DATA / "astronaut.png"])
    make_checkpoint(base / "models" / "sdpose" / "tiny.safetensors")
    with running(base) as server:
        yield server


def poses_of(server: Server, **settings: Any) -> str:
    """Runs SDPose on the picture; the points that came out, as JSON."""
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "astronaut.png"}},
        "2": node("SDPoseAnnotatorLoadModel", model="tiny.safetensors", dtype="fp32"),
        "3": node("SDPoseAnnotator", image=["1", 0], model=["2", 0], **settings),
        "4": {"class_type": "PreviewAny", "inputs": {"source": ["3", 1]}},
    }
    return server.run(prompt)["4"]["text"][0]


def requests(server: Server) -> int:
    """How often ComfyUI was asked to load SDPose, in its log."""
    log = server.log.read_text()
    assert "Requested to load Module" not in log and "memory leak" not in log
    return log.count("Requested to load SDPose")


@pytest.mark.parametrize("free", [{"unload_models": True}, {"unload_models": True, "free_memory": True}])
def test_sdpose_is_unloaded_on_request_and_loaded_again(server: Server, free: dict[str, bool]) -> None:
    """The two buttons of the page: unload models, and cached results too. It happens in the next run at the latest."""
    first = poses_of(server, max_people=0)
    asked = requests(server)
    assert asked >= 1 and "keypoints" in first
    server.call("/free", free)
    assert [poses_of(server, max_people=people) for people in (8, 9)] == [first, first]
    assert requests(server) == asked + 1


PARTLY_OFFLOADED = """
import sys
from pathlib import Path
base, comfyui, support, *_ = sys.argv[1:]
sys.path[:0] = [comfyui, support]
sys.argv[1:] = ["--cpu", "--base-directory", base]
import comfy.options
comfy.options.enable_args_parsing()
import comfy.model_management as management
import importlib, numpy as np
from pack_loading import load_pack
pack = load_pack(next((Path(base) / "custom_nodes").iterdir()))
inside = lambda name: importlib.import_module(f"{pack.__name__}.{name}")
inside("nodes.host.folders").register_folder()
EstimatorOptions = inside("sdpose_core.estimation.options").EstimatorOptions
managed = inside("nodes.host.model").load_model(Path(base) / "models/sdpose/tiny.safetensors", EstimatorOptions(dtype="fp32"))
image = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)
def points(estimator):
    [poses] = estimator.estimate([image], [np.asarray([[5, 5, 50, 70]], np.float32)])
    return poses.keypoints
patcher, estimator = managed._patcher, managed.estimator()
whole, size = points(estimator), patcher.loaded_size()
freed = patcher.partially_unload(patcher.offload_device, size // 2)
assert 0 < freed and 0 < patcher.loaded_size() < size, (freed, patcher.loaded_size(), size)
assert np.array_equal(points(estimator), whole)
estimator = managed.estimator()
assert patcher.loaded_size() == size
assert np.array_equal(points(estimator), whole)
management.unload_all_models()
assert not management.current_loaded_models
assert np.array_equal(points(managed.estimator()), whole)
print("same points")
"""  # noqa: E501


def test_weights_that_are_offloaded_in_part_give_the_same_points(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    make_checkpoint(base / "models" / "sdpose" / "tiny.safetensors")
    comfyui = Path(str(COMFYUI_PATH)).resolve()
    command = [interpreter(comfyui), "-c", PARTLY_OFFLOADED, str(base), str(comfyui), str(ROOT / "tests" / "support")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("same points\n")
