"""Small valid inputs of all kinds, made by code: the same bytes each time."""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
from collections.abc import Callable, Collection, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.poses import Poses, PoseSequence

ROOT = Path(__file__).resolve().parents[2]
SIZE = (64, 48)
STANDING = np.array([(32, 6), (34, 5), (30, 5), (36, 6), (28, 6), (38, 12), (26, 12), (41, 19), (23, 19), (42, 26),
                     (22, 26), (35, 26), (29, 26), (36, 35), (28, 35), (36, 44), (28, 44)], float)  # fmt: skip
"""The 17 points of COCO in a picture of `SIZE`."""
FRAME_COUNT = 6
SLOW = ("checkpoints", "onnx", "state")


def quiet(program: Callable[[list[str]], int], *words: Any) -> int:
    """Run a command without its output."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return program([str(word) for word in words])


def make_seeds(folder: Path, kinds: Collection[str]) -> None:
    """Write a folder of seeds for each kind of input; the slow ones only if they are among `kinds`."""
    for make in (_pictures, _videos, _npz, _poses, _boxes, _coco, _recipes, _checkpoints, _onnx, _state):
        name = make.__name__[1:]
        if name in kinds or name not in SLOW:
            (folder / name).mkdir(parents=True)
            make(folder / name, folder)


def _noise(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 200, (count, SIZE[1] // 8, SIZE[0] // 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    for number, frame in enumerate(frames):
        frame[:8, 8 * number : 8 * number + 8] = 255
    return list(frames)


def _pictures(folder: Path, _: Path) -> None:
    from PIL import Image, ImageCms, features

    frames = [Image.fromarray(frame) for frame in _noise(3)]
    first, more = frames[0], {"save_all": True, "append_images": frames[1:], "duration": 40}
    exif = Image.Exif()
    exif[0x0112] = 6
    first.save(folder / "rgb.png")
    # copies: Pillow keeps the settings of a JPEG in the picture
    first.copy().save(folder / "exif.jpg", exif=exif)
    first.convert("CMYK").save(folder / "cmyk.jpg")
    first.copy().save(folder / "progressive.jpg", progressive=True)
    first.copy().save(folder / "two.mpo", save_all=True, append_images=[frames[1].copy()])
    first.save(folder / "moving.png", **more)
    first.convert("P").save(folder / "palette.png", transparency=0)
    first.convert("L").save(folder / "gray.png")
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)  # the time
    first.convert("RGBA").save(folder / "alpha.png", icc_profile=bytes(profile))
    Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20).save(folder / "deep.png")
    first.save(folder / "moving.gif", **more)
    first.save(folder / "moving.webp", **more)
    first.save(folder / "lossless.webp", lossless=True, exif=exif)
    first.save(folder / "pages.tiff", save_all=True, append_images=frames[1:])
    first.save(folder / "lzw.tif", compression="tiff_lzw")
    first.save(folder / "jpeg.tif", compression="jpeg")
    for suffix in ("bmp", "ppm", "tga", "jp2"):
        first.save(folder / f"rgb.{suffix}")
    first.convert("1").save(folder / "bits.pbm")
    if features.check("avif"):
        first.save(folder / "rgb.avif", quality=50)
    for name in ("solid.png", "solid.jpg", "solid.bmp"):
        Image.new("RGB", (96, 96), (90, 120, 150)).save(folder / name)
    Image.open(ROOT / "tests" / "data" / "astronaut.png").convert("RGB").resize((128, 128)).save(folder / "person.jpg")


def _videos(folder: Path, _: Path) -> None:
    import av

    kinds = {
        "h264.mp4": ("libx264", "yuv420p"), "mjpeg.avi": ("mjpeg", "yuvj420p"), "png.mov": ("png", "rgb24"),
        "ffv1.mkv": ("ffv1", "bgr0"), "vp9.webm": ("libvpx-vp9", "yuv420p"), "mpeg4.avi": ("mpeg4", "yuv420p"),
        "mpeg2.ts": ("mpeg2video", "yuv420p"), "h264.mov": ("libx264", "yuv420p"), "gif.gif": ("gif", "rgb8"),
    }  # fmt: skip
    for name, (codec, pixel_format) in kinds.items():
        options = {"threads": "1", "fflags": "+bitexact"}
        with av.open(str(folder / name), "w", options={"fflags": "+bitexact"}) as file:
            stream = file.add_stream(codec, rate=Fraction(25), options=options)
            stream.width, stream.height, stream.pix_fmt = *SIZE, pixel_format
            for image in _noise(FRAME_COUNT):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(image).reformat(format=pixel_format)))
            file.mux(stream.encode(None))
    pictures = folder.parent / "pictures"
    _packets(folder / "profile.mov", "png", pictures / "alpha.png", range(4))
    _packets(folder / "exif.mov", "mjpeg", pictures / "exif.jpg", range(4))
    _packets(folder / "exif.avi", "mjpeg", pictures / "exif.jpg", range(4))
    _packets(folder / "pause.mov", "png", pictures / "rgb.png", (0, 1, 2, 500_000))
    _packets(folder / "one.mov", "png", pictures / "rgb.png", (0,))


def _packets(path: Path, codec: str, picture: Path, times: Iterable[int]) -> None:
    """A video whose frames are the bytes of a picture file."""
    import av

    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuvj420p" if codec == "mjpeg" else "rgb24"
        stream.codec_context.time_base = Fraction(1, 25)
        for time in times:
            packet = av.Packet(picture.read_bytes())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, time, time, Fraction(1, 25)
            packet.is_keyframe = True
            file.mux(packet)


def sequence(frames: int = FRAME_COUNT, people: int = 2, points: int = 17) -> PoseSequence:
    """People who walk to the right."""
    poses = []
    for t in range(frames):
        body = STANDING + np.array([(t + 5 * p, p) for p in range(people)]).reshape(-1, 1, 2)
        keypoints = body if points == 17 else np.concatenate([body, np.tile(body[:, :1], (1, points - 17, 1))], 1)
        boxes = np.concatenate([keypoints.min(1) - 3, keypoints.max(1) + 3, np.full((people, 1), 0.9)], 1)
        name = "coco_17" if points == 17 else "coco_wholebody_133"
        poses.append(Poses(keypoints, np.full((people, points), 0.8), boxes, SIZE, name))
    return PoseSequence.from_poses(poses, frame_rate=Fraction(25) if frames > 1 else None)


def _npz(folder: Path, _: Path) -> None:
    sequence().save(folder / "two.pose.npz")
    sequence(people=1, points=133).save(folder / "wholebody.pose.npz")
    sequence(1).save(folder / "picture.pose.npz")
    sequence(3, people=0).save(folder / "nobody.pose.npz")


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _poses(folder: Path, seeds: Path) -> None:
    from sdpose_core.cli.main import main

    quiet(main, "export", seeds / "npz" / "two.pose.npz", "--to", "openpose", "-o", folder / "openpose")
    quiet(main, "export", seeds / "npz" / "two.pose.npz", "--to", "coco", "-o", folder / "coco")
    flat = np.concatenate([STANDING, np.full((17, 1), 0.9)], 1).ravel().round(2).tolist()
    person = {"pose_keypoints_2d": [*flat, 0, 0, 0], "face_keypoints_2d": [], "hand_left_keypoints_2d": None}
    frame = {"people": [person], "canvas_width": SIZE[0], "canvas_height": SIZE[1]}
    _write(folder / "pose_keypoint.json", [frame, frame, frame | {"people": []}])
    _write(folder / "one.json", frame)
    _write(folder / "nobody.json", frame | {"people": []})
    people = [{"keypoints": STANDING.tolist(), "keypoint_scores": [0.9] * 17, "bbox": [[20, 2, 44, 46]]}]
    _write(folder / "mmpose.json", {"meta_info": {}, "instance_info": [{"frame_id": 1, "instances": people}]})
    _write(folder / "rtmlib.json", {"keypoints": [STANDING.tolist()], "scores": [[0.9] * 17]})
    _write(
        folder / "alphapose.json",
        [{"image_id": f"{t}.jpg", "category_id": 1, "keypoints": flat, "score": 2.5, "idx": 1} for t in range(3)],
    )
    yolo = {"x": STANDING[:, 0].tolist(), "y": STANDING[:, 1].tolist(), "visible": [0.9] * 17}
    _write(folder / "yolo.json", [{"name": "person", "class": 0, "confidence": 0.9, "keypoints": yolo}])


def _boxes(folder: Path, _: Path) -> None:
    rows = [[5, 5, 40, 44], [20, 2, 60, 46, 0.8]]
    coco = [{"file_name": "a.png", "bbox": [5, 5, 35, 39], "score": 0.9, "track_id": 4, "category_id": 1}]
    _write(folder / "list.json", rows)
    _write(folder / "names.json", {"a.png": rows, "b.png": rows[:1]})
    _write(folder / "frames.json", {str(t): rows for t in range(FRAME_COUNT)})
    _write(folder / "detections.json", coco)
    _write(folder / "columns.json", {"bboxes": rows[:1], "scores": [0.9], "labels": [0]})
    _write(folder / "nobody.json", {"a.png": []})
    _write(folder / "predictions.json", {"predictions": coco})


def _coco(folder: Path, _: Path) -> None:
    from sdpose_core.skeletons import COCO_17

    flat = np.concatenate([STANDING, np.full((17, 1), 2)], 1).ravel().tolist()
    images = [{"id": n, "file_name": f"{n}.png", "width": SIZE[0], "height": SIZE[1]} for n in (1, 2)]
    category = {"id": 1, "name": "person", "keypoints": list(COCO_17.names), "skeleton": [[1, 2]]}
    people = [
        {"id": 10 + n, "image_id": n, "category_id": 1, "iscrowd": 0, "area": 700.0, "bbox": [20, 3, 24, 43],
         "num_keypoints": 17, "keypoints": flat} for n in (1, 2)
    ]  # fmt: skip
    _write(folder / "annotations.json", {"images": images, "annotations": people, "categories": [category]})
    results = [{"image_id": n, "category_id": 1, "keypoints": flat, "score": 0.9} for n in (1, 2)]
    _write(folder / "results.json", results)
    ours = [
        {"id": n, "img_id": n, "keypoints": STANDING.tolist(), "keypoint_scores": [0.9] * 17, "bbox_score": 0.9,
         "bbox_scale": [40, 50]} for n in (1, 2)
    ]  # fmt: skip
    _write(folder / "ours.json", ours)


def _recipes(folder: Path, _: Path) -> None:
    for file in (ROOT / "training" / "recipes").glob("*.toml"):
        shutil.copyfile(file, folder / file.name)
    (folder / "points.toml").write_text(
        'name = "three"\nnames = ["nose", "left_eye", "right_eye"]\nlinks = [["nose", "left_eye"]]\n'
        "sigmas = [0.1, 0.1, 0.1]\n"
    )


def _checkpoints(folder: Path, _: Path) -> None:
    import sys

    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from tiny import make_checkpoint

    from sdpose_core.cli.main import main

    ours = make_checkpoint(folder / "ours.safetensors")
    quiet(main, "convert", ours, folder / "diffusers", "--layout", "diffusers")
    quiet(main, "convert", ours, folder / "comfy.safetensors", "--layout", "comfy")
    import torch

    state = {"unet.conv_in.weight": torch.zeros(16, 4, 3, 3)}
    torch.save({"model": state, "ema": state}, folder / "pickle.pth")


def _onnx(folder: Path, _: Path) -> None:
    from onnx_files import node, write_model, write_simcc_that_sees_dots
    from tiny import SMALL

    w, h = SMALL.input_size
    weights = np.random.default_rng(0).normal(0, 0.05, (17, 3, 4, 4))
    nodes = [node("Conv", ["images", "weights"], "heatmaps", strides=[4, 4])]
    ports = {"images": ("batch", 3, h, w)}, {"heatmaps": ("batch", 17, h // 4, w // 4)}
    metadata = {"config": json.dumps(SMALL.to_dict()), "approximations": "{}"}
    write_model(folder / "estimator.onnx", nodes, *ports, {"weights": weights}, metadata)
    write_model(folder / "bare.onnx", nodes, *ports, {"weights": weights})
    _write(folder / "config.json", SMALL.to_dict())
    write_simcc_that_sees_dots(folder / "simcc.onnx", [0, 1, 2] * 5 + [0, 1], (64, 128))
    shutil.copyfile(ROOT / "sdpose_core" / "assets" / "yolox_nano.onnx", folder / "detector.onnx")


def _state(folder: Path, seeds: Path) -> None:
    """An unfinished run, a finished batch, finished pictures, synthetic people."""
    from sdpose_core.cli.main import main
    from sdpose_core.cli.progress import Bar

    shutil.copyfile(seeds / "videos" / "h264.mp4", folder / "clip.mp4")
    show, chunks = Bar.show_people, []

    def stop(bar: Bar, chunk: Any) -> None:
        chunks.append(chunk)
        if len(chunks) == 2:
            raise KeyboardInterrupt

    Bar.show_people = stop  # type: ignore[method-assign]
    try:
        quiet(main, "video", folder / "clip.mp4", "-o", folder / "stopped", *VIDEO)
    finally:
        Bar.show_people = show  # type: ignore[method-assign]
    quiet(main, "batch", folder / "clip.mp4", "-o", folder / "batch", *VIDEO)
    for file in (folder / "batch" / ".sdpose-batch" / "clip.json", folder / "batch" / "manifest.jsonl"):
        record = json.loads(file.read_text()) | {"seconds": 1.0, "finished": 1.0, "host": "", "source": "/clip.mp4"}
        file.write_text(json.dumps(record) + "\n")
    quiet(main, "video", folder / "clip.mp4", "-o", folder / "video", *VIDEO)
    shutil.copyfile(seeds / "pictures" / "person.jpg", folder / "person.jpg")
    quiet(main, "image", folder / "person.jpg", "-o", folder / "image", *PREVIEW)
    _synthetic(folder / "synthetic", seeds)
    _training(folder)


def _training(folder: Path) -> None:
    """A finished run of two steps with a tiny model: its state."""
    from drawn_people import make_people

    import train

    make_people(folder / "people", 4, (64, 80))
    text = (ROOT / "training" / "recipes" / "debug_cpu.toml").read_text()
    first, _, more = text.split("[[stages]]")
    text = f"{first}[[stages]]{_}[hardware]{more.split('[hardware]')[1]}"
    for old, new in (("samples = 64", "samples = 8"), ("_batch = 8", "_batch = 4"), ("every = 6", "every = 100")):
        text = text.replace(old, new)
    text = text.replace("every = 4", "every = 1").replace("keep = 2", "keep = 1")
    (folder / "recipe.toml").write_text(text)
    words = ("--recipe", folder / "recipe.toml", "--data.root", folder / "people", "--out", folder / "whole")
    random.seed(0)  # the state of all generators is in the file
    np.random.seed(0)  # noqa: NPY002
    quiet(train.main, *words)
    shutil.copytree(folder / "whole" / "checkpoints", folder / "training" / "checkpoints")
    shutil.rmtree(folder / "whole")


def _synthetic(folder: Path, seeds: Path) -> None:
    """A finished data set of one picture a split, without the generator, which needs a large package."""
    from sdpose_training.synthetic.dataset import DataSetPlan, _settings
    from sdpose_training.synthetic.scene import SceneSettings

    plan = DataSetPlan(folder, 0, "jpg", SceneSettings((288, 384), "mixed", 3, 2, "label", ()))
    (folder / "images").mkdir(parents=True)
    _write(folder / "settings.json", _settings(plan))
    lines = []
    for split in ("train", "val"):
        name = f"{split}_000000.jpg"
        shutil.copyfile(seeds / "pictures" / "person.jpg", folder / "images" / name)
        size = (folder / "images" / name).stat().st_size
        person = {"keypoints": [0] * 51, "num_keypoints": 0, "bbox": [0, 0, 9, 9], "area": 81.0}
        record = {"split": split, "index": 0, "file_name": name, "bytes": size, "width": 128, "height": 128}
        lines.append(record | {"people": [person]})
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


PREVIEW = ("--model", "preview", "--detector", "full")
VIDEO = (*PREVIEW, "--chunk", "2")
