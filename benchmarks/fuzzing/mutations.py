"""Ways to damage bytes, JSON, texts, arrays and tensor files. Each takes a random generator and says what it did."""

from __future__ import annotations

import copy
import io
import json
import struct
import zipfile
from typing import Any

import numpy as np

Rng = np.random.Generator
HUGE = int("9" * 400)
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 1.5, 1e308, -1e308, 1e-320, float("nan"), float("inf"), -float("inf"),
    2**31, 2**63, -(2**63), 2**64, HUGE, "", "0", "1", "nan", "-0.0", "person", "../../x.png", "a\0b", "\ud800",
    "x" * 300, "1" * 5000, "\u0663", "é" * 200, [], [[]], {}, [None], [0] * 4, [1, 2, 3], {"": None}, {"x": [1]},
    [[0, 0, 0, 0]], [float("nan")] * 51,
)  # fmt: skip


def pick(rng: Rng, choices: Any) -> Any:
    """One of the choices, which may be of any types."""
    choices = list(choices)
    return choices[int(rng.integers(len(choices)))]


# --- bytes -----------------------------------------------------------------------------------------------------------


def damaged(data: bytes, rng: Rng) -> tuple[bytes, str]:
    """The bytes after one to three changes."""
    if rng.random() < 0.03:
        return b"", "emptied"
    done = []
    for _ in range(int(rng.integers(1, 4))):
        change = pick(rng, (_flip, _flip_at_start, _cut, _insert, _repeat, _fill, _swap, _number, _append))
        data = change(bytearray(data), rng)
        done.append(change.__name__.strip("_"))
    return bytes(data), ", ".join(done)


def _place(data: bytearray, rng: Rng) -> int:
    return int(rng.integers(len(data))) if data else 0


def _span(data: bytearray, rng: Rng) -> slice:
    start = _place(data, rng)
    return slice(start, min(len(data), start + int(rng.integers(1, 64))))


def _flip(data: bytearray, rng: Rng) -> bytearray:
    for _ in range(int(rng.integers(1, 8)) if data else 0):
        data[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return data


def _flip_at_start(data: bytearray, rng: Rng) -> bytearray:
    for _ in range(int(rng.integers(1, 4)) if data else 0):
        data[int(rng.integers(min(len(data), 96)))] ^= 1 << int(rng.integers(8))
    return data


def _cut(data: bytearray, rng: Rng) -> bytearray:
    return data[: _place(data, rng)]


def _insert(data: bytearray, rng: Rng) -> bytearray:
    place = _place(data, rng)
    return data[:place] + bytearray(rng.bytes(int(rng.integers(1, 32)))) + data[place:]


def _repeat(data: bytearray, rng: Rng) -> bytearray:
    span = _span(data, rng)
    return data[: span.stop] + data[span] * int(rng.integers(1, 20)) + data[span.stop :]


def _fill(data: bytearray, rng: Rng) -> bytearray:
    span = _span(data, rng)
    data[span] = pick(rng, (b"\0", b"\xff")) * (span.stop - span.start)
    return data


def _swap(data: bytearray, rng: Rng) -> bytearray:
    a, b = sorted((_place(data, rng), _place(data, rng)))
    return data[b:] + data[a:b] + data[:a]


def _number(data: bytearray, rng: Rng) -> bytearray:
    value = struct.pack(pick(rng, "<>") + "I", pick(rng, (0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 60_000, 0x80000000)))
    place = int(rng.integers(min(len(data), 128))) if data else 0
    data[place : place + 4] = value
    return data


def _append(data: bytearray, rng: Rng) -> bytearray:
    return data + bytearray(rng.bytes(int(rng.integers(1, 200))))


def damaged_chunks(data: bytes, rng: Rng) -> tuple[bytes, str]:
    """A PNG, MP4 or RIFF file with chunks that are swapped, missing, twice or of another size, or a number in one."""
    if data.startswith(b"\x89PNG"):
        start, order, extra = 8, ">", 12
    elif data[:4] == b"RIFF":
        start, order, extra = 12, "<", 8
    elif data[4:8] == b"ftyp":
        start, order, extra = 0, ">", 0
    else:
        return damaged(data, rng)
    chunks, place = [], start
    name_first = data[:4] == b"RIFF"
    while place + 8 <= len(data):
        length = struct.unpack_from(order + "I", data, place + 4 * name_first)[0] + extra
        length += length % 2 if name_first else 0
        chunks.append(data[place : place + max(length, 8)])
        place += max(length, 8)
    at, to = (int(rng.integers(len(chunks))) for _ in range(2))
    way = pick(rng, ("swapped", "missing", "twice", "a number"))
    if way == "swapped":
        chunks[at], chunks[to] = chunks[to], chunks[at]
    elif way == "missing":
        del chunks[at]
    elif way == "twice":
        chunks.insert(to, chunks[at])
    else:
        inner = bytearray(chunks[at])
        number = pick(rng, (0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 60_000, 1 << 24))
        struct.pack_into(order + "I", inner, int(rng.integers(8, max(9, len(inner) - 3))), number) if len(
            inner
        ) > 12 else 0
        chunks[at] = bytes(inner)
    return data[:start] + b"".join(chunks), f"chunk {at} {way}"


# --- JSON and texts --------------------------------------------------------------------------------------------------


def damaged_json(value: Any, rng: Rng) -> tuple[bytes, str]:
    """The value as JSON after changes of its values, keys, lengths, nesting, encoding or bytes."""
    value, done = copy.deepcopy(value), []
    for _ in range(int(pick(rng, (0, 1, 1, 1, 1, 2, 3)))):
        value, what = _changed(value, rng)
        done.append(what)
    text = json.dumps(value)
    if rng.random() < 0.05:
        depth = int(pick(rng, (200, 2_000, 100_000)))
        text, what = "[" * depth + text + "]" * pick(rng, (depth, 0)), f"nested {depth} deep"
        done.append(what)
    if rng.random() < 0.05 and text.startswith("{") and "," in text:
        text = "{" + text[1 : text.index(",")] + "," + text[1:]
        done.append("a key twice")
    return encoded(text, rng, done)


def encoded(text: str, rng: Rng, done: list[str]) -> tuple[bytes, str]:
    """The text in some encoding, seldom with damaged bytes."""
    encoding = pick(rng, ["utf-8"] * 12 + ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "latin-1"])
    data = text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")
    if encoding != "utf-8":
        done.append(encoding)
    if rng.random() < 0.1:
        data, what = damaged(data, rng)
        done.append(what)
    return data, "; ".join(done)


def _nodes(value: Any, path: tuple = ()) -> list[tuple]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in inner for found in _nodes(child, (*path, key)))]


def _changed(value: Any, rng: Rng) -> tuple[Any, str]:
    """The value with one of its parts replaced, removed, repeated, renamed or wrapped."""
    nodes = _nodes(value)
    depths = sorted({len(node) for node in nodes})
    depth = pick(rng, depths)  # by depth first: most nodes are numbers in lists
    path = pick(rng, [node for node in nodes if len(node) == depth])
    if not path:
        way = pick(rng, ("wrapped in a list", "wrapped in an object", "replaced"))
        odd = pick(rng, ODD)
        return {"wrapped in a list": [value], "wrapped in an object": {"x": value}, "replaced": odd}[way], way
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    key, where = path[-1], ".".join(map(str, path))
    way = pick(rng, ("replace", "replace", "replace", "remove", "repeat", "rename"))
    if way == "remove":
        del parent[key]
    elif way == "repeat" and isinstance(parent, list):
        parent[key:key] = [copy.deepcopy(parent[key]) for _ in range(int(pick(rng, (1, 5, 100))))]
    elif way == "rename" and isinstance(parent, dict):
        parent[pick(rng, (f"{key}s", key.upper(), "", "x"))] = parent.pop(key)
    else:
        parent[key] = pick(rng, ODD)
        return value, f"{where} = {str(parent[key])[:30]!r}"
    return value, f"{way} {where}"


def damaged_lines(lines: list[str], odd: list[str], rng: Rng) -> tuple[bytes, str]:
    """Lines of a list after changes; `odd` are lines to put in."""
    lines, done = list(lines), []
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.integers(len(lines) + 1))
        line = pick(rng, odd)
        if rng.random() < 0.2 and lines:
            lines[place - 1] = lines[place - 1] + line
        else:
            lines.insert(place, line)
        done.append(f"line {line[:25]!r}")
    return encoded(pick(rng, ("\n", "\r\n", "\n\n", "\r")).join(lines), rng, done)


def damaged_toml(text: str, rng: Rng) -> tuple[bytes, str]:
    """A recipe after changes of its lines and values."""
    lines, done = text.splitlines(), []
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(lines)))
        way = pick(rng, ("value", "value", "value", "remove", "repeat", "insert"))
        if way == "value" and "=" in lines[place]:
            odd = ("nan", "-inf", "0", "-1", "1e400", "9" * 400, "true", '""', "[]", "{}", "[[1]]", "[1, 'a']", "'x'",
                   "1979-05-27", "[0, 0]", "[-64, 64]", "[1e9, 1e9]", "'\\u0000'", '"""',
                   "[" * 1500 + "]" * 1500, "2.5", "[64]")  # fmt: skip
            lines[place] = lines[place].split("=")[0] + "= " + pick(rng, odd)
        elif way == "remove":
            del lines[place]
        elif way == "repeat":
            lines[place:place] = [lines[place]]
        else:
            odd = ("x = 1", "[a.b]", "[[stages]]", "[model]", "=", "a.b.c = 1", "[stages]", "\0")
            lines.insert(place, pick(rng, odd))
        done.append(f"{way} line {place}")
        lines = lines or [""]
    return encoded("\n".join(lines), rng, done)


# --- arrays and tensors ----------------------------------------------------------------------------------------------


def damaged_npz(arrays: dict[str, np.ndarray], rng: Rng) -> tuple[bytes, str]:
    """The arrays as an .npz after changes of their values, types, shapes or names, or of the bytes of the file."""
    arrays, done = dict(arrays), []
    for _ in range(int(pick(rng, (0, 1, 1, 1, 2)))):
        name = pick(rng, arrays or {"x": 0})
        way = pick(rng, (_odd_values, _odd_values, _odd_type, _odd_shape, _odd_array))
        arrays[name] = way(np.asarray(arrays.get(name, 0)), rng)
        done.append(f"{name}: {way.__name__.strip('_')}")
        if rng.random() < 0.1:
            del arrays[name]
            done.append(f"without {name}")
    buffer = io.BytesIO()
    (np.savez_compressed if rng.random() < 0.5 else np.savez)(buffer, **arrays)
    if rng.random() < 0.06:
        with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as file:
            header = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (50, 1000, 1000), }"
            file.writestr("keypoints.npy", header.ljust(127) + b"\n" + bytes(200_000_000))
        done.append("an array of 200 MB")
    data = buffer.getvalue()
    if rng.random() < 0.2:
        data, what = damaged(data, rng)
        done.append(what)
    return data, "; ".join(done)


def _odd_values(array: np.ndarray, rng: Rng) -> np.ndarray:
    array = np.array(array)
    if array.dtype.kind not in "fiu" or not array.size:
        return array
    floats, whole = (np.nan, np.inf, -np.inf, 1e30, -1e30, -1, 0), (-1, -5, 0, 1, 2**31 - 1, -(2**31))
    odd = floats if array.dtype.kind == "f" else whole
    flat = array.reshape(-1)
    share = pick(rng, (1 / flat.size, 0.1, 1.0))
    flat[rng.random(flat.size) <= share] = pick(rng, odd)
    return array


def _odd_type(array: np.ndarray, rng: Rng) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        texts = ("", "[]", "{}", "null", "coco_17", '{"format_version": 99}', "[" * 5000, "1" * 5000)
        return np.asarray(pick(rng, texts))
    with np.errstate(all="ignore"):
        kind = pick(rng, ("c8", "U8", "S4", "b1", "f2", "f8", "i1", "u8", "m8[s]", "M8[s]", ">f4", "V4"))
        try:
            return array.astype(kind) + {"f8": 0.5, "c8": 1j}[kind] if kind in ("f8", "c8") else array.astype(kind)
        except (TypeError, ValueError):
            return array.astype("U8")


def _odd_shape(array: np.ndarray, rng: Rng) -> np.ndarray:
    way = pick(rng, ("flat", "cut", "empty", "twice", "more", "scalar"))
    if way == "cut" and array.ndim:
        return array[: max(0, len(array) - 1)]
    if way == "empty":
        return array[:0] if array.ndim else np.zeros(0)
    if way == "twice" and array.ndim:
        return np.concatenate([array, array])
    return {
        "more": array[None],
        "scalar": np.asarray(array.reshape(-1)[:1].sum() if array.dtype.kind in "fiu" else 0),
    }.get(way, array.reshape(-1))


def _odd_array(array: np.ndarray, rng: Rng) -> np.ndarray:
    odd = (0, -1, [0, 0], [1, 0], [-1, 1], [2**31 - 1] * 2, [0.5, 0.5], "x", [], [[1, 2]], np.nan)
    return np.asarray(pick(rng, odd))


def damaged_tensors(data: bytes, rng: Rng) -> tuple[bytes, str]:
    """A safetensors file after changes of its header or bytes."""
    if rng.random() < 0.25:
        return damaged(data, rng)
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    if rng.random() < 0.35:
        name = pick(rng, [name for name in header if name != "__metadata__"])
        start, end = header[name]["data_offsets"]
        odd = np.frombuffer(body, np.uint8).copy()
        odd[start:end] = np.frombuffer(
            (struct.pack("<f", pick(rng, (np.nan, np.inf, 1e30, 0, 7e4))) * (end - start))[: end - start], np.uint8
        )
        return data[: 8 + length] + odd.tobytes(), f"values of {name}"
    done = []
    for _ in range(int(rng.integers(1, 3))):
        name = pick(rng, header or {"__metadata__": {}})
        if name == "__metadata__" or rng.random() < 0.4:
            metadata = header.get("__metadata__") or {}
            key = pick(rng, metadata or {"config": 0})
            if key == "config" and rng.random() < 0.8 and metadata.get("config"):
                try:
                    changed, what = _changed(json.loads(metadata["config"]), rng)
                except ValueError:
                    changed, what = {}, "emptied"
                metadata[key] = json.dumps(changed)
                done.append(f"config: {what}")
            else:
                metadata[key] = pick(rng, ("", "{}", "[]", "[" * 5000, "1" * 5000, "null", '"x"'))
                done.append(f"metadata {key}")
            header["__metadata__"] = metadata
        else:
            way = pick(rng, ("entry", "entry", "remove", "rename"))
            if way == "entry":
                header[name], what = _changed(header[name], rng)
                way = what
            elif way == "remove":
                del header[name]
            else:
                header[pick(rng, (name + "x", "module." + name, "x" * 300, "\0", ""))] = header.pop(name)
            done.append(f"{name}: {way}")
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + body, "; ".join(done)
