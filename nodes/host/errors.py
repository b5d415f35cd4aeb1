"""Errors as ComfyUI's page shows them, in little room and to people who may not know the server's folders."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...sdpose_core.errors import SDPoseError
from .folders import WEIGHT_FOLDERS
from .input_paths import both_ways, open_folders

_COPY = r"(?:sdpose_\w{8}[/\\])?"
"""Folder of a video that was copied to ComfyUI's temporary folder."""


def readable(text: str) -> str:
    """The text with files named by their place in ComfyUI's folders, as users know them.

    A full path of another place at its beginning becomes the name of the file.
    """
    roots = "|".join(re.escape(root) for root in sorted(_roots(), key=len, reverse=True))
    text = re.sub(rf"(?<![\w.-])(?:{roots})[/\\]{_COPY}", "", text)
    head, colon, rest = text.partition(": ")
    return f"{Path(head).name if os.path.isabs(head) else head}{colon}{rest}"


def _roots() -> set[str]:
    """ComfyUI's folders of files and weights, and those that its owner allows, as written and where they lead."""
    import folder_paths

    weights = both_ways(root for kind in WEIGHT_FOLDERS for root in folder_paths.get_folder_paths(kind))
    found = open_folders() | weights
    return {root for root in found if root != os.path.dirname(root)}


def readable_error(error: SDPoseError) -> SDPoseError:
    """The same error for the page.

    Its class has the same name and base, in the one module that ComfyUI does not write in front of it.
    """
    kind = type(error)
    shown = type(kind.__name__, (kind,), {"__module__": "builtins"})(readable(str(error)))
    return shown.with_traceback(error.__traceback__)
