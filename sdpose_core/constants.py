"""What a frozen SDPose computes of constants alone, computed once and folded into its weights.

At inference timestep, class label and text never change. So three things can go before the first picture comes:

- the embedding of time and class, which each residual block projects and adds to all pixels: it joins the bias of the
  block's first convolution;
- keys and values of the text's two tokens. With them the cross-attention of a layer is, for each head, a softmax over
  as many numbers as there are tokens: the projections of query and output shrink from (C, C) to (heads x tokens, C);
- the weights that only served these: 0.3 GB in float32.

The answer is the same but for rounding. Of the operations 61 GFLOP go (768 x 1024, up to level F2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from .backbone import POSE
from .errors import InputError

if TYPE_CHECKING:
    from .model import SDPose


def fold_constants(model: SDPose) -> SDPose:
    """Fold, in place, for pose estimation alone; for a model that is neither trained nor saved afterwards.

    Returns:
        `model`, without a state dict of SDPose's names: asking for it raises `InputError`.

    Raises:
        InputError: the model is trainable, or has its RGB branch, whose class label is another one.
    """
    if model.unet.is_folded:
        return model
    if model.with_rgb_branch or any(weight.requires_grad for weight in model.parameters()):
        raise InputError("constants can be folded into a frozen model without its RGB branch only")
    with torch.no_grad():
        _fold_embedding(model)
        _fold_text(model)
    model.unet.is_folded = True
    model.register_state_dict_pre_hook(_refuse_state_dict)
    return model


def _fold_embedding(model: SDPose) -> None:
    """Time and class embedding into the bias of each residual block's first convolution."""
    embedding = model.unet.embedding(model.config.timestep, [POSE])[0]
    for block in model.unet.modules():
        if isinstance(block, ResnetBlock2D):
            added = block.time_emb_proj(block.nonlinearity(embedding))
            block.conv1.bias = _parameter(block.conv1.bias.float() + added.float(), like=block.conv1.bias)
            block.time_emb_proj = None
    del model.unet.time_embedding, model.unet.class_embedding
    model.unet._embeddings.clear()


def _fold_text(model: SDPose) -> None:
    """The text's keys and values into each cross-attention."""
    for block in list(model.unet.modules()):
        if isinstance(getattr(block, "attn2", None), Attention):
            block.attn2 = ConstantCrossAttention(block.attn2, model.empty_prompt_embedding[0])


class ConstantCrossAttention(nn.Module):
    """diffusers' cross-attention to a text that never changes."""

    def __init__(self, attention: Attention, text: torch.Tensor) -> None:
        """Args: the attention to replace; the text's tokens (T, cross_attention_dim)."""
        super().__init__()
        self.heads, self.tokens = attention.heads, len(text)
        query, output = attention.to_q.weight, attention.to_out[0]
        keys, values = (
            (text.float() @ layer.weight.float().T).unflatten(1, (self.heads, -1))  # (T, heads, D)
            for layer in (attention.to_k, attention.to_v)
        )
        per_head = query.float().unflatten(0, (self.heads, -1))  # (heads, D, C)
        score = torch.einsum("thd,hdc->htc", keys * attention.scale, per_head).flatten(0, 1)
        answer = torch.einsum("chd,thd->cht", output.weight.float().unflatten(1, (self.heads, -1)), values).flatten(1)
        with torch.device("meta"):
            self.score = nn.Linear(query.shape[1], len(score), bias=False)
            self.answer = nn.Linear(len(score), len(answer))
        self.score.weight = _parameter(score, like=query)
        self.answer.weight = _parameter(answer, like=output.weight)
        self.answer.bias = output.bias

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Pixels (N, L, C) -> what they draw from the text (N, L, C); a text given here is not looked at."""
        scores = self.score(hidden_states).unflatten(-1, (self.heads, self.tokens))
        weights = scores.float().softmax(dim=-1).to(scores.dtype)
        return self.answer(weights.flatten(-2))


def _parameter(values: torch.Tensor, like: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(values.to(like).contiguous(), requires_grad=False)


def _refuse_state_dict(_model: nn.Module, _prefix: str, _keep_vars: bool) -> None:
    raise InputError("this model's constants are folded into its weights, so it cannot be saved: use load_sdpose")
