"""What each approximation saves, and how far it moves the keypoints.

    python benchmarks/approximations.py                                   # operations; interpolation of frames
    python benchmarks/approximations.py --checkpoint W.safetensors --data.root DIR    # AP on validation people
    ... --tiny-encoder A.safetensors --tiny-encoder B.safetensors         # also AP, errors and CPU seconds of encoders
    python benchmarks/approximations.py --full-size                       # CPU seconds, heatmaps; minutes, 6 GB

Operations are counted on shapes of the full-size models. AP is for the given checkpoint; nothing was measured on the
released weights. With random full-size weights, the heatmap difference only shows that a mode runs and differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "training"))

from moving_people import box_of
from smooth_benchmark import FRAME_RATE, SIZE, truth
from torch.utils.flop_counter import FlopCounterMode

from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.model.approximations import approximate
from sdpose_core.model.backbone import VAEEncoder
from sdpose_core.model.config import BODY, WHOLEBODY, SDPoseConfig
from sdpose_core.model.devices import channels_last
from sdpose_core.model.encoder_config import SIZES as ENCODERS
from sdpose_core.model.encoder_config import SMALL, TAESD, EncoderConfig
from sdpose_core.model.folding import fold_constants
from sdpose_core.model.network import SDPose
from sdpose_core.model.onednn import optimize_for_cpu
from sdpose_core.model.tiny_encoder import make_encoder
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.sequences.interpolation import interpolate

SIZES = ((576, 768), (384, 512))
Mode = tuple[str, Callable[[SDPose], SDPose]]


def modes(config: SDPoseConfig) -> Iterator[Mode]:
    """Names, and the change of an exact model of `config` into that mode, in place."""
    yield "exact", lambda model: model
    yield "pooled attention", lambda model: approximate(model, pool_attention=True)
    yield "TAESD's encoder", lambda model: _with_encoder(model, TAESD)
    yield "our small encoder", lambda model: _with_encoder(model, SMALL)
    for size in SIZES:
        yield "{}x{}".format(*size), lambda model, size=size: _resized(model, size)
    yield (
        "TAESD's, pooled, {}x{}".format(*SIZES[0]),
        lambda model: approximate(_resized(_with_encoder(model, TAESD), SIZES[0]), pool_attention=True),
    )


def _with_encoder(model: SDPose, layout: str) -> SDPose:
    with torch.device(model.device):
        encoder = make_encoder(EncoderConfig(layout, *ENCODERS[layout], model.config.vae.latent_channels))
    model.vae = encoder.eval().requires_grad_(False)
    if model.device.type == "cpu":
        channels_last(model.vae)
    return model


def _resized(model: SDPose, size: tuple[int, int]) -> SDPose:
    model.config = replace(model.config, input_size=size)
    return model


# --- operations and time ---------------------------------------------------------------------------------------------


def count_operations(config: SDPoseConfig) -> None:
    """Print GFLOP (2 per multiply-add) of one crop in each mode."""
    exact = 0.0
    for name, change in modes(config):
        with torch.device("meta"):
            model = change(fold_constants(SDPose(config).eval().requires_grad_(False)))
        w, h = model.config.input_size
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.heatmaps(torch.empty(1, 3, h, w, device="meta"))
        gflop = counter.get_total_flops() / 1e9
        exact = exact or gflop
        print(f"{config.keypoint_set:<20} {name:<24} {gflop:8.0f} GFLOP {gflop / exact:6.2f}")


def measure_full_size(config: SDPoseConfig) -> None:
    """Print CPU seconds of one crop in each mode, and the difference of its heatmaps from the exact ones."""
    exact = None
    for name, change in modes(config):
        torch.manual_seed(0)
        model = SDPose(config).eval().requires_grad_(False)
        torch.nn.init.normal_(model.head.final_layer.weight, std=model.head.final_layer.in_channels**-0.5)
        model = change(optimize_for_cpu(fold_constants(model)))
        w, h = model.config.input_size
        coarse = torch.rand(1, 3, 32, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
        images = torch.nn.functional.interpolate(coarse, size=(h, w), mode="bicubic").clamp(-1, 1)
        start = time.process_time()
        with torch.inference_mode():
            maps = model.heatmaps(images)
        seconds = time.process_time() - start
        exact = maps if exact is None else exact
        maps = torch.nn.functional.interpolate(maps, size=exact.shape[2:], mode="bilinear")
        difference = float((maps - exact).abs().mean() / exact.std())
        print(f"{config.keypoint_set:<20} {name:<24} {seconds:8.1f} CPU s, heatmaps differ by {difference:.3f} std")


@torch.inference_mode()
def time_full_size_encoders() -> None:
    """Print CPU seconds of the VAE's encoder and of both small ones at 768 x 1024."""
    w, h = BODY.input_size
    images = torch.rand(1, 3, h, w, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for name in (SMALL, TAESD, "VAE"):
        encoder = VAEEncoder(BODY.vae) if name == "VAE" else make_encoder(EncoderConfig(name, *ENCODERS[name]))
        channels_last(encoder.eval())
        seconds = []
        for _ in range(1 if name == "VAE" else 3):
            start = time.process_time()
            encoder(images)
            seconds.append(time.process_time() - start)
        print(f"{name:<24} {min(seconds):8.2f} CPU s, {torch.get_num_threads()} threads", flush=True)


# --- accuracy --------------------------------------------------------------------------------------------------------


def measure_ap(checkpoint: Path, root: Path, count: int) -> None:
    """Print AP in the modes that a checkpoint allows, and the median distance to the exact points."""
    from sdpose_core.skeletons import keypoint_set
    from sdpose_training.data.annotations import read_annotations, read_people
    from sdpose_training.fit.validation import average_precision, predict
    from sdpose_training.recipe.recipe import ValidationRecipe

    model = load_sdpose(checkpoint, device="cpu", fold=True)
    (w, h), settings = model.config.input_size, ValidationRecipe()
    annotations = read_annotations(root / "annotations" / "val.json")
    people, _ = read_people(annotations, root / "images", keypoint_set(model.config.keypoint_set))
    people = people.first(count)
    smaller = [(size, f"{size[0]}x{size[1]} of {w}x{h}") for size in ((w * 2 // 3, h * 3 // 4), (w // 3, h // 2))]
    exact = None
    for name, change in (
        ("exact", lambda model: model),
        ("pooled attention", lambda model: approximate(model, pool_attention=True)),
        *((name, lambda model, size=size: _resized(model, size)) for size, name in smaller),
    ):
        model = change(load_sdpose(checkpoint, device="cpu", fold=True))
        keypoints, scores = predict(model, people, range(len(people)), settings)
        figures = average_precision(people, keypoints, scores)
        exact = keypoints if exact is None else exact
        shift = np.nanmedian(np.linalg.norm(keypoints - exact, axis=-1))
        print(f"{name:<24} AP {figures['AP']:.3f}  AR {figures['AR']:.3f}  points move by {shift:.2f} px (median)")


def measure_encoders(checkpoint: Path, root: Path, count: int, encoders: Sequence[Path]) -> None:
    """Print CPU time of small encoders, and on `count` validation people (0: none) with flip test errors and AP."""
    from accelerate import Accelerator

    from sdpose_core.skeletons import keypoint_set
    from sdpose_training.data.annotations import read_annotations, read_people
    from sdpose_training.distill.crops import Crops
    from sdpose_training.distill.validation import compare
    from sdpose_training.recipe.recipe import ValidationRecipe

    annotations = read_annotations(root / "annotations" / "val.json")
    points = keypoint_set(load_sdpose(checkpoint, device="cpu").config.keypoint_set)
    people = read_people(annotations, root / "images", points)[0].first(count)
    model = load_sdpose(checkpoint, device="cpu", fold=True)
    w, h = model.config.input_size
    images = torch.rand(1, 3, h, w, generator=torch.Generator().manual_seed(0)) * 2 - 1
    print(f"{'full encoder':<32} {_encoder_and_crop(model, images)}")
    for file in encoders:
        small = load_sdpose(checkpoint, device="cpu", fold=True, tiny_encoder=file)
        name = f"{file.parent.name}/{file.name}"
        print(f"{name:<32} {_encoder_and_crop(small, images)}")
        if not count:
            continue
        found = compare(Accelerator(cpu=True), model, small.vae, Crops(people.files, people), ValidationRecipe())
        assert found is not None
        errors = ", ".join(f"{name} {found[f'{name}_error']:.3f}" for name in ("latents", "features", "heatmaps"))
        print(
            f"{'':<32} AP {found['AP']:.3f} (full {found['AP_full_encoder']:.3f}); "
            f"relative error: {errors}; points move by {found['shift_px']:.2f} px of the crop (median), "
            f"{found['shift_95_px']:.1f} (95%)"
        )


@torch.inference_mode()
def _encoder_and_crop(model: SDPose, images: torch.Tensor, repeats: int = 20) -> str:
    """CPU milliseconds (the lowest of several) of the encoder and of a whole crop, and GFLOP of the encoder."""
    with FlopCounterMode(display=False) as counter:
        model.latents(images)
    both = []
    for work in (model.latents, model.heatmaps):
        seconds = []
        for _ in range(repeats):
            start = time.process_time()
            work(images)
            seconds.append(time.process_time() - start)
        both.append(min(seconds) * 1000)
    gflop = counter.get_total_flops() / 1e9
    return f"encoder {gflop:.3f} GFLOP, {both[0]:.1f} CPU ms; crop {both[1]:.1f} CPU ms"


def measure_interpolation() -> None:
    """Print the distance of interpolated points from the truth for each N, on a dancer 250 pixels high."""
    points = truth()
    frames = [Poses(each[None], np.ones((1, 17)), np.r_[box_of(each), 1][None], SIZE, "coco_17") for each in points]
    sequence = PoseSequence.from_poses(frames, frame_rate=FRAME_RATE)
    for every in (2, 3, 5, 10):
        estimated = np.arange(len(points)) % every == 0
        estimated[-1] = True
        found = interpolate(sequence, estimated)
        away = np.linalg.norm(found.keypoints[:, 0] - points, axis=-1)[~estimated]
        print(f"--every {every:<2} {'':14} {away.mean():6.2f} px mean, {away.max():6.2f} px at most ({FRAME_RATE} fps)")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", type=Path, metavar="FILE")
    root = "with annotations/val.json and images/"
    parser.add_argument("--data.root", dest="root", type=Path, metavar="DIR", help=root)
    parser.add_argument(
        "--people", type=int, default=-1, metavar="N", help="only the first N (default: all; 0: time only)"
    )
    add = parser.add_argument
    add("--tiny-encoder", type=Path, action="append", default=[], metavar="FILE", help="also measure this encoder")
    add("--full-size-encoders", action="store_true", help="only time the full-size encoders, with random weights")
    parser.add_argument("--full-size", action="store_true", help="also run the full-size whole-body model in each mode")
    args = parser.parse_args()
    if args.full_size_encoders:
        time_full_size_encoders()
        return
    for config in (WHOLEBODY, BODY):
        count_operations(config)
    measure_interpolation()
    if args.checkpoint:
        if args.people:
            measure_ap(args.checkpoint, args.root, args.people)
        measure_encoders(args.checkpoint, args.root, args.people, args.tiny_encoder)
    if args.full_size:
        measure_full_size(WHOLEBODY)


if __name__ == "__main__":
    main()
