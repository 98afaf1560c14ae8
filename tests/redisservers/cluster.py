"""A Redis Cluster of a test's own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from tests.redisservers.server import RedisServer, redis_cli, until

SLOTS = 16384


class Cluster:
    """So many masters, each with so many replicas. Use as a context manager.

    :ivar masters: those that were masters in the beginning.
    :ivar servers: all.
    :param node_timeout_ms: how long a server may be silent.
    :param options: of every server, as in ``redis.conf``.
    """

    def __init__(
        self,
        *,
        masters: int = 3,
        replicas: int = 0,
        node_timeout_ms: int = 1000,
        appendfsync: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._replicas = replicas
        self._stack = ExitStack()
        everywhere = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(node_timeout_ms),
            "repl-diskless-sync-delay": "0",
            **(options or {}),
        }
        self.servers = [
            RedisServer(appendfsync=appendfsync, options=everywhere)
            for _ in range(masters * (1 + replicas))
        ]
        self.masters = self.servers[:masters]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            addresses = [f"127.0.0.1:{server.port}" for server in self.servers]
            how = ["--cluster-replicas", str(self._replicas), "--cluster-yes"]
            redis_cli("--cluster", "create", *addresses, *how)
            self.wait_until_whole()
            if self._replicas:
                replicas = self.servers[len(self.masters) :]
                until(lambda: all(map(_follows, replicas)), "that the replicas have synchronised")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.masters)
        return f"redis+cluster://{hosts}"

    def wait_until_whole(self) -> None:
        """Wait until every server that runs says that each slot is served."""

        def whole(server: RedisServer) -> bool:
            said = server.cli("CLUSTER", "INFO").split()
            return "cluster_state:ok" in said and f"cluster_slots_ok:{SLOTS}" in said

        until(lambda: all(whole(server) for server in self._running), "a Cluster that is whole")

    def slot(self, key: str) -> int:
        return int(self._running[0].cli("CLUSTER", "KEYSLOT", key))

    def owner(self, slot: int) -> RedisServer:
        """The master that has the slot, as most see it."""
        said = [self._owner_port(server, slot) for server in self._running]
        port = max(said, key=said.count)
        return next(server for server in self.servers if server.port == port)

    def kill_master(self, slot: int) -> RedisServer:
        """Kill the master that has the slot, and return it at once."""
        master = self.owner(slot)
        master.kill()
        return master

    def wait_for_another(self, slot: int, before: RedisServer) -> None:
        """Wait until another master has the slot, and the cluster is whole."""

        def replaced() -> bool:
            ports = {self._owner_port(server, slot) for server in self._running}
            return before.port not in ports and len(ports) == 1

        until(replaced, "that a replica has the slot")
        self.wait_until_whole()

    def move_slot(self, slot: int, to: RedisServer) -> None:
        """Move a slot and its keys, one after the other, while they are used.

        As ``redis-cli --cluster reshard`` does it: meanwhile clients are told ASK and TRYAGAIN.
        """
        here = self.owner(slot)
        assert here is not to
        to.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", self._id(here))
        here.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", self._id(to))
        # A key may be born meanwhile, of those that are not asked for elsewhere.
        while keys := here.cli("CLUSTER", "GETKEYSINSLOT", slot, 100).split("\n"):
            if keys == [""]:
                break
            for key in keys:
                here.cli("MIGRATE", "127.0.0.1", to.port, key, 0, 5000)
        owner = self._id(to)
        # The new one first: if all others knew and it did not, the slot would be nobody's.
        for server in (to, here, *self._running):
            if "role:master" in server.cli("INFO", "replication").split():
                server.cli("CLUSTER", "SETSLOT", slot, "NODE", owner)

        def moved() -> bool:
            return all(self._owner_port(server, slot) == to.port for server in self._running)

        until(moved, "that everybody knows of the move")

    @property
    def _running(self) -> list[RedisServer]:
        return [server for server in self.servers if server.running]

    def _id(self, server: RedisServer) -> str:
        return server.cli("CLUSTER", "MYID")

    def _owner_port(self, server: RedisServer, slot: int) -> int:
        """The port of the slot's master, as one server sees it (CLUSTER NODES)."""
        for line in server.cli("CLUSTER", "NODES").splitlines():
            _, address, flags, _, _, _, _, _, *slots = line.split()
            if "master" in flags.split(",") or "myself,master" in flags:
                for held in slots:
                    first, _, last = held.partition("-")
                    if first.isdigit() and int(first) <= slot <= int(last or first):
                        return int(address.partition("@")[0].rpartition(":")[2])
        return 0


def _follows(server: RedisServer) -> bool:
    said = server.cli("INFO", "replication").split()
    return "role:slave" in said and "master_link_status:up" in said
