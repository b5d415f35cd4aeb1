"""Uploads to a hub on this machine: what is sent, what is continued, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub, serve

import push_to_hub
from sdpose_core.errors import DownloadError, InputError
from sdpose_training.fit import hub as uploading
from sdpose_training.fit.folder import RunFolder
from sdpose_training.fit.hub import UploadError, Uploads, prepare, upload
from sdpose_training.recipe.recipe import HubRecipe, recipe_from

MINE = HubRecipe("user/pose")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    from huggingface_hub import constants

    with serve({}) as server:
        server.writers = {"hf_mine"}
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", "hf_mine")
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(uploading.time, "sleep", lambda _seconds: None)
        yield server


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.weights.mkdir(parents=True)
    (folder.weights / "README.md").write_text("---\nlicense: other\n---\n# pose\n")
    (folder.root / "config.toml").write_text('name = "pose"\n')
    (folder.root / "log.jsonl").write_text("{}\n")
    for name, content in (("best", b"best"), ("step-00000004", b"4")):
        (folder.weights / f"{name}.safetensors").write_bytes(content)
    return folder


def test_weights_card_and_recipe_are_sent_to_a_private_repository(hub: FakeHub, run: RunFolder) -> None:
    assert upload(run, MINE) == f"{hub.url}/user/pose"
    assert hub.private == {"user/pose": True}
    sent = hub.repos["user/pose"]
    assert sorted(sent) == ["README.md", "best.safetensors", "config.toml", "step-00000004.safetensors"]
    assert sent["best.safetensors"] == b"best" and sent["README.md"].startswith(b"---\nlicense: other")
    (run.weights / "step-00000004.safetensors").rename(run.weights / "step-00000008.safetensors")
    upload(run, MINE)
    assert sorted(sent)[2:] == ["config.toml", "step-00000008.safetensors"]
    assert not [path for path in run.root.iterdir() if path.name.startswith(".")]


def test_adapters_are_sent_in_a_folder(hub: FakeHub, run: RunFolder) -> None:
    run.adapters.mkdir()
    for step in (4, 8):
        (run.adapters / f"step-{step:08d}.safetensors").write_bytes(b"adapter")
        upload(run, MINE)
        (run.adapters / f"step-{step:08d}.safetensors").unlink()
    sent = hub.repos["user/pose"]
    assert [name for name in sent if "/" in name] == ["adapters/step-00000008.safetensors"]
    assert sent["adapters/step-00000008.safetensors"] == b"adapter" and sent["best.safetensors"] == b"best"


def test_an_upload_that_breaks_off_is_continued(hub: FakeHub, run: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    hub.broken_puts = 40  # the client tries a file several times itself
    with pytest.raises(UploadError):
        upload(run, MINE, pauses=())
    assert not hub.repos["user/pose"]
    hub.broken_puts = 0
    upload(run, MINE, pauses=(1.0,))
    assert len(hub.repos["user/pose"]) == 4


def test_without_a_network_the_run_goes_on(
    hub: FakeHub, run: RunFolder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    uploads = Uploads(run, MINE)
    uploads.start()
    uploads.finish()
    messages = [record.message for record in caplog.records]
    assert sum("next attempt in" in message for message in messages) == 2 * len(uploading.PAUSES)
    assert f"python training/push_to_hub.py {run.root} --repo user/pose" in messages[-1]


@pytest.mark.parametrize(("token", "words"), [("", "hf auth login"), ("hf_other", "may not write there")])
def test_what_prevents_uploads_is_told_before_the_first_step(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, token: str, words: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(UploadError, match=words):
        prepare(MINE)


def test_an_upload_without_a_network_allowed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="^user/pose cannot be uploaded to: HF_HUB_OFFLINE is set: unset it or"):
        prepare(MINE)


@pytest.mark.parametrize("name", ["pose", "user/pose/2", "user/po se", "../pose"])
def test_names_that_no_repository_has(name: str) -> None:
    with pytest.raises(InputError, match="hub.repo: expected a name such as user/my-pose"):
        recipe_from({"hub": {"repo": name}})


def test_the_command(hub: FakeHub, run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert push_to_hub.main([str(run.root), "--repo", "user/shown", "--public"]) == 0
    assert hub.private == {"user/shown": False} and capsys.readouterr().out == f"{hub.url}/user/shown\n"
    assert push_to_hub.main([str(tmp_path / "nothing"), "--repo", "user/shown"]) == 1
    assert "has no weights yet" in capsys.readouterr().err
