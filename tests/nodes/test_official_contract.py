"""Our sockets against the official SDPose graphs and node docs: what core's nodes send and take, ours take and send.

`golden/official_sdpose_templates.json` holds the facts (node ids, names and types of sockets, settings); its `origin`
says of which packages of PyPI. `golden/make_official_contract.py` extracts them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from paths import GOLDEN, ROOT

OFFICIAL: dict[str, Any] = json.loads((GOLDEN / "official_sdpose_templates.json").read_text(encoding="utf-8"))
SCHEMAS: dict[str, Any] = json.loads((GOLDEN / "node_schemas.json").read_text(encoding="utf-8"))
TEMPLATES = OFFICIAL["templates"]
GRAPHS = sorted((ROOT / "workflows").glob("*.json"))
STAND_INS = {
    "SDPoseKeypointExtractor": "SDPoseAnnotatorEstimate",
    "SDPoseDrawKeypoints": "SDPoseAnnotatorDraw",
    "RTDETR_detect": "SDPoseAnnotatorDetect",
}
WIRES = {"IMAGE", "BOUNDING_BOX", "POSE_KEYPOINT"}
"""What travels between core's nodes and ours; MODEL and VAE are core's own."""
BOX = {"x": 1, "y": 2, "width": 3, "height": 4, "label": "person", "score": 0.5}


def types_of(name: str) -> tuple[set[str], set[str]]:
    """The types that a node of ours takes and gives."""
    taken = {kind for entry in SCHEMAS[name]["inputs"].values() for kind in entry["type"].split(",")}
    return taken, set(SCHEMAS[name]["outputs"].values())


def test_no_id_of_ours_is_an_official_one() -> None:
    official = {node for template in TEMPLATES.values() for node in template["nodes"]} | set(OFFICIAL["docs"])
    assert {*STAND_INS, "SDPoseFaceBBoxes"} <= official
    assert not official & set(SCHEMAS)


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_official_graph_goes_on_when_a_node_of_ours_takes_a_place(template: str) -> None:
    """Each wire into or out of a node that ours stands in for has a socket of its type on our node."""
    seen = 0
    for source, _, target, _, kind in TEMPLATES[template]["wires"]:
        if kind in WIRES:
            seen += 1
            assert source not in STAND_INS or kind in types_of(STAND_INS[source])[1], (source, kind)
            assert target not in STAND_INS or kind in types_of(STAND_INS[target])[0], (target, kind)
    assert seen


@pytest.mark.parametrize("official", STAND_INS)
def test_our_node_has_the_documented_sockets_of_the_official_one(official: str) -> None:
    documented = OFFICIAL["docs"][official]
    taken, given = types_of(STAND_INS[official])
    assert set(documented["inputs"].values()) & WIRES <= taken
    assert set(documented["outputs"].values()) & WIRES <= given
    assert set(documented["inputs"].values()) & WIRES


def official_nodes_of(path: Path) -> list[tuple[str, dict[str, str], dict[str, str]]]:
    """(type, inputs, outputs) of the nodes of a graph of ours that an official graph has too."""
    known = {kind for template in TEMPLATES.values() for kind in template["nodes"]}
    nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
    return [
        (node["type"], *({entry["name"]: entry["type"] for entry in node[side]} for side in ("inputs", "outputs")))
        for node in nodes
        if node["type"] in known
    ]


def test_core_nodes_in_our_graphs_have_the_sockets_they_have_in_official_ones() -> None:
    """In the order of the official graphs; core may have added sockets since."""
    expected = {kind: entry for template in TEMPLATES.values() for kind, entry in template["nodes"].items()}
    found = [node for path in GRAPHS for node in official_nodes_of(path)]
    assert {"SDPoseKeypointExtractor", "RTDETR_detect"} <= {kind for kind, _, _ in found}
    for kind, inputs, outputs in found:
        assert expected[kind]["inputs"].items() <= inputs.items(), kind
        assert list(expected[kind]["outputs"].values()) == list(outputs.values()), kind


def test_the_official_checkpoint_is_the_one_we_download(inside: Any) -> None:
    [name] = {name for template in TEMPLATES.values() for name in template["checkpoints"]}
    assert inside("sdpose_core.checkpoints.published").KNOWN["wholebody-comfy"].entry == name


@pytest.mark.parametrize("boxes", [BOX, [BOX], [[BOX], [BOX]]], ids=["dict", "flat list", "list of lists"])
def test_the_shapes_of_boxes_that_the_docs_name_are_read(inside: Any, boxes: Any) -> None:
    read = inside("nodes.sockets.boxes").boxes_from_socket(boxes, 2, (64, 64))
    assert [own.boxes.tolist() for own in read.people] == [[[1, 2, 4, 6, 0.5]]] * 2
