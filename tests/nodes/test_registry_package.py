"""What the ComfyUI registry's package holds: `.comfyignore` leaves out what the nodes do not need, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pack_loading import FAKE_COMFY, FOLDER_NAME
from paths import ROOT, SUPPORT
from PIL import Image

LEFT_OUT = ("tests", "training", "benchmarks", ".github", ".ci")


def git_files(*options: str) -> set[str]:
    done = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("needs a git checkout")
    return set(done.stdout.split("\0")) - {""}


@pytest.fixture(scope="module")
def packaged() -> list[str]:
    """The files of the package; the rules are those of .gitignore, so git can say which ones are left out."""
    return sorted(git_files() - git_files("--cached", "--ignored", "--exclude-from=.comfyignore"))


def test_tests_training_and_pictures_of_the_docs_stay_out(packaged: list[str]) -> None:
    assert not [file for file in packaged if file.startswith(tuple(f"{folder}/" for folder in LEFT_OUT))]
    assert not [file for file in packaged if file.startswith("docs/") and not file.endswith(".md")]
    for needed in ("LICENSE", "NOTICE", "README.md", "requirements.txt", "pyproject.toml"):
        assert needed in packaged
    for folder in ("nodes", "sdpose_core", "web", "locales", "workflows", "subgraphs"):
        assert {file for file in git_files() if file.startswith(f"{folder}/")} <= set(packaged), folder


RUN = """
import sys
sys.path[:0] = {paths!r}
import folder_paths
from pathlib import Path
folder_paths.use(Path({base!r}))
from pack_loading import load_pack, nodes_of
import numpy as np, torch
from PIL import Image
node = nodes_of(load_pack(Path({pack!r})))["SDPoseAnnotator"]
schema = node.define_schema()
values = {{own.id: own.default for own in schema.inputs if not own.optional and own.default is not None}}
image = torch.from_numpy(np.asarray(Image.open({picture!r}).convert("RGB")).copy()).float()[None] / 255
print("drawn", bool(node.execute(image=image, **values).args[0].any()))
"""


@pytest.mark.slow
def test_the_nodes_run_from_the_package_alone(packaged: list[str], tmp_path: Path) -> None:
    pack = tmp_path / "custom_nodes" / FOLDER_NAME
    for file in packaged:
        (pack / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, pack / file)
    paths = [str(FAKE_COMFY), str(SUPPORT)]
    code = RUN.format(
        paths=paths, base=str(tmp_path), pack=str(pack), picture=str(ROOT / "tests" / "data" / "astronaut.png")
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "drawn True", done.stderr[-2000:]


def test_icon_and_banner_have_the_registrys_sizes() -> None:
    with Image.open(ROOT / "docs" / "icon.png") as icon, Image.open(ROOT / "docs" / "banner.jpg") as banner:
        assert icon.width == icon.height <= 400
        assert banner.width * 9 == banner.height * 21
