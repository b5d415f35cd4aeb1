"""Estimators side by side: the table, the files, the picture, and what a reader is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import sdpose_core.dependencies as dependencies
from sdpose_core.errors import InputError, MissingDependency
from sdpose_core.images import read_image
from sdpose_training.evaluation.comparison import DOMAINS, PAPER, compare
from sdpose_training.evaluation.comparison_report import draw_comparison, format_comparison, write_comparison


def result(model: str, benchmark: str, ap: float | None, ar: float | None = 0.5, **more: Any) -> dict[str, Any]:
    """As `evaluate.py` writes it."""
    return {
        "benchmark": benchmark,
        "model": model,
        "AP": ap,
        "AP50": 0.9,
        "AR": ar,
        "parts": {"body": {"AP": 0.1}},
        "paper": more.get("paper"),
        "counts": {"pictures": more.get("pictures", 5000), "benchmark_pictures": 5000},
        "settings": {"keypoint_set": more.get("keypoint_set", "coco_17"), "domain": more.get("domain")},
        "hashes": {"annotations": "a", "boxes": more.get("boxes", "b")},
    }


NEEDS_MATPLOTLIB = "the picture needs matplotlib, of the extra train"
OURS = {"source": "arXiv 2509.24980, Table 1", "AP": 0.643, "AR": 0.689, "parts": {}}
RESULTS = [
    result("preview", "coco-ood-ukiyoe", 0.21, 0.3),
    result("preview", "coco", 0.4567, 0.55),
    result("SDPose", "coco-ood-monet", 0.63, 0.68, paper=OURS),
    result("SDPose", "coco", 0.81, 0.85, paper={**OURS, "AP": 0.813, "AR": 0.852}),
]


def test_the_table() -> None:
    table = compare(RESULTS)
    assert table.domains == ("COCO", "COCO-OOD Monet", "COCO-OOD Ukiyo-e")
    assert list(table.rows) == ["preview", "SDPose", PAPER]
    assert table.rows["preview"]["COCO"] == {"AP": 0.4567, "AP50": 0.9, "AR": 0.55}
    assert list(table.rows["SDPose"]) == ["COCO-OOD Monet", "COCO"]
    assert table.rows[PAPER]["COCO-OOD Monet"] == {"AP": 0.643, "AR": 0.689}
    assert table.remarks == ()


def test_the_screen() -> None:
    lines = format_comparison(compare(RESULTS)).splitlines()
    assert [line.split(" in the paper")[0] for line in lines[5:7]] == ["SimpleBaseline", "HRNet"]
    sapiens = next(line for line in lines if line.startswith("Sapiens-2B in the paper"))
    assert sapiens.split()[4:] == ["82.2", "86.0", "59.6", "64.0", "62.3", "66.8"]
    assert lines[0].split("  ")[-1] == "COCO-OOD Ukiyo-e"
    assert lines[1].split() == ["AP", "AR"] * 3
    assert lines[2].split() == ["preview", "45.7", "55.0", "-", "-", "21.0", "30.0"]
    assert lines[3].split() == ["SDPose", "81.0", "85.0", "63.0", "68.0", "-", "-"]
    assert lines[4].removeprefix(PAPER).split() == ["81.3", "85.2", "64.3", "68.9", "-", "-"]
    assert len({len(line) for line in lines}) == 1, "columns are aligned"


def test_whole_bodies_have_columns_of_their_own() -> None:
    whole = {"keypoint_set": "coco_wholebody_133"}
    table = compare(
        [
            result("b", "my own", 0.1),
            result("a", "coco-ood-monet", 0.4, **whole),
            result("a", "coco-wholebody", 0.7, **whole),
            result("b", "coco-ood-monet", 0.6),
        ]
    )
    assert table.domains == ("COCO-OOD Monet", "my own", "COCO-WholeBody", "COCO-OOD Monet (133)")


def test_what_a_reader_must_know() -> None:
    four = {"pictures": 4, "paper": OURS}
    assert "COCO: measured on 4 of 5,000 pictures; the paper's figures are for all." in format_comparison(
        compare([result("a", "coco", 0.5, **four)])
    )
    other_boxes = compare([result("a", "coco", 0.5), result("b", "coco", 0.6, boxes="others")])
    assert other_boxes.remarks == ("COCO: the rows differ in pictures, annotations or boxes.",)


def test_models_of_one_name_stay_apart() -> None:
    """Two checkpoints of SDPose have one name; one of them is measured twice, with other settings."""

    def of(path: str, digest: str, benchmark: str, ap: float) -> dict[str, Any]:
        weights = {"path": path, "sha256": {"best.safetensors": digest}}
        return {**result("SDPose", benchmark, ap), "hashes": {"weights": weights}}

    table = compare(
        [
            of("runs/f1.safetensors", "1", "coco", 0.1),
            of("runs/f1.safetensors", "1", "humanart", 0.2),
            of("runs/f2.safetensors", "2", "coco", 0.3),
            of("runs/f2.safetensors", "2", "humanart", 0.4),
            of("runs/f1.safetensors", "1", "humanart", 0.5),
            of("other/f1.safetensors", "3", "humanart", 0.6),
            result("preview", "coco", 0.7),
            result("preview", "coco", 0.8),
        ]
    )
    assert {name: {domain: row["AP"] for domain, row in own.items()} for name, own in table.rows.items()} == {
        "SDPose, f1.safetensors": {"COCO": 0.1, "HumanArt": 0.2},
        "SDPose, f2.safetensors": {"COCO": 0.3, "HumanArt": 0.4},
        "SDPose, f1.safetensors (2)": {"HumanArt": 0.5},
        "SDPose, f1.safetensors (3)": {"HumanArt": 0.6},
        "preview": {"COCO": 0.7},
        "preview (2)": {"COCO": 0.8},
    }


def test_the_files(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason=NEEDS_MATPLOTLIB)
    write_comparison(compare(RESULTS), tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert sorted(path.name for path in folder.iterdir()) == ["comparison.json", "comparison.md", "comparison.png"]
    content = json.loads((folder / "comparison.json").read_text())
    assert content["domains"] == list(compare(RESULTS).domains)
    assert content["rows"]["SDPose"]["COCO"]["AP"] == 0.81
    lines = re.sub(" +", " ", (folder / "comparison.md").read_text()).splitlines()
    assert "| preview | 45.7 | 55.0 | - | - | 21.0 | 30.0 |" in lines
    assert "(comparison.png)" in lines[-1]
    picture = read_image(folder / "comparison.png")
    assert picture.shape[0] > 500 and picture.shape[1] > 800


def test_the_picture() -> None:
    text = pytest.importorskip("matplotlib.text", reason=NEEDS_MATPLOTLIB)
    drawn = draw_comparison(compare(RESULTS)).findobj(text.Text)
    texts = {text.get_text().replace("\n", " ") for text in drawn}
    assert {"preview", "SDPose", PAPER, *compare(RESULTS).domains, "45.7", "21.0", "81.0", "64.3"} <= texts
    assert "0.0" not in texts, "no bar stands where nothing was measured"


def test_names_that_mean_something_to_markdown_or_matplotlib(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason=NEEDS_MATPLOTLIB)
    names = ["a|b", "_hidden", "costs $5 or $6", "x" * 80]
    write_comparison(compare([result(name, "coco", k / 10) for k, name in enumerate(names)]), tmp_path)
    text = (tmp_path / "comparison.md").read_text()
    assert all(len([c for c in line.replace("\\|", "") if c == "|"]) == 4 for line in text.splitlines() if "|" in line)


def test_figures_that_there_are_not(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason=NEEDS_MATPLOTLIB)
    results = [result("a", "coco", None, None), result("b", "coco", 0.0)]
    assert format_comparison(compare(results)).splitlines()[2].split() == ["a", "-", "-"]
    write_comparison(compare(results), tmp_path)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "at least one result"),
        ([{"model": "a", "AP": 0.5, "AR": 0.5}], "has no 'benchmark', only model, AP, AR"),
        ([{"model": "a", "benchmark": "coco", "AP": 0.5}], "has no AR"),
    ],
    ids=["none", "no benchmark", "no AR"],
)
def test_what_is_no_result(results: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        write_comparison(compare(results), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_matplotlib_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str) -> None:
        raise ImportError(module)

    monkeypatch.setattr(dependencies, "installed", lambda module: False)
    monkeypatch.setattr(dependencies.importlib, "import_module", absent)
    with pytest.raises(MissingDependency, match="the picture of a comparison needs the package 'matplotlib'"):
        write_comparison(compare(RESULTS), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_order_of_the_domains() -> None:
    """Photographs first, then as table 1 has them."""
    photos = ["coco", "coco-gt-boxes", "crowdpose", "ochuman-val", "ochuman", "coco-wholebody"]
    art = ["humanart", "coco-ood-monet", "coco-ood-ukiyoe", "coco-ood-corruption"]
    assert list(DOMAINS) == [*photos, *art]


def test_custom_data_are_domains_of_their_own() -> None:
    sets = [result("a", "custom", 0.6, domain="shaded"), result("a", "custom", 0.4, domain="sketch")]
    table = compare(sets)
    assert table.domains == ("shaded", "sketch") and list(table.rows) == ["a"] and not table.peers
