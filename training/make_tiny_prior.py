"""Makes a tiny latent diffusion model: what stands for Stable Diffusion 2 in ablations on synthetic people.

    python training/make_tiny_prior.py --recipe training/recipes/synthetic_ablation.toml --pictures DIR --out PRIOR

Two stages, both without labels: an autoencoder learns to give back windows of the pictures; then, on its frozen
latents, a U-Net learns to take noise away (it predicts the clean latent at a random time step). PRIOR gets Stable
Diffusion's layout, unet/ and vae/, so that `--model.base PRIOR` starts from it as it would from sd2-base. The sizes are
the recipe's. A finished autoencoder is not trained again.

With `--encoder CHECKPOINT` the first stage is left out: the encoder is that of an SDPose (a run of `synthetic_cpu`). An
autoencoder of minutes gives latents from which hardly anything is learnt in a short run; that encoder has seen labels,
though, so what the arms of an ablation then compare is what comes after it.
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
    """Run the command: 0 made or already there, 1 for an error."""
    args, overrides = build_parser().parse_known_args(argv)
    start_log()

    def work() -> int:
        require("torch", "training")
        pictures = pictures_in(args.pictures, "--pictures", COMMON_SUFFIXES)
        make_prior(load_recipe(args.recipe, overrides), pictures, args.out, args)
        return 0

    return exit_status("make_tiny_prior", work)


def build_parser() -> argparse.ArgumentParser:
    """The options that are not values of the recipe."""
    parser = argparse.ArgumentParser(
        prog="make_tiny_prior.py", description=__doc__.split("\n", 1)[0], allow_abbrev=False,
        epilog="Values of the recipe may follow as --key value.",
    )  # fmt: skip
    add = parser.add_argument
    add("--recipe", type=Path, required=True, metavar="FILE", help="whose model.unet and model.vae give the sizes")
    add("--pictures", type=Path, required=True, metavar="DIR", help="no labels are needed")
    add("--out", type=Path, required=True, metavar="PRIOR")
    add("--encoder", type=Path, metavar="CHECKPOINT", help="take the encoder of this SDPose; train no autoencoder")
    add("--vae-samples", type=whole_number(1), default=40000, help="windows that the autoencoder sees (default: 40000)")
    add("--vae-window", type=whole_number(1), default=64, help="side of its windows in pixels (default: 64)")
    add("--unet-samples", type=whole_number(1), default=16000, help="windows that the denoiser sees (default: 16000)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
