"""Any top-down heatmap model: where its points land, its options, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dot_models import write_ecpose, write_heatmaps
from dots import COLORS, DOTS, picture_of_dots, points_of_dots
from onnx_files import node, write_model, write_simcc_that_sees_dots

from sdpose_core.errors import CheckpointError, InputError, NotFiniteError
from sdpose_core.files import sha256_of
from sdpose_training.peers.decoding import decode, shifted
from sdpose_training.peers.loading import load_peer
from sdpose_training.peers.plain_crop import PlainCrop

PICTURE = (300, 250)
SIZE = (48, 64)
BOXES = {
    "upright": (40, 30, 160, 230), "wide": (20, 60, 270, 150), "over the edge": (-30, -20, 150, 200),
    "fractions": (90.5, 40.25, 140.75, 160.5),
}  # fmt: skip


def heatmap_pixel(box: np.ndarray, udp: bool = False) -> float:
    """The width of a heatmap's pixel in picture pixels."""
    return float(PlainCrop.of_box(box, SIZE).scale[0]) / (SIZE[0] // 4 - udp)


@pytest.mark.parametrize("box", [*BOXES.values()], ids=[*BOXES])
@pytest.mark.parametrize("udp", [False, True], ids=["plain", "UDP"])
@pytest.mark.parametrize(("how", "within"), [("argmax", 0.5), ("quarter", 0.26), ("dark", 0.06), ("dark-udp", 0.06)])
def test_heatmaps_land_on_what_is_in_the_picture(
    tmp_path: Path, box: tuple[float, ...], udp: bool, how: str, within: float
) -> None:
    """The whole way in each convention: crop, decoding, back. `within` is in heatmap pixels."""
    given = np.array([box], np.float32)
    pixel = heatmap_pixel(given[0], udp)
    path = write_heatmaps(tmp_path / "m.onnx", COLORS, SIZE, udp=udp)
    spec = f"heatmap:{path},udp={'on' if udp else 'off'},decode={how}"
    image = picture_of_dots(PICTURE, DOTS, radius=pixel)
    [poses] = load_peer(spec, flip_test=False).estimate([image], [given])
    np.testing.assert_allclose(poses.keypoints[0], points_of_dots(DOTS), atol=within * pixel + 0.1)
    [mirrored] = load_peer(spec).estimate([image], [given])
    slack = 0 if udp else 0.125  # half of the quarter pixel that shifting by a whole one leaves
    np.testing.assert_allclose(mirrored.keypoints[0], points_of_dots(DOTS), atol=(within + slack) * pixel + 0.1)
    np.testing.assert_array_equal(poses.boxes, [[*given[0], 1]])


def test_the_convention_matters(tmp_path: Path) -> None:
    """A model of the other convention is off by what UDP corrects: that the tests above can tell them apart."""
    path = write_heatmaps(tmp_path / "m.onnx", COLORS, SIZE, udp=True)
    box = np.array([BOXES["upright"]], np.float32)
    image = picture_of_dots(PICTURE, DOTS, radius=heatmap_pixel(box[0]))
    right, wrong = (
        load_peer(f"heatmap:{path},decode=dark,udp={udp}", flip_test=False).estimate([image], [box])[0]
        for udp in ("on", "off")
    )
    off = np.abs(wrong.keypoints[0] - points_of_dots(DOTS)).max()
    assert off > 10 * np.abs(right.keypoints[0] - points_of_dots(DOTS)).max()


def test_decoders_on_known_maps() -> None:
    y, x = np.mgrid[:16, :12]
    maps = np.stack([np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8) for cx, cy in ((5.3, 8.4), (0, 15), (1.2, 7))])[None]
    maps = np.concatenate([maps, np.zeros((1, 1, 16, 12)), -maps[:, :1]], axis=1)
    points, scores = decode(maps, "quarter")
    np.testing.assert_allclose(points[0, :3], [[5.25, 8.25], [0, 15], [1, 7]])  # none along x in the second column
    np.testing.assert_allclose(scores[0, :3], maps.max(axis=(2, 3))[0, :3])
    for how in ("argmax", "quarter", "dark", "dark-udp"):
        points, scores = decode(maps.astype(np.float32), how)
        assert np.isnan(points[0, 3:]).all() and (scores[0, 3:] == 0).all()
    np.testing.assert_allclose(decode(maps, "dark")[0][0, 0], [5.3, 8.4], atol=0.02)
    np.testing.assert_allclose(decode(maps, "dark")[0][0, 1:3], [[0, 15], [1, 7]])  # none at the border
    np.testing.assert_allclose(decode(maps, "argmax")[0][0, :3], [[5, 8], [0, 15], [1, 7]])


def test_darks_step_is_bounded() -> None:
    """A ridge has no maximum along it: noise would send the point anywhere."""
    maps = np.full((1, 1, 16, 12), 0.5, np.float32)
    maps[0, 0, 8, 3:9] = [0.9, 0.9, 0.9, 0.90001, 0.9, 0.9]
    [[point]], _ = decode(maps, "dark")
    assert np.linalg.norm(point - [6, 8]) <= 2 + 1e-6


def test_shifted_maps_move_right_by_one_pixel() -> None:
    maps = np.arange(8.0).reshape(1, 1, 2, 4)
    np.testing.assert_array_equal(shifted(maps)[0, 0], [[0, 0, 1, 2], [4, 4, 5, 6]])


@pytest.mark.parametrize(
    ("name", "crop", "decoder", "shift"),
    [
        ("td-hm_res50_8xb64-210e_coco-256x192", "plain", "quarter", True),
        ("td-hm_hrnet-w48_dark-8xb32-210e_coco-384x288", "plain", "dark", True),
        ("td-hm_hrnet-w32_udp-8xb64-210e_coco-256x192", "udp", "dark-udp", False),
        ("td-hm_ViTPose-base_8xb64-210e_coco-256x192", "udp", "dark-udp", False),
        ("vitpose-b-wholebody", "udp", "dark-udp", False),
        ("my_model", "plain", "quarter", True),
    ],
)
def test_the_name_tells_the_convention(tmp_path: Path, name: str, crop: str, decoder: str, shift: bool) -> None:
    (tmp_path / name).mkdir()
    path = write_heatmaps(tmp_path / name / "end2end.onnx", COLORS, SIZE, udp=crop == "udp")
    peer = load_peer(f"heatmap:{path}", batch=3)
    meta = json.loads(json.dumps(peer.meta()))
    settings = meta["settings"]
    assert (settings["crop"], settings["decode"], settings["flip_shift"]) == (crop, decoder, shift)
    assert peer.name == meta["model"] == f"Heatmaps ({name})"
    assert meta["weights"]["sha256"] == {"end2end.onnx": sha256_of(path)}
    assert (settings["input_size"], settings["box_padding"], settings["batch_size"]) == ([48, 64], 1.25, 3)


def test_options_of_heatmaps(tmp_path: Path) -> None:
    path = write_heatmaps(tmp_path / "vitpose.onnx", COLORS, SIZE, udp=False, open_size=True)
    spec = f"heatmap:{path},input=48x64,udp=off,mean=100/50/0,std=2,color=bgr,padding=1.5,blur=7,shift=off"
    peer = load_peer(spec, flip_test=False)
    settings = peer.meta()["settings"]
    assert settings["decode"] == "quarter"  # the usual one of the other convention
    assert (settings["mean"], settings["std"], settings["color"]) == ([100, 50, 0], [2, 2, 2], "bgr")
    assert (settings["box_padding"], settings["blur"], settings["flip_shift"]) == (1.5, 7, False)
    box = np.array([BOXES["upright"]], np.float32)
    [poses] = peer.estimate([picture_of_dots(PICTURE, DOTS, radius=5)], [box])
    swapped = np.array([DOTS[2 - color] for color in COLORS])  # the model takes blue for red
    np.testing.assert_allclose(poses.keypoints[0], swapped, atol=0.3 * 1.2 * heatmap_pixel(box[0]))


def test_mean_and_deviation_reach_the_model(tmp_path: Path) -> None:
    """A model whose map is as high as the mean of a channel."""
    nodes = [
        node("ReduceMean", ["crop"], "means", axes=[2, 3], keepdims=1),
        node("Gather", ["means", "points"], "high", axis=1),
        node("Mul", ["high", "bump"], "maps"),
    ]
    bump = np.zeros((1, 1, 16, 12))
    bump[..., 8, 6] = 1
    constants = {"points": np.array(COLORS, np.int64), "bump": bump}
    path = write_model(tmp_path / "m.onnx", nodes, {"crop": (1, 3, 64, 48)}, {"maps": (1, 17, 16, 12)}, constants)
    image = np.full((300, 300, 3), (200, 150, 50), np.uint8)
    box = np.array([[120, 110, 180, 190]], np.float32)
    for options, values in (("", (1.3071, 0.5903, -0.9321)), (",mean=100,std=50/25/5", (2, 2, -10))):
        [poses] = load_peer(f"heatmap:{path}{options}").estimate([image], [box])
        np.testing.assert_allclose(poses.scores[0], np.maximum([values[c] for c in COLORS], 0), atol=2e-4)


def test_keypoints_of_heatmaps(tmp_path: Path) -> None:
    colors = [*COLORS, *[0] * 9]
    halpe = load_peer(f"heatmap:{write_heatmaps(tmp_path / 'halpe.onnx', colors, SIZE, udp=False)}")
    assert (halpe.keypoint_set, halpe.notes) == ("coco_17", ["COCO's 17 of its 26 points are used"])
    box = np.array([BOXES["upright"]], np.float32)
    [poses] = halpe.estimate([picture_of_dots(PICTURE, DOTS, radius=8)], [box])
    np.testing.assert_allclose(poses.keypoints[0], points_of_dots(DOTS), atol=0.5 * heatmap_pixel(box[0]))
    names = '["tip", "left_end", "right_end"]'
    (tmp_path / "pen.toml").write_text(f'name = "pen"\nnames = {names}\nsigmas = [0.05, 0.05, 0.05]\n')
    path = write_heatmaps(tmp_path / "pen.onnx", [0, 1, 1], SIZE, udp=True)
    with pytest.raises(CheckpointError, match=r"has 3 heatmaps: known are 17, 133, .*keypoints=my_points.toml"):
        load_peer(f"heatmap:{path}")
    peer = load_peer(f"heatmap:{path},udp=on,keypoints={tmp_path / 'pen.toml'}")
    [poses] = peer.estimate([picture_of_dots(PICTURE, DOTS, radius=8)], [box])
    assert poses.keypoint_set == "pen" and poses.meta["skeleton"]["names"] == ["tip", "left_end", "right_end"]
    np.testing.assert_allclose(poses.keypoints[0], [DOTS[0], DOTS[1], DOTS[1]], atol=0.1 * heatmap_pixel(box[0]))


@pytest.mark.parametrize("batch", [1, "batch"])
def test_batches_of_heatmaps(tmp_path: Path, batch: int | str) -> None:
    path = write_heatmaps(tmp_path / "m.onnx", COLORS, SIZE, udp=False, batch=batch)
    boxes = np.array([*BOXES.values()], np.float32)
    images = [picture_of_dots(PICTURE, DOTS, radius=8), picture_of_dots(PICTURE, DOTS, radius=5)]
    together, alone = (load_peer(f"heatmap:{path}", batch=n).estimate(images, [boxes, boxes[:1]]) for n in (8, 1))
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a.keypoints, b.keypoints, atol=1e-3)
    assert [len(poses) for poses in together] == [4, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (",decod=dark", "unknown option 'decod': did you mean 'decode'"),
        (",decode=gauss", "decode: expected one of argmax, quarter, dark, dark-udp, got 'gauss'"),
        (",udp=yes", "udp: expected one of on, off, got 'yes'"),
        (",mean=1/2", "mean: expected one number, or three for red/green/blue"),
        (",std=0", "std: expected one positive number"),
        (",padding=0", "padding: expected a number above 0, got '0'"),
        (",input=48", "input: expected WIDTHxHEIGHT"),
        (",input=64x64", "takes pictures of 48 x 64, not 64 x 64"),
        (",blur=10", "expected an odd number of taps"),
        (",blur=two", "blur: expected a number of at least 3"),
        (",udp=on,udp=off", "'udp' is given twice"),
        (",keypoints=wholebody", "has 17 heatmaps, keypoints=wholebody has 133 points"),
        (",keypoints=dog", "unknown keypoint set 'dog'"),
        (",output=1", "output=1 has no heatmaps"),
    ],
)
def test_wrong_options_are_one_line(tmp_path: Path, options: str, message: str) -> None:
    path = write_heatmaps(tmp_path / "m.onnx", COLORS, SIZE, udp=False)
    with pytest.raises(InputError, match=message) as caught:
        load_peer(f"heatmap:{path}{options}")
    assert "\n" not in str(caught.value)


def test_a_file_named_like_options_is_that_file(tmp_path: Path) -> None:
    path = write_heatmaps(tmp_path / "m.onnx,udp=on", COLORS, SIZE, udp=False)
    assert load_peer(f"heatmap:{path},decode=argmax").meta()["settings"]["crop"] == "plain"


def test_files_that_are_no_heatmap_models(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        load_peer(f"heatmap:{tmp_path / 'none.onnx'}")
    simcc = write_simcc_that_sees_dots(tmp_path / "simcc.onnx", COLORS, SIZE)
    with pytest.raises(CheckpointError, match=r"is not a top-down heatmap model: its outputs are \(1, 17, 96\)"):
        load_peer(f"heatmap:{simcc}")
    with pytest.raises(CheckpointError, match=r"expected one input of shape .*orig_target_sizes|its inputs are"):
        load_peer(f"heatmap:{write_ecpose(tmp_path / 'ecpose.onnx', COLORS, (160, 128))}")
    opened = write_heatmaps(tmp_path / "open.onnx", COLORS, SIZE, udp=False, open_size=True)
    with pytest.raises(InputError, match="leaves the size of its input open: give it, such as input=192x256"):
        load_peer(f"heatmap:{opened}")
    combined = write_heatmaps(tmp_path / "udp.onnx", [0] * 51, SIZE, udp=True)
    with pytest.raises(CheckpointError, match=r"51 heatmaps \(17 points with offsets, of UDP's combined kind"):
        load_peer(f"heatmap:{combined}")


def test_several_outputs_are_asked_for(tmp_path: Path) -> None:
    nodes = [node("Relu", ["crop"], "a"), node("Gather", ["a", "points"], "b", axis=1)]
    shapes = {"a": (1, 3, 64, 48), "b": (1, 17, 64, 48)}
    constants = {"points": np.array(COLORS, np.int64)}
    path = write_model(tmp_path / "m.onnx", nodes, {"crop": (1, 3, 64, 48)}, shapes, constants)
    with pytest.raises(InputError, match=r"several outputs .*choose one, such as output=1"):
        load_peer(f"heatmap:{path}")
    assert load_peer(f"heatmap:{path},output=1").keypoint_set == "coco_17"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_heatmaps_that_are_no_numbers_fail_the_picture(tmp_path: Path, value: float) -> None:
    maps = np.zeros((1, 17, 16, 12))
    maps[0, 3, 4, 5] = value
    nodes = [
        node("ReduceMax", ["crop"], "most", axes=[1, 2, 3], keepdims=1), node("Mul", ["most", "zero"], "nothing"),
        node("Add", ["nothing", "values"], "maps"),
    ]  # fmt: skip
    constants = {"zero": np.zeros(1), "values": maps}
    path = write_model(tmp_path / "m.onnx", nodes, {"crop": (1, 3, 64, 48)}, {"maps": maps.shape}, constants)
    with pytest.raises(NotFiniteError, match="1 values of Heatmaps"):
        load_peer(f"heatmap:{path}").estimate(
            [picture_of_dots(PICTURE, DOTS)], [np.array([BOXES["upright"]], np.float32)]
        )
