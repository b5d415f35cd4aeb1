"""The estimators that SDPose is compared with, on the same boxes and with the same scorer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sdpose_core.errors import InputError, did_you_mean
from sdpose_core.estimation.crop_jobs import Estimator
from sdpose_core.estimation.preview import PreviewEstimator
from sdpose_training.peers import heatmap, whole_picture
from sdpose_training.peers.ecpose import EcPosePeer
from sdpose_training.peers.heatmap import HeatmapOptions, HeatmapPeer
from sdpose_training.peers.rtmo import RtmoPeer
from sdpose_training.peers.sapiens import SapiensPeer
from sdpose_training.peers.sapiens2 import Sapiens2Peer
from sdpose_training.peers.simcc import SimccPeer
from sdpose_training.peers.spec_options import Reader, read_options, split_options
from sdpose_training.peers.vitpose import VitPosePeer
from sdpose_training.peers.whole_picture import PeopleOptions
from sdpose_training.peers.yolo import YoloPeer

PEERS = {
    "preview": "preview: the 17 points of MoveNet Thunder, included in this package (preview-body elsewhere)",
    "vitpose": "vitpose:FOLDER or vitpose:HUB/NAME: ViTPose and ViTPose++ through transformers",
    "rtmpose": "rtmpose:FILE.onnx: RTMPose of 17, 26 or 133 points",
    "rtmw": "rtmw:FILE.onnx: RTMW",
    "dwpose": "dwpose:FILE.onnx: DWPose",
    "heatmap": f"heatmap:FILE.onnx: a top-down heatmap model; options ({', '.join(heatmap.READERS)}) as ,KEY=VALUE",
    "yolo": f"yolo:FILE.onnx: YOLO's keypoint models; options ({', '.join(whole_picture.READERS)}) as ,KEY=VALUE",
    "rtmo": "rtmo:FILE.onnx: RTMO; options as of yolo",
    "ecpose": "ecpose:FILE.onnx: ECPose of EdgeCrafter; options as of yolo",
    "sapiens": "sapiens:FILE_torchscript.pt2: Sapiens; runs code from the file, so it needs --trust-file",
    "sapiens2": "sapiens2:FOLDER or sapiens2:HUB/NAME: Sapiens2 through transformers",
}
"""Kind -> line for the help of commands."""

_FROM_HUB: Mapping[str, Callable[..., Estimator]] = {"vitpose": VitPosePeer, "sapiens2": Sapiens2Peer}
_WITH_OPTIONS: Mapping[str, tuple[Callable[..., Estimator], Callable[..., Any], Mapping[str, Reader]]] = {
    "heatmap": (HeatmapPeer, HeatmapOptions, heatmap.READERS),
    "yolo": (YoloPeer, PeopleOptions, whole_picture.READERS),
    "rtmo": (RtmoPeer, PeopleOptions, whole_picture.READERS),
    "ecpose": (EcPosePeer, PeopleOptions, whole_picture.READERS),
}
"""Kind -> the peer, its options, and how they are read from the spec."""


def load_peer(
    spec: str,
    *,
    device: Any = None,
    trust_file: bool = False,
    download: bool = False,
    flip_test: bool = True,
    batch: int | None = None,
) -> Estimator:
    """The estimator that `spec` names.

    Args:
        spec: one of `PEERS`.
        device: None or "auto": the best available.
        trust_file: allow a Sapiens file to run its code.
        download: allow the download of a ViTPose or Sapiens2 model. Nothing else here uses the network.
        flip_test: average with the mirrored crop, as in the evaluations of all these projects; not for the preview and
            for models that see whole pictures.
        batch: people per pass; None: 8.

    Raises:
        InputError: an unknown spec or option; a Sapiens file without `trust_file`.
        CheckpointError: the file is missing, damaged, or has other inputs, outputs, weights or keypoints.
        DownloadError: a hub name is not in the cache, and its download was not allowed or failed.
        MissingDependency: a package is missing; the message names the extra.
    """
    kind, _, source = spec.partition(":")
    if kind not in PEERS or (spec != "preview" if kind == "preview" else not source):
        raise InputError(_unknown(spec, kind))
    options: dict[str, Any] = {"device": None if device == "auto" else device, "flip_test": flip_test, "batch": batch}
    if kind == "preview":
        return PreviewEstimator(body_only=True)
    if kind in _FROM_HUB:
        return _FROM_HUB[kind](source, download=download, **options)
    if kind == "sapiens":
        return SapiensPeer(source, trust_file=trust_file, **options)
    if kind in _WITH_OPTIONS:
        peer, settings, readers = _WITH_OPTIONS[kind]
        file, given = split_options(source)
        return peer(file, settings(**read_options(given, readers, kind)), **options)
    return SimccPeer(kind, source, **options)


def _unknown(spec: str, kind: str) -> str:
    if kind in PEERS:
        return f"peer {spec!r}: expected {PEERS[kind]}"
    hint = did_you_mean(kind, PEERS)
    return f"unknown peer {spec!r}{hint and '; '}{hint}; known are: " + "; ".join(PEERS.values())
