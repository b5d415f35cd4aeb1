"""Stated approximations: what they compute, what they save, and that every result names them."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from paths import DATA
from safetensors.torch import save_file
from tiny import SMALL as TINY
from tiny import make_model as tiny_model
from torch.utils.flop_counter import FlopCounterMode

from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.cli.main import main
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.model import onednn
from sdpose_core.model.approximations import approximate, pooled
from sdpose_core.model.config import BODY, WHOLEBODY, SDPoseConfig
from sdpose_core.model.network import SDPose
from sdpose_core.model.onednn import optimize_for_cpu
from sdpose_core.model.tiny_encoder import TinyEncoder, load_tiny_encoder
from sdpose_core.poses import PoseSequence

ASTRONAUT = DATA / "astronaut.png"


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("encoder") / "taesd_encoder.safetensors"
    save_file(TinyEncoder().layers.state_dict(), path)
    return path


def images(count: int = 1) -> torch.Tensor:
    w, h = TINY.input_size
    return torch.rand(count, 3, h, w, generator=torch.Generator().manual_seed(2)) * 2 - 1


# --- pooled attention ------------------------------------------------------------------------------------------------


def test_pooling_takes_means_of_squares() -> None:
    tokens = torch.arange(4 * 6, dtype=torch.float32).reshape(1, 24, 1)  # 4 rows of 6
    expected = [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]
    assert pooled(tokens, (4, 6)).reshape(2, 3).tolist() == expected
    with pytest.raises(InputError, match="24 tokens"):
        pooled(tokens, (4, 5))


def test_pooling_is_exact_where_every_square_is_of_one_colour() -> None:
    """Then each mean stands for four equal tokens, and the softmax over a quarter of the tokens is the same."""
    model = tiny_model()
    attention = model.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    small = torch.randn(2, 16, 4, 8, generator=torch.Generator().manual_seed(0))
    tokens = torch.nn.functional.interpolate(small, scale_factor=2).flatten(2).transpose(1, 2)
    with torch.no_grad():
        exact = attention(tokens)
        approximate(model, pool_attention=True)
        attention.processor.size = (8, 16)
        torch.testing.assert_close(attention(tokens), exact, atol=1e-6, rtol=1e-5)
        assert (attention(tokens.roll(1, dims=1)) - exact.roll(1, dims=1)).abs().max() > 1e-4


def test_pooled_attention_is_the_same_through_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "blocks_are_faster", lambda _width, _dtype: True)
    monkeypatch.setattr(onednn, "MIN_TOKENS", 1)
    plain = approximate(tiny_model(), pool_attention=True)
    fast = approximate(optimize_for_cpu(tiny_model()), pool_attention=True)
    with torch.no_grad():
        torch.testing.assert_close(fast.heatmaps(images(2)), plain.heatmaps(images(2)), atol=1e-4, rtol=1e-4)


def test_pooled_attention_follows_the_size_of_the_pictures() -> None:
    model = copy.deepcopy(approximate(tiny_model(), pool_attention=True))
    with torch.no_grad():
        for shape in ((64, 128), (128, 64), (128, 128)):
            assert model.heatmaps(torch.zeros(1, 3, *shape)).shape[2:] == (shape[0] // 4, shape[1] // 4)


@pytest.mark.parametrize(
    ("config", "layers", "saved_gflop"),
    # 4 x 12288^2 x width per attention, of which three quarters go: VAE (512) and two (five) layers of 320
    [
        pytest.param(WHOLEBODY, 3, 522, id="whole body"),
        pytest.param(BODY, 6, 957, id="body"),
    ],
)
@pytest.mark.slow
def test_what_pooling_saves_at_full_size(config: SDPoseConfig, layers: int, saved_gflop: float) -> None:
    with torch.device("meta"):
        model = SDPose(config).eval().requires_grad_(False)
    exact = _gflop(model)
    approximate(model, pool_attention=True)
    assert model.approximations["pool_attention"].endswith(f"in {layers} layers")
    # keys and values are projected from a quarter of the tokens, too: 2 x 2 x 9216 x width^2
    projections = 4 * 9216 * (512**2 + (layers - 1) * 320**2) / 1e9
    assert exact - _gflop(model) == pytest.approx(saved_gflop + projections, rel=0.01)


def _gflop(model: SDPose) -> float:
    w, h = model.config.input_size
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.heatmaps(torch.empty(1, 3, h, w, device="meta"))
    return counter.get_total_flops() / 1e9


# --- the small encoder -----------------------------------------------------------------------------------------------


def test_the_small_encoder_has_the_published_layout() -> None:
    layers = TinyEncoder().layers
    shapes = {name: tuple(value.shape) for name, value in layers.state_dict().items()}
    assert len(layers) == 15
    assert shapes["0.weight"] == (64, 3, 3, 3) and shapes["14.weight"] == (4, 64, 3, 3)
    assert {int(name.split(".")[0]) for name in shapes if ".conv." in name} == {1, 3, 4, 5, 7, 8, 9, 11, 12, 13}
    assert all(f"{i}.bias" not in shapes and layers[i].stride == (2, 2) for i in (2, 6, 10))
    assert sum(value.numel() for value in layers.parameters()) == 1_222_532


def test_the_small_encoder_is_that_of_diffusers(encoder_file: Path) -> None:
    from diffusers import AutoencoderTiny

    theirs = AutoencoderTiny()
    ours = load_tiny_encoder(encoder_file, latent_channels=4).encoder
    theirs.encoder.layers.load_state_dict(ours.layers.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours(images()), theirs.encode(images()).latents)


@pytest.mark.parametrize("prefix", ["", "encoder.", "taesd_encoder.", "encoder.layers."])
def test_names_of_the_small_encoders_tensors(encoder_file: Path, tmp_path: Path, prefix: str) -> None:
    own = load_tiny_encoder(encoder_file, 4).encoder.layers.state_dict()
    file = tmp_path / "other.safetensors"
    save_file({f"{prefix}{name}": value for name, value in own.items()} | {"decoder.1.weight": torch.zeros(1)}, file)
    found = load_tiny_encoder(file, 4).encoder.layers.state_dict()
    assert all(torch.equal(found[name], value) for name, value in own.items()) and len(found) == len(own)


def test_other_files_are_refused_by_name(encoder_file: Path, checkpoint: Path, tmp_path: Path) -> None:
    own = load_tiny_encoder(encoder_file, 4).encoder.layers.state_dict()
    file = tmp_path / "broken.safetensors"
    save_file({name: value for name, value in own.items() if name != "6.weight"} | {"15.weight": torch.zeros(2)}, file)
    with pytest.raises(CheckpointError, match="missing: 6.weight; unexpected: 15.weight"):
        load_tiny_encoder(file, 4)
    with pytest.raises(CheckpointError, match=r"14.weight \(4, 64, 3, 3\) instead of \(16, 64, 3, 3\)"):
        load_tiny_encoder(encoder_file, 16)
    with pytest.raises(CheckpointError, match="not an encoder in TAESD's layout"):
        load_tiny_encoder(checkpoint, 4)
    with pytest.raises(CheckpointError, match="no such file"):
        load_tiny_encoder(tmp_path / "absent.safetensors", 4)


# --- loading, and what results say -----------------------------------------------------------------------------------


def test_nothing_is_approximated_unless_asked_for(checkpoint: Path) -> None:
    model = load_sdpose(checkpoint, device="cpu")
    assert model.approximations == {}
    with torch.no_grad():
        torch.testing.assert_close(model.heatmaps(images()), tiny_model().heatmaps(images()), atol=1e-4, rtol=1e-4)
    estimator = load_estimator(checkpoint, device="cpu", input_size=TINY.input_size)
    assert "approximations" not in estimator.meta()["settings"]


def test_each_approximation_is_named(checkpoint: Path, encoder_file: Path) -> None:
    model = load_sdpose(checkpoint, device="cpu", input_size=(128, 192), pool_attention=True, tiny_encoder=encoder_file)
    stated = model.approximations
    assert stated["input_size"] == "128x192 instead of 64x128"
    assert stated["pool_attention"] == "keys and values averaged 2 x 2 in 3 layers"  # no attention in this encoder
    assert stated["tiny_encoder"]["path"] == encoder_file.name and len(stated["tiny_encoder"]["sha256"]) == 64
    assert isinstance(model.vae, TinyEncoder)


def test_a_tiny_encoder_has_the_vaes_dtype(checkpoint: Path, encoder_file: Path) -> None:
    for options, dtype in (({"vae_dtype": "fp32"}, torch.float32), ({}, torch.bfloat16)):
        model = load_sdpose(checkpoint, device="cpu", dtype="bf16", tiny_encoder=encoder_file, **options)
        assert {value.dtype for value in model.vae.parameters()} == {dtype}


def test_nothing_to_pool() -> None:
    blocks = ("DownBlock2D",) * 4, ("UpBlock2D",) * 4
    unet = dataclasses.replace(TINY.unet, down_block_types=blocks[0], up_block_types=blocks[1])
    with torch.device("meta"):
        model = SDPose(dataclasses.replace(TINY, unet=unet))
        model.vae = TinyEncoder()
    with pytest.raises(InputError, match="no self-attention at the latent's size"):
        approximate(model, pool_attention=True)


def test_a_smaller_input_gives_points_in_the_same_place() -> None:
    """The geometry alone: heatmaps with a peak at a place of the picture, read at three crop sizes."""
    from sdpose_core.codec.crops import make_crop
    from sdpose_core.codec.heatmaps import decode_dark_udp, encode_udp

    box = np.array([200, 100, 500, 700], np.float32)
    truth = np.array([[260.25, 180.5], [431.0, 333.75], [350.5, 640.0]])
    for size in ((768, 1024), (576, 768), (384, 512)):
        _, crop = make_crop(np.zeros((800, 900, 3), np.uint8), box, size)
        maps, _ = encode_udp(
            crop.to_input(truth)[None], np.ones((1, 3)), size, (size[0] // 4, size[1] // 4), size[0] / 128
        )
        points, _ = decode_dark_udp(maps, size)
        np.testing.assert_allclose(crop.to_image(points[0]), truth, atol=0.05)


def test_the_command_records_them(checkpoint: Path, encoder_file: Path, tmp_path: Path) -> None:
    arguments = ["image", str(ASTRONAUT), "-o", str(tmp_path), "--model", str(checkpoint), "--device", "cpu"]
    options = ["--pool-attention", "--tiny-encoder", str(encoder_file), "--input-size", "128x192"]
    assert main([*arguments, *options, "--if-nobody", "full-image"]) == 0
    settings = PoseSequence.load(tmp_path / "astronaut.pose.npz").meta["settings"]
    assert sorted(settings["approximations"]) == ["input_size", "pool_attention", "tiny_encoder"]
