"""``notifier bench``: how fast a running server is, seen from here."""

from __future__ import annotations

import json
import secrets
import signal
from typing import Any
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from notifier.cli.asking import DEFAULT_URL, EXIT_CODES, trust, with_url
from notifier.cli.command import Command
from notifier.cli.terminal import Exit, fail, say, say_table
from notifier.cli.whoami import advice, credential
from notifier.logs import escape

_PUBLISHERS = 8
_BATCH = 200


@click.command(
    "bench",
    cls=Command,
    short_help="Measure a running server.",
    examples=[
        ("notifier bench", "200 sockets, a few seconds"),
        ("notifier bench --sockets 1000 --seconds 10", "more of both"),
        ("notifier bench --url https://push.example.org --json", "another server, for programs"),
    ],
    notes="It is this process that opens the sockets and publishes, so what it tells is what both "
    "can do together; when it was busy itself, the server can do more. The channel is a new one, "
    "and its history is deleted at the end. A key for it needs the scopes publish and subscribe on "
    "bench:*, and admin to delete that history. `make bench`, in a checkout, compares with other "
    "servers and measures CPU time. " + EXIT_CODES,
)
@click.option(
    "--sockets",
    type=click.IntRange(1, 15_000),
    default=200,
    show_default=True,
    help="Connections that listen.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1),
    default=3.0,
    show_default=True,
    help="How long each part publishes.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1),
    default=20.0,
    show_default=True,
    help="Notifications a second, for the latency.",
)
@click.option(
    "--size",
    type=click.IntRange(40, 100_000),
    default=200,
    show_default=True,
    help="Bytes of each message.",
)
@with_url
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(sockets: int, seconds: float, rate: float, size: int, url: str, as_json: bool) -> None:
    """Connect, listen, publish, and tell how fast that was."""
    # Late: help and mistakes need not wait for it.
    from notifier.cli.load.load import Load
    from notifier.cli.load.refused import Refused
    from notifier.client.address import Address

    try:
        address = Address.parse(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    console = Console(stderr=True)
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    found: dict[str, Any] = {"url": str(address), "sockets": sockets, "bytes": size}
    channel = f"bench:{secrets.token_hex(8)}"
    try:
        with (
            progress,
            Load(address, channel, size=size, key=credential(), tls=trust()) as load,
        ):

            def part(name: str, total: float) -> Any:
                task = progress.add_task(name, total=total)
                return lambda done: progress.update(task, completed=done)

            found["connect"] = load.connect(sockets, part("connecting", sockets))
            found["latency"] = load.publish(seconds, rate=rate, advance=part("latency", seconds))
            found["fan_out"] = load.publish(
                seconds, connections=_PUBLISHERS, advance=part("fan-out", seconds)
            )
            found["batches"] = load.publish(
                seconds, connections=2, batch=_BATCH, advance=part("in batches", seconds)
            )
            load.hang_up()
            found["publish"] = load.publish(
                seconds, connections=2, batch=_BATCH, advance=part("publishing", seconds)
            )
    except Refused as error:
        details = [escape(line) for line in advice(error.code, {}) if line]
        raise fail(Exit.REFUSED, escape(str(error)), details) from None
    except KeyboardInterrupt:
        raise click.exceptions.Exit(128 + signal.SIGINT) from None
    except OSError as error:
        hint = ["Is it running?  notifier serve"] if url == DEFAULT_URL else []
        where = escape(urlsplit(str(address)).netloc)
        raise fail(
            Exit.UNREACHABLE, f"cannot reach {where}: {error.strerror or error}", hint
        ) from None
    wrong = sum(part.get("wrong", 0) for part in found.values() if isinstance(part, dict))
    if as_json:
        click.echo(json.dumps(found))
    else:
        _show(found)
    if wrong:
        raise fail(Exit.REFUSED, f"{wrong:,} messages were lost, repeated or changed")


def _show(found: dict[str, Any]) -> None:
    say(
        ("✓ ", "green"),
        f"{found['sockets']:,} sockets connected in {found['connect']['seconds']:.2f} s",
        (f"  {found['connect']['per_second']:,.0f} a second", "dim"),
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("", "published /s", "delivered /s", "p50 ms", "p99 ms", "max ms", "we, busy"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, title in (
        ("latency", "paced"),
        ("fan_out", f"flat-out, {_PUBLISHERS} connections"),
        ("batches", f"flat-out, {_BATCH} lines a request"),
        ("publish", "the same, nobody listening"),
    ):
        part = found[name]
        times = [part.get(key) for key in ("p50", "p99", "max")]
        table.add_row(
            title,
            f"{part['published_per_second']:,.0f}",
            f"{part['delivered_per_second']:,.0f}" if part["delivered"] else "",
            *("" if time is None else f"{time * 1000:,.1f}" for time in times),
            f"{part['busy']:.0%}",
        )
    say_table(table)
