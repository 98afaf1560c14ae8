"""The command line: which commands there are, and where each lives."""

from __future__ import annotations

import importlib

import click

from notifier import __version__
from notifier.cli.command import Group

# A command's module is imported when it is called: `publish` in a loop need not load the settings.
_COMMANDS = {
    "serve": "notifier.cli.serve",
    "publish": "notifier.cli.publish",
    "subscribe": "notifier.cli.subscribe",
    "history": "notifier.cli.history",
    "channels": "notifier.cli.channels",
    "presence": "notifier.cli.presence",
    "nodes": "notifier.cli.nodes",
    "connections": "notifier.cli.connections",
    "disconnect": "notifier.cli.disconnect",
    "revoke": "notifier.cli.revoke",
    "key": "notifier.cli.key",
    "token": "notifier.cli.token",
    "config": "notifier.cli.config",
    "bench": "notifier.cli.bench",
    "version": "notifier.cli.version",
}


class _LazyGroup(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(_COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)  # the contract of _COMMANDS
        return command


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples=[
        ("notifier serve", "listen on http://127.0.0.1:8888"),
        ('notifier publish alerts "Disk full on db1"', "tell everybody who listens to alerts"),
        ("notifier subscribe alerts", "listen"),
    ],
)
@click.version_option(__version__, "--version", message="%(prog)s %(version)s")
def main() -> None:
    """Real-time notifications: what one publishes, every page that listens shows at once."""
