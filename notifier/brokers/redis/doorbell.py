"""The doorbells of one shard: what is listened to there, over however many connections.

A connection that Redis has silently let go of, or that a network swallows, looks like one on which
nothing happens. So it rings its own doorbell every few seconds; when it does not hear that, it is
deaf, and another takes its place. Whatever was rung in between may have been missed: each ear is
told when it hears again, and reads what happened from the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from redis.exceptions import RedisError

from notifier import logs
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.link import Link
from notifier.brokers.redis.refusals import why
from notifier.brokers.redis.roundtrips import Call
from notifier.brokers.redis.scripts import RING
from notifier.brokers.redis.topology import Shard
from notifier.errands import end
from notifier.errors import BrokerUnavailable

log = logging.getLogger("notifier.redis")

# Between two probes of one connection.
PROBE_SECONDS = 2.0
# Between attempts to connect; it doubles up to the second.
RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 1.0
# Doorbells asked for in one write.
BREATH = 256
# Doorbells of which it was logged that something strange came; of more it is not.
MOST_STRANGE = 100


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
        self._trouble: str | None = "Redis has not been reached yet."
        # When it was asked for what is not heard yet, by the loop's clock, the longest ago first.
        self._unconfirmed: dict[bytes, float] = {}
        # And Redis's reasons, where it has given one.
        self._refused: dict[bytes, str] = {}
        self._strange: set[bytes] = set()
        self.on_moved = on_moved
        self._on_heard = on_heard
        # Done when it is known whether Redis is there.
        self.tried = asyncio.Event()
        self._connect = connect
        self._commands = commands
        self._probe = probe
        self._timeout = timeout
        self._link: Link | None = None
        self._heard: asyncio.Future[None] | None = None
        self._nonce = b""
        self._task = asyncio.create_task(self._run())

    @property
    def trouble(self) -> str | None:
        """Why it can't be relied on just now."""
        if self._task.done():
            return "This node has ceased to listen to Redis."
        if self._trouble is not None or self._link is None:
            return self._trouble
        for reason in self._refused.values():
            return f"Redis does not let this node listen: {reason}"
        for since in self._unconfirmed.values():
            if asyncio.get_running_loop().time() - since > self._timeout:
                return "Redis does not confirm that it announces everything to this node."
            break
        return None

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
            self._unconfirmed.setdefault(name, asyncio.get_running_loop().time())
            self._link.subscribe(listening.verb, name)

    def ignore(self, name: bytes) -> Listening | None:
        """No more; who it was that listened."""
        listening = self.listening.pop(name, None)
        self._unconfirmed.pop(name, None)
        self._refused.pop(name, None)
        if listening is not None and self._link is not None:
            self._link.unsubscribe(listening.verb, name)
        return listening

    # --- what the link tells ---

    def message(self, name: bytes, bell: bytes, message: bytes) -> None:
        listening = self.listening.get(name)
        if listening is not None:
            try:
                listening.ear.rung(bell, message)
            except Exception as error:  # noqa: BLE001 (whatever is rung, the others go on hearing)
                self._passed_over(name, error)
                listening.ear.hears()  # it may have been meant for something
        elif message == self._nonce and self._heard is not None and not self._heard.done():
            self._heard.set_result(None)

    def _passed_over(self, name: bytes, error: Exception) -> None:
        """Say so, once for each doorbell."""
        if name not in self._strange and len(self._strange) < MOST_STRANGE:
            self._strange.add(name)
            bell = name.decode(errors="replace")
            logs.event(log, logging.WARNING, "redis.strange_message", exc_info=error, bell=bell)

    def confirmed(self, name: bytes) -> None:
        self._unconfirmed.pop(name, None)
        self._refused.pop(name, None)
        listening = self.listening.get(name)
        if listening is not None and not listening.confirmed.done():
            listening.confirmed.set_result(None)
            listening.ear.hears()

    def ended(self, name: bytes) -> None:
        listening = self.listening.get(name)
        if listening is not None:
            self._deafen(listening)
            self._unconfirmed.setdefault(name, asyncio.get_running_loop().time())
            self.on_moved()

    def refused(self, name: bytes, reason: str) -> None:
        if reason.startswith("MOVED"):
            self.on_moved()
        elif name in self.listening:
            self._refused[name] = reason.rstrip(".") + "."  # it is asked again in a moment
        elif name == self._probe.encode() and self._link is not None:
            self._link.refuse(reason)

    # --- the connection ---

    async def _run(self) -> None:
        """One connection after another, for as long as there is a need."""
        pause = RETRY_SECONDS
        try:
            while True:
                try:
                    await self._hold()
                except Exception as error:  # noqa: BLE001 (whatever it is: deaf for good is worse)
                    if self._trouble is None:
                        pause = RETRY_SECONDS
                    known = isinstance(error, OSError | RedisError | BrokerUnavailable)
                    before, self._trouble = self._trouble, _sentence(error)
                    if not known and self._trouble != before:
                        context = {"message": "a doorbell failed", "exception": error}
                        asyncio.get_running_loop().call_exception_handler(context)
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
            link.subscribe(self._commands.subscribe, self._probe.encode())
            await self._ask_for_all()
            while True:
                await self._hear_oneself(link)
                if self._trouble is not None:
                    self._trouble = None
                    self.tried.set()
                    self._on_heard()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PROBE_SECONDS):
                        await asyncio.shield(link.lost)
                if link.lost.done():
                    raise _loss_of(link)
        finally:
            self._let_go()

    async def _ask_for_all(self) -> None:
        for count, (name, listening) in enumerate(list(self.listening.items()), start=1):
            if self.listening.get(name) is listening:
                self.ask_again(name, listening)
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
        self._unconfirmed.clear()
        self._refused.clear()
        for listening in self.listening.values():
            self._deafen(listening)

    def _deafen(self, listening: Listening) -> None:
        if listening.confirmed.done():
            listening.confirmed = asyncio.get_running_loop().create_future()


def _loss_of(link: Link) -> OSError:
    if link.refusal is not None:
        return ConnectionRefusedError(link.refusal)
    return ConnectionResetError("the connection to Redis was lost")


def _sentence(error: BaseException) -> str:
    if isinstance(error, BrokerUnavailable):
        return error.message
    return f"Redis is not available: {why(error)}"
