"""Sapiens2 through transformers: which of its 308 points are taken, where they land, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from dots import COLORS, picture_of_dots, points_of_dots

from sdpose_core.errors import CheckpointError, DownloadError, MissingDependency
from sdpose_core.files import sha256_of
from sdpose_core.openpose.goliath import MHR_70
from sdpose_core.skeletons import COCO_17
from sdpose_training.peers.loading import load_peer
from sdpose_training.peers.sapiens import COCO_17_IN_308

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="Sapiens2 runs through transformers")
if not hasattr(transformers, "Sapiens2ForPoseEstimation"):
    pytest.skip("this transformers has no Sapiens2", allow_module_level=True)

SIZE = (48, 64)
BOXES = np.array([[40, 30, 160, 230], [20, 60, 270, 150], [-30, -20, 150, 200], [100, 60, 124, 92]], np.float32)
"""Upright, wide, over the edge, and so small that the crop enlarges the picture."""


def folder_of(folder: Path, *, points: int = 308) -> Path:
    """A Sapiens2 of random weights for crops of 48 x 64."""
    torch.manual_seed(0)
    config = transformers.Sapiens2Config(
        image_size=[64, 48], patch_size=16, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_attention_heads=1, num_register_tokens=1,
        id2label={k: str(k) for k in range(points)},
        head_config={"upsample_out_channels": [8, 8], "conv_out_channels": [8]},
    )  # fmt: skip
    transformers.Sapiens2ForPoseEstimation(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("models") / "sapiens2-pose-tiny")


class SeesDots:
    """In place of the network: heatmaps a quarter of the crop; COCO's points are the dots, all others are nothing."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def __call__(self, pixel_values: Any) -> Any:
        w, h = pixel_values.shape[3] // 4, pixel_values.shape[2] // 4
        light = torch.nn.functional.interpolate(pixel_values.relu(), (h, w), mode="bilinear", align_corners=True)
        maps = torch.zeros(len(light), 308, h, w)
        for name, index in COCO_17_IN_308.items():
            maps[:, index] = light[:, COLORS[COCO_17.index(name)]]
        return SimpleNamespace(heatmaps=maps)


@pytest.mark.parametrize("flip_test", [False, True])
def test_points_land_on_what_is_in_the_picture(folder: Path, flip_test: bool) -> None:
    peer = load_peer(f"sapiens2:{folder}", flip_test=flip_test)
    peer.input_size = (192, 256)
    peer.model = SeesDots(peer.model.config)
    dots = [(105.3, 70.8), (119.6, 84.2), (110.4, 76.9)]
    for box in BOXES:
        radius = max(box[2] - box[0], (box[3] - box[1]) * 0.75) / 25
        image = picture_of_dots((300, 250), dots, radius=radius)
        [poses] = peer.estimate([image], [box[None]])
        np.testing.assert_allclose(poses.keypoints[0], points_of_dots(dots), atol=0.08 * radius + 0.1)


def test_the_network_s_heatmaps_are_those_of_transformers(folder: Path) -> None:
    peer = load_peer(f"sapiens2:{folder}", device="cpu")
    model = transformers.Sapiens2ForPoseEstimation.from_pretrained(folder).eval()
    pixels = torch.randn(2, 3, 64, 48)
    with torch.inference_mode():
        expected = model(pixel_values=pixels).heatmaps
    assert expected.shape == (2, 308, 16, 12)
    found = peer._heatmaps(pixels)
    for place, name in enumerate(COCO_17.names):
        torch.testing.assert_close(found[:, place], expected[:, MHR_70[name]])


def test_it_says_what_it_is(folder: Path) -> None:
    peer = load_peer(f"sapiens2:{folder}", device="cpu", batch=3)
    [poses] = peer.estimate([np.zeros((250, 300, 3), np.uint8)], [BOXES])
    meta = json.loads(json.dumps(poses.meta))
    assert (peer.name, poses.keypoint_set) == ("Sapiens2 (sapiens2-pose-tiny)", "coco_17")
    assert meta["weights"]["sha256"] == {"model.safetensors": sha256_of(folder / "model.safetensors")}
    assert (meta["settings"]["input_size"], meta["settings"]["flip_test"]) == ([48, 64], True)
    assert meta["notes"] == ["COCO's 17 of its 308 points are used"]


def test_folders_that_cannot_be_used(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(CheckpointError, match="expected config.json and model.safetensors of a Sapiens2 model"):
        load_peer(f"sapiens2:{tmp_path}")
    with pytest.raises(CheckpointError, match="has 29 outputs: expected the 308 points of Sapiens2's pose models"):
        load_peer(f"sapiens2:{folder_of(tmp_path / 'seg', points=29)}")
    with pytest.raises(CheckpointError, match="type 'sapiens2': expected 'vitpose'"):
        load_peer(f"vitpose:{folder}")
    with pytest.raises(DownloadError, match="is neither a folder nor complete .* Sapiens2 model.*--download"):
        load_peer("sapiens2:nobody/sapiens2-that-is-not-there")


def test_an_older_transformers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sdpose_training.peers.sapiens2 as sapiens2

    monkeypatch.setattr(sapiens2, "require", lambda package, purpose: SimpleNamespace(__version__="4.40"))
    with pytest.raises(MissingDependency, match=r"newer transformers than 4.40: pip install -U transformers"):
        load_peer("sapiens2:facebook/sapiens2-pose-1b")
