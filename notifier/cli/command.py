"""Commands whose help has examples, and options in groups."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Any

import click

# What begins with - and is none of our options, and none of theirs mistyped.
_ID = re.compile(r"-[^-].+|--(?=.*[A-Z0-9_])[^=]+")


class GroupedOption(click.Option):
    """An option shown under a heading of its own in the help."""

    def __init__(self, *args: Any, heading: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading


class _Examples(click.Command):
    """Ends the help with examples: each a command line and what it does."""

    def __init__(
        self, *args: Any, examples: Iterable[tuple[str, str]] = (), notes: str = "", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.notes = notes

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for line, meaning in self.examples:
                    # Not wrapped: an example is there to be copied.
                    formatter.write(f"  {line}\n      {meaning}\n")
        if self.notes:
            formatter.write_paragraph()
            formatter.write_text(self.notes)


class Command(_Examples):
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if not isinstance(parameter, click.Option):
                continue
            record = parameter.get_help_record(ctx)
            if record is not None:
                heading = parameter.heading if isinstance(parameter, GroupedOption) else "Options"
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class OfId(Command):
    """A command whose argument is an id. Of ids of base64url 1 in 64 begins with ``-``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        valued = {name for each in options if not each.is_flag for name in each.opts}
        others: list[str] = []
        ids: list[str] = []
        rest = iter(args)
        for arg in rest:
            if arg == "--":
                ids += rest
            elif arg in valued:
                others += [arg, *islice(rest, 1)]
            else:
                (ids if _ID.fullmatch(arg) else others).append(arg)
        return super().parse_args(ctx, [*others, "--", *ids] if ids else others)


class Group(_Examples, click.Group):
    command_class = Command
