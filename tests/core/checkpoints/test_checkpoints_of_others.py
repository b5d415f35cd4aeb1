"""Checkpoints that other trainers wrote: names with prefixes, training states, other suffixes, other number types."""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import ROOT
from safetensors.torch import load_file, save_file
from tiny import SMALL, make_checkpoint, make_model

from sdpose_core.checkpoints.layouts import convert, read_checkpoint, save_checkpoint
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.checkpoints.wrappers import holds_a_head, unwrapped
from sdpose_core.cli.main import main
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.files import sha256_of
from sdpose_core.model.config import SDPoseConfig, UNetConfig, VAEConfig
from sdpose_core.model.network import SDPose
from sdpose_core.tensor_files import files_of, open_tensors

State = dict[str, torch.Tensor]

STANDARD = SDPoseConfig(unet=UNetConfig((64, 128, 64, 64), 1, (1, 2, 1, 1), 32), vae=VAEConfig((32, 32, 32, 32), 1))
"""Small, with widths from which the sizes follow: a pickle has no configuration."""


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(0)
    return {k: v.half() for k, v in SDPose(STANDARD, with_rgb_branch=True).state_dict().items()}


FEW: State = {
    "unet.conv_in.weight": torch.ones(2, 3), "vae.encoder.conv_in.bias": torch.ones(2), "head.bias": torch.ones(4),
    "empty_prompt_embedding": torch.ones(1, 2, 3),
}  # fmt: skip


def few_of(path: Path, entry: str | None = None) -> tuple[State, tuple[str, ...]]:
    """What reading and conversion make of a file, before they look for an SDPose in it."""
    with open_tensors(path, pickles=True, entry=entry, fits=holds_a_head) as found:
        known = unwrapped(found, path)
        return {name: known.read(name) for name in known.shapes}, known.notes


@pytest.fixture(scope="module")
def comfy(state: State, tmp_path_factory: pytest.TempPathFactory) -> State:
    path = tmp_path_factory.mktemp("comfy") / "comfy.safetensors"
    save_checkpoint(state, STANDARD, path, layout="comfy")
    return load_file(path)


def same(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def prefixed(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + name: value for name, value in state.items()}


def compiled_unet(state: State) -> State:
    return {name.replace("unet.", "unet._orig_mod."): value for name, value in state.items()}


def averaged(state: State) -> State:
    return {"n_averaged": torch.tensor(7), **prefixed("module.")(state)}


NAMES = {
    "DDP": prefixed("module."),
    "compiled": prefixed("_orig_mod."),
    "Lightning": prefixed("model."),
    "compiled in DDP": prefixed("module._orig_mod."),
    "DDP in Lightning": prefixed("model.module."),
    "EMA of Lightning": prefixed("ema_model.module."),
    "an unknown name": prefixed("pose_model."),
    "DeepSpeed": prefixed("_forward_module.module."),
    "a compiled part": compiled_unet,
    "AveragedModel": averaged,
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("pickled", [False, True])
def test_names_are_unwrapped(tmp_path: Path, kind: str, pickled: bool) -> None:
    (torch.save if pickled else save_file)(NAMES[kind](FEW), tmp_path / "x")
    found, notes = few_of(tmp_path / "x")
    assert same(found, FEW)
    assert any("unwrapped" in note and "\n" not in note for note in notes)


@pytest.mark.parametrize("pickled", [False, True])
def test_an_unwrapped_file_is_read_and_converted(state: State, tmp_path: Path, pickled: bool) -> None:
    source, wrapped = tmp_path / "x.PTH", prefixed("module._orig_mod.")(state)
    torch.save({"model": wrapped, "optimizer": OPTIMIZER}, source) if pickled else save_file(wrapped, source)
    if not pickled:
        config, found, _ = read_checkpoint(source, with_rgb_branch=True)
        assert (config.unet, same(found, state)) == (STANDARD.unet, True)
    report = convert(source, tmp_path / "y.Safetensors")
    assert same(load_file(tmp_path / "y.Safetensors"), state)
    assert any("unwrapped" in note for note in report.notes)
    assert any("its entry 'model'" in note for note in report.notes) == pickled


@pytest.mark.parametrize("prefix", ["model.", "module.model."])
def test_the_comfy_layout_keeps_its_own_prefix(state: State, comfy: State, tmp_path: Path, prefix: str) -> None:
    """Its names begin with `model.` themselves."""
    save_file(prefixed(prefix)(comfy), tmp_path / "x.safetensors")
    assert same(read_checkpoint(tmp_path / "x.safetensors", with_rgb_branch=True)[1], {**state})


OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(3), "step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-3}]}
BY_NAME = {"state": {"unet.conv_in.weight": {"exp_avg": torch.ones(3)}}}
CONTAINERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "plain": (lambda s: s, ""),
    "model": (lambda s: {"model": s, "epoch": 3, "optimizer": OPTIMIZER}, "'model'"),
    "state_dict": (
        lambda s: {"state_dict": OrderedDict(s), "optimizer_states": [OPTIMIZER], "loops": {}},
        "state_dict",
    ),
    "module": (lambda s: {"module": prefixed("module.")(s), "lr_scheduler": {"last": torch.ones(2)}}, "'module'"),
    "ema": (lambda s: {"ema": s, "step": torch.tensor(5), "args": {"lr": 1.0}}, "'ema'"),
    "nested": (lambda s: {"state": {"model": prefixed("_orig_mod.")(s)}, "optim": BY_NAME}, "'state.model'"),
    "another network beside it": (lambda s: {"model": s, "disc": {"conv.weight": torch.ones(2)}}, "'model'"),
    "the model's parameters": (lambda s: {k: torch.nn.Parameter(v) for k, v in s.items()}, ""),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_training_states(tmp_path: Path, kind: str) -> None:
    wrap, entry = CONTAINERS[kind]
    torch.save(wrap(FEW), tmp_path / "x.pth")
    found, notes = few_of(tmp_path / "x.pth")
    assert same(found, FEW)
    assert not entry or any(entry in note for note in notes)


@pytest.mark.parametrize("flat", [False, True])
def test_several_sets_of_weights_are_named_and_one_is_chosen(state: State, tmp_path: Path, flat: bool) -> None:
    other = {name: value + 1 for name, value in state.items()}
    both = {**prefixed("model.")(state), **prefixed("ema.")(other)} if flat else {"model": state, "ema": other}
    torch.save(both, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="several sets of weights: .*--entry") as error:
        convert(tmp_path / "x.ckpt", tmp_path / "y.safetensors")
    assert all(name in str(error.value) for name in ("model", "ema"))
    assert main(["convert", str(tmp_path / "x.ckpt"), str(tmp_path / "y.safetensors"), "--entry", "ema"]) == 0
    assert same(load_file(tmp_path / "y.safetensors"), other)
    with pytest.raises(CheckpointError, match="several sets of weights: (ema, model|model, ema)"):
        convert(tmp_path / "x.ckpt", tmp_path / "z.safetensors", entry="student")


def test_an_entry_that_does_not_exist(tmp_path: Path) -> None:
    torch.save({"model": FEW}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="no set of weights 'ema'"):
        convert(tmp_path / "x.ckpt", tmp_path / "y.safetensors", entry="ema")


SUFFIXES = ("x.SAFETENSORS", "x.safetensors", "x.PTH", "x.CKPT", "x.BIN", "x.pth.tar", "x")


@pytest.mark.parametrize("name", SUFFIXES)
@pytest.mark.parametrize("kind", ["safetensors", "pickle", "old pickle"])
def test_the_content_counts_not_the_suffix(tmp_path: Path, name: str, kind: str) -> None:
    if kind == "safetensors":
        save_file(FEW, tmp_path / name)
    else:
        torch.save(FEW, tmp_path / name, _use_new_zipfile_serialization=kind == "pickle")
    assert same(few_of(tmp_path / name)[0], FEW)
    if kind != "safetensors":
        with pytest.raises(
            CheckpointError, match="is a pickle.*sdpose convert .* x(_converted)?.safetensors'"
        ) as error:
            read_checkpoint(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_tensors_of_other_number_types(tmp_path: Path, dtype: torch.dtype) -> None:
    path = make_checkpoint(tmp_path / "ours.safetensors")
    state = {name: value.to(dtype) for name, value in load_file(path).items()}
    save_checkpoint(state, SMALL, tmp_path / "small.safetensors")
    model = load_sdpose(tmp_path / "small.safetensors", dtype="fp32", device="cpu", fold=True)
    images = torch.rand(1, 3, 128, 64) * 2 - 1
    with torch.inference_mode():
        assert torch.isfinite(model.heatmaps(images)).all()
    assert model.dtype == torch.float32


CONTENTS: dict[str, tuple[Any, str]] = {
    "settings": ({"epoch": 3, "args": {"lr": 0.1}}, r"no weights: it holds epoch \(int\), args \(dict\)"),
    "counters": ({"step": torch.tensor(3)}, r"no weights: it holds step \(Tensor\)"),
    "only an optimizer": ({"optimizer": OPTIMIZER}, r"no weights: it holds optimizer \(dict\)"),
    "a list": ([torch.ones(2)], "no weights: it holds a list"),
    "one tensor": (torch.ones(2), "no weights: it holds a Tensor"),
    "nothing": ({}, "no weights: it holds nothing"),
    "an object": ({"model": {"w": torch.ones(2)}, "args": argparse.Namespace(a=1)}, "of the class argparse.Namespace"),
    "a whole module": (torch.nn.Linear(2, 2), r"of the class torch\.nn\.modules\.linear\.Linear.*state_dict\(\)"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_what_has_no_weights_says_what_it_holds(tmp_path: Path, kind: str) -> None:
    content, message = CONTENTS[kind]
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=message) as error:
        convert(tmp_path / "x.pth", tmp_path / "y.safetensors")
    assert "\n" not in str(error.value)


def test_missing_and_unexpected_names_are_still_named(state: State, tmp_path: Path) -> None:
    wrong = {**prefixed("module.")(state), "module.unet.extra.weight": torch.ones(2)}
    del wrong["module.head.final_layer.bias"]
    save_file(wrong, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="missing: head.final_layer.bias; unexpected: unet.extra.weight"):
        load_sdpose(tmp_path / "x.safetensors")


def test_two_tensors_of_one_name_are_refused(state: State, tmp_path: Path) -> None:
    save_file({**state, "module.head.final_layer.bias": torch.ones(17)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="same name in the model: head.final_layer.bias, module.head"):
        load_sdpose(tmp_path / "x.safetensors")


def test_a_folder_whose_parts_have_prefixes(tmp_path: Path) -> None:
    save_checkpoint(make_model(with_rgb_branch=True).state_dict(), SMALL, tmp_path / "c", layout="diffusers")
    expected = read_checkpoint(tmp_path / "c")[1]
    for part, prefix in (("unet", "module."), ("vae", "_orig_mod."), ("decoder", "module._orig_mod.")):
        [path] = (tmp_path / "c" / part).glob("*.safetensors")
        tensors = load_file(path)
        path.unlink()
        save_file(prefixed(prefix)(tensors), path)
    assert same(read_checkpoint(tmp_path / "c")[1], expected)


def test_an_estimator_of_an_unwrapped_file_runs(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path / "ours.safetensors")
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(prefixed("module._orig_mod.")(load_file(path)), tmp_path / "x.SAFETENSORS", metadata=metadata)
    assert load_estimator(tmp_path / "x.SAFETENSORS", device="cpu").keypoint_set == "coco_17"
    shutil.copy(path, tmp_path / "export.ONNX")
    with pytest.raises(CheckpointError, match="ONNX"):
        load_estimator(tmp_path / "export.ONNX")


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused_and_noted(state: State, tmp_path: Path, value: float) -> None:
    damaged = {name: tensor.clone() for name, tensor in state.items()}
    damaged["vae.encoder.conv_in.weight"].view(-1)[3] = value
    save_file(damaged, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"1 of \d+ tensors hold NaN or infinity \(vae.encoder.conv_in.weight\)"):
        read_checkpoint(tmp_path / "x.safetensors")
    report = convert(tmp_path / "x.safetensors", tmp_path / "y.safetensors")
    assert any("vae.encoder.conv_in.weight" in note for note in report.notes)


@pytest.mark.parametrize("layout", ["comfy", "diffusers"])
def test_converting_twice_gives_the_same_bytes(tmp_path: Path, layout: str) -> None:
    """The order of the texts in a header would differ by chance."""
    texts = {name: f'{name} ✓ \n\t"\\ \u0001' for name in ("recipe", "seed", "metrics", "commit", "step")}
    source = tmp_path / "x.safetensors"
    save_checkpoint(make_model(with_rgb_branch=True).state_dict(), SMALL, source, metadata=texts)
    written = []
    for name in ("a", "b"):
        out = tmp_path / f"{name}{'' if layout == 'diffusers' else '.safetensors'}"
        convert(source, out, layout)  # type: ignore[arg-type]
        files = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.is_file())
        written.append([path.read_bytes() for path in files])
    assert written[0] == written[1]
    kept = read_checkpoint(tmp_path / f"a{'' if layout == 'diffusers' else '.safetensors'}")[2].metadata
    assert {name: kept[name] for name in texts} == texts


def zipped(*names: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return written.getvalue()


NO_WEIGHTS = {
    "a web page": (b"<!DOCTYPE html><html>", "page of a failed download"),
    "an answer": (b'{"error": "access is restricted"}', "page of a failed download"),
    "a zip file": (zipped("a.safetensors", "b.txt"), "is a zip file with a.safetensors, b.txt: unpack it"),
    "TorchScript": (zipped("m/code/a.py", "m/data.pkl"), "is a TorchScript model"),
    "half a zip file": (zipped("m/data.pkl")[:40], "is damaged or incomplete"),
}


@pytest.mark.parametrize("kind", NO_WEIGHTS)
@pytest.mark.parametrize("suffix", ["safetensors", "pth", "zip"])
def test_other_files_are_called_what_they_are(tmp_path: Path, kind: str, suffix: str) -> None:
    content, message = NO_WEIGHTS[kind]
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content)
    for read in (load_estimator, lambda path: convert(path, tmp_path / "y.safetensors")):
        with pytest.raises(CheckpointError, match=message):
            read(path)


def test_a_lora_and_a_folder_around_a_file_are_named(tmp_path: Path) -> None:
    save_file({"base_model.model.unet.conv_in.lora_A.weight": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="but a LoRA"):
        read_checkpoint(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"choose a file in it: x\.safetensors"):
        read_checkpoint(tmp_path)


def test_values_too_large_for_half_precision_are_not_written(state: State, tmp_path: Path) -> None:
    large = {**state, "unet.conv_in.bias": torch.full_like(state["unet.conv_in.bias"], 1e5, dtype=torch.float32)}
    with pytest.raises(InputError, match="as float16, 1 of .*unet.conv_in.bias.*choose bf16"):
        save_checkpoint(large, STANDARD, tmp_path / "x.safetensors", dtype=torch.float16)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ['{"weight_map": []}', '{"weight_map": {}}', "{}", "[]", "{", ""])
def test_an_index_of_shards_that_names_none_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "unet.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError, match="index.json") as error:
        files_of(tmp_path, "unet")
    assert "\n" not in str(error.value)


def test_an_index_of_shards_may_have_any_encoding(tmp_path: Path) -> None:
    save_file(FEW, tmp_path / "a.safetensors")
    index = json.dumps({"weight_map": dict.fromkeys(FEW, "a.safetensors")})
    (tmp_path / "unet.safetensors.index.json").write_bytes(index.encode("utf-16"))
    assert files_of(tmp_path, "unet") == [tmp_path / "a.safetensors"]


@pytest.mark.slow  # starts processes
def test_other_processes_write_the_same_bytes(tmp_path: Path) -> None:
    """All layouts, one with its weights in another file, whatever the order of Python's sets."""
    source = make_checkpoint(tmp_path / "source.safetensors")
    program = (
        "import sys; from pathlib import Path; from sdpose_core.checkpoints.layouts import convert\n"
        "from sdpose_core.checkpoints.onnx_export import export_onnx\n"
        "source, out = map(Path, sys.argv[1:])\n"
        "convert(source, out / 'ours.safetensors'); convert(source, out / 'comfy.safetensors', 'comfy')\n"
        "convert(source, out / 'folder', 'diffusers'); convert(out / 'folder', out / 'back.safetensors')\n"
        "export_onnx(source, out / 'one.onnx'); export_onnx(source, out / 'two.onnx', external_data=True)\n"
    )
    written = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", program, str(source), str(out)], env=environment, check=True)
        files = (path for path in sorted(out.rglob("*")) if path.is_file())
        written.append({str(path.relative_to(out)): sha256_of(path) for path in files})
    assert written[0] == written[1]
    assert {"ours.safetensors", "comfy.safetensors", "folder/sdpose.json", "one.onnx", "two.onnx"} <= set(written[0])
