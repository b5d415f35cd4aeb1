"""Convolutions in strips, and the layers of a model that use them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sdpose_core.bench.run import Settings
from sdpose_core.model import strips, winograd
from sdpose_core.model.backbone import VAEEncoder
from sdpose_core.model.config import VAEConfig
from sdpose_core.model.folding import fold_constants
from sdpose_core.model.network import SDPose
from sdpose_core.model.onednn import has_fast_onednn, optimize_for_cpu

pytestmark = pytest.mark.skipif(not has_fast_onednn(), reason="not an x86 CPU with MKL and oneDNN")


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for few channels and few tiles."""
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 8)
    monkeypatch.setattr(winograd, "pays", lambda _channels: True)
    monkeypatch.setattr(winograd, "MIN_TILES", 1)


@torch.no_grad()
def test_wide_convolutions_of_a_model_use_it_where_it_pays(narrow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    plain = fold_constants(SDPose(Settings(tiny=True).config).eval().requires_grad_(False))
    fast = optimize_for_cpu(copy.deepcopy(plain))
    changed = [module for module in fast.unet.modules() if isinstance(module, strips.WinogradConv2d)]
    assert len(changed) > 30 and fast.state_dict().keys() == plain.state_dict().keys()
    assert not any(module.stride != (1, 1) or module.in_channels < 8 for module in changed)
    used: list[int] = []
    convolve = winograd.Winograd.__call__
    monkeypatch.setattr(winograd.Winograd, "__call__", lambda self, *a: (used.append(1), convolve(self, *a))[1])
    latents = torch.randn(1, 4, 24, 16)
    torch.testing.assert_close(fast.features_of(latents), plain.features_of(latents), rtol=1e-4, atol=1e-4)
    assert used
    with torch.enable_grad():
        used.clear()
        fast.features_of(latents)
    assert not used, "which has no gradients"


@torch.no_grad()
def test_statistics_of_strips() -> None:
    """Also of values far from zero, whose squares lose digits in float32."""
    torch.manual_seed(0)
    norm = nn.GroupNorm(2, 8, eps=1e-6)
    nn.init.normal_(norm.weight)
    x = (torch.randn(2, 8, 40, 30) + 1000).contiguous(memory_format=torch.channels_last)
    rows, seen = x.permute(0, 2, 3, 1), strips.Statistics()
    for start in range(0, 40, 7):
        seen.add(rows[:, start : start + 7])
    found = torch.empty_like(rows)
    seen.group_norm_silu(norm)(rows, found)
    exact = nn.functional.silu(copy.deepcopy(norm).double()(x.double())).permute(0, 2, 3, 1)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-3)  # steps of the input: 6e-5


@torch.no_grad()
def test_strips_in_bfloat16() -> None:
    """As close to float32 as whole layers in bfloat16."""
    torch.manual_seed(0)
    vae = VAEEncoder(VAEConfig((8, 8, 16, 16), 1, norm_num_groups=4)).eval().requires_grad_(False)
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    exact, half = vae(images), copy.deepcopy(vae).bfloat16()
    found = half(images.bfloat16())
    half.in_strips = False
    whole = half(images.bfloat16())
    error, of_whole = ((values.float() - exact).abs().mean() for values in (found, whole))
    assert found.dtype == torch.bfloat16 and not torch.equal(found, whole)
    assert error < 1.2 * of_whole < 0.05 * exact.abs().mean()
