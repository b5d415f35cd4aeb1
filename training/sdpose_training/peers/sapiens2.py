"""Sapiens2 (arXiv 2604.21681) through transformers: 308 keypoints, of which COCO's 17 are used.

Crop and heatmaps are SDPose's (768 x 1024, UDP, box x 1.25, DARK); as in the release, crops that enlarge the picture
are bicubic.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.codec.crops import affine_crop, warp
from sdpose_core.codec.heatmaps import decode_dark_udp, flip_back
from sdpose_core.dependencies import require
from sdpose_core.errors import CheckpointError, MissingDependency
from sdpose_core.skeletons import COCO_17
from sdpose_core.transformers_files import from_cache_or_hub
from sdpose_training.peers.base import Peer, checked, normalized
from sdpose_training.peers.sapiens import COCO_17_IN_308, INPUT_SIZE
from sdpose_training.peers.transformers_models import config_of, explained, weights_of

_CLASS = "Sapiens2ForPoseEstimation"
_FILES = "config.json and model.safetensors"
_POINTS = 308


class Sapiens2Peer(Peer):
    """`Sapiens2ForPoseEstimation` over boxes.

    Args:
        name: a folder from `save_pretrained`, or a name on the Hugging Face hub (`facebook/sapiens2-pose-0.4b`,
            `-0.8b`, `-1b`, `-5b`).
        device: None: CUDA if available, else the CPU.
        download: allow the download of a hub name that is not in the local cache.
        options: flip_test and batch of `Peer`.

    Raises: see `load_peer`.
    """

    def __init__(self, name: str, *, device: Any = None, download: bool = False, **options: Any) -> None:
        torch = require("torch", f"Sapiens2 ({name})")
        transformers = require("transformers", f"Sapiens2 ({name})")
        if not hasattr(transformers, _CLASS):
            raise MissingDependency(
                f"Sapiens2 needs a newer transformers than {transformers.__version__}: pip install -U transformers"
            )
        local = os.path.isdir(name)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = from_cache_or_hub(_load, name, download=download).to(self.device)
        size = self.model.config.image_size
        self.input_size = (size[1], size[0]) if isinstance(size, list | tuple) else INPUT_SIZE
        label = Path(name).name if local else name
        super().__init__(f"Sapiens2 ({label})", COCO_17, Path(name) if local else None, **options)
        self.notes.append(f"COCO's {len(COCO_17)} of its {_POINTS} points are used")

    def _find(self, images: Sequence[np.ndarray], boxes_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import torch

        crops = [affine_crop(box, self.input_size) for box in boxes_xyxy]
        enlarged = [np.diag(crop.matrix).min() >= 1 for crop in crops]
        cut = [
            warp(image, crop.matrix, self.input_size, cubic=cubic)
            for image, crop, cubic in zip(images, crops, enlarged, strict=True)
        ]
        pixels = torch.from_numpy(normalized(np.stack(cut)))
        heatmaps = self._heatmaps(pixels)
        if self.flip_test:
            heatmaps = (heatmaps + flip_back(self._heatmaps(pixels.flip(-1)), self.points.flip_indices)) / 2
        points, scores = decode_dark_udp(checked(self.name, heatmaps), self.input_size)
        return np.stack([crop.to_image(each) for crop, each in zip(crops, points, strict=True)]), scores

    def _heatmaps(self, pixels: Any) -> Any:
        """(n, 3, h, w) -> (n, 17, h / 4, w / 4) float32, in COCO's order."""
        import torch

        channels = [COCO_17_IN_308[name] for name in COCO_17.names]
        with torch.inference_mode():
            return self.model(pixel_values=pixels.to(self.device)).heatmaps[:, channels].float()

    def _settings(self) -> dict[str, Any]:
        return {
            "device": self.device.type,
            "input_size": list(self.input_size),
            "crop": "affine",
            "revision": getattr(self.model.config, "_commit_hash", None),
        }


def _load(name: str, *, offline: bool) -> Any:
    with explained(name, "Sapiens2", _FILES, offline=offline):
        config = config_of(name, "sapiens2", offline=offline)
        if config.num_labels != _POINTS:
            raise CheckpointError(
                f"{name} has {config.num_labels} outputs: expected the {_POINTS} points of Sapiens2's pose models"
            )
        return weights_of(name, _CLASS, config, offline=offline)
