"""No command and no import opens a connection; `sdpose download` and `--download` are the only ones that may."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import DATA, ROOT
from video_files import levels, write

from sdpose_core.cli.main import main

pytestmark = pytest.mark.usefixtures("remembered_networks")

RECORDER = """
import sys
def record(event, details):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        with open(FILE, "a") as file:
            print(event, *map(repr, details), file=file)
sys.addaudithook(record)
"""
"""Runs at the start of every Python program, as sitecustomize.py."""

IMPORTS = """
import importlib, pkgutil, sys
for package in ("sdpose_core", "sdpose_training"):
    top = importlib.import_module(package)
    for module in pkgutil.walk_packages(top.__path__, package + "."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ImportError as error:  # an extra that is not installed
                assert str(error).startswith(("No module named", "cannot import")) or "needs the package" in str(error)
from pack_loading import load_pack, nodes_of
import folder_paths
from pathlib import Path
folder_paths.use(Path(HOME))
print(len(nodes_of(load_pack(Path(ROOT)))), "nodes")
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What was asked for; nothing is answered. No weights of this machine are found."""
    addresses: list[object] = []

    def refuse(*address: object, **_: object) -> None:
        addresses.append(address)
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    for name in ("SDPOSE_HOME", "HF_HOME", "XDG_CACHE_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return addresses


def test_no_command_opens_a_connection(asked: list[object], checkpoint: Path, tmp_path: Path) -> None:
    clip, picture, out = write(tmp_path / "clip.mp4", levels(3)), str(DATA / "astronaut.png"), str(tmp_path / "out")
    poses = f"{out}/clip.pose.npz"
    commands = [
        ["doctor"],
        ["image", picture, "-o", out, "--model", "preview"],
        ["image", picture, "-o", f"{out}/sdpose", "--model", str(checkpoint), "--keypoint-set", "coco_17"],
        ["video", str(clip), "-o", out, "--model", "preview"],
        ["batch", str(clip), "-o", f"{out}/batch", "--model", "preview"],
        ["info", poses],
        ["draw", poses, "-o", f"{out}/drawn.mp4"],
        ["export", poses, "--to", "openpose", "-o", f"{out}/exported"],
        ["retarget", poses, "--to", picture, "-o", f"{out}/fitted.pose.npz", "--model", "preview"],
        ["convert", str(checkpoint), f"{out}/folder", "--layout", "diffusers"],
    ]
    for command in commands:
        assert (command[0], main(command), asked) == (command[0], 0, [])


@pytest.mark.parametrize("name", ["ownr/mistyped", "sub/mistyped", "mistyped", "http://127.0.0.1/x.onnx", "//host/x"])
@pytest.mark.parametrize("option", ["--detector", "--model"])
def test_a_mistyped_name_asks_nobody(
    asked: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    assert main(["image", str(DATA / "astronaut.png"), "-o", "out", "--model", "preview", option, name]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if name.split("/")[-1] in line]
    assert len(said) == 1 and asked == []
    assert ("--download" in said[0]) == (option == "--detector" and name == "ownr/mistyped")


@pytest.mark.parametrize("name", ["sub/mistyped", "mistyped", "./ownr/model", "a/b/c"])
def test_download_is_for_names_of_the_hub(
    asked: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    picture = str(DATA / "astronaut.png")
    assert main(["image", picture, "-o", "out", "--model", "preview", "--detector", name, "--download"]) == 1
    assert asked == []


@pytest.mark.slow  # programs that load PyTorch
@pytest.mark.parametrize("program", ["imports", "bench"])
def test_no_program_opens_a_connection(tmp_path: Path, program: str) -> None:
    file = tmp_path / "asked.txt"
    (tmp_path / "sitecustomize.py").write_text(f"FILE = {str(file)!r}\n{RECORDER}")
    places = [tmp_path, ROOT, ROOT / "training", ROOT / "tests" / "support", ROOT / "tests" / "fake_comfy"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), "HF_HOME": str(tmp_path)}
    imports = f"HOME, ROOT = {str(tmp_path)!r}, {str(ROOT)!r}\n{IMPORTS}"
    bench = (
        "from sdpose_core.cli.main import main; print(main(['bench', '--tiny', '--model', 'body', '--device', 'cpu']))"
    )
    code = {"imports": imports, "bench": bench}[program]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith((" nodes\n", "\n0\n"))
    assert not file.exists(), file.read_text()


@pytest.mark.slow
def test_the_recorder_records(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"FILE = {str(tmp_path / 'asked.txt')!r}\n{RECORDER}")
    code = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=True)
    assert "127.0.0.1" in (tmp_path / "asked.txt").read_text()
