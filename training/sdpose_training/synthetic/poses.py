"""Poses of synthetic people: families (standing, walking, sitting, ...) with random joint angles within limits.

Angles are in degrees in the frame of the body model's reference pose: x to the person's left, y to the back, z up. A
bone's rotation is in that frame and moves its child bones. Poses are defined for the left side and mirrored to the
right. There is no motion capture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

FAMILIES = {
    "stand": 0.30, "walk": 0.16, "run": 0.12, "sit": 0.15, "crouch": 0.10, "kick": 0.07, "lunge": 0.07, "lie": 0.03,
}  # fmt: skip
ARMS = {"hang": 0.30, "hip": 0.08, "front": 0.16, "side": 0.12, "raise": 0.20, "face": 0.06, "free": 0.08}

# The reference pose: directions of the left arm and of the left knuckles, bend of the elbow.
UPPER_ARM = np.array([0.669, -0.024, -0.743])
FOREARM = np.array([0.512, -0.684, -0.520])
KNUCKLES = np.array([0.388, 0.823, -0.419])  # from the index finger to the little finger
ELBOW_AT_REST = 42.0

Rotation = np.ndarray  # (3, 3)


@dataclass(frozen=True, eq=False)
class Pose:
    """Rotations (3, 3) by bone name, and the rotation of the whole person before it is put on the ground."""

    family: str
    bones: dict[str, Rotation]
    root: Rotation


def rotation(axis: np.ndarray, degrees: float) -> Rotation:
    """Rotation around an axis (3,) by Rodrigues' formula."""
    x, y, z = (float(v) / math.sqrt(float(axis @ axis)) for v in axis)
    s, c = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return np.array([
        [c + x * x * (1 - c), x * y * (1 - c) - z * s, x * z * (1 - c) + y * s],
        [y * x * (1 - c) + z * s, c + y * y * (1 - c), y * z * (1 - c) - x * s],
        [z * x * (1 - c) - y * s, z * y * (1 - c) + x * s, c + z * z * (1 - c)],
    ])  # fmt: skip


def euler(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Rotation:
    """First around z (twist), then y (sideways), then x (forward and backward)."""
    turn = np.eye(3)
    for axis, degrees in zip(np.eye(3), (x, y, z), strict=True):
        if degrees:
            turn = turn @ rotation(axis, degrees)
    return turn


def mirrored(turn: Rotation) -> Rotation:
    """The same rotation on the other side of the body."""
    flip = np.diag([-1.0, 1.0, 1.0])
    return flip @ turn @ flip


def aim(start: np.ndarray, target: np.ndarray, twist: float = 0.0) -> Rotation:
    """The shortest rotation of direction `start` to `target`, then a twist around `target` (degrees)."""
    start, target = start / np.linalg.norm(start), target / np.linalg.norm(target)
    axis = np.cross(start, target)
    angle = np.rad2deg(np.arctan2(np.linalg.norm(axis), start @ target))
    shortest = rotation(axis, angle) if np.linalg.norm(axis) > 1e-6 else np.eye(3)
    return rotation(target, twist) @ shortest


def sample_pose(rng: np.random.Generator) -> Pose:
    """A random pose: family weighted by `FAMILIES`, each arm by `ARMS`, then spine, head, hands and feet."""
    family = _choose(rng, FAMILIES)
    bones = _LEGS[family](rng)
    if family in ("walk", "run") and rng.random() < 0.8:
        arms = _swinging_arms(rng, family, forward=bones["upperleg01.R"][1, 2] - bones["upperleg01.L"][1, 2])
    else:
        first = _choose(rng, ARMS)
        arms = [_arm(rng, first), _arm(rng, first if rng.random() < 0.35 else _choose(rng, ARMS))]
    for side, arm in zip("LR", arms, strict=True):
        bones |= on_side(arm | _hand(rng), side)
    leans = {"run": rng.uniform(0, 25), "sit": rng.uniform(-12, 30), "crouch": rng.uniform(5, 50)}
    other = rng.uniform(10, 75) if rng.random() < 0.12 else rng.normal(4, 8)
    bones |= _spine(rng, leans.get(family, other))
    return Pose(family, bones, _root(rng, family))


def _choose(rng: np.random.Generator, weights: dict[str, float]) -> str:
    shares = np.array(list(weights.values()))
    return str(rng.choice(list(weights), p=shares / shares.sum()))


def on_side(left: dict[str, Rotation], side: str) -> dict[str, Rotation]:
    return {f"{bone}.{side}": turn if side == "L" else mirrored(turn) for bone, turn in left.items()}


def make_leg(flex: float, spread: float, twist: float, knee: float, ankle: float = 0.0) -> dict[str, Rotation]:
    """Left leg: thigh raised forward (`flex`) and sideways (`spread`), turned outward, knee bent, toes down."""
    return {
        "upperleg01": euler(x=-flex) @ euler(y=-spread) @ euler(z=twist),
        "lowerleg01": euler(x=max(knee, 0.0)),
        "foot": euler(x=ankle),
    }


def _both_legs(make: Callable[[str], dict[str, Rotation]]) -> dict[str, Rotation]:
    return on_side(make("L"), "L") | on_side(make("R"), "R")


def _stand(rng: np.random.Generator) -> dict[str, Rotation]:
    u, spread = rng.uniform, rng.uniform(-3, 18)
    return _both_legs(lambda side: make_leg(u(-6, 14), spread + u(-3, 3), u(-5, 25), u(0, 18), u(-6, 6)))


def _stride(low: float, high: float, knee: float) -> Callable[[np.random.Generator], dict[str, Rotation]]:
    """The leading leg swings forward by `low`..`high` degrees, the other back; its knee bends up to `knee`."""

    def legs(rng: np.random.Generator) -> dict[str, Rotation]:
        u, leading = rng.uniform, rng.choice(["L", "R"])
        swing = u(low, high)

        def leg(side: str) -> dict[str, Rotation]:
            if side == leading:
                return make_leg(swing + u(-5, 10), u(-4, 6), u(-5, 10), u(0, knee * 0.7), u(-15, 5))
            return make_leg(-swing * u(0.4, 0.9), u(-4, 6), u(-5, 10), u(5, knee), u(0, 30))

        return _both_legs(leg)

    return legs


def _sit(rng: np.random.Generator) -> dict[str, Rotation]:
    u, flex, knee, spread = rng.uniform, rng.uniform(65, 100), rng.uniform(20, 110), rng.uniform(-4, 28)
    return _both_legs(
        lambda side: make_leg(flex + u(-8, 8), spread + u(-4, 4), u(-10, 15), knee + u(-15, 15), u(-10, 20))
    )


def _crouch(rng: np.random.Generator) -> dict[str, Rotation]:
    u, flex, spread = rng.uniform, rng.uniform(40, 120), rng.uniform(-2, 35)
    one_knee = rng.random() < 0.3

    def leg(side: str) -> dict[str, Rotation]:
        if one_knee and side == "R":
            return make_leg(u(-15, 10), u(-3, 8), u(-5, 5), u(75, 110), u(15, 45))
        return make_leg(flex + u(-8, 8), spread, u(0, 20), flex * u(0.95, 1.2), u(-25, 0))

    return _both_legs(leg)


def _kick(rng: np.random.Generator) -> dict[str, Rotation]:
    u, kicking = rng.uniform, rng.choice(["L", "R"])
    flex, spread = u(20, 105), u(0, 60)

    def leg(side: str) -> dict[str, Rotation]:
        if side == kicking:
            return make_leg(flex, spread, u(-10, 40), u(0, 110), u(-10, 30))
        return make_leg(u(-8, 15), u(-2, 8), u(-5, 15), u(0, 25), u(-5, 5))

    return _both_legs(leg)


def _lunge(rng: np.random.Generator) -> dict[str, Rotation]:
    u, deep = rng.uniform, rng.uniform(20, 45)
    if rng.random() < 0.5:  # to the sides
        return _both_legs(lambda side: make_leg(u(0, 35), deep + u(-8, 8), u(0, 30), u(0, 60), u(-10, 10)))
    front, back = make_leg(deep * 1.8, u(0, 15), u(0, 15), u(40, 100)), make_leg(-deep, 0, 5, u(0, 40), 20)
    return on_side(front, "L") | on_side(back, "R")


_LEGS: dict[str, Callable[[np.random.Generator], dict[str, Rotation]]] = {
    "stand": _stand,
    "walk": _stride(8, 32, 45),
    "run": _stride(25, 65, 110),
    "sit": _sit,
    "crouch": _crouch,
    "kick": _kick,
    "lunge": _lunge,
    "lie": _stride(0, 40, 80),
}


def make_arm(raised: float, forward: float, twist: float, elbow: float) -> dict[str, Rotation]:
    """Left arm `raised` from down (0) to up (180), sideways (0) or `forward` (90); `elbow` bent (0 is straight)."""
    up, front = np.deg2rad(raised), np.deg2rad(forward)
    target = np.array([np.sin(up) * np.cos(front), -np.sin(up) * np.sin(front), -np.cos(up)])
    lift = max(raised - 60, 0) * 0.25  # the collar bone contributes to a raised arm
    clavicle = euler(y=-lift)
    return {
        "clavicle": clavicle,
        "upperarm01": aim(UPPER_ARM, clavicle.T @ target, twist),
        "lowerarm01": rotation(np.cross(UPPER_ARM, FOREARM), elbow - ELBOW_AT_REST),
    }


def _arm(rng: np.random.Generator, kind: str) -> dict[str, Rotation]:
    u = rng.uniform
    ranges = {  # raised, forward, twist (inward positive), elbow
        "hang": (u(4, 35), u(-60, 90), u(-25, 45), u(3, 70)),
        "hip": (u(30, 60), u(-35, 10), u(35, 75), u(75, 120)),
        "front": (u(30, 105), u(55, 105), u(-30, 60), u(0, 110)),
        "side": (u(50, 110), u(-20, 45), u(-70, 40), u(0, 110)),
        "raise": (u(110, 175), u(-10, 80), u(-40, 60), u(0, 100)),
        "face": (u(30, 100), u(50, 90), u(-20, 40), u(115, 145)),
        "free": (u(5, 170), u(-30, 110), u(-60, 70), u(0, 135)),
    }
    return make_arm(*ranges[kind])


def _swinging_arms(rng: np.random.Generator, family: str, forward: float) -> list[dict[str, Rotation]]:
    """Arms opposite to the legs: the left arm goes back if `forward` is above 0, so the left leg is in front."""
    u, (low, high) = rng.uniform, (10, 40) if family == "walk" else (25, 75)
    elbow = u(5, 50) if family == "walk" else u(50, 115)
    return [make_arm(u(low, high), -70 if back else u(60, 90), u(0, 35), elbow) for back in (forward > 0, forward <= 0)]


def _hand(rng: np.random.Generator) -> dict[str, Rotation]:
    """Left wrist and curled fingers."""
    curl = rng.uniform(-10, 75) if rng.random() < 0.6 else rng.uniform(-15, 15)
    bend = np.clip(rng.normal(0, 22), -55, 55)
    hand = {"wrist": rotation(KNUCKLES, bend) @ rotation(FOREARM, rng.uniform(-60, 60))}
    for finger in (2, 3, 4, 5):
        bent = max(curl + rng.normal(0, 8), -12)
        hand |= {f"finger{finger}-{i}": rotation(KNUCKLES, bent * part) for i, part in ((1, 0.8), (2, 1.0), (3, 0.7))}
    return hand | {"finger1-2": euler(*rng.normal(0, 12, 3)), "finger1-3": euler(*rng.normal(0, 10, 3))}


def _spine(rng: np.random.Generator, lean: float) -> dict[str, Rotation]:
    """Distribute lean, bend and twist over the bones of the spine; neck and head turn at random."""
    side, twist = rng.normal(0, 7), rng.normal(0, 10)
    bones = {f"spine0{i}": euler(lean / 5, side / 5, twist / 5) for i in (5, 4, 3, 2, 1)}
    nod, tilt, turn = np.clip(rng.normal([-0.25 * lean, 0, 0], [14, 8, 25]), [-40, -25, -65], [45, 25, 65])
    return bones | {"neck01": euler(nod / 2, tilt / 2, turn / 2), "head": euler(nod / 2, tilt / 2, turn / 2)}


def _root(rng: np.random.Generator, family: str) -> Rotation:
    if family == "lie":  # on the back, on the belly or on a side
        return euler(x=rng.choice([-90, 90])) @ euler(z=rng.choice([0, 0, 90, -90]) + rng.normal(0, 10))
    return euler(rng.normal(0, 5), rng.normal(0, 5))
