"""Heatmap head: U-Net features to K heatmaps at a quarter of the input size."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from .aggregation import GatedAggregation, LatentReconstruction, enlarged
from .config import GATED, STRIDE_OF_LEVEL, SDPoseConfig

INITIAL_STD = 0.001
"""Of the last layer's random weights, so that the first heatmaps are near zero."""
CHANNELS_AT_ONCE = 160  # on a CPU in float32


class HeatmapHead(nn.Module):
    """Deconvolution(s) to heatmap size, then two 1 x 1 convolutions; as wide as its input feature.

    The released head (F1 or F2) has one deconvolution, from latent size to twice that. F3 and F4 are two and four
    times smaller and get one and two more. Several levels are fused first: 1 x 1 convolutions to the width of the
    finest level, enlarged to its size, summed; or by a `GatedAggregation`.

    Args:
        config: of the model.
        with_reconstruction: also build what reconstructs the clean latent from the (fused) feature.
    """

    def __init__(self, config: SDPoseConfig, *, with_reconstruction: bool = False) -> None:
        super().__init__()
        self.finest_level = config.finest_level
        widths = config.feature_widths
        width = widths[self.finest_level]
        deconvolutions = 1 + int(math.log2(STRIDE_OF_LEVEL[self.finest_level]))
        self.deconv_layers = nn.Sequential(*(layer for _ in range(deconvolutions) for layer in _deconvolution(width)))
        convolution = nn.Conv2d(width, width, kernel_size=1)
        self.conv_layers = nn.Sequential(convolution, nn.InstanceNorm2d(width), nn.SiLU(inplace=True))
        self.final_layer = nn.Conv2d(width, config.num_keypoints, kernel_size=1)
        self.fusion = nn.ModuleDict()
        self.aggregation = GatedAggregation(config) if config.aggregation == GATED else None
        self.reconstruction = LatentReconstruction(config) if with_reconstruction else None
        if len(widths) > 1 and self.aggregation is None:
            self.fusion.update({level: nn.Conv2d(w, width, kernel_size=1) for level, w in widths.items()})
        # as usual for heatmap heads; the paper does not specify it
        nn.init.normal_(self.final_layer.weight, std=INITIAL_STD)
        nn.init.zeros_(bias_of(self.final_layer))

    def fuse(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Features of the configured levels -> one (N, C, h, w) of the finest level's width and size."""
        if self.aggregation is not None:
            return self.aggregation(features)
        if not self.fusion:
            return features[self.finest_level]
        size = features[self.finest_level].shape[-2:]
        parts = [layer(features[level]) for level, layer in self.fusion.items()]
        return torch.stack([enlarged(part, size) for part in parts]).sum(dim=0)

    def reconstruct(self, feature: torch.Tensor) -> torch.Tensor:
        """Fused feature (N, C, h, w) -> clean latents (N, 4, H/8, W/8) of an (H, W) input; of a head built with it."""
        assert self.reconstruction is not None
        return self.reconstruction(feature)

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Fused feature (N, C, h, w) -> heatmaps (N, K, H/4, W/4) of an (H, W) input."""
        feature = feature.contiguous()  # instance norm would copy other layouts twice
        by_groups = feature.device.type in ("cpu", "meta") and not torch.is_grad_enabled()
        layers = self._plain_layers() if by_groups and feature.dtype == torch.float32 else None
        return self.in_whole_layers(feature) if layers is None else _by_groups(feature, *layers)

    def in_whole_layers(self, feature: torch.Tensor) -> torch.Tensor:
        """`forward` without the channel groups that it uses on a CPU."""
        return last_layer(self.final_layer, self.conv_layers(self.deconv_layers(feature)))

    def _plain_layers(self) -> tuple[nn.ConvTranspose2d, nn.Conv2d, nn.Conv2d] | None:
        """The weighted layers of a head with one deconvolution; None if a host has replaced their classes."""
        deconvolution, convolution, last = self.deconv_layers[0], self.conv_layers[0], self.final_layer
        if type(deconvolution) is not nn.ConvTranspose2d or type(convolution) is not nn.Conv2d:
            return None
        usable = len(self.deconv_layers) == 3 and type(last) is nn.Conv2d
        return (deconvolution, convolution, last) if usable else None


def last_layer(layer: nn.Conv2d, feature: torch.Tensor) -> torch.Tensor:
    """The last layer of a head; half-precision weights run in float32, as their rounding would move a map's maximum."""
    is_half = layer.weight.dtype in (torch.float16, torch.bfloat16)
    if type(layer) is not nn.Conv2d or not is_half:  # other classes cast their weights themselves
        return layer(feature)
    weight, bias = layer.weight.float(), bias_of(layer).float()
    return F.conv2d(feature.float(), weight, bias, padding=layer.padding, groups=layer.groups)


def _by_groups(
    feature: torch.Tensor, deconvolution: nn.ConvTranspose2d, convolution: nn.Conv2d, last: nn.Conv2d
) -> torch.Tensor:
    """The head, one group of channels at a time: one full-size tensor in memory instead of three.

    Instance norm works per channel, so only the order of the last sum differs.
    """
    n, width, h, w = feature.shape
    wide = feature.new_empty(n, width, 2 * h, 2 * w)
    for group in _groups(width):
        part = F.conv_transpose2d(feature, deconvolution.weight[:, group], stride=2, padding=1)
        wide[:, group] = F.silu(F.instance_norm(part), inplace=True)
    heatmaps = bias_of(last)[:, None, None].repeat(n, 1, 2 * h, 2 * w)
    for group in _groups(width):
        part = F.conv2d(wide, convolution.weight[group], bias_of(convolution)[group])
        part = F.silu(F.instance_norm(part), inplace=True)
        heatmaps += F.conv2d(part, last.weight[:, group])
    return heatmaps


def bias_of(layer: nn.Conv2d) -> torch.Tensor:
    """The bias of a layer that has one, for the type checker."""
    assert layer.bias is not None
    return layer.bias


def _groups(width: int) -> list[slice]:
    return [slice(start, start + CHANNELS_AT_ONCE) for start in range(0, width, CHANNELS_AT_ONCE)]


def _deconvolution(width: int) -> tuple[nn.Module, ...]:
    """Layers that double the size."""
    deconvolution = nn.ConvTranspose2d(width, width, kernel_size=4, stride=2, padding=1, bias=False)
    return deconvolution, nn.InstanceNorm2d(width), nn.SiLU(inplace=True)
