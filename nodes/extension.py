"""The list of all nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io


class SDPoseAnnotatorExtension(ComfyExtension):
    """What ComfyUI asks for our nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All node classes, in the order of the menu."""
        return []
