"""A server, and a client of it behind a proxy that fails on demand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

import notifier.client
from notifier.client import Client
from notifier.server import Server
from tests.faults import FaultProxy
from tests.handlers.serving import serving


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(
        history_size=100_000,
        namespaces={"short": {"history_size": 5}, "live": {"history_size": 0}},
    ) as server:
        yield server


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    with FaultProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: FaultProxy) -> AsyncIterator[Client]:
    """Impatient, so that its tests are quick."""
    async with notifier.client.connect(proxy.url, max_delay=0.02) as client:
        yield client
