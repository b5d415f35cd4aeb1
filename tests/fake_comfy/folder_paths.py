"""Stand-in for `folder_paths`: folders below `base`, which a test sets."""

from __future__ import annotations

import os
from pathlib import Path

base = "/nonexistent"
models_dir = os.path.join(base, "models")
folder_names_and_paths: dict[str, tuple[list[str], set[str]]] = {}


def use(folder: Path) -> None:
    """Start afresh with a ComfyUI in `folder`."""
    global base, models_dir
    base, models_dir = str(folder), str(folder / "models")
    folder_names_and_paths.clear()
    for name in ("checkpoints", "diffusion_models"):
        folder_names_and_paths[name] = ([os.path.join(models_dir, name)], {".safetensors", ".ckpt"})
    for name in ("input", "output", "models/checkpoints", "models/diffusion_models", "models/sdpose"):
        (folder / name).mkdir(parents=True, exist_ok=True)


def add_model_folder_path(name: str, path: str) -> None:
    paths, _ = folder_names_and_paths.setdefault(name, ([], set()))
    if path not in paths:
        paths.append(path)


def get_folder_paths(name: str) -> list[str]:
    return list(folder_names_and_paths[name][0])


def get_filename_list(name: str) -> list[str]:
    paths, suffixes = folder_names_and_paths[name]
    files = [(path, file) for path in paths for file in Path(path).rglob("*") if file.is_file()]
    return sorted({str(file.relative_to(path)) for path, file in files if file.suffix in suffixes})


def get_full_path(name: str, file: str) -> str | None:
    found = (os.path.join(path, file) for path in folder_names_and_paths[name][0])
    return next((path for path in found if os.path.isfile(path)), None)


def get_directory_by_type(kind: str) -> str:
    return os.path.join(base, kind)


def get_output_directory() -> str:
    return get_directory_by_type("output")


def get_input_directory() -> str:
    return get_directory_by_type("input")


def get_temp_directory() -> str:
    return get_directory_by_type("temp")


def get_system_user_directory(name: str) -> str:
    return os.path.join(base, "user", f"__{name}")


def get_annotated_filepath(name: str) -> str:
    for kind in ("input", "output"):
        if name.endswith(f"[{kind}]"):
            return os.path.join(get_directory_by_type(kind), name[: -len(kind) - 3])
    return os.path.join(get_directory_by_type("input"), name)


def get_save_image_path(prefix: str, output: str, width: int = 0, height: int = 0) -> tuple[str, str, int, str, str]:
    folder = os.path.abspath(os.path.join(output, os.path.dirname(prefix)))
    if os.path.commonpath((output, folder)) != output:
        raise Exception("Saving image outside the output folder is not allowed.")
    os.makedirs(folder, exist_ok=True)
    name = os.path.basename(prefix)
    taken = [int(entry[len(name) + 1 :].split("_")[0]) for entry in os.listdir(folder) if entry.startswith(f"{name}_")]
    return folder, name, max(taken, default=0) + 1, os.path.dirname(prefix), prefix
