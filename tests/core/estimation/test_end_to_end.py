"""The official code's tiny checkpoint from crop to keypoints, through our loading, model, decoding and way back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from paths import GOLDEN
from tiny import golden_folder

from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.codec.crops import Crop, box_to_center_scale, fix_aspect, udp_warp_matrix
from sdpose_core.codec.heatmaps import decode_dark_udp
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.estimation.sdpose import PoseEstimator

TINY = np.load(GOLDEN / "f_tiny.npz")
SENSITIVITY = np.load(GOLDEN / "f_tiny_sensitivity.npz")
SIZE = (192, 256)


@pytest.fixture(scope="module", params=["body", "wholebody"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden_folder(tmp_path_factory.mktemp("tiny") / request.param, request.param)


@pytest.mark.parametrize("flip", [False, True], ids=["noflip", "flip"])
def test_keypoints_of_the_official_crops(checkpoint: Path, flip: bool) -> None:
    """Random maps are ill-conditioned: compared are the keypoints that noise of 2e-5 moves by less than 0.1 pixels."""
    key = f"{checkpoint.name}_mode_{'flip' if flip else 'noflip'}"
    crops = np.ascontiguousarray(TINY["inputs_uint8_bgr"].transpose(0, 2, 3, 1)[..., ::-1])
    model = load_sdpose(checkpoint, input_size=SIZE, dtype="fp32", device="cpu")
    keypoints, scores = decode_dark_udp(PoseEstimator(model, flip_test=flip).heatmaps(crops), SIZE)
    steady = SENSITIVITY[f"{key}_sens_input_px"] < 0.1
    assert steady.sum() > 0.9 * steady.size
    official_input = TINY[f"{key}_keypoints_input"] * (np.array(SIZE) - 1) / SIZE
    np.testing.assert_allclose(keypoints[steady], official_input[steady], atol=0.1)
    np.testing.assert_allclose(scores, TINY[f"{key}_scores"], atol=1e-4)
    centers, scales = box_to_center_scale(TINY["boxes"])
    scales = fix_aspect(scales, SIZE)
    in_picture = np.stack([
        Crop("affine", SIZE, udp_warp_matrix(center, scale, 0, SIZE)).to_image(points)
        for center, scale, points in zip(centers, scales, keypoints, strict=True)
    ])  # fmt: skip
    # The crop shows a padded box of another size than the picture has: errors grow by that factor.
    grown = (scales / SIZE).max()
    official = TINY[f"{key}_keypoints_image"]
    np.testing.assert_allclose(in_picture[steady], official[steady], atol=0.1 * grown + 1e-2)


def test_from_picture_to_poses(checkpoint: Path) -> None:
    """Our own crops of the official picture: OpenCV versions differ by some grey levels, so scores are compared."""
    estimator = load_estimator(checkpoint, input_size=SIZE, dtype="fp32", device="cpu")
    picture = np.ascontiguousarray(TINY["img"][..., ::-1])
    [poses] = estimator.estimate([picture], [np.c_[TINY["boxes"], [0.9, 0.9]]])
    expected = TINY[f"{checkpoint.name}_mode_noflip_scores"]
    assert poses.keypoints.shape == (2, expected.shape[1], 2)
    np.testing.assert_allclose(poses.scores, expected, atol=0.05 * np.abs(expected).max())
    assert poses.meta["model"].startswith("SDPose")
    assert len(poses.meta["weights"]["sha256"]["unet/diffusion_pytorch_model.safetensors"]) == 64


def test_a_batch_equals_one_by_one(checkpoint: Path) -> None:
    picture = np.ascontiguousarray(TINY["img"][..., ::-1])
    boxes = np.array([[10, 10, 90, 110], [40, 20, 150, 100], [5, 30, 60, 110]])
    one, three = (
        load_estimator(checkpoint, input_size=SIZE, dtype="fp32", device="cpu", batch_size=n).estimate(
            [picture, picture], [boxes, boxes[:2]]
        )
        for n in (1, 3)
    )
    for a, b in zip(one, three, strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)
