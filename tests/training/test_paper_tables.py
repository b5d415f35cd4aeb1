"""The paper's tables, cell by cell, and that all its figures in this project are from there."""

from __future__ import annotations

import json

import pytest
from paths import GOLDEN, ROOT

from sdpose_core.errors import InputError
from sdpose_training.ablation.arms import read_list
from sdpose_training.evaluation.paper_tables import (
    PARAMETERS,
    SDPOSE,
    TABLES,
    ablation_row,
    paper_row,
    peers_of,
    sdpose_row,
)
from sdpose_training.evaluation.protocols import BENCHMARKS

GIVEN = json.loads((GOLDEN / "paper_tables.json").read_text())
"""Typed from the paper apart from the code: a row per estimator, "columns" above."""

NAMES = {
    "table1_body": "1, body", "table1_wholebody": "1, whole body", "table2_ablation_body": "2, body",
    "table2_ablation_wholebody": "2, whole body", "table3_coco": "3", "table4_humanart": "4",
    "table5_coco_wholebody": "5", "table6_monet_wholebody": "6", "table7_ukiyoe_wholebody": "7",
}  # fmt: skip
STATED = ("params", "input")
"""Columns with a property of the model."""

CELLS = [
    (table, name, column, value)
    for table, rows in GIVEN.items()
    for name, row in rows.items()
    if name not in ("columns", "boxes")
    for column, value in enumerate(row)
]


def test_every_table_is_there() -> None:
    assert {NAMES[name] for name in GIVEN} == set(TABLES)
    for name, rows in GIVEN.items():
        expected = [row.removesuffix(" (SD2)") for row in rows if row not in ("columns", "boxes")]
        assert list(TABLES[NAMES[name]].rows) == expected
    assert len(CELLS) == 400


def test_every_cell_is_the_paper_s() -> None:
    for table, name, column, value in CELLS:
        own, heading = TABLES[NAMES[table]], GIVEN[table]["columns"][column]
        estimator = name.removesuffix(" (SD2)")
        if heading == "params":
            assert PARAMETERS[estimator] == value
        elif heading == "input":
            w, h = own.input_sizes[estimator]
            assert f"{h}x{w}" == value
        else:
            figures = [each for each in GIVEN[table]["columns"] if each not in STATED]
            place = column - (len(GIVEN[table]["columns"]) - len(figures))
            assert own.rows[estimator][place] == value, (table, name, heading)


def test_every_column_means_what_the_paper_s_heading_says() -> None:
    words = {"COCO-OOD Monet": "Monet", "COCO-OOD Ukiyo-e": "Ukiyo-e"}
    for table, rows in GIVEN.items():
        headings = [each for each in rows["columns"] if each not in STATED]
        columns = TABLES[NAMES[table]].columns
        assert len(headings) == len(columns)
        for heading, (domain, part, figure) in zip(headings, columns, strict=True):
            plain = domain.removesuffix(" (133)")
            *place, last = heading.replace("hand AP", "hands AP").replace("hand AR", "hands AR").split()
            said = " ".join(place)
            known = {"", words.get(plain, plain), part.replace("_", " "), "whole" if not part else "-"}
            known |= {f"{part.replace('_', ' ')}s"} if part.endswith("_hand") else set()
            assert last == figure and said in known, (table, heading, domain, part)


def test_every_estimator_has_a_figure_in_every_table_where_it_is() -> None:
    for table in TABLES.values():
        for name, row in table.rows.items():
            assert len(row) == len(table.columns)
            assert any(table.row(name, domain) for domain in table.domains())


def test_a_row_has_all_that_the_tables_say() -> None:
    row = paper_row("Sapiens-2B", "COCO-OOD Monet (133)")
    assert row is not None
    assert (row.source, row.parameters, row.figures) == ("Table 6", "2.163B", {"AP": 44.4, "AR": 53.0})
    assert row.parts["left_hand"] == {"AP": 48.2, "AR": 56.8} and len(row.parts) == 5
    row = paper_row("ViTPose-H", "HumanArt")
    assert row is not None and row.figures == {"AP": 66.5, "AP50": 86.0, "AP75": 71.5, "AR": 70.1, "AR50": 87.1}
    row = paper_row("HRNet", "COCO")
    assert row is not None and row.input_size == (288, 384)
    row = paper_row("ViTPose++-L", "COCO-WholeBody")
    assert row is not None and row.figures == {"AP": 60.6} and row.parts["face"] == {"AP": 63.0}
    assert paper_row("GenLoc (SD1.5)", "COCO-OOD Monet") is None and paper_row("YOLO", "COCO") is None


def test_sdpose_in_the_benchmarks_is_sdpose_in_the_tables() -> None:
    assert BENCHMARKS["coco"].paper["coco_17"] == sdpose_row("COCO")
    parts = BENCHMARKS["coco-wholebody"].paper["coco_wholebody_133"].parts
    assert parts == {
        "body": {"AP": 77.9, "AR": 83.4}, "feet": {"AP": 81.5, "AR": 88.7}, "face": {"AP": 88.5, "AR": 92.2},
        "hands": {"AP": 65.2, "AR": 74.0},
    }  # fmt: skip
    assert BENCHMARKS["humanart"].paper["coco_17"].figures["AP75"] == 76.3
    monet, ukiyoe = (BENCHMARKS[f"coco-ood-{style}"].paper for style in ("monet", "ukiyoe"))
    assert monet["coco_17"].source == "Table 1; Table 2 has 63.5 / 68.2 for F1 and these for F2"
    assert ukiyoe["coco_17"].source == "Table 1"
    assert ukiyoe["coco_wholebody_133"].parts["right_hand"] == {"AP": 44.1, "AR": 54.3}
    with pytest.raises(InputError, match=r"no figures of SDPose on 'CrowdPose': it has COCO, HumanArt"):
        sdpose_row("CrowdPose")


def test_peers_have_all_their_figures_as_fractions() -> None:
    rows = peers_of(("COCO", "HumanArt", "COCO-WholeBody"))
    assert rows["ViTPose-B in the paper"]["HumanArt"] == {
        "AP": 0.555, "AP50": 0.782, "AP75": 0.59, "AR": 0.599, "AR50": 0.809,
    }  # fmt: skip
    assert rows["ViTPose++-H in the paper"]["COCO-WholeBody"] == {"AP": 0.612, "AR": None}
    assert rows["GenLoc (SD1.5) in the paper"] == {
        "COCO": {"AP": 0.776, "AR": 0.807}, "HumanArt": {"AP": 0.67, "AR": 0.708},
    }  # fmt: skip
    assert not any(name.startswith(SDPOSE) for name in rows)
    assert peers_of(("own drawings",)) == {}


def test_arms_name_their_row_of_table_2() -> None:
    assert ablation_row("whole body, F3") == {"COCO-WholeBody": (70.4, 77.6), "Monet": (45.5, 53.8)}
    with pytest.raises(InputError, match=r"no row 'body, F5': did you mean 'body, F"):
        ablation_row("body, F5")
    [full, *_] = read_list(ROOT / "training" / "recipes" / "ablations_body.toml").arms
    assert full.paper == {"COCO": (81.3, 85.2), "HumanArt": (71.2, 73.9), "Monet": (63.5, 68.2)}
