"""Pose maps: pixels of the projects whose styles are followed, parts, sizes, backgrounds, overlays."""

from __future__ import annotations

import json
import tracemalloc

import cv2
import numpy as np
import pytest
from golden.make_drawing_hashes import PROJECTS, digest, scenes
from paths import GOLDEN

from sdpose_core.drawing.coloring import HEAD_POINTS, STICKS
from sdpose_core.drawing.pose_maps import COMPARED_SIDE, comparison, draw_people, draw_poses, overlay
from sdpose_core.drawing.styles import STYLES, TRAINED_SIDE, Canvas, check_style
from sdpose_core.errors import InputError
from sdpose_core.openpose.order import OPENPOSE_18_NAMES, PART_SIZES, OpenPosePerson, people
from sdpose_core.poses import Poses
from sdpose_core.skeletons import PARTS

HASHES = json.loads((GOLDEN / "drawing_hashes.json").read_text(encoding="utf-8"))


def poses_of(people: np.ndarray, size: tuple[int, int]) -> Poses:
    keypoint_set = {17: "coco_17", 133: "coco_wholebody_133"}[people.shape[1]]
    return Poses(people[..., :2], people[..., 2], np.zeros((len(people), 5)), size, keypoint_set)


def scene(name: str) -> Poses:
    return poses_of(*scenes()[name])


def person(**rows: dict[int, tuple[float, float]]) -> OpenPosePerson:
    """A person with only these points, all of score 1."""
    parts = {name: np.zeros((count, 3), np.float32) for name, count in PART_SIZES.items()}
    for name, points in rows.items():
        for i, (x, y) in points.items():
            parts[name][i] = x, y, 1
    return OpenPosePerson(**parts)


def body(step: float = 20.0) -> dict[int, tuple[float, float]]:
    """The 18 points of a body, well apart."""
    return {i: (step * (1 + i % 6), 1.5 * step * (1 + i // 6) + 3 * (i % 2)) for i in range(18)}


@pytest.mark.parametrize(
    ("style", "name"), [(style, name) for style, (*_, names) in PROJECTS.items() for name in names]
)
def test_pixels_are_those_of_the_project(style: str, name: str) -> None:
    stored = HASHES[style]["sha256"]
    known = {version: hashes[name] for version, hashes in stored.items()}
    expected = known.get(f"OpenCV {cv2.__version__}")
    if expected is None and len(set(known.values())) > 1:
        pytest.skip(f"no hash of OpenCV {cv2.__version__}, and those of {', '.join(known)} differ")
    poses = scene(name)  # the projects are called at this size; ours enlarges from a short side of 512 if they do
    width = None if STYLES[style].own_rule or min(poses.size) == TRAINED_SIDE else 4
    drawn = draw_poses(poses, style=style, line_width=width)
    assert digest(drawn) == (expected or next(iter(known.values())))


@pytest.mark.parametrize("points", [17, 133])
def test_golden_of_the_gradio_app(points: int) -> None:
    golden = np.load(GOLDEN / "e_mapback_draw.npz")
    keypoints, scores = golden[f"draw{points}_kpts"], golden[f"draw{points}_scores"]
    poses = poses_of(np.concatenate([keypoints, scores[:, None]], axis=1)[None], (320, 240))
    np.testing.assert_array_equal(draw_poses(poses, style="sdpose_gradio"), golden[f"draw{points}_canvas"])


def test_other_names_and_swapped_channels() -> None:
    two = scene("two")
    np.testing.assert_array_equal(draw_poses(two, style="animate_anyone"), draw_poses(two, style="dwpose"))
    swapped = draw_poses(two, style="open_animate_anyone")
    np.testing.assert_array_equal(swapped[..., ::-1], draw_poses(two, style="dwpose"))


@pytest.mark.parametrize(
    ("size", "stick"),
    [((499, 400), 4), ((500, 400), 8), ((999, 500), 8), ((1000, 500), 12), ((2500, 100), 16), ((100, 9000), 28)],
)
def test_xinsir_grows_with_the_picture(size: tuple[int, int], stick: int) -> None:
    canvas = Canvas(*size)
    widths = {name: (STYLES[name].stick(canvas, 0), STYLES[name].joint(canvas, 0)) for name in ("xinsir", "xinsir_aux")}
    assert widths == {"xinsir": (stick, stick), "xinsir_aux": (stick, 4)}


def test_xinsir_and_xinsir_aux_differ_in_body_joints_only() -> None:
    one = scene("one")
    pictures = {name: draw_poses(one, style=name, parts=("hands", "face")) for name in ("xinsir", "xinsir_aux")}
    np.testing.assert_array_equal(pictures["xinsir"], pictures["xinsir_aux"])
    drawn = {name: draw_people([person(body={4: (300, 300)})], (600, 600), style=name) for name in pictures}
    wide = cv2.circle(np.zeros((600, 600, 3), np.uint8), (300, 300), 8, (170, 255, 0), -1)
    np.testing.assert_array_equal(drawn["xinsir"], wide)
    assert drawn["xinsir_aux"].any(axis=2).sum() < wide.any(axis=2).sum()


def test_head_is_nose_eyes_and_ears() -> None:
    assert {OPENPOSE_18_NAMES[i] for i in HEAD_POINTS} == {"nose", "right_eye", "left_eye", "right_ear", "left_ear"}


def test_body_without_head_loses_exactly_the_head_joints() -> None:
    for index, name in enumerate(OPENPOSE_18_NAMES):
        one = [person(body={index: (50, 50)})]
        without, whole = (draw_people(one, (100, 100), parts=parts).any() for parts in (("body",), ("body", "head")))
        alone = draw_people(one, (100, 100), parts=("head",)).any()
        assert (whole, without, alone) == (True, index not in HEAD_POINTS, index in HEAD_POINTS), name


def test_body_without_head_loses_exactly_the_head_limbs() -> None:
    for limb in STICKS:
        one = [person(body=dict(zip(limb, ((20, 50), (80, 50)), strict=True)))]
        middle = {p: draw_people(one, (100, 100), parts=(p,))[50, 50].any() for p in ("body", "head")}
        assert middle == {"body": not HEAD_POINTS.intersection(limb), "head": bool(HEAD_POINTS.intersection(limb))}, (
            limb
        )


def test_absent_joint_takes_only_its_own_limbs() -> None:
    points, size = body(), (150, 150)

    def drawn(*indices: int) -> np.ndarray:
        return draw_people([person(body={i: points[i] for i in indices})], size).any(axis=2)

    joints, limbs = {i: drawn(i) for i in points}, {limb: drawn(*limb) for limb in STICKS}
    for missing, name in enumerate(OPENPOSE_18_NAMES):
        rest = [i for i in points if i != missing]
        seen = drawn(*rest)
        for i in rest:
            assert seen[int(points[i][1]), int(points[i][0])].any(), (name, OPENPOSE_18_NAMES[i])
        expected = [*(joints[i] for i in rest), *(mask for limb, mask in limbs.items() if missing not in limb)]
        np.testing.assert_array_equal(seen, np.any(expected, axis=0), err_msg=name)


@pytest.mark.parametrize("style", sorted(STYLES))
def test_parts_add_up(style: str) -> None:
    one = scene("one")
    assert not draw_poses(one, style=style, parts=()).any()
    np.testing.assert_array_equal(draw_poses(one, style=style, parts=PARTS), draw_poses(one, style=style))
    masks = [draw_poses(one, style=style, parts=(part,)).any(axis=2) for part in PARTS]
    figures = check_style(style)
    drawn = {part for part, mask in zip(PARTS, masks, strict=True) if mask.any()}
    without = {part for part, none in (("face", figures.face is None), ("feet", figures.feet == "none")) if none}
    assert drawn == set(PARTS) - without


@pytest.mark.parametrize("style", ["wan_animate", "musepose", "unianimate"])
def test_styles_of_one_person_draw_the_best_body(style: str) -> None:
    crowd = scene("two")
    best = int(np.argmax([one.body[:, 2].mean() for one in people(crowd, 0.3)]))
    alone = poses_of(np.concatenate([crowd.keypoints, crowd.scores[..., None]], axis=2)[best : best + 1], crowd.size)
    np.testing.assert_array_equal(draw_poses(crowd, style=style), draw_poses(alone, style=style))
    assert len(crowd) == 2 and draw_poses(alone, style=style).any()


def test_threshold_and_unseen_points() -> None:
    one = poses_of(np.full((1, 17, 3), 50, np.float32) * [1, 1, 0.01], (100, 100))  # score 0.5
    assert draw_poses(one, threshold=0.5).any()
    assert not draw_poses(one, threshold=0.51).any()
    nowhere = poses_of(np.full((1, 17, 3), np.nan, np.float32), (100, 100))
    assert not draw_poses(nowhere).any()
    assert draw_poses(Poses.empty((7, 5), "coco_17")).shape == (5, 7, 3)


def test_size_scales_the_points() -> None:
    people = scenes()["two"].people
    larger = people * np.array([3, 2, 1], np.float32)
    np.testing.assert_array_equal(
        draw_poses(poses_of(people, (640, 480)), size=(1920, 960)), draw_poses(poses_of(larger, (1920, 960)))
    )


# --- widths ----------------------------------------------------------------------------------------------------------

GROWING = sorted(name for name, style in STYLES.items() if not style.own_rule)
WIDTHS = {
    # short side: half width of a limb, radius of a joint, pixels across a finger (always odd), radius of its joint,
    # radius of a face point
    64: (1, 1, 1, 1, 1),
    256: (2, 2, 1, 2, 2),
    512: (4, 4, 3, 4, 3),
    768: (6, 6, 5, 6, 5),
    1024: (8, 8, 7, 8, 6),
    2048: (16, 16, 13, 16, 12),
}


def measured(style: str, size: tuple[int, int], line_width: float | None = None) -> tuple[int, ...]:
    """The widths of `WIDTHS` in a pose map, counted in pixels across; 0 for what the style does not draw."""
    w, h = size
    limb = person(body={2: (w // 8, h // 2), 3: (w - w // 8, h // 2)})
    finger = person(left_hand={0: (w // 8, h // 2), 1: (w - w // 8, h // 2)})
    alone = [person(**{part: {4: (w // 2, h // 2)}}) for part in ("body", "left_hand", "face")]
    across = [
        int(draw_people([one], size, style=style, line_width=line_width)[:, w // 2].any(axis=1).sum())
        for one in (limb, alone[0], finger, *alone[1:])
    ]
    return tuple(count if place == 2 else count // 2 for place, count in enumerate(across))


def test_the_styles_that_grow_with_the_canvas() -> None:
    assert GROWING == ["animate_anyone", "controlnet", "dwpose", "unianimate"]


@pytest.mark.parametrize("style", GROWING)
def test_widths_are_the_trained_ones_at_512_and_in_proportion_elsewhere(style: str) -> None:
    for short, widths in WIDTHS.items():
        expected = widths[:4] + (widths[4] if STYLES[style].face else 0,)
        assert measured(style, (short, short * 9 // 8)) == expected, short
    assert measured(style, (600, 512)) == measured(style, (512, 600))


@pytest.mark.parametrize("style", sorted(set(STYLES) - set(GROWING) - {"mimicmotion"}))
def test_styles_with_a_rule_of_their_own_keep_it(style: str) -> None:
    for size in ((256, 300), (1024, 1400)):
        canvas, rule = Canvas(*size, body_only=True), STYLES[style]
        limb = rule.stick(canvas, size[0] * 3 / 4)
        assert measured(style, size)[:2] == (limb, rule.joint(canvas, 0))


@pytest.mark.parametrize("size", [(200, 220), (1000, 700)])
def test_a_line_width_in_pixels(size: tuple[int, int]) -> None:
    for style in GROWING:
        assert measured(style, size, 4)[:4] == WIDTHS[512][:4]
        assert measured(style, size, 10)[:4] == (10, 10, 7, 10)
        assert measured(style, size, 0.2)[:4] == (1, 1, 1, 1)
    for style in ("xinsir", "wan_animate", "sdpose_native", "open_animate_anyone"):
        assert measured(style, size, 10)[:2] == (10, 10), style


def test_a_line_width_of_a_map_that_is_drawn_large_and_reduced() -> None:
    limb = person(body={2: (60, 100), 3: (440, 100)})
    drawn = draw_people([limb], (512, 200), style="mimicmotion", line_width=10)
    assert abs(int(drawn[:, 256].any(axis=1).sum()) - 21) <= 2


def test_the_size_of_the_map_counts_not_that_of_the_picture() -> None:
    poses = scene("one")
    np.testing.assert_array_equal(
        draw_poses(poses, size=(1024, 1536), line_width=8), draw_poses(poses, size=(1024, 1536))
    )
    np.testing.assert_array_equal(draw_poses(poses, size=(256, 384), line_width=2), draw_poses(poses, size=(256, 384)))


@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf"), 1001])
def test_line_widths_that_cannot_be(width: float) -> None:
    with pytest.raises(InputError, match="line width: expected pixels above 0"):
        draw_poses(scene("one"), line_width=width)


def test_overlays_have_the_widths_of_the_map() -> None:
    poses = scene("three_overlapping")
    picture = np.full((420, 300, 3), 100, np.uint8)
    for width in (None, 4):
        changed = (overlay(picture, poses, line_width=width) != 100).any(axis=2)
        drawn = draw_poses(poses, line_width=width)
        np.testing.assert_array_equal(changed, (np.rint(25 + drawn * 0.75) != 100).any(axis=2) & drawn.any(axis=2))


def test_a_comparison_is_drawn_at_the_size_of_its_panels() -> None:
    poses = scene("one")
    picture = np.random.default_rng(0).integers(0, 255, (768, 512, 3), np.uint8)
    expected = np.hstack([picture, overlay(picture, poses), draw_poses(poses)])
    np.testing.assert_array_equal(comparison(picture, poses), expected)
    large = Poses(poses.keypoints * 4, poses.scores, poses.boxes, (2048, 3072), poses.keypoint_set)
    strip = comparison(np.zeros((3072, 2048, 3), np.uint8), large)
    assert strip.shape == (COMPARED_SIDE, 3 * 853, 3)
    np.testing.assert_array_equal(strip[:, 2 * 853 :], draw_poses(large, size=(853, COMPARED_SIDE)))


@pytest.mark.parametrize("style", sorted(STYLES))
def test_backgrounds(style: str) -> None:
    one = scene("one_scattered")
    h, w = one.size[1], one.size[0]
    black = draw_poses(one, style=style)
    picture = np.random.default_rng(0).integers(1, 255, (h, w, 3), np.uint8)
    before = picture.copy()
    on_picture, on_colour = (draw_poses(one, style=style, background=b) for b in (picture, (10, 200, 30)))
    np.testing.assert_array_equal(picture, before)
    drawn = black.any(axis=2)
    np.testing.assert_array_equal(on_picture[drawn], black[drawn])
    np.testing.assert_array_equal(on_picture[~drawn], picture[~drawn])
    assert (on_colour[~drawn] == (10, 200, 30)).all()


def test_people_and_poses_draw_alike() -> None:
    poses = scene("three_overlapping")
    drawn = draw_people(people(poses, 0.3), poses.size, style="sdpose_gradio", size=(600, 840))
    np.testing.assert_array_equal(drawn, draw_poses(poses, style="sdpose_gradio", size=(600, 840)))


def test_overlay_keeps_the_picture_where_the_map_is_black() -> None:
    poses = scene("one")
    picture = np.full((768, 512, 3), 100, np.uint8)
    drawn = draw_poses(poses).any(axis=2)
    blended = overlay(picture, poses, opacity=0.5)
    assert (blended[~drawn] == 100).all()
    expected = np.rint(draw_poses(poses)[drawn] * 0.5 + 50)
    np.testing.assert_array_equal(blended[drawn], expected)
    np.testing.assert_array_equal(overlay(picture, poses, opacity=0), picture)
    np.testing.assert_array_equal(overlay(picture, poses, parts=()), picture)


def test_overlays_of_large_pictures_fit_in_memory() -> None:
    picture, poses = np.full((600, 800, 3), 100, np.uint8), Poses.empty((800, 600), "coco_17")
    tracemalloc.start()
    overlay(picture, poses)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * picture.nbytes


def test_errors_say_what_to_do() -> None:
    one = scene("one")
    with pytest.raises(InputError, match="did you mean 'controlnet'.*known styles: controlnet, dwpose"):
        draw_poses(one, style="controlnt")
    with pytest.raises(InputError, match="'legs' not known; expected any of body, hands, face, feet, head"):
        draw_poses(one, parts=("body", "legs"))
    with pytest.raises(InputError, match=r"background: expected uint8 of shape \(768, 512, 3\), got uint8 of shape"):
        draw_poses(one, background=np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(InputError, match="background: expected None, a color"):
        draw_poses(one, background=(0, 0, 256))
    with pytest.raises(InputError, match="picture: expected uint8"):
        overlay(np.zeros((10, 10, 3), np.uint8), one)
    with pytest.raises(InputError, match="opacity"):
        overlay(np.zeros((768, 512, 3), np.uint8), one, opacity=2)
    with pytest.raises(InputError, match="at least 1 pixel"):
        draw_poses(one, size=(0, 10))
    with pytest.raises(InputError, match="at least 1 pixel"):
        draw_poses(one, size=(10,))  # type: ignore[arg-type]


@pytest.mark.parametrize("style", sorted(STYLES))
def test_points_far_out_are_no_obstacle(style: str) -> None:
    for far in (1e8, 1e12, 3e38):
        points = {"body": {4: (50, 50), 3: (far, -far)}, "left_hand": {0: (20, 20), 1: (far, far)}}
        seen = draw_people([person(**points, face={0: (far, 9)})], (100, 100), style=style)
        assert seen[50, 50].any() and seen[20, 20].any(), far
