"""Motion of synthetic people: key poses in time, and a way over the ground. There is no motion capture.

Seconds and meters. Between key poses, every bone turns along the shortest way, slowly at both ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdpose_training.synthetic.poses import Pose, mirrored, sample_pose

KINDS = {"walk": 0.4, "run": 0.12, "dance": 0.3, "turn": 0.18}
"""Walking or running along a line; changing poses on the spot; turning around on the spot."""
_SPOT = {"dance": ("stand", "kick", "lunge", "crouch", "walk"), "turn": ("stand",)}
_STEP_SECONDS = {"walk": (0.45, 0.7), "run": (0.25, 0.38)}
_SPEED = {"walk": (0.7, 1.6), "run": (2.0, 3.5)}  # meters per second


@dataclass(frozen=True, eq=False)
class Motion:
    """One person's motion.

    Attributes:
        kind: of `KINDS`.
        times: (M,) seconds of the key poses, rising.
        keys: the M key poses.
        place: (2,) meters on the ground at second 0; velocity: (2,) meters per second.
        yaw: degrees at second 0 (0 faces the camera); turning: degrees per second.
    """

    kind: str
    times: np.ndarray
    keys: list[Pose]
    place: np.ndarray
    velocity: np.ndarray
    yaw: float
    turning: float

    def at(self, seconds: np.ndarray) -> list[Pose]:
        """The poses at (T,) seconds, within the times of the keys."""
        from scipy.spatial.transform import Rotation, Slerp

        number = np.clip(np.searchsorted(self.times, seconds, side="right") - 1, 0, len(self.times) - 2)
        share = (seconds - self.times[number]) / (self.times[number + 1] - self.times[number])
        eased = number + share * share * (3 - 2 * share)
        names = sorted({name for pose in self.keys for name in pose.bones})
        still = np.eye(3)
        turns = {
            name: Slerp(
                np.arange(len(self.keys)),
                Rotation.from_matrix(np.stack([pose.bones.get(name, still) for pose in self.keys])),
            )(eased).as_matrix()
            for name in names
        }
        root = self.keys[0].root
        return [Pose(self.kind, {name: turns[name][t] for name in names}, root) for t in range(len(seconds))]

    def place_at(self, seconds: np.ndarray) -> np.ndarray:
        """(T, 2) meters on the ground at (T,) seconds."""
        return self.place + seconds[:, None] * self.velocity

    def yaw_at(self, seconds: np.ndarray) -> np.ndarray:
        """(T,) degrees."""
        return self.yaw + seconds * self.turning


def sample_motion(rng: np.random.Generator, seconds: float) -> Motion:
    """A random motion that lasts at least `seconds`. Walkers cross the middle of the ground at half of that time."""
    kind = str(rng.choice(list(KINDS), p=np.array(list(KINDS.values()))))
    if kind in _SPEED:
        return _walk(rng, kind, seconds)
    step = rng.uniform(0.4, 1.1)
    times = np.arange(0, seconds + 2 * step, step)
    keys = [_of_family(rng, _SPOT[kind]) for _ in range(len(times) if kind == "dance" else 3)]
    keys = keys if kind == "dance" else [keys[i % 3] for i in range(len(times))]
    place = np.array([rng.uniform(-1.5, 1.5), rng.uniform(-0.6, 1.5)])
    turning = rng.choice([-1, 1]) * (rng.uniform(60, 200) if kind == "turn" else rng.uniform(0, 50))
    return Motion(kind, times, keys, place, np.zeros(2), float(rng.uniform(-180, 180)), float(turning))


def _walk(rng: np.random.Generator, kind: str, seconds: float) -> Motion:
    """Steps that mirror each other, along a line mostly across the picture."""
    step = rng.uniform(*_STEP_SECONDS[kind])
    times = np.arange(0, seconds + 2 * step, step)
    first = _of_family(rng, (kind,))
    keys = [first if i % 2 else _other_side(first) for i in range(len(times))]
    direction = np.deg2rad(rng.choice([0, 180]) + (rng.normal(0, 25) if rng.random() < 0.8 else rng.uniform(0, 360)))
    heading = np.array([np.cos(direction), np.sin(direction)])
    velocity = rng.uniform(*_SPEED[kind]) * heading
    middle = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.6, 1.5)])
    yaw = float(np.rad2deg(np.arctan2(heading[0], -heading[1])))
    return Motion(kind, times, keys, middle - velocity * seconds / 2, velocity, yaw, 0.0)


def _of_family(rng: np.random.Generator, families: tuple[str, ...]) -> Pose:
    while (pose := sample_pose(rng)).family not in families:
        pass
    return pose


def _other_side(pose: Pose) -> Pose:
    """The pose in a mirror."""
    swap = {"L": "R", "R": "L"}
    bones = {
        name[:-1] + swap[name[-1]] if name.endswith((".L", ".R")) else name: mirrored(turn)
        for name, turn in pose.bones.items()
    }
    return Pose(pose.family, bones, pose.root)
