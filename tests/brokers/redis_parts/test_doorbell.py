from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis.exceptions import ResponseError

from notifier.brokers.redis.doorbell import PROBE_SECONDS, RETRY_SECONDS, Doorbell, Listening
from notifier.brokers.redis.roundtrips import Call
from notifier.brokers.redis.topology import Shard
from notifier.errors import BrokerUnavailable
from tests.handloop import HandLoop

TIMEOUT = 1.0


class FakeLink:
    """A connection on which nothing comes but what the test says."""

    def __init__(self, loop: HandLoop) -> None:
        self.lost = loop.create_future()
        self.refusal: str | None = None
        self.sent: list[tuple[str, bytes]] = []

    def subscribe(self, verb: str, name: bytes) -> None:
        self.sent.append((verb, name))

    def unsubscribe(self, verb: str, name: bytes) -> None:
        self.sent.append((f"UN{verb}", name))

    def refuse(self, reason: str) -> None:
        self.refusal = reason
        self.close()

    def close(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


class FakeEar:
    def __init__(self) -> None:
        self.told: list[object] = []

    def hears(self) -> None:
        self.told.append("hears")

    def rung(self, bell: bytes, message: bytes) -> None:
        self.told.append(message)


class Bench:
    publish = "PUBLISH"
    subscribe = "SUBSCRIBE"

    def __init__(self, loop: HandLoop) -> None:
        self.loop = loop
        self.links: list[FakeLink] = []
        self.failure: Exception | None = None
        self.deaf = False
        self.unringing: Exception | None = None
        self.heard = 0
        self.doorbell = Doorbell(
            Shard("h", 1),
            connect=self._connect,  # type: ignore[arg-type]
            commands=self,  # type: ignore[arg-type]
            probe="probe",
            timeout=TIMEOUT,
            on_heard=self._on_heard,
            on_moved=lambda: None,
        )
        loop.run()

    def _on_heard(self) -> None:
        self.heard += 1

    def _connect(self, doorbell: Doorbell) -> asyncio.Future[FakeLink]:
        future = self.loop.create_future()
        if self.failure is not None:
            future.set_exception(self.failure)
        else:
            self.links.append(FakeLink(self.loop))
            future.set_result(self.links[-1])
        return future

    async def one(self, call: Call) -> Any:
        if self.unringing is not None:
            raise self.unringing
        if not self.deaf:
            message = call.args[1]
            assert isinstance(message, bytes)
            self.doorbell.message(b"probe", b"probe", message)

    def listen(self, ear: FakeEar, verb: str = "SUBSCRIBE") -> Listening:
        listening = Listening(ear, verb, self.loop.create_future())
        self.doorbell.listen(b"bell", listening)
        return listening

    def let_pass(self, seconds: float) -> None:
        for _ in range(round(seconds * 20)):
            self.loop.run()
            self.loop.advance(0.05)
        self.loop.run()


@pytest.fixture
def bench() -> Iterator[Bench]:
    loop = HandLoop()
    loop.start()
    bench = Bench(loop)
    yield bench
    closing = loop.create_task(bench.doorbell.close())
    loop.run()
    assert closing.done()
    loop.stop()


def test_shard_that_hears_itself_is_without_trouble(bench: Bench) -> None:
    assert (bench.doorbell.trouble, bench.heard) == (None, 1)
    assert bench.doorbell.tried.is_set()
    bench.let_pass(10 * PROBE_SECONDS)
    assert (bench.doorbell.trouble, bench.heard, len(bench.links)) == (None, 1, 1)


def test_probe_that_is_not_heard_makes_a_new_connection_on_which_all_is_asked_for_again(
    bench: Bench,
) -> None:
    ear = FakeEar()
    listening = bench.listen(ear)
    bench.doorbell.confirmed(b"bell")
    assert listening.confirmed.done()
    bench.deaf = True
    bench.let_pass(PROBE_SECONDS + TIMEOUT + 0.1)
    assert bench.doorbell.trouble is not None
    assert "does not hear" in bench.doorbell.trouble
    assert not listening.confirmed.done()
    bench.deaf = False
    bench.let_pass(TIMEOUT + 3 * RETRY_SECONDS)
    assert ("SUBSCRIBE", b"bell") in bench.links[-1].sent
    bench.doorbell.confirmed(b"bell")
    assert (bench.doorbell.trouble, bench.heard) == (None, 2)
    assert ear.told == ["hears", "hears"]
    assert listening.confirmed.done()


@pytest.mark.parametrize(
    "failure",
    [BrokerUnavailable("Redis is full."), OSError("no route"), ResponseError("ERR what?")],
)
def test_whatever_keeps_it_from_ringing_is_said_and_passes(
    bench: Bench, failure: Exception
) -> None:
    bench.unringing = failure
    bench.let_pass(PROBE_SECONDS + 0.1)
    assert bench.doorbell.trouble
    bench.unringing = None
    bench.let_pass(TIMEOUT)
    assert bench.doorbell.trouble is None


def test_why_redis_refused_is_said(bench: Bench) -> None:
    bench.links[-1].refusal = "NOPERM not this channel"
    bench.failure = ConnectionRefusedError("NOPERM not this channel")
    bench.links[-1].close()
    bench.loop.run()
    assert bench.doorbell.trouble == "Redis is not available: NOPERM not this channel."


def test_probe_that_is_refused_ends_the_connection_and_says_why(bench: Bench) -> None:
    bench.failure = OSError("later")
    bench.doorbell.refused(b"probe", "NOPERM not this channel")
    bench.loop.run()
    assert bench.doorbell.trouble == "Redis is not available: NOPERM not this channel."


def test_what_is_refused_or_not_confirmed_is_trouble_until_it_is(bench: Bench) -> None:
    bench.listen(FakeEar())
    assert bench.doorbell.trouble is None
    bench.let_pass(TIMEOUT + 0.1)
    assert "does not confirm" in (bench.doorbell.trouble or "")
    bench.doorbell.refused(b"bell", "NOPERM no")
    assert bench.doorbell.trouble == "Redis does not let this node listen: NOPERM no."
    bench.doorbell.confirmed(b"bell")
    assert bench.doorbell.trouble is None


def test_ear_that_fails_ends_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    class BadEar(FakeEar):
        def rung(self, bell: bytes, message: bytes) -> None:
            raise ValueError(message)

    ear = BadEar()
    bench.listen(ear)
    for _ in range(3):
        bench.doorbell.message(b"bell", b"bell", b"strange")
    assert ear.told == ["hears"] * 3
    assert [record.message for record in caplog.records] == ["redis.strange_message"]


def test_who_ignores_a_doorbell_is_told_nothing_of_it(bench: Bench) -> None:
    ear = FakeEar()
    bench.listen(ear)
    bench.doorbell.confirmed(b"bell")
    bench.doorbell.message(b"bell", b"bell", b"one")
    bench.doorbell.ignore(b"bell")
    bench.doorbell.message(b"bell", b"bell", b"two")
    assert ear.told == ["hears", b"one"]
    assert bench.links[-1].sent[-1] == ("UNSUBSCRIBE", b"bell")
