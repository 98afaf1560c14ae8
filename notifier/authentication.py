"""What the settings say of who is who and who may do what, put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from notifier.auth.authenticator import Authenticator, Source
from notifier.auth.keyfile import KeyFile, KeyFileError
from notifier.auth.keywatch import WatchedKeys
from notifier.auth.shelf import Shelf
from notifier.config import Settings
from notifier.config.access import access_of
from notifier.config.tokens import TokenKeysError, static_keys, token_rules, verifies_tokens


class CannotAuthenticate(Exception):
    """A file of keys can't be used; one sentence."""


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
        self._keys: WatchedKeys | None = None
        try:
            if settings.keys_file:
                self._keys = WatchedKeys(KeyFile(Path(settings.keys_file)))
            static = static_keys(settings)
        except (KeyFileError, TokenKeysError) as error:
            raise CannotAuthenticate(str(error)) from error
        self.access = access_of(settings, authenticates=authenticates(settings))
        self.authenticator = Authenticator(
            clock,
            holder=self._keys,
            rules=token_rules(settings),
            static=static,
            source=source,
            shelf=shelf,
        )

    def look(self, *, again: bool = False) -> bool:
        """Whether the file of keys has changed; reads it then, or in any case."""
        return self._keys is not None and self._keys.look(again=again)


def authenticates(settings: Settings) -> bool:
    """Whether anybody can show who it is."""
    return bool(settings.keys_file) or verifies_tokens(settings)
