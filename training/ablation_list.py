"""Lists of ablations: one recipe, and arms that each change a thing or two in it (`recipes/ablations_*.toml`)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipe import Recipe, recipe_from
from recipe_values import read_toml, with_overrides

from sdpose_core.errors import InputError

_LIST_KEYS = ("title", "recipe", "seeds", "arms")
_ARM_KEYS = ("name", "title", "set", "paper")


@dataclass(frozen=True)
class Arm:
    """One row of the table.

    Attributes:
        name: also its folder.
        title: what stands in the table.
        recipe: with the arm's changes.
        paper: the paper's (AP, AR) in percent by benchmark; may be empty.
    """

    name: str
    title: str
    recipe: Recipe
    paper: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class AblationList:
    """A table to be.

    Attributes:
        seeds: unless the command names others.
    """

    title: str
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]


def read_list(path: Path, overrides: Sequence[str] = ()) -> AblationList:
    """Read a list.

    Args:
        path: a TOML file; its "recipe" is relative to it.
        overrides: "--key", "value", ... for the recipes of all arms, after their own changes.

    Raises `InputError`: no such file, an unknown key in it or in a recipe (with the nearest), two arms of one name.
    """
    content = read_toml(path)
    _check_keys(content, _LIST_KEYS, str(path))
    arms = content.get("arms")
    if not isinstance(arms, list) or not arms or "recipe" not in content:
        raise InputError(f"{path} is no list of ablations: expected 'recipe' and [[arms]], found {_some(content)}")
    base = read_toml(path.parent / content["recipe"])
    made = tuple(_arm(values, base, overrides, path) for values in arms)
    names = [arm.name for arm in made]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}: two arms are called {twice[0]!r}; each needs a name of its own")
    return AblationList(content.get("title", path.stem), tuple(content.get("seeds", (0,))), made)


def choose_arms(arms: Sequence[Arm], names: Sequence[str]) -> tuple[Arm, ...]:
    """Those of the given names, in the list's order; all if none is given. `InputError` for a name not in the list."""
    known = [arm.name for arm in arms]
    for name in names:
        if name not in known:
            raise InputError(f"--only {name}: the list has no such arm; it has {', '.join(known)}")
    return tuple(arm for arm in arms if not names or arm.name in names)


def _arm(values: Mapping[str, Any], base: Mapping[str, Any], overrides: Sequence[str], path: Path) -> Arm:
    name = values.get("name")
    if not isinstance(name, str) or not name or not name.replace("_", "").replace("-", "").isalnum():
        raise InputError(f"{path}: an arm needs a name of letters, digits, - and _, got {name!r}")
    _check_keys(values, _ARM_KEYS, f"{path}, arm {name!r}")
    try:
        recipe = recipe_from(with_overrides(_merged(base, values.get("set", {})), overrides, Recipe))
    except InputError as error:
        raise InputError(f"{path}, arm {name!r}: {error}") from None
    paper = {benchmark: (float(ap), float(ar)) for benchmark, (ap, ar) in values.get("paper", {}).items()}
    return Arm(name, values.get("title", name), recipe, paper)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` in it, tables key by key."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _check_keys(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise InputError(
                f"{where}: unknown key {key!r}"
                + (f": did you mean {near[0]!r}?" if near else f": known are {', '.join(known)}")
            )


def _some(content: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, content)) or "nothing"
