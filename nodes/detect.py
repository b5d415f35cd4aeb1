"""Detect Persons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from comfy_api.latest import io

from ..sdpose_core.detection import people
from ..sdpose_core.detection.people import MIN_PERSON_SCORE, SURE, SURE_BOX, DetectorOptions, Found
from ..sdpose_core.errors import counted
from .host.folders import FOLDER, file_stamp, transformers_folders, weight_files, weight_path
from .host.info import BOXES, Stopwatch, nobody_found, node_ui, tally
from .host.progress import each_frame
from .sockets.boxes import boxes_to_socket
from .sockets.images import images_from_tensor
from .widgets import ALIASES, IMAGE_CATEGORY

if TYPE_CHECKING:
    import torch

    from ..sdpose_core.detection.people import PersonDetector

EMBEDDED = {"auto": "auto", "yolox (embedded)": "yolox", "whole picture": "full"}


def detector_choices() -> list[str]:
    """The default, the embedded detectors, ONNX files and RT-DETR or D-FINE folders of models/sdpose."""
    return [*EMBEDDED, *weight_files(".onnx", (FOLDER,)), *transformers_folders()]


def detector_options(
    threshold: float, max_people: int, min_size: int = 0, min_person_score: float = MIN_PERSON_SCORE
) -> DetectorOptions:
    """The options of the library; `max_people` 0 means no limit."""
    return DetectorOptions(
        threshold=threshold, max_people=max_people or None, min_size=min_size, min_person_score=min_person_score
    )


def load(choice: str, options: DetectorOptions) -> PersonDetector:
    """The detector that `detector_choices` lists as `choice`."""
    from ..sdpose_core.detection.loading import load_detector

    return load_detector(source(choice), options)


def source(choice: str) -> str | Path:
    """What `load_detector` takes for a choice; "auto" also finds the art detector in models/sdpose."""
    if choice == "auto":
        from ..sdpose_core.detection.art_detector import FILE

        found = [name for name in weight_files(".onnx", (FOLDER,)) if Path(name).name == FILE]
        return weight_path(found[0]) if found else choice
    return EMBEDDED.get(choice) or weight_path(choice)


def detector_stamp(choice: str | None) -> tuple[float, int] | None:
    """Changes when the detector's file is replaced; None for an embedded detector or a choice that comes by wire."""
    path = None if choice is None else source(choice)
    if path == "auto":
        from ..sdpose_core.detection.art_detector import art_detector_path

        path = art_detector_path()
    return file_stamp(path) if isinstance(path, Path) and path.exists() else None


def find_people(detector: PersonDetector, images: Sequence[np.ndarray]) -> list[Found]:
    """The people of each image. Shows a progress bar and can be canceled."""
    return [people.find_people(detector, image) for image in each_frame(images)]


def how_found(found: Sequence[Found]) -> list[str]:
    """Lines about unsure people and rejected boxes."""
    unsure = sum(how != SURE_BOX for image in found for how in image.how)
    rejected = sum(image.not_there for image in found)
    lines = []
    if unsure:
        lines.append(f"{counted(unsure, 'person', 'people')} confirmed by pose: the detector was not sure")
    if rejected:
        lines.append(f"rejected {counted(rejected, 'box', 'boxes')}: no clear pose there; see min_person_score")
    return lines


def min_person_score_input() -> io.Float.Input:
    return io.Float.Input(
        "min_person_score",
        optional=True,
        default=MIN_PERSON_SCORE,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip="Minimum score of a pose where the detector is not sure. Lower finds more people in art; 0 believes "
        "every box.",
        advanced=True,
    )


def threshold_input(name: str = "threshold", **settings: Any) -> io.Float.Input:
    return io.Float.Input(
        name,
        default=SURE,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip="Score from which a detection is sure; less sure people need a clear pose.",
        **settings,
    )


def max_people_input(**settings: Any) -> io.Int.Input:
    return io.Int.Input(
        "max_people",
        default=0,
        min=0,
        max=1000,
        tooltip="Maximum number of people per frame, highest scores first; 0 means no limit.",
        **settings,
    )


def detector_input(**settings: Any) -> io.Combo.Input:
    return io.Combo.Input(
        "detector",
        options=detector_choices(),
        default="auto",
        tooltip="Finds the people. auto: the art detector if it was downloaded, otherwise yolox, which comes with this "
        "node pack; whole picture treats the whole image as one person; YOLOX .onnx files and RT-DETR or D-FINE "
        "folders in models/sdpose are listed by name.",
        **settings,
    )


class DetectPersons(io.ComfyNode):
    """Detect Persons."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorDetect",
            display_name="Detect Persons",
            category=IMAGE_CATEGORY,
            description="Finds people and outputs a box for each, per frame, highest score first. The boxes work with "
            "every node that takes BOUNDING_BOX, and boxes from the built-in detector work with this pack.",
            search_aliases=[*ALIASES, "person detection", "bounding box", "bbox", "yolox", "rt-detr", "multi-person"],
            inputs=[
                io.Image.Input("image", tooltip="One image or a batch of frames."),
                detector_input(),
                threshold_input(),
                max_people_input(),
                io.Int.Input(
                    "min_size",
                    default=0,
                    min=0,
                    max=8192,
                    tooltip="Minimum width and height of a box in pixels. Smaller boxes are ignored.",
                ),
                min_person_score_input(),
            ],
            outputs=[
                io.BoundingBox.Output("boxes", tooltip="Per frame, a list of x, y, width, height, label, score."),
                io.String.Output("info", tooltip="Number of people, and speed."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, detector: str, **_others: Any) -> tuple[float, int] | None:
        """Detect again after the detector's file is replaced."""
        return detector_stamp(detector)

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        detector: str,
        threshold: float,
        max_people: int,
        min_size: int,
        min_person_score: float = MIN_PERSON_SCORE,
    ) -> io.NodeOutput:
        watch = Stopwatch()
        finder = load(detector, detector_options(threshold, max_people, min_size, min_person_score))
        found = find_people(finder, images_from_tensor(image))
        boxes = [image.boxes for image in found]
        people = sum(map(len, boxes))
        did = f"{tally(people, len(boxes), BOXES)} | {finder.name} | {watch.speed(len(boxes))}"
        info = "\n".join([*nobody_found(people, "threshold"), did, *how_found(found)])
        return io.NodeOutput(boxes_to_socket(boxes), info, ui=node_ui(info))
