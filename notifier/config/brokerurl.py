"""The URL of a broker, and what its kind allows the other settings to be."""

from __future__ import annotations

from notifier.config import redisurl

# How the URL of each kind of broker is written.
_BROKERS = {
    "memory": "memory:",
    "sqlite": "sqlite:PATH",
    "redis": "redis://HOST",
    "unix": "unix:///PATH",
    "redis+sentinel": "redis+sentinel://HOST/MASTER",
    "redis+cluster": "redis+cluster://HOST",
    "rediss": "rediss:// and so on, with TLS",
}

_OF_ONE_PROCESS = frozenset({"memory", "sqlite"})

# Of one channel: what Redis can look through in a few tenths of a second.
MAX_HISTORY_ON_REDIS = 100_000


def check_broker(url: str) -> str:
    """The URL itself, when it is one.

    :raises ValueError: saying what is wrong with it, and nothing of a password.
    """
    scheme, colon, rest = url.partition(":")
    if colon and scheme in redisurl.SCHEMES:
        redisurl.RedisURL.parse(url)
        return url
    if not colon or scheme not in _BROKERS:
        known = ", ".join(_BROKERS.values())
        raise ValueError(f"no broker of this kind is known; supported: {known}")
    if scheme == "sqlite" and (not rest or rest.startswith(("//", ":")) or "\0" in rest):
        raise ValueError(
            "write sqlite: and the path of a file, such as sqlite:notifier.db or "
            "sqlite:/var/lib/notifier/notifier.db"
        )
    return url


def check_history_size(size: int, *, broker: str) -> int:
    """The size itself, when the broker can hold so much of a channel.

    :raises ValueError: it can't.
    """
    if size > MAX_HISTORY_ON_REDIS and _scheme(broker) in redisurl.SCHEMES:
        raise ValueError(
            f"on Redis a channel's history may hold {MAX_HISTORY_ON_REDIS} publications at most: "
            "Redis does nothing else while it looks through them"
        )
    return size


def check_workers(workers: int, *, broker: str) -> int:
    """The number itself, when so many processes can share the broker.

    :raises ValueError: they can't.
    """
    scheme = _scheme(broker)
    if workers != 1 and scheme in _OF_ONE_PROCESS:
        raise ValueError(
            f"workers need a broker they can share, such as redis://HOST; {scheme}: lives in "
            "one process"
        )
    return workers


def _scheme(url: str) -> str:
    return url.partition(":")[0]
