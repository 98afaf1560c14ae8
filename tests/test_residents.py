"""Very many connections are ended in turns, between which anything may happen."""

from __future__ import annotations

from notifier.brokers.fleet import DisconnectAll
from notifier.connectionstate import Holder
from notifier.residents import TURN
from tests.nodebench import Bench


def test_who_has_gone_by_its_turn_is_not_ended_once_more() -> None:
    bench = Bench()
    everybody = [bench.connect(name=f"c{n}") for n in range(TURN + 1)]
    ending = bench.loop.create_task(
        bench.node.residents.answer(DisconnectAll(Holder("anonymous", "")))
    )
    bench.loop.step()
    last = everybody[-1]
    assert not last.ended, "it is not its turn"
    last.sink.closed = True
    bench.node.connections.remove(last)
    bench.end()
    assert not last.ended and ending.result() == len(everybody) - 1
