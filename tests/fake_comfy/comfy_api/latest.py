"""Stand-in for `comfy_api.latest`; see the README beside this folder for what it does not cover."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace
from typing import Any


class Input:
    """Any input: keeps what it was declared with."""

    io_type = ""

    def __init__(self, id: str, *, optional: bool = False, tooltip: str | None = None, **settings: Any) -> None:
        self.id, self.optional, self.tooltip, self.settings = id, optional, tooltip, settings
        self.default = settings.get("default")

    def get_io_type(self) -> str:
        return self.io_type


class Output:
    """Any output."""

    io_type = ""

    def __init__(
        self, id: str, *, display_name: str | None = None, tooltip: str | None = None, is_output_list: bool = False
    ) -> None:
        self.id, self.display_name, self.tooltip = id, display_name or id, tooltip
        self.is_output_list = is_output_list


def Custom(io_type: str) -> type:
    """A type of sockets."""
    inner = {"io_type": io_type}
    return type(
        io_type, (), {**inner, "Input": type("Input", (Input,), inner), "Output": type("Output", (Output,), inner)}
    )


class MultiType:
    """An input that takes several types."""

    class Input(Input):
        def __init__(self, id: str, types: list[type], **settings: Any) -> None:
            super().__init__(id, **settings)
            self.io_type = ",".join(dict.fromkeys(kind.io_type for kind in types))


class Hidden(str, Enum):
    unique_id = "UNIQUE_ID"


@dataclass
class Schema:
    """A node's declaration."""

    node_id: str
    display_name: str = ""
    category: str = ""
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    description: str = ""
    search_aliases: list[str] = field(default_factory=list)
    is_output_node: bool = False
    not_idempotent: bool = False
    has_intermediate_output: bool = False
    essentials_category: str | None = None

    def __post_init__(self) -> None:
        for what, entries in (("input", self.inputs), ("output", self.outputs)):
            ids = [entry.id for entry in entries]
            if len(set(ids)) != len(ids):
                raise ValueError(f"{self.node_id}: {what} ids are not unique: {ids}")


@dataclass
class NodeReplace:
    """What replaces a node of another pack."""

    new_node_id: str
    old_node_id: str
    old_widget_ids: list[str]
    input_mapping: list[dict[str, Any]]
    output_mapping: list[dict[str, int]]


class _NodeReplacement:
    """Keeps what is registered, as the server does: once for each pair of ids."""

    def __init__(self) -> None:
        self.registered: dict[tuple[str, str], NodeReplace] = {}

    async def register(self, node_replace: NodeReplace) -> None:
        self.registered.setdefault((node_replace.old_node_id, node_replace.new_node_id), node_replace)


class ComfyAPI:
    """The host's services; one for all who ask."""

    node_replacement = _NodeReplacement()


class ComfyNode:
    """Base of nodes; a test may put a value under `hidden`."""

    hidden = SimpleNamespace(unique_id="1")


class NodeOutput:
    """What `execute` returns."""

    def __init__(self, *args: Any, ui: Any = None) -> None:
        self.args, self.ui = args, ui


class ComfyExtension:
    """Base of a pack's extension."""

    async def on_load(self) -> None: ...


class PreviewImage:
    """The preview of a picture: keeps it."""

    def __init__(self, image: Any, cls: type | None = None) -> None:
        self.image = image

    def as_dict(self) -> dict[str, Any]:
        return {"images": list(self.image), "animated": (False,)}


_TYPES = {
    "Image": "IMAGE",
    "Mask": "MASK",
    "Boolean": "BOOLEAN",
    "Int": "INT",
    "Float": "FLOAT",
    "String": "STRING",
    "Combo": "COMBO",
    "Color": "COLOR",
    "BoundingBox": "BOUNDING_BOX",
    "Video": "VIDEO",
}
io = SimpleNamespace(
    **{name: Custom(io_type) for name, io_type in _TYPES.items()},
    Custom=Custom,
    MultiType=MultiType,
    Hidden=Hidden,
    Schema=Schema,
    ComfyNode=ComfyNode,
    NodeOutput=NodeOutput,
    NodeReplace=NodeReplace,
    Input=Input,
    Output=Output,
)
ui = SimpleNamespace(PreviewImage=PreviewImage)


class VideoFromFile:
    """A video file, or a window of one."""

    def __init__(self, file: Any, *, start_time: float = 0, duration: float = 0) -> None:
        self._file, self._window = file, (float(start_time), float(duration))

    def get_stream_source(self) -> Any:
        return self._file

    def get_active_trim_window(self) -> tuple[float, float]:
        return self._window

    def get_components(self) -> VideoComponents:
        raise NotImplementedError("decoding into memory is what the nodes must not do")


@dataclass
class VideoComponents:
    """Frames (T, H, W, 3), sound and frames per second."""

    images: Any
    audio: Any
    frame_rate: Any


class VideoFromComponents:
    """A video in memory."""

    def __init__(self, components: VideoComponents) -> None:
        self._components = components

    def get_active_trim_window(self) -> tuple[float, float]:
        return 0.0, 0.0

    def get_components(self) -> VideoComponents:
        return self._components


InputImpl = SimpleNamespace(VideoFromFile=VideoFromFile, VideoFromComponents=VideoFromComponents)
Types = SimpleNamespace(VideoComponents=VideoComponents)
