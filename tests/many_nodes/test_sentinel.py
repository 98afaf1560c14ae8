"""Nodes that follow the master that Sentinels name."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.many_nodes.fleet import PATIENCE, fleet
from tests.many_nodes.listeners import ByToken
from tests.many_nodes.load import CHANNELS, load
from tests.redisservers.sentinels import Sentinels

pytestmark = pytest.mark.gen_test(timeout=3 * PATIENCE)


async def test_failover_loses_nothing_where_replicas_are_waited_for() -> None:
    waiting = ["--redis-wait-replicas=1"]
    with Sentinels() as redis, fleet(*[redis.url] * 2, settings=waiting) as nodes:
        async with load(nodes) as working:
            working.listen()
            await working.joined()
            working.produce()
            await working.acknowledged(100)
            before = redis.master_port()
            dead = redis.kill_master()
            await asyncio.to_thread(redis.wait_for_another, before)
            # Without it there is no replica to wait for, and nothing is acknowledged.
            await asyncio.to_thread(redis.bring_back, dead)
            await working.acknowledged(100)
            balance = await working.finish()
    balance.exact()
    assert {account.connections for account in balance.accounts} == {1}


async def test_what_a_failover_has_lost_is_told_to_everybody() -> None:
    with Sentinels() as redis, fleet(*[redis.url] * 2) as nodes:
        async with load(nodes) as working:
            working.listen()
            late = ByToken("late", nodes, CHANNELS)
            working.add(late)
            await working.joined()
            working.produce()
            await working.acknowledged(100)
            master, replica = redis.master, redis.replica
            # The replica hears no more of the master, which alone has what it acknowledges now.
            replica.pause()
            master.cli("CLIENT", "KILL", "TYPE", "replica")
            late.go_away()
            await working.acknowledged(100)
            master.kill()
            replica.resume()
            await asyncio.to_thread(redis.wait_for_another, master.port)
            await working.acknowledged(50)
            late.come_back()
            await working.acknowledged(50)
            balance = await working.finish()
    missed = balance.truthful()
    sys.stdout.write(f"{balance.rolled_back} rolled back, missed: {missed}\n{balance}\n")
    assert balance.rolled_back > 50
    # What a node still has in its feed it delivers, even if Redis has it no more.
    for account in balance.accounts:
        for channel in CHANNELS:
            assert account.gaps[channel], f"{account}: silence about {channel}"


async def test_what_a_failover_has_lost_is_told_to_who_was_away_all_the_time() -> None:
    forgetful = ["--redis-linger=0"]
    with Sentinels() as redis, fleet(*[redis.url] * 2, settings=forgetful) as nodes:
        async with load(nodes) as working:
            away = ByToken("away", nodes, CHANNELS)
            working.add(away)
            await working.joined()
            working.produce()
            await working.acknowledged(50)
            # Nobody listens to these channels any more.
            away.go_away()
            await working.acknowledged(50)
            master, replica = redis.master, redis.replica
            replica.pause()
            master.cli("CLIENT", "KILL", "TYPE", "replica")
            await working.acknowledged(50)
            master.kill()
            replica.resume()
            await asyncio.to_thread(redis.wait_for_another, master.port)
            # The places of what was lost are given out once more.
            await working.acknowledged(150)
            away.come_back()
            balance = await working.finish()
    missed = balance.truthful()
    assert balance.rolled_back > 25
    assert missed["away"] > 25
