"""Pose videos: one frame per frame of the sequence, at the size wanted, black where nobody is."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from moving_people import figure
from PIL import Image

from sdpose_core.drawing.backgrounds import open_background
from sdpose_core.drawing.canvas import place
from sdpose_core.drawing.pose_maps import draw_poses, overlay
from sdpose_core.drawing.sequence import draw_sequence, has_steady_rate
from sdpose_core.errors import InputError
from sdpose_core.images import read_image, write_png
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.video.frames import Frame
from sdpose_core.video.opening import open_video
from sdpose_core.video.writer import VideoWriter

SIZE = (80, 120)


def walking(count: int = 4, score: float = 0.9) -> PoseSequence:
    """Somebody in the first frames, nobody in the last."""
    frames = []
    for n in range(count):
        points = figure(30 + 4 * n, 110, 100, n / 8, 1)[None]
        poses = Poses(points, np.full((1, 17), score), [[10, 5, 70, 115, 1]], SIZE, "coco_17")
        frames.append(poses if n < count - 1 else poses.select([]))
    return PoseSequence.from_poses(frames, frame_rate=Fraction(24))


def video(path: Path) -> list[np.ndarray]:
    with open_video(path) as source:
        return [frame.image for frame in source.frames()]


def test_each_frame_is_the_pose_map_of_its_poses(tmp_path: Path) -> None:
    sequence, seen = walking(), []
    draw_sequence(sequence, tmp_path / "a.mp4", style="xinsir", on_progress=lambda *at: seen.append(at))
    frames = video(tmp_path / "a.mp4")
    assert len(frames) == 4
    for t, frame in enumerate(frames):
        np.testing.assert_array_equal(frame, draw_poses(sequence.frame(t), style="xinsir"))
    assert frames[0].any()
    assert not frames[3].any(), "black where nobody is"
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with open_video(tmp_path / "a.mp4") as source:
        assert source.info.frame_rate == 24


def test_another_size_is_drawn_not_resized(tmp_path: Path) -> None:
    sequence = walking()
    draw_sequence(sequence, tmp_path / "a.mp4", size=(240, 160), fit="pad")
    np.testing.assert_array_equal(
        video(tmp_path / "a.mp4")[0], draw_poses(place(sequence.frame(0), (240, 160), "pad"))
    )  # fmt: skip


def test_visibility_decided_along_time_is_drawn_whatever_the_score(tmp_path: Path) -> None:
    faint = walking(score=0.1)
    decided = replace(faint, meta={"visibility_decided": True})
    draw_sequence(faint, tmp_path / "faint", threshold=0.3)
    draw_sequence(decided, tmp_path / "decided", threshold=0.3)
    assert not read_image(tmp_path / "faint" / "000000.png").any()
    assert read_image(tmp_path / "decided" / "000000.png").any()


def test_a_folder_gets_a_picture_per_frame_named_by_its_number(tmp_path: Path) -> None:
    sequence = replace(walking(), frame_index=np.asarray([3, 4, 7, 8]))
    draw_sequence(sequence, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"00000{n}.png" for n in (3, 4, 7, 8)]


def test_a_folder_is_replaced_as_a_whole_also_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real", target_is_directory=True)
    draw_sequence(walking(), tmp_path / "out")
    draw_sequence(replace(walking(), frame_index=np.asarray([5, 6, 7, 8])), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "real").iterdir()) == [f"00000{n}.png" for n in (5, 6, 7, 8)]
    assert (tmp_path / "out").is_symlink() and len(list(tmp_path.iterdir())) == 2
    (tmp_path / "nowhere").symlink_to("nothing")
    with pytest.raises(InputError, match="is a link to nothing"):
        draw_sequence(walking(), tmp_path / "nowhere")


def test_a_picture_is_for_one_frame(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="4 frames"):
        draw_sequence(walking(), tmp_path / "a.png")
    one = PoseSequence.from_poses([walking().frame(0)])
    draw_sequence(one, tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), draw_poses(one.frame(0)))


def test_backgrounds_are_matched_by_frame_number(tmp_path: Path) -> None:
    sequence = replace(walking(), frame_index=np.asarray([1, 2, 4, 5]))
    grey = [Frame(n, n / 24, np.full((120, 80, 3), 40 * n, np.uint8)) for n in (0, 1, 2, 3, 5)]
    draw_sequence(sequence, tmp_path / "out", background=grey)
    corners = [int(read_image(tmp_path / "out" / f"00000{n}.png")[0, 0, 0]) for n in (1, 2, 4, 5)]
    assert corners == [40, 80, 0, 200], "frame 4 has no background"


@pytest.mark.parametrize(("fit", "inside"), [("pad", (80, 0)), ("crop", (0, 0)), ("stretch", (0, 0))])
def test_backgrounds_go_where_the_poses_go(tmp_path: Path, fit: str, inside: tuple[int, int]) -> None:
    """A white picture with a black spot under a joint: on the canvas the spot is under the joint as well."""
    joint = np.asarray([40, 60])
    image = np.full((120, 80, 3), 255, np.uint8)
    image[58:63, 38:43] = 0
    poses = Poses(np.full((1, 17, 2), np.nan), np.zeros((1, 17)), [[0, 0, 80, 120, 1]], SIZE, "coco_17")
    sequence = PoseSequence.from_poses([poses], frame_rate=Fraction(24))
    draw_sequence(sequence, tmp_path / "out", size=(240, 120), fit=fit, background=[Frame(0, 0.0, image)])
    drawn = read_image(tmp_path / "out" / "000000.png")
    marked = replace(poses, keypoints=np.full((1, 17, 2), joint + 0.5))
    x, y = place(marked, (240, 120), fit).keypoints[0, 0]
    rows, columns = np.nonzero(drawn[:, inside[0] : 240 - inside[0], 0] < 128)
    assert abs(columns.mean() + 0.5 + inside[0] - x) < 0.6
    assert abs(rows.mean() + 0.5 - y) < 0.6


def test_an_overlay_has_the_size_of_its_video(tmp_path: Path) -> None:
    background = [Frame(n, n / 24, np.full((120, 80, 3), 100, np.uint8)) for n in range(4)]
    draw_sequence(walking(), tmp_path / "out", background=background, view="overlay")
    first = read_image(tmp_path / "out" / "000000.png")
    assert (first[0, 0] == 100).all()
    assert (first != 100).any()
    with pytest.raises(InputError, match="view 'overlay' has the size"):
        draw_sequence(walking(), tmp_path / "b", background=background, view="overlay", size=(10, 10))


def test_a_comparison_is_picture_overlay_and_map(tmp_path: Path) -> None:
    background = [Frame(n, n / 24, np.full((120, 80, 3), 100, np.uint8)) for n in range(3)]
    draw_sequence(walking(), tmp_path / "a.mp4", background=background, view="compare")
    for number, (frame, drawn) in enumerate(zip(walking().frames(), video(tmp_path / "a.mp4"), strict=True)):
        picture = np.full((120, 80, 3), 100 if number < 3 else 0, np.uint8)  # the last one has no background
        np.testing.assert_array_equal(drawn, np.hstack([picture, overlay(picture, frame), draw_poses(frame)]))
    with pytest.raises(InputError, match="expected one of map, overlay, compare, got 'both'"):
        draw_sequence(walking(), tmp_path / "b", view="both")


def test_the_width_of_limbs_reaches_every_frame(tmp_path: Path) -> None:
    draw_sequence(walking(), tmp_path / "out", line_width=7)
    first = read_image(tmp_path / "out" / "000000.png")
    np.testing.assert_array_equal(first, draw_poses(walking().frame(0), line_width=7))
    assert (first != draw_poses(walking().frame(0))).any()


def test_a_constant_rate_is_told_from_a_changing_one() -> None:
    sequence = walking()
    assert has_steady_rate(sequence)
    assert has_steady_rate(replace(sequence, pts=sequence.pts + 3.2))
    assert has_steady_rate(replace(sequence, pts=sequence.pts + np.asarray([0, 0.004, -0.004, 0])))
    assert not has_steady_rate(replace(sequence, pts=np.asarray([0, 1 / 24, 4 / 24, 5 / 24])))


def test_times_of_a_changing_rate_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    times = np.asarray([0, 1 / 24, 4 / 24, 5 / 24])
    draw_sequence(replace(walking(), pts=times + 7), tmp_path / "a.mp4")
    with open_video(tmp_path / "a.mp4") as source:
        np.testing.assert_allclose([frame.pts for frame in source.frames()], times, atol=1e-3)
    draw_sequence(replace(walking(), pts=times[::-1].copy()), tmp_path / "b.mp4")
    assert "do not rise" in caplog.text
    with open_video(tmp_path / "b.mp4") as source:
        np.testing.assert_allclose([frame.pts for frame in source.frames()], np.arange(4) / 24, atol=1e-3)


def test_a_video_for_players_says_that_it_was_widened(tmp_path: Path) -> None:
    notes = draw_sequence(walking(), tmp_path / "a.mp4", codec="h264", size=(81, 121))
    assert notes == ["81 x 121 became 82 x 122: h264 needs even sides"]
    assert len(video(tmp_path / "a.mp4")) == 4


# --- backgrounds -----------------------------------------------------------------------------------------------------


def clip(path: Path, count: int, rate: Fraction = Fraction(24), size: tuple[int, int] = SIZE) -> Path:
    """Gray frames of 10 x (number + 1)."""
    with VideoWriter(path, size, rate) as writer:
        for number in range(count):
            writer.write(np.full((size[1], size[0], 3), 10 * (number + 1), np.uint8))
    return path


def drawn_on(background: Path, sequence: PoseSequence, out: Path) -> tuple[list[int], str]:
    """The gray in a corner of each frame, and the notes."""
    frames, notes = open_background(background, sequence)
    found = draw_sequence(sequence, out, background=frames)
    files = sorted(out.glob("*.png"))
    return [int(read_image(file)[1, 1, 0]) for file in files], "; ".join(notes + found)


def test_a_background_of_the_same_clip_needs_no_word(tmp_path: Path) -> None:
    assert drawn_on(clip(tmp_path / "v.mp4", 4), walking(), tmp_path / "out") == ([10, 20, 30, 40], "")


def test_a_shorter_background(tmp_path: Path) -> None:
    grays, notes = drawn_on(clip(tmp_path / "v.mp4", 2), walking(), tmp_path / "out")
    assert grays == [10, 20, 0, 0]
    assert notes == "the background ends after frame 1: the other 2 frames are drawn on black"


def test_a_longer_background(tmp_path: Path) -> None:
    grays, notes = drawn_on(clip(tmp_path / "v.mp4", 7), walking(), tmp_path / "out")
    assert grays == [10, 20, 30, 40]
    assert notes == "the background goes on after frame 3: the rest of it is not used"


@pytest.mark.parametrize(
    ("rate", "grays", "note"),
    [
        (Fraction(48), [10, 30, 50, 70], "matched by time"),
        (Fraction(12), [10, 10, 20, 20], "matched by time"),
        (Fraction(24000, 1001), [10, 20, 30, 40], "goes on"),
    ],
)
def test_a_background_of_another_rate(tmp_path: Path, rate: Fraction, grays: list[int], note: str) -> None:
    found, notes = drawn_on(clip(tmp_path / "v.mp4", 8, rate), walking(), tmp_path / "out")
    assert found == grays
    assert note in notes


@pytest.mark.parametrize(("count", "more"), [(8, False), (9, True)])
def test_a_longer_background_of_another_rate(tmp_path: Path, count: int, more: bool) -> None:
    """Four poses at 24 per second end with frame 7 of 48 per second."""
    _, notes = drawn_on(clip(tmp_path / "v.mp4", count, Fraction(48)), walking(), tmp_path / "out")
    assert ("the background goes on after frame 3: the rest of it is not used" in notes) is more


def test_a_background_of_another_rate_that_ends(tmp_path: Path) -> None:
    grays, notes = drawn_on(clip(tmp_path / "v.mp4", 4, Fraction(48)), walking(), tmp_path / "out")
    assert grays == [10, 30, 0, 0]
    assert "the background ends after frame 1" in notes


@pytest.mark.parametrize(("size", "note"), [((160, 240), ""), ((81, 121), ""), ((120, 80), "with black borders")])
def test_a_background_of_another_size(tmp_path: Path, size: tuple[int, int], note: str) -> None:
    _, notes = drawn_on(clip(tmp_path / "v.mp4", 4, size=size), walking(), tmp_path / "out")
    assert note in notes
    assert bool(notes) == bool(note)


@pytest.mark.parametrize("name", ["still.png", "still.jpg", "still.gif"])
def test_a_still_picture_is_behind_every_frame(tmp_path: Path, name: str) -> None:
    Image.fromarray(np.full((120, 80, 3), 100, np.uint8)).save(tmp_path / name)
    assert drawn_on(tmp_path / name, walking(), tmp_path / "out") == ([100] * 4, "")
    one = PoseSequence.from_poses([walking().frame(0)])
    assert drawn_on(tmp_path / name, one, tmp_path / "one") == ([100], "")


def test_a_folder_is_matched_by_the_names_of_its_pictures(tmp_path: Path) -> None:
    for number in (1, 2, 4):
        write_png(tmp_path / "in" / f"{number:03d}.png", np.full((120, 80, 3), 10 * number, np.uint8))
    by_number, notes = drawn_on(tmp_path / "in", walking(), tmp_path / "a")
    assert (by_number, "ends after frame 2" in notes) == ([10, 20, 40, 0], True)
    named = replace(walking(), meta={"frame_names": [f"{number:03d}.png" for number in (1, 2, 3, 4)]})
    by_name, notes = drawn_on(tmp_path / "in", named, tmp_path / "b")
    assert (by_name, notes) == ([10, 20, 0, 40], "the background lacks some frames: 1 frame is drawn on black")
