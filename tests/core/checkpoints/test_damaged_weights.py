"""Damaged and hostile weights, in every layout: one line each, no code run, nothing read outside, no memory without
bound."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SMALL, make_checkpoint

from sdpose_core.checkpoints.layouts import convert, inspect_checkpoint, read_base, read_checkpoint
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.checkpoints.published import find_weights
from sdpose_core.checkpoints.sizes import metadata_of
from sdpose_core.errors import CheckpointError, InputError, SDPoseError
from sdpose_core.model.config import SDPoseConfig, UNetConfig, VAEConfig
from sdpose_core.tensor_files import MAX_HEADER

Table = dict[str, Any]


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.safetensors, comfy.safetensors and folder/, of one model."""
    folder = tmp_path_factory.mktemp("layouts")
    source = make_checkpoint(folder / "tiny.safetensors")
    convert(source, folder / "comfy.safetensors", "comfy")
    convert(source, folder / "folder", "diffusers")
    return folder


def parts_of(content: bytes) -> tuple[Table, bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: Table | bytes, rest: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def with_config(change: Callable[[Table], None]) -> Callable[[Table], None]:
    def mutate(header: Table) -> None:
        config = json.loads(header["__metadata__"]["config"])
        change(config)
        header["__metadata__"]["config"] = json.dumps(config)

    return mutate


NAME = "head.final_layer.weight"
HEADERS: dict[str, Callable[[Table], object]] = {
    "no tensors": lambda h: [h.pop(name) for name in list(h) if name != "__metadata__"],
    "another type": lambda h: h[NAME].update(dtype="X9"),
    "whole numbers": lambda h: h[NAME].update(dtype="I32"),
    "a huge shape": lambda h: h[NAME].update(shape=[2**40, 2**40]),
    "a negative shape": lambda h: h[NAME].update(shape=[-17, -32, 1, 1]),
    "a flat shape": lambda h: h[NAME].update(shape=[17 * 32]),
    "offsets beyond the file": lambda h: h[NAME].update(data_offsets=[10**12, 10**12 + 4]),
    "offsets that overlap": lambda h: h[NAME].update(data_offsets=h["head.final_layer.bias"]["data_offsets"]),
    "a long name": lambda h: h.update({"a." * 5000 + "x": h.pop(NAME)}),
    "a version of digits": lambda h: h["__metadata__"].update(format_version="9" * 5000),
    "a version of superscripts": lambda h: h["__metadata__"].update(format_version="²"),
    "a nested configuration": lambda h: h["__metadata__"].update(config="[" * 100_000),
    "a configuration of digits": lambda h: h["__metadata__"].update(config="9" * 5000),
    "metadata that are numbers": lambda h: h["__metadata__"].update(config=7),
    "a text for a table": with_config(lambda c: c.update(unet="x")),
    "a deep list": with_config(lambda c: c.update(flip_pairs=[[[[[[0]]]]]])),
    "a name of surrogates": with_config(lambda c: c.update(keypoint_set="\ud800")),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers(layouts: Path, tmp_path: Path, kind: str) -> None:
    header, rest = parts_of((layouts / "tiny.safetensors").read_bytes())
    HEADERS[kind](header)
    path = tmp_path / "x.safetensors"
    path.write_bytes(joined(header, rest))
    for read in (load_sdpose, lambda path: convert(path, tmp_path / "y.safetensors")):
        with pytest.raises(CheckpointError) as error:
            read(path)
        assert "\n" not in str(error.value) and len(str(error.value)) < 700


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "length 0": lambda b: bytes(8) + b[8:],
    "length beyond the file": lambda b: (2**40).to_bytes(8, "little") + b[8:],
    "length -1": lambda b: b"\xff" * 8 + b[8:],
    "not JSON": lambda b: b[:8] + b"{" * 100 + b[108:],
    "names twice": lambda b: joined(b'{"a":{},"a":{}}', b""),
    "nested": lambda b: joined(b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", b""),
    "cut in the header": lambda b: b[:100],
    "cut in the tensors": lambda b: b[:-1000],
    "8 bytes": lambda b: b[:8],
}


@pytest.mark.parametrize("kind", BYTES)
def test_bytes(layouts: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(BYTES[kind]((layouts / "tiny.safetensors").read_bytes()))
    with pytest.raises(CheckpointError) as error:
        load_sdpose(path)
    assert "\n" not in str(error.value)


def test_a_header_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write((MAX_HEADER + 1).to_bytes(8, "little") + b"{")
        file.truncate(2 * MAX_HEADER)
    with pytest.raises(CheckpointError, match=f"its header has {MAX_HEADER + 1} bytes, expected up to {MAX_HEADER}"):
        load_sdpose(path)


UNET, VAE = SMALL.unet, SMALL.vae
MINE: Table = {"keypoint_set": "mine"}
NAMES = tuple(map(str, range(17)))
WRONG_SIZES: list[tuple[Any, Table, str]] = [
    (UNET, {"block_out_channels": (10**9,) * 4}, "from 1 to 8192"),
    (UNET, {"block_out_channels": (16.0, 32, 32, 32)}, "a whole number"),
    (UNET, {"block_out_channels": (True, 32, 32, 32)}, "a whole number"),
    (UNET, {"block_out_channels": 32}, "expected four levels"),
    (UNET, {"block_out_channels": (20, 32, 32, 32)}, "a multiple of 8, found 20"),
    (UNET, {"norm_num_groups": 0}, "norm_num_groups: .* found 0"),
    (UNET, {"norm_num_groups": float("nan")}, "norm_num_groups: .* found nan"),
    (UNET, {"layers_per_block": 10**6}, "from 1 to 8"),
    (UNET, {"layers_per_block": -1}, "from 1 to 8"),
    (UNET, {"attention_head_dim": (3, 2, 2, 2)}, "3 heads do not divide 16 channels"),
    (UNET, {"cross_attention_dim": "16"}, "found '16'"),
    (UNET, {"use_linear_projection": 1}, "true or false, found 1"),
    (UNET, {"down_block_types": ("AttnDownBlock2D",) * 4}, "CrossAttnDownBlock2D or DownBlock2D"),
    (VAE, {"scaling_factor": float("nan")}, "found nan"),
    (VAE, {"scaling_factor": 0}, "above 0"),
    (VAE, {"latent_channels": 10**30}, "from 1 to 8192"),
    (SMALL, {"timestep": 1000}, "timestep: .* from 0 to 999"),
    (SMALL, {"heatmap_sigma": float("inf")}, "heatmap_sigma: .* found inf"),
    (SMALL, {"input_size": (10**6 * 64, 64)}, "multiples of 64, up to 8192"),
    (SMALL, {"num_keypoints": 10**6, "keypoint_set": "many"}, "from 1 to 1024"),
    (SMALL, {"keypoint_set": "a\nb"}, "printable characters"),
    (SMALL, {"flip_pairs": ((0.0, 1),)}, "flip pairs"),
    (SMALL, {"flip_pairs": (0, 1)}, "pairs of keypoints"),
    (SMALL, {**MINE, "keypoint_names": ("a",)}, "names 1 point, the model has 17"),
    (SMALL, {**MINE, "keypoint_names": 7}, "names as texts"),
    (SMALL, {**MINE, "links": ((0, 1),)}, "names as texts"),
    (SMALL, {**MINE, "keypoint_names": NAMES, "links": ((0, 17),)}, "outside 0..16"),
    (SMALL, {**MINE, "keypoint_names": NAMES, "sigmas": (0.1,)}, "expected 17 sigmas"),
    (SMALL, {"feature_levels": "F1"}, "feature levels"),
    (SMALL, {"vae": VAEConfig(latent_channels=8)}, "in_channels: expected 8"),
]


@pytest.mark.parametrize(("config", "change", "message"), WRONG_SIZES)
def test_sizes_that_no_model_has(config: Any, change: Table, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        replace(config, **change)
    assert "\n" not in str(error.value)


def test_the_sizes_that_are_known_stay_allowed() -> None:
    for config in (SDPoseConfig(), SMALL, SDPoseConfig(unet=UNetConfig((64, 64, 64, 64), 1, (1, 1, 1, 1), 32))):
        assert SDPoseConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


FOLDERS: dict[str, tuple[str, Any, str]] = {
    "a list": ("unet/config.json", [1], "expected a JSON object"),
    "half": ("vae/config.json", "{", "is not JSON"),
    "widths": ("unet/config.json", {"block_out_channels": 5}, "expected four levels"),
    "huge": ("unet/config.json", {"layers_per_block": 10**9}, "from 1 to 8"),
    "a text": ("sdpose.json", {"input_size": "768x1024"}, "input size"),
    "metadata": ("sdpose.json", {"metadata": [1]}, "texts by name as metadata"),
    "levels": ("sdpose.json", {"feature_levels": {"F1": 1}}, "feature levels"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders(layouts: Path, tmp_path: Path, kind: str) -> None:
    name, content, message = FOLDERS[kind]
    folder = linked(layouts / "folder", tmp_path / "x")
    (folder / name).unlink()
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        inspect_checkpoint(folder)


def linked(source: Path, target: Path) -> Path:
    """A copy of a folder whose files are links."""
    for file in source.rglob("*"):
        if file.is_file():
            (target / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / file.relative_to(source)).symlink_to(file)
    return target


@pytest.mark.parametrize(
    "name", ["../../secret.safetensors", "{root}/secret.safetensors", "..", "", "a\0b", "x" * 999, 5]
)
def test_an_index_names_no_file_outside_its_folder(layouts: Path, tmp_path: Path, name: Any) -> None:
    folder = linked(layouts / "folder", tmp_path / "x")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(tmp_path / "secret.safetensors")
    shown = name.format(root=tmp_path) if isinstance(name, str) else name
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": shown}}))
    for read in (read_checkpoint, read_base):
        with pytest.raises(CheckpointError) as error:
            read(folder)
        assert "\n" not in str(error.value)


def test_a_pipe_is_not_waited_for(layouts: Path, tmp_path: Path) -> None:
    folder = linked(layouts / "folder", tmp_path / "x")
    (folder / "sdpose.json").unlink()
    os.mkfifo(folder / "sdpose.json")
    os.mkfifo(tmp_path / "pipe.safetensors")
    for path in (folder, tmp_path / "pipe.safetensors"):
        with pytest.raises(CheckpointError, match="expected a .*file"):
            load_sdpose(path)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "~nobody-of-this-name/x"])
def test_names_that_no_file_has(name: str) -> None:
    with pytest.raises(CheckpointError):
        find_weights(name)


def test_a_comfy_file_with_holes_in_its_block_numbers(layouts: Path, tmp_path: Path) -> None:
    header, rest = parts_of((layouts / "comfy.safetensors").read_bytes())
    del header["__metadata__"]
    for number in ("0", "7", "²", "99999999999999999999"):
        changed = {name.replace("input_blocks.2.0.op", f"input_blocks.{number}.0.op"): v for name, v in header.items()}
        (tmp_path / "x.safetensors").write_bytes(joined(changed, rest))
        with pytest.raises(CheckpointError):
            load_sdpose(tmp_path / "x.safetensors")


def pickled(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def test_pickles_that_would_take_the_memory_or_the_time(tmp_path: Path) -> None:
    itself: Table = {"head.x": torch.ones(2)}
    itself["again"] = itself
    shared: Table = {"head.x": torch.ones(2)}
    for _ in range(20):
        shared = {str(i): shared for i in range(10)}
    for content, message in (
        ({"head.x": torch.ones(1).expand(10**6, 10**6)}, r"its tensors would take 4000000000000 bytes"),
        (itself, "missing 'head.final_layer.weight'"),
        (shared, "no weights"),
        ({"a." * 1000 + "head.x": torch.ones(2)}, "a tensor's name has 2006 characters"),
    ):
        with pytest.raises(CheckpointError, match=message):
            convert(pickled(content, tmp_path / "x.pt"), tmp_path / "y.safetensors")


def test_a_compressed_pickle_is_not_unpacked(tmp_path: Path) -> None:
    import zipfile

    path = pickled({"head.x": torch.zeros(4)}, tmp_path / "x.pt")
    with zipfile.ZipFile(path) as plain:
        members = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, bytes(1 << 24) if name.endswith("/data/0") else content)
    with pytest.raises(CheckpointError, match="is compressed"):
        convert(path, tmp_path / "y.safetensors")


VALUES = (
    None,
    True,
    -1,
    0,
    10**9,
    1.5,
    float("nan"),
    "",
    "x",
    [],
    [[]],
    {},
    [1] * 5,
    [10**9] * 4,
    "\ud800",
    "9" * 5000,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, each in items for place in places(each, (*at, key)))]


def mutated(value: Any, chance: random.Random) -> Any:
    """JSON with one value exchanged or left out."""
    value = copy.deepcopy(value)
    *path, last = chance.choice([place for place in places(value) if place])
    inside = value
    for key in path:
        inside = inside[key]
    if isinstance(inside, dict) and chance.random() < 0.2:
        del inside[last]
    else:
        inside[last] = chance.choice(VALUES)
    return value


@pytest.mark.parametrize("seed", range(16))
def test_random_damage_is_one_line_or_a_model(layouts: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    content = (layouts / chance.choice(["tiny", "comfy"])).with_suffix(".safetensors").read_bytes()
    header, rest = parts_of(content)
    if seed % 4 == 0:
        damaged = bytearray(content)
        for _ in range(3):
            damaged[chance.randrange(len(content) - len(rest))] = chance.randrange(256)
    elif seed % 4 == 1:
        damaged = bytearray(joined(mutated(header, chance), rest))
    else:
        config = mutated(json.loads(metadata_of(SMALL)["config"]), chance)
        header["__metadata__"] = metadata_of(SMALL) | {"config": json.dumps(config)}
        damaged = bytearray(joined(header, rest))
    path = tmp_path / "x.safetensors"
    path.write_bytes(damaged)
    try:
        load_sdpose(path, device="cpu")
    except SDPoseError as error:
        assert "\n" not in str(error) and len(str(error)) < 700
