"""One evaluation: estimators over benchmarks, scored and compared."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdpose_core.coco.annotations import Coco
from sdpose_core.errors import InputError
from sdpose_core.estimation.crop_jobs import Estimator
from sdpose_core.estimation.options import EstimatorOptions
from sdpose_core.estimation.sdpose import PoseEstimator
from sdpose_core.files import sha256_of
from sdpose_core.folders import FolderKind
from sdpose_core.skeletons import KEYPOINT_SETS, KeypointSet
from sdpose_training.data.annotations import read_annotations
from sdpose_training.data.keypoint_sets import find_keypoint_set
from sdpose_training.evaluation.oks_report import Match, match_people, mean_oks, write_oks
from sdpose_training.evaluation.options import OutputNames, Outputs, same_name
from sdpose_training.evaluation.picture_matches import matches_file, write_matches
from sdpose_training.evaluation.prediction_run import PARTS, Processes, predict
from sdpose_training.evaluation.predictions import Predictions, read_predictions, write_predictions
from sdpose_training.evaluation.predictors import BY_MEMORY, load_sdpose_predictor, predictor_name
from sdpose_training.evaluation.protocols import CORRUPTION, Benchmark, find_benchmark, scored_set
from sdpose_training.evaluation.result import result_of, write_result
from sdpose_training.evaluation.robustness import UNFINISHED, check_options, evaluate_corruptions
from sdpose_training.evaluation.scored_points import SCORED_SETS, scored_points
from sdpose_training.evaluation.scoring import Scored, score
from sdpose_training.evaluation.tasks import Places, Task, check_pictures, load_task, picture_files
from sdpose_training.evaluation.worst_gallery import write_gallery
from sdpose_training.options import split_name
from sdpose_training.peers.loading import load_peer
from sdpose_training.recipe.recipe import FROM_ANNOTATIONS

log = logging.getLogger("evaluate")


@dataclass(frozen=True)
class Answers:
    """Predictions to score, parsed annotations (`content`) and pictures by image id; `benchmark`: None if unknown."""

    predictions: Predictions
    model: str
    benchmark: Benchmark | None
    keypoint_set: KeypointSet
    content: Mapping[str, Any]
    files: Mapping[Any, Path]
    settings: Mapping[str, Any]
    hashes: Mapping[str, Any]
    counts: Mapping[str, int]


def evaluate_all(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Evaluate every predictor on every benchmark; the first process returns the results, the others nothing."""
    if args.device != "auto" and not any(name.lower().endswith(".onnx") for name in args.checkpoint):
        from sdpose_core.model.devices import pick_device

        pick_device(args.device)  # checks the name, for peers too
    check_options(args)
    _check_names(args)
    processes = Processes(None if args.device == "auto" else args.device)
    names = OutputNames(args)
    results: list[dict[str, Any]] = []
    unfinished: list[tuple[FolderKind, Path]] = []
    try:
        for load in _loaders(args, processes.device):
            predictor = load()
            for benchmark in map(find_benchmark, args.benchmark):
                outputs = names.next(benchmark.name, predictor.name)
                many = benchmark.name == CORRUPTION
                unfinished.append((UNFINISHED if many else PARTS, outputs.unfinished))
                if isinstance(predictor, PoseEstimator):
                    predictor.batch_size = args.batch or BY_MEMORY  # lack of memory may have lowered it
                evaluate = _evaluate_corruptions if many else _evaluate
                result = evaluate(predictor, benchmark, args, outputs, processes)
                if result is not None:
                    results.append(result)
            del predictor  # before the next one is loaded: both may not fit in memory
    finally:
        processes.end()
    for kind, folder in unfinished if results else ():  # only now: an interrupted run keeps finished benchmarks
        kind.remove(folder)
    return results


def _loaders(args: argparse.Namespace, device: str | None) -> Iterator[Callable[[], Estimator]]:
    """A loading function for each predictor."""
    options = EstimatorOptions(
        device=device, batch_size=args.batch or None, flip_test=args.flip_test, crop=args.crop, dtype=args.dtype,
        input_size=args.input_size,
    )  # fmt: skip
    by_memory = args.batch == BY_MEMORY
    for name, checkpoint in map(split_name, args.checkpoint):
        yield lambda name=name, checkpoint=checkpoint: _titled(
            load_sdpose_predictor(checkpoint, options, by_memory=by_memory), name
        )
    allowed = {"trust_file": args.trust_file, "download": args.download}
    more = {"flip_test": args.flip_test, "batch": None if by_memory else args.batch}
    for name, spec in map(split_name, args.peer):
        yield lambda name=name, spec=spec: _titled(load_peer(spec, device=device, **allowed, **more), name)


def _titled(estimator: Estimator, name: str) -> Estimator:
    estimator.name = name or estimator.name
    return estimator


def _check_names(args: argparse.Namespace) -> None:
    """`InputError` for two models of one name, as far as names are known before loading."""
    checkpoints = [name or predictor_name(source) for name, source in map(split_name, args.checkpoint)]
    names = [*checkpoints, *(name or spec for name, spec in map(split_name, args.peer))]
    if twice := [name for name in names if names.count(name) > 1]:
        raise same_name(twice[0])


def _evaluate(
    predictor: Estimator, benchmark: Benchmark, args: argparse.Namespace, outputs: Outputs, processes: Processes
) -> dict[str, Any] | None:
    """The result of a benchmark, with its files written, on the first process; None on the others."""
    task = _task(predictor, benchmark, args)
    check_pictures({key: task.files[key] for key in dict.fromkeys(task.image_ids)})
    answers = _predict(predictor, task, args, outputs.unfinished, processes, restart=args.restart)
    return None if answers is None else _score(answers, args, outputs)


def _evaluate_corruptions(
    predictor: Estimator, benchmark: Benchmark, args: argparse.Namespace, outputs: Outputs, processes: Processes
) -> dict[str, Any] | None:
    """The same for the benchmark of corruptions, which is many evaluations."""

    def evaluate(task: Task, folder: Path) -> dict[str, Any] | None:
        answers = _predict(predictor, task, args, folder, processes)
        return None if answers is None else _figures(answers, args)[0]

    task = _task(predictor, benchmark, args)
    result = evaluate_corruptions(
        predictor, task, args, outputs.unfinished, processes, evaluate, _protocol(args, final=False)
    )
    if result is not None:
        write_result(result, outputs.result)
    return result


def _task(predictor: Estimator, benchmark: Benchmark, args: argparse.Namespace) -> Task:
    places = Places(args.data_root, args.annotations, args.images, args.boxes, args.ground_truth_boxes, args.pictures)
    return load_task(benchmark, places, predictor.keypoint_set, args.keypoint_set)


def _predict(
    predictor: Estimator, task: Task, args: argparse.Namespace, folder: Path, processes: Processes, *,
    restart: bool = False,
) -> Answers | None:  # fmt: skip
    """Predictions of a task on the first process, None on the others; unfinished ones are in `folder`."""
    if processes.first:
        boxes, pictures = len(task.boxes_xyxy), len(task.files)
        log.info("%s on %s: %d boxes in %d pictures", predictor.name, task.benchmark.name, boxes, pictures)
    answer = predict(predictor, task, folder, processes, restart=restart)
    if answer is None:
        return None
    predictions, settings = answer
    return Answers(
        predictions, predictor.name, task.benchmark, task.keypoint_set, task.content, task.files,
        settings={
            "boxes": task.boxes.name if task.boxes else "ground truth",
            "annotations": task.annotations.name,
            "images": str(task.images),
            **({"painted": style} if (style := task.painted()) else {}),
            "pictures": args.pictures,
            **({"domain": args.domain} if args.domain else {}),
            **task.origin(),
            **settings,
        },
        hashes={"weights": settings["predictor"].get("weights"), **task.digests()},
        counts={"boxes": len(task.boxes_xyxy), "left_out_boxes": len(task.boxes_xyxy) - len(predictions)},
    )  # fmt: skip


def score_given(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Score predictions from a file, without a model."""
    check_options(args)
    root = args.data_root or Path()
    annotations = root / args.annotations
    content = read_annotations(annotations)
    coco = Coco.of(content)
    predictions = read_predictions(args.predictions, coco)
    benchmark = find_benchmark(args.benchmark[0]) if args.benchmark else None
    keypoint_set = _set_of(args.keypoint_set, predictions.keypoints.shape[1], content)
    if benchmark:
        keypoint_set, predictions = _for_benchmark(benchmark, keypoint_set, predictions, args.predictions)
        content = benchmark.prepared(content, keypoint_set)
    named = {key: Path(image.file_name) for key, image in coco.images.items() if image.file_name}
    files = named if args.images is None else picture_files(coco, root / args.images, annotations)
    answers = Answers(
        predictions, args.predictions.stem, benchmark, keypoint_set, content, files,
        settings={"domain": args.domain} if args.domain else {},
        hashes={"predictions": sha256_of(args.predictions), "annotations": sha256_of(annotations)},
        counts={},
    )  # fmt: skip
    return [_score(answers, args, OutputNames(args).next("predictions", answers.model))]


def _for_benchmark(
    benchmark: Benchmark, predicted: KeypointSet, predictions: Predictions, file: Path
) -> tuple[KeypointSet, Predictions]:
    """What the benchmark scores of the predicted points; `InputError` if it is not all there."""
    name = scored_set(benchmark, predicted.name)
    if name == predicted.name:
        return predicted, predictions
    count = predictions.keypoints.shape[1]
    chosen = scored_points(SCORED_SETS[name], count)
    if chosen is None:
        raise InputError(f"{file} has {count} points, {benchmark.name} needs those of {name!r}")
    return SCORED_SETS[name], predictions.points(chosen)


def _set_of(name: str | None, points: int, content: Mapping[str, Any]) -> KeypointSet:
    known = next((each for each in KEYPOINT_SETS.values() if len(each) == points), None)
    if name is None and known is not None:
        return known
    return find_keypoint_set(name or FROM_ANNOTATIONS, content.get("categories", ()))


def _protocol(args: argparse.Namespace, *, final: bool) -> dict[str, Any]:
    """Settings of the scoring; those of `final` predictions leave them as they are."""
    return {
        "nms": args.nms or ("none" if final else "oks"),
        "score_mode": args.score_mode or ("bbox" if final else "bbox_keypoint"),
        "scorer": args.scorer,
    }


def _figures(answers: Answers, args: argparse.Namespace) -> tuple[dict[str, Any], Scored, list[Match]]:
    """The result, and what it was made of."""
    protocol = _protocol(args, final=answers.predictions.final)
    grouping = answers.benchmark.grouping if answers.benchmark else None
    scored = score(answers.predictions, answers.content, answers.keypoint_set, grouping=grouping, **protocol)
    matches = match_people(scored)
    result = result_of(
        scored, mean_oks(matches), model=answers.model, benchmark=answers.benchmark,
        keypoint_set=answers.keypoint_set.name, settings={**protocol, **answers.settings}, hashes=answers.hashes,
        counts=answers.counts,
    )  # fmt: skip
    return result, scored, matches


def _score(answers: Answers, args: argparse.Namespace, outputs: Outputs) -> dict[str, Any]:
    """Score, and write the files that were asked for, the result last."""
    if answers.predictions.final and None in (args.nms, args.score_mode):
        log.info("COCO results are scored as they are, unless --nms or --score-mode ask for more")
    result, scored, matches = _figures(answers, args)
    if outputs.predictions:
        write_predictions(answers.predictions, outputs.predictions)
    if outputs.oks:
        write_oks(scored, matches, {key: path.name for key, path in answers.files.items()}, outputs.oks)
    if outputs.gallery:
        title = f"{answers.model} on {result['benchmark']}"
        write_gallery(
            scored, matches, answers.files, answers.keypoint_set, outputs.gallery,
            count=args.gallery_people, title=title,
        )  # fmt: skip
    result["matches"] = write_matches(scored.matches, matches_file(outputs.result))
    write_result(result, outputs.result)
    return result
