"""ComfyUI's model folders, and the routes that serve the help pages and the example graphs."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from ...sdpose_core.errors import InputError
from ...sdpose_core.files import why_missing
from ...sdpose_core.names import is_hidden, natural_key, path_inside

log = logging.getLogger(__name__)

FOLDER = "sdpose"
WEIGHT_FOLDERS = (FOLDER, "checkpoints", "diffusion_models")
WEIGHT_SUFFIXES = (".safetensors", ".onnx")
PLACES = ("input", "output")

_GIVEN_OUT: dict[Path, int] = {}
"""The last number of each set of files in this process."""

OLDEST_COMFYUI = (0, 26)
"""The oldest version that the tests ran in; the same as `requires-comfyui` in pyproject.toml."""


def warn_if_old() -> None:
    """Log one line if ComfyUI is older than every version that the pack was tested with."""
    try:
        from comfyui_version import __version__
    except ImportError:
        return
    numbers = tuple(int(part) for part in __version__.split(".")[:2] if part.isdigit())
    if numbers < OLDEST_COMFYUI:
        wanted = ".".join(map(str, OLDEST_COMFYUI))
        log.warning(
            "SDPose Annotator is tested with ComfyUI %s and newer, this is %s: please update", wanted, __version__
        )


def register_folder() -> None:
    """Register models/sdpose with ComfyUI, for weights and ONNX detectors; extra_model_paths.yaml may add folders."""
    import folder_paths

    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    folder_paths.folder_names_and_paths[FOLDER][1].update(WEIGHT_SUFFIXES)


def weight_files(suffix: str = ".safetensors", folders: Sequence[str] = WEIGHT_FOLDERS) -> list[str]:
    """Names of the weight files (and folders in diffusers' layout), those with "sdpose" in their name first."""
    import folder_paths

    listed = (name for folder in folders for name in folder_paths.get_filename_list(folder))
    names = {name for name in listed if name.lower().endswith(suffix) and not is_hidden(Path(name))}
    if suffix == ".safetensors":
        whole = {path.name for path in _diffusers_folders()}
        names = whole | {name for name in names if len(parts := Path(name).parts) == 1 or parts[0] not in whole}
    return sorted(names, key=lambda name: ("sdpose" not in name.lower(), natural_key(name)))


def _diffusers_folders() -> list[Path]:
    import folder_paths

    roots = [Path(root) for root in folder_paths.get_folder_paths(FOLDER)]
    return [path for root in roots if root.is_dir() for path in root.iterdir() if (path / "unet").is_dir()]


def transformers_folders() -> list[str]:
    """Names of the folders in models/sdpose that hold a transformers model, such as RT-DETR or D-FINE."""
    import folder_paths

    roots = [Path(root) for root in folder_paths.get_folder_paths(FOLDER)]
    found = {path.parent.name for root in roots if root.is_dir() for path in root.glob("*/config.json")}
    return sorted(found - {path.name for path in _diffusers_folders()}, key=natural_key)


def weight_path(name: str) -> Path:
    """The path of the file or folder that `weight_files` lists as `name`.

    Raises `InputError` if it is gone, or for a name that leads elsewhere, as a value that comes by wire may.
    """
    import folder_paths

    path_inside(weights_folder(), name := str(name), "model")
    for folder in WEIGHT_FOLDERS:
        found = folder_paths.get_full_path(folder, name)
        if found:
            return Path(found)
    for root in folder_paths.get_folder_paths(FOLDER):
        if (Path(root) / name).is_dir():
            return Path(root) / name
    raise InputError(f"{name!r} is no longer in models/{', models/'.join(WEIGHT_FOLDERS)}: choose another model")


def weight_roots() -> list[Path]:
    """The folders in which ComfyUI looks for weights."""
    import folder_paths

    return [Path(root) for folder in WEIGHT_FOLDERS for root in folder_paths.get_folder_paths(folder)]


def weights_folder() -> Path:
    """models/sdpose (the first of its folders), where downloads go."""
    import folder_paths

    return Path(folder_paths.get_folder_paths(FOLDER)[0])


def annotated_path(text: str) -> Path:
    """The path of `NAME [input]` or `NAME [output]` (without either: of the input folder).

    The value may come by wire: `InputError` unless it is there, inside that folder, as is what a link in it leads to.
    """
    import folder_paths

    name, place = next(
        ((text.removesuffix(f" [{place}]"), place) for place in PLACES if text.endswith(f" [{place}]")),
        (text, PLACES[0]),
    )
    path = path_inside(Path(folder_paths.get_directory_by_type(place)), name, "file")
    if reason := why_missing(path):
        raise InputError(f"file {text[:80]!r}: {reason} in ComfyUI's {place} folder: press R and choose another")
    return path


def save_path(prefix: str, size: tuple[int, int]) -> tuple[Path, str, int]:
    """Where ComfyUI saves files of this prefix: folder, name, and the next free number. Makes the folder.

    Raises `InputError` for a prefix that leads out of ComfyUI's output folder, or that no file can have.
    """
    import folder_paths

    output = folder_paths.get_output_directory()
    prefix = prefix.strip() or "SDPose"
    path_inside(Path(output), prefix, "filename_prefix")
    folder, name, counter, _, _ = folder_paths.get_save_image_path(prefix, output, *size)
    return Path(folder), name, unused_number(Path(folder) / name, counter)


def unused_number(base: Path, number: int) -> int:
    """`number`, or one above all that were given out for these files: ComfyUI shows results of earlier runs again, and
    what they were called must not become the name of other files after they are removed."""
    _GIVEN_OUT[base] = max(number, _GIVEN_OUT.get(base, 0) + 1)
    return _GIVEN_OUT[base]


def serve_help_and_graphs() -> None:
    """Serve `web/` and `workflows/` under the addresses where ComfyUI's routes never match.

    They do not match if the folder of the pack has a name that must be quoted in an address, for example one with a
    space. The web page also cuts the name at its first dot when it asks for docs/NODE/LANGUAGE.md and docs/NODE.md.
    """
    pack = Path(__file__).parents[2]
    quoted = {pack.name} if quote(pack.name) != pack.name else set()
    short = pack.name.split(".")[0]
    free = {short} if short and not (pack.parent / short).exists() else set()
    with contextlib.suppress(ImportError, AttributeError):
        _serve("extensions", quoted | free, pack / "web")
        _serve("workflow_templates", quoted, pack / "workflows")


def _serve(prefix: str, names: set[str], folder: Path) -> None:
    """Answer /prefix/NAME/FILE (and /api/prefix/NAME/FILE) with the files in `folder`, for each of the names."""
    from aiohttp import web
    from server import PromptServer

    async def file(request: web.Request) -> web.StreamResponse:
        root = folder.resolve()
        path = (root / request.match_info["path"]).resolve()
        return web.FileResponse(path) if path.is_relative_to(root) and path.is_file() else web.HTTPNotFound()

    if names:
        pattern = "|".join(map(re.escape, sorted(names)))
        PromptServer.instance.routes.get(f"/{prefix}/{{pack:{pattern}}}/{{path:.*}}")(file)


def file_stamp(path: Path | None) -> tuple[float, int] | None:
    """Time and size of a file, to notice that it was replaced.

    For a folder: the latest time and the total size of its files, and of those in its folders, as weights have them. It
    may be any folder of the user's: no further folders are entered.
    """
    if path is None:
        return None
    patterns = ("*", "*/*.safetensors", "*/*.json")
    found = [file for pattern in patterns for file in path.glob(pattern)] if path.is_dir() else [path]
    files = [file for file in found if os.path.isfile(file)]
    stats = [file.stat() for file in files]
    return max((stat.st_mtime for stat in stats), default=0.0), sum(stat.st_size for stat in stats)
