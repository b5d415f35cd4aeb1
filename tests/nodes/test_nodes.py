"""The ComfyUI nodes over a small stand-in for ComfyUI (`fake_comfy/README.md` says what it leaves out)."""

from __future__ import annotations

import copy
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import node_schemas
import numpy as np
import pytest
import tiny
import torch
from custom_sets import PEN, custom_poses
from pack_loading import FAKE_COMFY
from paths import DATA, ROOT, SUPPORT

from sdpose_core.drawing.pose_maps import draw_poses
from sdpose_core.poses import PoseSequence
from sdpose_core.skeletons import described

ASTRONAUT = DATA / "astronaut.png"
PARTS = dict.fromkeys(("body", "head", "hands", "face", "feet"), True)
DRAW = PARTS | {
    "style": "controlnet", "threshold": 0.3,
    "width": 0, "height": 0, "fit": "pad", "background": "black", "colour": "#000000", "swap_hands": False,
}  # fmt: skip
ESTIMATE = {"threshold": 0.3, "if_nobody": "empty", "crop": "affine", "flip_test": False, "batch_size": 0}
ANNOTATE = ESTIMATE | {
    "style": "controlnet", "parts": "all", "background": "black", "detector": "yolox (embedded)",
    "detect_threshold": 0.3, "max_people": 0,
}  # fmt: skip
BOXES_FROM = {"bbox_format": "x, y, width, height", "mask_meaning": "each mask is a person", "with_masks": False}
BOX = {"x": 10.0, "y": 5.0, "width": 20.0, "height": 40.0}


def picture(height: int = 64, width: int = 48, frames: int = 1, channels: int = 3) -> torch.Tensor:
    return torch.rand(frames, height, width, channels, generator=torch.Generator().manual_seed(0))


class EchoModel:
    """Stands for a loaded model: finds in each box one person whose points fill its diagonal."""

    keypoint_set = "coco_17"

    def __init__(self, poses_type: type, batch: int = 1) -> None:
        self.poses_type, self.batch, self.seen = poses_type, batch, []

    def estimator(self, options: Any) -> EchoModel:
        self.options = options
        return self

    def estimate(self, images: list, boxes: list, *, masks: Any = None, on_batch: Any = None) -> list:
        self.seen.append((images, boxes, masks))
        total = sum(map(len, boxes))
        for done in range(0, total, self.batch):
            on_batch(min(done + self.batch, total), total)
        return [self._poses(image, rows) for image, rows in zip(images, boxes, strict=True)]

    def _poses(self, image: np.ndarray, rows: np.ndarray) -> Any:
        along = np.linspace(0, 1, 17)[:, None]
        keypoints = np.stack([row[:2] * (1 - along) + row[2:4] * along for row in rows]) if len(rows) else ()
        size, meta = (image.shape[1], image.shape[0]), {"model": "echo", "settings": {"device": "cpu", "dtype": "x"}}
        return self.poses_type(
            np.reshape(keypoints, (-1, 17, 2)), np.ones((len(rows), 17)), rows, size, "coco_17", meta=meta
        )


@pytest.fixture
def echo(inside: Any) -> EchoModel:
    return EchoModel(inside("sdpose_core.poses").Poses)


@pytest.fixture
def estimate(nodes: dict[str, type], echo: EchoModel) -> Any:
    """Estimate Poses with the echo model: boxes (and more) in, (poses, keypoints, info) out."""

    def run(boxes: Any, image: torch.Tensor | None = None, **settings: Any) -> tuple:
        values = {"image": picture() if image is None else image, "model": echo, "boxes": boxes, **ESTIMATE, **settings}
        return nodes["SDPoseAnnotatorEstimate"].execute(**values).args

    return run


# --- registering -----------------------------------------------------------------------------------------------------


def test_schemas_are_as_written_down(nodes: dict[str, type]) -> None:
    """Renaming an input breaks saved graphs: change the golden file only with an entry in the changelog."""
    found = {name: node_schemas.schema_of(node) for name, node in nodes.items()}
    assert found == json.loads(node_schemas.OUT.read_text(encoding="utf-8"))


WIDGETS = {"COMBO", "INT", "FLOAT", "STRING", "BOOLEAN", "COLOR"}


def test_at_most_seven_widgets_and_the_button_for_the_others_are_seen(nodes: dict[str, type]) -> None:
    for name, node in nodes.items():
        entries = [entry for entry in node.define_schema().inputs if entry.get_io_type() in WIDGETS]
        advanced = [entry.id for entry in entries if entry.settings.get("advanced")]
        assert len(entries) - len(advanced) <= 7, name


def test_outputs_are_named_for_what_they_connect_to(nodes: dict[str, type]) -> None:
    labels = {
        "POSE_KEYPOINT": "POSE_KEYPOINT (other nodes)", "SDPOSE_POSES": "poses (this pack)",
        "SDPOSE_SEQUENCE": "sequence (this pack)",
    }  # fmt: skip
    for name, node in nodes.items():
        for output in node.define_schema().outputs:
            assert output.display_name == labels.get(output.io_type, output.id), name


def test_every_choice_of_parts_draws_something_else(inside: Any) -> None:
    choices, known = inside("nodes.widgets").PARTS, set(inside("sdpose_core.skeletons").PARTS)
    assert set(choices["all"]) == known
    assert len({frozenset(parts) for parts in choices.values()}) == len(choices)
    for choice, parts in choices.items():
        assert set(parts) <= known
        if choice != "all":
            said = set(choice.removesuffix(", no head").split(" and "))
            implied = {"head", "feet"} if "body" in said else set()
            assert set(parts) == (said | implied) - ({"head"} if "no head" in choice else set()), choice


@pytest.mark.parametrize("word", ["openpose", "dwpose"])
def test_who_types_the_name_of_another_estimator_finds_the_annotator_first(nodes: dict[str, type], word: str) -> None:
    """ComfyUI lists all that match, short names first, unless the word stands later: see test_comfy_widgets.py."""
    aliases = {name: node.define_schema().search_aliases for name, node in nodes.items()}
    assert {name for name, own in aliases.items() if any(alias.startswith(word) for alias in own)} == {
        "SDPoseAnnotator"
    }
    found = {name for name, own in aliases.items() if any("dwpose" in alias for alias in own)}
    assert found == {"SDPoseAnnotator", "SDPoseAnnotatorEstimate", "SDPoseAnnotatorVideo"}


def test_every_node_is_described(nodes: dict[str, type]) -> None:
    for name, node in nodes.items():
        schema = node.define_schema()
        assert name.startswith("SDPoseAnnotator")
        assert schema.category in {f"SDPose Annotator/{room}" for room in ("Image", "Video", "Files")}
        assert schema.description and schema.search_aliases
        assert all(entry.tooltip for entry in [*schema.inputs, *schema.outputs]), name


def test_english_texts_are_those_of_the_nodes(nodes: dict[str, type]) -> None:
    """The page shows the translation, also of English: a tooltip mended in one place alone would be the old one."""
    texts = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    for name, node in nodes.items():
        schema, own = node.define_schema(), texts[name]
        assert (own["display_name"], own["description"]) == (schema.display_name, schema.description)
        assert [entry["tooltip"] for entry in own["inputs"].values()] == [entry.tooltip for entry in schema.inputs]
        said = [(entry["name"], entry["tooltip"]) for entry in own["outputs"].values()]
        assert said == [(entry.display_name, entry.tooltip) for entry in schema.outputs]
        assert all(entry["name"] == key for key, entry in own["inputs"].items()), name


def test_execute_takes_exactly_the_inputs(nodes: dict[str, type]) -> None:
    for name, node in nodes.items():
        parameters = inspect.signature(node.execute).parameters.values()
        named = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        declared = {entry.id for entry in node.define_schema().inputs}
        switches = set(PARTS) if any(p.kind is p.VAR_KEYWORD for p in parameters) else set()
        assert named | switches == declared, name
        optional = {entry.id for entry in node.define_schema().inputs if entry.optional}
        assert {p.name for p in parameters if p.default is not p.empty} == optional, name


def test_registering_loads_nothing_heavy(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path[:0] = [{str(FAKE_COMFY)!r}, {str(SUPPORT)!r}]
import pathlib, folder_paths
from pack_loading import load_pack, nodes_of
folder_paths.use(pathlib.Path({str(tmp_path)!r}))
before = list(sys.path)
print(len(nodes_of(load_pack(pathlib.Path({str(ROOT)!r})))))
assert sys.path == before
heavy = {{"torch", "cv2", "diffusers", "transformers", "onnxruntime", "scipy", "av", "PIL", "huggingface_hub"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 11


# --- mixed inputs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("boxes", "counts", "note"),
    [
        (BOX, [1, 1, 1], None),
        ([BOX, BOX], [2, 2, 2], None),
        ([], [0, 0, 0], None),
        ([[], [BOX], [BOX, BOX]], [0, 1, 2], None),
        ([[BOX]], [1, 1, 1], "used for all 3"),
        ([[BOX, BOX | {"label": "chair"}], [], [BOX | {"label": "dog"}]], [1, 0, 0], "1 x chair, 1 x dog"),
        ([BOX | {"score": None, "label": None, "track_id": None}], [1, 1, 1], None),
        ([BOX | {"label": " Chair"}, BOX | {"label": "Person", "score": "0.9"}], [1, 1, 1], "3 x chair"),
    ],
)
def test_boxes_of_every_shape(estimate: Any, boxes: Any, counts: list[int], note: str | None) -> None:
    given = copy.deepcopy(boxes)
    poses, keypoints, info = estimate(boxes, picture(frames=3))
    assert [len(frame) for frame in poses] == counts
    assert [len(frame["people"]) for frame in keypoints] == counts
    lines = [line for line in info.splitlines() if not line.startswith("Nobody: no boxes came in")]
    assert len(lines) == len(info.splitlines()) - (sum(counts) == 0)
    assert (note in info) if note else len(lines) == 1
    assert boxes == given


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[BOX], [BOX]], "boxes has 2 frames, image has 3 frames"),
        ([[BOX]] * 4, "boxes has 4 frames, image has 3 frames"),
        ([{"x": 1}], "expected numbers x, y, width, height"),
        ([(1, 2, 3, 4)] * 3, "Boxes From"),
        ([BOX, [BOX]], "mixture"),
        ("box", "got str"),
    ],
)
def test_wrong_boxes_are_one_clear_message(
    estimate: Any, input_error: type[Exception], boxes: Any, message: str
) -> None:
    with pytest.raises(input_error, match=message):
        estimate(boxes, picture(frames=3))


@pytest.mark.parametrize("ids", [("a", "b"), (2**40, 1), (-1, 0), (3, 3), (1.5, 2)])
def test_track_ids_that_are_none_are_left_out_and_that_is_said(estimate: Any, base: Path, ids: tuple) -> None:
    """A person with id -1 would be an empty place in a .pose.npz."""
    poses, _, info = estimate([BOX | {"track_id": ids[0]}, BOX | {"x": 1.0, "track_id": ids[1]}])
    assert [frame.track_ids.tolist() for frame in poses] == [[0, 1]]
    assert "track IDs ignored in 1 frame" in info


@pytest.mark.parametrize("ids", [(4.0, 7.0), ("4", "7"), (np.int64(4), 7)])
def test_track_ids_as_other_nodes_write_them(estimate: Any, ids: tuple) -> None:
    poses, _, info = estimate([BOX | {"track_id": ids[0]}, BOX | {"x": 1.0, "track_id": ids[1]}])
    assert [frame.track_ids.tolist() for frame in poses] == [[4, 7]]
    assert "ignored" not in info


def test_unusable_boxes_of_a_clip_are_a_few_lines(estimate: Any, inside: Any) -> None:
    host, poses_type = inside("nodes.host.info"), inside("sdpose_core.poses").Poses
    reasons = [["box outside"]] * 300 + [[f"box {number} is empty"] for number in range(300)]
    poses = [poses_type.empty((4, 4), "coco_17", {"dropped_boxes": own}) for own in reasons]
    lines = host.Stopwatch().describe(poses, ["a note"]).splitlines()[1:]
    assert lines[:3] == ["a note", "skipped 300 boxes: box outside", "skipped 1 box: box 0 is empty"]
    assert lines[-1] == "and 296 more like these"
    assert len(lines) == 1 + host.FEW + 1


def test_info_says_who_was_unsure_who_was_rejected_and_what_to_try(inside: Any) -> None:
    detect, people = inside("nodes.detect"), inside("sdpose_core.detection.people")
    boxes, nobody = np.zeros((3, 5), np.float32), np.zeros((0, 5), np.float32)
    doubtful = "doubtful box (score 0.12), confirmed by its pose"
    mixed = people.Found(boxes, (people.SURE_BOX, doubtful, "whole picture, confirmed by its pose"), 2)
    assert detect.how_found([people.Found(boxes, (people.SURE_BOX,) * 3)]) == []
    assert detect.how_found([people.Found(nobody), mixed]) == [
        "2 people confirmed by pose: the detector was not sure",
        "rejected 2 boxes: no clear pose there; see min_person_score",
    ]
    assert detect.how_found([people.Found(nobody)] * 2) == []


def test_what_matters_is_said_first(nodes: dict, base: Path) -> None:
    """A node in classic rendering shows few lines."""
    preview = "Preview, not SDPose: connect Load SDPose Model"
    nobody = "Nobody found: lower detect_threshold or min_person_score, or choose another detector"
    black = torch.zeros(1, 64, 48, 3)
    info = nodes["SDPoseAnnotator"].execute(image=black, **ANNOTATE).args[3].splitlines()
    assert info[:2] == [nobody, preview] and "0 people in 1 frame" in info[2]
    info = nodes["SDPoseAnnotator"].execute(image=picture(), boxes=[BOX], **ANNOTATE).args[3].splitlines()
    assert info[0] == preview and "1 person in 1 frame" in info[1]
    found = nodes["SDPoseAnnotatorDetect"].execute(black, "yolox (embedded)", 0.35, 0, 0).args[1]
    assert found.startswith("Nobody found: lower threshold or min_person_score")


@pytest.mark.parametrize(
    ("policy", "counts"), [("empty", [0, 1, 0]), ("full-image", [1, 1, 1]), ("previous", [0, 1, 1])]
)
def test_no_person_policy(estimate: Any, policy: str, counts: list[int]) -> None:
    poses, _, _ = estimate([[], [BOX], []], picture(frames=3), if_nobody=policy)
    assert [len(frame) for frame in poses] == counts


@pytest.mark.parametrize(
    "image",
    [picture(), picture(53, 37), picture(1, 1), picture(channels=4), picture(channels=1), picture(33, 65, frames=2)],
    ids=["one", "odd", "pixel", "alpha", "grey", "two"],
)
def test_pictures_of_every_shape(nodes: dict, image: torch.Tensor) -> None:
    before = image.clone()
    result = nodes["SDPoseAnnotator"].execute(image=image, **ANNOTATE).args[0]
    assert result.shape == (*image.shape[:3], 3)
    assert result.dtype == torch.float32
    assert torch.equal(image, before)


@pytest.mark.parametrize("shape", [(5, 6, 7), (0, 4, 4, 3), (1, 8, 8, 2), (2, 3, 4, 4, 3), (7,)])
def test_what_is_no_picture_is_refused(nodes: dict, input_error: type[Exception], shape: tuple[int, ...]) -> None:
    with pytest.raises(input_error, match="expected an IMAGE"):
        nodes["SDPoseAnnotator"].execute(image=torch.zeros(shape), **ANNOTATE)


def test_pixels_survive_the_sockets(inside: Any) -> None:
    sockets = inside("nodes.sockets.images")
    pixels = np.arange(256 * 3, dtype=np.uint8).reshape(1, 256, 3)
    assert np.array_equal(sockets.images_from_tensor(sockets.tensor_from_images([pixels]))[0], pixels)


def test_annotator_finds_the_astronaut_and_says_which_model_ran(nodes: dict, inside: Any) -> None:
    read = inside("sdpose_core.images").read_image(ASTRONAUT)
    image = torch.from_numpy(read)[None].float() / 255
    pose_map, keypoints, boxes, info, poses = nodes["SDPoseAnnotator"].execute(image=image, **ANNOTATE).args
    assert len(keypoints) == len(boxes) == len(poses) == 1
    assert len(keypoints[0]["people"]) == len(boxes[0]) >= 1
    assert boxes[0][0]["label"] == "person"
    assert pose_map.max() > 0.5
    assert "MoveNet" in info and "not SDPose" in info


def test_boxes_of_the_annotator_are_those_of_the_people_it_gives(nodes: dict) -> None:
    """The preview leaves out boxes in which it sees nobody; boxes and people would no longer be pairs."""
    given = [BOX | {"track_id": 3}, BOX | {"x": float("nan"), "track_id": 4}]
    _, keypoints, boxes, info, poses = nodes["SDPoseAnnotator"].execute(image=picture(), boxes=given, **ANNOTATE).args
    assert len(boxes[0]) == len(keypoints[0]["people"]) == len(poses[0])
    assert "not finite" in info


def test_normalised_keypoints_draw_as_pixels_do(nodes: dict, estimate: Any) -> None:
    _, keypoints, _ = estimate(BOX)
    normalised = copy.deepcopy(keypoints)
    for person in normalised[0]["people"]:
        person.pop("sdpose")
        for key in [key for key in person if key.endswith("_2d")]:
            person[key] = (np.reshape(person[key], (-1, 3)) / [48, 64, 1]).ravel().tolist()
    draw = nodes["SDPoseAnnotatorDraw"].execute
    in_pixels, _ = draw(poses=keypoints, **DRAW).args
    assert in_pixels.max() > 0
    assert torch.equal(draw(poses=normalised, **DRAW).args[0], in_pixels)


def test_keypoints_with_missing_parts_are_drawn(nodes: dict, estimate: Any) -> None:
    _, keypoints, _ = estimate(BOX)
    sparse = copy.deepcopy(keypoints)
    person = sparse[0]["people"][0]
    person |= {"face_keypoints_2d": None, "hand_left_keypoints_2d": [], "foot_keypoints_2d": None}
    del person["hand_right_keypoints_2d"]
    given = copy.deepcopy(sparse)
    result = nodes["SDPoseAnnotatorDraw"].execute(poses=sparse, **DRAW).args[0]
    assert torch.equal(result, nodes["SDPoseAnnotatorDraw"].execute(poses=keypoints, **DRAW).args[0])
    assert sparse == given


def test_what_was_mended_in_a_clip_is_a_few_lines(nodes: dict) -> None:
    """Core's own node writes -1 with a score for points that it did not find, in every frame."""
    body = [*[-1.0, -1.0, 0.9], *np.c_[np.linspace(5, 40, 17), np.linspace(9, 60, 17), np.ones(17)].ravel().tolist()]
    frame = {"people": [{"pose_keypoints_2d": body}], "canvas_width": 48, "canvas_height": 64}
    info = nodes["SDPoseAnnotatorDraw"].execute(poses=[frame] * 100, **DRAW).args[1]
    assert info.splitlines()[-1] == "and 95 more like these"
    assert len(info.splitlines()) == 7


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({}, (64, 48)),
        ({"width": 96}, (128, 96)),
        ({"height": 32}, (32, 24)),
        ({"width": 101, "height": 33}, (33, 101)),
    ],
)
def test_size_of_the_pose_map(nodes: dict, estimate: Any, settings: dict, size: tuple[int, int]) -> None:
    poses, _, _ = estimate(BOX)
    assert nodes["SDPoseAnnotatorDraw"].execute(poses=poses, **(DRAW | settings)).args[0].shape[1:3] == size


def test_the_width_of_limbs(nodes: dict, estimate: Any) -> None:
    poses, _, _ = estimate(BOX)
    draw = nodes["SDPoseAnnotatorDraw"].execute
    pixels = [int((draw(poses=poses, **DRAW, line_width=w).args[0].amax(-1) > 0).sum()) for w in (0, 1, 4)]
    assert 0 < pixels[0] <= pixels[1] < pixels[2], "0 is the style's: a short side of 48 has limbs of 1"


@pytest.mark.parametrize("background", ["black", "picture"])
def test_annotator_draws_at_another_size(nodes: dict, background: str, input_error: type[Exception]) -> None:
    image = picture(64, 48)
    values = ANNOTATE | {"background": background, "image": image}
    made = nodes["SDPoseAnnotator"].execute(**values, width=96, fit="crop", line_width=3.0).args
    assert made[0].shape == (1, 128, 96, 3)
    assert made[4][0].size == (48, 64), "the poses stay in pixels of the image"
    if background == "picture":
        assert torch.allclose(made[0].mean(), image.mean(), atol=0.02)
    with pytest.raises(input_error, match="too large"):
        nodes["SDPoseAnnotator"].execute(**values, width=1, height=99_999)


@pytest.mark.parametrize(("size", "width"), [((900_000, 900_000), 0), ((1, 4000), 512)])
def test_a_pose_map_of_an_impossible_size_is_refused_before_memory_is_asked_for(
    nodes: dict, inside: Any, input_error: type[Exception], size: tuple[int, int], width: int
) -> None:
    poses = [inside("sdpose_core.poses").Poses.empty(size, "coco_17")]
    with pytest.raises(input_error, match="set both width and height"):
        nodes["SDPoseAnnotatorDraw"].execute(poses=poses, **(DRAW | {"width": width}))


def test_backgrounds(nodes: dict, estimate: Any, input_error: type[Exception]) -> None:
    image, draw = picture(), nodes["SDPoseAnnotatorDraw"].execute
    nobody, _, _ = estimate([], image)
    assert draw(poses=nobody, **DRAW).args[0].max() == 0
    green = draw(poses=nobody, **(DRAW | {"background": "colour", "colour": "#00ff0080"})).args[0]
    assert green.reshape(-1, 3).unique(dim=0).tolist() == [[0.0, 1.0, 0.0]]
    over = draw(poses=nobody, image=image, **(DRAW | {"background": "picture"})).args[0]
    assert torch.allclose(over, image, atol=0.5 / 255 + 1e-6)
    with pytest.raises(input_error, match="connect the input 'image'"):
        draw(poses=nobody, **(DRAW | {"background": "picture"}))
    with pytest.raises(input_error, match="#00ff00"):
        draw(poses=nobody, **(DRAW | {"background": "colour", "colour": "green"}))


# --- progress, cancelling, memory ------------------------------------------------------------------------------------


def test_cancelling_takes_effect_after_one_batch(nodes: dict, estimate: Any) -> None:
    import comfy.model_management as management
    import comfy.utils

    comfy.utils.updates.clear()
    comfy.utils.on_update.append(lambda done, total: setattr(management, "interrupted", done > 0))
    try:
        with pytest.raises(management.InterruptProcessingException):
            estimate([BOX] * 5)
    finally:
        comfy.utils.on_update.clear()
    assert comfy.utils.updates == [(0, 5), (1, 5)]


@pytest.mark.parametrize("convert", ["images_from_tensor", "tensor_from_images"])
def test_cancelling_takes_effect_between_the_frames_of_a_conversion(inside: Any, convert: str) -> None:
    import comfy.model_management as management

    frames = {"images_from_tensor": picture(frames=2), "tensor_from_images": [np.zeros((4, 4, 3), np.uint8)] * 2}
    management.interrupted = True
    with pytest.raises(management.InterruptProcessingException):
        getattr(inside("nodes.sockets.images"), convert)(frames[convert])
    assert len(getattr(inside("nodes.sockets.images"), convert)(frames[convert])) == 2


def test_pictures_that_are_made_are_shown_on_the_node_and_not_too_many_of_them(nodes: dict, estimate: Any) -> None:
    poses, _, _ = estimate(BOX, picture(8, 8, frames=70))
    drawn = nodes["SDPoseAnnotatorDraw"].execute(poses=poses, **DRAW)
    assert len(drawn.args[0]) == 70
    assert torch.equal(torch.stack(drawn.ui["images"]), drawn.args[0][:64])
    made = nodes["SDPoseAnnotator"].execute(image=picture(), **ANNOTATE)
    assert torch.equal(torch.stack(made.ui["images"]), made.args[0])


def test_a_managed_model_gives_what_the_bare_model_gives(nodes: dict, inside: Any) -> None:
    """In ComfyUI's layers, all but the last on a CPU, and with the weights asked for first."""
    import comfy.model_management as management

    config_of = inside("sdpose_core.model.config")
    unet = config_of.UNetConfig((16, 32, 32, 32), 2, (1, 2, 2, 2), cross_attention_dim=16, norm_num_groups=8)
    vae = config_of.VAEConfig((8, 8, 16, 16), 1, norm_num_groups=4)
    torch.manual_seed(0)
    sdpose = inside("sdpose_core.model.network").SDPose(
        config_of.SDPoseConfig(input_size=(192, 256), unet=unet, vae=vae)
    )
    sdpose = inside("sdpose_core.model.folding").fold_constants(sdpose.eval().requires_grad_(False))
    image, boxes = [np.full((80, 60, 3), 90, np.uint8)], [np.asarray([[5, 5, 50, 70]], np.float32)]
    bare = inside("sdpose_core.estimation.sdpose").PoseEstimator(sdpose, batch_size=1).estimate(image, boxes)[0]
    managed = inside("nodes.host.model").ManagedModel(sdpose, "tiny", {})
    plain = {name for name, module in sdpose.named_modules() if type(module).__module__.startswith("torch.nn.modules")}
    weighted = {name for name in plain if any(True for _ in sdpose.get_submodule(name).parameters(recurse=False))}
    assert weighted == {"head.final_layer"}, "in fp32 there"
    management.loaded.clear()
    found = managed.estimator().estimate(image, boxes)[0]
    assert len(management.loaded) == 1
    assert np.array_equal(found.keypoints, bare.keypoints) and np.array_equal(found.scores, bare.scores)
    assert "17 keypoints" in managed.describe()
    assert json.loads(json.dumps(managed.asked)) == managed.asked
    assert (managed.asked["dtype"], managed.asked["input_size"]) == ("float32", [192, 256])


def test_an_adapter_loads_with_its_base_from_comfyuis_folders(nodes: dict, inside: Any, base: Path) -> None:
    models = base / "models"
    whole = tiny.make_checkpoint(models / "checkpoints" / "mine" / "base.safetensors")
    tiny.make_adapter(models / "sdpose" / "adapter.safetensors", whole)
    assert "adapter.safetensors" in inside("nodes.host.folders").weight_files()
    node, settings = nodes["SDPoseAnnotatorLoadModel"], {"dtype": "fp32", "keypoints": "auto", "compile": False}
    model, info = node.execute(model="adapter.safetensors", **settings).args
    load_sdpose = inside("sdpose_core.checkpoints.loading").load_sdpose
    expected = load_sdpose(models / "sdpose" / "adapter.safetensors", base=whole, device="cpu", fold=True)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(model._sdpose.state_dict()[name], value, rtol=0, atol=0)
    assert "adapter.safetensors" in info
    whole.unlink()
    with pytest.raises(inside("sdpose_core.errors").CheckpointError, match="needs its base 'base.safetensors'"):
        node.execute(model="adapter.safetensors", **settings)
    (models / "sdpose" / "adapter.safetensors").unlink()


def test_a_model_is_compiled_for_the_device_that_runs_it_and_the_node_tells_the_cost(
    nodes: dict, inside: Any, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ComfyUI loads it on the CPU; what is compiled differs on a GPU."""
    import comfy.model_management as management

    compiled: list[tuple] = []
    sdpose = inside("sdpose_core.model.network").SDPose
    monkeypatch.setattr(sdpose, "compile_backbone", lambda _self, *how: compiled.append(how))
    monkeypatch.setattr(inside("nodes.host.model"), "_patcher_of", lambda _: SimpleNamespace(load_device="mps"))
    monkeypatch.setattr(management, "get_torch_device", lambda: torch.device("mps"))
    path = tiny.make_checkpoint(base / "models" / "sdpose" / "compiled.safetensors")
    settings = {"model": path.name, "dtype": "fp32", "keypoints": "auto"}
    load = nodes["SDPoseAnnotatorLoadModel"].execute
    assert "compiling" not in load(**settings, compile=False, compile_mode="max-autotune").args[1]
    assert not compiled
    info = load(**settings, compile=True, compile_mode="max-autotune").args[1]
    assert compiled == [("max-autotune", torch.device("mps"))]
    assert "compiling: the first picture takes minutes longer" in info
    path.unlink()


@pytest.mark.slow
def test_a_model_after_the_papers_third_version_loads(nodes: dict, inside: Any, base: Path) -> None:
    path = tiny.make_version_3(base / "models" / "sdpose" / "v3.safetensors")
    settings = {"dtype": "fp32", "keypoints": "auto", "compile": False}
    model, _ = nodes["SDPoseAnnotatorLoadModel"].execute(model=path.name, **settings).args
    expected = inside("sdpose_core.checkpoints.loading").load_sdpose(path, device="cpu", dtype="fp32", fold=True)
    crops = torch.rand(1, 3, 128, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert model._sdpose.config.aggregation == "gated"
    torch.testing.assert_close(model._sdpose.heatmaps(crops), expected.heatmaps(crops), rtol=0, atol=1e-4)
    path.unlink()


# --- files on disk ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        (
            "SDPoseAnnotatorLoadModel",
            {"model": "x.safetensors", "dtype": "fp32", "keypoints": "auto", "compile": False},
        ),
        ("SDPoseAnnotatorDetect", {"detector": "x.onnx", "threshold": 0.3, "image": None}),
        ("SDPoseAnnotator", {"detector": "x.onnx", "threshold": 0.3, "image": None}),
    ],
)
def test_a_node_runs_again_when_its_file_was_replaced(nodes: dict, base: Path, name: str, inputs: dict) -> None:
    path = base / "models" / "sdpose" / (inputs.get("model") or inputs["detector"])
    path.write_bytes(b"1")
    before = nodes[name].fingerprint_inputs(**inputs)
    assert nodes[name].fingerprint_inputs(**inputs) == before
    path.write_bytes(b"22")
    assert nodes[name].fingerprint_inputs(**inputs) != before
    path.unlink()


def test_a_model_of_several_files_is_loaded_again_when_one_of_them_was_replaced(nodes: dict, base: Path) -> None:
    """The folder's own time does not change with a file two folders down."""
    folder = base / "models" / "sdpose" / "official"
    file = folder / "unet" / "weights.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"1")
    settings = {"model": folder.name, "dtype": "fp32", "keypoints": "auto", "compile": False}
    before = nodes["SDPoseAnnotatorLoadModel"].fingerprint_inputs(**settings)
    file.write_bytes(b"22")
    assert nodes["SDPoseAnnotatorLoadModel"].fingerprint_inputs(**settings) != before
    file.unlink()
    file.parent.rmdir()
    folder.rmdir()


@pytest.mark.parametrize("name", ["SDPoseAnnotatorDetect", "SDPoseAnnotator"])
@pytest.mark.parametrize("detector", ["yolox (embedded)", None])
def test_an_embedded_detector_never_changes(nodes: dict, name: str, detector: str | None) -> None:
    """Nor does a choice that comes by wire, for which ComfyUI gives None: an error would run the node every time."""
    assert nodes[name].fingerprint_inputs(detector=detector, image=None) is None


def test_a_model_whose_choice_comes_by_wire_is_not_loaded_every_time(nodes: dict) -> None:
    settings = {"model": None, "dtype": None, "keypoints": None, "compile": None}
    fingerprint = nodes["SDPoseAnnotatorLoadModel"].fingerprint_inputs
    assert fingerprint(**settings) == fingerprint(**settings)


# --- boxes from other nodes ------------------------------------------------------------------------------------------


def sam3_track(masks: np.ndarray) -> dict[str, Any]:
    packed = np.packbits(masks, axis=-1, bitorder="little")
    size = masks.shape[-2:]
    return {"packed_masks": torch.from_numpy(packed), "n_frames": len(masks), "scores": [0.9, 0.8], "orig_size": size}


def two_squares() -> np.ndarray:
    """(2 objects, 32, 32): one at the top left, one at the bottom right."""
    masks = np.zeros((2, 32, 32), bool)
    masks[0, 2:10, 4:12] = True
    masks[1, 20:30, 16:24] = True
    return masks


SQUARES = [(4, 2, 8, 8), (16, 20, 8, 10)]


def segs() -> Any:
    parts = [
        SimpleNamespace(
            bbox=(x, y, x + w, y + h), crop_region=(x, y, x + w, y + h), cropped_mask=np.ones((h, w)), confidence=0.5
        )
        for x, y, w, h in SQUARES
    ]
    return ((32, 32), parts)


SOURCES = {
    "bbox xywh": SQUARES,
    "bbox nested": [SQUARES],
    "mask stack": torch.from_numpy(two_squares()).float(),
    "segs": segs(),
    "sam3": sam3_track(two_squares()[None]),
    "bounding box": [[{"x": x, "y": y, "width": w, "height": h} for x, y, w, h in SQUARES]],
    "mhr": {"frames": [[{"bbox": np.asarray([x, y, x + w, y + h])} for x, y, w, h in SQUARES]], "image_size": (32, 32)},
}


@pytest.mark.parametrize("kind", SOURCES)
def test_boxes_from(nodes: dict, kind: str) -> None:
    settings = BOXES_FROM | {"with_masks": True}
    execute = nodes["SDPoseAnnotatorBoxesFrom"].execute
    boxes, masks, info = execute(source=SOURCES[kind], image=picture(32, 32), **settings).args
    assert [[(b["x"], b["y"], b["width"], b["height"]) for b in frame] for frame in boxes] == [SQUARES]
    assert np.array_equal(masks.numpy() > 0, two_squares())
    assert "2 people" in info


@pytest.mark.parametrize(
    ("source", "counts"),
    [
        ([[SQUARES[0]], [], SQUARES], [1, 0, 2]),
        ([[SQUARES[0]], None, SQUARES], [1, 0, 2]),
        ([SQUARES[0], None, SQUARES[1]], [1, 0, 1]),
        ([None, (), SQUARES[1]], [0, 0, 1]),
        (np.zeros((0, 4)), [0, 0, 0]),
        (np.asarray([SQUARES[0]] * 3), [1, 1, 1]),
        ([np.asarray(SQUARES), np.zeros((0, 4)), np.zeros((0, 4))], [2, 0, 0]),
        ([(float("nan"), 1, 2, 3)] * 3, [1, 1, 1]),
    ],
)
def test_bbox_of_frames_with_and_without_people(nodes: dict, source: Any, counts: list[int]) -> None:
    settings = BOXES_FROM | {"with_masks": True}
    execute = nodes["SDPoseAnnotatorBoxesFrom"].execute
    boxes, masks, _ = execute(source=source, image=picture(32, 32, frames=3), **settings).args
    assert [len(frame) for frame in boxes] == counts
    assert len(masks) == max(sum(counts), 1)


def test_segs_of_other_packs(nodes: dict) -> None:
    """Without a box, a confidence or a mask, and with regions over the edge of the picture."""
    whole = {"bbox": None, "confidence": None, "cropped_mask": None, "crop_region": (4, 2, 12, 10)}
    over = whole | {"crop_region": (-4, 28, 4, 36), "cropped_mask": np.eye(8), "confidence": np.asarray([0.25])}
    outside = whole | {"crop_region": (-9, -9, -1, -1), "cropped_mask": torch.ones(1, 8, 8)}
    segs = ((32, 32), [SimpleNamespace(**entry) for entry in (whole, over, outside)])
    settings = BOXES_FROM | {"with_masks": True}
    execute = nodes["SDPoseAnnotatorBoxesFrom"].execute
    boxes, masks, _ = execute(source=segs, image=picture(32, 32), **settings).args
    assert [(box["x"], box["width"], box["score"]) for box in boxes[0]] == [(4, 8, 1.0), (-4, 8, 0.25), (-9, 8, 1.0)]
    expected = np.zeros((3, 32, 32), bool)
    expected[0, 2:10, 4:12] = True
    expected[1, 28:32, 0:4] = np.eye(8)[:4, 4:8] > 0
    assert np.array_equal(masks.numpy() > 0, expected)


def test_people_of_sam_3d_body_of_whom_nothing_is_known_are_left_out(nodes: dict) -> None:
    points = np.full((70, 2), np.nan)
    known = points.copy()
    known[:2] = (10, 10), (20, 30)
    people = [{"bbox": None, "pred_keypoints_2d": points}, {}, {"bbox": None, "pred_keypoints_2d": known}]
    execute = nodes["SDPoseAnnotatorBoxesFrom"].execute
    boxes = execute(source={"frames": [people, None]}, image=picture(32, 32, frames=2), **BOXES_FROM).args[0]
    assert [[(box["x"], box["y"], box["width"], box["height"]) for box in frame] for frame in boxes] == [
        [(9.0, 8.0, 12.0, 24.0)],
        [],
    ]


def test_boxes_from_corners_parts_and_keypoints(nodes: dict, estimate: Any) -> None:
    execute = nodes["SDPoseAnnotatorBoxesFrom"].execute
    corners = [[x, y, x + w, y + h] for x, y, w, h in SQUARES]
    as_corners = execute(source=corners, image=picture(32, 32), **(BOXES_FROM | {"bbox_format": "x1, y1, x2, y2"}))
    assert [(b["width"], b["height"]) for b in as_corners.args[0][0]] == [(8, 8), (8, 10)]
    union = torch.from_numpy(two_squares().any(axis=0))[None].float()
    parts = execute(
        source=union, image=picture(32, 32), **(BOXES_FROM | {"mask_meaning": "each connected part is a person"})
    )
    assert [(b["x"], b["y"]) for b in parts.args[0][0]] == [(4, 2), (16, 20)]
    _, keypoints, _ = estimate(BOX)
    box = execute(source=keypoints, image=picture(), **BOXES_FROM).args[0][0][0]
    assert {key: box[key] for key in BOX} == BOX


@pytest.mark.parametrize("kind", ["bbox xywh", "bbox nested", "bounding box"])
def test_boxes_from_0_to_1_are_scaled_with_a_note(nodes: dict, kind: str) -> None:
    shares = [tuple(value / side for value, side in zip(box, (64, 32, 64, 32), strict=True)) for box in SQUARES]
    source = {
        "bbox xywh": shares,
        "bbox nested": [shares],
        "bounding box": [[{"x": x, "y": y, "width": w, "height": h} for x, y, w, h in shares]],
    }[kind]
    boxes, _, info = nodes["SDPoseAnnotatorBoxesFrom"].execute(source=source, image=picture(32, 64), **BOXES_FROM).args
    assert [[(b["x"], b["y"], b["width"], b["height"]) for b in frame] for frame in boxes] == [SQUARES]
    assert "from 0 to 1" in info


def test_boxes_from_0_to_1_on_a_wire_are_scaled_too(estimate: Any) -> None:
    shares = {"x": BOX["x"] / 48, "y": BOX["y"] / 64, "width": BOX["width"] / 48, "height": BOX["height"] / 64}
    [scaled], _, info = estimate([[shares]])
    np.testing.assert_allclose(scaled.boxes, estimate(BOX)[0][0].boxes, atol=1e-4)
    assert "boxes from 0 to 1" in info


def test_tracks_keep_their_ids_where_an_object_is_hidden(nodes: dict, estimate: Any) -> None:
    masks = np.stack([two_squares(), two_squares() * np.asarray([False, True])[:, None, None]])
    image = picture(32, 32, frames=2)
    boxes, _, _ = nodes["SDPoseAnnotatorBoxesFrom"].execute(source=sam3_track(masks), image=image, **BOXES_FROM).args
    assert [[box["track_id"] for box in frame] for frame in boxes] == [[0, 1], [1]]
    poses, _, _ = estimate(boxes, image)
    assert [frame.track_ids.tolist() for frame in poses] == [[0, 1], [1]]


def test_masks_reach_the_estimator_one_per_box(
    nodes: dict, estimate: Any, echo: EchoModel, input_error: type[Exception]
) -> None:
    settings = BOXES_FROM | {"with_masks": True}
    image = picture(32, 32)
    boxes, masks, _ = nodes["SDPoseAnnotatorBoxesFrom"].execute(source=SOURCES["sam3"], image=image, **settings).args
    estimate(boxes, image, masks=masks)
    assert np.array_equal(echo.seen[-1][2][0], two_squares())
    with pytest.raises(input_error, match="one per box, 2 in total"):
        estimate(boxes, image, masks=masks[:1])


def test_boxes_from_refuses_other_frames(nodes: dict, input_error: type[Exception]) -> None:
    with pytest.raises(input_error, match="boxes for 1 frame, image has 2 frames"):
        nodes["SDPoseAnnotatorBoxesFrom"].execute(source=SOURCES["sam3"], image=picture(frames=2), **BOXES_FROM)


# --- nothing that comes in is changed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["poses", "keypoints"])
def test_poses_that_come_in_are_not_modified(nodes: dict, estimate: Any, kind: str) -> None:
    made = estimate([[BOX, BOX | {"x": 1.0}], [BOX]], picture(frames=2))
    given = made[0] if kind == "poses" else made[1]
    before = copy.deepcopy(given)
    filters = {"threshold": 0.5, "min_person_score": 0.1, "min_points": 1, "max_people": 1}
    nodes["SDPoseAnnotatorSelectPerson"].execute(poses=given, by="leftmost", number=0, x=0, y=0)
    nodes["SDPoseAnnotatorFilter"].execute(poses=given, **filters, **PARTS | {"head": False})
    nodes["SDPoseAnnotatorDraw"].execute(poses=given, **(DRAW | {"width": 100, "height": 30, "swap_hands": True}))
    if kind == "keypoints":
        assert given == before
        return
    for frame, kept in zip(given, before, strict=True):
        for name in ("keypoints", "scores", "boxes"):
            np.testing.assert_array_equal(getattr(frame, name), getattr(kept, name))


@pytest.mark.parametrize("kind", SOURCES)
def test_sources_of_boxes_are_not_modified(nodes: dict, kind: str) -> None:
    before = copy.deepcopy(SOURCES[kind])
    nodes["SDPoseAnnotatorBoxesFrom"].execute(
        source=SOURCES[kind], image=picture(32, 32), **BOXES_FROM | {"with_masks": True}
    )
    assert repr(SOURCES[kind]) == repr(before)


# --- selecting, saving -----------------------------------------------------------------------------------------------


def test_select_and_filter(nodes: dict, estimate: Any) -> None:
    small, large = BOX | {"track_id": 4}, BOX | {"x": 0.0, "width": 48.0, "track_id": 9}
    poses, _, _ = estimate([[small, large], [small]], picture(frames=2))
    select = nodes["SDPoseAnnotatorSelectPerson"].execute
    ids = {
        by: [frame.track_ids.tolist() for frame in select(poses=poses, by=by, number=number, x=0, y=0).args[0]]
        for by, number in (("largest", 0), ("id", 9))
    }
    assert ids == {"largest": [[9], [4]], "id": [[9], []]}
    kept = nodes["SDPoseAnnotatorFilter"].execute(
        poses=poses, threshold=0.3, min_person_score=0.0, min_points=18, max_people=0, **PARTS
    )  # fmt: skip
    assert [len(frame) for frame in kept.args[0]] == [0, 0]


@pytest.mark.parametrize(
    ("format", "where"),
    [
        ("pose.npz", "a/b_00001_.pose.npz"),
        ("OpenPose JSON, one file", "a/c_00001_.json"),
        ("OpenPose JSON, one file per frame", "a/d_00001_/d_00001_000000000000_keypoints.json"),
    ],
)
def test_save_and_load(nodes: dict, estimate: Any, base: Path, format: str, where: str) -> None:
    poses, _, _ = estimate([[BOX, BOX | {"x": 1.0}], [], [BOX]], picture(frames=3))
    save = nodes["SDPoseAnnotatorSave"].execute
    path = save(poses=poses, filename_prefix=where.partition("_")[0], format=format, threshold=0.3).args[0]
    assert Path(path) == base / "output" / where
    loader = nodes["SDPoseAnnotatorLoad"]
    choice = (where if "per frame" not in format else "a/d_00001_/") + " [output]"
    assert choice in next(entry for entry in loader.define_schema().inputs if entry.id == "file").settings["options"]
    loaded = loader.execute(file=choice, swap_hands=False).args[0]
    assert [len(frame) for frame in loaded] == [2, 0, 1]
    for one, other in zip(poses, loaded, strict=True):
        np.testing.assert_allclose(one.keypoints, other.keypoints, atol=1e-3)
        assert one.size == other.size
    before = loader.fingerprint_inputs(file=choice, swap_hands=False)
    Path(path).write_bytes(Path(path).read_bytes() + b" ")
    assert loader.fingerprint_inputs(file=choice, swap_hands=False) != before
    for file in (base / "output" / "a").rglob("*.*"):
        if file.is_file():
            file.unlink()
    for folder in (base / "output" / "a").glob("*/"):
        folder.rmdir()


def test_json_of_frames_of_different_sizes(nodes: dict, estimate: Any, base: Path, input_error: type) -> None:
    frames = [*estimate(BOX)[0], *estimate(BOX, picture(32, 32))[0]]
    save = nodes["SDPoseAnnotatorSave"].execute
    for format in ("OpenPose JSON, one file", "OpenPose JSON, one file per frame"):
        path = Path(save(poses=frames, filename_prefix="sizes", format=format, threshold=0.3).args[0])
        assert path.is_relative_to(base / "output")
    with pytest.raises(input_error, match="all frames of a sequence must agree"):
        save(poses=frames, filename_prefix="sizes", format="pose.npz", threshold=0.3)


def test_json_without_a_canvas_is_loaded_with_the_size_that_is_given(
    nodes: dict, base: Path, input_error: type[Exception]
) -> None:
    """OpenPose's own program writes no size."""
    body = np.c_[np.linspace(5, 40, 18), np.linspace(9, 60, 18), np.ones(18)].ravel().tolist()
    path = base / "input" / "frame_keypoints.json"
    path.write_text(json.dumps({"version": 1.3, "people": [{"pose_keypoints_2d": body}]}))
    load = nodes["SDPoseAnnotatorLoad"].execute
    with pytest.raises(input_error, match="canvas_width and canvas_height"):
        load(file=path.name, swap_hands=False)
    poses = load(file=path.name, swap_hands=False, canvas_width=48, canvas_height=64).args[0]
    assert [(len(frame), frame.size) for frame in poses] == [(1, (48, 64))]
    path.unlink()


SIZE = {"width": 48, "height": 64}


def without_canvas(scale: float = 1.0, key: str = "pose_keypoints_2d") -> dict:
    body = np.c_[np.linspace(5, 40, 18) * scale, np.linspace(9, 60, 18) * scale, np.ones(18)].ravel().tolist()
    return {"version": 1.3, "people": [{key: body}]}


def test_a_wire_without_a_canvas_is_drawn_at_the_size_of_the_node_or_of_the_image(
    nodes: dict, input_error: type[Exception]
) -> None:
    draw = nodes["SDPoseAnnotatorDraw"].execute
    full = {**without_canvas(), "canvas_width": 48, "canvas_height": 64}
    expected = draw(poses=[full], **DRAW).args[0]
    for settings in ({"width": 48, "height": 64}, {"image": torch.zeros(1, 64, 48, 3)}):
        drawn, info = draw(poses=[without_canvas()], **{**DRAW, **settings}).args
        assert torch.equal(drawn, expected) and "no canvas size: used the given 48 x 64" in info
    with pytest.raises(input_error, match="set both width and height, or connect the image"):
        draw(poses=[without_canvas()], **{**DRAW, "width": 48})


@pytest.mark.parametrize("image", [picture()[0], picture().movedim(-1, 1), picture()[None]])
def test_the_size_of_an_image_does_not_depend_on_the_order_of_its_axes(nodes: dict, image: torch.Tensor) -> None:
    draw, boxes_from = nodes["SDPoseAnnotatorDraw"].execute, nodes["SDPoseAnnotatorBoxesFrom"].execute
    expected = draw(poses=[without_canvas()], **{**DRAW, "image": picture()}).args[0]
    assert torch.equal(draw(poses=[without_canvas()], **{**DRAW, "image": image}).args[0], expected)
    [[box]], _, info = boxes_from(source=[without_canvas()], image=image, **BOXES_FROM).args
    assert (box["x"], box["y"], box["width"]) == (5, 9, 35)
    assert "no canvas size: used the given 48 x 64" in info


def test_points_in_tensors_are_read(nodes: dict) -> None:
    frame = without_canvas()
    person = frame["people"][0]
    tensors = {"people": [{key: torch.tensor(values) for key, values in person.items()}]}
    drawn = [nodes["SDPoseAnnotatorDraw"].execute(poses=[one], **DRAW | SIZE).args[0] for one in (frame, tensors)]
    assert torch.equal(*drawn)


def test_older_keys_and_unknown_keys_on_a_wire(nodes: dict, input_error: type[Exception]) -> None:
    draw = nodes["SDPoseAnnotatorDraw"].execute
    canvas = {"canvas_width": 48, "canvas_height": 64}
    expected = draw(poses=[{**without_canvas(), **canvas}], **DRAW).args[0]
    drawn, info = draw(poses=[{**without_canvas(key="pose_keypoints"), **canvas}], **DRAW).args
    assert torch.equal(drawn, expected) and "pose_keypoints read as pose_keypoints_2d" in info
    with pytest.raises(input_error, match=r"no known part among its keys \(skeleton\)"):
        draw(poses=[{**without_canvas(key="skeleton"), **canvas}], **DRAW)


def test_load_lists_files_of_any_case_in_natural_order_and_no_hidden_ones(nodes: dict, base: Path) -> None:
    folder = base / "input" / "order"
    folder.mkdir()
    for name in ("f10.json", "f9.JSON", "._f9.json", "f1.Pose.NPZ", "notes.txt"):
        (folder / name).write_text(json.dumps({**without_canvas(), "canvas_width": 48, "canvas_height": 64}))
    options = nodes["SDPoseAnnotatorLoad"].define_schema().inputs[0].settings["options"]
    listed = [option for option in options if option.startswith("order/")]
    assert listed == ["order/f1.Pose.NPZ [input]", "order/f9.JSON [input]", "order/f10.json [input]"]
    assert len(nodes["SDPoseAnnotatorLoad"].execute(file=listed[1], swap_hands=False).args[0][0]) == 1
    shutil.rmtree(folder)


@pytest.mark.parametrize("prefix", ["../outside", "/tmp/outside", "a/../../outside"])
def test_saving_outside_the_output_folder_is_refused(nodes: dict, estimate: Any, prefix: str) -> None:
    poses, _, _ = estimate(BOX)
    with pytest.raises(Exception, match="outside"):
        nodes["SDPoseAnnotatorSave"].execute(poses=poses, filename_prefix=prefix, format="pose.npz", threshold=0.3)


def test_linked_folders_are_listed_and_none_twice(inside: Any, base: Path, tmp_path: Path) -> None:
    folder = base / "input" / "links"
    for place in (folder / "real", tmp_path):
        place.mkdir(parents=True, exist_ok=True)
        (place / "a.json").write_text("{}")
    for name, target in {"outside": tmp_path, "again": folder / "real", "up": base, "self": folder}.items():
        (folder / name).symlink_to(target, target_is_directory=True)
    found = [name for name in inside("nodes.files").pose_files() if name.startswith("links/")]
    shutil.rmtree(folder)
    assert found == ["links/outside/a.json [input]", "links/real/a.json [input]"]


def test_load_without_files_says_where_to_put_them(nodes: dict, input_error: type[Exception]) -> None:
    with pytest.raises(input_error, match="input folder"):
        nodes["SDPoseAnnotatorLoad"].execute(file="(no pose file found)", swap_hands=False)


def test_files_are_listed_in_natural_order_without_hidden_ones(
    inside: Any, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [
        "n/a2.pose.npz", "n/a10.POSE.NPZ", "n/._a2.pose.npz", "n/.sdpose-batch/a2.json", "n/b.JSON",
        "n/__MACOSX/b.json", "n/x10/f_keypoints.json", "n/x9/f_keypoints.json",
    ]  # fmt: skip
    for name in listed:
        (base / "input" / name).parent.mkdir(parents=True, exist_ok=True)
        (base / "input" / name).touch()
    found = [name for name in inside("nodes.files").pose_files() if name.startswith("n/")]
    assert found == [f"n/{name} [input]" for name in ("a2.pose.npz", "a10.POSE.NPZ", "b.JSON", "x9/", "x10/")]
    sequences = [name for name in inside("nodes.sequence_files")._sequence_files() if name.startswith("n/")]
    assert sequences == found[:2]

    import folder_paths

    weights = ["w10.safetensors", "w9.SAFETENSORS", "x/._w9.safetensors", "SDPose.safetensors", "w.ckpt"]
    monkeypatch.setattr(folder_paths, "get_filename_list", lambda _folder: weights)
    names = [name for name in inside("nodes.host.folders").weight_files() if name in weights]
    assert names == ["SDPose.safetensors", "w9.SAFETENSORS", "w10.safetensors"]


# --- custom keypoint sets --------------------------------------------------------------------------------------------


class PenModel(EchoModel):
    """Finds a pen of four points, which is not OpenPose's, in each box."""

    keypoint_set = "pen_4"

    def _poses(self, image: np.ndarray, rows: np.ndarray) -> Any:
        corners = rows[:, [[0, 1], [2, 3], [0, 3], [2, 1]]].reshape(-1, 4, 2)
        size, meta = (image.shape[1], image.shape[0]), {"model": "pen", **described(PEN)}
        return self.poses_type(corners, np.ones((len(rows), 4)), rows, size, "pen_4", meta=meta)


@pytest.fixture
def pen(inside: Any, run: Any) -> tuple:
    """What the annotator gives with such a model: pose_map, keypoints, boxes, info, poses."""
    model = PenModel(inside("sdpose_core.poses").Poses)
    return run("", image=picture(frames=2) * 0, model=model, boxes=[[BOX], []])


def test_a_custom_set_is_drawn_and_has_no_openpose_points(pen: tuple, run: Any) -> None:
    pose_map, keypoints, _, info, poses = pen
    expected = draw_poses(custom_poses(PEN, [(10, 5), (30, 45), (10, 45), (30, 5)], (48, 64)))
    np.testing.assert_array_equal((pose_map[0].numpy() * 255).round().astype(np.uint8), expected)
    assert not pose_map[1].any() and info.startswith("1 pose in 2 frames")
    assert type(keypoints).__name__ == "ExecutionBlocker" and "'pen_4' does not have" in keypoints.message
    drawn, _ = run("Draw", poses=poses)
    assert torch.equal(drawn, pose_map)
    chosen = run("SelectPerson", poses=poses)
    assert len(chosen[0][0]) == 1 and chosen[1].message == keypoints.message
    sequence, blocked, _ = run("Track", poses=poses)
    assert torch.equal(run("Draw", poses=sequence)[0], pose_map) and blocked.message == keypoints.message


def test_a_custom_set_is_saved_and_loaded_but_not_as_openpose(
    pen: tuple, run: Any, nodes: dict, base: Path, input_error: type[Exception]
) -> None:
    values = {"poses": pen[4], "filename_prefix": "pens", "threshold": 0.3}
    (path,) = run("Save", **values, format="pose.npz")
    assert PoseSequence.load(path).skeleton == PEN
    before = sorted(Path(path).parent.iterdir())
    for format in ("OpenPose JSON, one file per frame", "OpenPose JSON, one file"):
        with pytest.raises(input_error, match="'pen_4' has no OpenPose form"):
            run("Save", **values, format=format)
    assert sorted(Path(path).parent.iterdir()) == before


def test_a_style_of_openpose_is_refused_for_a_custom_set(
    inside: Any, run: Any, pen: tuple, input_error: type[Exception]
) -> None:
    model = PenModel(inside("sdpose_core.poses").Poses)
    with pytest.raises(input_error, match="style 'xinsir' draws OpenPose's points"):
        run("", image=picture(), model=model, boxes=[[BOX]], style="xinsir")
    assert not model.seen
    with pytest.raises(input_error, match="style 'xinsir' draws OpenPose's points"):
        run("Draw", poses=pen[4], style="xinsir")
