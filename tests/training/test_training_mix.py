"""Several data sets in one run: shares, keypoints mapped by name, and runs that resume."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_people import make_people
from paths import ROOT
from safetensors.torch import load_file

from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133, KeypointSet
from sdpose_training.data.annotations import read_annotations, read_people
from sdpose_training.data.mixing import describe_map, map_points, with_points
from sdpose_training.data.order import SampleOrder, even_schedule, micro_batches, plan_batches
from sdpose_training.data.samples import PeopleSamples, SampleSettings
from sdpose_training.fit.data_sets import MAIN, read_data_sets
from sdpose_training.fit.log import read_log
from sdpose_training.fit.model_card import _all_data_terms, _data_text, _license_tag
from sdpose_training.fit.setup import set_up
from sdpose_training.recipe.recipe import AugmentationRecipe, MoreData, load_recipe
from sdpose_training.recipe.toml_files import to_toml
from train import main

pytestmark = pytest.mark.usefixtures("fresh_state")

DEBUG = ROOT / "training" / "recipes" / "debug_cpu.toml"
DANCER = KeypointSet("dancer_5", ("Left Shoulder", "tail", "left-wrist", "NOSE", "cape"), flip_pairs=())
STILL = AugmentationRecipe(
    flip=0, half_body=0, shift=0, scale=0, rotation=0, photometric=False, blur=0, median_blur=0, dropout=0
)
SMALL = SampleSettings((64, 128), 2.0, 3, False, seed=0)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven more people, whose category names five of the points in other words and order, and two of its own."""
    folder = make_people(tmp_path_factory.mktemp("data") / "other", count=7)
    for part in ("train", "val"):
        path = folder / "annotations" / f"{part}.json"
        content = json.loads(path.read_text())
        names = ["Left Shoulder", "tail", "left-wrist", "NOSE", "cape", "Right Shoulder", "right wrist"]
        content["categories"] = [{"id": 1, "name": "dancer", "keypoints": names}]
        content["info"] = {"description": "Dancers"}
        content["licenses"] = [{"name": "CC0"}]
        for annotation in content["annotations"]:
            points = np.asarray(annotation["keypoints"]).reshape(17, 3)
            places = [
                COCO_17.index(name.lower().replace(" ", "_").replace("-", "_")) for name in names[:1] + names[2:4]
            ]
            shoulder, wrist, nose = points[places]
            right = points[[COCO_17.index("right_shoulder"), COCO_17.index("right_wrist")]]
            rows = [shoulder, [1, 1, 2], wrist, nose, [2, 2, 2], *right]
            annotation["keypoints"] = np.asarray(rows).ravel().tolist()
        path.write_text(json.dumps(content))
    return folder


def more(folder: Path, share: float, number: int = 0, name: str = "dancers") -> list[str]:
    key = f"--data.more.{number}"
    return [f"{key}.name", name, f"{key}.root", str(folder), f"{key}.share", str(share)]


# --- the recipe ----------------------------------------------------------------------------------------------------


def test_the_command_line_adds_data_sets() -> None:
    arguments = [*more(Path("a"), 0.3), *more(Path("b"), 0.2, 1, "old"), "--data.more.1.val-annotations", "v.json"]
    recipe = load_recipe(DEBUG, arguments)
    assert recipe.data.more == (
        MoreData("dancers", 0.3, "a"), MoreData("old", 0.2, "b", val_annotations="v.json")
    )  # fmt: skip
    assert "[[data.more]]" in to_toml(recipe)


def test_a_recipe_with_data_sets_is_written_back_and_overridden(tmp_path: Path) -> None:
    recipe = load_recipe(DEBUG, more(Path("a"), 0.3))
    (tmp_path / "r.toml").write_text(to_toml(recipe))
    assert load_recipe(tmp_path / "r.toml") == recipe
    changed = load_recipe(tmp_path / "r.toml", ["--data.more.0.share", ".5"])
    assert changed.data.more == (replace(recipe.data.more[0], share=0.5),)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--data.more.0.root", "a"], "data.more.0: expected a name of letters"),
    (["--data.more.0.name", "a b", "--data.more.0.share", ".1"], "found 'a b'"),
    (["--data.more.0.name", "a"], "expected a share from 0.0001 to less than 1, found 0"),
    (more(Path("a"), 1.0), "expected a share from 0.0001 to less than 1, found 1"),
    ([*more(Path("a"), 0.6), *more(Path("b"), 0.4, 1, "b")], "add up to 1: expected less than 1"),
    ([*more(Path("a"), 0.1), *more(Path("b"), 0.1, 1)], "expected different names .* dancers, dancers"),
    (more(Path("a"), 0.1, number=1), "the recipe has no number 1"),
    (["--data.more.0.shares", "1"], "did you mean 'data.more.N.share'"),
])  # fmt: skip
def test_mistakes_in_data_sets_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe(DEBUG, arguments)


# --- the order -----------------------------------------------------------------------------------------------------


def keys(order: SampleOrder, first: int, steps: range, processes: int = 1, micro: int = 4, total: int = 8) -> list:
    """Per step the samples of all processes, in their order."""
    plan = plan_batches(total, processes, micro)
    shares = [list(micro_batches(order, first, steps, plan, process)) for process in range(processes)]
    each = plan.accumulation
    return [
        [key for share in shares for batch in share[i * each : (i + 1) * each] for key in batch]
        for i in range(len(steps))
    ]


def test_one_data_set_has_the_order_of_before() -> None:
    """Expected: the order of the first version, which knew one data set only."""
    assert keys(SampleOrder(3, (7,)), 10, range(1, 3), processes=2, micro=2) == [
        [(2, 6), (2, 3), (2, 5), (3, 1), (3, 6), (3, 5), (3, 3), (3, 2)],
        [(3, 4), (3, 0), (4, 4), (4, 2), (4, 3), (4, 6), (4, 0), (4, 1)],
    ]
    assert keys(SampleOrder(11, (1000,)), 990, range(3), total=6, micro=3) == [
        [(0, 852), (0, 397), (0, 432), (0, 979), (0, 990), (0, 124)],
        [(0, 138), (0, 615), (0, 528), (0, 78), (1, 418), (1, 477)],
        [(1, 249), (1, 577), (1, 937), (1, 195), (1, 8), (1, 302)],
    ]


@pytest.mark.parametrize(
    "shares",
    [(0.3,), (0.5,), (0.0001,), (0.9999,), (0.2, 0.3), (0.01,) * 9, (0.3333, 0.3333, 0.3333), (0.4999, 0.0001, 0.25)],
)
def test_every_run_of_samples_has_the_shares(shares: tuple[float, ...]) -> None:
    order = SampleOrder(0, (50, *(5,) * len(shares)), shares)
    numbers = np.array([order.place(position)[0] for position in range(10_000)])
    counts = np.eye(len(shares) + 1)[numbers].cumsum(axis=0)
    wanted = np.arange(1, 10_001)[:, None] * np.array([1 - sum(shares), *shares])
    assert np.abs(counts - wanted).max() < 1


@pytest.mark.parametrize("weights", [(1,), (1, 1), (7, 3), (90, *(1,) * 10), (5, 4, 3, 2, 1), (1, 99)])
def test_the_schedule_is_even_at_every_place(weights: tuple[int, ...]) -> None:
    schedule = even_schedule(weights)
    assert Counter(schedule.tolist()) == dict(enumerate(weights))
    counts = np.eye(len(weights))[schedule].cumsum(axis=0)
    wanted = np.arange(1, len(schedule) + 1)[:, None] * np.array(weights) / sum(weights)
    assert np.abs(counts - wanted).max() < 1


def test_the_order_of_two_sets_depends_on_the_seed_alone() -> None:
    order = SampleOrder(3, (10, 4), (0.3,))
    whole = keys(order, 20, range(25), micro=8)
    assert keys(order, 20, range(25), processes=2) == whole and keys(order, 20, range(25), 4, 1) == whole
    assert keys(order, 20, range(7, 25), processes=2, micro=2) == whole[7:]
    assert keys(replace(order, seed=4), 20, range(25)) != whole
    every = [key for step in keys(order, 0, range(25)) for key in step]
    for people, epochs in ((range(10), 14), (range(10, 14), 15)):
        for epoch in range(epochs):
            assert sorted(i for e, i in every if e == epoch and i in people) == list(people), epoch
    orders = [[i for e, i in every if e == epoch and i >= 10] for epoch in range(15)]
    assert len(set(map(tuple, orders))) > 5


def test_an_epoch_is_that_of_the_main_set() -> None:
    assert SampleOrder(0, (12,)).epoch == 12
    assert SampleOrder(0, (500, 9), (0.3,)).epoch == pytest.approx(500 / 0.7)
    order = SampleOrder(0, (70, 9, 9), (0.2, 0.1))
    assert order.epoch == 100
    seen = [index for step in keys(order, 0, range(10), total=10, micro=5) for _, index in step]
    assert sorted(i for i in seen if i < 70) == list(range(70))


# --- keypoints -----------------------------------------------------------------------------------------------------


def test_the_body_in_the_whole_body_and_back() -> None:
    assert map_points(COCO_17, COCO_WHOLEBODY_133).tolist() == [*range(17), *[-1] * 116]
    assert map_points(COCO_WHOLEBODY_133, COCO_17).tolist() == list(range(17))
    assert map_points(COCO_WHOLEBODY_133, COCO_WHOLEBODY_133).tolist() == list(range(133))


def test_own_points_by_name() -> None:
    in_the_body = map_points(DANCER, COCO_17).tolist()
    expected = {COCO_17.index(name): place for name, place in (("left_shoulder", 0), ("left_wrist", 2), ("nose", 3))}
    assert in_the_body == [expected.get(index, -1) for index in range(17)]
    assert map_points(COCO_17, DANCER).tolist() == [5, -1, 9, 0, -1]
    text = describe_map(DANCER, COCO_17)
    both = "nose = NOSE, left_shoulder = Left Shoulder, left_wrist = left-wrist"
    assert text.startswith(f"3 of 17 keypoints: {both}; not labeled: left_eye, ") and text.endswith(
        "; left out: tail, cape"
    )


def test_every_point_goes_where_its_name_is() -> None:
    """Over all points: the names of the whole body in another order and in other words."""
    mixed = np.random.default_rng(0).permutation(133)
    shuffled = KeypointSet("odd", tuple(COCO_WHOLEBODY_133.names[i].upper().replace("_", " ") for i in mixed))
    assert mixed[map_points(shuffled, COCO_WHOLEBODY_133)].tolist() == list(range(133))


def test_sets_without_a_common_name_are_refused_with_both_lists() -> None:
    pen = KeypointSet("pen_2", ("tip", "cap"))
    with pytest.raises(InputError, match=r"'pen_2' \(tip, cap\) has no keypoint name of 'coco_17' \(nose, left_eye, "):
        map_points(pen, COCO_17)
    with pytest.raises(InputError, match="'twice': several points are called left_eye"):
        map_points(KeypointSet("twice", ("Left eye", "left-eye")), COCO_17)


def test_points_that_a_set_lacks_are_not_trained(other: Path) -> None:
    content = read_annotations(other / "annotations" / "train.json")
    points = KeypointSet("dancer_7", tuple(content["categories"][0]["keypoints"]))
    people = read_people(content, other / "images", points)[0]
    for wanted, place in ((COCO_17, range(17)), (COCO_WHOLEBODY_133, range(133))):
        mapped = with_points(people, wanted)
        sample = PeopleSamples(mapped, STILL, SMALL)[(0, 2)]
        known = {
            COCO_17.index(name) for name in ("nose", "left_shoulder", "right_shoulder", "left_wrist", "right_wrist")
        }
        assert sample["weights"].tolist() == [1.0 if i in known else 0.0 for i in place]
        assert {i for i in place if sample["rows"][i].any()} == known  # nothing is drawn
    np.testing.assert_array_equal(mapped.keypoints[:, 9], people.keypoints[:, 2])
    with pytest.raises(Exception, match="fewer than 6 points"):  # points that are left out do not count
        PeopleSamples(mapped, STILL, replace(SMALL, min_visible=6))[(0, 2)]


def test_people_without_a_common_point_are_left_out(data: Path) -> None:
    people = read_people(read_annotations(data / "annotations" / "train.json"), data / "images", COCO_17)[0]
    visibility = people.visibility.copy()
    visibility[3, [0, 5, 9]] = 0
    mapped = with_points(replace(people, visibility=visibility), DANCER)
    assert mapped.annotation_ids.tolist() == [100 + i for i in range(12) if i != 3]
    assert mapped.keypoint_set is DANCER and mapped.visibility[0].tolist() == [1, 0, 1, 1, 0]
    visibility[:, [0, 5, 9]] = 0
    with pytest.raises(
        InputError, match="none of 12 people has a labeled point of 'dancer_5' .looked for Left Shoulder"
    ):
        with_points(replace(people, visibility=visibility), DANCER)


def test_another_person_is_of_the_same_data_set(data: Path) -> None:
    people = read_people(read_annotations(data / "annotations" / "train.json"), data / "images", COCO_17)[0]
    visibility = people.visibility.copy()
    visibility[::2, 2:] = 0  # every second person is drawn again
    half = replace(people, visibility=visibility)
    samples = PeopleSamples([half.first(5), half, half.first(3)], STILL, SMALL)
    assert len(samples) == 20
    for index, group in ((0, range(5)), (4, range(5)), (5, range(5, 17)), (15, range(5, 17)), (17, range(17, 20))):
        assert {samples[(epoch, index)]["index"] for epoch in range(5)} <= set(group), index


@pytest.mark.parametrize("categories", [[], [{"id": 1, "name": "person", "keypoints": list(COCO_17.names)}]])
@pytest.mark.parametrize("images", ["..", "."])
def test_humanart_is_read(data: Path, tmp_path: Path, categories: list, images: str) -> None:
    """Its entries as its documentation lists them; the names of the files begin with HumanArt/."""
    root = tmp_path / "HumanArt"
    shutil.copytree(data / "images", root / "images" / "2D_virtual_human" / "cartoon")
    content = json.loads((data / "annotations" / "train.json").read_text())
    for image in content["images"]:
        image["file_name"] = f"HumanArt/images/2D_virtual_human/cartoon/{image['file_name']}"
        image |= {"page_url": "", "picture_name": "x", "description": "a person", "category": "cartoon"}
    for annotation in content["annotations"]:
        annotation |= {"keypoints_21": [0] * 63, "num_keypoints_21": 21, "self_contact": [1, 2], "annotator": 7}
    (root / "annotations").mkdir()
    (root / "annotations" / "training_humanart.json").write_text(json.dumps(content | {"categories": categories}))
    add = ["train-annotations", "annotations/training_humanart.json", "train-images", images, "keypoint-set", "coco_17"]
    more_keys = [f"--data.more.0.{word}" if place % 2 == 0 else word for place, word in enumerate(add)]
    arguments = ["--data.root", str(data), *more(root, 0.3, name="humanart"), *more_keys]
    _, art = read_data_sets(load_recipe(DEBUG, arguments))
    assert len(art.people) == 12 and art.people.files[3].samefile(root / "images/2D_virtual_human/cartoon/003.jpg")
    assert art.val is None


# --- the data sets of a run ------------------------------------------------------------------------------------------


def test_the_main_set_gives_the_keypoints(data: Path, other: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    arguments = [
        *more(other, 0.25),
        "--data.more.0.val-annotations",
        "annotations/val.json",
        "--validation.people",
        "3",
    ]
    first, second = read_data_sets(load_recipe(DEBUG, ["--data.root", str(data), *arguments]))
    assert (first.name, first.share, len(first.people), len(first.val)) == (MAIN, 0.75, 12, 3)
    assert (second.name, second.share, len(second.people), len(second.val)) == ("dancers", 0.25, 7, 3)
    assert first.people.keypoint_set is second.people.keypoint_set is second.val.keypoint_set is COCO_17
    [line] = [text for text in caplog.messages if text.startswith("data set dancers")]
    assert line.startswith("data set dancers, share 0.25: 5 of 17 keypoints: nose = NOSE, left_shoulder = ")


def test_the_parts_of_a_run_with_two_sets(data: Path, other: Path) -> None:
    arguments = [*more(other, 0.25), "--stages.0.samples", "0", "--stages.0.epochs", "1", "--validation.people", "0"]
    parts = set_up(load_recipe(DEBUG, ["--data.root", str(data), *arguments]))
    assert parts.order == SampleOrder(0, (12, 7), (0.25,)) and parts.val is None
    assert parts.stages[0].steps == 2  # 16 samples, in which the twelve people of the main set are seen once


@pytest.mark.parametrize(("file", "text", "message"), [
    ("annotations/train.json", None, r"data\.more\.0 \(dancers\): no annotations .*train.json"),
    ("annotations/train.json", "{", r"data\.more\.0 \(dancers\): .*is not JSON"),
    ("annotations/train.json", '{"images": [], "annotations": []}', "name a set in keypoint_set"),
    ("images", None, r"data\.more\.0 \(dancers\): .*none of the first 7 pictures .*: set the folder in train_images"),
    ("annotations/val.json", "[]", r"data\.more\.0 \(dancers\): .*not in COCO's format"),
])  # fmt: skip
def test_a_damaged_second_set_is_named(
    data: Path, other: Path, tmp_path: Path, file: str, text: str | None, message: str
) -> None:
    root = shutil.copytree(other, tmp_path / "damaged")
    path = root / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if text is not None:
        path.write_text(text)
    arguments = [*more(root, 0.5), "--data.more.0.val-annotations", "annotations/val.json"]
    with pytest.raises(InputError, match=message):
        read_data_sets(load_recipe(DEBUG, ["--data.root", str(data), *arguments]))


def test_damaged_entries_of_the_second_set_are_named(data: Path, other: Path, tmp_path: Path) -> None:
    root = shutil.copytree(other, tmp_path / "damaged")
    content = json.loads((root / "annotations" / "train.json").read_text())
    content["annotations"][2]["keypoints"] = [1, 2]
    (root / "annotations" / "train.json").write_text(json.dumps(content))
    (root / "images" / "000.jpg").write_bytes(b"\xff\xd8 cut off")
    _, second = read_data_sets(load_recipe(DEBUG, ["--data.root", str(data), *more(root, 0.5)]))
    [problem] = second.problems
    assert problem.startswith("annotations/train.json: annotation 102 of 002.jpg: 2 keypoint values")
    sample = PeopleSamples([second.people, second.people], STILL, SMALL)[(0, 6)]
    assert "000.jpg" in sample["problems"][0] and 6 < sample["index"] < 12


@pytest.mark.parametrize(("arguments", "message"), [
    (["--data.min-visible", "6"], "only 5 of its keypoints are among those of 'coco_17', and data.min_visible is 6"),
    (["--data.more.0.keypoint-set", "coco_18"], r"data\.more\.0 \(dancers\): unknown keypoint set 'coco_18'"),
])  # fmt: skip
def test_sets_that_do_not_fit_are_refused(data: Path, other: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_data_sets(load_recipe(DEBUG, ["--data.root", str(data), *more(other, 0.5), *arguments]))


def test_the_card_names_all_data_sets() -> None:
    coco = SimpleNamespace(
        name=MAIN, share=0.7, annotations="coco.json", source={"info": {"description": "COCO 2017 Dataset"}}
    )
    own = SimpleNamespace(name="own", share=0.3, annotations="own.json", source={"licenses": [{"name": "CC0"}]})
    rendered = SimpleNamespace(
        name="rendered", source={"info": {"description": "Synthetic people"}}, annotations="s.json"
    )
    assert _data_text([coco]) == "`coco.json`"
    assert _data_text([coco, own]) == "0.7 from `coco.json` (main), 0.3 from `own.json` (own)"
    terms = re.sub(" +", " ", _all_data_terms([coco, own]))
    assert "\n - trained on `main: coco.json`. COCO's annotations are CC BY 4.0" in terms
    assert "\n - trained on `own: own.json`, whose terms are not known here (it names: CC0)" in terms
    same_file = SimpleNamespace(name="other", annotations="own.json", source={})
    assert "`own: own.json`" in _all_data_terms([own, same_file]) and "`other: own.json`" in _all_data_terms(
        [own, same_file]
    )
    assert _all_data_terms([rendered, rendered]).startswith("trained on rendered people only")
    recipe = load_recipe(DEBUG)
    assert _license_tag(recipe, [rendered, rendered]) == "apache-2.0"
    assert _license_tag(recipe, [rendered, own]) == "other"


# --- runs ------------------------------------------------------------------------------------------------------------

PATIENCE = 900
STEPS = 10


def command(data: Path, other: Path, out: Path, *arguments: str) -> list[str]:
    mixed = [*more(other, 0.4), "--data.more.0.val-annotations", "annotations/val.json", "--log.tensorboard", "off"]
    length = ["--stages.0.samples", "56", "--stages.1.samples", "24", "--validation.every", "5"]
    length += ["--checkpoints.keep", "3"]
    return ["--recipe", str(DEBUG), "--data.root", str(data), "--out", str(out), *mixed, *length, *arguments]


def losses(out: Path) -> list[tuple[float, float, float]]:
    return [(s["heatmap_loss"], s["rgb_loss"], s["gradient_norm"]) for s in read_log(out / "log.jsonl", "step")]


@pytest.fixture(scope="module")
def whole(data: Path, other: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main(command(data, other, out)) == 0
    return out


@pytest.mark.slow  # two trainings
def test_a_run_with_two_sets_resumes_bit_equal(data: Path, other: Path, whole: Path, tmp_path: Path) -> None:
    """From the state of step 4 of a run that goes to step 10, in two stages."""
    out = shutil.copytree(whole, tmp_path / "run")
    for step in (8, STEPS):
        shutil.rmtree(out / "checkpoints" / f"step-{step:08d}")
    assert main(command(data, other, out, "--resume", "auto")) == 0
    assert losses(out) == losses(whole) and len(losses(out)) == STEPS
    ours, theirs = (load_file(run / "weights" / f"step-{STEPS:08d}.safetensors") for run in (out, whole))
    assert all(ours[name].equal(theirs[name]) for name in theirs)


@pytest.mark.slow  # a training
def test_the_second_set_is_validated_by_its_name(whole: Path) -> None:
    lines = read_log(whole / "log.jsonl", "validation")
    assert [line["step"] for line in lines] == [5, 10]
    assert all({"AP", "OKS", "AP/dancers", "OKS/dancers"} <= line.keys() and line["people"] == 8 for line in lines)
    assert 0 < lines[-1]["OKS/dancers"] < 1
    last = read_log(whole / "log.jsonl", "step")[-1]
    assert (last["samples"], last["epoch"]) == (80, 4.0)  # 12 people are 0.6 of 20 samples
    card = (whole / "weights" / "README.md").read_text()
    assert "0.6 from `annotations/train.json` (main), 0.4 from `annotations/train.json` (dancers)" in card
    assert "| AP/dancers " in card and "CC0" in card and (whole / "curve.png").exists()


@pytest.mark.slow  # three starts of the program
def test_two_processes_see_the_same_losses_of_two_sets(data: Path, other: Path, whole: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", **shared}
    line = [sys.executable, str(ROOT / "training" / "train.py"), *command(data, other, tmp_path / "two")]
    both = [
        subprocess.Popen(line, env={**env, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True)
        for rank in ("0", "1")
    ]
    for process in both:
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
    one, two = np.array(losses(whole)), np.array(losses(tmp_path / "two"))
    assert one.shape == two.shape == (STEPS, 3)
    np.testing.assert_allclose(two[:, :2], one[:, :2], rtol=0, atol=1e-5)
    assert read_log(tmp_path / "two" / "log.jsonl", "validation")[-1]["AP/dancers"] >= 0
