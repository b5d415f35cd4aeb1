"""The commands of `sdpose`, each with a small piece of work."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from killing.engine import ROOT, Job

DATA = ROOT / "tests" / "data"
MAIN = ["-m", "sdpose_core.cli"]
PREVIEW = ["--model", "preview"]
DRAWN_OTHERWISE = ("--style", "dwpose", "--threshold", "0.5")
Runner = Callable[[list[str]], None]


def write_clip(path: Path, frames: int, start: int = 0) -> None:
    """A part of the dancer."""
    from sdpose_core.video.opening import open_video
    from sdpose_core.video.writer import VideoWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    with open_video(DATA / "dancer.mp4") as video:
        with VideoWriter(path, video.info.size, video.info.frame_rate) as writer:
            for frame, _ in zip(video.frames(start), range(frames), strict=False):
                writer.write(frame.image)


def write_sequence(path: Path, frames: int, seed: int = 0) -> None:
    """Poses of one person who stands and trembles."""
    import numpy as np

    from sdpose_core.poses import Poses, PoseSequence

    rng = np.random.default_rng(seed)
    standing = np.linspace((60, 20), (100, 180), 17)
    poses = [
        Poses((standing + rng.normal(0, 4, (17, 2)))[None], np.full((1, 17), 0.9), np.array([[40, 10, 120, 190, 0.9]]),
              (160, 200), "coco_17", meta={"model": "made up"})
        for _ in range(frames)
    ]  # fmt: skip
    PoseSequence.from_poses(poses).save(path)


class Sdpose(Job):
    """A command of `sdpose`; `words` may name {in} and {out}."""

    modules = ("sdpose_core.cli.main", "av", "cv2", "PIL.Image", "scipy.ndimage")
    words: tuple[str, ...] = ()

    def argv(self, folder: Path) -> list[list[str]]:
        return [[*MAIN, *(word.format(**{"in": folder / "in", "out": folder / "out"}) for word in self.words)]]


class Image(Sdpose):
    name, weight = "image", 12
    words = ("image", "{in}/a.png", "{in}/b.jpg", "-o", "{out}", "--overlay", *PREVIEW)
    variants = 3

    def prepare(self, folder: Path, run: Runner) -> None:
        shutil.copy(DATA / "astronaut.png", folder / "in" / "a.png")
        shutil.copy(DATA / "grace_hopper.jpg", folder / "in" / "b.jpg")

    def changed(self, folder: Path, variant: int) -> list[list[str]]:
        """Another drawing; another source; other poses."""
        if variant == 1:
            shutil.copy(DATA / "anime_sylvie.png", folder / "in" / "a.png")
        more = ([*DRAWN_OTHERWISE], [], ["--max-people", "1", "--min-size", "9"])[variant]
        return [[*program, *more] for program in self.argv(folder)]


class ImageOverwrite(Image):
    name, weight = "image --overwrite", 6
    words = (*Image.words, "--overwrite")

    def prepare(self, folder: Path, run: Runner) -> None:
        super().prepare(folder, run)
        run([*self.argv(folder)[0], "--style", "dwpose", "--max-people", "1"])


class Video(Sdpose):
    name, weight = "video", 12
    words = ("video", "{in}/clip.mp4", "-o", "{out}", "--overlay", "--chunk", "3", *PREVIEW)
    variants = 3

    def prepare(self, folder: Path, run: Runner) -> None:
        write_clip(folder / "in" / "clip.mp4", 8)

    def changed(self, folder: Path, variant: int) -> list[list[str]]:
        """Another drawing; another source; other poses."""
        if variant == 1:
            write_clip(folder / "in" / "clip.mp4", 5, start=10)
        more = ([*DRAWN_OTHERWISE], [], ["--no-smooth"])[variant]
        return [[*program, *more] for program in self.argv(folder)]


class VideoOverwrite(Video):
    name, weight = "video --overwrite", 6
    words = (*Video.words, "--overwrite")

    def prepare(self, folder: Path, run: Runner) -> None:
        write_clip(folder / "in" / "clip.mp4", 4, start=20)
        run(self.argv(folder)[0])
        super().prepare(folder, run)


class Batch(Sdpose):
    name, weight = "batch, two processes", 10
    words = ("batch", "{in}", "-o", "{out}", "--chunk", "3", *PREVIEW)
    growing = ("*/manifest.jsonl",)
    variants = 2

    def prepare(self, folder: Path, run: Runner) -> None:
        for number in range(3):
            write_clip(folder / "in" / f"clip{number}.mp4", 4, start=10 * number)

    def argv(self, folder: Path) -> list[list[str]]:
        return super().argv(folder) * 2

    def changed(self, folder: Path, variant: int) -> list[list[str]]:
        """Another source; other poses."""
        if variant == 0:
            write_clip(folder / "in" / "clip1.mp4", 3, start=30)
        return [[*program, *(["--no-smooth"] if variant else [])] for program in self.argv(folder)]

    def digest(self, file: Path) -> str:
        """Without times."""
        is_record = file.parent.name == ".sdpose-batch" and file.suffix == ".json" and "settings-" not in file.name
        if file.name != "manifest.jsonl" and not is_record:
            return super().digest(file)
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        passing = ("seconds", "finished", "message", "status")
        return json.dumps([{key: line[key] for key in line if key not in passing} for line in lines])


class ConvertOurs(Sdpose):
    name, weight = "convert --layout ours", 4
    modules = (*Sdpose.modules, "sdpose_core.model.network", "sdpose_core.checkpoints.layouts")
    layout, result = "ours", "model.safetensors"

    @property
    def words(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("convert", "{in}/new", f"{{out}}/{self.result}", "--layout", self.layout, "--overwrite")

    def prepare(self, folder: Path, run: Runner) -> None:
        sys.path.insert(0, str(ROOT / "tests" / "support"))
        import tiny

        for name, seed in (("old", 1), ("new", 2)):
            tiny.make_checkpoint(folder / "in" / f"{name}.safetensors", seed=seed)
            (folder / "in" / f"{name}.safetensors").rename(folder / "in" / name)
        run([word.replace("/in/new", "/in/old") for word in self.argv(folder)[0]])


class ConvertDiffusers(ConvertOurs):
    name, weight = "convert --layout diffusers", 8
    layout, result, folders = "diffusers", "model", ("model",)


class ConvertComfy(ConvertOurs):
    name, layout = "convert --layout comfy", "comfy"


class ExportFile(Sdpose):
    name, weight = "export, files", 5
    words = ("export", "{in}/poses.pose.npz", "--to", "musepose", "-o", "{out}", "--overwrite")

    def prepare(self, folder: Path, run: Runner) -> None:
        write_sequence(folder / "in" / "poses.pose.npz", 20, seed=1)
        run(self.argv(folder)[0])
        write_sequence(folder / "in" / "poses.pose.npz", 12, seed=2)


class ExportPictures(ExportFile):
    name, weight = "export, pictures", 7
    words = ("export", "{in}/poses.pose.npz", "--to", "controlnet", "--codec", "png", "-o", "{out}", "--overwrite")
    folders = ("poses*",)


class ExportOpenPose(ExportFile):
    name, weight = "export, OpenPose", 6
    words = ("export", "{in}/poses.pose.npz", "--to", "openpose", "-o", "{out}", "--overwrite")
    folders = ("poses*",)


class ExportFresh(ExportOpenPose):
    name, weight = "export, nothing there", 3
    words = ExportOpenPose.words[:-1]

    def prepare(self, folder: Path, run: Runner) -> None:
        write_sequence(folder / "in" / "poses.pose.npz", 12, seed=2)


class DrawFile(ExportFile):
    name, weight = "draw, video", 4
    words = ("draw", "{in}/poses.pose.npz", "-o", "{out}/drawn.mp4", "--overwrite")


class DrawFolder(ExportFile):
    name, weight = "draw, folder", 7
    words = ("draw", "{in}/poses.pose.npz", "-o", "{out}/drawn", "--overwrite")
    folders = ("drawn",)


class Retarget(ExportFile):
    name, weight = "retarget", 4
    words = ("retarget", "{in}/poses.pose.npz", "--to", "{in}/character.pose.npz", "-o", "{out}/fitted.pose.npz",
             "--overwrite")  # fmt: skip

    def prepare(self, folder: Path, run: Runner) -> None:
        write_sequence(folder / "in" / "character.pose.npz", 1, seed=7)
        super().prepare(folder, run)


COMMANDS: tuple[type[Job], ...] = (
    Image, ImageOverwrite, Video, VideoOverwrite, Batch, ConvertOurs, ConvertDiffusers, ConvertComfy, ExportFile,
    ExportPictures, ExportOpenPose, ExportFresh, DrawFile, DrawFolder, Retarget,
)  # fmt: skip
