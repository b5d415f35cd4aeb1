"""What the tests of the nodes share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from comfy_page import chromium
from node_schemas import defaults


@pytest.fixture
def sequence(inside: Any) -> Any:
    """Two frames of one person, of the pack's own classes."""
    poses = inside("sdpose_core.poses")
    points = np.full((1, 17, 2), 20, np.float32)
    frame = poses.Poses(points, np.ones((1, 17), np.float32), np.ones((1, 5), np.float32), (64, 48), "coco_17")
    return poses.PoseSequence.from_poses([frame, frame])


@pytest.fixture
def run(nodes: dict[str, type]) -> Any:
    """Run a node with its defaults and what is given; its outputs."""

    def run(name: str, **inputs: Any) -> tuple:
        node = nodes[f"SDPoseAnnotator{name}"]
        return node.execute(**{**defaults(node), **inputs}).args

    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for the page of a real ComfyUI."""
    with chromium() as browser:
        yield browser
