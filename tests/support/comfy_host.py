"""A real ComfyUI for tests: started on the CPU with folders of its own, and this pack under a name with a space in it.

It runs with the interpreter `COMFYUI_PYTHON`, or that of `venv` or `.venv` in its folder or beside it, and with the
front end in the folder `COMFYUI_FRONTEND` (`comfyui_frontend_package/static`), or its own. Nothing in its checkout is
written to.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pack_loading import FOLDER_NAME
from paths import GOLDEN, ROOT
from PIL import Image

COMFYUI_PATH = os.environ.get("COMFYUI_PATH")
COMFYUI_FRONTEND = os.environ.get("COMFYUI_FRONTEND")
SCHEMAS = json.loads((GOLDEN / "node_schemas.json").read_text(encoding="utf-8"))


class Server:
    """A running ComfyUI."""

    def __init__(self, base: Path, port: int, process: subprocess.Popen, log: Path) -> None:
        self.base, self.port, self.process, self.log = base, port, process, log

    def call(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            return json.loads(error.read())

    def queue(self, prompt: dict[str, Any]) -> str:
        answer = self.call("/prompt", {"prompt": prompt})
        assert "prompt_id" in answer, answer
        return answer["prompt_id"]

    def wait(self, prompt_id: str, seconds: float = 300) -> dict[str, Any]:
        """The history entry of a prompt that ended; after the queue says so, as the history may lag behind."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            entry = self.call(f"/history/{prompt_id}").get(prompt_id)
            if entry and entry["status"]["status_str"] in ("success", "error"):
                return entry
            time.sleep(0.1)
        raise TimeoutError(f"prompt {prompt_id} did not end; log:\n{self.log.read_text()[-2000:]}")

    def run(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """Outputs of a prompt that succeeds, by node."""
        entry = self.wait(self.queue(prompt))
        assert entry["status"]["status_str"] == "success", entry["status"]["messages"]
        return entry["outputs"]

    def error(self, prompt: dict[str, Any]) -> str:
        """The message of a prompt that fails while it runs."""
        entry = self.wait(self.queue(prompt))
        return next(message["exception_message"] for kind, message in entry["status"]["messages"] if "error" in kind)

    def picture(self, outputs: dict[str, Any], node: str) -> np.ndarray:
        """The last picture that a node showed or saved."""
        found = outputs[node]["images"][-1]
        with Image.open(self.base / found["type"] / found["subfolder"] / found["filename"]) as image:
            return np.asarray(image.convert("RGB"))


def interpreter(comfyui: Path) -> str:
    """The Python that has ComfyUI's packages."""
    found = os.environ.get("COMFYUI_PYTHON")
    candidates = [
        folder / name / "bin" / "python" for folder in (comfyui, comfyui.parent) for name in ("venv", ".venv")
    ]
    return found or next((str(path) for path in candidates if path.exists()), sys.executable)


def make_base(base: Path, inputs: Iterable[Path] = ()) -> Path:
    """ComfyUI's folders below `base`, with this pack, and copies of the files in its input folder."""
    for name in ("input", "output", "temp", "user", "custom_nodes", "models/checkpoints", "models/sdpose"):
        (base / name).mkdir(parents=True)
    (base / "custom_nodes" / FOLDER_NAME).symlink_to(ROOT, target_is_directory=True)
    for file in inputs:
        shutil.copy(file, base / "input")
    return base


@contextlib.contextmanager
def running(base: Path) -> Iterator[Server]:
    """A ComfyUI over the folders below `base`, which may have served before."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    comfyui, log = Path(str(COMFYUI_PATH)).resolve(), base / "comfy.log"
    command = [interpreter(comfyui), str(comfyui / "main.py"), "--cpu", "--listen", "127.0.0.1", "--port", str(port)]
    command += ["--base-directory", str(base), "--database-url", "sqlite:///:memory:", "--disable-api-nodes"]
    command += ["--front-end-root", str(Path(COMFYUI_FRONTEND).resolve())] if COMFYUI_FRONTEND else []
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=base, stdout=out, stderr=subprocess.STDOUT)
    server = Server(base, port, process, log)
    try:
        _wait_until_it_serves(server)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_it_serves(server: Server, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            server.call("/system_stats")
            return
        except OSError:
            assert server.process.poll() is None, server.log.read_text()[-4000:]
            time.sleep(0.5)
    raise TimeoutError(server.log.read_text()[-4000:])


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """A node of a prompt, with the defaults of its schema for what is not given."""
    declared = SCHEMAS.get(kind, {"inputs": {}})["inputs"]
    defaults = {name: entry["default"] for name, entry in declared.items() if "default" in entry}
    return {"class_type": kind, "inputs": {**defaults, **inputs}}
