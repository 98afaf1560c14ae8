from __future__ import annotations

import itertools
import os
from collections.abc import Callable

from notifier.brokers.redis.broker import RedisBroker
from notifier.channels import Namespaces
from notifier.config.redisurl import RedisURL
from tests.brokers.contract import Contract, any_use

PREFIXES = (f"t{os.getpid()}.{n}" for n in itertools.count())


def make_redis(
    namespaces: Namespaces, *, idempotency_ttl: float, now_ms: Callable[[], int]
) -> RedisBroker:
    prefix = next(PREFIXES)
    return RedisBroker(
        RedisURL.parse("redis://127.0.0.1:7999"),
        namespaces,
        node=prefix,
        prefix=prefix,
        timeout=3.0,
        linger=10.0,
        wait_replicas=0,
        max_channels=1000,
        max_unwritten_bytes=2**24,
        idempotency_ttl=idempotency_ttl,
        now_ms=now_ms,
    )


class TestContract(Contract):
    make = staticmethod(make_redis)


TestAnyUse = any_use(make_redis)
