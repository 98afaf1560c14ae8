"""The account itself, on one node and the embedded broker."""

from __future__ import annotations

import pytest

from tests.many_nodes.fleet import PATIENCE, fleet
from tests.many_nodes.load import load

pytestmark = pytest.mark.gen_test(timeout=3 * PATIENCE)


async def test_account_is_exact_though_connections_break() -> None:
    with fleet("memory:") as nodes:
        async with load(nodes) as working:
            working.listen()
            await working.joined()
            working.produce()
            for _ in range(3):
                await working.acknowledged(50)
                nodes.balancer.cut()
            balance = await working.finish()
            balance.exact()
            assert balance.ledger.count >= 150
