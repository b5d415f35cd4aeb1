"""Person detectors: the embedded YOLOX, other exports of it, RT-DETR and D-FINE, the whole picture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_hub import COMMIT
from paths import DATA

from sdpose_core.detection import yolox as rooms
from sdpose_core.detection.loading import load_detector
from sdpose_core.detection.people import DetectorOptions, Limits
from sdpose_core.detection.yolox import EMBEDDED_YOLOX, YoloxDetector, decode_yolox, grid, letterbox, strides_of
from sdpose_core.errors import CheckpointError, DownloadError, InputError, MissingDependency
from sdpose_core.images import read_image
from sdpose_core.onnx_devices import for_pytorch
from sdpose_core.onnx_engines import Port

ASTRONAUT = read_image(DATA / "astronaut.png")
PLAIN = {"sure_only": True, "min_person_score": 0}
"""Boxes as detected: nothing is asked of their poses."""
BACKENDS = [
    "onnxruntime",
    pytest.param("cv2", marks=pytest.mark.skipif(int(cv2.__version__.split(".")[0]) < 5, reason="needs OpenCV 5")),
]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_embedded_detector_finds_the_people_of_the_test_pictures(backend: str) -> None:
    detector = load_detector(backend=backend)
    for name, (box, score) in {
        "astronaut.png": ((11.5, 20.3, 368.9, 507.2), 0.926),
        "grace_hopper.jpg": ((8.4, 41.2, 512, 580.9), 0.94),
        "anime_sylvie.png": ((26.2, 2.3, 434.1, 692), 0.51),
    }.items():
        boxes, scores = detector.detect(read_image(DATA / name))
        assert boxes.shape == (1, 4), name
        assert (boxes.dtype, scores.dtype) == (np.float32, np.float32)
        np.testing.assert_allclose(boxes[0], box, atol=1.5, err_msg=name)
        np.testing.assert_allclose(scores, [score], atol=0.02, err_msg=name)


@pytest.mark.skipif(int(cv2.__version__.split(".")[0]) < 5, reason="needs OpenCV 5")
def test_both_backends_find_the_same_boxes() -> None:
    found = [
        load_detector(backend=backend, threshold=0.01, **PLAIN).detect(ASTRONAUT) for backend in ("onnxruntime", "cv2")
    ]
    assert len(found[0][0]) > 3
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-3)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-3)


def test_a_file_by_path_is_read_like_the_embedded_one(tmp_path: Path) -> None:
    path = shutil.copy(EMBEDDED_YOLOX, tmp_path / "my detector.onnx")
    detector = load_detector(path)
    assert isinstance(detector.detector, YoloxDetector)
    assert detector.detector.input_size == (416, 416)
    assert detector.name.startswith("my detector.onnx, onnxruntime")
    np.testing.assert_array_equal(detector.detect(ASTRONAUT)[0], load_detector("yolox").detect(ASTRONAUT)[0])
    meta = json.loads(json.dumps(detector.meta()))
    assert meta["sha256"].startswith("615e266100c3")
    assert meta["settings"] == {"threshold": 0.35, "nms_iou": 0.5, "max_people": None, "min_size": 0}


def test_channels_are_given_as_the_model_knows_them() -> None:
    """Nobody's skin is blue: with red and blue exchanged the score must fall."""
    right, exchanged = (
        load_detector(threshold=0, **PLAIN).detect(image)[1][0] for image in (ASTRONAUT, ASTRONAUT[..., ::-1])
    )
    assert right > exchanged


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (12000, 3), (9000, 700)], ids=str)
@pytest.mark.parametrize("name", ["yolox", "full"])
def test_pictures_of_any_size(name: str, size: tuple[int, int]) -> None:
    boxes, scores = load_detector(name, threshold=0, **PLAIN).detect(np.full((size[1], size[0], 3), 90, np.uint8))
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= size).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (np.diff(scores) <= 0).all()
    assert len(boxes) == len(scores) >= 1


def test_a_large_picture_gives_the_boxes_of_the_small_one() -> None:
    small, _ = load_detector().detect(ASTRONAUT)
    large, _ = load_detector().detect(cv2.resize(ASTRONAUT, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC))
    np.testing.assert_allclose(large / 8, small, atol=6)


def test_the_whole_picture() -> None:
    boxes, scores = load_detector("full").detect(np.zeros((30, 50, 3), np.uint8))
    assert boxes.tolist() == [[0, 0, 50, 30]]
    assert scores.tolist() == [1]


@pytest.mark.parametrize("name", ["yolox", "full"])
def test_other_arrays_than_pictures_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="uint8"):
        load_detector(name).detect(np.zeros((30, 50, 3), np.float32))


# --- limits ----------------------------------------------------------------------------------------------------------

CANDIDATES = np.array(
    [[-5, -5, 20, 30], [0, 0, 20, 31], [40, 40, 60, 60], [90, 90, 130, 95], [200, 200, 210, 210], [0, 0, np.nan, 9]],
    np.float32,
)
SCORES = np.array([0.6, 0.9, 0.5, 0.7, 0.99, 0.99], np.float32)


@pytest.mark.parametrize(
    ("limits", "nms", "expected"),
    [
        ({}, True, [1, 3, 2]),
        ({}, False, [1, 3, 0, 2]),
        ({"nms_iou": 1.0}, True, [1, 3, 0, 2]),
        ({"threshold": 0.6}, True, [1, 3]),
        ({"threshold": 0.95}, True, []),
        ({"max_people": 1}, True, [1]),
        ({"min_size": 6}, True, [1, 2]),
        ({"min_size": 20}, True, [1, 2]),
        ({"min_size": 21}, True, []),
    ],
)
def test_limits(limits: dict, nms: bool, expected: list[int]) -> None:
    """The box outside the picture and the one that is not finite never count."""
    boxes, scores = Limits(**limits).apply(CANDIDATES, SCORES, (100, 100), nms=nms)
    np.testing.assert_array_equal(boxes, np.clip(CANDIDATES[expected], 0, 100))
    np.testing.assert_array_equal(scores, SCORES[expected])
    assert (boxes.shape, boxes.dtype) == ((len(expected), 4), np.float32)


def test_options_as_an_object_and_by_name() -> None:
    options = DetectorOptions(threshold=0.5, max_people=2)
    assert load_detector("yolox", options, min_size=4).meta()["settings"] == asdict(Limits(0.5, 0.5, 2, 4))
    with pytest.raises(InputError, match="unknown detector option 'treshold': did you mean 'threshold'"):
        load_detector("yolox", treshold=0.5)


@pytest.mark.parametrize(
    "setting", [{"threshold": 1.1}, {"threshold": float("nan")}, {"nms_iou": -0.1}, {"max_people": 0}, {"min_size": -1}]
)
def test_impossible_limits_are_refused(setting: dict) -> None:
    with pytest.raises(InputError, match=next(iter(setting))):
        DetectorOptions(**setting)
    with pytest.raises(InputError, match=next(iter(setting))):
        load_detector("yolox", **setting)


@pytest.mark.parametrize("name", ["yolo", "", "a/b/c", "./missing/folder", "/no/such/folder"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="unknown detector"):
        load_detector(name)


# --- layouts of YOLOX ------------------------------------------------------------------------------------------------


def test_letterbox() -> None:
    image = np.full((50, 100, 3), 200, np.uint8)
    canvas, ratio = letterbox(image, (64, 48))
    assert (canvas.shape, ratio) == ((48, 64, 3), 0.64)
    assert (canvas[:32] == 200).all()
    assert (canvas[32:] == 114).all()


def test_cells_are_counted_row_by_row_from_the_finest_stride() -> None:
    cells, strides = grid((64, 32), (8, 16, 32))
    assert len(cells) == 8 * 4 + 4 * 2 + 2 * 1
    assert cells[:9].tolist() == [[x, 0] for x in range(8)] + [[0, 1]]
    assert strides[[0, 31, 32, 39, 40], 0].tolist() == [8, 8, 16, 16, 32]
    assert strides_of(42, (64, 32)) == (8, 16, 32)
    assert strides_of(3549, (416, 416)) == (8, 16, 32)
    assert strides_of(8500, (640, 640)) == (8, 16, 32, 64)
    assert strides_of(25200, (640, 640)) is None, "YOLOv5 and v7 have three boxes to a cell"


def outputs_for(boxes: dict[int, tuple[float, ...]], *, decoded: bool, classes: int = 2) -> np.ndarray:
    """YOLOX's output on 64 x 32 with a sure person of (x1, y1, x2, y2) at each given cell; all others quiet."""
    cells, strides = grid((64, 32), (8, 16, 32))
    output = np.zeros((1, len(cells), 5 + classes), np.float32)
    pixels = np.concatenate([(cells + 0.5) * strides, np.repeat(strides, 2, axis=1)], axis=1).astype(np.float32)
    for index, (x1, y1, x2, y2) in boxes.items():
        pixels[index] = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
        output[0, index, 4:6] = 0.9, 0.8
        output[0, index, 6:] = 1.0
    raw = np.concatenate([pixels[:, :2] / strides - cells, np.log(pixels[:, 2:] / strides)], axis=1)
    output[0, :, :4] = pixels if decoded else raw
    return output


PEOPLE = {5: (33.0, 1.0, 50.0, 30.0), 41: (2.0, 3.0, 20.0, 28.0)}


@pytest.mark.parametrize("decoded", [False, True])
def test_decoding(decoded: bool) -> None:
    boxes, scores = decode_yolox(outputs_for(PEOPLE, decoded=decoded)[0], (64, 32))
    np.testing.assert_allclose(boxes[[5, 41]], list(PEOPLE.values()), atol=1e-4)
    np.testing.assert_allclose(scores[[5, 41]], 0.72, atol=1e-6)
    assert scores.sum() == pytest.approx(1.44, abs=1e-5)


def mmdeploy(labels: bool) -> list[np.ndarray]:
    """Suppressed boxes and labels: two people, something else, and an empty slot (label -1)."""
    dets = np.zeros((1, 4, 5), np.float32)
    dets[0, :2] = [[*box, 0.72] for box in PEOPLE.values()]
    if labels:
        dets[0, 2] = 0, 0, 60, 30, 0.9
        return [dets, np.array([[0, 0, 3, -1]])]
    return [dets]


class FakeModel:
    """Stands for an `OnnxModel` of free or fixed input size that gives fixed outputs."""

    def __init__(self, outputs: list[np.ndarray], *shape: int | None) -> None:
        self.outputs = outputs
        self.inputs = (Port("x", shape or (1, 3, 32, 64)),)
        self.backend, self.notes = "fake", []
        self.seen: np.ndarray | None = None

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.seen = inputs["x"]
        return self.outputs


def test_a_device_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InputError, match="device 'opnvino': for ONNX files choose one of auto, cuda"):
        load_detector("yolox", device="opnvino")


@pytest.mark.parametrize(
    ("device", "passed_on"),
    [(None, None), ("auto", None), ("openvino:gpu", None), ("directml", None), ("tensorrt:1", None), ("cpu", "cpu"),
     ("cuda:1", "cuda:1"), ("mps", "mps")],
)  # fmt: skip
def test_a_detector_in_pytorch_gets_the_devices_that_pytorch_has(device: str | None, passed_on: str | None) -> None:
    assert for_pytorch(device) == passed_on


@pytest.mark.parametrize("device", ["meta9", "cuda:99", "hpu"])
def test_a_device_that_pytorch_cannot_use_is_one_sentence(folders: dict[str, Path], device: str) -> None:
    with pytest.raises(InputError, match=rf"device '{device}' cannot be used by PyTorch .*: choose cpu, or leave"):
        load_detector(folders["d_fine"], device=device)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch):
    def set_up(outputs: list[np.ndarray], *shape: int | None) -> FakeModel:
        model = FakeModel(outputs, *shape)
        monkeypatch.setattr(rooms, "OnnxModel", lambda path, device=None, backend=None: model)
        return model

    return set_up


@pytest.mark.parametrize(
    "outputs",
    [
        [outputs_for(PEOPLE, decoded=False)],
        [outputs_for(PEOPLE, decoded=True)],
        [outputs_for(PEOPLE, decoded=False, classes=1)],
        [outputs_for(PEOPLE, decoded=False).astype(np.float16)],
        mmdeploy(labels=True),
        mmdeploy(labels=False),
    ],
    ids=["raw", "decoded", "one class", "half precision", "mmdeploy", "mmdeploy without labels"],
)
def test_every_known_layout_gives_the_same_people(fake, outputs: list[np.ndarray]) -> None:
    model = fake(outputs)
    image = np.zeros((64, 128, 3), np.uint8)  # twice the model's size
    image[..., 0] = 250
    boxes, scores = load_detector("art.onnx", **PLAIN).detect(image)
    np.testing.assert_allclose(boxes, 2 * np.array(list(PEOPLE.values())), atol=0.1)
    np.testing.assert_allclose(scores, 0.72, atol=1e-3)
    assert model.seen is not None
    assert (model.seen.shape, model.seen.dtype) == ((1, 3, 32, 64), np.float32)
    assert model.seen[0, :, 0, 0].tolist() == [0, 0, 250], "blue, green, red in 0..255"


def test_nobody_in_an_export_that_suppresses_itself(fake) -> None:
    fake([np.zeros((1, 0, 5), np.float32), np.zeros((1, 0), np.int64)])
    boxes, scores = load_detector("art.onnx", **PLAIN).detect(ASTRONAUT)
    assert (boxes.shape, scores.shape) == ((0, 4), (0,))


def test_a_free_input_size_is_640(fake) -> None:
    model = fake([np.zeros((1, 0, 5), np.float32)], None, 3, None, None)
    load_detector("art.onnx").detect(ASTRONAUT)
    assert model.seen is not None
    assert model.seen.shape == (1, 3, 640, 640)


@pytest.mark.parametrize(
    "shapes", [[(1, 84, 8400)], [(1, 25200, 85)], [(1, 42)], [(42, 85)], [(1, 42, 85), (1, 42, 85)], [(1, 3, 5)] * 3]
)
def test_other_layouts_are_one_clear_error(fake, shapes: list[tuple[int, ...]]) -> None:
    fake([np.zeros(shape, np.float32) for shape in shapes])
    with pytest.raises(CheckpointError, match=r"art\.onnx is not a YOLOX model: its outputs .* N = 42 "):
        load_detector("art.onnx").detect(ASTRONAUT)


def test_models_without_a_picture_as_input_are_refused() -> None:
    path = EMBEDDED_YOLOX.with_name("movenet_thunder_f16.onnx")
    with pytest.raises(CheckpointError, match=r"a YOLOX model: expected one input of shape \(1, 3, height, width\)"):
        load_detector(path)


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        load_detector(tmp_path / "none.onnx")
    (tmp_path / "half.onnx").write_bytes(EMBEDDED_YOLOX.read_bytes()[:50_000])
    with pytest.raises(CheckpointError, match="cut off"):
        load_detector(tmp_path / "half.onnx")


# --- RT-DETR and D-FINE ----------------------------------------------------------------------------------------------

PREPARATION = {
    "do_resize": True, "size": {"height": 96, "width": 128}, "resample": 2, "do_rescale": True,
    "rescale_factor": 1 / 255, "do_normalize": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny RT-DETRv2 and a tiny D-FINE with random weights, as transformers stores them; "person" is class 1."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    labels = {0: "cat", 1: "Person", 2: "dog"}
    shared = {
        "encoder_hidden_dim": 16, "encoder_in_channels": [8, 8, 8], "encoder_ffn_dim": 16, "d_model": 16,
        "encoder_attention_heads": 2, "decoder_in_channels": [16, 16, 16], "decoder_ffn_dim": 16,
        "decoder_attention_heads": 2, "decoder_layers": 2, "num_queries": 12, "id2label": labels,
        "label2id": {label: index for index, label in labels.items()},
    }  # fmt: skip
    stages = {"hidden_sizes": [8] * 4, "embedding_size": 8, "out_features": ["stage2", "stage3", "stage4"]}
    resnet = transformers.RTDetrResNetConfig(depths=[1] * 4, layer_type="basic", **stages)
    hgnet = transformers.HGNetV2Config(
        stem_channels=[3, 4, 8], stage_in_channels=[8] * 4, stage_mid_channels=[4] * 4, stage_out_channels=[8] * 4,
        stage_num_blocks=[1] * 4, stage_numb_of_layers=[1] * 4, **stages,
    )  # fmt: skip
    torch.manual_seed(0)
    models = {
        "rt_detr_v2": transformers.RTDetrV2ForObjectDetection(
            transformers.RTDetrV2Config(backbone_config=resnet, **shared)
        ),
        "d_fine": transformers.DFineForObjectDetection(
            transformers.DFineConfig(backbone_config=hgnet, max_num_bins=8, **shared)
        ),
    }
    made = {}
    for name, model in models.items():
        made[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(made[name])
        (made[name] / "preprocessor_config.json").write_text(json.dumps(PREPARATION))
    return made


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import socket

    asked = []

    def refuse(*address: object) -> None:
        asked.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not asked


PICTURE = np.random.default_rng(0).integers(0, 256, (120, 200, 3), np.uint8)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("kind", ["rt_detr_v2", "d_fine"])
def test_transformers_models_agree_with_their_own_processor(folders: dict[str, Path], kind: str) -> None:
    """transformers' processor that needs no torchvision prepares and reads the same."""
    torch = pytest.importorskip("torch")
    processors = pytest.importorskip("transformers.models.rt_detr.image_processing_pil_rt_detr")
    transformers = pytest.importorskip("transformers")
    detector = load_detector(folders[kind], threshold=0, device="cpu", **PLAIN)
    boxes, scores = detector.detect(PICTURE)
    processor = processors.RTDetrImageProcessorPil(**PREPARATION)
    model = transformers.AutoModelForObjectDetection.from_pretrained(folders[kind]).eval()
    with torch.no_grad():
        output = model(**processor(images=PICTURE, return_tensors="pt"))
    output.logits[..., [0, 2]] = -100.0  # the processor keeps the best over all classes
    [found] = processor.post_process_object_detection(output, threshold=0, target_sizes=[PICTURE.shape[:2]])
    person = found["labels"].numpy() == 1
    expected = np.clip(found["boxes"].numpy()[person], 0, [200, 120, 200, 120])
    assert len(boxes) == 12
    np.testing.assert_allclose(scores, found["scores"].numpy()[person], atol=1e-5)
    np.testing.assert_allclose(boxes, expected, atol=1e-3)
    assert detector.name == f"{folders[kind].name} ({kind}), torch on cpu"


def test_pictures_are_prepared_as_the_model_says() -> None:
    processors = pytest.importorskip("transformers.models.rt_detr.image_processing_pil_rt_detr")
    from sdpose_core.detection.detr import Preparation

    settings = PREPARATION | {"do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3]}
    expected = processors.RTDetrImageProcessorPil(**settings)(images=PICTURE, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(Preparation.from_config(settings, "x").apply(PICTURE), expected, atol=2e-6)


@pytest.mark.parametrize("wrong", [
    {"resample": "bilinear"}, {"rescale_factor": None}, {"size": {"height": "tall", "width": 1}},
    {"do_normalize": True}, {"do_normalize": True, "image_mean": 3, "image_std": [1, 1, 1]},
], ids=str)  # fmt: skip
def test_a_wrong_value_of_the_preprocessor_is_named(wrong: dict[str, object]) -> None:
    from sdpose_core.detection.detr import Preparation

    with pytest.raises(CheckpointError, match=r"^x: preprocessor_config.json has a missing or wrong value"):
        Preparation.from_config({"size": {"height": 8, "width": 8}, **wrong}, "x")


ELSEWHERE: list[dict[str, object]] = [
    {"backbone": "owner/model", "backbone_config": None},
    {"backbone": "resnet50", "backbone_config": None},
    {"backbone": "hf-hub:owner/x", "use_timm_backbone": True, "backbone_config": None},
    {"backbone_config": {"model_type": "timm_backbone", "backbone": "hf-hub:owner/x"}},
    {"backbone_config": {"model_type": "timm_backbone", "backbone": "local-dir:/tmp"}},
    {"attn_implementation": "owner/kernel"},
    {"_attn_implementation": "owner/kernel:entry"},
    {"attn_implementation": {"": "owner/kernel"}},
    {"attn_implementation": "flash_attention_2"},
    {"quantization_config": {"quant_method": "fp8"}},
    {"backbone_config": {"model_type": "timm_backbone", "backbone": "resnet50", "use_pretrained_backbone": True}},
]
"""What makes transformers look up something else on the hub, or run it, while it loads a folder."""


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda folder: (folder / "config.json").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "cannot be loaded.*preprocessor_config"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"cut off"), "cannot be loaded"),
        (lambda folder: drop_a_tensor(folder / "model.safetensors"), "1 missing in total"),
        (lambda folder: edit(folder / "config.json", model_type="detr"), "is a model of type 'detr'"),
        (
            lambda folder: edit(folder / "config.json", id2label={"0": "cat"}),
            "has no class 'person': .*cat",
        ),
        (lambda folder: edit(folder / "preprocessor_config.json", size={"shortest_edge": 800}), "has the size"),
        (lambda folder: (folder / "preprocessor_config.json").write_text("{"), "cannot be loaded"),
        (lambda folder: (folder / "preprocessor_config.json").write_text("[5]"), "is a list"),
        (lambda folder: (folder / "config.json").write_text("[" * 100_000), "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text("[5]"), "cannot be loaded"),
        (lambda folder: edit(folder / "config.json", backbone_config=5), "cannot be loaded"),
        (lambda folder: edit(folder / "config.json", id2label={"0": 5}), "has no class 'person': .*5|cannot be loaded"),
        (lambda folder: edit(folder / "config.json", d_model="x"), "cannot be loaded"),
        *(
            (lambda folder, entries=entries: edit(folder / "config.json", **entries), "which is not part of it")
            for entries in ELSEWHERE
        ),
    ],
    ids=[
        "config",
        "preprocessor",
        "weights",
        "cut off",
        "tensor",
        "kind",
        "classes",
        "size",
        "json",
        "list",
        "deep",
        "no object",
        "backbone",
        "label",
        "width",
        *map(str, range(len(ELSEWHERE))),
    ],
)
def test_folders_that_cannot_be_used(folders: dict[str, Path], tmp_path: Path, damage, expected: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["rt_detr_v2"], folder)
    damage(folder)
    with pytest.raises(CheckpointError, match=expected) as caught:
        load_detector(folder)
    assert "\n" not in str(caught.value)


def drop_a_tensor(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    tensors.pop(next(name for name in sorted(tensors) if "backbone" in name and "conv" in name))
    save_file(tensors, path, metadata={"format": "pt"})


def edit(path: Path, **entries: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_a_hub_is_asked_only_with_download(monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    asked = []

    def absent(name: str, *_: object, **settings: object) -> None:
        asked.append(settings["local_files_only"])
        raise OSError(f"{name} is not a valid model identifier\nlisted on the hub")

    monkeypatch.setattr(transformers.utils, "cached_file", absent)
    with pytest.raises(DownloadError, match=r"'owner/model' is neither a folder nor .*--download") as caught:
        load_detector("owner/model")
    assert asked == [True] and "\n" not in str(caught.value)
    with pytest.raises(DownloadError, match=r"detector 'owner/model' from the Hugging Face hub \(owner/model is"):
        load_detector("owner/model", download=True)
    assert asked == [True, True, False]
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example")
    with pytest.raises(DownloadError, match="HF_ENDPOINT"):
        load_detector("owner/model", download=True)
    assert asked == [True, True, False, True]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("download", [True, False])
@pytest.mark.parametrize(
    "name", ["owner/mistyped", "owner/sub", "./owner/x", "owner/../x", "owner//x", "owner/a/b", "link/x"]
)
def test_what_looks_like_a_path_never_asks_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, download: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("owner").mkdir()
    Path("owner/sub").write_text("a file")
    Path("link").symlink_to("nowhere")
    with pytest.raises(InputError, match="unknown detector") as caught:
        load_detector(name, download=download)
    assert ("has no such folder" in str(caught.value)) == (name not in ("owner/a/b", "link/x"))


@pytest.mark.usefixtures("no_network")
def test_a_name_in_the_local_cache_needs_no_network(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers
    from transformers.utils import hub

    place = tmp_path / "models--owner--model"
    shutil.copytree(folders["rt_detr_v2"], place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    for constants in (hub.constants, __import__("huggingface_hub").constants):
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert load_detector("owner/model", device="cpu").name.startswith("owner/model (rt_detr_v2)")
    load = transformers.AutoModelForObjectDetection.from_pretrained
    asked: list[str] = []
    monkeypatch.setattr(
        transformers.AutoModelForObjectDetection, "from_pretrained",
        lambda *names, **options: asked.append(options["revision"]) or load(*names, **options),
    )  # fmt: skip
    assert load_detector("owner/model", device="cpu", download=True).meta()["name"].startswith("owner/model")
    assert asked == [COMMIT]  # with "main", a converter elsewhere would be asked for weights that are not there


@pytest.mark.usefixtures("no_network")
def test_code_in_a_folder_never_runs_nor_asks(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question"))
    folder = tmp_path / "model"
    shutil.copytree(folders["rt_detr_v2"], folder)
    edit(folder / "config.json", model_type="own", auto_map={"AutoConfig": "own.Config"})
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(CheckpointError, match="cannot be loaded") as caught:
        load_detector(folder)
    assert "\n" not in str(caught.value) and not (tmp_path / "ran").exists()


def test_transformers_missing_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependency, match=r"sdpose-annotator\[transformers\]"):
        load_detector(tmp_path)
