"""``notifier publish``: send one notification to a running server."""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import Any

import click

from notifier.cli.asking import DEFAULT_URL, refusal_details, trust, with_url
from notifier.cli.command import Command
from notifier.cli.post import Answer, Unreachable, post_json
from notifier.cli.terminal import Exit, fail, say
from notifier.cli.whoami import credential
from notifier.logs import escape

PRIORITIES = ("1", "2", "3", "4", "5", "min", "low", "default", "high", "max", "urgent")


@click.command(
    "publish",
    cls=Command,
    short_help="Send a notification.",
    examples=[
        ('notifier publish alerts "Disk full on db1"', "the least there is to say"),
        ("notifier publish alerts --title Backup --priority 4 --tags db,nightly failed", "more"),
        ("df -h / | notifier publish alerts --title 'Disk usage'", "the message from a pipe"),
        (
            "notifier publish builds --key build-7 --data '{\"percent\": 40}'",
            "data, updated in place",
        ),
        ("notifier publish --ndjson events.ndjson", "many, each line an object with its channel"),
        ("produce-events | notifier publish --ndjson", "the same, for as long as there are any"),
    ],
    notes="A line of --ndjson that is refused does not keep the others from being stored; the "
    "first are told with their numbers. Exit codes: 0 published; 1 the server refused it, or some "
    "of many; 2 the command line is wrong; 3 no connection to the server.",
)
@click.argument("channel", required=False)
@click.argument("message", required=False)
@click.option("--title", help="A line above the message.")
@click.option(
    "--priority",
    type=click.Choice(PRIORITIES, case_sensitive=False),
    metavar="PRIORITY",
    help="From 1, least, to 5, most, or min, low, default, high, max; 3 is usual.",
)
@click.option("--tags", metavar="TAG,…", multiple=True, help="Words to tell it by.")
@click.option("--click", "click_url", metavar="URL", help="Where a click on it leads.")
@click.option("--key", help="A later notification with the same key takes its place on pages.")
@click.option("--data", metavar="JSON", help="Anything more, for programs.")
@click.option(
    "--id", "id_", metavar="ID", help="Its own id: sent twice, it is stored and delivered once."
)
@click.option(
    "--ndjson",
    metavar="[FILE|-]",
    is_flag=False,
    flag_value="-",
    help="Publish each line of a file or of stdin: JSON objects that name their channel.",
)
@with_url
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    metavar="SECONDS",
    show_default=True,
    help="How long the server may take.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the server's answer as it is.")
def command(
    channel: str | None,
    message: str | None,
    ndjson: str | None,
    click_url: str | None,
    data: str | None,
    id_: str | None,
    tags: tuple[str, ...],
    url: str,
    timeout: float,
    as_json: bool,
    **fields: str | int | None,
) -> None:
    """Publish MESSAGE on CHANNEL; it is read from stdin when it is - or stdin is a pipe."""
    if ndjson is not None:
        others = channel, message, click_url, data, id_, *tags, *fields.values()
        if any(value is not None for value in others):
            raise click.UsageError("--ndjson publishes what the lines say, and nothing else.")
        # Late: the client brings Tornado, which would double the time that one message takes.
        from notifier.cli.ndjson import publish_lines

        publish_lines(ndjson, url=url, timeout=timeout, as_json=as_json)
        return
    if channel is None:
        raise click.UsageError("Missing argument 'CHANNEL'.")
    body: dict[str, Any] = {"channel": channel}
    if message == "-" or (message is None and _stdin_is_piped()):
        message = _read_message()
    fields |= {"message": message, "click": click_url, "id": id_}
    body |= {name: value for name, value in fields.items() if value is not None}
    if tags:
        body["tags"] = [tag.strip() for part in tags for tag in part.split(",") if tag.strip()]
    if data is not None:
        body["data"] = _parse(data)
    if not body.keys() & {"message", "title", "data"}:
        raise click.UsageError(
            "Nothing to publish: give a MESSAGE, --title or --data, or pipe one in."
        )

    try:
        answer = post_json(
            url, "/notify", body=body, timeout=timeout, key=credential(), tls=trust()
        )
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    except Unreachable as error:
        hint = ["Is it running?  notifier serve"] if url == DEFAULT_URL else []
        raise fail(Exit.UNREACHABLE, f"cannot reach {url}: {error}", hint) from None
    if not 200 <= answer.status < 300:
        if as_json:
            click.echo(answer.body)
        raise _refusal(answer)
    if as_json:
        click.echo(answer.body)
    else:
        _show(answer, channel)


def _stdin_is_piped() -> bool:
    # Not merely "no terminal": under cron stdin is /dev/null, and there is nothing to read.
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # there is none, or it is closed
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _read_message() -> str:
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise click.UsageError(
            "What was piped in is not UTF-8 text; send bytes with: curl --data-binary @-"
        ) from None
    return text.removesuffix("\n").removesuffix("\r")


def _parse(data: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--data") from None


def _show(answer: Answer, channel: str) -> None:
    result = answer.json()
    if not isinstance(result, dict):
        raise fail(Exit.REFUSED, "what answers there is no notifier", [escape(answer.body[:200])])
    subscribers = result.get("subscribers", 0)
    position = result.get("position")
    say(
        ("✓ ", "green"),
        (escape(str(result.get("channel", channel))), "bold"),
        f" at {escape(str(position))}" if position else "",
        f", {subscribers} subscriber{'' if subscribers == 1 else 's'} here",
        (f"  id {escape(str(result.get('id')))}", "dim"),
    )


def _refusal(answer: Answer) -> click.exceptions.Exit:
    result = answer.json()
    error = result.get("error") if isinstance(result, dict) else None
    if not isinstance(error, dict):
        # Not our server, or something in front of it.
        text = [escape(answer.body[:200].strip())] if answer.body.strip() else []
        return fail(Exit.REFUSED, f"the server answered {answer.status} {answer.reason}", text)
    message = escape(str(error.get("message", answer.reason)))
    return fail(Exit.REFUSED, message, refusal_details(error))
