"""What the tests of the ComfyUI nodes share: the pack, loaded over a small stand-in for ComfyUI."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pack_loading import FAKE_COMFY, FOLDER_NAME, load_pack, nodes_of
from paths import ROOT


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
