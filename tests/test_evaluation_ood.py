"""COCO-OOD: the style networks against numbers known by construction and against torch's own layers, their weights in
the authors' layout, the filters, and the folder that make_coco_ood.py makes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import make_coco_ood
import numpy as np
import pytest
import style_cyclegan
import style_painters
import style_stytr2
import style_weights
import torch
from coco_annotations import read_annotations, read_people
from coco_people import read_picture
from ood_folder import SETTINGS
from safetensors.torch import load_file, save_file
from style_cyclegan import CycleGANGenerator
from style_filters import FILTERS
from style_stytr2 import Attention, Layer, PictureDecoder, StyleTransformer, StyTR2
from torch import nn

from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.skeletons import COCO_17

ODD_SIZES = [(37, 53), (64, 48), (5, 3), (17, 1)]  # (h, w)
Shapes = dict[str, tuple[int, ...]]


# What the authors' files hold: names and shapes, listed here by themselves.


def cyclegan_layout(width: int = 64, blocks: int = 9) -> Shapes:
    layers: Shapes = {
        "model.1": (width, 3, 7, 7),
        "model.4": (2 * width, width, 3, 3),
        "model.7": (4 * width, 2 * width, 3, 3),
    }
    for i in range(10, 10 + blocks):
        layers[f"model.{i}.conv_block.1"] = layers[f"model.{i}.conv_block.5"] = (4 * width, 4 * width, 3, 3)
    layers[f"model.{10 + blocks}"] = (4 * width, 2 * width, 3, 3)  # transposed: inputs first
    layers[f"model.{13 + blocks}"] = (2 * width, width, 3, 3)
    layers[f"model.{17 + blocks}"] = (3, width, 7, 7)
    outputs = {name: shape[0] for name, shape in layers.items()}
    outputs |= {f"model.{10 + blocks}": 2 * width, f"model.{13 + blocks}": width}
    shapes = {f"{name}.weight": shape for name, shape in layers.items()}
    return shapes | {f"{name}.bias": (count,) for name, count in outputs.items()}


def _attention_layout(width: int) -> Shapes:
    return {
        "in_proj_weight": (3 * width, width),
        "in_proj_bias": (3 * width,),
        "out_proj.weight": (width, width),
        "out_proj.bias": (width,),
    }


def _layer_layout(width: int, hidden: int, attentions: tuple[str, ...]) -> Shapes:
    shapes = {f"{name}.{k}": v for name in attentions for k, v in _attention_layout(width).items()}
    shapes |= {"linear1.weight": (hidden, width), "linear1.bias": (hidden,)}
    shapes |= {"linear2.weight": (width, hidden), "linear2.bias": (width,)}
    for i in range(len(attentions) + 1):
        shapes |= {f"norm{i + 1}.weight": (width,), f"norm{i + 1}.bias": (width,)}
    return shapes


def stytr2_layout(width: int = 512, hidden: int = 2048, layers: int = 3) -> dict[str, Shapes]:
    transformer: Shapes = {"new_ps.weight": (width, width, 1, 1), "new_ps.bias": (width,)}
    for i in range(layers):
        for encoder in ("encoder_c", "encoder_s"):
            inner = _layer_layout(width, hidden, ("self_attn",))
            transformer |= {f"{encoder}.layers.{i}.{k}": v for k, v in inner.items()}
        inner = _layer_layout(width, hidden, ("self_attn", "multihead_attn"))
        transformer |= {f"decoder.layers.{i}.{k}": v for k, v in inner.items()}
    transformer |= {"decoder.norm.weight": (width,), "decoder.norm.bias": (width,)}
    a, b, c, d = width, width // 2, width // 4, width // 8
    convolutions = {
        1: (b, a),
        5: (b, b),
        8: (b, b),
        11: (b, b),
        14: (c, b),
        18: (c, c),
        21: (d, c),
        25: (d, d),
        28: (3, d),
    }
    decoder = {f"{i}.weight": (*pair, 3, 3) for i, pair in convolutions.items()}
    decoder |= {f"{i}.bias": pair[:1] for i, pair in convolutions.items()}
    return {
        "embedding": {"proj.weight": (width, 3, 8, 8), "proj.bias": (width,)},
        "transformer": transformer,
        "decoder": decoder,
    }


def random_state(shapes: Shapes) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}


def tiny_stytr2() -> StyTR2:
    return StyTR2(width=16, heads=2, layers=1, hidden=24, pooled=3)


def tiny_cyclegan() -> CycleGANGenerator:
    return CycleGANGenerator(width=2, blocks=1)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both networks small, for the command too."""
    kinds = style_weights.STYLE_MODELS
    cyclegan = replace(kinds["ukiyoe"], build=tiny_cyclegan, parts={"generator": style_cyclegan.released_names(1)})
    stytr2 = replace(kinds["monet"], build=tiny_stytr2, parts=style_stytr2.released_names(1))
    monkeypatch.setattr(style_weights, "STYLE_MODELS", {"ukiyoe": cyclegan, "monet": stytr2})


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
    state = random_state(_layer_layout(16, 24, ("self_attn",)))
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


# Painting: sizes, padding, the choice of the painting.


@pytest.mark.parametrize("size", ODD_SIZES)
def test_pictures_keep_their_size(size: tuple[int, int], tmp_path: Path) -> None:
    torch.manual_seed(0)
    _write_pictures(tmp_path, ["a.png"], [(40, 30)])
    picture = _noise(size)
    stytr2 = style_painters.stytr2_painter(tiny_stytr2(), [tmp_path / "a.png"], seed=0, max_side=1024)
    for paint in (stytr2, style_painters.cyclegan_painter(tiny_cyclegan(), max_side=1024)):
        painted = paint(picture, "x.jpg")
        assert painted.shape == picture.shape and painted.dtype == np.uint8
        assert np.array_equal(paint(picture, "x.jpg"), painted)


def test_large_pictures_are_worked_on_small_and_brought_back() -> None:
    seen: list[torch.Size] = []

    class Same(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.shape)
            return x

    picture = cv2.GaussianBlur(_noise((90, 200)), (0, 0), 9)
    painted = style_painters.cyclegan_painter(Same(), max_side=50)(picture, "")
    assert seen == [(1, 3, 24, 52)]
    assert painted.shape == picture.shape
    assert np.abs(painted.astype(int) - picture).mean() < 2
    exact = style_painters.cyclegan_painter(Same(), max_side=200)(picture, "")
    assert np.array_equal(exact, picture)


def test_padding_mirrors_beyond_the_right_and_lower_border() -> None:
    picture = _noise((18, 21))
    padded = style_painters.padded_to(picture, 8, 16)
    assert padded.shape == (24, 24, 3)
    assert np.array_equal(padded[:18, :21], picture)
    assert np.array_equal(padded[18:, :21], picture[16:10:-1])
    assert np.array_equal(padded[:18, 21:], picture[:, 19:16:-1])
    assert style_painters.padded_to(_noise((1, 2)), 4, 16).shape == (16, 16, 3)


def test_style_picture_covers_the_photo_with_its_middle() -> None:
    style = np.zeros((10, 40, 3), np.uint8)
    style[:, 15:25] = 200
    covered = style_painters.covering(style, (20, 20))
    assert covered.shape == (20, 20, 3)
    assert (covered == 200).mean() > 0.8
    for shape in ((7, 33), (33, 7), (10, 40), (1, 1)):
        assert style_painters.covering(style, shape).shape == (*shape, 3)


def test_choice_of_the_painting_depends_on_seed_and_name_alone_and_is_even() -> None:
    names = [f"{i:012d}.jpg" for i in range(3000)]
    first = [style_painters.chosen(5, 0, name) for name in names]
    assert first[:8] == [style_painters.chosen(5, 0, name) for name in names[:8]]
    assert first != [style_painters.chosen(5, 1, name) for name in names]
    assert np.bincount(first, minlength=5).min() > 520


def test_numbers_that_are_not_finite_are_an_error() -> None:
    model = tiny_cyclegan()
    nn.init.constant_(model.last.bias, float("nan"))
    with pytest.raises(InputError, match="not finite"):
        style_painters.cyclegan_painter(model, max_side=64)(_noise((20, 20)), "x")


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
        ("missing", r"transformer\): 1 tensors are missing \(the first 'decoder.norm.bias'\) and 0 are unexpected"),
        ("unexpected", r"1 are unexpected \(the first 'encoder_c.norm.weight'\)"),
        ("shape", r"'embedding.bias' \(17,\) where \(16,\) is expected"),
        ("part", "no file is StyTR2's decoder: give 3 files: embedding, transformer, decoder"),
        ("stranger", "holds nothing of StyTR2"),
        ("twice", "embedding, which another file was already"),
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


@pytest.mark.parametrize("save", [torch.save, lambda obj, path: path.write_bytes(pickle.dumps(obj))])
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


# Filters.


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A red coat on a grey gradient, with some texture."""
    rng = np.random.default_rng(0)
    picture = np.repeat(np.linspace(90, 230, 160)[:, None, None], 240, axis=1) * np.ones(3)
    picture += cv2.GaussianBlur(rng.normal(0, 30, picture.shape), (0, 0), 2)
    picture[40:120, 80:150] = (190, 30, 40)
    return picture.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", FILTERS)
def test_filters_change_the_picture_and_nothing_else(name: str, photo: np.ndarray) -> None:
    before = photo.copy()
    painted = FILTERS[name](photo)
    assert painted.shape == photo.shape and painted.dtype == np.uint8
    assert np.array_equal(photo, before)
    assert np.array_equal(FILTERS[name](photo), painted)
    assert (painted != photo).any(axis=2).mean() > 0.7


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("size", [*ODD_SIZES, (1, 1), (2, 7)])
def test_filters_take_any_size_and_flat_pictures(name: str, size: tuple[int, int]) -> None:
    for picture in (_noise(size), np.zeros((*size, 3), np.uint8), np.full((*size, 3), 255, np.uint8)):
        assert FILTERS[name](picture).shape == picture.shape


def test_each_filter_looks_as_its_name_says(photo: np.ndarray) -> None:
    coat = (slice(50, 110), slice(90, 140))
    posterised = FILTERS["posterise"](photo)
    assert 4 <= len(np.unique(posterised.reshape(-1, 3), axis=0)) <= 9
    assert posterised[coat].astype(int)[..., 0].mean() - posterised[coat].astype(int)[..., 1].mean() > 100  # still red
    drawn = FILTERS["sketch"](photo).astype(int)
    assert (drawn.max(axis=2) - drawn.min(axis=2)).max() <= 12 and np.median(drawn) > 200  # grey on light paper
    lines = FILTERS["edge"](photo)
    assert np.median(lines) == 0 and lines[coat].max() < 40
    assert lines[40:120, 77:84].max(axis=(1, 2)).min() > 100  # the coat's left border, without a gap
    painted = FILTERS["oil"](photo)
    assert np.abs(painted[coat].mean(axis=(0, 1)) - photo[coat].mean(axis=(0, 1))).max() < 45
    assert cv2.Laplacian(FILTERS["oil"](_noise((96, 96))), cv2.CV_32F).std() < 300  # detail gives way to dabs


@pytest.mark.parametrize("name", ["oil", "posterise", "sketch"])
def test_filters_do_not_move_anything(name: str, photo: np.ndarray) -> None:
    grey = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32) for p in (photo, FILTERS[name](photo))]
    (dx, dy), _ = cv2.phaseCorrelate(cv2.Sobel(grey[0], cv2.CV_32F, 1, 0), cv2.Sobel(grey[1], cv2.CV_32F, 1, 0))
    assert abs(dx) < 0.5 and abs(dy) < 0.5


# The folder.


def _noise(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def _write_pictures(folder: Path, names: list[str], sizes: list[tuple[int, int]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, size) in enumerate(zip(names, sizes, strict=True)):
        cv2.imwrite(str(folder / name), cv2.GaussianBlur(_noise(size, seed), (0, 0), 3))


def _run(*arguments: object) -> int:
    return make_coco_ood.main([str(argument) for argument in arguments])


def _files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


NAMES = [f"{i:012d}.jpg" for i in (139, 285, 632, 724, 776)]
SIZES = [(48, 64), (51, 37), (33, 40), (64, 48), (40, 41)]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A COCO of five pictures with a person each, COCO-WholeBody's file beside it."""
    root = tmp_path / "COCO"
    _write_pictures(root / "val2017", NAMES, SIZES)
    images = [
        {"id": i, "file_name": n, "width": w, "height": h}
        for i, (n, (h, w)) in enumerate(zip(NAMES, SIZES, strict=True))
    ]  # noqa: E501
    people = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [2, 2, 30, 28], "area": 840, "keypoints": [9, 9, 2] * 17}
        for i in range(len(NAMES))
    ]
    (root / "annotations").mkdir()
    content = json.dumps({"images": images, "annotations": people, "categories": []}, indent=3)
    (root / "annotations" / "person_keypoints_val2017.json").write_text(content)
    (root / "annotations" / "coco_wholebody_val_v1.0.json").write_text("{ }")
    return root


def test_filtered_pictures_stand_beside_cocos_and_can_be_read_as_a_data_set(coco: Path, capsys) -> None:
    before = _files(coco)
    assert _run("--style", "oil", "--data.root", coco) == 0
    assert "5 of 5 pictures, 5 made now, 0 failed" in capsys.readouterr().out
    assert before.items() <= _files(coco).items()
    made = coco / "val2017filter_oil"
    assert sorted(_files(made)) == [*NAMES, SETTINGS]
    people, problems = read_people(
        read_annotations(coco / "annotations" / "person_keypoints_val2017.json"), made, COCO_17
    )
    assert len(people) == 5 and not problems
    for file, size in zip(people.files, people.picture_sizes, strict=True):
        painted = read_picture(file, tuple(size))  # raises where the size is not the annotated one
        assert not np.array_equal(painted, read_picture(coco / "val2017" / file.name, tuple(size)))


@pytest.mark.parametrize(("style", "folder"), [("ukiyoe", "val2017ukiyoe"), ("monet", "val2017oil")])
def test_painted_pictures_have_the_released_folders_names(
    tiny: None, coco: Path, tmp_path: Path, style: str, folder: str
) -> None:
    _write_pictures(tmp_path / "monets", ["a.png", "b.jpg"], [(40, 30), (24, 50)])
    parts = {"g": cyclegan_layout(2, 1)} if style == "ukiyoe" else stytr2_layout(16, 24, 1)
    for part, shapes in parts.items():
        torch.save(random_state(shapes), tmp_path / f"{part}.pth")
    weights = tmp_path / "w.safetensors"
    assert _run("convert", *(tmp_path / f"{part}.pth" for part in parts), weights, "--style", style) == 0
    more = ["--style-pictures", tmp_path / "monets"] if style == "monet" else []
    command = ["--style", style, "--weights", weights, "--data.root", coco, "--device", "cpu", *more]
    assert _run(*command) == 0
    for name, size in zip(NAMES, SIZES, strict=True):
        assert cv2.imread(str(coco / folder / name)).shape == (*size, 3)
    settings = json.loads((coco / folder / SETTINGS).read_text())["settings"]
    assert len(settings["weights_sha256"]) == 64 and settings["max_side"] == 1024
    if style == "monet":
        assert [name for name, _ in settings["style_pictures"]] == ["a.png", "b.jpg"]
        assert _run(*command, "--seed", 1) == 1  # other paintings: another folder


def test_shards_make_the_bytes_of_one_run(coco: Path, tmp_path: Path) -> None:
    assert _run("--style", "sketch", "--data.root", coco, "--out", tmp_path / "whole") == 0
    for shard in ("2/3", "1/3", "3/3"):
        assert _run("--style", "sketch", "--data.root", coco, "--out", tmp_path / "parts", "--shard", shard) == 0
    whole = _files(tmp_path / "whole")
    assert len([name for name in whole if name.endswith(".jpg")]) == 5
    assert _files(tmp_path / "parts") == whole


def test_annotations_are_copied_byte_for_byte_with_their_hash(coco: Path, tmp_path: Path, capsys) -> None:
    command = ["--style", "posterise", "--data.root", coco, "--out", tmp_path / "new"]
    assert _run(*command) == 0
    copied, source = _files(tmp_path / "new" / "annotations"), _files(coco / "annotations")
    assert copied == source and len(copied) == 2
    notes = json.loads((tmp_path / "new" / "val2017filter_posterise" / SETTINGS).read_text())["notes"]
    assert sorted(notes["annotations_sha256"]) == [f"annotations/{name}" for name in sorted(source)]
    (tmp_path / "new" / "annotations" / "coco_wholebody_val_v1.0.json").write_text("{}")
    assert _run(*command) == 1
    assert "coco_wholebody_val_v1.0.json differs from" in capsys.readouterr().err


def test_interrupted_runs_go_on(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["--style", "edge", "--data.root", coco]
    assert _run(*command) == 0
    made = coco / "val2017filter_edge"
    whole = _files(made)
    (made / NAMES[1]).unlink()
    (made / f".{Path(NAMES[1]).stem}.abc123.part.jpg").write_bytes(b"half")
    painted: list[str] = []
    write = make_coco_ood.write_picture
    monkeypatch.setattr(make_coco_ood, "write_picture", lambda p, *a: (painted.append(p.name), write(p, *a))[1])
    assert _run(*command) == 0
    assert painted == [NAMES[1]]
    assert _files(made) == whole


def test_one_folder_holds_one_style(coco: Path, tmp_path: Path, capsys) -> None:
    assert _run("--style", "edge", "--data.root", coco) == 0
    before = _files(coco)
    assert _run("--style", "edge", "--data.root", coco, "--quality", 80) == 1
    assert "jpeg_quality was 95, now 80" in capsys.readouterr().err
    (coco / "val2017filter_edge").rename(coco / "val2017filter_oil")
    assert _run("--style", "oil", "--data.root", coco) == 1
    assert "style was 'edge', now 'oil'" in capsys.readouterr().err
    (coco / "val2017filter_oil" / SETTINGS).unlink()
    assert _run("--style", "oil", "--data.root", coco) == 1
    assert "unknown origin" in capsys.readouterr().err
    assert set(before.values()) >= set(_files(coco).values())


def test_png_stays_png_and_damaged_pictures_are_named_and_counted(tmp_path: Path, capsys) -> None:
    root = tmp_path / "people"
    _write_pictures(root / "images", ["a.png", "b.png"], [(30, 20), (30, 20)])
    (root / "images" / "b.png").write_bytes(b"no picture at all")
    (root / "annotations").mkdir()
    content = {"images": [{"id": i, "file_name": n} for i, n in enumerate(["a.png", "b.png", "a.png"])]}
    (root / "annotations" / "val.json").write_text(json.dumps(content | {"annotations": []}))
    assert _run("--style", "sketch", "--data.root", root) == 1
    assert "1 of 2 pictures, 1 made now, 1 failed" in capsys.readouterr().out
    made = root / "imagesfilter_sketch"
    expected = FILTERS["sketch"](cv2.imread(str(root / "images" / "a.png"))[..., ::-1])
    assert np.array_equal(cv2.imread(str(made / "a.png"))[..., ::-1], expected)
    assert not (made / "b.png").exists()


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg", "..\\x.jpg", "C:\\x.jpg", "x.gif"])
def test_file_names_that_lead_elsewhere_or_cannot_be_written_are_refused(coco: Path, name: str, capsys) -> None:
    content = {"images": [{"id": 1, "file_name": name}], "annotations": []}
    (coco / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(content))
    assert _run("--style", "sketch", "--data.root", coco) == 1
    message = capsys.readouterr().err
    assert "leads out of the folder" in message or "convert it first" in message
    assert not (coco / "val2017filter_sketch").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--style", "monet", "--data.root", "."],
        ["--style", "oil", "--weights", "w.safetensors", "--data.root", "."],
        ["--style", "monet", "--weights", "w.safetensors", "--data.root", "."],
        ["--style", "ukiyoe", "--weights", "w.safetensors", "--style-pictures", ".", "--data.root", "."],
        ["--style", "watercolour", "--data.root", "."],
        ["--style", "oil", "--data.root", ".", "--quality", "101"],
        ["convert", "a.pth", "b.safetensors", "--style", "oil"],
    ],
)
def test_wrong_usage_ends_with_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        _run(*arguments)
    assert stop.value.code == 2


def test_errors_end_with_status_1_and_one_line(coco: Path, tmp_path: Path, capsys) -> None:
    for arguments, message in [
        (["--style", "oil", "--data.root", tmp_path / "nowhere"], "no such folder"),
        (["--style", "oil", "--data.root", tmp_path], "give --data.annotations FILE"),
        (["--style", "oil", "--data.root", coco, "--data.images", "val"], "give --data.images FOLDER"),
        (["--style", "oil", "--data.root", coco, "--shard", "5/4"], "shard 5/4"),
        (["--style", "ukiyoe", "--weights", "w.safetensors", "--data.root", coco], "no such file"),
        (["--style", "ukiyoe", "--weights", "w", "--data.root", coco, "--device", "abacus"], "--device abacus"),
    ]:
        assert _run(*arguments) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_style_pictures_folder_must_hold_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture in it"):
        style_painters.find_style_pictures(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        style_painters.find_style_pictures(tmp_path / "absent")
