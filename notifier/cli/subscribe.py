"""``notifier subscribe``: follow channels."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from notifier.cli import descriptors, hook
from notifier.cli.asking import EXIT_CODES, ask, with_url
from notifier.cli.card import card
from notifier.cli.command import Command
from notifier.cli.statefile import BadState, StateFile
from notifier.cli.terminal import Exit, complain, fail
from notifier.logs import escape

if TYPE_CHECKING:
    from notifier.client import Change, Client, Gap, Notification, Subscription

# What is printed again if the machine goes down within it. Of commands it is one at the most.
_STATE_PAUSE = 0.2


@click.command(
    "subscribe",
    cls=Command,
    short_help="Follow channels.",
    examples=[
        ("notifier subscribe alerts", "what comes from now on"),
        ("notifier subscribe alerts 'builds:*' --since 10m", "several, and the last ten minutes"),
        ("notifier subscribe alerts --json | jq .title", "for programs"),
        (
            'notifier subscribe alerts --exec \'notify-send "$NOTIFIER_TITLE" '
            '"$NOTIFIER_MESSAGE"\'',
            "run a command for each",
        ),
        (
            "notifier subscribe backups --state ~/.backups --exec ./restore-test.sh",
            "go on, after any interruption, where it stopped",
        ),
        ("notifier subscribe builds --count 1", "wait for the next one"),
    ],
    notes="A lost connection is made again and resumes; what could not be resumed is told on "
    "stderr as a gap (with --json, on stdout as well, as an object of type gap). A command of "
    "--exec finds the fields in its environment (NOTIFIER_CHANNEL, NOTIFIER_TITLE, "
    "NOTIFIER_MESSAGE, NOTIFIER_PRIORITY, NOTIFIER_TAGS, NOTIFIER_CLICK, NOTIFIER_DATA and so on) "
    "and the whole as JSON on stdin; one runs at a time; one that fails is told with its exit "
    "code, and counts as run. With --state it runs at least once for each: again, if it was not "
    "over when this ended, or if that could not be written to the file. " + EXIT_CODES,
)
@click.argument("channels", nargs=-1, required=True, metavar="CHANNEL|PATTERN…")
@click.option(
    "--since",
    metavar="SINCE",
    help="Where to begin: latest, all, -20, 10m, a time, a position or a resume token.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.option("--exec", "command_line", metavar="CMD", help="Run this for each, in a shell.")
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Remember here what was handled, and go on after it; it wins over --since.",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after so many.")
@click.option("--no-reconnect", is_flag=True, help="End when the connection is lost.")
@with_url
def command(
    channels: tuple[str, ...],
    since: str | None,
    as_json: bool,
    command_line: str | None,
    state: Path | None,
    count: int | None,
    no_reconnect: bool,
    url: str,
) -> None:
    """Show what is published on channels, as it is published."""
    file = None
    if state is not None:
        # A command runs at least once for each: again if it was not over, or if that it was could
        # not be written down. So that is done at once, and tried before the first.
        file = StateFile(state, pause=_STATE_PAUSE if command_line is None else 0)
        try:
            since = file.load() or since
        except (BadState, OSError) as error:
            raise fail(Exit.USAGE, _words(error)) from None
        try:
            file.check()
        except OSError as error:
            raise fail(Exit.REFUSED, _words(error)) from None
    outlet = _Outlet(as_json) if command_line is None else None
    follower = _Follower(url, channels, outlet, command_line, file, count)

    async def follow(client: Client) -> None:
        await follower.run(client, since=since, reconnect=not no_reconnect)

    try:
        ask(url, follow)
    except descriptors.Closed:
        # Quietly, as in `notifier subscribe alerts | head -3`.
        raise click.exceptions.Exit(Exit.OK) from None
    except OSError as error:
        raise fail(Exit.REFUSED, _words(error)) from None


@dataclass(slots=True)
class _Follower:
    """Handles one item after the other."""

    url: str
    channels: tuple[str, ...]
    outlet: _Outlet | None
    command_line: str | None
    state: StateFile | None
    count: int | None
    opened: bool = False

    async def run(self, client: Client, *, since: str | None, reconnect: bool) -> None:
        if self.outlet is None:
            await self._iterate(client, since, reconnect)
            return
        iterating = asyncio.create_task(self._iterate(client, since, reconnect))
        closed = asyncio.create_task(self.outlet.until_closed())
        tasks = [iterating, closed]
        if self.state is not None:
            # A command's state is written at once, so this concerns what is printed.
            tasks.append(asyncio.create_task(self.state.until_failed()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if done == {closed}:
                raise descriptors.Closed
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, OSError):
                    raise outcome  # also where it was its last act to write the state

    async def _iterate(self, client: Client, since: str | None, reconnect: bool) -> None:
        from notifier.client import Gap

        left = self.count

        def changed(change: Change) -> None:
            self._changed(change)
            self._remember(subscription.token)

        subscription: Subscription[Notification | Gap] = client.subscribe(
            *self.channels, since=since, reconnect=reconnect, on_change=changed
        )
        try:
            async for item in subscription:
                if isinstance(item, Gap):
                    await self._miss(item)
                else:
                    await self._handle(item)
                    left = None if left is None else left - 1
                subscription.finish()
                self._remember(subscription.token)
                if left == 0:
                    break
        finally:
            if self.state is not None:
                self.state.flush()

    async def _handle(self, n: Notification) -> None:
        if self.outlet is not None:
            await self.outlet.show(n)
        if self.command_line is not None:
            code = await hook.run(self.command_line, n)
            if code:
                how = f"exit code {code}" if code > 0 else f"signal {-code}"
                where = f"{n.channel} {n.position or n.id}"
                complain(("exec", "bold yellow"), f": {how} for {escape(where)}")

    async def _miss(self, gap: Gap) -> None:
        after = f"between {gap.after} and" if gap.after else "before"
        what = f": what lies {after} {gap.before} was missed"
        complain(("gap", "bold yellow"), f" in {escape(gap.channel)}{escape(what)}")
        if self.outlet is not None:
            await self.outlet.tell(gap)

    def _changed(self, change: Change) -> None:
        match change.state:
            case "open" if self.opened:
                complain(("connected again", "green"))
            case "open":
                self.opened = True
                if sys.stderr.isatty():
                    names = ", ".join(map(escape, self.channels))
                    complain((f"listening to {names} on {escape(self.url)}", "dim"))
            case "waiting":
                wait = f"; again in {change.retry_in:.1f} s"
                complain(("waiting", "yellow"), f": {escape(change.reason)}{wait}")
            case "moving":
                complain((f"{change.reason}; moving to another connection", "dim"))

    def _remember(self, token: str | None) -> None:
        if self.state is not None:
            self.state.save(token)


class _Outlet:
    """Prints to stdout, for people or for programs."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._descriptor = sys.stdout.fileno()
        self._console = Console(highlight=False, soft_wrap=True)

    async def show(self, n: Notification) -> None:
        if self._as_json:
            await self._print_json(n)
            return
        with self._console.capture() as captured:
            self._console.print(card(n), end="")
        await self._write(captured.get())

    async def tell(self, gap: Gap) -> None:
        """People are told on stderr; programs find it in its place."""
        if self._as_json:
            await self._print_json(gap)

    async def until_closed(self) -> None:
        await descriptors.until_closed(self._descriptor)

    async def _print_json(self, item: Notification | Gap) -> None:
        await self._write(json.dumps(dict(item.raw), ensure_ascii=False) + "\n")

    async def _write(self, text: str) -> None:
        await descriptors.write(self._descriptor, text.encode(errors="replace"))


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
