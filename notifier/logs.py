"""One log line per event, for people or for machines.

::

    17:24:01.123 INFO  connection.opened remote=127.0.0.1 transport=ws
    {"time": "2026-11-22T17:24:01.123Z", "level": "info", "event": "connection.opened", …}

What a client sends may end up in a line; it can never end the line or forge another, and what looks
like a key, a token or a ticket is cut short there.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal, TextIO
from urllib.parse import unquote

# A longer value is cut: lines are read by people, and their length is up to strangers.
MAX_VALUE_CHARACTERS = 1000
_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}
# An API key, a ticket, or a token: somebody may have put one where a channel's name belongs.
_CREDENTIAL = re.compile(
    r"(nk_(?=\w{56})|ticket_(?=[0-9a-f]{64})|eyJ(?=[\w-]{10,}\.[\w-]{10,}\.))[\w.-]+", re.ASCII
)
_PLAIN = re.compile(r"[^\s\"=\\]+")
_RESERVED = frozenset({"time", "level", "event", "exception"})


def event(
    logger: logging.Logger,
    level: int,
    name: str,
    /,
    *,
    exc_info: BaseException | None = None,
    **fields: object,
) -> None:
    """Log that something happened: its dotted name, and the facts as fields.

    Costs next to nothing while the logger's level is above ``level``.
    """
    if logger.isEnabledFor(level):
        logger.log(level, name, exc_info=exc_info, stacklevel=2, extra={"fields": fields})


def configure(
    level: str,
    format: Literal["text", "json"] = "text",
    stream: TextIO | None = None,
    *,
    common: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Send every logger's records to ``stream`` (stderr), each formatted as one event.

    Replaces what was configured before. Tornado's and asyncio's records and Python's warnings
    take the same way.

    :param common: fields that every line has, before its own.
    """
    out = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(out)
    formatter = (
        JSONFormatter(common) if format == "json" else TextFormatter(common, colour=out.isatty())
    )
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    # What those who run the service have done is told in any case.
    logging.getLogger("notifier.audit").setLevel(logging.INFO)
    logging.captureWarnings(True)
    logging.getLogger("tornado.general").addFilter(_no_strangers)


def _no_strangers(record: logging.LogRecord) -> bool:
    """Failed handshakes: a warning of each would be anybody's way to fill a log."""
    return not str(record.msg).startswith("SSL Error on ") or logging.root.level <= logging.DEBUG


def escape(text: str) -> str:
    """The text with every character that is not printable written as an escape."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


class TextFormatter(logging.Formatter):
    """``17:24:01.123 INFO  connection.opened remote=127.0.0.1``; times are local."""

    def __init__(
        self, common: Mapping[str, object] = MappingProxyType({}), *, colour: bool = False
    ) -> None:
        super().__init__()
        self._common = common
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        name, fields = _event_of(record, self._common)
        moment = datetime.fromtimestamp(record.created)
        level = f"{'WARN' if record.levelname == 'WARNING' else escape(record.levelname):<5}"
        line = [
            self._paint("2", f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03}"),
            self._paint(_COLOURS.get(record.levelname, "0"), level),
            escape(name),
            *(self._paint("2", f"{escape(key)}=") + _quote(value) for key, value in fields.items()),
        ]
        text = " ".join(line)
        for trace in _traces(self, record):
            # Set in, so that no line of it looks like an event.
            text += "".join(f"\n    {escape(row)}" for row in trace.split("\n"))
        return text

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour else text


class JSONFormatter(logging.Formatter):
    """One object per line: time (RFC 3339, UTC), level, event, the fields, exception."""

    def __init__(self, common: Mapping[str, object] = MappingProxyType({})) -> None:
        super().__init__()
        self._common = common

    def format(self, record: logging.LogRecord) -> str:
        name, fields = _event_of(record, self._common)
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z",
            "level": record.levelname.lower(),
            "event": name,
        }
        for key, value in fields.items():
            line[f"{key}_" if key in _RESERVED else key] = (
                _shown(value) if isinstance(value, str) else value
            )
        traces = _traces(self, record)
        if traces:
            line["exception"] = "\n".join(traces)
        return json.dumps(line, default=lambda value: _shown(str(value)))


def _event_of(
    record: logging.LogRecord, common: Mapping[str, object]
) -> tuple[str, dict[str, object]]:
    fields = getattr(record, "fields", None)
    if isinstance(fields, dict):
        return record.getMessage(), {**common, **fields}
    # Somebody else's record, such as Tornado's: its logger is the event.
    return record.name, {**common, "message": record.getMessage()}


def _traces(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    traces = []
    if record.exc_info and record.exc_info[0] is not None:
        traces.append(_without_credentials(formatter.formatException(record.exc_info)))
    if record.stack_info:
        traces.append(formatter.formatStack(record.stack_info))
    return traces


def _without_credentials(text: str) -> str:
    if "%" in text and _CREDENTIAL.search(plain := unquote(text)):
        text = plain  # one that was written as URLs may be is one all the same
    return _CREDENTIAL.sub(r"\1…", text)


def _shown(text: str) -> str:
    text = _without_credentials(text)
    if len(text) <= MAX_VALUE_CHARACTERS:
        return text
    return text[: MAX_VALUE_CHARACTERS - 1] + "…"


def _quote(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = _shown(str(value))
    if text.isprintable() and _PLAIN.fullmatch(text):
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escape(quoted)}"'
