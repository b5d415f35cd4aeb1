"""CycleGAN's generator and StyTR2 against numbers known by construction and torch's own layers; their weights in the
authors' layout."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from style_layouts import cyclegan_layout, layer_layout, random_state, stytr2_layout, use_tiny_networks
from torch import nn

import make_coco_ood
from sdpose_core.errors import CheckpointError
from sdpose_training.styles import cyclegan as style_cyclegan
from sdpose_training.styles import stytr2 as style_stytr2
from sdpose_training.styles import weights as style_weights
from sdpose_training.styles.cyclegan import CycleGANGenerator
from sdpose_training.styles.stytr2 import Attention, Layer, PictureDecoder, StyleTransformer, StyTR2


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_networks(monkeypatch)


def _run(*arguments: object) -> int:
    return make_coco_ood.main([str(argument) for argument in arguments])


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# The released sizes.


def test_parameter_counts_are_the_originals() -> None:
    with torch.device("meta"):
        cyclegan, stytr2 = CycleGANGenerator(), StyTR2()
    assert count(cyclegan) == 11_378_179
    assert count(stytr2.transformer) == 31_790_080  # the 31.8 M of the transformer
    assert (count(stytr2.embedding), count(stytr2.decoder)) == (98_816, 3_505_219)
    assert count(stytr2) == 35_394_115
    assert not list(cyclegan.buffers()) and not list(stytr2.buffers())


@pytest.mark.parametrize("style", ["ukiyoe", "monet"])
def test_released_layout_fits_the_full_size_network_name_by_name(style: str) -> None:
    layouts = {"generator": cyclegan_layout()} if style == "ukiyoe" else stytr2_layout()
    kind = style_weights.STYLE_MODELS[style]
    with torch.device("meta"):
        own = {name: tuple(value.shape) for name, value in kind.build().state_dict().items()}
    assert layouts.keys() == kind.parts.keys()
    renamed = {kind.parts[part][name]: shape for part, shapes in layouts.items() for name, shape in shapes.items()}
    assert renamed == own
    assert sum(len(table) for table in kind.parts.values()) == len(own)


# CycleGAN.


def test_cyclegan_of_known_weights_gives_the_numbers_computed_with_numpy() -> None:
    """Each convolution picks one pixel, so that the whole network can be followed: the first at a corner of its window,
    which shows the reflected border; the residual block adds nothing."""
    model = CycleGANGenerator(width=1, blocks=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.first.weight[0, 1, 0, 6] = 1.0  # green, three up and three to the right
        for layer in (*model.down, *model.up):
            layer.weight[0, 0, 1, 1] = 1.0
        model.last.weight[2, 0, 3, 3] = 0.5
        model.last.bias[:] = torch.tensor([0.25, -0.5, 0.1])
    image = np.random.default_rng(0).uniform(-1, 1, (3, 16, 20)).astype(np.float32)
    got = model(torch.from_numpy(image)[None])[0].detach().numpy()

    x = np.pad(image[1], 3, mode="reflect")[0:16, 6:26]
    x = _relu_norm(x)
    x = _relu_norm(x[::2, ::2])
    x = _relu_norm(x[::2, ::2])
    for _ in range(2):
        spread = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
        spread[::2, ::2] = x
        x = _relu_norm(spread)
    assert np.allclose(got[0], np.tanh(0.25)) and np.allclose(got[1], np.tanh(-0.5))
    assert np.allclose(got[2], np.tanh(0.5 * x + 0.1), atol=1e-5)
    assert np.ptp(got[2]) > 0.3


def _relu_norm(x: np.ndarray) -> np.ndarray:
    return np.maximum((x - x.mean()) / np.sqrt(x.var() + 1e-5), 0)


def test_cyclegan_residual_block_is_torchs_layers_plus_its_input() -> None:
    torch.manual_seed(0)
    block = style_cyclegan.ResidualBlock(4)
    pad, norm = nn.ReflectionPad2d(1), nn.InstanceNorm2d(4, affine=False)
    x = torch.randn(2, 4, 9, 7)
    inner = norm(block.convolution1(pad(x))).relu()
    assert torch.allclose(block(x), x + norm(block.convolution2(pad(inner))), atol=1e-6)


# StyTR2.


def test_attention_equals_torchs_with_the_same_weights() -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(16, 4, batch_first=True)
    nn.init.normal_(theirs.in_proj_bias)
    nn.init.normal_(theirs.out_proj.bias)
    ours = Attention(16, 4)
    names = {"in_proj_weight": "project_in.weight", "in_proj_bias": "project_in.bias"}
    names |= {"out_proj.weight": "project_out.weight", "out_proj.bias": "project_out.bias"}
    ours.load_state_dict({names[k]: v for k, v in theirs.state_dict().items()})
    q, k, v = torch.randn(2, 5, 16), torch.randn(2, 7, 16), torch.randn(2, 7, 16)
    assert torch.allclose(ours(q, k, v), theirs(q, k, v, need_weights=False)[0], atol=1e-6)


def test_encoder_layer_equals_torchs_with_weights_in_the_authors_layout() -> None:
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
    state = random_state(layer_layout(16, 24, ("self_attn",)))
    theirs.load_state_dict(state)
    ours = Layer(16, 4, 24, attentions=1)
    table = style_stytr2.released_names(1)["transformer"]
    prefix = "encoder_c.layers.0."
    ours.load_state_dict(
        {table[prefix + k].removeprefix("transformer.content_encoder.0."): v for k, v in state.items()}
    )
    x = torch.randn(2, 6, 16)
    assert torch.allclose(ours(x, None, 0), theirs(x), atol=1e-6)


def test_decoder_layer_asks_the_style_twice_with_positions_on_the_question_only() -> None:
    torch.manual_seed(0)
    layer = Layer(8, 2, 12, attentions=2)
    content, style, position = torch.randn(1, 5, 8), torch.randn(1, 4, 8), torch.randn(1, 5, 8)
    x = layer.norms[0](content + layer.attentions[0](content + position, style, style))
    x = layer.norms[1](x + layer.attentions[1](x + position, style, style))
    expected = layer.norms[2](x + layer.narrow(layer.wide(x).relu()))
    assert torch.allclose(layer(content, style, position), expected, atol=1e-6)


def test_encoder_layer_puts_positions_on_questions_and_keys_but_not_on_values() -> None:
    torch.manual_seed(0)
    layer = Layer(8, 2, 12, attentions=1)
    x, position = torch.randn(1, 5, 8), torch.randn(1, 5, 8)
    y = layer.norms[0](x + layer.attentions[0](x + position, x + position, x))
    assert torch.allclose(layer(x, None, position), layer.norms[1](y + layer.narrow(layer.wide(y).relu())), atol=1e-6)


def test_positions_are_a_1x1_convolution_of_an_18x18_map_enlarged() -> None:
    torch.manual_seed(0)
    transformer = StyleTransformer(4, 2, 1, 8, pooled=18)
    same = torch.randn(1, 4, 18, 18)
    assert torch.allclose(transformer.positions(same), transformer.position(same), atol=1e-6)
    flat = torch.randn(1, 4, 1, 1).expand(1, 4, 30, 50)
    assert torch.allclose(transformer.positions(flat), transformer.position(flat), atol=1e-5)
    assert transformer.positions(torch.randn(1, 4, 5, 41)).shape == (1, 4, 5, 41)


def test_transformer_keeps_patches_at_their_places_when_nothing_is_added() -> None:
    """With attention and feed-forward parts that add nothing, only the normalisation of each patch is left; the map is
    not square, and the style has another size."""
    torch.manual_seed(0)
    transformer = StyleTransformer(8, 2, 2, 12, pooled=3)
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if "project_out" in name or "narrow" in name:
                parameter.zero_()
    content = torch.randn(1, 8, 5, 3)
    expected = nn.functional.layer_norm(content.permute(0, 2, 3, 1), (8,)).permute(0, 3, 1, 2)
    assert torch.allclose(transformer(content, torch.randn(1, 8, 2, 7)), expected, atol=1e-3)


def test_picture_decoder_equals_the_sequence_of_the_authors_places() -> None:
    """A plain sequence of torch's layers in which the convolutions stand at the places that name them in the file."""
    pad, relu, double = nn.ReflectionPad2d(1), nn.ReLU(), nn.Upsample(scale_factor=2, mode="nearest")
    shapes = stytr2_layout(width=16)["decoder"]
    state = random_state(shapes)
    layers: list[nn.Module] = []
    for i in range(9):
        layers.append(pad)
        outputs, inputs = shapes[f"{len(layers)}.weight"][:2]
        layers += [nn.Conv2d(inputs, outputs, 3), *([relu] if i < 8 else []), *([double] if i in (0, 4, 6) else [])]
    theirs = nn.Sequential(*layers)
    theirs.load_state_dict(state)
    ours = PictureDecoder(16)
    table = style_stytr2.released_names()["decoder"]
    ours.load_state_dict({table[k].removeprefix("decoder."): v for k, v in state.items()})
    x = torch.randn(1, 16, 3, 5)
    assert ours(x).shape == (1, 3, 24, 40)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)


# Weights.


def test_cyclegan_pickle_with_running_statistics_is_converted(tiny: None, tmp_path: Path) -> None:
    state = random_state(cyclegan_layout(2, 1))
    statistics = {"model.2.running_mean": torch.zeros(2), "model.2.running_var": torch.ones(2)}
    torch.save(state | statistics | {"model.2.num_batches_tracked": torch.tensor(1)}, tmp_path / "g.pth")
    assert _run("convert", tmp_path / "g.pth", tmp_path / "u.safetensors", "--style", "ukiyoe") == 0
    model = style_weights.load_style_model("ukiyoe", tmp_path / "u.safetensors")
    assert torch.equal(model.first.weight, state["model.1.weight"])
    assert torch.equal(model.blocks[0].convolution2.bias, state["model.10.conv_block.5.bias"])
    assert torch.equal(model.up[1].weight, state["model.14.weight"])
    assert torch.equal(model.last.bias, state["model.18.bias"])
    assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_stytr2_pickles_are_converted_in_any_order_and_precision(tiny: None, tmp_path: Path) -> None:
    states = {part: random_state(shapes) for part, shapes in stytr2_layout(16, 24, 1).items()}
    states["embedding"] = {name: value.half() for name, value in states["embedding"].items()}
    for part, state in states.items():
        torch.save(state, tmp_path / f"{part}.pth")
    sources = [tmp_path / f"{part}.pth" for part in ("decoder", "embedding", "transformer")]
    style_weights.convert("monet", sources, tmp_path / "m.safetensors")
    model = style_weights.load_style_model("monet", tmp_path / "m.safetensors")
    assert torch.equal(model.embedding.weight, states["embedding"]["proj.weight"].float())
    theirs = states["transformer"]["decoder.layers.0.multihead_attn.in_proj_weight"]
    assert torch.equal(model.transformer.decoder[0].attentions[1].project_in.weight, theirs)
    assert torch.equal(model.transformer.position.weight, states["transformer"]["new_ps.weight"])
    assert torch.equal(model.decoder.convolutions[8].bias, states["decoder"]["28.bias"])


def _broken(states: dict[str, dict[str, torch.Tensor]], how: str) -> dict[str, dict[str, torch.Tensor]]:
    if how == "missing":
        del states["transformer"]["decoder.norm.bias"]
    elif how == "unexpected":
        states["transformer"]["encoder_c.norm.weight"] = torch.zeros(16)
    elif how == "shape":
        states["embedding"]["proj.bias"] = torch.zeros(17)
    elif how == "part":
        del states["decoder"]
    elif how == "stranger":
        states["vgg"] = {"features.0.weight": torch.zeros(3, 3, 1, 1)}
    elif how == "twice":
        states["embedding2"] = states["embedding"]
    return states


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            "missing",
            r"transformer\) is of another .* missing tensors: 1 \(the first 'decoder.norm.bias'\); unexpected: 0: use",
        ),
        ("unexpected", r"unexpected: 1 \(the first 'encoder_c.norm.weight'\)"),
        ("shape", r"'embedding.bias' \(17,\), expected \(16,\)"),
        ("part", "no file is StyTR2's decoder: give 3 files: embedding, transformer, decoder"),
        ("stranger", "has no tensor of StyTR2"),
        ("twice", "embedding, like another file"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tiny: None, tmp_path: Path, how: str, message: str) -> None:
    states = _broken({part: random_state(s) for part, s in stytr2_layout(16, 24, 1).items()}, how)
    for part, state in states.items():
        torch.save(state, tmp_path / f"{part}.pth")
    with pytest.raises(CheckpointError, match=message):
        style_weights.convert("monet", [tmp_path / f"{part}.pth" for part in states], tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


class _Harmful:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("save", [torch.save, lambda obj, path: path.write_bytes(pickle.dumps(obj, 2))])
def test_pickles_with_code_are_refused_and_not_run(tiny: None, tmp_path: Path, save: Callable, capsys) -> None:
    save({"model.1.weight": _Harmful(tmp_path / "run")}, tmp_path / "g.pth")
    assert _run("convert", tmp_path / "g.pth", tmp_path / "u.safetensors", "--style", "ukiyoe") == 1
    assert "could run code" in capsys.readouterr().err
    assert not (tmp_path / "run").exists() and not (tmp_path / "u.safetensors").exists()


def test_only_converted_files_are_loaded(tiny: None, tmp_path: Path) -> None:
    torch.save(random_state(cyclegan_layout(2, 1)), tmp_path / "g.pth")
    with pytest.raises(CheckpointError, match="convert it once with 'python training/make_coco_ood.py convert"):
        style_weights.load_style_model("ukiyoe", tmp_path / "g.pth")
    style_weights.convert("ukiyoe", [tmp_path / "g.pth"], tmp_path / "u.safetensors")
    with pytest.raises(CheckpointError, match="made for CycleGAN: style 'monet' needs StyTR2's"):
        style_weights.load_style_model("monet", tmp_path / "u.safetensors")
    save_file(load_file(tmp_path / "u.safetensors"), tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="not made by that command"):
        style_weights.load_style_model("ukiyoe", tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="no such file"):
        style_weights.load_style_model("ukiyoe", tmp_path / "absent.safetensors")
