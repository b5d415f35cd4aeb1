"""Figures of the paper: the marks follow the stated rule, cells show what their headings say, nothing else is shown."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_people import STANDING, make_people
from stand_ins import StandInEstimator
from tiny_pipeline import make_base, make_controlnet, make_motion

import make_figures
from sdpose_core.drawing.pose_maps import draw_poses
from sdpose_core.errors import InputError
from sdpose_core.images import read_image, write_png
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.video.writer import VideoWriter
from sdpose_training.downstream.animation import ControlNetAnimation, animate
from sdpose_training.downstream.controlnet import ControlNetSettings
from sdpose_training.evaluation.tasks import Places
from sdpose_training.figures.estimators import Column, estimator_figure
from sdpose_training.figures.failures import MISSING, WRONG, Rule
from sdpose_training.figures.scenes import Scenes, annotated_scenes
from sdpose_training.figures.sheet import Row, Sheet, clipped, render, wrapped
from sdpose_training.styles.filters import FILTERS

SIZE = (160, 200)
RED, ORANGE = np.array(WRONG), np.array(MISSING)


def run(*arguments: object) -> int:
    return make_figures.main([str(argument) for argument in arguments])


def record(path: Path) -> dict:
    return json.loads(path.with_suffix(".json").read_text())


def near(image: np.ndarray, color: np.ndarray, tolerance: int = 30) -> np.ndarray:
    """Mask of the pixels of about this color."""
    return (np.abs(image.astype(int) - color) < tolerance).all(axis=2)


# The sheet.


def test_a_sheet_puts_every_cell_under_its_heading() -> None:
    colors = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0)]
    cells = [np.full((40 + 10 * i, 90, 3), color, np.uint8) for i, color in enumerate(colors)]
    sheet = Sheet("t", ["left", "right"], [Row(cells[:2], "a.jpg"), Row([cells[2], None])], ["a rule"])
    image = render(sheet)
    for color, cell in zip(colors[:3], cells, strict=False):
        rows, columns = np.nonzero(near(image, np.array(color), 1))
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == cell.shape[:2]
    green, blue = (np.argwhere(near(image, np.array(color), 1)).mean(axis=0) for color in colors[1:3])
    assert green[0] < blue[0] and green[1] > blue[1]  # upper right, lower left
    with pytest.raises(InputError, match="expected 2 cells"):
        render(Sheet("t", ["left", "right"], [Row(cells[:2]), Row(cells[:1])], []))
    with pytest.raises(InputError, match="nothing to show"):
        render(Sheet("t", [], [], []))


def test_long_texts_are_shortened_or_wrapped() -> None:
    assert clipped("short", 200, 16) == "short"
    assert clipped("a name that is much too long", 60, 16).endswith("...")
    lines = wrapped(["one two three four five six seven eight nine ten", "next"], 100)
    assert len(lines) > 3 and lines[-1] == "next" and " ".join(lines[:-1]).split()[-1] == "ten"


# Styles.


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        write_png(tmp_path / "photos" / name, cv2.GaussianBlur(rng.integers(0, 256, (60, 80, 3), np.uint8), (0, 0), 3))
    return tmp_path / "photos"


def test_the_style_sheet_shows_filters_and_folders(photos: Path, tmp_path: Path, capsys) -> None:
    for file in photos.iterdir():
        write_png(tmp_path / "ukiyoe" / file.name, np.full((60, 80, 3), (90, 10, 160), np.uint8))
    out = tmp_path / "figure5.png"
    styles = ["--style", "original", "--style", "oil", "--style", f"ukiyo-e={tmp_path / 'ukiyoe'}"]
    assert run("figure5", "--pictures", photos, *styles, "--picture", "b.png", "--height", 60, "--out", out) == 0
    assert capsys.readouterr().out.split() == [str(out), str(out.with_suffix(".json"))]
    image, photo = read_image(out), read_image(photos / "b.png")
    y = int(np.argwhere(near(image, np.array((90, 10, 160)), 1))[:, 0].min())
    for column, expected in enumerate((photo, FILTERS["oil"](photo))):
        x = 12 + column * 86
        if image[y : y + 60, x : x + 80].shape == expected.shape:
            x = next(x for x in range(12, 240) if np.array_equal(image[y : y + 60, x : x + 80], expected))
        assert np.array_equal(image[y : y + 60, x : x + 80], expected)
    assert record(out)["pictures"] == ["b.png"]
    assert "ukiyo-e (ukiyoe)" in " ".join(record(out)["caption"])
    assert record(out)["command"].startswith("make_figures.py figure5 --pictures")


def test_pictures_of_a_style_sheet_are_drawn_by_the_seed(photos: Path, tmp_path: Path) -> None:
    def chosen(seed: int) -> list[str]:
        out = tmp_path / f"{seed}.jpg"
        assert run("styles", "--pictures", photos, "--style", "original", "--style", "sketch", "--count", 2,
                   "--seed", seed, "--out", out) == 0  # fmt: skip
        assert f"2 of 3, drawn at random (seed {seed})" in record(out)["caption"][0]
        return record(out)["pictures"]

    assert chosen(0) == chosen(0)
    assert len({tuple(chosen(seed)) for seed in range(6)}) > 1


@pytest.mark.parametrize(("arguments", "message"), [
    (["--style", "original", "--style", "x=nowhere"], "no folder"), (["--style", "original"], "at least two styles"),
    (["--picture", "z.png"], "'z.png': not in"), (["--out", "figure.pdf"], "ends in .png"),
])  # fmt: skip
def test_what_no_style_sheet_can_be_made_of_is_named(photos: Path, arguments: list, message: str, capsys) -> None:
    assert run("styles", "--pictures", photos, "--out", "x.png", *arguments) == 1
    assert message in capsys.readouterr().err


# Estimators and failures.


class Answering(StandInEstimator):
    """Answers with the annotated points of the person in the box, changed by `change(person, keypoints, scores)`."""

    def __init__(self, scenes: Scenes, change=None, name: str = "exact") -> None:
        self.truth, self.change, self.name = scenes.truth, change or (lambda *_: True), name

    def estimate(self, images: list, boxes: list) -> list[Poses]:
        (image,), (here,) = images, boxes
        middles = self.truth.boxes_xywh[:, :2] + self.truth.boxes_xywh[:, 2:] / 2
        keypoints, scores, kept = [], [], []
        for number, box in enumerate(here):
            person = int(np.abs(middles - (box[:2] + box[2:4]) / 2).sum(axis=1).argmin())
            points, sure = self.truth.keypoints[person, :, :2].copy(), np.ones(17)
            if self.change(person, points, sure):
                keypoints.append(points)
                scores.append(sure)
                kept.append(number)
        return [
            Poses(np.reshape(keypoints, (-1, 17, 2)), np.reshape(scores, (-1, 17)), here[kept], image.shape[1::-1],
                  "coco_17", box_index=np.array(kept, int))
        ]  # fmt: skip


@pytest.fixture
def people(tmp_path: Path) -> Scenes:
    data = make_people(tmp_path / "data", count=5)
    return annotated_scenes(Places(data, ground_truth_boxes=True), count=5)


def scale_of(scenes: Scenes, person: int) -> float:
    return float(np.sqrt(scenes.truth.areas[person]))


def test_marks_are_where_the_rule_says(people: Scenes, tmp_path: Path) -> None:
    """Person 0 exact, 1 with a wrist off, 2 with an unsure knee, 3 far away, 4 not found."""

    def change(person: int, points: np.ndarray, scores: np.ndarray) -> bool:
        if person == 1:
            points[9] += (0, 0.25 * scale_of(people, 1))
            points[10] += (0, 0.15 * scale_of(people, 1))  # within the rule
        if person == 2:
            scores[13] = 0.1
        if person == 3:
            points += 0.19 * scale_of(people, 3)
        return person != 4

    columns = [Column(None, lambda: Answering(people)), Column("worse", lambda: Answering(people, change))]
    out = tmp_path / "figure4.png"
    estimator_figure(out, people, columns, Rule(), height=400)
    results = record(out)["estimators"]
    assert results["exact"]["failures"] == {
        "people": 5, "people_below": 0, "people_not_found": 0, "points": 85, "points_off": 0, "points_missing": 0,
        "mean_oks": pytest.approx(1),
    }  # fmt: skip
    counts = results["worse"]["failures"]
    assert (counts["people_below"], counts["people_not_found"]) == (1, 1)
    assert (counts["points_off"], counts["points_missing"]) == (1 + 17, 1)
    caption = " ".join(record(out)["caption"])
    assert "Red ring: a point more than 0.2 of the person's scale" in caption and "OKS below 0.5" in caption
    assert "worse: 1 of 5 people below the OKS, 1 not found; of 85 points 18 off, 1 missing." in caption
    image = read_image(out)
    marks = near(image, RED) | near(image, ORANGE)
    thirds = np.array_split(marks, 3, axis=1)  # picture, exact, worse
    assert thirds[2].sum() > 20 * max(thirds[1].sum(), 1)


def test_rings_are_centered_on_the_points(people: Scenes) -> None:
    from sdpose_training.figures.failures import Failures, mark

    gray = np.full((400, 320, 3), 128, np.uint8)
    one = Failures(np.array([[40.0, 50.0]]), np.array([[100.0, 150.0]]), [], [np.array([10, 100, 60, 190])], 2, 2, [])
    drawn = mark(gray, one, 2.0)
    for color, (x, y) in ((RED, (40, 50)), (ORANGE, (100, 150))):
        rows, columns = np.nonzero(near(drawn, color))
        ring = np.hypot(columns - 2 * x, rows - 2 * y) < 30
        assert (columns[ring].mean(), rows[ring].mean()) == pytest.approx((2 * x + 0.5, 2 * y + 0.5), abs=1.5)
        assert (drawn[2 * y, 2 * x] == 128).all()  # the point itself stays visible
    assert near(drawn, ORANGE)[200:380, 18:24].sum() > 100  # dashes of the frame
    assert (gray == 128).all()


def test_everybody_sees_the_same_boxes_and_a_stricter_rule_marks_more(people: Scenes, tmp_path: Path) -> None:
    def change(person: int, points: np.ndarray, scores: np.ndarray) -> bool:
        points += 0.06 * scale_of(people, person)
        return True

    for rule, off in ((Rule(), 0), (Rule(max_distance=0.05), 85)):
        estimator_figure(tmp_path / "f.png", people, [Column("a", lambda: Answering(people, change))], rule)
        assert record(tmp_path / "f.png")["estimators"]["a"]["failures"]["points_off"] == off
    with pytest.raises(InputError, match="--min-oks from 0 to 1"):
        Rule(min_oks=2)


def test_the_command_takes_free_and_annotated_pictures(people: Scenes, tmp_path: Path, capsys) -> None:
    data = people.scenes[0].file.parents[1]
    out = tmp_path / "figure1.png"
    columns = ["--peer", "A=preview", "--checkpoint", "B=preview", "--peer", "preview"]
    assert run("figure1", "--pictures", people.scenes[0].file, *columns[:4], "--out", out) == 0
    assert list(record(out)["estimators"]) == ["A", "B"]
    assert "no annotations, so no marks" in record(out)["caption"][0]
    assert run("figure4", "--data.root", data, "--count", 2, *columns, "--out", out) == 0
    assert list(record(out)["estimators"]) == ["A", "B", "preview (MoveNet Thunder)"]
    assert "2 pictures, drawn at random (seed 0) from 5 with boxes in val.json" in record(out)["caption"][0]
    capsys.readouterr()
    for wrong, message in (
        (columns, "either --pictures"), (["--data.root", data], "no estimator"), (["--data.root", tmp_path, *columns],
        "no annotations at"), (["--data.root", data, "--peer", "x=y"], "unknown peer"),
        (["--pictures", tmp_path / "gone", *columns], "no such folder"),
        (["--data.root", data, "--peer", "preview", "--peer", "preview"], "two estimators are named"),
    ):  # fmt: skip
        assert run("estimators", *wrong, "--out", out) == 1
        assert message in capsys.readouterr().err


# Pictures and animations from poses.


def standing(dx: float = 0.0) -> Poses:
    points = STANDING + (SIZE[0] / 2 + dx, SIZE[1] / 2)
    box = [*points.min(axis=0), *points.max(axis=0), 1.0]
    return Poses(points[None], np.ones((1, 17)), np.array([box]), SIZE, "coco_17")


@pytest.fixture
def two_sources(tmp_path: Path) -> Path:
    """A picture p.jpg, and poses of it in A and, to the right, in B."""
    cv2.imwrite(str(tmp_path / "p.jpg"), np.full((SIZE[1], SIZE[0], 3), 90, np.uint8))
    for name, dx in (("A", 0), ("B", 12)):
        (tmp_path / name).mkdir()
        standing(dx).save(tmp_path / name / "p.pose.npz")
    return tmp_path


def picture_command(folder: Path, out: Path) -> list[object]:
    poses = [value for name in "AB" for value in ("--poses", f"{name}={folder / name}")]
    return ["figure7", "--pictures", folder / "p.jpg", *poses, "--short-side", 64, "--height", 80, "--out", out]


def test_without_results_the_maps_are_written_for_another_tool(two_sources: Path, capsys) -> None:
    out = two_sources / "f.png"
    assert run(*picture_command(two_sources, out)) == 0
    for name, dx in (("A", 0), ("B", 12)):
        made = read_image(two_sources / "f_maps" / name / "p.png")
        np.testing.assert_array_equal(made, draw_poses(standing(dx), size=(64, 64)))
    assert "No results were given" in record(out)["caption"][0]


def test_pictures_of_another_tool_stand_beside_their_maps(two_sources: Path, capsys) -> None:
    out, colors = two_sources / "f.png", {"A": (10, 90, 200), "B": (210, 120, 10)}
    for name, color in colors.items():
        write_png(two_sources / f"made_{name}" / "p.png", np.full((64, 64, 3), color, np.uint8))
    given = [value for name in colors for value in ("--result", f"{name}={two_sources / f'made_{name}'}")]
    assert run(*picture_command(two_sources, out), *given) == 0
    image = read_image(out)
    places = [np.argwhere(near(image, np.array(color), 1)) for color in colors.values()]
    assert all(len(place) == 80 * 80 for place in places)
    assert places[0][:, 1].max() < places[1][:, 1].min()
    (two_sources / "made_B" / "p.png").unlink()
    assert run(*picture_command(two_sources, out), *given) == 1
    assert "no result of p.jpg" in capsys.readouterr().err
    assert run(*picture_command(two_sources, out), "--result", f"C={two_sources}") == 1
    assert "--result C: no --poses of that name" in capsys.readouterr().err


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("weights")
    return [make_base(folder / "base"), make_controlnet(folder / "net"), make_motion(folder / "motion")]


def generating(weights: list[Path]) -> list[object]:
    return ["--base", weights[0], "--controlnet", weights[1], "--steps", 1, "--device", "cpu"]


@pytest.mark.slow
def test_pictures_are_generated_where_weights_are_given(two_sources: Path, weights: list[Path], capsys) -> None:
    out = two_sources / "f.png"
    assert run(*picture_command(two_sources, out), *generating(weights)) == 0
    assert record(out)["base"] == "base" and record(out)["mean_oks"] == {"A": None, "B": None}
    made = sorted((two_sources / "f_pictures" / "pictures").glob("p.jpg-?-0-*.png"))
    assert len(made) == 2
    assert not np.array_equal(*map(read_image, made))
    assert run(*picture_command(two_sources, out), *generating(weights), "--result", f"A={two_sources}") == 1
    assert "not both" in capsys.readouterr().err
    assert run(*picture_command(two_sources, out), "--base", weights[0]) == 1
    assert "needs both" in capsys.readouterr().err


def video(path: Path, count: int, color: tuple[int, int, int]) -> Path:
    """A lossless clip; the brightness of frame i is 20 i."""
    with VideoWriter(path, SIZE, Fraction(10), codec="lossless") as writer:
        for index in range(count):
            writer.write(np.full((SIZE[1], SIZE[0], 3), np.minimum(np.array(color) + 20 * index, 255), np.uint8))
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    video(tmp_path / "driving.mp4", 8, (0, 0, 0))
    for name, dx in (("A", 0), ("B", 6)):
        PoseSequence.from_poses([standing(dx + t) for t in range(8)], frame_rate=Fraction(10)).save(
            tmp_path / f"{name}.pose.npz"
        )
    return tmp_path


def clip_command(folder: Path, out: Path, *more: object) -> list[object]:
    poses = [value for name in "AB" for value in ("--poses", f"{name}={folder / name}.pose.npz")]
    return ["figure8", "--driving", folder / "driving.mp4", *poses, "--short-side", 64, "--height", 64, "--first", 1,
            "--every", 2, "--frames", 3, "--out", out, *more]  # fmt: skip


def test_a_clip_shorter_than_asked_is_told(clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run(*clip_command(clip, clip / "f.png"), "--frames", 9) == 0
    assert "has 8 frames: 4 of 9 are animated" in caplog.text
    assert record(clip / "f.png")["title"] == "Animations from 2 sources of poses"


def test_frames_of_a_tool_are_under_the_frames_of_the_driving_video(clip: Path, capsys) -> None:
    out = clip / "f.png"
    results = [f"{name}={video(clip / f'{name}.mp4', 8, color)}" for name, color in
               (("A", (90, 0, 0)), ("B", (0, 0, 90)))]  # fmt: skip
    assert run(*clip_command(clip, out), "--result", results[0], "--result", results[1]) == 0
    assert record(out)["frames"] == [1, 3, 5]
    image = read_image(out)
    for index in (1, 3, 5):
        shade = 20 * index
        gray, red, blue = (
            np.argwhere(near(image, np.array(color), 3))
            for color in ((shade,) * 3, (90 + shade, shade, shade), (shade, shade, 90 + shade))
        )
        assert min(map(len, (gray, red, blue))) > 2000
        assert np.ptp([place[:, 1].mean() for place in (red, blue)]) < 1  # one below the other
        assert red[:, 0].mean() < blue[:, 0].mean()
    for number, index in enumerate((1, 3, 5)):
        made = read_image(clip / "f_maps" / "B" / f"{number:06d}.png")
        np.testing.assert_array_equal(made, draw_poses(standing(6 + index), size=(64, 64)))
    assert run(*clip_command(clip, out), "--result", results[0]) == 1
    assert "but not for B" in capsys.readouterr().err
    assert run(*clip_command(clip, out, "--first", 30)) == 1
    assert "has 8 frames" in capsys.readouterr().err
    assert run(*clip_command(clip, out, "--frames", 1)) == 0  # the maps of the run before are gone
    assert [path.name for path in (clip / "f_maps" / "B").iterdir()] == ["000000.png"]
    PoseSequence.from_poses([standing()] * 3, frame_rate=Fraction(10)).save(clip / "B.pose.npz")
    assert run(*clip_command(clip, out)) == 1
    assert "has 3 frames, expected at least 6" in capsys.readouterr().err
    assert run(*clip_command(clip, out, "--seeds", "0,1")) == 1
    assert "one seed" in capsys.readouterr().err


def test_a_tool_may_return_the_chosen_frames_alone(clip: Path, capsys) -> None:
    out = clip / "f.png"
    results = []
    for name in "AB":
        for number in range(3):
            write_png(clip / f"made{name}" / f"{number}.png", np.full((64, 64, 3), (7, 180, 60 * number), np.uint8))
        results += ["--result", f"{name}={clip / f'made{name}'}"]
    assert run(*clip_command(clip, out), *results, "--of-chosen") == 0
    image = read_image(out)
    assert all(near(image, np.array((7, 180, 60 * number)), 1).sum() == 2 * 64 * 64 for number in range(3))
    assert run(*clip_command(clip, out), *results) == 1  # frame 5 of three
    assert "ends before frame 5" in capsys.readouterr().err


@pytest.mark.slow
def test_an_animation_follows_its_maps(weights: list[Path]) -> None:
    generate = ControlNetAnimation(*weights, ControlNetSettings(steps=2), device="cpu", dtype="fp32")
    maps = [draw_poses(standing(9 * t), size=(64, 64)) for t in range(2)]
    frames = generate(maps, "a man", 3)
    assert [frame.shape for frame in frames] == [(64, 64, 3)] * 2
    np.testing.assert_array_equal(generate(maps, "a man", 3), frames)
    assert not np.array_equal(generate(maps[::-1], "a man", 3), frames)
    with pytest.raises(InputError, match="7 frames, the motion adapter takes at most 6"):
        generate(maps[:1] * 7, "a man", 3)


def test_an_animation_is_made_once(tmp_path: Path) -> None:
    maps, calls = [draw_poses(standing(9 * t), size=(64, 64)) for t in range(2)], []

    def counted(*arguments) -> list[np.ndarray]:
        calls.append(arguments)
        return maps

    folders = [animate(counted, maps, "a man", seed, tmp_path, {}) for seed in (0, 0, 1)]
    assert len(calls) == 2 and folders[0] == folders[1] != folders[2]
    assert [path.name for path in sorted(folders[0].iterdir())] == ["000000.png", "000001.png"]


@pytest.mark.slow
def test_the_animation_figure_with_weights(clip: Path, weights: list[Path], capsys) -> None:
    out = clip / "f.png"
    assert run(*clip_command(clip, out), *generating(weights), "--motion", weights[2]) == 0
    assert record(out)["motion adapter"] == "motion"
    assert len(list((clip / "f_frames").glob("?/frames-0-*/000002.png"))) == 2
    assert run(*clip_command(clip, out), *generating(weights)) == 1
    assert "needs --base, --controlnet and --motion" in capsys.readouterr().err
    broken = shutil.copytree(weights[2], clip / "broken")
    (broken / "config.json").unlink()
    assert run(*clip_command(clip, out), *generating(weights), "--motion", broken) == 1
    assert "--motion" in capsys.readouterr().err


def test_poses_of_several_estimators_become_options(two_sources: Path, capsys) -> None:
    columns = ["--peer", "one=preview", "--peer", "a b=preview"]
    assert run("poses", "--pictures", two_sources / "p.jpg", *columns, "--out", two_sources / "P") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"--poses {name}={two_sources / 'P' / name}" for name in ("one", "a_b")]
    assert len(PoseSequence.load(two_sources / "P" / "one" / "p.pose.npz")) == 1
    assert run("poses", "--pictures", two_sources / "p.jpg", *columns[:2] * 2, "--out", two_sources / "Q") == 1
    assert "two estimators are named 'one'" in capsys.readouterr().err


@pytest.mark.slow
def test_poses_of_a_video_are_a_sequence_each(clip: Path, capsys) -> None:
    assert run("poses", "--video", clip / "driving.mp4", "--peer", "one=preview", "--out", clip / "P") == 0
    assert capsys.readouterr().out.strip() == f"--poses one={clip / 'P' / 'one.pose.npz'}"
    assert len(PoseSequence.load(clip / "P" / "one.pose.npz")) == 8


@pytest.mark.parametrize("name", ["a/b", "..", ".x", "a\\b"])
def test_names_of_poses_must_be_plain(two_sources: Path, name: str, capsys) -> None:
    assert run("figure7", "--pictures", two_sources / "p.jpg", "--poses", f"{name}={two_sources / 'A'}", "--poses",
               f"B={two_sources / 'B'}", "--out", two_sources / "f.png") == 1  # fmt: skip
    assert "plain name" in capsys.readouterr().err
