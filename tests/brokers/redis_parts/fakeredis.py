"""A real Redis whose answers and doorbells come when the test says so.

The scripts are carried out by Redis; in between stand a :class:`Wire`, which holds requests back
before and after they are carried out, and a :class:`Line`, which holds what rang.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis

from notifier.brokers.redis.doorbell import Ear, Listening
from notifier.brokers.redis.refusals import checked
from notifier.brokers.redis.roundtrips import Call
from notifier.errors import BrokerUnavailable
from tests.handloop import HandLoop
from tests.redisservers.server import PATIENCE

OPENING = b"opening"


def carry_out(client: redis.Redis, call: Call) -> Any:
    """What Redis gives for it."""
    if isinstance(call.what, str):
        return client.execute_command(call.what, *call.args)
    return client.eval(call.what.text, len(call.keys), *call.keys, *call.args)  # type: ignore[no-untyped-call]


@dataclass
class Request:
    """Calls under way, and who waits for the answers."""

    calls: Sequence[Call]
    done: Any
    answers: list[Any] | None = None


class Rung(NamedTuple):
    """A message; or, without one, the confirmation of what was asked for by that name."""

    name: bytes
    bell: bytes
    message: bytes | None


class Wire:
    """Takes the place of ``Commands``: nothing is carried out, and nothing answered, by itself."""

    publish = "PUBLISH"
    subscribe = "SUBSCRIBE"

    def __init__(self, client: redis.Redis, loop: HandLoop) -> None:
        self._client = client
        self._loop = loop
        self.requests: deque[Request] = deque()

    def shard_of(self, name: str) -> str:
        return ""

    async def run(self, calls: Sequence[Call], *, wait_replicas: int = 0) -> list[Any]:
        request = Request(calls, self._loop.create_future())
        self.requests.append(request)
        answers: list[Any] = await request.done
        return answers

    async def one(self, call: Call) -> Any:
        (answer,) = await self.run([call])
        return checked(answer)

    def carry_out(self, request: Request) -> None:
        request.answers = [self._answer_of(call) for call in request.calls]

    def _answer_of(self, call: Call) -> Any:
        try:
            return carry_out(self._client, call)
        except redis.ResponseError as error:
            return error

    def answer(self, request: Request) -> None:
        self.requests.remove(request)
        request.done.set_result(request.answers)

    def fail(self, request: Request) -> None:
        self.requests.remove(request)
        request.done.set_exception(BrokerUnavailable("Redis is away."))


class Line:
    """Takes the place of ``Doorbells``: one connection, on which everything comes in its order."""

    def __init__(self, client: redis.Redis, loop: HandLoop) -> None:
        self._loop = loop
        self._pubsub: Any = client.pubsub()  # type: ignore[no-untyped-call]
        # Before the first command there is no connection.
        self._pubsub.subscribe(OPENING)
        self._listening: dict[bytes, Listening] = {}
        self._asked: Counter[bytes] = Counter()
        self.up = True
        # What Redis has sent, and what has not arrived.
        self.coming: deque[Rung] = deque()

    def close(self) -> None:
        self._pubsub.close()

    # --- notifier.brokers.redis.doorbells.Doorbells ---

    def listen(self, name: str, ear: Ear, *, verb: str | None = None) -> Listening:
        known = self._listening.get(name.encode())
        if known is not None and known.ear is ear:
            return known
        listening = Listening(ear, verb or "SUBSCRIBE", self._loop.create_future())
        self._listening[name.encode()] = listening
        if self.up:
            self._subscribe(name.encode(), listening)
        return listening

    def _subscribe(self, name: bytes, listening: Listening) -> None:
        self._asked[name] += 1
        if listening.verb == "PSUBSCRIBE":
            self._pubsub.psubscribe(name)
        else:
            self._pubsub.subscribe(name)

    def _unsubscribe(self, name: bytes, listening: Listening) -> None:
        if listening.verb == "PSUBSCRIBE":
            self._pubsub.punsubscribe(name)
        else:
            self._pubsub.unsubscribe(name)

    def ignore(self, name: str) -> None:
        listening = self._listening.pop(name.encode(), None)
        if listening is not None and self.up:
            self._unsubscribe(name.encode(), listening)

    # --- turned by the test ---

    def take_in(self) -> None:
        """What Redis has sent so far is on its way."""
        self._pubsub.ping()
        while (message := self._pubsub.get_message(timeout=PATIENCE))["type"] != "pong":
            kind, bell = message["type"], message["channel"]
            if kind in ("message", "pmessage"):
                self.coming.append(Rung(message["pattern"] or bell, bell, message["data"]))
            elif kind in ("subscribe", "psubscribe") and bell != OPENING:
                self.coming.append(Rung(bell, bell, None))

    def arrive(self) -> None:
        """The next one."""
        name, bell, message = self.coming.popleft()
        if message is None:
            self._asked[name] -= 1
        listening = self._listening.get(name)
        if listening is None:
            return
        if message is not None:
            listening.ear.rung(bell, message)
        elif not self._asked[name]:
            if not listening.confirmed.done():
                listening.confirmed.set_result(None)
            listening.ear.hears()

    def lose(self) -> None:
        """The connection, with all that was on its way."""
        self.take_in()
        self.up = False
        self.coming.clear()
        for name, listening in self._listening.items():
            self._unsubscribe(name, listening)
            if listening.confirmed.done():
                listening.confirmed = self._loop.create_future()

    def restore(self) -> None:
        self.take_in()
        self.coming.clear()
        self.up = True
        self._asked.clear()
        for name, listening in self._listening.items():
            self._subscribe(name, listening)
