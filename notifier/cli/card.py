"""A notification, as it is shown in a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from notifier.logs import escape

if TYPE_CHECKING:
    from notifier.client import Notification

_PRIORITIES = {5: ("!! ", "bold red"), 4: ("! ", "yellow"), 2: ("· ", "dim"), 1: ("· ", "dim")}
_MAX_DATA = 200  # characters of JSON that are shown
_INDENT = "    "


def card(n: Notification) -> Text:
    """One line, and more where the message has more or there is a link. It ends with one."""
    first, *rest = _body(n)
    mark, style = _PRIORITIES.get(n.priority, ("", ""))
    text = Text.assemble((moment(n.time), "dim"), "  ", (escape(n.channel), "cyan"), "  ")
    text.append(mark, style)
    text.append(first)
    for tag in n.tags:
        text.append(f"  #{escape(tag)}", "dim")
    for line in rest:
        text.append("\n" + _INDENT).append(line)
    if n.click is not None:
        text.append(f"\n{_INDENT}→ ", "dim").append(escape(n.click), "cyan")
    return text.append("\n")


def moment(time: datetime) -> str:
    """In the reader's time zone; today's without the date."""
    local = time.astimezone()
    today = datetime.now().astimezone().date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M:%S}"


def rfc3339(time: datetime) -> str:
    """For programs, as the server writes it."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def size(count: int) -> str:
    """Bytes, as people say them."""
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.1f} kB"
    return f"{count / 1_000_000:.1f} MB"


def _body(n: Notification) -> list[Text]:
    """The lines; at least one."""
    lines = [Text(escape(line)) for line in (n.message or "").splitlines()]
    if n.title:
        title = Text(escape(n.title), "bold")
        # A short message stands beside its title.
        lines = (
            [title.append_text(Text("  ")).append_text(_plain(lines[0]))]
            if (len(lines) == 1)
            else [title, *lines]
        )
    return [*lines, *_attached(n)] or [Text()]


def _attached(n: Notification) -> Iterator[Text]:
    content = n.content
    if content is not None:
        kind = escape(n.content_type or "bytes")
        yield Text(f"[{kind}, {size(len(content))}]", "magenta")
    if "data" in n.raw:
        text = json.dumps(n.data, ensure_ascii=False)
        shown = text if len(text) <= _MAX_DATA else text[:_MAX_DATA] + "…"
        yield Text(escape(shown), "dim")


def _plain(text: Text) -> Text:
    return Text.assemble((text.plain, "not bold"))
