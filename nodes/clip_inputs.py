"""Inputs and steps that the nodes for driving videos share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..sdpose_core.detection.people import find_people
from ..sdpose_core.sequences.short_tracks import MIN_SECONDS
from . import detect
from .host.model import PreviewModel
from .host.progress import stop_if_interrupted
from .sockets.poses import PoseModel

if TYPE_CHECKING:
    import numpy as np

    from ..sdpose_core.detection.people import Detections, DetectorOptions, Found, PersonDetector
    from ..sdpose_core.estimation.crop_jobs import Estimator
    from ..sdpose_core.estimation.options import EstimatorOptions

PERSONS = ("everybody", "best score", "largest", "leftmost", "rightmost", "id")


def model_input() -> io.Custom:
    return PoseModel.Input("model", optional=True, tooltip="From Load SDPose Model. Not connected: the preview model.")


def person_inputs(default: str) -> list[io.Input]:
    return [
        io.Combo.Input(
            "person",
            options=list(PERSONS),
            default=default,
            tooltip="Which people to keep, decided once for the whole video. AnimateAnyone itself uses best score.",
        ),
        io.Int.Input("number", default=0, min=0, max=2**31 - 1, tooltip="For id: the ID. Otherwise the rank, from 0."),
    ]


def clean_input() -> io.Boolean.Input:
    return io.Boolean.Input(
        "smooth",
        default=True,
        tooltip="Smooth over time: removes jitter and flicker, fills short gaps, corrects left/right swaps. Off: keep "
        "the poses as estimated. The Smooth Poses node has all the settings.",
    )


def detector_inputs() -> list[io.Input]:
    return [
        detect.detector_input(advanced=True),
        detect.threshold_input("detect_threshold", advanced=True),
        detect.max_people_input(advanced=True),
        io.Int.Input(
            "detect_every",
            default=1,
            min=1,
            max=1000,
            tooltip="Run the detector on every Nth frame only, for speed; in between, the boxes follow the poses.",
            advanced=True,
        ),
    ]


def found_inputs() -> list[io.Input]:
    return [
        detect.min_person_score_input(),
        io.Float.Input(
            "min_track",
            optional=True,
            default=MIN_SECONDS,
            min=0.0,
            max=3600.0,
            step=0.1,
            tooltip="People seen for a shorter time, in seconds, are left out. 0 keeps everybody.",
            advanced=True,
        ),
    ]


def clip_options(person: str, number: int, smooth: bool, threshold: float, **settings: Any) -> Any:
    """The options of the library for a video."""
    from ..sdpose_core.annotate.clip_options import ClipOptions, Selection
    from ..sdpose_core.sequences.cleaning import CleanOptions

    return ClipOptions(
        person=Selection(by=None if person == PERSONS[0] else person, number=number),
        clean=CleanOptions(threshold=threshold) if smooth else None,
        threshold=threshold,
        **settings,
    )


def makers(
    model: Any, options: EstimatorOptions, detector: str, detector_options: DetectorOptions
) -> tuple[Callable[[], Estimator], Callable[[], PersonDetector]]:
    """Two functions that make the estimator and the detector, called when the first frame needs them."""
    chosen = model or PreviewModel()
    return lambda: chosen.estimator(options), lambda: StoppableDetector(detect.load(detector, detector_options))


class StoppableDetector:
    """A detector that stops before a picture if the user cancels: dozens are seen before the poses of the first."""

    def __init__(self, detector: PersonDetector) -> None:
        self.name, self.meta = detector.name, detector.meta
        self._detector = detector

    def detect(self, image: np.ndarray) -> Detections:
        """See `PersonDetector.detect`."""
        stop_if_interrupted()
        return self._detector.detect(image)

    def find(self, image: np.ndarray) -> Found:
        """See `find_people`."""
        stop_if_interrupted()
        return find_people(self._detector, image)


def asked(model: Any, options: EstimatorOptions, detector: str, detector_options: DetectorOptions) -> dict[str, Any]:
    """What `makers` makes, without loading it."""
    from ..sdpose_core.annotate.requests import models_asked

    return models_asked((model or PreviewModel()).asked, options, detect.source(detector), detector_options)
