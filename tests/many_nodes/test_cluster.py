"""Nodes on a Redis Cluster: slots move, and masters are lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.many_nodes.fleet import PATIENCE, fleet
from tests.many_nodes.load import load
from tests.many_nodes.producers import in_turn
from tests.redisservers.cluster import Cluster

pytestmark = pytest.mark.gen_test(timeout=3 * PATIENCE)

# On three masters, one each; the hash tag is as the keys of the broker have it.
CHANNELS = ("load:a", "load:b", "load:c", "load:d", "load:e", "load:f")


def slot_of(cluster: Cluster, channel: str) -> int:
    return cluster.slot(f"notifier:{{{channel}}}:log")


async def test_slots_that_move_under_load_lose_nothing() -> None:
    with Cluster() as redis, fleet(*[redis.url] * 2) as nodes:
        async with load(nodes) as working:
            working.listen(CHANNELS)
            await working.joined()
            working.produce(channels=in_turn(CHANNELS))
            await working.acknowledged(100)
            for channel in CHANNELS[:4]:
                slot = slot_of(redis, channel)
                here = redis.owner(slot)
                there = next(master for master in redis.masters if master is not here)
                await asyncio.to_thread(redis.move_slot, slot, there)
                await working.acknowledged(50)
            balance = await working.finish()
    balance.exact()
    assert {account.connections for account in balance.accounts} == {1}


async def test_lost_master_loses_nothing_without_a_word() -> None:
    with Cluster(replicas=1) as redis, fleet(*[redis.url] * 2) as nodes:
        async with load(nodes) as working:
            working.listen(CHANNELS)
            await working.joined()
            working.produce(channels=in_turn(CHANNELS))
            await working.acknowledged(100)
            slot = slot_of(redis, CHANNELS[0])
            dead = redis.kill_master(slot)
            # The other masters' channels go on meanwhile: the service is not away as a whole.
            await asyncio.to_thread(redis.wait_for_another, slot, dead)
            await working.acknowledged(100)
            await asyncio.to_thread(dead.restart)
            await working.acknowledged(100)
            balance = await working.finish()
    # Replication is asynchronous: what the replica lacked is lost, and everybody was told.
    balance.truthful()
    if not any(any(account.gaps.values()) for account in balance.accounts):
        balance.exact()
    assert {account.connections for account in balance.accounts} == {1}
