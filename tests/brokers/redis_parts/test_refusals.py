"""What clients are told of a Redis that is away."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from notifier.brokers.redis.refusals import unavailable


@pytest.mark.parametrize(
    "error",
    [
        RedisConnectionError("Error 111 connecting to 10.1.2.3:6379. Connection refused."),
        RedisConnectionError("Error -2 connecting to redis.internal:6379. Name not known."),
        OSError("Multiple exceptions: ('::1', 6379), ('10.1.2.3', 6379)"),
        RedisTimeoutError("Timeout reading from redis.internal:6379"),
        RedisConnectionError("Error while reading from 10.1.2.3:6379 : (104, 'Connection reset')"),
    ],
)
def test_who_publishes_is_not_told_where_redis_is(error: Exception) -> None:
    message = unavailable(error).message
    assert message.startswith("Redis is not available: ")
    assert "6379" not in message and "10.1.2.3" not in message and "internal" not in message
