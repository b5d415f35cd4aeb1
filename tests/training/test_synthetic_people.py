"""Synthetic people: the rasteriser, poses and bookkeeping without anny; keypoints and pictures with it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

from make_synthetic_people import _plan, build_parser, main
from sdpose_core.dependencies import installed
from sdpose_core.errors import InputError, MissingDependency
from sdpose_core.files import _machine
from sdpose_core.presets import PRESETS as NAMES
from sdpose_core.presets import PRESETS_FILE
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133
from sdpose_training.synthetic import dataset, scene
from sdpose_training.synthetic.backgrounds import KINDS, random_object, sample_background
from sdpose_training.synthetic.body import KEYPOINT_NAMES, BodyModel
from sdpose_training.synthetic.looks import random_color, sample_look, sample_shape
from sdpose_training.synthetic.poses import (
    ARMS,
    FAMILIES,
    FOREARM,
    UPPER_ARM,
    Pose,
    aim,
    euler,
    make_arm,
    mirrored,
    sample_pose,
)
from sdpose_training.synthetic.presets import PRESETS, preset_points
from sdpose_training.synthetic.render import Camera, Canvas, corner_weights, look_at
from sdpose_training.synthetic.styles import STYLES, Layers, finish
from sdpose_training.synthetic.view import keypoint_visibility

needs_anny = pytest.mark.skipif(not installed("anny"), reason="anny (extra `train`) is not installed")


def is_rotation(turn: np.ndarray) -> bool:
    return np.allclose(turn @ turn.T, np.eye(3), atol=1e-9) and np.isclose(np.linalg.det(turn), 1)


# Poses


def test_aim_turns_the_start_to_the_target_and_mirrors():
    rng = np.random.default_rng(0)
    for start, target in rng.normal(size=(50, 2, 3)):
        turn = aim(start, target, twist=rng.uniform(-90, 90))
        assert is_rotation(turn)
        np.testing.assert_allclose(turn @ start / np.linalg.norm(start), target / np.linalg.norm(target), atol=1e-9)
        flip = np.array([-1, 1, 1])
        np.testing.assert_allclose(mirrored(turn) @ (start * flip), (turn @ start) * flip, atol=1e-9)


@pytest.mark.parametrize(
    ("raised", "forward", "direction"),
    [(0, 0, (0, 0, -1)), (90, 0, (1, 0, 0)), (90, 90, (0, -1, 0)), (180, 0, (0, 0, 1)), (90, -45, (0.7071, 0.7071, 0))],
)
def test_the_left_arm_points_where_it_is_told_to(raised, forward, direction):
    arm = make_arm(raised, forward, twist=20, elbow=70)
    np.testing.assert_allclose(arm["clavicle"] @ arm["upperarm01"] @ UPPER_ARM, direction, atol=2e-3)
    bent = np.rad2deg(np.arccos(UPPER_ARM @ (arm["lowerarm01"] @ FOREARM)))
    assert bent == pytest.approx(70, abs=1)


def test_sampled_poses_stay_within_the_limits_of_joints():
    rng = np.random.default_rng(1)
    poses = [sample_pose(rng) for _ in range(400)]
    assert {pose.family for pose in poses} == set(FAMILIES)
    assert len(ARMS) == 7
    for pose in poses:
        assert all(is_rotation(turn) for turn in [*pose.bones.values(), pose.root])
        for side in "LR":
            shin = pose.bones[f"lowerleg01.{side}"] @ [0, 0, -1]
            assert shin[1] >= -1e-9  # a knee bends backward
            angle = np.rad2deg(np.arccos(np.clip(-shin[2], -1, 1)))
            assert angle <= 150
            elbow = np.rad2deg(np.arccos((np.trace(pose.bones[f"lowerarm01.{side}"]) - 1) / 2))
            assert elbow <= 104


# Rasteriser


def brute_force(pixels, depth, faces, size):
    """Nearest surface of every pixel by testing every pixel against every triangle; pixels on an edge are left out."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    points = np.stack([x.ravel(), y.ravel()], 1).astype(float)
    best, surface = np.zeros(len(points)), np.full(len(points), -1)
    on_edge = np.zeros(len(points), bool)
    for number, (a, b, c) in enumerate(faces):
        matrix = np.vstack([pixels[[a, b, c]].T, np.ones(3)])
        if np.linalg.det(matrix) >= 0:  # y points down: counter-clockwise as seen is negative
            continue
        weights = np.linalg.solve(matrix, np.vstack([points.T, np.ones(len(points))]))
        on_edge |= (np.abs(weights) < 1e-6).any(0)
        inverse = (1 / depth[[a, b, c]]) @ weights
        wins = (weights > 0).all(0) & (inverse > best)
        best[wins], surface[wins] = inverse[wins], number
    return surface.reshape(size[::-1]), best.reshape(size[::-1]), on_edge.reshape(size[::-1])


@pytest.mark.parametrize("seed", range(5))
def test_the_rasteriser_agrees_with_brute_force(seed):
    rng, size = np.random.default_rng(seed), (40, 30)
    pixels, depth = rng.uniform(-15, 55, (60, 2)), rng.uniform(0.5, 9, 60)
    faces = np.array([rng.choice(60, 3, replace=False) for _ in range(40)])
    canvas = Canvas(size)
    canvas.draw(pixels, depth, faces[:25])
    canvas.draw(pixels, depth, faces[25:], first_surface=25)
    surfaces, inverse = canvas.read()
    expected, expected_inverse, on_edge = brute_force(pixels, depth, faces, size)
    assert (expected >= 0).mean() > 0.5
    np.testing.assert_array_equal(surfaces[~on_edge], expected[~on_edge])
    np.testing.assert_allclose(inverse[~on_edge], expected_inverse[~on_edge], atol=1e-9)


def test_flat_things_are_sorted_in_by_depth():
    canvas, square = Canvas((8, 8)), np.array([[-1.0, -1], [-1, 9], [9, -1], [9, 9]])
    canvas.draw(square, np.full(4, 2.0), np.array([[0, 1, 2], [2, 1, 3]]))
    left, right = np.indices((8, 8))[1] < 3, np.indices((8, 8))[1] >= 5
    canvas.draw_flat(left, 1.0, surface=7)
    canvas.draw_flat(right, 3.0, surface=8)
    surfaces, inverse = canvas.read()
    assert (surfaces[left] == 7).all() and np.isin(surfaces[~left], [0, 1]).all()
    np.testing.assert_allclose(inverse, np.where(left, 1.0, 0.5), atol=1e-9)


def test_the_camera_keeps_left_right_up_down_and_scales():
    camera = look_at(np.array([0.0, -4, 1]), np.array([0.0, 0, 1]))
    camera = Camera(camera.position, camera.rotation, 100.0, (50.0, 60.0))
    pixels, depth = camera.project(np.array([[0.0, 0, 1], [1, 0, 1], [0, 0, 2], [0, 4, 1]]))
    np.testing.assert_allclose(pixels, [[50, 60], [75, 60], [50, 35], [50, 60]], atol=1e-9)
    np.testing.assert_allclose(depth, [4, 4, 4, 8])
    np.testing.assert_allclose((camera.scaled(3).project(np.array([1.0, 0, 2]))[0] + 0.5) / 3 - 0.5, [75, 35])


def test_corner_weights_give_the_point_back():
    rng = np.random.default_rng(3)
    corners, weights = rng.uniform(0, 9, (20, 3, 2)), rng.dirichlet(np.ones(3), 20)
    points = np.einsum("nc,ncd->nd", weights, corners)
    np.testing.assert_allclose(corner_weights(corners, points), weights, atol=1e-9)


# Looks, backgrounds, styles


@pytest.mark.parametrize("style", STYLES)
def test_styles_keep_the_person_where_it_is(style):
    """In every style, the pixels of a dark person on a bright ground differ from the ground."""
    h, w = 48, 40
    cover = np.zeros((h, w), np.float32)
    cover[10:40, 12:28] = 1
    lines = np.zeros((h, w), np.float32)
    lines[10:40, [12, 27]] = lines[[10, 39], 12:28] = 1
    layers = Layers(
        cover[..., None] * np.float32([40, 30, 60]), cover * 0.7, cover, lines, np.full((h, w, 3), 220, np.float32)
    )
    for seed in range(6):
        picture = finish(np.random.default_rng(seed), style, layers)
        assert picture.shape == (h, w, 3) and picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, finish(np.random.default_rng(seed), style, layers))
        apart = np.abs(picture[8:42, 10:30].astype(float) - np.median(picture[:, :8], axis=(0, 1))).max()
        assert apart > 40


def test_backgrounds_come_from_pictures_half_of_the_time(tmp_path):
    from sdpose_core.images import write_png

    write_png(tmp_path / "red.png", np.broadcast_to(np.uint8([250, 0, 0]), (60, 50, 3)).copy())
    made = [sample_background(np.random.default_rng(i), (32, 40), (tmp_path / "red.png",)) for i in range(60)]
    assert all(image.shape == (40, 32, 3) and 0 <= image.min() and image.max() <= 255 for image in made)
    red = [
        image
        for image in made
        if np.ptp(image, axis=(0, 1)).max() < 1 and image[..., 1].mean() + 60 < image[..., 0].mean()
    ]
    assert 15 <= len(red) <= 45
    assert len(KINDS) == 7 and any(np.ptp(image) > 50 for image in made)


def test_objects_and_colors_vary():
    rng = np.random.default_rng(0)
    shares = [random_object(rng, (60, 80), (0.1, 0.5)).mean() for _ in range(60)]
    assert max(shares) > 0.1 and sum(share > 0 for share in shares) > 50
    assert np.std([random_color(rng) for _ in range(50)]) > 40
    ages = [sample_shape(rng)["age"] for _ in range(200)]
    assert 10 < sum(age < 0.56 for age in ages) < 80


# The command's bookkeeping, with made-up pictures in place of people


class Interrupted(Exception):
    pass


@pytest.fixture
def no_anny(monkeypatch):
    """Pictures that depend on the random numbers alone."""

    def picture(body, settings, rng):
        assert body == "body"
        people = [{"keypoints": [float(rng.integers(100))] * 51, "num_keypoints": 17, "bbox": [0.0, 0.0, 9.0, 9.0]}]
        return rng.integers(0, 255, (settings.size[1], settings.size[0], 3), np.uint8), {
            "style": "flat",
            "people": people,
        }

    monkeypatch.setattr(dataset, "BodyModel", lambda: "body")
    monkeypatch.setattr(dataset, "make_picture", picture)


def run(out: Path, *more: str, count: int = 6) -> int:
    return main(["--count", str(count), "--val", "2", "--out", str(out), "--workers", "1", "--size", "32x40", *more])


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_an_interrupted_run_goes_on_and_ends_in_the_same_bytes(tmp_path, no_anny, monkeypatch):
    assert run(tmp_path / "whole") == 0
    make, made = dataset.make_picture, []

    def stops(body, settings, rng):
        if len(made) == 4:
            raise Interrupted
        made.append(1)
        return make(body, settings, rng)

    monkeypatch.setattr(dataset, "make_picture", stops)
    with pytest.raises(Interrupted):
        run(tmp_path / "cut")
    assert not (tmp_path / "cut/annotations").exists()
    with open(tmp_path / "cut/records.jsonl", "a") as log:
        log.write('{"split": "train", "ind')  # a line torn by the interruption
    (tmp_path / "cut/images/train_0000001.jpg").write_bytes(b"")  # a picture that never reached the disk
    left = tmp_path / f"cut/images/.train_0000004.abcd1234.{_machine()}.sdpose.part"
    left.mkdir()
    (left / "train_0000004.jpg").write_bytes(b"half")
    made.clear()
    monkeypatch.setattr(dataset, "make_picture", lambda *a: (made.append(1), make(*a))[1])
    assert run(tmp_path / "cut") == 0
    assert len(made) == 5  # three of the four are kept
    assert files_of(tmp_path / "cut") == files_of(tmp_path / "whole")
    made.clear()
    assert run(tmp_path / "cut") == 0 and not made


def test_splits_and_seeds_differ_and_more_pictures_can_follow(tmp_path, no_anny):
    assert run(tmp_path / "a") == 0 and run(tmp_path / "b", "--seed", "1") == 0
    a, b = files_of(tmp_path / "a"), files_of(tmp_path / "b")
    pictures = [*(v for k, v in a.items() if "images" in k), *(v for k, v in b.items() if "images" in k)]
    assert len(pictures) == 16 and len(set(pictures)) == 16
    assert run(tmp_path / "a", count=9) == 0
    grown = files_of(tmp_path / "a")
    assert all(grown[name] == data for name, data in a.items() if "images" in name)
    train = json.loads(grown["annotations/train.json"])
    assert [image["id"] for image in train["images"]] == list(range(1, 10))
    assert [person["image_id"] for person in train["annotations"]] == list(range(1, 10))
    assert train["categories"][0]["keypoints"] == list(COCO_17.names)
    assert train["licenses"][0]["id"] == train["images"][0]["license"]


def test_pictures_of_other_settings_are_not_mixed(tmp_path, no_anny, capsys):
    assert run(tmp_path / "a") == 0
    assert run(tmp_path / "a", "--style", "flat") == 1
    assert "style was 'mixed', now 'flat'" in capsys.readouterr().err


@pytest.mark.parametrize(("file", "text", "message"), [
    ("settings.json", "{", "is damaged"), ("settings.json", "5", "expected the settings"),
    ("records.jsonl", '{"a": 1}', "a line of another kind"), ("records.jsonl", "5", "a line of another kind"),
])  # fmt: skip
def test_damaged_notes_of_an_earlier_run_are_told(tmp_path, no_anny, capsys, file, text, message):
    assert run(tmp_path / "a") == 0
    (tmp_path / "a" / file).write_text(text)
    assert run(tmp_path / "a") == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--count", "0"],
        ["--size", "300"],
        ["--size", "8x8"],
        ["--style", "cubist"],
        ["--people", "9"],
        ["--seed", "-1"],
    ],
)
def test_wrong_usage_exits_with_2(tmp_path, wrong):
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, *wrong)
    assert stop.value.code == 2


def test_a_background_folder_must_hold_pictures(tmp_path, capsys):
    assert run(tmp_path / "out", "--backgrounds", str(tmp_path)) == 1
    assert "no pictures in it (.bmp, .jpeg, .jpg, .png, .webp)" in capsys.readouterr().err
    with pytest.raises(InputError, match="expected a folder"):
        _plan(build_parser().parse_args(["--count", "1", "--out", "x", "--backgrounds", str(tmp_path / "no")]))


def test_without_anny_the_extra_is_named(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "anny", None)
    with pytest.raises(MissingDependency, match=r"anny.*sdpose-annotator\[train\]"):
        BodyModel()


# People


SETTINGS = scene.SceneSettings(size=(96, 128), supersample=2)
NAMED = {name: i for i, name in enumerate(KEYPOINT_NAMES)}


def standing(body: BodyModel, yaw: float = 0.0, at: tuple[float, float] = (0, 0)) -> scene.Person:
    vertices, keypoints = body.pose([Pose("stand", {}, np.eye(3))], [{"age": 0.75}])
    turn, move = euler(z=yaw), np.array([*at, 0.0])
    look = sample_look(np.random.default_rng(0))
    return scene.Person(
        vertices[0] @ turn.T + move,
        body.normals(vertices[0]) @ turn.T,
        keypoints[0] @ turn.T + move,
        look,
        "stand",
        yaw,
    )


def seen(body: BodyModel, people: list[scene.Person]) -> scene.View:
    camera = look_at(np.array([0.0, -5, 1.0]), np.array([0.0, 0, 0.9]))
    camera = Camera(camera.position, camera.rotation, 280.0, (48.0, 64.0))
    return scene.draw_people(body, people, camera, SETTINGS)


@needs_anny
def test_left_is_the_persons_left_and_points_lie_on_their_limbs(body):
    points, _ = keypoint_visibility(body, seen(body, [standing(body)]), 0)
    back, _ = keypoint_visibility(body, seen(body, [standing(body, 180)]), 0)
    for left, name in enumerate(KEYPOINT_NAMES):
        if name.startswith("left_"):
            right = NAMED["right_" + name[5:]]
            assert points[left, 0] > points[right, 0] + 1 and back[left, 0] < back[right, 0] - 1, name
    heights = [
        points[NAMED[f"left_{part}"], 1] for part in ("eye", "shoulder", "elbow", "wrist", "knee", "ankle", "heel")
    ]
    assert heights == sorted(heights)
    assert points[NAMED["left_thumb4"], 0] < points[NAMED["left_pinky_finger4"], 0]
    assert points[NAMED["left_big_toe"], 0] < points[NAMED["left_small_toe"], 0]
    assert KEYPOINT_NAMES[:23] == COCO_WHOLEBODY_133.names[:23]


@needs_anny
def test_the_poses_constants_are_the_models(body):
    joint = dict(zip(KEYPOINT_NAMES, body.reference_keypoints, strict=True))
    for start, end, direction in (("shoulder", "elbow", UPPER_ARM), ("elbow", "wrist", FOREARM)):
        limb = joint[f"left_{end}"] - joint[f"left_{start}"]
        assert limb @ direction / np.linalg.norm(limb) > 0.99


@needs_anny
def test_front_side_and_back_show_what_they_should(body):
    def shown(yaw: float, *names: str) -> list[int]:
        _, visibility = keypoint_visibility(body, seen(body, [standing(body, yaw)]), 0)
        return [int(visibility[NAMED[name]]) for name in names]

    face = ("nose", "left_eye", "right_eye")
    assert shown(0, *face, "left_shoulder", "right_hip", "left_knee", "right_ankle") == [2] * 7
    assert shown(180, *face) == [1] * 3
    assert shown(180, "left_shoulder", "right_shoulder", "left_hip", "right_knee", "left_heel") == [2] * 5
    # Turned by 90 degrees, the person looks to the picture's right and shows the right side.
    assert shown(90, "nose", "right_ear", "right_shoulder", "right_hip") == [2] * 4
    assert shown(90, "left_ear", "left_shoulder", "left_hip") == [1] * 3
    omitted = keypoint_visibility(body, seen(body, [standing(body, 180)]), 0, hidden_face="omit")[1]
    assert not omitted[:3].any() and (omitted[5:17] > 0).all()


@needs_anny
def test_whoever_is_in_front_hides_whoever_is_behind(body):
    behind, front = standing(body, at=(0, 1)), standing(body, at=(0, -1))
    alone = scene.annotate(body, seen(body, [behind]), 0, SETTINGS)
    for people, first in (([front, behind], 0), ([behind, front], 1)):
        view = seen(body, people)
        shown, hidden = (scene.annotate(body, view, number, SETTINGS) for number in (first, 1 - first))
        assert shown["keypoints"][2::3] == [2] * 17
        flags = dict(zip(COCO_17.names, hidden["keypoints"][2::3], strict=True))
        for name in ("nose", "left_eye", "left_shoulder", "right_shoulder", "left_hip", "right_hip"):
            assert flags[name] == 1, name
        assert hidden["keypoints"][::3] == alone["keypoints"][::3]
        assert hidden["area"] < 0.5 * alone["area"]


def first_hit(origin: np.ndarray, target: np.ndarray, triangles: np.ndarray) -> tuple[int, float]:
    """Moeller and Trumbore's test: the nearest front-facing triangle on a ray; distance 1 is the target."""
    ray = target - origin
    edge1, edge2 = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    across = np.cross(ray, edge2)
    det = np.einsum("nd,nd->n", edge1, across)
    det[det < 1e-12] = np.inf
    start = origin - triangles[:, 0]
    u = np.einsum("nd,nd->n", start, across) / det
    q = np.cross(start, edge1)
    v, t = q @ ray / det, np.einsum("nd,nd->n", edge2, q) / det
    t[(u < 0) | (v < 0) | (u + v > 1) | (t <= 0) | np.isinf(det)] = np.inf
    return int(t.argmin()), float(t.min())


@needs_anny
def test_visibility_flags_agree_with_ray_casting(body):
    rng, faces = np.random.default_rng(12), len(body.faces)
    agree = []
    for _ in range(3):
        view = scene.sample_view(rng, body, scene.SceneSettings(size=(288, 384), max_people=3))
        objects = len(view.people) * faces
        triangles = np.concatenate([person.vertices[body.faces] for person in view.people])
        for number, person in enumerate(view.people):
            points, visibility = keypoint_visibility(body, view, number)
            for k in np.flatnonzero((points >= 0).all(1) & (points <= [287, 383]).all(1)):
                x, y = np.round((points[k] + 0.5) * 2 - 0.5).astype(int)
                if view.surfaces[y, x] >= objects:
                    continue  # things before people are flat masks, without triangles
                surface, distance = first_hit(view.camera.position, person.keypoints[k], triangles)
                over_joint = surface // faces == number and body.patches[k, surface % faces]
                agree.append((distance > 1 or over_joint) == (visibility[k] == 2))
    assert len(agree) > 150 and np.mean(agree) > 0.97  # the rest: rays that graze an edge between two samples


@needs_anny
def test_annotations_are_consistent(body):
    people, rng = [], np.random.default_rng(5)
    for _ in range(8):
        picture, record = scene.make_picture(body, SETTINGS, rng)
        assert picture.shape == (128, 96, 3) and picture.dtype == np.uint8 and picture.std() > 5
        people += record["people"]
    for person in people:
        body_points = np.array(person["keypoints"]).reshape(17, 3)
        parts = [np.array(person[f"{p}_kpts"]).reshape(-1, 3) for p in ("foot", "lefthand", "righthand")]
        assert [len(part) for part in parts] == [6, 21, 21]
        assert len(person["face_kpts"]) == 204 and not person["face_valid"]
        points = np.concatenate([body_points, *parts])
        assert np.isin(points[:, 2], [0, 1, 2]).all() and not points[points[:, 2] == 0].any()
        flagged = points[points[:, 2] > 0]
        assert (flagged[:, :2] >= 0).all() and (flagged[:, :2] <= [95, 127]).all()
        assert person["num_keypoints"] == (body_points[:, 2] > 0).sum()
        x, y, w, h = person["bbox"]
        visible = points[points[:, 2] == 2, :2]
        assert (visible >= [x, y]).all() and (visible <= [x + w, y + h]).all()
        assert 0 <= x and 0 <= y and x + w <= 96 and y + h <= 128 and 0 < person["area"] <= w * h
    flags = np.concatenate([person["keypoints"][2::3] for person in people])
    assert {0, 1, 2} == set(flags)


@pytest.mark.slow  # processes that load the body model
@needs_anny
def test_killed_and_run_again_with_other_workers_gives_the_same_files(tmp_path, body, monkeypatch):
    arguments = ["--count", "30", "--val", "2", "--size", "64x80", "--seed", "7"]
    script = [sys.executable, str(ROOT / "training/make_synthetic_people.py"), *arguments]
    killed = subprocess.Popen(
        [*script, "--out", str(tmp_path / "killed"), "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    log, deadline = tmp_path / "killed/records.jsonl", time.monotonic() + 600
    while (
        not (log.exists() and log.read_bytes().count(b"\n") >= 8)
        and time.monotonic() < deadline
        and killed.poll() is None
    ):
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    finished = set(files_of(tmp_path / "killed"))
    monkeypatch.setattr(dataset, "BodyModel", lambda: body)
    for name in ("killed", "whole"):
        assert main([*arguments, "--out", str(tmp_path / name), "--workers", "1"]) == 0
    assert len(finished) > 8
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_a_broken_pool_is_one_line(tmp_path, monkeypatch, capsys):
    class Broken(ThreadPoolExecutor):
        def __init__(self, workers, context, initializer, initargs):
            super().__init__(workers)

        def submit(self, *_):
            return super().submit(self.fail)

        def fail(self):
            raise BrokenProcessPool("a process in the process pool was terminated abruptly")

    monkeypatch.setattr(dataset, "BodyModel", lambda: None)
    monkeypatch.setattr(dataset, "ProcessPoolExecutor", Broken)
    assert main(["--count", "3", "--val", "1", "--out", str(tmp_path), "--workers", "2"]) == 1
    [line] = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line.startswith("make_synthetic_people: a drawing process was killed") and line.endswith("to resume")


@pytest.mark.slow  # processes that load the body model
@needs_anny
def test_a_killed_worker_is_one_line_and_the_run_resumes(tmp_path, body, monkeypatch):
    import psutil

    arguments = ["--count", "30", "--val", "2", "--size", "64x80", "--seed", "7", "--out", str(tmp_path)]
    script = [sys.executable, str(ROOT / "training/make_synthetic_people.py"), *arguments, "--workers", "2"]
    process = subprocess.Popen(script, stderr=subprocess.PIPE, text=True)
    log, deadline = tmp_path / "records.jsonl", time.monotonic() + 600
    while not (log.exists() and log.read_bytes().count(b"\n") >= 4) and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = [each for each in psutil.Process(process.pid).children() if "spawn_main" in " ".join(each.cmdline())]
    workers[0].kill()
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 1 and "Traceback" not in errors
    assert "make_synthetic_people: a drawing process was killed" in errors and "to resume" in errors
    monkeypatch.setattr(dataset, "BodyModel", lambda: body)
    assert main([*arguments, "--workers", "1"]) == 0
    assert len(list((tmp_path / "images").iterdir())) == 32


@pytest.mark.slow  # 64 pictures
@needs_anny
def test_the_number_of_threads_changes_nothing(tmp_path, body, monkeypatch):
    """PyTorch's sums differ by it in their last bits, which an annotation's rounding now and then shows."""
    import torch

    monkeypatch.setattr(dataset, "BodyModel", lambda: body)
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        arguments = ["--count", "30", "--val", "2", "--size", "64x80", "--seed", "7", "--workers", "1"]
        assert main([*arguments, "--out", str(tmp_path / str(threads))]) == 0
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")


@needs_anny
@pytest.mark.parametrize("package", ["pycocotools", "faster_coco_eval"])
def test_coco_tools_read_the_annotations(tmp_path, package, body, monkeypatch):
    pytest.importorskip(package)
    if package == "pycocotools":
        from pycocotools.coco import COCO
    else:
        from faster_coco_eval import COCO
    monkeypatch.setattr(dataset, "BodyModel", lambda: body)
    assert main(["--count", "2", "--out", str(tmp_path), "--workers", "1", "--size", "64x80"]) == 0
    truth = COCO(str(tmp_path / "annotations/train.json"))
    people = truth.loadAnns(truth.getAnnIds(catIds=[1], iscrowd=False))
    assert len(truth.getImgIds()) == 2 and len(people) >= 2
    assert len(
        truth.loadRes(
            [{k: p[k] for k in ("image_id", "category_id", "keypoints")} | {"score": 1.0} for p in people]
        ).anns
    ) == len(people)


# Presets


@needs_anny
@pytest.mark.slow
def test_the_presets_are_those_of_the_body_model() -> None:
    with np.load(PRESETS_FILE, allow_pickle=False) as file:
        assert file["names"].tolist() == list(PRESETS) == list(NAMES)
        assert file["keypoints"].tolist() == list(KEYPOINT_NAMES)
        np.testing.assert_allclose(file["points"], preset_points(BodyModel()), atol=2e-3)
