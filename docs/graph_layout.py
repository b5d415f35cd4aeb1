"""ComfyUI graphs from a short description: nodes by their input names, in columns, written as the page writes them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR")
MUTED = 2
WIDTH, COLUMN, GAP, TITLE = 340, 420, 60, 30
LEFT, TOP = 60, 140
SMALL, LARGE = (20, 24, 80), (26, 38, 150)
"""Heights of a socket, a widget and a text in pixels: classic, and at most in any rendering."""
IMAGE, VIDEO, INFO = 320, 540, 130
"""Room for what a node shows after a run."""
SHOWN = {
    "SaveImage": IMAGE, "PreviewImage": IMAGE, "SaveVideo": VIDEO, "PreviewAny": INFO,
    **{
        f"SDPoseAnnotator{name}": INFO + more
        for more, names in (
            (IMAGE, ("",)), (VIDEO, ("Example", "Draw", "Video", "AnimateAnyone", "FaceCrops")),
            (0, ("LoadModel", "Detect", "Estimate", "SelectPerson", "Filter", "Track", "Smooth", "Review", "Retarget",
                 "Export", "Save", "Load")),
        )
        for name in names
    },
}  # fmt: skip
NOTE_COLORS = {"color": "#432", "bgcolor": "#653"}
INPUT_NODE, OUTPUT_NODE = -10, -20
"""Ids of a subgraph's own ends."""


class Wire(NamedTuple):
    """An output of a node."""

    node: Node
    slot: int

    @property
    def type(self) -> str:
        return self.node.outputs[self.slot][1]


@dataclass(eq=False)
class Node:
    """A node: what it is called, its sockets, and where its inputs come from."""

    id: int
    kind: str
    inputs: list[tuple[str, Any, dict[str, Any]]]
    outputs: list[tuple[str, str]]
    values: dict[str, Any]
    wires: dict[str, Wire]
    optional: set[str]
    title: str | None = None
    models: list[dict[str, str]] = field(default_factory=list)
    mode: int = 0
    pos: tuple[int, int] = (0, 0)

    def __getitem__(self, output: str) -> Wire:
        """The output of this name, of which what stands in parentheses may be left out."""
        return Wire(self, [name.partition(" (")[0] for name, _ in self.outputs].index(output))

    @property
    def widgets(self) -> list[str]:
        return [name for name, kind, settings in self.inputs if is_widget(kind, settings)]

    @property
    def size(self) -> tuple[int, int]:
        """(w, h) without the title, in the classic rendering, with advanced widgets folded unless one is changed."""
        changed = any(self.values[name] != default(kind, more) for name, kind, more in self._advanced())
        return WIDTH, self._height(*SMALL, folded=0 if changed else max(0, len(self._advanced()) - 1))

    @property
    def room(self) -> int:
        """Height that the node may need after a run, with its title and everything unfolded; where a pack is missing,
        its nodes say so."""
        return TITLE + self._height(*LARGE) + SHOWN.get(self.kind, INFO if self.kind.startswith("[") else 0)

    def _advanced(self) -> list[tuple[str, Any, dict[str, Any]]]:
        return [entry for entry in self.inputs if is_widget(*entry[1:]) and entry[2].get("advanced")]

    def _height(self, slot: int, widget: int, text: int, *, folded: int = 0) -> int:
        texts = sum(bool(settings.get("multiline")) for _, _, settings in self.inputs)
        slots = max(len(self.inputs) - len(self.widgets), len(self.outputs))
        return slot * slots + widget * (len(self.widgets) - folded) + text * texts + 20

    def api(self) -> dict[str, Any]:
        """The node as a prompt has it."""
        wired = {name: [str(wire.node.id), wire.slot] for name, wire in self.wires.items()}
        in_order = {name: wired.get(name, self.values.get(name)) for name, _, _ in self.inputs}
        return {"class_type": self.kind, "inputs": {name: each for name, each in in_order.items() if each is not None}}


def is_widget(kind: Any, settings: dict[str, Any]) -> bool:
    return not settings.get("forceInput") and (isinstance(kind, list) or kind in WIDGETS)


def type_name(kind: Any) -> str:
    """Older nodes declare a menu by its list of choices."""
    return "COMBO" if isinstance(kind, list) else kind


def default(kind: Any, settings: dict[str, Any]) -> Any:
    options = kind if isinstance(kind, list) else settings.get("options")
    if "default" in settings or not options:
        return settings.get("default", "")
    return options[0]


class Graph:
    """Nodes with links, placed in bands of columns; `schemas` is what a ComfyUI answers to /object_info."""

    def __init__(self, name: str, schemas: dict[str, Any], offered: dict[str, list[dict[str, str]]]) -> None:
        self.name, self.schemas, self.offered = name, schemas, offered
        self.nodes: list[Node] = []
        self.groups: list[dict[str, Any]] = []
        self._bottom = TOP

    def add(self, kind: str, *, title: str | None = None, **inputs: Any) -> Node:
        """A node with the defaults of its schema for what is not given. Raises `KeyError` for an unknown input."""
        schema = self.schemas[kind]
        groups = {group: schema["input"].get(group, {}) for group in ("required", "optional")}
        entries = [
            (name, entry[0], (entry[1:] or [{}])[0]) for group in groups.values() for name, entry in group.items()
        ]
        unknown = set(inputs) - {name for name, _, _ in entries}
        if unknown:
            raise KeyError(f"{kind}: no input {', '.join(sorted(unknown))}; it has {[name for name, _, _ in entries]}")
        wires = {name: value for name, value in inputs.items() if isinstance(value, Wire)}
        values = {name: default(each, settings) for name, each, settings in entries if is_widget(each, settings)}
        values |= {name: value for name, value in inputs.items() if name not in wires}
        outputs = list(zip(schema["output_name"], map(type_name, schema["output"]), strict=True))
        models = [model for value in [kind, *values.values()] for model in self.offered.get(str(value), [])]
        node = Node(len(self.nodes) + 1, kind, entries, outputs, values, wires, set(groups["optional"]), title, models)
        self.nodes.append(node)
        return node

    def place(self, *columns: Sequence[Node], title: str = "", muted: bool = False) -> None:
        """Put nodes in columns below those that are placed, with a title around them."""
        top = self._bottom + (2 * GAP if self.groups or self._bottom > TOP else 0)
        for place, column in enumerate(columns):
            y = top
            for node in column:
                node.pos, node.mode = (LEFT + place * COLUMN, y), MUTED if muted else 0
                y += node.room + GAP
            self._bottom = max(self._bottom, y - GAP)
        if title:
            wide = (len(columns) - 1) * COLUMN + WIDTH
            box = [LEFT - 30, top - 100, wide + 60, self._bottom - top + 140]
            self.groups.append({"id": len(self.groups) + 1, "title": title, "bounding": box, "flags": {}})

    def note(self, text: str) -> dict[str, Any]:
        """A note above everything; the lines of a paragraph are joined."""
        text = "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in text.strip().split("\n\n"))
        height = 120 + 22 * sum(1 + len(line) // 95 for line in text.splitlines())
        pos = [LEFT, TOP - 150 - height]
        return {
            "id": len(self.nodes) + 1, "type": "MarkdownNote", "pos": pos, "size": [COLUMN + WIDTH, height],
            "flags": {}, "order": 0, "mode": 0, "inputs": [], "outputs": [], "title": "Read me", "properties": {},
            "widgets_values": [text], **NOTE_COLORS,
        }  # fmt: skip

    def links(self) -> list[tuple[int, Wire, Node, int]]:
        """(number, from, to, input's place) of each link."""
        ends = [
            (wire, node, place)
            for node in self.nodes
            for place, (name, _, _) in enumerate(node.inputs)
            if (wire := node.wires.get(name))
        ]
        return [(number, *end) for number, end in enumerate(ends, 1)]

    def ui_nodes(self, more: Iterable[tuple[int, int, int, int, int]] = ()) -> list[dict[str, Any]]:
        """The nodes as the page writes them; `more` are links (number, from, slot, to, place) to a subgraph's ends."""
        links = [(number, wire.node.id, wire.slot, node.id, place) for number, wire, node, place in self.links()]
        links += more
        into = {(target, place): number for number, _, _, target, place in links}
        out: dict[tuple[int, int], list[int]] = {}
        for number, source, slot, _, _ in links:
            out.setdefault((source, slot), []).append(number)
        return [_ui_node(node, order, into, out) for order, node in enumerate(self.nodes)]

    def ui(self, note: str) -> dict[str, Any]:
        """The graph as the template browser opens it."""
        links = [
            [number, wire.node.id, wire.slot, node.id, place, wire.type] for number, wire, node, place in self.links()
        ]
        return _document(self.name, [*self.ui_nodes(), self.note(note)], links, groups=self.groups)

    def api(self) -> dict[str, Any]:
        """The graph as the page queues it."""
        active = [node for node in self.nodes if node.mode != MUTED]
        return {str(node.id): node.api() for node in active}

    def subgraph(
        self, description: str, inputs: dict[str, list[tuple[Node, str]]], outputs: dict[str, Wire]
    ) -> dict[str, Any]:
        """The graph folded into one node: which inputs of which nodes it has, and which outputs."""
        number = len(self.links())
        ins, outs, links, more = [], [], [_inner_link(*link) for link in self.links()], []
        for slot, (name, ends) in enumerate(inputs.items()):
            numbers = []
            for node, entry in ends:
                place = [each for each, _, _ in node.inputs].index(entry)
                kind = type_name(node.inputs[place][1])
                number += 1
                numbers.append(number)
                more.append((number, INPUT_NODE, slot, node.id, place))
                links.append(_link(number, INPUT_NODE, slot, node.id, place, kind))
            ins.append({"id": _uuid(self.name, "in", name), "name": name, "type": kind, "linkIds": numbers})
        for slot, (name, wire) in enumerate(outputs.items()):
            number += 1
            more.append((number, wire.node.id, wire.slot, OUTPUT_NODE, slot))
            links.append(_link(number, wire.node.id, wire.slot, OUTPUT_NODE, slot, wire.type))
            outs.append({"id": _uuid(self.name, "out", name), "name": name, "type": wire.type, "linkIds": [number]})
        right = max(node.pos[0] for node in self.nodes) + COLUMN
        promoted = {name: ends[0] for name, ends in inputs.items() if ends[0][1] in ends[0][0].widgets}
        definition = {
            "id": _uuid(self.name), "version": 1, "revision": 0, "config": {}, "name": self.name,
            "state": {"lastGroupId": 0, "lastNodeId": len(self.nodes), "lastLinkId": number, "lastRerouteId": 0},
            "inputNode": {"id": INPUT_NODE, "bounding": [LEFT - 260, TOP, 180, 40 + 20 * len(ins)]},
            "outputNode": {"id": OUTPUT_NODE, "bounding": [right, TOP, 180, 40 + 20 * len(outs)]},
            "inputs": ins, "outputs": outs, "widgets": [], "nodes": self.ui_nodes(more), "groups": [],
            "links": links, "extra": {}, "category": "SDPose Annotator", "description": description,
        }  # fmt: skip
        height = 60 + SMALL[0] * max(len(ins) - len(promoted), len(outs)) + SMALL[1] * len(promoted)
        node = {
            "id": 1, "type": definition["id"], "pos": [LEFT, TOP], "size": [WIDTH, height], "flags": {}, "order": 0,
            "mode": 0, "title": self.name, "widgets_values": [],
            "inputs": [
                {"name": each["name"], "type": each["type"], "link": None}
                | ({"widget": {"name": each["name"]}} if each["name"] in promoted else {})
                for each in ins
            ],
            "outputs": [{"name": each["name"], "type": each["type"], "links": None} for each in outs],
            "properties": {"proxyWidgets": [[str(node.id), entry] for node, entry in promoted.values()]},
        }  # fmt: skip
        return _document(self.name, [node], [], definitions={"subgraphs": [definition]})


def _ui_node(node: Node, order: int, into: dict, out: dict) -> dict[str, Any]:
    """One node as the page writes it; `into` and `out` are the numbers of the links at its sockets."""
    sockets = []
    for place, (name, kind, settings) in enumerate(node.inputs):
        entry: dict[str, Any] = {"name": name, "type": type_name(kind)}
        if is_widget(kind, settings):
            entry["widget"] = {"name": name}
        elif name in node.optional:
            entry["shape"] = 7
        sockets.append(entry | {"link": into.get((node.id, place))})
    values = []
    for name, kind, settings in node.inputs:
        if is_widget(kind, settings):
            values.append(node.values[name])
            values += ["fixed"] if settings.get("control_after_generate") else []
    pack = "sdpose-annotator" if node.kind.startswith("SDPose") and "Annotator" in node.kind else "comfy-core"
    properties = {"Node name for S&R": node.kind, "cnr_id": pack}
    title = {"title": node.title} if node.title else {}
    return {
        "id": node.id, "type": node.kind, "pos": list(node.pos), "size": list(node.size), "flags": {}, "order": order,
        "mode": node.mode, "inputs": sockets,
        "outputs": [
            {"name": name, "type": kind, "links": out.get((node.id, slot))}
            for slot, (name, kind) in enumerate(node.outputs)
        ],
        **title,
        "properties": properties | ({"models": node.models} if node.models else {}),
        "widgets_values": values,
    }  # fmt: skip


def _link(number: int, source: int, slot: int, target: int, place: int, kind: str) -> dict[str, Any]:
    """A link of a subgraph."""
    return {
        "id": number, "origin_id": source, "origin_slot": slot, "target_id": target, "target_slot": place, "type": kind
    }  # fmt: skip


def _inner_link(number: int, wire: Wire, node: Node, place: int) -> dict[str, Any]:
    return _link(number, wire.node.id, wire.slot, node.id, place, wire.type)


def _document(name: str, nodes: list, links: list, **more: Any) -> dict[str, Any]:
    numbers = [link[0] for link in links]
    return {
        "id": _uuid(name, "graph"), "revision": 0, "last_node_id": max(node["id"] for node in nodes),
        "last_link_id": max(numbers, default=0), "nodes": nodes, "links": links, "groups": [], "config": {},
        "extra": {"ds": {"scale": 0.6, "offset": [40, 420]}}, "version": 0.4, **more,
    }  # fmt: skip


def _uuid(*parts: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(("sdpose-annotator", *parts))))


def write(path: Path, graph: dict[str, Any]) -> None:
    path.write_text(json.dumps(graph, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
