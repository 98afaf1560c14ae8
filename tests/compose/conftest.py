"""The programs that the parts of a deployment need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compose.programs import FILES
from tests.docs.webservers import WebServer, web_servers
from tests.redisservers.server import RedisServer


@pytest.fixture(scope="session")
def haproxy(request: pytest.FixtureRequest) -> WebServer:
    return web_servers(request.config.cache.mkdir("web-servers"))["haproxy"]


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """The URL of a Redis with the configuration that ``docker-compose.yml`` gives it."""
    with RedisServer(options={"include": str(FILES / "redis.conf")}) as server:
        assert server.cli("CONFIG", "GET", "appendonly").split() == ["appendonly", "yes"]
        yield server.url
