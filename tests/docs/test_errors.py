"""``docs/reference/errors.md`` and ``notifier.errors`` say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from notifier.errors import DOCS, NotifierError
from tests.docs.markdown import CHECKOUT, read

PAGE = read("reference/errors.md")
ENTRY = re.compile(
    r'^<a id="(\d{5})"></a>\n### (\d{5}) ([^\n]+)\n\n(.*?)(?=^<a id|^## |\Z)', re.M | re.S
)
ENTRIES = {int(m[1]): m for m in ENTRY.finditer(PAGE)}


def family(kind: type[NotifierError]) -> Iterator[type[NotifierError]]:
    for child in kind.__subclasses__():
        yield child
        yield from family(child)


ERRORS = {kind.code: kind for kind in family(NotifierError)}


def test_every_error_is_documented_and_none_extra() -> None:
    assert ENTRIES.keys() == ERRORS.keys()


def test_the_address_in_an_answer_leads_to_the_page() -> None:
    assert (CHECKOUT / DOCS).read_text("utf-8") == PAGE


def test_codes_are_unique() -> None:
    kinds = list(family(NotifierError))
    assert len({kind.code for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("code", sorted(ENTRIES))
def test_an_entry_agrees_with_the_code(code: int) -> None:
    entry, kind = ENTRIES[code], ERRORS[code]
    anchor, number, title, text = entry.groups()
    assert anchor == number
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).capitalize().replace("json", "JSON")
    assert title == words
    first = text.splitlines()[0]
    temporary = "temporary" if kind.temporary else "not temporary"
    assert first.startswith(f"- status {code // 100}, {temporary}")
    for fact in re.findall(r"``(\w+)``", kind.__doc__ or ""):
        assert f"`{fact}`" in first, f"{number} does not name the fact {fact}"
    for part in ("Cause", "Fix", "Example"):
        assert f"- **{part}**: " in text, f"{number} has no {part}"


def test_entries_stand_under_their_status() -> None:
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        title = section.splitlines()[0]
        for code in re.findall(r"^### (\d{3})\d\d ", section, flags=re.MULTILINE):
            assert code in title
