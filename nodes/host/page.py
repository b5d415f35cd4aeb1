"""What all nodes do for ComfyUI's page."""

from __future__ import annotations

import functools
from typing import Any

from comfy_api.latest import io

from ...sdpose_core.errors import SDPoseError
from .errors import readable_error


def for_page(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """The node, with errors that can be read, and a text that comes again with results that ComfyUI kept."""

    class Shown(node):
        @classmethod
        def define_schema(cls) -> io.Schema:
            schema = super().define_schema()
            schema.has_intermediate_output = True
            return schema

        @classmethod
        @functools.wraps(node.execute.__func__)
        def execute(cls, *values: Any, **inputs: Any) -> io.NodeOutput:
            try:
                return super().execute(*values, **inputs)
            except SDPoseError as error:
                raise readable_error(error) from None

    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(Shown, name, getattr(node, name))
    return Shown
