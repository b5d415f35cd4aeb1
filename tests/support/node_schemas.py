"""What saved graphs and programs rely on, of every node.

`python tests/support/node_schemas.py` writes it down, as `tests/golden/node_schemas.json`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from pack_loading import FAKE_COMFY, load_pack, nodes_of
from paths import GOLDEN, ROOT

OUT = GOLDEN / "node_schemas.json"
OF_INPUTS = ("default", "min", "max", "options", "advanced")


def schema_of(node: type) -> dict[str, Any]:
    """Texts are left out: a test compares them with the translation."""
    schema = node.define_schema()
    inputs = {
        entry.id: {"type": entry.get_io_type(), "optional": entry.optional}
        | {key: entry.settings[key] for key in OF_INPUTS if entry.settings.get(key) is not None}
        for entry in schema.inputs
    }
    lists = [entry.id for entry in schema.outputs if entry.is_output_list]
    return {
        "display_name": schema.display_name,
        "category": schema.category,
        "inputs": inputs,
        "outputs": {entry.id: entry.io_type for entry in schema.outputs},
        "output_names": [entry.display_name for entry in schema.outputs],
        **({"lists": lists} if lists else {}),
    }


def defaults(node: type) -> dict[str, Any]:
    """The values of a node's inputs when nothing is set."""
    return {entry.id: entry.settings["default"] for entry in node.define_schema().inputs if "default" in entry.settings}


def main() -> None:
    sys.path.insert(0, str(FAKE_COMFY))
    import folder_paths

    with tempfile.TemporaryDirectory() as empty:
        folder_paths.use(Path(empty))
        found = {name: schema_of(node) for name, node in nodes_of(load_pack(ROOT)).items()}
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
