"""evaluate.py with the new peers: pictures of dots with exact annotations, measured by COCO's scorer."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from dot_models import write_ecpose, write_heatmaps, write_rtmo, write_yolo_cells, write_yolo_people
from dots import COLORS, picture_of_dots

from evaluate import main
from sdpose_core.skeletons import COCO_17


@pytest.fixture(scope="module")
def dots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures of two people each, in the left and in the right half."""
    root = tmp_path_factory.mktemp("dots")
    (root / "images").mkdir()
    (root / "annotations").mkdir()
    random = np.random.default_rng(0)
    images, people = [], []
    for number in range(4):
        w, h = 320, 240
        everybody = []
        for half in range(2):
            corner = np.array([20 + 160 * half, 30]) + random.uniform(0, 20, 2)
            places = corner + random.permutation([[0, 20], [90, 60], [45, 140]])
            everybody.append(places.tolist())
            points = [[*places[color], 2] for color in COLORS]
            box = [*(places.min(axis=0) - 10), *(places.max(axis=0) - places.min(axis=0) + 20)]
            people.append({
                "id": len(people) + 1, "image_id": number, "category_id": 1, "iscrowd": 0, "num_keypoints": 17,
                "keypoints": np.ravel(points).tolist(), "bbox": np.array(box).tolist(), "area": float(box[2] * box[3]),
            })  # fmt: skip
        images.append({"id": number, "file_name": f"{number}.png", "width": w, "height": h})
        picture = picture_of_dots((w, h), *everybody, radius=5.0)
        cv2.imwrite(str(root / "images" / f"{number}.png"), picture[..., ::-1])
    category = {"id": 1, "name": "person", "keypoints": list(COCO_17.names), "skeleton": []}
    content = {"images": images, "annotations": people, "categories": [category]}
    (root / "annotations" / "val.json").write_text(json.dumps(content))
    return root


@pytest.mark.slow  # takes seconds
def test_each_new_peer_finds_everybody(dots: Path, tmp_path: Path) -> None:
    whole = (320, 256)
    opened = write_heatmaps(tmp_path / "open.onnx", COLORS, (96, 96), udp=True, open_size=True)
    specs = [
        f"heatmap:{write_heatmaps(tmp_path / 'td-hm_res50.onnx', COLORS, (192, 256), udp=False)}",
        f"heatmap:{write_heatmaps(tmp_path / 'vitpose.onnx', COLORS, (192, 256), udp=True)}",
        f"heatmap:{opened},input=96x96,udp=on",
        f"yolo:{write_yolo_cells(tmp_path / 'yolo11n-pose.onnx', COLORS, whole)}",
        f"yolo:{write_yolo_people(tmp_path / 'yolo26n-pose.onnx', COLORS, whole)},view=picture",
        f"rtmo:{write_rtmo(tmp_path / 'rtmo-s.onnx', COLORS, whole)}",
        f"ecpose:{write_ecpose(tmp_path / 'ecpose_s.onnx', COLORS, whole)}",
    ]
    given = ["--benchmark", "custom", "--data.root", str(dots), "--device", "cpu"]
    peers = [word for spec in specs for word in ("--peer", spec)]
    assert (
        main([*given, *peers, "--out", str(tmp_path / "out" / "r.json"), "--compare", str(tmp_path / "compare")]) == 0
    )
    results = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").glob("*.json"))]
    assert len(results) == len(specs)
    for result in results:
        assert result["AP"] > 0.99 and result["AR"] > 0.99, result["model"]
        assert result["counts"]["boxes"] == 8
    rows = json.loads((tmp_path / "compare" / "comparison.json").read_text())["rows"]
    assert list(rows) == [
        "Heatmaps (td-hm_res50)", "Heatmaps (vitpose)", "Heatmaps (open)", "YOLO (yolo11n-pose)",
        "YOLO (yolo26n-pose)", "RTMO (rtmo-s)", "ECPose (ecpose_s)",
    ]  # fmt: skip
