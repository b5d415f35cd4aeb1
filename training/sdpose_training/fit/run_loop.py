"""The loop of any training run: steps, logs, intervals, checkpoints, early ends."""

from __future__ import annotations

import logging
import math
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import torch
from accelerate.utils import gather_object
from torch.distributed.tensor import DTensor
from tqdm import tqdm

from sdpose_core.cli.progress import progress_bar
from sdpose_core.errors import SDPoseError
from sdpose_training.data.samples import Batches, LostWorker
from sdpose_training.fit.endings import NonFiniteLoss, SkippedSteps, StopSignal, check_finite
from sdpose_training.fit.folder import RunFolder
from sdpose_training.fit.kept_weights import remove_old_weights
from sdpose_training.fit.log import RunLog
from sdpose_training.fit.optimizers import set_learning_rate
from sdpose_training.fit.pace import COUNTED, Pace
from sdpose_training.fit.setup import RunParts, StagePlan, learning_rate, passes_multiple, samples_at, share_out_batches
from sdpose_training.fit.state import Progress, save_state, step_name

log = logging.getLogger(__name__)


class RunLoop(ABC):
    """One run, from `progress` to its end. `run_log` is None in all processes but the main one.

    A subclass says what is learned: the methods without a body, and what they need.

    Attributes:
        terms: names of the terms of the loss.
        term_weights: their weights, which `_begin` may change.
        judged: the figure of a validation, the more the better, that chooses the best weights.
    """

    terms: tuple[str, ...]
    term_weights: tuple[float, ...]
    judged: str

    def __init__(
        self, recipe: Any, parts: RunParts, folder: RunFolder, progress: Progress, run_log: RunLog | None
    ) -> None:
        self.recipe, self.parts, self.folder = recipe, parts, folder
        self.progress, self.log = progress, run_log
        self._saved_step = progress.step
        self._stop = StopSignal()
        self._pace = Pace(parts.stages)
        self._skipped = SkippedSteps()

    # --- what a subclass says

    @abstractmethod
    def _batches(self, plan: StagePlan, first: int) -> Batches:
        """The micro-batches of this process from step `first` of a stage."""

    @abstractmethod
    def _losses(self, batch: dict[str, Any]) -> torch.Tensor:
        """The terms of the loss of a micro-batch, unweighted, (len(terms),)."""

    @abstractmethod
    def _figures(self) -> dict[str, float] | None:
        """What a validation measures, with `judged`; None if a signal interrupted it."""

    @abstractmethod
    def _write_weights(self, name: str) -> None:
        """Write RUN/weights/NAME.safetensors."""

    def _draw(self) -> None:  # noqa: B027
        """Pictures of the run, if it has any."""

    def _begin(self, plan: StagePlan) -> None:
        """Set accelerate, and the model, to a stage."""
        share_out_batches(self.parts.accelerator, self.parts.trained, plan)

    def _saved(self) -> None:  # noqa: B027
        """Called after state and weights were saved."""

    # --- the run

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

    def _measure_stage(self, plan: StagePlan) -> float:
        self._begin(plan)
        seconds = []
        with closing(self._batches(plan, 0)) as batches:
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
        with closing(self._batches(plan, first)) as batches:
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
        metrics, name = self.progress.metrics, self.judged
        measured = {name.lower(): f"{metrics[name]:.3f}"} if name in metrics else {}
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
        seen, sums, norm = [], torch.zeros(len(self.terms), device=accelerator.device), None
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
        *totals, stop = accelerator.reduce(torch.cat([sums / len(seen), asked]), "sum").tolist()
        values = [total / accelerator.num_processes for total in totals]
        loss = sum(weight * value for weight, value in zip(self.term_weights, values, strict=True))
        figures = {"loss": loss, **dict(zip(self.terms, values, strict=True)), "gradient_norm": float(norm)}
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
        """The figures of the (averaged) weights; the best weights are saved.

        A signal interrupts it without figures; then the next start repeats it.
        """
        began = time.perf_counter()
        figures = self._figures()
        if figures is None:
            return
        self.progress.metrics, self.progress.metrics_step = figures, self.progress.step
        if self.log:
            seconds = time.perf_counter() - began
            self.log.write("validation", self.progress.step, **figures, people=len(self.parts.val), seconds=seconds)
        self._compare(figures[self.judged])

    def _compare(self, value: float) -> None:
        """Save the best weights, or say that the run ends early."""
        progress = self.progress
        if progress.judge(value):
            self._save_weights("best")
        if self._patience_is_over() and self.log:
            self.log.write("early_stop", progress.step, best_ap=progress.best_ap, best_step=progress.best_step)
            best = f"the best is {progress.best_ap:.3f}, after {progress.best_step} steps"
            log.info("no better %s in %d validations, so the run ends: %s", self.judged, progress.worse, best)

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
            self._saved()

    def _save_weights(self, name: str) -> None:
        with self.parts.average.in_place() if self.parts.average else nullcontext():
            self._write_weights(name)

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
