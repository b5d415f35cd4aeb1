"""The inputs and outputs in the help pages, from the schemas and the translations.

`python tests/support/help_pages.py` writes them, as lists: the panel is too narrow for tables. What a page says above
them is written by hand.
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
    colon: str
    optional: str
    default: str
    on: str
    off: str
    other_names: bool


LANGUAGES = {
    "en": Words(
        "{}.md", "## Inputs", "## More settings", "## Outputs", ": ", " (optional)", " Default: {}.", "on", "off",
        other_names=False,
    ),
    "zh": Words(
        "{}/zh.md", "## 输入", "## 更多设置", "## 输出", "：", "（可选）", "默认：{}。", "开", "关",
        other_names=True,
    ),
}  # fmt: skip
"""ComfyUI asks for docs/NODE/LANGUAGE.md, then for docs/NODE.md."""


def page_of(name: str, language: str) -> Path:
    return DOCS / LANGUAGES[language].page.format(name)


def lists_of(name: str, language: str) -> str:
    """Everything from the inputs of a page to its end."""
    words, schema = LANGUAGES[language], SCHEMAS[name]
    texts = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))[name]
    lists: dict[str, list[str]] = {words.inputs: [], words.advanced: [], words.outputs: []}
    for key, entry in schema["inputs"].items():
        heading = words.advanced if entry.get("advanced") else words.inputs
        lists[heading].append(_of_input(key, entry, texts["inputs"][key], words))
    for kind, text in zip(schema["outputs"].values(), texts["outputs"].values(), strict=True):
        named = f"**{text['name']}**" + f" {kind}" * (kind not in text["name"])
        lists[words.outputs].append(f"- {named}{words.colon}{text['tooltip']}")
    return "\n\n".join("\n".join([heading, "", *own]) for heading, own in lists.items() if own) + "\n"


def _of_input(key: str, entry: dict[str, Any], text: dict[str, str], words: Words) -> str:
    default = entry.get("default")
    named = f"`{key}`" + f" {text['name']}" * (words.other_names and text["name"] != key)
    if default is None and "options" not in entry:  # a socket
        kind = "" if "," in entry["type"] else f" {entry['type']}"
        return f"- {named}{kind}{words.optional * entry['optional']}{words.colon}{text['tooltip']}"
    if isinstance(default, bool):
        default = words.on if default else words.off
    elif isinstance(default, float):
        default = f"{default:g}"
    known = default not in (None, "") and key not in FROM_THIS_MACHINE
    return f"- {named}{words.colon}{text['tooltip']}{words.default.format(default) * known}"


def main() -> None:
    for name in SCHEMAS:
        for language, words in LANGUAGES.items():
            page = page_of(name, language)
            by_hand = page.read_text(encoding="utf-8").partition(words.inputs)[0]
            page.write_text(by_hand + lists_of(name, language), encoding="utf-8")


if __name__ == "__main__":
    main()
