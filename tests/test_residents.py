"""Very many connections are ended in turns, between which anything may happen."""

from __future__ import annotations

from notifier.auth.identity import Identity
from notifier.auth.revocations import Revocation
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


def test_very_many_of_a_revoked_token_are_ended_in_turns() -> None:
    bench = Bench(max_connections_per_user=0)
    connections = bench.node.connections
    everybody = [bench.connect(name=f"c{n}") for n in range(2 * TURN + 2)]
    for connection in everybody:
        connections.renew(connection, Identity("token", "42", credential_id="t1"))
    assert bench.node.residents.revoke([Revocation("t1", 100.0)]) == len(everybody)
    assert [bool(each.ended) for each in everybody] == [True] * TURN + [False] * (TURN + 2)
    *_, gone, renewed = everybody
    connections.renew(renewed, Identity("token", "42", credential_id="t2"))
    gone.sink.ended = "client"
    connections.remove(gone)
    bench.loop.step()
    bench.loop.step()
    assert sum(len(each.ended) for each in everybody) == 2 * TURN
    bench.end()
    assert sum(len(each.ended) for each in everybody) == 2 * TURN
    assert not gone.ended and not renewed.ended


def test_a_node_that_closes_waits_for_no_turn() -> None:
    bench = Bench(max_connections_per_user=0)
    everybody = [bench.connect(name=f"c{n}") for n in range(TURN + 1)]
    for connection in everybody:
        bench.node.connections.renew(connection, Identity("token", "42", credential_id="t1"))
    bench.node.residents.revoke([Revocation("t1", 100.0)])
    closing = bench.loop.create_task(bench.node.residents.close())
    bench.end()
    assert closing.done() and not everybody[-1].ended
