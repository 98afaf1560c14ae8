"""The file in which API keys are kept: TOML, a table ``[[key]]`` for each.

::

    [[key]]
    name = "ci"
    expires = 2027-02-23T16:38:51Z   # where it does
    scopes = ["publish"]
    channels = ["builds:*"]
    created = 2026-11-25T16:38:51Z
    id = "4fJ0xwzQ81Lm"
    sha256 = "9f86d0…"               # of the secret, 64 hexadecimal digits

Where nobody has a key it says so: ``key = []``. A file that says nothing is what is left of one
whose copy is under way, or whose disk was full.

It is replaced as a whole, so whoever reads it sees the old or the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from notifier.auth.keys import ApiKey, Keys
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from notifier.errors import BadRequest

_MAX_BYTES = 4 * 1024 * 1024  # some 20,000 keys; parsing it takes about a second
_REQUIRED = ("name", "scopes", "channels", "created", "id", "sha256")
_HEADING = """\
# API keys of notifier, as `notifier key` writes them: each time anew, comments are lost.
# Of each key only the SHA-256 of its secret is here.
"""


class KeyFileError(Exception):
    """The file can't be used, or not so; one sentence."""


class KeyFileUnreadable(KeyFileError):
    """The system did not let us; it may, the next time."""


class KeyFile:
    """The keys in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[ApiKey]:
        """The keys, in the order in which they were made.

        :raises KeyFileError: it is not there, is not what it should be, or others may read it.
        """
        try:
            return self._parse(self._content())
        except FileNotFoundError:
            raise KeyFileUnreadable(
                f"there is no keys file {self.path}; `notifier key create` makes it"
            ) from None
        except OSError as error:
            raise self._unreadable(error) from None

    def add(self, key: ApiKey) -> None:
        """Keep one more; the first makes the file, which its owner alone may read.

        :raises KeyFileError: there is a key of this name, or the file can't be used.
        """
        with self._changing() as keys:
            if any(other.name == key.name for other in keys):
                raise KeyFileError(
                    f"there is a key {key.name} already; revoke it first, or take another name"
                )
            keys.append(key)

    def remove(self, name: str) -> ApiKey:
        """Keep it no longer.

        :raises KeyFileError: there is none of this name, or the file can't be used.
        """
        with self._changing() as keys:
            found = next((key for key in keys if key.name == name), None)
            if found is None:
                raise KeyFileError(f"there is no key {name!r} in {self.path}")
            keys.remove(found)
        return found

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[ApiKey]]:
        """The keys, which are written when the block ends well; one writer at a time."""
        try:
            # Where the name is a link, what it leads to is replaced.
            path = Path(os.path.realpath(self.path))
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                # The directory, since the file itself is another one after each change.
                fcntl.flock(directory, fcntl.LOCK_EX)
                try:
                    keys = self._parse(self._content())
                except FileNotFoundError:
                    keys = []
                yield keys
                _replace(path, _write(keys))
                # The name's change as well is to outlive a loss of power.
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise self._unreadable(error) from None

    def _content(self) -> bytes:
        # Without waiting, should it be a pipe; what is open is what is checked.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise self._unusable("it is not a file")
            if facts.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
                raise self._unusable(
                    f"others may read or change it (mode {stat.S_IMODE(facts.st_mode):04o}); "
                    "chmod 600 it, or 640"
                )
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise self._unusable(f"it is longer than {_MAX_BYTES} bytes")
        return content

    def _parse(self, content: bytes) -> list[ApiKey]:
        try:
            document = tomllib.loads(content.decode())
        except (ValueError, RecursionError) as error:
            raise self._unusable(f"it is not TOML: {error}") from None
        if not document:
            raise self._unusable(
                "it is empty; where nobody is to have a key, write key = [], and where there never "
                "was one, delete it"
            )
        unknown = document.keys() - {"key"}
        tables = document.get("key", [])
        if unknown or not isinstance(tables, list):
            raise self._unusable("it holds something else than tables [[key]]")
        keys = []
        for number, table in enumerate(tables, 1):
            try:
                keys.append(_key(table))
            except (ValueError, BadRequest) as error:
                name = table.get("name") if isinstance(table, dict) else None
                shown = f" ({name[:64]!r})" if isinstance(name, str) else ""
                raise self._unusable(f"key {number}{shown}: {error}") from None
        try:
            Keys(keys)
        except ValueError as error:
            raise self._unusable(str(error)) from None
        return keys

    def _unreadable(self, error: OSError) -> KeyFileUnreadable:
        return KeyFileUnreadable(f"the keys file {self.path}: {error.strerror or error}")

    def _unusable(self, reason: str) -> KeyFileError:
        return KeyFileError(f"the keys file {self.path} can't be used: {reason}")


def _key(table: object) -> ApiKey:
    """:raises ValueError: a part is missing, unknown, or breaks its rule."""
    if not isinstance(table, dict):
        raise ValueError("write it as a table")
    if unknown := sorted(table.keys() - {*_REQUIRED, "expires"}):
        raise ValueError(f"{unknown[0]!r} is no part of a key")
    if missing := [part for part in _REQUIRED if part not in table]:
        raise ValueError(f"{missing[0]} is missing")
    return ApiKey(
        name=_text(table, "name"),
        id=_text(table, "id"),
        digest=_digest(_text(table, "sha256")),
        scopes=frozenset(_scope(scope) for scope in _list(table, "scopes")),
        channels=Reach.of(_list(table, "channels")),
        created=_moment(table, "created"),
        expires=_moment(table, "expires") if "expires" in table else None,
    )


def _text(table: dict[str, Any], part: str) -> str:
    value = table[part]
    if not isinstance(value, str):
        raise ValueError(f"{part} must be text")
    return value


def _list(table: dict[str, Any], part: str) -> list[Any]:
    value = table[part]
    if not isinstance(value, list):
        raise ValueError(f"{part} must be a list")
    return value


def _moment(table: dict[str, Any], part: str) -> float:
    value = table[part]
    # Without a zone it would depend on the machine's.
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(f"{part} must be a time such as 2026-11-25T16:38:51Z")
    return value.timestamp()


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError("sha256 must be hexadecimal") from None


def _scope(value: object) -> Scope:
    if isinstance(value, str) and value in list(Scope):
        return Scope(value)
    raise ValueError(f"{str(value)[:60]!r} is no scope; there are {', '.join(Scope)}")


def _write(keys: Iterable[ApiKey]) -> bytes:
    return "\n".join([_HEADING, *(list(map(_table, keys)) or ["key = []\n"])]).encode()


def _table(key: ApiKey) -> str:
    """What must be there comes last: of a file cut anywhere, no key is left that lacks its
    ``expires``."""
    expires = [] if key.expires is None else [f"expires = {_rfc3339(key.expires)}"]
    lines = [
        "[[key]]",
        f"name = {_quote(key.name)}",
        *expires,
        f"scopes = {_quote(sorted(key.scopes))}",
        f"channels = {_quote(key.channels.texts())}",
        f"created = {_rfc3339(key.created)}",
        f"id = {_quote(key.id)}",
        f"sha256 = {_quote(key.digest.hex())}",
    ]
    return "\n".join(lines) + "\n"


def _quote(value: object) -> str:
    # JSON's strings and lists are TOML's, for all that names may hold.
    return to_json(value).decode()


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def _replace(path: Path, content: bytes) -> None:
    """All of it or nothing; who may read the file stays as it was, else its owner alone may."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                before, now = path.stat(), os.fstat(descriptor)
                # Written by root, it is still for the user the server runs as.
                if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
                    os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
