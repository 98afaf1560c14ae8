"""One Redis behind several nodes, and what happens to it: nothing that was acknowledged is lost,
or it is told."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterable

import pytest

from tests.faults import FaultProxy
from tests.many_nodes.account import Account
from tests.many_nodes.fleet import PATIENCE, fleet, until
from tests.many_nodes.listeners import ByCommands, ByEvents, ByLibrary, ByToken
from tests.many_nodes.load import CHANNELS, load
from tests.redisservers.server import RedisServer

pytestmark = pytest.mark.gen_test(timeout=3 * PATIENCE)

# What is promised: a node that can't hear Redis says so, and is well again, within so many seconds.
NOTICED = HEALED = 10.0
BLACK_HOLE = 30.0


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
async def test_kill_9_of_redis_loses_nothing_that_it_has_written(appendfsync: str) -> None:
    with RedisServer(appendfsync=appendfsync) as redis, fleet(*[redis.url] * 2) as nodes:
        async with load(nodes) as working:
            working.listen()
            await working.joined()
            working.produce()
            await working.acknowledged(100)
            redis.kill()
            await until(lambda: working.ledger.refused[50301], "that it is missed")
            redis.restart()
            await working.acknowledged(100)
            balance = await working.finish()
    if appendfsync == "always" or not balance.rolled_back:
        balance.exact()
        # They stayed connected all the time.
        assert {account.connections for account in balance.accounts} == {1}
    else:
        # While a sync is under way, everysec answers before it writes (redis.conf, appendfsync).
        balance.truthful()


async def test_subscriber_connections_that_are_killed_again_and_again_lose_nothing() -> None:
    with RedisServer() as redis, fleet(*[redis.url] * 2) as nodes:
        async with load(nodes) as working:
            working.listen()
            await working.joined()
            working.produce()
            killed = 0
            for number in range(10):
                await working.acknowledged(30)
                killed += int(redis.cli("CLIENT", "KILL", "TYPE", "pubsub"))
                if number == 5:
                    redis.cli("SCRIPT", "FLUSH")
            await working.acknowledged(30)
            balance = await working.finish()
    balance.exact()
    assert killed >= 10
    assert not balance.ledger.refused


@pytest.mark.parametrize("connections", ["pubsub", "normal"])
async def test_what_rang_for_nobody_is_heard_though_nothing_follows(connections: str) -> None:
    with RedisServer() as redis, fleet(*[redis.url] * 2) as nodes:
        async with load(nodes) as working:
            working.listen_everywhere(["quiet:*"], kinds=[ByToken, ByCommands])
            await working.joined()
            for number in range(5):
                # Nobody hears these ring, or can look then: one that is known, and a newborn one.
                redis.cli("CLIENT", "KILL", "TYPE", connections)
                for channel in ("quiet:known", f"quiet:{number}"):
                    answer = await nodes.any().post("/notify", {"channel": channel, "message": "x"})
                    assert answer.status == 200, answer
                    working.ledger.acknowledge(f"the test, {number}", answer.json)
                begun = time.monotonic()
                balance = await working.finish()
                assert time.monotonic() - begun < HEALED
    balance.exact()


async def test_node_in_a_black_hole_says_so_and_heals_and_the_others_do_not_notice() -> None:
    with (
        RedisServer() as redis,
        FaultProxy(redis.port) as hole,
        fleet(f"redis://127.0.0.1:{hole.port}", redis.url, redis.url) as nodes,
    ):
        alone, *others = nodes.nodes
        async with load(nodes) as working:
            working.listen_everywhere()
            working.listen(kinds=[ByLibrary])
            await working.joined()
            nodes.leave(alone)
            working.produce()
            await working.acknowledged(100)
            hole.stall()
            begun = time.monotonic()
            # It may arrive in the end, or not: the same key will tell.
            body = {"channel": CHANNELS[0], "message": "x", "id": "twice"}
            asked = asyncio.create_task(alone.post("/notify", body))
            await nodes.until_not_ready(alone)
            noticed = time.monotonic() - begun
            refused = await asked
            assert (refused.status, refused.code) == (503, 50301)
            again = await others[0].post("/notify", body)
            assert again.status == 200
            working.ledger.acknowledge("the same", again.json)
            while time.monotonic() < begun + BLACK_HOLE:
                await working.acknowledged(20)
                assert [await node.not_ready() for node in others] == [None, None]
            # Nothing follows that would show what was missed.
            await working.stop_producing()
            hole.flow()
            begun = time.monotonic()
            await nodes.until_ready(alone)
            ready = time.monotonic() - begun
            balance = await working.finish()
            healed = time.monotonic() - begun
    balance.exact()
    assert not balance.ledger.refused, "the others have noticed"
    assert {account.connections for account in balance.accounts} == {1}
    sys.stdout.write(
        f"not ready after {noticed:.2f} s; well again: ready after {ready:.2f} s, all heard after "
        f"{healed:.2f} s\n{balance}\n"
    )
    assert noticed < NOTICED
    assert healed < HEALED


@pytest.mark.parametrize("how", ["flushed", "killed, without a file"])
async def test_loss_of_everything_is_told_to_everybody_and_life_goes_on(how: str) -> None:
    with RedisServer() as redis, fleet(*[redis.url] * 2) as nodes:
        async with load(nodes) as working:
            working.listen()
            working.listen_everywhere(kinds=[ByCommands])
            late = ByToken("late", nodes, CHANNELS)
            working.add(late)
            await working.joined()
            working.produce()
            await working.acknowledged(100)
            late.go_away()
            await working.acknowledged(50)
            before = {channel: epochs_of(channel, working.accounts) for channel in CHANNELS}
            if how == "flushed":
                redis.cli("FLUSHALL")
            else:
                redis.restart()
            await working.acknowledged(100)
            late.come_back()
            await working.acknowledged(50)
            balance = await working.finish()
    balance.truthful()
    for channel in CHANNELS:
        for account in balance.accounts:
            assert len(account.gaps[channel]) == 1, f"{account} of {channel}: {account.gaps}"
        epochs = {place.epoch for _, place in balance.stored[channel] if place is not None}
        assert len(epochs) == 1
        assert not epochs & before[channel]
    assert balance.rolled_back > 100


def epochs_of(channel: str, accounts: Iterable[Account]) -> set[str]:
    """Those that the listeners are in."""
    places = (account.places[channel] for account in accounts)
    return {place.epoch for place in places if place is not None}


async def test_full_redis_refuses_publications_and_still_delivers_what_it_has() -> None:
    with RedisServer(options={"maxmemory-policy": "noeviction"}) as redis:
        with fleet(*[redis.url] * 2) as nodes:
            async with load(nodes) as working:
                working.listen()
                await working.joined()
                working.produce()
                await working.acknowledged(100)
                redis.cli("CONFIG", "SET", "maxmemory", "1")
                await until(lambda: working.ledger.refused[50301], "that it is full")
                # Who comes only now gets it all the same.
                working.listen_everywhere()
                await working.joined()
                redis.cli("CONFIG", "SET", "maxmemory", "0")
                await working.acknowledged(100)
                balance = await working.finish()
    balance.exact()
    assert set(balance.ledger.refused) == {50301}


async def test_node_that_reads_too_slowly_for_redis_loses_nothing() -> None:
    limits = {"client-output-buffer-limit": "pubsub 1mb 256kb 1"}
    with RedisServer(options=limits) as redis, fleet(*[redis.url] * 2) as nodes:
        stopped, other = nodes.nodes
        async with load(nodes) as working:
            working.listen_everywhere()
            working.listen_everywhere(kinds=[ByEvents])
            await working.joined()
            nodes.leave(stopped)
            working.produce(per_second=20, size=40_000)
            await working.acknowledged(20)
            stopped.signal(signal.SIGSTOP)
            try:
                await until(lambda: "overcoming of output buffer limits" in redis.log, "its end")
            finally:
                stopped.signal(signal.SIGCONT)
            await working.acknowledged(20)
            nodes.rotate(other, stopped)
            balance = await working.finish()
    balance.exact()
    assert not balance.ledger.refused
