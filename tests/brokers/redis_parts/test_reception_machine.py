"""What the receivers of a channel are told, whatever becomes of doorbells, answers and Redis.

The scripts run in a real Redis. What it answers and what it rings arrives late, not at all, or not
before something else has happened: :mod:`tests.brokers.redis_parts.fakeredis`.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from notifier.brokers.redis.calls import Calls
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.reading import Reading
from notifier.brokers.redis.receptions import RETRY_SECONDS, SILENCE_SECONDS, Receptions
from notifier.brokers.redis.scripts import FOLLOW
from notifier.brokers.redis.witness import Witness
from notifier.channels import Namespace, Namespaces
from notifier.errands import Errands
from notifier.errors import BrokerUnavailable
from notifier.notification import Draft, Gap, Position, Publication
from tests.brokers.contract import Listener
from tests.brokers.redis_parts.fakeredis import Line, Request, Wire, carry_out
from tests.handloop import HandLoop
from tests.redisservers.server import RedisServer

SIZE = 4
NAMESPACES = Namespaces(
    Namespace(history_size=SIZE, history_ttl=3600.0),
    {"long": Namespace(history_size=1000, history_ttl=3600.0)},
)
PREFIXES = (f"machine{os.getpid()}.{n}" for n in itertools.count())
LINGER = 10.0


@dataclass
class Truth:
    """One channel's log, as it came about: nothing is ever trimmed from it.

    :ivar ids: of all publications, by offset.
    :ivar whole: nothing was deleted, or evicted.
    :ivar holes: offsets of those that have expired by themselves, or may have.
    """

    epoch: str
    ids: dict[int, str] = field(default_factory=dict)
    holes: set[int] = field(default_factory=set)
    whole: bool = True

    @property
    def head(self) -> int:
        return len(self.ids)

    def copy(self) -> Truth:
        return Truth(self.epoch, dict(self.ids), set(self.holes), self.whole)


class Judge:
    """A receiver, and a watcher, that knows what it must be told."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.begun = False
        self.head: Position | None = None
        # The log it is in, up to its head.
        self.ids: dict[int, str] = {}
        self.told: list[str] = []
        self.cleared_at: list[Position] = []

    def begin(self, head: Position | None) -> None:
        assert head is not None
        self.begun = True
        self.head = head
        self.ids = {o: id for o, id in self.machine.seen(head.epoch).items() if o <= head.offset}
        self.cleared_at = []
        self.machine.begun(head)

    def publication(self, publication: Publication) -> None:
        assert self.begun, "it is told where it begins first"
        place = publication.position
        assert place is not None
        assert self.head is not None
        assert place.epoch == self.head.epoch, "another epoch comes after a gap"
        assert place.offset > self.head.offset, "in order, and once"
        assert self.machine.may_follow(place.epoch), "the watcher is asked before it is told"
        truth = self.machine.truth_of(publication.id)
        assert truth.ids[place.offset] == publication.id
        for offset in range(1, place.offset):
            if offset > self.head.offset:
                assert offset in truth.holes, f"{offset} is skipped in silence"
            elif offset in self.ids and offset not in truth.holes:
                assert truth.ids.get(offset) == self.ids[offset], "lost in silence before it"
        self.ids[place.offset] = publication.id
        self.head = place
        self.told.append(publication.id)

    def gap(self, gap: Gap) -> None:
        assert self.begun
        assert gap.after == self.head, "a gap begins where its receiver is"
        self.machine.check_gap(self, gap)
        self.head = gap.position
        self.ids = {
            offset: id
            for offset, id in self.machine.seen(self.head.epoch).items()
            if offset <= self.head.offset
        }

    def cleared(self, head: Position) -> None:
        assert self.begun
        self.cleared_at.append(head)
        assert self.cleared_at.count(head) <= self.machine.clearings[head], "told of each once"


class ReceptionMachine(RuleBasedStateMachine):
    """One channel, one node that hears it, other nodes that publish."""

    client: ClassVar[redis.Redis]
    # Whether Redis forgets what it acknowledged, or only what it is told to.
    rolls_back = False

    @initialize(listens=st.booleans(), here=st.booleans(), published=st.integers(0, SIZE + 1))
    def open(self, listens: bool, here: bool, published: int) -> None:
        self.loop = HandLoop()
        self.loop.start()
        self.names = Names(next(PREFIXES), NAMESPACES)
        self.channel = "long:c" if self.rolls_back else "c"
        self.now_ms = 1_795_368_240_000
        self.calls = Calls(
            self.names,
            NAMESPACES,
            publish="PUBLISH",
            patience=5.0,
            idempotency_ttl=60.0,
            max_channels=10,
            now_ms=lambda: self.now_ms,
        )
        self.wire = Wire(self.client, self.loop)
        self.line = Line(self.client, self.loop)
        clock = self.loop.time
        self.errands = Errands()
        self.witness = Witness(self.wire, self.calls, self.errands, clock)  # type: ignore[arg-type]
        self.receptions = Receptions(
            self.wire,  # type: ignore[arg-type]
            self.line,  # type: ignore[arg-type]
            self.names,
            self.calls,
            self.witness,
            linger_seconds=LINGER,
            timeout=5.0,
            clock=clock,
        )
        self.receptions.watch(self)
        self.truth: Truth | None = None
        self.truths: dict[str, Truth] = {}
        self.births: list[str] = []
        self.asked: set[str] = set()
        # Epochs that a receiver has begun in, behind their first publication, or that are forks.
        self.known: set[str] = set()
        self.read: dict[str, dict[int, str]] = {}
        self.answering: tuple[Truth | None, dict[int, bytes]] = (None, {})
        self.snapshots: dict[int, tuple[Truth | None, dict[int, bytes]]] = {}
        # How often history was deleted at each head.
        self.clearings: Counter[Position] = Counter()
        self.published = 0
        self.wanted = False
        self.judge: Judge | None = None
        self.joining: Any = None
        # What there was after each publication.
        self.past: list[tuple[Truth | None, dict[str, bytes]]] = [(None, {})]
        self.settled = True
        self.forked = False
        self.after_failover = 0
        if published:
            self.publish(None, here=here, count=published)
        if listens:
            self.subscribe()
            self.settle()

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        if self.joining is not None:
            self.joining.cancel()
        for closing in (self.receptions.close(), self.errands.close()):
            task = self.loop.create_task(closing)
            self.loop.run()
            assert task.done()
        self.loop.stop()
        self.line.close()

    # --- what the judge asks ---

    def seen(self, epoch: str) -> dict[int, str]:
        """The log as the node last saw it."""
        return self.read.setdefault(epoch, {})

    def begun(self, head: Position) -> None:
        if head.offset > 0:
            self.known.add(head.epoch)

    def may_follow(self, epoch: str) -> bool:
        return epoch in self.known or epoch in self.asked

    def truth_of(self, id: str) -> Truth:
        return self.truths[id]

    def check_gap(self, judge: Judge, gap: Gap) -> None:
        """Something is missing in between, and nothing that was there."""
        truth, entries = self.answering
        assert truth is not None
        assert gap.before.epoch == truth.epoch
        assert gap.after is not None
        start = gap.after.offset
        if gap.after.epoch == gap.before.epoch:
            lost = set(range(start + 1, gap.before.offset)) - set(entries)
            if truth.whole and truth.head <= SIZE:
                lost -= truth.holes
            assert lost, "nothing was lost"
        else:
            forks = self.client.hget(self.names.log(self.channel), "forks") or b""
            offsets = dict(fork.split(":") for fork in forks.decode().split())
            start = min(start, int(offsets.get(gap.after.epoch, 0)))
        there = [offset for offset in entries if start < offset < gap.before.offset]
        assert not there, f"{there} could have been told"

    def born(self, channel: str, head: Position | None) -> Judge | None:
        """The watcher is asked."""
        assert channel == self.channel
        assert head is not None
        self.asked.add(head.epoch)
        if not self.wanted:
            return None
        if self.judge is None:
            self.judge = Judge(self)
        self.born_judge = self.judge
        return self.judge

    # --- publishing ---

    def _publish(self, expires_in_ms: int | None) -> tuple[Position, str]:
        self.published += 1
        id = f"n{self.published}"
        expires_ms = None if expires_in_ms is None else self.now_ms + expires_in_ms
        draft = Draft(self.channel, id, self.now_ms, b'"message":"x"', None, expires_ms)
        answer = carry_out(self.client, self.calls.publish(draft, None, None))
        if answer[0] == b"unborn":
            epoch = answer[1].decode()
            self.births.append(epoch)
            answer = carry_out(self.client, self.calls.publish(draft, None, epoch))
        assert answer[0] == b"new"
        place = Position(answer[1].decode(), int(answer[2]))
        if self.truth is None or self.truth.epoch != place.epoch:
            assert place.offset == 1, "a fork would have told"
            self.truth = Truth(place.epoch)
        self.truth.ids[place.offset] = id
        assert self.truth.head == place.offset
        self.truths[id] = self.truth
        if expires_ms is not None:
            self.truth.holes.add(place.offset)
        return place, id

    @precondition(lambda self: self.settled or self.after_failover > 0)
    @rule(
        expires_in_ms=st.sampled_from([None, None, 1000]),
        here=st.booleans(),
        count=st.sampled_from([1, 1, 1, 2, SIZE + 1]),
    )
    def publish(self, expires_in_ms: int | None, here: bool, count: int) -> None:
        if not self.settled:
            count = 1
            self.after_failover -= 1
        for _ in range(count):
            place, id = self._publish(None if self.rolls_back else expires_in_ms)
            if here:
                self.witness.stored(self.channel, place, id)
            self._remember()
        self.line.take_in()

    @property
    def _keys(self) -> tuple[str, str, str]:
        names, channel = self.names, self.channel
        return names.stream(channel), names.log(channel), names.expiries(channel)

    def _remember(self) -> None:
        if self.rolls_back:
            keys = self._keys
            dumps = {key: self.client.dump(key) for key in keys}
            truth = None if self.truth is None else self.truth.copy()
            kept: Any = {key: dump for key, dump in dumps.items() if dump is not None}
            self.past.append((truth, kept))

    # --- what befalls the log ---

    @precondition(lambda self: not self.rolls_back)
    @rule()
    def clear(self) -> None:
        if self.truth is not None and self.truth.head:
            self.truth.whole = False
            self.clearings[Position(self.truth.epoch, self.truth.head)] += 1
        carry_out(self.client, self.calls.clear(self.channel))
        self.line.take_in()

    @precondition(lambda self: not self.rolls_back)
    @rule(ms=st.sampled_from([1, 999, 1000]))
    def let_time_pass(self, ms: int) -> None:
        self.now_ms += ms

    @precondition(lambda self: not self.rolls_back)
    @rule()
    def evict(self) -> None:
        self.client.delete(self.names.stream(self.channel))
        if self.truth is not None:
            self.truth.whole = False

    @precondition(lambda self: not self.rolls_back)
    @rule()
    def lose_everything(self) -> None:
        self.client.delete(*self._keys)
        self.truth = None

    @precondition(lambda self: self.rolls_back and self.settled)
    @rule(lost=st.integers(0, 3), published=st.integers(0, 4), more=st.integers(0, 2))
    def fail_over(self, lost: int, published: int, more: int) -> None:
        """What was not replicated is lost; others publish to what there is."""
        if self.line.up:
            self.line.lose()
        truth, dumps = self.past[max(0, len(self.past) - 1 - lost)]
        self.client.delete(*self._keys)
        for key, dump in dumps.items():
            self.client.restore(key, 0, dump)
        self.truth = None if truth is None else truth.copy()
        self.settled = False
        self.after_failover = published + more
        for _ in range(published):
            self.publish(None, here=False, count=1)

    # --- requests and doorbells, late ---

    @rule(count=st.integers(1, 6))
    def go_on(self, count: int) -> None:
        """The next things happen as they do on a good day."""
        for _ in range(count):
            if self.line.coming:
                self.ring(1)
            elif self.wire.requests:
                request = self.wire.requests[0]
                if request.answers is None:
                    self._carry_out(request)
                self._answer(request)

    def _snapshot(self) -> tuple[Truth | None, dict[int, bytes]]:
        entries: Any = self.client.xrange(self.names.stream(self.channel))
        there = {int(id.split(b"-")[0]): fields[b"p"] for id, fields in entries}
        return (None if self.truth is None else self.truth.copy()), there

    def _carry_out(self, request: Request) -> None:
        before = self.truth
        self.wire.carry_out(request)
        assert request.answers is not None
        epoch = self.client.hget(self.names.log(self.channel), "epoch")
        if epoch is not None:
            name = epoch.decode()
            if before is None:
                self.truth = Truth(name)
            elif before.epoch != name:
                assert request.calls[0].what is not FOLLOW
                self.truth = before.copy()
                self.truth.epoch = name
                self.known.add(name)
                self.forked = True
        self.snapshots[id(request)] = self._snapshot()
        self.line.take_in()

    @precondition(lambda self: any(r.answers is None for r in self.wire.requests))
    @rule()
    def carry_out(self) -> None:
        self._carry_out(next(r for r in self.wire.requests if r.answers is None))

    @precondition(lambda self: any(r.answers is not None for r in self.wire.requests))
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        done = [r for r in self.wire.requests if r.answers is not None]
        self._answer(data.draw(st.sampled_from(done)))

    def _answer(self, request: Request) -> None:
        self.answering = truth, _ = self.snapshots.pop(id(request))
        if truth is not None:
            self.read[truth.epoch] = dict(truth.ids)
        self.wire.answer(request)
        self._turn()

    @precondition(lambda self: bool(self.wire.requests))
    @rule()
    def lose_answer(self) -> None:
        self.wire.fail(self.wire.requests[0])
        self._turn()
        self.loop.advance(RETRY_SECONDS)
        self._turn()

    @precondition(lambda self: bool(self.line.coming))
    @rule(count=st.integers(1, 5))
    def ring(self, count: int) -> None:
        for _ in range(min(count, len(self.line.coming))):
            message = self.line.coming[0].message
            if message is not None and message.startswith(b"p "):
                _, epoch, offset = message.partition(b"\n")[0].decode().split()
                id = message.partition(b"\n")[2].split(b"\n")[1].split(b'"')[0].decode()
                self.seen(epoch)[int(offset)] = id
            self.line.arrive()
        self._turn()

    @precondition(lambda self: len(self.line.coming) > 1)
    @rule(data=st.data())
    def ring_again(self, data: st.DataObject) -> None:
        """A message is repeated, later."""
        rung = data.draw(st.sampled_from(list(self.line.coming)))
        if rung.message is not None:
            self.line.coming.append(rung)

    @precondition(lambda self: self.line.up and not self.rolls_back and bool(self.line.coming))
    @rule(data=st.data())
    def lose_ring(self, data: st.DataObject) -> None:
        """One message does not arrive, though the connection holds."""
        place = data.draw(st.integers(0, len(self.line.coming) - 1))
        if self.line.coming[place].message is not None:
            del self.line.coming[place]

    @precondition(lambda self: self.line.up)
    @rule()
    def lose_line(self) -> None:
        self.line.lose()

    @precondition(lambda self: not self.line.up)
    @rule()
    def restore_line(self) -> None:
        self.line.restore()
        self.line.take_in()
        self.witness.doubt()
        self._turn()

    @precondition(lambda self: bool(self.births))
    @rule(again=st.booleans())
    def bear(self, again: bool) -> None:
        epoch = self.births[0] if again else self.births.pop(0)
        self.receptions.born(self.channel, epoch)
        self._turn()

    # --- who listens ---

    @precondition(lambda self: self.judge is None and self.joining is None)
    @rule()
    def subscribe(self) -> None:
        judge = Judge(self)

        async def subscribe() -> None:
            try:
                await self.receptions.subscribe(self.channel, judge)
            except BrokerUnavailable:
                return
            assert judge.begun

        self.joining = self.loop.create_task(subscribe())
        self.joining_judge = judge
        self._turn()

    def _turn(self) -> None:
        """Let go on what can go on."""
        self.loop.run()
        if self.joining is not None and self.joining.done():
            self.joining.result()
            self.joining = None
            if self.joining_judge.begun:
                self.judge = self.joining_judge
        self.line.take_in()

    @precondition(lambda self: self.judge is not None and self.joining is None)
    @rule()
    def unsubscribe(self) -> None:
        self.receptions.unsubscribe(self.channel, self.judge)  # type: ignore[arg-type]
        self.judge = None

    @rule(wanted=st.booleans())
    def follow_pattern(self, wanted: bool) -> None:
        self.wanted = wanted

    @rule(seconds=st.sampled_from([1.0, SILENCE_SECONDS, LINGER]))
    def sweep(self, seconds: float) -> None:
        self.loop.advance(seconds)
        self._turn()
        self.receptions.sweep()
        self._turn()

    # --- in the end ---

    @rule()
    def settle(self) -> None:
        """All that was on its way arrives: everything is told."""
        if not self.line.up:
            self.restore_line()
        for _ in range(4):
            self.loop.advance(RETRY_SECONDS)
            self._turn()
            for _ in range(500):
                if self.wire.requests:
                    request = self.wire.requests[0]
                    if request.answers is None:
                        self._carry_out(request)
                    self._answer(request)
                elif self.line.coming:
                    self.ring(1)
                else:
                    break
            else:
                raise AssertionError("it is read again and again")
            self.receptions.sweep()
            self._turn()
        assert self.joining is None, "it hears by now"
        self.settled = True
        if self.forked:
            # No failover goes back behind another.
            self.forked = False
            self.past.clear()
            self._remember()
        judge = self.judge
        if judge is None or self.truth is None:
            return
        self._answer_is_truth(judge)

    def _answer_is_truth(self, judge: Judge) -> None:
        assert self.truth is not None
        assert judge.head is not None
        assert judge.head.epoch == self.truth.epoch
        untold = set(range(judge.head.offset + 1, self.truth.head + 1))
        assert untold <= self.truth.holes, "everything is told in the end"
        (clears,) = self.client.hmget(self.names.log(self.channel), "cleared")
        if judge.cleared_at and judge.cleared_at[-1].epoch == self.truth.epoch:
            assert judge.cleared_at[-1].offset == int(clears or 0)


class RollbackMachine(ReceptionMachine):
    """With failovers to replicas that lack the newest."""

    rolls_back = True


@pytest.fixture(scope="module", autouse=True)
def _client(redis_server: RedisServer) -> Iterator[None]:
    ReceptionMachine.client = redis.Redis(port=redis_server.port, protocol=2)
    yield
    ReceptionMachine.client.close()


class TestReception(ReceptionMachine.TestCase):  # type: ignore[misc,name-defined]
    settings = settings(max_examples=60, stateful_step_count=50)


class TestRollbacks(RollbackMachine.TestCase):  # type: ignore[misc,name-defined]
    settings = settings(max_examples=60, stateful_step_count=50)


# --- stories that chance tells too rarely ---


@pytest.fixture
def story(_client: None) -> Iterator[RollbackMachine]:
    machine = RollbackMachine()
    yield machine
    machine.teardown()


@pytest.fixture
def quiet(_client: None) -> Iterator[ReceptionMachine]:
    machine = ReceptionMachine()
    yield machine
    machine.teardown()


def test_rollback_is_noticed_by_who_has_heard_nothing_yet(story: RollbackMachine) -> None:
    story.open(listens=True, here=False, published=3)
    story.fail_over(lost=2, published=3, more=0)
    story.settle()
    assert story.judge is not None
    # Of what came before, the node does not know whether it was there: a gap is told.
    assert story.judge.told == ["n5", "n6"]


def test_rollback_is_noticed_though_the_next_rings_before_it_is_read(
    story: RollbackMachine,
) -> None:
    story.open(listens=True, here=False, published=1)
    story.publish(None, here=False, count=2)
    story.go_on(6)
    story.fail_over(lost=2, published=2, more=1)
    story.restore_line()
    story.publish(None, here=False, count=1)
    while story.line.coming:
        story.ring(1)
    story.settle()
    assert story.judge is not None
    assert story.judge.told == ["n2", "n3", "n4", "n5", "n6"]


def test_what_rang_early_is_forgotten_with_the_redis_that_rang_it(story: RollbackMachine) -> None:
    story.open(listens=True, here=False, published=1)
    story.sweep(SILENCE_SECONDS)
    story.sweep(SILENCE_SECONDS)
    assert story.wire.requests, "it is read, to be sure"
    story.carry_out()
    story.publish(None, here=False, count=1)
    story.ring(1)
    story.fail_over(lost=1, published=0, more=0)
    story.restore_line()
    story.ring(1)
    story.settle()
    story.publish(None, here=False, count=1)
    story.settle()
    assert story.judge is not None
    assert story.judge.told == ["n3"]


def test_publications_while_the_witness_is_asked_are_no_rollback(story: RollbackMachine) -> None:
    story.open(listens=True, here=True, published=2)
    story.lose_line()
    story.restore_line()
    request = next(iter(story.wire.requests))
    story._carry_out(request)
    story.publish(None, here=True, count=2)
    story._answer(request)
    story.settle()
    assert story.truth is not None
    assert story.judge is not None
    assert story.judge.told == ["n3", "n4"]
    assert story.judge.head == Position(story.truth.epoch, 4)
    assert not story.known - {story.truth.epoch}


def test_logs_that_were_forked_twice_are_the_same_up_to_the_lower_fork(
    story: RollbackMachine,
) -> None:
    story.open(listens=True, here=False, published=4)
    story.publish(None, here=False, count=2)
    story.go_on(6)
    away = Position(story.truth.epoch, 6)  # type: ignore[union-attr]
    story.fail_over(lost=1, published=1, more=0)
    story.settle()
    second = story.truth.epoch  # type: ignore[union-attr]
    assert second != away.epoch
    fork = carry_out(story.client, story.calls.fork(story.channel, Position(second, 6), 3))
    answer = carry_out(story.client, story.calls.follow(story.channel, away))
    reading = Reading.of(away, answer)
    assert reading.epoch == fork.decode()
    assert reading.forks == {away.epoch: 3, second: 3}
    assert [offset for offset, _ in reading.entries] == [4, 5, 6]


def test_forks_that_are_too_many_are_forgotten_as_a_whole(story: RollbackMachine) -> None:
    story.open(listens=False, here=False, published=2)
    epoch = story.truth.epoch  # type: ignore[union-attr]
    for _ in range(100):
        seen = Position(epoch, 2)
        epoch = carry_out(story.client, story.calls.fork(story.channel, seen, 2)).decode()
        answer = carry_out(story.client, story.calls.follow(story.channel, seen))
        reading = Reading.of(seen, answer)
        assert reading.forks[seen.epoch] == 2
        assert set(reading.forks.values()) == {2}
    assert len(reading.forks) > 20


def test_busy_channel_is_fresh_after_one_reading(quiet: ReceptionMachine) -> None:
    quiet.open(listens=False, here=False, published=2)
    quiet.subscribe()
    quiet.ring(1)
    for _ in range(2):
        request = quiet.wire.requests[0]
        quiet._carry_out(request)
        quiet.publish(None, here=False, count=2)
        while quiet.line.coming:
            quiet.ring(1)
        quiet._answer(request)
    assert quiet.joining is None, "it became the receiver, though it rings all the time"
    assert not quiet.wire.requests


def test_channel_that_nobody_came_back_to_is_not_read_to_the_end(quiet: ReceptionMachine) -> None:
    quiet.open(listens=True, here=False, published=0)
    quiet.unsubscribe()
    quiet.publish(None, here=False, count=1)
    quiet.lose_line()
    quiet.restore_line()
    quiet.ring(1)
    quiet._carry_out(quiet.wire.requests[0])
    quiet.sweep(LINGER)
    quiet.wanted = True
    quiet._answer(quiet.wire.requests[0])
    assert quiet.asked == set(), "the births tell of it"
    quiet.bear(again=False)
    quiet.settle()
    assert quiet.judge is not None
    assert quiet.judge.told == ["n1"]


def test_channel_is_born_while_it_is_read_for_the_first_time(quiet: ReceptionMachine) -> None:
    quiet.open(listens=False, here=False, published=0)
    quiet.wanted = True
    quiet.subscribe()
    quiet.publish(None, here=False, count=1)
    quiet.ring(1)
    quiet._carry_out(quiet.wire.requests[0])
    quiet.bear(again=False)
    assert quiet.judge is not None
    quiet.settle()
    assert quiet.born_judge.told == ["n1"]


def test_clear_that_is_rolled_back_does_not_hide_the_next(story: RollbackMachine) -> None:
    story.open(listens=True, here=False, published=3)
    carry_out(story.client, story.calls.clear(story.channel))
    story.clearings[Position(story.truth.epoch, 3)] += 2  # type: ignore[union-attr]
    story.settle()
    judge = story.judge
    assert judge is not None
    assert len(judge.cleared_at) == 1
    # A failover that has lost the clear, and nothing else.
    story.client.hset(story.names.log(story.channel), "clears", 0)
    story.lose_line()
    story.settle()
    carry_out(story.client, story.calls.clear(story.channel))
    story.line.take_in()
    story.settle()
    assert len(judge.cleared_at) == 2


def test_channel_that_cannot_be_read_holds_up_no_other(quiet: ReceptionMachine) -> None:
    quiet.open(listens=False, here=False, published=1)
    quiet.client.set(quiet.names.log("b"), "no log")
    listener = Listener()
    stuck = quiet.loop.create_task(quiet.receptions.subscribe("b", listener))
    quiet._turn()
    quiet.subscribe()
    while quiet.line.coming:
        quiet.line.arrive()
    quiet._turn()
    faults = []
    quiet.loop.call_exception_handler = faults.append  # type: ignore[method-assign]
    for _ in range(10):
        if quiet.wire.requests:
            request = quiet.wire.requests[0]
            quiet._carry_out(request)
            quiet._answer(request)
    assert quiet.joining is None
    assert {fault["message"] for fault in faults} == {"b can't be read"}
    assert not stuck.done()
    quiet.client.delete(quiet.names.log("b"))
    quiet.receptions.sweep()
    quiet._turn()
    quiet._carry_out(quiet.wire.requests[0])
    quiet._answer(quiet.wire.requests[0])
    quiet.settle()
    assert stuck.done()


def test_gap_begins_where_its_receiver_is_though_the_last_ones_expired(
    quiet: ReceptionMachine,
) -> None:
    quiet.open(listens=True, here=False, published=0)
    quiet.publish(1000, here=False, count=1)
    quiet.let_time_pass(1000)
    quiet.clear()
    quiet.carry_out()
    quiet.lose_everything()
    quiet.settle()
    assert quiet.judge is not None
    assert quiet.truth is not None
    assert quiet.judge.head == Position(quiet.truth.epoch, 0)
