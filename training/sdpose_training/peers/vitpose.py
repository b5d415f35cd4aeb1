"""ViTPose and ViTPose++ (arXiv 2204.12484, 2212.04246) through transformers, with its crop and decoding."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.boxes import xyxy_to_xywh
from sdpose_core.codec.heatmaps import flip_back
from sdpose_core.dependencies import require
from sdpose_core.errors import CheckpointError
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133
from sdpose_core.transformers_files import commit_of, from_cache_or_hub
from sdpose_training.peers.base import Peer, checked, unseen
from sdpose_training.peers.transformers_models import config_of, explained, weights_of

SET_OF_COUNT = {17: COCO_17, 133: COCO_WHOLEBODY_133}

EXPERT_OF_SET = {COCO_17.name: 0, COCO_WHOLEBODY_133.name: 5}
"""Experts of ViTPose++: 0 COCO, 1 AI Challenger, 2 MPII, 3 AP-10K, 4 APT-36K, 5 COCO-WholeBody."""

_FILES = "config.json, preprocessor_config.json and model.safetensors"


class VitPosePeer(Peer):
    """`VitPoseForPoseEstimation` over boxes.

    Args:
        name: a folder from `save_pretrained`, or a name on the Hugging Face hub.
        device: None: CUDA if available, else the CPU.
        download: allow the download of a hub name that is not in the local cache.
        options: flip_test and batch of `Peer`.

    Raises: see `load_peer`.
    """

    def __init__(self, name: str, *, device: Any = None, download: bool = False, **options: Any) -> None:
        torch = require("torch", f"ViTPose ({name})")
        require("transformers", f"ViTPose ({name})")
        local = os.path.isdir(name)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model, self.processor = from_cache_or_hub(_load, name, download=download)
        self.model.to(self.device)
        count = self.model.config.num_labels
        if count not in SET_OF_COUNT:
            raise CheckpointError(f"{name} has {count} keypoints: expected 17 (COCO) or 133 (COCO-WholeBody)")
        label = Path(name).name if local else name
        path = Path(name) if local else None
        super().__init__(f"ViTPose ({label})", SET_OF_COUNT[count].name, path, **options)

    def _find(self, images: Sequence[np.ndarray], boxes_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import torch
        from transformers.models.vitpose.modeling_vitpose import VitPoseEstimatorOutput

        boxes = [[box] for box in xyxy_to_xywh(boxes_xyxy).tolist()]
        pixels = self.processor(list(images), boxes=boxes, return_tensors="pt", input_data_format="channels_last")
        with torch.inference_mode():
            heatmaps = checked(self.name, self._heatmaps(pixels["pixel_values"].to(self.device, torch.float32)))
        people = self.processor.post_process_pose_estimation(VitPoseEstimatorOutput(heatmaps=heatmaps), boxes=boxes)
        keypoints = np.stack([person["keypoints"].numpy() for [person] in people])
        scores = np.stack([person["scores"].numpy() for [person] in people])
        return unseen(keypoints, scores)

    def _heatmaps(self, pixels: Any) -> Any:
        heatmaps = self._forward(pixels)
        if not self.flip_test:
            return heatmaps
        swap = self.points.flip_indices
        return (heatmaps + flip_back(self._forward(pixels.flip(-1)), swap)) / 2

    def _forward(self, pixels: Any) -> Any:
        import torch

        if self.model.config.backbone_config.num_experts == 1:
            return self.model(pixel_values=pixels).heatmaps
        expert = torch.full((len(pixels),), EXPERT_OF_SET[self.keypoint_set], device=self.device)
        return self.model(pixel_values=pixels, dataset_index=expert).heatmaps

    def _settings(self) -> dict[str, Any]:
        size = self.processor.size
        return {
            "device": self.device.type,
            "input_size": [size["width"], size["height"]],
            "revision": getattr(self.model.config, "_commit_hash", None),
        }


def _load(name: str, *, offline: bool) -> tuple[Any, Any]:
    """Model and processor."""
    import transformers

    with explained(name, "ViTPose", _FILES, offline=offline):
        config = config_of(name, "vitpose", offline=offline)
        # the plain name in transformers 5 needs torchvision
        kind = getattr(transformers, "VitPoseImageProcessorPil", None) or transformers.VitPoseImageProcessor
        processor = kind.from_pretrained(name, local_files_only=offline, revision=commit_of(config))
        return weights_of(name, "VitPoseForPoseEstimation", config, offline=offline), processor
