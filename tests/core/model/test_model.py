"""The network against golden numbers of the official code and against unmodified diffusers modules."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from custom_sets import PEN
from paths import GOLDEN
from safetensors.torch import load_file, save_file
from tiny import BODY as TINY_BODY
from tiny import WHOLEBODY as TINY_WHOLEBODY
from tiny import golden_state as tiny_state
from torch.utils.flop_counter import FlopCounterMode

from sdpose_core.checkpoints.loading import from_state, load_sdpose
from sdpose_core.checkpoints.sizes import metadata_of, settings_of_metadata
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.estimation.sdpose import notes_of
from sdpose_core.model import head as head_module
from sdpose_core.model import strips
from sdpose_core.model.backbone import POSE, RGB, class_embedding_input
from sdpose_core.model.config import BODY, FEATURE_LEVELS, UP_BLOCK_OF_LEVEL, WHOLEBODY, SDPoseConfig
from sdpose_core.model.devices import pick_device, pick_dtype
from sdpose_core.model.empty_prompt import empty_prompt_embedding
from sdpose_core.model.network import SDPose
from sdpose_core.skeletons import KeypointSet

RELEASED_HEAD = {
    "head.deconv_layers.0.weight",
    "head.conv_layers.0.weight",
    "head.conv_layers.0.bias",
    "head.final_layer.weight",
    "head.final_layer.bias",
}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "f_tiny.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def images(golden: dict[str, np.ndarray]) -> torch.Tensor:
    rgb = golden["inputs_uint8_bgr"][:, ::-1].copy()
    return torch.from_numpy(rgb).float() / 127.5 - 1


@pytest.fixture(scope="module")
def body(golden: dict[str, np.ndarray]) -> SDPose:
    return from_state(TINY_BODY, tiny_state(golden, "body"), "tiny").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def wholebody(golden: dict[str, np.ndarray]) -> SDPose:
    return from_state(TINY_WHOLEBODY, tiny_state(golden, "wholebody"), "tiny").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def plain_unet(golden: dict[str, np.ndarray]) -> diffusers.UNet2DConditionModel:
    """Unmodified diffusers, with the tiny weights."""
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=TINY_BODY.unet.block_out_channels,
        attention_head_dim=TINY_BODY.unet.attention_head_dim,
        cross_attention_dim=TINY_BODY.unet.cross_attention_dim,
        norm_num_groups=TINY_BODY.unet.norm_num_groups,
        use_linear_projection=True,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=4,
    )
    state = tiny_state(golden, "body")
    unet.load_state_dict({k.removeprefix("unet."): v for k, v in state.items() if k.startswith("unet.")})
    return unet.eval().requires_grad_(False)


def random_model(config: SDPoseConfig, **options: bool) -> SDPose:
    torch.manual_seed(0)
    return SDPose(config, **options).eval()


def config_with(*levels: str, input_size: tuple[int, int] = (64, 128)) -> SDPoseConfig:
    return dataclasses.replace(TINY_BODY, feature_levels=levels, input_size=input_size)


def random_images(config: SDPoseConfig, count: int = 2) -> torch.Tensor:
    w, h = config.input_size
    return torch.rand(count, 3, h, w, generator=torch.Generator().manual_seed(1)) * 2 - 1


def count_calls(module: torch.nn.Module) -> list[int]:
    """A list that grows by one at each call of `module`."""
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


# --- golden numbers of the official code ---------------------------------------------------------------------------


def close(found: torch.Tensor, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=tolerance)


def test_latents_are_the_scaled_mean(body: SDPose, golden: dict[str, np.ndarray], images: torch.Tensor) -> None:
    close(body.latents(images), golden["vae_mean"] * 0.18215)
    close(body.latents(images), golden["unet_input_latent_mode"])
    close(body.latents(images.flip(-1)), golden["vae_mean_of_flipped"] * 0.18215)


def test_sampled_latents_are_the_official_ones(
    body: SDPose, golden: dict[str, np.ndarray], images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Official mean and deviation; also one picture at a time, as on a GPU."""
    noise = torch.randn(golden["vae_mean"].shape, generator=torch.Generator().manual_seed(123))
    expected = (golden["vae_mean"] + golden["vae_std"] * noise.numpy()) * 0.18215
    for _ in range(2):
        np.testing.assert_allclose(body.latents(images, noise).numpy(), expected, rtol=1e-4, atol=1e-4)
        monkeypatch.setattr(SDPose, "_vae_at_once", staticmethod(lambda _images: 1))


@pytest.mark.parametrize("level", FEATURE_LEVELS)
def test_features_of_every_level(level: str, golden: dict[str, np.ndarray], images: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = SDPose(dataclasses.replace(TINY_BODY, feature_levels=(level,))).eval().requires_grad_(False)
    state = tiny_state(golden, "body")
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith("head.")}, strict=False)
    close(model.features(images)[:1], golden[f"{level}_item0"])


def test_heatmaps_body(body: SDPose, golden: dict[str, np.ndarray], images: torch.Tensor) -> None:
    close(body.heatmaps(images)[:1], golden["body_mode_noflip_heatmaps"])
    close(body.heatmaps(images, flip_test=True)[:1], golden["body_mode_flip_hm_avg"])


def test_heatmaps_wholebody(wholebody: SDPose, golden: dict[str, np.ndarray], images: torch.Tensor) -> None:
    close(wholebody.heatmaps(images)[:1, ::9], golden["wholebody_mode_noflip_heatmaps"])


def test_rgb_branch(body: SDPose, golden: dict[str, np.ndarray], images: torch.Tensor) -> None:
    close(body.reconstruct(images), golden["rgb_recon_unet_out_class01"])


def test_time_and_class_embedding(
    body: SDPose, plain_unet: diffusers.UNet2DConditionModel, golden: dict[str, np.ndarray]
) -> None:
    close(class_embedding_input(["pose"]), golden["class_emb_10"], 0)
    close(class_embedding_input(["rgb"]), golden["class_emb_01"], 0)
    labels = torch.from_numpy(golden["class_emb_10"].copy())
    close(body.unet.embedding(999, ["pose"]) - plain_unet.class_embedding(labels), golden["time_emb_999"], 1e-5)


# --- early exit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", FEATURE_LEVELS)
def test_early_exit_is_bit_identical_to_the_full_pass(
    level: str, plain_unet: diffusers.UNet2DConditionModel, golden: dict[str, np.ndarray]
) -> None:
    state = {k: v for k, v in tiny_state(golden, "body").items() if not k.startswith("head.")}
    model = SDPose(dataclasses.replace(TINY_BODY, feature_levels=(level,))).eval()
    model.load_state_dict(state, strict=False)
    latents = torch.from_numpy(golden["unet_input_latent_mode"].copy())
    text = torch.from_numpy(golden["text_embed"]).repeat(2, 1, 1)
    labels = torch.from_numpy(golden["class_emb_10"].copy()).expand(2, -1)
    seen: list[torch.Tensor] = []
    hook = plain_unet.up_blocks[UP_BLOCK_OF_LEVEL[level]].register_forward_hook(lambda *a: seen.append(a[-1]))
    with torch.no_grad():
        plain_unet(latents, 999, text, class_labels=labels)
        features, rgb = model.unet(latents, model.unet.embedding(999, ["pose"] * 2), text, num_pose=2)
    hook.remove()
    assert rgb is None
    assert torch.equal(features[level], seen[0])


@pytest.mark.parametrize("level", FEATURE_LEVELS)
def test_nothing_after_the_needed_up_block_is_built_or_computed(level: str) -> None:
    needed = UP_BLOCK_OF_LEVEL[level] + 1
    assert len(random_model(config_with(level)).unet.up_blocks) == needed
    model = random_model(config_with(level), with_rgb_branch=True)
    calls = [count_calls(block) for block in model.unet.up_blocks]
    out = count_calls(model.unet.conv_out)
    with torch.no_grad():
        model.heatmaps(random_images(model.config))
    assert [len(c) for c in calls] == [1] * needed + [0] * (4 - needed)
    assert not out


def test_full_size_operations() -> None:
    """Counted on meta tensors: 6,891 GFLOP as released, at most 0.86 of it with the early exit."""
    with torch.device("meta"):
        model = SDPose(WHOLEBODY, with_rgb_branch=True).eval().requires_grad_(False)
    images = torch.empty(1, 3, 1024, 768, device="meta")
    with FlopCounterMode(display=False) as ours:
        assert model.heatmaps(images).shape == (1, 133, 256, 192)
    with FlopCounterMode(display=False) as released:
        model.reconstruct(images)
        model.head(torch.empty(1, 640, 128, 96, device="meta"))
    assert released.get_total_flops() == pytest.approx(6891e9, rel=1e-4)
    assert ours.get_total_flops() <= 0.86 * released.get_total_flops()


def test_full_size_parameters() -> None:
    with torch.device("meta"):
        model, body = SDPose(WHOLEBODY, with_rgb_branch=True), SDPose(BODY)
    assert sum(p.numel() for p in model.unet.parameters()) == 867_556_804
    assert len(model.unet.state_dict()) == 690
    assert sum(p.numel() for p in model.head.parameters()) == 7_049_093
    assert sum(p.numel() for p in body.head.parameters()) == 1_746_577
    assert set(body.head.state_dict()) == {name.removeprefix("head.") for name in RELEASED_HEAD}


# --- constants -----------------------------------------------------------------------------------------------------


def test_embeddings_of_a_frozen_model_are_computed_once(golden: dict[str, np.ndarray], images: torch.Tensor) -> None:
    model = from_state(TINY_BODY, tiny_state(golden, "body"), "tiny").eval().requires_grad_(False)
    calls = count_calls(model.unet.time_embedding), count_calls(model.unet.class_embedding)
    first = model.heatmaps(images)
    assert torch.equal(model.heatmaps(images), first)
    assert [len(c) for c in calls] == [1, 1]


def test_embeddings_follow_new_weights_and_dtype(golden: dict[str, np.ndarray]) -> None:
    model = from_state(TINY_BODY, tiny_state(golden, "body"), "tiny").eval().requires_grad_(False)
    before = model.unet.embedding(999, ["pose"])
    state = tiny_state(golden, "body")
    state["unet.class_embedding.linear_2.bias"] += 1
    model.load_state_dict(state)
    close(model.unet.embedding(999, ["pose"]), before.numpy() + 1, 1e-5)
    assert model.double().unet.embedding(999, ["pose"]).dtype == torch.float64


def test_embeddings_of_a_trainable_model_follow_every_step() -> None:
    model = random_model(config_with("F1"))
    before = model.unet.embedding(999, ["pose"])
    assert before.requires_grad
    model.unet.class_embedding.linear_2.bias.data += 1
    close(model.unet.embedding(999, ["pose"]).detach(), before.detach().numpy() + 1, 1e-5)


# --- levels and heads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [1, 5, 16, 100])
def test_the_head_by_groups_of_channels(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """In inference on a CPU a group of channels follows the other; training, and other layers, take all at once."""
    monkeypatch.setattr(head_module, "CHANNELS_AT_ONCE", at_once)
    torch.manual_seed(0)
    head = head_module.HeatmapHead(TINY_BODY).eval()
    torch.nn.init.normal_(head.final_layer.weight, std=0.3)
    torch.nn.init.normal_(head.final_layer.bias)
    feature = torch.randn(2, head.final_layer.in_channels, 6, 4)
    whole = head(feature)
    with torch.no_grad():
        torch.testing.assert_close(head(feature), whole, rtol=0, atol=1e-5)
    assert whole.requires_grad and whole.shape[-2:] == (12, 8)


@pytest.mark.parametrize(
    "levels", [("F1",), ("F2",), ("F3",), ("F4",), ("F1", "F3"), ("F4", "F2"), FEATURE_LEVELS], ids="+".join
)
def test_every_level_reaches_the_heatmap_size_and_learns(levels: tuple[str, ...]) -> None:
    config = config_with(*levels, input_size=(128, 64))
    model = random_model(config, with_rgb_branch=True).train()
    latents = torch.randn(2, 4, 8, 16)
    heatmaps, rgb = model(latents=latents, tasks=(POSE, RGB))
    assert heatmaps.shape == (2, 17, 16, 32)
    assert rgb.shape == latents.shape
    (heatmaps.square().sum() * 1e6 + rgb.square().sum()).backward()
    trained = [*model.unet.named_parameters(), *model.head.named_parameters()]
    assert [name for name, p in trained if p.grad is None] == []
    assert [name for name, p in model.vae.named_parameters() if p.grad is not None] == []


def test_fusion_is_the_sum_of_enlarged_projections() -> None:
    model = random_model(config_with("F4", "F2"))
    f2, f4 = torch.randn(1, 32, 16, 8), torch.randn(1, 32, 4, 2)
    layers = model.head.fusion
    enlarged = torch.nn.functional.interpolate(layers["F4"](f4), scale_factor=4, mode="bilinear")
    torch.testing.assert_close(model.head.fuse({"F2": f2, "F4": f4}), layers["F2"](f2) + enlarged)


def test_names_of_tensors(body: SDPose) -> None:
    names = set(body.state_dict())
    assert {n for n in names if n.startswith("head.")} == RELEASED_HEAD
    assert {n.split(".")[0] for n in names} == {"vae", "unet", "head", "empty_prompt_embedding"}


def test_first_heatmaps_of_a_new_head_are_near_zero() -> None:
    head = random_model(dataclasses.replace(config_with("F2"), keypoint_set="mine", num_keypoints=40)).head
    assert head.final_layer.weight.std().item() == pytest.approx(1e-3, rel=0.1)
    assert not head.final_layer.bias.any()


def test_random_models_repeat() -> None:
    one, two = (random_model(config_with("F1")).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


# --- training ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [("F1",), ("F2",), ("F1", "F4")], ids="+".join)
def test_both_tasks_in_one_pass_equal_two_passes(levels: tuple[str, ...]) -> None:
    model = random_model(config_with(*levels), with_rgb_branch=True)
    torch.nn.init.normal_(model.head.final_layer.weight)
    images = random_images(model.config)
    with torch.no_grad():
        heatmaps, rgb = model(latents=model.latents(images), tasks=(POSE, RGB))
        torch.testing.assert_close(heatmaps, model.heatmaps(images), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(rgb, model.reconstruct(images), rtol=1e-4, atol=1e-4)


def test_the_joint_pass_stops_the_pose_half_early() -> None:
    model = random_model(config_with("F2"), with_rgb_branch=True)
    sizes: list[int] = []
    for block in model.unet.up_blocks:
        block.register_forward_hook(lambda *a: sizes.append(len(a[-1])))
    with torch.no_grad():
        model(latents=torch.randn(3, 4, 16, 8), tasks=(POSE, RGB))
    assert sizes == [6, 6, 6, 3]


def test_gradient_checkpointing_recomputes_and_changes_nothing() -> None:
    gradients, calls = [], []
    for checkpointing in (False, True):
        model = random_model(config_with("F1"), with_rgb_branch=True).train()
        if checkpointing:
            model.enable_gradient_checkpointing()
        calls.append(count_calls(model.unet.down_blocks[0].resnets[0].conv1))
        heatmaps, rgb = model(latents=torch.ones(1, 4, 16, 8), tasks=(POSE, RGB))
        (heatmaps.square().sum() + rgb.square().sum()).backward()
        gradients.append(model.unet.conv_in.weight.grad)
    assert [len(c) for c in calls] == [1, 2]
    torch.testing.assert_close(*gradients)


def test_tasks_and_inputs_are_checked() -> None:
    model = random_model(config_with("F1"))
    latents = torch.zeros(1, 4, 8, 8)
    with pytest.raises(InputError, match="RGB branch"):
        model.reconstruct(random_images(model.config))
    with pytest.raises(InputError, match="tasks"):
        model(latents=latents, tasks=("depth",))
    with pytest.raises(InputError, match="either"):
        model(random_images(model.config), latents=latents)


# --- images, flip test, dtypes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 3, 100, 64), (1, 3, 64, 0), (1, 1, 64, 64), (3, 64, 64)])
def test_pictures_of_another_shape_are_refused(body: SDPose, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="multiples of 64"):
        body.heatmaps(torch.zeros(shape))


def test_flip_test_of_a_custom_keypoint_set() -> None:
    unknown = dataclasses.replace(config_with("F1"), keypoint_set="mine", num_keypoints=3)
    known = dataclasses.replace(unknown, flip_pairs=((0, 2),))
    model = random_model(known)
    torch.nn.init.normal_(model.head.final_layer.weight)
    images = random_images(known)
    with torch.no_grad():
        straight, mirrored = model.heatmaps(images), model.heatmaps(images.flip(-1))
        expected = (straight + mirrored.flip(-1)[:, [2, 1, 0]]) / 2
        torch.testing.assert_close(model.heatmaps(images, flip_test=True), expected, rtol=1e-4, atol=1e-4)
        with pytest.raises(InputError, match="flip"):
            random_model(unknown).heatmaps(images, flip_test=True)


def test_config_with_flip_pairs_survives_json() -> None:
    config = dataclasses.replace(config_with("F1"), keypoint_set="mine", num_keypoints=3, flip_pairs=((0, 2),))
    values = config.to_dict() | {"flip_pairs": [[0, 2]], "feature_levels": ["F1"]}
    assert SDPoseConfig.from_dict(values) == config
    assert SDPoseConfig.from_dict(TINY_BODY.to_dict()) == TINY_BODY
    with pytest.raises(InputError, match="flip pairs"):
        dataclasses.replace(config, flip_pairs=((0, 3),))


def test_the_names_and_links_of_a_custom_set_survive_metadata(tmp_path: Path) -> None:
    bare = dataclasses.replace(config_with("F1"), keypoint_set="pen_4", num_keypoints=4, flip_pairs=PEN.flip_pairs)
    own = dataclasses.replace(bare, keypoint_names=PEN.names, links=PEN.links, sigmas=PEN.sigmas)
    assert own.skeleton == PEN
    assert bare.skeleton == KeypointSet("pen_4", ("0", "1", "2", "3"), flip_pairs=PEN.flip_pairs)
    for config, version in ((own, "2"), (bare, "1"), (TINY_BODY, "1")):
        metadata = metadata_of(config)
        assert metadata["format_version"] == version  # earlier versions of the library read what they know
        settings = settings_of_metadata(metadata, tmp_path)
        assert SDPoseConfig(num_keypoints=config.num_keypoints, **settings) == config
    assert "links" not in bare.to_dict() and "keypoint_names" not in TINY_BODY.to_dict()
    assert (notes_of(own), notes_of(TINY_BODY), len(notes_of(bare))) == ([], [], 1)


@pytest.mark.parametrize("config", [TINY_BODY, TINY_WHOLEBODY], ids=lambda config: config.keypoint_set)
def test_flip_indices_are_their_own_inverse(config: SDPoseConfig) -> None:
    from sdpose_core.skeletons import keypoint_set

    indices = config.flip_indices
    assert [indices[i] for i in indices] == list(range(config.num_keypoints))
    assert indices == tuple(keypoint_set(config.keypoint_set).flip_indices)


def test_half_precision_gives_float32_heatmaps(golden: dict[str, np.ndarray], images: torch.Tensor) -> None:
    model = from_state(TINY_BODY, tiny_state(golden, "body"), "tiny").eval().requires_grad_(False)
    full = model.heatmaps(images)
    half = model.to(torch.bfloat16).heatmaps(images)
    assert half.dtype == torch.float32
    assert (half - full).abs().mean() < 0.05 * full.abs().mean()


def test_vae_may_keep_its_own_dtype(golden: dict[str, np.ndarray], images: torch.Tensor) -> None:
    model = from_state(TINY_BODY, tiny_state(golden, "body"), "tiny").eval().requires_grad_(False)
    exact = model.latents(images)
    model.unet.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.latents(images), exact.to(torch.bfloat16))


def test_names_of_dtypes() -> None:
    cpu = torch.device("cpu")
    assert pick_dtype("fp32", cpu) == torch.float32
    assert pick_dtype("bf16", cpu) == pick_dtype(torch.bfloat16, cpu) == torch.bfloat16
    with pytest.raises(InputError, match="fp8"):
        pick_dtype("fp8", cpu)


def test_names_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device(None) == pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="no device 'cuda:1'.*cpu"):
        pick_device("cuda:1")
    with pytest.raises(InputError, match="unknown device"):
        pick_device("gpu")
    with pytest.raises(InputError, match="device 'openvino:gpu' runs ONNX files and the preview"):
        pick_device("openvino:gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device(None) == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(InputError, match="no device 'cuda:2' here: choose one of cuda:0, cuda:1"):
        pick_device("cuda:2")


@pytest.mark.parametrize(("capability", "expected"), [((9, 0), torch.bfloat16), ((7, 5), torch.float16)])
def test_automatic_dtype_on_cuda(
    capability: tuple[int, int], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert pick_dtype("auto", torch.device("cuda")) == expected


# --- VAE in strips -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strip_elements", [1, 5000, 1 << 21])
def test_vae_in_strips_equals_diffusers(
    golden: dict[str, np.ndarray], images: torch.Tensor, strip_elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "STRIP_ELEMENTS", strip_elements)
    vae = diffusers.AutoencoderKL(
        block_out_channels=TINY_BODY.vae.block_out_channels,
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    vae.load_state_dict(load_file(GOLDEN / "tiny_ckpt" / "vae" / "diffusion_pytorch_model.safetensors"))
    model = from_state(TINY_BODY, tiny_state(golden, "body"), "tiny")
    images = images[..., :128, :64]
    with torch.no_grad():
        expected = vae.encode(images).latent_dist.mode() * 0.18215
        found = model.latents(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert found.is_contiguous()


# --- loading -------------------------------------------------------------------------------------------------------


def test_loading_names_what_is_missing(golden: dict[str, np.ndarray]) -> None:
    state = tiny_state(golden, "body")
    del state["head.final_layer.bias"]
    with pytest.raises(CheckpointError, match=r"head\.final_layer\.bias"):
        from_state(TINY_BODY, state, "tiny")
    with pytest.raises(CheckpointError, match="empty_prompt_embedding"):
        from_state(TINY_BODY, {k: v for k, v in state.items() if "prompt" not in k}, "tiny")


def test_loading_without_the_rgb_branch(golden: dict[str, np.ndarray], images: torch.Tensor) -> None:
    later = ("unet.up_blocks.3.", "unet.conv_norm_out.", "unet.conv_out.")
    state = {k: v for k, v in tiny_state(golden, "wholebody").items() if not k.startswith(later)}
    model = from_state(TINY_WHOLEBODY, state, "tiny").eval().requires_grad_(False)
    close(model.heatmaps(images)[:1, ::9], golden["wholebody_mode_noflip_heatmaps"])


@pytest.mark.parametrize("name", ["body", "wholebody"])
def test_load_sdpose_from_an_official_folder(
    name: str, golden: dict[str, np.ndarray], images: torch.Tensor, tmp_path: Path
) -> None:
    for part in ("unet", "vae", "scheduler"):
        shutil.copytree(GOLDEN / "tiny_ckpt" / part, tmp_path / part)
    shutil.copytree(GOLDEN / "tiny_ckpt" / f"decoder_{name}", tmp_path / "decoder")
    prompt = {"empty_prompt_embedding": torch.from_numpy(golden["text_embed"].copy())}
    save_file(prompt, tmp_path / "empty_prompt_embedding.safetensors")
    level = {"body": "F1", "wholebody": "F2"}[name]
    model = load_sdpose(tmp_path, feature_level=level, input_size=(192, 256), device="cpu")
    assert model.dtype == torch.float32 and not model.training
    assert not any(p.requires_grad for p in model.parameters())
    stride = {"body": 1, "wholebody": 9}[name]
    close(model.heatmaps(images)[:1, ::stride], golden[f"{name}_mode_noflip_heatmaps"])
    close(model.reconstruct(images), golden["rgb_recon_unet_out_class01"])


def test_full_size_models_take_the_shipped_prompt() -> None:
    embedding = empty_prompt_embedding()
    assert embedding.shape == (1, 2, 1024)
    assert embedding.isfinite().all() and embedding.std() > 0.1
    config = dataclasses.replace(config_with("F1"), unet=dataclasses.replace(TINY_BODY.unet, cross_attention_dim=1024))
    assert torch.equal(random_model(config).empty_prompt_embedding, embedding)


@pytest.mark.parametrize("package", ["torch", "diffusers"])
def test_a_missing_package_is_named_with_its_extra(package: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
import sdpose_core
try:
    sdpose_core.load_sdpose
except sdpose_core.SDPoseError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert package in found and "sdpose-annotator[torch]" in found
