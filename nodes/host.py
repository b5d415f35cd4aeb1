"""What ComfyUI offers to a node: folders, progress and cancelling, text on the node, the memory manager."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..sdpose_core.errors import InputError
from ..sdpose_core.poses import Poses

if TYPE_CHECKING:
    import torch

    from ..sdpose_core.model import SDPose

log = logging.getLogger(__name__)

FOLDER = "sdpose"
WEIGHT_FOLDERS = (FOLDER, "checkpoints", "diffusion_models")
WEIGHT_SUFFIXES = (".safetensors", ".onnx")


def register_folder() -> None:
    """Make models/sdpose a folder of ComfyUI, for weights and ONNX detectors; extra_model_paths.yaml may add more."""
    import folder_paths

    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    folder_paths.folder_names_and_paths[FOLDER][1].update(WEIGHT_SUFFIXES)


def weight_files(suffix: str = ".safetensors", folders: Sequence[str] = WEIGHT_FOLDERS) -> list[str]:
    """Names of the files of weights in the folders, those that sound like SDPose first; folders of diffusers' layout."""
    import folder_paths

    names = {name for folder in folders for name in folder_paths.get_filename_list(folder) if name.endswith(suffix)}
    if suffix == ".safetensors":
        names |= {path.name for path in _diffusers_folders()}
        names = {name for name in names if not _inside_a_diffusers_folder(name)}
    return sorted(names, key=lambda name: ("sdpose" not in name.lower(), name.lower()))


def _diffusers_folders() -> list[Path]:
    import folder_paths

    roots = [Path(root) for root in folder_paths.get_folder_paths(FOLDER)]
    return [path for root in roots if root.is_dir() for path in sorted(root.iterdir()) if (path / "unet").is_dir()]


def _inside_a_diffusers_folder(name: str) -> bool:
    return any(Path(name).parts[0] == path.name and len(Path(name).parts) > 1 for path in _diffusers_folders())


def weight_path(name: str) -> Path:
    """Where the file or folder `name` of `weight_files` lies. Raises `InputError` if it is gone."""
    import folder_paths

    for folder in WEIGHT_FOLDERS:
        found = folder_paths.get_full_path(folder, name)
        if found:
            return Path(found)
    for path in _diffusers_folders():
        if path.name == name:
            return path
    raise InputError(f"{name!r} is no longer in models/{', models/'.join(WEIGHT_FOLDERS)}: choose another model")


def weights_folder() -> Path:
    """models/sdpose (the first of its folders), where downloads go."""
    import folder_paths

    return Path(folder_paths.get_folder_paths(FOLDER)[0])


def stop_if_interrupted() -> None:
    """Raise ComfyUI's exception when the user pressed cancel."""
    import comfy.model_management

    comfy.model_management.throw_exception_if_processing_interrupted()


class Progress:
    """The node's progress bar, as a callback `(done, total)` that also cancels when the user asks for it."""

    def __init__(self, total: int) -> None:
        import comfy.utils

        stop_if_interrupted()
        self._bar = comfy.utils.ProgressBar(max(total, 1))

    def __call__(self, done: int, total: int) -> None:
        self._bar.update_absolute(done, max(total, 1))
        stop_if_interrupted()


def show_text(node: Any, text: str) -> None:
    """Write `text` on the running node, where the host can."""
    with contextlib.suppress(ImportError, AttributeError):
        from server import PromptServer

        PromptServer.instance.send_progress_text(text, node.hidden.unique_id)


class Stopwatch:
    """Seconds of a run, and the one line that tells about it."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def describe(self, poses: Sequence[Poses], notes: Sequence[str] = ()) -> str:
        """Model, device, dtype, people, seconds, frames per second; then the notes, one a line."""
        seconds = max(time.perf_counter() - self._start, 1e-6)
        meta = poses[0].meta if poses else {}
        settings = meta.get("settings", {})
        people = sum(len(frame) for frame in poses)
        where = " ".join(str(settings[key]) for key in ("device", "dtype") if key in settings)
        parts = [str(meta.get("model", "unknown model")), where, f"{people} people in {len(poses)} frames"]
        parts += [f"{seconds:.2f} s, {len(poses) / seconds:.2f} frames/s"]
        left_out = [f"left out: {reason}" for frame in poses for reason in frame.meta.get("dropped_boxes", [])]
        return "\n".join([" | ".join(part for part in parts if part), *notes, *left_out])


class LoadedModel:
    """What travels on an SDPOSE_MODEL wire: the embedded preview, or an SDPose in the care of the memory manager."""

    def __init__(self, name: str, sdpose: SDPose | None = None, weights: dict[str, Any] | None = None) -> None:
        self.name = name
        self._sdpose = sdpose
        self._weights = weights or {}
        self._patcher = _patcher_of(sdpose) if sdpose is not None else None

    @property
    def keypoint_set(self) -> str:
        """Name of the keypoint set of its poses."""
        return "coco_17" if self._sdpose is None else self._sdpose.config.keypoint_set

    def estimator(self, *, batch_size: int = 0, flip_test: bool = False, crop: str = "affine") -> Any:
        """The core's estimator, with the weights where the memory manager put them. `batch_size` 0: by device."""
        if self._sdpose is None or self._patcher is None:
            from ..sdpose_core.estimator import load_estimator

            return load_estimator("preview")
        from ..sdpose_core.estimator import BATCH_SIZE_OF_DEVICE, PoseEstimator

        device = self._patcher.load_device
        batch_size = batch_size or BATCH_SIZE_OF_DEVICE.get(device.type, 1)
        self._to_device(batch_size * (2 if flip_test else 1))
        estimator = PoseEstimator(
            self._sdpose,
            name=self.name,
            weights=self._weights,
            batch_size=batch_size,
            flip_test=flip_test,
            crop=crop,
        )
        estimator.device = device  # its first weight may be offloaded
        return estimator

    def _to_device(self, batch: int) -> None:
        import comfy.model_management

        assert self._sdpose is not None and self._patcher is not None
        (w, h), item = self._sdpose.config.input_size, self._sdpose.dtype.itemsize
        widest = self._sdpose.config.vae.block_out_channels[0]
        comfy.model_management.load_models_gpu([self._patcher], memory_required=4 * batch * w * h * widest * item)
        device = self._patcher.load_device
        self._sdpose.unet.time_embedding.to(device)
        self._sdpose.unet.class_embedding.to(device)
        self._sdpose.empty_prompt_embedding = self._sdpose.empty_prompt_embedding.to(device)


def _patcher_of(sdpose: SDPose) -> Any:
    """SDPose as the memory manager wants a model: layers that can stay offloaded, a settable `device`."""
    import comfy.model_management
    import comfy.model_patcher
    import torch

    _use_comfy_layers(sdpose)
    managed = torch.nn.Module()
    managed.sdpose = sdpose
    return comfy.model_patcher.CoreModelPatcher(
        managed,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def _use_comfy_layers(sdpose: SDPose) -> None:
    """Give the layers ComfyUI's classes, which fetch their weights when they run, so that a part may stay in RAM.

    Except the two embeddings of constants: they have no input on the device to follow, and are always loaded.
    """
    import comfy.ops
    import torch

    ours = comfy.ops.disable_weight_init
    class_of = {
        getattr(torch.nn, name): getattr(ours, name)
        for name in ("Linear", "Conv2d", "ConvTranspose2d", "GroupNorm", "LayerNorm")
    }
    for name, module in sdpose.named_modules():
        if not name.startswith(("unet.time_embedding", "unet.class_embedding")) and type(module) in class_of:
            module.__class__ = class_of[type(module)]


def load_device_dtype(choice: str) -> torch.dtype:
    """"auto" -> what ComfyUI computes in on its device: bf16, else fp16, else fp32; or "fp32", "bf16", "fp16"."""
    import comfy.model_management
    import torch

    if choice != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[choice]
    device = comfy.model_management.get_torch_device()
    if comfy.model_management.should_use_bf16(device):
        return torch.bfloat16
    return torch.float16 if comfy.model_management.should_use_fp16(device) else torch.float32


def each_frame(items: Sequence[Any]) -> Iterator[Any]:
    """The items one by one, with a progress bar and cancelling."""
    progress = Progress(len(items))
    for number, item in enumerate(items):
        yield item
        progress(number + 1, len(items))
