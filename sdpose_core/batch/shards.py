"""Splitting a list of items among n processes, with the same result on every machine."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from .inputs import Item


@dataclass(frozen=True)
class Shard:
    """Share `number` (from 1) of `of` shares of a list.

    The whole list, including finished items, is sorted by relative name, and every `of`-th item belongs to the share.
    Shares differ by at most one item, and a rerun gets the same share.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise InputError(f"shard {self.number}/{self.of}: expected i/n with i from 1 to n, such as 1/4 ... 4/4")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def choose(self, items: Sequence[Item]) -> list[Item]:
        """The items of this shard, in order."""
        return in_order(items)[self.number - 1 :: self.of]

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] | None = None) -> Shard:
        """`i/n`, or `auto`: this task of a SLURM job array, from SLURM's environment variables.

        Raises `InputError` for any other text, or for `auto` outside an array of evenly spaced task numbers.
        """
        if text == "auto":
            return cls._of_slurm(os.environ if environment is None else environment)
        try:
            number, of = (int(part) for part in text.split("/"))
        except ValueError:
            raise InputError(f"shard {text!r}: expected i/n, such as 2/8, or auto (inside a SLURM array)") from None
        return cls(number, of)

    @classmethod
    def _of_slurm(cls, environment: Mapping[str, str]) -> Shard:
        names = [f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "COUNT", "MIN", "MAX", "STEP")]
        try:
            task, count, first, last, step = (int(environment[name]) for name in names)
        except (KeyError, ValueError):
            raise InputError(
                "shard auto: this is not a task of a SLURM job array (SLURM_ARRAY_TASK_ID, _COUNT, _MIN, _MAX or _STEP "
                "is not set): start it with 'sbatch --array=1-N', or use i/n"
            ) from None
        if step < 1 or (last - first) // step + 1 != count or (task - first) % step:
            raise InputError(
                f"shard auto: the array's {count} task numbers from {first} to {last} are not evenly spaced: "
                "use 'sbatch --array=1-N', or use i/n"
            )
        return cls((task - first) // step + 1, count)


def in_order(items: Sequence[Item]) -> list[Item]:
    """The items by relative name: by code point in any locale, composed as NFC (macOS decomposes names)."""
    return sorted(items, key=lambda item: (unicodedata.normalize("NFC", item.relative), item.relative))
