"""What Redis refuses, and what keeps it from answering, in our words."""

from __future__ import annotations

import re
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)

from notifier.errors import BrokerUnavailable

# What redis-py raises where no answer came: of slots that nobody serves, also these bare.
FAILURES = (RedisError, RedisClusterException, LookupError, OSError)
# Of these Redis says that it has done nothing, and that it will pass.
_PASSING = (
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
_PASSING_WORDS = (
    "NOREPLICAS",
    "MISCONF",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "UNBLOCKED",
    "BUSY ",
)
# What a script may not do for this user, it is told so without NOPERM.
_FORBIDDEN = ("ACL failure in script", "The user executing the script can't")
# What it says to many words from one who has not said who they are.
_STRANGER = "unauthenticated multibulk"
# A host and a port, as redis-py and the system write them.
_ADDRESS = re.compile(r"\('[^']*', [0-9]+[^)]*\)|[^\s(]+:[0-9]{1,5}\b")


def checked(result: Any) -> Any:
    """The value that it is.

    :raises BrokerUnavailable: it is that.
    """
    if isinstance(result, Exception):
        raise result
    return result


def unavailable(error: BaseException) -> BrokerUnavailable:
    """What is said of a Redis that can't be reached, or can't do it now."""
    if isinstance(error, AuthenticationError | AuthorizationError) or _STRANGER in str(error):
        return BrokerUnavailable("Redis refuses this server's user or password.")
    # Where it is, whoever publishes need not know.
    reason = _ADDRESS.sub("Redis", why(error))
    return BrokerUnavailable(f"Redis is not available: {reason}")


def why(error: BaseException) -> str:
    """The error in a line, without what it is about."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200].rstrip(".") + "."


def translated(result: Any) -> Any:
    """A value as it is; what passes as a :class:`BrokerUnavailable`; other refusals as they are."""
    if isinstance(result, _PASSING) or (
        isinstance(result, ResponseError)
        and (
            str(result).startswith(_PASSING_WORDS)
            or _STRANGER in str(result)
            or any(words in str(result) for words in _FORBIDDEN)
        )
    ):
        return unavailable(result)
    if isinstance(result, RedisClusterException | AuthorizationError | LookupError | OSError):
        return unavailable(result)
    if isinstance(result, RedisError) and not isinstance(result, ResponseError):
        return unavailable(result)
    return result  # a ResponseError besides those is a fault of ours, for who asked to raise
