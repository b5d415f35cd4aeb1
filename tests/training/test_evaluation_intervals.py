"""Intervals by resampling pictures, and paired differences: cases with known answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_truth import random_found, random_truth

from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_17
from sdpose_training.evaluation.bootstrap import Bootstrap, estimate, resampled_figures, resamples
from sdpose_training.evaluation.comparison import AS_STATED, PHOTOS_FIRST, Comparison, compare
from sdpose_training.evaluation.comparison_plots import draw_differences
from sdpose_training.evaluation.comparison_report import draw_comparison, format_comparison, write_comparison
from sdpose_training.evaluation.picture_matches import PictureMatches, match_pictures

FAST = Bootstrap(resamples=100)
NEEDS_MATPLOTLIB = "the picture needs matplotlib, of the extra train"


def matches(error: float, pictures: int = 60, seed: int = 0) -> PictureMatches:
    truth = random_truth(pictures)
    return match_pictures(truth, random_found(truth, error, seed, strangers=0), COCO_17.sigmas)


def result(model: str, found: PictureMatches, benchmark: str = "coco", **more: Any) -> dict[str, Any]:
    """As `evaluate.py` writes it, as far as comparisons read it."""
    settings = {"keypoint_set": "coco_17", **more.pop("settings", {})}
    return {
        "benchmark": benchmark, "model": model, **found.figures(), "parts": {}, "paper": None,
        "counts": {"pictures": len(found.picture_ids)}, "settings": settings, "hashes": {}, **more,
    }  # fmt: skip


def compared(bootstrap: Bootstrap = FAST, **estimators: PictureMatches) -> Comparison:
    results = [result(name, found) for name, found in estimators.items()]
    return compare(results, [(found, "") for found in estimators.values()], bootstrap)


# --- resampling ----------------------------------------------------------------------------------------------------


def test_resamples_are_of_as_many_pictures_and_depend_on_the_seed_alone() -> None:
    drawn = np.stack(list(resamples(40, FAST)))
    assert drawn.shape == (100, 40) and set(drawn.sum(axis=1)) == {40}
    np.testing.assert_array_equal(drawn, np.stack(list(resamples(40, FAST))))
    assert (drawn != np.stack(list(resamples(40, replace(FAST, seed=1))))).any()
    assert drawn.mean() == 1 and drawn.mean(axis=0) == pytest.approx(1, abs=0.5)


def test_an_interval_holds_the_middle_of_the_resamples() -> None:
    values = np.random.default_rng(0).permutation(np.linspace(0, 1, 1001))
    found = estimate(0.5, values, 0.9)
    assert (found.low, found.high) == pytest.approx((0.05, 0.95)) and found.apart
    assert not estimate(0.5, values - 0.5, 0.9).apart
    assert np.isnan(estimate(0.5, np.full(3, np.nan), 0.9).low)


def test_the_interval_of_a_mean_is_that_of_statistics() -> None:
    """Recall at one threshold with a person per picture is a mean of 0 and 1: its standard error is known."""
    count, right = 400, np.arange(400) % 4 > 0
    hits = np.tile(right, (10, 1))
    found = PictureMatches(
        tuple(range(count)), np.ones(count, int), np.arange(count), np.linspace(1, 0, count), hits, hits & False
    )
    assert found.figures()["AR"] == 0.75
    spread = resampled_figures(found, Bootstrap(1000))["AR"]
    assert spread.std() == pytest.approx(np.sqrt(0.75 * 0.25 / count), rel=0.08)
    assert spread.mean() == pytest.approx(0.75, abs=0.003)


# --- differences ---------------------------------------------------------------------------------------------------


def test_the_same_estimator_twice_differs_by_exactly_0() -> None:
    (difference,) = compared(one=matches(15), other=matches(15)).uncertainty.differences
    for value in difference.figures.values():
        assert (value.value, value.low, value.high) == (0, 0, 0) and not value.apart


def test_an_estimator_that_is_better_on_every_picture_is_better() -> None:
    table = compared(good=matches(3), bad=matches(40))
    (difference,) = table.uncertainty.differences
    assert (difference.first, difference.second) == ("good", "bad")
    value = difference.figures["AP"]
    assert 0 < value.low < value.value < value.high and value.apart
    lines = format_comparison(table).splitlines()
    line = next(each for each in lines if each.startswith("COCO: good - bad"))
    assert line.count("*") == 2 and f"+{100 * value.value:.1f} (+{100 * value.low:.1f} .." in line


def test_a_difference_by_chance_is_not_told_as_one() -> None:
    (difference,) = compared(one=matches(15, seed=1), other=matches(15, seed=2)).uncertainty.differences
    value = difference.figures["AP"]
    assert value.low < 0 < value.high and not value.apart


def test_pairs_are_narrower_than_their_intervals_apart() -> None:
    """The difficulty of the pictures cancels."""
    table = compared(one=matches(15), other=match_like(matches(15)))
    (difference,) = table.uncertainty.differences
    paired = difference.figures["AR"].high - difference.figures["AR"].low
    each = [table.uncertainty.interval(name, "COCO", "AR") for name in ("one", "other")]
    assert paired < 0.5 * np.sqrt(sum((e.high - e.low) ** 2 for e in each if e))


def match_like(found: PictureMatches) -> PictureMatches:
    """The same, but every tenth right person is wrong."""
    right = found.right.copy()
    right[:, ::10] = False
    return replace(found, right=right)


def test_intervals_contain_the_figures_and_repeat() -> None:
    table = compared(one=matches(15))
    value = table.uncertainty.interval("one", "COCO", "AP")
    assert value is not None and value.low < value.value < value.high
    assert table.uncertainty.differences == ()
    assert compared(one=matches(15)).uncertainty == table.uncertainty
    wider = compared(replace(FAST, level=0.99), one=matches(15)).uncertainty.interval("one", "COCO", "AP")
    assert wider is not None and wider.high - wider.low > value.high - value.low


def test_other_pictures_are_not_paired() -> None:
    table = compared(one=matches(15), other=matches(15, pictures=40))
    assert table.uncertainty.differences == ()
    assert "COCO: no differences between results of different pictures." in table.all_remarks


def test_few_pictures_are_told() -> None:
    table = compared(one=matches(15, pictures=12))
    assert any("intervals of 12 pictures are too narrow" in remark for remark in table.all_remarks)


def test_results_without_matches_are_told() -> None:
    found = matches(15)
    results = [result("new", found), result("old", found), result("mixed up", found)]
    table = compare(results, [(found, ""), (None, "made before"), (matches(3), "")], FAST)
    assert list(table.rows) == ["new", "old", "mixed up"] and list(table.uncertainty.intervals) == ["new"]
    assert "COCO, old: no interval: made before." in table.all_remarks
    assert "COCO, mixed up: no interval: its matches do not give its AP: evaluate again." in table.all_remarks


def test_no_resamples_no_intervals() -> None:
    assert compared(Bootstrap(resamples=0), one=matches(15)).uncertainty is None


def test_a_pair_has_the_order_of_the_table_on_every_domain() -> None:
    found, other = matches(3, 40), matches(15, 40)
    results = [
        result("b", other, "humanart"), result("a", found, "humanart"), result("a", found), result("b", other)
    ]  # fmt: skip
    pairs = compare(results, [(other, ""), (found, ""), (found, ""), (other, "")], FAST).uncertainty.differences
    assert [(each.domain, each.first, each.second) for each in pairs] == [("COCO", "b", "a"), ("HumanArt", "b", "a")]


# --- order and groups ----------------------------------------------------------------------------------------------


def custom(*domains: str) -> list[dict[str, Any]]:
    return [result("a", matches(15, 12), "custom", settings={"domain": domain}) for domain in domains]


def test_photographs_come_first_and_an_order_may_be_stated() -> None:
    table = compare([*custom("oil", "photo", "sketch"), result("a", matches(15, 12), "humanart")])
    assert table.domains == ("photo", "HumanArt", "oil", "sketch") and table.order == PHOTOS_FIRST
    stated = compare(custom("oil", "photo", "sketch"), order=("sketch", "photo"))
    assert stated.domains == ("sketch", "photo", "oil") and stated.order == AS_STATED
    with pytest.raises(InputError, match="--order names 'inks': the results have oil, photo"):
        compare(custom("oil", "photo"), order=("inks",))


def test_what_differs_from_the_paper_is_in_the_comparison() -> None:
    told = result("a", matches(15, 12), departures=["no flip test", "4 of 5,000 pictures"])
    assert "COCO, a: not to be compared with the paper: no flip test; 4 of 5,000 pictures." in compare([told]).remarks
    text = pytest.importorskip("matplotlib.text", reason=NEEDS_MATPLOTLIB)
    drawn = draw_comparison(compare([{**told, "paper": {"AP": 0.8, "AR": 0.9}}])).findobj(text.Text)
    assert any("Not all are to be compared with the paper" in each.get_text() for each in drawn)


def test_groups_of_pictures_are_tables_of_their_own() -> None:
    groups = {"scenario": {"dance": {"AP": 0.5, "pictures": 3}, "cartoon": {"AP": None, "pictures": 2}}}
    table = compare([result("a", matches(15, 12), "humanart", groups=groups), result("b", matches(9, 12), "humanart")])
    assert table.groups == {"HumanArt by scenario": {"a": groups["scenario"]}}
    text = " ".join(format_comparison(table).split())
    assert "HumanArt by scenario AP, percent a dance 50.0 cartoon -" in text
    assert table.content()["groups"] == table.groups


# --- files ---------------------------------------------------------------------------------------------------------


def test_files_with_intervals(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason=NEEDS_MATPLOTLIB)
    table = compared(good=matches(3), bad=matches(40))
    write_comparison(table, tmp_path)
    names = ["comparison.json", "comparison.md", "comparison.png", "differences.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert content["bootstrap"] == {"resamples": 100, "seed": 0, "level": 0.95}
    low, high = content["intervals"]["good"]["COCO"]["AP"]
    assert low < content["rows"]["good"]["COCO"]["AP"] < high
    (pair,) = content["differences"]
    assert (pair["domain"], pair["first"], pair["second"]) == ("COCO", "good", "bad") and pair["AP"][1] > 0
    text = (tmp_path / "comparison.md").read_text()
    assert "(differences.png)" in text and PHOTOS_FIRST in text
    assert "## 95% intervals of 100 resamples of the pictures" in text


def test_pictures_show_intervals_and_zero() -> None:
    lines = pytest.importorskip("matplotlib.lines", reason=NEEDS_MATPLOTLIB)
    table = compared(good=matches(3), bad=matches(40))
    ends = [
        line.get_ydata() for line in draw_comparison(table).findobj(lines.Line2D) if len(set(line.get_xdata())) == 1
    ]
    wanted = table.uncertainty.interval("good", "COCO", "AP")
    assert wanted is not None
    assert any(len(e) == 2 and e == pytest.approx([100 * wanted.low, 100 * wanted.high]) for e in map(list, ends))
    axes = draw_differences(table.uncertainty).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["good − bad"]
    assert axes.get_xlim()[0] < 0 < axes.get_xlim()[1]
