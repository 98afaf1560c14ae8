"""A Redis, its replica, and the Sentinels that replace the one by the other."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from tests.redisservers.server import RedisServer, redis_cli, until

NAME = "main"
_SENTINELS = 3
_QUORUM = 2


class Sentinels:
    """A master, a replica and three Sentinels. Use as a context manager.

    :param down_after_ms: how long a server may be silent.
    :param options: of both servers, as in ``redis.conf``.
    """

    def __init__(
        self, *, down_after_ms: int = 600, options: Mapping[str, str] | None = None
    ) -> None:
        self._down_after_ms = down_after_ms
        self._options = {"repl-diskless-sync-delay": "0", **(options or {})}
        self._stack = ExitStack()
        self.servers: list[RedisServer] = []
        self.sentinels: list[RedisServer] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            master = stack.enter_context(RedisServer(options=self._options))
            following = {"replicaof": f"127.0.0.1 {master.port}"}
            replica = stack.enter_context(RedisServer(options=self._options | following))
            self.servers = [master, replica]
            until(lambda: "master_link_status:up" in replica.cli("INFO", "replication"), "a sync")
            for _ in range(_SENTINELS):
                watching = RedisServer(sentinel=True, options=self._watching(master.port))
                self.sentinels.append(stack.enter_context(watching))
            until(self._know_each_other, "that the Sentinels know of each other")
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
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{NAME}"

    def master_port(self) -> int:
        """Of the server that most Sentinels take for the master."""
        said = [self._master_port(sentinel) for sentinel in self.sentinels]
        return max(said, key=said.count)

    @property
    def master(self) -> RedisServer:
        port = self.master_port()
        return next(server for server in self.servers if server.port == port)

    @property
    def replica(self) -> RedisServer:
        """The other one."""
        port = self.master_port()
        return next(server for server in self.servers if server.port != port)

    def failover(self) -> None:
        """Have the replica promoted though the master is well; returns when it is."""
        before = self.master_port()
        self.sentinels[0].cli("SENTINEL", "FAILOVER", NAME)
        self.wait_for_another(before)

    def kill_master(self) -> RedisServer:
        """Kill it, and return it at once; :meth:`wait_for_another` waits for its successor."""
        master = self.master
        master.kill()
        return master

    def bring_back(self, server: RedisServer) -> None:
        """Start one that was killed and replaced, and have it follow the master at once.

        By itself it is a master again, and empty, until the Sentinels tell it otherwise after some
        ten seconds.
        """
        server.restart()
        server.cli("REPLICAOF", "127.0.0.1", self.master_port())

    def wait_for_another(self, before: int) -> None:
        """Wait until all Sentinels say that the master is on another port, and it says so too."""

        def replaced() -> bool:
            ports = {self._master_port(sentinel) for sentinel in self.sentinels}
            if before in ports or len(ports) > 1:
                return False
            return "role:master" in redis_cli("-p", ports.pop(), "INFO", "replication").split()

        until(replaced, "a failover")

    def _watching(self, master_port: int) -> dict[str, str]:
        return {
            f"sentinel monitor {NAME}": f"127.0.0.1 {master_port} {_QUORUM}",
            f"sentinel down-after-milliseconds {NAME}": str(self._down_after_ms),
            f"sentinel failover-timeout {NAME}": "4000",
        }

    def _know_each_other(self) -> bool:
        def knows(sentinel: RedisServer) -> bool:
            said = sentinel.cli("INFO", "sentinel")
            return f"slaves=1,sentinels={_SENTINELS}" in said

        return all(knows(sentinel) for sentinel in self.sentinels)

    def _master_port(self, sentinel: RedisServer) -> int:
        _, port = sentinel.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME).split()
        return int(port)
