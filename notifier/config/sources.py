"""Where settings come from: flags, the environment, a TOML file; and what is wrong with them."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from notifier.config.namespaces import NamespaceSettings
from notifier.config.redisurl import without_password
from notifier.config.settings import (
    PREFIX,
    Settings,
    flag_name,
    variable_name,
)
from notifier.config.values import is_list, is_secret, kind_of

DEFAULT_FILE = "notifier.toml"
CONFIG_VARIABLE = PREFIX + "CONFIG"
# Read by the command line itself, so no misspelt settings.
_OTHER_VARIABLES = frozenset({CONFIG_VARIABLE, PREFIX + "URL"})
# What Kubernetes puts into every container beside a service named "notifier".
_SERVICE_LINK = re.compile(rf"{PREFIX}(SERVICE_(HOST|PORT.*)|PORT_\d+_.*)")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: ``name`` is the flag, the variable or the file. ``code``: a program
    has set it that runs the server by itself.
    """

    kind: Literal["default", "file", "environment", "flag", "code"]
    name: str = ""

    def quote(self, path: str, value: object) -> str:
        """The value as it stands there; ``path`` is ``port``, ``namespaces.audit.history_ttl``."""
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        if self.kind == "file":
            text = json.dumps(value, default=str, ensure_ascii=False)
        if len(text) > 80:
            text = text[:79] + "…"
        _, dot, inner = path.partition(".")
        match self.kind:
            case "flag" | "environment" if dot:
                return f"{inner} = {text} in {self.name}"
            case "flag":
                return f"{self.name} {text}"
            case "environment":
                return f"{self.name}={text}"
            case "file":
                return f"{path} = {text} in {self.name}"
            case "default" | "code":
                return f"{path} = {text}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each came from.

    :param file: the file that was read, if one was.
    :param unknown_variables: names in the environment that begin like ours and are no setting,
        each with the nearest that is, or None.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    file: Path | None
    unknown_variables: Mapping[str, str | None]


class SettingsError(Exception):
    """Settings that can't be used; one sentence for each problem."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def load(flags: Mapping[str, object] | None = None, file: Path | None = None) -> Loaded:
    """The effective settings.

    :param flags: by the setting's name; only those that were given.
    :param file: the TOML file; without one that of ``NOTIFIER_CONFIG``, else ``notifier.toml``
        in the working directory if it is there.
    :raises SettingsError: naming each bad value with its source and the rule it breaks.
    """
    path = _find_file(file)
    # Weakest first: what comes later wins.
    sources: list[tuple[Mapping[str, object], Callable[[str], Origin]]] = []
    if path is not None:
        sources.append((_read_file(path), lambda key: Origin("file", str(path))))
    environment = EnvSettingsSource(Settings)()
    sources.append((environment, lambda key: Origin("environment", variable_name(key))))
    sources.append((flags or {}, lambda key: Origin("flag", flag_name(key))))

    merged: dict[str, Any] = {}
    origins = {key: Origin("default") for key in Settings.model_fields}
    for values, origin_of in sources:
        merged |= values
        origins |= {key: origin_of(key) for key in values}
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        problems = [_describe(details, merged, origins) for details in error.errors()]
        raise SettingsError(problems) from None
    return Loaded(settings, origins, path, _unknown_variables())


def _find_file(file: Path | None) -> Path | None:
    if file is None:
        named = os.environ.get(CONFIG_VARIABLE)
        if not named:
            return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else None
        file = Path(named)
    return file


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror or error}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path} is not TOML: {error}"]) from None


def _unknown_variables() -> dict[str, str | None]:
    known = {variable_name(key) for key in Settings.model_fields} | _OTHER_VARIABLES
    unknown: dict[str, str | None] = {}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known and not _SERVICE_LINK.fullmatch(name):
            # Without the prefix: it would make all of them look alike.
            near = nearest(name.removeprefix(PREFIX).lower(), Settings.model_fields)
            unknown[name] = near and variable_name(near)
    return unknown


def _describe(
    details: ErrorDetails, values: Mapping[str, object], origins: Mapping[str, Origin]
) -> str:
    """One sentence: what was written where, and the rule it breaks."""
    # pydantic marks a table's bad key by a last part "[key]".
    location = [str(part) for part in details["loc"] if part != "[key]"]
    key, inner = location[0], location[1:]
    origin = origins.get(key, Origin("default"))
    if details["type"] == "extra_forbidden":
        known = NamespaceSettings.model_fields if inner else Settings.model_fields
        near = nearest(location[-1], known)
        hint = f"did you mean {near}?" if near else f"known are {', '.join(sorted(known))}"
        where = f" in {origin.name}" if origin.name else ""
        return f"{'.'.join(location)}{where} is no setting; {hint}"

    field = Settings.model_fields[key]
    reason = details.get("ctx", {}).get("error")
    rule = str(reason or details["msg"].replace("Input should", "must", 1))
    if details["type"].startswith("bool_"):
        rule = "must be true or false"
    elif rule.startswith(("must be a valid", "must be a dictionary")) and not inner:
        rule = f"must be {kind_of(field)}"
    if is_list(field) and inner:
        return f"{origin.quote(key, details['input'])}: {rule}"
    value = details["input"] if inner else values.get(key, details["input"])
    if is_secret(field):
        value = "***"
    elif isinstance(value, str):
        value = without_password(value)
    return f"{origin.quote('.'.join(location), value)}: {rule}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name this one was probably meant to be."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)), None)
