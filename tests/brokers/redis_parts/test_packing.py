"""What of redis-py is relied on for packing in C: where its connections' class is kept."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio.connection import Connection

from notifier.brokers.redis.topology import topology_of
from notifier.config.redisurl import RedisURL
from tests.redisservers.cluster import Cluster

CALL = (
    "EVALSHA",
    "f" * 40,
    2,
    "a:{é}:log",
    "b",
    1795368240123,
    "",
    b"\r\n\0\xff",
    b"x" * 10_000,
    -1,
)


def packed(connection: Any, *words: Any) -> bytes:
    return b"".join(connection.pack_commands([words, words]))


@pytest.mark.parametrize(
    "url",
    ["redis://h", "rediss://h", "unix:///s", "redis+sentinel://h/m", "rediss+sentinel://h/m"],
)
async def test_connections_pack_calls_of_scripts_as_redis_py_does(url: str) -> None:
    topology = topology_of(RedisURL.parse(url), 1.0)
    connection = topology.client.connection_pool.make_connection()
    assert packed(connection, *CALL) == packed(Connection(), *CALL)
    assert type(connection).__name__ == "Packing"
    teach = ("SCRIPT LOAD", "return 1")
    assert packed(connection, *teach) == packed(Connection(), *teach)
    await topology.close()


async def test_connections_to_each_node_of_a_cluster_pack_by_hiredis(
    redis_cluster: Cluster,
) -> None:
    topology = topology_of(RedisURL.parse(redis_cluster.url), 5.0)
    await topology.client.initialize()
    shards = await topology.look()
    nodes = [topology.client.get_node_from_key(f"{{{shard.tag}}}") for shard in shards]
    assert {node.connection_class.__name__ for node in nodes} == {"Packing"}
    await topology.close()
