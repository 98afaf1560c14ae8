"""From the broker's URL to the broker, and to the fleet that lives where it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from notifier.brokers.alone import Alone
from notifier.brokers.base import Broker
from notifier.brokers.fleet import Fleet, new_node_id
from notifier.brokers.memory.broker import MemoryBroker
from notifier.brokers.sqlite.broker import SqliteBroker
from notifier.channels import Namespaces
from notifier.config import Settings
from notifier.config.redisurl import SCHEMES, RedisURL


def backing_of(
    settings: Settings, namespaces: Namespaces, now_ms: Callable[[], int]
) -> tuple[Broker, Fleet]:
    """The broker that the settings ask for, and its fleet; neither opened yet."""
    scheme, _, rest = settings.broker.partition(":")
    match scheme:
        case "memory":
            broker: Broker = MemoryBroker(
                namespaces,
                history_bytes=settings.history_bytes,
                max_channels=settings.max_channels,
                idempotency_ttl=settings.idempotency_ttl,
                max_idempotency_keys=settings.max_idempotency_keys,
                now_ms=now_ms,
            )
        case "sqlite":
            broker = SqliteBroker(
                Path(rest),
                namespaces,
                history_bytes=settings.history_bytes,
                max_channels=settings.max_channels,
                idempotency_ttl=settings.idempotency_ttl,
                max_idempotency_keys=settings.max_idempotency_keys,
                max_unwritten_bytes=settings.max_unwritten_bytes,
                now_ms=now_ms,
            )
        case _ if scheme in SCHEMES:
            # Imported where it is wanted: a process alone need not load redis-py.
            from notifier.brokers.redis.broker import RedisBroker

            redis = RedisBroker(
                RedisURL.parse(settings.broker),
                namespaces,
                node=new_node_id(),
                prefix=settings.redis_prefix,
                timeout=settings.redis_timeout,
                linger=settings.redis_linger,
                wait_replicas=settings.redis_wait_replicas,
                max_channels=settings.max_channels,
                max_unwritten_bytes=settings.max_unwritten_bytes,
                idempotency_ttl=settings.idempotency_ttl,
                now_ms=now_ms,
            )
            return redis, redis.fleet
        case _:
            raise AssertionError(f"{settings.broker} is no setting's value")
    return broker, Alone()
