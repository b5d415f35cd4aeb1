"""Downstream check: the same noise for every map, poses of any origin, the score, and both commands as a whole."""

from __future__ import annotations

import json
import re
import shutil
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_people import STANDING
from stand_ins import StandInEstimator
from tiny_pipeline import make_base, make_controlnet

from downstream_check import main
from sdpose_core.drawing.pose_maps import draw_poses
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.images import read_image, write_png
from sdpose_core.openpose.writer import write_openpose_json
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.video.opening import open_video
from sdpose_core.video.writer import VideoWriter
from sdpose_training.downstream import pictures as downstream_pictures
from sdpose_training.downstream.controlnet import ControlNetPictures, ControlNetSettings
from sdpose_training.downstream.pictures import PictureCheck, canvas_size, compare_pictures
from sdpose_training.downstream.poses import faithfulness, find_pose_files, pose_frames, read_condition
from sdpose_training.downstream.video import VideoCheck, fitted

SIZE = (160, 200)


def standing(dx: float = 0.0, scale: float = 1.0) -> Poses:
    points = STANDING * scale + (SIZE[0] / 2 + dx, SIZE[1] / 2)
    box = [*points.min(axis=0), *points.max(axis=0), 1.0]
    return Poses(points[None], np.ones((1, 17)), np.array([box]), SIZE, "coco_17")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("weights")
    return make_base(folder / "base"), make_controlnet(folder / "controlnet")


@pytest.fixture(scope="module")
def generate(weights: tuple[Path, Path]) -> ControlNetPictures:
    return ControlNetPictures(*weights, ControlNetSettings(steps=2), device="cpu", dtype="fp32")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Two pictures, ours as `.pose.npz`, a peer's as OpenPose JSON (somewhat to the right) and maps of a third."""
    names = {name: tmp_path / name for name in ("pictures", "ours", "peer", "maps")}
    for folder in names.values():
        folder.mkdir()
    for number, stem in enumerate(("a b", "c")):
        picture = np.full((SIZE[1], SIZE[0], 3), 60 + 80 * number, np.uint8)
        cv2.imwrite(str(names["pictures"] / f"{stem}.jpg"), picture)
        standing().save(names["ours"] / f"{stem}.pose.npz")
        write_openpose_json(names["peer"] / f"{stem}_keypoints.json", standing(dx=9))
        write_png(names["maps"] / f"{stem}_pose.png", draw_poses(standing(dx=-9)))
    return names


def test_one_seed_gives_every_map_the_same_noise(generate: ControlNetPictures) -> None:
    """The scheduler draws noise at every step, so a generator that went on between pictures would show."""
    first = draw_poses(standing(), size=(64, 128))
    second = draw_poses(standing(dx=20), size=(64, 128))
    ours, again, peer = generate(first, "a man", 7), generate(first.copy(), "a man", 7), generate(second, "a man", 7)
    np.testing.assert_array_equal(ours, again)
    assert ours.shape == (128, 64, 3)
    assert (ours != peer).mean() > 0.001  # the map counts
    for other in (generate(first, "a man", 8), generate(first, "a cat", 7)):
        assert (ours != other).mean() > 0.1


@pytest.mark.parametrize("damage", ["no base", "no controlnet", "no unet", "other width"])
def test_weights_that_cannot_be_used_are_named(damage: str, weights: tuple[Path, Path], tmp_path: Path) -> None:
    base, controlnet = weights
    if damage == "no base":
        base = tmp_path / "base"
    elif damage == "no controlnet":
        controlnet = tmp_path / "controlnet"
    elif damage == "other width":
        controlnet = make_controlnet(tmp_path / "wide", width=48)
    else:
        base = make_base(tmp_path / "half")
        for file in (base / "unet").iterdir():
            file.unlink()
    with pytest.raises(CheckpointError, match="base|controlnet|half|width 48"):
        ControlNetPictures(base, controlnet, ControlNetSettings(), device="cpu")


@pytest.mark.parametrize(("file", "entries"), [
    ("unet/own.py", {"unet": ["own", "Own"]}), ("unet/diffusers.py", {}), ("own.py", {"_class_name": ["own", "Own"]}),
    ("notes.txt", {"unet": ["this", "d"]}), ("notes.txt", {"text": ["this", "d"]}),
    ("text_encoder/config.json", {"attn_implementation": "owner/kernel"}),
])  # fmt: skip
def test_no_program_of_a_folder_of_weights_runs(
    weights: tuple[Path, Path], tmp_path: Path, file: str, entries: dict
) -> None:
    base = shutil.copytree(weights[0], tmp_path / "base")
    if not file.endswith(".json"):
        (base / file).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    index = base / (file if file.endswith(".json") else "model_index.json")
    index.write_text(json.dumps(json.loads(index.read_text()) | entries))
    with pytest.raises(CheckpointError, match="is a program|expected a part of diffusers|which is not part of it"):
        ControlNetPictures(base, weights[1], ControlNetSettings(), device="cpu")
    assert not (tmp_path / "ran").exists()


def test_poses_are_found_under_every_usual_name(tmp_path: Path) -> None:
    picture = tmp_path / "p.jpg"
    maps = ["p.png", "p.jpg.png", "p_pose.png", "p.jpg_pose.png"]
    keypoints = ["p.json", "p_keypoints.json", "p.jpg_keypoints.json", "p.pose.npz"]
    for number, name in enumerate([*maps, *keypoints]):  # from the last choice to the first
        (tmp_path / name).touch()
        found = find_pose_files(tmp_path, picture)
        assert (found.keypoints if number >= len(maps) else found.pose_map) == tmp_path / name
    assert found.pose_map == tmp_path / maps[-1]
    with pytest.raises(InputError, match="no poses of q.jpg"):
        find_pose_files(tmp_path, tmp_path / "q.jpg")
    (tmp_path / "lone.png").touch()
    with pytest.raises(InputError, match="no poses"):
        find_pose_files(tmp_path, tmp_path / "lone.png")  # the picture itself is no pose map
    (tmp_path / "k.json").touch()
    with pytest.raises(InputError, match="no pose map of k.jpg"):
        find_pose_files(tmp_path, tmp_path / "k.jpg", as_given=True)


def test_maps_of_keypoints_are_drawn_alike_at_the_generated_size(folders: dict[str, Path]) -> None:
    def read(folder: str, picture: str = "c.jpg", **more: bool):
        files = find_pose_files(folders[folder], folders["pictures"] / picture)
        return read_condition(files, SIZE, (128, 192), style="controlnet", threshold=0.3, **more)

    ours, peer, given = read("ours"), read("peer"), read("maps")
    np.testing.assert_array_equal(ours.pose_map, draw_poses(standing(), size=(128, 192)))
    np.testing.assert_array_equal(peer.pose_map, draw_poses(standing(dx=9), size=(128, 192)))
    assert (ours.drawn, peer.drawn, given.drawn) == (True, True, False)
    assert given.poses is None
    assert given.pose_map.shape == (192, 128, 3)
    sure = standing(dx=9)
    scores = np.where(np.isin(np.arange(17), (9, 13)), 0.2, 1.0)[None]  # unsure of a wrist and a knee
    unsure = Poses(sure.keypoints, scores, sure.boxes, SIZE, "coco_17")
    file = folders["peer"] / "c_keypoints.json"
    write_openpose_json(file, unsure, threshold=0, json_scores=True)
    np.testing.assert_array_equal(read("peer").pose_map, draw_poses(unsure, size=(128, 192)))
    (frame,) = pose_frames(file, (128, 192), style="controlnet", threshold=0.3)
    np.testing.assert_array_equal(frame, draw_poses(unsure, size=(128, 192)))
    write_png(folders["ours"] / "c_pose.png", np.full((SIZE[1], SIZE[0], 3), 77, np.uint8))
    kept = read("ours", as_given=True)
    assert (kept.pose_map == 77).all()
    assert len(kept.poses) == 1  # for the score
    PoseSequence.from_poses([standing(), standing()]).save(folders["ours"] / "two.pose.npz")
    with pytest.raises(InputError, match="2 frames"):
        read("ours", "two.jpg")


@pytest.mark.parametrize(
    ("size", "expected"), [((640, 480), (704, 512)), ((100, 400), (512, 2048)), ((512, 512), (512, 512))]
)
def test_generated_pictures_keep_the_shape(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert canvas_size(size, 512) == expected


class Finder(StandInEstimator):
    """Finds given keypoints whatever it is shown."""

    name = "finder"

    def __init__(self, keypoints: np.ndarray) -> None:
        self.keypoints = keypoints

    def estimate(self, images: list, boxes: list) -> list[Poses]:
        (image,), (box,) = images, boxes
        keypoints = np.asarray(self.keypoints, np.float32)[None]
        scores, size = np.ones(keypoints.shape[:2]), (image.shape[1], image.shape[0])
        return [Poses(keypoints, scores, np.append(box[0], 1)[None], size, "coco_17")]


def test_faithfulness_is_oks_on_the_generated_picture() -> None:
    image, poses = np.zeros((2 * SIZE[1], 2 * SIZE[0], 3), np.uint8), standing()
    exact = poses.keypoints[0] * 2
    assert faithfulness(image, poses, Finder(exact), 0.3) == pytest.approx(1)
    area = np.prod(np.ptp(exact, axis=0))
    sigma = 0.026  # of the nose, by COCO
    moved = exact.copy()
    moved[0, 0] += 2 * sigma * np.sqrt(2 * area)  # one unit of its Gaussian
    assert faithfulness(image, poses, Finder(moved), 0.3) == pytest.approx((16 + np.exp(-1)) / 17, abs=1e-4)
    lost = exact.copy()
    lost[5] = np.nan  # not found: missed, not left out of the mean
    assert faithfulness(image, poses, Finder(lost), 0.3) == pytest.approx(16 / 17)
    nobody = Poses.empty(SIZE, "coco_17")
    assert faithfulness(image, nobody, Finder(exact), 0.3) is None


def picture_command(folders: dict[str, Path], weights: tuple[Path, Path], out: Path, *more: str) -> list[str]:
    poses = [value for name in ("ours", "peer", "maps") for value in ("--poses", f"{name}={folders[name]}")]
    fixed = ["--base", str(weights[0]), "--controlnet", str(weights[1]), "--steps", "1", "--short-side", "64"]
    fixed += ["--device", "cpu", "--out", str(out)]
    return ["pictures", "--pictures", str(folders["pictures"]), *poses, *fixed, *more]


def test_the_page_of_pictures(folders: dict[str, Path], weights: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "prompts.json").write_text(json.dumps({"c": "a <b>cat</b>"}))
    more = ("--seeds", "0,1", "--prompts", str(tmp_path / "prompts.json"), "--prompt", "a man")
    assert main(picture_command(folders, weights, out, *more)) == 0
    results = json.loads((out / "results.json").read_text())
    found = [(p["picture"], p["poses"], p["prompt"], p["seed"]) for p in results["pictures"]]
    assert found == [
        (picture, poses, prompt, seed)
        for picture, prompt in (("a b.jpg", "a man"), ("c.jpg", "a <b>cat</b>"))
        for seed in (0, 1)
        for poses in ("ours", "peer", "maps")
    ]
    assert results["mean_oks"]["maps"] is None
    assert all(0 <= results["mean_oks"][name] <= 1 for name in ("ours", "peer"))
    page = (out / "index.html").read_text()
    assert "Not comparable" in page  # the third estimator's maps are as given
    assert "a &lt;b&gt;cat&lt;/b&gt;" in page
    assert "<b>" not in page
    addresses = re.findall(r'src="([^"]+)"', page)
    assert len(addresses) == 4 * 7
    for address in addresses:
        assert read_image(out / address.replace("%20", " ")).shape == (64, 64, 3)


def test_a_second_run_makes_only_what_is_new(folders: dict[str, Path], tmp_path: Path) -> None:
    made = []

    def generate(pose_map: np.ndarray, prompt: str, seed: int) -> np.ndarray:
        made.append((prompt, seed))
        return pose_map

    def run(prompt: str, **settings: int) -> int:
        made.clear()
        poses = {name: folders[name] for name in ("ours", "peer")}
        check = PictureCheck(downstream_pictures.find_pictures(folders["pictures"]), poses, prompt, short_side=64)
        compare_pictures(check, generate, tmp_path / "out", settings=settings)
        return len(made)

    assert [run("x", steps=1), run("x", steps=1), run("x", steps=2), run("y", steps=2)] == [4, 0, 4, 4]
    standing(dx=30).save(folders["ours"] / "c.pose.npz")
    assert run("y", steps=2) == 1


def frames_of(path: Path) -> list[np.ndarray]:
    with open_video(path) as source:
        return [frame.image for frame in source.frames()]


def solid_video(path: Path, color: tuple[int, int, int], count: int, size: tuple[int, int] = (64, 96)) -> Path:
    with VideoWriter(path, size, Fraction(12), codec="lossless") as writer:
        for index in range(count):
            image = np.full((size[1], size[0], 3), color, np.uint8)
            image[: 8 * (index + 1)] = 255  # a bar that says which frame it is
            writer.write(image)
    return path


@pytest.fixture
def clips(tmp_path: Path) -> dict[str, Path]:
    clip = PoseSequence.from_poses([standing(dx=4 * t) for t in range(8)], frame_rate=Fraction(12))
    clip.save(tmp_path / "ours.pose.npz")
    return {
        "driving": solid_video(tmp_path / "driving.mp4", (200, 30, 30), 8),
        "ours": tmp_path / "ours.pose.npz",
        "peer": solid_video(tmp_path / "peer_pose.mp4", (30, 200, 30), 8),
        "ours_result": solid_video(tmp_path / "ours_result.mp4", (30, 30, 200), 8, size=(128, 96)),
        "peer_result": solid_video(tmp_path / "peer_result.mp4", (200, 200, 30), 6),
    }


def video_command(clips: dict[str, Path], out: Path) -> list[str]:
    poses = [value for name in ("ours", "peer") for value in ("--poses", f"{name}={clips[name]}")]
    results = [value for name in ("ours", "peer") for value in ("--result", f"{name}={clips[name + '_result']}")]
    return ["video", "--driving", str(clips["driving"]), *poses, *results, "--height", "96", "--stills", "3",
            "--out", str(out)]  # fmt: skip


def test_the_comparison_video(clips: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "out"
    assert main(video_command(clips, out)) == 0
    frames = frames_of(out / "comparison.mp4")
    assert len(frames) == 6
    assert frames[0].shape == (96 + 26, 5 * 64 + 4 * 4, 3)
    with open_video(out / "comparison.mp4") as video:
        assert video.info.frame_rate == 12
    for index, frame in enumerate(frames):
        below = frame[26:].astype(int)
        driving, ours, ours_result, peer, peer_result = (below[:, i * 68 : i * 68 + 64] for i in range(5))
        bar = 8 * (index + 1)
        for panel, color in ((driving, (200, 30, 30)), (peer, (30, 200, 30)), (peer_result, (200, 200, 30))):
            assert np.abs(panel[bar + 8 : -8, 8:-8] - color).max() < 25
            assert panel[2 : bar - 4, 8:-8].min() > 225
        # 128 x 96 fitted into 64 x 96: half the height, black above and below
        assert ours_result[:20].max() < 40
        assert np.abs(ours_result[60:68, 8:-8] - (30, 30, 200)).max() < 25
        expected = draw_poses(standing(dx=4 * index), size=(64, 96)).astype(int)
        assert np.abs(ours[:, 2:-2] - expected[:, 2:-2]).mean() < 12
    page = (out / "index.html").read_text()
    assert "the first 6 are compared" in page
    assert "the first 6 are compared" in caplog.text
    stills = sorted(p.name for p in (out / "stills").iterdir())
    assert stills == ["000000.png", "000002.png", "000005.png"]
    assert re.findall(r'src="([^"]+)"', page) == ["comparison.mp4", *(f"stills/{name}" for name in stills)]


def test_poses_of_a_clip_from_every_kind_of_file(tmp_path: Path) -> None:
    clip = [standing(dx=4 * t) for t in range(3)]
    expected = [draw_poses(poses, size=(64, 96)) for poses in clip]
    PoseSequence.from_poses(clip, frame_index=[0, 1, 3]).save(tmp_path / "c.pose.npz")
    for t, poses in enumerate(clip):
        write_openpose_json(tmp_path / "json" / f"{t:03d}.json", poses)
        write_png(tmp_path / "maps" / f"{t}.png", expected[t])
    read = {
        name: list(pose_frames(tmp_path / name, (64, 96), style="controlnet", threshold=0.3))
        for name in ("c.pose.npz", "json", "maps")
    }
    np.testing.assert_array_equal(read["json"], expected)
    np.testing.assert_array_equal(read["maps"], expected)
    np.testing.assert_array_equal(read["c.pose.npz"], [*expected[:2], np.zeros_like(expected[0]), expected[2]])


def test_fitting_keeps_the_shape_of_a_picture() -> None:
    image = np.full((50, 100, 3), 9, np.uint8)
    result = fitted(image, (60, 60))
    rows, columns = np.where(result.any(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (15, 44, 0, 59)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peer": "missing.mp4"}, "missing.mp4"),
        ({"ours": "missing.pose.npz"}, "missing.pose.npz"),
        ({"driving": "missing.mp4"}, "missing.mp4"),
    ],
)
def test_mistakes_with_videos_are_one_line(
    change: dict[str, str], message: str, clips: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    changed = clips | {name: tmp_path / value for name, value in change.items()}
    assert main(video_command(changed, tmp_path / "out")) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("downstream_check: ")
    assert message in error
    assert not (tmp_path / "out" / "comparison.mp4").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--poses", "ours=x"], "each name once"),
        (["--poses", "x"], "NAME=PATH"),
        (["--prompts", "none.json"], "none.json"),
        (["--base", "none"], "model_index.json"),
        (["--steps", "0"], "--steps 0"),
        (["--short-side", "10"], "short side"),
        (["--pictures", "none"], "--pictures none: no such folder"),
        (["--estimator", "none.safetensors"], "none.safetensors"),
    ],
)
def test_mistakes_with_pictures_are_one_line(
    change: list[str], message: str, folders: dict[str, Path], weights: tuple[Path, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    assert main(picture_command(folders, weights, tmp_path / "out", *change)) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("downstream_check: ")
    assert message in error


def test_poses_that_are_missing_are_told_before_anything_is_made(
    folders: dict[str, Path], weights: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (folders["peer"] / "c_keypoints.json").unlink()
    assert main(picture_command(folders, weights, tmp_path / "out")) == 1
    assert "no poses of c.jpg" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_results_of_the_same_names_are_needed() -> None:
    with pytest.raises(InputError, match="same two names"):
        VideoCheck(Path("d"), {"a": Path("a"), "b": Path("b")}, {"a": Path("a"), "c": Path("c")})
    with pytest.raises(InputError, match="at least two estimators"):
        PictureCheck([], {"a": Path("a")}, "x")
