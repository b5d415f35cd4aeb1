"""The nodes in a real ComfyUI: `COMFYUI_PATH=/path/to/ComfyUI pytest -m comfy tests/nodes/test_comfy_host.py`.

How it is started: `tests/support/comfy_host.py`.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comfy_host import COMFYUI_PATH, SCHEMAS, Server, make_base, node, running
from custom_sets import PEN
from pack_loading import FOLDER_NAME
from paths import ROOT
from safetensors.torch import save_file
from tiny import BODY as TINY
from tiny import make_adapter, make_checkpoint

from sdpose_core.checkpoints.layouts import save_checkpoint
from sdpose_core.model.config import WHOLEBODY
from sdpose_core.model.network import SDPose
from sdpose_core.poses import PoseSequence
from sdpose_core.skeletons import COCO_WHOLEBODY_133

PICTURE = "astronaut.png"
CLIP = "dancer.mp4"
TWINS = ROOT / "tests" / "workflows_api"

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(not COMFYUI_PATH, reason="COMFYUI_PATH is not set: no real ComfyUI to test against"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = ROOT / "tests" / "data"
    base = make_base(tmp_path_factory.mktemp("comfy"), [data / file for file in (PICTURE, CLIP)])
    with running(base) as server:
        yield server


def image_node() -> dict[str, Any]:
    return {"class_type": "LoadImage", "inputs": {"image": PICTURE}}


def test_the_pack_loads_without_a_complaint(server: Server) -> None:
    log = server.log.read_text()
    assert FOLDER_NAME in log
    assert "IMPORT FAILED" not in log
    assert "Traceback" not in log


def test_the_schemas_are_those_written_down(server: Server) -> None:
    """Holds the stand-in of the other tests, and the golden schemas, against the real thing."""
    info = {name: entry for name, entry in server.call("/object_info").items() if name.startswith("SDPoseAnnotator")}
    assert sorted(info) == sorted(SCHEMAS)
    for name, entry in info.items():
        declared = SCHEMAS[name]
        inputs = {
            key: kind for group in ("required", "optional") for key, kind in entry["input"].get(group, {}).items()
        }
        assert list(entry["output"]) == list(declared["outputs"].values()), name
        assert set(inputs) == set(declared["inputs"]), name
        for key, (kind, settings) in inputs.items():
            assert kind == declared["inputs"][key]["type"], (name, key)
            assert settings["tooltip"], (name, key)
            assert (key in entry["input"].get("optional", {})) == declared["inputs"][key]["optional"], (name, key)


@pytest.mark.parametrize(
    "file", ["docs/SDPoseAnnotator.md", "docs/SDPoseAnnotator/zh.md", "docs/images/SDPoseAnnotator_result.jpg"]
)
@pytest.mark.parametrize("name", [FOLDER_NAME, FOLDER_NAME.split(".")[0]], ids=["folder", "as the page asks"])
def test_help_pages_are_served_though_the_folder_has_a_space_and_a_dot(server: Server, name: str, file: str) -> None:
    """The page asks under the folder's name up to the first dot."""
    address = f"http://127.0.0.1:{server.port}/extensions/{urllib.parse.quote(name)}/{file}"
    with urllib.request.urlopen(address) as response:
        assert response.read() == (ROOT / "web" / file).read_bytes()
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(address.replace("docs/", "%2e%2e/", 1))


@pytest.mark.parametrize("path", sorted((ROOT / "workflows").glob("*.*")), ids=lambda path: path.name)
def test_the_template_browser_gets_graph_and_thumbnail(server: Server, path: Path) -> None:
    pack = urllib.parse.quote(FOLDER_NAME)
    assert path.stem in server.call("/api/workflow_templates")[FOLDER_NAME]
    address = f"http://127.0.0.1:{server.port}/api/workflow_templates/{pack}/{urllib.parse.quote(path.name)}"
    with urllib.request.urlopen(address) as response:
        assert response.read() == path.read_bytes()


def test_one_node_gives_a_pose_map(server: Server) -> None:
    prompt = {
        "1": image_node(),
        "2": node("SDPoseAnnotator", image=["1", 0]),
        "3": node("SaveImage", images=["2", 0], filename_prefix="one"),
        "4": {"class_type": "PreviewAny", "inputs": {"source": ["2", 3]}},
    }
    outputs = server.run(prompt)
    pose_map = server.picture(outputs, "3")
    assert pose_map.shape == (512, 512, 3)
    assert 500 < (pose_map.max(axis=-1) > 0).sum() < pose_map.size // 6
    assert np.array_equal(server.picture(outputs, "2"), pose_map)
    assert "MoveNet" in outputs["4"]["text"][0]


def chain() -> dict[str, Any]:
    return {
        "1": image_node(),
        "2": node("SDPoseAnnotatorLoadModel", model="preview (embedded)"),
        "3": node("SDPoseAnnotatorDetect", image=["1", 0]),
        "4": node("SDPoseAnnotatorEstimate", image=["1", 0], model=["2", 0], boxes=["3", 0]),
    }


def test_chain_of_nodes_draws_what_the_one_node_draws(server: Server) -> None:
    prompt = chain() | {
        "5": node("SDPoseAnnotatorFilter", poses=["4", 0]),
        "6": node("SDPoseAnnotatorSelectPerson", poses=["5", 0]),
        "7": node("SDPoseAnnotatorDraw", poses=["6", 0]),
        "8": node("SaveImage", images=["7", 0], filename_prefix="chain"),
        "9": node("SDPoseAnnotator", image=["1", 0], max_people=1),
        "10": node("SaveImage", images=["9", 0], filename_prefix="one"),
    }
    outputs = server.run(prompt)
    assert np.array_equal(server.picture(outputs, "8"), server.picture(outputs, "10"))


def test_our_keypoints_go_through_the_native_draw_node(server: Server) -> None:
    prompt = chain() | {
        "5": {
            "class_type": "SDPoseDrawKeypoints",
            "inputs": {
                "keypoints": ["4", 1],
                "draw_body": True,
                "draw_hands": True,
                "draw_face": True,
                "draw_feet": True,
                "stick_width": 4,
                "face_point_size": 3,
                "score_threshold": 0.3,
                "draw_head": True,
            },
        },
        "6": node("SaveImage", images=["5", 0], filename_prefix="native"),
        "7": node("SDPoseAnnotatorDraw", poses=["4", 1], style="sdpose_native"),
        "8": node("SaveImage", images=["7", 0], filename_prefix="ours"),
    }
    outputs = server.run(prompt)
    native, ours = (server.picture(outputs, name) for name in ("6", "8"))
    seen = native.max(axis=-1) > 0
    assert seen.sum() > 500
    assert (seen != (ours.max(axis=-1) > 0)).sum() < 0.02 * seen.sum()


def test_boxes_of_a_mask_and_native_crops_of_our_boxes(server: Server) -> None:
    prompt = {
        "1": image_node(),
        "2": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 512, "height": 512}},
        "3": node("SDPoseAnnotatorBoxesFrom", source=["2", 0], image=["1", 0]),
        "4": {"class_type": "DrawBBoxes", "inputs": {"bboxes": ["3", 0], "image": ["1", 0]}},
        "5": node("SaveImage", images=["4", 0], filename_prefix="boxes"),
    }
    assert server.picture(server.run(prompt), "5").shape == (512, 512, 3)


@pytest.mark.parametrize("format", ["pose.npz", "OpenPose JSON, one file per frame"])
def test_save_and_load(server: Server, format: str) -> None:
    prefix = f"saved/{format[:4]}"
    server.run(chain() | {"5": node("SDPoseAnnotatorSave", poses=["4", 0], filename_prefix=prefix, format=format)})
    options = server.call("/object_info/SDPoseAnnotatorLoad")["SDPoseAnnotatorLoad"]["input"]["required"]["file"]
    names = options[1]["options"] if isinstance(options[0], str) else options[0]
    saved = next(name for name in names if name.startswith(prefix))
    prompt = chain() | {
        "5": node("SDPoseAnnotatorLoad", file=saved),
        "6": node("SDPoseAnnotatorDraw", poses=["5", 0]),
        "7": node("SDPoseAnnotatorDraw", poses=["4", 0]),
        "8": node("SaveImage", images=["6", 0], filename_prefix="loaded"),
        "9": node("SaveImage", images=["7", 0], filename_prefix="direct"),
    }
    outputs = server.run(prompt)
    assert np.array_equal(server.picture(outputs, "8"), server.picture(outputs, "9"))


@pytest.mark.parametrize("layout", ["ours", "diffusers", "comfy"])
def test_a_tiny_checkpoint_of_each_layout_runs(server: Server, layout: str) -> None:
    name = f"tiny_{layout}" + ("" if layout == "diffusers" else ".safetensors")
    torch.manual_seed(0)
    save_checkpoint(SDPose(TINY).state_dict(), TINY, server.base / "models" / "sdpose" / name, layout=layout)
    server.call("/object_info/SDPoseAnnotatorLoadModel")
    prompt = chain() | {
        "2": node("SDPoseAnnotatorLoadModel", model=name, dtype="fp32"),
        "5": {"class_type": "PreviewAny", "inputs": {"source": ["4", 2]}},
        "6": {"class_type": "PreviewAny", "inputs": {"source": ["2", 1]}},
    }
    outputs = server.run(prompt)
    assert "1 person in 1 frame" in outputs["5"]["text"][0]
    assert "17 keypoints" in outputs["6"]["text"][0] and "192 x 256" in outputs["6"]["text"][0]
    assert "approximations" not in outputs["6"]["text"][0]


def test_a_custom_keypoint_set_is_drawn_and_stops_only_what_needs_openpose(server: Server) -> None:
    pen = {"keypoint_set": PEN.name, "num_keypoints": len(PEN), "keypoint_names": PEN.names}
    pen |= {"links": PEN.links, "sigmas": PEN.sigmas, "flip_pairs": PEN.flip_pairs}
    make_checkpoint(server.base / "models" / "sdpose" / "pen.safetensors", replace(TINY, **pen))
    server.call("/object_info/SDPoseAnnotatorLoadModel")
    prompt = chain() | {
        "2": node("SDPoseAnnotatorLoadModel", model="pen.safetensors", dtype="fp32"),
        "5": node("SDPoseAnnotatorDraw", poses=["4", 0], threshold=0.0),
        "6": node("SaveImage", images=["5", 0], filename_prefix="pen"),
        "7": {"class_type": "PreviewAny", "inputs": {"source": ["4", 1]}},
    }
    outputs = server.run(prompt)
    assert server.picture(outputs, "6").any()
    assert "7" not in outputs


def test_an_adapter_is_loaded_with_its_base_from_the_model_folders(server: Server) -> None:
    models = server.base / "models"
    base = make_checkpoint(models / "checkpoints" / "tiny_base.safetensors", TINY)
    make_adapter(models / "sdpose" / "tiny_adapter.safetensors", base, TINY)
    server.call("/object_info/SDPoseAnnotatorLoadModel")
    prompt = chain() | {
        "2": node("SDPoseAnnotatorLoadModel", model="tiny_adapter.safetensors", dtype="fp32"),
        "5": {"class_type": "PreviewAny", "inputs": {"source": ["4", 2]}},
    }
    assert "1 person in 1 frame" in server.run(prompt)["5"]["text"][0]


def test_stated_approximations_are_named(server: Server) -> None:
    torch.manual_seed(0)
    save_checkpoint(SDPose(TINY).state_dict(), TINY, server.base / "models" / "sdpose" / "tiny_pooled.safetensors")
    server.call("/object_info/SDPoseAnnotatorLoadModel")
    load = node(
        "SDPoseAnnotatorLoadModel", model="tiny_pooled.safetensors", pool_attention=True, input_size="384 x 512"
    )
    prompt = chain() | {
        "2": load,
        "5": {"class_type": "PreviewAny", "inputs": {"source": ["4", 2]}},
        "6": {"class_type": "PreviewAny", "inputs": {"source": ["2", 1]}},
    }
    outputs = server.run(prompt)
    assert "1 person in 1 frame" in outputs["5"]["text"][0]
    assert "384 x 512 crops | approximations: input_size, pool_attention" in outputs["6"]["text"][0]


def test_a_checkpoint_that_is_no_sdpose_is_one_readable_message(server: Server) -> None:
    save_file({"model.weight": torch.zeros(2, 2)}, server.base / "models" / "checkpoints" / "other.safetensors")
    prompt = chain() | {"2": node("SDPoseAnnotatorLoadModel", model="other.safetensors")}
    message = server.error(prompt | {"5": {"class_type": "PreviewAny", "inputs": {"source": ["4", 2]}}})
    assert "other.safetensors is not an SDPose checkpoint" in message


@pytest.mark.slow
def test_native_nodes_run_our_export_and_agree_with_our_stretched_crop(server: Server) -> None:
    """Full size, random weights, Comfy-Org's layout: their loader, their extractor, against ours on the same box."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    model = SDPose(WHOLEBODY, with_rgb_branch=True)
    torch.nn.init.normal_(model.head.final_layer.weight, std=0.05)
    widths = WHOLEBODY.vae.block_out_channels
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    decoder = AutoencoderKL(block_out_channels=widths, layers_per_block=2, latent_channels=4, **blocks).state_dict()
    parts = {f"vae.{name}": v for name, v in decoder.items() if name.startswith(("decoder.", "post_quant_conv."))}
    path = server.base / "models" / "checkpoints" / "random.safetensors"
    save_checkpoint(model.state_dict() | parts, WHOLEBODY, path, layout="comfy", dtype=torch.float16)
    loader = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": path.name}}
    native = {"model": ["5", 0], "vae": ["5", 2], "image": ["1", 0], "bboxes": ["3", 0], "batch_size": 1}
    prompt = chain() | {
        "2": node("SDPoseAnnotatorLoadModel", model=path.name, dtype="fp32"),
        "4": node("SDPoseAnnotatorEstimate", image=["1", 0], model=["2", 0], boxes=["3", 0], crop="stretch_native"),
        "5": loader,
        "6": {"class_type": "SDPoseKeypointExtractor", "inputs": native},
        "7": node("SDPoseAnnotatorSave", poses=["4", 0], filename_prefix="compare/ours"),
        "8": node("SDPoseAnnotatorSave", poses=["6", 0], filename_prefix="compare/native"),
    }
    server.wait(server.queue(prompt), seconds=1800)
    folder = server.base / "output" / "compare"
    ours, theirs = (PoseSequence.load(folder / f"{name}_00001_.pose.npz") for name in ("ours", "native"))
    left, right = (list(COCO_WHOLEBODY_133.parts[f"{side}_hand"]) for side in ("left", "right"))
    exchanged = np.arange(133)
    exchanged[left], exchanged[right] = right, left
    distance = np.linalg.norm(ours.keypoints[0, 0] - theirs.keypoints[0, 0][exchanged], axis=-1)
    assert np.isfinite(distance).mean() > 0.9
    assert np.nanmedian(distance) < 0.01
    assert np.nanquantile(distance, 0.9) < 0.1
    hands = np.linalg.norm(ours.keypoints[0, 0] - theirs.keypoints[0, 0], axis=-1)[left + right]
    assert np.nanmedian(hands) > 1


def test_the_graph_for_editing_saves_and_after_an_edit_draws_the_edited_file(server: Server) -> None:
    """The second half of that graph is muted at first, so it is put together here as the user wakes it."""
    saved = server.run(json.loads((TWINS / "06 Save, edit, reload.json").read_text()))
    file = next((server.base / "output" / "poses").glob("astronaut_*.json"))
    frames = json.loads(file.read_text())
    body = frames[0]["people"][0]["pose_keypoints_2d"]
    body[0] += 40
    file.write_text(json.dumps(frames))
    again = {
        "1": node("SDPoseAnnotatorLoad", file=f"poses/{file.name} [output]"),
        "2": node("SDPoseAnnotatorDraw", poses=["1", 0]),
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "edited"}},
    }
    edited = server.picture(server.run(again), "3").astype(int)
    before = server.picture(saved, "3").astype(int)
    changed = np.argwhere(np.abs(edited - before).sum(axis=2) > 0)
    assert len(changed), "the edit is not to be seen"
    assert changed[:, 0].max() < body[4] + 8, "more than the nose and its limbs (to the neck) moved"


def test_two_nodes_on_one_video_and_a_rerun_write_files_of_their_own(server: Server) -> None:
    def prompt(**settings: object) -> dict:
        both = {"video": ["2", 0], "folder": "apart", "smooth": False, **settings}
        return {
            "1": {"class_type": "LoadVideo", "inputs": {"file": CLIP}},
            "2": {"class_type": "Video Slice", "inputs": {
                "video": ["1", 0], "start_time": 0.0, "duration": 0.25, "strict_duration": False}},
            "3": node("SDPoseAnnotatorVideo", **both),
            "4": node("SDPoseAnnotatorVideo", **both, style="musepose"),
        }  # fmt: skip

    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (server.base / "output" / "apart").iterdir()}

    server.run(prompt())
    first = files()
    assert len(first) == 6 and len({data for name, data in first.items() if name.endswith("_kps.mp4")}) == 2
    server.run(prompt(keep_finished=True))
    assert files() == first
    server.run(prompt(every=2))
    assert first.items() < files().items() and len(files()) == 12


def test_the_steps_for_videos_one_by_one(server: Server) -> None:
    prompt = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": CLIP}},
        "2": {"class_type": "Video Slice", "inputs": {
            "video": ["1", 0], "start_time": 0.5, "duration": 0.75, "strict_duration": False}},
        "3": {"class_type": "GetVideoComponents", "inputs": {"video": ["2", 0]}},
        "4": node("SDPoseAnnotator", image=["3", 0]),
        "5": node("SDPoseAnnotatorTrack", poses=["4", 4], image=["3", 0], frame_rate=["3", 2]),
        "6": node("SDPoseAnnotatorSmooth", sequence=["5", 0]),
        "7": node("SDPoseAnnotatorFaceCrops", image=["3", 0], sequence=["6", 0], size=128),
        "8": node("SDPoseAnnotatorSave", poses=["6", 0], filename_prefix="steps/clip"),
        "9": node("SDPoseAnnotatorVideo", video=["2", 0], folder="steps", smooth=False),
        "10": {"class_type": "SDPoseDrawKeypoints", "inputs": {
            "keypoints": ["6", 1], "draw_body": True, "draw_hands": True, "draw_face": True, "draw_feet": False,
            "stick_width": 4, "face_point_size": 3, "score_threshold": 0.3, "draw_head": True}},
        "11": {"class_type": "PreviewImage", "inputs": {"images": ["10", 0]}},
        "12": {"class_type": "PreviewImage", "inputs": {"images": ["7", 0]}},
    }  # fmt: skip
    outputs = server.run(prompt)
    assert len(outputs["12"]["images"]) == 12 and server.picture(outputs, "12").any()
    assert len(outputs["11"]["images"]) == 12 and server.picture(outputs, "11").any()
    saved = PoseSequence.load(server.base / "output" / "steps" / "clip_00001_.pose.npz")
    assert len(saved) == 12 and saved.frame_rate == 16
    trimmed = PoseSequence.load(next((server.base / "output" / "steps").glob("dancer_*.pose.npz")))
    assert len(trimmed) == 12, "our frames are not those that ComfyUI sees in the trimmed video"
    again = {
        "1": node("SDPoseAnnotatorLoadSequence", file="steps/clip_00001_.pose.npz [output]"),
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 2]}},
    }
    assert "12 frames at 16 fps, 1 person" in server.run(again)["2"]["text"][0]


def test_an_error_is_one_readable_message(server: Server) -> None:
    prompt = {
        "1": image_node(),
        "2": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 64, "height": 64}},
        "3": {"class_type": "RepeatImageBatch", "inputs": {"image": ["1", 0], "amount": 3}},
        "4": node("SDPoseAnnotatorBoxesFrom", source=["2", 0], image=["3", 0]),
        "5": {"class_type": "PreviewAny", "inputs": {"source": ["4", 0]}},
    }
    assert "boxes for 1 frame, image has 3 frames" in server.error(prompt)


def test_interrupt_takes_effect(server: Server) -> None:
    """Two hundred frames take most of a minute; the run is broken off instead."""
    prompt = {
        "1": image_node(),
        "2": {"class_type": "RepeatImageBatch", "inputs": {"image": ["1", 0], "amount": 200}},
        "3": node("SDPoseAnnotator", image=["2", 0]),
        "4": {"class_type": "PreviewAny", "inputs": {"source": ["3", 3]}},
    }
    prompt_id = server.queue(prompt)
    time.sleep(4)
    assert server.call("/queue")["queue_running"]
    server.call("/interrupt", {})
    entry = server.wait(prompt_id, seconds=60)
    assert "execution_interrupted" in [kind for kind, _ in entry["status"]["messages"]]
