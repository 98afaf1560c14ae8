"""Nodes that share a Redis: what is published on one is heard on all, and nodes come and go."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.many_nodes.fleet import PATIENCE, fleet, until
from tests.many_nodes.listeners import SMALL, ByCommands, ByEvents, ByLibrary, ByToken
from tests.many_nodes.load import CHANNELS, load
from tests.many_nodes.producers import in_turn
from tests.redisservers.server import RedisServer

pytestmark = pytest.mark.gen_test(timeout=3 * PATIENCE)


async def test_what_any_node_is_given_every_node_delivers_in_order_and_once() -> None:
    with RedisServer() as redis, fleet(*[redis.url] * 3) as nodes:
        async with load(nodes) as working:
            working.listen_everywhere(kinds=SMALL)
            working.listen(kinds=[ByLibrary])
            await working.joined()
            working.produce()
            await working.acknowledged(300)
            balance = await working.finish()
    balance.exact()
    assert not balance.ledger.refused
    assert {account.connections for account in balance.accounts} == {1}


async def test_kill_9_of_a_node_loses_nothing() -> None:
    with RedisServer() as redis, fleet(*[redis.url] * 3) as nodes:
        async with load(nodes) as working:
            working.listen()
            working.listen()
            await working.joined()
            working.produce()
            await working.acknowledged(100)
            # The one that the library's clients are on, by way of the balancer.
            killed = nodes.rotation[0]
            killed.kill()
            await working.acknowledged(50)
            nodes.leave(killed)
            await working.acknowledged(100)
            nodes.start(redis.url)
            await working.acknowledged(50)
            balance = await working.finish()
    balance.exact()
    assert balance.ledger.refused[0], "no producer has noticed"
    assert all(a.connections > 1 for a in balance.accounts if "Library" in a.name)


async def test_rolling_restart_loses_nothing() -> None:
    with RedisServer() as redis, fleet(*[redis.url] * 3) as nodes:
        async with load(nodes) as working:
            working.listen()
            await working.joined()
            working.produce()
            for leaving in list(nodes.nodes):
                nodes.start(redis.url)
                await nodes.until_ready()
                nodes.leave(leaving)
                leaving.terminate()
                await working.acknowledged(50)
                assert await leaving.exit_code() == 0, leaving.log
            balance = await working.finish()
    balance.exact()
    assert all(account.connections > 1 for account in balance.accounts)


async def test_what_history_has_no_more_is_told_on_whichever_node() -> None:
    short = ["--history-size=40"]
    with RedisServer() as redis, fleet(*[redis.url] * 2, settings=short) as nodes:
        async with load(nodes) as working:
            working.listen_everywhere()
            late = [kind(f"late {kind.__name__}", nodes, CHANNELS) for kind in SMALL]
            for listener in late:
                working.add(listener)
            await working.joined()
            working.produce()
            await working.acknowledged(60)
            for listener in late:
                listener.go_away()
            # More of each channel than is kept, or held ready for those who come back.
            await working.acknowledged(500)
            for listener in late:
                listener.come_back()
            await working.acknowledged(60)
            balance = await working.finish()
    missed = balance.truthful()
    for account in balance.accounts:
        gaps = {channel: len(told) for channel, told in account.gaps.items()}
        if account.name.startswith("late"):
            assert gaps == dict.fromkeys(CHANNELS, 1), account
            assert missed[account.name] > 100
        else:
            assert not gaps


async def test_key_is_stored_once_whichever_nodes_are_asked_at_the_same_time() -> None:
    with RedisServer() as redis, fleet(*[redis.url] * 3) as nodes:
        for number in range(20):
            body = {"channel": "once", "message": "x", "id": f"key-{number}"}
            answers = await asyncio.gather(*(node.post("/notify", body) for node in nodes.nodes))
            assert [answer.status for answer in answers] == [200] * 3
            assert {answer.json["position"] for answer in answers} == {answers[0].json["position"]}
            fresh = [a for a in answers if "idempotent-replayed" not in a.headers]
            assert len(fresh) == 1
            other = await nodes.any().post("/notify", {**body, "message": "y"})
            assert (other.status, other.code) == (409, 40901)
        assert len(await nodes.stored("once")) == 20


async def test_ephemeral_channels_are_delivered_live_on_every_node_in_one_order() -> None:
    live = json.dumps({"live": {"history_size": 0}})
    channels = ("live:a", "live:b")
    settings = [f"--namespaces={live}"]
    with RedisServer() as redis, fleet(*[redis.url] * 3, settings=settings) as nodes:
        async with load(nodes) as working:
            working.listen_everywhere(channels, kinds=[ByToken, ByCommands])
            working.listen_everywhere(["live:*"], kinds=[ByToken, ByEvents])
            await working.joined()
            working.produce(channels=in_turn(channels))
            await working.acknowledged(200)
            balance = await working.finish()
            count = balance.ledger.count

            def heard_all() -> bool:
                return all(
                    sum(map(len, account.heard.values())) == count for account in balance.accounts
                )

            await until(heard_all, "that all have heard all")
    first, *others = balance.accounts
    for channel in channels:
        acknowledged = balance.ledger.acknowledged[channel]
        assert {place for _, place in acknowledged} == {None}
        assert set(first.heard[channel]) == set(acknowledged)
        for account in others:
            assert account.heard[channel] == first.heard[channel], account
        for producer in ("p0-", "p1-", "p2-", "p3-"):
            ids = [id for id, _ in first.heard[channel] if id.startswith(producer)]
            assert ids == sorted(ids, key=lambda id: int(id.partition("-")[2]))


async def test_newborn_channels_are_followed_on_every_node_from_their_first_publication() -> None:
    # Across a restart of Redis: births are rung for and looked up, as publications are.
    with RedisServer(appendfsync="always") as redis, fleet(*[redis.url] * 3) as nodes:
        async with load(nodes) as working:
            working.listen_everywhere(["born:*"], kinds=SMALL)
            working.listen(["born:*"], kinds=[ByLibrary])
            await working.joined()
            for name in ("a", "b", "c"):
                born = lambda number, name=name: f"born:{name}:{number // 8}"  # noqa: E731
                working.produce(2, channels=born, per_second=20, most=200)
            await working.acknowledged(100)
            redis.kill()
            await until(lambda: working.ledger.refused[50301], "that it is missed")
            redis.restart()
            await working.acknowledged(100)
            balance = await working.finish()
    balance.exact()
    assert len(balance.stored) > 12


async def test_node_starts_while_redis_is_away_and_is_ready_when_it_comes() -> None:
    with RedisServer() as redis:
        redis.kill()
        with fleet(redis.url) as nodes:
            (node,) = nodes.nodes
            assert (await node.get("/health/live")).status == 200
            health = await node.get("/health/ready")
            assert health.status == 503
            assert "Redis" in health.json["reason"]
            refused = await node.post("/notify", {"channel": CHANNELS[0], "message": "early"})
            assert (refused.status, refused.code) == (503, 50301)
            assert refused.headers["retry-after"] == "1"
            assert refused.json["error"]["temporary"] is True
            async with load(nodes) as working:
                working.listen()
                working.produce()
                await until(lambda: working.ledger.refused[50301] > 3, "that Redis is missed")
                assert working.ledger.count == 0
                redis.restart()
                await nodes.until_ready()
                await working.acknowledged(50)
                balance = await working.finish()
        balance.exact()
