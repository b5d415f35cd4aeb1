"""What a case is: files made from a seed, a kind and a number, and the commands that read them."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .mutations import (
    Rng,
    damaged,
    damaged_chunks,
    damaged_json,
    damaged_lines,
    damaged_npz,
    damaged_tensors,
    damaged_toml,
    pick,
)
from .seeds import PREVIEW, VIDEO

Command = tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """An input and the commands that read it, in the folder of the case: IN is `in`, OUT is `out`.

    Attributes:
        what: how the input was changed.
        commands: program and arguments, run one after another.
        names: of the input, or of the option that does not fit it; an error must contain one of them.
        nobody: nobody can be in the results.
        people: at most so many people in a frame.
        expected: files that must exist in the end, whatever the rest of the input is.
    """

    what: str
    commands: tuple[Command, ...]
    names: tuple[str, ...]
    nobody: bool = False
    people: int | None = None
    expected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a case finds the seeds, and makes its files."""

    seeds: Path
    folder: Path

    def seed(self, kind: str, rng: Rng, pattern: str = "*") -> Path:
        """One of the seeds of a kind."""
        return pick(rng, sorted(path for path in (self.seeds / kind).rglob(pattern) if path.is_file()))

    def write(self, name: str, data: bytes) -> str:
        """Write an input; returns its path for a command."""
        path = self.folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return f"in/{name}"

    def copy(self, source: str, name: str) -> str:
        """Copy a file or folder of the seeds to a path in the folder of the case; returns the path."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (self.seeds / source).is_dir() else shutil.copyfile)(self.seeds / source, target)
        return name


def make_case(kind: str, number: int, seed: int, place: Place) -> Case:
    """Make the files of a case; the same bytes for the same kind, number and seed."""
    (place.folder / "in").mkdir(parents=True)
    return KINDS[kind][1](np.random.default_rng([seed, zlib.crc32(kind.encode()), number]), place)


def _bytes_of(seed: Path, rng: Rng, *, kept: float = 0.1) -> tuple[bytes, str]:
    data = seed.read_bytes()
    return (data, f"{seed.name} as it is") if rng.random() < kept else _named(seed, *_damage(data, rng))


def _damage(data: bytes, rng: Rng) -> tuple[bytes, str]:
    return (damaged_chunks if rng.random() < 0.35 else damaged)(data, rng)


def _named(seed: Path, data: bytes, what: str) -> tuple[bytes, str]:
    return data, f"{seed.name}: {what}"


def _suffix(rng: Rng, suffix: str, others: tuple[str, ...]) -> str:
    return pick(rng, others) if rng.random() < 0.15 else suffix


# --- pictures and videos ---------------------------------------------------------------------------------------------


def _claims_large(data: bytes, rng: Rng) -> bytes:
    """A PNG whose header states another size, with the right checksum."""
    sizes = ((60_000, 60_000), (0, 5), (2**31 - 1, 1), (13_000, 13_000), (1, 100_000), (64, 47))
    size = struct.pack(">II", *pick(rng, sizes))
    header = b"IHDR" + size + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def _pictures(rng: Rng, place: Place) -> Case:
    seed = place.seed("pictures", rng)
    data, what = _bytes_of(seed, rng, kept=0.6 if seed.stem == "solid" else 0.1)
    if seed.suffix == ".png" and rng.random() < 0.15:
        data, what = _claims_large(seed.read_bytes(), rng), f"{seed.name}: another size in the header"
    name = "x" + _suffix(
        rng, seed.suffix, (".png", ".jpg", ".gif", ".tiff", ".webp", ".avif", ".mp4", ".txt", "", ".eps")
    )
    path = place.write(name, data)
    if seed.stem == "solid":
        nobody = what.endswith("as it is")
        command = ("sdpose", "image", path, "-o", "out", "--model", "preview", "--if-nobody", "empty")
        return Case(what, (command,), (name,), nobody=nobody)
    poses = place.copy("npz/two.pose.npz", "in/p.pose.npz")
    ways: dict[str, Command] = {
        "image": ("image", path, "-o", "out", "--overlay", *PREVIEW),
        "size": ("image", path, "-o", "out", "--size", "40x32", "--fit", "crop", *PREVIEW),
        "video": ("video", path, "-o", "out", *VIDEO),
        "info": ("info", path, "--json"),
        "background": ("draw", poses, "--background", path, "-o", "out/d.mp4"),
        "reference": ("retarget", poses, "--to", path, "-o", "out/r.pose.npz", *PREVIEW),
        "mask": ("video", place.copy("videos/h264.mp4", "in/c.mp4"), "-o", "out", "--person", f"mask:{path}", *VIDEO),
    }  # fmt: skip
    if rng.random() < 0.2:
        place.copy("pictures/person.jpg", "in/good.jpg")
        return Case(what, (("sdpose", "image", "in", "-o", "out", *PREVIEW),), (name,), expected=("out/good.pose.npz",))
    way = pick(rng, ["image"] * 5 + ["size", "video", "info", "background", "reference", "mask"])
    return Case(what, (("sdpose", *ways[way]),), (name, "in/p.pose.npz") if way == "background" else (name,))


def _videos(rng: Rng, place: Place) -> Case:
    seed = place.seed("videos", rng)
    data, what = _bytes_of(seed, rng, kept=0.08)
    name = "x" + _suffix(rng, seed.suffix, (".mp4", ".mov", ".avi", ".gif", ".png", ".mkv", ".webp", ".bin"))
    path = place.write(name, data)
    way = pick(rng, ("video", "video", "video", "info", "batch", "background", "faces", "folder"))
    if way == "batch":
        place.copy("videos/h264.mp4", "in/good.mp4")
        return Case(what, (("sdpose", "batch", "in", "-o", "out", *VIDEO),), (name,), expected=("out/good.pose.npz",))
    if way == "folder":
        for n in range(3):
            place.copy("pictures/rgb.png", f"in/f/{n}.png")
        place.write("f/1.png", damaged((place.seeds / "pictures" / "rgb.png").read_bytes(), rng)[0])
        return Case("a damaged frame", (("sdpose", "video", "in/f", "-o", "out", *VIDEO),), ("1.png", "in/f"))
    poses = place.copy("npz/two.pose.npz", "in/p.pose.npz")
    ways: dict[str, Command] = {
        "video": ("video", path, "-o", "out", "--overlay", *VIDEO),
        "info": ("info", path, "--json"),
        "background": ("draw", poses, "--background", path, "-o", "out/d.mp4"),
        "faces": ("export", poses, "--to", "wan", "--video", path, "-o", "out"),
    }
    return Case(what, (("sdpose", *ways[way]),), (name, "p.pose.npz") if way in ("background", "faces") else (name,))


# --- poses -----------------------------------------------------------------------------------------------------------

_TARGETS = (
    "animate_anyone", "musepose", "mimicmotion", "unianimate", "wan", "openpose", "coco", "controlnet", "scail2",
)  # fmt: skip


def _pose_commands(path: str, rng: Rng, *options: str) -> tuple[Command, ...]:
    info = ("sdpose", "info", path, "--json", *options)
    ways: dict[str, Command] = {
        "frames": ("draw", path, "-o", "out/frames", "--size", "40x32", *options),
        "video": ("draw", path, "-o", "out/d.mp4", *options),
        "retarget": ("retarget", path, "--to", "in/good.pose.npz", "-o", "out/r.pose.npz", *options),
        "reference": ("retarget", "in/good.pose.npz", "--to", path, "-o", "out/r.pose.npz", *options),
        "export": ("export", path, "--to", pick(rng, _TARGETS), "-o", "out", *options),
    }
    return info, ("sdpose", *ways[pick(rng, ways)])


def _npz(rng: Rng, place: Place) -> Case:
    seed = place.seed("npz", rng)
    place.copy("npz/two.pose.npz", "in/good.pose.npz")
    if rng.random() < 0.2:
        data, what = damaged(seed.read_bytes(), rng)
    else:
        with np.load(seed) as file:
            data, what = damaged_npz({name: file[name] for name in file.files}, rng)
    path = place.write("x.pose.npz", data)
    return Case(f"{seed.name}: {what}", _pose_commands(path, rng), ("x.pose.npz", "the sequence is"))


def _json(rng: Rng, place: Place) -> Case:
    seed = place.seed("poses", rng, "*.json")
    place.copy("npz/two.pose.npz", "in/good.pose.npz")
    data, what = damaged_json(json.loads(seed.read_text()), rng)
    canvas = ("--canvas", "64x48") if rng.random() < 0.8 else ()
    if seed.name.startswith("two_0"):
        place.copy("poses/openpose/two_openpose", "in/x")
        place.write(f"x/{seed.name}", data)
        return Case(f"{seed.name}: {what}", _pose_commands("in/x", rng, *canvas), ("in/x", seed.name))
    path = place.write("x.json", data)
    return Case(f"{seed.name}: {what}", _pose_commands(path, rng, *canvas), ("x.json",))


# --- boxes, COCO, predictions ----------------------------------------------------------------------------------------


def _boxes(rng: Rng, place: Place) -> Case:
    seed = place.seed("boxes", rng)
    if seed.stem == "nobody":
        data, what = seed.read_bytes(), "as it is"
    else:
        data, what = damaged_json(json.loads(seed.read_text()), rng)
    people = 2 if what == "" else None
    path = place.write("x.json", data)
    more = ("-o", "out", "--boxes", path, *PREVIEW)
    if seed.stem in ("frames", "list") and rng.random() < 0.5:
        ids = ("--trust-ids",) if rng.random() < 0.5 else ()
        command: Command = ("video", place.copy("videos/h264.mp4", "in/a.mp4"), "--chunk", "2", *ids, *more)
    else:
        command = ("image", place.copy("pictures/person.jpg", "in/a.png"), "--if-nobody", "empty", *more)
    names, nobody = ("x.json", "trust_ids"), seed.stem == "nobody"
    return Case(f"{seed.name}: {what}", (("sdpose", *command),), names, nobody=nobody, people=people)


def _coco(rng: Rng, place: Place) -> Case:
    content = json.loads((place.seeds / "coco" / "annotations.json").read_text())
    data, what = damaged_json(content, rng)
    path = place.write("x.json", data)
    for n in (1, 2):
        place.copy("pictures/rgb.png", f"in/images/{n}.png")
    results = place.copy(f"coco/{pick(rng, ('results', 'ours'))}.json", "in/p.json")
    score = ("evaluate", "--predictions", results, "--annotations", path, "--out", "out/r.json")
    ways: dict[str, Command] = {
        "score": score,
        "own points": (*score, "--keypoint-set", "annotations"),
        "boxes": ("sdpose", "image", "in/images/1.png", "--boxes", path, "-o", "out", *PREVIEW),
        "train": ("people", path, "in/images"),
    }  # fmt: skip
    return Case(what, (ways[pick(rng, ways)],), ("x.json", "annotations", "p.json"))


def _predictions(rng: Rng, place: Place) -> Case:
    seed = pick(rng, ("results", "ours"))
    data, what = damaged_json(json.loads((place.seeds / "coco" / f"{seed}.json").read_text()), rng)
    path = place.write("x.json", data)
    annotations = place.copy("coco/annotations.json", "in/a.json")
    more = ("--nms", pick(rng, ("oks", "soft", "none"))) if rng.random() < 0.5 else ()
    command = ("evaluate", "--predictions", path, "--annotations", annotations, "--out", "out/r.json", *more)
    return Case(f"{seed}: {what}", (command,), ("x.json",))


def _recipes(rng: Rng, place: Place) -> Case:
    seed = place.seed("recipes", rng)
    data, what = damaged_toml(seed.read_text(), rng)
    path = place.write("x.toml", data)
    program = "ablation" if "abl" in seed.name else "points" if seed.stem == "points" else "recipe"
    for name in ("body", "synthetic_cpu", "wholebody", "debug_cpu"):
        place.copy(f"recipes/{name}.toml", f"in/{name}.toml")
    return Case(f"{seed.name}: {what}", ((program, path),), ("x.toml", "in/"))


_ODD_LINES = [
    "good.png", "./good.png", '"good.png"', "a\0b.png", "\0", "x" * 300, "x" * 300 + ".png", "../../outside/keep.png",
    "/dev/zero", "/dev/null", "link.png", "nowhere.png", "loop", "*.png", "[", "@x.txt", "#", "   ", "\ufeffgood.png",
    "\u202agood.png", "good.png\t", "http://127.0.0.1:9/x.png",
    "\ud800", "good.png" * 700, "-o", "pipe", "\x1b[31m",
]  # fmt: skip


def _lists(rng: Rng, place: Place) -> Case:
    batch = rng.random() < 0.5
    place.copy("videos/h264.mp4" if batch else "pictures/rgb.png", "in/good.mp4" if batch else "in/good.png")
    folder = place.folder / "in"
    (folder / "link.png").symlink_to("nowhere/at/all")
    (folder / "loop").symlink_to(".")
    os.mkfifo(folder / "pipe")
    good = "good.mp4" if batch else "good.png"
    data, what = damaged_lines([good], [line.replace("good.png", good) for line in _ODD_LINES], rng)
    place.write("x.txt", data)
    command: Command = (
        ("batch", "--list", "in/x.txt", "-o", "out", *VIDEO) if batch else ("image", "@in/x.txt", "-o", "out", *PREVIEW)
    )
    return Case(what, (("sdpose", *command),), ("",))


# --- weights ---------------------------------------------------------------------------------------------------------


def _checkpoints(rng: Rng, place: Place) -> Case:
    layout = pick(rng, ("ours", "ours", "comfy", "diffusers", "pickle"))
    path = {"ours": "x.safetensors", "comfy": "x.safetensors", "diffusers": "x", "pickle": "x.pth"}[layout]
    if layout == "diffusers":
        place.copy("checkpoints/diffusers", "in/x")
        seed = place.seed("checkpoints/diffusers", rng)
        inner = "x/" + seed.relative_to(place.seeds / "checkpoints" / "diffusers").as_posix()
    else:
        seed, inner = place.seeds / "checkpoints" / f"{layout}{Path(path).suffix}", path
    if seed.suffix == ".safetensors":
        data, what = damaged_tensors(seed.read_bytes(), rng)
    elif seed.suffix == ".json":
        data, what = damaged_json(json.loads(seed.read_text()), rng)
    else:
        data, what = damaged(seed.read_bytes(), rng)
    place.write(inner, data)
    to = pick(rng, ("ours", "diffusers", "comfy"))
    target = "out/c" if to == "diffusers" else "out/c.safetensors"
    dtype = ("--dtype", "fp16") if rng.random() < 0.2 else ()
    command: Command = ("convert", f"in/{path}", target, "--layout", to, *dtype)
    if rng.random() < 0.6:
        picture = place.copy("pictures/person.jpg", "in/a.jpg")
        command = ("image", picture, "-o", "out", "--model", f"in/{path}", "--detector", "full", "--device", "cpu")
    return Case(f"{inner}: {what}", (("sdpose", *command),), (f"in/{path}", "in/x", "x.safetensors", "a.jpg"))


def _onnx(rng: Rng, place: Place) -> Case:
    kind = pick(rng, ("estimator", "estimator", "detector", "simcc"))
    data, what = damaged((place.seeds / "onnx" / f"{kind}.onnx").read_bytes(), rng)
    if kind == "estimator" and rng.random() < 0.5:
        data, what = _other_metadata(place, rng)
    path = place.write("x.onnx", data)
    picture = ("sdpose", "image", place.copy("pictures/person.jpg", "in/a.jpg"), "-o", "out")
    commands: dict[str, Command] = {
        "estimator": (*picture, "--model", path, "--detector", "full"),
        "detector": (*picture, "--model", "preview", "--detector", path),
        "simcc": ("peer", f"rtmpose:{path}"),
    }
    return Case(f"{kind}: {what}", (commands[kind],), ("x.onnx", "a.jpg"))


def _other_metadata(place: Place, rng: Rng) -> tuple[bytes, str]:
    """The export with another configuration in its metadata."""
    from onnx_files import field

    changed, what = damaged_json(json.loads((place.seeds / "onnx" / "config.json").read_text()), rng)
    entries = (("config", changed), ("approximations", pick(rng, (b"{}", b"", b"[" * 9000, b"[]", b"1"))))
    texts = b"".join(field(14, field(1, key) + field(2, value)) for key, value in entries)
    return (place.seeds / "onnx" / "bare.onnx").read_bytes() + texts, f"config: {what}"


# --- state -----------------------------------------------------------------------------------------------------------


def _state(rng: Rng, place: Place) -> Case:
    way = pick(rng, ("stopped", "stopped", "batch", "video", "image", "synthetic", "training"))
    place.copy(f"state/{way}", "out")
    files = sorted(path for path in (place.folder / "out").rglob("*") if path.is_file())
    path = pick(rng, files)
    if path.suffix in (".json", ".jsonl") and path.read_bytes().strip():
        lines = path.read_text().splitlines()
        content = json.loads(lines[0] if path.suffix == ".jsonl" else path.read_text())
        data, what = damaged_json(content, rng)
        data = b"\n".join([data, *(line.encode() for line in lines[1:] if path.suffix == ".jsonl")])
    elif rng.random() < 0.1:
        path.unlink()
        data, what = b"", "removed"
    else:
        data, what = damaged(path.read_bytes(), rng)
    if what != "removed":
        path.write_bytes(data)
    clip = "" if way in ("image", "synthetic", "training") else place.copy("state/clip.mp4", "in/clip.mp4")
    again = ("--overwrite",) if rng.random() < 0.2 else ()
    commands: dict[str, Command] = {
        "stopped": ("sdpose", "video", clip, "-o", "out", *VIDEO, *again),
        "video": ("sdpose", "video", clip, "-o", "out", *VIDEO, *again),
        "batch": ("sdpose", "batch", clip, "-o", "out", *VIDEO, *again),
        "synthetic": ("synthetic", "--count", "1", "--val", "1", "--workers", "1", "--out", "out"),
    }
    if way == "training":
        place.copy("state/people", "in/people")
        recipe = place.copy("state/recipe.toml", "in/recipe.toml")
        words = ("--recipe", recipe, "--data.root", "in/people", "--out", "out", "--resume", "auto")
        commands["training"] = ("train", *words)
    if way == "image":
        person = place.copy("state/person.jpg", "in/person.jpg")
        commands["image"] = ("sdpose", "image", person, "-o", "out", *PREVIEW, *again)
    shown = path.relative_to(place.folder).as_posix()
    return Case(f"{shown}: {what}", (commands[way],), ("clip", "person", "out"))


KINDS: dict[str, tuple[int, Callable[[Rng, Place], Case]]] = {
    "pictures": (14, _pictures),
    "videos": (13, _videos),
    "npz": (14, _npz),
    "json": (14, _json),
    "boxes": (7, _boxes),
    "coco": (7, _coco),
    "predictions": (5, _predictions),
    "recipes": (6, _recipes),
    "lists": (4, _lists),
    "checkpoints": (8, _checkpoints),
    "onnx": (4, _onnx),
    "state": (8, _state),
}
"""Kind of input -> its share in percent (about), and what makes a case."""
