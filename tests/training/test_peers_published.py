"""Published names: the convention of heatmap models, and the paper's row of each model."""

from __future__ import annotations

import pytest

from sdpose_training.evaluation.comparison import compare
from sdpose_training.evaluation.comparison_report import format_comparison
from sdpose_training.evaluation.paper_names import estimator_in_paper
from sdpose_training.evaluation.paper_tables import paper_row
from sdpose_training.peers.conventions import DARK, PLAIN, UDP, Convention, convention_of


@pytest.mark.parametrize(
    ("name", "convention"),
    [
        ("td-hm_res152_8xb32-210e_coco-256x192", PLAIN),
        ("td-hm_hrnet-w48_8xb32-210e_coco-384x288-c161b7de_20220915", PLAIN),
        ("td-hm_hrformer-base_8xb32-210e_coco-256x192", PLAIN),
        ("hrnet_w48_coco_384x288_dark-e881a4b6_20210203", DARK),
        ("td-hm_vipnas-res50_dark-8xb64-210e_coco-wholebody-256x192", DARK),
        ("td-hm_hrnet-w32_udp-8xb64-210e_coco-256x192", UDP),
        ("cspnext-m_udp_8xb64-210e_coco-wholebody-256x192", UDP),
        ("td-hm_ViTPose-huge-simple_8xb64-210e_coco-256x192-ffd48c05_20230314", UDP),
        ("vitpose-25-b", UDP),
        ("sapiens_0.3b_goliath_best_goliath_AP_575", UDP),
        ("model", PLAIN),
    ],
)
def test_conventions(name: str, convention: Convention) -> None:
    assert convention_of(name) == convention


BODY, WHOLE = "COCO", "COCO-WholeBody"
ROWS = [
    ("ViTPose (usyd-community/vitpose-plus-small)", BODY, "ViTPose++-S"),
    ("ViTPose (usyd-community/vitpose-plus-base)", BODY, "ViTPose++-B"),
    ("ViTPose (usyd-community/vitpose-plus-large)", WHOLE, "ViTPose++-L"),
    ("ViTPose (vitpose-plus-huge)", WHOLE, "ViTPose++-H"),
    ("ViTPose (usyd-community/vitpose-base)", BODY, "ViTPose-B"),
    ("ViTPose (usyd-community/vitpose-base)", "HumanArt", "ViTPose-B"),
    ("Heatmaps (td-hm_ViTPose-huge_8xb64-210e_coco-256x192-e32adcd4_20230314)", "HumanArt", "ViTPose-H"),
    ("Heatmaps (td-hm_ViTPose-small_8xb64-210e_coco-256x192-62d7a712_20230314)", BODY, "ViTPose-S"),
    ("Heatmaps (vitpose-l)", BODY, "ViTPose-L"),
    ("RTMPose (rtmpose-tiny_simcc-coco_pt-aic-coco_420e-256x192-e613ba3f_20230127)", "HumanArt", "RTMPose-T"),
    ("RTMPose (rtmpose-m_8xb256-420e_coco-256x192)", "HumanArt", "RTMPose-M"),
    ("RTMPose (rtmpose-l_simcc-coco_pt-aic-coco_420e-256x192-1352a4d2_20230127)", "HumanArt", "RTMPose-L"),
    ("RTMPose (rtmpose-x_simcc-coco-wholebody_pt-body7_270e-384x288-401dfc90_20230629)", WHOLE, "RTMPose-x"),
    ("DWPose (dw-ll_ucoco_384)", WHOLE, "DWPose-l"),
    ("Heatmaps (td-hm_res152_8xb32-210e_coco-256x192-912440a2_20220929)", BODY, "SimpleBaseline"),
    ("Heatmaps (td-hm_hrformer-base_8xb32-210e_coco-256x192)", BODY, "HRFormer"),
    ("Heatmaps (td-hm_hrnet-w48_8xb32-210e_coco-384x288-c161b7de_20220915)", BODY, "HRNet"),
    ("Heatmaps (hrnet_w48_coco_384x288-314c8528_20200708)", BODY, "HRNet"),
    ("Heatmaps (td-hm_hrnet-w32_8xb64-210e_coco-256x192-81c58e40_20220909)", "HumanArt", "HRNet-W32"),
    ("Heatmaps (td-hm_hrnet-w48_8xb32-210e_coco-256x192)", "HumanArt", "HRNet-W48"),
    ("Heatmaps (td-hm_hrnet-w32_8xb64-210e_coco-wholebody-384x288)", WHOLE, "HRNet"),
    ("Sapiens (sapiens_0.3b_coco_mpii_crowdpose_aic_best_coco_AP_796_torchscript)", BODY, "Sapiens-0.3B"),
    ("Sapiens (sapiens_1b_coco_best_coco_AP_821_torchscript)", "COCO-OOD Monet", "Sapiens-1B"),
    ("Sapiens (sapiens_2b_coco_wholebody_best_coco_wholebody_AP_745_torchscript)", WHOLE, "Sapiens-2B"),
    ("Sapiens (sapiens_1b_coco_wholebody_best_coco_wholebody_AP_727)", "COCO-OOD Ukiyo-e (133)", "Sapiens-1B"),
]


@pytest.mark.parametrize(("model", "domain", "row"), ROWS)
def test_rows_of_the_paper(model: str, domain: str, row: str) -> None:
    assert estimator_in_paper(model, domain) == row
    assert paper_row(row, domain) is not None


@pytest.mark.parametrize(
    ("model", "domain"),
    [
        ("ViTPose (usyd-community/vitpose-base-simple)", BODY),  # another decoder
        ("ViTPose (usyd-community/vitpose-base-coco-aic-mpii)", BODY),  # more data
        ("Heatmaps (td-hm_ViTPose-huge-simple_8xb64-210e_coco-256x192-ffd48c05_20230314)", BODY),
        ("Heatmaps (td-hm_ViTPose-base_8xb64-210e_humanart-256x192)", "HumanArt"),
        ("RTMPose (rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504)", "HumanArt"),
        ("RTMPose (rtmpose-m_simcc-aic-coco_pt-aic-coco_420e-256x192-63eb25f7_20230126)", "HumanArt"),
        ("RTMPose (rtmpose-m_simcc-coco-wholebody_pt-aic-coco_270e-256x192)", "HumanArt"),
        ("RTMPose (rtmpose-m_8xb256-420e_humanart-256x192)", "HumanArt"),
        ("DWPose (dw-mm_ucoco)", WHOLE),
        ("Heatmaps (td-hm_hrnet-w48_dark-8xb32-210e_coco-384x288)", BODY),
        ("Heatmaps (td-hm_hrnet-w48_udp-8xb32-210e_coco-384x288)", BODY),
        ("Heatmaps (hrnet_w48_coco_384x288_dark-e881a4b6_20210203)", BODY),
        ("Heatmaps (td-hm_hrnet-w32_8xb64-210e_coco-256x192)", BODY),  # smaller than the paper's
        ("Heatmaps (td-hm_hrnet-w48_8xb32-210e_coco-384x288)", "own drawings"),
        ("Sapiens (sapiens_1b_goliath_best_goliath_AP_640_torchscript)", BODY),
        ("Sapiens (sapiens_1b_coco_wholebody_best_coco_wholebody_AP_727)", BODY),
        ("Sapiens2 (facebook/sapiens2-pose-1b)", BODY),
        ("YOLO (yolo11n-pose)", BODY),
        ("ECPose (ecpose_s)", BODY),
        ("RTMO (rtmo-s_8xb32-600e_body7-640x640)", BODY),
        ("preview", BODY),
        ("SDPose body", BODY),
    ],
)
def test_models_that_the_paper_does_not_have(model: str, domain: str) -> None:
    assert estimator_in_paper(model, domain) is None


def result(model: str, benchmark: str, ap: float) -> dict:
    paper = {"source": "arXiv 2509.24980, Table 3", "AP": 0.813, "AR": 0.852, "parts": {}}
    settings = {"keypoint_set": "coco_17"}
    return {"benchmark": benchmark, "model": model, "AP": ap, "AR": 0.8, "paper": paper, "settings": settings}


def test_the_paper_s_row_is_under_the_measured_one() -> None:
    models = ["YOLO (yolo11n-pose)", "ViTPose (usyd-community/vitpose-base)", "SDPose body"]
    results = [result(model, benchmark, 0.5) for model in models for benchmark in ("coco", "humanart")]
    lines = format_comparison(compare(results)).splitlines()
    labels = [line.partition("  ")[0] for line in lines[2:]]
    assert labels[:5] == [models[0], models[1], "ViTPose-B in the paper", models[2], "SDPose in the paper"]
    assert lines[4].split()[-4:] == ["75.8", "81.1", "55.5", "59.9"]
    assert labels.count("ViTPose-B in the paper") == 1 and "ViTPose-H in the paper" in labels[5:]
    assert list(compare(results).rows) == [*models, "SDPose in the paper"]  # the bars are those of the measured ones
