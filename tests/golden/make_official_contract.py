"""Makes official_sdpose_templates.json: sockets of the official SDPose graphs and node docs, from packages of PyPI.

    python make_official_contract.py SITE_PACKAGES

SITE_PACKAGES is where comfyui-workflow-templates-media-other and comfyui-embedded-docs are installed. Only names and
types are taken: of the nodes that deal with poses, boxes and their models, and of the wires between them.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

PACKAGES = ("comfyui-workflow-templates-media-other", "comfyui-embedded-docs")
NODES = re.compile(r"SDPose\w+|RTDETR_detect|DrawBBoxes|CropByBBoxes|CheckpointLoaderSimple|UNETLoader")
ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
TYPE = re.compile(r"\| ([A-Z][A-Z_,]+) (?=\|)")


def sockets(node: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Name -> type of a node's inputs and outputs, as a graph has them."""
    return {side: {entry["name"]: entry["type"] for entry in node.get(side, [])} for side in ("inputs", "outputs")}


def wires(graph: dict[str, Any]) -> list[list[str]]:
    """[source node, its output, target node, its input, type] of the wires between the nodes we care for."""
    nodes = {node["id"]: node for node in graph["nodes"] if NODES.fullmatch(node["type"])}
    found = []
    for link in graph["links"]:
        keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        _, source, output, target, entry, kind = link if isinstance(link, list) else (link[key] for key in keys)
        if source in nodes and target in nodes:
            names = nodes[source]["outputs"][output]["name"], nodes[target]["inputs"][entry]["name"]
            found.append([nodes[source]["type"], names[0], nodes[target]["type"], names[1], kind])
    return sorted(found)


def template(path: Path) -> dict[str, Any]:
    """The facts of one graph and its subgraphs."""
    graph = json.loads(path.read_text(encoding="utf-8"))
    graphs = [graph, *graph.get("definitions", {}).get("subgraphs", [])]
    nodes = [node for part in graphs for node in part["nodes"] if NODES.fullmatch(node["type"])]
    loaders = [node for node in nodes if node["type"] == "CheckpointLoaderSimple"]
    return {
        "nodes": {node["type"]: sockets(node) for node in nodes},
        "wires": [wire for part in graphs for wire in wires(part)],
        "checkpoints": sorted({node["widgets_values"][0] for node in loaders}),
    }


def documented(page: Path) -> dict[str, dict[str, str]]:
    """Name -> type of a node's inputs and outputs, as its page's tables have them (which write BOUNDINGBOX)."""
    parts = re.split(r"^## (Inputs|Outputs)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        side.lower(): {
            ROW.match(line)[1]: TYPE.search(line)[1].replace("BOUNDINGBOX", "BOUNDING_BOX")
            for line in text.splitlines()
            if ROW.match(line)
        }
        for side, text in zip(parts[::2], parts[1::2], strict=True)
    }


def main(site_packages: Path) -> None:
    graphs = sorted((site_packages / "comfyui_workflow_templates_media_other/templates").glob("*sdpose*.json"))
    pages = sorted((site_packages / "comfyui_embedded_docs/docs").glob("*/en.md"))
    versions = {found.name: found.version for found in distributions(path=[str(site_packages)])}
    content = {
        "origin": {name: versions[name] for name in PACKAGES},
        "templates": {path.stem: template(path) for path in graphs},
        "docs": {page.parent.name: documented(page) for page in pages if NODES.fullmatch(page.parent.name)},
    }
    path = Path(__file__).with_name("official_sdpose_templates.json")
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
