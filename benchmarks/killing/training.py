"""The programs of `training/`, downloads, and a long computed clip, each with a small piece of work."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

from killing.commands import Runner, Sdpose
from killing.engine import ROOT, Job

TRAINING = ROOT / "training"
sys.path += [str(ROOT / "tests" / "support"), str(ROOT / "benchmarks")]  # tiny models, drawn people, the local hub

PASSING = ("seconds", "time", "finished", "downloaded", "created", "date", "throughput", "environment", "host")
"""Parts of keys whose values differ from run to run."""


def without_times(value: object) -> object:
    """JSON without the entries that tell times."""
    if isinstance(value, dict):
        kept = {key: inner for key, inner in value.items() if not any(word in key for word in PASSING)}
        return {key: without_times(inner) for key, inner in kept.items()}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


class Clip(Job):
    """A long clip of many chunks, or with the preview the file given by --video."""

    name, weight = "clip", 8
    modules = ("sdpose_core.annotate.clip", "av", "scipy.ndimage")
    video: Path | None = None

    def prepare(self, folder: Path, run: Runner) -> None:
        from synthetic_clip import SyntheticClip

        SyntheticClip.make(folder / "in" / "clip.json", 400)

    def argv(self, folder: Path) -> list[list[str]]:
        if self.video:
            words = ["video", str(self.video.resolve()), "-o", str(folder / "out"), "--model", "preview"]
            return [["-m", "sdpose_core.cli", *words, "--chunk", "16"]]
        return [[str(Path(__file__).with_name("clip.py")), str(folder / "in" / "clip.json"), str(folder / "out")]]


class Program(Job):
    """A program of `training/` on drawn people."""

    script = ""
    words: tuple[str, ...] = ()
    modules: tuple[str, ...] = ("cv2", "sdpose_core.model.network", "accelerate", "diffusers", "faster_coco_eval")

    def prepare(self, folder: Path, run: Runner) -> None:
        from drawn_people import make_people

        make_people(folder / "in" / "people")

    def argv(self, folder: Path) -> list[list[str]]:
        words = (word.format(**{"in": folder / "in", "out": folder / "out"}) for word in self.words)
        return [[str(TRAINING / self.script), *words]]

    def variables(self) -> dict[str, str]:
        return {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}

    def digest(self, file: Path) -> str:
        if file.suffix != ".json":
            return super().digest(file)
        return json.dumps(without_times(json.loads(file.read_text("utf-8"))), sort_keys=True)


class Train(Program):
    name, weight, script = "train", 3, "train.py"
    words = (
        "--recipe", str(TRAINING / "recipes" / "debug_cpu.toml"), "--data.root", "{in}/people", "--out", "{out}/run",
        "--resume", "auto", "--log.tensorboard", "off", "--validation.people", "4", "--stages.0.samples", "64",
        "--stages.1.samples", "16", "--checkpoints.every", "2",
    )  # fmt: skip
    growing = ("out/run/log.jsonl", "out/run/environment.json", "out/run/checkpoints/*", "out/run/curve.png",
               "out/run/weights/*", "out/run/pictures/*")  # fmt: skip

    def digest(self, file: Path) -> str:
        """Losses and weights; states are compared by what is trained from them."""
        if file.name == "log.jsonl":
            lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
            steps = [line for line in lines if line["kind"] == "step"]
            return str([(line["step"], line["heatmap_loss"], line["gradient_norm"]) for line in steps])
        if (
            file.parent.parent.name == "checkpoints"
            or file.suffix in (".png", ".md")
            or file.name == "environment.json"
        ):
            return ""
        return super().digest(file)


class Evaluate(Program):
    name, weight, script = "evaluate", 4, "evaluate.py"
    words = ("--checkpoint", "{in}/tiny.safetensors", "--benchmark", "custom", "--data.root", "{in}/people", "--out",
             "{out}/result.json", "--batch", "1")  # fmt: skip
    growing = ("out/result.parts/*",)

    def prepare(self, folder: Path, run: Runner) -> None:
        import tiny

        super().prepare(folder, run)
        tiny.make_checkpoint(folder / "in" / "tiny.safetensors", head_std=0.001)


class SyntheticPeople(Program):
    name, weight, script = "make_synthetic_people", 3, "make_synthetic_people.py"
    words = ("--count", "6", "--val", "2", "--out", "{out}", "--size", "96x128", "--workers", "2")
    growing = ("out/records.jsonl", "out/images/*")
    modules = ("cv2", "torch")
    why_not = "" if find_spec("anny") else "the package anny (extra `train`) is not installed"


class StyledPictures(Program):
    name, weight, script = "make_coco_ood", 4, "make_coco_ood.py"
    words = ("--style", "sketch", "--data.root", "{in}/people", "--out", "{out}")
    modules = ("cv2", "sdpose_core.images", "sdpose_core.batch.shards")


class Download(Sdpose):
    name, weight = "download", 4
    words = ("download", "body", "--to", "{out}/body")
    growing = ("out/body/.sdpose_download/*",)
    modules = ("sdpose_core.cli.main",)

    def prepare(self, folder: Path, run: Runner) -> None:
        from fake_hub import serve

        sizes = {
            "unet/diffusion_pytorch_model": 30_000_000,
            "vae/diffusion_pytorch_model": 4_000_000,
            "decoder/decoder": 999,
        }
        files = {f"{name}.safetensors": bytes(size) for name, size in sizes.items()}
        files |= {f"{name}/config.json": b"{}" for name in ("unet", "vae")}
        self._serving = serve({"teemosliang/SDPose-Body": files})
        hub = self._serving.__enter__()
        hub.handle_error = lambda *_: None  # killed clients
        self._url = hub.url

    def variables(self) -> dict[str, str]:
        return {"HF_ENDPOINT": getattr(self, "_url", ""), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}

    def digest(self, file: Path) -> str:
        if file.name != "sdpose_download.json":
            return super().digest(file)
        return json.dumps(without_times(json.loads(file.read_text("utf-8"))))


OTHERS: tuple[type[Job], ...] = (Clip, Train, Evaluate, SyntheticPeople, StyledPictures, Download)
