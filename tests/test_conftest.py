"""The way async tests and fixtures run here; the rest of the suite leans on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler


class _Hello(RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(0)
        self.write("hello")


@pytest.fixture
def app() -> Application:
    return Application([("/", _Hello)])


@pytest.fixture
async def number() -> int:
    await asyncio.sleep(0)
    return 7


@pytest.fixture
async def trail(number: int) -> AsyncIterator[list[object]]:
    events: list[object] = [asyncio.get_running_loop(), number]
    yield events
    await asyncio.sleep(0)
    events.append("torn down")
    _TRAILS[0] = events


_TRAILS: dict[int, list[object]] = {}


async def test_plain_coroutine_runs_on_the_loop_of_its_fixtures(trail: list[object]) -> None:
    assert trail == [asyncio.get_running_loop(), 7]


@pytest.mark.parametrize("turn", [1, 2])
async def test_async_fixture_serves_one_test_after_another(trail: list[object], turn: int) -> None:
    assert trail[0] is asyncio.get_running_loop()


def test_async_fixture_serves_a_plain_test(trail: list[object], io_loop: IOLoop) -> None:
    assert trail[0] is io_loop.asyncio_loop  # type: ignore[attr-defined]


def test_async_fixture_is_torn_down_on_its_loop() -> None:
    assert _TRAILS[0][-1] == "torn down"


class TestInAClass:
    async def test_coroutine_method_runs(self, number: int) -> None:
        assert number == 7


async def test_server_and_client_of_pytest_tornado_work(
    http_server: HTTPServer, http_client: AsyncHTTPClient, base_url: str
) -> None:
    answer = await http_client.fetch(base_url)
    assert answer.body == b"hello"


_LEFT: list[asyncio.Task[bool]] = []


async def test_task_may_be_left_behind() -> None:
    _LEFT.append(asyncio.create_task(asyncio.Event().wait()))
    await asyncio.sleep(0)


def test_task_left_behind_was_cancelled() -> None:
    assert _LEFT[0].cancelled()
