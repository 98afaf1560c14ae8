"""A machine that tries to make the fan-out cheat.

Session, driver, node, hub, feeds, sinks and the embedded broker are the real ones; the loop, the
clocks and the sockets are the machine's. It publishes, subscribes, resumes, reads, stalls, cuts
and closes in any order, between any two callbacks, and holds every byte that a client gets
against what was published.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from handlers.driver import Driver
from notifier.auth.identity import ANYBODY
from notifier.brokers.alone import Alone
from notifier.config import NamespaceSettings, Settings
from notifier.feed import Feed
from notifier.node import Node
from notifier.notification import Notification, Position
from notifier.wire.prepared import Format, Prepared
from notifier.wire.resume import Since, starts
from notifier.wire.websocket import NATIVE, Opcode, frame
from tests.account import Account, RecordingBroker
from tests.fakestream import FakeStream
from tests.frames import CLOSE, PING, PONG, TEXT, FrameParser
from tests.handloop import HandLoop

CHANNELS = ("a", "b", "eph:x")
CLIENTS = 6
# A second wire format, so that passes have two lanes: the same bytes, another object.
OTHER = Format("other", lambda item: NATIVE.encode(item), NATIVE.say)

# How a connection gets its bytes: shared, shared in another format, or its own.
KINDS = ("native", "other", "tailored")

channels = st.sampled_from(CHANNELS)
clients = st.integers(0, CLIENTS - 1)
sizes = st.sampled_from([0, 0, 0, 40, 300, 1500])
sinces = st.one_of(
    st.sampled_from(["none", "latest", "all", "beyond", "1s", "10s"]),
    st.integers(1, 6).map(lambda n: f"-{n}"),
    # The place this many publications before the end of all that ever were.
    st.integers(0, 12),
)


class ByHand:
    """A tailor that changes nothing, but makes each connection's bytes anew."""

    def fit(self, items: Sequence[Prepared], format: Format) -> list[bytes]:
        return [bytes(bytearray(prepared.encoded(format))) for prepared in items]

    def sent(self, items: Sequence[Prepared]) -> None:
        assert all(isinstance(prepared, Prepared) for prepared in items)


class Client:
    """A connection from both ends: the server's handler in small, and who reads from it."""

    heard = True
    identity = ANYBODY
    address = "192.0.2.1"
    since_ms = 0

    def __init__(self, machine: FanoutMachine, number: int, kind: str) -> None:
        self._machine = machine
        self.id = f"c{number}"
        self.stream = FakeStream(capacity=machine.capacity, on_closed=self._on_closed)
        self.stream.on_write = self._watch
        self.sink = machine.node.connections.sink(
            self.stream,
            OTHER if kind == "other" else NATIVE,
            transport="websocket",
            tailor=ByHand() if kind == "tailored" else None,
        )
        self.account = Account(machine.broker, machine.now_ms)
        self.parser = FrameParser()
        self.pings: deque[bytes] = deque()
        self.finished = False  # said Close, or was cut
        self.refs = 0
        # What was asked for by a command's ref, or by the URL's channel.
        self.asked: dict[int | str, str | None] = {}
        self._inbox: deque[tuple[str, Any]] = deque()
        self._mail = asyncio.Event()
        self._driver = Driver(machine.node, self.sink, connection=self.id, close=self._say_close)
        self.opened = False

    def open(self, wanted: dict[str, Since]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._serve(wanted))
        self._task.add_done_callback(lambda task: task.cancelled() or task.result())

    # --- the server's side ---

    async def _serve(self, wanted: dict[str, Since]) -> None:
        self.opened = True
        self._machine.node.connections.add(self)
        await self._driver.open(wanted, wanted.__getitem__)
        while not self.finished:
            while not self._inbox:
                self._mail.clear()
                await self._mail.wait()
            kind, content = self._inbox.popleft()
            self.heard = True
            match kind:
                case "message":
                    await self._driver.receive(content)
                    await self.sink.drained()
                case "ping":
                    self.sink.write(frame(content, Opcode.PONG))
                case "close":
                    # As a server does that lingers: it hangs up later than it says Close.
                    self._say_close(1000, "")
                    return

    def _say_close(self, code: int, reason: str) -> None:
        if not self.sink.closed:
            self.finished = True
            self.sink.finish(frame(code.to_bytes(2) + reason.encode(), Opcode.CLOSE))

    def _on_closed(self) -> None:
        self.finished = True
        self._driver.lost()
        self.sink.closed = True
        self._machine.node.connections.remove(self)
        self._task.cancel()

    def ask(self) -> None:
        self.sink.write(frame(b"", Opcode.PING))

    def dead(self, reason: str) -> None:
        self.sink.abort()

    def reconnect(self, after_ms: int) -> None:
        self._driver.drain(after_ms)

    def dismiss(self) -> None:
        self.finished = True
        self._driver.dismiss(4000, "come back")

    def _watch(self, data: bytes) -> None:
        """Judge an announcement by what history has at the moment it is made."""
        if b'{"type":"subscribed"' in data:
            message = json.loads(data[data.index(b"{") :])
            if message["position"] is not None:
                asked = self.asked[message.get("ref", message["channel"])]
                self._machine.judge_start(message, asked)

    # --- the client's side ---

    def send(self, message: dict[str, Any]) -> None:
        self.refs += 1
        self.asked[self.refs] = message.get("since")
        self.account.expect(self.refs, message["type"])
        self.mail("message", json.dumps({**message, "ref": self.refs}))

    def mail(self, kind: str, content: Any) -> None:
        self._inbox.append((kind, content))
        self._mail.set()

    def read(self, size: int) -> int:
        data = self.stream.read(size)
        for received in self.parser.feed(data):
            match received.opcode:
                case op if op == TEXT:
                    self.account.receive(received.payload)
                case op if op == PONG:
                    assert received.payload == self.pings.popleft(), "pongs as pinged"
                case op:
                    assert op in (PING, CLOSE)
        return len(data)


class FanoutMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = HandLoop()
        self.loop.start()
        self.patches = pytest.MonkeyPatch()
        self.seconds = 0.0
        self.hurry = 0.0
        self.clients: list[Client | None] = [None] * CLIENTS
        self.serial = 0

    @initialize(
        history_size=st.sampled_from([3, 6, 50]),
        feed_size=st.sampled_from([1, 4, 30]),
        feed_bytes=st.sampled_from([1200, 4000, 1 << 20]),
        stretch=st.sampled_from([700, 2500, 65536]),
        page=st.sampled_from([2, 5, 256]),
        capacity=st.sampled_from([100, 1000, 20_000]),
        present=st.integers(0, 3),
    )
    def build(
        self,
        history_size: int,
        feed_size: int,
        feed_bytes: int,
        stretch: int,
        page: int,
        capacity: int,
        present: int,
    ) -> None:
        # In small: stretches of a few items, pages of a few, a look at the clock at each socket.
        self.patches.setattr("notifier.feed.STRETCH_BYTES", stretch)
        self.patches.setattr("notifier.backfill.PAGE_SIZE", page)
        self.patches.setattr("notifier.lane.STRIDE", 1)
        self.settings = Settings(
            history_size=history_size,
            history_ttl=60.0,
            feed_size=feed_size,
            feed_bytes=feed_bytes,
            max_pending_bytes=1 << 20,
            presence=True,
            namespaces={"eph": NamespaceSettings(history_size=0)},
        )
        self.capacity = capacity
        namespaces = self.settings.channel_namespaces()
        self.broker = RecordingBroker(
            namespaces,
            history_bytes=1 << 20,
            max_channels=100,
            idempotency_ttl=60.0,
            max_idempotency_keys=100,
            now_ms=self.now_ms,
        )
        self.node = Node(
            self.settings, self.broker, Alone(), namespaces, now_ms=self.now_ms, clock=self.clock
        )
        for number in range(present):
            self._connect(number, dict.fromkeys(CHANNELS, "none"), KINDS[number])
        self._settle()

    def now_ms(self) -> int:
        return 1_700_000_000_000 + round(self.seconds * 1000)

    def clock(self) -> float:
        self.seconds += self.hurry
        return self.seconds

    # --- producers ---

    def _publish(self, channel: str, size: int, expires: float | None = None) -> None:
        self.serial += 1
        fields: dict[str, Any] = {"message": f"{self.serial} " + "x" * size}
        if expires is not None:
            fields["expires"] = expires
        notification = Notification.parse(fields)
        self.loop.complete(self.node.publish(notification, channel, producer=""))

    @rule(channel=channels, size=sizes)
    def publish(self, channel: str, size: int) -> None:
        self._publish(channel, size)

    @rule(channel=channels, size=sizes, count=st.integers(2, 9))
    def publish_several_in_a_turn(self, channel: str, size: int, count: int) -> None:
        for _ in range(count):
            self._publish(channel, size)

    @rule(channel=channels, size=sizes, seconds=st.sampled_from([0.5, 5.0]))
    def publish_expiring(self, channel: str, size: int, seconds: float) -> None:
        self._publish(channel, size, seconds)

    @rule(size=sizes)
    def publish_to_all(self, size: int) -> None:
        for channel in CHANNELS:
            self._publish(channel, size)

    # --- clients ---

    def _since(self, channel: str, since: str | int) -> str | None:
        if since == "none":
            return None
        publications = self.broker.ledgers[channel].publications
        if isinstance(since, str) and since != "beyond":
            return since
        head = self.broker.ledgers[channel].head
        if head is None:
            return "nobody:7" if since == "beyond" else "nobody:0"
        if since == "beyond":
            return str(Position(head.epoch, head.offset + 3))
        assert isinstance(since, int)
        if since >= len(publications):
            return f"{head.epoch}:0"
        return str(publications[-1 - since].position)

    @rule(
        number=clients,
        wanted=st.dictionaries(channels, sinces, max_size=3),
        kind=st.sampled_from(KINDS),
        settle=st.booleans(),
    )
    def connect(self, number: int, wanted: dict[str, str | int], kind: str, settle: bool) -> None:
        present = self.clients[number]
        if present is not None and not present.stream.closed:
            present.stream.abort()  # it comes back
        self._connect(number, wanted, kind)
        if settle:
            self.loop.run()

    def _connect(self, number: int, wanted: Mapping[str, str | int], kind: str) -> None:
        client = self.clients[number] = Client(self, number, kind)
        resolved: dict[str, Since] = {}
        for channel, place in wanted.items():
            since = client.asked[channel] = self._since(channel, place)
            resolved[channel] = starts(since, [channel], now_ms=self.now_ms())(channel)
        client.open(resolved)

    def _client(self, number: int) -> Client | None:
        """One that can speak."""
        able = [c for c in self.clients if c is not None and c.opened and not c.finished]
        return able[number % len(able)] if able else None

    def _present(self, number: int) -> Client | None:
        """One whose connection is there, though it may have said Close."""
        present = [c for c in self.clients if c is not None and not c.stream.closed]
        return present[number % len(present)] if present else None

    @rule(number=clients, channel=channels, since=sinces)
    def subscribe(self, number: int, channel: str, since: str | int) -> None:
        client = self._client(number)
        if client is not None:
            # A repeated one is refused and changes nothing.
            text = self._since(channel, since)
            message = {"type": "subscribe", "channel": channel}
            client.send(message if text is None else {**message, "since": text})

    @rule(number=clients, channel=channels)
    def unsubscribe(self, number: int, channel: str) -> None:
        if (client := self._client(number)) is not None:
            client.send({"type": "unsubscribe", "channel": channel})

    @rule(number=clients, kind=st.sampled_from(["ping", "history", "publish", "nonsense"]))
    def ask_for_a_reply(self, number: int, kind: str) -> None:
        if (client := self._client(number)) is None:
            return
        match kind:
            case "history":
                client.send({"type": "history", "channel": "a", "limit": 5})
            case "publish":
                client.send({"type": "publish", "channel": "b", "message": "from a client"})
            case _:
                client.send({"type": kind})

    @rule(number=clients)
    def ping(self, number: int) -> None:
        if (client := self._client(number)) is not None:
            payload = b"%d" % len(client.pings)
            client.pings.append(payload)
            client.mail("ping", payload)

    @rule(number=clients)
    def be_pinged(self, number: int) -> None:
        if (client := self._client(number)) is not None:
            client.ask()

    @rule(number=clients, size=st.sampled_from([1, 7, 60, 500, 100_000]))
    def read(self, number: int, size: int) -> None:
        if (client := self._present(number)) is not None:
            client.read(size)

    def _read_all_round(self) -> int:
        return sum(client.read(1 << 20) for client in self.clients if client is not None)

    @rule(number=clients, bites=st.lists(st.integers(0, 40), min_size=1, max_size=4))
    def kernel_takes_little(self, number: int, bites: list[int]) -> None:
        if (client := self._present(number)) is not None:
            client.stream.bites.extend(bites)

    # --- endings ---

    @rule(number=clients)
    def say_close(self, number: int) -> None:
        if (client := self._client(number)) is not None:
            client.mail("close", None)

    @rule(number=clients)
    def be_dismissed(self, number: int) -> None:
        if (client := self._client(number)) is not None:
            client.dismiss()

    @rule(number=clients)
    def be_told_to_reconnect(self, number: int) -> None:
        if (client := self._client(number)) is not None:
            client.reconnect(1000)

    @rule(number=clients)
    def break_silently(self, number: int) -> None:
        """The next thing sent meets an error."""
        if (client := self._present(number)) is not None:
            client.stream.broken = True

    @rule(number=clients)
    def cut(self, number: int) -> None:
        """The loss is noticed at once."""
        if (client := self._present(number)) is not None:
            client.stream.abort()

    # --- the broker and time ---

    @rule(seconds=st.sampled_from([0.3, 1.0, 6.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.seconds += seconds
        self.loop.advance(seconds)

    @rule(hurry=st.sampled_from([0.0, 0.0, 0.001, 0.003, 1.0]))
    def clock_jumps_at_every_look(self, hurry: float) -> None:
        self.hurry = hurry

    @rule(channel=channels)
    def history_is_trimmed(self, channel: str) -> None:
        self.broker.forget_all_history(channel)

    @rule(channel=st.sampled_from(["a", "b"]))
    def log_is_lost(self, channel: str) -> None:
        self.broker.lose(channel)

    @rule(before=st.integers(0, 4), after=st.integers(0, 4))
    def history_takes_its_time(self, before: int, after: int) -> None:
        self.broker.pauses = (before, after)

    @rule()
    def broker_goes_and_comes(self) -> None:
        self.broker.down = not self.broker.down

    # --- the loop ---

    @rule(count=st.integers(1, 8))
    def turn(self, count: int) -> None:
        for _ in range(count):
            self.loop.step()

    @rule()
    def turn_until_idle(self) -> None:
        self.loop.run()

    @rule(count=st.integers(1, 8))
    def read_and_turn(self, count: int) -> None:
        """Everybody keeps up, more or less."""
        for _ in range(count):
            self._read_all_round()
            self.loop.step()

    @precondition(lambda self: any(self.clients))
    @rule()
    def everybody_reads_everything(self) -> None:
        self._settle()

    def _settle(self) -> None:
        self.broker.down = False
        self.broker.pauses = (0, 0)
        self.hurry = 0.0
        for client in self.clients:
            if client is not None:
                client.stream.bites.clear()
        hub, backfill = self.node._hub, self.node._backfill
        while True:
            self.loop.advance(2.0)  # who waits to ask the broker again does so
            self.loop.run()
            if not self._read_all_round() and self.loop.idle:
                break
        for client in self.clients:
            if client is not None and not client.stream.closed and not client.finished:
                assert not client.parser.inside
                assert not list(client.account.missing())
                for subscription in hub.of(client.sink).values():
                    assert subscription.standing.name == "LIVE"
        assert not hub._dirty and not hub._behind
        assert not backfill._flights and not backfill._errands
        feeds = set(hub.feeds.values())
        assert backfill._opened == feeds, "only feeds with subscribers are remembered"
        assert backfill._warmed <= feeds, "only feeds with subscribers are remembered"
        for feed in feeds:
            assert not feed._ahead and not feed.dirty

    # --- at every step ---

    @invariant()
    def memory_is_bounded(self) -> None:
        for client in self.clients:
            if client is not None and not client.stream.closed:
                stream = client.stream
                assert client.sink.blocked or not stream.writing() or client.sink.closed
                assert stream.rest_pending() <= 4096, "one frame"
        for feed in self._feeds():
            ring = feed.tail.ring
            assert ring.size <= self.settings.feed_bytes or ring.end - ring.base == 1
            kept = ring.end - ring.base
            assert feed.dirty or kept <= self.settings.feed_size
            assert ring.base <= feed.flushed <= ring.end

    @invariant()
    def slots_are_those_of_the_living(self) -> None:
        for feed in self._feeds():
            live = [s for s in feed.subscriptions if s.standing.name == "LIVE"]
            assert sum(lane.count for lane in feed._lanes.values()) == len(live)
            for lane in feed._lanes.values():
                assert len(lane.members()) == lane.count
                assert len(lane._slots) <= 2 * lane.count + 64 + CLIENTS
            for subscription in live:
                assert not subscription.sink.blocked
                assert not subscription.sink.closed or subscription.sink._stream.closed

    @invariant()
    def members_are_those_who_have_joined(self) -> None:
        feeds = self._feeds()
        joined = {
            feed.channel: {
                subscription.sink
                for subscription in feed.subscriptions
                if subscription.standing.name != "JOINING"
            }
            for feed in feeds
        }
        rosters = self.node._presence._rosters if feeds else {}
        members = {channel: set(roster.members) for channel, roster in rosters.items()}
        assert members == {channel: sinks for channel, sinks in joined.items() if sinks}

    def _feeds(self) -> list[Feed]:
        return list(self.node._hub.feeds.values()) if hasattr(self, "node") else []

    def judge_start(self, message: dict[str, Any], since: str | None) -> None:
        """A start passes over nothing that was asked for and could be had."""
        channel, place = message["channel"], Position.parse(message["position"])
        passed_over = [
            p
            for p in self.broker.available(channel)
            if p.position and p.position.epoch == place.epoch and p.position.offset <= place.offset
        ]
        if since == "all":
            assert not passed_over
        elif since is not None and ":" in since and message["recovered"]:
            assert message["position"] == since
        elif since is not None and since.startswith("-") and message["recovered"]:
            ahead = self.broker.ledgers[channel].epochs.get(place.epoch, [])[place.offset :]
            assert place.offset == 0 or len(ahead) >= int(since[1:])
        elif since is None or since == "latest":
            assert message["recovered"]

    def teardown(self) -> None:
        try:
            if hasattr(self, "node"):
                self._settle()
                for client in self.clients:
                    if client is not None:
                        client.stream.abort()
                self.loop.run()
                assert not self.node.connections and not self.node._hub.feeds
                assert not self.node._backfill._opened and not self.node._backfill._warmed
        finally:
            self.loop.stop()
            self.patches.undo()


def test_no_order_of_events_makes_the_fan_out_cheat() -> None:
    run_state_machine_as_test(
        FanoutMachine,
        settings=settings(
            max_examples=400,
            stateful_step_count=60,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            phases=[Phase.generate],
        ),
    )
