"""Memory of one training step, found by running it on tensors without values (PyTorch's meta device).

Every tensor that PyTorch makes in the step is counted while it lives, at any size of model and picture, on any machine.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from sdpose_core.model.backbone import POSE, RGB
from sdpose_core.model.network import SDPose
from sdpose_training.fit.losses import heatmap_loss, rgb_loss


def encoder_memory(model: SDPose, *, on_cpu: bool) -> int:
    """Peak bytes of the frozen VAE for one picture.

    Args:
        model: on the meta device.
        on_cpu: it works in strips, as it does on a CPU in float32.
    """
    w, h = model.config.input_size
    model.vae.in_strips = on_cpu
    live = _LiveTensors()
    with live, _Kernels(None):
        model.latents(torch.empty(1, 3, h, w, device="meta"))
    return live.peak


def step_memory(model: SDPose, batch: int, *, half: torch.dtype | None = None, gradients: bool = False) -> int:
    """Peak bytes of forward and backward pass of a micro-batch, besides the weights and whole gradients.

    A frozen VAE, which runs before, is not in it.

    Args:
        model: on the meta device, for this run only: it gets hooks.
        batch: samples; both tasks run if the model has its RGB branch.
        half: dtype of autocast, as on a GPU.
        gradients: also count the gradients from where each is made, as in the first micro-batch of a step.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and not gradients:
            parameter.register_post_accumulate_grad_hook(_drop_gradient)
    tasks = (POSE, RGB) if model.with_rgb_branch else (POSE,)
    live = _LiveTensors()
    with live, _Kernels(half) as kernels:
        _recompute_with(model, kernels)
        images, latents = _images(model, batch * len(tasks)), _latents(model, batch)
        if model.vae_is_frozen:
            prediction = model(latents=latents, tasks=tasks)
        else:
            prediction = model(images[:batch], tasks=tasks)
        kernels.forget_casts()
        weights = torch.empty(prediction.heatmaps.shape[:2], device="meta")
        loss = heatmap_loss(prediction.heatmaps, torch.empty_like(prediction.heatmaps), weights)
        if prediction.rgb_latents is not None:
            loss = loss + rgb_loss(prediction.rgb_latents, _latents(model, batch))
        torch.autograd.backward(loss)
    return live.peak


def teaching_memory(
    model: SDPose, student: nn.Module, batch: int, *, with_unet: bool, half: torch.dtype | None = None
) -> int:
    """Peak bytes of a micro-batch that teaches `student` in front of a frozen model, besides weights and gradients.

    The VAE, which runs before, is not in it.

    Args:
        model, student: on the meta device; `student` is for this call only: it gets hooks.
        with_unet: the loss compares features, too.
        half: dtype of autocast, as on a GPU.
    """
    for parameter in student.parameters():
        parameter.register_post_accumulate_grad_hook(_drop_gradient)
    live = _LiveTensors()
    with live, _Kernels(half) as kernels:
        _recompute_with(model, kernels)
        target = _latents(model, batch)
        latents = student(_images(model, batch))
        loss = (latents - target).square().mean()
        if with_unet:
            with torch.no_grad():
                exact = model.features_of(target)
            loss = loss + (model.features_of(latents) - exact).float().square().mean()
        torch.autograd.backward(loss)
    return live.peak


@torch.no_grad()
def validation_memory(model: SDPose, batch: int, *, flip_test: bool, half: torch.dtype | None) -> int:
    """Peak bytes of the heatmaps of so many people, without the VAE, which runs before."""
    crops = 2 * batch if flip_test else batch
    live = _LiveTensors()
    with live, _Kernels(half):
        images = _images(model, crops)
        model(latents=_latents(model, crops), tasks=(POSE,))
        del images
    return live.peak


def _images(model: SDPose, count: int) -> torch.Tensor:
    w, h = model.config.input_size
    return torch.empty(count, 3, h, w, device="meta")


def _latents(model: SDPose, count: int) -> torch.Tensor:
    w, h = model.config.input_size
    return torch.empty(count, model.config.vae.latent_channels, h // 8, w // 8, device="meta")


def _drop_gradient(parameter: torch.Tensor) -> None:
    parameter.grad = None


def _recompute_with(model: SDPose, kernels: _Kernels) -> None:
    """Let gradient checkpointing, if it is on, recompute with these kernels: PyTorch leaves them out in backward."""
    if model.unet.is_gradient_checkpointing:
        again = partial(checkpoint, use_reentrant=False, context_fn=lambda: (nullcontext(), kernels.again()))
        model.unet.enable_gradient_checkpointing(again)


class _LiveTensors(TorchDispatchMode):
    """Counts the bytes of tensors made in its block, until they are gone; `peak` is the maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._bytes = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self._add(value.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()  # views share it
        if key not in self._seen:
            self._seen.add(key)
            weakref.finalize(storage, self._remove, key, size)
            self._bytes += size
            self.peak = max(self.peak, self._bytes)

    def _remove(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self._bytes -= size


_IN_HALF = (F.conv2d, F.conv_transpose2d, F.linear, torch.matmul, torch.bmm, torch.baddbmm)
_IN_FULL = (F.group_norm, F.layer_norm, F.softmax, torch.softmax)
"""What autocast does on a GPU: https://docs.pytorch.org/docs/stable/amp.html (the layers that are used here)."""


class _Kernels(TorchFunctionMode):
    """Attention as in PyTorch's fused kernels, which keep no matrix of scores; and autocast, which the device lacks."""

    def __init__(self, half: torch.dtype | None) -> None:
        super().__init__()
        self._half = half
        self._casts: dict[int, torch.Tensor] | None = {}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._half is not None and function in (*_IN_HALF, F.scaled_dot_product_attention):
            args = self._cast(args, self._half)
        elif self._half is not None and function in _IN_FULL:
            args = self._cast(args, torch.float32)
        if function is F.scaled_dot_product_attention:
            return _FusedAttention.apply(*args[:3])
        return function(*args, **kwargs)

    def _cast(self, values: Any, dtype: torch.dtype) -> list[Any]:
        return [self._as(value, dtype) if isinstance(value, torch.Tensor) else value for value in values]

    def _as(self, value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        if value.dtype == dtype or not value.is_floating_point():
            return value
        if self._casts is None or not isinstance(value, nn.Parameter):
            return value.to(dtype)
        if id(value) not in self._casts:
            self._casts[id(value)] = value.to(dtype)
        return self._casts[id(value)]

    def forget_casts(self) -> None:
        """The forward pass is over: autocast gives up its copies of the weights."""
        self._casts = None

    @contextmanager
    def again(self) -> Iterator[None]:
        with _Kernels(self._half) as kernels:
            kernels.forget_casts()
            yield


class _FusedAttention(torch.autograd.Function):
    """Saves what PyTorch's fused attention saves: inputs, output, and a number per row of scores."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:3], dtype=torch.float32))
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, ...]:
        query, key, value, _, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
