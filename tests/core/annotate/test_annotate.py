"""The application: which boxes are used, what is written, and that one bad picture never stops the others."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from custom_sets import PEN
from PIL import Image
from stand_ins import StandInDetector, StandInEstimator

from sdpose_core.annotate.images import FramePeople, annotate_images, fill_empty
from sdpose_core.annotate.pictures import PictureOptions, annotate_pictures, describe, output_names
from sdpose_core.detection.box_files import BoxFile
from sdpose_core.drawing.canvas import place
from sdpose_core.drawing.pose_maps import draw_poses
from sdpose_core.errors import InputError, SDPoseError
from sdpose_core.images import read_image
from sdpose_core.origins import file_identity, read_mark
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.skeletons import described
from sdpose_training.data.keypoint_sets import from_category


class CornerEstimator(StandInEstimator):
    """Puts every keypoint at the middle of its box; fails on a picture whose first pixel is red."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def estimate(self, images, boxes, *, masks=None, on_batch=None) -> list[Poses]:
        self.calls.append(len(images))
        return [self._one(image, found) for image, found in zip(images, boxes, strict=True)]

    def _one(self, image: np.ndarray, boxes: np.ndarray) -> Poses:
        if (image[0, 0] == (255, 0, 0)).all():
            raise SDPoseError("this picture is red")
        middle = (boxes[:, None, :2] + boxes[:, None, 2:4]) / 2
        keypoints = np.repeat(middle, 17, axis=1) if len(boxes) else np.zeros((0, 17, 2))
        size = (image.shape[1], image.shape[0])
        return Poses(keypoints, np.ones((len(boxes), 17)), boxes, size, "coco_17", meta={"model": self.name})


class FixedDetector(StandInDetector):
    name = "fixed detector"

    def __init__(self, boxes: Sequence[Sequence[float]] = ((10, 10, 30, 50),)) -> None:
        self.boxes = np.asarray(boxes, np.float32).reshape(-1, 4)

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.boxes, np.full(len(self.boxes), 0.75, np.float32)


def picture(path: Path, color: tuple[int, int, int] = (9, 9, 9), size: tuple[int, int] = (40, 60)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


def run(sources: list[Path], out: Path, estimator=None, detector=None, boxes=None, asked=None, **options):
    return list(
        annotate_pictures(
            sources,
            out,
            estimator=lambda: estimator or CornerEstimator(),
            detector=lambda: detector or FixedDetector(),
            options=PictureOptions(**options),
            asked=asked or {},
            boxes=boxes,
        )
    )


GREY = np.full((60, 40, 3), 9, np.uint8)


def test_the_detector_gives_the_boxes() -> None:
    [poses] = annotate_images([GREY], estimator=CornerEstimator(), detector=FixedDetector())
    np.testing.assert_allclose(poses.boxes, [[10, 10, 30, 50, 0.75]])
    assert poses.meta["boxes_from"] == "fixed detector"


@pytest.mark.parametrize(("policy", "people"), [("empty", 0), ("full-image", 1)])
def test_nobody_found_follows_the_policy_and_says_so(policy: str, people: int) -> None:
    [poses] = annotate_images([GREY], estimator=CornerEstimator(), detector=FixedDetector(()), if_nobody=policy)
    assert len(poses) == people
    assert "nobody found" in poses.meta["boxes_from"]
    assert "nobody found" in describe(poses)
    if people:
        np.testing.assert_allclose(poses.boxes, [[0, 0, 40, 60, 1]])


def test_given_boxes_are_never_replaced() -> None:
    found = annotate_images(
        [GREY, GREY, GREY],
        estimator=CornerEstimator(),
        detector=FixedDetector(),
        people=[FramePeople(np.zeros((0, 4))), FramePeople(np.array([[1, 2, 3, 4]])), None],
        if_nobody="full-image",
    )
    assert [len(poses) for poses in found] == [0, 1, 1]
    assert [poses.meta["boxes_from"] for poses in found] == ["given", "given", "fixed detector"]


@pytest.mark.parametrize(
    ("policy", "filled", "ids"),
    [
        ("empty", [], [None, [7], None, None, [3]]),
        ("full-image", [0, 2, 3], [None, [7], None, None, [3]]),
        ("previous", [2, 3], [None, [7], [7], [7], [3]]),
    ],
)
def test_who_is_put_into_empty_frames(policy: str, filled: list[int], ids: list) -> None:
    nobody = FramePeople(np.zeros((0, 5)))
    box = np.array([[1, 2, 3, 4, 0.5]])
    people = [nobody, FramePeople(box, [7], np.ones((1, 60, 40), bool)), nobody, nobody, FramePeople(box + 1, [3])]
    after, numbers = fill_empty(people, [GREY] * 5, policy)
    assert numbers == filled
    assert [own.track_ids for own in after] == ids
    if policy == "full-image":
        assert after[0].boxes.tolist() == [[0, 0, 40, 60, 1]]
    if policy == "previous":
        np.testing.assert_array_equal(after[3].boxes, box)
        assert after[3].masks is None, "those are of another picture"
    np.testing.assert_array_equal(people[2].boxes, nobody.boxes)


def test_the_people_of_the_picture_before_are_used_and_it_says_so() -> None:
    class FindsOnce(FixedDetector):
        def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = super().detect(image)
            self.boxes = self.boxes[:0]
            return found

    first, second = annotate_images(
        [GREY, GREY], estimator=CornerEstimator(), detector=FindsOnce(), if_nobody="previous"
    )
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert second.meta["boxes_from"] == "fixed detector: nobody found, boxes of the picture before used"


def test_track_ids_of_boxes_go_with_their_poses_also_where_a_box_gave_none() -> None:
    class Picky(CornerEstimator):
        def _one(self, image: np.ndarray, boxes: np.ndarray) -> Poses:
            return super()._one(image, boxes).select([2, 0])

    boxes = np.array([[1, 2, 9, 9], [1, 2, 9, 9], [5, 2, 9, 9]])
    [poses] = annotate_images([GREY], estimator=Picky(), people=[FramePeople(boxes, [7, 8, 9])])
    assert poses.track_ids.tolist() == [9, 7]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"if_nobody": "ghost"}, "empty, full-image, previous"),
        ({"people": [None, None]}, "2 for 1 pictures"),
        ({"detector": None}, "neither boxes nor a detector"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        annotate_images([GREY], **{"estimator": CornerEstimator(), "detector": FixedDetector(), **arguments})


@pytest.mark.parametrize(
    ("fit", "middle", "corner"),
    [("pad", (100, 50), (50, 0)), ("crop", (100, 50), (0, -50)), ("stretch", (100, 50), (0, 0))],
)
def test_place_moves_keypoints_and_boxes(fit: str, middle: tuple, corner: tuple) -> None:
    poses = Poses(
        np.array([[[10, 10], [0, 0]] + [[np.nan, np.nan]] * 15]), np.ones((1, 17)),
        np.array([[0, 0, 20, 20, 0.5]]), (20, 20), "coco_17",
    )  # fmt: skip
    placed = place(poses, (200, 100), fit)
    np.testing.assert_allclose(placed.keypoints[0, :2], [middle, corner])
    np.testing.assert_allclose(placed.boxes[0, :2], corner)
    np.testing.assert_allclose(placed.boxes[0, 2:4], np.array([200, 100]) - corner)
    assert (placed.size, placed.boxes[0, 4]) == ((200, 100), 0.5)
    assert np.isnan(placed.keypoints[0, 2:]).all()


def test_every_file_of_a_picture_is_written_and_agrees(tmp_path: Path) -> None:
    source = picture(tmp_path / "in" / "someone.png")
    [outcome] = run([source], tmp_path / "out", overlay=True, size=(80, 60))
    assert (outcome.status, outcome.people) == ("done", 1)
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["someone.pose.npz", "someone_keypoints.json", "someone_overlay.png", "someone_pose.png"]
    sequence = PoseSequence.load(tmp_path / "out" / "someone.pose.npz")
    np.testing.assert_allclose(sequence.keypoints[0, 0], np.full((17, 2), (20, 30)))
    content = json.loads((tmp_path / "out" / "someone_keypoints.json").read_text())
    assert content["people"][0]["pose_keypoints_2d"][:3] == [20, 30, 1]
    with Image.open(tmp_path / "out" / "someone_pose.png") as pose_map:
        assert pose_map.size == (80, 60)
    with Image.open(tmp_path / "out" / "someone_overlay.png") as overlay:
        assert overlay.size == (40, 60)
    assert sequence.meta["source"] == "someone.png"


def test_one_bad_picture_never_stops_the_others(tmp_path: Path) -> None:
    sources = [
        picture(tmp_path / "a.png"),
        tmp_path / "missing.png",
        picture(tmp_path / "red.png", (255, 0, 0)),
        tmp_path / "text.png",
        picture(tmp_path / "z.png"),
    ]
    sources[3].write_text("not a picture")
    estimator = CornerEstimator()
    outcomes = run(sources, tmp_path / "out", estimator)
    assert [o.status for o in outcomes] == ["done", "failed", "failed", "failed", "done"]
    assert [o.source for o in outcomes] == sources
    assert "this picture is red" in outcomes[2].message
    for outcome in outcomes:
        assert "\n" not in outcome.message
    names = {path.name.partition(".")[0].partition("_")[0] for path in (tmp_path / "out").iterdir()}
    assert names == {"a", "z"}


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Never(CornerEstimator):
    """Nothing may be estimated."""

    def estimate(self, images, boxes, *, masks=None, on_batch=None) -> list[Poses]:
        raise AssertionError("no model is needed")


def test_finished_pictures_are_kept_and_cost_nothing(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")
    run([source], tmp_path / "out")
    before = files_in(tmp_path / "out")
    again = CornerEstimator()
    [outcome] = run([source], tmp_path / "out", again, FixedDetector(((0, 0, 9, 9),)))
    assert (outcome.status, again.calls) == ("kept", [])
    assert files_in(tmp_path / "out") == before
    [outcome] = run([source], tmp_path / "out", again, FixedDetector(((0, 0, 9, 9),)), overwrite=True)
    assert (outcome.status, again.calls) == ("done", [1])
    assert files_in(tmp_path / "out") != before


def test_a_missing_file_is_made_from_the_poses_that_are_there(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")
    run([source], tmp_path / "out")
    expected = (tmp_path / "out" / "a_pose.png").read_bytes()
    (tmp_path / "out" / "a_pose.png").unlink()
    [outcome] = run([source], tmp_path / "out", Never(), overlay=True)
    assert outcome.status == "done"
    assert "drawn again from the keypoints: a_pose.png, a_overlay.png" in outcome.message
    assert (tmp_path / "out" / "a_pose.png").read_bytes() == expected
    assert (tmp_path / "out" / "a_overlay.png").exists()


@pytest.mark.parametrize("options", [{}, {"overlay": True}, {"style": "musepose"}], ids=["same", "overlay", "style"])
def test_another_picture_of_the_same_name_is_refused(tmp_path: Path, options: dict) -> None:
    """As from two memory cards."""
    first = picture(tmp_path / "card1" / "IMG_1.png")
    second, fresh = picture(tmp_path / "card2" / "IMG_1.png", (8, 9, 9)), picture(tmp_path / "card2" / "IMG_2.png")
    run([first], tmp_path / "out")
    before = files_in(tmp_path / "out")
    other, new = run([second, fresh], tmp_path / "out", **options)
    assert (other.status, new.status) == ("failed", "done"), "the others go on"
    assert "IMG_1.pose.npz exists, but it was made from another file" in other.message
    assert "use --overwrite to replace it, or another folder" in other.message
    assert before.items() <= files_in(tmp_path / "out").items()
    [kept] = run([first], tmp_path / "out", Never())
    assert kept.status == "kept"


def test_a_picture_that_another_process_wrote_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    first, second = picture(tmp_path / "card1" / "a.png"), picture(tmp_path / "card2" / "a.png", (8, 9, 9))

    class Late(CornerEstimator):
        def estimate(self, *arguments, **settings):
            run([first], tmp_path / "out")
            return super().estimate(*arguments, **settings)

    [outcome] = run([second], tmp_path / "out", Late())
    assert outcome.status == "failed"
    assert "a.pose.npz exists, but it was made from another file" in outcome.message
    assert run([first], tmp_path / "out", Never())[0].status == "kept"


def test_the_same_picture_under_another_path_is_kept(tmp_path: Path) -> None:
    run([picture(tmp_path / "card1" / "a.png")], tmp_path / "out")
    [outcome] = run([picture(tmp_path / "backup" / "a.png")], tmp_path / "out", Never())
    assert outcome.status == "kept"


def test_a_byte_in_the_middle_makes_another_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.bmp")
    run([tmp_path / "a.bmp"], tmp_path / "out")
    content = bytearray((tmp_path / "a.bmp").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.bmp").write_bytes(content)
    [outcome] = run([tmp_path / "a.bmp"], tmp_path / "out", Never())
    assert "of the same size, 360,054 bytes, with other content" in outcome.message


@pytest.mark.parametrize(
    ("asked", "options", "reason"),
    [
        ({"flip": True}, {}, "flip was False, now True"),
        ({"flip": False}, {"background": (1, 2, 3)}, r"background was None, now \[1, 2, 3\]"),
    ],
)
def test_poses_of_other_settings_are_refused(tmp_path: Path, asked: dict, options: dict, reason: str) -> None:
    source = picture(tmp_path / "a.png")
    run([source], tmp_path / "out", asked={"flip": False})
    before = files_in(tmp_path / "out")
    [outcome] = run([source], tmp_path / "out", Never(), asked=asked, **options)
    assert outcome.status == "failed"
    assert re.search(f"made with other settings \\({reason}\\): use --overwrite", outcome.message)
    assert files_in(tmp_path / "out") == before


def test_what_to_do_with_nobody_counts_only_where_nobody_was_found(tmp_path: Path) -> None:
    """Its default depends on the number of pictures: one more in the folder changes nothing for the others."""
    found, nobody = picture(tmp_path / "a.png"), picture(tmp_path / "b.png", (7, 7, 7))
    run([found], tmp_path / "out", if_nobody="full-image")
    run([nobody], tmp_path / "out", detector=FixedDetector(()), if_nobody="full-image")
    outcomes = run([found, nobody], tmp_path / "out", Never(), if_nobody="empty")
    assert [outcome.status for outcome in outcomes] == ["kept", "failed"]
    assert "if_nobody was 'full-image', now 'empty'" in outcomes[1].message


@pytest.mark.parametrize(
    ("options", "files"),
    [
        ({"style": "musepose"}, ["a_pose.png", "a_overlay.png"]),
        ({"size": (30, 30)}, ["a_pose.png"]),
        ({"threshold": 0.5}, ["a_pose.png", "a_keypoints.json", "a_overlay.png"]),
        ({"json_scores": True}, ["a_keypoints.json"]),
        ({"fit": "crop", "parts": None}, []),
    ],
)
def test_another_drawing_is_made_from_the_keypoints(tmp_path: Path, options: dict, files: list[str]) -> None:
    source = picture(tmp_path / "a.png")
    run([source], tmp_path / "out", overlay=True)
    [outcome] = run([source], tmp_path / "out", Never(), overlay=True, **options)
    assert outcome.status == ("done" if files else "kept")
    assert not files or outcome.message.endswith(f"drawn again from the keypoints: {', '.join(files)}")
    run([source], tmp_path / "fresh", overlay=True, **options)
    assert files_in(tmp_path / "out") == files_in(tmp_path / "fresh")


DAMAGED = {
    "cut short": lambda content: content[: len(content) - 20],
    "empty": lambda content: b"",
    "a byte": lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("name", ["a_pose.png", "a_overlay.png"])
def test_a_damaged_drawing_is_made_again(tmp_path: Path, damage, name: str) -> None:
    source, out = picture(tmp_path / "a.png"), tmp_path / "out"
    run([source], out, overlay=True)
    whole = (out / name).read_bytes()
    (out / name).write_bytes(damage(whole))
    [outcome] = run([source], out, Never(), overlay=True)
    assert outcome.message.endswith(f"drawn again from the keypoints: {name}")
    assert (out / name).read_bytes() == whole


def test_edited_poses_are_drawn_again_and_damaged_ones_say_what_to_do(tmp_path: Path) -> None:
    source, out = picture(tmp_path / "a.png"), tmp_path / "out"
    run([source], out)
    sequence = PoseSequence.load(out / "a.pose.npz")
    dataclasses.replace(sequence, keypoints=sequence.keypoints + 5).save(out / "a.pose.npz")
    [outcome] = run([source], out, Never())
    assert "drawn again from the keypoints: a_pose.png, a_keypoints.json" in outcome.message
    assert json.loads((out / "a_keypoints.json").read_text())["people"][0]["pose_keypoints_2d"][:2] == [25, 35]
    (out / "a.pose.npz").write_bytes((out / "a.pose.npz").read_bytes()[:-50])
    [outcome] = run([source], out, Never())
    assert outcome.status == "failed" and "damaged or of another kind: use --overwrite" in outcome.message


THEIRS = {"a_pose.png": (9, 9, 9), "a_keypoints.json": '{"people": []}', "a_overlay.png": (1, 2, 3)}


@pytest.mark.parametrize("poses", ["ours", "none"])
@pytest.mark.parametrize("name", THEIRS)
def test_a_file_of_somebody_elses_is_never_replaced(tmp_path: Path, name: str, poses: str) -> None:
    source, out = picture(tmp_path / "a.png"), tmp_path / "out"
    if poses == "ours":
        run([source], out, overlay=True)
    out.mkdir(exist_ok=True)
    content = THEIRS[name]
    (out / name).write_text(content) if isinstance(content, str) else picture(out / name, content)
    before = files_in(out)
    [outcome] = run([source], out, Never(), overlay=True)
    assert outcome.status == "failed"
    assert f"{name} exists, but " in outcome.message and "--overwrite" in outcome.message
    assert files_in(out) == before


def test_overwriting_leaves_nothing_of_the_other_picture(tmp_path: Path) -> None:
    run([picture(tmp_path / "card1" / "a.png")], tmp_path / "out", overlay=True)
    picture(tmp_path / "out" / "a_overlay.jpg")
    run([picture(tmp_path / "card2" / "a.png", (8, 8, 8))], tmp_path / "out", overwrite=True)
    assert sorted(files_in(tmp_path / "out")) == ["a.pose.npz", "a_keypoints.json", "a_overlay.jpg", "a_pose.png"]


def test_poses_without_an_origin_are_refused_and_still_load(tmp_path: Path) -> None:
    """As earlier versions wrote them."""
    source, out = picture(tmp_path / "a.png"), tmp_path / "out"
    run([source], out)
    old = PoseSequence.load(out / "a.pose.npz")
    meta = {name: value for name, value in old.meta.items() if name != "origin"}
    dataclasses.replace(old, meta=meta).save(out / "a.pose.npz")
    [outcome] = run([source], out, Never())
    assert "does not say what it was made from: use --overwrite" in outcome.message
    assert len(PoseSequence.load(out / "a.pose.npz")) == 1


def test_a_picture_that_is_replaced_meanwhile_fails(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")

    class Slow(CornerEstimator):
        def estimate(self, images, boxes, **settings) -> list[Poses]:
            picture(source, (1, 1, 1))
            return super().estimate(images, boxes, **settings)

    [outcome] = run([source], tmp_path / "out", Slow())
    assert outcome.status == "failed" and "a.png was replaced while it was annotated" in outcome.message
    assert not (tmp_path / "out").exists()


def test_every_drawing_says_from_which_poses_it_is(tmp_path: Path) -> None:
    run([picture(tmp_path / "a.png")], tmp_path / "out", overlay=True, style="musepose", size=(64, 64))
    poses = file_identity(tmp_path / "out" / "a.pose.npz")["sha256"]
    marks = {name: read_mark(tmp_path / "out" / name) for name in THEIRS}
    assert {mark["poses"] for mark in marks.values()} == {poses}
    assert marks["a_pose.png"]["drawing"] == {
        "style": "musepose", "parts": None, "threshold": 0.3, "size": [64, 64], "fit": "pad",
        "line_width": None,
    }  # fmt: skip
    assert marks["a_keypoints.json"]["drawing"] == {"threshold": 0.3, "scores": False}


def test_pictures_share_their_batches(tmp_path: Path) -> None:
    sources = [picture(tmp_path / f"{i}.png") for i in range(5)]
    estimator = CornerEstimator()
    run(sources, tmp_path / "out", estimator, chunk=3)
    assert estimator.calls == [3, 2]


def test_names_keep_the_extension_where_stems_meet() -> None:
    sources = [Path("x/a.jpg"), Path("x/a.png"), Path("x/b.jpg"), Path("x/b.jpg")]
    assert output_names(sources, Path("out")) == {sources[0]: "a.jpg", sources[1]: "a.png", sources[2]: "b"}
    with pytest.raises(InputError, match="two folders"):
        output_names([Path("x/a.jpg"), Path("y/a.jpg")], Path("out"))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ([[1, 2, 3, 4], [5, 6, 7, 8, 0.5]], "any.png"),
        ({"a.png": [[1, 2, 3, 4], [5, 6, 7, 8, 0.5]]}, "a.png"),
        ({"a": [[1, 2, 3, 4], [5, 6, 7, 8, 0.5]]}, "a.png"),
        (
            [
                {"file_name": "a.png", "bbox": [1, 2, 2, 2]},
                {"file_name": "b.png", "bbox": [0, 0, 1, 1]},
                {"file_name": "a.png", "bbox": [5, 6, 2, 2], "score": 0.5},
            ],
            "a.png",
        ),
        (
            [{"image_id": 785, "bbox": [1, 2, 2, 2]}, {"image_id": 785, "bbox": [5, 6, 2, 2], "score": 0.5}],
            "000785.png",
        ),
    ],
)
def test_box_files(tmp_path: Path, content, name: str) -> None:
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    boxes = BoxFile(tmp_path / "boxes.json").boxes_of(tmp_path / name, only_picture=True)
    np.testing.assert_allclose(boxes, [[1, 2, 3, 4, 1], [5, 6, 7, 8, 0.5]])


@pytest.mark.parametrize(
    "content",
    ["", "{", "3", '{"a.png": 3}', "[[1, 2, 3]]", '[[1, 2, 3, "4"]]', '[{"bbox": [1, 2, 3, 4]}]',
     '[{"file_name": "a", "bbox": [1, 2]}]', '[{"file_name": "a", "bbox": [1, 2, 3, 4], "score": "x"}]'],
)  # fmt: skip
def test_wrong_box_files_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(InputError, match=r"boxes\.json.*expected"):
        BoxFile(tmp_path / "boxes.json")


def test_boxes_must_name_the_picture(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text("[[1, 2, 3, 4]]")
    with pytest.raises(InputError, match="got several pictures: name them in the file"):
        BoxFile(tmp_path / "one.json").boxes_of(Path("a.png"), only_picture=False)
    (tmp_path / "named.json").write_text('{"b.png": [[1, 2, 3, 4]]}')
    outcomes = run(
        [picture(tmp_path / "a.png"), picture(tmp_path / "b.png")],
        tmp_path / "out",
        boxes=BoxFile(tmp_path / "named.json"),
    )
    assert [(o.status, o.people) for o in outcomes] == [("done", 0), ("done", 1)]
    with pytest.raises(InputError, match="has no boxes for a.png: it names b.png"):
        run([tmp_path / "a.png"], tmp_path / "out2", boxes=BoxFile(tmp_path / "named.json"))


def test_what_the_detector_was_is_recorded() -> None:
    class Described(FixedDetector):
        def meta(self) -> dict:
            return {"threshold": 0.5}

    found = annotate_images(
        [GREY, GREY],
        estimator=CornerEstimator(),
        detector=Described(),
        people=[None, FramePeople(np.array([[1, 2, 3, 4]]))],
    )
    assert found[0].meta["detector"] == {"threshold": 0.5}
    assert "detector" not in found[1].meta


def test_people_who_were_not_believed_are_counted() -> None:
    poses = Poses.empty((4, 4), "coco_17", meta={"not_there": 2})
    assert "2 more rejected: their poses show nobody" in describe(poses)
    assert "1 more rejected: its pose shows nobody" in describe(poses.with_meta(not_there=1))


def test_how_people_were_found_reads_as_english() -> None:
    how = ["whole picture, confirmed by its pose", "doubtful box (score 0.11), confirmed by its pose"]
    text = describe(Poses.empty((4, 4), "coco_17", meta={"boxes_found": how}))
    assert "one in the whole picture, confirmed" in text and "one in a doubtful box (score 0.11)" in text


def test_people_of_whom_nothing_is_drawn_are_counted() -> None:
    scores = np.zeros((3, 17))
    scores[0, :5], scores[1, :], scores[2, 3] = 0.29, 0.1, 0.3
    people = Poses(np.zeros((3, 17, 2)), scores, np.zeros((3, 5)), (4, 4), "coco_17")
    assert "nothing drawn of 2 people: all points are below --threshold 0.3" in describe(people, 0.3)
    assert "nothing drawn" not in describe(people, 0.1) and "nothing drawn" not in describe(people)
    assert "nothing drawn" not in describe(Poses.empty((4, 4), "coco_17"), 0.3)


class PenEstimator(CornerEstimator):
    """As a model of somebody's own keypoints."""

    name, keypoint_set = "a pen model", "pen_4"

    def _one(self, image: np.ndarray, boxes: np.ndarray) -> Poses:
        corners = boxes[:, [[0, 1], [2, 3], [0, 3], [2, 1]]].reshape(-1, 4, 2)
        size, meta = (image.shape[1], image.shape[0]), {"model": self.name, **described(PEN)}
        return Poses(corners, np.full((len(boxes), 4), (1, 1, 0.2, 1)), boxes, size, "pen_4", meta=meta)


def test_own_keypoints_are_drawn_and_written_as_coco(tmp_path: Path) -> None:
    source, out = picture(tmp_path / "a.png"), tmp_path / "out"
    [outcome] = run([source], out, PenEstimator(), overlay=True, threshold=0.1)
    assert (outcome.status, outcome.message) == ("done", "1 person; a pen model")
    names = ["a.pose.npz", "a_keypoints.json", "a_overlay.png", "a_pose.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    poses = PoseSequence.load(out / "a.pose.npz").frame(0)
    assert poses.skeleton == PEN
    np.testing.assert_array_equal(read_image(out / "a_pose.png"), draw_poses(poses, threshold=0.1))
    content = json.loads((out / "a_keypoints.json").read_text())
    assert content["images"] == [{"id": 1, "file_name": "a.png", "width": 40, "height": 60}]
    [category], [person] = content["categories"], content["annotations"]
    assert "people" not in content and from_category(content["categories"]) == PEN
    assert (category["name"], category["skeleton"]) == ("pen", [[3, 4], [1, 3], [2, 3]])
    assert person["keypoints"] == [10, 10, 2, 30, 50, 2, 10, 50, 2, 30, 10, 2]
    assert (person["bbox"], person["num_keypoints"], person["score"]) == ([10, 10, 20, 40], 4, pytest.approx(0.8))
    assert person["keypoint_scores"] == pytest.approx([1, 1, 0.2, 1])
    [outcome] = run([source], out, PenEstimator(), overlay=True, threshold=0.1)
    assert outcome.status == "kept"
    [outcome] = run([source], out, PenEstimator(), overlay=True, threshold=0.3)
    assert "drawn again" in outcome.message
    [person] = json.loads((out / "a_keypoints.json").read_text())["annotations"]
    assert person["keypoints"][6:9] == [0, 0, 0] and person["num_keypoints"] == 3


def test_a_style_of_openpose_is_refused_before_own_keypoints_are_estimated(tmp_path: Path) -> None:
    estimator = PenEstimator()
    with pytest.raises(InputError, match="style 'dwpose'"):
        run([picture(tmp_path / "a.png")], tmp_path / "out", estimator, style="dwpose")
    assert not estimator.calls


@pytest.mark.parametrize("place", ["sdpose_core.images._rgb_of", "sdpose_core.annotate.pictures.draw_poses"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "memory"),
        (RuntimeError("odd"), "odd"),
        (ZeroDivisionError("odd"), "odd"),
        (OSError(28, "x"), "x"),
    ],
)
def test_whatever_one_picture_does_the_others_of_its_chunk_are_finished(
    tmp_path: Path, place: str, error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of three pictures fails while it is decoded or drawn."""
    sources = [picture(tmp_path / f"{name}.png", (number, 0, 0)) for number, name in enumerate("abc")]
    module, _, name = place.rpartition(".")
    real, calls = getattr(sys.modules[module], name), []

    def broken(*arguments, **settings):
        calls.append(1)
        if len(calls) == 2:
            raise error
        return real(*arguments, **settings)

    monkeypatch.setattr(place, broken)
    outcomes = run(sources, tmp_path / "out")
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    assert message in outcomes[1].message and "\n" not in outcomes[1].message


def test_a_picture_that_the_estimator_has_no_memory_for_fails_alone(tmp_path: Path) -> None:
    class Small(CornerEstimator):
        def estimate(self, images, boxes, **settings) -> list[Poses]:
            if any(image.shape[1] > 50 for image in images):
                raise MemoryError
            return super().estimate(images, boxes, **settings)

    sources = [picture(tmp_path / "a.png"), picture(tmp_path / "b.png", size=(90, 90)), picture(tmp_path / "c.png")]
    outcomes = run(sources, tmp_path / "out", estimator=Small())
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    assert "too little memory" in outcomes[1].message


def test_progress_begins_with_the_number_of_crops_before_the_first_is_done() -> None:
    seen: list[tuple[int, int]] = []

    class Counting(CornerEstimator):
        def estimate(self, images, boxes, *, masks=None, on_batch=None) -> list[Poses]:
            assert seen == [(0, 4)], "a first crop may take a minute"
            on_batch(4, 4)
            return super().estimate(images, boxes, masks=masks, on_batch=on_batch)

    two = FixedDetector([(1, 1, 20, 30), (10, 10, 30, 50)])
    annotate_images([GREY, GREY], estimator=Counting(), detector=two, on_batch=lambda *done: seen.append(done))
    assert seen == [(0, 4), (4, 4)]
    nobody = FixedDetector(())
    annotate_images([GREY], estimator=CornerEstimator(), detector=nobody, on_batch=lambda *done: seen.append(done))
    assert len(seen) == 2
