"""The 15 corruptions of the field's robustness benchmarks in 5 severities, without external files.

Kinds and parameters are those of ImageNet-C (Hendrycks & Dietterich 2019, arXiv 1903.12261), in the form for pictures
of any size with which COCO-C was evaluated (Michaelis et al. 2019, arXiv 1907.07484, package imagecorruptions). Lengths
are in pixels whatever the size of the picture; elastic, frost and fog grow with it. The random numbers are ours, and
frost is drawn (`corruption_frost`): pictures are like the field's, not the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from sdpose_core.coco.names import stem_of
from sdpose_core.errors import InputError, did_you_mean
from sdpose_training.styles import corruption_blur as blur
from sdpose_training.styles import corruption_digital as digital
from sdpose_training.styles import corruption_noise as noise
from sdpose_training.styles import corruption_weather as weather
from sdpose_training.styles.corruption_steps import to_uint8
from sdpose_training.styles.corruption_weather import Snow

CORRUPTION_VERSION = 1  # raise when the same seed gives other pictures

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Kind:
    """A kind of corruption: its family, `apply`(picture float32 (H, W, 3) 0..1, parameter, generator) -> the same
    (values outside 0..1 are clipped afterwards), and the parameter of each severity."""

    family: str
    apply: Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]
    parameters: tuple[Any, ...]


KINDS: Mapping[str, Kind] = MappingProxyType({
    "gaussian_noise": Kind("noise", noise.gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": Kind("noise", noise.shot_noise, (60, 25, 12, 5, 3)),
    "impulse_noise": Kind("noise", noise.impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus_blur": Kind("blur", blur.defocus_blur, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))),
    "glass_blur": Kind("blur", blur.glass_blur, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))),
    "motion_blur": Kind("blur", blur.motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    "zoom_blur": Kind("blur", blur.zoom_blur, ((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03))),
    "snow": Kind("weather", weather.snow, (
        Snow(0.1, 0.3, 3, 0.5, 10, 4, 0.8), Snow(0.2, 0.3, 2, 0.5, 12, 4, 0.7), Snow(0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        Snow(0.55, 0.3, 4.5, 0.85, 12, 8, 0.65), Snow(0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )),
    "frost": Kind("weather", weather.frost, ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))),
    "fog": Kind("weather", weather.fog, ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
    "brightness": Kind("weather", weather.brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": Kind("digital", digital.contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": Kind("digital", digital.elastic_transform, (12.5, 16.25, 21.25, 25, 30)),
    "pixelate": Kind("digital", digital.pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": Kind("digital", digital.jpeg_compression, (25, 18, 15, 10, 7)),
})  # fmt: skip
"""By the field's names, in its order."""

FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(kind.family for kind in KINDS.values()))


@dataclass(frozen=True)
class Corruption:
    """A kind, one of `KINDS`, at a severity of 1 to 5. As text: "fog/3", also the folder of its pictures."""

    kind: str
    severity: int

    def __str__(self) -> str:
        return f"{self.kind}/{self.severity}"


def parse_kinds(text: str) -> tuple[str, ...]:
    """Kinds in the order of `KINDS` from names of families and kinds separated by commas; "all" for all.

    Raises `InputError` for an unknown name.
    """
    known = {"all": tuple(KINDS), **{family: kinds_of(family) for family in FAMILIES}, **{k: (k,) for k in KINDS}}
    chosen: set[str] = set()
    for name in (part.strip() for part in text.split(",")):
        if name not in known:
            hint = did_you_mean(name, known)
            raise InputError(
                f"unknown corruption {name!r}{hint and '; '}{hint}; families: {', '.join(FAMILIES)}; kinds: "
                f"{', '.join(KINDS)}"
            )
        chosen |= set(known[name])
    return tuple(kind for kind in KINDS if kind in chosen)


def parse_severities(text: str) -> tuple[int, ...]:
    """Severities in ascending order from numbers separated by commas; `InputError` if one is not from 1 to 5."""
    parts = {part.strip() for part in text.split(",")}
    if not parts <= {str(severity) for severity in SEVERITIES}:
        raise InputError(f"severities {text!r}: expected numbers from 1 to 5 separated by commas, such as 1,3,5")
    return tuple(sorted(int(part) for part in parts))


def kinds_of(family: str) -> tuple[str, ...]:
    """The kinds of a family."""
    return tuple(name for name, kind in KINDS.items() if kind.family == family)


def corruptions(kinds: Sequence[str], severities: Sequence[int]) -> tuple[Corruption, ...]:
    """Every kind at every severity."""
    return tuple(Corruption(kind, severity) for kind in kinds for severity in severities)


def corrupted(rgb: np.ndarray, corruption: Corruption, name: str, seed: int = 0) -> np.ndarray:
    """A picture with one corruption.

    Args:
        rgb: uint8 (H, W, 3) of any size.
        corruption: what to do.
        name: of the picture; its folders and suffix do not matter.
        seed: the random numbers depend on seed, name, kind and severity alone.

    Returns:
        RGB uint8 (H, W, 3). What was at a place stays there, but for `motion_blur` and `elastic_transform`: as in the
        field's benchmark they move it by a few pixels, and annotations stay as they are.
    """
    kind = KINDS[corruption.kind]
    digest = hashlib.sha256(f"{seed}:{stem_of(name)}:{corruption}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    picture = rgb.astype(np.float32) / 255
    return to_uint8(kind.apply(picture, kind.parameters[corruption.severity - 1], rng))
