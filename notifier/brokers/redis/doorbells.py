"""All that a node listens to in Redis, on whichever shard it is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable

from redis.exceptions import RedisError

from notifier import logs
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.doorbell import PROBE_SECONDS, Doorbell, Ear, Listening
from notifier.brokers.redis.link import Link
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.refusals import unavailable
from notifier.brokers.redis.topology import Shard, Topology, ssl_context
from notifier.config.redisurl import RedisURL
from notifier.errands import Errands
from notifier.errors import BrokerUnavailable

log = logging.getLogger("notifier.redis")

# After news of a slot that moved: others follow at once.
MOVE_SECONDS = 0.2


class Doorbells:
    """A doorbell for each master, and every ear at the right one.

    :param own: a tag of this node, for its probes.
    :param timeout: seconds that connecting, or hearing a probe, may take.
    :param on_heard: told that a shard is heard again, or for the first time.
    """

    def __init__(
        self,
        url: RedisURL,
        topology: Topology,
        commands: Commands,
        names: Names,
        *,
        own: str,
        timeout: float,
        on_heard: Callable[[], None],
    ) -> None:
        self._on_heard = on_heard
        self._url = url
        self._topology = topology
        self._commands = commands
        self._names = names
        self._own = own
        self._timeout = timeout
        self._tls: ssl.SSLContext | None = None
        self._doorbells: dict[str, Doorbell] = {}
        # Of masters that are none any more, until they are closed.
        self._gone: list[Doorbell] = []
        self._looking: asyncio.Task[None] | None = None
        # Those that are on no shard that is known, too.
        self._listening: dict[bytes, tuple[str, Listening]] = {}
        self._lost: str | None = "Redis has not been reached yet."
        self._told: str | None = None
        self._moved = asyncio.Event()
        self._looked = asyncio.Event()
        self._errands = Errands()

    @property
    def trouble(self) -> str | None:
        """Why something may go unheard just now."""
        if self._lost is not None:
            return self._lost
        if self._looking is not None and self._looking.done():
            return "This node has ceased to look where Redis is."
        for doorbell in self._doorbells.values():
            if doorbell.trouble is not None:
                return doorbell.trouble
        return None

    async def open(self) -> None:
        """Returns when everything is heard, or it is known that something is not.

        :raises OSError: a file for TLS can't be read.
        """
        self._tls = ssl_context(self._url)
        self._looking = self._errands.run(self._run())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * self._timeout):
                await self._looked.wait()
                for doorbell in list(self._doorbells.values()):
                    await doorbell.tried.wait()

    async def close(self) -> None:
        await self._errands.close()
        doorbells = (*self._doorbells.values(), *self._gone)
        await asyncio.gather(*(doorbell.close() for doorbell in doorbells))
        self._doorbells.clear()
        self._gone.clear()

    # --- listening ---

    def listen(self, name: str, ear: Ear, *, verb: str | None = None) -> Listening:
        """From now on, for as long as it takes. Nothing changes where the ear listens already.

        :param verb: SUBSCRIBE or PSUBSCRIBE, for what is not sharded.
        """
        verb = verb or self._commands.subscribe
        _, present = self._listening.get(name.encode(), (name, None))
        if present is not None and present.ear is ear and present.verb == verb:
            return present
        confirmed = asyncio.get_running_loop().create_future()
        listening = Listening(ear, verb, confirmed)
        self._listening[name.encode()] = name, listening
        doorbell = self._doorbells.get(self._place(name, listening))
        if doorbell is not None:
            doorbell.listen(name.encode(), listening)
        return listening

    def ignore(self, name: str) -> None:
        self._listening.pop(name.encode(), None)
        for doorbell in self._doorbells.values():
            doorbell.ignore(name.encode())

    def _place(self, name: str, listening: Listening) -> str:
        """The shard where it is rung."""
        if listening.verb == self._commands.subscribe:
            return self._topology.shard_of(name)
        # Each hears what is not sharded.
        return min(self._doorbells, default="")

    # --- shards ---

    async def _run(self) -> None:
        """Look where the shards are, again and again."""
        while True:
            try:
                await self._look()
            except (RedisError, OSError) as error:
                self._lost = unavailable(error).message
            except Exception as fault:  # noqa: BLE001 (a node that looks no more is lost for good)
                before, self._lost = self._lost, unavailable(fault).message
                if self._lost != before:
                    context = {"message": "looking where Redis is failed", "exception": fault}
                    asyncio.get_running_loop().call_exception_handler(context)
            self._looked.set()
            self._tell()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._moved.wait()
                self._moved.clear()
                await asyncio.sleep(MOVE_SECONDS)

    async def _look(self) -> None:
        async with asyncio.timeout(2 * self._timeout):
            shards = await self._topology.look()
        await self._arrange({shard.id: shard for shard in shards})
        self._lost = None if shards else "The Redis Cluster serves no slots."

    async def _arrange(self, shards: dict[str, Shard]) -> None:
        """A doorbell for each shard, and no other; every ear where it belongs."""
        self._gone += [self._doorbells.pop(id) for id in list(self._doorbells) if id not in shards]
        for id, shard in shards.items():
            if id not in self._doorbells:
                self._doorbells[id] = Doorbell(
                    shard,
                    connect=self._connect,
                    commands=self._commands,
                    probe=self._names.probe(shard.tag or f"${self._own}", self._own),
                    timeout=self._timeout,
                    on_heard=self._heard_again,
                    on_moved=self._moved.set,
                )
        for count, (key, (name, listening)) in enumerate(list(self._listening.items()), start=1):
            home = self._doorbells.get(self._place(name, listening))
            if home is not None and home.listening.get(key) is listening:
                if not listening.confirmed.done():
                    home.ask_again(key, listening)
                continue
            for doorbell in self._doorbells.values():
                doorbell.ignore(key)
            if home is not None and key in self._listening:
                home.listen(key, listening)
            if count % 256 == 0:
                await asyncio.sleep(0)
        while self._gone:
            await self._gone[-1].close()
            self._gone.pop()

    def _connect(self, doorbell: Doorbell) -> asyncio.Task[Link]:
        return asyncio.create_task(
            Link.connect(
                doorbell.shard,
                tls=self._tls,
                username=self._url.username,
                password=self._url.password,
                name=f"notifier-{self._own}",
                on_message=doorbell.message,
                on_confirmed=doorbell.confirmed,
                on_ended=doorbell.ended,
                on_refused=doorbell.refused,
            )
        )

    def _heard_again(self) -> None:
        self._on_heard()
        self._tell()

    def _tell(self) -> None:
        """Log when it begins not to be heard, and when it ends."""
        trouble = self.trouble
        untried = any(not doorbell.tried.is_set() for doorbell in self._doorbells.values())
        if trouble != self._told and not untried:
            self._told = trouble
            if trouble is None:
                logs.event(log, logging.INFO, "redis.heard", shards=len(self._doorbells))
            else:
                logs.event(log, logging.WARNING, "redis.unheard", reason=trouble)


async def heard(listening: Listening, seconds: float) -> None:
    """Wait until it is confirmed.

    :raises BrokerUnavailable: not in that time.
    """
    if listening.confirmed.done():
        return
    try:
        async with asyncio.timeout(seconds):
            await asyncio.shield(listening.confirmed)
    except TimeoutError:
        raise BrokerUnavailable("Redis does not announce this channel to us just now.") from None
