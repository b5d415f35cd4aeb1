"""The list of all nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .animate import AnimateAnyone
from .annotate import Annotate
from .annotate_video import AnnotateVideo
from .boxes import BoxesFrom
from .detect import DetectPersons
from .draw import DrawPoses
from .estimate import EstimatePoses
from .example import LoadExample
from .faces import FaceCrops
from .files import LoadPoses, SavePoses
from .host.folders import register_folder, serve_help_and_graphs, warn_if_old
from .host.page import for_page
from .host.reviews import serve_review_page
from .load import DownloadWeights, LoadModel
from .made import InterpolatePoses, PosePreset
from .masks import DrawInMask, PersonMasks
from .poses_from import PosesFrom
from .replacements import register_replacements
from .retarget import RetargetPoses
from .review import ReviewPoses
from .select import FilterPoses, SelectPerson
from .sequence_files import ExportSequence, LoadSequence
from .track import SmoothPoses, TrackPoses

NODES: tuple[type[io.ComfyNode], ...] = (
    Annotate,
    LoadModel,
    DownloadWeights,
    DetectPersons,
    BoxesFrom,
    EstimatePoses,
    SelectPerson,
    FilterPoses,
    DrawPoses,
    SavePoses,
    LoadPoses,
    AnnotateVideo,
    AnimateAnyone,
    TrackPoses,
    SmoothPoses,
    ReviewPoses,
    RetargetPoses,
    ExportSequence,
    LoadSequence,
    FaceCrops,
    LoadExample,
    PersonMasks,
    DrawInMask,
    PosesFrom,
    PosePreset,
    InterpolatePoses,
)


class SDPoseAnnotatorExtension(ComfyExtension):
    """What ComfyUI asks for the list of nodes."""

    async def on_load(self) -> None:
        """Runs before the first list of nodes, whose menus show the files of models/sdpose."""
        warn_if_old()
        register_folder()
        serve_help_and_graphs()
        serve_review_page()
        await register_replacements()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All node classes, in menu order."""
        return [for_page(node) for node in NODES]
