"""What the settings say of who is who and who may do what, put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from notifier.auth.authenticator import Authenticator, Fixed, Source
from notifier.auth.keyfile import KeyFile, KeyFileError, KeyFileUnreadable
from notifier.auth.keys import Keys
from notifier.auth.keyset import Keyset
from notifier.auth.keywatch import WatchedKeys
from notifier.auth.shelf import Shelf
from notifier.config import Settings
from notifier.config.access import access_of
from notifier.config.tokens import (
    TokenKeysError,
    TokenKeysUnreadable,
    static_keys,
    token_rules,
    verifies_tokens,
)


class CannotAuthenticate(Exception):
    """A file of keys can't be used; one sentence."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was found where keys are kept.

    :param kind: of the credentials that they are about.
    :param place: a file, or a URL.
    :param by: ``signal``: somebody asked for it; ``watch`` or ``fetch``: it was seen.
    :param changed: other keys are in force now; if not, these can't be used.
    """

    kind: Literal["key", "token"]
    place: str
    by: str
    changed: bool


class Authentication:
    """Keys, tokens and rules of one node.

    :param source: of the keys that the settings have fetched, if they do.
    :param shelf: where tickets are kept.
    :param clock: seconds since 1970.
    :raises CannotAuthenticate:
    """

    def __init__(
        self,
        settings: Settings,
        source: Source | None = None,
        shelf: Shelf | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._source = source
        # The last keys that were fetched, as far as was looked.
        self._fetched: Keyset | None = None
        self._keys: WatchedKeys[Keys] | None = None
        self._token_keys: WatchedKeys[Keyset] | None = None
        try:
            if settings.keys_file:
                file = KeyFile(Path(settings.keys_file))
                self._keys = WatchedKeys(file.path, lambda: Keys(file.read()))
            if settings.token_keys_file:
                path = Path(settings.token_keys_file)
                self._token_keys = WatchedKeys(path, self._read_token_keys)
            static = self._token_keys or Fixed(static_keys(settings))
        except KeyFileError as error:
            raise CannotAuthenticate(str(error)) from error
        self.access = access_of(settings, authenticates=authenticates(settings))
        self.authenticator = Authenticator(
            clock,
            holder=self._keys,
            rules=token_rules(settings),
            static=static,
            source=source,
            shelf=shelf,
            tickets_each=settings.max_tickets_per_user,
        )

    def look(self, *, again: bool = False) -> list[Look]:
        """See whether keys have changed; read the files then, or in any case.

        :returns: of all that have, or that can't be used any more; or of all.
        """
        looks = []
        if self._keys is not None:
            looks += _look_at("key", self._settings.keys_file, self._keys, again)
        if self._token_keys is not None:
            looks += _look_at("token", self._settings.token_keys_file, self._token_keys, again)
        if self._source is not None:
            fetched = self._source.current()
            # None are at hand before the first fetch, and where the last was too long ago.
            if fetched and fetched is not self._fetched:
                if self._fetched is not None:
                    url = self._settings.token_jwks_url
                    looks.append(Look("token", url, "fetch", changed=True))
                self._fetched = fetched
        return looks

    def _read_token_keys(self) -> Keyset:
        try:
            return static_keys(self._settings)
        except TokenKeysUnreadable as error:
            raise KeyFileUnreadable(str(error)) from None
        except TokenKeysError as error:
            raise KeyFileError(str(error)) from None


def _look_at(
    kind: Literal["key", "token"], file: str, watched: WatchedKeys[Any], again: bool
) -> list[Look]:
    known = watched.problem
    changed = watched.look(again=again)
    if changed or again or watched.problem not in (None, known):
        return [Look(kind, file, "signal" if again else "watch", changed)]
    return []


def authenticates(settings: Settings) -> bool:
    """Whether anybody can show who it is."""
    return bool(settings.keys_file) or verifies_tokens(settings)
