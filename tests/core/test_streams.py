"""Output that cannot be encoded, or that nobody reads, does not end the work."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from sdpose_core.streams import CLOSED_EARLY, lasting_streams


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def text_file(encoding: str, errors: str = "strict") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors, newline="")


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("cp1252", b"\\u65e5\xe9\\udce9\n"),
        ("ascii", b"\\u65e5\\xe9\\udce9\n"),
        ("utf-8", b"\xe6\x97\xa5\xc3\xa9\\udce9\n"),
        ("shift_jis", b"\x93\xfa\\xe9\\udce9\n"),
    ],
)
def test_what_cannot_be_encoded_is_escaped(monkeypatch: pytest.MonkeyPatch, encoding: str, written: bytes) -> None:
    streams = [text_file(encoding), text_file(encoding)]
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, stream)
    with lasting_streams() as lasting:
        for stream in (sys.stdout, sys.stderr):
            print("日é\udce9", file=stream)
    assert lasting.status(0) == 0
    assert [stream.buffer.getvalue() for stream in streams] == [written, written]
    assert [sys.stdout, sys.stderr] == streams


def test_names_keep_their_bytes_where_the_stream_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = text_file("utf-8", "surrogateescape")
    monkeypatch.setattr(sys, "stdout", stream)
    with lasting_streams():
        print("caf\udce9")
    assert stream.buffer.getvalue() == b"caf\xe9\n"


def test_a_full_disk_is_one_line_and_the_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(sys, "stderr", errors)
    with lasting_streams() as streams:
        print("a report")
        print("more of it")
        assert streams.status(0) == 1
        assert streams.status(2) == 2
    assert errors.getvalue().splitlines()[0] == "the output could not be written: No space left on device"


def test_streams_that_are_closed_take_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with lasting_streams() as streams:
        print("a report")
        sys.stderr.write("a note")
        assert streams.status(0) == 0
    assert sys.stdout is None


@pytest.mark.skipif(os.name == "nt", reason="a pipe of POSIX")
def test_a_reader_that_ended_first(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom tqdm import tqdm\n"
        "from sdpose_core.streams import lasting_streams\n"
        "with lasting_streams() as streams:\n"
        "    for number in tqdm(range(50), file=sys.stderr, mininterval=0):\n"
        "        print(number, 'x' * 10000)\n"
        "    Path(sys.argv[1]).write_text('done')\n"
        "sys.exit(streams.status(0))"
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "work")], stdout=write, stderr=write)
    os.close(write)
    assert done.returncode == CLOSED_EARLY
    assert (tmp_path / "work").read_text() == "done"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_help_on_a_full_disk_is_no_success() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sdpose_core.cli", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    assert (done.returncode, done.stderr) == (1, "the output could not be written: No space left on device\n")
