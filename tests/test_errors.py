from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator

import pytest
from pydantic_core import to_json

from notifier import errors
from notifier.errors import BadJSON, Draining, NotifierError

DRAWN = re.compile(r"^ *[│├└─ ]*── (\w+)\s+([0-9]{3}[0-9x]{2})", re.MULTILINE)


def all_below(cls: type[NotifierError]) -> Iterator[type[NotifierError]]:
    for child in cls.__subclasses__():
        yield child
        yield from all_below(child)


FAMILY = sorted(
    {cls for cls in all_below(NotifierError) if cls.__module__ == errors.__name__},
    key=lambda cls: (cls.code, cls.__name__),
)
LEAVES = [cls for cls in FAMILY if not cls.__subclasses__()]
leaf = pytest.mark.parametrize("cls", LEAVES, ids=lambda cls: cls.__name__)


def test_no_two_errors_share_a_number() -> None:
    numbers = [cls.code for cls in FAMILY]
    assert sorted(set(numbers)) == numbers


@pytest.mark.parametrize("cls", FAMILY, ids=lambda cls: cls.__name__)
def test_number_is_its_own_and_not_inherited(cls: type[NotifierError]) -> None:
    assert "code" in vars(cls)


def test_docstring_draws_the_tree_as_it_is() -> None:
    drawn = dict(DRAWN.findall(errors.__doc__ or ""))
    assert drawn == {
        cls.__name__: f"{cls.code // 100}xx" if cls.__subclasses__() else str(cls.code)
        for cls in FAMILY
    }


@leaf
def test_status_is_the_number_without_its_serial(cls: type[NotifierError]) -> None:
    error = cls("It can't be.")
    assert error.status * 100 <= error.code < error.status * 100 + 100
    assert 400 <= error.status <= 599


@leaf
def test_close_code_says_come_back_only_where_that_may_help(cls: type[NotifierError]) -> None:
    assert 4000 <= cls.close_code <= 4999
    if cls.close_code < 4500:
        # With a fresh credential it is not the same request.
        assert cls.temporary or cls is errors.ExpiredCredential
    # These are about a head, a body or an answer, which a WebSocket has no more.
    elif cls not in (errors.BodyStalled, errors.HeadStalled, errors.AnswerUnread):
        assert not cls.temporary


@leaf
def test_temporary_is_said_of_what_is_not_the_senders_fault(cls: type[NotifierError]) -> None:
    # A client that was too slow once, or too fast, may do it right the next time.
    slow = (
        *(errors.BodyStalled, errors.HeadStalled, errors.AnswerUnread),
        errors.AuthenticationTimeout,
    )
    passes = cls in slow or 42902 <= cls.code <= 42999
    assert cls.temporary == (cls.code >= 50000 or passes)


@leaf
def test_description_has_number_sentence_anchor_and_facts(cls: type[NotifierError]) -> None:
    described = cls("It can't be.", field="title", limit=3).describe()
    assert described == {
        "code": cls.code,
        "message": "It can't be.",
        "docs": f"{errors.DOCS}#{cls.code}",
        "temporary": cls.temporary,
        "field": "title",
        "limit": 3,
    }
    assert json.loads(to_json(described)) == described


def test_facts_are_attributes() -> None:
    error = BadJSON("No.", line=3, column=7)
    assert (error.line, error.column) == (3, 7)
    assert str(error) == "No."


def test_missing_fact_is_a_missing_attribute() -> None:
    with pytest.raises(AttributeError, match="nearest"):
        _ = BadJSON("No.").nearest


def test_error_can_be_copied() -> None:
    again = copy.copy(Draining("Soon.", limit=1))
    assert (type(again), again.describe()) == (Draining, Draining("Soon.", limit=1).describe())
