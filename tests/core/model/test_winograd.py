"""Winograd's convolution against the plain one, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sdpose_core.model import winograd
from sdpose_core.model.onednn import has_fast_onednn
from sdpose_core.model.strips import WinogradConv2d, conv_in_strips

pytestmark = pytest.mark.skipif(not has_fast_onednn(), reason="not an x86 CPU with MKL and oneDNN")

SAME = (1, 1, 1, 1)


def layer(inputs: int, outputs: int, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias).requires_grad_(False)


def exact(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    bias = None if conv.bias is None else conv.bias.double()
    return F.conv2d(x.double(), conv.weight.double(), bias, padding=1)


def test_the_transforms_are_exact():
    """One line: a polynomial identity, checked in float64 for every input and every weight."""
    inputs, weights = (matrix.double() for matrix in (winograd._INPUT, winograd._WEIGHT))
    line = torch.einsum("yt,ti,tk->yik", winograd._OUTPUT.double(), inputs, weights)
    expected = torch.zeros(4, 6, 3, dtype=torch.float64)
    for y in range(4):
        for k in range(3):
            expected[y, y + k, k] = 1
    torch.testing.assert_close(line, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tiles_at_once", [1, 7, 384])
@pytest.mark.parametrize(
    ("n", "inputs", "outputs", "h", "w"), [(1, 8, 8, 32, 64), (2, 8, 12, 44, 40), (1, 12, 8, 56, 28)]
)
@pytest.mark.parametrize("bias", [True, False])
def test_it_equals_a_convolution(monkeypatch, n, inputs, outputs, h, w, bias, tiles_at_once):
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 8)
    monkeypatch.setattr(winograd, "pays", lambda _channels: True)
    monkeypatch.setattr(winograd, "_TILES_AT_ONCE", tiles_at_once)
    conv, x = layer(inputs, outputs, bias), torch.randn(n, inputs, h, w)
    shape = (n, outputs, h, w)
    assert winograd.is_wide(conv) and winograd.suits(torch.empty(shape))
    with torch.inference_mode():
        found = conv_in_strips(conv, x, SAME)
        torch.testing.assert_close(found.double(), exact(conv, x), rtol=0, atol=1e-5)
        start = torch.randn(shape).contiguous(memory_format=torch.channels_last)
        summed = conv_in_strips(conv, x, SAME, add_to=start.clone(memory_format=torch.preserve_format))
        torch.testing.assert_close(summed.double(), exact(conv, x) + start, rtol=0, atol=1e-5)
        if inputs == outputs:
            place = x.contiguous(memory_format=torch.channels_last).clone(memory_format=torch.preserve_format)
            assert conv_in_strips(conv, place, SAME, in_place=True) is place
            torch.testing.assert_close(place, found, rtol=0, atol=1e-6)


@pytest.mark.parametrize("avx512", [True, False])
def test_rounding_is_that_of_a_plain_convolution(monkeypatch, avx512):
    """At a real width, with either library for the products; also with a mean far from zero."""
    monkeypatch.setattr(winograd, "has_avx512", lambda: avx512)
    monkeypatch.setattr(winograd, "gain", lambda _channels: 2.0)
    conv, x = layer(256, 256), F.silu(torch.randn(1, 256, 40, 40)) + 0.5
    plain, wanted = conv(x), exact(conv, x)
    conv.__class__ = WinogradConv2d
    with torch.inference_mode(), FlopCounterMode(display=False) as count:
        found = conv(x)
    operations = count.get_total_flops() / (18 * 256 * 256 * 40 * 40)
    assert 0.25 < operations < 0.25 * 1.35, "a quarter; more for the transforms of 100 tiles and of all weights"

    def error(y: torch.Tensor) -> float:
        return float((y - wanted).square().mean().sqrt() / wanted.std())

    assert not torch.equal(found, plain) and error(found) < 3 * max(error(plain), 5e-7)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 256, 40, 42), None), ((1, 256, 16, 16), None), ((1, 256, 40, 40), torch.bfloat16)]
)
def test_other_sizes_and_dtypes_stay_plain(shape, dtype):
    conv, x = layer(256, 16).to(dtype), torch.randn(shape).to(dtype or torch.float32)
    plain = conv(x)
    conv.__class__ = WinogradConv2d
    with torch.inference_mode():
        assert torch.equal(conv(x), plain)


def test_gradients_need_the_plain_convolution():
    conv, x = layer(128, 128), torch.randn(1, 128, 40, 40, requires_grad=True)
    conv.__class__ = WinogradConv2d
    conv(x).sum().backward()
    assert x.grad is not None


def test_with_avx512_it_is_used_where_a_measurement_says_so(monkeypatch):
    monkeypatch.setattr(winograd, "gain", {128: 1.1, 256: 1.2, 512: 2.0}.__getitem__)
    for avx512, expected in ((True, [False, False, True, True, True]), (False, [False, True, True, True, True])):
        monkeypatch.setattr(winograd, "has_avx512", lambda fast=avx512: fast)
        assert [winograd.is_wide(layer(64, 512).to("meta"))] + [
            winograd.is_wide(nn.Conv2d(count, 1024, 3, device="meta")) for count in (128, 320, 512, 640)
        ] == expected


def test_what_is_measured_is_the_same_convolution(monkeypatch):
    def compare(new, old, rounds):
        torch.testing.assert_close(new(), old(), rtol=1e-4, atol=1e-2)
        return 1.5

    monkeypatch.setattr(winograd, "times_as_fast", compare)
    with torch.inference_mode():
        assert winograd.gain.__wrapped__(128) == 1.5
