"""The value of an SDPOSE_MODEL wire, and how ComfyUI's model management handles its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...sdpose_core.estimation.options import EstimatorOptions
from .folders import weight_roots

if TYPE_CHECKING:
    import torch

    from ...sdpose_core.estimation.crop_jobs import Estimator
    from ...sdpose_core.model.network import SDPose

COMFY_LAYERS = ("Linear", "Conv2d", "ConvTranspose2d", "GroupNorm", "LayerNorm")


class PreviewModel:
    """The embedded preview of the whole body: small, on the CPU, nothing to manage."""

    name = "preview (MoveNet, MediaPipe)"
    asked = "preview"
    """See `ManagedModel.asked`."""

    def estimator(self, _options: EstimatorOptions | None = None) -> Estimator:
        """The preview estimator; it ignores the options, which are for SDPose."""
        from ...sdpose_core.estimation.loading import load_estimator

        return load_estimator("preview")

    def describe(self) -> str:
        """One line for the info text."""
        return f"{self.name}: 133 keypoints, not SDPose. To run SDPose, choose weights in Load SDPose Model."


class ManagedModel:
    """An SDPose whose weights ComfyUI moves between RAM and device, partially if memory is short.

    Its constants are folded (`sdpose_core/model/folding.py`): every layer left follows its input to the device.
    """

    def __init__(self, sdpose: SDPose, name: str, weights: dict[str, Any], notes: Sequence[str] = ()) -> None:
        self.name = name
        self._notes = notes
        self._sdpose = sdpose
        self._weights = weights
        self._patcher = _patcher_of(sdpose)

    def estimator(self, options: EstimatorOptions | None = None) -> Estimator:
        """The SDPose estimator, with its weights where ComfyUI puts them now."""
        from ...sdpose_core.estimation.crop_jobs import BATCH_SIZE_OF_DEVICE
        from ...sdpose_core.estimation.sdpose import PoseEstimator

        options, device = options or EstimatorOptions(), self._patcher.load_device
        batch_size = options.batch_size or BATCH_SIZE_OF_DEVICE.get(device.type, 1)
        self._load(batch_size * (2 if options.flip_test else 1))
        estimator = PoseEstimator(
            self._sdpose,
            name=self.name,
            weights=self._weights,
            batch_size=batch_size,
            flip_test=options.flip_test,
            crop=options.crop,
        )
        estimator.device = device  # by default that of the first weight, which may be offloaded
        return estimator

    @property
    def asked(self) -> dict[str, Any]:
        """What tells it apart from other models: the weights, and how they were loaded."""
        config = self._sdpose.config
        return {
            "sha256": self._weights.get("sha256", {}), "dtype": str(self._sdpose.dtype).removeprefix("torch."),
            "keypoint_set": config.keypoint_set, "input_size": list(config.input_size),
            "approximations": sorted(self._sdpose.approximations),
        }  # fmt: skip

    def describe(self) -> str:
        """One line for the info text."""
        from ...sdpose_core.estimation.sdpose import dtype_notes, notes_of

        config = self._sdpose.config
        dtype = str(self._sdpose.dtype).removeprefix("torch.")
        w, h = config.input_size
        parts = [self.name, f"{config.num_keypoints} keypoints", f"{dtype} on {self._patcher.load_device}"]
        parts.append(f"{w} x {h} crops")
        if self._sdpose.approximations:
            parts.append(f"approximations: {', '.join(sorted(self._sdpose.approximations))}")
        return " | ".join([*parts, *self._notes, *notes_of(config), *dtype_notes(self._sdpose)])

    def _load(self, batch: int) -> None:
        import comfy.model_management

        config = self._sdpose.config
        (w, h), widest = config.input_size, config.vae.block_out_channels[0]
        activations = 4 * batch * w * h * widest * self._sdpose.dtype.itemsize  # in the VAE's first block, the largest
        comfy.model_management.load_models_gpu([self._patcher], memory_required=activations)


def load_model(path: Path, options: EstimatorOptions) -> ManagedModel:
    """A checkpoint of any layout, in RAM, without the RGB branch; the base of an adapter is in ComfyUI's model folders.

    Raises `CheckpointError` if it is not SDPose, or if an adapter's base is missing; `MissingDependency` if
    `torch.compile` does not work here.
    """
    import comfy.model_management

    from ...sdpose_core.checkpoints.loading import load_sdpose
    from ...sdpose_core.checkpoints.published import identify
    from ...sdpose_core.estimation.loading import cost_of_compiling

    offload_device = comfy.model_management.unet_offload_device()
    sdpose = load_sdpose(
        path,
        keypoint_set=options.keypoint_set,
        dtype=_dtype_of(options.dtype),
        device=offload_device,
        input_size=options.input_size,
        fold=True,
        pool_attention=options.pool_attention,
        search=weight_roots(),
    )
    notes = []
    if options.compile:
        device = comfy.model_management.get_torch_device()  # the weights are still elsewhere
        sdpose.compile_backbone(str(options.compile), device)
        notes = [cost_of_compiling(device.type)]
    return ManagedModel(sdpose, f"SDPose {sdpose.config.keypoint_set} ({path.name})", identify(path), notes)


def _dtype_of(choice: str | torch.dtype | None) -> str | torch.dtype | None:
    """None ("auto") on a CPU: the library's choice; elsewhere the dtype ComfyUI uses (bf16, else fp16, else fp32).

    Other choices as they are.
    """
    import comfy.model_management

    if choice is not None:
        return choice
    device = comfy.model_management.get_torch_device()
    if device.type == "cpu":
        return None
    if comfy.model_management.should_use_bf16(device):
        return "bf16"
    return "fp16" if comfy.model_management.should_use_fp16(device) else "fp32"


def _patcher_of(sdpose: SDPose) -> Any:
    """SDPose in the form ComfyUI manages: a module whose `device` it may set, made of layers it may offload."""
    import comfy.model_management
    import comfy.model_patcher
    import torch

    _use_comfy_layers(sdpose, on_cpu=comfy.model_management.get_torch_device().type == "cpu")
    managed = type("SDPose", (torch.nn.Module,), {})()  # ComfyUI's log names this class
    managed.sdpose = sdpose
    return comfy.model_patcher.CoreModelPatcher(
        managed,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def _use_comfy_layers(sdpose: SDPose, on_cpu: bool) -> None:
    """Give the layers ComfyUI's classes, which fetch their weights as they run, so that some may stay in RAM.

    On the CPU the library's faster linear layers stay, and the last layer, which runs in fp32 there: there is nothing
    to fetch.
    """
    import comfy.ops
    import torch

    class_of = {getattr(torch.nn, name): getattr(comfy.ops.disable_weight_init, name) for name in COMFY_LAYERS}
    for module in sdpose.modules():
        if on_cpu and module is sdpose.head.final_layer:
            continue
        kinds = (type(module),) if on_cpu else type(module).__mro__
        kind = next((kind for kind in kinds if kind in class_of), None)
        if kind:
            module.__class__ = class_of[kind]
