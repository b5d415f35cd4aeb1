"""Valid JSON with odd values in it: other types, ranges and nesting, missing keys. Seeded."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

_ODD = (
    None, True, False, 0, -1, 1, 1.5, -0.0, 1e-320, 1e39, 1e300, -1e300, float("nan"), float("inf"), float("-inf"),
    2**31, 2**63, -(2**64), 10**30, 10**299, "", " ", "0", "-1", "1.5", "nan", "1e999", "person", "a\0b", "a\nb",
    "\ud800", "x" * 300, "../../x", [], [[]], [None], {}, {"x": 1, "y": 2}, {"": None}, [[[1, 2], 3]], ["1", 2],
    [1, 2, 3, 4], [float("nan")] * 4, [[1, 2, 3]] * 17, [10**40] * 51, [True] * 4, [[[[[[[[[[1]]]]]]]]]],
)  # fmt: skip


def _places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from _places(part, (*path, key))


def _changed(value: Any, rng: random.Random) -> Any:
    """The value with one change at a random place; shallow places are as likely as deep ones."""
    places = list(_places(value))
    depth = rng.choice(sorted({len(place) for place in places}))
    place = rng.choice([place for place in places if len(place) == depth])
    if not place:
        return copy.deepcopy(rng.choice((*_ODD, [value], {"data": value}, [value, value])))
    *way, last = place
    parent = value
    for key in way:
        parent = parent[key]
    kind = rng.random()
    if kind < 0.15:
        del parent[last]
    elif kind < 0.25:
        parent[last] = [parent[last]]
    elif kind < 0.32:
        parent[last] = {str(rng.choice(_ODD)): parent[last]}
    elif kind < 0.4 and isinstance(parent, list):
        parent.insert(last, copy.deepcopy(rng.choice((parent[last], *_ODD))))
    elif kind < 0.45 and isinstance(parent, dict):
        parent[str(rng.choice(_ODD))] = parent.pop(last)
    else:
        parent[last] = copy.deepcopy(rng.choice(_ODD))
    return value


def odd_versions(value: Any, count: int, seed: int = 0) -> Iterator[Any]:
    """`count` copies of parsed JSON with 1 to 4 odd values in each."""
    rng = random.Random(seed)
    for _ in range(count):
        odd = copy.deepcopy(value)
        for _ in range(rng.choice((1, 1, 2, 4))):
            odd = _changed(odd, rng)
        yield odd
