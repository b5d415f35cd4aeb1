"""Loading of the pack as in ComfyUI: by the path of its folder, whose name is not a Python name."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from paths import TESTS

FAKE_COMFY = TESTS / "fake_comfy"
FOLDER_NAME = "ComfyUI-SDPose Annotator v1.0"


def load_pack(folder: Path) -> ModuleType:
    """Import the pack in `folder` under the name that ComfyUI gives it."""
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


async def _nodes(pack: ModuleType) -> list[type]:
    extension = await pack.comfy_entrypoint()
    await extension.on_load()
    return await extension.get_node_list()


def nodes_of(pack: ModuleType) -> dict[str, type]:
    """Node id -> class."""
    return {node.define_schema().node_id: node for node in asyncio.run(_nodes(pack))}
