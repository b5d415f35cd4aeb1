"""Load SDPose Model, Download SDPose Weights."""

from __future__ import annotations

from comfy_api.latest import io

from ..sdpose_core.estimation.options import EstimatorOptions
from .host.folders import file_stamp, weight_files, weight_path, weights_folder
from .host.info import show_text
from .host.model import PreviewModel, load_model
from .host.progress import Progress
from .sockets.poses import PoseModel
from .widgets import ALIASES, CATEGORY

PREVIEW = "preview (embedded)"
DTYPES = ("auto", "fp32", "bf16", "fp16")
DOWNLOADS = ("wholebody-comfy", "wholebody", "body")
INPUT_SIZES = {"auto": None, "576 x 768": (576, 768), "384 x 512": (384, 512)}
"""Others than the checkpoint's own are approximations."""

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
            category=CATEGORY,
            description="Loads SDPose weights in any of the three layouts (ours, the authors' folder, Comfy-Org's "
            "single file), or the small preview model that comes with the pack. Never downloads.",
            search_aliases=[*ALIASES, "pose estimation", "checkpoint", "sdpose wholebody", "load pose model"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=[PREVIEW, *files],
                    default=named[0] if named else PREVIEW,
                    tooltip="Files of models/sdpose, models/checkpoints and models/diffusion_models (and of the extra "
                    "model paths). The preview finds 17 points and needs no weights; it is not SDPose.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=list(DTYPES),
                    default="auto",
                    tooltip="Number format of the weights. auto: bf16 or fp16 where the device computes in it, else "
                    "fp32. Heatmaps are always read in fp32.",
                ),
                io.Combo.Input(
                    "keypoints",
                    options=list(KEYPOINT_SETS),
                    default="auto",
                    tooltip="Which points the checkpoint was trained on. auto reads it from the checkpoint.",
                    advanced=True,
                ),
                io.Boolean.Input(
                    "compile",
                    default=False,
                    tooltip="torch.compile the network: slow first run, faster afterwards. For many frames on a GPU.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "input_size",
                    options=list(INPUT_SIZES),
                    default="auto",
                    tooltip="Size of a person's crop. auto: what the checkpoint was trained at (768 x 1024). Smaller "
                    "ones are approximations, not measured on the released weights; they take half and a quarter of "
                    "the time.",
                    advanced=True,
                    optional=True,
                ),
                io.Boolean.Input(
                    "pool_attention",
                    default=False,
                    tooltip="An approximation, not measured on the released weights: the largest attention layers read "
                    "averaged keys and values, for a tenth less work.",
                    advanced=True,
                    optional=True,
                ),
            ],
            outputs=[
                PoseModel.Output("model", tooltip="For SDPose Annotator and Estimate Poses."),
                io.String.Output("info", tooltip="Which file was loaded, its keypoints and number format."),
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
    ) -> tuple:
        """Load again when the file was replaced."""
        path = None if model in (None, PREVIEW) else weight_path(model)  # None: the choice comes by wire
        return model, dtype, keypoints, compile, input_size, pool_attention, file_stamp(path)

    @classmethod
    def execute(
        cls,
        model: str,
        dtype: str,
        keypoints: str,
        compile: bool,
        input_size: str = "auto",
        pool_attention: bool = False,
    ) -> io.NodeOutput:
        if model == PREVIEW:
            loaded = PreviewModel()
        else:
            loaded = load_model(
                weight_path(model),
                EstimatorOptions(
                    dtype=dtype,
                    keypoint_set=KEYPOINT_SETS[keypoints],
                    compile=compile,
                    input_size=INPUT_SIZES[input_size],
                    pool_attention=pool_attention,
                ),
            )
        info = loaded.describe()
        show_text(cls, info)
        return io.NodeOutput(loaded, info)


class DownloadWeights(io.ComfyNode):
    """Download SDPose Weights."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorDownload",
            display_name="Download SDPose Weights",
            category=CATEGORY,
            description="Downloads weights into models/sdpose when it is run, and only then. A file that is there "
            "already, with the right size, is kept.",
            search_aliases=[*ALIASES, "download model", "weights"],
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=list(DOWNLOADS),
                    default=DOWNLOADS[0],
                    tooltip="What to download. wholebody-comfy: body, feet, face and hands (133 points), one file in "
                    "half precision; wholebody: the same from its authors; body: 17 points.",
                ),
                io.Boolean.Input(
                    "download",
                    default=False,
                    tooltip="Off: only say what would be downloaded, from where, and how large it is.",
                ),
            ],
            outputs=[io.String.Output("path", tooltip="Where the weights are; Load SDPose Model lists them by name.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            not_idempotent=True,
        )

    @classmethod
    def execute(cls, weights: str, download: bool) -> io.NodeOutput:
        from ..sdpose_core.checkpoints import download as hub

        folder = weights_folder() / weights
        if download:
            text = str(hub.download(weights, folder, on_bytes=Progress(1)))
        else:
            text = f"{hub.plan(weights, folder).describe()}\nSwitch 'download' on to fetch it."
        show_text(cls, text)
        return io.NodeOutput(text)
