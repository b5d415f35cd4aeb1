"""Sapiens from TorchScript files (arXiv 2408.12569), with SDPose's crop and heatmaps.

A TorchScript file is a program with all rights of its user, so it is opened only on request.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.codec.crops import make_crop
from sdpose_core.codec.heatmaps import decode_dark_udp, flip_back
from sdpose_core.dependencies import require
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133, KeypointSet
from sdpose_training.peers.base import Peer, checked, normalized

INPUT_SIZE = (768, 1024)

COCO_17_IN_308 = {
    "nose": 0, "left_eye": 1, "right_eye": 2, "left_ear": 3, "right_ear": 4, "left_shoulder": 5, "right_shoulder": 6,
    "left_elbow": 7, "right_elbow": 8, "left_hip": 9, "right_hip": 10, "left_knee": 11, "right_knee": 12,
    "left_ankle": 13, "right_ankle": 14, "right_wrist": 41, "left_wrist": 62,
}  # fmt: skip
"""Indices of COCO's 17 points among the 308 of Sapiens, by name."""

_CHANNELS: dict[int, tuple[KeypointSet, tuple[int, ...]]] = {
    17: (COCO_17, tuple(range(17))),
    133: (COCO_WHOLEBODY_133, tuple(range(133))),
    308: (COCO_17, tuple(COCO_17_IN_308[name] for name in COCO_17.names)),
}


class SapiensPeer(Peer):
    """A pose model of Sapiens as TorchScript, 768 x 1024, with 17, 133 or 308 keypoints; of 308, COCO's 17 are used.

    Args:
        path: the file (`..._torchscript.pt2`).
        device: None: CUDA if available, else the CPU.
        trust_file: allow the file to run its code.
        options: flip_test and batch of `Peer`.

    Raises: see `load_peer`.
    """

    def __init__(self, path: str | Path, *, device: Any = None, trust_file: bool = False, **options: Any) -> None:
        path = Path(path)
        torch = require("torch", f"Sapiens ({path.name})")
        _check_kind(path)
        if not trust_file:
            raise InputError(
                f"{path} is a TorchScript file, and opening it runs the code in it: if you trust its source, allow it "
                "with --trust-file (trust_file=True)"
            )
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = _load(path, self.device)
        self._dtype = next((parameter.dtype for parameter in self.model.parameters()), torch.float32)
        count = self._count_keypoints(path)
        keypoints, self._channels = _CHANNELS[count]
        super().__init__(f"Sapiens ({path.stem})", keypoints.name, path, **options)
        if count != len(keypoints):
            self.notes.append(f"COCO's {len(keypoints)} of its {count} points are used")

    def _find(self, images: Sequence[np.ndarray], boxes_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import torch

        cut = [make_crop(image, box, INPUT_SIZE) for image, box in zip(images, boxes_xyxy, strict=True)]
        pixels = torch.from_numpy(normalized(np.stack([crop for crop, _ in cut])))
        heatmaps = self._heatmaps(pixels)
        if self.flip_test:
            swap = self.points.flip_indices
            heatmaps = (heatmaps + flip_back(self._heatmaps(pixels.flip(-1)), swap)) / 2
        points, scores = decode_dark_udp(checked(self.name, heatmaps), INPUT_SIZE)
        return np.stack([crop.to_image(each) for (_, crop), each in zip(cut, points, strict=True)]), scores

    def _heatmaps(self, pixels: Any) -> Any:
        """(n, 3, h, w) -> (n, K, h / 4, w / 4) float32, K of the keypoint set."""
        return self._forward(pixels)[:, self._channels].float()

    def _forward(self, pixels: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self.model(pixels.to(self.device, self._dtype))

    def _count_keypoints(self, path: Path) -> int:
        """K, by one pass, which also checks that the file is a pose model."""
        import torch

        w, h = INPUT_SIZE
        try:
            output = self._forward(torch.zeros(1, 3, h, w))
        except RuntimeError as error:
            raise CheckpointError(f"{path} does not run on pictures of {w} x {h} ({_last_line(error)})") from None
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        if len(shape) != 4 or shape[2:] != (h // 4, w // 4) or shape[1] not in _CHANNELS:
            known = ", ".join(str(count) for count in _CHANNELS)
            raise CheckpointError(
                f"{path} is not a supported pose model of Sapiens: its output is {shape}, expected heatmaps of "
                f"shape (1, K, {h // 4}, {w // 4}) with K one of {known}"
            )
        return int(shape[1])

    def _settings(self) -> dict[str, Any]:
        dtype = str(self._dtype).removeprefix("torch.")
        return {"device": self.device.type, "dtype": dtype, "input_size": list(INPUT_SIZE), "crop": "affine"}


def _check_kind(path: Path) -> None:
    """Raise `CheckpointError` unless the file is TorchScript, by the names in its archive; no code is run."""
    expected = "expected a TorchScript file of Sapiens (..._torchscript.pt2)"
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file: {expected}")
    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} is damaged, incomplete, or of another kind: {expected}")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("constants.pkl") for name in names) and any("/code/" in name for name in names):
        return
    exported = any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names)
    found = "a program of torch.export" if exported else "no program (perhaps only weights)"
    raise CheckpointError(f"{path} holds {found}: {expected}")


def _load(path: Path, device: Any) -> Any:
    import torch

    try:
        return torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise CheckpointError(f"{path} cannot be loaded as TorchScript ({_last_line(error)})") from None


def _last_line(error: Exception) -> str:
    """TorchScript's errors give the reason last, after a trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
