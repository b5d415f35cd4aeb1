"""Writes synthetic_plain.npz: small plain renders of synthetic people, one per style, with their keypoints.

python tests/golden/make_synthetic_plain.py OUT.npz

The stored file was made by the version before `--looks`. Make it again only if plain pictures are meant to change.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from sdpose_training.synthetic.body import BodyModel
from sdpose_training.synthetic.scene import SceneSettings, make_picture
from sdpose_training.synthetic.styles import STYLES


def main(out: str) -> None:
    torch.set_num_threads(1)
    body, arrays = BodyModel(), {}
    for style in STYLES:
        picture, record = make_picture(
            body, SceneSettings(size=(48, 64), style=style), np.random.default_rng([3, 0, 1])
        )
        arrays |= {style: picture, f"{style}_keypoints": [person["keypoints"] for person in record["people"]]}
    np.savez_compressed(out, **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
