"""Checkpoints: three layouts, tables over every key, strict reading, round trips, and files of other kinds."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from paths import GOLDEN
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tiny import golden_folder

from sdpose_core import files
from sdpose_core.checkpoints import names as keys
from sdpose_core.checkpoints.layouts import (
    LAYOUTS,
    convert,
    inspect_checkpoint,
    read_base,
    read_checkpoint,
    save_checkpoint,
)
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.checkpoints.reading import opened
from sdpose_core.checkpoints.sizes import FORMAT_VERSION
from sdpose_core.cli.main import main
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.model.config import BODY, WHOLEBODY, SDPoseConfig, UNetConfig, VAEConfig
from sdpose_core.model.network import SDPose

TINY = GOLDEN / "tiny_ckpt"
PARTS = ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "decoder/decoder")


@pytest.fixture(params=["body", "wholebody"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return golden_folder(tmp_path / request.param, request.param)


@pytest.fixture
def body(tmp_path: Path) -> Path:
    return golden_folder(tmp_path / "body", "body")


def target(tmp_path: Path, layout: str, name: str = "converted") -> Path:
    return tmp_path / (name if layout == "diffusers" else f"{name}.safetensors")


def all_tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{part}:{name}": value for part in PARTS for name, value in load_file(folder / f"{part}.safetensors").items()
    }


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


# --- tables ---------------------------------------------------------------------------------------------------------


def diffusers_modules(unet: UNetConfig, vae: VAEConfig) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The U-Net and the whole VAE as diffusers builds them, without memory."""
    from dataclasses import asdict

    from diffusers import AutoencoderKL, UNet2DConditionModel

    levels = len(vae.block_out_channels)
    sizes = {k: v for k, v in asdict(vae).items() if k != "scaling_factor"}
    with torch.device("meta"):
        network = UNet2DConditionModel(
            **asdict(unet), class_embed_type="projection", projection_class_embeddings_input_dim=4
        )
        coder = AutoencoderKL(
            **sizes,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
        )
    return network, coder


def diffusers_names(unet: UNetConfig, vae: VAEConfig) -> tuple[list[str], list[str], int]:
    """Every tensor name that diffusers' own modules have, and how many parameters that is."""
    network, coder = diffusers_modules(unet, vae)
    count = sum(p.numel() for module in (network, coder) for p in module.parameters())
    return list(network.state_dict()), list(coder.state_dict()), count


VARIED = UNetConfig(
    block_out_channels=(32, 64, 96, 96),
    layers_per_block=1,
    attention_head_dim=(1, 1, 2, 2),
    cross_attention_dim=16,
    down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
)


@pytest.mark.parametrize(
    ("unet", "vae"),
    [(UNetConfig(), VAEConfig()), (VARIED, VAEConfig(block_out_channels=(32, 32, 64, 64), layers_per_block=1))],
    ids=["full size", "varied"],
)
def test_every_name_has_one_counterpart(unet: UNetConfig, vae: VAEConfig) -> None:
    unet_names, vae_names, _ = diffusers_names(unet, vae)
    for names, table in ((unet_names, keys.unet_modules(unet)), (vae_names, keys.vae_modules(vae))):
        theirs = [keys.renamed(name, table) for name in names]
        assert None not in theirs
        assert len(set(theirs)) == len(names)
        assert [keys.renamed(name, keys.inverted(table)) for name in theirs] == names


def test_the_comfy_file_has_as_many_tensors_and_parameters_as_the_published_one() -> None:
    unet_names, vae_names, count = diffusers_names(UNetConfig(), VAEConfig())
    with torch.device("meta"):
        head = SDPose(WHOLEBODY).head
    count += sum(p.numel() for p in head.parameters())
    assert len(unet_names) + len(vae_names) + len(head.state_dict()) == 943
    assert round(count / 1e6, 1) == 958.3


def test_every_name_and_shape_of_the_comfy_file_is_the_one_that_comfyui_builds() -> None:
    """`comfy_layout.json`: names and shapes of ComfyUI 0.26.0's own U-Net with heatmap head, and of its VAE."""
    from sdpose_core.checkpoints.writing import _comfy_tensors

    network, coder = diffusers_modules(UNetConfig(), VAEConfig())
    with torch.device("meta"):
        head = SDPose(WHOLEBODY).head
    parts = {"unet": network, "vae": coder, "head": head}
    state = {f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}
    written = {name: list(value.shape) for name, value in _comfy_tensors(state, WHOLEBODY).items()}
    assert written == json.loads((GOLDEN / "comfy_layout.json").read_text())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("conv_in.weight", "input_blocks.0.0.weight"),
        ("time_embedding.linear_2.bias", "time_embed.2.bias"),
        ("class_embedding.linear_1.weight", "label_emb.0.0.weight"),
        ("down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k.weight",
         "input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"),
        ("down_blocks.0.downsamplers.0.conv.weight", "input_blocks.3.0.op.weight"),
        ("down_blocks.3.resnets.1.conv2.bias", "input_blocks.11.0.out_layers.3.bias"),
        ("mid_block.resnets.1.norm1.weight", "middle_block.2.in_layers.0.weight"),
        ("up_blocks.0.upsamplers.0.conv.weight", "output_blocks.2.1.conv.weight"),
        ("up_blocks.1.upsamplers.0.conv.weight", "output_blocks.5.2.conv.weight"),
        ("up_blocks.3.resnets.2.conv_shortcut.weight", "output_blocks.11.0.skip_connection.weight"),
        ("conv_out.bias", "out.2.bias"),
    ],
)  # fmt: skip
def test_names_of_the_full_size_unet(ours: str, theirs: str) -> None:
    assert keys.renamed(ours, keys.unet_modules(UNetConfig())) == theirs


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("encoder.down_blocks.1.resnets.0.conv_shortcut.weight", "encoder.down.1.block.0.nin_shortcut.weight"),
        ("encoder.mid_block.attentions.0.to_out.0.weight", "encoder.mid.attn_1.proj_out.weight"),
        ("decoder.up_blocks.0.resnets.2.conv1.weight", "decoder.up.3.block.2.conv1.weight"),
        ("decoder.up_blocks.2.upsamplers.0.conv.bias", "decoder.up.1.upsample.conv.bias"),
        ("encoder.conv_norm_out.weight", "encoder.norm_out.weight"),
        ("post_quant_conv.bias", "post_quant_conv.bias"),
    ],
)
def test_names_of_the_full_size_vae(ours: str, theirs: str) -> None:
    assert keys.renamed(ours, keys.vae_modules(VAEConfig())) == theirs


# --- reading and round trips -----------------------------------------------------------------------------------------


def test_the_released_layout(folder: Path) -> None:
    config, state, info = read_checkpoint(folder, input_size=(192, 256))
    whole = folder.name == "wholebody"
    assert (config.num_keypoints, config.feature_levels) == ((133, ("F2",)) if whole else (17, ("F1",)))
    assert config.keypoint_set == ("coco_wholebody_133" if whole else "coco_17")
    assert (config.input_size, info.layout) == ((192, 256), "diffusers")
    assert config.unet.block_out_channels == (16, 32, 32, 32)
    assert config.vae.norm_num_groups == 4
    assert any(name.startswith("unet.up_blocks.3.") for name in state) is not whole
    assert not any(name.startswith(("vae.decoder.", "unet.conv_out.")) for name in state)
    assert any(name.startswith("unet.conv_out.") for name in read_checkpoint(folder, with_rgb_branch=True)[1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_there_and_back_bit_for_bit(folder: Path, tmp_path: Path, layout: str) -> None:
    there, back = target(tmp_path, layout), tmp_path / "back"
    convert(folder, there, layout)
    convert(there, back, "diffusers")
    assert same(all_tensors(folder), all_tensors(back))
    assert inspect_checkpoint(there)[0] == inspect_checkpoint(folder)[0]
    text = "empty_prompt_embedding.safetensors"
    assert same(load_file(folder / text), load_file(back / text))


def test_every_layout_gives_the_same_heatmaps(folder: Path, tmp_path: Path) -> None:
    images = torch.rand(1, 3, 128, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = load_sdpose(folder, dtype="fp32").heatmaps(images)
    for layout in LAYOUTS:
        path = target(tmp_path, layout, layout)
        convert(folder, path, layout)
        assert torch.equal(expected, load_sdpose(path, dtype="fp32").heatmaps(images)), layout


def test_a_dtype_is_kept_or_chosen(body: Path, tmp_path: Path) -> None:
    convert(body, tmp_path / "half.safetensors", dtype=torch.float16)
    convert(tmp_path / "half.safetensors", tmp_path / "half2.safetensors", "comfy")
    assert {v.dtype for v in load_file(tmp_path / "half2.safetensors").values()} == {torch.float16}
    half = read_checkpoint(tmp_path / "half.safetensors")[1]
    assert all(torch.equal(value.half(), half[name]) for name, value in read_checkpoint(body)[1].items())


CUSTOM = SDPoseConfig(
    keypoint_set="mouse", num_keypoints=4, feature_levels=("F1", "F3"), input_size=(128, 192), heatmap_sigma=3.0,
    flip_pairs=((0, 1),), unet=VARIED, vae=VAEConfig((8, 8, 16, 16), 1, norm_num_groups=4),
)  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_custom_model_keeps_its_configuration(tmp_path: Path, layout: str) -> None:
    torch.manual_seed(0)
    model = SDPose(CUSTOM, with_rgb_branch=True)
    path = target(tmp_path, layout)
    report = save_checkpoint(model.state_dict(), CUSTOM, path, layout=layout, metadata={"training_step": 12})
    config, state, info = read_checkpoint(path, with_rgb_branch=True)
    assert config == CUSTOM
    assert same(state, dict(model.state_dict()))
    assert info.metadata["training_step"] == "12"
    assert ("decoder" in " ".join(report.notes)) == (layout != "ours")


def test_the_notes_say_what_the_result_lacks(folder: Path, tmp_path: Path) -> None:
    notes = " ".join(convert(folder, tmp_path / "folder", "diffusers").notes)
    assert "without text_encoder/ and tokenizer/" in notes
    native = convert(folder, tmp_path / "native.safetensors", "comfy").notes
    assert (native == ()) == (folder.name == "wholebody")
    assert "our nodes read it" in " ".join(native) or native == ()


def test_the_shipped_constant_stands_in_for_width_1024_only(body: Path, tmp_path: Path) -> None:
    (body / "empty_prompt_embedding.safetensors").unlink()
    with pytest.raises(CheckpointError, match="empty_prompt_embedding"):
        load_sdpose(body)
    unet = UNetConfig((16, 16, 32, 32), 1, (1, 1, 1, 1), 1024, 8)
    config = SDPoseConfig(unet=unet, vae=CUSTOM.vae)
    state = {k: v for k, v in SDPose(config).state_dict().items() if k != "empty_prompt_embedding"}
    save_checkpoint(state, config, tmp_path / "wide.safetensors")
    assert load_sdpose(tmp_path / "wide.safetensors").empty_prompt_embedding.shape == (1, 2, 1024)


def test_settings_beside_a_folder(folder: Path) -> None:
    settings = {"keypoint_set": "horse", "feature_level": None, "input_size": [256, 256], "heatmap_sigma": 2}
    (folder / "sdpose.json").write_text(json.dumps(settings))
    config, _ = inspect_checkpoint(folder)
    assert (config.keypoint_set, config.input_size, config.heatmap_sigma) == ("horse", (256, 256), 2)
    (folder / "sdpose.json").write_text('{"input_siez": [256, 256]}')
    with pytest.raises(CheckpointError, match="input_size"):
        inspect_checkpoint(folder)
    level, kind = ("F1", "body") if folder.name == "body" else ("F2", "wholebody")
    (folder / "sdpose.json").write_text(json.dumps({"keypoint_set": kind, "level": level, "sigma": 2.5}))
    config, _ = inspect_checkpoint(folder)
    assert (config.feature_levels, config.heatmap_sigma) == ((level,), 2.5)
    assert config.keypoint_set == {"body": "coco_17", "wholebody": "coco_wholebody_133"}[kind]


def test_the_shipped_constant_is_no_extra_tensor_for_comfyui(tmp_path: Path) -> None:
    unet = UNetConfig((16, 16, 32, 32), 1, (1, 1, 1, 1), 1024, 8)
    config = SDPoseConfig(unet=unet, vae=CUSTOM.vae)
    state = SDPose(config, with_rgb_branch=True).state_dict()
    path = tmp_path / "native.safetensors"
    for dtype in (torch.float16, torch.bfloat16, None):
        save_checkpoint(state, config, path, layout="comfy", dtype=dtype)
        assert keys.COMFY_TEXT not in load_file(path)
    state["empty_prompt_embedding"] = state["empty_prompt_embedding"] + 1
    save_checkpoint(state, config, path, layout="comfy")
    assert torch.equal(read_checkpoint(path)[1]["empty_prompt_embedding"], state["empty_prompt_embedding"])


def test_the_vae_decoder_may_come_from_elsewhere(body: Path, tmp_path: Path) -> None:
    """What training writes has none, and ComfyUI finds a VAE by it."""
    config, state, _ = read_checkpoint(body, with_rgb_branch=True)
    save_checkpoint(state, config, tmp_path / "trained.safetensors")
    notes = convert(tmp_path / "trained.safetensors", tmp_path / "without.safetensors", "comfy").notes
    assert "VAE decoder" in " ".join(notes)
    convert(body, tmp_path / "expected.safetensors", "comfy")
    for number, source in enumerate((body, tmp_path / "expected.safetensors")):
        path = tmp_path / f"native{number}.safetensors"
        notes = convert(tmp_path / "trained.safetensors", path, "comfy", vae=source).notes
        assert "VAE decoder" not in " ".join(notes)
        assert same(load_file(path), load_file(tmp_path / "expected.safetensors"))
    with pytest.raises(CheckpointError, match="no VAE decoder"):
        convert(body, tmp_path / "x.safetensors", vae=tmp_path / "trained.safetensors")


def test_base_weights_for_training(body: Path) -> None:
    shutil.rmtree(body / "decoder")
    unet, vae, state = read_base(body)
    assert (unet.attention_head_dim, vae.layers_per_block) == ((1, 2, 2, 2), 1)
    assert {name.partition(".")[0] for name in state} == {"unet", "vae", "empty_prompt_embedding"}
    assert torch.equal(state["unet.conv_in.weight"], load_file(body / f"{PARTS[0]}.safetensors")["conv_in.weight"])
    shutil.rmtree(body / "vae")
    with pytest.raises(CheckpointError, match="vae"):
        read_base(body)


def test_shards_variants_and_old_names(body: Path) -> None:
    expected = read_checkpoint(body)[1]
    whole = body / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(whole)
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"diffusion_pytorch_model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, body / "unet" / file)
        weight_map |= dict.fromkeys(part, file)
    whole.unlink()
    index = body / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    vae = body / "vae" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, value in load_file(vae).items():
        for new, former in old.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{former}.")
        renamed[name] = value
    save_file(renamed, vae)
    vae.rename(vae.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert same(read_checkpoint(body)[1], expected)
    (body / "unet" / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="00002-of-00002"):
        read_checkpoint(body)


def test_a_file_without_configuration_follows_stable_diffusion_2(tmp_path: Path) -> None:
    """As the published Comfy-Org file is: names and shapes alone."""
    unet = UNetConfig((64, 128, 128, 128), 1, (1, 2, 2, 2), 32)
    config = SDPoseConfig(
        keypoint_set="coco_wholebody_133", num_keypoints=133, feature_levels=("F3",),
        unet=unet, vae=VAEConfig((32, 32, 64, 64), 1),
    )  # fmt: skip
    torch.manual_seed(0)
    state = SDPose(config, with_rgb_branch=True).state_dict()
    for layout in ("ours", "comfy"):
        path = target(tmp_path, layout, layout)
        save_checkpoint(state, config, path, layout=layout)
        save_file(load_file(path), path)
        assert inspect_checkpoint(path)[0] == config


# --- what is refused -------------------------------------------------------------------------------------------------


def test_missing_unexpected_and_misshapen_tensors_are_named(body: Path, tmp_path: Path) -> None:
    path = tmp_path / "ours.safetensors"
    convert(body, path)
    with_metadata = inspect_checkpoint(path)[1].metadata
    good = load_file(path)

    def attempt(state: dict[str, torch.Tensor]) -> str:
        save_file(state, path, metadata=dict(with_metadata))
        with pytest.raises(CheckpointError) as error:
            read_checkpoint(path)
        assert "\n" not in str(error.value)
        return str(error.value)

    gone = "unet.mid_block.resnets.0.conv1.weight"
    assert f"missing: {gone}" in attempt({k: v for k, v in good.items() if k != gone})
    assert "unexpected: unet.extra" in attempt({**good, "unet.extra": torch.zeros(1)})
    assert "of another shape: unet.conv_in.bias" in attempt({**good, "unet.conv_in.bias": torch.zeros(3)})
    headless = attempt({k: v for k, v in good.items() if not k.startswith("head.")})
    assert "not an SDPose checkpoint" in headless


def test_the_stored_input_size_comes_along_and_the_file_is_opened_once(
    body: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []

    def counting(path: Path, *args: bool, **kwargs: bool):
        calls.append(path)
        return opened(path, *args, **kwargs)

    monkeypatch.setattr("sdpose_core.checkpoints.layouts.opened", counting)
    stored = read_checkpoint(body)[0].input_size
    config, _, info = read_checkpoint(body, input_size=(128, 64))
    assert (config.input_size, info.input_size) == ((128, 64), stored)
    calls.clear()
    model = load_sdpose(body, input_size=(128, 64), dtype="fp32", device="cpu")
    assert model.approximations["input_size"].startswith("128x64 instead of ")
    assert len(calls) == 1


def any_folder(path: Path, source: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("precious")


def folder_of_pictures(path: Path, source: Path) -> None:
    (path / "unet").mkdir(parents=True)
    (path / "unet" / "photo.png").write_text("precious")


def link(path: Path, source: Path) -> None:
    convert(source, path.with_name("elsewhere"), "diffusers")
    path.symlink_to(path.with_name("elsewhere"), target_is_directory=True)


def downloaded_folder(path: Path, source: Path) -> None:
    """As the authors publish it, and as a download leaves it."""
    convert(source, path, "diffusers")
    (path / "sdpose.json").unlink()
    (path / "sdpose_download.json").write_text("{}")


def authors_folder(path: Path, source: Path) -> None:
    convert(source, path, "diffusers")
    (path / "sdpose.json").unlink()


def export_with_a_note(path: Path, source: Path) -> None:
    convert(source, path, "diffusers")
    (path / "notes.md").write_text("precious")


KEPT = {
    any_folder: "holds 'thesis.tex'", folder_of_pictures: "holds 'unet/photo.png'", link: "is a link to",
    downloaded_folder: "holds 'sdpose_download.json'", authors_folder: "has no sdpose.json",
    export_with_a_note: "holds 'notes.md'",
}  # fmt: skip


@pytest.mark.parametrize("prepare", KEPT)
def test_a_folder_that_is_no_export_of_ours_is_not_replaced(body: Path, tmp_path: Path, prepare: Any) -> None:
    prepare(tmp_path / "target", body)
    before = {file: file.is_file() and file.read_bytes() for file in tmp_path.rglob("*")}
    with pytest.raises(InputError, match=f"{KEPT[prepare]}.*nothing was removed"):
        convert(body, tmp_path / "target", "diffusers", overwrite=True)
    assert {file: file.is_file() and file.read_bytes() for file in tmp_path.rglob("*")} == before


def test_an_ancestor_of_the_source_is_not_replaced(body: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / "inner").mkdir(parents=True)
    source = body.rename(tmp_path / "models" / "inner" / "body")
    for above in (tmp_path / "models", source.parent, source):
        with pytest.raises(InputError):
            convert(source, above, "diffusers", overwrite=True)
    read_checkpoint(source)
    assert list(tmp_path.rglob("*.part")) == []


def test_incomplete_models_are_not_written(body: Path, tmp_path: Path) -> None:
    config, state, _ = read_checkpoint(body)
    del state["head.final_layer.bias"]
    for layout in LAYOUTS:
        with pytest.raises(CheckpointError, match=r"missing: head\.final_layer\.bias"):
            save_checkpoint(state, config, target(tmp_path, layout), layout=layout)
    assert [p.name for p in tmp_path.iterdir()] == [body.name]


NEWER = str(FORMAT_VERSION + 1)


@pytest.mark.parametrize(
    "entries",
    [{"format_version": NEWER}, {"format_version": "new"}, {"config": "{"}, {"config": "[]"}],
)
def test_metadata_that_cannot_be_understood(body: Path, tmp_path: Path, entries: dict[str, str]) -> None:
    path = tmp_path / "x.safetensors"
    convert(body, path)
    save_file(load_file(path), path, metadata={**inspect_checkpoint(path)[1].metadata, **entries})
    with pytest.raises(CheckpointError, match=f"format version {NEWER}|cannot be read"):
        read_checkpoint(path)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_points_to_its_folder(body: Path, part: str) -> None:
    with pytest.raises(CheckpointError, match=f"choose the folder {body}"):
        read_checkpoint(body / f"{part}.safetensors")


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["model.diffusion_model.out.0.weight", "cond_stage_model.x"], "no heatmap head.*Stable Diffusion checkpoint"),
        (["conditioner.embedders.1.model.x", "model.diffusion_model.x"], "no heatmap head.*XL"),
        (["lora_unet_down.x"], "LoRA"),
        (["control_model.x"], "ControlNet"),
        (["something.else"], "something.else"),
    ],
)
def test_other_kinds_of_weights_are_recognised(tmp_path: Path, names: list[str], kind: str) -> None:
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=kind):
        read_checkpoint(tmp_path / "x.safetensors")


def test_files_that_are_no_whole_checkpoint(body: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    convert(body, whole)
    cases = {
        "cut.safetensors": (whole.read_bytes()[:-1000], "incomplete"),
        "short.safetensors": (whole.read_bytes()[:100], "incomplete"),
        "empty.safetensors": (b"", "is empty"),
        "lfs.safetensors": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        "model.safetensors.incomplete": (b"x", "unfinished download"),
        "model.ckpt": (b"x", "sdpose convert model.ckpt model.safetensors"),
        "model.pth": (b"x", "sdpose convert"),
        "picture.png": (b"x", "expected a .safetensors file or a folder"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(tmp_path / name)
    with pytest.raises(CheckpointError, match="no such file"):
        read_checkpoint(tmp_path / "missing.safetensors")


def test_folders_that_are_no_sdpose(body: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="missing unet, vae, decoder"):
        read_checkpoint(tmp_path / "empty")
    shutil.rmtree(body / "decoder")
    with pytest.raises(CheckpointError, match="no heatmap head"):
        read_checkpoint(body)


def test_a_level_that_does_not_follow_is_asked_for(tmp_path: Path) -> None:
    unet = UNetConfig((64, 64, 128, 128), 1, (1, 1, 2, 2), 32)
    config = SDPoseConfig(unet=unet, feature_levels=("F2",), vae=VAEConfig((32, 32, 64, 64), 1))
    path = tmp_path / "x.safetensors"
    save_checkpoint(SDPose(config, with_rgb_branch=True).state_dict(), config, path)
    save_file(load_file(path), path)
    with pytest.raises(CheckpointError, match="F1, F2.*--feature-level"):
        inspect_checkpoint(path)
    assert inspect_checkpoint(path, feature_level="F2")[0].feature_levels == ("F2",)


def test_overrides_that_do_not_exist(body: Path) -> None:
    with pytest.raises(CheckpointError, match="F1, F2, F3, F4"):
        inspect_checkpoint(body, feature_level="F9")
    with pytest.raises(CheckpointError, match="multiples of 64"):
        inspect_checkpoint(body, input_size=(100, 100))


def test_a_pickle_is_converted_once_and_only_if_it_is_harmless(body: Path, tmp_path: Path) -> None:
    convert(body, tmp_path / "ours.safetensors")
    state = load_file(tmp_path / "ours.safetensors")
    torch.save({"state_dict": {k: v for k, v in state.items() if k != "empty_prompt_embedding"}}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="not Stable Diffusion 2's"):
        convert(tmp_path / "x.ckpt", tmp_path / "y.safetensors")  # tiny widths need a configuration

    class Harmful:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harm was done",))

    torch.save({"state_dict": Harmful()}, tmp_path / "bad.ckpt")
    with pytest.raises(CheckpointError, match="could run code"):
        convert(tmp_path / "bad.ckpt", tmp_path / "z.safetensors")
    assert not (tmp_path / "harm was done").exists()
    assert not (tmp_path / "z.safetensors").exists()


def test_a_pickle_of_standard_widths(tmp_path: Path) -> None:
    unet = UNetConfig((64, 128, 192, 192), 1, (1, 2, 3, 3), 1024)
    config = SDPoseConfig(unet=unet, vae=VAEConfig((32, 32, 64, 64), 1))
    state = SDPose(config, with_rgb_branch=True).state_dict()
    torch.save(state, tmp_path / "x.pth")
    convert(tmp_path / "x.pth", tmp_path / "x.safetensors")
    assert same(load_file(tmp_path / "x.safetensors"), dict(state))


@pytest.mark.parametrize("content", [b"hello", b"", b"PK\x03\x04 half a zip", b"\x80\x02}q\x00."])
def test_pickles_that_hold_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        convert(tmp_path / "x.ckpt", tmp_path / "x.safetensors")
    assert "\n" not in str(error.value)


def test_a_folder_with_pickles(body: Path, tmp_path: Path) -> None:
    expected = read_checkpoint(body)[1]
    whole = body / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(whole), whole.with_suffix(".bin"))
    whole.unlink()
    with pytest.raises(CheckpointError, match="sdpose convert body body.safetensors"):
        read_checkpoint(body)
    convert(body, tmp_path / "body.safetensors")
    assert same(read_checkpoint(tmp_path / "body.safetensors")[1], expected)


def test_converting_never_overwrites_by_itself(body: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match="exists"):
        convert(body, path)
    assert path.read_bytes() == b"precious"
    convert(body, path, overwrite=True)
    convert(body, tmp_path / "folder", "diffusers")
    convert(path, tmp_path / "folder", "diffusers", overwrite=True)
    assert same(all_tensors(tmp_path / "folder"), all_tensors(body))
    with pytest.raises(InputError, match="itself"):
        convert(body, body, "diffusers", overwrite=True)
    with pytest.raises(InputError, match=r"\.safetensors"):
        convert(body, tmp_path / "no suffix", "ours")
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {body.name, "x.safetensors", "folder"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
def test_a_failed_write_leaves_nothing(
    body: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full_disk(*_, **__):
        raise error

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    for layout in LAYOUTS:
        with pytest.raises(InputError, match="No space left"):
            convert(body, target(tmp_path, layout), layout)
    assert [p.name for p in tmp_path.iterdir()] == [body.name]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_others_may_read_what_is_written(body: Path, tmp_path: Path, layout: str) -> None:
    """safetensors itself makes files that only their owner may read."""
    before = os.umask(0o022)
    files._umask.cache_clear()
    convert(body, target(tmp_path, layout), layout)
    os.umask(before)
    files._umask.cache_clear()
    written = [target(tmp_path, layout), *target(tmp_path, layout).rglob("*")]
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in written)


def test_the_command(body: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "x.safetensors"
    assert main(["convert", str(body), str(out), "--layout", "comfy", "--dtype", "bf16"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert {v.dtype for v in load_file(out).values()} == {torch.bfloat16}
    assert main(["convert", str(body), str(out)]) == 1
    assert main(["convert", str(body), str(out), "--overwrite", "--vae", str(body)]) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_the_released_sizes() -> None:
    assert (BODY.num_keypoints, BODY.feature_levels, BODY.heatmap_size) == (17, ("F1",), (192, 256))
    assert (WHOLEBODY.num_keypoints, WHOLEBODY.feature_levels) == (133, ("F2",))
