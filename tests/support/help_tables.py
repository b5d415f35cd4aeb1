"""The tables of the help pages, from the schemas and the translations.

`python tests/support/help_tables.py` writes them. Two columns, for the narrow panel. What a page says above its first
table is written by hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paths import GOLDEN, ROOT

DOCS = ROOT / "web" / "docs"
SCHEMAS: dict[str, Any] = json.loads((GOLDEN / "node_schemas.json").read_text(encoding="utf-8"))
FROM_THIS_MACHINE = {"model", "file"}
"""Menus of files, whose default depends on the files that are there."""


@dataclass(frozen=True)
class Words:
    """What a language adds to the texts of the nodes.

    Attributes:
        page: name of the file, with {} for the node.
        other_names: inputs have names other than their ids.
    """

    page: str
    inputs: str
    advanced: str
    outputs: str
    optional: str
    default: str
    on: str
    off: str
    other_names: bool


LANGUAGES = {
    "en": Words(
        "{}.md", "## Inputs\n\n| input | what it does |", "## More settings\n\n| input | what it does |",
        "## Outputs\n\n| output | what it is |", " (optional)", " Default: {}.", "on", "off", False,
    ),
    "zh": Words(
        "{}/zh.md", "## 输入\n\n| 输入 | 说明 |", "## 更多设置\n\n| 输入 | 说明 |", "## 输出\n\n| 输出 | 说明 |",
        "（可选）", "默认：{}。", "开", "关", True,
    ),
}  # fmt: skip
"""ComfyUI asks for docs/NODE/LANGUAGE.md, then for docs/NODE.md."""


def page_of(name: str, language: str) -> Path:
    return DOCS / LANGUAGES[language].page.format(name)


def tables_of(name: str, language: str) -> str:
    """Everything from the first table of a page to its end."""
    words, schema = LANGUAGES[language], SCHEMAS[name]
    texts = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))[name]
    rows: dict[str, list[str]] = {words.inputs: [], words.advanced: [], words.outputs: []}
    for key, entry in schema["inputs"].items():
        heading = words.advanced if entry.get("advanced") else words.inputs
        rows[heading].append(_input_row(key, entry, texts["inputs"][key], words))
    for kind, text in zip(schema["outputs"].values(), texts["outputs"].values(), strict=True):
        named = f"**{text['name']}**" + f" {kind}" * (kind not in text["name"])
        rows[words.outputs].append(_row(named, text["tooltip"]))
    return "\n\n".join("\n".join([heading, "| --- | --- |", *own]) for heading, own in rows.items() if own) + "\n"


def _input_row(key: str, entry: dict[str, Any], text: dict[str, str], words: Words) -> str:
    default = entry.get("default")
    named = f"`{key}`" + f" {text['name']}" * (words.other_names and text["name"] != key)
    if default is None and "options" not in entry:  # a socket
        kind = "" if "," in entry["type"] else f" {entry['type']}"
        return _row(named + kind + words.optional * entry["optional"], text["tooltip"])
    if isinstance(default, bool):
        default = words.on if default else words.off
    elif isinstance(default, float):
        default = f"{default:g}"
    known = default not in (None, "") and key not in FROM_THIS_MACHINE
    return _row(named, text["tooltip"] + words.default.format(default) * known)


def _row(first: str, second: str) -> str:
    return f"| {first} | {second} |"


def main() -> None:
    for name in SCHEMAS:
        for language, words in LANGUAGES.items():
            page = page_of(name, language)
            by_hand = page.read_text(encoding="utf-8").partition(words.inputs.partition("\n")[0])[0]
            page.write_text(by_hand + tables_of(name, language), encoding="utf-8")


if __name__ == "__main__":
    main()
