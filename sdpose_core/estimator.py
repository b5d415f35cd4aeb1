"""`PoseEstimator`: crops of all people of all pictures through SDPose in batches; and the choice of an estimator.

The preview estimator (`preview.py`) has the same interface: `.name`, `.keypoint_set`, `.estimate(images, boxes)`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from . import boxes as box_tools
from .crops import CROP_MODES, Crop, affine_crop, make_crop, masked
from .dependencies import installed
from .errors import CheckpointError, InputError, MissingDependency, SDPoseError
from .poses import Poses
from .stage_times import StageTimes

if TYPE_CHECKING:
    import torch

    from .device_crops import DeviceCropper
    from .model import SDPose
    from .onnx_runtime import Provider
    from .transfers import Download

log = logging.getLogger(__name__)

BATCH_SIZE_OF_DEVICE = {"cuda": 8, "mps": 2, "cpu": 1}
"""Crops per batch when none is asked for. Fixed per kind of device, so that the same command gives the same bytes."""

OnBatch = Callable[[int, int], None]
Item = TypeVar("Item")


class Estimator(Protocol):
    """What turns pictures and boxes into poses."""

    name: str
    keypoint_set: str

    def estimate(
        self,
        images: Sequence[np.ndarray],
        boxes: Sequence[np.ndarray],
        *,
        masks: Sequence[np.ndarray | None] | None = None,
        on_batch: OnBatch | None = None,
    ) -> list[Poses]:
        """See `PoseEstimator.estimate`."""
        ...


@dataclass(frozen=True)
class _Job:
    """One crop to make: which picture, which of its boxes."""

    image: int
    box: np.ndarray  # (5,) x1, y1, x2, y2, score
    mask: np.ndarray | None


@dataclass
class _Result:
    keypoints: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def add(self, keypoints: np.ndarray, scores: np.ndarray, box: np.ndarray) -> None:
        self.keypoints.append(keypoints)
        self.scores.append(scores)
        self.boxes.append(box)

    def poses(self, image: np.ndarray, keypoint_set: str, count: int, meta: Mapping[str, Any]) -> Poses:
        """All people found in `image`, as one `Poses`."""
        return Poses(
            np.asarray(self.keypoints, np.float32).reshape(-1, count, 2),
            np.asarray(self.scores, np.float32).reshape(-1, count),
            np.asarray(self.boxes, np.float32).reshape(-1, 5),
            (image.shape[1], image.shape[0]),
            keypoint_set,
            meta={**meta, **({"dropped_boxes": self.dropped} if self.dropped else {})},
        )


class PoseEstimator:
    """SDPose over boxes.

    Args:
        model: an `SDPose` module, already on its device.
        name: what results call it.
        weights: path and sha256 of the weights, for `meta`.
        batch_size: crops per forward pass; None takes `BATCH_SIZE_OF_DEVICE`. Halved, and kept so, when memory runs
            out; the size in force is recorded in the result's `meta`.
        flip_test: average with the mirrored crop (evaluation does; twice the cost).
        crop: one of `crops.CROP_MODES`; "affine" is the crop of training.
        crops_on_device: cut "affine" crops on the model's device (`device_crops.py`); None: on CUDA. `meta` says it.
    """

    def __init__(
        self,
        model: SDPose,
        *,
        name: str = "SDPose",
        weights: Mapping[str, Any] | None = None,
        batch_size: int | None = None,
        flip_test: bool = False,
        crop: str = "affine",
        crops_on_device: bool | None = None,
    ) -> None:
        if crop not in CROP_MODES:
            raise InputError(f"unknown crop mode {crop!r}: choose one of {', '.join(CROP_MODES)}")
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch size: expected at least 1, got {batch_size}")
        self.model = model
        self.name = name
        self.weights = dict(weights or {})
        self.flip_test = flip_test
        self.crop = crop
        self._crops_on_device = crops_on_device
        self.times = StageTimes()
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, getattr(model, "dtype", parameter.dtype)
        self.batch_size = batch_size or BATCH_SIZE_OF_DEVICE.get(self.device.type, 1)

    @property
    def keypoint_set(self) -> str:
        """Name of the keypoint set of the results."""
        return self.model.config.keypoint_set

    @property
    def crops_on_device(self) -> bool:
        """Whether crops are cut where the model is."""
        wanted = self._crops_on_device
        return self.crop == "affine" and (self.device.type == "cuda" if wanted is None else wanted)

    def to(self, device: Any) -> PoseEstimator:
        """Move the model to a device; the batch size stays as it is."""
        self.model.to(device)
        self.device = next(self.model.parameters()).device
        return self

    def estimate(
        self,
        images: Sequence[np.ndarray],
        boxes: Sequence[np.ndarray],
        *,
        masks: Sequence[np.ndarray | None] | None = None,
        on_batch: OnBatch | None = None,
    ) -> list[Poses]:
        """Poses of the people in `boxes` of each picture.

        Args:
            images: RGB uint8 (H, W, 3), sizes may differ.
            boxes: for each picture (N, 4) x1, y1, x2, y2 or (N, 5) with a score, in pixels. N = 0: nobody.
            masks: for each picture (N, H, W) bool or None: what is not the person is blacked out in its crop.
            on_batch: called with (crops done, crops in all) after each batch; may raise to stop.

        Returns:
            One `Poses` per picture. A box that cannot be used (empty, not finite, outside) is left out, with the
            reason in `meta["dropped_boxes"]`.

        Raises:
            InputError: pictures and boxes do not belong together, or have the wrong shape or type.
            SDPoseError: not even one crop fits into memory.
        """
        jobs, results = plan_crops(images, boxes, masks)
        batches = self._batches(images, jobs)
        done = 0
        for batch, crops, points in one_ahead(batches) if self.device.type == "cuda" else batches:
            found = points.array()
            for job, crop, own in zip(batch, crops, found, strict=True):
                results[job.image].add(crop.to_image(own[:, :2]), own[:, 2], job.box)
            done += len(batch)
            if on_batch:
                on_batch(done, len(jobs))
        count, meta = self.model.config.num_keypoints, self.meta()
        return [
            result.poses(image, self.keypoint_set, count, meta) for image, result in zip(images, results, strict=True)
        ]

    def heatmaps(self, crops: np.ndarray) -> torch.Tensor:
        """RGB crops (N, H, W, 3) of 0..255, at the model's input size -> heatmaps (N, K, H/4, W/4) float32 there."""
        import torch

        from .transfers import upload

        with torch.inference_mode():
            return self._heatmaps(upload(crops, self.device).permute(0, 3, 1, 2))

    def _heatmaps(self, pixels: torch.Tensor) -> torch.Tensor:
        """Crops (N, 3, H, W) of 0..255 on the device -> heatmaps (N, K, H/4, W/4) float32."""
        import torch

        images = pixels.to(torch.float32, copy=True).div_(127.5).sub_(1.0)
        return self.model.heatmaps(images, flip_test=self.flip_test)

    def _batches(
        self, images: Sequence[np.ndarray], jobs: Sequence[_Job]
    ) -> Iterator[tuple[Sequence[_Job], list[Crop], Download]]:
        """Each batch when it has been started: its jobs, crops, and points (N, K, 3) on their way to memory."""
        cropper = self._cropper(images, jobs) if self.crops_on_device and jobs else None
        done = 0
        while done < len(jobs):
            stop = min(done + self.batch_size, len(jobs))
            try:
                started = self._start(images, jobs, slice(done, stop), cropper)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                started = None  # the error holds the frames of the failed pass: leave the block before going on
            if started is None:
                self._halve_batch()
                continue
            yield jobs[done:stop], *started
            done = stop

    def _cropper(self, images: Sequence[np.ndarray], jobs: Sequence[_Job]) -> DeviceCropper:
        from .device_crops import CropJob, DeviceCropper

        size = self.model.config.input_size
        planned = [CropJob(images[job.image], affine_crop(job.box[:4], size), job.mask) for job in jobs]
        return DeviceCropper(planned, self.device)

    def _start(
        self, images: Sequence[np.ndarray], jobs: Sequence[_Job], part: slice, cropper: DeviceCropper | None
    ) -> tuple[list[Crop], Download]:
        """Start a batch. On CUDA nothing here waits for the device: the next batch is prepared while this one runs."""
        import torch

        from .heatmaps import decode_to_tensor
        from .transfers import Download, upload

        size = self.model.config.input_size
        with torch.inference_mode():
            with self.times.busy("crop"):
                if cropper is not None:
                    crops, pixels = cropper.crops[part], cropper.cut(part.start, part.stop).round_()
                else:
                    made = [
                        make_crop(masked(images[job.image], job.mask), job.box[:4], size, mode=self.crop)
                        for job in jobs[part]
                    ]
                    crops = [crop for _, crop in made]
                    pixels = upload(np.stack([own for own, _ in made]), self.device).permute(0, 3, 1, 2)
            with self.times.busy_on("model", self.device):
                points = decode_to_tensor(self._heatmaps(pixels), size)
            return crops, Download(points)

    def _halve_batch(self) -> None:
        if self.batch_size == 1:
            w, h = self.model.config.input_size
            raise SDPoseError(
                f"{self.name} ran out of memory on {self.device} with a single {w} x {h} crop in {self.dtype}: close "
                "other programs, use a half-precision dtype (fp16 or bf16), a smaller input size, or the CPU"
            )
        self.batch_size //= 2
        log.warning("out of memory on %s: going on with %d crops per batch", self.device, self.batch_size)
        if self.device.type == "cuda":
            import torch

            torch.cuda.empty_cache()

    def meta(self) -> dict[str, Any]:
        """What made the poses: model, weights and every setting that moves a keypoint."""
        from . import __version__

        config, approximations = self.model.config, getattr(self.model, "approximations", {})
        return {
            "model": self.name,
            "preview": False,
            "weights": self.weights,
            "library_version": __version__,
            "settings": {
                "batch_size": self.batch_size,
                "crop": self.crop,
                "crops_cut_on": self.device.type if self.crops_on_device else "cpu",
                "device": self.device.type,
                "dtype": str(self.dtype).removeprefix("torch."),
                **self._vae_dtype(),
                "feature_levels": list(config.feature_levels),
                "flip_test": self.flip_test,
                "input_size": list(config.input_size),
                **({"approximations": approximations} if approximations else {}),
            },
        }

    def _vae_dtype(self) -> dict[str, str]:
        """Said where it is another one than the rest's."""
        vae = getattr(self.model, "vae", None)
        weights = next(vae.parameters(), None) if vae is not None else None
        other = weights is not None and weights.dtype != self.dtype
        return {"vae_dtype": str(weights.dtype).removeprefix("torch.")} if other else {}


def one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each when the next one is there."""
    held: list[Item] = []
    for item in items:
        yield from held
        held = [item]
    yield from held


def plan_crops(
    images: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    masks: Sequence[np.ndarray | None] | None,
) -> tuple[list[_Job], list[_Result]]:
    """Check the input of `estimate` and list the crops to make; unusable boxes are noted in the results."""
    if len(images) != len(boxes) or (masks is not None and len(masks) != len(images)):
        counts = f"{len(images)} pictures, {len(boxes)} lists of boxes"
        counts += f", {len(masks)} masks" if masks is not None else ""
        raise InputError(f"expected one list of boxes (and one mask array, if any) per picture, got {counts}")
    jobs: list[_Job] = []
    results = [_Result() for _ in images]
    for index, (image, image_boxes) in enumerate(zip(images, boxes, strict=True)):
        check_image(image)
        scored = with_scores(image_boxes)
        image_masks = masks[index] if masks is not None else None
        if image_masks is not None and image_masks.shape != (len(scored), *image.shape[:2]):
            wanted = (len(scored), *image.shape[:2])
            raise InputError(f"masks of picture {index}: expected shape {wanted}, got {image_masks.shape}")
        for number, box in enumerate(scored):
            problem = box_tools.box_problem(box, (image.shape[1], image.shape[0]))
            if problem:
                log.warning("picture %d: %s: left out", index, problem)
                results[index].dropped.append(problem)
            else:
                jobs.append(_Job(index, box, None if image_masks is None else image_masks[number]))
    return jobs, results


def check_image(image: np.ndarray) -> None:
    """Raise `InputError` unless `image` is RGB uint8 (H, W, 3) of at least one pixel."""
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        shape = getattr(image, "shape", type(image).__name__)
        raise InputError(f"picture: expected an RGB array of shape (height, width, 3), got {shape}")
    if image.dtype != np.uint8:
        raise InputError(f"picture: expected uint8 values of 0..255, got {image.dtype}")


def with_scores(boxes: Any) -> np.ndarray:
    """(N, 4) or (N, 5) -> (N, 5) float32; a box without a score gets 1."""
    array = np.asarray(boxes, dtype=np.float32)
    if array.ndim == 2 and array.shape[1] == 5:
        return array
    plain = box_tools.as_boxes_xyxy(boxes)
    return np.concatenate([plain, np.ones((len(plain), 1), np.float32)], axis=1)


_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cusolver_status_alloc_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of a device, or of the machine, ran out."""
    import torch

    known: tuple[type[BaseException], ...] = (torch.cuda.OutOfMemoryError, MemoryError)
    text = str(error).lower()
    return isinstance(error, known) or any(words in text for words in _NO_MEMORY)


def load_estimator(
    name_or_path: str | Path = "auto",
    *,
    dtype: Any = None,
    vae_dtype: Any = None,
    device: Any = None,
    batch_size: int | None = None,
    flip_test: bool = False,
    crop: str = "affine",
    keypoint_set: str | None = None,
    feature_level: str | None = None,
    input_size: tuple[int, int] | None = None,
    channels_last: bool = False,
    compile: bool = False,
    pool_attention: bool = False,
    tiny_encoder: str | Path | None = None,
    providers: Sequence[Provider] | None = None,
    search: Sequence[str | Path] = (),
) -> Estimator:
    """The estimator called `name_or_path`.

    Args:
        name_or_path: "auto" (SDPose weights if they are on this machine, whole body before body; else the preview,
            which is said in the log and in every result), "preview", "body", "wholebody", a checkpoint's path, or
            that of an ONNX file of `export_onnx`.
        dtype, vae_dtype, device, keypoint_set, feature_level, input_size: as in `load_sdpose`.
        batch_size, flip_test, crop: as in `PoseEstimator`.
        channels_last, compile: memory format (always so on CUDA) and `torch.compile`, for speed.
        pool_attention, tiny_encoder: stated approximations, see `load_sdpose`; recorded in every result.
        providers: of an ONNX file, see `load_onnx_estimator`.
        search: more folders in which to look for weights.

    Raises:
        CheckpointError: the weights are missing or of another kind.
        MissingDependency: SDPose was asked for without torch or diffusers.
    """
    name = str(name_or_path)
    if name == "preview":
        return _preview()
    if name == "auto":
        path, why = _find_any(search)
        if path is None:
            log.info("%s", why)
            return _preview(note=why)
        name_or_path = path
    if name.endswith(".onnx"):
        from .onnx_estimator import load_onnx_estimator

        fixed = {
            "dtype": dtype not in (None, "auto"), "vae_dtype": vae_dtype, "keypoint_set": keypoint_set,
            "feature_level": feature_level, "input_size": input_size, "channels_last": channels_last,
            "compile": compile, "pool_attention": pool_attention, "tiny_encoder": tiny_encoder,
        }  # fmt: skip
        if given := [key.replace("_", "-") for key, value in fixed.items() if value]:
            raise InputError(f"{name} is what it was exported as: leave out {', '.join(given)}, or export it anew")
        return load_onnx_estimator(
            name, device=device, providers=providers, batch_size=batch_size, flip_test=flip_test, crop=crop
        )
    _need_torch(name)
    from .model import load_sdpose
    from .weights import find_weights

    path = Path(name_or_path) if Path(name_or_path).exists() else find_weights(name, search=search)
    model = load_sdpose(
        path,
        keypoint_set=keypoint_set,
        feature_level=feature_level,
        input_size=input_size,
        dtype=dtype,
        vae_dtype=vae_dtype,
        device=device,
        fold=True,
        pool_attention=pool_attention,
        tiny_encoder=tiny_encoder,
    )
    model = _accelerated(model, channels_last, compile)
    return PoseEstimator(
        model,
        name=f"SDPose {model.config.keypoint_set}",
        weights=_identity(path),
        batch_size=batch_size,
        flip_test=flip_test,
        crop=crop,
    )


def _preview(note: str | None = None) -> Estimator:
    from .preview import PreviewEstimator

    return PreviewEstimator(note=note)


def _need_torch(name: str) -> None:
    absent = [package for package in ("torch", "diffusers") if not installed(package)]
    if absent:
        raise MissingDependency(
            f"SDPose ({name!r}) needs {' and '.join(absent)}, not installed here: "
            'pip install "sdpose-annotator[torch]" (or use the preview: --model preview)'
        )


def _find_any(search: Sequence[str | Path]) -> tuple[Path | None, str]:
    """The best SDPose weights of this machine, or None and one line that says why the preview runs."""
    from .weights import find_weights

    for name in ("wholebody", "body"):
        try:
            path = find_weights(name, search=search)
        except CheckpointError:
            continue
        if installed("torch") and installed("diffusers"):
            return path, ""
        return None, (
            f"SDPose weights are here ({path}) but torch or diffusers is not installed: using the 17-point preview "
            '(MoveNet), not SDPose; pip install "sdpose-annotator[torch]"'
        )
    return None, (
        "no SDPose weights on this machine: using the 17-point preview (MoveNet), not SDPose; "
        "'sdpose download wholebody' fetches them"
    )


def _accelerated(model: SDPose, channels_last: bool, compile: bool) -> SDPose:
    import torch

    if channels_last or model.device.type == "cuda":
        model = model.to(memory_format=torch.channels_last)
    if compile:
        model.compile_backbone()
    return model


def _identity(path: Path) -> dict[str, Any]:
    """Name and sha256 of a checkpoint (of each safetensors file of a folder)."""
    from .weights import identify

    return identify(path)
