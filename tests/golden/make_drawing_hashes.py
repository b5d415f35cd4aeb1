"""Makes drawing_hashes.json: pose maps of seeded people, drawn by the projects whose styles we follow.

    python make_drawing_hashes.py PROJECTS

PROJECTS holds one checkout per project (`NAME`, see `PROJECTS` below) with a file COMMIT naming its commit, and
`controlnet_aux`, the folder of the package as installed from PyPI, with its version in COMMIT. Only the drawing
functions are taken out of the projects' files and run, so that none of their weights or other packages are needed
besides numpy, OpenCV and matplotlib. Runs add to the file: one per version of OpenCV, whose rasteriser draws.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

THRESHOLD = 0.3
BODY = (0, (5, 6), 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
LEFT, RIGHT, FACE, FEET = slice(91, 112), slice(112, 133), slice(23, 91), slice(17, 23)


class Scene(NamedTuple):
    """(P, 133, 3) float32 x, y, score in COCO-WholeBody's order, on a canvas of (w, h)."""

    people: np.ndarray
    size: tuple[int, int]


def scenes() -> dict[str, Scene]:
    """Seeded people: plausible, with points missing, and with points on and outside of the canvas's edge."""
    return {
        "one": Scene(_people(1, (512, 768), seed=1), (512, 768)),
        "one_large": Scene(_people(1, (1400, 1100), seed=2), (1400, 1100)),
        "one_scattered": Scene(_scattered((333, 257), seed=3), (333, 257)),
        "two": Scene(_people(2, (640, 480), seed=4), (640, 480)),
        "three_overlapping": Scene(_people(3, (300, 420), seed=5), (300, 420)),
    }


def _people(count: int, size: tuple[int, int], seed: int) -> np.ndarray:
    """People whose parts lie where they should, a tenth of the points below the threshold."""
    rng = np.random.default_rng(seed)
    w, h = size
    points = np.zeros((count, 133, 3))
    for i in range(count):
        centre, unit = np.array([w * (i + 1) / (count + 1), h / 2]), 0.23 * min(h, 2 * w)
        body = rng.normal(0, 0.45, (17, 2)) + np.linspace(-1.5, 1.5, 17)[:, None] * [0, 1]
        points[i, :17, :2] = body
        points[i, FEET, :2] = body[[15, 15, 15, 16, 16, 16]] + rng.normal(0, 0.1, (6, 2))
        points[i, FACE, :2] = body[0] + rng.normal(0, 0.15, (68, 2))
        points[i, LEFT, :2] = body[9] + rng.normal(0, 0.2, (21, 2))
        points[i, RIGHT, :2] = body[10] + rng.normal(0, 0.2, (21, 2))
        points[i, :, :2] = points[i, :, :2] * unit + centre
    points[..., 2] = np.where(rng.random(points.shape[:2]) < 0.1, 0.1, rng.uniform(0.35, 1, points.shape[:2]))
    return points.astype(np.float32)


def _scattered(size: tuple[int, int], seed: int) -> np.ndarray:
    """Points anywhere in and around the canvas, some exactly on its first row or column, some on the same spot."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.uniform(-0.2, 1.2, (1, 133, 2)) * size, rng.uniform(0.35, 1, (1, 133, 1))], axis=2)
    points[:, ::7, 0] = 0.4
    points[:, 3::7, 1] = 0
    points[:, 95] = points[:, 94]
    points[:, 9] = points[:, 7]
    return points.astype(np.float32)


def openpose_body(person: np.ndarray) -> np.ndarray:
    """(133, 3) -> OpenPose's 18; the neck has the lower score of the shoulders."""
    rows = [
        [*(person[list(i), :2].sum(axis=0) / 2), person[list(i), 2].min()] if isinstance(i, tuple) else person[i]
        for i in BODY
    ]
    return np.array(rows, np.float32)


def functions(path: Path, names: set[str], **context: Any) -> SimpleNamespace:
    """The named functions and classes of a file, and its constant `eps`, run without the rest of the file."""
    import colorsys
    import math

    import cv2
    import matplotlib.colors

    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [
        node
        for node in tree.body
        if (isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in names)
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "eps")
    ]
    found = _module(ast.unparse(tree), np=np, cv2=cv2, math=math, matplotlib=matplotlib, colorsys=colorsys, **context)
    return SimpleNamespace(**{name: getattr(found, name) for name in names})


def _module(source: str, **names: Any) -> ModuleType:
    """A module of `source`, which finds `names` as if it had imported them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawing_functions.py"
        path.write_text(f"from __future__ import annotations\n{source}\n", encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        vars(module).update(names)
        spec.loader.exec_module(module)
    return module


DRAWING = {"draw_bodypose", "draw_handpose", "draw_facepose"}


class _Keypoint(NamedTuple):
    x: float
    y: float


def _pose_results(scene: Scene, normalised: bool = True) -> list[SimpleNamespace]:
    def keypoints(points: np.ndarray, absent: Any) -> list[Any]:
        w, h = scene.size if normalised else (1, 1)
        return [_Keypoint(x / w, y / h) if s >= THRESHOLD else absent for x, y, s in points.tolist()]

    off = _Keypoint(-1, -1)
    return [
        SimpleNamespace(
            body=SimpleNamespace(keypoints=keypoints(openpose_body(one), None)),
            left_hand=keypoints(one[LEFT], off),
            right_hand=keypoints(one[RIGHT], off),
            face=keypoints(one[FACE], off),
        )
        for one in scene.people
    ]


def controlnet_aux(root: Path, scene: Scene) -> np.ndarray:
    util = functions(root / "open_pose/util.py", DRAWING)
    draw = functions(root / "open_pose/__init__.py", {"draw_poses"}, util=util).draw_poses
    return draw(_pose_results(scene), scene.size[1], scene.size[0])


def xinsir_aux(root: Path, scene: Scene) -> np.ndarray:
    package = root / "src/custom_controlnet_aux/dwpose"
    util = functions(package / "util.py", DRAWING | {"is_normalized"})
    draw = functions(package / "__init__.py", {"draw_poses"}, util=util).draw_poses
    # Pixels: this package takes a part with a point outside of the canvas for one in pixels already.
    return draw(_pose_results(scene, normalised=False), scene.size[1], scene.size[0], xinsr_stick_scaling=True)


def _dwpose(scene: Scene) -> dict[str, Any]:
    """DWPose's dict: coordinates 0..1, -1 for absent points, left hands before right hands."""

    def part(points: np.ndarray) -> np.ndarray:
        return np.where(points[..., 2:] >= THRESHOLD, points[..., :2].astype(np.float64) / scene.size, -1)

    body = np.stack([openpose_body(one) for one in scene.people])
    index = np.where(body[..., 2] >= THRESHOLD, np.arange(body[..., 0].size).reshape(body.shape[:2]), -1)
    hands = np.concatenate([scene.people[:, LEFT], scene.people[:, RIGHT]])
    candidate = part(body).reshape(-1, 2)
    return {
        "bodies": {"candidate": candidate, "subset": index.astype(np.float64), "score": body[..., 2]},
        "hands": part(hands),
        "hands_score": hands[..., 2],
        "faces": part(scene.people[:, FACE]),
        "faces_score": scene.people[:, FACE, 2],
    }


def moore(root: Path, scene: Scene) -> np.ndarray:
    util = functions(root / "src/dwpose/util.py", DRAWING)
    return functions(root / "src/dwpose/__init__.py", {"draw_pose"}, util=util).draw_pose(
        _dwpose(scene), scene.size[1], scene.size[0]
    )


def open_animate_anyone(root: Path, scene: Scene) -> np.ndarray:
    util = functions(root / "DWPose/dwpose_utils/util.py", DRAWING)
    draw = functions(root / "DWPose/dwpose_utils/__init__.py", {"draw_pose"}, util=util).draw_pose
    return _written_as_bgr(draw(_dwpose(scene), scene.size[1], scene.size[0]))


def musepose(root: Path, scene: Scene) -> np.ndarray:
    util = functions(root / "pose/script/util.py", DRAWING | {"smart_width"})
    draw = functions(root / "pose/script/dwpose.py", {"draw_pose"}, util=util).draw_pose
    return _written_as_bgr(draw(_dwpose(scene), scene.size[1], scene.size[0], draw_face=False))


def mimicmotion(root: Path, scene: Scene) -> np.ndarray:
    helpers = DRAWING | {"alpha_blend_color", "draw_pose"}
    pose_map = functions(root / "mimicmotion/dwpose/util.py", helpers).draw_pose(
        _dwpose(scene), scene.size[1], scene.size[0]
    )
    return pose_map.transpose(1, 2, 0)


def unianimate(root: Path, scene: Scene) -> np.ndarray:
    util = functions(root / "dwpose/util.py", DRAWING | {"draw_body_and_foot"})
    draw = functions(root / "run_align_pose.py", {"draw_pose"}, util=util, copy=__import__("copy")).draw_pose
    pose, toes = _dwpose(scene), _toes(scene, np.min)
    seen = toes[:, 2] >= THRESHOLD
    bodies = pose["bodies"]
    bodies["candidate"] = np.concatenate([bodies["candidate"], toes[:, :2] / scene.size])
    bodies["subset"] = np.concatenate([bodies["subset"], np.where(seen, [18, 19], -1)[None]], axis=1)
    return _written_as_bgr(draw(pose, scene.size[1], scene.size[0])[0])


def _toes(scene: Scene, score: Callable[..., Any]) -> np.ndarray:
    """(2, 3) the middles of the left and the right toes of the first person."""
    pairs = scene.people[0, [[17, 18], [20, 21]]].astype(np.float64)
    return np.concatenate([pairs[..., :2].mean(axis=1), score(pairs[..., 2:], axis=1)], axis=1)


def wan_animate(root: Path, scene: Scene) -> np.ndarray:
    path = root / "wan/modules/animate/preprocess/human_visualization.py"
    draw = functions(path, {"draw_aapose_new", "draw_handpose_new"}).draw_aapose_new
    one = scene.people[0].astype(np.float64)
    body = np.concatenate([openpose_body(scene.people[0]), _toes(scene, np.min)])
    return draw(_black(scene), body, THRESHOLD, kp2ds_lhand=one[LEFT], kp2ds_rhand=one[RIGHT], draw_hand=True)


def _sdpose_134(person: np.ndarray) -> np.ndarray:
    return np.concatenate([openpose_body(person), person[17:]]).astype(np.float64)


def sdpose_native(root: Path, scene: Scene) -> np.ndarray:
    drawer, canvas = functions(root / "comfy_extras/nodes_sdpose.py", {"KeypointDraw"}).KeypointDraw(), _black(scene)
    drawer.draw = __import__("cv2")
    for points in map(_sdpose_134, scene.people):
        canvas = drawer.draw_wholebody_keypoints(canvas, points[:, :2], points[:, 2], THRESHOLD)
    return canvas


def sdpose_gradio(root: Path, scene: Scene) -> np.ndarray:
    name = "draw_wholebody_keypoints_openpose_style"
    draw, canvas = vars(functions(root / "gradio_app/SDPose_gradio.py", {name}))[name], _black(scene)
    for points in map(_sdpose_134, scene.people):
        canvas = draw(canvas, points[:, :2], points[:, 2], THRESHOLD)
    return canvas


def _black(scene: Scene) -> np.ndarray:
    return np.zeros((scene.size[1], scene.size[0], 3), np.uint8)


def _written_as_bgr(canvas: np.ndarray) -> np.ndarray:
    """The picture that such a project's file holds: its RGB canvas was handed to cv2 as BGR."""
    return canvas[..., ::-1]


ALL = ("one", "one_large", "one_scattered", "two", "three_overlapping")
ONE = ALL[:3]
PROJECTS: dict[str, tuple[str, str, Callable[[Path, Scene], np.ndarray], tuple[str, ...]]] = {
    "controlnet": ("controlnet_aux", "open_pose.draw_poses", controlnet_aux, ALL),
    "dwpose": ("Moore-AnimateAnyone", "dwpose.draw_pose", moore, ALL),
    "xinsir_aux": ("comfyui_controlnet_aux", "dwpose.draw_poses(xinsr_stick_scaling=True)", xinsir_aux, ALL),
    "sdpose_native": ("ComfyUI", "nodes_sdpose.KeypointDraw.draw_wholebody_keypoints", sdpose_native, ALL),
    "sdpose_gradio": ("SDPose-OOD", "draw_wholebody_keypoints_openpose_style", sdpose_gradio, ALL),
    "wan_animate": ("Wan2.2", "human_visualization.draw_aapose_new", wan_animate, ONE),
    "musepose": ("MusePose", "dwpose.draw_pose(draw_face=False)", musepose, ONE),
    "mimicmotion": ("MimicMotion", "dwpose.util.draw_pose", mimicmotion, ALL),
    "unianimate": ("UniAnimate", "run_align_pose.draw_pose", unianimate, ONE),
    "open_animate_anyone": ("Open-AnimateAnyone", "dwpose_utils.draw_pose", open_animate_anyone, ALL),
}
"""Style -> project, function, how it is called, and the scenes: some projects draw one person only."""


def digest(pose_map: np.ndarray) -> str:
    """sha256 of an RGB uint8 (h, w, 3) picture's pixels."""
    return hashlib.sha256(np.ascontiguousarray(pose_map, np.uint8).tobytes()).hexdigest()


def main(projects: Path) -> None:
    import cv2

    path = Path(__file__).with_name("drawing_hashes.json")
    made = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    people = scenes()
    for style, (project, function, draw, names) in PROJECTS.items():
        root = projects / project
        entry = made.setdefault(style, {})
        entry |= {"project": project, "commit": (root / "COMMIT").read_text().strip(), "function": function}
        hashes = {name: digest(draw(root, people[name])) for name in names}
        entry.setdefault("sha256", {})[f"OpenCV {cv2.__version__}"] = hashes
    path.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
