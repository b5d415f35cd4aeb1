"""Downloads from a hub that lies: nothing is written outside the target, believed unchecked, or read without end."""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_hub
import pytest

from sdpose_core.checkpoints import hub as hub_module
from sdpose_core.checkpoints.download import download, plan
from sdpose_core.checkpoints.published import KNOWN, UNFINISHED, KnownCheckpoint
from sdpose_core.checkpoints.records import RECORD, downloaded_from
from sdpose_core.cli.main import main
from sdpose_core.errors import DownloadError

REPO, WEIGHTS, CONFIG = "teemosliang/SDPose-Body", "unet/model.safetensors", "unet/config.json"
SHA = "a" * 64
FILES = {WEIGHTS: bytes(range(256)) * 40, CONFIG: b"{}", "README.md": b"card"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_hub.FakeHub]:
    import huggingface_hub.file_download

    with fake_hub.serve({REPO: dict(FILES)}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(huggingface_hub.file_download.time, "sleep", lambda _: None)
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A target in a folder of its own, so that whatever leaves it is seen."""
    return tmp_path / "place" / "deep" / "target"


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def refused(target: Path, *words: str) -> str:
    """The message of a download that is refused as a whole: nothing is written."""
    root = target.parents[2]
    before = everything(root)
    with pytest.raises(DownloadError) as caught:
        download("body", target)
    assert everything(root) == before
    message = str(caught.value)
    assert "\n" not in message and "\x1b" not in message
    for word in words:
        assert word in message, message
    return message


def entry(name: Any, size: Any = 2, **more: Any) -> dict[str, Any]:
    return {"rfilename": name, "size": size, **more}


@pytest.mark.parametrize(
    "name",
    [
        "unet/../../../home/.ssh/authorized_keys", "unet/../../x.json", "unet/../unet/x.json", "unet//x.json",
        "unet/./x.json", "unet/a\\..\\..\\b.json", "unet/a\\b.json", "unet/C:x.json", "unet/.hidden.json",
        "unet/.git/config", "unet/.bashrc", "unet/nul\0.json", "unet/line\n.json", "unet/\x1b[31m.json",
        "unet/\u202egpj.json", "unet/~/x.json", "unet/lone\ud800.json", "unet/" + "x" * 300 + ".json",
        "unet/" + "x/" * 200 + "y.json", "LICENSE/../../../x", "unet/",
    ],
)  # fmt: skip
def test_one_name_that_is_no_plain_name_refuses_everything(hub: fake_hub.FakeHub, target: Path, name: str) -> None:
    hub.listed = [entry(name)]
    refused(target, REPO)
    assert hub.log == []


@pytest.mark.parametrize("name", ["../../home/.ssh/authorized_keys", "/etc/cron.d/x", "C:\\x.json", ".bashrc", "a\0b"])
def test_names_that_nobody_wants_are_left_alone(hub: fake_hub.FakeHub, target: Path, name: str) -> None:
    hub.listed = [entry(name), entry("unet/pickle.bin")]
    download("body", target)
    assert everything(target) == {*FILES, "unet", RECORD}
    assert everything(target.parents[2]) - everything(target) >= {"place", "place/deep", "place/deep/target"}


def test_a_single_file_is_found_by_its_name_but_not_outside(hub: fake_hub.FakeHub, target: Path) -> None:
    file = "sdpose_wholebody_fp16.safetensors"
    hub.repos["Comfy-Org/SDPose"] = {f"../../{file}": b"x"}
    with pytest.raises(DownloadError, match="lies outside"):
        download("wholebody-comfy", target)
    hub.repos["Comfy-Org/SDPose"] = {f"/tmp/{file}": b"x"}
    with pytest.raises(DownloadError, match="lies outside"):
        download("wholebody-comfy", target)


@pytest.mark.parametrize(
    ("names", "word"),
    [
        (["unet/Config.json"], "place is taken"), (["unet/a.json", "unet/A.JSON", "unet/a.json"], "place is taken"),
        (["unet/config.json/x.json"], "place is taken"), (["unet/stra\u00dfe.json", "unet/STRASSE.json"], "taken"),
        (["unet/e\u0301.json", "unet/\u00e9.json"], "taken"),
    ],
)  # fmt: skip
def test_names_that_are_one_file_somewhere(hub: fake_hub.FakeHub, target: Path, names: list[str], word: str) -> None:
    hub.listed = [entry(name) for name in names]
    refused(target, word)


@pytest.mark.parametrize("path", [(RECORD,), (RECORD.replace("sdp", "SDP"),), (RECORD, "x.json")])
def test_the_name_of_our_record_is_ours(
    hub: fake_hub.FakeHub, target: Path, path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN, "body", KnownCheckpoint(REPO, ("*",), "", "free"))
    hub.listed = [entry("/".join(path))]
    refused(target, f"below {RECORD}" if len(path) > 1 else "place is taken")


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        (entry(WEIGHTS, 10), ("without a SHA-256",)),
        (entry(WEIGHTS, 10, lfs=None), ("without a SHA-256",)),
        (entry(WEIGHTS, 10, lfs={"size": 10}), ("without a SHA-256",)),
        (entry(WEIGHTS, 10, lfs={"sha256": "abc", "size": 10}), ("64 hex digits",)),
        (entry(WEIGHTS, 10, lfs={"sha256": "A" * 64, "size": 10}), ("64 hex digits",)),
        (entry(WEIGHTS, 10, lfs={"sha256": SHA + "\n", "size": 10}), ("64 hex digits",)),
        (entry(WEIGHTS, 10, lfs={"sha256": 5, "size": 10}), ("64 hex digits",)),
        (entry(WEIGHTS, 10, lfs=[SHA]), ("a list",)),
        (entry(WEIGHTS, 10, lfs={"sha256": SHA, "size": 11}), ("certain size",)),
        (entry(WEIGHTS, None, lfs={"sha256": SHA}), ("certain size", "None")),
        (entry(WEIGHTS, -1, lfs={"sha256": SHA}), ("certain size", "-1")),
        (entry(WEIGHTS, 1e300, lfs={"sha256": SHA}), ("certain size",)),
        (entry(WEIGHTS, True, lfs={"sha256": SHA}), ("certain size",)),
        (entry(WEIGHTS, "10", lfs={"sha256": SHA}), ("certain size",)),
        (entry(WEIGHTS, 10**30, lfs={"sha256": SHA}), ("50,000,000,000",)),
        (entry(CONFIG, 10_000_001), ("without a SHA-256", "10,000,000")),
        (entry(CONFIG, None), ("certain size",)),
        (entry(None), ("expected entries with names",)),
        (entry(["unet/x.json"]), ("expected entries with names",)),
    ],
)
def test_entries_that_cannot_be_trusted(
    hub: fake_hub.FakeHub, target: Path, listed: dict[str, Any], words: tuple[str, ...]
) -> None:
    hub.listed = [listed]
    refused(target, *words)


@pytest.mark.parametrize("sha", [None, 5, "main", "0" * 39, "0" * 41, "../" * 13 + "x", "Z" * 40, "0" * 40 + "\n"])
def test_the_commit_is_40_hex_digits(hub: fake_hub.FakeHub, target: Path, sha: Any) -> None:
    hub.sha = sha
    refused(target, "40 hex digits")


def test_a_pinned_commit_is_asked_for_and_nothing_else_is_taken(
    hub: fake_hub.FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN, "body", KnownCheckpoint(REPO, ("unet/*",), "", "free", "f" * 40))
    refused(target, "f" * 40, fake_hub.COMMIT)
    hub.sha = "f" * 40
    assert plan("body", target).revision == "f" * 40


@pytest.mark.parametrize(
    "answer",
    [
        b"<!doctype html><html>log in first</html>", b"", b"\xff\xfe\0", b"null", b"[]", b'"x"', b"{}", b"1" * 5000,
        b'{"sha": "' + b"0" * 40 + b'", "siblings": {}}', b'{"sha": "' + b"0" * 40 + b'", "siblings": [5]}',
        b'{"sha": "' + b"0" * 40 + b'", "siblings": []}', b"[" * 100_000, b'{"sha": "' + b"x" * 5_000_000,
    ],
)  # fmt: skip
def test_an_answer_of_another_kind_is_one_line(hub: fake_hub.FakeHub, target: Path, answer: bytes) -> None:
    hub.answer = answer
    assert len(refused(target, REPO)) < 400


def test_a_hundred_thousand_files(hub: fake_hub.FakeHub, target: Path) -> None:
    hub.listed = [entry(f"unet/{number}.json") for number in range(100_000)]
    refused(target, "4,194,304 bytes")
    hub.listed = [entry(f"unet/{number}.json") for number in range(300)]
    refused(target, "303 files", "at most 200")


@pytest.mark.parametrize("file", [WEIGHTS, CONFIG])
def test_a_file_that_never_ends_is_cut_off(hub: fake_hub.FakeHub, target: Path, file: str) -> None:
    sent = itertools.count()
    hub.sent[file] = (bytes(1 << 20) for _ in sent)
    with pytest.raises(DownloadError, match="more than the stated"):
        download("body", target)
    assert next(sent) < 60  # the client reads in pieces of 10 MB
    left = {path for path in everything(target) if not path.endswith(".part")}
    assert not {file, RECORD} & left and sum(path.stat().st_size for path in target.rglob("*.part")) == 0


def test_a_file_of_another_size_or_content(hub: fake_hub.FakeHub, target: Path) -> None:
    for content, word in ((b"short", "could not be fetched"), (b"!" * len(FILES[WEIGHTS]), "SHA-256")):
        hub.sent[WEIGHTS] = [content]
        with pytest.raises(DownloadError, match=word):
            download("body", target)
        assert not (target / WEIGHTS).exists()
    hub.sent.clear()
    assert (download("body", target) / WEIGHTS).read_bytes() == FILES[WEIGHTS]


def test_a_token_goes_to_no_other_server(hub: fake_hub.FakeHub, target: Path) -> None:
    with fake_hub.serve({REPO: dict(FILES)}) as other:
        hub.moved[WEIGHTS] = f"{other.url}/{REPO}/resolve/{fake_hub.COMMIT}/{WEIGHTS}"
        download("body", target)
        assert other.tokens == [None]
    assert set(hub.tokens) == {"Bearer hf_secret"}


def test_nobody_but_the_mirror_is_asked(hub: fake_hub.FakeHub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client would fetch a list of programs from its own server, to tell which one runs it."""
    import socket

    agents = pytest.importorskip("huggingface_hub.utils._detect_agent")
    monkeypatch.setattr(agents, "_registry", None)
    asked, look_up = [], socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: asked.append(host) or look_up(host, *rest, **more)
    )
    download("body", target)
    assert {*asked} <= {"127.0.0.1"}


@pytest.mark.parametrize("place", ["/", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://[", "//", "gopher:x"])
def test_redirects_that_lead_nowhere(hub: fake_hub.FakeHub, target: Path, place: str) -> None:
    hub.moved[WEIGHTS] = f"{hub.url}/{REPO}/resolve/{fake_hub.COMMIT}/{WEIGHTS}" if place == "/" else place
    with pytest.raises(DownloadError, match="could not be fetched") as caught:
        download("body", target)
    assert "\n" not in str(caught.value)
    assert not (target / WEIGHTS).exists()


@pytest.mark.parametrize("body", [b"[1]", b'{"errors": 5}', b"\x1b[31mred"])
@pytest.mark.parametrize("part", ["list", "file"])
def test_refusals_of_any_form_are_one_line(hub: fake_hub.FakeHub, target: Path, body: bytes, part: str) -> None:
    hub.refusal = body

    def refuse(_: Any) -> None:
        hub.refuse = 500

    hub.refuse = 500 if part == "list" else None
    with pytest.raises(DownloadError, match="could not be fetched") as caught:
        download("body", target, on_plan=refuse)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize("part", ["list", "file"])
def test_a_server_that_says_nothing_is_a_timeout(
    hub: fake_hub.FakeHub, target: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(hub_module, "TIMEOUT", 0.05)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.05)
    hub.silent = part == "list"
    with pytest.raises(DownloadError, match="timed out"):
        download("body", target, on_plan=lambda _: setattr(hub, "silent", True))


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("http://hub.example", "https://"), ("http://127.0.0.1.example", "https://"), ("http://10.0.0.1", "https://"),
        ("file:///etc", "such as https"), ("ftp://hub.example", "https://"), ("hub.example", "such as https"),
        ("https://", "such as https"), ("https://[", "such as https"), ("https://hub.example:x", "such as https"),
        ("https://user:word@hub.example", "such as https"), ("https://hub.example/\n", "such as https"),
        ("https://hub.example/?a=", "such as https"), ("javascript:1", "such as https"),
    ],
)  # fmt: skip
def test_addresses_that_are_not_asked(target: Path, address: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(DownloadError, match="HF_ENDPOINT") as caught:
        download("body", target)
    assert word in str(caught.value) and "\n" not in str(caught.value)


def test_an_address_may_have_a_path_and_a_slash_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("https://mirror.example/hub/", "http://localhost:80/", "http://[::1]:8080"):
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert hub_module.endpoint() == address.rstrip("/")


@pytest.mark.parametrize("place", [UNFINISHED, "unet", CONFIG, RECORD])
def test_nothing_is_written_through_a_link(hub: fake_hub.FakeHub, target: Path, tmp_path: Path, place: str) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "precious.part").write_text("mine")
    (target / place).parent.mkdir(parents=True)
    (target / place).symlink_to(own if place in (UNFINISHED, "unet") else own / "precious.part")
    refused(target, str(place), "is a link to")
    assert (own / "precious.part").read_text() == "mine"
    assert hub.log == []


def test_a_broken_link_is_a_link(hub: fake_hub.FakeHub, target: Path, tmp_path: Path) -> None:
    (target / "unet").mkdir(parents=True)
    (target / CONFIG).symlink_to(tmp_path / "new.json")
    refused(target, "is a link to")


def test_a_link_to_the_same_file_is_read(hub: fake_hub.FakeHub, target: Path, tmp_path: Path) -> None:
    (target / "unet").mkdir(parents=True)
    (tmp_path / "elsewhere").write_bytes(FILES[WEIGHTS])
    (target / WEIGHTS).symlink_to(tmp_path / "elsewhere")
    download("body", target)
    assert (target / WEIGHTS).is_symlink()


def test_only_our_own_unfinished_files_are_removed(hub: fake_hub.FakeHub, target: Path) -> None:
    (target / UNFINISHED).mkdir(parents=True)
    (target / UNFINISHED / "notes.txt").write_text("mine")
    refused(target, "notes.txt", "does not belong")
    (target / UNFINISHED / "notes.txt").rename(target / UNFINISHED / "other.part")
    download("body", target)
    assert not (target / UNFINISHED).exists()


def test_what_stands_in_the_way_is_one_line(hub: fake_hub.FakeHub, target: Path) -> None:
    (target / CONFIG).mkdir(parents=True)
    with pytest.raises(DownloadError, match="could not be fetched") as caught:
        download("body", target)
    assert "\n" not in str(caught.value)
    assert not (target / RECORD).exists()


@pytest.mark.parametrize(
    "content", [b"{", b"\xff\xfe\xff", b"[]", b'{"files": {}, "repo": 5, "revision": 1}',
                b'{"files": {"unet/config.json": 5}, "repo": "x", "revision": "y"}'],
)  # fmt: skip
def test_a_damaged_record_is_written_again(
    hub: fake_hub.FakeHub, target: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    download("body", target)
    whole = (target / RECORD).read_bytes()
    (target / RECORD).write_bytes(content)
    hub.log.clear()
    with caplog.at_level(logging.WARNING):
        text = downloaded_from(target)
        download("body", target)
    assert RECORD in caplog.text and text == ""
    assert {name for _, name, _ in hub.log} == {CONFIG, "README.md"}
    again, before = json.loads((target / RECORD).read_bytes()), json.loads(whole)
    assert again["files"] == before["files"]


def test_the_command_says_it_in_one_line(
    hub: fake_hub.FakeHub, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.listed = [entry("unet/../../../.ssh/authorized_keys")]
    assert main(["download", "body", "--to", str(target)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("sdpose download: ") and "authorized_keys" in line
    assert os.listdir(target.parents[2]) == []
