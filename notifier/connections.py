"""The clients' connections to this node: who may come, who is here, who is leaving."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from notifier.auth.identity import Identity
from notifier.backlog import those_over
from notifier.config import Settings
from notifier.connectionlimits import ConnectionLimits
from notifier.counts import Counts
from notifier.errors import Draining, NotifierError, TooManyConnections
from notifier.expiries import Expiries
from notifier.keepalive import Keepalive, Peer
from notifier.notification import Gap
from notifier.sink import Sink, Stream
from notifier.strangers import Strangers
from notifier.wire.prepared import Format, Tailor


class Connection(Peer, Protocol):
    """A client's connection, as the node needs it to introduce it and to take its leave.

    :ivar identity: who it is; another one once it has shown a fresh token.
    :ivar since_ms: when it came, in milliseconds since 1970.
    """

    id: str
    identity: Identity
    since_ms: int

    @property
    def address(self) -> str:
        """Where it comes from, past proxies that are trusted."""

    def reconnect(self, after_ms: int) -> None:
        """Tell the client when to come back, elsewhere."""

    def dismiss(self) -> None:
        """Its time to leave has passed: close it."""

    def end(self, refusal: NotifierError) -> None:
        """Close it in a way that keeps a client from coming back by itself."""

    def deprive(self, name: str, refusal: NotifierError) -> None:
        """Tell it why it follows the channel or pattern no more."""


def end(connection: Connection, refusal: NotifierError) -> None:
    """End one of several: what goes wrong with it is not to keep the others from their end."""
    try:
        connection.end(refusal)
    except Exception as fault:  # noqa: BLE001
        connection.sink.abort("fault")
        context = {"message": "a connection was not ended", "exception": fault}
        asyncio.get_running_loop().call_exception_handler(context)


class Connections(Mapping[Sink, Connection]):
    """All that are open, by their sinks, in the order they came.

    :param strangers: those that have shown no credential, where that is asked for.
    :param clock: seconds, monotonic.
    :param on_blocked: told when a sink takes nothing more; its subscriptions must leave live.
    :param on_drained: told when it does again.
    :param on_silenced: told when nothing is to be delivered to a sink any more; its
        subscriptions must end.
    :ivar draining: this node is about to leave, so no more are taken.
    :ivar deserted: set while there are none.
    """

    def __init__(
        self,
        settings: Settings,
        counts: Counts,
        strangers: Strangers,
        *,
        clock: Callable[[], float],
        on_blocked: Callable[[Sink], None],
        on_drained: Callable[[Sink], None],
        on_silenced: Callable[[Sink], None],
    ) -> None:
        self._max_connections = settings.max_connections
        self._limits = ConnectionLimits(settings)
        # Those that are let in and not here yet.
        self._arriving = 0
        self._max_pending_bytes = settings.max_pending_bytes
        self._max_backlog_bytes = settings.max_backlog_bytes
        self._counts = counts
        self._clock = clock
        self._on_blocked = on_blocked
        self._on_drained = on_drained
        self._on_silenced = on_silenced
        self._open: dict[Sink, Connection] = {}
        self._by_id: dict[str, Connection] = {}
        self._expiries = Expiries()
        self.strangers = strangers
        self._keepalive = Keepalive(
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            stalled_seconds=settings.stalled_seconds,
        )
        self.draining = False
        self.deserted = asyncio.Event()
        self.deserted.set()

    def __getitem__(self, sink: Sink) -> Connection:
        return self._open[sink]

    def __iter__(self) -> Iterator[Sink]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)

    def find(self, id: str) -> Connection | None:
        return self._by_id.get(id)

    @property
    def stuck(self) -> int:
        """Those that take nothing more just now."""
        return self._keepalive.stuck

    def check_room(self, address: str, identity: Identity) -> None:
        """Before a handshake: is there room for one more?

        :raises Draining:
        :raises TooManyConnections:
        :raises TooManyConnectionsFromAddress:
        :raises TooManyConnectionsOfUser:
        :raises ConnectingTooFast:
        """
        if self.draining:
            raise Draining("This node is about to leave: connect to another.")
        limit = self._max_connections
        if len(self._open) + self._arriving >= limit:
            raise TooManyConnections(
                f"This node serves {limit} connections already (setting max_connections).",
                limit=limit,
            )
        self._limits.check(address, identity, self._clock())

    @contextmanager
    def arriving(self, address: str, identity: Identity) -> Iterator[None]:
        """Count one for which there was room while it is on its way to :meth:`add`."""
        self._arriving += 1
        self._limits.enter(address, identity)
        try:
            yield
        finally:
            self._arriving -= 1
            self._limits.leave(address, identity)

    def sink(
        self,
        stream: Stream,
        format: Format,
        *,
        transport: str,
        tailor: Tailor | None = None,
        on_gap: Callable[[Gap], None] | None = None,
    ) -> Sink:
        """An outlet for a new connection.

        :param transport: one of :data:`~notifier.counts.TRANSPORTS`.
        :param tailor: fits publications to it, if they are not the same for all.
        :param on_gap: ends it; needed where the format has no word for a gap.
        """
        return Sink(
            stream,
            format,
            tailor=tailor,
            on_gap=on_gap,
            max_pending_bytes=self._max_pending_bytes,
            on_blocked=self._blocked,
            on_drained=self._drained,
            on_finished=self._on_silenced,
            traffic=self._counts.traffic[transport],
        )

    def add(self, connection: Connection) -> None:
        self._open[connection.sink] = connection
        self._by_id[connection.id] = connection
        self._limits.enter(connection.address, connection.identity)
        self.deserted.clear()
        self._expiries.set(connection.id, connection.identity.expires_at)
        # On all other ways, what is followed stands in the request.
        if connection.identity.kind == "anonymous" and connection.sink.traffic.transport == (
            "websocket"
        ):
            self.strangers.came(connection.id, self._clock())
        self._keepalive.add(connection, self._clock())
        traffic = connection.sink.traffic
        traffic.open += 1
        traffic.opened += 1

    def remove(self, connection: Connection) -> None:
        """The connection is gone; so is all it was subscribed to."""
        sink = connection.sink
        if self._open.pop(sink, None) is not None:
            del self._by_id[connection.id]
            self._expiries.set(connection.id, None)
            self.strangers.forget(connection.id)
            self._limits.leave(connection.address, connection.identity)
            sink.traffic.open -= 1
            sink.traffic.closed[sink.ended or "lost"] += 1
        if not self._open:
            self.deserted.set()
        self._keepalive.remove(connection)
        self._on_silenced(sink)
        sink.on_gap = None  # the connection's: apart, both are gone without the cyclic collector

    def renew(self, connection: Connection, identity: Identity) -> None:
        """It has shown who it is, again or for the first time.

        :raises TooManyConnectionsOfUser:
        """
        address, before = connection.address, connection.identity
        if identity.producer != before.producer:
            self._limits.check_user(identity)
        self._limits.leave(address, before)
        self._limits.enter(address, identity)
        connection.identity = identity
        self._expiries.set(connection.id, identity.expires_at)
        self.strangers.forget(connection.id)

    def expired(self, now: float) -> list[Connection]:
        """Those whose key or token has ended since they were last asked for.

        :param now: seconds since 1970.
        """
        return [self._by_id[id] for id in self._expiries.take_due(now)]

    def useless(self, follows: Callable[[Sink], bool]) -> list[Connection]:
        """Those of strangers that have done nothing for too long.

        :param follows: whether it is subscribed to anything.
        """
        found = self.strangers.take_useless(self._clock(), lambda id: follows(self._by_id[id].sink))
        return [self._by_id[id] for id in found]

    def sweep(self) -> bool:
        """Ask for signs of life; True when there is more to do at once."""
        self._limits.sweep(self._clock())
        self._cut_backlog()
        return self._keepalive.sweep(self._clock())

    def _cut_backlog(self) -> None:
        """Where all together leave more replies unread than the node may hold, those go who leave
        the most. Publications are none of it: they are held once for all.
        """
        backlogs = [(peer.sink.backlog(), peer) for peer in self._keepalive.stuck_peers()]
        for peer in those_over(self._max_backlog_bytes, backlogs):
            peer.dead("backlog")

    def _blocked(self, sink: Sink) -> None:
        self._on_blocked(sink)
        connection = self._open.get(sink)
        if connection is not None:
            self._keepalive.blocked(connection, self._clock())

    def _drained(self, sink: Sink) -> None:
        connection = self._open.get(sink)
        if connection is not None:
            self._keepalive.drained(connection)
        self._on_drained(sink)
