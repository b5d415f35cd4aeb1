"""Review Poses over the stand-in for ComfyUI: corrections are kept, come back, and are carried over to other poses."""

from __future__ import annotations

import gc
import threading
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from paths import DATA
from review_clips import of_person, two_people

APPLY, START_OVER, STOP = "apply the corrections again", "start over", "stop"
MOVE = {"kind": "move", "t": 10, "id": 4, "points": [9], "to": [[60.5, 70.25]], "spread": 0}
SIZE = (320, 240)


@pytest.fixture
def clip(inside: Any) -> Any:
    """The sequence of `two_people`, of the loaded pack's own class."""
    made, kind = two_people(), inside("sdpose_core.poses").PoseSequence
    return kind(**{field.name: getattr(made, field.name) for field in fields(made)})


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Of the corrections: every test has its own."""
    return f"n{abs(hash(request.node.name))}"


@pytest.fixture
def review(nodes: dict[str, type], name: str) -> Any:
    """Run the node: (sequence, keypoints, info)."""

    def run(sequence: Any, choice: str = APPLY, **wires: Any) -> tuple:
        return nodes["SDPoseAnnotatorReview"].execute(sequence, choice, name, **wires).args

    return run


@pytest.fixture
def page(inside: Any, name: str) -> Any:
    """Press the button: the session that the page would work on."""

    def press(node: str = "1") -> Any:
        reviews = inside("nodes.host.reviews").REVIEWS
        return reviews.find(reviews.open(name, node))

    return press


def restart(inside: Any) -> None:
    """Forget what only the process knows."""
    module = inside("nodes.host.reviews")
    for review in module.REVIEWS._open.values():
        review.session.close()
    module.REVIEWS._open.clear()
    module.REVIEWS._wires.clear()


def wrist(sequence: Any, track_id: int = 4) -> list[float]:
    return of_person(sequence, track_id)[10, 9].tolist()


def nudged(clip: Any) -> Any:
    """The same people in the same frames, as another model sees them."""
    return replace(clip, keypoints=clip.keypoints + 1)


def test_a_correction_goes_on_at_the_next_run_and_after_a_restart(review, page, inside, clip):
    before, _, info = review(clip)
    assert info.startswith("no corrections yet")
    page().edit(MOVE)
    for _ in range(2):
        after, keypoints, info = review(clip)
        assert wrist(after) == MOVE["to"][0] != wrist(before)
        assert after.edited.sum() == 1
        assert "1 correction applied; " in info.splitlines()[0]
        assert info.splitlines()[1].startswith("40 frames at 25 fps, 2 people")
        person = next(person for person in keypoints[10]["people"] if person["person_id"] in (4, [4]))
        assert MOVE["to"][0][0] in person["pose_keypoints_2d"]
        restart(inside)
    np.testing.assert_array_equal(clip.keypoints, two_people().keypoints)


def test_undone_on_the_page_is_undone_in_the_graph(review, page, clip):
    before = review(clip)[0]
    page().edit(MOVE)
    page().undo()
    assert wrist(review(clip)[0]) == wrist(before)


def test_two_runs_give_the_same_poses_with_the_distrust_that_the_page_shows(review, page, clip):
    before = review(clip)[0]
    session = page()
    for op in ({"kind": "exchange_ids", "from": 12, "to": 25, "ids": [4, 9]}, MOVE):
        session.edit(op)
    shown = session.result()
    running = set(threading.enumerate())
    results = [review(clip)[0] for _ in range(2)]
    assert set(threading.enumerate()) <= running, "something is still being computed"
    assert not np.array_equal(shown.distrust, before.distrust, equal_nan=True)
    for result in results:
        for field in fields(shown):
            np.testing.assert_array_equal(getattr(result, field.name), getattr(shown, field.name), field.name)


def test_the_host_runs_the_node_again_after_a_correction_and_only_then(nodes, review, page, clip, name):
    def stamp() -> str:
        return nodes["SDPoseAnnotatorReview"].fingerprint_inputs(corrections=name, when_source_changed=APPLY)

    stamps = [stamp()]
    review(clip)
    page()
    stamps.append(stamp())
    page().edit(MOVE)
    corrected = stamp()
    review(clip)
    review(nudged(clip))  # begins another journal, with nothing new in it
    assert stamps[0] == stamps[1] != corrected == stamp()
    page().edit({**MOVE, "t": 11})
    assert stamp() != corrected
    assert nodes["SDPoseAnnotatorReview"].fingerprint_inputs(corrections=None) is None


def test_other_poses_of_the_same_frames_get_the_corrections_and_that_is_said(review, page, clip):
    review(clip)
    page().edit(MOVE)
    page().edit({"kind": "check", "from": 3, "to": 3, "id": 9, "checked": True})
    review(clip)
    after, _, info = review(nudged(clip))
    assert wrist(after) == MOVE["to"][0]
    assert of_person(after, 9)[10, 9].tolist() == (of_person(clip, 9)[10, 9] + 1).tolist()
    first, second = info.splitlines()[:2]
    assert first == "the poses changed since 2 corrections of them: 1 applied again"
    assert second.startswith("1 correction left out: others were found right")
    assert page().notes == [first, second]
    page().undo()
    assert wrist(review(nudged(clip))[0]) == wrist(nudged(clip))
    assert wrist(review(clip)[0]) == MOVE["to"][0], "those of the first poses are lost"


def test_start_over_and_stop(review, page, clip, input_error):
    review(clip)
    page().edit(MOVE)
    review(clip)
    with pytest.raises(input_error, match="the poses changed since 1 correction of them: set when_source_changed"):
        review(nudged(clip), STOP)
    after, _, info = review(nudged(clip), START_OVER)
    assert wrist(after) == wrist(nudged(clip)) and "started over" in info.splitlines()[0]
    assert wrist(review(clip, STOP)[0]) == MOVE["to"][0], "the poses that were corrected are refused"
    assert wrist(review(nudged(clip))[0]) == MOVE["to"][0], "the choice can be changed later"


def test_poses_of_other_frames_start_over_and_the_corrections_wait(review, page, inside, clip):
    review(clip)
    page().edit(MOVE)
    review(clip)
    shorter = inside("sdpose_core.poses").PoseSequence.from_poses(clip.frames()[:20], frame_rate=clip.frame_rate)
    after, _, info = review(shorter)
    assert len(after) == 20 and after.edited is None
    assert "of other frames: started over" in info.splitlines()[0]
    assert wrist(review(clip)[0]) == MOVE["to"][0]


def test_nodes_of_one_name_share_only_the_corrections_of_the_same_poses(nodes, review, page, clip, monkeypatch):
    review(clip)
    page().edit(MOVE)
    review(clip)
    monkeypatch.setattr(nodes["SDPoseAnnotatorReview"], "hidden", SimpleNamespace(unique_id="7:2"))
    other, _, info = review(nudged(clip))
    assert wrist(other) == wrist(nudged(clip)) and info.startswith("no corrections yet")
    assert wrist(review(clip)[0]) == MOVE["to"][0]
    assert page("2") is page("7:2"), "inside a subgraph the page knows the end of the id"


@pytest.mark.parametrize("bad", ["../up", "a/b", "a b", "x" * 65, "..", "c:\\x"])
def test_a_name_that_leads_elsewhere_is_refused(nodes, clip, input_error, bad):
    with pytest.raises(input_error, match="expected a name"):
        nodes["SDPoseAnnotatorReview"].execute(clip, APPLY, bad)


def test_the_button_before_the_first_run_says_what_to_do(page, input_error):
    with pytest.raises(input_error, match="run the graph once"):
        page()


def test_a_damaged_file_is_one_clear_message(review, page, base, name, clip, input_error):
    review(clip)
    page().edit(MOVE)
    [journal] = (base / "user" / "__sdpose_review" / name).glob("*.journal")
    journal.write_bytes(b"{]\n" + journal.read_bytes())
    with pytest.raises(input_error, match="the file is damaged"):
        review(clip)


def test_the_last_clips_alone_stay_in_memory(inside, nodes, clip):
    module = inside("nodes.host.reviews")
    restart(inside)
    for number in range(module.MAX_OPEN + 2):
        nodes["SDPoseAnnotatorReview"].execute(clip, APPLY, f"many{number}")
        module.REVIEWS.open(f"many{number}", "1")
    assert len(module.REVIEWS._wires) == len(module.REVIEWS._open) == module.MAX_OPEN
    nodes["SDPoseAnnotatorReview"].execute(clip, APPLY, "many0")
    module.REVIEWS.open("many0", "1").encode()  # its journal is free again


# --- pictures --------------------------------------------------------------------------------------------------------


def frames(count: int, size: tuple[int, int] = SIZE) -> torch.Tensor:
    """Gray pictures, each lighter than the one before."""
    return torch.linspace(0, 1, count)[:, None, None, None].expand(-1, size[1], size[0], 3).contiguous()


def temporary(base: Path) -> set[str]:
    folder = base / "temp"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_the_page_shows_the_pictures_of_the_frames(review, page, inside, base, clip):
    restart(inside)
    gc.collect()
    before, image = temporary(base), frames(40)
    review(clip, image=image)
    session = page()
    shades = [int(session.pictures.picture(t).mean()) for t in (0, 20, 39)]
    assert shades == pytest.approx([0, 131, 255], abs=2)
    written = temporary(base)
    session.edit(MOVE)
    review(clip, image=image)
    assert temporary(base) == written and page() is session, "the same pictures are written again"
    review(clip, image=frames(40))
    assert page() is not session
    del session
    restart(inside)
    gc.collect()
    assert temporary(base) == before, "pictures stay behind"


def test_pictures_of_more_frames_are_chosen_by_their_number(review, page, clip):
    review(replace(clip, frame_index=np.arange(40) * 2), image=frames(80))
    assert int(page().pictures.picture(10).mean()) == pytest.approx(255 * 20 / 79, abs=2)


@pytest.mark.parametrize("image", [frames(39), frames(40, (64, 48))], ids=["number", "size"])
def test_pictures_of_other_frames_are_refused(review, clip, input_error, image):
    with pytest.raises(input_error, match="connect the frames that the poses were estimated on"):
        review(clip, image=image)


def test_a_video_is_read_where_it_lies(review, page, inside, base, clip, input_error):
    from comfy_api.latest import InputImpl

    video = InputImpl.VideoFromFile(str(DATA / "dancer.mp4"))
    before = temporary(base)
    review(replace(clip, size=(350, 350)), video=video)
    assert page().pictures.picture(5).shape == (350, 350, 3)
    assert temporary(base) == before
    review(clip, video=video)
    with pytest.raises(input_error, match="350 x 350"):
        page()
    with pytest.raises(input_error, match="two sources of pictures"):
        review(clip, video=video, image=frames(40))


# --- estimating again ------------------------------------------------------------------------------------------------


class Model:
    """Stands for a loaded model: finds in each box one person whose points fill its diagonal."""

    def __init__(self, poses_type: type, keypoint_set: str, points: int) -> None:
        self.poses_type, self.keypoint_set, self.points = poses_type, keypoint_set, points

    def estimator(self) -> Model:
        return self

    def estimate(self, images: list, boxes: list) -> list:
        along = np.linspace(0, 1, self.points)[:, None]
        found = [row[:2] * (1 - along) + row[2:4] * along for row in boxes[0]]
        h, w = images[0].shape[:2]
        return [self.poses_type(np.stack(found), np.ones((1, self.points)), boxes[0], (w, h), self.keypoint_set)]


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A server whose queue a test fills."""
    import sys

    queue = SimpleNamespace(waiting=0, get_tasks_remaining=lambda: queue.waiting)
    server = SimpleNamespace(PromptServer=SimpleNamespace(instance=SimpleNamespace(prompt_queue=queue)))
    monkeypatch.setitem(sys.modules, "server", server)
    return queue


@pytest.mark.parametrize(("keypoint_set", "points"), [("coco_17", 17), ("coco_wholebody_133", 133)])
def test_a_person_is_estimated_again_by_the_model_on_the_wire(review, page, inside, idle, clip, keypoint_set, points):
    model = Model(inside("sdpose_core.poses").Poses, keypoint_set, points)
    review(clip, image=frames(40), model=model)
    page().estimate_again(5, 9, [10, 20, 110, 220], [0, 16])
    after = review(clip, image=frames(40), model=model)[0]
    assert of_person(after, 9)[5, 0].tolist() == [10, 20]
    assert of_person(after, 9)[5, 1].tolist() == of_person(clip, 9)[5, 1].tolist()


def test_why_nothing_is_estimated(review, page, inside, idle, clip, input_error):
    kind = inside("sdpose_core.poses").Poses
    model = Model(kind, "halpe_26", 26)
    review(clip, image=frames(40), model=model)
    session = page()
    idle.waiting = 1
    with pytest.raises(input_error, match="ComfyUI is running a graph"):
        session.estimate_again(5, 9, [10, 20, 110, 220], None)
    idle.waiting = 0
    with pytest.raises(input_error, match="halpe_26, the poses are coco_17: connect another model"):
        session.estimate_again(5, 9, [10, 20, 110, 220], None)
    del model
    gc.collect()
    with pytest.raises(input_error, match="no longer loaded"):
        session.estimate_again(5, 9, [10, 20, 110, 220], None)
