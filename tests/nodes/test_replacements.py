"""Graphs of other packs open with our nodes in place; how the page and the server do it: test_comfy_replacements.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest


def registered(inside: Any) -> dict[str, Any]:
    """Old id -> what the host is told, after registering anew."""
    from comfy_api.latest import ComfyAPI

    ComfyAPI.node_replacement.registered.clear()
    asyncio.run(inside("nodes.replacements").register_replacements())
    return {old: entry for (old, _new), entry in ComfyAPI.node_replacement.registered.items()}


def test_the_nodes_of_the_community_pack_are_replaced(nodes: dict[str, type], inside: Any) -> None:
    found = {old: entry.new_node_id for old, entry in registered(inside).items()}
    assert found == {
        "SDPoseOODLoader": "SDPoseAnnotatorLoadModel", "NewSDPoseOODLoader": "SDPoseAnnotatorLoadModel",
        "SDPoseOODProcessor": "SDPoseAnnotator", "NewSDPoseOODProcessor": "SDPoseAnnotator",
    }  # fmt: skip


def test_dwpose_is_replaced_only_where_the_owner_asked(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "DWPreprocessor" not in registered(inside)
    monkeypatch.setenv("SDPOSE_REPLACE_DWPOSE", "1")
    assert registered(inside)["DWPreprocessor"].new_node_id == "SDPoseAnnotator"


def test_every_input_and_output_that_is_named_exists(
    nodes: dict[str, type], inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDPOSE_REPLACE_DWPOSE", "1")
    for old, entry in registered(inside).items():
        schema = nodes[entry.new_node_id].define_schema()
        ours = {own.id: own for own in schema.inputs}
        named = [mapping["new_id"] for mapping in entry.input_mapping]
        assert len(set(named)) == len(named) and set(named) <= set(ours), old
        required = {own.id for own in schema.inputs if not own.optional}
        assert required - set(named) == ({"model"} if entry.new_node_id.endswith("LoadModel") else set()), old
        for mapping in entry.output_mapping:
            assert schema.outputs[mapping["new_idx"]].id in ("pose_map", "keypoints", "model")


def test_a_host_that_cannot_replace_nodes_still_gets_the_pack(inside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy_api.latest

    monkeypatch.delattr(comfy_api.latest, "ComfyAPI")
    asyncio.run(inside("nodes.replacements").register_replacements())
