"""Pipes and devices, which block or never end: refused wherever a file is read, except those of the shell."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sdpose_core.errors import InputError
from sdpose_core.files import is_sealed, kind_of, sha256_of
from sdpose_core.images import read_image
from sdpose_core.npz_files import read_npz
from sdpose_core.origins import file_identity, read_mark, weights_fingerprint
from sdpose_core.resumable import DamagedPiece, read_piece
from sdpose_core.texts import read_json, read_json_lines, read_text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize(
    "read",
    [
        read_text, read_json, lambda path: list(read_json_lines(path)), sha256_of, is_sealed, file_identity,
        lambda path: weights_fingerprint([path]), lambda path: read_npz(path, "it"), read_image, read_mark, kind_of,
        lambda path: read_mark(path.rename(path.with_suffix(".mp4"))), lambda path: read_piece(path, ""),
    ],
)  # fmt: skip
def test_a_pipe_is_never_waited_for(read: Callable, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with contextlib.suppress(InputError, OSError, DamagedPiece):
        assert not read(tmp_path / "a.json")


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="no /dev/fd on this system")
def test_what_the_shell_passes_on_is_read(tmp_path: Path) -> None:
    read, write = os.pipe()
    with open(read, "rb"):
        with open(write, "wb") as file:
            file.write(b"a.png\n")
        assert read_text(f"/dev/fd/{read}") == "a.png\n"
        with pytest.raises(InputError, match="not a regular file"):
            file_identity(f"/dev/fd/{read}")
