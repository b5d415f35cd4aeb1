"""The nodes for driving videos over the small stand-in for ComfyUI, with the preview on a real clip."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from node_schemas import defaults
from paths import DATA

pytestmark = pytest.mark.usefixtures("remembered_networks")

DANCER = DATA / "dancer.mp4"
RATE = Fraction(16)


@pytest.fixture(scope="module")
def clip(inside: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 16 frames of the dancer: one second."""
    path = tmp_path_factory.mktemp("clip") / "dancer.mp4"
    writer = inside("sdpose_core.video.writer").VideoWriter(path, (350, 350), RATE)
    with inside("sdpose_core.video.opening").open_video(DANCER) as source, writer:
        for frame, _ in zip(source.frames(), range(16), strict=False):
            writer.write(frame.image)
    return path


@pytest.fixture(scope="module")
def image(inside: Any, clip: Path) -> torch.Tensor:
    """(12, 350, 350, 3) the first frames of the clip."""
    with inside("sdpose_core.video.opening").open_video(clip) as source:
        frames = [frame.image for frame, _ in zip(source.frames(), range(12), strict=False)]
    return torch.from_numpy(np.stack(frames)).float() / 255


@pytest.fixture
def video(nodes: dict[str, type]) -> Any:
    """Makes a VIDEO of a file, as Load Video does."""
    from comfy_api.latest import InputImpl

    return InputImpl.VideoFromFile


@pytest.fixture(scope="module")
def sequence(nodes: dict[str, type], image: torch.Tensor) -> Any:
    node = nodes["SDPoseAnnotatorAnimateAnyone"]
    return node.execute(**{**defaults(node), "image": image, "frame_rate": 16.0}).args[2]


def moved(sequence: Any, way: float) -> list:
    """Its frames with everybody twice, the second person `way` pixels to the right, in an order that changes."""
    result = []
    for number, frame in enumerate(sequence.frames()):
        pair = np.concatenate([frame.keypoints, frame.keypoints + [way, 0]])
        boxes = np.concatenate([frame.boxes, frame.boxes + [way, 0, way, 0, 0]])
        order = [0, 1] if number % 2 else [1, 0]
        kind = type(frame)
        result.append(kind(pair[order], np.tile(frame.scores, (2, 1)), boxes[order], (900, 350), frame.keypoint_set))
    return result


# --- AnimateAnyone ---------------------------------------------------------------------------------------------------


def test_animate_anyone_gives_one_map_per_frame_in_its_size(run: Any, image: torch.Tensor) -> None:
    maps, pose_video, sequence, rate, info = run("AnimateAnyone", image=image, frame_rate=16.0)
    assert maps.shape == (12, 512, 512, 3)
    assert len(sequence) == 12 and sequence.frame_rate == RATE and rate == 16.0
    assert pose_video.get_components().frame_rate == RATE
    assert all(frame.any() for frame in maps), "the dancer is in every frame"
    assert info.startswith("Preview, not SDPose") and "MoveNet" in info


@pytest.mark.slow
def test_animate_anyone_says_the_same_of_frames_and_of_the_video(
    run: Any, video: Any, clip: Path, image: torch.Tensor
) -> None:
    of_video = run("AnimateAnyone", video=video(str(clip), duration=12 / 16))
    of_frames = run("AnimateAnyone", image=image, frame_rate=16.0)
    np.testing.assert_array_equal(of_video[2].keypoints, of_frames[2].keypoints)
    assert torch.equal(of_video[0], of_frames[0])


def test_a_frame_without_the_person_is_black(run: Any, image: torch.Tensor) -> None:
    """AnimateAnyone's own tool stops there."""
    gone = image.clone()
    gone[5:] = 0
    maps, _, sequence, _, _ = run("AnimateAnyone", image=gone, smooth=False, detector="yolox (embedded)")
    assert len(maps) == 12
    assert maps[4].any() and not maps[5:].any()
    assert (sequence.track_ids[5:] == -1).all()


@pytest.mark.parametrize("inputs", ["none", "both"])
def test_either_frames_or_a_video(
    run: Any, input_error: type[Exception], image: torch.Tensor, video: Any, inputs: str
) -> None:
    given = {"image": image, "video": video(str(DANCER))} if inputs == "both" else {}
    with pytest.raises(input_error, match="connect either image or video"):
        run("AnimateAnyone", **given)


# --- over time -------------------------------------------------------------------------------------------------------


def test_tracking_keeps_people_apart_whose_order_changes(run: Any, sequence: Any) -> None:
    tracked, keypoints, info = run("Track", poses=moved(sequence, 400), frame_rate=16.0)
    left = [tracked.frame(t).select(tracked.frame(t).track_ids == 0).boxes[0, 0] for t in range(12)]
    assert len(set(tracked.track_ids.ravel().tolist())) == 2
    assert np.ptp(left) < 200, "one id jumps between the two"
    assert tracked.frame_rate == RATE
    assert [len(frame["people"]) for frame in keypoints] == [2] * 12
    assert "2 people" in info


def test_ids_can_be_taken_as_they_come(run: Any, sequence: Any) -> None:
    frames = [SimpleNamespace(**vars(frame)) for frame in moved(sequence, 400)]
    kind = type(sequence.frame(0))
    frames = [
        kind(f.keypoints, f.scores, f.boxes, f.size, f.keypoint_set, np.array([7, 3] if n % 2 else [3, 7]))
        for n, f in enumerate(frames)
    ]
    tracked, _, _ = run("Track", poses=frames, keep_ids=True)
    assert sorted(set(tracked.track_ids.ravel().tolist())) == [3, 7]


@pytest.mark.parametrize(
    ("given", "rate"),
    [(29.97, Fraction(30000, 1001)), (23.976, Fraction(24000, 1001)), (59.94, Fraction(60000, 1001)),
     (25.0, Fraction(25)), (12.5, Fraction(25, 2)), (0.0, None), (29.970029830932617, Fraction(30000, 1001))],
)  # fmt: skip
def test_rates_that_travel_as_floats(inside: Any, given: float, rate: Fraction | None) -> None:
    assert inside("nodes.sockets.sequence").rate_from_socket(given) == rate


def test_smoothing_calms_and_can_be_switched_off(run: Any, inside: Any, sequence: Any) -> None:
    rng = np.random.default_rng(0)
    shaking = type(sequence)(
        **{**vars(sequence), "keypoints": sequence.keypoints + rng.normal(0, 3, sequence.keypoints.shape)}
    )
    smoothed, _, _ = run("Smooth", sequence=shaking)
    off = {"body_hz": 0.0, "hands_hz": 0.0, "face_hz": 0.0, "fill_gaps": 0, "repair_flips": 0, "outliers": 0.0}
    same, _, _ = run("Smooth", sequence=shaking, **off, threshold=0.0, hysteresis=0.0, hide_faces=False)
    np.testing.assert_array_equal(same.keypoints, shaking.keypoints)

    def jerk(clip: Any) -> float:
        return float(np.nanmean(np.abs(np.diff(clip.keypoints, n=2, axis=0))))

    assert jerk(smoothed) < 0.5 * jerk(shaking)
    np.testing.assert_array_equal(smoothed.scores, shaking.scores)


def test_frames_of_poses_become_a_sequence(run: Any, sequence: Any) -> None:
    smoothed, _, info = run("Smooth", sequence=sequence.frames(), frame_rate=16.0)
    assert smoothed.frame_rate == RATE
    assert "tracked without images" in info


def test_what_was_decided_along_time_is_drawn_whatever_the_threshold(run: Any, sequence: Any) -> None:
    """Else limbs would blink again."""
    smoothed, _, _ = run("Smooth", sequence=sequence)
    low, high = (run("Draw", poses=smoothed, threshold=threshold)[0] for threshold in (0.1, 0.9))
    assert torch.equal(low, high)


def test_retargeting_gives_the_reference_its_size(run: Any, sequence: Any) -> None:
    reference = sequence.frame(0)
    fitted, _, _ = run("Retarget", sequence=sequence, reference=[reference])
    np.testing.assert_allclose(fitted.keypoints[0], sequence.keypoints[0], atol=1e-3)
    double = type(reference)(
        reference.keypoints * 2, reference.scores, reference.boxes * [2, 2, 2, 2, 1], (700, 700), reference.keypoint_set
    )
    larger, keypoints, _ = run("Retarget", sequence=sequence, reference=[double])
    assert larger.size == (700, 700) and keypoints[0]["canvas_width"] == 700
    np.testing.assert_allclose(larger.keypoints[0], sequence.keypoints[0] * 2, atol=0.5)


def as_keypoints(poses: Any) -> list[dict[str, Any]]:
    """POSE_KEYPOINT without a canvas."""
    points = np.c_[poses.keypoints[0], poses.scores[0]].ravel().tolist()
    return [{"people": [{"pose_keypoints_2d": points}]}]


def test_retargeting_says_what_leaves_the_canvas_and_extends_it(run: Any, sequence: Any) -> None:
    away = np.linspace(0, -400, len(sequence))[:, None, None, None] * [1, 0]
    moving = replace(sequence, keypoints=sequence.keypoints + away)
    _, _, info = run("Retarget", sequence=moving, reference=[sequence.frame(0)])
    assert "lie outside the canvas" in info
    fitted, _, info = run("Retarget", sequence=moving, reference=[sequence.frame(0)], extend_canvas=True)
    assert "canvas extended to" in info and fitted.size[0] > sequence.size[0]
    assert (fitted.keypoints[fitted.scores >= 0.3] >= 0).all()


def test_a_reference_without_a_canvas_takes_the_nodes_own(
    run: Any, input_error: type[Exception], sequence: Any
) -> None:
    reference = as_keypoints(sequence.frame(0))
    with pytest.raises(input_error, match="set canvas_width and canvas_height to the size of the image"):
        run("Retarget", sequence=sequence, reference=reference)
    w, h = sequence.size
    fitted, _, _ = run("Retarget", sequence=sequence, reference=reference, canvas_width=w, canvas_height=h)
    np.testing.assert_allclose(fitted.keypoints[0], sequence.keypoints[0], atol=1e-2)


def test_face_crops(run: Any, input_error: type[Exception], image: torch.Tensor, sequence: Any) -> None:
    [faces], [boxes], info, ids = run("FaceCrops", image=image, sequence=sequence, size=128)
    assert ids == [0]
    assert faces.shape == (12, 128, 128, 3)
    assert [len(entry) for entry in boxes] == [0] * 2 + [1] * 10  # her face is above the picture at first
    assert all(entry[0]["width"] == pytest.approx(entry[0]["height"]) for entry in boxes[2:])
    assert "10 of 12 frames" in info
    with pytest.raises(input_error, match="connect the same frames"):
        run("FaceCrops", image=image[:5], sequence=sequence)


# --- files -----------------------------------------------------------------------------------------------------------


def test_annotate_video_writes_streams_and_loads_again(
    run: Any, inside: Any, base: Path, video: Any, clip: Path
) -> None:
    pose_video, sequence, preview, path, info = run("Video", video=video(str(clip)), folder="dance")
    assert Path(path) == base / "output" / "dance" / "dancer_00001.pose.npz"
    assert inside("sdpose_core.video.opening").frame_count(pose_video.get_stream_source()) == len(sequence) == 16
    assert preview.shape == (1, 350, 350, 3) and preview.any()
    assert "16 frames at 16 fps, 1 person\nID 0: 16 frames" in info
    loaded, _, _ = run("LoadSequence", file="dance/dancer_00001.pose.npz [output]")
    np.testing.assert_array_equal(loaded.keypoints, sequence.keypoints)
    assert loaded.frame_rate == RATE


@pytest.fixture
def short_clip(inside: Any, base: Path) -> Any:
    """Writes three frames of the dancer to a file in ComfyUI's input folder; another `turn` is another video."""

    def make(name: str, turn: int = 0) -> str:
        path = base / "input" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with inside("sdpose_core.video.opening").open_video(DANCER) as source:
            frames = [np.rot90(frame.image, turn).copy() for frame, _ in zip(source.frames(), range(3), strict=False)]
        with inside("sdpose_core.video.writer").VideoWriter(path, (350, 350), RATE) as writer:
            for frame in frames:
                writer.write(frame)
        return name

    return make


def names_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def forbidden(*_args: Any, **_settings: Any) -> Any:
    raise AssertionError("no model is needed")


def test_annotate_video_takes_a_path_and_keeps_what_is_finished(
    run: Any, base: Path, short_clip: Any, inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = {"path": short_clip("mine.mp4"), "folder": "kept", "smooth": False, "keep_finished": True}
    first = run("Video", **same)
    stamp = Path(first[3]).stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(inside("nodes.host.model").PreviewModel, "estimator", forbidden)
        again = run("Video", **same)
        drawn = run("Video", **same, style="musepose")
    assert (again[3], Path(again[3]).stat().st_mtime_ns) == (first[3], stamp)
    assert Path(drawn[3]).name == "mine_00002.pose.npz" and "drawn again from the keypoints" in drawn[4]
    for other in (again, drawn):
        np.testing.assert_array_equal(other[1].keypoints, first[1].keypoints)
    assert not torch.equal(drawn[2], first[2])
    assert Path(run("Video", **{**same, "max_people": 1})[3]).name == "mine_00003.pose.npz"


def test_two_nodes_and_a_rerun_write_files_of_their_own(run: Any, base: Path, short_clip: Any) -> None:
    out, name = base / "output" / "apart", short_clip("same.mp4")
    styles = ("controlnet", "musepose", "controlnet")
    results = [run("Video", path=name, folder="apart", smooth=False, style=style) for style in styles]
    assert [Path(result[3]).name for result in results] == [
        "same_00001.pose.npz", "same_00002.pose.npz", "same_00003.pose.npz",
    ]  # fmt: skip
    assert not torch.equal(results[0][2], results[1][2]) and torch.equal(results[0][2], results[2][2])
    assert len({result[0].get_stream_source() for result in results}) == 3
    assert len(names_of(out)) == 9, "poses, pose video and its copy"


def test_size_and_width_of_the_pose_video_and_its_copy(
    run: Any, base: Path, short_clip: Any, input_error: type[Exception]
) -> None:
    clip = {"path": short_clip("sized.mp4"), "folder": "sized"}
    with pytest.raises(input_error, match="both width and height"):
        run("Video", **clip, width=64)
    settings = {"width": 64, "height": 96, "fit": "stretch", "line_width": 3.0, "codec": "webm"}
    _, _, preview, _, info = run("Video", **clip, **settings)
    assert preview.shape == (1, 96, 64, 3)
    assert names_of(base / "output" / "sized") == ["sized_00001.pose.npz", "sized_00001_kps.webm"]
    assert "_kps_play" not in info
    info = run("Video", **clip, **settings | {"codec": "h264", "keep_finished": True})[4]
    assert names_of(base / "output" / "sized") == [
        "sized_00001.pose.npz",
        "sized_00001_kps.webm",
        "sized_00002.pose.npz",
        "sized_00002_kps.mp4",
        "sized_00002_kps_play.mp4",
    ]
    assert "sized_00002_kps_play.mp4 (to look at)" in info


@pytest.mark.slow
def test_two_videos_of_one_name_never_mix(run: Any, base: Path, short_clip: Any) -> None:
    paths = []
    for turn, keep in ((0, False), (1, False), (0, True), (1, True)):
        card = short_clip(f"card{turn}/MVI.mp4", turn)
        paths.append(Path(run("Video", path=card, folder="two", smooth=False, keep_finished=keep)[3]).name)
    assert paths == ["MVI_00001.pose.npz", "MVI_00002.pose.npz"] * 2
    assert len(names_of(base / "output" / "two")) == 6


def test_a_file_that_was_there_before_stays(run: Any, base: Path, short_clip: Any) -> None:
    out = base / "output" / "theirs"
    out.mkdir(parents=True)
    (out / "own_00001_kps.mp4").write_bytes(b"somebody's")
    path = run("Video", path=short_clip("own.mp4"), folder="theirs", smooth=False, keep_finished=True)[3]
    assert Path(path).name == "own_00002.pose.npz"
    assert (out / "own_00001_kps.mp4").read_bytes() == b"somebody's"


@pytest.mark.slow  # takes seconds
def test_a_cancelled_video_goes_on_where_it_was(
    run: Any, base: Path, clip: Path, inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(clip, base / "input" / "cancelled.mp4")
    undisturbed = run("Video", path="cancelled.mp4", folder="whole")[1]
    clip_inputs, seen = inside("nodes.clip_inputs"), []
    options = clip_inputs.clip_options
    monkeypatch.setattr(clip_inputs, "clip_options", lambda *a, **k: options(*a, **k, chunk=4))
    host = inside("nodes.host.progress")

    class Cancelled(Exception):
        pass

    def progress(self: Any, done: int, total: int | None = None) -> None:
        seen.append(done)
        if done > 10:
            raise Cancelled

    call = host.Progress.__call__
    monkeypatch.setattr(host.Progress, "__call__", progress)
    with pytest.raises(Cancelled):
        run("Video", path="cancelled.mp4", folder="stopped")
    monkeypatch.setattr(host.Progress, "__call__", lambda self, done, total=None: seen.append(done))
    seen.clear()
    resumed = run("Video", path="cancelled.mp4", folder="stopped")[1]
    monkeypatch.setattr(host.Progress, "__call__", call)
    assert seen[0] == 8, "it started over"
    np.testing.assert_array_equal(resumed.keypoints, undisturbed.keypoints)


def test_canceling_takes_effect_before_the_next_picture_is_looked_at(inside: Any) -> None:
    import comfy.model_management as management

    options = inside("sdpose_core.detection.people").DetectorOptions()
    detector = inside("nodes.clip_inputs").makers(None, None, "whole picture", options)[1]()
    image = np.zeros((40, 30, 3), np.uint8)
    management.interrupted = True
    with pytest.raises(management.InterruptProcessingException):
        detector.find(image)
    assert detector.find(image).boxes[:, :4].tolist() == [[0, 0, 30, 40]]


@pytest.mark.slow
def test_videos_in_memory_and_trimmed(run: Any, video: Any, clip: Path, image: torch.Tensor, base: Path) -> None:
    from comfy_api.latest import InputImpl, Types

    made = InputImpl.VideoFromComponents(Types.VideoComponents(images=image, audio=None, frame_rate=RATE))
    whole = run("Video", video=made, smooth=False)[1]
    trimmed = run("Video", video=video(str(clip), start_time=0.25, duration=0.5), smooth=False)[1]
    in_memory = run("Video", video=video(io.BytesIO(clip.read_bytes())), smooth=False)[1]
    assert (len(whole), len(trimmed), len(in_memory)) == (12, 8, 16)
    for start, part in ((0, whole), (4, trimmed)):
        same = in_memory.keypoints[start : start + len(part), 0]
        np.testing.assert_array_equal(part.keypoints[:, 0], same)
    assert not list((base / "temp").glob("sdpose_*")), "temporary files stay behind"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "connect a video or enter a file"),
        ({"path": "missing.mp4"}, r"missing\.mp4 does not exist"),
        ({"path": "text.mp4"}, "cannot be read as a video"),
        ({"path": "mine2.mp4", "folder": "../elsewhere"}, "lies outside"),
    ],
)
def test_wrong_videos_are_one_clear_message(
    run: Any, base: Path, input_error: type[Exception], inputs: dict, message: str
) -> None:
    (base / "input" / "text.mp4").write_text("no video")
    shutil.copy(DANCER, base / "input" / "mine2.mp4")
    with pytest.raises(input_error, match=message):
        run("Video", **inputs)


@pytest.mark.parametrize(
    "text",
    ["{}", '"{}"', "'{}'", " '{}' ", "~/it's [1].mp4", '"~/it\'s [1].mp4"', "sub\\it's [1].mp4", "sub/it's [1].mp4"],
)
def test_paths_as_people_paste_them(
    inside: Any, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    for name in ("HOME", "USERPROFILE", "SDPOSE_COMFYUI_FOLDERS"):
        monkeypatch.setenv(name, str(tmp_path))
    there = tmp_path / "it's [1].mp4", base / "input" / "sub" / "it's [1].mp4"
    for path in there:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert inside("nodes.host.input_paths").input_path(text.format(there[0])) == there["sub" in text]


def test_faces_and_tracks_of_poses_without_a_canvas(run: Any, input_error: type[Exception]) -> None:
    body = np.c_[np.linspace(5, 40, 18), np.linspace(9, 60, 18), np.ones(18)].ravel().tolist()
    poses, image = [{"people": [{"pose_keypoints_2d": body}]}] * 2, torch.zeros(2, 64, 48, 3)
    assert run("Track", poses=poses, image=image)[0].size == (48, 64)
    assert "ID 0: a face in 2 of 2 frames" in run("FaceCrops", sequence=poses, image=image, size=64)[2]
    with pytest.raises(input_error, match="connect the image"):
        run("Track", poses=poses)


@pytest.mark.parametrize("target", ["animate_anyone", "musepose", "wan", "openpose", "coco", "controlnet"])
def test_export_writes_into_a_folder_of_its_own(run: Any, base: Path, sequence: Any, target: str) -> None:
    first, info = run("Export", sequence=sequence, target=target, filename_prefix=f"ex/{target}")
    second, _ = run("Export", sequence=sequence, target=target, filename_prefix=f"ex/{target}")
    assert Path(first).parent == base / "output" / "ex"
    assert first != second
    for folder in (first, second):
        assert any(path.is_file() and path.stat().st_size for path in Path(folder).rglob("*"))
    assert Path(first).name in info


def test_export_knows_the_person_and_the_canvas(run: Any, inside: Any, sequence: Any) -> None:
    folder, _ = run("Export", sequence=sequence, target="controlnet", width=256, height=192)
    with inside("sdpose_core.video.opening").open_video(next(Path(folder).rglob("*.mp4"))) as source:
        assert source.info.size == (256, 192)
        assert source.info.frame_rate == RATE


def test_export_refuses_half_a_canvas(run: Any, input_error: type[Exception], sequence: Any) -> None:
    with pytest.raises(input_error, match="both width and height"):
        run("Export", sequence=sequence, target="controlnet", width=256)


def test_saved_poses_keep_ids_and_rate(run: Any, sequence: Any) -> None:
    (path,) = run("Save", poses=sequence, filename_prefix="saved/clip")
    assert type(sequence).load(path).frame_rate == RATE
    (text,) = run("Save", poses=sequence, filename_prefix="saved/clip", format="OpenPose JSON, one file")
    assert len(json.loads(Path(text).read_text())) == 12


def test_sequences_go_into_the_nodes_for_poses(run: Any, sequence: Any) -> None:
    assert len(run("SelectPerson", poses=sequence, by="id", number=0)[0]) == 12
    assert len(run("Filter", poses=sequence, hands=False)[0]) == 12
    assert run("Draw", poses=sequence)[0].shape == (12, 350, 350, 3)


def test_tracking_a_sequence_keeps_its_times(run: Any, sequence: Any) -> None:
    pts = np.arange(len(sequence)) / 10 + np.where(np.arange(len(sequence)) > 2, 60.0, 0)
    timed = replace(sequence, pts=pts, frame_rate=Fraction(10))
    tracked = run("Track", poses=timed)[0]
    assert (tracked.pts.tolist(), tracked.frame_rate) == (pts.tolist(), 10)
    assert run("Track", poses=timed, frame_rate=5.0)[0].frame_rate == 5


def test_a_trimmed_video_keeps_its_times(run: Any, video: Any, clip: Path, base: Path) -> None:
    """The recording pauses inside the part that is kept."""
    from sdpose_core.video.opening import open_video
    from sdpose_core.video.writer import VideoWriter

    with open_video(clip) as source:
        images = [frame.image for frame in source.frames()]
    pts = [number / 16 + (2.0 if number > 6 else 0) for number in range(len(images))]
    with VideoWriter(base / "paused.mp4", (images[0].shape[1], images[0].shape[0]), RATE, pts=pts) as writer:
        for image in images:
            writer.write(image)
    trimmed = run("Video", video=video(str(base / "paused.mp4"), start_time=0.25, duration=2.5), smooth=False)[1]
    assert np.diff(trimmed.pts).max() == pytest.approx(2 + 1 / 16, abs=0.001)
    assert (len(trimmed), trimmed.frame_rate) == (8, RATE)


def test_an_example_is_a_picture_and_a_video(run: Any, nodes: dict[str, type]) -> None:
    (entry,) = nodes["SDPoseAnnotatorExample"].define_schema().inputs
    for example in entry.settings["options"]:
        images, video = run("Example", example=example)
        assert images.ndim == 4 and images.shape[-1] == 3 and images.std() > 0.1
        assert len(images) == (45 if example.endswith(".mp4") else 1)
        source = video.get_stream_source() if example.endswith(".mp4") else None
        assert source is None or Path(source).name == example
