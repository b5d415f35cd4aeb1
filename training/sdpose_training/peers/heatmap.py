"""Any top-down heatmap model from an ONNX file: SimpleBaseline, HRNet, HRFormer, ViTPose and others.

What the file does not say is by its published name, else as for most of MMPose's models, else by options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.codec.crops import PADDING, affine_crop, warp
from sdpose_core.codec.heatmaps import flip_back, gaussian_kernel, heatmap_factor
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.skeletons import COCO_17, KEYPOINT_SETS, KeypointSet
from sdpose_training.data.keypoint_sets import find_keypoint_set
from sdpose_training.options import size, whole_number
from sdpose_training.peers.base import MEAN, STD, Peer, checked, normalized
from sdpose_training.peers.conventions import convention_of
from sdpose_training.peers.decoding import BLUR_TAPS, DECODERS, decode, shifted
from sdpose_training.peers.onnx_files import open_onnx, picture_input, run_in_batches, shapes_of, title_of
from sdpose_training.peers.plain_crop import PlainCrop
from sdpose_training.peers.sapiens import COCO_17_IN_308
from sdpose_training.peers.spec_options import Reader, channels, number, one_of, switch

WHAT = "a top-down heatmap model"

PARTS_OF: Mapping[int, tuple[KeypointSet, tuple[int, ...]]] = {
    **{len(points): (points, tuple(range(len(points)))) for points in KEYPOINT_SETS.values()},
    26: (COCO_17, tuple(range(17))),
    308: (COCO_17, tuple(COCO_17_IN_308[name] for name in COCO_17.names)),
}
"""Number of heatmaps -> keypoints, and their channels: Halpe's 26 and the 308 of Sapiens contain COCO's 17."""


@dataclass(frozen=True)
class HeatmapOptions:
    """How a model is fed and read; None: by the file or its name.

    Attributes:
        input: (w, h), for files that leave it open.
        mean, std: per channel in the order red, green, blue, for values of 0 to 255.
        color: order of the channels that the model takes, "rgb" or "bgr".
        padding: factor on the size of the box.
        udp: map pixel centers to pixel centers, in the crop and in the heatmap.
        decode: one of `DECODERS`.
        blur: taps of DARK's blur, odd.
        shift: move mirrored heatmaps by a pixel in the flip test; None: without UDP.
        output: which output has the heatmaps, from 0.
        keypoints: name of a known set or a TOML file; None: by the number of heatmaps.
    """

    input: tuple[int, int] | None = None
    mean: tuple[float, ...] = tuple(map(float, MEAN))
    std: tuple[float, ...] = tuple(map(float, STD))
    color: str = "rgb"
    padding: float = PADDING
    udp: bool | None = None
    decode: str | None = None
    blur: int = BLUR_TAPS
    shift: bool | None = None
    output: int | None = None
    keypoints: str | None = None


READERS: Mapping[str, Reader] = {
    "input": size(1),
    "mean": channels(),
    "std": channels(positive=True),
    "color": one_of("rgb", "bgr"),
    "padding": number(0, above=True),
    "udp": switch,
    "decode": one_of(*DECODERS),
    "blur": whole_number(3),
    "shift": switch,
    "output": whole_number(0),
    "keypoints": str,
}


class HeatmapPeer(Peer):
    """A model with one input (n, 3, h, w) and heatmaps (n, K, h', w').

    Args:
        path: the ONNX file.
        settings: how it is fed and read.
        device: "cpu", "cuda", or None for the best available.
        options: flip_test and batch of `Peer`.

    Raises: see `load_peer`.
    """

    def __init__(
        self, path: str | Path, settings: HeatmapOptions | None = None, *, device: Any = None, **options: Any
    ) -> None:
        path = Path(path)
        self.settings = _complete(settings or HeatmapOptions(), title_of(path))
        gaussian_kernel(self.settings.blur)  # raises for an even number
        self.model = open_onnx(path, device)
        self._input = picture_input(self.model, WHAT, self.settings.input, example="input=192x256")
        w, h = self._input.size
        found = run_in_batches(self.model, self._input, np.zeros((1, 3, h, w), np.float32))
        self._output = _heatmaps_among(found, self.settings.output, path)
        points, self._channels = _points_of(found[self._output].shape[1], self.settings.keypoints, path)
        super().__init__(f"Heatmaps ({title_of(path)})", points, path, **options)
        self.notes += self.model.notes
        if (count := found[self._output].shape[1]) != len(points):
            self.notes.append(f"COCO's {len(points)} of its {count} points are used")

    def _find(self, images: Sequence[np.ndarray], boxes_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        how, size = self.settings, self._input.size
        make = affine_crop if how.udp else PlainCrop.of_box
        crops = [make(box, size, how.padding) for box in boxes_xyxy]
        cut = np.stack([warp(image, crop.matrix, size) for image, crop in zip(images, crops, strict=True)])
        pixels = self._pixels(cut)
        heatmaps = self._heatmaps(pixels)
        if self.flip_test:
            mirrored = flip_back(self._heatmaps(np.ascontiguousarray(pixels[..., ::-1])), self.points.flip_indices)
            heatmaps = (heatmaps + (shifted(mirrored) if how.shift else mirrored)) / 2
        points, scores = decode(heatmaps, str(how.decode), how.blur)
        points = points * self._factor(heatmaps)
        return np.stack([crop.to_image(each) for crop, each in zip(crops, points, strict=True)]), scores

    def _pixels(self, crops_rgb: np.ndarray) -> np.ndarray:
        """(n, h, w, 3) -> (n, 3, h, w) as the model takes them."""
        pixels = normalized(crops_rgb, np.float32(self.settings.mean), np.float32(self.settings.std))
        return np.ascontiguousarray(pixels[:, ::-1]) if self.settings.color == "bgr" else pixels

    def _heatmaps(self, pixels: np.ndarray) -> np.ndarray:
        """(n, 3, h, w) -> (n, K, h', w') float32, K of the keypoint set."""
        outputs = run_in_batches(self.model, self._input, pixels)
        return checked(self.name, outputs[self._output][:, self._channels].astype(np.float32))

    def _factor(self, heatmaps: np.ndarray) -> np.ndarray:
        """(2,) input pixels per heatmap pixel."""
        size = (heatmaps.shape[3], heatmaps.shape[2])
        return heatmap_factor(self._input.size, size) if self.settings.udp else np.divide(self._input.size, size)

    def _settings(self) -> dict[str, Any]:
        how = self.settings
        crop = {"crop": "udp" if how.udp else "plain", "box_padding": how.padding, "color": how.color}
        pixels = {"mean": list(how.mean), "std": list(how.std)}
        decoding = {"decode": how.decode, "blur": how.blur, "flip_shift": bool(how.shift), "output": self._output}
        return {"backend": self.model.backend, "input_size": list(self._input.size), **crop, **pixels, **decoding}


def _complete(settings: HeatmapOptions, name: str) -> HeatmapOptions:
    """The settings with what they leave open, by the name of the model."""
    usual = convention_of(name)
    udp = usual.udp if settings.udp is None else settings.udp
    fitting = usual.decode if udp == usual.udp else "dark-udp" if udp else "quarter"
    shift = not udp if settings.shift is None else settings.shift
    return replace(settings, udp=udp, decode=settings.decode or fitting, shift=shift)


def _heatmaps_among(outputs: Sequence[np.ndarray], asked: int | None, path: Path) -> int:
    """Index of the output with the heatmaps of one picture. Raises `CheckpointError` or `InputError`."""
    fitting = [i for i, output in enumerate(outputs) if output.ndim == 4 and min(output.shape[1:]) > 1]
    expected = "expected heatmaps of shape (n, K, height, width)"
    if not fitting:
        raise CheckpointError(f"{path} is not {WHAT}: its outputs are {shapes_of(outputs)}, {expected}")
    if asked is None and len(fitting) > 1:
        raise InputError(f"{path} has several outputs ({shapes_of(outputs)}): choose one, such as output={fitting[-1]}")
    if asked is not None and asked not in fitting:
        raise InputError(f"{path}: output={asked} has no heatmaps: its outputs are {shapes_of(outputs)}, {expected}")
    return fitting[0] if asked is None else asked


def _points_of(count: int, asked: str | None, path: Path) -> tuple[KeypointSet, list[int]]:
    """The keypoints of a model with `count` heatmaps, and their channels."""
    if asked is None:
        if count not in PARTS_OF:
            known = ", ".join(map(str, PARTS_OF))
            three = f" ({count // 3} points with offsets, of UDP's combined kind, are not supported)" * (count == 51)
            raise CheckpointError(
                f"{path} has {count} heatmaps{three}: known are {known}; name other keypoints, such as "
                "keypoints=my_points.toml"
            )
        points, indices = PARTS_OF[count]
        return points, list(indices)
    points = find_keypoint_set(asked)
    inside = PARTS_OF.get(count, (None, ()))
    if len(points) != count and inside[0] is not points:
        raise InputError(f"{path} has {count} heatmaps, keypoints={asked} has {len(points)} points: give the right set")
    return points, list(inside[1]) if inside[0] is points else list(range(count))
