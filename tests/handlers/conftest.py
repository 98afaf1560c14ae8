"""What the tests of the handlers run against."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tornado.ioloop import IOLoop
from tornado.web import Application

from handlers.application import application
from handlers.patience import Patience
from notifier.assets import static_path
from notifier.brokers.choice import backing_of
from notifier.config import Settings
from notifier.errors import NoSuchChannel
from notifier.node import Node, wall_clock_ms
from notifier.server import Server
from notifier.wire import messages
from tests.handlers.serving import serving


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A whole server with the default settings, in this process."""
    async with serving() as server:
        yield server


@pytest.fixture
def node(io_loop: IOLoop) -> Node:
    """A node with the default settings, for the application alone."""
    settings = Settings()
    namespaces = settings.channel_namespaces()
    broker, fleet = backing_of(settings, namespaces, wall_clock_ms)
    return Node(settings, broker, fleet, namespaces)


@pytest.fixture
def app(node: Node) -> Application:
    """The real application, for pytest-tornado's ``http_client``."""
    return application(node, static_path(), Patience(node.settings, node.counts))


@pytest.fixture
def stored(node: Node) -> Any:
    """Read a channel's history past HTTP: what was really stored."""

    async def read(channel: str) -> list[dict[str, Any]]:
        try:
            history = await node.history(channel, None, None)
        except NoSuchChannel:
            return []
        publications: list[dict[str, Any]] = json.loads(messages.history(history))["publications"]
        return publications

    return read
