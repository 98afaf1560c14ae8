"""A server that asks who one is, and keys and tokens it takes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from notifier.auth.issuing import make_token, signing_secret
from notifier.auth.keyfile import KeyFile
from notifier.auth.keys import make_key
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from tests.auth.signing import SECRET
from tests.browser.serving import Server

PUBLIC = '{"open": {"who_may_subscribe": "public", "who_may_publish": "public"}}'


class Guarded(Server):
    """Everybody may use `open:…`; the rest needs a grant. It publishes with a key of its own.

    :ivar key: may do everything.
    :ivar reader: may listen to `alerts`.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.file = KeyFile(folder / "keys.toml")
        self.key = self.new_key("test", "*")
        self.reader = self.new_key("reader", "alerts", scopes=(Scope.SUBSCRIBE,))
        given = ("--keys-file", str(self.file.path), "--token-secret", SECRET)
        super().__init__(*given, "--namespaces", PUBLIC, *arguments)
        self.headers = {"Authorization": f"Bearer {self.key}"}

    def new_key(self, name: str, *channels: str, scopes: tuple[Scope, ...] = tuple(Scope)) -> str:
        key, text = make_key(name, scopes=scopes, channels=Reach.of(channels), created=time.time())
        self.file.add(key)
        return text


def token(*channels: str, seconds: float = 600, sub: str = "42", **claims: Any) -> str:
    """One that the server takes for so long."""
    said = {"sub": sub, "channels": list(channels), "exp": time.time() + seconds, **claims}
    return make_token(said, signing_secret(SECRET))
