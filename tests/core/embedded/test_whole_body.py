"""Hands, face and feet of the preview: where they land on real pictures, and when they are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from paths import DATA, SHARED

from sdpose_core.embedded import face_mesh
from sdpose_core.embedded.blazepose import FEET, BlazePose
from sdpose_core.embedded.face_mesh import CHOSEN, FACE_68_FROM_MESH, FaceMesh
from sdpose_core.embedded.hands import Hands, first_square
from sdpose_core.embedded.whole_body import INDICES, WholeBody, one_owner_each
from sdpose_core.errors import NotFiniteError
from sdpose_core.images import read_image
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133
from sdpose_core.video.opening import open_video

COCO = SHARED / "data" / "coco_samples"
SYLVIE, SYLVIE_BOX = read_image(DATA / "anime_sylvie.png"), np.array([26.2, 2.1, 434.9, 692.1])
ASTRONAUT, ASTRONAUT_BOX = read_image(DATA / "astronaut.png"), np.array([11.0, 20, 369, 507])
FLIP = COCO_WHOLEBODY_133.flip_indices
FACE, LEFT_HAND, RIGHT_HAND = (INDICES[name] for name in ("face", "left_hand", "right_hand"))


@pytest.fixture(scope="module")
def models() -> WholeBody:
    return WholeBody()


@pytest.fixture(scope="module")
def sylvie(models: WholeBody) -> tuple[np.ndarray, np.ndarray]:
    return models.find(SYLVIE, SYLVIE_BOX)


@pytest.fixture(scope="module")
def astronaut(models: WholeBody) -> tuple[np.ndarray, np.ndarray]:
    return models.find(ASTRONAUT, ASTRONAUT_BOX)


# --- the face ---------------------------------------------------------------------------------------------------------


def test_the_face_of_a_photo(astronaut: tuple[np.ndarray, np.ndarray]) -> None:
    keypoints, scores = astronaut
    face = keypoints[FACE]
    assert scores[FACE].min() > 0.9
    for index, place in {  # read off the picture
        8: (226, 174), 30: (224, 122), 36: (196, 104), 45: (254, 105), 48: (205, 145), 54: (248, 145), 57: (226, 156),
    }.items():  # fmt: skip
        np.testing.assert_allclose(face[index], place, atol=9, err_msg=str(index))


def test_the_mesh_has_the_68_points_in_their_order(astronaut: tuple[np.ndarray, np.ndarray]) -> None:
    """By what each index means, on a face seen from the front: the person's right is on the left of the picture."""
    assert len(set(CHOSEN)) == 68
    assert [len(part) for part in FACE_68_FROM_MESH.values()] == [17, 5, 5, 4, 5, 6, 6, 12, 8]
    x, y = astronaut[0][FACE].T
    for rising in (
        [*range(2, 15)],
        [17, 18, 19, 20, 21, 22, 23, 24, 25, 26],
        [31, 32, 33, 34, 35],
        [48, 49, 50, 51, 52, 53, 54],
    ):
        assert (np.diff(x[rising]) > 0).all(), rising
    for falling in ([54, 55, 56, 57, 58, 59, 48], [64, 65, 66, 67, 60], [39, 40, 41, 36], [45, 46, 47, 42]):
        assert (np.diff(x[falling]) < 0).all(), falling
    assert (np.diff(y[:9]) > 0).all() and (np.diff(y[8:17]) < 0).all(), "down to the chin and up again"
    assert (np.diff(y[27:31]) > 0).all(), "down the nose"
    for above, below in (([37, 38], [41, 40]), ([43, 44], [47, 46]), ([51], [62]), ([62], [66]), ([66], [57])):
        assert (y[above] < y[below]).all(), (above, below)
    assert x[[36, 39]].max() < x[27] < x[[42, 45]].min()


def test_each_of_the_68_points_has_its_mirror_image(
    models: WholeBody, astronaut: tuple[np.ndarray, np.ndarray]
) -> None:
    keypoints, _ = models.find(ASTRONAUT[:, ::-1], ASTRONAUT_BOX[[2, 1, 0, 3]] * [-1, 1, -1, 1] + [512, 0, 512, 0])
    back = keypoints[FLIP][FACE] * [-1, 1] + [512, 0]
    np.testing.assert_allclose(back, astronaut[0][FACE], atol=5)


@pytest.mark.skipif(not COCO.is_dir(), reason=f"the four COCO photos are not here ({COCO})")
def test_each_of_the_68_points_is_near_the_annotated_one(models: WholeBody) -> None:
    """Mean over the three annotated faces seen from the front, in extents of the face; they are 25 to 28 px large."""
    coco = json.loads((COCO / "test_coco_wholebody.json").read_text())
    errors = []
    for person in coco["annotations"]:
        if person["id"] in (442619, 198196, 230195):
            x, y, w, h = person["bbox"]
            image = read_image(COCO / f"{person['image_id']:012d}.jpg")
            keypoints, _ = models.find(image, np.array([x, y, x + w, y + h]))
            truth = np.asarray(person["face_kpts"]).reshape(68, 3)[:, :2]
            errors.append(np.linalg.norm(keypoints[FACE] - truth, axis=1) / np.ptp(truth, axis=0).max())
    errors = np.mean(errors, axis=0)
    assert len(errors) == 68
    assert errors.max() < 0.105, errors.argmax()
    assert errors.mean() < 0.05


def test_a_face_that_is_not_the_bodys_is_refused(models: WholeBody, astronaut: tuple[np.ndarray, np.ndarray]) -> None:
    """The body's nose and eyes stand on the collar; the square around them shows the face above."""
    keypoints, scores = astronaut[0][:17].copy(), astronaut[1][:17]
    assert models.face.find(ASTRONAUT, keypoints, scores) is not None
    keypoints[:5] += [0, 45]
    assert models.face.find(ASTRONAUT, keypoints, scores) is None


def test_nothing_is_a_face_where_there_is_none(models: WholeBody, astronaut: tuple[np.ndarray, np.ndarray]) -> None:
    keypoints, scores = astronaut[0][:17].copy(), astronaut[1][:17]
    grey = np.full_like(ASTRONAUT, 128)
    assert models.face.find(grey, keypoints, scores) is None
    assert models.hands.find(grey, keypoints, np.ones(17)) == {}
    assert models.feet.find(grey, ASTRONAUT_BOX, keypoints, np.ones(17)) == {}


def test_no_face_is_looked_for_on_a_head_that_was_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FaceMesh()
    monkeypatch.setattr(model, "model", None)
    assert model.find(ASTRONAUT, np.zeros((17, 2)), np.full(17, face_mesh.HEAD_FOUND - 0.01)) is None


# --- the hands --------------------------------------------------------------------------------------------------------


def test_the_hand_of_a_drawing(sylvie: tuple[np.ndarray, np.ndarray]) -> None:
    """Her left hand lies on the folder; the right one is behind it."""
    keypoints, scores = sylvie
    assert scores[LEFT_HAND].min() > 0.5 and (scores[RIGHT_HAND] == 0).all()
    assert np.isnan(keypoints[RIGHT_HAND]).all()
    hand = keypoints[LEFT_HAND]
    assert np.linalg.norm(hand[0] - keypoints[COCO_17.index("left_wrist")]) < 25
    assert (np.abs(hand - (128, 325)) < 45).all()


def test_a_mirrored_picture_exchanges_the_hands_and_feet(models: WholeBody) -> None:
    """The dancer: in her last frame both hands and the face are seen, in an earlier one a foot."""
    frames = [frame.image for frame in open_video(DATA / "dancer.mp4").frames()]
    for number, parts in {44: ("left_hand", "right_hand", "face"), 39: ("right_foot",)}.items():
        frame = frames[number]
        w, box = frame.shape[1], np.array([0.0, 0, frame.shape[1], frame.shape[0]])
        keypoints, scores = models.find(frame, box)
        mirrored, mirrored_scores = models.find(frame[:, ::-1], box)
        back = mirrored[FLIP] * [-1, 1] + [w, 0]
        for part in parts:
            assert scores[INDICES[part]].min() > 0.3 and mirrored_scores[FLIP][INDICES[part]].min() > 0.3, part
            distances = np.linalg.norm(back[INDICES[part]] - keypoints[INDICES[part]], axis=1)
            assert distances.mean() < 12, part


@pytest.fixture
def arm() -> tuple[np.ndarray, np.ndarray]:
    """A body whose arms hang: elbows at y 200, wrists at y 300, 200 px apart; a torso of 200 px."""
    keypoints = np.zeros((17, 2))
    for name, place in {"shoulder": 100, "elbow": 200, "wrist": 300, "hip": 300}.items():
        keypoints[COCO_17.index(f"left_{name}")] = 400, place
        keypoints[COCO_17.index(f"right_{name}")] = 200, place
    return keypoints, np.full(17, 0.9)


def hand_at(wrist: tuple[float, float], length: float = 60.0, turned: bool = False) -> np.ndarray:
    """A hand (21, 2) that hangs from its wrist, fingers spread."""
    tips = [np.linspace(0, 1, 5)[1:, None] * ((finger - 2) * length / 4, length) for finger in range(5)]
    return np.concatenate([np.zeros((1, 2)), *tips]) * (-1 if turned else 1) + wrist


def stand_in(
    monkeypatch: pytest.MonkeyPatch, hands: dict[str, np.ndarray], presence=(0.9, 0.9, 0.9), right=None
) -> Hands:
    """`Hands` whose model sees these hands, whatever it looks at."""
    model, runs = Hands(), []

    def look(image: np.ndarray, square, mirrored: bool = False) -> list[np.ndarray]:
        if mirrored:
            return [np.zeros(63), np.zeros(1), np.zeros(1)]
        side = "left" if square.center[0] > 300 else "right"
        runs.append(side)
        axes = square.to_picture(np.array([[1, 0], [0, 1.0]])) - square.to_picture(np.zeros((2, 2)))
        flat = (hands[side] - square.to_picture(np.zeros((1, 2)))) @ np.linalg.inv(axes) * model.model.pixels
        points = np.column_stack([flat, np.zeros(21)]).ravel()
        is_right = (side == "right") if right is None else right
        return [points, np.array([presence[(runs.count(side) - 1) % 3]]), np.array([float(is_right)])]

    monkeypatch.setattr(model.model, "look", look)
    return model


IMAGE = np.zeros((600, 600, 3), np.uint8)
BOTH = {"left": hand_at((402, 305)), "right": hand_at((198, 303))}


def test_both_hands_are_where_the_model_sees_them(monkeypatch: pytest.MonkeyPatch, arm: tuple) -> None:
    found = stand_in(monkeypatch, BOTH, presence=(0.6, 0.9, 0.3)).find(IMAGE, *arm)
    assert sorted(found) == ["left", "right"]
    for side, (points, score) in found.items():
        np.testing.assert_allclose(points, BOTH[side], atol=1e-6)
        assert score == pytest.approx(0.6), "the mean presence of the runs"


@pytest.mark.parametrize(
    ("hands", "options"),
    [
        (BOTH, {"presence": (0.45, 0.45, 0.45)}),
        (BOTH, {"presence": (0.0, 0.9, 0.5)}),
        ({"left": hand_at((402, 350)), "right": hand_at((250, 303))}, {}),  # not at the wrist
        ({side: hand_at(tuple(hand[0]), 130) for side, hand in BOTH.items()}, {}),  # too large
        ({side: hand_at(tuple(hand[0]), 15) for side, hand in BOTH.items()}, {}),  # too small
        ({side: hand_at(tuple(hand[0]), turned=True) for side, hand in BOTH.items()}, {}),  # back up the forearm
    ],
)
def test_what_does_not_fit_the_arm_is_refused(
    hands: dict, options: dict, monkeypatch: pytest.MonkeyPatch, arm: tuple
) -> None:
    assert stand_in(monkeypatch, hands, **options).find(IMAGE, *arm) == {}


@pytest.mark.parametrize(("presence", "looks"), [((0.1, 0.3, 1.0), 2), ((0.1, 0.6, 0.9), 3)])
def test_a_hand_that_will_be_refused_is_not_looked_at_again(
    presence: tuple[float, ...], looks: int, monkeypatch: pytest.MonkeyPatch, arm: tuple
) -> None:
    keypoints, scores = arm
    scores[COCO_17.index("right_wrist")] = 0
    model = stand_in(monkeypatch, BOTH, presence=presence)
    look, straight = model.model.look, []

    def counted(image: np.ndarray, square, mirrored: bool = False) -> list[np.ndarray]:
        straight.append(not mirrored)
        return look(image, square, mirrored=mirrored)

    monkeypatch.setattr(model.model, "look", counted)
    assert sorted(model.find(IMAGE, keypoints, scores)) == (["left"] if looks == 3 else [])
    assert sum(straight) == looks


def test_a_hand_of_the_other_side_is_refused(monkeypatch: pytest.MonkeyPatch, arm: tuple) -> None:
    assert list(stand_in(monkeypatch, BOTH, right=True).find(IMAGE, *arm)) == ["right"]
    assert list(stand_in(monkeypatch, BOTH, right=False).find(IMAGE, *arm)) == ["left"]


def test_one_hand_is_not_both(monkeypatch: pytest.MonkeyPatch, arm: tuple) -> None:
    keypoints, scores = arm
    keypoints[COCO_17.index("left_wrist")], keypoints[COCO_17.index("right_wrist")] = (330, 300), (250, 300)
    same = hand_at((305, 300))
    assert list(stand_in(monkeypatch, {"left": same, "right": same}).find(IMAGE, keypoints, scores)) == ["left"]
    apart = {"left": same, "right": same - [40, 0]}
    assert sorted(stand_in(monkeypatch, apart).find(IMAGE, keypoints, scores)) == ["left", "right"]


def test_no_hand_is_looked_for_without_an_arm(monkeypatch: pytest.MonkeyPatch, arm: tuple) -> None:
    keypoints, scores = arm
    scores[COCO_17.index("left_wrist")] = 0.1
    scores[COCO_17.index("right_elbow")] = 0.05
    model = Hands()
    monkeypatch.setattr(model, "model", None)
    assert model.find(IMAGE, keypoints, scores) == {}


def test_the_forearm_points_up_in_the_first_square() -> None:
    square = first_square(np.array([100.0, 100]), np.array([160.0, 180]), 0)
    assert square.side == pytest.approx(120)
    elbow, wrist = (
        np.array(place) - square.to_picture(np.array([[0.5, 0.5]]))[0] for place in ((100, 100), (160, 180))
    )
    up = square.to_picture(np.array([[0.5, 0.0]]))[0] - square.center
    assert up @ (wrist - elbow) == pytest.approx(60 * 100), "parallel"
    assert np.linalg.norm(wrist) == pytest.approx(36)


# --- the feet ---------------------------------------------------------------------------------------------------------


def feet_stand_in(monkeypatch: pytest.MonkeyPatch, ankle: tuple[float, float], visible: float = 4.0) -> BlazePose:
    """`BlazePose` that sees both ankles at `ankle`, toes 20 px beside and heels 20 px below them."""
    model = BlazePose()
    points = np.zeros((39, 5), np.float32)
    points[:, 3] = visible
    for ankle_index, toe, heel in FEET.values():
        points[[ankle_index, toe, heel], :2] = np.array([(0, 0), (20, 0), (0, 20)]) + ankle
    monkeypatch.setattr(model.model, "look", lambda image, square: [points.ravel(), np.ones(1, np.float32)])
    return model


@pytest.mark.parametrize(("apart", "visible", "taken"), [(0, 4, True), (8, 4, True), (20, 4, False), (0, -4, False)])
def test_feet_are_taken_where_the_ankles_agree(
    apart: float, visible: float, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = np.array([25.6, 25.6, 230.4, 230.4])  # its square is the picture
    keypoints, scores = np.full((17, 2), 100.0), np.full(17, 0.5)
    scores[COCO_17.index("right_ankle")] = 0.1
    found = feet_stand_in(monkeypatch, (100 + apart, 100), visible).find(IMAGE[:256, :256], box, keypoints, scores)
    assert sorted(found) == (["left"] if taken else [])
    if taken:
        points, score = found["left"]
        np.testing.assert_allclose(points, [(120 + apart / 2, 100), (100 + apart / 2, 120)], atol=1e-4)
        assert score == 0.5, "no foot is surer than its ankle"


# --- all together -----------------------------------------------------------------------------------------------------


def test_small_toes_are_always_absent_and_what_is_absent_has_no_score(sylvie: tuple, astronaut: tuple) -> None:
    for keypoints, scores in (sylvie, astronaut):
        for name in ("left_small_toe", "right_small_toe"):
            assert np.isnan(keypoints[COCO_WHOLEBODY_133.index(name)]).all()
        assert (np.isnan(keypoints[17:]).any(axis=1) == (scores[17:] == 0)).all()
        assert np.isfinite(keypoints[:17]).all()  # joints beyond the edge have a place, and the score 0


def test_points_far_outside_the_picture_are_absent(models: WholeBody, monkeypatch: pytest.MonkeyPatch) -> None:
    hand = hand_at((500, 480), 60)
    monkeypatch.setattr(models.hands, "find", lambda *_: {"left": (hand, 0.8)})
    keypoints, scores = models.find(ASTRONAUT, ASTRONAUT_BOX)
    away = hand[:, 1] > 512 + 0.05 * 60
    assert 0 < away.sum() < 21
    assert np.isnan(keypoints[LEFT_HAND][away]).all() and (scores[LEFT_HAND][away] == 0).all()
    np.testing.assert_array_equal(keypoints[LEFT_HAND][~away], hand[~away])


def test_a_face_or_hand_has_one_owner(astronaut: tuple[np.ndarray, np.ndarray]) -> None:
    keypoints, scores = [astronaut[0].copy() for _ in range(3)], [astronaut[1].copy() for _ in range(3)]
    keypoints[2] += 300
    hand = hand_at((100, 400))
    for number, indices in ((0, LEFT_HAND), (1, RIGHT_HAND)):
        keypoints[number][indices], scores[number][indices] = hand, 0.9
    boxes = [np.array([0.0, 150, 512, 512]), np.append(ASTRONAUT_BOX, 1), ASTRONAUT_BOX + 300]
    one_owner_each(keypoints, scores, boxes)
    assert np.isnan(keypoints[0][FACE]).all() and (scores[0][FACE] == 0).all(), "its box leaves the head out"
    assert np.isnan(keypoints[0][LEFT_HAND]).all()
    assert np.isfinite(keypoints[1][FACE]).all() and np.isfinite(keypoints[1][RIGHT_HAND]).all()
    assert np.isfinite(keypoints[2][FACE]).all()


@pytest.mark.parametrize("part", ["hands", "face", "feet"])
def test_values_that_are_no_numbers_are_an_error(part: str, monkeypatch: pytest.MonkeyPatch, models: WholeBody) -> None:
    model = getattr(models, part).model
    run = model.run
    monkeypatch.setattr(model, "run", lambda inputs: [np.full_like(output, np.nan) for output in run(inputs)])
    with pytest.raises(NotFiniteError, match=f"values of {model.name} are not numbers"):
        getattr(models, part).find(*arguments(part))


def arguments(part: str) -> tuple:
    body = np.tile(np.array([200.0, 100]), (17, 1)) + np.arange(34).reshape(17, 2), np.ones(17)
    return (ASTRONAUT, ASTRONAUT_BOX, *body) if part == "feet" else (ASTRONAUT, *body)
