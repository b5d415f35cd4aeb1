"""The benchmark coco-ood-corruption: pictures made ahead or in memory, stops, figures by their definitions, curves."""

from __future__ import annotations

import copy
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_people import make_people
from paths import ROOT
from stand_ins import StandInEstimator
from tiny import make_checkpoint

import evaluate
import make_coco_ood
import robustness
from sdpose_core.errors import InputError
from sdpose_core.poses import Poses
from sdpose_core.skeletons import COCO_17
from sdpose_training.data.annotations import read_annotations, read_people
from sdpose_training.data.pictures import read_picture
from sdpose_training.evaluation import run as evaluation
from sdpose_training.evaluation.robustness_curves import curve_labels, draw_robustness
from sdpose_training.evaluation.robustness_figures import relative, rises, robustness_table, summary
from sdpose_training.styles import corruption_folder
from sdpose_training.styles.corruptions import KINDS, Corruption, corrupted, corruptions
from sdpose_training.styles.folder import SETTINGS

PEOPLE = 6
CHOSEN = ("--corruptions", "fog,pixelate", "--severities", "1,5")


class Fragile(StandInEstimator):
    """Finds everybody, off by as many pixels as the contrast of the picture has changed from the clean one."""

    name = "fragile"

    def __init__(self, root: Path, strength: float = 0.1) -> None:
        people, _ = read_people(read_annotations(root / "annotations" / "val.json"), root / "images", COCO_17)
        self.points, self.boxes, self.strength = people.keypoints, people.boxes_xyxy, strength
        self.spreads = [read_picture(file).std() for file in people.files]
        self.seen: list[int] = []
        self.stop_after: int | None = None

    def estimate(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray], **_: Any) -> list[Poses]:
        return [self._poses(image, own) for image, own in zip(images, boxes, strict=True)]

    def _poses(self, image: np.ndarray, boxes: np.ndarray) -> Poses:
        if self.stop_after == len(self.seen):
            raise KeyboardInterrupt
        nearest = [int(np.abs(self.boxes - box).sum(axis=1).argmin()) for box in boxes]
        self.seen += nearest
        error = self.strength * abs(image.std() - self.spreads[nearest[0]])
        points = self.points[nearest].astype(np.float32) + np.float32(error)
        scored = np.concatenate([boxes, np.ones((len(boxes), 1))], axis=1)
        return Poses(points, np.ones(points.shape[:2]), scored, image.shape[1::-1], self.keypoint_set)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_people(tmp_path_factory.mktemp("data") / "people", PEOPLE, size=(80, 100))


@pytest.fixture
def people(clean: Path, tmp_path: Path) -> Path:
    """A copy, in which a test may make pictures."""
    return Path(shutil.copytree(clean, tmp_path / "people"))


@pytest.fixture
def fragile(clean: Path, monkeypatch: pytest.MonkeyPatch) -> Fragile:
    predictor = Fragile(clean)
    monkeypatch.setattr(evaluation, "load_peer", lambda spec, **options: predictor)
    return predictor


def make(root: Path, *more: object) -> int:
    return make_coco_ood.main(["--style", "corruption", "--data.root", str(root), *map(str, more)])


def run(root: Path, out: Path, *more: object) -> int:
    data = ["--data.root", root, "--annotations", "annotations/val.json", "--images", "images", "--ground-truth-boxes"]
    asked = ["--peer", "fragile", "--benchmark", "coco-ood-corruption", *data, "--out", out, *(more or CHOSEN)]
    return evaluate.main([str(each) for each in asked])


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# --- pictures made ahead ---------------------------------------------------------------------------------------------


def test_folder_has_kind_severity_and_name_and_shards_make_the_same_bytes(people: Path, tmp_path: Path, capsys) -> None:
    assert make(people, *CHOSEN) == 0
    assert f"{4 * PEOPLE} of {4 * PEOPLE} pictures, {4 * PEOPLE} made now" in capsys.readouterr().out
    made = people / "imagescorruption"
    assert sorted(files(made)) == sorted(
        [SETTINGS, *(f"{k}/{s}/{i:03d}.jpg" for k in ("fog", "pixelate") for s in (1, 5) for i in range(PEOPLE))]
    )
    for shard in ("2/2", "1/2"):
        assert make(people, *CHOSEN, "--out", tmp_path / "other", "--shard", shard) == 0
    assert files(tmp_path / "other" / "imagescorruption") == files(made)


def test_png_has_the_pixels_of_corruption_in_memory(people: Path) -> None:
    assert make(people, "--png", "--corruptions", "shot_noise", "--severities", "3", "--corruption-seed", 7) == 0
    name = "003.jpg"
    expected = corrupted(read_picture(people / "images" / name), Corruption("shot_noise", 3), name, seed=7)
    assert np.array_equal(read_picture(people / "imagescorruption" / "shot_noise" / "3" / "003.png"), expected)


def test_folder_grows_and_resumes_but_holds_one_seed_and_format(people: Path, capsys) -> None:
    assert make(people, *CHOSEN) == 0
    made = people / "imagescorruption"
    whole = files(made)
    (made / "fog" / "5" / "002.jpg").unlink()
    assert make(people, *CHOSEN) == 0
    assert "1 made now" in capsys.readouterr().out and files(made) == whole
    assert make(people, "--corruptions", "contrast", "--severities", "2") == 0
    assert whole.items() < files(made).items()
    for more, message in ((["--corruption-seed", "1"], "seed was 0, now 1"), (["--png"], "jpeg_quality was 95")):
        assert make(people, *CHOSEN, *more) == 1
        assert message in capsys.readouterr().err


def test_disk_space_is_reported_early_and_must_be_free(people: Path, monkeypatch, caplog, capsys) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(corruption_folder.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    assert make(people, *CHOSEN) == 0
    assert f"{4 * (PEOPLE - 3)} more pictures need about" in caplog.text and "1.00 GB are free" in caplog.text
    monkeypatch.setattr(corruption_folder.shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    assert make(people, "--corruptions", "frost") == 1
    assert "need about" in capsys.readouterr().err
    assert len(list((people / "imagescorruption" / "frost").rglob("*.jpg"))) == 5 * 3


def test_damaged_source_is_named_and_the_others_are_made(people: Path, capsys) -> None:
    (people / "images" / "001.jpg").write_bytes(b"no picture")
    assert make(people, *CHOSEN) == 1
    assert f"{4 * (PEOPLE - 1)} of {4 * PEOPLE} pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["--style", "oil", "--png"], ["--style", "corruption", "--corruptions", "frog"],
                  ["--style", "corruption", "--severities", "6"], ["--style", "corruption", "--weights", "w"]],
)  # fmt: skip
def test_wrong_usage_ends_with_status_2(people: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        make_coco_ood.main([*arguments, "--data.root", str(people)])
    assert stop.value.code == 2


# --- the benchmark ---------------------------------------------------------------------------------------------------


def test_result_has_the_means_of_the_field(clean: Path, fragile: Fragile, tmp_path: Path, capsys) -> None:
    assert run(clean, tmp_path / "r.json") == 0
    assert list(tmp_path.iterdir()) == [tmp_path / "r.json"]
    result = read(tmp_path / "r.json")
    found = result["robustness"]
    assert found["clean"]["AP"] == 1
    kinds = {kind: [figures["AP"] for figures in each["severities"].values()] for kind, each in found["kinds"].items()}
    assert kinds.keys() == {"fog", "pixelate"}
    mean = sum(sum(values) / 2 for values in kinds.values()) / 2
    assert result["AP"] == found["mPC"] == found["rPC"] == pytest.approx(mean)
    assert kinds["fog"][0] > kinds["fog"][1] and kinds["pixelate"][0] > kinds["fog"][0]
    assert found["families"]["weather"]["AP"] == pytest.approx(sum(kinds["fog"]) / 2)
    assert found["severities"]["5"] == pytest.approx((kinds["fog"][1] + kinds["pixelate"][1]) / 2)
    assert result["counts"]["conditions"] == 4
    shown = capsys.readouterr().out
    assert "AP under corruption by severity" in shown and "2 of 15 kinds and 2 of 5 severities only" in shown


def test_a_lossless_folder_gives_the_figures_of_memory(people: Path, fragile: Fragile, tmp_path: Path) -> None:
    assert run(people, tmp_path / "memory.json") == 0
    assert make(people, "--png", *CHOSEN) == 0
    assert run(people, tmp_path / "folder.json") == 0
    memory, folder = read(tmp_path / "memory.json"), read(tmp_path / "folder.json")
    assert memory["robustness"] == folder["robustness"]
    assert memory["settings"]["corruption"]["pictures"] == "memory"
    assert folder["settings"]["corruption"]["pictures"].endswith("imagescorruption")


def test_stopped_run_goes_on_where_it_was(clean: Path, fragile: Fragile, tmp_path: Path, capsys) -> None:
    assert run(clean, tmp_path / "whole.json") == 0
    fragile.seen.clear()
    fragile.stop_after = 2 * PEOPLE + 3
    assert run(clean, tmp_path / "r.json") == 130
    kept = {path.stem for path in (tmp_path / "r.parts").glob("*.json")}
    assert kept == {"settings", "clean", "fog_1"}
    fragile.stop_after = None
    fragile.seen.clear()
    assert run(clean, tmp_path / "r.json", *CHOSEN, "--nms", "none") == 1
    assert "nms was 'oks', now 'none'" in capsys.readouterr().err
    assert run(clean, tmp_path / "r.json", *CHOSEN, "--corruption-seed", 1) == 1
    assert "seed was 0, now 1" in capsys.readouterr().err
    assert run(clean, tmp_path / "r.json") == 0
    assert len(fragile.seen) == 3 * PEOPLE
    assert (tmp_path / "r.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert not (tmp_path / "r.parts").exists()


@pytest.mark.slow  # two starts of the program
def test_two_processes_write_the_file_of_one(clean: Path, tmp_path: Path) -> None:
    """An SDPose checkpoint, whose batch the first process chooses for both."""
    checkpoint = make_checkpoint(tmp_path / "tiny.safetensors", head_std=0.001)
    data = ["--data.root", clean, "--annotations", "annotations/val.json", "--images", "images", "--ground-truth-boxes"]
    model = ["--checkpoint", checkpoint, "--benchmark", "coco-ood-corruption", "--device", "cpu", *CHOSEN]

    def asked(name: str) -> list[str]:
        return [str(each) for each in (*model, *data, "--out", tmp_path / f"{name}.json")]

    assert evaluate.main(asked("one")) == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    more = {**os.environ, **shared, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, str(ROOT / "training" / "evaluate.py"), *asked("two")]
    both = [
        subprocess.Popen(command, env={**more, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True)
        for rank in "01"
    ]
    errors = [process.communicate(timeout=600)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert (tmp_path / "two.json").read_bytes() == (tmp_path / "one.json").read_bytes()
    assert not (tmp_path / "two.parts").exists()


def test_what_does_not_fit_together_is_one_line(people: Path, fragile: Fragile, tmp_path: Path, capsys) -> None:
    def message(*more: object) -> str:
        assert run(people, tmp_path / "r.json", *CHOSEN, *more) == 1
        error = capsys.readouterr().err
        assert error.count("evaluate: ") == 1
        return error

    assert "no corrupted pictures beside" in message("--corrupted-pictures", "folder")
    assert "--gallery is for a single set of predictions" in message("--gallery", tmp_path / "g")
    assert make(people, "--corruptions", "fog") == 0
    assert f"lacks {2 * PEOPLE} of {4 * PEOPLE} pictures" in message()
    assert "was made with --corruption-seed 0, not 3" in message("--corruption-seed", 3)
    (people / "imagescorruption" / SETTINGS).write_text(json.dumps({"settings": {"style": "oil"}}))
    assert "has style 'oil', expected 'corruption'" in message()


@pytest.mark.slow  # two pictures are drawn
def test_compare_adds_curves_and_earlier_results(clean: Path, fragile: Fragile, tmp_path: Path) -> None:
    assert run(clean, tmp_path / "first.json") == 0
    fragile.strength, fragile.name = 0.3, "more fragile"
    more = ["--also", tmp_path / "first.json", "--compare", tmp_path / "c"]
    assert run(clean, tmp_path / "second.json", *CHOSEN, *more) == 0
    assert cv2.imread(str(tmp_path / "c" / "robustness.png")) is not None
    assert "COCO-OOD Corruption AP" in (tmp_path / "c" / "comparison.md").read_text()


# --- figures and curves ----------------------------------------------------------------------------------------------


def result(ap: float | None, model: str = "m") -> dict[str, Any]:
    figures = dict.fromkeys(("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl", "OKS"), ap)
    counts = {"pictures": 1, "annotated_people": 1}
    return {
        "benchmark": "coco-ood-corruption",
        "model": model,
        **figures,
        "parts": {},
        "counts": counts,
        "settings": {},
    }


@pytest.fixture
def full() -> dict[str, Any]:
    """All kinds: AP falls from .8 by .1 per severity, but for snow, which rises from severity 2 to 3."""
    results = {c: result(0.8 - 0.1 * c.severity) for c in corruptions(tuple(KINDS), (1, 2, 3, 4, 5))}
    results[Corruption("snow", 3)] = result(0.7)
    return summary({None: result(0.8), **results})


def test_summary_follows_the_definitions(full: dict[str, Any]) -> None:
    found = full["robustness"]
    assert found["mPC"] == pytest.approx((14 * 0.5 + 0.54) / 15)
    assert found["rPC"] == pytest.approx(found["mPC"] / 0.8)
    assert found["families"]["weather"]["AP"] == pytest.approx((3 * 0.5 + 0.54) / 4)
    assert found["kinds"]["snow"]["relative"] == pytest.approx(0.54 / 0.8)
    assert [(kind, before, after) for kind, before, after, _ in rises(full)] == [("snow", "2", "3")]
    assert relative(0.5, 0) is None and relative(None, 0.5) is None
    text = robustness_table(full)
    assert "AP rises with the severity: snow 2 to 3 (+10.0)." in text and "Only" not in text


def test_parts_of_whole_bodies_have_means_too() -> None:
    parts = [{"face": {"AP": ap, "AR": ap}} for ap in (0.9, 0.6, 0.2)]
    conditions = (None, Corruption("fog", 1), Corruption("fog", 2))
    made = summary({key: {**result(0.5), "parts": part} for key, part in zip(conditions, parts, strict=True)})
    assert made["parts"]["face"]["AP"] == pytest.approx(0.4)
    assert made["robustness"]["clean"]["parts"]["face"]["AP"] == 0.9
    assert made["robustness"]["kinds"]["fog"]["severities"]["2"]["parts"]["face"]["AR"] == 0.2


def test_figures_that_nobody_has_stay_empty() -> None:
    results = {None: result(0.8), Corruption("fog", 1): {**result(0.4), "APm": None}}
    made = summary(results)
    assert made["APm"] is None and made["AP"] == 0.4
    nothing = summary({None: result(None), Corruption("fog", 1): result(None)})
    assert nothing["robustness"]["rPC"] is None and "mPC -, rPC -" in robustness_table(nothing)
    draw_robustness([nothing])


def test_curves_show_kinds_of_one_estimator_and_families_of_several(full: dict[str, Any]) -> None:
    other = copy.deepcopy(full)
    other["model"] = "other $x$"
    one, two = draw_robustness([full]), draw_robustness([full, other])
    assert [len(axes.lines) for axes in one.axes] == [4, 5, 5, 5, 1, 1]
    assert [len(axes.lines) for axes in two.axes] == [2, 2, 2, 2, 2, 2]
    heights = one.axes[0].lines[0].get_ydata()
    assert heights == pytest.approx([80, 70, 60, 50, 40, 30])
    assert [text.get_text().splitlines()[0] for text in two.axes[4].get_legend().texts] == ["m", r"other \$x\$"]


def test_labels_tell_results_apart(full: dict[str, Any]) -> None:
    assert curve_labels([full, full]) == ["m (1)", "m (2)"]
    named = [{**full, "settings": {"domain": domain}} for domain in ("photo", "synthetic")]
    assert curve_labels(named) == ["m, photo", "m, synthetic"]


def test_the_script_refuses_other_results_and_other_files(full: dict[str, Any], tmp_path: Path, capsys) -> None:
    (tmp_path / "full.json").write_text(json.dumps(full))
    (tmp_path / "plain.json").write_text(json.dumps(result(0.5)))
    assert robustness.main([str(tmp_path / "full.json"), "--out", str(tmp_path / "new" / "r.png")]) == 0
    assert cv2.imread(str(tmp_path / "new" / "r.png")) is not None
    assert "mPC 50.3" in capsys.readouterr().out
    for file, out, message in (
        ("plain.json", "r.png", "no figures of robustness"), ("full.json", "r.txt", "ends in .png"),
    ):  # fmt: skip
        assert robustness.main([str(tmp_path / file), "--out", str(tmp_path / out)]) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(InputError, match="nothing to draw"):
        draw_robustness([])
