"""Commands to Redis, as many as there are in one round trip.

Each shard has its own round trips, so that one that is away or slow holds up none of the others.
What is asked at once by many shares them: connections are few, however many ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from redis.exceptions import NoScriptError

from notifier.brokers.redis import scripts
from notifier.brokers.redis.refusals import FAILURES, checked, translated, unavailable
from notifier.brokers.redis.roundtrips import Call, RoundTrips
from notifier.brokers.redis.scripts import Script
from notifier.brokers.redis.topology import Topology
from notifier.errands import Errands
from notifier.errors import BrokerUnavailable

_SCRIPTS = [script for script in vars(scripts).values() if isinstance(script, Script)]
# Who writes has an order, and makes one round trip after the other.
_WRITES = (scripts.PUBLISH, scripts.ANNOUNCE, scripts.CLEAR, "PUBLISH")
# What does not wait behind what is read: whether nodes live and hear, and what is to be written.
_SIGNS = (scripts.RING, scripts.BEAT, scripts.LIVING)
_BIRTHS = (scripts.REGISTER,)


class Commands:
    """Sends calls and translates what can go wrong.

    :param timeout: seconds an answer may take.
    """

    def __init__(self, topology: Topology, timeout: float) -> None:
        self._topology = topology
        self._sharded = topology.sharded
        self._timeout = timeout
        self._errands = Errands()
        self._lanes: dict[tuple[str, int], RoundTrips] = {}
        # How a doorbell is rung, and listened to.
        self.publish = "SPUBLISH" if topology.sharded else "PUBLISH"
        self.subscribe = "SSUBSCRIBE" if topology.sharded else "SUBSCRIBE"

    async def close(self) -> None:
        """What is under way comes to nothing."""
        await self._errands.close()
        for lane in self._lanes.values():
            lane.close()

    def shard_of(self, name: str) -> str:
        """The id of the shard that a key is on, as far as is known."""
        return self._topology.shard_of(name)

    async def run(self, calls: Sequence[Call], *, wait_replicas: int = 0) -> list[Any]:
        """What each gave, in order: a value, or an exception as a value, such as
        :class:`BrokerUnavailable`.

        Calls about one channel are carried out in their order.

        :param wait_replicas: so many are to have it before it counts.
        :raises BrokerUnavailable: of none it is known whether it was carried out.
        """
        shards: dict[str, list[int]] = {}
        for n, call in enumerate(calls):
            shards.setdefault(self.shard_of(call.name), []).append(n)
        groups = list(shards.items())
        asked = [
            self._ask(shard, [calls[n] for n in group], wait_replicas) for shard, group in groups
        ]
        answers = await asyncio.gather(*asked) if len(asked) > 1 else [await each for each in asked]
        if groups and all(isinstance(answer, BrokerUnavailable) for answer in answers):
            assert isinstance(answers[0], BrokerUnavailable)
            raise answers[0]
        results: list[Any] = [None] * len(calls)
        for (_, group), answer in zip(groups, answers, strict=True):
            if isinstance(answer, BrokerUnavailable):
                answer = [answer] * len(group)
            for n, result in zip(group, answer, strict=True):
                results[n] = result
        return results

    async def one(self, call: Call) -> Any:
        """What it gave.

        :raises BrokerUnavailable:
        """
        (result,) = await self.run([call])
        return checked(result)

    async def _ask(
        self, shard: str, calls: list[Call], wait_replicas: int
    ) -> list[Any] | BrokerUnavailable:
        try:
            if wait_replicas or calls[0].what in _WRITES:
                return await self._carry_out(calls, wait_replicas)
            kind = next(
                (
                    n
                    for n, kind in enumerate((_SIGNS, _BIRTHS))
                    if all(c.what in kind for c in calls)
                ),
                -1,
            )
            return await self._lane(shard, kind).ask(calls)
        except BrokerUnavailable as error:
            return error

    def _lane(self, shard: str, kind: int) -> RoundTrips:
        lane = self._lanes.get((shard, kind))
        if lane is None:
            lane = self._lanes[shard, kind] = RoundTrips(
                self._carry_out, self._errands, self._timeout
            )
        return lane

    async def _carry_out(self, calls: Sequence[Call], wait_replicas: int = 0) -> list[Any]:
        """In one round trip to one shard.

        :raises BrokerUnavailable: of none it is known whether it was carried out.
        """
        results = await self._send(calls, wait_replicas)
        for everywhere in (False, True):
            unknown = [n for n, result in enumerate(results) if isinstance(result, NoScriptError)]
            if not unknown:
                break
            # A Redis that was started anew knows none. It learns all at once, and what it did not
            # know is repeated in its order: of one channel nothing is overtaken.
            if everywhere:  # while a slot moves, its calls are carried out on two
                await self._teach(self._topology.client.get_primaries() if self._sharded else [])
            else:
                await self._teach([self._at(calls[n].name).get("target_nodes") for n in unknown])
            again = await self._send([calls[n] for n in unknown], wait_replicas)
            for n, result in zip(unknown, again, strict=True):
                results[n] = result
        return [translated(result) for result in results]

    async def _teach(self, nodes: Iterable[Any]) -> None:
        """Have every script known there; one that can't be reached says so when it is called.

        :param nodes: ``None`` is the only one there is.
        """
        pipelines = []
        for node in dict.fromkeys(nodes):
            pipeline = self._topology.client.pipeline(transaction=False)
            for script in _SCRIPTS:
                where = {} if node is None else {"target_nodes": node}
                pipeline.execute_command("SCRIPT LOAD", script.text, **where)
            pipelines.append(self._execute(pipeline))
        await asyncio.gather(*pipelines, return_exceptions=True)

    def _at(self, name: str) -> dict[str, Any]:
        """Where redis-py is to send what it would send elsewhere, in a Cluster."""
        if not self._sharded:
            return {}
        try:
            return {"target_nodes": self._topology.client.get_node_from_key(name)}
        except FAILURES as error:
            raise unavailable(error) from error

    async def _send(self, calls: Sequence[Call], wait_replicas: int) -> list[Any]:
        pipeline = self._topology.client.pipeline(transaction=False)
        for call in calls:
            if call.what == "PUBLISH":
                # Any master would do. But what is announced there by a script is in one order
                # with it only if both take the same way.
                pipeline.execute_command("PUBLISH", *call.args, **self._at(call.name))
            elif isinstance(call.what, str):
                pipeline.execute_command(call.what, *call.args)
            else:
                pipeline.execute_command(
                    "EVALSHA", call.what.digest, len(call.keys), *call.keys, *call.args
                )
        if wait_replicas:
            # Less than the socket's timeout, for the answer to come.
            pipeline.execute_command("WAIT", wait_replicas, round(self._timeout * 800))
        results = await self._execute(pipeline)
        if wait_replicas:
            have = results.pop()
            if isinstance(have, Exception) or have < wait_replicas:
                late = BrokerUnavailable(
                    f"Redis has it, but not {wait_replicas} of its replicas "
                    "(setting redis_wait_replicas)."
                )
                results = [r if isinstance(r, Exception) else late for r in results]
        return results

    async def _execute(self, pipeline: Any) -> list[Any]:
        try:
            results: list[Any] = await pipeline.execute(raise_on_error=False)
        except FAILURES as error:
            raise unavailable(error) from error
        return results
