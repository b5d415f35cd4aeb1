"""The benchmark, on a tiny model; counted operations at full size; faster kernels."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from paths import GOLDEN

from sdpose_core.bench import run as bench_run
from sdpose_core.bench import ways as bench_ways
from sdpose_core.bench.modes import MODES, Mode, default_modes, parse_counts, parse_modes
from sdpose_core.bench.passes import fastest, measure_way, warm_up
from sdpose_core.bench.processes import forget_peak_memory, in_own_process, peak_memory
from sdpose_core.bench.run import CONFIGS, Settings, _differences, count_gflop
from sdpose_core.cli.main import main
from sdpose_core.errors import InputError
from sdpose_core.model import cpu_memory, onednn, strips
from sdpose_core.model.cpu_memory import MIN_TOKENS, return_freed_memory
from sdpose_core.model.network import SDPose
from sdpose_core.model.onednn import OneDNNAttention, OneDNNLinear, has_fast_onednn, optimize_for_cpu, self_attention

FLOPS = GOLDEN / "flops.json"
CPU = torch.device("cpu")
STAGES = ["crop", "vae", "unet", "head", "decode"]


@pytest.fixture(scope="module")
def flops() -> dict[str, float]:
    return json.loads(FLOPS.read_text())


@pytest.mark.parametrize(("model", "ceiling"), [
    ("wholebody", 0.86), ("body", 1.0),
])  # fmt: skip
@pytest.mark.slow
def test_operations_at_full_size(model: str, ceiling: float, flops: dict[str, float]) -> None:
    """The released way is the real one (6,891 GFLOP whole body), stage by stage; ours leaves out what nobody reads."""
    released = count_gflop("released", CONFIGS[model])
    assert released == pytest.approx(
        {"vae": flops["vae_encode_GF"], "unet": flops["unet_total_GF"], "head": flops[f"head_{model}_GF"]}, rel=0.01
    )
    if model == "wholebody":
        assert sum(released.values()) == pytest.approx(6891, rel=0.01)
    ours = count_gflop("ours", CONFIGS[model])
    assert sum(ours.values()) <= ceiling * sum(released.values())
    assert count_gflop("native", CONFIGS[model]) == released


@pytest.mark.slow  # builds 26 models of full size, without weights
@pytest.mark.parametrize(("model", "mode", "gflop"), [
    ("wholebody", "fp32", 5919), ("wholebody", "fp32-pool", 5380), ("wholebody", "fp32-576x768", 3125),
    ("wholebody", "fp32-384x512", 1324), ("wholebody", "bf16", 5919), ("wholebody", "fp16", 5856),
    ("wholebody", "fp16-pool", 5317),
    ("body", "fp32", 6721), ("body", "fp32-pool", 5736), ("body", "fp32-576x768", 3433),
    ("body", "fp32-384x512", 1416), ("body", "fp16", 6657), ("body", "fp16-pool", 5672),
])  # fmt: skip
def test_operations_of_each_mode(model: str, mode: str, gflop: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of docs/benchmark.md: strips are for fp32 and bf16 on a CPU; a flip test doubles the count."""
    monkeypatch.setattr(strips, "STRIP_ELEMENTS", 1 << 40)  # the count does not depend on it
    settings = Settings(model=model)
    counted = sum(count_gflop("ours", settings.config_in(MODES[mode]), MODES[mode]).values())
    assert counted == pytest.approx(gflop, abs=1)
    flipped = dataclasses.replace(MODES[mode], flip_test=True)
    assert sum(count_gflop("ours", settings.config_in(flipped), flipped).values()) == pytest.approx(2 * counted)


@pytest.fixture(scope="module", params=["body", "wholebody"])
def config(request: pytest.FixtureRequest):
    return Settings(model=request.param, tiny=True).config


def test_every_way_gives_the_same_heatmaps(config) -> None:
    """On the crop of the released way: same weights, same answer."""
    images = bench_ways.crop_tensor(config, "affine", CPU)
    heatmaps = {}
    with torch.no_grad():
        for way in bench_ways.WAYS:
            value = images
            for name, step in bench_ways.build(way, config, CPU, Mode("fp32")):
                value = step(value) if name in bench_ways.NETWORK_STAGES else value
            heatmaps[way] = value
    w, h = config.heatmap_size
    assert heatmaps["released"].shape == (1, config.num_keypoints, h, w)
    assert heatmaps["released"].abs().max() > 0.5, "a difference must not hide in maps that are nearly zero"
    for way in ("native", "ours"):
        torch.testing.assert_close(heatmaps[way], heatmaps["released"], rtol=0, atol=1e-4)


def test_approximations_are_modes_too() -> None:
    """Each runs, answers in the full crop's pixels, and is named an approximation."""
    settings = Settings(tiny=True)
    exact, answer = measure_way("ours", settings, "fp32")
    assert exact["seconds"] > 0 and MODES["fp32"].exact
    for name in ("fp32-pool", "fp32-384x512"):
        assert not MODES[name].exact
        _, other = measure_way("ours", settings, name)
        found = _differences(other, answer)
        assert (found["heatmap_difference"] is None) == (name != "fp32-pool")
        assert found["heatmap_difference"] is None or found["heatmap_difference"] > 1e-4, "it is another answer"
        away = np.nanmedian(other[1], axis=(0, 1)) / np.nanmedian(answer[1], axis=(0, 1))
        assert ((0.6 < away) & (away < 1.7)).all(), "in pixels of the full crop, which is three times as wide"


def test_native_way_stretches_the_tight_box() -> None:
    config = Settings(tiny=True).config
    affine, native = (bench_ways.crop_tensor(config, mode, CPU) for mode in ("affine", "stretch_native"))
    assert affine.shape == native.shape == (1, 3, 256, 192)
    assert (affine - native).abs().max() > 0.1


@pytest.mark.slow  # takes seconds
@pytest.mark.skipif(not has_fast_onednn(), reason="this PyTorch has not both MKL and oneDNN")
@pytest.mark.parametrize(("min_tokens", "faster"), [(MIN_TOKENS, True), (1, False), (1, True)])
def test_faster_kernels_keep_state_dict_and_answer(
    min_tokens: int, faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onednn, "MIN_TOKENS", min_tokens)
    monkeypatch.setattr(onednn, "blocks_are_faster", lambda _width, _dtype: faster)
    monkeypatch.setattr(onednn, "has_avx512", lambda: True)
    torch.manual_seed(0)
    config = Settings(tiny=True).config
    plain = SDPose(config).eval().requires_grad_(False)
    fast = optimize_for_cpu(copy.deepcopy(plain))
    assert any(type(module) is OneDNNLinear for module in fast.unet.modules())
    processors = [type(processor) for processor in fast.unet.attn_processors.values()]
    assert (OneDNNAttention in processors) is (faster and min_tokens == 1)
    assert fast.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in fast.state_dict().items())
    images = torch.rand(2, 3, 128, 64) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(fast.latents(images), plain.latents(images), rtol=0, atol=1e-5)
        torch.testing.assert_close(fast.features(images), plain.features(images), rtol=0, atol=1e-4)
        assert fast.heatmaps(images).is_contiguous()


@pytest.mark.parametrize("shape", [(64, 24), (2, 50, 24), (3, 24), (24,), (1, 1, 100, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_through_onednn(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    plain = torch.nn.Linear(24, 40, bias=bias)
    fast = OneDNNLinear(24, 40, bias=bias)
    fast.load_state_dict(plain.state_dict())
    x = torch.randn(shape)
    torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=1e-5)
    fast(x).sum().backward()
    plain(x).sum().backward()
    torch.testing.assert_close(fast.weight.grad, plain.weight.grad, rtol=1e-5, atol=1e-4)


def test_self_attention_in_chunks() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 1000, 3, 16) for _ in range(3))
    expected = torch.nn.functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (query, key, value)))
    torch.testing.assert_close(self_attention(query, key, value), expected.transpose(1, 2), rtol=0, atol=1e-5)


def test_models_in_training_or_half_precision_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "has_avx512", lambda: True)
    config = Settings(tiny=True).config
    for model in (SDPose(config), SDPose(config).requires_grad_(False).bfloat16()):
        assert not any(type(module) is OneDNNLinear for module in optimize_for_cpu(model).modules())


@pytest.mark.slow  # three processes that load PyTorch
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "bench.json"
    options = [
        "--model",
        "body",
        "--device",
        "cpu",
        "--modes",
        "fp32",
        "--dtype",
        "fp32",
        "--people",
        "1,2",
        "--frames",
        "2",
        "--json",
        str(file),
    ]
    assert main(["bench", "--tiny", *options]) == 0
    result = json.loads(file.read_text())
    table = capsys.readouterr().out
    assert list(result["ways"]) == ["released", "native", "ours"]
    for way, measured in result["ways"].items():
        assert list(measured["stages"]) == STAGES
        assert sum(stage.get("gflop", 0) for stage in measured["stages"].values()) == pytest.approx(measured["gflop"])
        assert measured["peak_memory_bytes"] is None or measured["peak_memory_bytes"] > 50e6
        assert way in table
    ours, released, native = (result["ways"][way] for way in ("ours", "released", "native"))
    assert {key: result[key] for key in ours} == ours, "the top level is ours"
    assert [each["load_average"] is None or each["load_average"] >= 0 for each in result["rounds"]] == [True] * 3
    assert all(
        set(each["cpu_seconds"]) == {"the released way", "ours, fp32", "the native way"} for each in result["rounds"]
    )
    for way, other in (("released", released), ("native", native)):
        pair = result["pairs"][way]
        assert result[f"ratio_to_{way}"] == pair["ratio"] == pytest.approx(pair["costs"][0] / pair["costs"][1])
        assert pair["spread"][0] <= pair["ratio"] <= pair["spread"][1]
        costs = result["rounds"][pair["round"] - 1]["cpu_seconds"]
        assert pair["costs"] == [costs["ours, fp32"], costs[f"the {way} way"]]
        assert min(each["cpu_seconds"][f"the {way} way"] for each in result["rounds"]) == other["cpu_seconds"]
        assert f"ours : {way} = {pair['ratio']:.2f} in CPU seconds" in table
    assert result["auto_dtype"] in ("fp32", "bf16") and f"--dtype auto: {result['auto_dtype']}" in table
    assert result["gflop_ratio_to_released"] == pytest.approx(ours["gflop"] / released["gflop"])
    assert result["gemm_gflops"] > 0
    assert result["heatmap_difference"] < 1e-4
    assert result["decode"]["shape"] == [64, 133, 64, 48]
    assert result["released_share_of_peak"] == released["share_of_peak"]
    assert result["released_share_of_matmul"] == pytest.approx(
        released["gflop"] / released["cpu_seconds"] / result["gemm"]["fp32"]
    )
    assert result["weights"] == "random" and "weights are random" in table
    assert ours["people_per_second"] == pytest.approx(1 / ours["seconds"])
    assert "fp32" in result["modes"]
    fp32 = result["modes"]["fp32"]
    assert fp32["heatmap_difference"] == 0 and fp32["exact"], "its own reference"
    assert [point["count"] for point in fp32["growth"]["people"]] == [1, 2]
    first, second = fp32["growth"]["frames"]
    assert second["cpu_seconds"] > first["cpu_seconds"]
    rate = fp32["growth"]["people"][1]["people_per_second"]
    assert f"fp32           2 in a batch: {rate:.3f} people/s" in table
    assert result["runs"] == 1 and "fp32 from fp32: " in table


def test_flip_and_several_people_give_the_estimators_heatmaps() -> None:
    config = Settings(tiny=True).config
    steps = dict(bench_ways.build("ours", config, CPU, Mode("fp32", flip_test=True)))
    torch.manual_seed(0)
    model = SDPose(config).eval().requires_grad_(False)
    torch.nn.init.normal_(model.head.final_layer.weight, std=model.head.final_layer.in_channels**-0.5)
    with torch.no_grad():
        images = steps["crop"](2)
        found = steps["head"](steps["unet"](steps["vae"](images)))
        torch.testing.assert_close(found, model.heatmaps(images, flip_test=True), rtol=0, atol=1e-4)


def test_crops_cut_on_the_device_are_the_same() -> None:
    config = Settings(tiny=True).config
    made, cut = bench_ways.crop_tensor(config, "affine", CPU, 2), bench_ways.device_crop_tensor(config, CPU, 2)
    assert cut.shape == made.shape and cut.abs().max() <= 1
    torch.testing.assert_close(cut, made, rtol=0, atol=1.01 * 2 / 255)


def test_reading_the_picture_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    picture = np.zeros((90, 60, 3), np.uint8)
    monkeypatch.setattr(bench_ways, "read_image", lambda path: reads.append(path) or picture)
    for _ in range(3):
        bench_ways.crop_tensor(Settings(tiny=True).config, "affine", CPU, picture=tmp_path / "a.png")
    assert len(reads) == 1


@pytest.mark.parametrize(("name", "passes"), [("bf16", 2), ("bf16-compile", 3), ("bf16-graphs", 5)])
def test_compiling_and_recording_graphs_are_not_measured(name: str, passes: int) -> None:
    people: list[int] = []
    steps = [("crop", people.append)]
    first = warm_up(steps, 4, CPU, MODES[name])
    fastest(steps, 4, CPU, runs=2)
    assert people == [4] * passes and (first is None) == (passes == 2)


def test_only_ours_gives_up_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA the released way has what PyTorch does by itself: slowed down it would be a straw man."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    for way in ("released", "native", "ours"):
        measure_way(way, Settings(tiny=True), "fp32")
        assert torch.backends.cudnn.allow_tf32 == (way != "ours")


@pytest.mark.parametrize(("option", "words"), [
    ("--weights", "other"), ("--picture", "not a picture"), ("--json", "folder"), ("--plot", "folder"),
])  # fmt: skip
def test_wrong_files_are_told_before_anything_is_measured(
    option: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def never(*_args: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(bench_run, "in_own_process", never)
    (tmp_path / "other.txt").write_text("other")
    target = tmp_path if words == "folder" else tmp_path / "other.txt"
    assert main(["bench", option, str(target), "--device", "cpu"]) == 1
    assert words in capsys.readouterr().err


def test_passes_by_device() -> None:
    assert [Settings().runs_on(kind) for kind in ("cpu", "cuda")] == [1, 10]
    assert Settings(runs=3).runs_on("cuda") == 3


def test_modes() -> None:
    assert default_modes(CPU, "fp32") == ("fp32",) and default_modes(CPU, "bf16") == ("fp32", "bf16")
    assert set(default_modes(torch.device("cuda"), "bf16")) <= set(MODES)
    assert MODES["bf16-autotune"].compile_mode == "max-autotune"
    assert parse_modes("bf16, fp32-flip") == ("bf16", "fp32-flip")
    with pytest.raises(InputError, match="fp33.*fp32"):
        parse_modes("fp33")


@pytest.mark.parametrize("text", ["", "0,1", "2,1", "1,1", "a"])
def test_wrong_counts(text: str) -> None:
    assert parse_counts("1,2,8") == (1, 2, 8)
    with pytest.raises(InputError, match="1,2,4,8"):
        parse_counts(text)


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib, of the extra 'train'")
    from sdpose_core.bench.report import plot

    points = [{"count": n, "cpu_seconds": n * 2.0, "peak_memory_bytes": 1e9} for n in (1, 2, 4)]
    modes = {"fp32": {"growth": {"people": points, "frames": points}}, "bf16": {}}
    result = {"model": "body", "device": "cpu", "processor": "a CPU", "weights": "random", "modes": modes}
    plot(result, tmp_path / "cost.png")
    assert (tmp_path / "cost.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(("share", "tiny", "device", "spread", "warned"), [
    (0.74, False, "cpu", 0.1, "torch.matmul"), (0.76, False, "cpu", 0.1, None), (0.1, True, "cpu", 0.5, None),
    (0.1, False, "cuda", 0.1, None), (0.9, False, "cuda", 0.4, "varied by 0.40 over the rounds"),
])  # fmt: skip
def test_a_slow_baseline_and_a_wide_spread_are_told(
    share: float, tiny: bool, device: str, spread: float, warned: str | None
) -> None:
    from sdpose_core.bench.report import _warnings

    pairs = {"released": {"ratio": 0.7, "spread": [0.6, 0.6 + spread]}}
    lines = _warnings({"released_share_of_matmul": share, "tiny": tiny, "device": device, "pairs": pairs})
    assert len(lines) == bool(warned) and (warned or "") in "".join(lines)


@pytest.mark.slow  # a process that loads PyTorch
def test_peak_memory_is_of_one_process() -> None:
    """What the parent has used does not count."""
    here = np.ones(40_000_000)  # 320 MB
    measured = in_own_process(peak_memory, CPU)
    assert here.sum() == 40_000_000
    if measured is None:
        pytest.skip("peak memory is not known on this system")
    assert measured < 320e6 + 50e6


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux can forget a process's peak")
def test_a_peak_is_forgotten() -> None:
    assert np.ones(40_000_000).sum() == 40_000_000  # 320 MB, for a moment
    before = peak_memory(CPU)
    forget_peak_memory()
    after = peak_memory(CPU)
    assert before is not None and after is not None and after < before - 300e6


@pytest.mark.parametrize(("change", "words"), [
    ({"model": "face"}, "body, wholebody"), ({"runs": 0}, "at least 1"), ({"rounds": 0}, "rounds: expected at least 1"),
])  # fmt: skip
def test_wrong_settings(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        dataclasses.replace(Settings(), **change)


def test_freed_memory_goes_back_after_stages_of_full_size_in_inference_only(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[int] = []
    monkeypatch.setattr(cpu_memory, "_trim", lambda: trims.append)
    small, large = torch.zeros(1, 4, 32, 24), torch.zeros(1, 4, 128, 96)
    for enabled, tensor, count in [(False, small, 0), (True, large, 0), (False, large, 1)]:
        with torch.set_grad_enabled(enabled):
            assert return_freed_memory(tensor) is tensor
        assert len(trims) == count


def test_points_that_one_way_loses_are_counted() -> None:
    maps, scores = np.zeros((1, 2, 4, 4), np.float32), np.full((1, 2), 0.9, np.float32)
    reference = (maps, np.array([[[5.0, 5.0], [1.0, 1.0]]]), scores)
    answer = (maps, np.array([[[np.nan, np.nan], [1.0, 1.5]]]), scores)
    found = _differences(answer, reference)
    assert found["lost_keypoints"] == 1 and found["keypoint_difference_px"] == 0.5
    nothing = (maps, np.full((1, 2, 2), np.nan), scores)
    assert _differences(nothing, nothing)["keypoint_difference_px"] is None


@pytest.mark.parametrize("name", ["weights", "picture"])
def test_missing_files_are_told_before_anything_is_measured(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing.*does not exist"):
        Settings(**{name: tmp_path / "nothing"})
