"""A machine that tries to make a node forget a subscription, or keep one that has ended.

Clients join and leave channels and patterns while channels are born, are ended by those who run
the service, by their credential or by themselves, or are cut off, between any two callbacks. Each
client keeps account of what it believes it follows: the node must agree, deliver that and nothing
else, and hold nothing of those who have gone.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from itertools import count
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from handlers.driver import Driver
from notifier.auth.identity import ANYBODY
from notifier.brokers.alone import Alone
from notifier.brokers.fleet import Disconnect, Unsubscribe
from notifier.channels import Pattern, is_pattern
from notifier.config import NamespaceSettings, Settings
from notifier.errors import ExpiredCredential, NotifierError, SubscriptionEnded
from notifier.node import Node
from notifier.notification import Notification
from notifier.wire.resume import starts
from notifier.wire.websocket import NATIVE, Opcode, frame
from tests.fakestream import FakeStream
from tests.farbroker import FarBroker
from tests.frames import TEXT, FrameParser
from tests.handloop import HandLoop

CHANNELS = ("p:a", "p:b", "now:a")
PATTERNS = ("p:*", "*:a")
CLIENTS = 3
# More channels than are ever there.
MANY = 1000

ENDINGS = ("disconnected", "expired", "told to leave", "broken", "cut")

channels = st.sampled_from(CHANNELS)
names = st.sampled_from((*CHANNELS, *PATTERNS))
clients = st.integers(0, CLIENTS - 1)
# Or a resume token with all places there are.
sinces = st.sampled_from([None, "all", "-1", "token"])


class Client:
    """A connection from both ends, and what its client believes it follows."""

    heard = True
    identity = ANYBODY
    address = "192.0.2.1"
    since_ms = 0

    def __init__(self, node: Node, number: int) -> None:
        self._node = node
        self.id = f"c{number}"
        self.stream = FakeStream(capacity=1 << 20, on_closed=self._on_closed)
        self.sink = node.connections.sink(self.stream, NATIVE, transport="websocket")
        self._driver = Driver(node, self.sink, connection=self.id, close=self._say_close)
        self._parser = FrameParser()
        self._inbox: deque[str] = deque()
        self._mail = asyncio.Event()
        self.finished = self.gone = False
        # How often it has asked for each name and was neither refused nor told of its end.
        self.asked: Counter[str] = Counter()
        self.joined: set[str] = set()
        # Newborn channels of a pattern that it was told it can't have.
        self.denied: set[str] = set()
        # What the URL named and was not answered yet; errors about that name nothing.
        self._opening: deque[str] = deque()
        self._due: dict[int, tuple[str, str]] = {}
        self._refs = 0

    def open(self, wanted: list[str], since: str | None) -> None:
        self.asked.update(wanted)
        self._opening.extend(wanted)
        self._node.connections.add(self)
        self._task = asyncio.get_running_loop().create_task(self._serve(wanted, since))
        self._task.add_done_callback(lambda task: task.cancelled() or task.result())

    # --- the server's side ---

    async def _serve(self, wanted: list[str], since: str | None) -> None:
        await self._driver.open(wanted, starts(since, wanted, now_ms=self._node.now_ms()))
        while not self.finished:
            while not self._inbox:
                self._mail.clear()
                await self._mail.wait()
            await self._driver.receive(self._inbox.popleft())
            await self.sink.drained()

    def _say_close(self, code: int, reason: str) -> None:
        if not self.sink.closed:
            self.finished = True
            self.sink.finish(frame(code.to_bytes(2) + reason.encode(), Opcode.CLOSE))

    def _on_closed(self) -> None:
        """Nothing cancels what is under way for it: that has to notice by itself."""
        self.finished = self.gone = True
        self._driver.lost()
        self.sink.closed = True
        self._node.connections.remove(self)

    def ask(self) -> None: ...

    def dead(self, reason: str) -> None:
        self.sink.abort()

    def reconnect(self, after_ms: int) -> None:
        self._driver.drain(after_ms)

    def dismiss(self) -> None:
        self._driver.dismiss(4000, "come back")

    def end(self, refusal: NotifierError) -> None:
        self._driver.dismiss(refusal.close_code, refusal.message)

    def deprive(self, name: str, refusal: NotifierError) -> None:
        self._driver.deprive(name, refusal)

    # --- the client's side ---

    @property
    def there(self) -> bool:
        return not self.stream.closed and not self.finished

    def send(self, kind: str, name: str, **more: Any) -> None:
        self._refs += 1
        self._due[self._refs] = kind, name
        if kind == "subscribe":
            self.asked[name] += 1
        self._inbox.append(json.dumps({"type": kind, "channel": name, "ref": self._refs, **more}))
        self._mail.set()

    def stop(self) -> None:
        self._task.cancel()

    @property
    def owed(self) -> list[tuple[str, str]]:
        """Commands that have no answer yet."""
        return list(self._due.values())

    def wants(self, channel: str) -> bool:
        return bool(self.asked[channel]) or any(
            self.asked[name] and Pattern.parse(name).matches(channel) for name in PATTERNS
        )

    def read(self) -> None:
        for received in self._parser.feed(self.stream.read(1 << 20)):
            if received.opcode == TEXT:
                self._receive(json.loads(received.payload))

    def _receive(self, message: dict[str, Any]) -> None:
        asked = self._due.pop(message["ref"], None) if "ref" in message else None
        match message["type"]:
            case "subscribed":
                name = message.get("pattern", message["channel"])
                assert self.asked[name] > 0, f"after its end: {message}"
                if not is_pattern(message["channel"]):
                    self.joined.add(message["channel"])
                self._answered(message["channel"])
            case "notification" | "gap":
                channel = message["channel"]
                assert channel in self.joined and self.wants(channel), f"unasked: {message}"
            case "presence":
                assert self.wants(message["channel"]), f"unasked: {message}"
            case "unsubscribed" if message["code"] in (0, SubscriptionEnded.code):
                name = message["channel"]
                self._lose(name)
                self._answered(name)
            case "unsubscribed":
                self.denied.add(message["channel"])
            case "error" if asked is None:
                self._lose(self._opening.popleft())
            case "error" if asked[0] == "subscribe" and message["code"] != SubscriptionEnded.code:
                self._lose(asked[1])  # of one that has ended it was told before

    def _lose(self, name: str) -> None:
        self.asked[name] -= 1
        self.joined = {channel for channel in self.joined if self.wants(channel)}

    def _answered(self, name: str) -> None:
        if self._opening and self._opening[0] == name:
            self._opening.popleft()


class JoiningMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = HandLoop()
        self.loop.start()
        self.clients: list[Client | None] = [None] * CLIENTS
        self.gone: list[Client] = []
        self.numbers = count()

    @initialize(
        present=st.lists(st.lists(names, max_size=2, unique=True), max_size=CLIENTS),
        pattern_limit=st.sampled_from([2, MANY, MANY]),
        turns=st.integers(0, 2),
    )
    def build(self, present: list[list[str]], pattern_limit: int, turns: int) -> None:
        self.settings = Settings(
            max_pattern_channels=pattern_limit,
            presence=True,
            namespaces={"now": NamespaceSettings(history_size=0, presence=True)},
        )
        namespaces = self.settings.channel_namespaces()
        self.broker = FarBroker(
            namespaces,
            history_bytes=1 << 20,
            max_channels=MANY,
            idempotency_ttl=60.0,
            max_idempotency_keys=100,
            now_ms=self.now_ms,
        )
        self.broker.turns = turns
        self.node = Node(
            self.settings,
            self.broker,
            Alone(),
            namespaces,
            now_ms=self.now_ms,
            clock=self.loop.time,
        )
        for number, wanted in enumerate(present):
            self.connect(number, wanted, None)

    def now_ms(self) -> int:
        return 1_700_000_000_000 + round(self.loop.now * 1000)

    # --- what happens to clients ---

    @rule(number=clients, wanted=st.lists(names, max_size=3, unique=True), since=sinces)
    def connect(self, number: int, wanted: list[str], since: str | None) -> None:
        present = self.clients[number]
        if present is not None:
            present.stream.abort()
            self.gone.append(present)
        client = self.clients[number] = Client(self.node, next(self.numbers))
        client.open(wanted, self._since(since))

    def _since(self, since: str | None) -> str | None:
        if since != "token":
            return since
        heads = {name: ledger.head for name, ledger in self.broker.ledgers.items()}
        places = [f"{name}={head}" for name, head in heads.items() if head is not None]
        return ",".join(places[:20]) + f";t={self.now_ms() / 1000}"

    def _client(self, number: int) -> Client | None:
        able = [client for client in self.clients if client is not None and client.there]
        return able[number % len(able)] if able else None

    @rule(number=clients, name=names, since=sinces, presence=st.booleans())
    def subscribe(self, number: int, name: str, since: str | None, presence: bool) -> None:
        if (client := self._client(number)) is not None:
            more = {} if since is None else {"since": self._since(since)}
            client.send("subscribe", name, presence=presence, **more)

    @rule(number=clients, name=names)
    def unsubscribe(self, number: int, name: str) -> None:
        if (client := self._client(number)) is not None:
            client.send("unsubscribe", name)

    @rule(number=clients, name=names, steps=st.integers(0, 6))
    def be_ended_by_who_runs_it(self, number: int, name: str, steps: int) -> None:
        """Between two steps of whatever is under way."""
        self.turn(steps)
        if (client := self._client(number)) is not None:
            self.node.residents.carry_out(Unsubscribe(client.id, name))

    @rule(number=clients, steps=st.integers(0, 6), how=st.sampled_from(ENDINGS))
    def come_to_an_end(self, number: int, steps: int, how: str) -> None:
        self.turn(steps)
        if (client := self._client(number)) is None:
            return
        match how:
            case "disconnected":
                self.node.residents.carry_out(Disconnect(client.id))
            case "expired":
                client.end(ExpiredCredential("over"))
            case "told to leave":
                client.reconnect(1000)
            case "broken":  # the next thing sent meets an error
                client.stream.broken = True
            case _:
                client.stream.abort()

    # --- the rest of the world ---

    @rule(channel=channels, steps=st.integers(0, 6))
    def publish(self, channel: str, steps: int) -> None:
        self.turn(steps)
        notification = Notification.of_payload("x")
        self.loop.complete(self.node.publish(notification, channel, producer=""))

    @rule(steps=st.integers(0, 6))
    def a_channel_is_born(self, steps: int) -> None:
        self.publish(f"p:new{next(self.numbers)}", steps)

    @rule(channel=channels)
    def log_is_lost(self, channel: str) -> None:
        self.broker.lose(channel)

    @rule(turns=st.integers(0, 3))
    def broker_takes_its_time(self, turns: int) -> None:
        self.broker.turns = turns
        self.broker.pauses = (turns, turns)

    @rule(steps=st.integers(0, 6))
    def broker_goes_and_comes(self, steps: int) -> None:
        self.turn(steps)
        self.broker.down = not self.broker.down

    @rule(count=st.integers(1, 9))
    def turn(self, count: int) -> None:
        for _ in range(count):
            self.loop.step()

    @rule()
    def everybody_reads_everything(self) -> None:
        self._settle()

    # --- what must hold ---

    @invariant()
    def who_has_gone_follows_nothing(self) -> None:
        for client in [*self.gone, *filter(None, self.clients)]:
            if client.gone:
                assert not self.node._hub.of(client.sink)
                assert not self.node._subscriptions._patterns.of(client.sink)

    def _settle(self) -> None:
        self.broker.down = False
        for _ in range(3):
            self.loop.advance(2.0)
            self.loop.run()
        for client in filter(None, self.clients):
            client.read()
            if client.there:
                self._compare(client)

    def _compare(self, client: Client) -> None:
        """What it believes, and what the node has."""
        assert not client.owed
        hub, subscriptions = self.node._hub, self.node._subscriptions
        believed = sorted(+client.asked)
        assert sorted(subscriptions.names(client.sink)) == believed
        followed = hub.of(client.sink).keys()
        assert followed <= client.joined, "each is told that it is joined"
        if self.settings.max_pattern_channels < MANY:
            return
        for channel in [*CHANNELS, *self.broker.ledgers]:
            ephemeral = channel.startswith("now:")
            alive = channel in hub.feeds if ephemeral else self.broker.available(channel)
            if alive and client.wants(channel) and channel not in client.denied:
                assert channel in followed, f"{channel} was forgotten"

    def teardown(self) -> None:
        try:
            if hasattr(self, "node"):
                self._settle()
                for client in filter(None, self.clients):
                    client.stream.abort()
                self.loop.run()
                self._check_empty()
                for client in [*self.gone, *filter(None, self.clients)]:
                    client.stop()
                self.loop.run()
        finally:
            self.loop.stop()

    def _check_empty(self) -> None:
        """Nobody is here, so nothing is."""
        node, backfill = self.node, self.node._backfill
        assert not node.connections and not node.residents._connections._by_id
        assert not node._hub.feeds and not node._hub._followed and not node._hub._behind
        assert node._hub.held_bytes == 0 and node.counts.subscriptions == 0
        assert node.counts.live == 0
        assert not node._presence._rosters
        patterns = node._subscriptions._patterns
        assert patterns.count == 0 and not patterns._of and not patterns._followers
        assert not node._subscriptions._newborn and not node._subscriptions._errands
        assert not backfill._opened and not backfill._warmed and not backfill._turns
        assert not backfill._flights and not backfill._errands
        assert not self.broker.receivers and not +self.broker.follows


def test_no_order_of_events_leaves_a_subscription_behind_or_forgets_one() -> None:
    run_state_machine_as_test(
        JoiningMachine,
        settings=settings(
            max_examples=600,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            phases=[Phase.generate],
        ),
    )
