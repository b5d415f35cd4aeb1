"""The inputs of the example graphs, and their thumbnails."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
DATA, INPUTS = ROOT / "tests" / "data", ROOT / "workflows" / "inputs"


def make_inputs() -> None:
    """The inputs of the examples, small, from the pictures and the video of the tests."""
    from sdpose_core.images import read_image
    from sdpose_core.video.opening import open_video

    def save(name: str, image: np.ndarray) -> None:
        Image.fromarray(image).save(INPUTS / name, quality=88)

    INPUTS.mkdir(exist_ok=True)
    woman, officer = (read_image(DATA / name) for name in ("astronaut.png", "grace_hopper.jpg"))
    officer = np.asarray(Image.fromarray(officer).resize((437, 512)))
    save("astronaut.jpg", woman)
    save("character.jpg", read_image(DATA / "anime_sylvie.png"))
    save("two_people.jpg", np.concatenate([woman, officer], axis=1))
    with open_video(DATA / "dancer.mp4") as video:
        frames, rate = [frame.image for frame in video.frames()], video.info.frame_rate
    partner = [frame[:, ::-1] for frame in reversed(frames)]
    save_video(INPUTS / "dancer.mp4", frames, rate)
    save_video(INPUTS / "two_dancers.mp4", [np.hstack(pair) for pair in zip(frames, partner, strict=True)], rate)


def save_video(path: Path, images: list[np.ndarray], rate: Fraction) -> None:
    """H.264 in a quarter of the bytes that the library's own writer, which is made for pose maps, would take."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=rate, options={"crf": "27", "preset": "veryslow"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in images:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        file.mux(stream.encode())


CARD, EDGE = (480, 480), 10
"""Size of all thumbnails, and what is left free around their pictures, in pixels."""


def middle_picture(path: Path) -> Image.Image:
    """A picture, or a frame of a video, after its middle."""
    from sdpose_core.video.opening import open_video

    if path.suffix not in (".mp4", ".webm"):
        return Image.open(path).convert("RGB")
    with open_video(path) as video:
        frames = [frame.image for frame in video.frames()]
    return Image.fromarray(frames[len(frames) * 2 // 3])


def in_rows(pictures: list[Image.Image], rows: int) -> tuple[int, list[list[Image.Image]]]:
    """The height at which the pictures fill the card in so many rows, and the rows."""
    each = -(-len(pictures) // rows)
    lines = [pictures[start : start + each] for start in range(0, len(pictures), each)]
    wide = [
        (CARD[0] - EDGE * (len(line) + 1)) / sum(picture.width / picture.height for picture in line) for line in lines
    ]
    return int(min([*wide, (CARD[1] - EDGE * (rows + 1)) / rows])), lines


def thumbnail(pictures: list[Image.Image]) -> Image.Image:
    """Pictures on a dark card, in as many rows as show them largest."""
    card = Image.new("RGB", CARD, (24, 24, 27))
    height, lines = max((in_rows(pictures, rows) for rows in (1, 2, 3)), key=lambda choice: choice[0])
    y = (CARD[1] - height * len(lines) - EDGE * (len(lines) - 1)) // 2
    for line in lines:
        sized = [picture.resize((round(picture.width * height / picture.height), height)) for picture in line]
        x = (CARD[0] - sum(each.width for each in sized) - EDGE * (len(sized) - 1)) // 2
        for each in sized:
            card.paste(each, (x, y))
            x += each.width + EDGE
        y += height + EDGE
    return card


def shown(base: Path, outputs: dict[str, Any], prompt: dict[str, Any]) -> list[Image.Image]:
    """The inputs of a graph that ran, and what it saved or else showed."""
    kinds = {number: node["class_type"] for number, node in prompt.items()}
    files = [INPUTS / prompt[number]["inputs"]["example"] for number in kinds if kinds[number].endswith("Example")]
    saving = [number for number in kinds if kinds[number] in ("SaveImage", "SaveVideo")]
    showing = [
        number for number, found in outputs.items() if "images" in found and not kinds[number].endswith("Example")
    ]
    for number in saving or showing:
        found = outputs[number]["images"][0]
        files.append(base / found["type"] / found["subfolder"] / found["filename"])
    return [middle_picture(path) for path in files]
