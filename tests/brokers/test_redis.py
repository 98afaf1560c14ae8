from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from notifier.brokers.redis.broker import RedisBroker
from notifier.channels import Namespaces
from notifier.config.redisurl import RedisURL
from tests.brokers.contract import Contract, any_use
from tests.redisservers.cluster import Cluster
from tests.redisservers.server import RedisServer

# So that tests that share a Redis have nothing else in common.
PREFIXES = (f"t{os.getpid()}.{n}" for n in itertools.count())


def broker_at(url: str, namespaces: Namespaces, **more: Any) -> RedisBroker:
    """A broker with keys of its own."""
    prefix = next(PREFIXES)
    options: dict[str, Any] = {
        "node": prefix,
        "prefix": prefix,
        "timeout": 5.0,
        "linger": 10.0,
        "wait_replicas": 0,
        "max_channels": 1000,
        "max_unwritten_bytes": 2**24,
    }
    return RedisBroker(RedisURL.parse(url), namespaces, **options | more)


class Where:
    """The URL that brokers made by nothing but a factory connect to."""

    url = ""


@pytest.fixture
def single(redis_server: RedisServer) -> Iterator[None]:
    Where.url = redis_server.url
    yield
    Where.url = ""


@pytest.fixture
def cluster(redis_cluster: Cluster) -> Iterator[None]:
    Where.url = redis_cluster.url
    yield
    Where.url = ""


def make_redis(
    namespaces: Namespaces, *, idempotency_ttl: float, now_ms: Callable[[], int]
) -> RedisBroker:
    return broker_at(Where.url, namespaces, idempotency_ttl=idempotency_ttl, now_ms=now_ms)


@pytest.mark.usefixtures("single")
class TestSingle(Contract):
    make = staticmethod(make_redis)


@pytest.mark.usefixtures("cluster")
class TestCluster(Contract):
    make = staticmethod(make_redis)


@pytest.mark.usefixtures("single")
class TestAnyUseOfSingle(any_use(make_redis)):  # type: ignore[misc]
    pass


@pytest.mark.usefixtures("cluster")
class TestAnyUseOfCluster(any_use(make_redis)):  # type: ignore[misc]
    pass
