"""LoRA adapters: small files that hold what a fine-tuned SDPose does not share with its base.

For a weight W of the base and matrices A (rank, in), B (out, rank), the merged weight is W + alpha / rank x B A (Hu et
al., arXiv 2106.09685, section 4.1). Tensors that were trained in full, or that the base lacks, are stored whole: they
replace the base's. Needs nothing but torch.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CheckpointError
from ..files import sha256_of, why_missing
from ..tensor_files import Shapes, Tensors, some
from .published import KNOWN, find_weights, home, weight_files

if TYPE_CHECKING:
    import torch

LORA_A, LORA_B = ".lora_A.weight", ".lora_B.weight"
"""Follow the name of the layer whose weight they change."""

ADAPTER_KEYS = ("base", "base_sha256", "lora_rank", "lora_alpha", "lora_targets", "rgb_branch")


@dataclass(frozen=True)
class Adapter:
    """What an adapter says about itself in its metadata.

    Attributes:
        base: a known name ("body", "sd2-base"), or the name of a file or folder.
        base_sha256: digests of the base's files, sorted.
        rank, alpha: B A is multiplied by alpha / rank.
        targets: names of the layers that it changes, such as "to_q".
        rgb_branch: whether the fine-tuned model has its RGB branch.
    """

    base: str
    base_sha256: tuple[str, ...]
    rank: int
    alpha: float
    targets: tuple[str, ...]
    rgb_branch: bool

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def metadata(self) -> dict[str, str]:
        """As text; the inverse of `adapter_of`."""
        values = (
            self.base, json.dumps(self.base_sha256), str(self.rank), str(self.alpha), json.dumps(self.targets),
            json.dumps(self.rgb_branch),
        )  # fmt: skip
        return dict(zip(ADAPTER_KEYS, values, strict=True))


def adapter_of(metadata: Mapping[str, str], path: Path) -> Adapter | None:
    """The description in a file's metadata; None for a file that is no adapter of ours. Raises `CheckpointError`."""
    if "lora_rank" not in metadata:
        return None
    try:
        base, digests, rank, alpha, targets, rgb = (metadata[key] for key in ADAPTER_KEYS)
        found = Adapter(
            base, tuple(map(str, json.loads(digests))), int(rank), float(alpha), tuple(map(str, json.loads(targets))),
            bool(json.loads(rgb)),
        )  # fmt: skip
        if found.rank < 1 or not base or Path(base).name != base:
            raise ValueError(f"rank {rank}, base {base!r}")
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: its metadata is damaged ({error!s:.80}): get the adapter again") from None
    return found


def digests_of(path: Path) -> tuple[str, ...]:
    """SHA-256 of the files of a checkpoint, sorted: the same whatever the files are called."""
    return tuple(sorted(sha256_of(file) for file in weight_files(path)))


def find_base(path: Path, adapter: Adapter, base: str | Path | None, search: Sequence[str | Path]) -> Path:
    """The checkpoint that an adapter was trained on.

    Args:
        path: of the adapter.
        base: a path or a known name; None: by the name that the adapter states, beside the adapter, in `home()`, in the
            folders of `search` and below them, and for a known name as `find_weights`.
        search: more folders.

    Raises `CheckpointError`: not found, or with other content than the adapter was trained on.
    """
    found = list(_candidates(path, adapter, base, search))
    for candidate in found:
        if digests_of(candidate) == adapter.base_sha256:
            return candidate
    digests = some([digest[:16] + "…" for digest in adapter.base_sha256])
    needs = f"{path} is an adapter, which needs its base {adapter.base!r} (SHA-256 {digests})"
    give = "or give its path with base= (sdpose convert --base PATH)"
    if found:
        others = some([str(candidate) for candidate in found])
        raise CheckpointError(f"{needs}; {others} has other content: get the weights that it was trained on, {give}")
    known = adapter.base in KNOWN
    place = f"into {home()}, as the adapter has its name" if path.name == adapter.base else "beside the adapter"
    fetch = f"download it with 'sdpose download {adapter.base}'" if known else f"put it {place}"
    raise CheckpointError(f"{needs}, and that is not on this machine: {fetch}, {give}")


def _candidates(path: Path, adapter: Adapter, base: str | Path | None, search: Sequence[str | Path]) -> Iterator[Path]:
    if base is not None:
        yield find_weights(str(base), search=search)
        return
    if adapter.base in KNOWN:
        try:
            yield find_weights(adapter.base, search=search)
        except CheckpointError:
            return
        return
    places = [folder / adapter.base for folder in (path.parent, home())]
    places += [place for folder in search for place in sorted(Path(folder).rglob(glob.escape(adapter.base)))]
    yield from (place for place in dict.fromkeys(places) if why_missing(place) is None and place != path)


def merged_weight(weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float) -> torch.Tensor:
    """W (out, in), A (rank, in), B (out, rank) -> W + scale x B A in float32."""
    return weight.float() + scale * (b.float() @ a.float())


def merged_state(state: Mapping[str, torch.Tensor], scale: float) -> dict[str, torch.Tensor]:
    """Tensors in which the matrices of an adapter are merged into the weights beside them."""
    plain = {name: value for name, value in state.items() if not name.endswith((LORA_A, LORA_B))}
    for layer in _layers(state):
        a, b = state[layer + LORA_A], state[layer + LORA_B]
        plain[f"{layer}.weight"] = merged_weight(plain[f"{layer}.weight"], a, b, scale)
    return plain


def merged_tensors(path: Path, adapter: Adapter, own: Tensors, base: Tensors) -> Tensors:
    """Base and adapter as the tensors of one model; merged when they are read, in float32. Raises `CheckpointError`."""
    layers = set(_layers(own.shapes))
    whole = {name: shape for name, shape in own.shapes.items() if not name.endswith((LORA_A, LORA_B))}
    _check_fit(path, layers, own.shapes, base.shapes)
    replaces_head = any(name.startswith("head.") for name in whole)
    kept = {k: v for k, v in base.shapes.items() if not (replaces_head and k.startswith("head."))}

    def read(name: str) -> torch.Tensor:
        if name in whole:
            return own.read(name)
        layer = name.removesuffix(".weight")
        if not name.endswith(".weight") or layer not in layers:
            return base.read(name)
        return merged_weight(base.read(name), own.read(layer + LORA_A), own.read(layer + LORA_B), adapter.scale)

    return Tensors({**kept, **whole}, read, own.metadata, (*own.notes, *base.notes))


def _layers(names: Mapping[str, object]) -> Iterator[str]:
    """The layers that have matrices."""
    return (name.removesuffix(LORA_A) for name in names if name.endswith(LORA_A))


def _check_fit(path: Path, layers: set[str], own: Shapes, base: Shapes) -> None:
    """Raise `CheckpointError` for matrices that do not fit the base's weights."""
    wrong = [
        layer
        for layer in sorted(layers)
        if not _fits(own[layer + LORA_A], own.get(layer + LORA_B, ()), base.get(f"{layer}.weight", ()))
    ]
    wrong += [name for name in own if name.endswith(LORA_B) and name.removesuffix(LORA_B) not in layers]
    if wrong:
        raise CheckpointError(f"{path}: its matrices do not fit the base at {some(wrong)}: the adapter is damaged")


def _fits(a: tuple[int, ...], b: tuple[int, ...], weight: tuple[int, ...]) -> bool:
    return len(a) == len(b) == 2 and a[0] == b[1] and weight == (b[0], a[1])
