"""The library of SDPose Annotator. Importing it loads neither torch nor OpenCV: names are resolved when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .annotate.controlnet_aux import SDPoseDetector
    from .checkpoints.loading import load_sdpose
    from .detection.loading import load_detector
    from .detection.people import DetectorOptions
    from .drawing.pose_maps import draw_poses
    from .errors import SDPoseError
    from .estimation.loading import load_estimator
    from .estimation.options import EstimatorOptions
    from .estimation.sdpose import PoseEstimator
    from .model.config import SDPoseConfig
    from .model.network import SDPose
    from .poses import Poses, PoseSequence

_HOME_OF = {
    "Poses": ".poses",
    "PoseSequence": ".poses",
    "load_sdpose": ".checkpoints.loading",
    "SDPose": ".model.network",
    "SDPoseConfig": ".model.config",
    "load_estimator": ".estimation.loading",
    "EstimatorOptions": ".estimation.options",
    "PoseEstimator": ".estimation.sdpose",
    "load_detector": ".detection.loading",
    "DetectorOptions": ".detection.people",
    "draw_poses": ".drawing.pose_maps",
    "SDPoseDetector": ".annotate.controlnet_aux",
    "SDPoseError": ".errors",
}

__all__ = [
    "DetectorOptions", "EstimatorOptions", "PoseEstimator", "PoseSequence", "Poses", "SDPose", "SDPoseConfig",
    "SDPoseDetector", "SDPoseError", "__version__", "draw_poses", "load_detector", "load_estimator", "load_sdpose",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
