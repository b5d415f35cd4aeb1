"""Make a tiny latent diffusion model, which replaces Stable Diffusion 2 in ablations on synthetic people.

    python training/make_tiny_prior.py --recipe training/recipes/synthetic_ablation.toml --pictures DIR --out PRIOR

Two stages without labels: an autoencoder learns to reconstruct windows of the pictures; then a U-Net learns to denoise
its frozen latents (it predicts the clean latent at a random time step). PRIOR has Stable Diffusion's layout, unet/ and
vae/, for `--model.base PRIOR`, with the sizes of the recipe. A finished stage is not trained again.

`--encoder CHECKPOINT` skips the first stage and takes the encoder of an SDPose (a run of `synthetic_cpu`): the latents
of an autoencoder trained for minutes are too poor for short runs. That encoder has seen labels, so the arms of an
ablation then compare only what follows it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sdpose_core.dependencies import require
from sdpose_training.data.pictures import COMMON_SUFFIXES, pictures_in
from sdpose_training.fit.tiny_prior import make_prior
from sdpose_training.options import exit_status, start_log, whole_number
from sdpose_training.recipe.recipe import load_recipe


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 made or already there, 1 an error, 2 wrong usage."""
    args, overrides = build_parser().parse_known_args(argv)
    start_log()

    def work() -> None:
        require("torch", "training")
        pictures = pictures_in(args.pictures, "--pictures", COMMON_SUFFIXES)
        make_prior(load_recipe(args.recipe, overrides), pictures, args.out, args)

    return exit_status("make_tiny_prior", work)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make_tiny_prior.py", description=__doc__.split("\n", 1)[0], allow_abbrev=False,
        epilog="Recipe values may follow as --key value.",
    )  # fmt: skip
    add = parser.add_argument
    add("--recipe", type=Path, required=True, metavar="FILE", help="model.unet and model.vae give the sizes")
    add("--pictures", type=Path, required=True, metavar="DIR", help="folder of pictures; no labels are needed")
    add("--out", type=Path, required=True, metavar="PRIOR")
    add("--encoder", type=Path, metavar="CHECKPOINT", help="take the encoder of this SDPose; train no autoencoder")
    add("--vae-samples", type=whole_number(1), default=40000, help="windows for the autoencoder (default: 40000)")
    add("--vae-window", type=whole_number(1), default=64, help="side of its windows in pixels (default: 64)")
    add("--unet-samples", type=whole_number(1), default=16000, help="windows for the denoiser (default: 16000)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
