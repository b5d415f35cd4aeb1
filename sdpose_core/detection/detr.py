"""RT-DETR, RT-DETRv2 and D-FINE through transformers.

Pictures are prepared here, from the model's `preprocessor_config.json`: transformers' processors need torchvision,
which is often missing or does not fit the installed torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..dependencies import require
from ..errors import CheckpointError, DownloadError, InputError, one_line
from ..images import check_image
from ..texts import read_json
from ..transformers_files import commit_of, damage, from_cache_or_hub, read_config
from .people import Detections, Limits, check_finite

MODEL_TYPES = ("rt_detr", "rt_detr_v2", "d_fine")
"""All output a sigmoid score per class and query, and boxes as center and size in 0..1."""

_PREPROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True)
class Preparation:
    """The preprocessing of a model."""

    size: tuple[int, int]  # (w, h)
    resample: int = 2  # Pillow's number: bilinear
    factor: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], source: str) -> Preparation:
        """Read a `preprocessor_config.json`. Raises `CheckpointError` for a size that is not fixed."""
        if not isinstance(config, Mapping):
            raise CheckpointError(f"{source}: {_PREPROCESSOR} is a {type(config).__name__}, expected an object")
        size = config.get("size")
        if isinstance(size, int):
            size = {"height": size, "width": size}
        if not isinstance(size, Mapping) or not {"height", "width"} <= set(size) or not config.get("do_resize", True):
            raise CheckpointError(f"{source}: {_PREPROCESSOR} has the size {size!r}, expected a fixed height and width")
        normalize = config.get("do_normalize", False)
        try:
            return cls(
                size=(int(size["width"]), int(size["height"])),
                resample=int(config.get("resample", 2)),
                factor=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
                mean=tuple(map(float, config["image_mean"])) if normalize else (0.0, 0.0, 0.0),
                std=tuple(map(float, config["image_std"])) if normalize else (1.0, 1.0, 1.0),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{source}: {_PREPROCESSOR} has a missing or wrong value ({error!r}): expected numbers for size, "
                "resample, rescale_factor, image_mean and image_std"
            ) from None

    def apply(self, image: np.ndarray) -> np.ndarray:
        """RGB uint8 (H, W, 3) -> float32 (1, 3, h, w)."""
        from PIL import Image

        resized = np.asarray(Image.fromarray(image).resize(self.size, resample=Image.Resampling(self.resample)))
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        scaled = (resized.astype(np.float32) * self.factor - mean) / std
        return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None], dtype=np.float32)


class DetrDetector:
    """A person detector from transformers.

    Args:
        name: a local folder, or a name on the Hugging Face hub.
        limits: which detections count; there is no suppression, as these models do not repeat boxes.
        device: None: CUDA if available, otherwise the CPU.
        download: whether the hub may be asked for a name that is not in its local cache. Code of a repository never
            runs.

    Raises:
        CheckpointError: another type of model, weights missing or damaged, or no class "person".
        InputError: PyTorch cannot use the device.
        DownloadError: it is not in the local cache, and may not be downloaded; the hub does not have it or cannot be
            reached.
        MissingDependency: torch or transformers is not installed.
    """

    def __init__(
        self, name: str, limits: Limits | None = None, *, device: str | None = None, download: bool = False
    ) -> None:
        self.limits = limits or Limits()
        self._local = os.path.isdir(name)
        torch = require("torch", f"the detector {name}")
        require("transformers", f"the detector {name}")
        self.device = _usable(torch, device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model, self.preparation = from_cache_or_hub(self._load, name, download=download)
        kind = self.model.config.model_type
        self.name = f"{Path(name).name if self._local else name} ({kind}), torch on {self.device.type}"

    def detect(self, image: np.ndarray) -> Detections:
        """See `PersonDetector.detect`."""
        import torch

        check_image(image)
        pixels = torch.from_numpy(self.preparation.apply(image)).to(self.device)
        with torch.inference_mode():
            output = self.model(pixel_values=pixels)
        scores = output.logits[0, :, self._person].float().sigmoid().cpu().numpy()
        boxes = output.pred_boxes[0].float().cpu().numpy()
        check_finite(boxes, scores, self.limits.threshold, self.name)
        h, w = image.shape[:2]
        corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
        return self.limits.apply(corners * np.asarray([w, h, w, h], np.float32), scores, (w, h), nms=False)

    def meta(self) -> dict[str, Any]:
        """See `PersonDetector.meta`."""
        return {
            "name": self.name,
            "revision": getattr(self.model.config, "_commit_hash", None),
            "backend": f"torch {self.device.type}",
            "settings": asdict(self.limits) | {"input_size": list(self.preparation.size)},
        }

    def _load(self, name: str, *, offline: bool) -> tuple[Any, Preparation]:
        from transformers import AutoModelForObjectDetection
        from transformers.utils import cached_file

        with self._reading(name, offline):
            config = read_config(name, offline=offline)
        if (kind := config.model_type) not in MODEL_TYPES:
            raise CheckpointError(f"{name} is a model of type {kind!r}: expected one of {', '.join(MODEL_TYPES)}")
        self._person = person_class(config.id2label, name)
        with self._reading(name, offline):
            file = cached_file(name, _PREPROCESSOR, local_files_only=offline, revision=commit_of(config))
            preprocessor = read_json(str(file))
        preparation = Preparation.from_config(preprocessor, name)
        with self._reading(name, offline):
            model, report = AutoModelForObjectDetection.from_pretrained(
                name, config=config, local_files_only=offline, use_safetensors=True, output_loading_info=True,
                trust_remote_code=False, revision=commit_of(config),
            )  # fmt: skip
        if missing := sorted(report["missing_keys"]):
            raise CheckpointError(f"{name}: the weights lack {missing[0]!r} ({len(missing)} missing in total)")
        return model.to(self.device).eval(), preparation

    @contextmanager
    def _reading(self, name: str, offline: bool) -> Iterator[None]:
        """What transformers raises for a missing or damaged file, as our error."""
        try:
            yield
        except damage() as error:
            reason = one_line(error)
            if self._local or not isinstance(error, OSError):
                raise CheckpointError(
                    f"{name} cannot be loaded ({reason}): expected config.json, {_PREPROCESSOR} and model.safetensors "
                    "of an RT-DETR, RT-DETRv2 or D-FINE model"
                ) from error
            if not offline:
                raise DownloadError(f"cannot get the detector {name!r} from the Hugging Face hub ({reason})") from error
            raise DownloadError(
                f"the detector {name!r} is neither a folder nor whole in the local Hugging Face cache: check the name, "
                "or add --download to fetch it (in Python: download=True)"
            ) from error


def _usable(torch: Any, device: Any) -> Any:
    """The device as a torch.device. Raises `InputError` if PyTorch cannot use it here."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, ImportError) as error:  # as PyTorch says it for CUDA and for extensions
        found = f"device {str(device)!r} cannot be used by PyTorch {torch.__version__} here ({one_line(error)})"
        raise InputError(f"{found}: choose cpu, or leave the device out") from None


def person_class(id2label: Mapping[int, str], source: str) -> int:
    """The index of the class "person". Raises `CheckpointError` if there is none."""
    for index, label in id2label.items():
        if str(label).strip().lower() == "person":
            return int(index)
    first = ", ".join(map(str, list(id2label.values())[:5]))
    raise CheckpointError(f"{source} has no class 'person': its classes start with {first}")
