"""SDPose: pictures -> latents -> U-Net features -> heatmaps; and its RGB branch for training."""

# ruff: noqa: E402
from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from ..dependencies import require

# before the imports below, so that the error names the extra to install
require("torch", "SDPose")
require("diffusers", "SDPose")

import torch
from torch import nn

from ..codec.heatmaps import flip_back
from ..errors import InputError
from .attention_maps import AttentionReadOut, AttentionUNet
from .backbone import POSE, RGB, PoseUNet, VAEEncoder
from .compiling import need_compiler
from .config import POSE_PASS, SDPoseConfig
from .cpu_memory import return_freed_memory
from .devices import AS_ASKED
from .empty_prompt import EMPTY_PROMPT_WIDTH, empty_prompt_embedding
from .head import HeatmapHead


class Prediction(NamedTuple):
    """Heatmaps (N, K, H/4, W/4) float32 and RGB latents (N, 4, H/8, W/8); None for a task that was not run."""

    heatmaps: torch.Tensor | None
    rgb_latents: torch.Tensor | None


VAE_AT_ONCE = 4
"""Pictures in the VAE at a time on a GPU: its first block holds several tensors of 0.2 GB per picture in fp16."""


class SDPose(nn.Module):
    """The network of SDPose (arXiv 2509.24980) with random weights; `load_sdpose` returns a trained one.

    State dict: `vae.*`, `unet.*` (both with diffusers' names), `head.*` and `empty_prompt_embedding`.
    With `config.read_out` "cross_attention", it is another network: see `attention_maps.py`. It has no RGB branch, and
    its head has the learned condition in place of `empty_prompt_embedding`.

    Args:
        config: what to build.
        with_rgb_branch: also build what only the RGB task needs: later up-blocks and output convolution, or the
            layers that reconstruct the latent from the pose pass.

    Attributes:
        approximations: JSON values that name what changes the checkpoint's results, see `approximations.py`.
        why_dtype: why `load_sdpose` chose the dtype, see `devices.DtypeChoice`.
        empty_prompt_embedding: (1, T, cross_attention_dim), the text encoder's output for "".
    """

    empty_prompt_embedding: torch.Tensor | None

    def __init__(self, config: SDPoseConfig, *, with_rgb_branch: bool = False) -> None:
        super().__init__()
        self.config = config
        self.with_rgb_branch = with_rgb_branch
        self.vae_is_frozen = True
        self.records_graphs = False
        self.approximations: dict[str, Any] = {}
        self.why_dtype = AS_ASKED
        self.vae = VAEEncoder(config.vae)
        self.unet: PoseUNet
        self.head: HeatmapHead | AttentionReadOut
        if config.reads_attention:
            if with_rgb_branch:
                raise InputError('read_out "cross_attention" has no class label, so no RGB task: turn it off')
            self.unet = AttentionUNet(config.unet, config.feature_levels, config.num_keypoints)
            self.head = AttentionReadOut(config)
            self.register_buffer("empty_prompt_embedding", None)
            if config.unet.cross_attention_dim == EMPTY_PROMPT_WIDTH and not self.head.keypoint_embeddings.is_meta:
                self.head.start_from(empty_prompt_embedding())
            return
        from_pose = config.reconstruction == POSE_PASS
        self.unet = PoseUNet(config.unet, config.feature_levels, with_rgb_branch and not from_pose)
        self.head = HeatmapHead(config, with_reconstruction=with_rgb_branch and from_pose)
        text = torch.randn(1, 2, config.unet.cross_attention_dim)
        known = config.unet.cross_attention_dim == EMPTY_PROMPT_WIDTH and not text.is_meta
        self.register_buffer("empty_prompt_embedding", empty_prompt_embedding() if known else text)

    @property
    def device(self) -> torch.device:
        """The device of the U-Net."""
        return self.unet.conv_in.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the U-Net's weights."""
        return self.unet.conv_in.weight.dtype

    def latents(self, images: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Images (N, 3, H, W) in [-1, 1], RGB, H and W multiples of 64 -> (N, 4, H/8, W/8): VAE mean x 0.18215.

        With standard normal `noise` of the result's shape, a sample of the VAE's distribution instead of its mean.
        The VAE is frozen (paper, section 4): no gradients, no autocast. Set `vae_is_frozen` to False to train it.
        """
        if images.ndim != 4 or images.shape[1] != 3 or any(side < 64 or side % 64 for side in images.shape[2:]):
            raise InputError(
                f"images: expected (N, 3, H, W) with H and W multiples of 64, got {tuple(images.shape)}; "
                f"this model was made for (W, H) = {self.config.input_size}"
            )
        if not len(images):
            h, w = images.shape[2] // 8, images.shape[3] // 8
            return images.new_zeros((0, self.config.vae.latent_channels, h, w), dtype=self.dtype)
        inputs = (images,) if noise is None else (images, noise)
        if not self.vae_is_frozen:
            return self.vae(*inputs)
        on_meta = images.device.type == "meta"  # has no autocast
        as_is = nullcontext() if on_meta else torch.autocast(images.device.type, enabled=False)
        with torch.no_grad(), as_is:
            dtype = next(self.vae.parameters()).dtype
            latents = self._encode(*(values.to(dtype) for values in inputs)).to(self.dtype)
        return return_freed_memory(latents)

    def _encode(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The VAE, on a GPU a few pictures at a time to limit its memory."""
        parts = []
        at_once = self._vae_at_once(inputs[0])
        for part in zip(*(values.split(at_once) for values in inputs), strict=True):
            latents = self.vae(*part)
            # the next CUDA graph, of the VAE or the U-Net, overwrites the output
            parts.append(latents.clone() if self.records_graphs else latents)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @staticmethod
    def _vae_at_once(images: torch.Tensor) -> int:
        return max(len(images), 1) if images.device.type == "cpu" else VAE_AT_ONCE

    def text(self, count: int) -> torch.Tensor:
        """(count, T, cross_attention_dim): what the U-Net gets in place of a text, for so many samples."""
        condition = self.head.text() if isinstance(self.head, AttentionReadOut) else self.empty_prompt_embedding
        assert condition is not None
        return condition.repeat(count, 1, 1)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Images as in `latents` -> (N, C, h, w): the configured level, or several fused (or attention maps)."""
        return self.features_of(self.latents(images))

    def features_of(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents (N, 4, h, w) -> features as in `features`."""
        if not len(latents):  # their shape is that of a sample
            return self.features_of(latents.new_zeros((1, *latents.shape[1:])))[:0]
        features, _ = self._unet(latents, (POSE,))
        return self.head.fuse(features)

    def heatmaps(self, images: torch.Tensor, flip_test: bool = False) -> torch.Tensor:
        """Images as in `latents` -> (N, K, H/4, W/4) float32; `flip_test` averages with the mirrored images' result."""
        if not flip_test:
            return self(images).heatmaps
        indices = list(self.config.flip_indices)
        straight, mirrored = self(torch.cat([images, images.flip(-1)])).heatmaps.chunk(2)
        return (straight + flip_back(mirrored, indices)) * 0.5

    def reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        """Images as in `latents` -> (N, 4, H/8, W/8): the U-Net's output for the RGB task, class label [0, 1].

        If the model reconstructs from the pose pass, the result of the head's layers for it.
        """
        latents = self(images, tasks=(RGB,)).rgb_latents
        assert latents is not None
        return latents

    def forward(
        self, images: torch.Tensor | None = None, *, latents: torch.Tensor | None = None, tasks: Sequence[str] = (POSE,)
    ) -> Prediction:
        """Run the tasks "pose", "rgb" or both; the entry point for DDP and FSDP.

        Both are one batch of the U-Net; or one pass, if the model reconstructs from the pose pass.

        Args:
            images: as in the method `latents`; None if latents are passed.
            latents: (N, 4, h, w), h and w multiples of 8.
            tasks: "pose", "rgb".
        """
        if images is not None and latents is None:
            latents = self.latents(images)
        elif latents is None or images is not None:
            raise InputError("expected either images or latents")
        if not len(latents):
            return self._of_nothing(latents, tasks)
        if self.config.reconstruction == POSE_PASS:
            return self._from_pose_pass(latents, tasks)
        features, rgb_latents = self._unet(latents, tasks)
        heatmaps = self.head(self.head.fuse(features)).float() if features else None
        return Prediction(heatmaps, rgb_latents)

    def _of_nothing(self, latents: torch.Tensor, tasks: Sequence[str]) -> Prediction:
        """What `forward` returns for latents (0, 4, h, w), which convolution and attention do not take."""
        wanted = self._wanted(tasks)
        h, w = latents.shape[2] * 2, latents.shape[3] * 2
        heatmaps = latents.new_zeros((0, self.config.num_keypoints, h, w), dtype=torch.float32)
        return Prediction(heatmaps if POSE in wanted else None, latents.to(self.dtype) if RGB in wanted else None)

    def _from_pose_pass(self, latents: torch.Tensor, tasks: Sequence[str]) -> Prediction:
        """Both tasks from one pass of the U-Net, with the class label of the pose."""
        wanted, head = self._wanted(tasks), self.head
        assert isinstance(head, HeatmapHead)
        feature = self.features_of(latents)
        heatmaps = head(feature).float() if POSE in wanted else None
        return Prediction(heatmaps, head.reconstruct(feature) if RGB in wanted else None)

    def enable_gradient_checkpointing(self) -> None:
        """Recompute the U-Net's activations in the backward pass: less memory, slower."""
        self.unet.enable_gradient_checkpointing()

    def compile_backbone(self, mode: str | None = None, device: torch.device | None = None) -> None:
        """`torch.compile` VAE and U-Net in place, at their first run; names of tensors stay.

        Each part has one graph for a single crop and one for other batch sizes. On a CPU the VAE stays as it is: its
        strips are faster than compiled whole layers, which take 2 GB more; with `vae.in_strips` False it is compiled.

        Args:
            mode: as in `torch.compile`; None is "default". "reduce-overhead" records CUDA graphs, one per batch size:
                faster for small batches on fast cards. "max-autotune" also tries several kernels for each layer.
            device: where it will run; None: where it is.

        Raises:
            MissingDependency: `torch.compile` does not work here, for instance without a C++ compiler.
        """
        self.config.need_features("compilation")
        device = device or self.device
        need_compiler(device)
        self.records_graphs = mode in ("reduce-overhead", "max-autotune") and device.type == "cuda"
        is_vae = isinstance(self.vae, VAEEncoder)  # not a tiny encoder
        if is_vae and device.type != "cpu":
            self.vae.in_strips = False
        for part in (self.unet,) if is_vae and self.vae.in_strips is None else (self.vae, self.unet):
            part.compile(dynamic=True, mode=mode)

    def _unet(self, latents: torch.Tensor, tasks: Sequence[str]) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """Features and RGB latents of the tasks; pose samples come first in the batch."""
        wanted = self._wanted(tasks)
        if self.unet.is_folded:
            features, rgb_latents = self.unet(latents.to(self.dtype), None, None, num_pose=len(latents))
            return_freed_memory(latents)
            return features, rgb_latents
        count = len(latents)
        embedding = self.unet.embedding(self.config.timestep, [task for task in wanted for _ in range(count)])
        batch = torch.cat([latents.to(self.dtype)] * len(wanted))
        return self.unet(batch, embedding, self.text(len(batch)), num_pose=count if POSE in wanted else 0)

    def _wanted(self, tasks: Sequence[str]) -> list[str]:
        """The tasks in the order of the batch. Raises `InputError`."""
        wanted = [task for task in (POSE, RGB) if task in tasks]
        if len(wanted) != len(tasks) or not wanted:
            raise InputError(f'tasks: expected "pose", "rgb" or both, got {tuple(tasks)}')
        if RGB in wanted and not self.with_rgb_branch:
            raise InputError("this SDPose was built without its RGB branch: build it with with_rgb_branch=True")
        return wanted
