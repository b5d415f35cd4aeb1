"""The looks of a picture or clip: what its people wear, its light, its place, its camera.

`Staging` is the plain kind: bare bodies painted with patterns before flat backgrounds. `Dressed` has random numbers of
its own, so both kinds show mostly the same poses for a seed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sdpose_training.synthetic.backgrounds import from_picture, sample_background
from sdpose_training.synthetic.body import BodyModel
from sdpose_training.synthetic.camera_noise import sample_camera_noise
from sdpose_training.synthetic.light import (
    Light,
    SceneLight,
    ground_shadow,
    occlusion,
    sample_light,
    sample_scene_light,
)
from sdpose_training.synthetic.looks import Look, random_color, sample_look
from sdpose_training.synthetic.outfits import Outfit, sample_outfit
from sdpose_training.synthetic.palette import fabric_color, muted_color
from sdpose_training.synthetic.proportions import Proportions
from sdpose_training.synthetic.scenery import draw_place
from sdpose_training.synthetic.styles import DRESSED_STYLES, STYLES, sample_style
from sdpose_training.synthetic.view import Person, SceneSettings, View

_PHOTO = ("shaded",)


class Staging:
    """Plain looks."""

    lowest_camera = -np.inf
    """Meters above the ground."""

    def __init__(self, settings: SceneSettings) -> None:
        self.settings = settings

    def style(self, rng: np.random.Generator) -> str:
        return sample_style(rng, self.settings.style, STYLES)

    def proportions(self, count: int) -> list[Proportions]:
        """Of so many new people; empty: those of the body model."""
        return []

    def look(self, rng: np.random.Generator, number: int) -> Look:
        """Of person `number`."""
        return sample_look(rng)

    def drape(self, body: BodyModel, person: Person, number: int, seconds: float = 0.0) -> Person:
        """The person with what hangs around the body, `seconds` into a clip."""
        return person

    def object_color(self, rng: np.random.Generator) -> np.ndarray:
        """(3,) of an object around the people."""
        return random_color(rng)

    def light(self, rng: np.random.Generator) -> Light:
        return sample_light(rng)

    def occlusion(self, inverse_depth: np.ndarray, cover: np.ndarray) -> np.ndarray:
        """(h, w) share of light that is lost behind nearer surfaces."""
        return np.zeros_like(cover)

    def background(self, rng: np.random.Generator, view: View) -> np.ndarray:
        """(h, w, 3) float32 RGB 0..255."""
        return sample_background(rng, self.settings.size, self.settings.backgrounds)

    def develop(self, picture: np.ndarray) -> np.ndarray:
        """The finished picture (h, w, 3) uint8 as the camera saves it."""
        return picture


class Dressed(Staging):
    """People with hair and clothes in rooms, streets and landscapes; drawings have other proportions."""

    lowest_camera = 0.3

    def __init__(self, settings: SceneSettings, rng: np.random.Generator) -> None:
        super().__init__(settings)
        self._people, self._place, self._grain = rng.spawn(3)
        self._style = sample_style(rng, settings.style, DRESSED_STYLES)
        self._photo = self._style in _PHOTO
        self._light = sample_scene_light(rng)
        if not self._photo:  # many drawings have no shadows
            self._light = replace(self._light, shadow=self._light.shadow * rng.choice([0.0, 0.5, 1.0]))
        self._noise = sample_camera_noise(rng, self._photo)
        self._backdrop: np.ndarray | None = None
        self._grounded = True  # shadows fall on the ground
        self._outfits: list[Outfit] = []

    def style(self, rng: np.random.Generator) -> str:
        return self._style

    def proportions(self, count: int) -> list[Proportions]:
        self._outfits = [sample_outfit(self._people, drawn=not self._photo) for _ in range(count)]
        return [outfit.proportions for outfit in self._outfits]

    def look(self, rng: np.random.Generator, number: int) -> Look:
        sample_look(rng)  # so that what follows is as in plain pictures
        return self._outfits[number].look

    def drape(self, body: BodyModel, person: Person, number: int, seconds: float = 0.0) -> Person:
        outfit = self._outfits[number]
        drapes = outfit.drapes(body, person.vertices, person.keypoints, seconds)
        return replace(person, drapes=drapes, normals=outfit.look.tilted(body, person.normals))

    def object_color(self, rng: np.random.Generator) -> np.ndarray:
        random_color(rng)
        return fabric_color(self._place)

    def light(self, rng: np.random.Generator) -> SceneLight:
        return self._light

    def occlusion(self, inverse_depth: np.ndarray, cover: np.ndarray) -> np.ndarray:
        return occlusion(inverse_depth, cover)

    def background(self, rng: np.random.Generator, view: View) -> np.ndarray:
        camera = view.camera.scaled(1 / view.supersample)
        if self._backdrop is None:
            self._backdrop = self._new_backdrop(view)
        meshes = [mesh.vertices for mesh in view.meshes]
        shadow = ground_shadow(self._light, meshes, camera, self.settings.size) if self._grounded else 0.0
        return (self._backdrop * (1 - np.asarray(shadow)[..., None])).astype(np.float32)

    def develop(self, picture: np.ndarray) -> np.ndarray:
        return self._noise.apply(self._grain, picture)

    def _new_backdrop(self, view: View) -> np.ndarray:
        """A place (sometimes blurred), a given picture, paper behind drawings, or an abstract background with muted
        colors."""
        import cv2

        rng, size = self._place, self.settings.size
        if self.settings.backgrounds and rng.random() < 0.5:
            self._grounded = False
            return np.clip(from_picture(rng, size, self.settings.backgrounds), 0, 255).astype(np.float32)
        if not self._photo and rng.random() < 0.35:
            return np.broadcast_to(muted_color(rng, (0.8, 1.0), 0.2).astype(np.float32), (size[1], size[0], 3)).copy()
        if rng.random() < 0.08:
            image = sample_background(rng, size)
            gray = image.mean(2, keepdims=True)
            self._grounded = False
            return gray + (image - gray) * rng.uniform(0, 0.6)
        image = draw_place(rng, view.camera.scaled(1 / view.supersample), size, 1.0 if self._photo else 0.25)
        if self._photo and rng.random() < 0.4:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 3.5))
        return image


def stage(settings: SceneSettings, rng: np.random.Generator) -> Staging:
    """The looks of a new picture or clip. Does not move on the random numbers of `rng`."""
    return Dressed(settings, rng.spawn(1)[0]) if settings.looks == "dressed" else Staging(settings)
