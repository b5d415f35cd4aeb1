"""ViTPose and ViTPose++ (arXiv 2204.12484, 2212.04246) through transformers, with its crop and decoding."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.boxes import xyxy_to_xywh
from sdpose_core.codec.heatmaps import flip_back
from sdpose_core.dependencies import require
from sdpose_core.errors import CheckpointError, DownloadError, one_line
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133, KEYPOINT_SETS
from sdpose_core.transformers_files import commit_of, damage, from_cache_or_hub, read_config
from sdpose_training.peers.base import Peer, checked, unseen

SET_OF_COUNT = {17: COCO_17, 133: COCO_WHOLEBODY_133}

EXPERT_OF_SET = {COCO_17.name: 0, COCO_WHOLEBODY_133.name: 5}
"""Experts of ViTPose++: 0 COCO, 1 AI Challenger, 2 MPII, 3 AP-10K, 4 APT-36K, 5 COCO-WholeBody."""


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
        self._local = os.path.isdir(name)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model, self.processor = from_cache_or_hub(self._load, name, download=download)
        self.model.to(self.device)
        count = self.model.config.num_labels
        if count not in SET_OF_COUNT:
            raise CheckpointError(f"{name} has {count} keypoints: expected 17 (COCO) or 133 (COCO-WholeBody)")
        label = Path(name).name if self._local else name
        path = Path(name) if self._local else None
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
        swap = KEYPOINT_SETS[self.keypoint_set].flip_indices
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

    def _load(self, name: str, *, offline: bool) -> tuple[Any, Any]:
        import transformers

        def load(kind: Callable[..., Any], **options: Any) -> Any:
            try:
                return kind(name, **options)
            except damage() as error:
                raise self._failure(name, offline, error) from error

        config = load(read_config, offline=offline)
        if config.model_type != "vitpose":
            raise CheckpointError(f"{name} is a model of type {config.model_type!r}: expected 'vitpose'")
        # the plain name in transformers 5 needs torchvision
        kind = getattr(transformers, "VitPoseImageProcessorPil", None) or transformers.VitPoseImageProcessor
        processor = load(kind.from_pretrained, local_files_only=offline, revision=commit_of(config))
        model, report = load(
            transformers.VitPoseForPoseEstimation.from_pretrained, config=config, local_files_only=offline,
            use_safetensors=True, output_loading_info=True, revision=commit_of(config),
        )  # fmt: skip
        if report["missing_keys"]:
            missing = sorted(report["missing_keys"])
            raise CheckpointError(f"{name}: the weights lack tensors ({len(missing)}, the first {missing[0]!r})")
        return model.float().eval(), processor

    def _failure(self, name: str, offline: bool, error: Exception) -> CheckpointError | DownloadError:
        reason = one_line(error)
        if self._local:
            return CheckpointError(
                f"{name} cannot be loaded ({reason}): expected config.json, preprocessor_config.json and "
                "model.safetensors of a ViTPose model"
            )
        if offline:
            return DownloadError(
                f"{name!r} is neither a folder nor complete in the local Hugging Face cache: give the folder of a "
                "ViTPose model, or allow the download with --download"
            )
        return DownloadError(
            f"cannot download {name!r} from the Hugging Face hub ({reason}): check the name and the network"
        )
