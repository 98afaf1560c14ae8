"""Where the masters of a Redis are, and the client for commands to them."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import RedisClusterException, RedisError, SlotNotCoveredError

from notifier.brokers.redis.packing import pack_by_hiredis
from notifier.config.redisurl import Deployment, RedisURL


@dataclass(frozen=True, slots=True)
class Shard:
    """A master.

    :param tag: a hash tag whose slot it serves.
    """

    host: str
    port: int
    tag: str = ""

    @property
    def id(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


class Topology(Protocol):
    """How one Redis is deployed."""

    client: Any
    sharded: bool

    async def look(self) -> Sequence[Shard]:
        """The masters there are just now.

        :raises RedisError:
        :raises OSError:
        """

    def shard_of(self, name: str) -> str:
        """The id of the shard that a key or a sharded doorbell is on, as of the last look."""

    async def close(self) -> None: ...


class Single:
    """One Redis, always at the same address."""

    sharded = False

    def __init__(self, url: RedisURL, timeout: float) -> None:
        if url.path is not None:
            self._shard = Shard(url.path, 0)
            self.client = Redis(unix_socket_path=url.path, **_options(url, timeout))
        else:
            ((host, port),) = url.hosts
            self._shard = Shard(host, port)
            self.client = Redis(host=host, port=port, **_tls(url), **_options(url, timeout))
        pack_by_hiredis(self.client)

    async def look(self) -> Sequence[Shard]:
        return [self._shard]

    def shard_of(self, name: str) -> str:
        return self._shard.id

    async def close(self) -> None:
        await self.client.aclose()


class Watched:
    """A master with replicas, and sentinels who say which one it is."""

    sharded = False

    def __init__(self, url: RedisURL, timeout: float) -> None:
        assert url.master is not None
        self._master = url.master
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call]
            list(url.hosts),
            sentinel_kwargs={
                "username": url.sentinel_username,
                "password": url.sentinel_password,
                "socket_timeout": timeout,
                "socket_connect_timeout": timeout,
                "retry": Retry(NoBackoff(), 0),
                **_tls(url),
            },
            **_tls(url),
            **_options(url, timeout),
        )
        self.client = self._sentinel.master_for(self._master)
        pack_by_hiredis(self.client)
        self._shard = Shard("", 0)

    async def look(self) -> Sequence[Shard]:
        try:
            shard = Shard(*await self._sentinel.discover_master(self._master))
        except (RedisError, OSError):
            if not self._shard.host:
                raise
            return [self._shard]  # while no sentinel says otherwise, it is what it was
        if shard != self._shard:
            self._shard = shard
            # Those to the old one may still work, and what is written there is lost.
            await self.client.connection_pool.disconnect()
        return [shard]

    def shard_of(self, name: str) -> str:
        return self._shard.id

    async def close(self) -> None:
        await self.client.aclose()
        for sentinel in self._sentinel.sentinels:
            await sentinel.aclose()


class Cluster:
    """A Redis Cluster."""

    sharded = True

    def __init__(self, url: RedisURL, timeout: float) -> None:
        options = _options(url, timeout)
        del options["db"]
        self.client = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in url.hosts],
            require_full_coverage=False,
            **_tls(url),
            **options,
        )
        pack_by_hiredis(self.client)
        self._hosts = url.hosts
        self._tags: dict[str, str] = {}

    async def look(self) -> Sequence[Shard]:
        try:
            await self.client.nodes_manager.initialize()
        except (RedisClusterException, LookupError) as error:
            self._begin_anew()
            raise Unreachable(str(error)) from error  # neither is one of redis-py's RedisError
        shards = [
            Shard(node.host, int(node.port), tag)
            for node in self.client.get_primaries()
            if (tag := self._tag(f"{node.host}:{node.port}")) is not None
        ]
        if not shards:
            self._begin_anew()
        return shards

    def _begin_anew(self) -> None:
        """Ask those that the URL names, too: redis-py goes by what the Cluster said last alone,
        and that may have been nothing.
        """
        known = self.client.nodes_manager.startup_nodes
        for host, port in self._hosts:
            if f"{host}:{port}" not in known:
                known[f"{host}:{port}"] = ClusterNode(host, port, **self.client.connection_kwargs)

    def shard_of(self, name: str) -> str:
        try:
            node = self.client.get_node_from_key(name)
        except (SlotNotCoveredError, RedisClusterException):
            return ""
        return "" if node is None else f"{node.host}:{node.port}"

    def _tag(self, id: str) -> str | None:
        """A tag that is the shard's; ``None``: it serves no slot."""
        known = self._tags.get(id)
        if known is not None and self.shard_of(known) == id:
            return known
        slots = self.client.nodes_manager.slots_cache
        mine = {
            slot
            for slot, nodes in slots.items()
            if nodes and f"{nodes[0].host}:{nodes[0].port}" == id
        }
        for number in range(1 << 17 if mine else 0):
            if key_slot(b"$probe%d" % number) in mine:
                self._tags[id] = f"$probe{number}"
                return self._tags[id]
        return None

    async def close(self) -> None:
        await self.client.aclose()


def topology_of(url: RedisURL, timeout: float) -> Topology:
    """:param timeout: seconds that a connection or an answer may take."""
    match url.deployment:
        case Deployment.SENTINEL:
            return Watched(url, timeout)
        case Deployment.CLUSTER:
            return Cluster(url, timeout)
        case Deployment.SINGLE:
            return Single(url, timeout)


def ssl_context(url: RedisURL) -> ssl.SSLContext | None:
    """What to connect with; ``None``: without TLS.

    :raises OSError: a file can't be read.
    """
    if not url.tls:
        return None
    files = dict(url.files)
    context = ssl.create_default_context(cafile=files.get("ssl_ca_certs"))
    if "ssl_certfile" in files:
        context.load_cert_chain(files["ssl_certfile"], files.get("ssl_keyfile"))
    return context


def _options(url: RedisURL, timeout: float) -> dict[str, Any]:
    return {
        "db": url.db,
        "username": url.username,
        "password": url.password,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        # Whether a command may be sent twice is for us to know.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


def _tls(url: RedisURL) -> dict[str, Any]:
    return {"ssl": True, **dict(url.files)} if url.tls else {}
