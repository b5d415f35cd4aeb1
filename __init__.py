"""SDPose Annotator: entry point for ComfyUI, which imports this folder by its path."""

from .nodes import WEB_DIRECTORY, comfy_entrypoint

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
