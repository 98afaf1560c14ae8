"""The keys of a JWKS URL, fetched when :class:`~notifier.auth.jwks.Jwks` says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tornado.httpclient import HTTPError
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from notifier import logs
from notifier.auth.jwks import MAX_DOCUMENT_BYTES, Jwks, Need
from notifier.auth.keyset import Keyset

log = logging.getLogger("notifier.auth")

_TIMEOUT = 5.0

Fetch = Callable[[], Awaitable[bytes]]


class CannotFetch(Exception):
    """No document came; the text says why."""


class KeySource:
    """Hands out the keys of a URL, and has one fetch under way at most.

    :param fetch: gets the document; raises :class:`CannotFetch`.
    :param clock: monotonic seconds.
    """

    def __init__(self, jwks: Jwks, fetch: Fetch, clock: Callable[[], float]) -> None:
        self._jwks = jwks
        self._fetch = fetch
        self._clock = clock
        self._fetching: asyncio.Task[None] | None = None
        # Why the last fetch failed, and how many keys were left then, as it was logged.
        self._told: tuple[str, int] | None = None

    async def keys(self, kid: str | None) -> Keyset:
        """The keys for a token that means this one; waits for a fetch where that may bring it."""
        now = self._clock()
        need = self._jwks.need(kid, now)
        if need is Need.NOTHING:
            return self._jwks.keys(now)
        self._fetch_soon(now)
        if need is Need.WAIT and self._fetching is not None:
            self._jwks.ask(kid)
            # Not the task itself: who stops waiting must not stop it for the others.
            await asyncio.wait({self._fetching})
        return self._jwks.keys(self._clock())

    def current(self) -> Keyset:
        """The keys that count now; may begin a fetch of newer ones behind the back of whoever asks,
        if there was one before."""
        now = self._clock()
        if self._jwks.is_old(now):
            self._fetch_soon(now)
        return self._jwks.keys(now)

    def wait(self, kid: str | None) -> float | None:
        """Seconds until a fetch may bring this key; ``None``: it is there, or none would."""
        return self._jwks.wait(kid, self._clock())

    def has(self, fingerprint: str) -> bool | None:
        """Whether this one is among the keys that came last; ``None`` where only the next tell."""
        return self._jwks.has(fingerprint)

    def expect(self, fingerprint: str) -> None:
        """Another node has verified something with this key: it may be among the next."""
        self._jwks.expect(fingerprint)

    @property
    def problem(self) -> str | None:
        """Why the last fetch failed; ``None`` when it did not."""
        return self._jwks.problem

    async def close(self) -> None:
        """Give up a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})

    def _fetch_soon(self, now: float) -> None:
        if self._fetching is None and self._jwks.may_fetch(now):
            self._jwks.begin(now)
            self._fetching = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        try:
            self._jwks.take(await self._fetch(), self._clock())
        except (CannotFetch, ValueError) as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 (those who wait must go on)
            self._fail(f"unforeseen: {type(error).__name__}", error)
        else:
            if self._told is not None:
                self._told = None
                logs.event(log, logging.INFO, "jwks.recovered")
            for reason in self._jwks.passed_over:
                logs.event(log, logging.DEBUG, "jwks.key_passed_over", reason=reason)
        finally:
            self._fetching = None

    def _fail(self, reason: str, unforeseen: Exception | None = None) -> None:
        self._jwks.fail(reason)
        told, kept = self._told, len(self._jwks.keys(self._clock()))
        self._told = reason, kept
        # It may fail every ten seconds for days.
        if self._told != told:
            level = logging.WARNING if unforeseen is None else logging.ERROR
            logs.event(log, level, "jwks.failed", reason=reason, keys=kept, exc_info=unforeseen)


def fetcher(url: str, timeout: float = _TIMEOUT) -> Fetch:
    """Gets this URL: once, without redirects, and no more than 256 KiB of it."""

    async def fetch() -> bytes:
        # One of its own, whose limit on what it reads is ours.
        client = SimpleAsyncHTTPClient(
            force_instance=True,
            max_body_size=MAX_DOCUMENT_BYTES,
            max_buffer_size=MAX_DOCUMENT_BYTES + 64 * 1024,
        )
        try:
            response = await client.fetch(
                url,
                # A redirect might lead to plain http, or to a neighbour inside the network.
                follow_redirects=False,
                connect_timeout=timeout,
                request_timeout=timeout,
                headers={"Accept": "application/json"},
                user_agent="notifier",
                # What it inflates to would have to be bounded too.
                decompress_response=False,
            )
        except HTTPError as error:
            raise CannotFetch(f"it answered {error.code}: {error.message}") from None
        except OSError as error:
            raise CannotFetch(error.strerror or str(error)) from None
        except Exception as error:  # noqa: BLE001 (Tornado raises whatever its parser does)
            raise CannotFetch(f"no answer that can be read ({type(error).__name__})") from None
        finally:
            client.close()
        return response.body

    return fetch
