"""`sdpose video`, `draw` and `info` as a user meets them, through the embedded models."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from paths import DATA, SHARED
from PIL import Image
from stand_ins import RunHere
from video_files import write

from sdpose_core.annotate.clip_options import ClipOptions, Selection
from sdpose_core.cli import batch
from sdpose_core.cli.clip_arguments import clip_options, make_clip_detector
from sdpose_core.cli.main import build_parser, main
from sdpose_core.cli.progress import Bar
from sdpose_core.images import read_image, write_png
from sdpose_core.inputs import is_result
from sdpose_core.origins import file_identity, read_mark
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.sequences.cleaning import CleanOptions
from sdpose_core.tracking.options import TrackerOptions
from sdpose_core.video.opening import open_video
from sdpose_core.video.writer import VideoWriter

pytestmark = pytest.mark.usefixtures("remembered_networks")

VIDEOS = SHARED / "data" / "videos"


@pytest.fixture(autouse=True)
def no_weights(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No SDPose weights of this machine may leak into these tests."""
    empty = tmp_path_factory.mktemp("empty")
    for name in ("SDPOSE_HOME", "HF_HOME", "XDG_CACHE_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(empty))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of a photo that moves by two pixels a frame."""
    image = read_image(DATA / "astronaut.png")[:, :400]
    path = tmp_path_factory.mktemp("video") / "photo.mp4"
    with VideoWriter(path, (400, 512), Fraction(24000, 1001), codec="lossless") as writer:
        for n in range(6):
            writer.write(np.ascontiguousarray(np.roll(image, 2 * n, axis=1)))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(*words: object) -> int:
    return main([str(word) for word in words])


def frames_of(path: Path) -> list[np.ndarray]:
    with open_video(path) as video:
        return [frame.image for frame in video.frames()]


# --- sdpose video --------------------------------------------------------------------------------------------------


def test_a_video_gives_its_poses_and_its_pose_video(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture
) -> None:  # fmt: skip
    assert run("video", clip, "-o", tmp_path, "--overlay") == 0
    assert names(tmp_path) == ["photo.pose.npz", "photo_kps.mp4", "photo_kps_play.mp4", "photo_overlay.mp4"]
    sequence = PoseSequence.load(tmp_path / "photo.pose.npz")
    assert (len(sequence), sequence.size, sequence.frame_rate) == (6, (400, 512), Fraction(24000, 1001))
    assert set(sequence.track_ids.ravel().tolist()) == {0}
    nose = sequence.keypoints[:, 0, 0]
    assert np.abs(nose - [[222 + 2 * n, 125] for n in range(6)]).max() < 12, "the astronaut's nose"
    maps, overlays = frames_of(tmp_path / "photo_kps.mp4"), frames_of(tmp_path / "photo_overlay.mp4")
    assert len(maps) == len(overlays) == 6
    original = frames_of(clip)
    for pose_map, overlay, image in zip(maps, overlays, original, strict=True):
        assert pose_map.any()
        black = ~pose_map.any(axis=2)
        assert np.abs(overlay[black].astype(int) - image[black]).mean() < 4, "it is for players, which lose a little"
        assert np.abs(overlay[~black].astype(int) - image[~black]).mean() > 40
    printed = capsys.readouterr()
    assert "preview" in printed.err
    assert "6 frames, 1 person" in printed.err
    purpose = "photo_kps.mp4 is for tools, without loss; to look at: photo_kps_play.mp4, photo_overlay.mp4"
    assert purpose in printed.err
    assert run("video", clip, "-o", tmp_path, "--overlay") == 0
    assert "kept: its files already exist" in capsys.readouterr().err


@pytest.mark.slow  # takes seconds
def test_videos_for_looking_play_and_the_one_for_tools_is_lossless(tmp_path: Path, clip: Path) -> None:
    with VideoWriter(tmp_path / "odd.mp4", (399, 511), Fraction(10)) as writer:
        for frame in frames_of(clip)[:2]:
            writer.write(np.ascontiguousarray(frame[:511, :399]))
    out = tmp_path / "out"
    assert run("video", tmp_path / "odd.mp4", "-o", out, "--overlay", "--compare") == 0
    kinds = {}
    for file in out.glob("*.mp4"):
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            kinds[file.name] = (stream.codec_context.name, stream.pix_fmt, stream.width, stream.height, stream.frames)
    assert kinds == {
        "odd_kps.mp4": ("h264", "gbrp", 399, 511, 2), "odd_kps_play.mp4": ("h264", "yuv420p", 400, 512, 2),
        "odd_overlay.mp4": ("h264", "yuv420p", 400, 512, 2), "odd_compare.mp4": ("h264", "yuv420p", 1198, 512, 2),
    }  # fmt: skip
    pose_map, copy = frames_of(out / "odd_kps.mp4")[0], frames_of(out / "odd_kps_play.mp4")[0]
    assert np.abs(copy[:511, :399].astype(int) - pose_map).mean() < 2
    strip, picture = frames_of(out / "odd_compare.mp4")[0], frames_of(tmp_path / "odd.mp4")[0]
    assert np.abs(strip[:511, :399].astype(int) - picture).mean() < 4
    assert np.abs(strip[:511, 798:1197].astype(int) - pose_map).mean() < 2


@pytest.mark.parametrize("codec", ["gif", "webm", "h264"])
def test_a_codec_that_plays_needs_no_copy(tmp_path: Path, codec: str, capsys: pytest.CaptureFixture) -> None:
    clip, out, end = small_video(tmp_path / "in" / "photo.mp4", 3), tmp_path / "out", {"h264": "mp4"}.get(codec, codec)
    made = ["photo.pose.npz", f"photo_kps.{end}", f"photo_overlay.{end}"]

    def printed(*more: object) -> str:
        options = ("--overlay", "--codec", codec, "--model", "preview", "--if-nobody", "full-image", *more)
        assert run("video", clip, "-o", out, *options) == 0
        assert names(out) == made
        return capsys.readouterr().err

    assert "done: 2 frames" in printed()
    assert "kept: its files already exist" in printed()
    for name in made[1:]:
        assert is_result(out / name) and read_mark(out / name) is not None
    (out / made[1]).write_bytes((out / made[1]).read_bytes()[:-9])
    assert f"drawn again from the keypoints: {made[1]}" in printed()
    assert f"drawn again from the keypoints: {made[1]}, {made[2]}" in printed("--line-width", 9)


def test_the_copy_can_be_left_out(tmp_path: Path, clip: Path) -> None:
    assert run("video", clip, "-o", tmp_path, "--no-playable", "--every", 5) == 0
    assert names(tmp_path) == ["photo.pose.npz", "photo_kps.mp4"]


def test_every_second_frame(tmp_path: Path, clip: Path) -> None:
    assert run("video", clip, "-o", tmp_path, "--every", 2, "--no-clean", "--model", "preview-body") == 0
    sequence = PoseSequence.load(tmp_path / "photo.pose.npz")
    assert sequence.meta["interpolated"].startswith("2 of 6 frames"), "0, 2, 4 and the last are estimated"
    middle = (sequence.keypoints[0] + sequence.keypoints[2]) / 2
    np.testing.assert_allclose(sequence.keypoints[1], middle, atol=1e-3)
    assert "clean" not in sequence.meta


def test_ctrl_c_leaves_what_is_done_and_says_how_to_go_on(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    show = Bar.show_people

    def interrupted(bar: Any, chunk: Any) -> None:
        show(bar, chunk)
        if chunk.state["next_frame"] == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Bar, "show_people", interrupted)
        assert run("video", clip, "-o", out, "--chunk", 2) == 130
    printed = capsys.readouterr().err
    assert f"finished frames in {out / 'photo.partial.pose.npz'}: 4" in printed
    assert "run the same command again" in printed
    assert len(PoseSequence.load(out / "photo.partial.pose.npz")) == 4
    assert run("video", clip, "-o", out, "--chunk", 2) == 0
    assert names(out) == ["photo.pose.npz", "photo_kps.mp4", "photo_kps_play.mp4"]
    assert run("video", clip, "-o", tmp_path / "whole", "--chunk", 2) == 0
    first, second = (PoseSequence.load(folder / "photo.pose.npz") for folder in (out, tmp_path / "whole"))
    assert first.keypoints.tobytes() == second.keypoints.tobytes()


def test_boxes_with_ids(tmp_path: Path, clip: Path) -> None:
    rows = [{"image_id": n, "bbox": [60, 0, 300, 512], "track_id": 9} for n in range(6)]
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps(rows))
    assert run("video", clip, "-o", tmp_path / "out", "--boxes", boxes, "--trust-ids") == 0
    sequence = PoseSequence.load(tmp_path / "out" / "photo.pose.npz")
    assert sequence.track_ids.tolist() == [[9]] * 6
    assert sequence.meta["boxes_from"] == "given"


@pytest.mark.slow
def test_a_folder_of_pictures_is_a_clip(tmp_path: Path) -> None:
    image = read_image(DATA / "astronaut.png")
    for n in (1, 2, 10):
        write_png(tmp_path / "my.frames" / f"frame{n}.png", image[:, 10 * n : 400 + 10 * n])
    assert run("video", tmp_path / "my.frames", "-o", tmp_path / "out", "--frame-rate", "12", "--codec", "ffv1") == 0
    assert names(tmp_path / "out") == ["my.frames.pose.npz", "my.frames_kps.mkv", "my.frames_kps_play.mp4"]
    sequence = PoseSequence.load(tmp_path / "out" / "my.frames.pose.npz")
    assert sequence.pts.tolist() == [0, 1 / 12, 2 / 12]
    assert np.abs(sequence.keypoints[:, 0, 0, 0] - [212, 202, 122]).max() < 12


def test_an_animated_picture_keeps_its_times(tmp_path: Path) -> None:
    image = Image.fromarray(read_image(DATA / "astronaut.png")).resize((256, 256))
    image.save(
        tmp_path / "a.gif", save_all=True, append_images=[image.rotate(n) for n in (2, 4, 6)],
        duration=[100, 300, 100, 100],
    )  # fmt: skip
    assert run("video", tmp_path / "a.gif", "-o", tmp_path / "out") == 0
    sequence = PoseSequence.load(tmp_path / "out" / "a.pose.npz")
    np.testing.assert_allclose(sequence.pts, [0, 0.1, 0.4, 0.5])
    with open_video(tmp_path / "out" / "a_kps.mp4") as video:
        np.testing.assert_allclose([frame.pts for frame in video.frames()], sequence.pts, atol=1e-3)


WRONG: dict[str, tuple[list[str], int, str]] = {
    "style": (["--style", "none"], 2, "style"),
    "boxes": (["--boxes", "missing.json"], 2, "missing.json"),
    "detector": (["--detector", "missing.onnx"], 1, "missing.onnx"),
}


@pytest.mark.parametrize(("options", "code", "word"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture, options: list[str], code: int, word: str
) -> None:
    assert run("video", clip, "-o", tmp_path / "out", *options) == code
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("sdpose video: ")
    assert word in line


def test_a_missing_video_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("video", tmp_path / "missing.mp4", "-o", tmp_path / "out") == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "missing.mp4" in line


def small_video(path: Path, shift: int, suffix: str = ".mp4") -> Path:
    """Two frames without a person."""
    frames = [np.full((48, 64, 3), 40 + shift + n, np.uint8) for n in range(2)]
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".gif":
        first, second = map(Image.fromarray, frames)
        first.save(path.with_suffix(".gif"), save_all=True, append_images=[second], duration=100)
        return path.with_suffix(".gif")
    return write(path, frames)


def test_two_videos_of_one_name_and_other_settings(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    card1, card2 = (small_video(tmp_path / f"card{n}" / "MVI.mp4", n) for n in (1, 2))
    gif = small_video(tmp_path / "card1" / "MVI", 5, ".gif")
    base = ["video", card1, "-o", tmp_path / "out", "--model", "preview-body"]
    assert run(*base) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    refused = [[*base, "--max-people", 1], [*base, "--detector", "full"], [*base, "--every", 2], [*base, "--no-clean"]]
    refused += [["video", other, *base[2:]] for other in (card2, gif)]
    capsys.readouterr()
    for words in refused:
        assert run(*words) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("sdpose video: ") and "MVI.pose.npz exists, but" in line and "--overwrite" in line
    assert run(*base, "--flip-test") == 0, "the preview has none"
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert run(*base, "--style", "musepose") == 0
    assert "drawn again from the keypoints: MVI_kps.mp4" in capsys.readouterr().err
    assert run("video", card2, *base[2:], "--overwrite") == 0
    assert run("video", card2, *base[2:]) == 0
    assert "kept: its files already exist" in capsys.readouterr().err


def test_videos_on_one_sheet(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "ChildRun", RunHere)
    small_video(tmp_path / "in" / "a" / "empty.mp4", 1)
    (tmp_path / "in" / "b.mp4").write_bytes(b"damaged")
    (tmp_path / "in" / "c.mp4").symlink_to(clip)
    base = ["batch", tmp_path / "in", "-r", "-o", tmp_path / "out", "--model", "preview", "--every", 5, "--no-playable"]
    for turn in range(2):
        assert run(*base, "--sheet") == 1
        page = (tmp_path / "out" / "sheet.html").read_text(encoding="utf-8")
        order = [page.index(f"<h2>{name}</h2>") for name in ("b", "a/empty", "c")]
        assert order == sorted(order) and page.count("data:image/webp") == 4, turn
        assert "shown is frame" in page and 'href="a/empty_kps.mp4"' in page
    assert "2 kept" in capsys.readouterr().err


def test_two_memory_cards_in_one_batch_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "ChildRun", RunHere)
    for card in (1, 2):
        small_video(tmp_path / f"card{card}" / "MVI.mp4", card)
    small_video(tmp_path / "card2" / "new.mp4", 3)
    base = ["-o", tmp_path / "out", "--model", "preview-body"]

    def lines() -> list[tuple[str, str]]:
        text = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
        return [(line["name"], line["status"]) for line in map(json.loads, text)]

    assert run("batch", tmp_path / "card1", *base) == 0
    assert run("batch", tmp_path / "card2", *base) == 1
    assert lines() == [("MVI", "failed"), ("new", "done")]
    assert "MVI.pose.npz exists, but it was made from another file" in capsys.readouterr().err
    assert run("batch", tmp_path / "card1", *base) == 0
    assert lines() == [("MVI", "kept")]
    assert run("batch", tmp_path / "card1", *base, "--every", 2) == 1
    assert run("batch", tmp_path / "card2", *base, "--overwrite") == 0
    assert lines() == [("MVI", "done"), ("new", "done")]


# --- its options ---------------------------------------------------------------------------------------------------


def parse(*options: str) -> argparse.Namespace:
    return build_parser().parse_args(["video", "a.mp4", "-o", "out", *options])


def test_without_options_the_defaults_hold() -> None:
    assert clip_options(parse()) == ClipOptions()


OPTIONS: dict[str, tuple[Callable[[ClipOptions], Any], Any]] = {
    "--every 3": (lambda o: o.every, 3),
    "--detect-every 4": (lambda o: o.detect_every, 4),
    "--chunk 5": (lambda o: o.chunk, 5),
    "--if-nobody full-image": (lambda o: o.if_nobody, "full-image"),
    "--lost 1.5 --remember 9": (lambda o: o.tracker, TrackerOptions(lost_seconds=1.5, remember_seconds=9)),
    "--no-cuts --trust-ids": (lambda o: o.tracker, TrackerOptions(cuts=False, trust_ids=True)),
    "--no-clean": (lambda o: o.clean, None),
    "--smooth 2": (lambda o: o.clean, CleanOptions(smooth=2)),
    "--smooth-hands 2 --smooth-face 3": (lambda o: o.clean, CleanOptions(smooth_hands=2, smooth_face=3)),
    "--no-smooth": (lambda o: o.clean, CleanOptions(smooth=0, smooth_hands=0, smooth_face=0)),
    "--causal": (lambda o: o.clean, CleanOptions(two_way=False)),
    "--fill-gaps 0": (lambda o: o.clean, CleanOptions(fill_gaps=0)),
    "--outliers 0": (lambda o: o.clean, CleanOptions(outliers=0)),
    "--hysteresis 0.1": (lambda o: o.clean, CleanOptions(hysteresis=0.1)),
    "--no-hysteresis": (lambda o: o.clean, CleanOptions(hysteresis=-1)),
    "--flip-repair 4": (lambda o: o.clean, CleanOptions(repair_flips=4)),
    "--no-flip-repair": (lambda o: o.clean, CleanOptions(repair_flips=0)),
    "--keep-hidden-faces": (lambda o: o.clean, CleanOptions(hide_faces=False)),
    "--threshold 0.5": (lambda o: (o.threshold, o.clean.threshold), (0.5, 0.5)),
    "--max-people 2": (lambda o: o.person, Selection(max_people=2)),
    "--size 512x768 --fit crop": (lambda o: (o.size, o.fit), ((512, 768), "crop")),
    "--style xinsir --parts body,hands": (lambda o: (o.style, o.parts), ("xinsir", ("body", "hands"))),
    "--codec h264 --overlay --overwrite": (lambda o: (o.codec, o.overlay, o.overwrite), ("h264", True, True)),
    "--frame-rate 30000/1001": (lambda o: o.frame_rate, Fraction(30000, 1001)),
    "--alpha-color 1,2,3": (lambda o: o.background, (1, 2, 3)),
}


@pytest.mark.parametrize(("text", "wanted"), OPTIONS.items(), ids=OPTIONS)
def test_every_option_arrives(text: str, wanted: tuple[Callable[[ClipOptions], Any], Any]) -> None:
    read, expected = wanted
    assert read(clip_options(parse(*text.split()))) == expected


@pytest.mark.parametrize(
    "text",
    ["--every 0", "--detect-every x", "--smooth -1", "--fill-gaps -1", "--frame-rate 1/0", "--lost nan"],
)
def test_values_that_cannot_be_are_refused(text: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as error:
        parse(*text.split())
    assert error.value.code == 2
    assert "expected" in capsys.readouterr().err


PEOPLE: dict[str, Selection] = {
    "--person largest": Selection("largest"),
    "--person best:1": Selection("best score", number=1),
    "--person id:3": Selection("id", number=3),
    "--person point:10,20.5": Selection("nearest point", point=(10, 20.5)),
    "--person mask:m.png": Selection("mask", mask="m.png"),
    "--person leftmost --max-people 2": Selection("leftmost", max_people=2),
}


@pytest.mark.parametrize(("text", "expected"), PEOPLE.items(), ids=PEOPLE)
def test_who_is_chosen_arrives(text: str, expected: Selection) -> None:
    assert clip_options(parse(*text.split())).person == expected


def test_somebody_who_cannot_be_chosen(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        parse("--person", "tallest")
    assert "expected an id, largest" in capsys.readouterr().err


@pytest.mark.slow
def test_one_person_is_kept(tmp_path: Path, clip: Path) -> None:
    rows = [{"image_id": n, "bbox": [60 + 90 * k, 0, 300 - 90 * k, 512]} for n in range(6) for k in range(2)]
    (tmp_path / "boxes.json").write_text(json.dumps(rows))
    words = ["video", clip, "--boxes", tmp_path / "boxes.json", "-o"]
    assert run(*words, tmp_path / "all") == 0
    assert run(*words, tmp_path / "one", "--person", "largest") == 0
    everybody, one = (PoseSequence.load(tmp_path / out / "photo.pose.npz") for out in ("all", "one"))
    assert len(np.unique(everybody.track_ids)) == 2
    assert len(np.unique(one.track_ids)) == 1
    assert one.meta["clip_settings"]["person"]["by"] == "largest"


@pytest.mark.slow  # takes seconds
def test_an_id_that_is_not_there_is_told_and_what_was_finished_stays(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run("video", clip, "-o", tmp_path) == 0
    finished = (tmp_path / "photo.pose.npz").read_bytes()
    capsys.readouterr()
    assert run("video", clip, "-o", tmp_path, "--person", "7", "--overwrite") == 1
    assert "person 7 is not in the clip: it has 0" in capsys.readouterr().err
    assert (tmp_path / "photo.pose.npz").read_bytes() == finished


def test_the_detector_of_a_clip_shows_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_clip_detector(parse("--max-people", "1", "--min-size", "7"))
    assert (made.meta()["settings"]["max_people"], made.meta()["settings"]["min_size"]) == (None, 7)


# --- sdpose draw ---------------------------------------------------------------------------------------------------


@pytest.fixture
def sequence_file(tmp_path: Path) -> Path:
    points = np.linspace([10, 10], [50, 80], 17)
    frames = [Poses([points + 2 * n], np.ones((1, 17)), [[5, 5, 60, 90, 1]], (64, 96), "coco_17") for n in range(3)]
    path = tmp_path / "walk.pose.npz"
    PoseSequence.from_poses(frames, frame_rate=Fraction(25), meta={"model": "by hand"}).save(path)
    return path


def test_draw_beside_the_sequence(sequence_file: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("draw", sequence_file) == 0
    video = sequence_file.with_name("walk_kps.mp4")
    assert capsys.readouterr().out.strip() == str(video)
    assert len(frames_of(video)) == 3
    assert run("draw", sequence_file) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run("draw", sequence_file, "--overwrite", "--size", "128x128") == 0
    assert frames_of(video)[0].shape == (128, 128, 3)
    assert run("draw", sequence_file, "--style", "xinsir") == 0
    assert len(frames_of(sequence_file.with_name("walk_xinsir.mp4"))) == 3


def test_draw_into_a_folder_on_a_background(sequence_file: Path, tmp_path: Path) -> None:
    for n in range(3):
        write_png(tmp_path / "frames" / f"{n}.png", np.full((96, 64, 3), 10 + n, np.uint8))
    assert run("draw", sequence_file, "-o", tmp_path / "maps", "--background", tmp_path / "frames") == 0
    assert names(tmp_path / "maps") == ["000000.png", "000001.png", "000002.png"]
    assert read_image(tmp_path / "maps" / "000002.png")[0, 0].tolist() == [12, 12, 12]


def test_draw_says_what_does_not_fit(sequence_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_png(tmp_path / "frames" / "0.png", np.full((64, 96, 3), 10, np.uint8))
    assert run("draw", sequence_file, "-o", tmp_path / "a.mp4", "--background", tmp_path / "frames") == 0
    told = capsys.readouterr().err
    assert "note: the background is 96 x 64, the poses are of 64 x 96, another shape" in told
    assert "note: the background ends after frame 0: the other 2 frames are drawn on black" in told
    assert run("draw", sequence_file, "-o", tmp_path / "b.mp4", "--background", tmp_path / "frames" / "0.png") == 0
    assert "black:" not in capsys.readouterr().err
    assert [int(frame[48, 2].mean()) for frame in frames_of(tmp_path / "b.mp4")] == [10, 10, 10]


def test_draw_writes_what_the_name_says(
    sequence_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:  # fmt: skip
    still = tmp_path / "still.png"
    write_png(still, np.full((96, 64, 3), 90, np.uint8))
    for out in ("a.gif", "a.webm", "a.mkv", "a.mp4"):
        assert run("draw", sequence_file, "-o", tmp_path / out) == 0
        assert capsys.readouterr().out.strip() == str(tmp_path / out)
        assert len(frames_of(tmp_path / out)) == 3
    assert names(tmp_path) == ["a.gif", "a.mkv", "a.mp4", "a.webm", "a_play.mp4", "still.png", "walk.pose.npz"]
    assert run("draw", sequence_file, "-o", tmp_path / "b.mp4", "--no-playable", "--line-width", 2) == 0
    assert not (tmp_path / "b_play.mp4").exists()
    assert run("draw", sequence_file, "-o", tmp_path / "c.mp4", "--background", still, "--compare") == 0
    assert frames_of(tmp_path / "c.mp4")[0].shape == (96, 192, 3)
    assert not (tmp_path / "c_play.mp4").exists(), "it is for looking itself"
    assert run("draw", sequence_file, "-o", tmp_path / "d.mp4", "--compare") == 1
    assert "name it with --background" in capsys.readouterr().err
    assert run("draw", sequence_file, "-o", tmp_path / "a.avi") == 1
    assert "a video cannot end in '.avi'" in capsys.readouterr().err


def test_drawings_say_from_what_they_were_drawn(sequence_file: Path, tmp_path: Path) -> None:
    one = PoseSequence.load(sequence_file).frame(0)
    one.save(tmp_path / "one.pose.npz")
    digests = {name: file_identity(tmp_path / f"{name}.pose.npz")["sha256"] for name in ("walk", "one")}
    for name, out in (("walk", "a.mp4"), ("walk", "a.mkv"), ("walk", "maps"), ("one", "a.png")):
        codec = ["--codec", "ffv1"] if out.endswith("mkv") else []
        assert run("draw", tmp_path / f"{name}.pose.npz", "-o", tmp_path / out, "--style", "musepose", *codec) == 0
        mark = read_mark(tmp_path / out / "000002.png" if out == "maps" else tmp_path / out)
        assert mark is not None
        assert (mark["poses"], mark["drawing"]["style"]) == (digests[name], "musepose")


def test_a_folder_of_a_longer_sequence_keeps_no_frame_of_it(
    sequence_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    maps, longer = tmp_path / "maps", PoseSequence.load(sequence_file)
    PoseSequence.from_poses(longer.frames()[:2], frame_rate=longer.frame_rate).save(tmp_path / "short.pose.npz")
    assert run("draw", sequence_file, "-o", maps) == 0
    assert run("draw", tmp_path / "short.pose.npz", "-o", maps) == 1
    assert len(names(maps)) == 3
    assert run("draw", tmp_path / "short.pose.npz", "-o", maps, "--overwrite") == 0
    assert names(maps) == ["000000.png", "000001.png"]


@pytest.mark.parametrize("name", ["000000.png", "000009.png", "photo.jpg", "notes.txt"])
def test_a_folder_with_files_of_others_is_not_replaced(
    sequence_file: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture
) -> None:
    maps = tmp_path / "maps"
    assert run("draw", sequence_file, "-o", maps) == 0
    write_png(tmp_path / "own.png", np.zeros((9, 9, 3), np.uint8))
    (tmp_path / "own.png").replace(maps / name)
    before = {file: file.read_bytes() for file in maps.iterdir()}
    capsys.readouterr()
    assert run("draw", sequence_file, "-o", maps, "--overwrite", "--style", "dwpose") == 1
    assert (
        f"holds '{name}', which does not belong to an exported folder: nothing was removed" in capsys.readouterr().err
    )
    assert {file: file.read_bytes() for file in maps.iterdir()} == before


# --- sdpose info ---------------------------------------------------------------------------------------------------


def test_info_of_a_sequence(sequence_file: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("info", sequence_file, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["frames"], found["seconds"], found["size"], found["frame_rate"]) == (3, 0.12, [64, 96], "25")
    assert (found["keypoint_set"], found["points"], found["meta"]["model"]) == ("coco_17", 17, "by hand")
    assert found["people"] == [{"id": 0, "frames": 3, "first_frame": 0, "last_frame": 2, "mean_score": 1.0}]
    assert run("info", sequence_file) == 0
    text = capsys.readouterr().out
    for line in ("size: 64 x 96", "people: 1", "  id 0: 3 frames (0 to 2), mean score 1.0", "  model: by hand"):
        assert line in text.splitlines()


def test_info_of_a_video(clip: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("info", clip, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["size"], found["frame_rate"]) == ("video", [400, 512], "24000/1001")
    assert found["frames_stated"] in (6, None)


def test_info_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "a.npz").write_bytes(b"no")
    assert run("info", tmp_path / "a.npz") == 1
    assert "a.npz" in capsys.readouterr().err


# --- real clips ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("name", "people", "every"), [("dancer", 1, 3), ("busker", 3, 1)])
def test_real_clips(tmp_path: Path, name: str, people: int, every: int) -> None:
    source = VIDEOS / f"{name}.mp4"
    if not source.exists():
        pytest.skip(f"{source} is not here")
    assert run("video", source, "-o", tmp_path, "--model", "preview-body", "--every", every) == 0
    sequence = PoseSequence.load(tmp_path / f"{name}.pose.npz")
    assert (len(sequence), len(frames_of(tmp_path / f"{name}_kps.mp4"))) == (45, 45)
    assert len(np.unique(sequence.track_ids[sequence.track_ids >= 0])) >= people
    assert (sequence.track_ids == 0).any(axis=1).all(), "the leading figure keeps the id 0"
