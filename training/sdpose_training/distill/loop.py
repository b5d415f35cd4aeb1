"""The training of a small encoder: its losses, its figures on held-out pictures, its files."""

from __future__ import annotations

import json
import shutil
from typing import Any

import torch

from sdpose_core.files import atomic_path
from sdpose_core.model.devices import DTYPES
from sdpose_core.model.tiny_encoder import save_tiny_encoder
from sdpose_core.version import __version__
from sdpose_training.data.samples import Batches
from sdpose_training.distill.crops import CropSamples
from sdpose_training.distill.errors_of import relative_error
from sdpose_training.distill.recipe import DistillRecipe, TeachingStage
from sdpose_training.distill.setup import DistillParts
from sdpose_training.distill.validation import compare
from sdpose_training.environment import git_commit
from sdpose_training.fit.run_loop import RunLoop
from sdpose_training.fit.setup import StagePlan, load_samples
from sdpose_training.fit.state import step_name
from sdpose_training.fit.task_losses import as_images

LICENSE = (
    "taught by the weights named in taught_for, whose license goes with it: for SDPose, Stable Diffusion 2's "
    "CreativeML Open RAIL++-M with its use restrictions"
)


class EncoderTrainer(RunLoop):
    """A run of distill_encoder.py."""

    recipe: DistillRecipe
    parts: DistillParts
    terms = ("latents_loss", "features_loss", "heatmaps_loss")
    judged = "fidelity"

    def _begin(self, plan: StagePlan) -> None:
        super()._begin(plan)
        stage = plan.stage
        assert isinstance(stage, TeachingStage)
        self._stage = stage
        self.term_weights = (stage.latents, stage.features, stage.heatmaps)

    def _batches(self, plan: StagePlan, first: int) -> Batches:
        recipe, parts = self.recipe, self.parts
        samples = CropSamples(parts.pictures.train, recipe.augmentation, recipe.input_size, recipe.seed)
        return load_samples(samples, recipe.hardware.workers, parts, plan, first)

    def _losses(self, batch: dict[str, Any]) -> torch.Tensor:
        """Errors of latents, features and heatmaps, see `relative_error`; 0 for what the stage does not need."""
        model, stage = self.parts.teacher.model, self._stage
        images = as_images(batch["input"], self.parts.accelerator.device)
        target = model.latents(images)
        latents = self.parts.trained(images)
        errors = [relative_error(latents, target), *latents.new_zeros(2).float()]
        if stage.needs_unet:
            features = model.features_of(latents)
            with torch.no_grad():
                exact = model.features_of(target)
            errors[1] = relative_error(features, exact)
            if stage.heatmaps:
                with torch.no_grad():
                    maps = model.head(exact)
                errors[2] = relative_error(model.head(features), maps)
        return torch.stack(errors)

    def _figures(self) -> dict[str, float] | None:
        parts = self.parts
        with self._for_inference():
            return compare(
                parts.accelerator, parts.teacher.model, parts.student, parts.val, self.recipe.validation,
                stop=lambda: self._stop.asked,
            )  # fmt: skip

    def _write_weights(self, name: str) -> None:
        parts, progress, recipe = self.parts, self.progress, self.recipe
        if not parts.accelerator.is_main_process:
            return
        metrics = progress.metrics if progress.metrics_step == progress.step else {}
        save_tiny_encoder(
            parts.student, parts.config, self.folder.weights / f"{name}.safetensors",
            taught_for=parts.teacher.digests, teacher=parts.teacher.name,
            dtype=DTYPES[recipe.checkpoints.weights_dtype],
            metadata={
                "training_step": str(progress.step), "recipe": recipe.name, "seed": str(recipe.seed),
                "input_size": "{}x{}".format(*recipe.input_size), "crops": str(len(parts.pictures.train)),
                "pictures": str(len(set(parts.pictures.train.files))), "metrics": json.dumps(metrics),
                "license": LICENSE, "git_commit": git_commit() or "unknown", "library_version": __version__,
            },
        )  # fmt: skip

    def write_result(self, name: str) -> None:
        """Copy the best encoder, or the last one without validation, to RUN/`name` at the end of the run."""
        if self.parts.accelerator.is_main_process:
            best = self.folder.weights / "best.safetensors"
            last = self.folder.weights / f"{step_name(self.progress.step)}.safetensors"
            with atomic_path(self.folder.root / name) as temporary:
                shutil.copyfile(best if best.exists() else last, temporary)
