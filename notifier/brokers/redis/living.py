"""Which nodes live: each gives a sign of life every few seconds, and sees who else has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from pydantic_core import from_json, to_json

from notifier.brokers.fleet import DEAD_SECONDS
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.roundtrips import Call
from notifier.brokers.redis.scripts import BEAT, LIVING
from notifier.errors import BrokerUnavailable
from notifier.nodestate import NodeState

# Between two signs of life; and what one is good for, so that the others know in time.
BEAT_SECONDS = 2.5
LIFE_SECONDS = DEAD_SECONDS - BEAT_SECONDS


class Living:
    """This node's signs of life, and what it makes of the others'.

    :param facts: asked at each beat what to say of this node.
    :param on_forgotten: told when the others, or Redis, did not count this node as living: it has
        to say everything anew.
    :param on_departed: told of a node that is dead, once for each time it was :meth:`heard_of`.
    """

    def __init__(
        self,
        commands: Commands,
        names: Names,
        node: str,
        *,
        facts: Callable[[], NodeState],
        on_forgotten: Callable[[], object],
        on_departed: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._commands = commands
        self._names = names
        self._node = node
        self._facts = facts
        self._on_forgotten = on_forgotten
        self._on_departed = on_departed
        self._clock = clock
        # Nodes that something was heard of, and when.
        self._heard_of: dict[str, float] = {}
        self._judging_from = 0.0

    @property
    def call(self) -> Call:
        """Asks which nodes live; see :meth:`others`."""
        return Call(LIVING, (self._names.living, self._names.states))

    def others(self, answer: list[bytes]) -> set[str]:
        """The others in an answer to :attr:`call`."""
        return {node.decode() for node in answer[::2]} - {self._node}

    def heard_of(self, node: str) -> None:
        """The crew was told something of it, so it is to be told when it departs."""
        self._heard_of[node] = self._clock()

    def gone(self, node: str) -> None:
        """It has said that it leaves."""
        self._heard_of.pop(node, None)
        self._on_departed(node)

    async def nodes(self) -> list[NodeState]:
        """All that live, this one among them.

        :raises BrokerUnavailable:
        """
        answer = await self._commands.one(self.call)
        states = [_state(from_json(text)) for text in answer[1::2] if text]
        return [self._facts(), *(state for state in states if state.id != self._node)]

    async def run(self) -> None:
        """Beat, for as long as this node lives."""
        while True:
            await self.beat()
            await asyncio.sleep(BEAT_SECONDS)

    async def beat(self) -> None:
        """Give one sign of life, if Redis is there."""
        begun = self._clock()
        state = to_json(asdict(self._facts()))
        keys = (self._names.living, self._names.states)
        try:
            answer = await self._commands.one(
                Call(BEAT, keys, (self._node, state, round(LIFE_SECONDS * 1000)))
            )
        except BrokerUnavailable:
            return  # there is a next time
        if answer[0]:
            # Redis has forgotten us all, or we were away from it, or it from us: those who live
            # have yet to say so.
            self._judging_from = begun + LIFE_SECONDS
            self._on_forgotten()
        if begun >= self._judging_from:
            self._judge({node.decode() for node in answer[1:]}, begun)

    def _judge(self, living: set[str], now: float) -> None:
        for node, heard in list(self._heard_of.items()):
            # One that was heard of since may have come to life since.
            if node not in living and heard < now:
                del self._heard_of[node]
                self._on_departed(node)

    async def leave(self) -> None:
        """Be counted out at once.

        :raises BrokerUnavailable:
        """
        await self._commands.run(
            [
                Call("ZREM", args=(self._names.living, self._node)),
                Call("HDEL", args=(self._names.states, self._node)),
                Call("DEL", args=(self._names.followed(self._node),)),
            ]
        )


def _state(told: dict[str, Any]) -> NodeState:
    """Without what a newer version may say besides."""
    known = {field.name for field in fields(NodeState)}
    return NodeState(**{name: value for name, value in told.items() if name in known})
