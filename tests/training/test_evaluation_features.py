"""Feature analysis: features of every level, their pooling, silhouettes, and the command as a whole."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from drawn_people import make_people
from tiny import SMALL as CONFIG

from analyze_features import main
from sdpose_core.checkpoints.layouts import save_checkpoint
from sdpose_core.codec.crops import make_crop
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.images import read_image
from sdpose_core.model.empty_prompt import empty_prompt_embedding
from sdpose_core.model.network import SDPose
from sdpose_core.skeletons import COCO_17
from sdpose_training.data.annotations import People, read_annotations, read_people
from sdpose_training.features.collection import choose_people, collect, pool
from sdpose_training.features.models import LEVELS, ModelOptions, load_feature_model, random_model
from sdpose_training.features.picture_styles import PictureStyle, parse_styles
from sdpose_training.features.report import how
from sdpose_training.features.separation import separate
from sdpose_training.styles.filters import FILTERS

FP32 = ModelOptions(device="cpu", dtype="fp32")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn people, and the same pictures inverted and blurred."""
    root = make_people(tmp_path_factory.mktemp("people"), count=6)
    for name, paint in (("inverted", lambda p: 255 - p), ("blurred", lambda p: cv2.GaussianBlur(p, (0, 0), 2))):
        (root / name).mkdir()
        for file in (root / "images").iterdir():
            cv2.imwrite(str(root / name / file.name), paint(cv2.imread(str(file))))
    return root


def people_of(data: Path) -> People:
    return read_people(read_annotations(data / "annotations" / "val.json"), data / "images", COCO_17)[0]


def styles_of(data: Path) -> list[PictureStyle]:
    return [PictureStyle("original", data / "images"), PictureStyle("inverted", data / "inverted")]


def crops(people: People, style: PictureStyle) -> torch.Tensor:
    pixels = [
        make_crop(read_image(style.folder / f.name), b, (64, 128))[0]
        for f, b in zip(people.files, people.boxes_xyxy, strict=True)
    ]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.mark.parametrize("level", LEVELS)
def test_features_of_a_level_are_those_of_a_model_of_that_level(level: str, data: Path, checkpoint: Path) -> None:
    from sdpose_core.checkpoints.layouts import read_checkpoint

    people, styles = people_of(data), styles_of(data)
    found = collect(load_feature_model("tiny", str(checkpoint), FP32), people, styles, batch=4)[level]
    model = SDPose(replace(CONFIG, feature_levels=(level,))).eval()
    state = read_checkpoint(checkpoint)[1]
    own = model.state_dict()
    model.load_state_dict({k: own[k] if k.startswith("head.") else state[k] for k in own})
    with torch.no_grad():
        expected = [model.features(crops(people, style)).mean(dim=(2, 3)).numpy() for style in styles]
    assert found.shape == (2, 6, model.config.feature_widths[level])
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-4, atol=1e-5)


def test_pooling_reads_the_map_where_it_says() -> None:
    w, h = 17, 9
    ramp = torch.stack([torch.arange(w).float().expand(h, w), torch.arange(h).float()[:, None].expand(h, w)])[None]
    np.testing.assert_allclose(pool(ramp, "mean", [], (65, 33)), [[8, 4]])
    grid = pool(torch.arange(64.0).view(1, 1, 8, 8), "grid", [], (64, 64))
    assert grid.shape == (1, 16)
    assert grid[0, 0] == np.mean([0, 1, 8, 9])
    points = np.array([[8.0, 4.0], [32.0, 20.0], [900.0, 20.0]])  # input pixels; the last lies outside, at the edge
    np.testing.assert_allclose(pool(ramp, "keypoints", [points], (65, 33)), [[(2 + 8 + 16) / 3, (1 + 5 + 5) / 3]])


def test_stable_diffusion_runs_as_diffusers_runs_it(tmp_path: Path) -> None:
    """Without class embedding, at the same timestep and empty prompt: F1 is what goes into conv_norm_out."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 8, 16, 16), layers_per_block=1, attention_head_dim=(1, 1, 2, 2), norm_num_groups=4,
        cross_attention_dim=1024, use_linear_projection=True,
    ).eval()  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 8, 8), layers_per_block=1, norm_num_groups=2, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    ).eval()  # fmt: skip
    unet.save_pretrained(tmp_path / "unet")
    vae.save_pretrained(tmp_path / "vae")
    images = torch.rand(2, 3, 128, 64) * 2 - 1
    seen = {}
    unet.conv_norm_out.register_forward_pre_hook(lambda _module, inputs: seen.update(F1=inputs[0]))
    with torch.no_grad():
        latents = vae.encode(images).latent_dist.mode() * 0.18215
        unet(latents, 999, empty_prompt_embedding().repeat(2, 1, 1))
        found = load_feature_model("SD2", str(tmp_path), FP32).features(images)
    assert list(found) == list(LEVELS)
    torch.testing.assert_close(found["F1"], seen["F1"], rtol=1e-4, atol=1e-5)


def test_random_weights_follow_from_the_seed_alone() -> None:
    images = torch.rand(1, 3, 128, 64)
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    first, second, other = (random_model("r", CONFIG, seed, FP32).features(images)["F2"] for seed in (1, 1, 2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert not torch.allclose(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_levels_that_a_file_lacks_are_left_out(tmp_path: Path) -> None:
    config = replace(CONFIG, feature_levels=("F2",))
    save_checkpoint(SDPose(config).state_dict(), config, tmp_path / "f2.safetensors")
    assert load_feature_model("F2 only", str(tmp_path / "f2.safetensors"), FP32).levels == ("F4", "F3", "F2")


class Backboned(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = torch.nn.Conv2d(3, 5, 16, stride=16)
        self.head = torch.nn.Conv2d(5, 17, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x))


def test_torchscript_runs_only_when_it_is_trusted(tmp_path: Path) -> None:
    path, module = tmp_path / "sapiens.pt2", Backboned().eval()
    torch.jit.trace(module, torch.zeros(1, 3, 64, 64)).save(str(path))
    with pytest.raises(InputError, match="--trust-file"):
        load_feature_model("Sapiens", str(path), FP32)
    trusted = load_feature_model("Sapiens", str(path), replace(FP32, trust_file=True))
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    expected = module.backbone(((images + 1) * 127.5 - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    torch.testing.assert_close(trusted.features(images)["backbone"], expected, rtol=1e-4, atol=1e-4)
    other = load_feature_model("Sapiens", str(path), replace(FP32, trust_file=True))
    with pytest.raises(CheckpointError, match=r"its backbone does not run on crops of 2 x 1: .*[Kk]ernel size"):
        other.features(torch.zeros(1, 3, 1, 2))
    path.write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="no TorchScript"):
        load_feature_model("Sapiens", str(path), replace(FP32, trust_file=True))


def silhouette(rows: np.ndarray, labels: np.ndarray) -> float:
    """By its definition (Rousseeuw 1987)."""
    distance = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    scores = []
    for i, label in enumerate(labels):
        means = {k: distance[i, labels == k].sum() / ((labels == k).sum() - (k == label)) for k in set(labels)}
        inside, outside = means.pop(label), min(means.values())
        scores.append((outside - inside) / max(inside, outside))
    return float(np.mean(scores))


def test_silhouettes_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 8, 5)) + 2 * rng.normal(size=(1, 8, 5))
    vectors[..., 4] = 7.0  # a constant channel says nothing
    found = separate("m", "F1", vectors)
    rows = vectors[..., :4].reshape(-1, 4)
    rows = (rows - rows.mean(0)) / rows.std(0)
    assert found.by_person == pytest.approx(silhouette(rows, np.tile(np.arange(8), 3)), abs=1e-6)
    assert found.by_style == pytest.approx(silhouette(rows, np.repeat(np.arange(3), 8)), abs=1e-6)
    assert found.plane.shape == (3, 8, 2)
    np.testing.assert_array_equal(found.plane, separate("m", "F1", vectors).plane)


@pytest.mark.parametrize("ordered_by", ["person", "style"])
def test_silhouettes_tell_what_features_are_ordered_by(ordered_by: str) -> None:
    rng = np.random.default_rng(1)
    centers = rng.normal(size=(1, 12, 6)) if ordered_by == "person" else rng.normal(size=(4, 1, 6))
    found = separate("m", "F1", centers + 0.05 * rng.normal(size=(4, 12, 6)))
    high, low = (found.by_person, found.by_style) if ordered_by == "person" else (found.by_style, found.by_person)
    assert high > 0.8
    assert low < 0.1


def test_people_are_drawn_by_the_seed(data: Path) -> None:
    people = people_of(data)
    ids = [choose_people(people, 3, seed).annotation_ids.tolist() for seed in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]
    assert all(one == sorted(set(one)) for one in ids)
    assert len(choose_people(people, 300, 0)) == 6
    with pytest.raises(InputError, match="at least 2"):
        choose_people(people, 1, 0)


def command(data: Path, out: Path, *more: str, checkpoint: Path) -> list[str]:
    styles = ("--style", "original", "--style", "inverted=inverted", "--style", "blurred=blurred")
    return ["--checkpoint", f"SDPose={checkpoint}", "--data.root", str(data), *styles, "--out", str(out), *more]


@pytest.mark.slow
def test_the_command_writes_picture_and_tables(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(command(data, out, "--random", "--pooling", "keypoints", "--batch", "4", checkpoint=checkpoint)) == 0
    assert sorted(p.name for p in out.iterdir()) == [f"feature_analysis.{end}" for end in ("json", "md", "png")]
    report = json.loads((out / "feature_analysis.json").read_text())
    assert report["settings"]["people"] == 6
    assert report["settings"]["pooling"] == "keypoints"
    assert [(r["network"], r["level"]) for r in report["results"]] == [
        (network, level) for network in ("SDPose", "Random weights") for level in LEVELS
    ]
    assert list(report["networks"][0]["sha256"]) == ["tiny.safetensors"]
    table = re.sub(" +", " ", (out / "feature_analysis.md").read_text())
    first = report["results"][0]
    assert f"| SDPose | F4 | 32 | {first['silhouette_by_person']:+.3f} | {first['silhouette_by_style']:+.3f} |" in table
    assert "labeled keypoints" in table
    crops = report["settings"]["people"] * len(report["settings"]["styles"])
    assert f"t-SNE: perplexity {crops / 4:g}, seed 0" in table  # what was run, not what 120 crops would get
    picture = read_image(out / "feature_analysis.png")
    assert picture.shape[0] > 900
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 30


def test_people_with_a_damaged_picture_are_left_out_of_every_style(
    data: Path, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "data"
    shutil.copytree(data, root)
    (root / "inverted" / "002.jpg").write_bytes(b"\xff\xd8 cut off")
    assert main(command(root, tmp_path / "out", checkpoint=checkpoint)) == 0
    settings = json.loads((tmp_path / "out" / "feature_analysis.json").read_text())["settings"]
    assert (settings["people"], settings["people_left_out"]) == (5, 1)
    assert "002.jpg" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--style", "monet=monet"], "no folder"),
        (["--style", "original"], "given twice"),
        (["--people", "1"], "at least 2"),
        (["--batch", "0"], "--batch 0"),
        (["--seed", "-1"], "--seed -1: expected 0 or more"),
        (["--checkpoint", "SDPose=other.safetensors"], "the same name"),
        (["--checkpoint", "B=missing.safetensors"], "missing.safetensors"),
        (["--data.annotations", "none.json"], "none.json"),
    ],
)
def test_mistakes_are_one_line(
    change: list[str], message: str, data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(command(data, tmp_path / "out", *change, checkpoint=checkpoint)) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("analyze_features: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_a_style_that_lacks_pictures_is_refused_before_anything_runs(data: Path, tmp_path: Path) -> None:
    from sdpose_training.features.picture_styles import check_pictures

    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "blurred" / "004.jpg").unlink()
    styles = parse_styles(["original", "blurred=blurred"], tmp_path / "data", tmp_path / "data" / "images")
    with pytest.raises(InputError, match=r"1 of 6 pictures are not in .*'004.jpg'"):
        check_pictures(styles, people_of(tmp_path / "data").files)
    with pytest.raises(InputError, match="at least two"):
        parse_styles(["original"], data, data / "images")


def test_styles_that_need_no_folder_are_filters_of_the_originals(data: Path) -> None:
    styles = parse_styles([], data, data / "images")
    assert [style.name for style in styles] == ["original", "oil", "sketch", "posterise"]
    original, *others = (style.picture(Path("001.jpg"), (160, 200)) for style in styles)
    np.testing.assert_array_equal(original, read_image(data / "images" / "001.jpg"))
    for style, picture in zip(styles[1:], others, strict=True):
        np.testing.assert_array_equal(picture, FILTERS[style.name](original))
    with pytest.raises(InputError, match="no style filter 'monet': choose one of oil"):
        parse_styles(["original", "monet"], data, data / "images")


@pytest.mark.parametrize("networks", [1, 2, 4])
def test_the_small_print_fits_on_the_picture(networks: int) -> None:
    """With one network it was cut off on both sides, the pooling with it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from sdpose_training.features.figure import small_print

    width = networks * 4.6 + (networks - 1) * 0.25 + 0.3
    settings = {"people": 300, "styles": dict.fromkeys("abcd"), "standardised": True, "pooling": "keypoints", "seed": 0}
    lines = small_print(how(settings), width)
    assert " ".join(lines).endswith(how(settings))
    figure = Figure(figsize=(width, 3))
    FigureCanvasAgg(figure)
    for line in lines:
        box = figure.text(0.5, 0.5, line, ha="center", fontsize=8).get_window_extent()
        assert 0 <= box.x0 and box.x1 <= figure.bbox.x1, line
