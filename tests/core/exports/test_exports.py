"""Every export is read back as the tool that takes it reads it; each test states the rule and where it was read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from paths import DATA, ROOT
from PIL import Image

from sdpose_core.cli.main import main
from sdpose_core.drawing.pose_maps import draw_poses
from sdpose_core.drawing.styles import STYLES
from sdpose_core.errors import InputError
from sdpose_core.exports.profile import ExportOptions
from sdpose_core.exports.targets import TARGETS, export
from sdpose_core.exports.timing import at_rate, frame_count, pose_at
from sdpose_core.inputs import is_result
from sdpose_core.openpose.reader import read_openpose_json
from sdpose_core.origins import OtherOrigin
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.sequences.cleaning import decide_visibility
from sdpose_core.sequences.selection import select_person

SIZE = (540, 960)
RATE = Fraction(30000, 1001)
FRAMES, NOBODY = 31, (10, 11, 12)
BEST, OTHER = 7, 3

BODY = np.array(
    [
        (0, -40), (6, -46), (-6, -46), (14, -44), (-14, -44), (25, -15), (-25, -15), (45, 20), (-45, 20), (50, 60),
        (-50, 60), (15, 70), (-15, 70), (18, 130), (-18, 130), (20, 190), (-20, 190), (30, 200), (26, 202), (18, 198),
        (-30, 200), (-26, 202), (-18, 198),
    ],
    np.float32,
)  # fmt: skip


def whole_body() -> np.ndarray:
    """(133, 2) a person around (0, 0): body, feet, a face of an 8 by 9 grid, hands of a 7 by 3 grid."""
    face = np.array([(x, y) for y in np.linspace(-50, -24, 9) for x in np.linspace(-12, 12, 8)][:68], np.float32)
    grid = np.array([(x, y) for y in (0, 4, 8) for x in range(-9, 10, 3)], np.float32)
    return np.concatenate([BODY, face, grid + (50, 62), grid + (-50, 62)])


def frame_of(people: dict[int, tuple[tuple[float, float], float]], size: tuple[int, int] = SIZE) -> Poses:
    """Poses of {id: (place, score)}."""
    if not people:
        return Poses.empty(size, "coco_wholebody_133")
    keypoints = np.stack([whole_body() + place for place, _ in people.values()])
    scores = np.stack([np.full(133, score) for _, score in people.values()])
    boxes = np.stack([[*points.min(0), *points.max(0), 0.9] for points in keypoints])
    return Poses(keypoints, scores, boxes, size, "coco_wholebody_133", np.array(list(people)))


@pytest.fixture(scope="module")
def clip() -> PoseSequence:
    """Two people, the second drawn better; nobody in three frames."""
    frames = [
        frame_of({} if t in NOBODY else {OTHER: ((120 + 4 * t, 300), 0.5), BEST: ((350, 420 + 3 * t), 0.8)})
        for t in range(FRAMES)
    ]
    return PoseSequence.from_poses(frames, frame_rate=RATE, meta={"source": "walk.mp4"})


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip's source: every frame a ramp in red and green, with its number in blue."""
    from sdpose_core.video.writer import VideoWriter

    path = tmp_path_factory.mktemp("source") / "walk.mp4"
    w, h = SIZE
    ramp = np.zeros((h, w, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.linspace(0, 255, w), np.linspace(0, 255, h)[:, None]
    with VideoWriter(path, SIZE, RATE, codec="lossless") as writer:
        for t in range(FRAMES):
            ramp[..., 2] = 8 * t
            writer.write(ramp)
    return path


def decoded(path: Path) -> tuple[np.ndarray, Fraction]:
    """All frames, RGB, and the average rate, through PyAV, as read_frames and get_fps of the AnimateAnyone family."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == "video")
        frames = [frame for packet in container.demux(stream) for frame in packet.decode()]
        return np.stack([frame.to_rgb().to_ndarray() for frame in frames]), stream.average_rate


def length_of(path: Path) -> tuple[int, Fraction]:
    """Number of frames and average rate, without decoding."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return sum(packet.size > 0 for packet in container.demux(stream)), stream.average_rate


def colour_at(picture: np.ndarray, point: np.ndarray) -> tuple[int, ...]:
    x, y = np.asarray(point).astype(int)
    return tuple(picture[y, x].tolist())


def only(clip: PoseSequence, person: int, t: int) -> Poses:
    return select_person(clip.frame(t), "id", person)


RIGHT_SHOULDER, SHOULDER_RGB = 6, (255, 170, 0)


# --- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "style", "one", "channels", "multiple", "frames", "rate"),
    [
        ("animate_anyone", "animate_anyone", True, "RGB", 64, "all", None),
        ("open_animate_anyone", "open_animate_anyone", False, "BGR", 1, "all", None),
        ("musepose", "musepose", True, "BGR", 2, "all", None),
        ("mimicmotion", "mimicmotion", True, "BGR", 64, "all", None),
        ("unianimate", "unianimate", True, "BGR", 1, "all", None),
        ("wan", "wan_animate", True, "RGB", 16, "4n+1", 16),
        ("openpose", None, False, "RGB", 1, "all", None),
        ("coco", None, False, "RGB", 1, "all", None),
        ("controlnet", "controlnet", False, "RGB", 1, "all", None),
        ("scail2", "controlnet", False, "RGB", 32, "81", None),
        ("ltx", "dwpose", False, "RGB", 1, "all", None),
        ("minimax_h3", "controlnet", False, "RGB", 1, "124", 24),
    ],
)
def test_the_table(target: str, style: str, one: bool, channels: str, multiple: int, frames: str, rate: int) -> None:
    profile = TARGETS[target]
    swapped = profile.style is not None and STYLES[profile.style].swap_red_blue
    assert (profile.style, profile.one_person, "BGR" if swapped else "RGB") == (style, one, channels)
    assert (profile.multiple, profile.frames, profile.frame_rate) == (multiple, frames, rate and Fraction(rate))
    assert profile.threshold == 0.3


def test_the_table_is_whole() -> None:
    assert len(TARGETS) == 12
    with pytest.raises(InputError, match="did you mean 'musepose'"):
        export(PoseSequence.from_poses([frame_of({})]), "musepos", Path())


def test_the_docs_list_every_target_and_what_it_writes() -> None:
    page = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")
    rows = {}
    for line in page.partition("## Exports")[2].partition("\n## ")[0].splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        rows.update({target.strip(): cells[1] for target in cells[0].split(",")} if len(cells) == 3 else {})
    for target, profile in TARGETS.items():
        expected = TARGETS["controlnet"].files if rows[target] == "as controlnet" else rows[target]
        assert expected.replace(" with src_pose", " src_pose") == profile.files


@pytest.mark.parametrize(
    ("target", "source", "canvas"),
    [
        ("animate_anyone", (540, 960), (512, 896)),  # round(960 * 512 / 540 / 64) * 64
        ("animate_anyone", (1920, 1080), (896, 512)),
        ("animate_anyone", (350, 350), (512, 512)),
        ("animate_anyone", (301, 517), (512, 896)),
        ("musepose", (540, 960), (768, 1366)),  # short side 768, even
        ("mimicmotion", (540, 960), (576, 1024)),
        ("mimicmotion", (960, 540), (1024, 576)),
        ("mimicmotion", (600, 600), (1024, 576)),  # the tool asks h > w
        ("unianimate", (960, 540), (512, 768)),
        ("wan", (1080, 1920), (720, 1280)),
        ("wan", (1920, 1080), (1280, 720)),
        ("wan", (350, 350), (960, 960)),
        ("scail2", (540, 960), (544, 960)),
        ("controlnet", (301, 517), (301, 517)),
    ],
)
def test_canvas(target: str, source: tuple[int, int], canvas: tuple[int, int]) -> None:
    assert TARGETS[target].canvas_size(source) == canvas


@pytest.mark.parametrize("source", [(1, 1000), (37, 91), (640, 480), (854, 480), (4096, 2160), (1000, 1)])
def test_canvas_of_an_area_stays_within_it(source: tuple[int, int]) -> None:
    w, h = TARGETS["wan"].canvas_size(source)
    assert w % 16 == h % 16 == 0 and 16 <= min(w, h) and w * h <= 1280 * 720


@pytest.mark.parametrize(
    ("rule", "available", "count"),
    [("all", 31, 31), ("77", 31, 77), ("77", 100, 77), ("4n+1", 1, 1), ("4n+1", 2, 5), ("4n+1", 5, 5), ("4n+1", 6, 9),
     ("76n+1", 78, 153), ("4n+1", 77, 77)],
)  # fmt: skip
def test_frame_count(rule: str, available: int, count: int) -> None:
    assert frame_count(rule, available) == count


@pytest.mark.parametrize("rule", ["", "0", "-3", "4n", "0n+1", "n+1", "some", "4n-1"])
def test_frame_count_refuses(rule: str) -> None:
    with pytest.raises(InputError, match="4n\\+1"):
        frame_count(rule, 10)


# --- time -----------------------------------------------------------------------------------------------------------


def moving(pts: np.ndarray, rate: Fraction) -> PoseSequence:
    """One person whose x is 1000 times the time."""
    frames = [frame_of({1: ((1000 * t, 50), 0.5)}) for t in pts - pts[0]]
    return PoseSequence.from_poses(frames, frame_rate=rate, pts=list(pts))


@pytest.mark.parametrize("pts", [np.arange(50) / 25 + 0.4, np.cumsum([0.04, 0.02, 0.06, 0.04] * 12)])
def test_resampling_follows_the_time_stamps(pts: np.ndarray) -> None:
    sequence = moving(pts, Fraction(25))
    timeline = at_rate(sequence, Fraction(16))
    # Wan2.2, wan/modules/animate/preprocess/process_pipepline.py: int(frames / rate * new rate) frames
    assert len(timeline) == int((pts[-1] - pts[0] + 0.04) * 16 + 1e-6)
    for number in range(len(timeline)):
        expected = whole_body() + (1000 * min(number / 16, pts[-1] - pts[0]), 50)
        np.testing.assert_allclose(pose_at(sequence, timeline, number).keypoints[0], expected, atol=0.02)


def test_resampling_takes_a_lone_point_or_person_from_the_nearest_frame() -> None:
    keypoints = np.full((4, 1, 133, 2), 10.0, np.float32)
    keypoints[1, 0, 5] = np.nan
    keypoints[2:] = 20
    sequence = PoseSequence.from_poses(
        [Poses(k, np.ones((1, 133)), np.zeros((1, 5)), SIZE, "coco_wholebody_133", [1]) for k in keypoints[:2]]
        + [Poses(k, np.ones((1, 133)), np.zeros((1, 5)), SIZE, "coco_wholebody_133", [2]) for k in keypoints[2:]],
        frame_rate=Fraction(10),
    )
    timeline = at_rate(sequence, Fraction(40))  # four moments per frame: at it, a quarter, half, three quarters
    points = [pose_at(sequence, timeline, n) for n in range(len(timeline))]
    assert [float(p.keypoints[0, 5, 0]) for p in points[:2]] == [10, 10]
    assert np.isnan(points[2].keypoints[0, 5]).all() and np.isnan(points[3].keypoints[0, 5]).all()
    assert [p.track_ids.tolist() for p in points[4:9]] == [[1], [1], [2], [2], [2]], "no mixing of two people"
    assert float(points[6].keypoints[0, 0, 0]) == 20


# --- Moore-AnimateAnyone ---------------------------------------------------------------------------------------------


def test_animate_anyone(clip: PoseSequence, video: Path, tmp_path: Path) -> None:
    """MooreThreads/Moore-AnimateAnyone, scripts/pose2vid.py: a name in _kps, all frames through PyAV, average rate as
    a Fraction. src/dwpose/__init__.py: the person of the highest mean body score, points above 0.3, a short side of 512
    with both sides rounded to 64. Its own tool fails where nobody is seen; ours writes black."""
    result = export(clip, "animate_anyone", tmp_path, video=video)
    path = tmp_path / "walk_kps.mp4"
    frames, rate = decoded(path)
    assert (len(frames), rate, frames.shape[1:]) == (FRAMES, RATE, (896, 512, 3))
    assert [t for t in range(FRAMES) if not frames[t].any()] == list(NOBODY)
    scale = np.array((512, 896)) / SIZE
    for t in (0, 30):
        shoulder = only(clip, BEST, t).keypoints[0, RIGHT_SHOULDER]
        assert colour_at(frames[t], shoulder * scale) == SHOULDER_RGB
        assert colour_at(frames[t], only(clip, OTHER, t).keypoints[0, RIGHT_SHOULDER] * scale) == (0, 0, 0)
    assert any("id 7, the best score" in note for note in result.notes)
    # src/dataset/dance_video.py: a list of pairs, as many frames in both
    [pair] = json.loads((tmp_path / "walk_meta.json").read_text())
    assert set(pair) == {"video_path", "kps_path"}
    assert length_of(Path(pair["video_path"])) == length_of(Path(pair["kps_path"]))


def test_lists_for_training_need_as_many_frames(clip: PoseSequence, video: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="31 frames and the pose video 30"):
        export(clip, "animate_anyone", tmp_path, video=video, options=ExportOptions(frames="30"))


@pytest.mark.parametrize("target", ["animate_anyone", "controlnet"])
def test_pose_videos_read_alike_in_opencv(clip: PoseSequence, target: str, tmp_path: Path) -> None:
    """cv2.VideoCapture (pose readers of ComfyUI packs) sees the frames and colours that PyAV sees."""
    [path] = export(clip, target, tmp_path).files
    capture = cv2.VideoCapture(str(path))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == FRAMES
    read = []
    while (frame := capture.read())[0]:
        read.append(frame[1][..., ::-1])
    assert np.array_equal(np.stack(read), decoded(path)[0])


def test_the_threshold_and_the_person_are_the_users(clip: PoseSequence, tmp_path: Path) -> None:
    faint = ExportOptions(person=OTHER, threshold=0.6)
    [path] = export(clip, "animate_anyone", tmp_path / "a", options=faint).files
    assert not decoded(path)[0].any(), "all scores of that person are 0.5"
    [path] = export(clip, "animate_anyone", tmp_path / "b", options=ExportOptions(person=OTHER)).files
    shoulder = only(clip, OTHER, 0).keypoints[0, RIGHT_SHOULDER] * np.array((512, 896)) / SIZE
    assert colour_at(decoded(path)[0][0], shoulder) == SHOULDER_RGB
    with pytest.raises(InputError, match="person 4: nobody.* the ids are 3, 7"):
        export(clip, "animate_anyone", tmp_path / "c", options=ExportOptions(person=4))


def test_what_cleaning_decided_is_what_is_drawn(clip: PoseSequence, tmp_path: Path) -> None:
    """Cleaning makes points NaN that are not to be seen; those it leaves are drawn, whatever their scores."""
    faint = replace(clip, scores=clip.scores * 0.3)
    decided = decide_visibility(faint, threshold=0.2, hysteresis=0.05)
    shoulder = only(clip, BEST, 0).keypoints[0, RIGHT_SHOULDER]
    for name, sequence, seen in (("faint", faint, False), ("decided", decided, True)):
        export(sequence, "controlnet", tmp_path, name=name, options=ExportOptions(frames="1"))
        picture = decoded(tmp_path / f"{name}_pose.mp4")[0][0]
        assert (colour_at(picture, shoulder) == SHOULDER_RGB) == seen
    assert not picture[:, :250].any(), "the other person has scores of 0.15"


# --- Open-AnimateAnyone ----------------------------------------------------------------------------------------------


def test_open_animate_anyone(clip: PoseSequence, tmp_path: Path) -> None:
    """guoqincode/Open-AnimateAnyone, data/dataset.py: NAME_dwpose.mp4, as many frames; DWPose/prepare_tiktok.py: the
    size of the picture, all people, RGB colours written as BGR."""
    export(clip, "open_animate_anyone", tmp_path)
    frames, rate = decoded(tmp_path / "walk_dwpose.mp4")
    assert (len(frames), rate, frames.shape[1:]) == (FRAMES, RATE, (960, 540, 3))
    for person in (BEST, OTHER):
        shoulder = only(clip, person, 5).keypoints[0, RIGHT_SHOULDER]
        assert colour_at(frames[5], shoulder) == SHOULDER_RGB[::-1]


# --- MusePose --------------------------------------------------------------------------------------------------------


def test_musepose(clip: PoseSequence, tmp_path: Path) -> None:
    """TMElyralab/MusePose, draw_dwpose.py: numpy.load(NAME.npy, allow_pickle=True).tolist(), of which draw_pose
    (pose/script/dwpose.py) takes bodies.candidate[:18], bodies.subset[:1], hands[:2], faces[:1], fractions of the
    picture, -1 unseen. The video has a short side of 768, no face, red and blue exchanged."""
    export(clip, "musepose", tmp_path)
    poses = np.load(tmp_path / "dwpose_keypoints" / "walk.npy", allow_pickle=True).tolist()
    assert isinstance(poses, list) and len(poses) == FRAMES
    for t in (0, 10):
        assert np.array(poses[t]["bodies"]["candidate"]).shape == (18, 2)
        assert np.array(poses[t]["bodies"]["subset"]).shape == (1, 18)
        assert np.array(poses[t]["hands"]).shape == (2, 21, 2)
        assert np.array(poses[t]["faces"]).shape == (1, 68, 2)
        everything = np.concatenate([np.array(poses[t]["hands"]).ravel(), np.array(poses[t]["faces"]).ravel()])
        assert (everything == -1).all() == (t in NOBODY)
    points = only(clip, BEST, 3).keypoints[0]
    body = np.array(poses[3]["bodies"]["candidate"])
    np.testing.assert_allclose(body[2] * SIZE, points[6], atol=1e-3)
    np.testing.assert_allclose(body[1] * SIZE, (points[5] + points[6]) / 2, atol=1e-3)
    np.testing.assert_allclose(np.array(poses[3]["hands"][0]) * SIZE, points[91:112], atol=1e-3, err_msg="left first")
    np.testing.assert_allclose(np.array(poses[3]["faces"][0]) * SIZE, points[23:91], atol=1e-3)
    assert poses[3]["bodies"]["subset"] == [list(range(18))] and poses[10]["bodies"]["subset"] == [[-1] * 18]
    frames, rate = decoded(tmp_path / "dwpose_without_face" / "walk.mp4")
    assert (len(frames), rate, frames.shape[1:]) == (FRAMES, RATE, (1366, 768, 3))
    shoulder = colour_at(frames[3], points[6] * np.array((768, 1366)) / SIZE)
    assert shoulder[2] > 200 and shoulder[0] < 60, "orange with red and blue exchanged"
    chin = colour_at(frames[3], points[88] * np.array((768, 1366)) / SIZE)
    assert max(chin) - min(chin) > 0 or max(chin) == 0, "no white dots of a face"


@pytest.mark.slow
def test_musepose_keypoints_name_no_module_of_numpy_2_alone(clip: PoseSequence, tmp_path: Path) -> None:
    """The tool's environment has numpy 1, which does not know numpy._core."""
    export(clip, "musepose", tmp_path)
    content = (tmp_path / "dwpose_keypoints" / "walk.npy").read_bytes()
    assert b"numpy._core" not in content and b"numpy.core.multiarray" in content


# --- MimicMotion -----------------------------------------------------------------------------------------------------


def test_mimicmotion(clip: PoseSequence, tmp_path: Path) -> None:
    """Tencent/MimicMotion, inference.py: float (1 + T, 3, H, W) in -1 to 1, the reference's pose first, 576 by 1024 for
    upright references, which are cut to that; mimicmotion/dwpose/util.py: RGB colours taken for BGR."""
    reference = frame_of({0: ((200, 300), 1.0)}, (576, 1024))
    short = ExportOptions(frames="3")
    [path] = export(clip, "mimicmotion", tmp_path, reference=reference, options=short).files
    tensor = np.load(path, allow_pickle=False)
    assert (tensor.shape, tensor.dtype) == ((4, 3, 1024, 576), np.float32)
    assert tensor.min() == -1 and tensor.max() <= 1
    pictures = ((tensor + 1) * 127.5).round().astype(np.uint8).transpose(0, 2, 3, 1)
    drawn = draw_poses(reference, style="mimicmotion")
    assert np.array_equal(pictures[0], drawn)
    placed = only(clip, BEST, 0).keypoints[0, RIGHT_SHOULDER] * 576 / 540
    red, _, blue = colour_at(pictures[1], placed)
    assert blue > 100 and red < 60


def test_mimicmotion_cuts_the_reference_and_pads_what_was_not_fitted_to_it(clip: PoseSequence, tmp_path: Path) -> None:
    reference = frame_of({0: ((400, 300), 1.0)}, (800, 1000))
    [path] = export(clip, "mimicmotion", tmp_path, reference=reference, options=ExportOptions(frames="1")).files
    tensor = np.load(path)
    red_or_blue = (tensor > -0.9).any(axis=1)
    columns = np.flatnonzero(red_or_blue[0].any(axis=0))
    middle = 288 + (400 - 400) * 1.024
    assert abs((columns[0] + columns[-1]) / 2 - middle) < 6, "cut left and right alike"
    assert abs(columns[-1] - columns[0] - (118 * 1.024 + 8)) < 8, "grown by 1024 / 1000"


# --- UniAnimate ------------------------------------------------------------------------------------------------------


def test_unianimate(clip: PoseSequence, tmp_path: Path) -> None:
    """ali-vilab/UniAnimate, tools/inferences/inference_unianimate_entrance.py: all files of the folder but ref_pose.jpg
    is a frame, in the order of names, opened as RGB; run_align_pose.py: 0000.jpg ..., 512 by 768, no face, limbs to
    the middle of the toes, RGB colours written as BGR; pictures are stretched to the same size."""
    reference = frame_of({0: ((300, 200), 1.0)}, (600, 600))
    export(clip, "unianimate", tmp_path, reference=reference)
    folder = tmp_path / "walk"
    listed = sorted(path.name for path in folder.iterdir())
    assert listed == [*(f"{t:04d}.jpg" for t in range(FRAMES)), "ref_pose.jpg"]
    pictures = {name: np.asarray(Image.open(folder / name)) for name in listed}
    assert {picture.shape for picture in pictures.values()} == {(768, 512, 3)}
    for name, poses in (("0005.jpg", only(clip, BEST, 5)), ("ref_pose.jpg", reference)):
        scale = np.array((512, 768)) / poses.size
        shoulder = colour_at(pictures[name], poses.keypoints[0, RIGHT_SHOULDER] * scale)
        assert np.abs(np.subtract(shoulder, SHOULDER_RGB[::-1])).max() < 40, "JPEG is not exact"
        toes = poses.keypoints[0, [17, 18]].mean(axis=0) * scale
        assert max(colour_at(pictures[name], toes)) > 150
    assert pictures["0010.jpg"].max() < 10


def test_names_sort_as_numbers_beyond_ten_thousand(tmp_path: Path) -> None:
    from sdpose_core.exports import unianimate

    written: list[str] = []

    class Long:
        timeline = range(10_001)

        def pose_maps(self) -> list[np.ndarray]:
            return [np.zeros((1, 1, 3), np.uint8)] * 10_001

        def pose_map(self, poses: object) -> np.ndarray:
            return np.zeros((1, 1, 3), np.uint8)

        def reference_poses(self) -> None:
            return None

        def mark(self) -> str:
            return ""

    original = unianimate._write_jpg
    unianimate._write_jpg = lambda path, rgb, mark: written.append(path.name)
    try:
        unianimate.write_folder(tmp_path / "long", Long())
    finally:
        unianimate._write_jpg = original
    assert written[:-1] == sorted(written[:-1]) and written[-2] == "10000.jpg"


# --- Wan-Animate -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wan(clip: PoseSequence, video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wan")
    export(clip, "wan", out, video=video, name="clip")
    return out / "clip_wan"


def test_wan_videos(wan: Path, clip: PoseSequence) -> None:
    """Wan-Video/Wan2.2, wan/animate.py: src_pose.mp4 and src_face.mp4 of one folder, all frames of both, faces 512 by
    512; clip_len is 4n+1; preprocess/utils.py: sides are multiples of 16, at most 1280x720 pixels."""
    frames, rate = decoded(wan / "src_pose.mp4")
    faces, face_rate = decoded(wan / "src_face.mp4")
    assert rate == face_rate == 16
    assert len(frames) == len(faces) == 17, "int(31 / 29.97 * 16) = 16, which is held to 4n+1"
    h, w = frames.shape[1:3]
    assert w % 16 == h % 16 == 0 and w * h <= 1280 * 720 and faces.shape[1:] == (512, 512, 3)
    t = 1 / 16 * float(RATE)
    before, after = (only(clip, BEST, int(t) + step).keypoints[0, RIGHT_SHOULDER] for step in (0, 1))
    between = before + (after - before) * (t - int(t))
    scale = min(w / 540, h / 960)
    placed = between * scale + (np.array((w, h)) - np.array(SIZE) * scale) / 2
    assert colour_at(frames[1], placed) == SHOULDER_RGB


def test_wan_faces_are_cut_from_the_frame_of_that_time(wan: Path, clip: PoseSequence) -> None:
    """The source is a ramp in red and green with the frame's number in blue."""
    faces, _ = decoded(wan / "src_face.mp4")
    for number in (0, 3, 9):
        t = round(number / 16 * float(RATE))
        face = only(clip, BEST, t).keypoints[0, 23:91]
        low, high = face.min(axis=0), face.max(axis=0)
        middle = (low + high) / 2 - (0, (high - low)[1] * (1.3**0.5 - 1) / 4)
        red, green, blue = faces[number, 256, 256].astype(float)
        assert abs(red - middle[0] / 539 * 255) < 5 and abs(green - middle[1] / 959 * 255) < 5
        assert abs(blue - 8 * t) < 8


def test_wan_metas(wan: Path, clip: PoseSequence) -> None:
    """Wan-Video/Wan2.2, wan/modules/animate/preprocess/pose2d_utils.py, AAPoseMeta.from_humanapi_meta, and
    kijai/ComfyUI-WanAnimatePreprocess, pose_utils: arrays (20, 3), (21, 3), (21, 3), (69, 3) by width, height; the
    20 are the mean of the 133 at [0,6,6,8,10,5,7,9,12,14,16,11,13,15,2,1,4,3,17,20] and [0,5,6,...,18,21], the face
    starts with point 22."""
    content = json.loads((wan / "pose_metas.json").read_text())
    assert len(content["pose_metas"]) == 17 and content["refer_pose_meta"] is None
    meta = {name: np.array(value) for name, value in content["pose_metas"][0].items()}
    size = (int(meta["width"]), int(meta["height"]))
    assert decoded(wan / "src_pose.mp4")[0].shape[1:3] == size[::-1], "drawn at width by height as they are"
    points = only(clip, BEST, 0).keypoints[0]
    scale = min(size[0] / 540, size[1] / 960)
    points = points * scale + (np.array(size) - np.array(SIZE) * scale) / 2
    first = [0, 6, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, 17, 20]
    second = [0, 5, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, 18, 21]
    expected = {
        "keypoints_body": (points[first] + points[second]) / 2,
        "keypoints_left_hand": points[91:112],
        "keypoints_right_hand": points[112:133],
        "keypoints_face": points[22:91],
    }
    for name, own in expected.items():
        np.testing.assert_allclose(meta[name][:, :2] * size, own, atol=2e-3, err_msg=name)
        assert (meta[name][:, 2] == 1).all()
    nobody = content["pose_metas"][6]
    assert not np.array(nobody["keypoints_body"]).any(), "frame 11 of the source"


def test_wan_without_a_video_has_a_black_face(clip: PoseSequence, tmp_path: Path) -> None:
    """Wan-Video/Wan2.2, wan/animate.py: its unconditional face is -1 throughout, that is black."""
    result = export(clip, "wan", tmp_path, options=ExportOptions(frames="5"))
    assert decoded(tmp_path / "walk_wan" / "src_face.mp4")[0].max() < 3
    assert any("face video is black" in note for note in result.notes)


def test_wan_takes_the_canvas_of_the_reference_picture(clip: PoseSequence, tmp_path: Path) -> None:
    """process_pipepline.py pads the pose onto the size of the reference picture and copies that as src_ref.png."""
    picture = tmp_path / "character.png"
    Image.fromarray(np.full((300, 400, 3), 90, np.uint8)).save(picture)
    export(clip, "wan", tmp_path, reference=picture, options=ExportOptions(frames="1"))
    folder = tmp_path / "walk_wan"
    assert cv2.imread(str(folder / "src_ref.png")).shape == (300, 400, 3)
    h, w = decoded(folder / "src_pose.mp4")[0].shape[1:3]
    assert abs(w / h - 4 / 3) < 0.03


@pytest.mark.slow  # takes seconds
def test_faces_come_from_the_poses_of_the_video(clip: PoseSequence, video: Path, tmp_path: Path) -> None:
    frames = [frame_of({BEST: ((200, 200), 0.8)}, (400, 400)) for _ in range(FRAMES)]
    fitted = PoseSequence.from_poses(frames, frame_rate=RATE)
    with pytest.raises(InputError, match="own poses as face poses"):
        export(fitted, "wan", tmp_path, video=video, name="a")
    with pytest.raises(InputError, match="own poses as face poses"):
        export(replace(clip, meta={"retarget": {}}), "wan", tmp_path, video=video, name="c")
    assert not (tmp_path / "c_wan").exists()
    export(fitted, "wan", tmp_path, video=video, name="b", faces=clip)
    red, green, _ = decoded(tmp_path / "b_wan" / "src_face.mp4")[0][0, 256, 256].astype(float)
    assert abs(red - 350 / 539 * 255) < 6 and abs(green - 382 / 959 * 255) < 6
    with pytest.raises(InputError, match="differ in frames: 1 and 31"):
        export(clip, "wan", tmp_path, video=video, faces=PoseSequence.from_poses([frame_of({})]))


# --- OpenPose, COCO, ControlNet ---------------------------------------------------------------------------------------


def test_openpose(clip: PoseSequence, tmp_path: Path) -> None:
    """CMU's program names NAME_000000000000_keypoints.json; the folder reads back frame by frame in order."""
    export(clip, "openpose", tmp_path)
    folder = tmp_path / "walk_openpose"
    assert sorted(path.name for path in folder.iterdir())[1] == "walk_000000000001_keypoints.json"
    frames = read_openpose_json(folder)
    assert [len(frame.people) for frame in frames] == [0 if t in NOBODY else 2 for t in range(FRAMES)]
    own = next(person for person in frames[4].people if person.person_id == BEST)
    np.testing.assert_allclose(own.body[2, :2], only(clip, BEST, 4).keypoints[0, RIGHT_SHOULDER])


def test_coco(clip: PoseSequence, tmp_path: Path) -> None:
    """cocodataset/cocoapi, loadRes and the keypoint evaluation: a list of image_id (known to the annotations),
    category_id, 17 x 3 keypoints and score; ids of annotations from 1. jin-s13/COCO-WholeBody: the other parts as
    foot_kpts, face_kpts, lefthand_kpts, righthand_kpts."""
    export(clip, "coco", tmp_path)
    results = json.loads((tmp_path / "walk_results.json").read_text())
    truth = json.loads((tmp_path / "walk_annotations.json").read_text())
    images = {image["id"]: image for image in truth["images"]}
    assert len(images) == FRAMES and {entry["image_id"] for entry in results} == set(images) - set(NOBODY)
    assert len(results) == len(truth["annotations"]) == 2 * (FRAMES - len(NOBODY))
    assert sorted(a["id"] for a in truth["annotations"]) == list(range(1, len(results) + 1))
    sizes = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
    for entry, annotation in zip(results, truth["annotations"], strict=True):
        for name, count in sizes.items():
            found, labeled = (np.array(e[name]).reshape(count, 3) for e in (entry, annotation))
            assert np.array_equal(found[:, :2], labeled[:, :2]) and (labeled[:, 2] == 2).all()
        assert entry["score"] == pytest.approx(found[0, 2])
        assert (annotation["num_keypoints"], annotation["iscrowd"]) == (17, 0)
        x, y, w, h = annotation["bbox"]
        points = np.array(annotation["keypoints"]).reshape(17, 3)
        assert (points[:, 0] >= x - 0.01).all() and (points[:, 1] <= y + h + 0.01).all() and annotation["area"] == w * h
    assert truth["categories"][0]["keypoints"][5] == "left_shoulder"
    assert [1, 2] in [sorted(link) for link in truth["categories"][0]["skeleton"]], "links count from 1"


def test_coco_labels_by_the_threshold(clip: PoseSequence, tmp_path: Path) -> None:
    export(clip, "coco", tmp_path, options=ExportOptions(threshold=0.6))
    truth = json.loads((tmp_path / "walk_annotations.json").read_text())
    by_track = {a["track_id"]: a for a in truth["annotations"]}
    assert by_track[BEST]["num_keypoints"] == 17 and by_track[OTHER]["num_keypoints"] == 0
    assert not by_track[OTHER]["face_valid"] and not any(by_track[OTHER]["keypoints"])


def coco_of(sequence: PoseSequence, out: Path, **options: Any) -> tuple[list[dict[str, Any]], str]:
    result = export(sequence, "coco", out, name="walk", options=ExportOptions(**options))
    return json.loads((out / "walk_annotations.json").read_text())["images"], " ".join(result.notes)


def test_coco_names_pictures_as_they_are_called(clip: PoseSequence, tmp_path: Path) -> None:
    names = [f"IMG_{3 * t}.jpg" for t in range(FRAMES)]
    images, notes = coco_of(replace(clip, meta={"frame_names": names}), tmp_path / "folder")
    assert [image["file_name"] for image in images] == names and not notes
    one = PoseSequence.from_poses([replace(clip.frame(0), meta={"source": "beach.jpg"})])
    images, notes = coco_of(one, tmp_path / "one")
    assert [image["file_name"] for image in images] == ["beach.jpg"] and not notes


def test_coco_says_that_names_are_made_up(clip: PoseSequence, tmp_path: Path) -> None:
    images, notes = coco_of(clip, tmp_path / "video")
    assert images[-1]["file_name"] == f"walk_{FRAMES - 1:06d}.png"
    assert f"walk_000000.png to walk_{FRAMES - 1:06d}.png: the sequence does not state file names" in notes
    names = [f"{t}.jpg" for t in range(FRAMES)]
    for number, (meta, options) in enumerate((
        ({"frame_names": names, "retarget": {}}, {}), ({"frame_names": names}, {"size": (320, 240)}),
    )):  # fmt: skip
        images, notes = coco_of(replace(clip, meta=meta), tmp_path / str(number), **options)
        assert images[0]["file_name"] == "walk_000000.png" and "fitted to another canvas" in notes
    _, notes = coco_of(replace(clip, meta={"frame_names": names[:3]}), tmp_path / "short")
    assert "does not state file names" in notes


def test_coco_ids_are_unique_where_frames_are_repeated(clip: PoseSequence, tmp_path: Path) -> None:
    images, _ = coco_of(clip, tmp_path, frame_rate=2 * RATE)
    assert len({image["id"] for image in images}) == len(images) > FRAMES
    assert len({image["file_name"] for image in images}) == len(images)


def test_controlnet_as_video_and_as_pictures(clip: PoseSequence, tmp_path: Path) -> None:
    """Video ControlNets and VACE take RGB frames in the style of the OpenPose ControlNets, all people, source size."""
    export(clip, "controlnet", tmp_path)
    export(clip, "controlnet", tmp_path, options=ExportOptions(codec="png"))
    frames, rate = decoded(tmp_path / "walk_pose.mp4")
    pictures = sorted((tmp_path / "walk_pose").iterdir())
    assert [p.name for p in pictures] == [f"{t:05d}.png" for t in range(FRAMES)]
    for t in (0, 10, 30):
        drawn = draw_poses(clip.frame(t))
        assert np.array_equal(frames[t], drawn) and np.array_equal(np.asarray(Image.open(pictures[t])), drawn)
    assert rate == RATE


@pytest.mark.slow
def test_profiles_of_video_models(clip: PoseSequence, tmp_path: Path) -> None:
    """SCAIL-2: canvas of multiples of 32, 81 frames, a pose video of half the size. MiniMax-H3: 124 frames at 24."""
    export(clip, "scail2", tmp_path / "s")
    frames, rate = decoded(tmp_path / "s" / "walk_pose.mp4")
    assert (frames.shape, rate) == ((81, 480, 272, 3), RATE)
    assert np.array_equal(frames[30], frames[80]) and not np.array_equal(frames[29], frames[30])
    export(clip, "minimax_h3", tmp_path / "m")
    assert length_of(tmp_path / "m" / "walk_pose.mp4") == (124, 24)
    with pytest.raises(InputError, match="multiples of 32"):
        export(clip, "scail2", tmp_path, options=ExportOptions(size=(500, 960)))


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_files_are_kept_or_replaced(clip: PoseSequence, target: str, tmp_path: Path) -> None:
    short = ExportOptions(frames="1")
    first = export(clip, target, tmp_path, options=short)
    assert first.files and not first.kept and all(path.exists() for path in first.files)
    before = {path: path.stat().st_mtime_ns for path in first.files}
    again = export(clip, target, tmp_path, options=short)
    assert again.kept == first.files and not again.files
    assert before == {path: path.stat().st_mtime_ns for path in first.files}
    replaced = export(clip, target, tmp_path, options=ExportOptions(frames="1", overwrite=True))
    assert replaced.files == first.files and not replaced.kept
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


@pytest.mark.parametrize("target", ["wan", "unianimate", "controlnet", "mimicmotion"])
def test_files_of_another_clip_are_neither_kept_nor_replaced(clip: PoseSequence, target: str, tmp_path: Path) -> None:
    short = ExportOptions(frames="1")
    [first, *_] = export(clip, target, tmp_path, options=short).files
    moved = replace(clip, keypoints=clip.keypoints + 5)
    with pytest.raises(OtherOrigin, match=f"{first.name} exists, but it is of other poses or settings"):
        export(moved, target, tmp_path, options=short)
    assert export(clip, target, tmp_path, options=short).kept[0] == first


def test_pictures_and_videos_are_no_inputs(clip: PoseSequence, tmp_path: Path) -> None:
    for target in ("animate_anyone", "unianimate", "wan"):
        export(clip, target, tmp_path, options=ExportOptions(frames="2"))
    export(clip, "controlnet", tmp_path, options=ExportOptions(frames="2", codec="png"))
    written = [path for path in tmp_path.rglob("*") if path.suffix in (".mp4", ".png", ".jpg")]
    assert len(written) == 8 and all(map(is_result, written))
    assert all(is_result(tmp_path / folder) for folder in ("walk", "walk_pose"))


@pytest.mark.parametrize("target", TARGETS)
def test_a_stopped_export_leaves_nothing(clip: PoseSequence, target: str, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int | None) -> None:
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        export(clip, target, tmp_path, options=ExportOptions(frames="5"), on_progress=stop)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_of_the_users_is_never_replaced(clip: PoseSequence, tmp_path: Path) -> None:
    (tmp_path / "walk").mkdir()
    (tmp_path / "walk" / "diary.txt").write_text("dear")
    with pytest.raises(InputError, match="does not belong to an exported folder"):
        export(clip, "unianimate", tmp_path, options=ExportOptions(overwrite=True))
    assert (tmp_path / "walk" / "diary.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("target", "codec", "folder", "name"),
    [
        ("unianimate", None, "walk", "0000.jpg"),
        ("controlnet", "png", "walk_pose", "00000.png"),
        ("openpose", None, "walk_openpose", "walk_000000000000_keypoints.json"),
    ],
)
def test_a_folder_with_files_of_the_users_under_our_names_is_never_replaced(
    clip: PoseSequence, tmp_path: Path, target: str, codec: str | None, folder: str, name: str
) -> None:
    options = ExportOptions(frames="2", codec=codec, overwrite=True)
    [written] = export(clip, target, tmp_path, options=options).files
    assert written.name == folder
    assert export(clip, target, tmp_path, options=options).files == [written], "one of ours is"
    own = (
        b'{"people": []}'
        if name.endswith("json")
        else cv2.imencode(Path(name).suffix, np.zeros((9, 9, 3)))[1].tobytes()
    )
    (written / name).write_bytes(own)
    before = {file: file.read_bytes() for file in written.iterdir()}
    with pytest.raises(InputError, match=f"holds '{name}', which does not belong to an exported folder"):
        export(clip, target, tmp_path, options=options)
    assert {file: file.read_bytes() for file in written.iterdir()} == before
    assert list(tmp_path.iterdir()) == [written]


def test_progress_counts_the_frames(clip: PoseSequence, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    export(clip, "animate_anyone", tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(t + 1, FRAMES) for t in range(FRAMES)]


@pytest.mark.parametrize(
    ("target", "wrong", "message"),
    [
        ("animate_anyone", {"size": (500, 512)}, "multiples of 64"),
        ("animate_anyone", {"codec": "png"}, "reads a video"),
        ("controlnet", {"fit": "tight"}, "pad, crop, stretch"),
        ("wan", {"frame_rate": Fraction(-1)}, "positive Fraction"),
        ("wan", {"frames": "few"}, "a number such as 77"),
    ],
)
def test_wrong_settings(clip: PoseSequence, target: str, wrong: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        export(clip, target, tmp_path, options=ExportOptions(**wrong))


def test_wrong_references(clip: PoseSequence, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sdpose retarget"):
        export(clip, "controlnet", tmp_path, reference=frame_of({0: ((9, 9), 1.0)}))
    with pytest.raises(InputError, match="as poses"):
        export(clip, "unianimate", tmp_path, reference=tmp_path / "character.png")


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(clip: PoseSequence, tmp_path: Path) -> Callable[..., int]:
    clip.save(tmp_path / "walk.pose.npz")
    return lambda *more: main(["export", str(tmp_path / "walk.pose.npz"), "-o", str(tmp_path / "out"), *more])


def test_the_command(saved: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert saved("--to", "animate_anyone", "--person", "3") == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / "walk_kps.mp4")]
    assert saved("--to", "animate_anyone") == 1
    assert "of other poses or settings: use --overwrite" in capsys.readouterr().err
    assert saved("--to", "animate_anyone", "--person", "3") == 0
    assert "kept" in capsys.readouterr().err
    assert saved("--to", "wan", "--frames", "37", "--frame-rate", "source", "--name", "one") == 0
    assert length_of(tmp_path / "out" / "one_wan" / "src_pose.mp4") == (37, RATE)
    assert "the last of 31 frames is repeated, to 37 frames" in capsys.readouterr().err


def test_the_help_says_what_each_target_wants(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    told = capsys.readouterr().out
    assert (
        "short side 512, multiples of 64" in told and "at most 921600 pixels, multiples of 16, 4n+1 frames, 16" in told
    )
    assert all(f"\n  {name}: {profile.tool} (" in told for name, profile in TARGETS.items())


def test_the_command_estimates_a_reference_picture(
    saved: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    picture = DATA / "astronaut.png"
    options = ["--to", "unianimate", "--frames", "1", "--model", "preview-body"]
    assert saved(*options, "--reference", str(picture)) == 0
    assert "preview" in capsys.readouterr().err
    assert np.asarray(Image.open(tmp_path / "out" / "walk" / "ref_pose.jpg")).max() > 100


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--to", "controlnet", "--size", "1x1", "--reference", "absent.pose.npz"], 2),
        (["--to", "animate_anyone", "--person", "99"], 1),
        (["--to", "wan", "--video", "absent.mp4"], 1),
    ],
)
def test_the_command_says_what_is_wrong(
    saved: Callable[..., int], options: list[str], code: int, capsys: pytest.CaptureFixture
) -> None:
    assert saved(*options) == code
    assert "Traceback" not in capsys.readouterr().err


# --- times -----------------------------------------------------------------------------------------------------------


def timed(pts: list[float], rate: Fraction | None) -> PoseSequence:
    """Somebody who moves 10 pixels per frame."""
    poses = [frame_of({BEST: ((200.0 + 10 * n, 300.0), 0.9)}) for n in range(len(pts))]
    return PoseSequence.from_poses(poses, frame_rate=rate, pts=pts)


def rate_and_frames(path: Path) -> tuple[Fraction, int]:
    with av.open(str(path)) as file:
        return Fraction(file.streams.video[0].average_rate), sum(1 for _ in file.decode(video=0))


def test_a_sequence_that_states_a_wrong_rate(tmp_path: Path) -> None:
    wrong = timed([0.04 * n for n in range(10)], Fraction(1000))
    result = export(wrong, "controlnet", tmp_path, name="a")
    assert rate_and_frames(result.files[0]) == (25, 10)
    assert result.notes == []
    result = export(wrong, "controlnet", tmp_path, name="b", options=ExportOptions(frame_rate=Fraction(50)))
    assert rate_and_frames(result.files[0]) == (50, 20)


def test_a_pause_in_an_export(tmp_path: Path) -> None:
    """One frame per frame says that it does not keep time; another rate keeps time, and the picture stands still."""
    pts = [0.04 * n + (2.0 if n >= 5 else 0) for n in range(10)]
    result = export(timed(pts, Fraction(4)), "controlnet", tmp_path, name="a")
    assert rate_and_frames(result.files[0]) == (25, 10)
    assert "will not keep time with the source" in result.notes[0]
    timeline = at_rate(timed(pts, Fraction(4)), Fraction(25))
    assert len(timeline) == 60
    places = [float(pose_at(timed(pts, Fraction(4)), timeline, n).keypoints[0, 0, 0]) for n in range(60)]
    assert set(places[4:55]) == {places[4]}
    assert places[55] == places[4] + 10


def test_times_without_a_rate(tmp_path: Path) -> None:
    result = export(timed([0.1 * n for n in range(6)], None), "controlnet", tmp_path, name="a")
    assert rate_and_frames(result.files[0]) == (10, 6)
    with pytest.raises(InputError, match="no times"):
        at_rate(timed([0.0] * 3, None), Fraction(10))


@pytest.mark.parametrize("pts", [[0, 0.04, 0.04], [0, 0.08, 0.04], [0, float("nan"), 0.08]])
def test_times_that_do_not_rise(tmp_path: Path, pts: list[float]) -> None:
    with pytest.raises(InputError, match="pts of the pose sequence"):
        export(timed(pts, Fraction(25)), "minimax_h3", tmp_path)
