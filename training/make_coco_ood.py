"""Make COCO-OOD: COCO's validation pictures in another style, with COCO's annotations.

    python training/make_coco_ood.py --style sketch --data.root COCO
    python training/make_coco_ood.py --style corruption --corruptions noise,fog --severities 1,3,5 --data.root COCO
    python training/make_coco_ood.py convert latest_net_G.pth ukiyoe.safetensors --style ukiyoe
    python training/make_coco_ood.py --style ukiyoe --weights ukiyoe.safetensors --data.root COCO
    python training/make_coco_ood.py --style monet --weights monet.safetensors --style-pictures MONET --data.root COCO
    python training/make_coco_ood.py --style import --folder STYLIZED --style-name colorsketch --data.root COCO

writes COCO/val2017oil (Monet), COCO/val2017ukiyoe, COCO/val2017filter_sketch or COCO/val2017corruption/KIND/SEVERITY:
pictures with the same names and sizes, and make_coco_ood.json, which records how they were made. A picture depends only
on its source, its name and the settings: interrupted runs resume, and shards (--shard 1/4 ... 4/4) give the same bytes
as one run. The style "import" takes in pictures that another program made (COCO/val2017colorsketch), if they are
aligned with the photos.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sdpose_core.batch.shards import Shard
from sdpose_core.cli.progress import progress_bar
from sdpose_core.dependencies import require
from sdpose_core.errors import InputError
from sdpose_core.files import remove_abandoned, sha256_of
from sdpose_core.images import read_image
from sdpose_training.options import RESUMES, exit_status, start_log, whole_number
from sdpose_training.styles.corruption_folder import CORRUPTION_STYLE, CorruptedFolder, make_missing
from sdpose_training.styles.corruption_options import add_corruptions
from sdpose_training.styles.corruptions import corruptions
from sdpose_training.styles.filters import FILTERS
from sdpose_training.styles.folder import (
    PaintedData,
    agree,
    copy_annotations,
    find_data,
    folder_name,
    picture_names,
    write_picture,
)

GENERATOR_VERSION = 1  # raise when the same settings give other pictures
PAINTED = ("ukiyoe", "monet")
"""Styles painted by networks, whose weights the user provides."""

IMPORT = "import"
"""The style of pictures made elsewhere."""

log = logging.getLogger("make_coco_ood")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 an error or failed pictures, 2 wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    start_log()
    if given[:1] == ["convert"]:
        options = build_convert_parser().parse_args(given[1:])
        return exit_status("make_coco_ood", lambda: _convert(options))
    parser = build_parser()
    options = parser.parse_args(given)
    _check_usage(parser, options)
    return exit_status("make_coco_ood", lambda: _make(options), resumes=RESUMES)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make_coco_ood.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--style", choices=[*PAINTED, *FILTERS, CORRUPTION_STYLE, IMPORT], required=True, help="ukiyoe (CycleGAN) and "
        "monet (StyTR2) need weights, import --folder, the others nothing")  # fmt: skip
    add("--weights", type=Path, metavar="FILE.safetensors", help="file written by 'make_coco_ood.py convert'")
    add("--style-pictures", type=Path, metavar="DIR", help="monet: paintings; each photo takes the style of one")
    add("--folder", type=Path, metavar="DIR", help="import: the stylized pictures, with the photos' names")
    add("--style-name", metavar="NAME", help="import: of the style; ends the name of the new folder")
    add("--max-offset", type=float, default=5.0, metavar="PIXELS", help="import: largest distance of a point from its "
        "place in the photo, in pixels of the photo (default: 5)")  # fmt: skip
    add("--leave-out", action="store_true", help="import: take in the others if some pictures do not fit")
    add("--data.root", dest="root", type=Path, required=True, metavar="DIR")
    add("--data.images", dest="images", metavar="FOLDER", help="in the root (default: val2017, or images)")
    add("--data.annotations", dest="annotations", metavar="FILE", help="COCO format; names the pictures (default: "
        "COCO's file for val2017, or annotations/val.json)")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="root of the new data set; annotations are copied there (default: "
        "--data.root)")  # fmt: skip
    add("--shard", metavar="i/n", help="only every n-th picture, starting at the i-th; auto in a SLURM array")
    add("--seed", type=int, default=0, help="monet: for the choice of paintings (default: 0)")
    add("--max-side", type=whole_number(64, 16384), default=1024, metavar="PIXELS", help="ukiyoe and monet: larger "
        "pictures are painted at this size and enlarged, to save memory (default: 1024; COCO's are 640)")  # fmt: skip
    add("--quality", type=whole_number(1, 100), default=95, help="JPEG quality (default: 95)")
    add("--png", action="store_true", help="corruption: lossless, with the pixels of corruption in memory")
    add_corruptions(parser.add_argument_group("corruption"))
    add("--device", default="auto", help="ukiyoe and monet: cpu, cuda, mps (default: the best available)")
    return parser


def build_convert_parser() -> argparse.ArgumentParser:
    description = "Convert the authors' pickles into one safetensors file."
    parser = argparse.ArgumentParser(prog="make_coco_ood.py convert", description=description)
    add = parser.add_argument
    add("sources", nargs="+", type=Path, metavar="IN.pth", help="ukiyoe: latest_net_G.pth; monet: the embedding, "
        "transformer and decoder, in any order")  # fmt: skip
    add("out", type=Path, metavar="OUT.safetensors")
    add("--style", choices=PAINTED, required=True)
    return parser


def _check_usage(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.style in PAINTED and options.weights is None:
        parser.error(f"--style {options.style} needs --weights FILE.safetensors: see 'make_coco_ood.py convert --help'")
    if options.style not in PAINTED and options.weights is not None:
        parser.error(f"--style {options.style} takes no --weights: it needs none")
    if options.style != CORRUPTION_STYLE and options.png:
        parser.error(f"--style {options.style} takes no --png: its pictures keep their formats")
    if options.style == IMPORT and (None in (options.folder, options.style_name) or options.shard):
        parser.error("--style import needs --folder DIR and --style-name NAME, and takes no --shard")
    if options.style != IMPORT and (options.folder or options.style_name or options.leave_out):
        parser.error(f"--style {options.style} takes no --folder, --style-name or --leave-out: they are for import")
    if (options.style == "monet") != (options.style_pictures is not None):
        parser.error("--style monet needs --style-pictures DIR (paintings); no other style takes it")


def _convert(options: argparse.Namespace) -> int:
    require("torch", "converting weights")
    from sdpose_training.styles.weights import convert

    convert(options.style, options.sources, options.out)
    print(options.out)
    return 0


def _make(options: argparse.Namespace) -> int:
    source = find_data(options.root, options.images, options.annotations)
    if options.style == IMPORT:
        return _import(source, options)
    shard = Shard.parse(options.shard) if options.shard else Shard(1, 1)
    names = picture_names(source)
    if options.style == CORRUPTION_STYLE:
        return _corrupt(options, source, names, shard)
    paint, settings, made_with = _painter(options)
    settings |= {"generator_version": GENERATOR_VERSION, "jpeg_quality": options.quality}
    folder = _begin(options, source, settings, made_with)
    made, failed = _paint_missing(source, names[shard.number - 1 :: shard.of], folder, paint, options.quality)
    finished = sum((folder / name).is_file() for name in names)
    print(f"{folder}: {finished} of {len(names)} pictures, {made} made now, {len(failed)} failed (shard {shard})")
    return 1 if failed else 0


def _begin(
    options: argparse.Namespace, source: PaintedData, settings: dict[str, Any], made_with: dict[str, Any]
) -> Path:
    """The folder of the style, with annotations beside it and its settings in it, cleaned of interrupted work."""
    out = options.out or options.root
    folder = out / folder_name(source.images, options.style)
    settings |= {"style": options.style, "pictures": source.images}
    notes = {"opencv": cv2.__version__, **made_with, "annotations_sha256": copy_annotations(source, out)}
    agree(folder, settings, notes)
    remove_abandoned(folder)
    return folder


def _corrupt(options: argparse.Namespace, source: PaintedData, names: Sequence[str], shard: Shard) -> int:
    """Make KIND/SEVERITY/NAME for every kind and severity; the exit status."""
    out = options.out or options.root
    quality = None if options.png else options.quality
    folder = CorruptedFolder(out / folder_name(source.images, options.style), options.corruption_seed, quality)
    _begin(options, source, folder.settings(), {"numpy": np.__version__})
    chosen = corruptions(options.corruptions, options.severities)
    made, failed = make_missing(source, names[shard.number - 1 :: shard.of], folder, chosen)
    finished = sum(folder.file(corruption, name).is_file() for name in names for corruption in chosen)
    count = f"{finished:,} of {len(names) * len(chosen):,} pictures"
    print(f"{folder.path}: {count}, {made:,} made now, {len(failed)} sources failed (shard {shard})")
    return 1 if failed else 0


def _import(source: PaintedData, options: argparse.Namespace) -> int:
    from sdpose_training.styles.imports import ImportSettings, import_pictures

    how = ImportSettings(options.folder, options.style_name, options.max_offset, options.leave_out, options.quality)
    print(*import_pictures(source, options.out or options.root, how), sep="\n")
    return 0


def _painter(options: argparse.Namespace) -> tuple[Callable, dict[str, Any], dict[str, Any]]:
    """The painter of a picture, the settings of its result, and versions that may change the last bits of it."""
    if options.style in FILTERS:
        return lambda rgb, name: FILTERS[options.style](rgb), {}, {}
    torch = require("torch", f"style {options.style}")
    from sdpose_training.styles import painters as style_painters
    from sdpose_training.styles.weights import STYLE_MODELS, load_style_model

    device = _device(options.device)
    model = load_style_model(options.style, options.weights)
    settings = {"method": STYLE_MODELS[options.style].method, "weights_sha256": sha256_of(options.weights)}
    settings |= {"max_side": options.max_side}
    made_with = {"torch": torch.__version__, "device": device.type}
    if options.style == "ukiyoe":
        return style_painters.cyclegan_painter(model, max_side=options.max_side, device=device), settings, made_with
    pictures = style_painters.find_style_pictures(options.style_pictures)
    settings |= {"seed": options.seed, "style_pictures": [[file.name, sha256_of(file)] for file in pictures]}
    paint = style_painters.stytr2_painter(model, pictures, seed=options.seed, max_side=options.max_side, device=device)
    return paint, settings, made_with


def _device(name: str):
    """The device of that name, set up for deterministic results; `InputError` if it is not available."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: {str(error).splitlines()[0]}") from None
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    return device


def _paint_missing(
    source: PaintedData, names: Sequence[str], folder: Path, paint: Callable, quality: int
) -> tuple[int, list[str]]:
    """Paint the missing pictures. Returns how many were painted, and the names of those that failed (logged)."""
    missing, failed = [name for name in names if not (folder / name).is_file()], []
    with progress_bar(len(missing), "picture", "painting", smoothing=0.05) as bar:
        for name in missing:
            try:
                rgb = read_image(source.pictures / name)
                write_picture(folder / name, paint(rgb, name), quality)
            except InputError as error:
                log.warning("%s: %s", name, error)
                failed.append(name)
            bar.update()
    return len(missing) - len(failed), failed


if __name__ == "__main__":
    sys.exit(main())
