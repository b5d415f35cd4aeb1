"""The embedded preview estimator: where its points land, what it says about itself, and how good it is."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from paths import DATA, SHARED

import sdpose_core
from sdpose_core.detection.loading import load_detector
from sdpose_core.embedded import movenet as rooms
from sdpose_core.embedded.movenet import WEIGHTS
from sdpose_core.embedded.squares import square_crop
from sdpose_core.errors import InputError
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.estimation.preview import PreviewEstimator
from sdpose_core.files import sha256_of
from sdpose_core.images import read_image
from sdpose_core.skeletons import COCO_17

COCO = SHARED / "data" / "coco_samples"
ASTRONAUT = read_image(DATA / "astronaut.png")
ASTRONAUT_BOX = np.array([[11, 20, 369, 507]], np.float32)
BACKENDS = [
    "onnxruntime",
    pytest.param("cv2", marks=pytest.mark.skipif(int(cv2.__version__.split(".")[0]) < 5, reason="needs OpenCV 5")),
    "torch",
]


@pytest.fixture(scope="module")
def preview() -> PreviewEstimator:
    """The body alone: what concerns boxes, masks and crops is the same for the whole body."""
    return PreviewEstimator(body_only=True)


@pytest.fixture(scope="module")
def whole() -> PreviewEstimator:
    return PreviewEstimator()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_points_of_a_photo(backend: str) -> None:
    [poses] = PreviewEstimator(body_only=True, backend=backend).estimate([ASTRONAUT], [ASTRONAUT_BOX])
    assert poses.size == (512, 512)
    assert poses.keypoints.shape == (1, 17, 2)
    for name, place in {  # read off the picture
        "nose": (223, 125), "left_eye": (247, 101), "right_eye": (203, 100), "left_ear": (272, 118),
        "right_ear": (177, 113), "left_shoulder": (330, 270), "right_shoulder": (96, 255), "right_elbow": (67, 422),
    }.items():  # fmt: skip
        np.testing.assert_allclose(poses.keypoints[0, COCO_17.index(name)], place, atol=12, err_msg=name)
    assert 0.35 < poses.mean_scores()[0] < 0.8


def test_a_small_person_beside_a_large_one_gets_a_pose_of_their_own(
    preview: PreviewEstimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The square around a narrow box shows the neighbour too, whom the model finds first."""
    side_by_side = ASTRONAUT.copy()
    side_by_side[100:360, 372:422] = cv2.resize(ASTRONAUT[20:507, 11:369], (50, 260), interpolation=cv2.INTER_AREA)
    box = np.array([[372, 100, 422, 360]], np.float32)

    def share_inside() -> float:
        [poses] = preview.estimate([side_by_side], [box])
        points = poses.keypoints[0][poses.scores[0] > 0.2]
        return float(((points >= box[0, :2] - 25) & (points <= box[0, 2:] + 25)).all(axis=1).mean())

    assert share_inside() > 0.9
    monkeypatch.setattr("sdpose_core.embedded.movenet.BELONGS", 0.0)
    assert share_inside() < 0.5, "this picture does not show the difference"


@pytest.mark.skipif(int(cv2.__version__.split(".")[0]) < 5, reason="needs OpenCV 5")
def test_both_backends_give_the_same_poses() -> None:
    estimators = [PreviewEstimator(backend=backend) for backend in ("onnxruntime", "cv2")]
    found = [estimator.estimate([ASTRONAUT], [ASTRONAUT_BOX])[0] for estimator in estimators]
    assert found[0].scores.shape == (1, 133) and (found[0].scores[0, 23:91] > 0.9).all(), "with the face"
    np.testing.assert_allclose(found[0].scores, found[1].scores, atol=2e-3)
    np.testing.assert_allclose(found[0].keypoints, found[1].keypoints, atol=0.5)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(InputError, match="device 'opnvino': for ONNX files choose one of auto, cuda"):
        PreviewEstimator(device="opnvino")


@pytest.mark.parametrize("body_only", [False, True])
def test_it_says_what_it_is(body_only: bool, preview: PreviewEstimator, whole: PreviewEstimator) -> None:
    name, points = ("preview (MoveNet Thunder)", "coco_17") if body_only else (whole.name, "coco_wholebody_133")
    subject = PreviewEstimator(body_only=body_only, note="no weights here")
    assert (subject.name, subject.keypoint_set) == (name, points)
    [poses] = subject.estimate([ASTRONAUT], [ASTRONAUT_BOX])
    assert poses.keypoint_set == points and poses.keypoints.shape == (1, 17 if body_only else 133, 2)
    meta = json.loads(json.dumps(poses.meta))
    assert (meta["model"], meta["preview"]) == (name, True)
    files = [WEIGHTS] if body_only else [WEIGHTS, *WEIGHTS.parent.glob("mediapipe_*.onnx")]
    assert len(files) == (1 if body_only else 4)
    assert meta["weights"]["sha256"] == {file.name: sha256_of(file) for file in files}
    assert meta["settings"]["backend"] == preview.model.model.backend
    assert meta["library_version"] == sdpose_core.__version__
    assert meta["notes"] == ["no weights here"]
    assert "SDPose" not in json.dumps(meta)


def test_the_whole_body_is_the_default_and_has_the_body_of_the_other(
    preview: PreviewEstimator, whole: PreviewEstimator
) -> None:
    assert load_estimator("preview").name == whole.name
    assert load_estimator("preview-body").name == preview.name
    [poses], [body] = (subject.estimate([ASTRONAUT], [ASTRONAUT_BOX]) for subject in (whole, preview))
    np.testing.assert_array_equal(poses.keypoints[:, :17], body.keypoints)
    np.testing.assert_array_equal(poses.scores[:, :17], body.scores)


def test_two_boxes_around_one_person_give_one_face(whole: PreviewEstimator) -> None:
    [poses] = whole.estimate([ASTRONAUT], [np.concatenate([ASTRONAUT_BOX, ASTRONAUT_BOX + [0, 40, 0, 0]])])
    assert len(poses) == 2
    assert sorted((poses.scores[:, 23:91].max(axis=1) > 0.5).tolist()) == [False, True]


def test_the_notice_tells_the_assets_checksums() -> None:
    notice = (WEIGHTS.parent / "NOTICE.md").read_text(encoding="utf-8")
    ours = {"NOTICE.md", "distrust.json", "pose_presets.npz"}
    files = [path for path in WEIGHTS.parent.iterdir() if path.name not in ours]
    assert len(files) == 6
    for path in files:
        assert f"| `{path.name}` | {path.stat().st_size:,} | `{sha256_of(path)}` |" in notice, path.name


def test_several_pictures_and_both_forms_of_boxes(preview: PreviewEstimator) -> None:
    hopper = read_image(DATA / "grace_hopper.jpg")
    scored = np.array([[8, 41, 512, 581, 0.9], [100, 100, 400, 400, 0.5]], np.float32)
    steps: list[tuple[int, int]] = []
    found = preview.estimate(
        [ASTRONAUT, hopper, ASTRONAUT],
        [ASTRONAUT_BOX, scored, np.zeros((0, 4))],
        on_batch=lambda done, total: steps.append((done, total)),
    )
    assert [len(poses) for poses in found] == [1, 2, 0]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    np.testing.assert_array_equal(found[0].boxes, [[11, 20, 369, 507, 1]])
    np.testing.assert_array_equal(found[1].boxes, scored)
    assert found[2].keypoints.shape == (0, 17, 2)
    [alone] = preview.estimate([hopper], [scored[1:]])
    np.testing.assert_array_equal(alone.keypoints[0], found[1].keypoints[1])


def test_a_given_box_is_never_left_out(preview: PreviewEstimator) -> None:
    grey = np.full((200, 300, 3), 128, np.uint8)
    [poses] = preview.estimate([grey], [np.array([[10, 10, 100, 190], [0, 0, 300, 200]])])
    assert len(poses) == 2
    assert poses.scores.max() < 0.2


def test_boxes_that_cannot_be_used_are_named(preview: PreviewEstimator) -> None:
    boxes = np.array([[600, 0, 700, 100], [np.nan, 0, 5, 5], [50, 50, 20, 60], ASTRONAUT_BOX[0]], np.float32)
    [poses] = preview.estimate([ASTRONAUT], [boxes])
    assert len(poses) == 1
    assert len(poses.meta["dropped_boxes"]) == 3
    assert "outside the 512 x 512 picture" in poses.meta["dropped_boxes"][0]


def test_a_mask_hides_the_others(preview: PreviewEstimator) -> None:
    hidden = np.zeros((1, 512, 512), bool)
    [nothing], [all_of_it] = (
        preview.estimate([ASTRONAUT], [ASTRONAUT_BOX], masks=[mask]) for mask in (hidden, ~hidden)
    )
    assert nothing.scores.max() < 0.2
    assert all_of_it.scores.max() > 0.5


@pytest.mark.parametrize(
    ("images", "boxes"),
    [([ASTRONAUT], []), ([ASTRONAUT[..., 0]], [ASTRONAUT_BOX]), ([ASTRONAUT / 255], [ASTRONAUT_BOX])],
)
def test_wrong_input_is_refused(preview: PreviewEstimator, images: list, boxes: list) -> None:
    with pytest.raises(InputError):
        preview.estimate(images, boxes)


def test_a_moved_picture_moves_the_points(preview: PreviewEstimator) -> None:
    before = ASTRONAUT.copy()
    [here] = preview.estimate([ASTRONAUT], [ASTRONAUT_BOX])
    np.testing.assert_array_equal(ASTRONAUT, before)
    moved = np.zeros((900, 1000, 3), np.uint8)
    moved[300:812, 400:912] = ASTRONAUT
    [there] = preview.estimate([moved], [ASTRONAUT_BOX + [400, 300, 400, 300]])
    sure = here.scores > 0.3
    assert sure.sum() >= 8
    np.testing.assert_allclose((there.keypoints - [400, 300])[sure], here.keypoints[sure], atol=1)


def test_a_mirrored_picture_exchanges_left_and_right(preview: PreviewEstimator) -> None:
    [poses] = preview.estimate([ASTRONAUT], [ASTRONAUT_BOX])
    [mirrored] = preview.estimate([ASTRONAUT[:, ::-1]], [np.array([[512 - 369, 20, 512 - 11, 507]])])
    back = mirrored.keypoints[0, COCO_17.flip_indices] * [-1, 1] + [512, 0]
    upper = list(range(7))
    np.testing.assert_allclose(back[upper], poses.keypoints[0, upper], atol=12)


def test_averaging_with_the_mirror_image_has_no_left_and_right(preview: PreviewEstimator) -> None:
    """Of the mirrored picture it gives exactly the mirrored points, near those of the picture alone."""
    points, scores = preview.model._run(ASTRONAUT, (256.0, 256.0), 512.0, mirror=True)
    mirrored, mirrored_scores = preview.model._run(ASTRONAUT[:, ::-1], (256.0, 256.0), 512.0, mirror=True)
    np.testing.assert_allclose(mirrored[COCO_17.flip_indices] * [-1, 1] + [512, 0], points, atol=0.01)
    np.testing.assert_allclose(mirrored_scores[COCO_17.flip_indices], scores, atol=1e-4)
    alone, _ = preview.model._run(ASTRONAUT, (256.0, 256.0), 512.0)
    np.testing.assert_allclose(points[:7], alone[:7], atol=12)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (12000, 5), (40000, 20)], ids=str)
def test_pictures_of_any_size(preview: PreviewEstimator, size: tuple[int, int]) -> None:
    w, h = size
    [poses] = preview.estimate([np.full((h, w, 3), 90, np.uint8)], [np.array([[0, 0, w, h]])])
    assert len(poses) == 1
    assert np.isfinite(poses.keypoints).all()


def test_a_large_picture_gives_the_points_of_the_small_one(preview: PreviewEstimator) -> None:
    [small] = preview.estimate([ASTRONAUT], [ASTRONAUT_BOX])
    large = cv2.resize(ASTRONAUT, None, fx=12, fy=12, interpolation=cv2.INTER_CUBIC)
    [found] = preview.estimate([large], [ASTRONAUT_BOX * 12])
    np.testing.assert_allclose(found.keypoints[0, :7] / 12, small.keypoints[0, :7], atol=3)


# --- the crop --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [64.0, 256.0, 700.0, 3000.0])
def test_the_crop_maps_the_square_onto_the_input(side: float) -> None:
    """A quarter of the square white: it must become the same quarter of the crop."""
    image = np.zeros((2000, 2500, 3), np.uint8)
    center = (1200.0, 900.0)
    x, y, half = int(center[0]), int(center[1]), int(side / 2)
    image[max(0, y - half) : y, max(0, x - half) : x] = 255
    crop = square_crop(image, center, side, 256).astype(np.float64) / 255
    expected = 128.0**2
    if side == 3000.0:  # the square reaches 300 pixels to the left of the picture and 600 above it
        expected = (1200 * 900) * (256 / side) ** 2
    assert crop[..., 0].sum() == pytest.approx(expected, rel=0.02)
    assert crop[124, 124, 0] > 0.99
    assert crop[131:, :].max() < 0.01
    assert crop[:, 131:].max() < 0.01


def test_what_lies_outside_the_picture_is_black() -> None:
    crop = square_crop(np.full((100, 100, 3), 200, np.uint8), (0.0, 50.0), 100.0, 256)
    assert (crop[:, :126] == 0).all()
    assert (crop[2:-2, 131:] == 200).all()
    assert (square_crop(np.full((9, 9, 3), 200, np.uint8), (500.0, 500.0), 20.0, 256) == 0).all()


def test_large_pictures_are_averaged_not_sampled() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2048, 2048, 3), np.uint8)
    crop = square_crop(noise, (1024.0, 1024.0), 2048.0, 256)
    assert crop.std() < 20, "single pixels have 74, an average of 8 x 8 has 9"
    assert crop.mean() == pytest.approx(127.5, abs=1)


# --- how good it is --------------------------------------------------------------------------------------------------


def best_oks(found: dict[int, np.ndarray], annotations: list[dict]) -> np.ndarray:
    """Per annotated person the OKS of the best of the picture's poses (P, 17, 2), 0 where there is none."""
    variances = (2 * np.asarray(COCO_17.sigmas)) ** 2
    best = []
    for person in annotations:
        truth = np.asarray(person["keypoints"], np.float64).reshape(17, 3)
        seen = truth[:, 2] > 0
        distances = ((found[person["image_id"]] - truth[:, :2]) ** 2).sum(axis=-1)[:, seen]
        similarity = np.exp(-distances / (2 * person["area"] * variances[seen])).mean(axis=1)
        best.append(similarity.max(initial=0.0))
    return np.asarray(best)


@pytest.mark.skipif(not COCO.is_dir(), reason=f"the four COCO photos are not here ({COCO})")
def test_oks_on_photos_with_the_embedded_detector(preview: PreviewEstimator, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least 0.80 over the 12 annotated people (someone who is not found counts 0); the second crop must pay."""
    coco = json.loads((COCO / "test_coco.json").read_text())
    people = [entry for entry in coco["annotations"] if entry["num_keypoints"] and not entry["iscrowd"]]
    assert len(people) == 12
    images = [read_image(COCO / entry["file_name"]) for entry in coco["images"]]
    detector = load_detector()
    boxes = [detector.detect(image)[0] for image in images]

    def measure() -> float:
        poses = preview.estimate(images, boxes)
        ids = [entry["id"] for entry in coco["images"]]
        return best_oks({i: pose.keypoints for i, pose in zip(ids, poses, strict=True)}, people).mean()

    both = measure()
    monkeypatch.setattr(rooms, "FEWEST_FOUND", 99)  # no second crop
    single = measure()
    print(f"mean best OKS {both:.4f}, with the first crop alone {single:.4f}")
    assert both >= 0.80
    assert both > single
