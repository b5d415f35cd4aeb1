"""The ComfyUI side of the pack (V3 API). Importing this loads nothing but the list of nodes."""

from __future__ import annotations

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """Called by ComfyUI once: returns the extension that lists our nodes."""
    from .extension import SDPoseAnnotatorExtension

    return SDPoseAnnotatorExtension()
