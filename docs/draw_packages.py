"""Draw the packages of `sdpose_core` and their imports: `python docs/draw_packages.py` (needs grimp, matplotlib).

Imports come from the code, layers from import-linter's contract in pyproject.toml. Writes docs/packages.svg.
"""

from __future__ import annotations

import sys
from pathlib import Path

import grimp
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "sdpose_core"
BASE = "single files"
WIDTH, HEIGHT, COLUMN, LINE = 1.9, 0.5, 2.2, 1.15


def layers() -> list[list[str]]:
    """Packages of each layer, the highest first; single files are one box at the bottom."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    [lines] = [
        c["layers"]
        for c in tools["importlinter"]["contracts"]
        if c["type"] == "layers" and PACKAGE in c.get("containers", ())
    ]
    names = [[name.strip(" ()") for name in line.replace(":", "|").split("|")] for line in lines]
    folders = [[name for name in line if (ROOT / PACKAGE / name).is_dir()] for line in names]
    return [line for line in folders if line] + [[BASE]]


def imports(boxes: list[str]) -> set[tuple[str, str]]:
    """(importer, imported) among the boxes."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True)

    def box(module: str) -> str:
        part = module.split(".")[1] if "." in module else ""
        return part if part in boxes else BASE

    pairs = {(box(m), box(n)) for m in graph.modules for n in graph.find_modules_directly_imported_by(m)}
    return {(a, b) for a, b in pairs if a != b and a != BASE}


def without_detours(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Leave out arrows between packages that a longer path connects too."""

    def reached(start: str, leave_out: tuple[str, str]) -> set[str]:
        seen, todo = set(), [start]
        while todo:
            here = todo.pop()
            ahead = {b for a, b in pairs if a == here and (a, b) != leave_out} - seen
            seen |= ahead
            todo += ahead
        return seen

    return {(a, b) for a, b in pairs if b not in reached(a, (a, b))}


def draw(path: Path) -> None:
    """Boxes by layer, arrows from importer to imported."""
    rows = layers()
    widest = max(map(len, rows))
    where = {
        name: ((i + (widest - len(line)) / 2) * COLUMN + WIDTH / 2, -level * LINE)
        for level, line in enumerate(rows)
        for i, name in enumerate(line)
    }
    figure, axes = plt.subplots(figsize=(widest * COLUMN * 0.75, len(rows) * LINE * 0.8))
    colors = {name: plt.get_cmap("tab10")(i % 10) for i, name in enumerate(where)}  # of the importer
    for a, b in sorted(without_detours(imports(list(where)))):
        start, end = (where[a][0], where[a][1] - HEIGHT / 2), (where[b][0], where[b][1] + HEIGHT / 2)
        axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=colors[a], linewidth=1,
                                       shrinkA=0, shrinkB=1))  # fmt: skip
    for name, (x, y) in where.items():
        corner, color = (x - WIDTH / 2, y - HEIGHT / 2), "#e8e2d4" if name == BASE else "#d9e6f2"
        axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, "round,pad=0,rounding_size=0.1", facecolor=color,
                                      edgecolor="#44546a", linewidth=0.8, zorder=2))  # fmt: skip
        axes.text(x, y, name, ha="center", va="center", fontsize=9, zorder=3)
    axes.set_xlim(-0.2, widest * COLUMN)
    axes.set_ylim(-(len(rows) - 1) * LINE - HEIGHT, HEIGHT)
    axes.axis("off")
    plt.rcParams["svg.hashsalt"] = PACKAGE  # the same file each time
    undated = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
    figure.savefig(path, bbox_inches="tight", facecolor="white", **undated)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "packages.svg")
