"""Which dtype "auto" is on a CPU, why, and what runs in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.models.attention_processor import Attention
from tiny import make_checkpoint

from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.cli.batch import _what_must_agree
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.estimation.sdpose import PoseEstimator
from sdpose_core.model import devices, onednn, processor, timing
from sdpose_core.model.devices import AS_ASKED, choose_dtype, fp32_on_cpu, pick_dtype
from sdpose_core.model.onednn import (
    OneDNNAttention,
    OneDNNLinear,
    has_fast_onednn,
    optimize_for_cpu,
    pays_for,
    self_attention,
)
from sdpose_core.model.processor import bf16_pays, is_right_on_small_maps
from sdpose_core.model.timing import times_as_fast

CPU = torch.device("cpu")
AVX2 = {"avx2", "fma"}
AVX512 = AVX2 | {"avx512f", "avx512bw"}
ZEN_4 = AVX512 | {"avx512_bf16"}
SAPPHIRE_RAPIDS = ZEN_4 | {"amx_bf16", "amx_tile"}
NEOVERSE = {"asimd", "bf16"}


def pretend(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], *, gain: float | None = None, right: bool | None = None,
    limit: str = "", by_onednn: bool = True,
) -> None:  # fmt: skip
    """A processor with these flags; what is None must not be measured."""
    measured = {"bf16_gain": gain, "is_right_on_small_maps": right}
    for name, value in measured.items():

        def answer(*_: object, name: str = name, value: object = value) -> object:
            assert value is not None, f"{name}: bf16 ran on a processor that may not have it"
            return value

        monkeypatch.setattr(processor, name, answer)
    monkeypatch.setattr(processor, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(processor, "onednn_uses_bf16", lambda: by_onednn)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)


@pytest.mark.parametrize(("flags", "found", "bf16", "why"), [
    pytest.param(AVX2, {}, False, "CPU without bf16 instructions", id="AVX2"),
    pytest.param(AVX512, {}, False, "CPU without bf16 instructions", id="AVX512 without bf16"),
    pytest.param(ZEN_4, {"gain": 2.2, "right": True}, True, "CPU with AVX512-BF16", id="AVX512-BF16"),
    pytest.param(ZEN_4, {"gain": 1.29, "right": True}, False,
                 "CPU with AVX512-BF16, where bf16 was not clearly faster when measured", id="AVX512-BF16, but slow"),
    pytest.param(ZEN_4, {"limit": "avx2"}, False,
                 "CPU without bf16 instructions that ONEDNN_MAX_CPU_ISA=AVX2 allows", id="oneDNN limited"),
    pytest.param(ZEN_4, {"by_onednn": False}, False, "CPU with AVX512-BF16, which this PyTorch does not use", id="old"),
    pytest.param(SAPPHIRE_RAPIDS, {"gain": 4.0, "right": True}, True, "CPU with AMX-BF16", id="AMX"),
    pytest.param(SAPPHIRE_RAPIDS, {"right": False}, False,
                 "CPU with AMX-BF16, whose bf16 gives wrong numbers for pictures as small as the network's; with "
                 "ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 it may be right", id="AMX with NaN"),
    pytest.param(SAPPHIRE_RAPIDS, {"gain": 2.0, "right": True, "limit": "AVX512_CORE_BF16"}, True,
                 "CPU with AVX512-BF16", id="AMX turned off"),
    pytest.param(SAPPHIRE_RAPIDS, {"gain": 4.0, "right": True, "limit": "all"}, True, "CPU with AMX-BF16", id="all"),
    pytest.param(NEOVERSE, {"gain": 2.0, "right": True, "limit": "DEFAULT"}, True, "CPU with ARM's BF16", id="ARM"),
    pytest.param({"asimd"}, {}, False, "CPU without bf16 instructions", id="older ARM"),
])  # fmt: skip
def test_what_auto_is_on_processors(
    flags: set[str], found: dict, bf16: bool, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, flags, **found)
    for automatic in (None, "auto"):
        assert choose_dtype(automatic, CPU) == (torch.bfloat16 if bf16 else torch.float32, why)
    assert choose_dtype("fp32", CPU) == choose_dtype(torch.float32, CPU) == (torch.float32, AS_ASKED)
    assert pick_dtype("bf16", CPU) == torch.bfloat16
    assert fp32_on_cpu("auto", "cpu") == fp32_on_cpu(None, "cpu") == "fp32"
    assert (fp32_on_cpu("bf16", "cpu"), fp32_on_cpu(None, "meta")) == ("bf16", None)


def test_this_processor_is_known() -> None:
    processor.cpu_flags.cache_clear()
    assert all(isinstance(flag, str) for flag in processor.cpu_flags())
    pays, why = bf16_pays((12, 16))
    assert why.startswith("CPU with") and (pays is False or why.startswith("CPU with "))


def test_small_maps_are_compared_with_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_small_layers", lambda h, w: [(lambda x: x * h * w, torch.ones(2))])
    assert is_right_on_small_maps.__wrapped__((1, 1))
    nan = [(lambda x: x * float("nan") if x.dtype == torch.bfloat16 else x, torch.ones(2))]
    for size in ((1, 1), (2, 2)):
        monkeypatch.setattr(processor, "_small_layers", lambda h, w, size=size: nan if (w, h) == size else [])
        assert not is_right_on_small_maps.__wrapped__((1, 1))
    off = [(lambda x: x * 1.05 if x.dtype == torch.bfloat16 else x, torch.ones(2))]
    monkeypatch.setattr(processor, "_small_layers", lambda h, w: off)
    assert not is_right_on_small_maps.__wrapped__((1, 1))


def test_small_layers_in_bf16_are_those_in_float32() -> None:
    """On this processor, whose bf16 may be slow but is right."""
    layers = list(processor._small_layers(1, 2))[:10]
    assert {x.shape[1] for _, x in layers if x.ndim == 4} == {8, 32}
    assert all(processor._agrees(layer, x) for layer, x in layers)


def test_times_are_the_best_of_interleaved_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(timing, "_clock", lambda: now[0])
    ran: list[str] = []

    def takes(name: str, *seconds: float) -> object:
        left = list(seconds)

        def run() -> None:
            ran.append(name)
            now[0] += left.pop(0)

        return run

    new, old = takes("new", 3, 9, 1, 5), takes("old", 7, 2, 8, 4)
    assert times_as_fast(new, old, rounds=3) == 2
    assert ran == ["old", "new"] * 4
    ran.clear()
    assert times_as_fast(takes("new", 50), takes("old", 1), rounds=3) == 0.02
    assert ran == ["old", "new"], "hopeless: once"
    monkeypatch.setattr(timing, "_clock", lambda: 0.0)
    assert times_as_fast(takes("new", *[1] * 4), takes("old", *[1] * 4), rounds=3) == 0, "a coarse clock"


def test_no_facts_about_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container or a sandbox that gives none."""

    def refuse(*_: object, **__: object) -> object:
        raise PermissionError

    monkeypatch.setattr(processor.Path, "read_text", refuse)
    monkeypatch.setattr(processor.subprocess, "run", refuse)
    monkeypatch.setattr(processor.sys, "platform", "darwin")
    assert "bf16" not in processor.cpu_flags.__wrapped__()
    assert isinstance(processor.processor_name(), str)


# --- what the choice does ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


def loaded(checkpoint: Path, **options: object) -> PoseEstimator:
    estimator = load_estimator(checkpoint, device="cpu", **options)
    assert isinstance(estimator, PoseEstimator)
    return estimator


def test_the_choice_is_recorded_told_and_overruled(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, ZEN_4, gain=2.2, right=True)
    found = loaded(checkpoint)
    settings = found.meta()["settings"]
    assert (settings["dtype"], settings["dtype_reason"]) == ("bfloat16", "CPU with AVX512-BF16")
    assert "vae_dtype" not in settings, "the same"
    assert found.notes == ["CPU with AVX512-BF16: computing in bf16 (dtype fp32 for exact results)"]
    settings = loaded(checkpoint, vae_dtype="fp32").meta()["settings"]
    assert (settings["dtype"], settings["vae_dtype"]) == ("bfloat16", "float32")
    asked = loaded(checkpoint, dtype="fp32")
    assert (asked.meta()["settings"]["dtype"], asked.meta()["settings"]["dtype_reason"]) == ("float32", AS_ASKED)
    assert not asked.notes
    pretend(monkeypatch, ZEN_4, gain=1.1, right=True)
    slow = loaded(checkpoint)
    assert slow.meta()["settings"]["dtype"] == "float32"
    assert slow.notes == ["CPU with AVX512-BF16, where bf16 was not clearly faster when measured: computing in fp32"]
    pretend(monkeypatch, AVX2)
    assert not loaded(checkpoint).notes


def test_processes_of_a_batch_share_the_dtype_but_not_its_reason(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, ZEN_4, gain=2.2, right=True)
    first = _what_must_agree(loaded(checkpoint).meta())
    assert first["settings"]["dtype"] == "bfloat16"
    assert _what_must_agree(loaded(checkpoint, dtype="bf16").meta()) == first
    pretend(monkeypatch, AVX2)
    assert _what_must_agree(loaded(checkpoint).meta()) != first


def test_bf16_is_checked_on_the_smallest_map_of_the_model(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, SAPPHIRE_RAPIDS, gain=4.0)
    sizes = []
    monkeypatch.setattr(processor, "is_right_on_small_maps", lambda size: sizes.append(size) or size >= (12, 16))
    model = load_sdpose(checkpoint, device="cpu")
    w, h = model.config.input_size
    assert sizes == [(w // 64, h // 64)] and model.dtype == torch.float32
    assert devices.pick_dtype(None, CPU) == torch.bfloat16, "the usual crop has no such small maps"


# --- kernels -------------------------------------------------------------------------------------------------------


def attention_error(dtype: torch.dtype, attention: object, heads: list[torch.Tensor]) -> float:
    """The largest error relative to the largest value, from float64 on the same numbers."""
    given = [x.to(dtype) for x in heads]
    query, key, value = (x.double() for x in given)
    scores = torch.einsum("nlhd,nmhd->nhlm", query, key) * query.shape[3] ** -0.5
    exact = torch.einsum("nhlm,nmhd->nlhd", scores.softmax(dim=-1), value)
    return float((attention(*given).double() - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize("common", [0, 8])
def test_attention_in_bf16_against_float64(common: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """As accurate as PyTorch's, also where keys share a large vector; in blocks that do not divide.

    Products are summed in float32, as instructions for bf16 do; processors without them sum in bf16.
    """
    monkeypatch.setattr(onednn, "QUERIES_AT_ONCE", 48)
    monkeypatch.setattr(onednn, "product", lambda a, b: (a.float() @ b.float().T).to(a.dtype))
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 200, 2, 16) for _ in range(3))
    heads = [query, key + common, value]

    def by_torch(*given: torch.Tensor) -> torch.Tensor:
        answer = torch.nn.functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in given))
        return answer.transpose(1, 2)

    assert attention_error(torch.float32, self_attention, heads) < 1e-5
    error = attention_error(torch.bfloat16, self_attention, heads)
    assert error < 0.01, error
    assert error < 2 * attention_error(torch.bfloat16, by_torch, heads)


@pytest.mark.skipif(not has_fast_onednn(), reason="this PyTorch has not both MKL and oneDNN")
@pytest.mark.parametrize("vae_dtype", [torch.float32, torch.bfloat16])
def test_a_model_in_bf16_is_prepared_too(
    checkpoint: Path, vae_dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, ZEN_4)
    measured = set()

    def faster(width: int, dtype: torch.dtype) -> bool:
        measured.add((width, dtype))
        return dtype == torch.bfloat16

    monkeypatch.setattr(onednn, "blocks_are_faster", faster)
    model = load_sdpose(checkpoint, dtype="bf16", vae_dtype=vae_dtype, device="cpu")
    assert not measured, "a small crop has too few tokens to measure"
    monkeypatch.setattr(onednn, "MIN_TOKENS", 1)
    monkeypatch.setattr(onednn, "has_avx512", lambda: True)
    optimize_for_cpu(model)
    assert {dtype for _, dtype in measured} == {vae_dtype, torch.bfloat16}
    for part, kind in ((model.vae, vae_dtype), (model.unet, torch.bfloat16)):
        layers = [module for module in part.modules() if isinstance(module, Attention)]
        assert layers and all(isinstance(x.processor, OneDNNAttention) is (kind == torch.bfloat16) for x in layers)
        kernels = [p for p in part.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
        assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    assert all((type(x) is OneDNNLinear) is (x.weight.dtype == torch.float32) for x in linear)


def test_blocks_are_for_many_tokens_on_a_cpu_without_gradients() -> None:
    many = torch.empty(1, 8192, 1)
    with torch.no_grad():
        assert pays_for(many) and pays_for(many.bfloat16()) and pays_for(torch.empty(1, 1, 128, 64))
        assert not pays_for(many.half()) and not pays_for(many[:, :8191]) and not pays_for(many.to("meta"))
    assert not pays_for(many)


@pytest.mark.parametrize(("gain", "faster"), [(1.19, False), (1.2, True), (0.5, False)])
def test_a_near_tie_goes_to_pytorch(gain: float, faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "times_as_fast", lambda new, old, rounds: gain)
    monkeypatch.setattr(onednn, "has_avx512", lambda: True)
    pretend(monkeypatch, ZEN_4)
    assert onednn.blocks_are_faster.__wrapped__(64, torch.bfloat16) is faster
    pretend(monkeypatch, AVX2)
    assert not onednn.blocks_are_faster.__wrapped__(64, torch.bfloat16), "no instructions: not even measured"
    assert onednn.blocks_are_faster.__wrapped__(64, torch.float32) is faster
    assert not onednn.blocks_are_faster.__wrapped__(64, torch.float16)
    monkeypatch.setattr(onednn, "has_avx512", lambda: False)
    assert not onednn.blocks_are_faster.__wrapped__(64, torch.float32), "known to be slower: not even measured"
