"""Dressed synthetic people: proportions, cloth, hair, light and noise. Plain pictures stay as they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from paths import GOLDEN

from make_synthetic_people import _plan, build_parser
from sdpose_core.dependencies import installed
from sdpose_training.synthetic import scene
from sdpose_training.synthetic.body import KEYPOINT_NAMES, BodyModel
from sdpose_training.synthetic.camera_noise import CameraNoise, sample_camera_noise
from sdpose_training.synthetic.clip import ClipPlan, make_clip
from sdpose_training.synthetic.cloth import Cape, Skirt
from sdpose_training.synthetic.drapes import Figure, behind, hang, ring, sheet
from sdpose_training.synthetic.hair import LongHair
from sdpose_training.synthetic.light import ground_shadow, occlusion, sample_scene_light
from sdpose_training.synthetic.looks import Cloth, sample_look
from sdpose_training.synthetic.outfits import sample_outfit
from sdpose_training.synthetic.palette import fabric_color, muted_color
from sdpose_training.synthetic.poses import Pose, euler
from sdpose_training.synthetic.proportions import Proportions, Stretcher
from sdpose_training.synthetic.render import Camera, look_at
from sdpose_training.synthetic.scenery import PLACES, draw_place
from sdpose_training.synthetic.styles import DRESSED_STYLES, FILTERED, STYLES, Layers, finish
from sdpose_training.synthetic.view import Person, SceneSettings, draw_people, keypoint_visibility

needs_anny = pytest.mark.skipif(not installed("anny"), reason="anny (extra `train`) is not installed")
NAMED = {name: i for i, name in enumerate(KEYPOINT_NAMES)}
PLAIN = GOLDEN / "synthetic_plain.npz"
SIZE = (48, 64)
RED = Cloth("plain", np.array([[200.0, 0, 0]] * 2), np.array([1.0, 0, 0]), 1.0, 0.0, np.zeros((2, 3)))


def standing(body: BodyModel, yaw: float = 0.0, proportions: Proportions | None = None) -> Person:
    wanted = [proportions] if proportions else []
    vertices, keypoints = body.pose([Pose("stand", {}, np.eye(3))], [{"age": 0.75}], wanted)
    turn, look = euler(z=yaw), sample_look(np.random.default_rng(0))
    return Person(vertices[0] @ turn.T, body.normals(vertices[0]) @ turn.T, keypoints[0] @ turn.T, look, "stand", yaw)


def front_camera(scale: float = 1.0) -> Camera:
    camera = look_at(np.array([0.0, -5, 1.0]), np.array([0.0, 0, 0.9]))
    return Camera(camera.position, camera.rotation, 280.0 * scale, (48.0 * scale, 64.0 * scale))


def visible(body: BodyModel, person: Person) -> dict[str, int]:
    view = draw_people(body, [person], front_camera(), SceneSettings(size=(96, 128)))
    return dict(zip(KEYPOINT_NAMES, keypoint_visibility(body, view, 0)[1].tolist(), strict=True))


# Plain pictures, as before


@needs_anny
def test_plain_pictures_are_those_of_before(body):
    """Renders of the version before `--looks`, one per style; other processors may round a level differently."""
    with np.load(PLAIN) as golden:
        for style in STYLES:
            settings = SceneSettings(size=SIZE, style=style)
            picture, record = scene.make_picture(body, settings, np.random.default_rng([3, 0, 1]))
            apart = np.abs(picture.astype(int) - golden[style])
            assert (apart > 2).mean() < 0.01, style
            points = [person["keypoints"] for person in record["people"]]
            np.testing.assert_allclose(points, golden[f"{style}_keypoints"], atol=0.05)


def test_notes_of_plain_folders_have_no_looks():
    assert list(SceneSettings().notes([])) == [
        "size", "style", "max_people", "supersample", "hidden_face", "backgrounds"
    ]  # fmt: skip
    assert SceneSettings(looks="dressed").notes(["a"]) | {"looks": "dressed", "backgrounds": ["a"]} == SceneSettings(
        looks="dressed"
    ).notes(["a"])


def test_the_command_takes_looks_and_filters():
    options = build_parser().parse_args(["--count", "1", "--out", "x", "--looks", "dressed", "--style", "filter_oil"])
    scene_settings = _plan(options).scene
    assert (scene_settings.looks, scene_settings.style) == ("dressed", "filter_oil")
    assert _plan(build_parser().parse_args(["--count", "1", "--out", "x"])).scene.looks == "plain"


# Proportions


def toy() -> tuple[Stretcher, list[str], np.ndarray]:
    """A left leg, a left arm, a head; one vertex in the middle of each bone."""
    heads = {
        "root": (0, 0, 1), "upperleg01.L": (0.1, 0, 1), "lowerleg01.L": (0.1, 0, 0.5), "foot.L": (0.1, 0, 0),
        "upperleg01.R": (-0.1, 0, 1), "lowerleg01.R": (-0.1, 0, 0.5), "foot.R": (-0.1, 0, 0),
        "upperarm01.L": (0.2, 0, 1.5), "lowerarm01.L": (0.5, 0, 1.5), "wrist.L": (0.7, 0, 1.5),
        "upperarm01.R": (-0.2, 0, 1.5), "lowerarm01.R": (-0.5, 0, 1.5), "wrist.R": (-0.7, 0, 1.5),
        "neck02": (0, 0, 1.6), "head": (0, 0, 1.7),
    }  # fmt: skip
    labels = list(heads)
    bones, weights = np.arange(len(labels))[:, None], np.ones((len(labels), 1))
    return Stretcher(labels, bones, weights), labels, np.array(list(heads.values()), float)


def test_limbs_are_stretched_along_their_bones_and_what_follows_is_shifted():
    stretch, labels, heads = toy()
    vertices = heads + [0.0, 0.05, 0.0]
    moved, joints = stretch(vertices, heads, Proportions(legs=1.5, arms=2.0, slim=0.5, hands=2.0, head=1.8))
    at = {label: joints[i] for i, label in enumerate(labels)}
    np.testing.assert_allclose(at["lowerleg01.L"], [0.1, 0, 0.25])
    np.testing.assert_allclose(at["foot.L"], [0.1, 0, -0.5])
    np.testing.assert_allclose(at["wrist.R"], [-1.2, 0, 1.5])
    np.testing.assert_allclose(at["head"], [0, 0, 1.6 + 1.8 * 0.1])
    np.testing.assert_allclose(at["neck02"], [0, 0, 1.6])
    np.testing.assert_allclose(moved[labels.index("root")], vertices[0])
    np.testing.assert_allclose(moved[labels.index("lowerleg01.L")], [0.1, 0.025, 0.25])
    np.testing.assert_allclose(moved[labels.index("wrist.L")], [1.2, 0.1, 1.5])
    still, _ = stretch(vertices, heads, Proportions())
    np.testing.assert_allclose(still, vertices)


@needs_anny
def test_keypoints_are_those_of_the_changed_body(body):
    before, after = standing(body), standing(body, proportions=Proportions(head=1.6, legs=1.3, arms=1.2, feet=1.0))

    def length(person: Person, a: str, b: str) -> float:
        return float(np.linalg.norm(person.keypoints[NAMED[a]] - person.keypoints[NAMED[b]]))

    for a, b, factor, tolerance in (
        ("left_eye", "right_eye", 1.6, 1e-3), ("nose", "left_ear", 1.6, 1e-3), ("left_knee", "left_ankle", 1.3, 0.03),
        ("right_elbow", "right_wrist", 1.2, 0.03), ("left_shoulder", "right_shoulder", 1.0, 0.05),
        ("left_forefinger1", "left_forefinger4", 1.0, 1e-3),
    ):  # fmt: skip
        assert length(after, a, b) / length(before, a, b) == pytest.approx(factor, rel=tolerance), (a, b)
    for side in ("left", "right"):  # a fingertip is a vertex, the nose lies on the skin
        tip = after.keypoints[NAMED[f"{side}_forefinger4"]]
        assert np.linalg.norm(after.vertices - tip, axis=1).min() < 1e-6
    assert np.linalg.norm(after.vertices - after.keypoints[NAMED["nose"]], axis=1).min() < 0.02
    assert after.vertices[:, 2].min() == pytest.approx(0)


# Cloth and hair


def test_rings_lie_outside_of_the_points_and_sheets_have_two_sides():
    rng = np.random.default_rng(0)
    left, down = np.array([1.0, 0, 0]), np.array([0, 0, -1.0])
    points = np.column_stack([rng.uniform(-0.2, 0.2, 300), rng.uniform(-0.1, 0.1, 300), np.zeros(300)])
    around = ring(points, left, down, 0.03, (0, 360), 40)
    for direction in np.stack([np.cos(np.arange(0, 6, 0.5)), np.sin(np.arange(0, 6, 0.5)), np.zeros(12)], 1):
        assert (around @ direction).max() > (points @ direction).max()
    assert around[0, 1] == pytest.approx(points[:, 1].min() - 0.03) and around[20, 1] > 0.1  # front and back
    back = behind(points, left, down, 0.02, np.linspace(0.1, -0.1, 5))
    assert (back[:, 1] > points[:, 1].max() - 0.02).all() and back[0, 0] > back[-1, 0]
    made = sheet(np.stack([around, around + down * 0.1]), RED, 12)
    corners = made.vertices[made.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((normals * made.normals[made.faces[:, 0]]).sum(1) > -1e-9).all()
    half = len(made.faces) // 2
    np.testing.assert_allclose(normals[:half], -normals[half:])


def test_hanging_cloth_has_its_length_and_lies_on_the_ground():
    rows = [np.column_stack([np.linspace(-0.1, 0.1, 5), np.zeros(5), np.full(5, z)]) for z in (1.05, 1.0)]
    short, long = hang(rows, 0.5, 0.0, np.zeros(3)), hang(rows, 2.0, 0.0, np.zeros(3))
    np.testing.assert_allclose(short[-1][:, 2], 0.5, atol=1e-6)
    assert min(row[:, 2].min() for row in long) == pytest.approx(0.006)


@needs_anny
@pytest.mark.parametrize(("hanging", "yaw", "hidden", "shown"), [
    (Skirt(RED, 0.5, 0.2, (0.02, 8), 0.0, (0.1, 1.0), 0.0), 0,
     ("left_knee", "right_knee"), ("left_hip", "right_hip", "left_ankle", "left_shoulder", "nose")),
    (Cape(RED, 0.9, 0.42, 0.3, 0.1, (0.0, 1.0), 0.0), 180,
     ("left_shoulder", "right_shoulder", "left_hip", "right_hip"), ("left_ankle", "right_ankle")),
    (Cape(RED, 0.9, 0.42, 0.3, 0.1, (0.0, 1.0), 0.0), 0, (), ("left_shoulder", "right_hip", "left_knee")),
    (LongHair(RED, 0.2, 60, 0.01, (0.0, 1.0), 0.0), 90, ("right_ear",), ("nose", "right_hip")),
])  # fmt: skip
def test_points_under_cloth_and_hair_are_hidden(body, hanging, yaw, hidden, shown):
    person = standing(body, yaw)
    bare = visible(body, person)
    assert all(bare[name] == 2 for name in (*hidden, *shown))
    drape = hanging.drape(Figure(body, person.vertices, person.keypoints), 0.0)
    covered = visible(body, Person(*list(vars(person).values())[:6], drapes=(drape,)))
    assert [covered[name] for name in hidden] == [1] * len(hidden)
    assert [covered[name] for name in shown] == [2] * len(shown)


@needs_anny
def test_cloth_sways_and_nothing_else_moves(body):
    person = standing(body)
    skirt = Skirt(RED, 0.6, 0.2, (0.02, 8), 0.0, (0.2, 1.0), 0.3)
    now, later = (skirt.drape(Figure(body, person.vertices, person.keypoints), t) for t in (0.0, 0.25))
    moved = np.linalg.norm(now.vertices - later.vertices, axis=1)
    assert moved.max() > 0.01 and moved[:40].max() < 1e-9 and np.isfinite(now.normals).all()


@needs_anny
def test_clothes_cover_the_body(body):
    """Clothes are never inside of the skin, and skin is where it was."""
    outfit = sample_outfit(np.random.default_rng(4), drawn=True)
    vertices, _ = body.pose([Pose("stand", {}, np.eye(3))], [{}])
    surface, normals = outfit.look.dress(body, vertices[0])
    out = ((surface - vertices[0]) * body.normals(vertices[0])).sum(1)
    assert out.min() > -1e-9 and out.max() > 0.005
    hands = body.zone == 1
    np.testing.assert_allclose(surface[hands], vertices[0][hands])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)


def test_outfits_vary():
    outfits = [sample_outfit(np.random.default_rng(i), drawn=i % 2 == 0) for i in range(160)]
    kinds = {type(hanging).__name__ for outfit in outfits for hanging in outfit.hangings}
    assert kinds == {"Skirt", "Cape", "LongHair", "Tail", "Hat"}
    heads = np.array([outfit.proportions.head for outfit in outfits])
    assert 1.0 <= heads.min() and 1.5 < heads.max() <= 1.8
    assert heads[::2].mean() > heads[1::2].mean() + 0.05  # drawn people
    for outfit in outfits:
        color, skin = outfit.look.worn[2].colors[0], outfit.look.skin
        assert np.linalg.norm(color - skin) > 15


def test_colors_of_places_and_clothes_are_muted():
    rng = np.random.default_rng(0)
    for make, most in ((fabric_color, 120), (muted_color, 60)):
        colors = np.array([make(rng) for _ in range(300)])
        assert colors.min() >= 0 and colors.max() <= 255
        assert np.ptp(colors, axis=1).mean() < most


# Light, places, noise


def test_shadows_lie_under_the_feet_and_away_from_the_light():
    rng = np.random.default_rng(0)
    light = sample_scene_light(rng)
    camera, size = front_camera(2.0), (192, 320)
    pole = np.column_stack([np.zeros(200), np.zeros(200), np.linspace(0, 1, 200)])
    shadow = ground_shadow(light, [pole], camera, size)
    (x, y), _ = camera.project(np.array([0.0, 0, 0]))
    assert shadow[round(y), round(x)] > 0.2 and shadow.max() <= 0.85
    end = -light.toward[:2] / light.toward[2] * 0.5
    (x, y), _ = camera.project(np.array([*end, 0.0]))
    assert shadow[round(y), round(x)] > 0.1
    (x, y), _ = camera.project(np.array([*-end, 0.0]))
    assert shadow[round(y), round(x)] < 0.02


def test_surfaces_behind_nearer_ones_are_darker():
    near = np.zeros((40, 40), np.float32)
    near[5:35, 5:35] = 0.2
    near[5:35, 20:35] = 0.25
    dark = occlusion(near, (near > 0).astype(np.float32))
    assert dark[20, 19] > 0.03 and dark[20, 21] == 0 and dark[0, 0] == 0


@pytest.mark.parametrize("kind", PLACES)
def test_places_have_a_ground_in_the_cameras_perspective(kind, monkeypatch):
    monkeypatch.setattr("sdpose_training.synthetic.scenery.PLACES", {kind: (1.0, PLACES[kind][1])})
    made = [draw_place(np.random.default_rng(seed), front_camera(), (96, 128)) for seed in (0, 0, 1)]
    assert made[0].shape == (128, 96, 3) and 0 <= made[0].min() and made[0].max() <= 255
    np.testing.assert_array_equal(made[0], made[1])
    assert np.abs(made[0] - made[2]).mean() > 3 and np.isfinite(made[2]).all()


def test_camera_noise_moves_nothing():
    """The middle of a bright square stays where it is."""
    picture = np.full((60, 60, 3), 20, np.uint8)
    picture[22:38, 12:28] = 230
    for noise in (
        CameraNoise(shrink=0.5), CameraNoise(blur_px=6, blur_degrees=30), CameraNoise(quality=40), CameraNoise(noise=5),
        CameraNoise(contrast=1.1), *(sample_camera_noise(np.random.default_rng(i), photo=True) for i in range(6)),
    ):  # fmt: skip
        worse = noise.apply(np.random.default_rng(0), picture)
        assert worse.shape == picture.shape and worse.dtype == np.uint8
        weight = np.clip(worse.mean(2) - 80, 0, None)
        y, x = (weight.sum(axis) @ np.arange(60) / weight.sum() for axis in (1, 0))
        assert abs(y - 29.5) < 0.6 and abs(x - 19.5) < 0.6, noise
    np.testing.assert_array_equal(CameraNoise().apply(np.random.default_rng(0), picture), picture)


@pytest.mark.parametrize("style", FILTERED)
def test_filters_work_on_whole_renders(style):
    cover = np.zeros((48, 40), np.float32)
    cover[10:40, 12:28] = 1
    layers = Layers(
        cover[..., None] * np.float32([40, 30, 60]), cover, cover, cover, np.full((48, 40, 3), 200, np.float32)
    )
    picture = finish(np.random.default_rng(0), style, layers)
    assert (
        picture.dtype == np.uint8
        and np.abs(picture.astype(int) - finish(np.random.default_rng(0), "shaded", layers)).mean() > 2
    )
    assert style in DRESSED_STYLES


# Whole pictures


@needs_anny
def test_dressed_pictures_have_the_poses_of_plain_ones_and_depend_on_the_seed_alone(body):
    made = {}
    for looks in ("plain", "dressed", "dressed again"):
        settings = SceneSettings(size=SIZE, max_people=1, looks=looks.split()[0])
        made[looks] = scene.make_picture(body, settings, np.random.default_rng([1, 2]))
    np.testing.assert_array_equal(made["dressed"][0], made["dressed again"][0])
    assert json.dumps(made["dressed"][1]) == json.dumps(made["dressed again"][1])
    assert np.abs(made["dressed"][0].astype(int) - made["plain"][0]).mean() > 10
    [plain], [dressed] = made["plain"][1]["people"], made["dressed"][1]["people"]
    assert (plain["pose_family"], plain["yaw_degrees"]) == (dressed["pose_family"], dressed["yaw_degrees"])


@needs_anny
def test_people_of_a_dressed_clip_keep_their_looks(body):
    settings = SceneSettings(size=SIZE, style="flat", max_people=1, supersample=1, looks="dressed")
    frames = list(make_clip(body, ClipPlan(Path("unused"), 2, 3, settings), 0))
    pictures = np.stack([picture for picture, *_ in frames]).astype(float)
    changed = (np.abs(np.diff(pictures, axis=0)).max(3) > 40).mean((1, 2))
    assert (changed < 0.3).all()  # the place and the colors stay, the person moves
    assert {truth.meta["style"] for *_, truth in frames} == {"flat"}
