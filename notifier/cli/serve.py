"""``notifier serve``: run a node."""

from __future__ import annotations

import logging
import stat
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from notifier import logs
from notifier.cli.command import Command
from notifier.cli.settings import load_settings, with_settings
from notifier.cli.terminal import Exit, complain, fail
from notifier.config import Settings
from notifier.config.sources import Loaded
from notifier.config.values import is_secret

_log = logging.getLogger("notifier.cli")


def _greet(url: str, *, asks: bool) -> None:
    """On a terminal, what to do next; a log has the event and needs no more.

    :param asks: for a key or a token.
    """
    if sys.stderr.isatty():
        shown = '-H "Authorization: Bearer $KEY" ' if asks else ""
        complain()
        complain("  Open     ", (url, "bold cyan"))
        complain("  Send     ", (f'curl {shown}-d "Disk full on db1" {url}/notify/alerts', "cyan"))
        complain("  Stop     ", ("Ctrl-C", "cyan"))
        complain()


@click.command(
    "serve",
    cls=Command,
    short_help="Run the server.",
    examples=[
        ("notifier serve", "on http://127.0.0.1:8888, with the built-in page"),
        ("notifier serve --port 0", "on any free port; the log says which"),
        (
            "notifier serve --host 0.0.0.0 --allowed-hosts push.example.org --keys-file keys.toml",
            "for others who have a key, under a name of its own",
        ),
        (
            "notifier serve --broker sqlite:notifier.db",
            "with a history that outlives the process",
        ),
        (
            "notifier serve --workers auto --broker redis://localhost",
            "on every core; Redis joins them, and other machines",
        ),
        ("NOTIFIER_HISTORY_TTL=2d notifier serve", "a setting from the environment"),
        ("notifier serve --config notifier.toml", "settings from a file"),
    ],
    notes="A flag wins over the environment (NOTIFIER_PORT and so on), that over the file. "
    "Durations are seconds or such as 10m, 1h30m; sizes are bytes or such as 64MiB. On SIGTERM or "
    "Ctrl-C the server sends its clients away in good order and exits 0; the second time it stops "
    "at once. When it cannot start it exits 1, and 2 for settings that can't be used. Each worker "
    "is a whole node, with limits of its own; one that falls is started again.",
)
@with_settings
def command(config: Path | None, **flags: Any) -> None:
    """Run the server until it is told to stop."""
    loaded = load_settings(config, flags)
    logs.configure(loaded.settings.log_level, loaded.settings.log_format)
    if loaded.file is not None:
        logs.event(_log, logging.INFO, "config.read", file=str(loaded.file))
        _warn_of_readers(loaded.file, loaded)
    for name, near in loaded.unknown_variables.items():
        facts: dict[str, Any] = {} if near is None else {"nearest": near}
        logs.event(_log, logging.WARNING, "config.unknown_variable", variable=name, **facts)

    # Late, since it brings Tornado: help and bad settings need not wait for it.
    from notifier.authentication import authenticates
    from notifier.serving import CannotServe, run

    try:
        greet = partial(_greet, asks=authenticates(loaded.settings))
        code = run(loaded.settings, greet=greet, origins=loaded.origins)
    except CannotServe as error:
        raise fail(Exit.REFUSED, str(error)) from None
    raise click.exceptions.Exit(code)


def _warn_of_readers(file: Path, loaded: Loaded) -> None:
    """Say so where others than its owner and its group may read secrets in the file."""
    fields = Settings.model_fields
    secrets = [
        name
        for name, origin in loaded.origins.items()
        if origin.kind == "file" and is_secret(fields[name])
    ]
    if secrets and file.stat().st_mode & stat.S_IROTH:
        logs.event(
            _log,
            logging.WARNING,
            "config.read_by_others",
            file=str(file),
            secrets=",".join(secrets),
            hint=f"chmod o= {file}",
        )
