"""Plain ``async def`` tests and fixtures, on pytest-tornado's loop.

pytest-tornado brings ``io_loop``, ``app``, ``http_server``, ``http_client``, ``base_url``. It knows
neither plain coroutine tests nor async fixtures, and makes its loop in a way Tornado has left:
this adds the former and replaces the latter. (The two warnings that setup.cfg ignores are its own.)
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tornado.ioloop import IOLoop

from tests.handloop import HandLoop
from tests.redisservers.cluster import Cluster
from tests.redisservers.server import RedisServer

# A busy machine is no bug, and CI must not find today what it did not find yesterday.
settings.register_profile(
    "steady",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("steady")

# Hundreds of programs are started: without its bytecode each would compile all of ours anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """A fresh asyncio loop under Tornado's; what still runs on it at the end is cancelled."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    io_loop = IOLoop(asyncio_loop=loop, make_current=False)
    try:
        yield io_loop
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        io_loop.close(all_fds=True)
        asyncio.set_event_loop(None)


@pytest.fixture
def loop() -> Iterator[HandLoop]:
    """The running loop, turned by hand."""
    loop = HandLoop()
    loop.start()
    yield loop
    loop.stop()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for all tests that do it no harm: each has a prefix of its own for its keys."""
    with RedisServer(tls=True) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[Cluster]:
    """One Redis Cluster of three masters, for all tests that do it no harm, as above."""
    with Cluster() as cluster:
        yield cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run every coroutine test as pytest-tornado's ``gen_test``."""
    for item in items:
        is_coroutine = isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj)
        if is_coroutine and item.get_closest_marker("gen_test") is None:
            item.add_marker(pytest.mark.gen_test)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Iterator[None]:
    """Let an async fixture, plain or a generator, run on the test's loop."""
    function: Callable[..., Any] = fixturedef.func

    def wait(awaitable: Awaitable[Any]) -> Any:
        return request.getfixturevalue("io_loop").asyncio_loop.run_until_complete(awaitable)

    def run(*args: Any, **kwargs: Any) -> Any:
        return wait(function(*args, **kwargs))

    def run_generator(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        value = wait(anext(generator))
        request.addfinalizer(lambda: wait(anext(generator, None)))
        return value

    if inspect.iscoroutinefunction(function):
        fixturedef.func = run
    elif inspect.isasyncgenfunction(function):
        fixturedef.func = run_generator
    try:
        return (yield)
    finally:
        # The fixture outlives this test, the loop does not.
        fixturedef.func = function


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the browser tests out unless they are asked for: they need a process of their own."""
    if collection_path.name == "browser" and not any("browser" in item for item in config.args):
        return True
    return None
