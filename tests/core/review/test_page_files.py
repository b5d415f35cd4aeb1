"""The files of the page: both languages say the same, and nothing in them would be refused by the page's own policy."""

from __future__ import annotations

import json
import re
from importlib import resources

import pytest

from sdpose_core.sequences.distrust import REASONS

PAGE = resources.files("sdpose_core.review") / "page"
FILES = {entry.name: entry.read_text("utf-8") for entry in PAGE.iterdir() if entry.is_file()}
ENGLISH, CHINESE = (json.loads(FILES[f"{language}.json"]) for language in ("en", "zh"))
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}


def test_both_languages_have_the_same_texts_with_the_same_values():
    assert ENGLISH.keys() == CHINESE.keys()
    for key, text in ENGLISH.items():
        assert set(re.findall(r"\{(\w+)", text)) == set(re.findall(r"\{(\w+)", CHINESE[key])), key


def test_every_text_that_is_named_exists():
    named = set(re.findall(r'data-(?:text|tip|label)="(\w+)"', FILES["index.html"]))
    for text in SCRIPTS.values():
        named |= set(re.findall(r'\.t\("([\w.]+)"', text))
    named |= set(re.findall(r'"(hint_\w+)"', FILES["hints.js"])) | {f"reason.{name}" for name in REASONS}
    mouse = re.search(r"MOUSE = (\[.*?\])", FILES["keys.js"])
    named |= {f"{kind}.{name}" for name in json.loads(mouse[1]) for kind in ("mouse", "mouse_does")} if mouse else set()
    assert mouse and len(named) > 100 and not named - ENGLISH.keys()


def test_there_is_no_text_that_nothing_shows():
    words = "\n".join([FILES["index.html"], *SCRIPTS.values()])
    assert {key for key in ENGLISH if key.startswith("reason.")} == {f"reason.{name}" for name in REASONS}
    prefixes = set(re.findall(r"[`\"]([a-z_]+[._])\$\{", words))  # of names that are put together
    prefixes |= {f"{name}_" for name in re.findall(r'this\.ask\("(\w+)"', words)}
    named = set(re.findall(r'["`]([\w.]+)["`]', words)) | set(re.findall(r"^    (keys_\w+): \[", words, re.MULTILINE))
    named |= {f"{name}_alone" for name in named}
    assert not {key for key in ENGLISH.keys() - named if not key.startswith(tuple(prefixes))}


def test_every_key_in_the_list_of_keys_has_a_text():
    shown = set(re.findall(r'\["(\w+)", "[^"]*", "[^"]+", "[A-Z*]*", (?:\(|step)', FILES["keys.js"]))
    groups = set(re.findall(r"^    (keys_\w+):", FILES["keys.js"], flags=re.MULTILINE))
    assert len(shown) > 20 and len(groups) == 5
    assert {f"key.{name}" for name in shown} | groups <= ENGLISH.keys()


def test_every_element_that_a_script_asks_for_is_on_the_page():
    ids = set(re.findall(r'\bid="([\w-]+)"', FILES["index.html"]))
    for name, text in SCRIPTS.items():
        asked = set(re.findall(r'byId\("([\w-]+)"\)', text))
        assert asked <= ids, name


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_scripts_take_nothing_from_elsewhere_and_never_write_html(name):
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|https?://(?!www\.w3\.org/2000/svg)",
                         SCRIPTS[name])  # fmt: skip
    assert all(target.startswith("./") and target[2:] in FILES for target in re.findall(r'from "(.+?)"', SCRIPTS[name]))


def test_the_page_has_no_inline_script_or_style():
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", FILES["index.html"])
