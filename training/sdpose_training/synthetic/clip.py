"""Clips of several moving synthetic people with the truth of every frame.

A clip is a folder: `images/*.jpg`, `annotations.json` (COCO with `track_id`), and `truth.pose.npz`, a pose sequence in
which hidden points and points outside the picture have their places, too: scores 1 visible, 0.5 hidden, 0 outside. The
68 points of the face are absent. People cross, turn, hide one another or go behind objects, and leave the picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from sdpose_core.cli.progress import progress_bar
from sdpose_core.files import atomic_path, atomic_write
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.resumable import begin, refuse_other
from sdpose_core.skeletons import COCO_WHOLEBODY_133
from sdpose_training.synthetic.annotation import annotate
from sdpose_training.synthetic.backgrounds import random_object
from sdpose_training.synthetic.body import KEYPOINT_NAMES, BodyModel
from sdpose_training.synthetic.dataset import coco
from sdpose_training.synthetic.looks import Look, sample_shape
from sdpose_training.synthetic.motion import Motion, sample_motion
from sdpose_training.synthetic.poses import euler
from sdpose_training.synthetic.proportions import Proportions
from sdpose_training.synthetic.render import NEAR, Camera, look_at
from sdpose_training.synthetic.scene import layers_of
from sdpose_training.synthetic.staging import Staging, stage
from sdpose_training.synthetic.styles import finish
from sdpose_training.synthetic.view import Person, SceneSettings, draw_people, keypoint_visibility

RATE = Fraction(25)
VERSION = 1
"""Raise it when the same seed gives other clips."""
_WHERE = [COCO_WHOLEBODY_133.index(name) for name in KEYPOINT_NAMES]


@dataclass(frozen=True)
class ClipPlan:
    """The folder of the clips, and everything that a clip depends on besides its number; `frames` each."""

    out: Path
    seed: int
    frames: int
    scene: SceneSettings


@dataclass(frozen=True, eq=False)
class Actor:
    """One person of a clip: dressed vertices (T, V, 3), unit normals, keypoints (T, 65, 3) in the world, in meters."""

    vertices: np.ndarray
    normals: np.ndarray
    keypoints: np.ndarray
    look: Look
    kind: str
    yaw: np.ndarray

    def at(self, t: int) -> Person:
        """The person of frame `t`."""
        yaw = float(self.yaw[t] % 360)
        return Person(self.vertices[t], self.normals[t], self.keypoints[t], self.look, self.kind, yaw)


def make_clips(plan: ClipPlan, count: int) -> int:
    """Make the clips that are missing in the folder. Returns the number made.

    Raises `InputError` if the folder has clips with other settings, `MissingDependency` without anny.
    """
    notes = plan.scene.notes([path.name for path in plan.scene.backgrounds])
    settings = {"clip_version": VERSION, "seed": plan.seed, "frames": plan.frames, **notes}
    refuse_other(begin(plan.out / "settings.json", settings), settings, plan.out, "clips", "choose another --out")
    folders = [plan.out / f"clip_{number:04d}" for number in range(count)]
    missing = [number for number, folder in enumerate(folders) if not (folder / "truth.pose.npz").exists()]
    if missing:
        with progress_bar(len(missing) * plan.frames, "frame", "drawing") as bar:
            body = BodyModel()
            for number in missing:
                for _ in _write_clip(body, plan, number, folders[number]):
                    bar.update()
    return len(missing)


def _write_clip(body: BodyModel, plan: ClipPlan, number: int, folder: Path) -> Iterator[int]:
    """Write one clip, the truth last; yields each frame's number."""
    import cv2

    records, poses = [], []
    for t, (picture, people, truth) in enumerate(make_clip(body, plan, number)):
        name = f"frame_{t:05d}.jpg"
        code = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        with atomic_path(folder / "images" / name) as temporary:
            temporary.write_bytes(code.tobytes())
        records.append({"index": t, "file_name": name, "people": people, "style": truth.meta["style"]})
        poses.append(truth)
        yield t
    with atomic_write(folder / "annotations.json", "w") as file:
        json.dump(coco(records, plan.scene.size, {"seed": plan.seed, "clip": number}), file)
    PoseSequence.from_poses(poses, frame_rate=RATE).save(folder / "truth.pose.npz")


def make_clip(body: BodyModel, plan: ClipPlan, number: int) -> Iterator[tuple[np.ndarray, list[dict], Poses]]:
    """The frames of clip `number`: RGB uint8 (h, w, 3), COCO annotations with `track_id`, the true poses."""
    rng = np.random.default_rng([plan.seed, number])
    seconds = np.arange(plan.frames) / float(RATE)
    looks = stage(plan.scene, rng)
    actors = _sample_actors(rng, body, plan, seconds, looks)
    camera = _sample_camera(rng, actors, plan.scene.size, looks.lowest_camera)
    objects = _sample_objects(rng, camera, actors, looks)
    style = looks.style(rng)
    look_seed, noise = int(rng.integers(2**31)), rng.uniform(0.5, 4)
    for t in range(plan.frames):
        people = [looks.drape(body, actor.at(t), i, float(seconds[t])) for i, actor in enumerate(actors)]
        view = draw_people(body, people, camera, plan.scene, objects)
        same = np.random.default_rng(look_seed)  # light, background and style are those of all frames
        layers = layers_of(same, body, view, looks, style)
        picture = looks.develop(finish(same, style, layers)) + noise * rng.standard_normal(
            (*layers.light.shape, 3), np.float32
        )
        found = [annotate(body, view, i, plan.scene) for i in range(len(actors))]
        entries = [{**entry, "track_id": i} for i, entry in enumerate(found) if entry]
        truth = _truth(entries, [keypoint_visibility(body, view, e["track_id"]) for e in entries], plan.scene.size)
        yield np.clip(picture, 0, 255).astype(np.uint8), entries, truth.with_meta(style=style)


def _truth(people: list[dict], points: Sequence[tuple[np.ndarray, np.ndarray]], size: tuple[int, int]) -> Poses:
    """The true poses of a frame from annotations, and keypoints (65, 2) with visibility (65,) of each."""
    keypoints = np.full((len(people), len(COCO_WHOLEBODY_133), 2), np.nan)
    scores = np.zeros(keypoints.shape[:2])
    for row, (where, visibility) in enumerate(points):
        inside = (where >= 0).all(1) & (where <= np.array(size) - 1).all(1)
        keypoints[row, _WHERE] = where
        scores[row, _WHERE] = np.where(inside, visibility / 2, 0)
    boxes = np.array([[x, y, x + w, y + h, 1.0] for x, y, w, h in (person["bbox"] for person in people)])
    ids = np.array([person["track_id"] for person in people], np.int32)
    return Poses(keypoints, scores, boxes.reshape(-1, 5), size, COCO_WHOLEBODY_133.name, ids, {"model": "truth"})


def _sample_actors(
    rng: np.random.Generator, body: BodyModel, plan: ClipPlan, seconds: np.ndarray, looks: Staging
) -> list[Actor]:
    count = int(rng.integers(1, plan.scene.max_people + 1))
    wanted = looks.proportions(count)
    return [
        _actor(rng, body, sample_motion(rng, float(seconds[-1])), seconds, looks, i, wanted[i : i + 1])
        for i in range(count)
    ]


def _actor(
    rng: np.random.Generator, body: BodyModel, motion: Motion, seconds: np.ndarray, looks: Staging, number: int,
    proportions: list[Proportions],
) -> Actor:  # fmt: skip
    look, shape = looks.look(rng, number), sample_shape(rng)
    parts = [
        body.pose(motion.at(some), [shape] * len(some), proportions * len(some))
        for some in np.array_split(seconds, -(-len(seconds) // 16))
    ]
    points, keypoints = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    yaw = motion.yaw_at(seconds)
    turns = np.stack([euler(z=float(angle)) for angle in yaw])
    move = np.column_stack([motion.place_at(seconds), np.zeros(len(seconds))])[:, None]
    dressed, normals = (np.stack(arrays) for arrays in zip(*(look.dress(body, frame) for frame in points), strict=True))
    return Actor(
        (dressed @ turns.transpose(0, 2, 1) + move).astype(np.float32),
        (normals @ turns.transpose(0, 2, 1)).astype(np.float32),
        keypoints @ turns.transpose(0, 2, 1) + move, look, motion.kind, yaw,
    )  # fmt: skip


def _sample_camera(rng: np.random.Generator, actors: Sequence[Actor], size: tuple[int, int], lowest: float) -> Camera:
    """A camera that stands still and frames the people at one moment, often so closely that some are cut off."""
    moment = int(rng.integers(len(actors[0].keypoints)))
    points = np.concatenate([actor.keypoints[moment, :17] for actor in actors])
    target = (points.min(0) + points.max(0)) / 2
    distance, rise = rng.uniform(4.5, 9), np.deg2rad(np.clip(rng.normal(5, 9), -10, 35))
    position = target + distance * np.array([0, -np.cos(rise), np.sin(rise)])
    position[2] = max(position[2], lowest)
    camera = look_at(position, target, rng.normal(0, 3))
    places, depth = camera.project(points)
    places = places[depth > NEAR] if (depth > NEAR).any() else places
    low, high = places.min(0), places.max(0)
    fill = rng.uniform(0.45, 0.75) if rng.random() < 0.8 else rng.uniform(0.75, 1.2)
    focal = fill * float(np.min(np.array(size) / np.maximum(high - low, 0.05)))
    center = np.array(size) / 2 - (low + high) / 2 * focal
    return replace(camera, focal_px=focal, center_px=(float(center[0]), float(center[1])))


def _sample_objects(
    rng: np.random.Generator, camera: Camera, actors: Sequence[Actor], looks: Staging
) -> list[tuple[np.ndarray, float, np.ndarray]]:
    """In half of the clips, one or two objects that stand in front of people or between them: mask, depth, color."""
    count = int(rng.integers(1, 3)) if rng.random() < 0.5 else 0
    depth = float(np.median(camera.project(np.concatenate([actor.keypoints[:, :17] for actor in actors]))[1]))
    settings = looks.settings
    size = (settings.size[0] * settings.supersample, settings.size[1] * settings.supersample)
    return [
        (random_object(rng, size, (0.06, 0.35)), max(depth + rng.uniform(-1.5, 0.5), 2 * NEAR), looks.object_color(rng))
        for _ in range(count)
    ]
