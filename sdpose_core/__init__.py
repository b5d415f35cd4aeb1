"""SDPose Annotator's library: pictures in, poses and OpenPose-compatible pose maps out.

Importing this loads neither torch nor OpenCV: the names below are resolved when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME_OF = {
    "Poses": ".poses",
    "PoseSequence": ".poses",
    "load_sdpose": ".model",
    "SDPose": ".model",
    "SDPoseConfig": ".model_config",
    "load_estimator": ".estimator",
    "PoseEstimator": ".estimator",
    "load_detector": ".detector",
    "draw_poses": ".drawing",
    "SDPoseDetector": ".annotator",
    "SDPoseError": ".errors",
}

if TYPE_CHECKING:
    from .annotator import SDPoseDetector
    from .detector import load_detector
    from .drawing import draw_poses
    from .errors import SDPoseError
    from .estimator import PoseEstimator, load_estimator
    from .model import SDPose, load_sdpose
    from .model_config import SDPoseConfig
    from .poses import Poses, PoseSequence

__all__ = [
    "Poses",
    "PoseSequence",
    "PoseEstimator",
    "SDPose",
    "SDPoseConfig",
    "SDPoseDetector",
    "SDPoseError",
    "draw_poses",
    "load_detector",
    "load_estimator",
    "load_sdpose",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
