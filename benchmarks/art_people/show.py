"""Draws the labeled people of every picture, as one HTML page to look through.

    python benchmarks/art_people/show.py --packages FOLDER --out labels.html [--half work|held]

FOLDER holds the unpacked wheels; without it, the installed packages are read. Left is green, right is red; a ring is a
labeled point that is hidden. `--labels` names another folder of labels_*.json.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
from pathlib import Path

import numpy as np
from pictures import HALVES, HERE, Entry, load_labels, open_picture
from PIL import Image, ImageDraw

from sdpose_core.files import atomic_write
from sdpose_core.skeletons import COCO_17

LEFT, RIGHT, MIDDLE, BOX = (0, 255, 0), (255, 60, 60), (0, 160, 255), (255, 255, 0)

PAGE = """<!doctype html><meta charset="utf-8"><title>Labeled people</title>
<style>
body{{background:#222;color:#eee;font:14px sans-serif}}
figure{{display:inline-block;margin:6px;vertical-align:top}}
figcaption{{max-width:{size}px}}
</style>
<p>{title}</p>
{figures}
"""


def color_of(*points: int) -> tuple[int, int, int]:
    """Color of a point, or of a link between two points: that of the side, if all are on one."""
    names = [COCO_17.names[point] for point in points]
    sides = (("left_", LEFT), ("right_", RIGHT))
    return next((color for side, color in sides if all(name.startswith(side) for name in names)), MIDDLE)


def draw_person(draw: ImageDraw.ImageDraw, person: dict, scale: float) -> None:
    """The box, the links between labeled points, and the points. `scale`: canvas pixels per pixel of the picture."""
    points = np.array(person["keypoints"], float)
    points[:, :2] *= scale
    draw.rectangle([value * scale for value in person["box"]], outline=BOX)
    for first, second in COCO_17.links:
        if points[first, 2] and points[second, 2]:
            draw.line([*points[first, :2], *points[second, :2]], fill=color_of(first, second), width=2)
    for index, (x, y, shown) in enumerate(points):
        if shown:
            color = color_of(index)
            draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=color if shown == 2 else None, outline=color, width=2)


def drawn(entry: Entry, root: Path | None, size: int) -> Image.Image:
    """The picture with its labels, its longer side `size` pixels."""
    picture = Image.fromarray(open_picture(entry, root))
    scale = size / max(picture.size)
    canvas = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
    for person in entry["people"]:
        draw_person(ImageDraw.Draw(canvas), person, scale)
    return canvas


def figure(entry: Entry, root: Path | None, size: int) -> str:
    """The picture and what is known of it, as HTML."""
    file = io.BytesIO()
    drawn(entry, root, size).save(file, "JPEG", quality=85)
    notes = [person["note"] for person in entry["people"] if person["note"]]
    name = Path(entry["file"]).name
    caption = "; ".join([name, entry["style"] or "nobody", entry["half"], *notes])
    source = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    return f'<figure><img src="{source}"><figcaption>{html.escape(caption)}</figcaption></figure>'


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws the labeled set of drawn and painted people.")
    parser.add_argument("--packages", type=Path, help="folder of unpacked wheels; default: the installed packages")
    parser.add_argument("--out", type=Path, default=Path("labels.html"))
    parser.add_argument("--half", choices=HALVES, help="default: both")
    parser.add_argument("--labels", type=Path, default=HERE, help="folder of labels_*.json; default: this one")
    parser.add_argument("--size", type=int, default=560, help="longer side of a drawn picture, in pixels")
    args = parser.parse_args()
    entries = load_labels(args.half, args.labels)
    people = sum(len(entry["people"]) for entry in entries)
    nobody = sum(not entry["people"] for entry in entries)
    title = f"{len(entries)} pictures with {people} labeled people; {nobody} of the pictures show nobody"
    figures = "\n".join(figure(entry, args.packages, args.size) for entry in entries)
    with atomic_write(args.out, "w") as page:
        page.write(PAGE.format(size=args.size, title=title, figures=figures))
    print(f"{args.out}: {title}")


if __name__ == "__main__":
    main()
