"""The training loop: steps, logs, validation, checkpoints, early ends."""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import torch
from accelerate.utils import DistributedType, gather_object
from torch.distributed.tensor import DTensor
from tqdm import tqdm

from sdpose_core.cli.progress import progress_bar
from sdpose_core.dependencies import installed
from sdpose_core.errors import SDPoseError
from sdpose_core.images import write_png
from sdpose_core.model.backbone import POSE, RGB
from sdpose_training.data.annotations import People
from sdpose_training.data.samples import LostWorker
from sdpose_training.fit.curves import draw_curves
from sdpose_training.fit.endings import NonFiniteLoss, SkippedSteps, StopSignal, check_finite
from sdpose_training.fit.folder import RunFolder
from sdpose_training.fit.hub import Uploads
from sdpose_training.fit.kept_weights import remove_old_weights
from sdpose_training.fit.log import RunLog, read_log
from sdpose_training.fit.losses import term_weights
from sdpose_training.fit.optimizers import set_learning_rate
from sdpose_training.fit.pace import COUNTED, Pace
from sdpose_training.fit.pictures import prediction_sheet
from sdpose_training.fit.setup import (
    Parts,
    StagePlan,
    learning_rate,
    load_batches,
    passes_multiple,
    samples_at,
    share_out_batches,
)
from sdpose_training.fit.starting_weights import for_stage
from sdpose_training.fit.state import Progress, save_state, step_name
from sdpose_training.fit.task_losses import task_losses
from sdpose_training.fit.validation import measure
from sdpose_training.fit.written_weights import write_weights
from sdpose_training.recipe.recipe import Recipe

log = logging.getLogger(__name__)


class Trainer:
    """One run, from `progress` to its end. `run_log` is None in all processes but the main one.

    `uploads`: to the hub, after checkpoints.
    """

    def __init__(
        self, recipe: Recipe, parts: Parts, folder: RunFolder, progress: Progress, run_log: RunLog | None,
        uploads: Uploads | None = None,
    ) -> None:  # fmt: skip
        self.recipe, self.parts, self.folder = recipe, parts, folder
        self._uploads = uploads
        self.progress, self.log = progress, run_log
        self.tasks = (POSE, RGB) if recipe.rgb_reconstruction else (POSE,)
        self.term_weights = term_weights(recipe.loss, parts.model.config)
        self._saved_step = progress.step
        self._stop = StopSignal()
        self._pace = Pace(parts.stages)
        self._skipped = SkippedSteps()

    def fit(self) -> bool:
        """Train to the end of the recipe; False if a signal stopped the run (its state is saved).

        A second Ctrl-C, or a `LostWorker`, ends it at once; the last whole step is saved.
        Raises `NonFiniteLoss`, and `SDPoseError` for too many damaged files.
        """
        done, total = (samples_at(self.parts.stages, step) for step in (self.progress.step, self.parts.stages[-1].end))
        main = self.parts.accelerator.is_main_process
        self._report(self.parts.problems)
        with self._stop, progress_bar(total, "sample", initial=done, disable=not main) as bar:
            try:
                return self._fit_stages(bar)
            except (KeyboardInterrupt, LostWorker):
                if self.parts.accelerator.num_processes == 1:  # the others would wait for this one
                    self._save()
                raise

    def measure(self) -> list[float]:
        """Samples per second of each stage, from a few steps. Nothing is written; the weights are changed."""
        return [self._measure_stage(plan) for plan in self.parts.stages]

    def _begin(self, plan: StagePlan) -> None:
        """Set model and accelerate to the sizes of a stage."""
        for_stage(self.parts.model, plan.stage)
        share_out_batches(self.parts.accelerator, self.parts.trained, plan)

    def _measure_stage(self, plan: StagePlan) -> float:
        self._begin(plan)
        seconds = []
        with closing(load_batches(self.recipe, self.parts, plan, 0)) as batches:
            for _ in range(min(COUNTED + 1, plan.steps)):
                began = time.perf_counter()
                self._step(batches, plan, plan.stage.learning_rate)
                seconds.append(time.perf_counter() - began)
        return plan.batch.total / statistics.median(seconds[1:] or seconds)

    def _fit_stages(self, bar: tqdm) -> bool:
        if self.progress.step and self._validation_is_due(last=False):
            self._validate()  # a signal interrupted it
        for plan in self.parts.stages:
            if self._goes_on(plan) and not self._fit_stage(plan, bar):
                return False
        if self._validation_is_due(last=True):
            self._validate()
        self._save()
        return not self._validation_is_due(last=True)

    def _fit_stage(self, plan: StagePlan, bar: tqdm) -> bool:
        """Train the rest of a stage; False if a signal stopped the run."""
        self._begin(plan)
        first = self.progress.step - plan.first_step
        with closing(load_batches(self.recipe, self.parts, plan, first)) as batches:
            while self._goes_on(plan):
                if self._fit_step(batches, plan, bar):
                    self._save()
                    return False
        return True

    def _fit_step(self, batches: Iterator[dict[str, Any]], plan: StagePlan, bar: tqdm) -> bool:
        """One step and what is due after it; True if a signal asked to stop."""
        began = time.perf_counter()
        rate = learning_rate(self.recipe.optimizer, plan, self.progress.step - plan.first_step)
        figures, stop = self._step(batches, plan, rate, bar)
        seconds = time.perf_counter() - began
        self._log_step(plan, {**figures, "learning_rate": rate}, seconds)
        metrics = self.progress.metrics
        measured = {"ap": f"{metrics['AP']:.3f}"} if "AP" in metrics else {}
        bar.set_postfix(step=self.progress.step, loss=f"{figures['loss']:.3g}", **measured, refresh=False)
        if (pace := self._pace.add(self.progress.step, plan, seconds)) and self.log:
            log.info("%s", pace)
        self._at_intervals()
        return stop

    def _step(
        self, batches: Iterator[dict[str, Any]], plan: StagePlan, rate: float, bar: tqdm | None = None
    ) -> tuple[dict[str, float], bool]:
        """One optimizer step; its figures and whether a signal asked to stop, the same in all processes.

        The bar moves with each micro-batch.
        """
        parts, accelerator = self.parts, self.parts.accelerator
        set_learning_rate(parts.optimizer, rate)
        seen, sums, norm = [], torch.zeros(2, device=accelerator.device), None
        for _ in range(plan.batch.accumulation):
            batch = next(batches)
            seen.append(batch)
            with accelerator.accumulate(parts.trained):
                terms = self._losses(batch)
                accelerator.backward(terms @ terms.new_tensor(self.term_weights))
                sums += terms.detach()
                if accelerator.sync_gradients:
                    norm = self._clip()
            if bar is not None:
                bar.update(plan.batch.total // plan.batch.accumulation)
        if not accelerator.sync_gradients:
            raise RuntimeError("gradients were not synchronized after the last micro-batch: the step would be skipped")
        asked = torch.tensor([float(self._stop.asked)], device=accelerator.device)
        heatmap, rgb, stop = accelerator.reduce(torch.cat([sums / len(seen), asked]), "sum").tolist()
        heatmap, rgb = heatmap / accelerator.num_processes, rgb / accelerator.num_processes
        loss = self.term_weights[0] * heatmap + self.term_weights[1] * rgb
        figures = {"loss": loss, "heatmap_loss": heatmap, "rgb_loss": rgb, "gradient_norm": float(norm)}
        self._report([problem for batch in seen for problem in batch["problems"]])
        # with fp16's scaling, the optimizer skips a step whose gradients overflow
        skipped = accelerator.scaler is not None and not math.isfinite(figures["gradient_norm"])
        self._check_finite({**figures, "gradient_norm": 0.0} if skipped else figures, seen)
        with self._stop.held():
            parts.optimizer.step()
            parts.optimizer.zero_grad()
            if parts.average and not skipped:
                parts.average.update()
            self.progress.step += 1
        return self._skipped.counted(figures, skipped), stop > 0

    def _losses(self, batch: dict[str, Any]) -> torch.Tensor:
        return task_losses(batch, self.parts, self.tasks, self.recipe.model.latents)

    def _clip(self) -> Any:
        """Clip the gradient to the recipe's norm; returns the norm before."""
        limit = self.recipe.optimizer.max_grad_norm or math.inf
        norm = self.parts.accelerator.clip_grad_norm_(self.parts.trained.parameters(), limit)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm  # FSDP gives a sharded norm

    def _at_intervals(self) -> None:
        """Validation, pictures and checkpoints that are due."""
        step, recipe = self.progress.step, self.recipe
        last = step == self.parts.stages[-1].end
        if self._validation_is_due(last):
            self._validate()
        last = last or self._patience_is_over()
        if self.parts.val is not None and _due(step, recipe.log.pictures_every, last):
            self._draw()
        if not last and _due(step, recipe.checkpoints.every, False):
            self._save()

    def _validation_is_due(self, last: bool) -> bool:
        step, settings = self.progress.step, self.recipe.validation
        if self.parts.val is None or self.progress.metrics_step == step:
            return False
        epochs = settings.every_epochs * self.parts.order.epoch
        return _due(step, settings.every, last) or passes_multiple(self.parts.stages, step, epochs)

    def _goes_on(self, plan: StagePlan) -> bool:
        return self.progress.step < plan.end and not self._patience_is_over()

    def _patience_is_over(self) -> bool:
        """True also when a run that ended so is resumed."""
        return self.progress.exhausts(self.recipe.validation.patience)

    def _validate(self) -> None:
        """AP of the (averaged) weights on each data set with validation people; the best weights are by the main one.

        A signal interrupts it without figures; then the next start repeats it.
        """
        began = time.perf_counter()
        metrics: dict[str, float] = {}
        for number, each in enumerate(self.parts.data_sets):
            figures = self._measure(each.val) if each.val is not None else {}
            if figures is None:
                return
            metrics |= (
                {f"{name}/{each.name}": figures[name] for name in ("AP", "OKS") if figures} if number else figures
            )
        self.progress.metrics, self.progress.metrics_step = metrics, self.progress.step
        if self.log:
            seconds, people = time.perf_counter() - began, len(self.parts.val)
            self.log.write("validation", self.progress.step, **metrics, people=people, seconds=seconds)
        self._compare(metrics["AP"])

    def _compare(self, ap: float) -> None:
        """Save the best weights, or say that the run ends early."""
        progress = self.progress
        if progress.judge(ap):
            self._save_weights("best")
        if self._patience_is_over() and self.log:
            self.log.write("early_stop", progress.step, best_ap=progress.best_ap, best_step=progress.best_step)
            best = f"the best is {progress.best_ap:.3f}, after {progress.best_step} steps"
            log.info("no better AP in %d validations, so the run ends: %s", progress.worse, best)

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

    @contextmanager
    def _for_inference(self) -> Iterator[None]:
        """No gradient, autocast as in training, averaged weights if there are any."""
        average = self.parts.average
        with torch.no_grad(), self.parts.accelerator.autocast(), average.in_place() if average else nullcontext():
            yield

    def _save(self) -> None:
        """Save state and weights, unless those of this step are saved."""
        step = self.progress.step
        if self._saved_step == step:
            return
        with self._stop.held():
            self._save_weights(step_name(step))
            save_state(self.parts.accelerator, self.folder.states, self.progress, self.recipe.checkpoints.keep)
            self._saved_step = step
            if self.log:
                for folder in (self.folder.weights, self.folder.adapters):
                    remove_old_weights(folder, step, self.recipe.checkpoints)
                self.log.write("checkpoint", step)
            if self._uploads and self.recipe.hub.each_checkpoint:
                self._uploads.start()

    def _save_weights(self, name: str) -> None:
        with self.parts.average.in_place() if self.parts.average else nullcontext():
            write_weights(self.folder, name, self.recipe, self.parts, self.progress)

    def _log_step(self, plan: StagePlan, figures: dict[str, float], seconds: float) -> None:
        step = self.progress.step
        if self.log and _due(step, self.recipe.log.every, step == plan.end):
            samples = samples_at(self.parts.stages, step)
            rate = plan.batch.total / seconds
            epoch = samples / self.parts.order.epoch
            self.log.write("step", step, **figures, samples=samples, epoch=round(epoch, 4), samples_per_second=rate)

    def _check_finite(self, figures: dict[str, float], batches: list[dict[str, Any]]) -> None:
        """Every process saves its batch if the loss is not finite."""
        step, process = self.progress.step + 1, self.parts.accelerator.process_index
        path = self.folder.root / "non_finite" / f"{step_name(step)}-process-{process}.safetensors"
        try:
            check_finite(figures, batches, path)
        except NonFiniteLoss:
            if self.log:
                self.log.write("non_finite", step, **{name: str(value) for name, value in figures.items()})
            raise

    def _report(self, problems: list[str]) -> None:
        """Log each damaged file once, in all processes; `SDPoseError` if there are more than the recipe allows."""
        if self.parts.accelerator.num_processes > 1:
            problems = gather_object(list(problems))
        for problem in problems:
            if problem in self.progress.bad:
                continue
            self.progress.bad.append(problem)
            log.warning("skipped (%d so far): %s", len(self.progress.bad), problem)
            if self.log:
                self.log.write("problem", self.progress.step, what=problem)
        bad, limit = self.progress.bad, self.recipe.data.max_bad
        if len(bad) > limit:
            raise SDPoseError(f"{len(bad)} damaged pictures or annotations, data.max_bad allows {limit}: {bad[-1]}")


def _due(step: int, every: int, last: bool) -> bool:
    return last or (every > 0 and step % every == 0)
