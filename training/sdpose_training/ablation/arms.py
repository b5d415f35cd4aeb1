"""Lists of ablations: one recipe, and arms that change single values of it (`recipes/ablations_*.toml`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdpose_core.errors import InputError, did_you_mean, restated
from sdpose_training.evaluation.paper_tables import ablation_row
from sdpose_training.options import check_seeds
from sdpose_training.recipe.recipe import Recipe, recipe_from
from sdpose_training.recipe.toml_files import read_toml
from sdpose_training.recipe.values import with_overrides

_LIST_KEYS = ("title", "recipe", "seeds", "arms")
_ARM_KEYS = ("name", "title", "set", "paper")


@dataclass(frozen=True)
class Arm:
    """One row of the table.

    Attributes:
        name: also of its folder.
        title: in the table.
        recipe: with the arm's changes.
        paper: the paper's (AP, AR) in percent by benchmark; may be empty.
    """

    name: str
    title: str
    recipe: Recipe
    paper: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class AblationList:
    title: str
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]


def read_list(path: Path, overrides: Sequence[str] = ()) -> AblationList:
    """Read a list from a TOML file, whose "recipe" is relative to it.

    Args:
        overrides: "--key", "value", ... for the recipes of all arms, after the arm's changes.

    Raises `InputError`: a missing file, an unknown key (names the nearest known one), or two arms with the same name.
    """
    content = read_toml(path)
    _check_keys(content, _LIST_KEYS, str(path))
    arms, recipe = content.get("arms"), content.get("recipe")
    if not isinstance(arms, list) or not arms or not isinstance(recipe, str):
        found = ", ".join(map(repr, content)) or "nothing"
        raise InputError(f"{path} is no list of ablations: expected 'recipe' and [[arms]], found {found}")
    seeds = check_seeds(content.get("seeds", (0,)), f"{path}: seeds")
    base = read_toml(path.parent / recipe)
    complete = tuple(_arm(values, base, overrides, path) for values in arms)
    names = [arm.name for arm in complete]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}: two arms have the name {twice[0]!r}; give each a different one")
    return AblationList(str(content.get("title", path.stem)), seeds, complete)


def choose_arms(arms: Sequence[Arm], names: Sequence[str]) -> tuple[Arm, ...]:
    """The arms with these names, in the order of the list; all without names. `InputError` for an unknown name."""
    known = [arm.name for arm in arms]
    for name in names:
        if name not in known:
            raise InputError(f"--only {name}: the list has no such arm; it has {', '.join(known)}")
    return tuple(arm for arm in arms if not names or arm.name in names)


def _arm(values: Any, base: Mapping[str, Any], overrides: Sequence[str], path: Path) -> Arm:
    if not isinstance(values, Mapping):
        raise InputError(f"{path}: expected each of [[arms]] to be a table, found {values!r:.60}")
    name = values.get("name")
    if not isinstance(name, str) or not name or not name.replace("_", "").replace("-", "").isalnum():
        raise InputError(f"{path}: an arm needs a name of letters, digits, - and _, got {name!r}")
    _check_keys(values, _ARM_KEYS, f"{path}, arm {name!r}")
    changes = values.get("set", {})
    if not isinstance(changes, Mapping):
        raise InputError(f"{path}, arm {name!r}: expected 'set' to be a table of recipe values, found {changes!r:.60}")
    with restated(f"{path}, arm {name!r}"):
        recipe = recipe_from(with_overrides(_merged(base, changes), overrides, Recipe))
    return Arm(name, str(values.get("title", name)), recipe, _paper(values.get("paper", {}), f"{path}, arm {name!r}"))


def _paper(table: Any, where: str) -> dict[str, tuple[float, float]]:
    """Benchmark -> (AP, AR), from the table itself or from the row of the paper's table 2 that it names."""
    if isinstance(table, str):
        with restated(where):
            return ablation_row(table)
    pairs = table.values() if isinstance(table, Mapping) else (None,)
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(v, int | float) for v in pair):
            raise InputError(
                f"{where}: expected 'paper' to be a table of [AP, AR], found {table!r:.60}; a row of "
                "the paper's table 2 is named like 'body, F2'"
            )
    return {benchmark: (float(ap), float(ar)) for benchmark, (ap, ar) in table.items()}


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` applied; tables are merged key by key."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _check_keys(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in values:
        if key not in known:
            hint = did_you_mean(key, known) or f"known are {', '.join(known)}"
            raise InputError(f"{where}: unknown key {key!r}: {hint}")
