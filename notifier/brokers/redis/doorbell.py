"""The doorbells of one shard: what is listened to there, over however many connections.

A connection that Redis has silently let go of, or that a network swallows, looks like one on which
nothing happens. So it rings its own doorbell every few seconds; when it does not hear that, it is
deaf, and another takes its place. Whatever was rung in between may have been missed: each ear is
told when it hears again, and reads what happened from the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from redis.exceptions import RedisError

from notifier.brokers.redis.commands import Call, Commands, why
from notifier.brokers.redis.link import Link
from notifier.brokers.redis.scripts import RING
from notifier.brokers.redis.topology import Shard
from notifier.errands import end
from notifier.errors import BrokerUnavailable

# Between two probes of one connection.
PROBE_SECONDS = 2.0
# Between attempts to connect; it doubles up to the second.
RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 1.0
# Doorbells asked for in one write.
BREATH = 256


class Ear(Protocol):
    """Who listens to a doorbell. Called on the loop's thread; must not block."""

    def hears(self) -> None:
        """It does from now on. What was rung before, since it last did, it may have missed."""

    def rung(self, bell: bytes, message: bytes) -> None:
        """:param bell: where, for who listens to a pattern of them."""


@dataclass(slots=True)
class Listening:
    """An ear, and whether it hears.

    :param verb: what Redis is asked with.
    :param confirmed: done when it hears; another one when it has ceased to.
    """

    ear: Ear
    verb: str
    confirmed: asyncio.Future[None]


class Doorbell:
    """What is listened to on one shard.

    :param connect: makes a link that tells what the doorbell wants to be told.
    :param timeout: seconds that connecting, or hearing a probe, may take.
    :param on_heard: told that the shard is heard again, or for the first time.
    :param on_moved: told that something that is asked for here is elsewhere.
    """

    def __init__(
        self,
        shard: Shard,
        *,
        connect: Callable[[Doorbell], asyncio.Future[Link]],
        commands: Commands,
        probe: str,
        timeout: float,
        on_heard: Callable[[], None],
        on_moved: Callable[[], None],
    ) -> None:
        self.shard = shard
        self.listening: dict[bytes, Listening] = {}
        # Why it can't be relied on just now.
        self.trouble: str | None = "Redis has not been reached yet."
        self.on_moved = on_moved
        self._on_heard = on_heard
        # Done when it is known whether Redis is there.
        self.tried = asyncio.Event()
        self._connect = connect
        self._commands = commands
        self._probe = probe
        self._timeout = timeout
        self._link: Link | None = None
        # How often each was asked for that is not confirmed yet.
        self._asked: Counter[bytes] = Counter()
        self._heard: asyncio.Future[None] | None = None
        self._nonce = b""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        await end([self._task])

    # --- listening ---

    def listen(self, name: bytes, listening: Listening) -> None:
        """From now on, over whatever connection there is."""
        self._deafen(listening)
        self.listening[name] = listening
        self.ask_again(name, listening)

    def ask_again(self, name: bytes, listening: Listening) -> None:
        """It may have been refused, or taken away."""
        if self._link is not None:
            self._ask(self._link, name, listening)

    def _ask(self, link: Link, name: bytes, listening: Listening) -> None:
        self._asked[name] += 1
        link.send((listening.verb, name))

    def ignore(self, name: bytes) -> Listening | None:
        """No more; who it was that listened."""
        listening = self.listening.pop(name, None)
        if listening is not None and self._link is not None:
            self._link.send((_UNDO[listening.verb], name))
        return listening

    # --- what the link tells ---

    def message(self, name: bytes, bell: bytes, message: bytes) -> None:
        listening = self.listening.get(name)
        if listening is not None:
            listening.ear.rung(bell, message)
        elif message == self._nonce and self._heard is not None and not self._heard.done():
            self._heard.set_result(None)

    def confirmed(self, name: bytes) -> None:
        self._asked[name] -= 1
        awaited = self._asked[name] > 0
        if not awaited:
            del self._asked[name]
        listening = self.listening.get(name)
        # Where others are to come, this one is for somebody who has left since. (A sharded one
        # may be refused instead, without its name.)
        if listening is not None and (not awaited or listening.verb == "SSUBSCRIBE"):
            if not listening.confirmed.done():
                listening.confirmed.set_result(None)
            listening.ear.hears()

    def ended(self, name: bytes) -> None:
        listening = self.listening.get(name)
        if listening is not None:
            self._deafen(listening)
            self.on_moved()

    # --- the connection ---

    async def _run(self) -> None:
        """One connection after another, for as long as there is a need."""
        pause = RETRY_SECONDS
        try:
            while True:
                try:
                    await self._hold()
                except (OSError, BrokerUnavailable, RedisError) as error:
                    if self.trouble is None:
                        pause = RETRY_SECONDS
                    self.trouble = _sentence(error)
                    self.tried.set()
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_RETRY_SECONDS)
        finally:
            self._let_go()

    async def _hold(self) -> None:
        """Listen over one connection until it fails.

        :raises OSError: also when time ran out.
        :raises BrokerUnavailable: it can't be probed.
        """
        try:
            async with asyncio.timeout(self._timeout):
                self._link = await self._connect(self)
            link = self._link
            self._asked.clear()
            link.send((self._commands.subscribe, self._probe))
            await self._ask_for_all(link)
            while True:
                await self._hear_oneself(link)
                if self.trouble is not None:
                    self.trouble = None
                    self.tried.set()
                    self._on_heard()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PROBE_SECONDS):
                        await asyncio.shield(link.lost)
                if link.lost.done():
                    raise _loss_of(link)
        finally:
            self._let_go()

    async def _ask_for_all(self, link: Link) -> None:
        for count, (name, listening) in enumerate(list(self.listening.items()), start=1):
            if self.listening.get(name) is listening:
                self._ask(link, name, listening)
            if count % BREATH == 0:
                await asyncio.sleep(0)

    async def _hear_oneself(self, link: Link) -> None:
        """Ring, and hear it."""
        self._nonce = secrets.token_hex(8).encode()
        self._heard = asyncio.get_running_loop().create_future()
        call = Call(RING, (self._probe,), (self._commands.publish, self._nonce))
        try:
            async with asyncio.timeout(self._timeout):
                await self._commands.one(call)
                await asyncio.wait([self._heard, link.lost], return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise TimeoutError("this node does not hear what Redis announces") from None
        if not self._heard.done():
            raise _loss_of(link)

    def _let_go(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
        for listening in self.listening.values():
            self._deafen(listening)

    def _deafen(self, listening: Listening) -> None:
        if listening.confirmed.done():
            listening.confirmed = asyncio.get_running_loop().create_future()


_UNDO = {
    "SUBSCRIBE": "UNSUBSCRIBE",
    "SSUBSCRIBE": "SUNSUBSCRIBE",
    "PSUBSCRIBE": "PUNSUBSCRIBE",
}


def _loss_of(link: Link) -> OSError:
    if link.refusal is not None:
        return ConnectionRefusedError(link.refusal)
    return ConnectionResetError("the connection to Redis was lost")


def _sentence(error: BaseException) -> str:
    if isinstance(error, BrokerUnavailable):
        return error.message
    return f"Redis is not available: {why(error)}"
