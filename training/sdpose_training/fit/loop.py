"""The training of SDPose: its losses, AP on validation people, pictures, weights."""

from __future__ import annotations

import logging
from typing import Any

import torch
from accelerate.utils import DistributedType

from sdpose_core.dependencies import installed
from sdpose_core.images import write_png
from sdpose_core.model.backbone import POSE, RGB
from sdpose_training.data.annotations import People
from sdpose_training.data.samples import Batches
from sdpose_training.fit.curves import draw_curves
from sdpose_training.fit.folder import RunFolder
from sdpose_training.fit.hub import Uploads
from sdpose_training.fit.log import RunLog, read_log
from sdpose_training.fit.losses import term_weights
from sdpose_training.fit.pictures import prediction_sheet
from sdpose_training.fit.run_loop import RunLoop
from sdpose_training.fit.setup import Parts, StagePlan, load_batches
from sdpose_training.fit.starting_weights import for_stage
from sdpose_training.fit.state import Progress, step_name
from sdpose_training.fit.task_losses import task_losses
from sdpose_training.fit.validation import measure
from sdpose_training.fit.written_weights import write_weights
from sdpose_training.recipe.recipe import Recipe

log = logging.getLogger(__name__)


class Trainer(RunLoop):
    """A run of SDPose. `uploads`: to the hub, after checkpoints."""

    recipe: Recipe
    parts: Parts
    terms = ("heatmap_loss", "rgb_loss")
    judged = "AP"

    def __init__(
        self, recipe: Recipe, parts: Parts, folder: RunFolder, progress: Progress, run_log: RunLog | None,
        uploads: Uploads | None = None,
    ) -> None:  # fmt: skip
        super().__init__(recipe, parts, folder, progress, run_log)
        self._uploads = uploads
        self.tasks = (POSE, RGB) if recipe.rgb_reconstruction else (POSE,)
        self.term_weights = term_weights(recipe.loss, parts.model.config)

    def _begin(self, plan: StagePlan) -> None:
        for_stage(self.parts.model, plan.stage)
        super()._begin(plan)

    def _batches(self, plan: StagePlan, first: int) -> Batches:
        return load_batches(self.recipe, self.parts, plan, first)

    def _losses(self, batch: dict[str, Any]) -> torch.Tensor:
        return task_losses(batch, self.parts, self.tasks, self.recipe.model.latents)

    def _figures(self) -> dict[str, float] | None:
        """AP on each data set with validation people; the main one, whose figures come first, has "AP"."""
        metrics: dict[str, float] = {}
        for number, each in enumerate(self.parts.data_sets):
            figures = self._measure(each.val) if each.val is not None else {}
            if figures is None:
                return None
            metrics |= (
                {f"{name}/{each.name}": figures[name] for name in ("AP", "OKS") if figures} if number else figures
            )
        return metrics

    def _measure(self, people: People) -> dict[str, float] | None:
        """COCO's figures; None if a signal interrupted it."""
        parts = self.parts
        with self._for_inference():
            settings = self.recipe.validation
            return measure(parts.accelerator, parts.model, people, settings, stop=lambda: self._stop.asked)

    def _draw(self) -> None:
        """The main process draws; with FSDP all processes must take part, as each has a shard of the weights."""
        if self.log or self.parts.accelerator.distributed_type == DistributedType.FSDP:
            with self._for_inference():
                sheet = prediction_sheet(self.parts.model, self.parts.val, self.parts.start.kept)
        if self.log:
            write_png(self.folder.pictures / f"{step_name(self.progress.step)}.png", sheet)
            self.log.picture("predictions", self.progress.step, sheet)
            self._draw_curve()

    def _draw_curve(self) -> None:
        if not installed("matplotlib"):
            log.warning("no curve.png: matplotlib is not installed (log.jsonl has the figures)")
        elif read_log(self.folder.log, "step"):
            draw_curves([self.folder.root], self.folder.root / "curve.png")

    def _saved(self) -> None:
        if self._uploads and self.recipe.hub.each_checkpoint:
            self._uploads.start()

    def _write_weights(self, name: str) -> None:
        write_weights(self.folder, name, self.recipe, self.parts, self.progress)
