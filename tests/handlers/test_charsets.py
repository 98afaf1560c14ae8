"""The charsets strangers may name."""

from __future__ import annotations

import pytest

from handlers.charsets import decode


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("utf-8", "é"),
        ("UTF8", "é"),
        ("latin1", "é"),
        ("windows-1252", "€"),
        ("utf-16", "é"),
        ("koi8-r", "д"),
        ("Shift_JIS", "日"),
        ("GBK", "日"),
        ("iso-8859-15", "€"),
    ],
)
def test_charsets_of_the_web_are_read(charset: str, text: str) -> None:
    assert decode(text.encode(charset), charset) == text


@pytest.mark.parametrize(
    "codec",
    ["punycode", "idna", "undefined", "unicode_escape", "raw_unicode_escape", "utf-7", "hex", "zip",
     "rot13", "base64", "nonsense", ""],
)  # fmt: skip
def test_other_codecs_are_no_charsets(codec: str) -> None:
    with pytest.raises(LookupError):
        decode(b"ab" * 500_000, codec)
