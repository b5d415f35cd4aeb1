"""Load SDPose Model, Download SDPose Weights."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..sdpose_core.estimation.options import COMPILE_MODES, EstimatorOptions
from .host.folders import file_stamp, weight_files, weight_path, weights_folder
from .host.info import node_ui
from .host.model import PreviewModel, load_model
from .host.progress import Progress
from .sockets.poses import PoseModel
from .widgets import ALIASES, FILES_CATEGORY

PREVIEW = "preview (embedded)"
DTYPES = ("auto", "fp32", "bf16", "fp16")
DOWNLOADS = ("wholebody-comfy", "wholebody", "body", "art-detector")
INPUT_SIZES = {"auto": None, "576 x 768": (576, 768), "384 x 512": (384, 512)}
"""Sizes other than the one the checkpoint was trained at are approximations."""

KEYPOINT_SETS = {"auto": None, "body (17 points)": "coco_17", "whole body (133 points)": "coco_wholebody_133"}


class LoadModel(io.ComfyNode):
    """Load SDPose Model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        files = weight_files()
        named = [name for name in files if "sdpose" in name.lower()]
        return io.Schema(
            node_id="SDPoseAnnotatorLoadModel",
            display_name="Load SDPose Model",
            category=FILES_CATEGORY,
            description="Loads SDPose weights in any of three layouts (this pack's single file, the authors' folder, "
            "Comfy-Org's single file) or the small preview model of this pack. Never downloads anything.",
            search_aliases=[*ALIASES, "pose estimation", "checkpoint", "sdpose wholebody", "load pose model"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=[PREVIEW, *files],
                    default=named[0] if named else PREVIEW,
                    tooltip="Files in models/sdpose, models/checkpoints and models/diffusion_models (and in the extra "
                    "model paths). The preview finds body, hands, face and feet and needs no weights; it is not "
                    "SDPose.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=list(DTYPES),
                    default="auto",
                    tooltip="Data type of the weights. auto: bf16 or fp16 if your device supports it, otherwise fp32. "
                    "Heatmaps are always decoded in fp32.",
                ),
                io.Combo.Input(
                    "keypoints",
                    options=list(KEYPOINT_SETS),
                    default="auto",
                    tooltip="The keypoints the checkpoint was trained on. auto reads them from the checkpoint.",
                    advanced=True,
                ),
                io.Boolean.Input(
                    "compile",
                    default=False,
                    tooltip="Use torch.compile: minutes slower on the first run, faster afterwards. For hundreds of "
                    "frames on a GPU; a CPU gains hardly anything. Needs a C++ compiler, on a GPU Triton.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "input_size",
                    options=list(INPUT_SIZES),
                    default="auto",
                    tooltip="Size of each person's crop. auto: the size the checkpoint was trained at (768 x 1024). "
                    "The smaller sizes take about half and a quarter of the time; how much accuracy they cost has not "
                    "been measured on the released weights.",
                    advanced=True,
                    optional=True,
                ),
                io.Boolean.Input(
                    "pool_attention",
                    default=False,
                    tooltip="An approximation: the largest attention layers average their keys and values, which saves "
                    "about a tenth of the computation. Its accuracy has not been measured on the released weights.",
                    advanced=True,
                    optional=True,
                ),
                io.Combo.Input(
                    "compile_mode",
                    options=list(COMPILE_MODES),
                    default=COMPILE_MODES[0],
                    tooltip="The mode of torch.compile, if compile is on. reduce-overhead: CUDA graphs, for few people "
                    "on a fast GPU, at the cost of GPU memory; max-autotune: also tries several kernels, for minutes "
                    "more. Not measured on a GPU yet.",
                    advanced=True,
                    optional=True,
                ),
            ],
            outputs=[
                PoseModel.Output("model", tooltip="For SDPose Annotator and Estimate Poses."),
                io.String.Output("info", tooltip="File, number of keypoints, and data type."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(
        cls,
        model: str,
        dtype: str,
        keypoints: str,
        compile: bool,
        input_size: str = "auto",
        pool_attention: bool = False,
        compile_mode: str = COMPILE_MODES[0],
    ) -> tuple:
        """Load again after the file is replaced."""
        path = None if model in (None, PREVIEW) else weight_path(model)  # None when the choice comes by wire
        return model, dtype, keypoints, compile and compile_mode, input_size, pool_attention, file_stamp(path)

    @classmethod
    def execute(
        cls,
        model: str,
        dtype: str,
        keypoints: str,
        compile: bool,
        input_size: str = "auto",
        pool_attention: bool = False,
        compile_mode: str = COMPILE_MODES[0],
    ) -> io.NodeOutput:
        if model == PREVIEW:
            loaded = PreviewModel()
        else:
            loaded = load_model(
                weight_path(model),
                EstimatorOptions(
                    dtype=dtype,
                    keypoint_set=KEYPOINT_SETS[keypoints],
                    compile=compile and compile_mode,
                    input_size=INPUT_SIZES[input_size],
                    pool_attention=pool_attention,
                ),
            )
        info = loaded.describe()
        return io.NodeOutput(loaded, info, ui=node_ui(info))


class DownloadWeights(io.ComfyNode):
    """Download SDPose Weights."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorDownload",
            display_name="Download SDPose Weights",
            category=FILES_CATEGORY,
            description="Downloads weights into models/sdpose, only when you run it with download on. Weights that "
            "are already there are kept, and nothing is asked of the network for them.",
            search_aliases=[*ALIASES, "download model", "weights"],
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=list(DOWNLOADS),
                    default=DOWNLOADS[0],
                    tooltip="What to download. wholebody-comfy: body, feet, face and hands (133 keypoints), one file "
                    "in half precision; wholebody: the same, as the authors published it; body: 17 keypoints. "
                    "art-detector: finds people in paintings and anime.",
                ),
                io.Boolean.Input(
                    "download",
                    default=False,
                    tooltip="Off: only show what would be downloaded and from where, without using the network.",
                ),
            ],
            outputs=[io.String.Output("path", tooltip="Path of the weights. Load SDPose Model lists them by name.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            not_idempotent=True,
        )

    @classmethod
    def fingerprint_inputs(cls, weights: str | None, **_others: Any) -> tuple | None:
        """Run again after the weights are removed."""
        return file_stamp(weights_folder() / weights) if weights in DOWNLOADS else None

    @classmethod
    def execute(cls, weights: str, download: bool) -> io.NodeOutput:
        from ..sdpose_core.checkpoints.download import download as fetch
        from ..sdpose_core.checkpoints.records import finished, outline

        folder = weights_folder() / weights
        path = finished(weights, folder)
        text = f"already here: {path}"
        if path is None and download:
            path = fetch(weights, folder, on_bytes=Progress(1))
            text = str(path)
        elif path is None:
            text = f"{outline(weights, folder)}\nTurn on 'download' to download it."
        return io.NodeOutput(text if path is None else str(path), ui=node_ui(text))
