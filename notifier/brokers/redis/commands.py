"""Commands to Redis, as many as there are in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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

from notifier.brokers.redis.scripts import Script
from notifier.brokers.redis.topology import Topology
from notifier.errors import BrokerUnavailable

# Of these Redis says that it has done nothing, and that it will pass.
_PASSING = (
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
_PASSING_WORDS = ("NOREPLICAS", "MISCONF", "CLUSTERDOWN", "MASTERDOWN", "UNBLOCKED", "BUSY ")
# What a script may not do for this user, it is told so without NOPERM.
_FORBIDDEN = ("ACL failure in script", "The user executing the script can't")
# What it says to many words from one who has not said who they are.
_STRANGER = "unauthenticated multibulk"


@dataclass(frozen=True, slots=True)
class Call:
    """A script with its keys and arguments, or a command with its words."""

    what: Script | str
    keys: tuple[str, ...] = ()
    args: tuple[str | bytes | int, ...] = ()


class Commands:
    """Sends calls and translates what can go wrong.

    :param timeout: seconds an answer may take.
    """

    def __init__(self, topology: Topology, timeout: float) -> None:
        self._topology = topology
        self._timeout = timeout
        # How a doorbell is rung, and listened to.
        self.publish = "SPUBLISH" if topology.sharded else "PUBLISH"
        self.subscribe = "SSUBSCRIBE" if topology.sharded else "SUBSCRIBE"

    async def run(self, calls: Sequence[Call], *, wait_replicas: int = 0) -> list[Any]:
        """What each gave, in order: a value, or a :class:`BrokerUnavailable` as a value.

        Calls about one channel are carried out in their order.

        :param wait_replicas: so many are to have it before it counts.
        :raises BrokerUnavailable: of none it is known whether it was carried out.
        """
        results = await self._send(calls, wait_replicas)
        unknown = [n for n, result in enumerate(results) if isinstance(result, NoScriptError)]
        if unknown:
            # The first time, or a Redis that has been started anew.
            again = await self._send([calls[n] for n in unknown], wait_replicas, whole=True)
            for n, result in zip(unknown, again, strict=True):
                results[n] = result
        return [_translated(result) for result in results]

    async def one(self, call: Call) -> Any:
        """What it gave.

        :raises BrokerUnavailable:
        """
        (result,) = await self.run([call])
        return checked(result)

    async def _send(
        self, calls: Sequence[Call], wait_replicas: int, *, whole: bool = False
    ) -> list[Any]:
        client = self._topology.client
        pipeline = client.pipeline(transaction=False)
        for call in calls:
            if isinstance(call.what, str):
                pipeline.execute_command(call.what, *call.args)
            elif whole:
                pipeline.execute_command(
                    "EVAL", call.what.text, len(call.keys), *call.keys, *call.args
                )
            else:
                pipeline.execute_command(
                    "EVALSHA", call.what.digest, len(call.keys), *call.keys, *call.args
                )
        if wait_replicas:
            # Less than the socket's timeout, for the answer to come.
            pipeline.execute_command("WAIT", wait_replicas, round(self._timeout * 800))
        try:
            results: list[Any] = await pipeline.execute(raise_on_error=False)
        except (RedisError, RedisClusterException, OSError) as error:
            raise unavailable(error) from error
        if wait_replicas:
            have = results.pop()
            if isinstance(have, RedisError) or have < wait_replicas:
                late = BrokerUnavailable(
                    f"Redis has it, but not {wait_replicas} of its replicas "
                    "(setting redis_wait_replicas)."
                )
                results = [r if isinstance(r, Exception) else late for r in results]
        return results


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
    return BrokerUnavailable(f"Redis is not available: {why(error)}")


def why(error: BaseException) -> str:
    """The error in a line, without what it is about."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200].rstrip(".") + "."


def _translated(result: Any) -> Any:
    if isinstance(result, _PASSING) or (
        isinstance(result, ResponseError)
        and (
            str(result).startswith(_PASSING_WORDS)
            or _STRANGER in str(result)
            or any(words in str(result) for words in _FORBIDDEN)
        )
    ):
        return unavailable(result)
    if isinstance(result, RedisClusterException | AuthorizationError | NoPermissionError | OSError):
        return unavailable(result)
    if isinstance(result, RedisError) and not isinstance(result, ResponseError):
        return unavailable(result)
    return result  # a ResponseError besides those is a fault of ours, for who asked to raise
