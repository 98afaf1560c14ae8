from __future__ import annotations

import io
import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier import logs
from notifier.auth.issuing import make_token, signing_secret
from notifier.auth.keys import make_key
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from tests.auth.signing import SECRET

log = logging.getLogger("notifier.tests")


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def text_out(level: str = "info") -> io.StringIO:
    out = io.StringIO()
    logs.configure(level, "text", out)
    return out


def test_text_line_has_time_level_event_and_fields() -> None:
    out = text_out()
    logs.event(log, logging.INFO, "connection.opened", remote="127.0.0.1", transport="ws", n=3)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} INFO  connection\.opened remote=127\.0\.0\.1 transport=ws n=3\n",
        out.getvalue(),
    )


@pytest.mark.parametrize("format", ["text", "json"])
def test_common_fields_stand_in_every_line_before_its_own(format: Literal["text", "json"]) -> None:
    out = io.StringIO()
    logs.configure("info", format, out, common={"worker": 2})
    logs.event(log, logging.INFO, "x", n=1)
    logging.getLogger("tornado.general").warning("theirs")
    ours, theirs = out.getvalue().splitlines()
    if format == "text":
        assert ours.endswith("INFO  x worker=2 n=1")
        assert theirs.endswith("WARN  tornado.general worker=2 message=theirs")
    else:
        assert list(json.loads(ours).items())[2:] == [("event", "x"), ("worker", 2), ("n", 1)]
        assert json.loads(theirs)["worker"] == 2


def test_value_is_quoted_only_when_needed() -> None:
    out = text_out()
    values = {"a": "x y", "b": "", "c": 'say "hi"', "d": "k=v", "e": "é→", "f": 0.1 + 0.2}
    logs.event(log, logging.WARNING, "x", **values)  # type: ignore[arg-type]
    assert out.getvalue().endswith(
        'WARN  x a="x y" b="" c="say \\\\"hi\\\\"" d="k=v" e=é→ f=0.3\n'.replace("\\\\", "\\")
    )


@given(st.text(), st.text(min_size=1))
def test_hostile_value_neither_ends_nor_forges_a_line(value: str, message: str) -> None:
    out = text_out()
    logs.event(log, logging.INFO, "x", value=value, z=1)
    log.warning(message)
    event, foreign, rest = out.getvalue().split("\n")
    assert rest == ""
    for line in (event, foreign):
        assert line.isprintable()
        assert len(line.splitlines()) == 1
    assert event.endswith(" z=1")


@pytest.mark.parametrize("format", ["text", "json"])
@pytest.mark.parametrize(
    ("credential", "told"),
    [
        (make_key("a", scopes=[Scope.METRICS], channels=Reach(), created=1.0)[1], "nk_…"),
        (f"ticket_{'0a' * 32}", "ticket_…"),
        (make_token({"sub": "42", "exp": 2e9}, signing_secret(SECRET)), "eyJ…"),
    ],
    ids=["key", "ticket", "token"],
)
def test_no_credential_is_ever_in_a_line(
    format: Literal["text", "json"], credential: str, told: str
) -> None:
    out = io.StringIO()
    logs.configure("info", format, out)
    # Also where only a part of it is left: the rest must not be.
    coded = "".join(f"%{ord(letter):02x}" if letter in "_.e" else letter for letter in credential)
    for path in (
        *(f"/notify/{credential}", f"/{'x' * 940}{credential}", f"/a?k={credential}&b=c"),
        f"/{coded}",
    ):
        logs.event(log, logging.INFO, "request", path=path)
    try:
        raise ValueError(credential)
    except ValueError as error:
        logs.event(log, logging.ERROR, "failed", exc_info=error)
    logging.getLogger("another").warning("refused %s", credential)
    written = out.getvalue()
    assert written.replace("\\u2026", "…").count(told) == 6
    secret = credential.removeprefix(told[:-1])
    assert not any(secret[at : at + 12] in written for at in range(len(secret) - 12))


def test_long_value_is_cut() -> None:
    out = text_out()
    logs.event(log, logging.INFO, "x", value="y" * 100_000)
    assert len(out.getvalue()) < 1100


def test_exception_is_set_in_below_its_line() -> None:
    out = text_out()
    try:
        raise ValueError("bad\n17:24:01.123 INFO  forged\r\x1b[2J")
    except ValueError as error:
        logs.event(log, logging.ERROR, "failed", exc_info=error)
    first, *trace = out.getvalue().rstrip("\n").split("\n")
    assert first.endswith("ERROR failed")
    assert all(line.startswith("    ") and line.isprintable() for line in trace)
    assert trace[-1].strip() == r"17:24:01.123 INFO  forged\r\x1b[2J"


def test_level_is_coloured_on_a_terminal_only() -> None:
    out = _Terminal()
    logs.configure("info", "text", out)
    logs.event(log, logging.INFO, "x", a=1)
    assert "\033[32mINFO \033[0m" in out.getvalue()
    plain = text_out()
    logs.event(log, logging.INFO, "x", a=1)
    assert "\033" not in plain.getvalue()


def test_json_line_is_one_object() -> None:
    out = io.StringIO()
    logs.configure("debug", "json", out)
    logs.event(log, logging.DEBUG, "x", text='a\n"b"', number=1.5, none=None, level="mine", o={1})
    try:
        raise KeyError("k")
    except KeyError as error:
        logs.event(log, logging.ERROR, "failed", exc_info=error)
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "level": "debug",
        "event": "x",
        "text": 'a\n"b"',
        "number": 1.5,
        "none": None,
        "level_": "mine",
        "o": "{1}",
    }
    assert second["exception"].endswith("KeyError: 'k'")


def test_records_of_others_take_the_same_way() -> None:
    out = text_out()
    logging.getLogger("tornado.access").warning("404 GET %s", "/x y")
    assert out.getvalue().endswith('WARN  tornado.access message="404 GET /x y"\n')
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    assert "WARN  py.warnings message=" in out.getvalue()


def test_event_below_the_level_is_not_written() -> None:
    out = text_out("warning")
    logs.event(log, logging.INFO, "x", a=1)
    assert out.getvalue() == ""


def test_configured_again_it_writes_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", stream=sys.stderr)
    logs.configure("info")
    logs.event(log, logging.INFO, "once")
    assert capsys.readouterr().err.count("once") == 1
