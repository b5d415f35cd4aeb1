"""Peers: where their points land in picture pixels, what they refuse, and that they say what they are."""

from __future__ import annotations

import json
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dots import COLORS, picture_of_dots
from onnx_files import node, write_model, write_simcc_that_says, write_simcc_that_sees_dots
from paths import SHARED

from sdpose_core.errors import CheckpointError, DownloadError, InputError, MissingDependency, NotFiniteError
from sdpose_core.estimation.preview import PreviewEstimator
from sdpose_core.files import sha256_of
from sdpose_core.images import read_image
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133
from sdpose_training.peers import loading as peers
from sdpose_training.peers import sapiens as peer_sapiens
from sdpose_training.peers.loading import load_peer
from sdpose_training.peers.plain_crop import PlainCrop
from sdpose_training.peers.simcc import decode_simcc

COCO = SHARED / "data" / "coco_samples"
SIZE = (48, 64)


def bin_in_picture(box: np.ndarray, size: tuple[int, int] = SIZE) -> float:
    """The width of a SimCC bin of a box's crop, in picture pixels."""
    return float(PlainCrop.of_box(box, size).scale[0]) / size[0] / 2


# ------------------------------------------------------------------------------------------- the preview, the table


@pytest.mark.skipif(not COCO.is_dir(), reason=f"no photos at {COCO}")
def test_the_preview_as_a_peer_is_the_preview() -> None:
    image = read_image(COCO / "000000197388.jpg")
    annotations = json.loads((COCO / "test_coco.json").read_text())["annotations"]
    boxes = np.array([a["bbox"] for a in annotations if a["image_id"] == 197388], np.float32)
    boxes[:, 2:] += boxes[:, :2]
    peer, preview = load_peer("preview"), PreviewEstimator(body_only=True)
    [found], [expected] = (estimator.estimate([image], [boxes]) for estimator in (peer, preview))
    assert len(expected) > 0
    np.testing.assert_array_equal(found.keypoints, expected.keypoints)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.meta == expected.meta


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rtmpos:x.onnx", "did you mean 'rtmpose'"),
        ("sdpose", "known are: preview"),
        ("rtmpose:", "expected rtmpose:FILE.onnx"),
        ("vitpose", "expected vitpose:FOLDER"),
        ("preview:x", "expected preview"),
        ("", "known are"),
    ],
)
def test_what_is_no_peer(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_peer(spec)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------- RTMPose, RTMW, DWPose


def test_simcc_crop_and_its_inverse() -> None:
    crop = PlainCrop.of_box(np.array([10, 20, 130, 60]), SIZE)  # wide: grown upwards
    np.testing.assert_allclose(crop.scale, [150, 200])
    points = np.array([[10.0, 20.0], [70.0, 40.0], [131.5, -3.25]])
    at_input = points @ crop.matrix[:, :2].T + crop.matrix[:, 2]
    np.testing.assert_allclose(at_input[1], [24, 32])
    np.testing.assert_allclose(crop.to_image(at_input), points, atol=1e-9)
    np.testing.assert_allclose(crop.to_image(np.array([0, 0])), [70 - 75, 40 - 100])


def test_simcc_decoding() -> None:
    x, y = np.zeros((2, 3, 96), np.float32), np.zeros((2, 3, 128), np.float32)
    x[0, 0, 0], y[0, 0, 0] = 0.9, 0.4  # the first bins: the smaller maximum is the score
    x[0, 1, 95], y[0, 1, 127] = 0.3, 1.7  # the last ones
    x[1, 2, 41], y[1, 2, 42] = 2.0, 2.0
    y[1, 1, 5] = 1.0  # nothing along x
    x[1, 0, 3] = np.nan
    points, scores = decode_simcc(x, y)
    np.testing.assert_allclose(points[0, :2], [[0, 0], [47.5, 63.5]])
    np.testing.assert_allclose(points[1, 2], [20.5, 21])
    np.testing.assert_allclose(scores, [[0.4, 0.3, 0], [0, 0, 2.0]])
    assert np.isnan(points[0, 2]).all() and np.isnan(points[1, :2]).all()


BOXES = np.array(
    [[40, 30, 160, 230], [20, 60, 270, 150], [-30, -20, 150, 200], [90.5, 40.25, 210.75, 203.5]], np.float32
)
"""Upright, wide, over the edge, between pixels."""


@pytest.mark.parametrize("box", BOXES, ids=["upright", "wide", "over the edge", "fractions"])
@pytest.mark.parametrize("flip_test", [False, True])
def test_simcc_points_land_on_what_is_in_the_picture(tmp_path: Path, box: np.ndarray, flip_test: bool) -> None:
    """The whole way: crop, colors, normalisation, decoding, back to the picture."""
    dots = [(101.3, 70.8), (120.6, 140.2), (95.4, 120.9)]
    image = picture_of_dots((300, 250), dots, radius=4 * bin_in_picture(box))
    path = write_simcc_that_sees_dots(tmp_path / "m.onnx", COLORS, SIZE)
    [poses] = load_peer(f"rtmpose:{path}", flip_test=flip_test).estimate([image], [box[None]])
    expected = np.array([dots[color] for color in COLORS])
    tolerance = bin_in_picture(box) * (1.0 if flip_test else 0.5) + 0.2
    np.testing.assert_allclose(poses.keypoints[0], expected, atol=tolerance)
    assert (poses.scores[0] > 0).all()
    np.testing.assert_array_equal(poses.boxes, [[*box, 1]])
    assert (poses.size, poses.keypoint_set, len(poses)) == ((300, 250), "coco_17", 1)


def test_simcc_peaks_are_decoded_exactly(tmp_path: Path) -> None:
    """Peaks put into every part of the range, the first and last bin included, give known picture pixels."""
    random = np.random.default_rng(0)
    bins_x, bins_y = random.integers(0, 96, 133), random.integers(0, 128, 133)
    bins_x[:2], bins_y[:2] = (0, 95), (0, 127)
    height_x, height_y = random.uniform(0.1, 1.4, 133), random.uniform(0.1, 1.4, 133)
    x, y = np.zeros((133, 96)), np.zeros((133, 128))
    x[np.arange(133), bins_x], y[np.arange(133), bins_y] = height_x, height_y
    image = np.zeros((250, 300, 3), np.uint8)
    path = write_simcc_that_says(tmp_path / "m.onnx", x, y, SIZE)
    for kind in ("rtmw", "dwpose", "rtmpose"):
        peer = load_peer(f"{kind}:{path}", flip_test=False)
        assert peer.keypoint_set == "coco_wholebody_133"
        [poses] = peer.estimate([image], [BOXES])
        for keypoints, scores, box in zip(poses.keypoints, poses.scores, BOXES, strict=True):
            middle = (box[:2] + box[2:]) / 2
            w = max((box[2] - box[0]) * 1.25, (box[3] - box[1]) * 1.25 * 48 / 64)
            rectangle = np.array([w, w * 64 / 48])
            share = np.stack([bins_x / 96, bins_y / 128], axis=1)
            np.testing.assert_allclose(keypoints, middle - rectangle / 2 + share * rectangle, atol=1e-3)
            np.testing.assert_allclose(scores, np.minimum(height_x, height_y), rtol=1e-5)


def test_the_flip_test_averages_with_the_swapped_mirror_image(tmp_path: Path) -> None:
    """A model that answers the same for every crop: mirrored back, a peak of x in bin b comes from 95 - b."""
    left, right = COCO_17.index("left_wrist"), COCO_17.index("right_wrist")
    x, y = np.zeros((17, 96)), np.zeros((17, 128))
    x[left, 20], y[left, 30] = 1.0, 1.0
    x[right, 95 - 20], y[right, 30] = 0.5, 0.5  # mirrored and swapped: the same place
    x[right, 10], y[right, 90] = 0.4, 0.4
    peer = load_peer(f"rtmpose:{write_simcc_that_says(tmp_path / 'm.onnx', x, y, SIZE)}")
    box = np.array([[0, 0, 38.4, 51.2]], np.float32)  # its padded rectangle has the size of the input
    [poses] = peer.estimate([np.zeros((60, 60, 3), np.uint8)], [box])
    offset = np.array([19.2 - 24, 25.6 - 32])
    np.testing.assert_allclose(poses.keypoints[0, left], np.array([10, 15]) + offset, atol=1e-3)
    np.testing.assert_allclose(poses.scores[0, left], 0.75)
    np.testing.assert_allclose(poses.keypoints[0, right], np.array([75 / 2, 15]) + offset, atol=1e-3)
    np.testing.assert_allclose(poses.scores[0, right], 0.75)


def test_of_halpes_26_points_the_17_of_coco_are_kept(tmp_path: Path) -> None:
    bins = np.arange(26) * 3
    x, y = np.eye(96)[bins], np.eye(128)[bins]
    path = write_simcc_that_says(tmp_path / "body26.onnx", x, y, SIZE)
    peer = load_peer(f"rtmpose:{path}", flip_test=False)
    assert peer.keypoint_set == "coco_17"
    [poses] = peer.estimate([np.zeros((60, 60, 3), np.uint8)], [np.array([[0, 0, 38.4, 51.2]], np.float32)])
    np.testing.assert_allclose(poses.keypoints[0, :, 0], bins[:17] / 2 + 19.2 - 24, atol=1e-3)
    assert poses.meta["notes"] == ["COCO's 17 of its 26 points are used"]
    with pytest.raises(CheckpointError, match=r"body26.onnx has 26 keypoints; DWPose is supported with 133"):
        load_peer(f"dwpose:{path}")


@pytest.mark.parametrize("fixed", [1, "batch"])
def test_batches_pictures_and_nobody(tmp_path: Path, fixed: int | str) -> None:
    path = write_simcc_that_sees_dots(tmp_path / "m.onnx", COLORS, SIZE, batch=fixed)
    images = [
        picture_of_dots((300, 250), [(101.3, 70.8), (120.6, 140.2), (95.4, 120.9)]),
        np.zeros((40, 30, 3), np.uint8),
        picture_of_dots((200, 250), [(91.3, 60.8), (110.6, 150.2), (85.4, 110.9)]),
    ]
    boxes = [BOXES, np.zeros((0, 4), np.float32), np.array([[30, 20, 150, 220, 0.5], [5, 5, 5, 9, 1]], np.float32)]
    whole, one = load_peer(f"rtmpose:{path}"), load_peer(f"rtmpose:{path}", batch=1)
    done: list[tuple[int, int]] = []
    found = whole.estimate(images, boxes, on_batch=lambda *count: done.append(count))
    assert [len(poses) for poses in found] == [4, 0, 1]
    assert done == [(5, 5)]
    for together, alone in zip(found, one.estimate(images, boxes), strict=True):
        np.testing.assert_array_equal(together.boxes, alone.boxes)
        np.testing.assert_allclose(together.keypoints, alone.keypoints, atol=1e-4)
        np.testing.assert_allclose(together.scores, alone.scores, rtol=1e-5)
    assert "empty" in found[2].meta["dropped_boxes"][0]
    assert found[2].boxes[0, 4] == 0.5
    assert whole.estimate([], []) == []


def test_nothing_to_see_is_no_point(tmp_path: Path) -> None:
    path = write_simcc_that_sees_dots(tmp_path / "m.onnx", COLORS, SIZE)
    [poses] = load_peer(f"rtmpose:{path}").estimate([np.zeros((250, 300, 3), np.uint8)], [BOXES[:1]])
    assert np.isnan(poses.keypoints).all()
    assert (poses.scores == 0).all()


def test_a_result_says_what_made_it(tmp_path: Path) -> None:
    path = write_simcc_that_sees_dots(tmp_path / "rtmpose-m.onnx", COLORS, SIZE)
    peer = load_peer(f"rtmpose:{path}", device="cpu", batch=3)
    meta = json.loads(json.dumps(peer.meta()))
    assert peer.name == meta["model"] == "RTMPose (rtmpose-m)"
    assert meta["weights"] == {"path": "rtmpose-m.onnx", "sha256": {"rtmpose-m.onnx": sha256_of(path)}}
    assert meta["preview"] is False
    settings = meta["settings"]
    assert (settings["batch_size"], settings["flip_test"], settings["input_size"]) == (3, True, [48, 64])
    assert "CPU" in settings["backend"]
    (tmp_path / "rtmpose-l").mkdir()
    assert load_peer(f"rtmpose:{path.rename(tmp_path / 'rtmpose-l' / 'end2end.onnx')}").name == "RTMPose (rtmpose-l)"


def test_files_that_are_no_simcc_models(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        load_peer(f"rtmpose:{tmp_path / 'none.onnx'}")
    (tmp_path / "text.onnx").write_text("no model at all " * 9)
    with pytest.raises(CheckpointError, match="damaged"):
        load_peer(f"dwpose:{tmp_path / 'text.onnx'}")
    hand = write_simcc_that_sees_dots(tmp_path / "hand.onnx", [0] * 21, SIZE)
    with pytest.raises(CheckpointError, match=r"21 keypoints; RTMPose is supported with 17, 26, 133 \(21: a hand"):
        load_peer(f"rtmpose:{hand}")
    with pytest.raises(CheckpointError, match=r"17 keypoints; RTMW is supported with 133"):
        load_peer(f"rtmw:{write_simcc_that_sees_dots(tmp_path / 'body.onnx', COLORS, SIZE)}")
    other = write_simcc_that_says(tmp_path / "other.onnx", np.zeros((17, 96)), np.zeros((17, 64)), SIZE)
    with pytest.raises(CheckpointError, match=r"\(1, 17, 64\).*expected \(n, K, 96\) and \(n, K, 128\)"):
        load_peer(f"rtmpose:{other}")
    free = write_model(
        tmp_path / "free.onnx", [node("Relu", ["x"], "y")], {"x": (1, 3, "h", "w")}, {"y": (1, 3, "h", "w")}, {}
    )
    with pytest.raises(CheckpointError, match="fixed height and width"):
        load_peer(f"rtmpose:{free}")


def test_an_absent_gpu_and_a_batch_of_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_simcc_that_sees_dots(tmp_path / "m.onnx", COLORS, SIZE)
    with pytest.raises(InputError, match="batch size: expected at least 1, got 0"):
        load_peer(f"rtmpose:{path}", batch=0)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(InputError, match="none of CUDAExecutionProvider"):
        load_peer(f"rtmpose:{path}", device="cuda")


# ------------------------------------------------------------------------------------------- ViTPose


def vitpose_folder(folder: Path, *, count: int = 17, experts: int = 1) -> Path:
    """A ViTPose of random weights, three thousand of them in its backbone, for crops of 48 x 64."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers", reason="ViTPose runs through transformers")
    torch.manual_seed(0)
    backbone = transformers.VitPoseBackboneConfig(
        image_size=[64, 48], patch_size=[16, 16], hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        mlp_ratio=2, num_experts=experts, part_features=8 if experts > 1 else 0, out_features=["stage2"],
    )  # fmt: skip
    labels = {k: str(k) for k in range(count)}
    config = transformers.VitPoseConfig(
        backbone_config=backbone, use_simple_decoder=True, scale_factor=4, id2label=labels
    )
    model = transformers.VitPoseForPoseEstimation(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    model.save_pretrained(folder)
    processor(folder).save_pretrained(folder)
    return folder


def processor(folder: Path):
    import transformers

    kind = getattr(transformers, "VitPoseImageProcessorPil", None) or transformers.VitPoseImageProcessor
    return kind(size={"width": 48, "height": 64})


@pytest.mark.parametrize("experts", [1, 6])
def test_vitpose_gives_what_transformers_gives(tmp_path: Path, experts: int) -> None:
    import torch
    import transformers

    folder = vitpose_folder(tmp_path / "vitpose", experts=experts)
    model = transformers.VitPoseForPoseEstimation.from_pretrained(folder).eval()
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, shape, dtype=np.uint8) for shape in ((250, 300, 3), (120, 90, 3))]
    boxes = [BOXES, np.array([[10, 20, 70, 100]], np.float32)]
    found = load_peer(f"vitpose:{folder}", flip_test=False, batch=2).estimate(images, boxes)
    for image, people, poses in zip(images, boxes, found, strict=True):
        xywh = np.concatenate([people[:, :2], people[:, 2:] - people[:, :2]], axis=1).tolist()
        ready = processor(folder)(image, boxes=[xywh], return_tensors="pt")
        extra = {"dataset_index": torch.zeros(len(xywh), dtype=torch.long)} if experts > 1 else {}
        with torch.inference_mode():
            outputs = model(**ready, **extra)
        [expected] = processor(folder).post_process_pose_estimation(outputs, boxes=[xywh])
        assert len(poses) == len(expected)
        for keypoints, scores, person in zip(poses.keypoints, poses.scores, expected, strict=True):
            positive = person["scores"].numpy() > 0
            assert positive.any()
            np.testing.assert_allclose(keypoints[positive], person["keypoints"].numpy()[positive], rtol=1e-3, atol=0.05)
            np.testing.assert_allclose(scores[positive], person["scores"].numpy()[positive], rtol=1e-4)
            assert np.isnan(keypoints[~positive]).all()


@pytest.mark.parametrize("flip_test", [False, True])
def test_vitpose_heatmaps_land_in_the_picture(tmp_path: Path, flip_test: bool) -> None:
    """Gaussians in place of the model's heatmaps; the mirrored pass gets mirrored ones, left and right exchanged."""
    import torch

    from sdpose_core.codec.heatmaps import encode_udp

    peer = load_peer(f"vitpose:{vitpose_folder(tmp_path / 'vitpose')}", flip_test=flip_test)
    size = (192, 256)
    points = np.random.default_rng(1).uniform(30, 160, (17, 2))
    maps = torch.from_numpy(encode_udp(points[None], np.ones((1, 17)), size, (48, 64), 2.0)[0])
    mirrored = maps[:, COCO_17.flip_indices].flip(-1)
    passes = iter([maps, mirrored])
    peer._forward = lambda pixels: next(passes).repeat(len(pixels), 1, 1, 1)
    [poses] = peer.estimate([np.zeros((250, 300, 3), np.uint8)], [BOXES])
    for keypoints, box in zip(poses.keypoints, BOXES, strict=True):
        middle = (box[:2] + box[2:]) / 2
        w = max((box[2] - box[0]) * 1.25, (box[3] - box[1]) * 1.25 * 48 / 64)
        rectangle = np.array([w, w * 64 / 48])
        expected = middle - rectangle / 2 + points / (np.array(size) - 1) * rectangle
        np.testing.assert_allclose(keypoints, expected, atol=0.02 * w / 48)
    assert poses.scores.min() > 0.9


def test_vitpose_of_133_points_asks_the_whole_body_expert(tmp_path: Path) -> None:
    import torch

    peer = load_peer(f"vitpose:{vitpose_folder(tmp_path / 'vitpose', count=133, experts=6)}", flip_test=False)
    assert peer.keypoint_set == COCO_WHOLEBODY_133.name
    pixels = torch.randn(2, 3, 64, 48)
    with torch.inference_mode():
        found = peer._forward(pixels)
        answers = [peer.model(pixel_values=pixels, dataset_index=torch.full((2,), k)).heatmaps for k in range(6)]
    torch.testing.assert_close(found, answers[5])
    assert all((answers[k] - found).abs().max() > 1e-3 for k in range(5))


def test_vitpose_says_what_it_is(tmp_path: Path) -> None:
    folder = vitpose_folder(tmp_path / "vitpose-tiny")
    meta = json.loads(json.dumps(load_peer(f"vitpose:{folder}", device="cpu").meta()))
    assert meta["model"] == "ViTPose (vitpose-tiny)"
    assert meta["weights"]["sha256"] == {"model.safetensors": sha256_of(folder / "model.safetensors")}
    assert (meta["settings"]["input_size"], meta["settings"]["device"]) == ([48, 64], "cpu")


def test_vitpose_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"\(no config.json\): expected config.json"):
        load_peer(f"vitpose:{tmp_path}")
    folder = vitpose_folder(tmp_path / "vitpose")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "vit"}))
    with pytest.raises(CheckpointError, match="type 'vit': expected 'vitpose'"):
        load_peer(f"vitpose:{folder}")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_peer(f"vitpose:{folder}")
    with pytest.raises(CheckpointError, match="has 14 keypoints: expected 17"):
        load_peer(f"vitpose:{vitpose_folder(tmp_path / 'crowdpose', count=14)}")


def test_vitpose_lacking_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = vitpose_folder(tmp_path / "vitpose")
    tensors = load_file(folder / "model.safetensors")
    del tensors["head.conv.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lack tensors \(1, the first 'head.conv.weight'\)"):
        load_peer(f"vitpose:{folder}")


def test_a_hub_name_is_not_fetched_unless_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="ViTPose runs through transformers")
    called: list[object] = []

    def refuse(self: socket.socket, address: object) -> None:
        called.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(DownloadError, match=r"is neither a folder nor complete .*--download") as caught:
        load_peer("vitpose:nobody/vitpose-that-is-not-there")
    assert "\n" not in str(caught.value)
    assert called == []


# ------------------------------------------------------------------------------------------- Sapiens


def sapiens_that_sees_dots(path: Path, colors: list[int]) -> Path:
    """A TorchScript file whose heatmap k shows where the picture has color k (0 red, 1 green, 2 blue)."""
    torch = pytest.importorskip("torch")

    class Dots(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("colors", torch.tensor(colors))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            small = torch.nn.functional.interpolate(pixels, (256, 192), mode="bilinear", align_corners=True).relu()
            return small.index_select(1, self.colors)

    torch.jit.trace(Dots(), torch.zeros(1, 3, 1024, 768)).save(str(path))
    return path


@pytest.mark.parametrize("flip_test", [False, True])
def test_sapiens_points_land_on_what_is_in_the_picture(tmp_path: Path, flip_test: bool) -> None:
    dots = [(101.3, 70.8), (120.6, 140.2), (95.4, 120.9)]
    image = picture_of_dots((300, 250), dots, radius=5.0)
    path = sapiens_that_sees_dots(tmp_path / "tiny_torchscript.pt2", COLORS)
    peer = load_peer(f"sapiens:{path}", trust_file=True, flip_test=flip_test, batch=2)
    [poses] = peer.estimate([image], [BOXES[:3]])
    expected = np.array([dots[color] for color in COLORS])
    for keypoints in poses.keypoints:
        np.testing.assert_allclose(keypoints, expected, atol=0.3)
    assert (peer.name, peer.keypoint_set) == ("Sapiens (tiny_torchscript)", "coco_17")
    meta = json.loads(json.dumps(peer.meta()))
    assert meta["weights"]["sha256"] == {path.name: sha256_of(path)}
    assert meta["settings"]["dtype"] == "float32"


@pytest.mark.slow  # takes seconds
def test_sapiens_of_308_points_gives_cocos_17(tmp_path: Path) -> None:
    """The wrists stand apart from the other body points there, after the fingers of each hand."""
    colors = [2] * 308
    colors[62], colors[41], colors[13] = 0, 1, 1
    dots = [(101.3, 70.8), (120.6, 140.2), (95.4, 120.9)]
    path = sapiens_that_sees_dots(tmp_path / "goliath_torchscript.pt2", colors)
    peer = load_peer(f"sapiens:{path}", trust_file=True, flip_test=False)
    [poses] = peer.estimate([picture_of_dots((300, 250), dots, radius=5.0)], [BOXES[:1]])
    expected = np.array([dots[{"left_wrist": 0, "right_wrist": 1, "left_ankle": 1}.get(n, 2)] for n in COCO_17.names])
    np.testing.assert_allclose(poses.keypoints[0], expected, atol=0.3)
    assert poses.meta["notes"] == ["COCO's 17 of its 308 points are used"]
    assert sorted(peer_sapiens.COCO_17_IN_308) == sorted(COCO_17.names)


@pytest.mark.parametrize("flip_test", [False, True])
def test_sapiens_gets_rgb_normalized(tmp_path: Path, flip_test: bool) -> None:
    """Gaussians at known places, as high as the mean of the crop's red, green, blue.

    Left and right points stand as each other's mirror images: only mirrored and exchanged do both passes agree.
    """
    torch = pytest.importorskip("torch")
    from sdpose_core.codec.heatmaps import encode_udp

    points = np.random.default_rng(0).uniform(100, 700, (133, 2))
    swap = COCO_WHOLEBODY_133.flip_indices
    points[swap > np.arange(133)] = ((767, 0) + points[swap] * (-1, 1))[swap > np.arange(133)]
    points[swap == np.arange(133), 0] = 767 / 2
    colors = np.minimum(np.arange(133), swap) % 3
    maps = encode_udp(points[None], np.ones((1, 133)), (768, 1024), (192, 256), 6.0)[0]

    class Means(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("maps", torch.from_numpy(maps))
            self.register_buffer("colors", torch.from_numpy(colors))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.maps * pixels.mean(dim=(2, 3)).index_select(1, self.colors)[..., None, None]

    path = tmp_path / "means.pt"
    torch.jit.trace(Means(), torch.zeros(1, 3, 1024, 768)).save(str(path))
    image = np.full((300, 300, 3), (200, 150, 50), np.uint8)
    peer = load_peer(f"sapiens:{path}", trust_file=True, flip_test=flip_test)
    [poses] = peer.estimate([image], [np.array([[120, 110, 180, 190]], np.float32)])  # 75 x 100 with its padding
    expected = np.array([150.0, 150.0]) - [37.5, 50] + points / [767, 1023] * [75, 100]
    seen = colors != 2  # the blue is below the mean: nothing is seen
    np.testing.assert_allclose(poses.keypoints[0, seen], expected[seen], atol=2e-3)
    np.testing.assert_allclose(poses.scores[0, colors == 0], (200 - 123.675) / 58.395, rtol=1e-2)
    np.testing.assert_allclose(poses.scores[0, colors == 1], (150 - 116.28) / 57.12, rtol=1e-2)
    assert np.isnan(poses.keypoints[0, ~seen]).all() and (poses.scores[0, ~seen] == 0).all()


def test_sapiens_runs_code_only_when_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    path = sapiens_that_sees_dots(tmp_path / "tiny_torchscript.pt2", [0] * 17)

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("the file was opened")

    monkeypatch.setattr(torch.jit, "load", never)
    monkeypatch.setattr(torch, "load", never)
    with pytest.raises(InputError, match=r"runs the code in it.*--trust-file") as caught:
        load_peer(f"sapiens:{path}")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_sapiens_models(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    def refused(path: Path, message: str) -> None:
        with pytest.raises(CheckpointError, match=message) as caught:
            load_peer(f"sapiens:{path}", trust_file=True)
        assert "\n" not in str(caught.value)

    refused(tmp_path / "none.pt2", "no such file: expected a TorchScript file")
    (tmp_path / "text.pt2").write_text("text " * 30)
    refused(tmp_path / "text.pt2", "damaged, incomplete, or of another kind")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth", "holds no program")
    with zipfile.ZipFile(tmp_path / "exported.pt2", "w") as archive:
        archive.writestr("model/archive_format", "pt2")
    refused(tmp_path / "exported.pt2", "holds a program of torch.export")
    torch.jit.trace(torch.nn.Conv2d(3, 17, 1), torch.zeros(1, 3, 8, 8)).save(str(tmp_path / "other.pt"))
    refused(tmp_path / "other.pt", r"its output is \(1, 17, 1024, 768\), expected heatmaps of shape \(1, K, 256, 192\)")
    sapiens_that_sees_dots(tmp_path / "count.pt", [0] * 26)
    refused(tmp_path / "count.pt", r"\(1, 26, 256, 192\).*K one of 17, 133, 308")
    torch.jit.trace(torch.nn.Linear(5, 2), torch.zeros(1, 5)).save(str(tmp_path / "linear.pt"))
    refused(tmp_path / "linear.pt", "does not run on pictures of 768 x 1024")


def test_what_is_missing_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sdpose_core.dependencies as dependencies

    def absent(module: str) -> None:
        raise ImportError(module)

    monkeypatch.setattr(dependencies.importlib, "import_module", absent)
    monkeypatch.setattr(dependencies, "installed", lambda module: False)
    with pytest.raises(MissingDependency, match=r"sdpose-annotator\[torch\]"):
        load_peer(f"sapiens:{tmp_path / 'x.pt2'}", trust_file=True)
    monkeypatch.setattr(
        dependencies.importlib, "import_module", lambda name: absent(name) if name == "transformers" else None
    )
    with pytest.raises(MissingDependency, match=r"sdpose-annotator\[transformers\]"):
        load_peer("vitpose:somebody/vitpose")


def test_every_peer_is_described() -> None:
    assert all(text.startswith(kind) for kind, text in peers.PEERS.items())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_peer_that_gives_no_numbers_fails_the_picture(tmp_path: Path, value: float) -> None:
    x, y = np.full((17, 96), 0.1), np.full((17, 128), 0.1)
    y[3, 5] = value
    peer = load_peer(f"rtmpose:{write_simcc_that_says(tmp_path / 'x.onnx', x, y, (48, 64))}", device="cpu")
    with pytest.raises(NotFiniteError, match="1 values of RTMPose"):
        peer.estimate([np.zeros((80, 60, 3), np.uint8)], [np.array([[5, 5, 50, 70]], np.float32)])
