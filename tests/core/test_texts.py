"""One reader of texts: every encoding that editors and shells write."""

from __future__ import annotations

import codecs

import pytest

from sdpose_core.errors import InputError
from sdpose_core.texts import decode_text, parse_json, read_json, read_json_lines, read_text

TEXT = "clips/踊り.mp4\n# Größe\nb.mp4\n"
ENCODED = {
    "UTF-8": TEXT.encode(),
    "UTF-8 with a mark": codecs.BOM_UTF8 + TEXT.encode(),
    "UTF-16 LE with a mark": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "UTF-16 BE with a mark": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "UTF-32 LE with a mark": codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
    "UTF-32 BE with a mark": codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
    "UTF-16 LE without a mark": TEXT.encode("utf-16-le"),
    "UTF-16 BE without a mark": TEXT.encode("utf-16-be"),
    "Windows line ends": TEXT.replace("\n", "\r\n").encode(),
    "old Mac line ends": TEXT.replace("\n", "\r").encode(),
}


@pytest.mark.parametrize("content", ENCODED.values(), ids=ENCODED)
def test_every_encoding_gives_the_same_text(content, tmp_path):
    (tmp_path / "list.txt").write_bytes(content)
    assert read_text(tmp_path / "list.txt") == TEXT


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("value", [{"a.png": [[1, 2, 3, 4]]}, [], [1], {}])
def test_json_of_every_encoding(value, encoding, tmp_path):
    import json

    (tmp_path / "a.json").write_bytes(json.dumps(value).encode(encoding))
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize("content", [b"", b"a", b"ab", b"[]", "é".encode(), b"1\x00"])
def test_short_texts_are_utf8(content):
    assert decode_text(content, "x") == content.decode()


def test_what_is_not_text_says_where():
    with pytest.raises(InputError, match=r"a\.txt is not text in UTF-8 or UTF-16 \(byte 2 is 0xff\): save it as UTF-8"):
        decode_text(b"ab\xff", "a.txt")
    assert decode_text(b"ab\xff", "a.txt", errors="surrogateescape") == "ab\udcff"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "is not JSON"), (b"[" * 100_000, "nested too deep"), (b"1" * 5000, "is not JSON"), (b"", "is not JSON")],
)
def test_damaged_json_is_one_line(content, message, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_json(tmp_path / "a.json", "boxes")
    assert "expected boxes" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*no\.json: No such file"):
        read_json(tmp_path / "no.json")
    with pytest.raises(InputError, match="cannot read .*embedded null"):
        read_text("a\0b")


def test_a_key_that_is_there_twice_is_damage():
    with pytest.raises(InputError, match=r"a is not JSON \(the key 'x' is there twice in one object\): expected boxes"):
        parse_json('{"y": {"x": 1, "z": 2, "x": 3}}', "a", "boxes")
    many = ", ".join(f'"{number}": 0' for number in range(100_000))  # found at once, however many keys there are
    with pytest.raises(InputError, match=r"the key '99999' is there twice"):
        parse_json(f'{{{many}, "99999": 1}}', "a")


@pytest.mark.parametrize("digits", [301, 400, 5000])
def test_numbers_of_hundreds_of_digits_are_damage(digits):
    with pytest.raises(InputError, match=f"a number of {digits} digits"):
        parse_json(f'{{"x": [1, {"7" * digits}]}}', "a")
    assert parse_json(f'["{"7" * digits}", {"7" * 300}]', "a")[1] == int("7" * 300)


def test_a_file_beyond_the_limit_is_not_read(tmp_path):
    with open(tmp_path / "a.json", "wb") as file:
        file.truncate(2_000_000_001)
    with pytest.raises(InputError, match=r"more than 2,000,000,000 bytes, the limit for texts and JSON: split it"):
        read_json(tmp_path / "a.json")


def test_damaged_lines_are_left_out_with_a_warning(tmp_path, caplog):
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n{"a": \n\n\xff\xfe\xfd\n{"a": 5}\n{"a"')
    assert [line for _, line in read_json_lines(tmp_path / "a.jsonl")] == [{"a": 1}, {"a": 5}]
    assert [message.rpartition("a.jsonl: ")[2] for message in caplog.messages] == [
        f"line {number} is damaged: it is left out" for number in (2, 4, 6)
    ]
    (tmp_path / "a.jsonl").write_bytes(b"[1]")
    with pytest.raises(InputError, match="a line of another kind"):
        list(read_json_lines(tmp_path / "a.jsonl"))
