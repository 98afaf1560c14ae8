"""``notifier history``: read what a channel has kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from notifier.cli.asking import EXIT_CODES, ask, with_url
from notifier.cli.card import card
from notifier.cli.command import Command
from notifier.cli.terminal import complain, say_text
from notifier.logs import escape

if TYPE_CHECKING:
    from notifier.client import Client, Page

_PAGE = 1000  # the most that the server gives at once


@click.command(
    "history",
    cls=Command,
    short_help="Read what a channel has kept.",
    examples=[
        ("notifier history alerts", "all of it, the oldest first"),
        ("notifier history alerts --since -20", "the last twenty"),
        ("notifier history alerts --since 1h --json", "of the last hour, for programs"),
        ("notifier history alerts --newest --limit 1", "the last one"),
        ("notifier history builds --key build-7", "all that was said under this key"),
    ],
    notes=EXIT_CODES,
)
@click.argument("channel")
@click.option(
    "--since", metavar="SINCE", help="Where to begin: all, -20, 10m, a time or a position."
)
@click.option("--before", metavar="POSITION", help="Where to end: what lies before this.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many.")
@click.option("--newest", is_flag=True, help="The newest first.")
@click.option("--key", help="Only those with this key.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@with_url
def command(
    channel: str,
    since: str | None,
    before: str | None,
    limit: int | None,
    newest: bool,
    key: str | None,
    as_json: bool,
    url: str,
) -> None:
    """Show what is kept of CHANNEL."""

    async def read(client: Client) -> None:
        nonlocal since, before
        left = limit
        while left is None or left > 0:
            page = await client.history(
                channel,
                since=since,
                before=before,
                limit=_PAGE if left is None else min(left, _PAGE),
                order="newest" if newest else "oldest",
                key=key,
            )
            _show(page, as_json)
            if page.next is None:
                return
            left = None if left is None else left - len(page.publications)
            if newest:
                before = page.next
            else:
                since = page.next

    ask(url, read)


def _show(page: Page, as_json: bool) -> None:
    if page.gap is not None:
        what = f": what lies before {page.gap.before} is not kept any more"
        complain(("gap", "bold yellow"), f" in {escape(page.channel)}{escape(what)}")
    for n in page.publications:
        if as_json:
            click.echo(json.dumps(dict(n.raw), ensure_ascii=False))
        else:
            say_text(card(n))
