"""Reads the arrays of an `.npz` from anywhere: each header is checked before its data are decompressed.

NumPy's reader trusts the headers. Damage gives it a dozen kinds of errors, and a small file can ask for any amount of
memory. Here every fault is one `InputError`, and nothing is allocated that the size of the file cannot justify.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from .errors import InputError, one_line, reading
from .files import ZIP, NotRegular, kind_of, open_regular

MAX_BYTES = 8 << 30
"""Of all arrays of a file together: 24 hours at 30 frames per second of two people with 133 points."""

_MAX_RATIO = 1100
"""Deflate never compresses better than 1:1032."""
_MAX_HEADER = 10_000
"""Bytes, as in NumPy."""
_BLOCK = 1 << 22

_HEADER = re.compile(
    rb"\{\s*'descr':\s*'([<>|=]?[A-Za-z?])([0-9]{0,8})',\s*'fortran_order':\s*(True|False),"
    rb"\s*'shape':\s*\(((?:[0-9]{1,18}(?:,\s*[0-9]{1,18}){0,7},?)?)\),?\s*\}\s*"
)
_KINDS = {"b": (1,), "?": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}
"""Types of numbers that are read -> their sizes in bytes."""

_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, ValueError, RuntimeError, OverflowError, OSError
)  # fmt: skip
"""Raised by `zipfile` for damaged, encrypted and unknown archives."""


def read_npz(source: Path | bytes, where: str, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of numbers and texts, by name.

    Args:
        source: a file, or its bytes.
        where: what to call it in errors.
        names: those to read, if they are there; None: all.

    Raises `InputError` for a file that is missing, damaged, of another kind, or too large; for objects and other types.
    """
    try:
        with _opened(source) as handle:
            size = handle.seek(0, io.SEEK_END)
            with zipfile.ZipFile(handle) as archive:
                members = _members(archive, size, names)
                return {name: _read_member(archive, info) for name, info in members.items()}
    except _Refused as error:
        raise InputError(f"{where} cannot be read as .pose.npz: {error}") from None
    except FileNotFoundError:
        raise InputError(f"{where}: no such file") from None
    except (IsADirectoryError, NotRegular):
        raise InputError(f"{where} is not a file: expected a .pose.npz") from None
    except MemoryError:
        raise InputError(f"{where}: its arrays do not fit into memory: free some, or split the clip") from None
    except _DAMAGE as error:
        if isinstance(source, Path) and (kind := kind_of(source)) != ZIP:
            with reading(where):
                source.open("rb").close()
            kind = kind or "of an unknown kind"
            raise InputError(f"{where} is {kind}: expected a .pose.npz, as `sdpose` writes it") from None
        reason = one_line(error)
        raise InputError(f"{where} cannot be read as .pose.npz ({reason}): it is damaged or of another kind") from None


class _Refused(Exception):
    """Why a readable archive is refused, and what was expected."""


def _opened(source: Path | bytes) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else open_regular(source)


def _members(archive: zipfile.ZipFile, size: int, names: Collection[str] | None) -> Mapping[str, zipfile.ZipInfo]:
    """The entries of the wanted arrays, whose stated sizes are possible for a file of `size` bytes."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if names is not None and name not in names:
            continue
        if name in found:
            raise _Refused(f"{name} is in it twice: write it again")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _Refused(f"{name} is compressed by method {info.compress_type}: write it with numpy.savez_compressed")
        found[name] = info
    packed = sum(info.compress_size for info in found.values())
    for name, info in found.items():
        if packed > size or info.file_size > _MAX_RATIO * info.compress_size + _MAX_HEADER:
            raise _Refused(f"{name} states {info.file_size:,} bytes, more than the file can hold: it is damaged")
    if (total := sum(info.file_size for info in found.values())) > MAX_BYTES:
        raise _Refused(f"its arrays have {total:,} bytes, the limit is {MAX_BYTES:,}: split the clip")
    return found


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array, after its header was found to agree with the size of the entry."""
    name = info.filename.removesuffix(".npy")
    with archive.open(info) as file:
        header = _read_header(file, name)
        dtype, shape, fortran = _parse_header(header, name)
        stated = math.prod(shape) * dtype.itemsize
        if stated != (there := info.file_size - len(header)):
            raise _Refused(
                f"{name} states {stated:,} bytes (shape {shape} of {dtype}), but has {there:,}: it is damaged"
            )
        array = np.empty(shape, dtype, order="F" if fortran else "C")
        if stated:
            _fill(array.ravel(order="K").view(np.uint8), file)
        if file.read(1):  # also compares the checksum
            raise _Refused(f"{name} has more data than it states: it is damaged")
        array.setflags(write=False)  # so that a sequence need not copy it
        return array


def _fill(content: np.ndarray, file: IO[bytes]) -> None:
    for start in range(0, len(content), _BLOCK):
        block = content[start : start + _BLOCK]
        data = file.read(len(block))
        if len(data) != len(block):
            raise EOFError("the data end too early")
        block[:] = np.frombuffer(data, np.uint8)


def _read_header(file: IO[bytes], name: str) -> bytes:
    """The dict at the beginning of an array, as text."""
    start = file.read(8)
    form = {b"\x93NUMPY\1\0": "<H", b"\x93NUMPY\2\0": "<I", b"\x93NUMPY\3\0": "<I"}.get(start)
    if form is None:
        raise _Refused(f"{name} is not a NumPy array: expected the arrays of a .pose.npz")
    (length,) = struct.unpack(form, file.read(struct.calcsize(form)))
    if length > _MAX_HEADER:
        raise _Refused(f"{name} has a header of {length:,} bytes, the limit is {_MAX_HEADER:,}: it is damaged")
    text = file.read(length)
    if len(text) != length:
        raise EOFError("the header ends too early")
    return start + struct.pack(form, length) + text


def _parse_header(header: bytes, name: str) -> tuple[np.dtype, tuple[int, ...], bool]:
    """Type, shape and whether the order is Fortran's."""
    text = header[10:] if header[6] == 1 else header[12:]
    match = _HEADER.fullmatch(text)
    if match is None:
        raise _Refused(f"{name} has a header that cannot be read: expected an array of numbers or a text")
    order, size = match[1].decode(), int(match[2] or 1)
    if order[-1] == "O":
        raise _Refused(f"it holds Python objects, which are never opened: found them in {name}, expected numbers")
    if order[-1] != "U" and size not in _KINDS.get(order[-1], ()):
        raise _Refused(f"{name} has the type {(match[1] + match[2]).decode()!r}: expected numbers or a text")
    shape = tuple(int(length) for length in match[4].replace(b",", b" ").split())
    return np.dtype(f"{order}{size}" if order[-1] != "?" else "?"), shape, match[3] == b"True"
