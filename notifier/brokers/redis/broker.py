"""The broker that joins nodes through Redis."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from notifier.brokers.base import CannotOpen, Idempotency, Receipt, Receiver, Watcher
from notifier.brokers.keys import REUSED
from notifier.brokers.redis.births import Births
from notifier.brokers.redis.calls import Calls
from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.doorbells import Doorbells
from notifier.brokers.redis.entry import decode
from notifier.brokers.redis.ephemeral import Ephemeral
from notifier.brokers.redis.fleet import RedisFleet
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.receptions import Receptions
from notifier.brokers.redis.registry import Registry
from notifier.brokers.redis.roundtrips import Call
from notifier.brokers.redis.topology import topology_of
from notifier.brokers.redis.witness import Witness
from notifier.brokers.redis.writer import Write, Writer
from notifier.channels import Namespaces, Pattern
from notifier.config.redisurl import RedisURL
from notifier.errands import Errands
from notifier.errors import BadParameter, BrokerUnavailable, IdempotencyConflict
from notifier.history import ChannelState, History
from notifier.notification import Draft, Gap, Position
from notifier.wire.resume import After, Since

# Between two looks at some of all channels.
SWEEP_SECONDS = 5.0
# Bytes a call takes beside its publication.
CALL_BYTES = 600


class RedisBroker:
    """Keeps the contract of :class:`~notifier.brokers.base.Broker` for many nodes.

    History is bounded by count and age for each channel; what all of it may take together is
    Redis's to bound (``maxmemory``, with ``noeviction``: then publications are refused, and nothing
    is lost).

    :param node: a tag of this node, unlike any other's.
    :param timeout: seconds that an answer of Redis may take, and that publishing is tried for.
    :param linger: seconds a channel is heard for after its last listener has left.
    :param now_ms: milliseconds since 1970.
    :ivar fleet: the nodes that share this Redis.
    """

    def __init__(
        self,
        url: RedisURL,
        namespaces: Namespaces,
        *,
        node: str,
        prefix: str,
        timeout: float,
        linger: float,
        wait_replicas: int,
        max_channels: int,
        max_unwritten_bytes: int,
        idempotency_ttl: float,
        now_ms: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._namespaces = namespaces
        self._max_unwritten_bytes = max_unwritten_bytes
        self._wait_replicas = wait_replicas
        self._timeout = timeout
        self._topology = topology_of(url, timeout)
        self._names = Names(prefix, namespaces, url.db)
        self._commands = Commands(self._topology, timeout)
        self._calls = Calls(
            self._names,
            namespaces,
            publish=self._commands.publish,
            patience=timeout,
            idempotency_ttl=idempotency_ttl,
            max_channels=max_channels,
            now_ms=now_ms,
        )
        self._clock = clock
        self._next_sweep = 0.0
        self._errands = Errands()
        self._writers: dict[str, Writer] = {}
        self._registry = Registry(
            self._commands, self._names, self._calls, max_channels=max_channels
        )
        self._witness = Witness(self._commands, self._calls, self._errands, clock)
        self._doorbells = Doorbells(
            url,
            self._topology,
            self._commands,
            self._names,
            own=node,
            timeout=timeout,
            on_heard=self._witness.doubt,
        )
        self.fleet = RedisFleet(self._commands, self._doorbells, self._names, namespaces, node=node)
        self._receptions = Receptions(
            self._commands,
            self._doorbells,
            self._names,
            self._calls,
            self._witness,
            linger_seconds=linger,
            timeout=timeout,
            clock=clock,
        )
        self._ephemeral = Ephemeral(self._doorbells, self._names, namespaces, timeout=timeout)
        self._births = Births(
            self._commands, self._names.births, self._errands, self._receptions.born
        )

    @property
    def prompt(self) -> bool:
        return False

    @property
    def trouble(self) -> str | None:
        return self._doorbells.trouble

    async def open(self) -> None:
        self._doorbells.listen(self._names.births_bell, self._births)
        try:
            await self._doorbells.open()
        except OSError as error:
            raise CannotOpen(f"TLS to Redis: {error}") from error
        if self._doorbells.trouble is None:
            with contextlib.suppress(BrokerUnavailable):  # who needs it will wait for it
                await self._births.begin(self._timeout)

    async def close(self) -> None:
        await self._errands.close()
        await self._receptions.close()
        await self._doorbells.close()
        await self._commands.close()
        await self._topology.close()

    def sweep(self) -> None:
        self._receptions.sweep()
        now = self._clock()
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_SECONDS
            self._errands.run(self._sweep_registry())

    async def _sweep_registry(self) -> None:
        with contextlib.suppress(BrokerUnavailable):  # there is a next time
            await self._registry.sweep()

    # --- publishing ---

    async def publish(self, draft: Draft, idempotency: Idempotency | None = None) -> Receipt:
        if self._namespaces.of(draft.channel).ephemeral:
            return await self._announce(draft, idempotency)

        def call(registered: str | None) -> Call:
            return self._calls.publish(draft, idempotency, registered)

        known = self._registry.epoch(draft.channel)
        size = draft.size + CALL_BYTES
        write = Write(draft.channel, call(known), size, remake=call)
        answer = await self._writer(draft.channel).put(write)
        if answer[0] == b"conflict":
            raise IdempotencyConflict(REUSED)
        kind, epoch, offset, id = (word.decode() for word in answer)
        place = Position(epoch, int(offset))
        # Sent again by us, for want of an answer, it is no repetition of the producer's.
        repeated = kind == "repeat" and (write.tries == 1 or id != draft.id)
        if not repeated:
            self._witness.stored(draft.channel, place, id)
        return Receipt(id, place, repeated)

    async def _announce(self, draft: Draft, idempotency: Idempotency | None) -> Receipt:
        call = self._calls.announce(draft, idempotency)
        answer = await self._writer(draft.channel).put(
            # Without a key nothing tells whether it was announced before the answer was lost.
            Write(
                draft.channel,
                call,
                draft.size + CALL_BYTES,
                repeatable=idempotency is not None,
            )
        )
        if idempotency is None:
            return Receipt(draft.id, None)
        if answer[0] == b"conflict":
            raise IdempotencyConflict(REUSED)
        return Receipt(answer[1].decode(), None, repeated=answer[0] == b"repeat")

    async def clear(self, channel: str) -> int:
        if self._namespaces.of(channel).ephemeral:
            return 0
        write = Write(channel, self._calls.clear(channel), CALL_BYTES)
        return int(await self._writer(channel).put(write))

    def _writer(self, channel: str) -> Writer:
        """One for each shard: one that is away holds up nobody else's."""
        shard = self._topology.shard_of(self._names.log(channel))
        writer = self._writers.get(shard)
        if writer is None:
            writer = self._writers[shard] = Writer(
                self._commands,
                self._registry,
                patience=self._timeout,
                max_bytes=self._max_unwritten_bytes,
                wait_replicas=self._wait_replicas,
                errands=self._errands,
            )
        return writer

    # --- listening ---

    async def subscribe(self, channel: str, receiver: Receiver) -> None:
        if self._namespaces.of(channel).ephemeral:
            await self._ephemeral.subscribe(channel, receiver)
        else:
            await self._receptions.subscribe(channel, receiver)

    async def unsubscribe(self, channel: str, receiver: Receiver) -> None:
        if self._namespaces.of(channel).ephemeral:
            self._ephemeral.unsubscribe(channel, receiver)
        else:
            self._receptions.unsubscribe(channel, receiver)

    def watch(self, watcher: Watcher) -> None:
        self._receptions.watch(watcher)
        self._ephemeral.watch(watcher)

    async def follow(self, pattern: Pattern) -> None:
        # Before its channels are listed: none may be born unnoticed after that.
        await self._births.begin(self._timeout)
        await self._ephemeral.follow(pattern)

    def unfollow(self, pattern: Pattern) -> None:
        self._ephemeral.unfollow(pattern)

    # --- reading ---

    async def history(
        self,
        channel: str,
        since: Since,
        limit: int,
        *,
        before: Position | None = None,
        newest_first: bool = False,
        key: str | None = None,
    ) -> History:
        if self._namespaces.of(channel).ephemeral:
            return History(channel, None, None, ())
        call = self._calls.history(
            channel, since, limit, before=before, newest_first=newest_first, key=key
        )
        answer = await self._commands.one(call)
        if answer[0] == b"foreign":
            raise BadParameter(
                f"before={before} is a position of a log that was lost.", field="before"
            )
        epoch = answer[0].decode()
        head, floor, floor_ms, start, gap, resumes, more = map(int, answer[1:8])
        self._receptions.newer(channel, epoch)
        lost_after = since.position if isinstance(since, After) else None
        return History(
            channel,
            start=Position(epoch, start),
            head=Position(epoch, head),
            publications=[
                decode(channel, Position(epoch, int(offset)), entry)
                for offset, entry in zip(answer[8::2], answer[9::2], strict=True)
            ],
            gap=Gap(channel, lost_after, Position(epoch, resumes)) if gap else None,
            floor_time_ms=floor_ms,
            complete=start == floor,
            more=bool(more),
        )

    async def channel(self, channel: str) -> ChannelState | None:
        if self._namespaces.of(channel).ephemeral:
            return None
        return await self._registry.state(channel)

    async def channels(
        self, pattern: Pattern, after: str, limit: int, *, unborn: bool = False
    ) -> list[ChannelState]:
        return await self._registry.channels(pattern, after, limit, unborn=unborn)
