"""CVAT's XML 1.1, written by hand as CVAT writes it."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sdpose_core.cli.main import main
from sdpose_core.errors import InputError
from sdpose_core.imports.reading import import_poses
from sdpose_core.poses import PoseSequence
from sdpose_core.skeletons import COCO_17

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id>12</id>
      <name>dancers &amp; others</name>
      <size>{size}</size>
      <mode>{mode}</mode>
      <overlap>5</overlap>
      <start_frame>{start}</start_frame>
      <stop_frame>{stop}</stop_frame>
      <frame_filter>{rule}</frame_filter>
      <labels>
        <label>
          <name>person</name><color>#c06060</color><type>skeleton</type><attributes></attributes>
          <svg>&lt;circle r="1.5" data-label-name="nose"&gt;</svg>
        </label>
        <label><name>nose</name><color>#d12345</color><type>points</type><attributes></attributes><parent>person</parent></label>
      </labels>
      {original}
    </task>
    <dumped>2026-01-05 10:00:00.000000+00:00</dumped>
  </meta>
"""
ORIGINAL = "<original_size><width>640</width><height>360</height></original_size>"


def video(body: str, *, size: int = 6, start: int = 0, stop: int | None = None, rule: str = "") -> str:
    stop = size - 1 if stop is None else stop
    head = HEAD.format(size=size, mode="interpolation", start=start, stop=stop, rule=rule, original=ORIGINAL)
    return f"{head}{body}</annotations>\n"


def images(body: str) -> str:
    return HEAD.format(size=2, mode="annotation", start=0, stop=1, rule="", original="") + body + "</annotations>\n"


def point(label: str, place: str, *, outside: int = 0, occluded: int = 0) -> str:
    return (
        f'<points label="{label}" keyframe="1" outside="{outside}" occluded="{occluded}" points="{place}">\n</points>\n'
    )


def skeleton(frame: int, *points: str) -> str:
    return f'<skeleton frame="{frame}" keyframe="1" z_order="0">\n{"".join(points)}</skeleton>\n'


def track(number: int, *shapes: str, label: str = "person", group: str = "") -> str:
    group = f' group_id="{group}"' if group else ""
    return f'<track id="{number}" label="{label}" source="manual"{group}>\n{"".join(shapes)}</track>\n'


def read(text: str, folder: Path) -> PoseSequence:
    file = folder / "annotations.xml"
    file.write_text(text, encoding="utf-8")
    found = import_poses(file)
    assert found is not None
    return found


# --- CVAT for video --------------------------------------------------------------------------------------------------


def test_keyframes_of_skeletons_are_interpolated(tmp_path: Path) -> None:
    text = video(
        track(
            4,
            skeleton(1, point("nose", "10.00,20.00"), point("left_wrist", "100.00,50.00")),
            skeleton(3, point("nose", "30.00,24.00"), point("left_wrist", "120.00,50.00", outside=1)),
            skeleton(4, point("nose", "31.00,25.00", occluded=1), point("left_wrist", "140.00,60.00")),
        )
    )
    found = read(text, tmp_path)
    assert (len(found), found.size, found.keypoint_set) == (6, (640, 360), "coco_17")
    assert found.track_ids[:, 0].tolist() == [-1, 4, 4, 4, 4, -1]
    nose, wrist = found.keypoints[:, 0, 0], found.keypoints[:, 0, COCO_17.index("left_wrist")]
    np.testing.assert_allclose(nose[1:5], [[10, 20], [20, 22], [30, 24], [31, 25]])
    np.testing.assert_allclose(wrist[1:5], [[100, 50], [100, 50], [np.nan, np.nan], [140, 60]])
    assert found.scores[1:5, 0, 0].tolist() == [1, 1, 1, 1]  # occluded is there
    assert found.scores[1:5, 0, 9].tolist() == [1, 1, 0, 1]
    np.testing.assert_allclose(found.boxes[2, 0], [20, 22, 100, 50, 1])
    assert any("occluded" in note for note in found.meta["notes"])


def test_a_person_outside_leaves_and_comes_back(tmp_path: Path) -> None:
    shapes = [skeleton(f, point("nose", f"{f}.00,5.00", outside=int(f == 2))) for f in (0, 2, 4)]
    found = read(video(track(0, *shapes), size=5), tmp_path)
    assert found.track_ids[:, 0].tolist() == [0, 0, -1, -1, 0]


def test_shapes_that_were_exported_as_tracks_of_one_frame_have_no_ids(tmp_path: Path) -> None:
    """CVAT writes each shape of a task without tracks as a track that is outside in the next frame."""
    body = [point("nose", "10.00,10.00"), point("left_hip", "12.00,40.00"), point("left_ankle", "12.00,80.00")]
    gone = [point("nose", "10.00,10.00", outside=1)]
    tracks = [track(n, skeleton(n, *body), *([skeleton(n + 1, *gone)] if n < 3 else [])) for n in range(4)]
    found = read(video("".join(tracks), size=4), tmp_path)
    assert found.track_ids.tolist() == [[0]] * 4, "one person stands still: the tracker gives one id"
    assert any("one frame only" in note for note in found.meta["notes"])


def test_frame_filter_and_start(tmp_path: Path) -> None:
    shapes = [skeleton(10, point("nose", "1.00,2.00")), skeleton(16, point("nose", "7.00,2.00"))]
    found = read(video(track(0, *shapes), size=4, start=10, stop=19, rule="step=3"), tmp_path)
    assert found.frame_index.tolist() == [10, 13, 16, 19]
    np.testing.assert_allclose(found.pts, np.asarray([10, 13, 16, 19]) / 25)
    np.testing.assert_allclose(found.keypoints[:3, 0, 0, 0], [1, 4, 7])


def test_tracks_of_17_points_are_in_the_order_of_coco(tmp_path: Path) -> None:
    places = ";".join(f"{i}.00,{2 * i}.50" for i in range(17))
    shape = f'<points frame="2" keyframe="1" outside="0" occluded="0" points="{places}" z_order="0"></points>'
    found = read(video(track(3, shape)), tmp_path)
    np.testing.assert_allclose(found.keypoints[2, 0], [[i, 2 * i + 0.5] for i in range(17)])
    assert found.track_ids[2].tolist() == [3]


def test_tracks_of_single_points_of_a_group_are_one_person(tmp_path: Path) -> None:
    def single(number: int, label: str, place: str, group: str) -> str:
        shape = f'<points frame="0" keyframe="1" outside="0" occluded="0" points="{place}" z_order="0"></points>'
        return track(number, shape, label=label, group=group)

    parts = [
        single(0, "nose", "1.00,2.00", "1"),
        single(1, "left_eye", "3.00,4.00", "1"),
        single(2, "nose", "9.00,9.00", "2"),
    ]
    found = read(video("".join(parts), size=1), tmp_path)
    assert found.track_ids.tolist() == [[1, 2]]
    np.testing.assert_allclose(found.keypoints[0, :, 0], [[1, 2], [9, 9]])
    ungrouped = [single(0, "nose", "1.00,2.00", ""), single(2, "nose", "9.00,9.00", "")]
    with pytest.raises(InputError, match="point nose of one person twice: give people a group"):
        read(video("".join(ungrouped), size=1), tmp_path)


# --- CVAT for images -------------------------------------------------------------------------------------------------


def test_pictures_with_skeletons(tmp_path: Path) -> None:
    def elements(x: int) -> str:
        return (
            f'<points label="nose" source="manual" outside="0" occluded="0" points="{x}.00,2.00"></points>'
            f'<points label="right_hand_root" source="manual" outside="1" occluded="0" points="0.00,0.00"></points>'
        )

    body = "".join(
        f'<image id="{n}" name="sub/img_{n}.jpg" width="320" height="240">'
        + "".join(
            f'<skeleton label="person" source="manual" z_order="0">{elements(10 * n + k)}'
            f'<attribute name="track_id">{k}</attribute></skeleton>'
            for k in (1, 0)
        )
        + '<box label="car" source="manual" occluded="0" xtl="1.00" ytl="1.00" xbr="5.00" ybr="5.00" z_order="0"></box>'
        + "</image>\n"
        for n in range(2)
    )
    found = read(images(body), tmp_path)
    assert (len(found), found.size, found.keypoint_set) == (2, (320, 240), "coco_wholebody_133")
    assert found.meta["frame_names"] == ["sub/img_0.jpg", "sub/img_1.jpg"]
    assert found.track_ids.tolist() == [[1, 0], [1, 0]]
    assert found.keypoints[:, :, 0, 0].tolist() == [[1, 0], [11, 10]]
    assert np.isnan(found.keypoints[:, :, 112]).all()


def test_an_archive_and_an_unpacked_folder(tmp_path: Path) -> None:
    text = video(track(0, skeleton(0, point("nose", "1.00,2.00"))), size=1)
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
        archive.writestr("annotations.xml", text)
        archive.writestr("images/frame_000000.PNG", b"")
    found = import_poses(tmp_path / "task.zip")
    assert found is not None and found.keypoints[0, 0, 0].tolist() == [1, 2]
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "annotations.xml").write_text(text)
    assert main(["import", str(tmp_path / "task"), "-o", str(tmp_path / "a.pose.npz")]) == 0
    assert PoseSequence.load(tmp_path / "a.pose.npz").track_ids.tolist() == [[0]]


# --- files that cannot be used ---------------------------------------------------------------------------------------


def test_entities_are_refused_before_they_grow(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
    declared = f'<!DOCTYPE annotations [<!ENTITY a0 "{"x" * 1000}">{entities}]>'
    bomb = f'<?xml version="1.0"?>{declared}<annotations>&a8;</annotations>'
    tracemalloc.start()
    with pytest.raises(InputError, match="document type.*refused"):
        read(bomb, tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    outside = '<!DOCTYPE annotations [<!ENTITY f SYSTEM "file:///etc/hostname">]><annotations>&f;</annotations>'
    with pytest.raises(InputError, match="document type"):
        read(outside, tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<annotations><track", "not whole XML"),
        ("<html></html>", "outermost tag is 'html', expected 'annotations'"),
        (images(""), "neither pictures nor tracks"),
        (images('<image id="0" name="a.jpg" width="9" height="9"></image>'), "nobody in it has keypoints"),
        (video(track(0, skeleton(0, point("tail", "1.00,2.00")))), "none of its 1 points has a known name .tail."),
        (video(track(0, skeleton(0, point("nose", "1.00,nan")))), "points is '1.00,nan'"),
        (video(track(0, skeleton(-1, point("nose", "1.00,2.00")))), "frame is '-1'"),
        (video(track(0, skeleton(10**11, point("nose", "1.00,2.00")))), "frame is '100000000000'"),
        (video(track(0, skeleton(0, point("nose", "1,2"), point("nose", "3,4")))), "point nose of one person twice"),
        (video(track(0, skeleton(0, point("nose", "1,2"))), stop=10**9), "stop_frame is '1000000000'"),
        (video(track(0, skeleton(0, point("nose", "1,2"))), stop=5_000_000), "5,000,001 frames"),
    ],
)
def test_what_was_found_is_said(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=expected) as error:
        read(text, tmp_path)
    assert str(error.value).startswith(str(tmp_path / "annotations.xml"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_another_encoding_than_the_declared_one(encoding: str, tmp_path: Path) -> None:
    text = video(track(0, skeleton(0, point("nose", "1,2"))), size=1).replace("utf-8", "no-such")
    (tmp_path / "a.xml").write_bytes(text.encode(encoding))
    found = import_poses(tmp_path / "a.xml")
    assert found is not None and found.keypoints[0, 0, 0].tolist() == [1, 2]


def test_an_archive_without_annotations(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("images/a.png", b"")
    with pytest.raises(InputError, match="0 files of annotations, expected one"):
        import_poses(tmp_path / "a.zip")
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged archive"):
        import_poses(tmp_path / "b.zip")
