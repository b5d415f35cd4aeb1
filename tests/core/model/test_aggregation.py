"""What models after the paper's third version add: gated aggregation of levels, and the latent from the pose pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny
import torch
from torch.utils.flop_counter import FlopCounterMode

from sdpose_core.errors import InputError
from sdpose_core.model.backbone import POSE, RGB
from sdpose_core.model.config import FEATURE_LEVELS, POSE_PASS, UP_BLOCK_OF_LEVEL, SDPoseConfig
from sdpose_core.model.folding import fold_constants
from sdpose_core.model.network import SDPose

BOTH = (POSE, RGB)


def trainable(config: SDPoseConfig) -> SDPose:
    """With both tasks, and an aggregation that is no longer zero."""
    model = tiny.make_model(config, with_rgb_branch=True).requires_grad_(True)
    with torch.no_grad():
        for name, weight in model.head.named_parameters():
            if name.startswith("aggregation."):
                weight += 0.2 * torch.randn_like(weight)
    model.vae.requires_grad_(False)
    return model


def gated(*levels: str) -> SDPoseConfig:
    return replace(tiny.VERSION_3, feature_levels=levels)


def latents_of(config: SDPoseConfig, count: int = 2) -> torch.Tensor:
    w, h = config.latent_size
    return torch.randn(count, 4, h, w, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "levels", [("F1", "F2"), ("F2", "F3"), ("F4", "F2"), ("F4", "F3"), FEATURE_LEVELS], ids="+".join
)
def test_every_choice_of_levels_gives_both_results_and_learns(levels: tuple[str, ...]) -> None:
    model = trainable(gated(*levels))
    latents = latents_of(model.config)
    heatmaps, rgb = model(latents=latents, tasks=BOTH)
    assert heatmaps.shape == (2, 17, 32, 16) and rgb.shape == latents.shape
    assert len(model.unet.up_blocks) == 1 + max(UP_BLOCK_OF_LEVEL[level] for level in levels)  # no later one for RGB
    (heatmaps.square().sum() + rgb.square().sum()).backward()
    trained = [*model.unet.named_parameters(), *model.head.named_parameters()]
    assert [name for name, weight in trained if weight.grad is None or not weight.grad.any()] == []


def test_a_new_model_starts_as_that_of_its_finest_level() -> None:
    """So the prior's feature is used as it is, and learning adds the other levels to it."""
    one = tiny.make_model(tiny.SMALL)
    several = tiny.make_model(gated("F3", "F1"), seed=1)
    several.load_state_dict(one.state_dict(), strict=False)
    latents = latents_of(one.config)
    with torch.no_grad():
        assert several(latents=latents).heatmaps.equal(one(latents=latents).heatmaps)


def test_a_gate_chooses_between_levels() -> None:
    head = trainable(gated("F1", "F3")).head
    fine, coarse = torch.randn(1, 16, 16, 8), torch.randn(1, 32, 8, 4)

    def change(name: str) -> float:
        """How much the result depends on the mixed part of a level."""
        with torch.no_grad():
            before = head.fuse({"F1": fine, "F3": coarse}) - fine
            other = {"F1": fine, "F3": coarse, name: torch.randn_like({"F1": fine, "F3": coarse}[name])}
            return (head.fuse(other) - other["F1"] - before).abs().max().item()

    assert min(change("F1"), change("F3")) > 1e-2
    torch.nn.init.constant_(head.aggregation.gates["F3"].bias, -100)
    assert change("F3") < 1e-5 and change("F1") > 1e-2
    torch.nn.init.constant_(head.aggregation.gates["F3"].bias, 100)
    assert change("F1") < 1e-5 and change("F3") > 1e-2


def test_both_tasks_are_one_pass_of_the_pose() -> None:
    """Neither task changes the other's result, and the U-Net sees each sample once."""
    model = trainable(tiny.VERSION_3).eval()
    sizes: list[int] = []
    for block in model.unet.up_blocks:
        block.register_forward_hook(lambda *a: sizes.append(len(a[-1])))
    latents = latents_of(model.config, 3)
    with torch.no_grad():
        both = model(latents=latents, tasks=BOTH)
        assert sizes == [3, 3, 3, 3]
        assert model(latents=latents).heatmaps.equal(both.heatmaps) and model(latents=latents).rgb_latents is None
        alone = model(latents=latents, tasks=(RGB,))
    assert alone.heatmaps is None and alone.rgb_latents.equal(both.rgb_latents)


@pytest.mark.parametrize(("levels", "share"), [
    (("F1",), 0.5), pytest.param(("F2",), 0.46, marks=pytest.mark.slow),
])  # fmt: skip
def test_operations_of_a_training_step(levels: tuple[str, ...], share: float) -> None:
    """Counted in the U-Net, forward and backward: half of the pass with a branch for RGB, or less if it stops early."""

    def operations(config: SDPoseConfig) -> int:
        model = SDPose(config, with_rgb_branch=True)
        with FlopCounterMode(display=False) as counter:
            found = model(latents=latents_of(config), tasks=BOTH)
            (found.heatmaps.sum() + found.rgb_latents.sum()).backward()
        return sum(counter.get_flop_counts()["SDPose.unet"].values())

    usual = replace(tiny.SMALL, feature_levels=levels)
    assert operations(replace(usual, reconstruction=POSE_PASS)) / operations(usual) == pytest.approx(share, abs=0.01)


def test_folded_constants_and_half_precision_change_only_rounding() -> None:
    state = trainable(tiny.VERSION_3).state_dict()
    model = tiny.make_model(tiny.VERSION_3)
    model.load_state_dict({name: value for name, value in state.items() if "reconstruction" not in name})
    images = torch.rand(1, 3, 128, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = model.heatmaps(images)
        torch.testing.assert_close(fold_constants(model).heatmaps(images), expected, rtol=0, atol=1e-4)
        assert expected.std() > 0.05
        half = model.to(torch.bfloat16).heatmaps(images)
    assert half.dtype == torch.float32 and (half - expected).abs().mean() < 0.1 * expected.std()


@pytest.mark.parametrize(("changes", "message"), [
    ({"feature_levels": ("F1",)}, "expected two or more feature levels, found only F1"),
    ({"aggregation": "attention"}, "aggregation: expected sum or gated, found 'attention'"),
    ({"reconstruction": "pixels"}, "reconstruction: expected rgb_pass or pose_pass, found 'pixels'"),
])  # fmt: skip
def test_choices_that_do_not_exist_are_told(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(tiny.VERSION_3, **changes)


def test_configurations_of_before_stay_as_they_are() -> None:
    assert not {"aggregation", "reconstruction"} & set(tiny.BODY.to_dict())
    assert SDPoseConfig.from_dict(tiny.VERSION_3.to_dict()) == tiny.VERSION_3
