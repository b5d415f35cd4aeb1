"""Facts about speed and memory that can be counted, so that no machine's speed decides: see docs/benchmark.md."""

from __future__ import annotations

import copy
import shutil
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from sdpose_core.bench.modes import MODES, Mode
from sdpose_core.bench.run import Settings, count_gflop
from sdpose_core.checkpoints.layouts import save_checkpoint
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.model import network, onednn, strips, winograd
from sdpose_core.model.backbone import VAEEncoder
from sdpose_core.model.config import WHOLEBODY, VAEConfig
from sdpose_core.model.folding import ConstantCrossAttention, fold_constants
from sdpose_core.model.network import SDPose
from sdpose_core.model.tiny_encoder import TinyEncoder

RELEASED_GFLOP = 6891


def tiny_model(model: str = "wholebody", **options: bool) -> SDPose:
    torch.manual_seed(0)
    made = SDPose(Settings(model=model, tiny=True).config, **options).eval().requires_grad_(False)
    torch.nn.init.normal_(made.head.final_layer.weight)
    return made


def calls_of(module: torch.nn.Module) -> list[int]:
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


# --- operations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("device", "gflop"), [("cpu", 5919), ("cuda", 5856)])
def test_operations_of_a_whole_body(device: str, gflop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU the VAE pays 1% for its memory. Its convolutions count as plain ones, see `model/winograd.py`."""
    monkeypatch.setattr(strips, "STRIP_ELEMENTS", 1 << 40)  # the count does not depend on it
    monkeypatch.setattr(winograd, "has_avx512", lambda: True)
    monkeypatch.setattr(winograd, "gain", lambda _channels: pytest.fail("measured, and so counted"))
    counted = count_gflop("ours", WHOLEBODY, Mode("fp32"), device)
    assert sum(counted.values()) == pytest.approx(gflop, rel=1e-3)
    assert sum(counted.values()) <= 0.86 * RELEASED_GFLOP
    assert counted["unet"] == pytest.approx(2090, rel=1e-3)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("fp32-flip", "bf16-compile"), id="one of each kind"),
        pytest.param([name for name, mode in MODES.items() if mode.exact], id="all"),
    ],
)
@pytest.mark.slow
def test_operations_of_every_mode(names: Sequence[str]) -> None:
    """Half precision and compilation change none; a flip test doubles them."""
    config = Settings(tiny=True).config
    plain = sum(count_gflop("ours", config, Mode("fp32"), "cuda").values())
    for name in names:
        counted = sum(count_gflop("ours", config, MODES[name], "cuda").values())
        assert counted == pytest.approx(plain * (2 if MODES[name].flip_test else 1), rel=1e-6), name


# --- what runs, and how often --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "blocks"), [("body", 4), ("wholebody", 3)])
def test_several_people_and_both_flip_halves_are_one_batch(model: str, blocks: int) -> None:
    made = fold_constants(tiny_model(model))
    vae = calls_of(made.vae)
    parts = [*made.unet.down_blocks, made.unet.mid_block, *made.unet.up_blocks]
    calls = [calls_of(part) for part in parts]
    head = calls_of(made.head)
    with torch.no_grad():
        assert made.heatmaps(torch.zeros(3, 3, 64, 64), flip_test=True).shape[0] == 3
    assert len(parts) == 4 + 1 + blocks
    assert [len(c) for c in (vae, *calls, head)] == [1] * (len(parts) + 2)


@pytest.mark.parametrize("model", ["body", "wholebody"])
def test_folded_constants_give_the_same_answer(model: str) -> None:
    plain = tiny_model(model)
    folded = fold_constants(copy.deepcopy(plain))
    images = torch.rand(2, 3, 128, 64) * 2 - 1
    with torch.no_grad():
        expected, found = plain.heatmaps(images), folded.heatmaps(images)
    assert expected.abs().max() > 0.5
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert sum(p.numel() for p in folded.parameters()) < sum(p.numel() for p in plain.parameters())
    assert fold_constants(folded) is folded


def test_keys_values_and_embedding_are_not_computed_again() -> None:
    plain = tiny_model()
    crossing = [block.attn2 for block in plain.unet.modules() if isinstance(getattr(block, "attn2", None), Attention)]
    calls = [calls_of(layer) for attention in crossing for layer in (attention.to_k, attention.to_v)]
    embedding = calls_of(plain.unet.time_embedding), calls_of(plain.unet.class_embedding)
    folded = fold_constants(plain)
    with torch.no_grad():
        for _ in range(2):
            folded.heatmaps(torch.zeros(1, 3, 64, 64))
    assert len(crossing) == 13 and not any(calls), "folded from the weights"
    assert [len(c) for c in embedding] == [1, 1]
    assert sum(isinstance(module, ConstantCrossAttention) for module in folded.unet.modules()) == 13
    assert not any(name.endswith("time_emb_proj") for name, _ in folded.unet.named_modules())


@pytest.mark.slow
def test_constants_of_half_precision_are_rounded_once(tmp_path: Path) -> None:
    """Computed in float32 from the file's own numbers, then cast: also where the file holds more than is asked for."""
    model = tiny_model()
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(model.state_dict(), model.config, path)
    exact = load_sdpose(path, device="cpu", dtype="fp32", fold=True).state_dict()
    for dtype in (torch.bfloat16, torch.float16):
        half = load_sdpose(path, device="cpu", dtype=dtype, fold=True).state_dict()
        assert half.keys() == exact.keys()
        assert all(torch.equal(half[name], exact[name].to(dtype)) for name in exact)
        save_checkpoint(model.state_dict(), model.config, tmp_path / "half.safetensors", dtype=dtype)
        wide = load_sdpose(tmp_path / "half.safetensors", device="cpu", dtype="fp32", fold=True).state_dict()
        bias = "unet.mid_block.resnets.0.conv1.bias"
        assert not torch.equal(wide[bias], wide[bias].to(dtype).float()), "not rounded to the file's dtype"
    assert load_sdpose(path, device="cpu", fold=True).unet.is_folded


@pytest.mark.slow
def test_a_vae_in_float32_beside_a_half_precision_u_net_has_the_files_own_weights(tmp_path: Path) -> None:
    model = tiny_model()
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(model.state_dict(), model.config, path)
    mixed = load_sdpose(path, device="cpu", dtype="bf16", vae_dtype="fp32")
    for name, value in mixed.state_dict().items():
        expected = model.state_dict()[name] if name.startswith("vae.") else model.state_dict()[name].bfloat16()
        assert torch.equal(value, expected) and value.dtype == expected.dtype, name
    assert mixed.dtype == torch.bfloat16


def test_only_a_frozen_model_for_poses_is_folded_and_it_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frozen"):
        fold_constants(tiny_model(with_rgb_branch=True))
    with pytest.raises(InputError, match="frozen"):
        fold_constants(tiny_model().requires_grad_(True))
    folded = fold_constants(tiny_model())
    with pytest.raises(CheckpointError, match="constants folded .*: save a model loaded without fold=True"):
        save_checkpoint(folded.state_dict(), folded.config, tmp_path / "folded.safetensors")
    with torch.no_grad(), pytest.raises(InputError, match="RGB branch"):
        folded.reconstruct(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_heatmaps_in_half_precision_have_fine_steps(dtype: torch.dtype) -> None:
    """About a maximum the values differ by less than bf16 can tell; so the last layer is float32."""
    head = tiny_model().head.to(dtype)
    with torch.no_grad():
        heatmaps = head(torch.randn(1, 32, 8, 8).to(dtype))
    assert heatmaps.dtype == torch.float32
    assert (heatmaps != heatmaps.to(dtype).float()).float().mean() > 0.5


@pytest.mark.parametrize(("layers", "strip_elements"), [(1, 1 << 21), (2, 1), (2, 3000), (3, 3000)])
def test_vae_in_place_equals_diffusers(layers: int, strip_elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP_ELEMENTS", strip_elements)
    torch.manual_seed(0)
    config = VAEConfig((8, 8, 16, 16), layers, norm_num_groups=4)
    vae = VAEEncoder(config).eval().requires_grad_(False)
    plain = AutoencoderKL(
        block_out_channels=config.block_out_channels,
        layers_per_block=layers,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    plain.load_state_dict(vae.state_dict(), strict=False)
    images = torch.rand(2, 3, 64, 128) * 2 - 1
    with torch.no_grad():
        expected = plain.encode(images).latent_dist.mode() * config.scaling_factor
        torch.testing.assert_close(vae(images), expected, rtol=0, atol=1e-5)


# --- memory --------------------------------------------------------------------------------------------------------


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that are alive, on any device; "meta" has sizes but needs no memory."""

    def __init__(self, weights: Any) -> None:
        super().__init__()
        self.known = {weight.untyped_storage()._cdata for weight in weights}
        self.live = self.peak = 0

    def __torch_dispatch__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._see, result)
        return result

    def _see(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size


def peak_bytes(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, *, in_strips: bool, people: int = 1, passes: int = 1
) -> tuple[int, int]:
    """Bytes of the weights, and of all other tensors at the worst moment, at full size."""
    # Fused attention, on a GPU as in `model/onednn.py`, holds no scores worth counting.
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", lambda query, *_, **__: query.clone())
    with torch.device("meta"):
        model = SDPose(WHOLEBODY).eval().requires_grad_(False).to(dtype)
    fold_constants(model)
    model.vae.in_strips = in_strips
    weights = [*model.parameters(), *model.buffers()]
    images = torch.empty(people, 3, 1024, 768, device="meta", dtype=dtype)
    with torch.inference_mode(), LiveBytes(weights) as count:
        peaks = set()
        for _ in range(passes):
            model.heatmaps(images)
            peaks.add(count.peak)
    assert len(peaks) == 1, "passes add up"
    return sum(weight.nbytes for weight in weights), count.peak


def test_the_counter_counts() -> None:
    x = torch.empty(1000, device="meta")
    with LiveBytes([x]) as count:
        y = x + 1
        assert count.live == 4000
        y = (y * 2).view(10, 100)
        assert (count.live, count.peak) == (4000, 8000)
        assert x.view(10, 100).shape == y.shape and count.live == 4000
        del y
    assert (count.live, count.peak) == (0, 8000)


@pytest.mark.slow
def test_memory_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """With half a gigabyte for Python and its libraries that makes 4.5 GB at most; frames do not add up."""
    weights, peak = peak_bytes(torch.float32, monkeypatch, in_strips=True, passes=2)
    assert weights + peak < 3.95e9


def test_memory_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16 and one person: an 8 GB card has room for eight times the activations, a 6 GB card runs."""
    weights, peak = peak_bytes(torch.float16, monkeypatch, in_strips=False)
    assert weights + peak < 4e9
    two_weights, two = peak_bytes(torch.float16, monkeypatch, in_strips=False, people=2)
    assert two_weights == weights
    assert two <= 2.05 * peak


@pytest.mark.slow
def test_the_vae_takes_a_few_pictures_at_a_time_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest tensors are its first block's: 0.2 GB of each picture. The U-Net's and the head's grow on."""
    with torch.device("meta"):
        model = fold_constants(tiny_model())
    calls: list[int] = []
    model.vae.register_forward_hook(lambda _module, inputs, _output: calls.append(len(inputs[0])))
    with torch.no_grad():
        assert model.heatmaps(torch.empty(9, 3, 128, 64, device="meta")).shape[0] == 9
    assert calls == [4, 4, 1]
    _, four = peak_bytes(torch.float16, monkeypatch, in_strips=False, people=4)
    _, eight = peak_bytes(torch.float16, monkeypatch, in_strips=False, people=8)
    assert eight < 1.5 * four


class OverwritingVAE(torch.nn.Module):
    """As recorded in a CUDA graph: each pass writes its answer over that of the pass before."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1), requires_grad=False)
        self.answer = torch.empty(9, 4, 8, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer = self.answer[: len(images)]
        return answer.copy_(images[:, :1, ::8, ::8].expand_as(answer))


def test_latents_of_a_recorded_vae_outlive_its_next_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine people are three passes, as on a GPU."""
    monkeypatch.setattr(SDPose, "_vae_at_once", staticmethod(lambda _images: 4))
    model = tiny_model()
    model.vae, model.records_graphs = OverwritingVAE(), True
    latents = model.latents(torch.arange(9.0)[:, None, None, None].expand(9, 3, 64, 64))
    assert torch.equal(latents[:, 0, 0, 0], torch.arange(9.0))


@pytest.mark.slow  # compiles
def test_compiling_makes_two_graphs_of_each_part_for_all_numbers_of_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_in_place, graphs = torch.nn.Module.compile, dict.fromkeys(("VAEEncoder", "PoseUNet"), 0)

    def counting(module: torch.nn.Module, *, dynamic: bool | None, mode: str | None) -> None:
        def backend(graph: torch.fx.GraphModule, _inputs: list) -> object:
            graphs[type(module).__name__] += 1
            return graph.forward

        assert mode is None
        compile_in_place(module, dynamic=dynamic, backend=backend)

    monkeypatch.setattr(torch.nn.Module, "compile", counting)
    plain = fold_constants(tiny_model())
    compiled = copy.deepcopy(plain)
    monkeypatch.setattr(network, "need_compiler", lambda _device: None)
    compiled.vae.in_strips = False  # as on a GPU
    compiled.compile_backbone()
    with torch.inference_mode():
        for count in (2, 3, 1, 8, 5, 1):
            images = torch.rand(count, 3, 128, 64) * 2 - 1
            torch.testing.assert_close(compiled.heatmaps(images), plain.heatmaps(images), rtol=1e-4, atol=1e-4)
    torch.compiler.reset()
    assert 1 <= graphs["VAEEncoder"] <= 2 and 1 <= graphs["PoseUNet"] <= 2


@pytest.mark.slow  # compiles
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
def test_a_compiled_block_gives_the_same_answer() -> None:
    """Really compiled, on a CPU; a whole U-Net would take many minutes."""
    layer = fold_constants(tiny_model()).unet.down_blocks[0].attentions[0].transformer_blocks[0]
    tokens = torch.randn(1, 128, 16)
    with torch.inference_mode():
        torch.testing.assert_close(torch.compile(layer)(tokens), layer(tokens), rtol=1e-4, atol=1e-4)
    torch.compiler.reset()


@pytest.mark.slow
def test_layers_with_faster_kernels_are_compiled_as_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "has_avx512", lambda: True)
    monkeypatch.setattr(onednn, "blocks_are_faster", lambda _width, _dtype: True)
    monkeypatch.setattr(onednn, "MIN_TOKENS", 1)
    monkeypatch.setattr(onednn, "MIN_ROWS", 1)
    unet = onednn.optimize_for_cpu(fold_constants(tiny_model())).unet
    layer = unet.down_blocks[0].attentions[0].transformer_blocks[0]
    assert any(type(module) is onednn.OneDNNLinear for module in layer.modules())
    whole = torch.compile(layer, backend="eager", fullgraph=True, dynamic=True)  # raises at a break
    tokens = torch.randn(1, 128, 16)
    with torch.inference_mode():
        torch.testing.assert_close(whole(tokens), layer(tokens), rtol=1e-4, atol=1e-4)
    torch.compiler.reset()


@pytest.mark.parametrize(("mode", "device", "parts", "graphs"), [
    ("default", "cpu", ["PoseUNet"], False),
    ("default", "cuda", ["VAEEncoder", "PoseUNet"], False),
    ("reduce-overhead", "cuda", ["VAEEncoder", "PoseUNet"], True),
    ("max-autotune", "cuda", ["VAEEncoder", "PoseUNet"], True),
])  # fmt: skip
@pytest.mark.parametrize("given", [False, True], ids=["where it is", "where it will be"])
def test_what_each_compile_mode_compiles(
    mode: str, device: str, parts: list[str], graphs: bool, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA graphs overwrite their output, so latents are copied. A program may load on a CPU for a GPU."""
    compiled: list[tuple[str, str]] = []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **how: compiled.append((type(self).__name__, how["mode"]))
    )
    tried: list[torch.device] = []
    monkeypatch.setattr(network, "need_compiler", tried.append)
    monkeypatch.setattr(SDPose, "device", torch.device("cpu" if given else device))
    with torch.device("meta"):
        model = tiny_model()
    where = torch.device(device) if given else None
    model.compile_backbone(mode, where)
    assert tried == [torch.device(device)]
    assert compiled == [(part, mode) for part in parts]
    assert model.records_graphs is graphs
    model.vae = TinyEncoder(width=8)
    compiled.clear()
    model.compile_backbone(mode, where)
    assert compiled == [("TinyEncoder", mode), ("PoseUNet", mode)], "it has no strips"
