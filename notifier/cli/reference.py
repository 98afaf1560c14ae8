"""The reference pages made from the code: ``python -m notifier.cli.reference`` (``make docs``).

Run in a checkout, it writes ``docs/reference/settings.md``, ``docs/reference/cli.md`` and the table
between the markers of ``README.md``. A test fails when they disagree with the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import annotated_types
import click
from pydantic.fields import FieldInfo

from notifier.cli.app import main
from notifier.cli.command import Command, Group
from notifier.cli.settings import default_text
from notifier.config import NamespaceSettings, Settings
from notifier.config.settings import flag_name, group_of, variable_name
from notifier.config.sources import CONFIG_VARIABLE, DEFAULT_FILE
from notifier.config.values import choices_of, kind_of, write_value

README_TABLE = re.compile(r"(<!-- settings -->\n).*?(<!-- /settings -->)", re.DOTALL)
_MADE = "<!-- Made from the code by `make docs`; what is changed here by hand is lost. -->\n"


def settings_page() -> str:
    """``docs/reference/settings.md``."""
    lines = [
        "# Settings",
        "",
        _MADE,
        "Each setting can be given in three ways, and the first of them that does wins:",
        "",
        "1. a flag of `notifier serve`: `--history-ttl 2d`",
        "2. a variable in the environment: `NOTIFIER_HISTORY_TTL=2d`",
        '3. a key of a TOML file: `history_ttl = "2d"`',
        "",
        f"The file is the one named by `--config`, else by `{CONFIG_VARIABLE}`, else "
        f"`./{DEFAULT_FILE}` if it is there. A key it does not know is an error that names the "
        "nearest one. `notifier config show` says what is in effect and where each value comes "
        "from; `notifier config check FILE` says whether a file is good.",
        "",
        "Durations are numbers of seconds, or such as `500ms`, `10m`, `1h30m`, `2d`. Sizes are "
        "numbers of bytes, or such as `64KiB`, `1MiB`, `2GB`. A list is written "
        '`["a", "b"]` in the file and `a,b` elsewhere.',
        "",
    ]
    heading = ""
    for key, field in Settings.model_fields.items():
        if group_of(field) != heading:
            heading = group_of(field)
            lines += [f"## {heading}", ""]
        default = default_text(field)
        lines += [
            f"### `{key}`",
            "",
            field.description or "",
            "",
            f"- flag `{flag_name(key)}`, variable `{variable_name(key)}`",
            f"- {_rule(field)}",
            f"- default: {f'`{default}`' if default else 'none'}",
            "",
        ]
        if key == "namespaces":
            lines += list(_namespaces())
    return "\n".join(lines)


def settings_table() -> str:
    """The table in ``README.md``."""
    lines = ["| setting | default | |", "|---|---|---|"]
    for key, field in Settings.model_fields.items():
        default = default_text(field)
        shown = f"`{default}`" if default else ""
        lines.append(f"| `{key}` | {shown} | {_cell(field.description or '')} |")
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """``docs/reference/cli.md``."""
    lines = [
        "# The command line",
        "",
        _MADE,
        "`notifier COMMAND --help` says the same in a terminal. Colours appear on a terminal only, "
        "and not when `NO_COLOR` is set.",
        "",
    ]
    context = click.Context(main, info_name="notifier")
    for path, command in _commands(main, context):
        lines += [f"## `{path}`", "", command.help or "", ""]
        lines += list(_parameters(command))
        if isinstance(command, Command | Group) and command.examples:
            lines += ["```sh"]
            for line, meaning in command.examples:
                lines += [f"# {meaning}", line]
            lines += ["```", ""]
        if isinstance(command, Command) and command.notes:
            lines += [command.notes, ""]
    return "\n".join(lines)


def with_table(readme: str) -> str:
    """The text of ``README.md`` with its table as it should be, if it has the markers."""
    return README_TABLE.sub(lambda match: match[1] + settings_table() + match[2], readme)


def _namespaces() -> Iterator[str]:
    yield "```toml"
    yield "[namespaces.audit]        # the channels audit:…"
    yield "history_size = 10000"
    yield 'history_ttl = "7d"'
    yield ""
    yield "[namespaces.chat]"
    yield "presence = true"
    yield 'who_may_subscribe = "authenticated"'
    yield "```"
    yield ""
    yield "What a namespace does not set is as on the node:"
    yield ""
    for key, field in NamespaceSettings.model_fields.items():
        yield f"- `{key}`: {_rule(field)}"
    yield ""


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, inner)
        else:
            yield inner.command_path, command


def _parameters(command: click.Command) -> Iterator[str]:
    arguments = [item for item in command.params if isinstance(item, click.Argument)]
    options = [item for item in command.params if isinstance(item, click.Option)]
    names = [(item.metavar or str(item.name).upper(), item.required) for item in arguments]
    usage = " ".join(name if required else f"[{name}]" for name, required in names)
    if usage:
        yield f"Arguments: `{usage}`"
        yield ""
    settings = [item for item in options if item.name in Settings.model_fields]
    others = [item for item in options if item not in settings]
    if others:
        yield "| option | |"
        yield "|---|---|"
        for item in others:
            name = ", ".join(item.opts)
            shown = name if item.is_flag else f"{name} {_placeholder(item)}"
            yield f"| `{_cell(shown)}` | {_cell(item.help or '')}{_default(item)} |"
        yield ""
    if settings:
        yield "And a flag for each [setting](settings.md)."
        yield ""


def _placeholder(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(str(choice) for choice in option.type.choices)
    return "TEXT"


def _default(option: click.Option) -> str:
    facts = []
    if option.show_default and isinstance(option.default, str | int | float):
        facts.append(f"default `{option.default}`")
    if option.show_envvar and option.envvar:
        facts.append(f"variable `{option.envvar}`")
    return f" ({', '.join(facts)})" if facts else ""


def _rule(field: FieldInfo) -> str:
    if choices := choices_of(field):
        return "one of " + ", ".join(f"`{choice}`" for choice in choices)
    bounds = []
    for rule in field.metadata:
        match rule:
            case annotated_types.Ge(ge=bound):
                bounds.append(f"at least `{write_value(field, bound)}`")
            case annotated_types.Gt(gt=bound):
                bounds.append(f"more than `{write_value(field, bound)}`")
            case annotated_types.Le(le=bound):
                bounds.append(f"at most `{write_value(field, bound)}`")
    return ", ".join([kind_of(field), *bounds])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def write_pages(checkout: Path) -> None:
    """Write what is made from the code into its pages."""
    reference = checkout / "docs" / "reference"
    reference.mkdir(parents=True, exist_ok=True)
    (reference / "settings.md").write_text(settings_page(), "utf-8")
    (reference / "cli.md").write_text(cli_page(), "utf-8")
    readme = checkout / "README.md"
    if readme.is_file():
        readme.write_text(with_table(readme.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    write_pages(Path.cwd())
