"""The embedding of the empty prompt, an input of every U-Net pass."""

from __future__ import annotations

from pathlib import Path

import torch

EMPTY_PROMPT_FILE = Path(__file__).parents[1] / "assets" / "empty_prompt_embedding.safetensors"
EMPTY_PROMPT_WIDTH = 1024


def empty_prompt_embedding() -> torch.Tensor:
    """(1, 2, 1024) float32: the output of SD2's text encoder for the empty prompt, as shipped."""
    from safetensors.torch import load_file

    return load_file(EMPTY_PROMPT_FILE)["empty_prompt_embedding"]
