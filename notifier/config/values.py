"""What a setting's value may be, how it is read from text, and how it is written again.

A flag and an environment variable are text; the TOML file has numbers, lists and tables. Each type
here reads both.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from notifier.auth.origin import ANY_ORIGIN
from notifier.channels import check_channel
from notifier.config.redisurl import without_password
from notifier.config.sizes import format_size, parse_size
from notifier.durations import parse_duration
from notifier.errors import BadRequest


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


def _or_auto(value: object) -> object:
    return 0 if value == "auto" else value


def _separated(value: object) -> object:
    """A list; names in text are separated by commas."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    names: list[object] = []
    for item in value:
        if isinstance(item, str):
            names.extend(name for part in item.split(",") if (name := part.strip()))
        else:
            names.append(item)
    return names


def _host_name(name: str) -> str:
    if name == "*":
        return name
    host = name.lower().rstrip(".")
    if not re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", host):
        raise ValueError(
            f"{name!r} is not a host name: write it without scheme, port or path, such as "
            "push.example.org, or * alone for any"
        )
    return host


def _origin(origin: str) -> str:
    if origin == ANY_ORIGIN:
        return origin
    try:
        parts = urlsplit(origin.lower())
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{origin!r} is not an origin: {error}") from None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "*" in parts.hostname
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ValueError(
            f"{origin!r} is not an origin: write scheme, host and, if it is not the usual one, "
            "the port, such as https://app.example.org, or * for any"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, usual) else "")


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no address and no network such as 10.0.0.0/8 ({error})"
        ) from None


def _table(value: object) -> object:
    """A table; text is JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(
            f'write a JSON object such as {{"audit": {{"history_size": 1000}}}} ({error})'
        ) from None


def _namespace_name(name: str) -> str:
    try:
        check_channel(name)
    except BadRequest as error:
        raise ValueError(error.message) from None
    if ":" in name:
        raise ValueError("a namespace is the part of a channel's name before its first colon")
    return name


@dataclass(frozen=True, slots=True)
class HoldsPassword:
    """A URL whose password is not to be shown."""


@dataclass(frozen=True, slots=True)
class IsSecret:
    """Not to be shown at all."""


@dataclass(frozen=True, slots=True)
class IsPath:
    """Names a file; empty where there is none."""


DURATION = BeforeValidator(_duration)
SIZE = BeforeValidator(_size)
AUTO = BeforeValidator(_or_auto)
_LIST = BeforeValidator(_separated)

_WITH_PASSWORD = HoldsPassword()

_SECRET = IsSecret()
_PATH = IsPath()

FilePath = Annotated[str, _PATH]
Secret = Annotated[str, _SECRET]
Who = Literal["auto", "public", "authenticated", "owner", "granted"]
BrokerURL = Annotated[str, _WITH_PASSWORD]
Duration = Annotated[float, DURATION]
Size = Annotated[int, SIZE]
Workers = Annotated[int, AUTO]
HostNames = Annotated[tuple[Annotated[str, AfterValidator(_host_name)], ...], _LIST]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], _LIST]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], _LIST]
NamespaceName = Annotated[str, AfterValidator(_namespace_name)]
FROM_JSON = BeforeValidator(_table)


def is_list(field: FieldInfo) -> bool:
    """Whether the setting is a list, so that its flag may be repeated."""
    return _LIST in field.metadata


def is_switch(field: FieldInfo) -> bool:
    """Whether the setting is on or off."""
    return field.annotation in (bool, bool | None)


def is_path(field: FieldInfo) -> bool:
    """Whether the setting names a file."""
    return _PATH in field.metadata


def is_secret(field: FieldInfo) -> bool:
    """Whether nobody is to see the setting's value."""
    return _SECRET in field.metadata


def choices_of(field: FieldInfo) -> tuple[str, ...]:
    """The words the setting may be; none where it is no such setting."""
    for part in (field.annotation, *get_args(field.annotation)):
        if get_origin(part) is Literal:
            return get_args(part)
    return ()


def refuse_bool(value: object, field: FieldInfo) -> object:
    """:raises ValueError: true or false was given for something else."""
    if isinstance(value, bool) and not is_switch(field):
        raise ValueError("true and false are no values of this setting")
    return value


def kind_of(field: FieldInfo) -> str:
    """What the setting's value may be, as a phrase."""
    if DURATION in field.metadata:
        return "a number of seconds, or a duration such as 10m or 1h30m"
    if SIZE in field.metadata:
        return "a number of bytes, or a size such as 64MiB"
    if AUTO in field.metadata:
        return "a whole number, or auto"
    if is_list(field):
        return "a list of names"
    if FROM_JSON in field.metadata:
        return "a table of tables"
    if is_switch(field):
        return "true or false"
    if is_path(field):
        return "a path"
    return "a whole number" if field.annotation in (int, int | None) else "text"


def write_value(field: FieldInfo, value: Any) -> Any:
    """A value as people write it: ``43200.0`` is ``12h``, ``67108864`` is ``64MiB``."""
    if value is None:
        return None
    if DURATION in field.metadata:
        return _format_duration(value)
    if SIZE in field.metadata:
        return format_size(value)
    if _WITH_PASSWORD in field.metadata:
        return without_password(value)
    if is_secret(field):
        return value and "***"
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {name: write_value(fields[name], getattr(value, name)) for name in fields}
    if isinstance(value, dict):
        return {
            name: {
                key: entry for key, entry in write_value(field, own).items() if entry is not None
            }
            for name, own in value.items()
        }
    return list(value) if isinstance(value, tuple) else value


def _format_duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        # 24h, 60m and 90s read better than 1d, 1h and 1.5m.
        if seconds >= 2 * length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
        if unit == "h" and seconds == length:
            return "1h"
    if 0 < seconds < 1 and (seconds * 1000).is_integer():
        return f"{seconds * 1000:.0f}ms"
    return str(seconds).removesuffix(".0") + "s"
