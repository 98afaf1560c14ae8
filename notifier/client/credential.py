"""Who this program says it is: a key or a token, from whoever has fresh ones."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from notifier.client.failures import Unreachable

Token = str | Callable[[], Awaitable[str | None]]

_MOST_AHEAD = 60.0  # seconds before its end, that a token is renewed
_SOONEST = 1.0  # whatever a token says: who gives them out is not to be stormed
# What keys and tokens are made of. Of anything else Tornado makes an error that has all of it.
_SENDABLE = re.compile(r"[A-Za-z0-9_.~+-]+")


class Credential:
    """A text is shown as long as the server takes it. A function is awaited for another whenever
    one is needed; one that gives ``None`` says that there is nobody to name.

    :param clock: seconds since 1970.
    :raises ValueError: the text can't be a key or a token.
    """

    def __init__(
        self, source: Token | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._text = _checked(source) if isinstance(source, str) else None
        self._ask = None if source is None or isinstance(source, str) else source
        self._clock = clock
        self._lock = asyncio.Lock()
        self._asked = 0  # how often there was an answer

    @property
    def is_renewable(self) -> bool:
        return self._ask is not None

    async def get(self) -> str | None:
        """What to show: what is held while it is good, else a fresh one.

        Raises as :meth:`fresh`.
        """
        if self._ask is None:
            return self._text
        left = None if self._text is None else self.left()
        if self._text is None or (left is not None and left <= 0):
            return await self.fresh()
        return self._text

    async def fresh(self) -> str | None:
        """Another one; those who ask meanwhile share it.

        :raises Unreachable: the function raised something.
        :raises ValueError: what it gave can't be a token.
        """
        assert self._ask is not None
        before = self._asked
        async with self._lock:
            if self._asked == before:
                try:
                    given = await self._ask()
                except Exception as error:
                    raise Unreachable(f"the function that gives tokens failed: {error}") from error
                self._text = None if given is None else _checked(given)
                self._asked += 1
            return self._text

    def drop(self, text: str | None) -> None:
        """The server takes it no more."""
        if self._ask is not None and text == self._text:
            self._text = None

    def left(self) -> float | None:
        """Seconds until it is over, as it says itself; ``None`` where it does not."""
        end = None if self._text is None else expiry(self._text)
        return None if end is None else end - self._clock()


def expiry(token: str) -> float | None:
    """When a JWT ends, in seconds since 1970 (RFC 7519 §4.1.4); ``None`` for what is none."""
    payload = token.split(".")[1:2]
    try:
        padded = payload[0] + "=" * (-len(payload[0]) % 4)
        claims: Any = json.loads(base64.urlsafe_b64decode(padded))
        end = float(claims["exp"])
    except (ArithmeticError, binascii.Error, LookupError, RecursionError, TypeError, ValueError):
        return None
    return end if math.isfinite(end) else None


def renew_in(left: float) -> float:
    """How many seconds to wait before a token that is good for so many is renewed."""
    return max(_SOONEST, left - min(_MOST_AHEAD, left / 2))


def _checked(text: str) -> str:
    text = text.strip()
    if not _SENDABLE.fullmatch(text):
        raise ValueError(
            "this is no key and no token: it is empty, or has characters that none has"
        )
    return text
