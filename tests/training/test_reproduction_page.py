"""The plan, the tables and the page of a reproduction."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reproduce_paper
from sdpose_core.errors import InputError
from sdpose_training.evaluation.paper_tables import SDPOSE, TABLES
from sdpose_training.evaluation.protocols import BODY, WHOLEBODY
from sdpose_training.recipe.recipe import Recipe
from sdpose_training.recipe.values import with_overrides
from sdpose_training.reproduction import report
from sdpose_training.reproduction.claims import CLAIMS, EVALUATIONS, choose, evaluations
from sdpose_training.reproduction.jobs import DONE, FAILED, KEPT, MISSING, Job, Outcome
from sdpose_training.reproduction.page import embedded
from sdpose_training.reproduction.parts import Ablation
from sdpose_training.reproduction.setup import CHECKPOINT, PEER, Candidate, Ground, Loading, Setup, find_ablations
from sdpose_training.reproduction.small import LAYOUTS, NOTICE, copy_samples, grounds, prepare
from sdpose_training.reproduction.small import pictures as small_pictures
from sdpose_training.reproduction.tables import (
    DIFFERENCE,
    OURS,
    PAPER,
    TableRow,
    evaluation_table,
    remarks_of,
    tables_of,
)

CANDIDATES = (
    Candidate(CHECKPOINT, "body", "SDPose body", BODY, 0.5),
    Candidate(PEER, "preview", "a <peer>", BODY, 0.01),
    Candidate(CHECKPOINT, "wholebody", "SDPose whole", WHOLEBODY),
)


def make_setup(out: Path, **more: Any) -> Setup:
    there = {
        (part.benchmark, part.keypoint_set): Ground(("--data.root", Path("COCO")), 104125) for part in evaluations()
    }
    return Setup(out, CANDIDATES, grounds=there, **more)


def result(name: str, **more: Any) -> dict[str, Any]:
    """As evaluate.py writes it; AP .8 and AR .9, and so in all parts."""
    figures = {"AP": 0.8, "AP50": 0.7, "AP75": None, "AR": 0.9, "AR50": 0.6}
    parts = dict.fromkeys(("body", "feet", "face", "hands", "left_hand", "right_hand"), figures)
    counts = {"pictures": 5000, "benchmark_pictures": 5000}
    return {"benchmark": "coco", "model": name, **figures, "parts": parts, "counts": counts, "departures": [], **more}


def finish(setup: Setup, content: Mapping[str, Any], only: str = "") -> dict[str, Outcome]:
    """Writes the results of all evaluations, as if they had run."""
    found = {}
    for part in EVALUATIONS.values():
        for job in part.jobs(setup):
            if only in job.name:
                job.result(setup.out).parent.mkdir(parents=True, exist_ok=True)
                job.result(setup.out).write_text(json.dumps(content))
                found[job.name] = Outcome(DONE, 60.0, 90.0)
    return found


def rows_of(kind: str, rows: tuple[TableRow, ...]) -> list[TableRow]:
    return [row for row in rows if row.kind == kind]


def test_our_figures_are_above_those_of_the_paper(tmp_path: Path) -> None:
    setup = make_setup(tmp_path)
    table = evaluation_table(TABLES["4"], setup, finish(setup, result("x")))
    assert [row.label for row in rows_of(OURS, table.rows)] == ["SDPose body", "a <peer>"]
    assert table.columns == ("AP", "AP50", "AP75", "AR", "AR50")
    assert rows_of(OURS, table.rows)[0].cells == ("80.0", "70.0", "–", "90.0", "60.0")
    assert rows_of(PAPER, table.rows)[0].cells == ("71.2", "87.3", "76.3", "73.9", "88.6")
    assert [row.cells for row in rows_of(DIFFERENCE, table.rows)] == [("+8.8", "-17.3", "–", "+16.1", "-28.6")]


@pytest.mark.parametrize("key", [key for key in TABLES if not key.startswith("2")])
def test_every_cell_of_the_paper_is_shown(tmp_path: Path, key: str) -> None:
    table, paper = evaluation_table(TABLES[key], make_setup(tmp_path), {}), TABLES[key]
    shown = {row.label.removesuffix(" in the paper"): row.cells for row in table.rows}
    expected = {name: tuple("–" if cell is None else f"{cell:.1f}" for cell in row) for name, row in paper.rows.items()}
    assert shown == expected
    assert sum(count for _, count in table.groups) == len(table.columns) == len(paper.rows[SDPOSE])


def test_parts_go_to_their_columns(tmp_path: Path) -> None:
    setup = make_setup(tmp_path)
    content = result("x")
    content["parts"] = {**content["parts"], "left_hand": {"AP": 0.123, "AR": 0.456}}
    table = evaluation_table(TABLES["6"], setup, finish(setup, content))
    assert rows_of(OURS, table.rows)[0].cells[6:8] == ("12.3", "45.6")


@pytest.mark.parametrize("change", [{"departures": ["4 of 5,000 pictures"]}, None], ids=["protocol", "small"])
def test_what_cannot_be_compared_has_no_difference(tmp_path: Path, change: dict[str, Any] | None) -> None:
    setup = make_setup(tmp_path, small=change is None)
    table = evaluation_table(TABLES["3"], setup, finish(setup, result("x", **(change or {}))))
    assert rows_of(OURS, table.rows)
    assert not rows_of(DIFFERENCE, table.rows)


def test_what_many_results_share_is_said_once(tmp_path: Path) -> None:
    setup = make_setup(tmp_path)
    outcomes = finish(setup, result("x", departures=["no flip test"]))
    lines = [line for claim in CLAIMS[:1] for line in remarks_of(claim, setup, outcomes)]
    assert len(lines) == len(set(lines))
    shared = [line for line in lines if line.endswith(": not to be compared with the paper: no flip test.")]
    assert len(shared) == 1
    for part in (part for part in CLAIMS[0].parts if part.jobs(setup)):
        assert part.name in shared[0]
    assert "(SDPose body, a <peer>)" in shared[0] and "(SDPose whole)" in shared[0]


def test_the_plan_says_what_runs_and_what_is_missing(tmp_path: Path) -> None:
    setup = make_setup(tmp_path, absent={"rtmpose:x.onnx": "no such file: x.onnx"})
    lost = {"missing": "humanart: no annotations at DIR; https://example.org"}
    there = {**setup.grounds, ("humanart", BODY): replace(setup.grounds["humanart", BODY], **lost)}
    setup = replace(setup, grounds=there)
    claims = choose(("1", "4"), None)
    known = report.known_outcomes(report.jobs_of(claims, setup), setup)
    rows = {row[0]: row for row in report.plan_rows(claims, setup, known)}
    assert rows["coco, 17 keypoints: SDPose body"][1:4] == ("runs", "about 14.5 hours", "table 1")
    assert rows["coco-wholebody, 133 keypoints: SDPose whole"][2] == "unknown"
    missing = rows["humanart, 17 keypoints: SDPose body"]
    assert missing[1:4:2] == (MISSING, "tables 1, 4")
    assert missing[4] == lost["missing"]
    assert rows["rtmpose:x.onnx"][1] == MISSING
    states = [row[1] for row in rows.values()]
    assert states == sorted(states, key=lambda state: state == MISSING), "what is missing comes last"
    assert "to run (more than" in report.plan_text(claims, setup, known)


def test_what_nobody_estimates_says_which_weights_to_get(tmp_path: Path) -> None:
    setup = replace(make_setup(tmp_path), candidates=CANDIDATES[:1])
    jobs = report.jobs_of(choose(("5",), None), setup)
    assert [job.missing for job in jobs] == [
        "an estimator of 133 keypoints: sdpose download wholebody, then --checkpoint wholebody"
    ]


def test_the_page_needs_no_other_file_and_marks_the_small_run(tmp_path: Path) -> None:
    setup = make_setup(tmp_path, small=True)
    outcomes = finish(setup, result("x"), only="coco,")
    failed = "coco-ood-monet, 17 keypoints: SDPose body"
    outcomes[failed] = Outcome(FAILED, 1.0, problem="it ended with 1: evaluate: <no> memory")
    page = report.write(CLAIMS, replace(setup, prepared={"ablations_body.toml": stand_in()}), outcomes).read_text()
    assert not re.search(r"<(script|link|iframe)", page)
    assert all(place.startswith("#") for place in re.findall(r'href="([^"]*)"', page))
    assert all(place.startswith("data:") for place in re.findall(r'src="([^"]*)"', page))
    assert "a &lt;peer&gt;" in page
    assert "&lt;no&gt; memory" in page
    marked = re.findall(r'<h3>.*<span class="mark">(.*)</span></h3>', page.replace("&#39;", "'"))
    assert marked == [NOTICE] * page.count('class="numbers"')
    for claim in CLAIMS:
        assert f'id="{claim.anchor}"' in page
        assert f'href="#{claim.anchor}"' in page


def stand_in() -> Job:
    return Job("ablation, tiny", "ablate.py", ("--list", "x"), ("table.json",))


def test_a_page_without_the_notice_is_the_papers_protocol(tmp_path: Path) -> None:
    setup = make_setup(tmp_path)
    page = report.write(CLAIMS, setup, finish(setup, result("x"))).read_text()
    assert NOTICE not in page
    assert "difference to SDPose in the paper" in page
    commands = [job.command(tmp_path) for part in EVALUATIONS.values() for job in part.jobs(setup)]
    text = page.replace("&lt;", "<").replace("&#39;", "'")
    assert all(command in text for command in commands)


def test_pictures_are_in_the_page_unless_they_are_huge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    assert embedded(path, "four").data.startswith("data:image/png;base64,")
    monkeypatch.setattr("sdpose_training.reproduction.page._MAX_PICTURE", 10)
    assert embedded(path, "four").data == ""
    assert str(path) in embedded(path, "four").caption


def test_a_given_ablation_is_read(tmp_path: Path) -> None:
    part = choose(("2",), None)[0].parts[0]
    figures = {"AP": 0.5, "AR": 0.6}
    arms = [
        {"name": "full", "title": "full (F1)", "mean": {"in-domain": figures, "Monet": None}},
        {"name": "f4", "title": "F4", "mean": {"in-domain": None, "Monet": None}},
    ]
    folder = tmp_path / "ablations"
    folder.mkdir()
    assert isinstance(part, Ablation)
    (folder / "table.json").write_text(json.dumps({"title": part.title, "arms": arms}))
    setup = make_setup(tmp_path, ablations=find_ablations([folder]))
    claims = choose(("2",), None)
    known = report.known_outcomes(report.jobs_of(claims, setup), setup)
    assert sorted(outcome.state for outcome in known.values()) == [KEPT, MISSING]
    table = tables_of(claims[0], setup, known)[0]
    assert rows_of(OURS, table.rows) == [TableRow("full (F1)", ("50.0 / 60.0", "–", *["–"] * 6))]
    assert [row.cells[2:4] for row in rows_of(PAPER, table.rows)][0] == ("81.3", "85.2")
    with pytest.raises(InputError, match=r"expected a folder of ablate\.py"):
        find_ablations([tmp_path])
    with pytest.raises(InputError, match="of the same list"):
        find_ablations([folder, folder])


# --- the small run -------------------------------------------------------------------------------------------------


def make_coco(root: Path, layout: tuple[str, str, str, str]) -> Path:
    """Six pictures, of which the first has nobody; one person and two boxes in each of the others."""
    body, whole, pictures, boxes = layout
    images = [{"id": k, "file_name": f"{k}.jpg", "width": 8, "height": 8} for k in range(6)]
    person = {"category_id": 1, "iscrowd": 0, "area": 9, "bbox": [0, 0, 4, 4], "num_keypoints": 17}
    people = [{**person, "id": k, "image_id": k, "keypoints": [1, 1, 2] * 17} for k in range(1, 6)]
    for name in (body, whole):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps({"images": images, "annotations": people, "categories": [{"id": 1}]}))
    (root / pictures).mkdir(exist_ok=True)
    for image in images:
        (root / pictures / image["file_name"]).write_bytes(b"picture")
    found = [{"image_id": k, "category_id": 1, "bbox": [0, 0, 4, 4], "score": s} for k in range(6) for s in (0.9, 0.1)]
    (root / boxes).parent.mkdir(exist_ok=True)
    (root / boxes).write_text(json.dumps(found))
    return root


@pytest.mark.parametrize("layout", LAYOUTS, ids=["COCO", "samples"])
def test_the_small_run_takes_a_few_photos(tmp_path: Path, layout: tuple[str, str, str, str]) -> None:
    root = make_coco(tmp_path / "root" / "COCO", layout)
    samples = copy_samples(root.parent, tmp_path / "out")
    assert (samples["pictures"], samples["count"], samples["people"], samples["wholebody"]) == (4, 8, 4, True)
    assert sorted(path.name for path in (tmp_path / "out" / "val2017").iterdir()) == [f"{k}.jpg" for k in range(1, 5)]
    content = json.loads((tmp_path / "out" / LAYOUTS[0][0]).read_text())
    assert [each["image_id"] for each in content["annotations"]] == [1, 2, 3, 4]
    assert copy_samples(root, tmp_path / "out") == samples


def test_photos_outside_of_their_folder_are_refused(tmp_path: Path) -> None:
    root = make_coco(tmp_path / "root", LAYOUTS[1])
    file = root / LAYOUTS[1][0]
    file.write_text(file.read_text().replace("1.jpg", "../../1.jpg"))
    with pytest.raises(InputError, match="file name"):
        copy_samples(root, tmp_path / "out")


def test_a_folder_of_another_kind_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected annotations/person_keypoints_val2017\.json or test_coco\.json"):
        copy_samples(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("with_photos", [True, False])
def test_every_claim_has_a_job_in_the_small_run(tmp_path: Path, with_photos: bool) -> None:
    root = make_coco(tmp_path / "root", LAYOUTS[0]) if with_photos else None
    prepared, candidates = prepare(root, tmp_path / "out", frozenset())
    places = grounds(root, tmp_path / "out", prepared)
    free = small_pictures(root, tmp_path / "out")
    setup = Setup(tmp_path / "out", candidates, {}, places, prepared=prepared, small=True, free=free)
    jobs = report.jobs_of(CLAIMS, setup)
    missing = [job.name for job in jobs if job.missing]
    expected = ["crowdpose", "133 points", "animation", *([] if with_photos else ["controlnet", "free", "style sheet"])]
    assert all(any(word in name for word in expected) for name in missing)
    assert all(any(word in name for name in missing) for word in expected)
    assert {part.benchmark for part in evaluations()} == {benchmark for benchmark, _ in places}
    assert all(job.note for job in jobs if job.script == "evaluate.py" and not job.missing)
    assert sum(job.seconds or 0 for job in jobs if not job.missing) < 25 * 60


def test_weights_that_are_given_are_not_trained(tmp_path: Path) -> None:
    _, candidates = prepare(None, tmp_path, frozenset({WHOLEBODY}))
    assert {each.keypoint_set for each in candidates} == {BODY}


def parser_of(script: str) -> Any:
    """Parses the arguments of a script; what is left over are values of a recipe."""
    name = {"make_figures.py": "sdpose_training.figures.options", "evaluate.py": "sdpose_training.evaluation.options"}
    return importlib.import_module(name.get(script, script.removesuffix(".py"))).build_parser()


@pytest.mark.parametrize("kind", ["full", "photos", "people"])
def test_every_command_is_one_that_its_script_takes(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    free = {name: tmp_path / name for name in ("base", "pictures", "driving", "generator", "controlnet", "motion")}
    setup = make_setup(out, root=tmp_path, free=free, common=Loading("cpu", "fp32", True, True).arguments())
    if kind != "full":
        root = make_coco(tmp_path / "root", LAYOUTS[0]) if kind == "photos" else None
        prepared, candidates = prepare(root, out, frozenset())
        setup = Setup(out, candidates, {}, grounds(root, out, prepared), free=free, prepared=prepared, small=True)
    for job in report.jobs_of(CLAIMS, setup):
        if not job.missing or job.arguments:
            _, left = parser_of(job.script).parse_known_args(job.words(out))
            keys = {word for word in left if word.startswith("--")}
            assert not keys or job.script in ("train.py", "ablate.py"), (job.name, left)
            with_overrides({}, left, Recipe)  # raises for an unknown key


# --- the command ---------------------------------------------------------------------------------------------------


def test_nothing_to_run_is_an_error_that_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--tables", "3", "--out", str(tmp_path / "out")]
    assert reproduce_paper.main(arguments) == 1
    shown = capsys.readouterr()
    assert "an estimator of 17 keypoints: sdpose download body, then --checkpoint body" in shown.out
    assert shown.err.splitlines()[-1] == ("reproduce_paper: nothing can run: see the table above for what is missing")
    assert not (tmp_path / "out").exists()
    assert reproduce_paper.main([*arguments, "--plan"]) == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--tables", "9"], "--tables 9: expected some of 1, 2"),
        (["--data.root", "nowhere"], "--data.root nowhere: no such folder"),
        (["--ablation", "nowhere"], "--ablation nowhere: expected a folder of ablate.py"),
    ],
)
def test_wrong_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    assert reproduce_paper.main([*arguments, "--out", str(tmp_path)]) == 1
    assert f"reproduce_paper: {problem}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_table_end_to_end(tmp_path: Path) -> None:
    """The preview on drawn people as COCO's validation pictures, twice; the second time everything is kept."""
    from drawn_people import make_people

    people = make_people(tmp_path / "people", 6)
    root = tmp_path / "COCO"
    (root / "annotations").mkdir(parents=True)
    (people / "images").rename(root / "val2017")
    content = json.loads((people / "annotations" / "val.json").read_text())
    (root / LAYOUTS[0][0]).write_text(json.dumps(content))
    found = [
        {k: each[k] for k in ("image_id", "bbox", "category_id")} | {"score": 1} for each in content["annotations"]
    ]
    (root / LAYOUTS[0][3]).parent.mkdir()
    (root / LAYOUTS[0][3]).write_text(json.dumps(found))
    out = tmp_path / "out"
    arguments = ["--data.root", str(root), "--peer", "preview", "--tables", "3", "--out", str(out)]
    assert reproduce_paper.main(arguments) == 0
    page = (out / report.PAGE).read_text()
    assert "not to be compared with the paper" in page, "six pictures are not 5,000"
    files = sorted(path for path in out.rglob("result.json"))
    written = files[0].stat().st_mtime_ns
    assert reproduce_paper.main(arguments) == 0
    assert files[0].stat().st_mtime_ns == written
    assert len(files) == 1
