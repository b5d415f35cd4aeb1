"""Brings our nodes in every example graph to the current schemas: `python tests/support/refresh_graphs.py`.

Run it after an input was added, removed or moved, when `tests/golden/node_schemas.json` is up to date. Values are kept
by the names of their inputs; new inputs get their default. Says what is dropped. The twins for the API follow.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from paths import GOLDEN, ROOT, TESTS

SCHEMAS: dict[str, Any] = json.loads((GOLDEN / "node_schemas.json").read_text(encoding="utf-8"))
OPTIONAL_SHAPE = 7


def refresh(node: dict[str, Any]) -> dict[int, int]:
    """Change one of our nodes to its schema; returns the new place of each input that stays."""
    schema = SCHEMAS[node["type"]]
    before = {entry["name"]: entry for entry in node["inputs"]}
    widgets = [name for name, entry in before.items() if "widget" in entry]
    values = dict(zip(widgets, node["widgets_values"], strict=True))
    names = sorted(schema["inputs"], key=lambda name: schema["inputs"][name]["optional"])
    node["inputs"] = [_input(name, schema["inputs"][name], before.get(name, {}).get("link")) for name in names]
    node["widgets_values"] = [
        values.get(entry["name"], schema["inputs"][entry["name"]].get("default"))
        for entry in node["inputs"]
        if "widget" in entry
    ]
    for entry, kind, name in zip(node["outputs"], schema["outputs"].values(), schema["output_names"], strict=True):
        entry["name"], entry["type"] = name, kind
    for name in before.keys() - schema["inputs"].keys():
        print(f"  {node['type']}: dropped {name} = {values.get(name, before[name]['link'])}")
    return {place: names.index(name) for place, name in enumerate(before) if name in names}


def _input(name: str, entry: dict[str, Any], link: int | None) -> dict[str, Any]:
    widget = {"widget": {"name": name}} if "default" in entry or "options" in entry else {}
    shape = {"shape": OPTIONAL_SHAPE} if entry["optional"] else {}
    return {"name": name, "type": entry["type"], **widget, "link": link, **shape}


def refresh_graph(graph: dict[str, Any]) -> None:
    """Change our nodes in a graph and in its subgraphs, and the places where their links end."""
    for part in (graph, *graph.get("definitions", {}).get("subgraphs", [])):
        places = {node["id"]: refresh(node) for node in part["nodes"] if node["type"] in SCHEMAS}
        for link in part["links"]:
            target, slot = ("target_id", "target_slot") if isinstance(link, dict) else (3, 4)
            if link[target] in places:
                link[slot] = places[link[target]][link[slot]]


def main() -> None:
    sys.path.insert(0, str(TESTS / "nodes"))
    from test_workflows import to_api

    for path in sorted((ROOT / "workflows").glob("*.json")):
        print(path.name)
        graph = json.loads(path.read_text(encoding="utf-8"))
        refresh_graph(graph)
        _write(path, graph)
        _write(TESTS / "workflows_api" / path.name, to_api(graph))


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
