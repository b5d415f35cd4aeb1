"""The ComfyUI side of the pack (V3 API). Importing this loads nothing but the list of nodes."""

from __future__ import annotations

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """Called once by ComfyUI: returns the extension that lists the nodes."""
    from .extension import SDPoseAnnotatorExtension

    return SDPoseAnnotatorExtension()
