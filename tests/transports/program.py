"""A program that follows channels and comes back where it was, by each transport's rules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime

from notifier.notification import Position
from tests.transports.clients import Asked, Client, Ended, Events, Message, Stream


class Memory(ABC):
    """What a program keeps between two connections.

    :ivar since: where to come back to.
    """

    def __init__(self, names: Sequence[str], since: str | None) -> None:
        self.names = names
        self.since = since

    def asks(self) -> Asked:
        """What the next connection asks for."""
        return Asked(self.names, self.since)

    def connected(self, client: Client) -> None:
        """A new connection has begun."""
        return

    def ended(self, client: Client) -> None:
        """The connection is over."""
        return

    @abstractmethod
    def take(self, client: Client, message: Message) -> bool:
        """Heed a message; False when the program has had it before."""


class Nothing(Memory):
    """Of a transport that tells no places: back means from now on."""

    def connected(self, client: Client) -> None:
        self.since = None

    def take(self, client: Client, message: Message) -> bool:
        return True


class LastEventId(Memory):
    """EventSource's. All is in the server's hands: nothing is known but the last id."""

    def take(self, client: Client, message: Message) -> bool:
        assert isinstance(client, Events)
        self.since = message.get("event_id") or self.since
        return True

    def ended(self, client: Client) -> None:
        assert isinstance(client, Events)
        # An id may come in a block of its own, without an event.
        self.since = client.parser.last_id or self.since


class Positions(Memory):
    """A program's own: the position in each channel, and the newest time the server told.

    Until all that was asked for has been joined there is no whole picture: the place to come
    back to stays the old one, and what comes twice is told by its position.
    """

    def __init__(self, names: Sequence[str], since: str | None) -> None:
        super().__init__(names, since)
        self.places: dict[str, Position] = {}
        self._time = 0.0
        self._waiting: set[str] = set()

    def connected(self, client: Client) -> None:
        self._waiting = set(self.names)
        if isinstance(client, Stream):
            self._time = max(self._time, client.server_time)

    def take(self, client: Client, message: Message) -> bool:
        if "time" in message:
            self._time = max(self._time, datetime.fromisoformat(message["time"]).timestamp())
        match message["type"]:
            case "subscribed":
                self._waiting.discard(message["channel"])
                if message["position"] is not None:
                    here = Position.parse(message["position"])
                    # What was asked for from the old place comes again from there.
                    if not self._has(message["channel"], here):
                        self.places[message["channel"]] = here
            case "notification" if message["position"] is not None:
                channel, here = message["channel"], Position.parse(message["position"])
                if self._has(channel, here):
                    assert self._waiting, f"{here} of {channel} came twice"
                    return False
                self.places[channel] = here
            case "gap":
                before = Position.parse(message["before"])
                self.places[message["channel"]] = Position(before.epoch, before.offset - 1)
        if "since" in message:  # the server says it itself
            self.since = message["since"]
        elif not self._waiting:
            self.since = self._place()
        return True

    def _has(self, channel: str, here: Position) -> bool:
        place = self.places.get(channel)
        return place is not None and place.epoch == here.epoch and here.offset <= place.offset

    def _place(self) -> str | None:
        if len(self.names) == 1 and self.names[0] in self.places:
            return str(self.places[self.names[0]])
        places = ",".join(f"{channel}={place}" for channel, place in self.places.items())
        return f"{places};t={self._time:.3f}"


class EachPosition(Positions):
    """Of a program that asks for its channels one by one, each from its own place."""

    def asks(self) -> Asked:
        places = {channel: str(place) for channel, place in self.places.items()}
        return Asked(self.names, "all", places)


class Program:
    """Follows channels, over as many connections as it takes.

    :ivar ids: of the publications it has had, by channel, in order.
    :ivar texts: of those whose transport tells no ids.
    """

    def __init__(
        self, client: type[Client], memory: Memory, port: int, *, receive_buffer: int | None = None
    ) -> None:
        self.memory = memory
        self.ids: defaultdict[str, list[str]] = defaultdict(list)
        self.texts: list[str | bytes] = []
        self.connections = 0
        self.gaps: list[Message] = []
        self._type = client
        self._port = port
        self._receive_buffer = receive_buffer
        self._client: Client | None = None

    async def follow_until(self, done: Callable[[], bool]) -> None:
        """Read, and come back whenever the connection ends, until it is done."""
        while not done():
            try:
                await self._step()
            except Ended:
                if self._client is not None:
                    self.memory.ended(self._client)
                self.hang_up()

    async def _step(self) -> None:
        if self._client is None:
            self._client = await self._type.connect(
                self._port, self.memory.asks(), receive_buffer=self._receive_buffer
            )
            self.connections += 1
            self.memory.connected(self._client)
        message = await self._client.message()
        if not self.memory.take(self._client, message):
            return
        if message["type"] == "gap" or "gap" in message:
            self.gaps.append(message)
        elif message["type"] == "notification":
            if "id" in message:
                self.ids[message["channel"]].append(message["id"])
            self.texts.append(message.get("message", message.get("bytes", "")))

    def hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
