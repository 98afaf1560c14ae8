"""How many connections an address or a user has, and how fast an address opens more."""

from __future__ import annotations

from collections import Counter

from notifier.auth.identity import Identity
from notifier.config import Settings
from notifier.errors import (
    ConnectingTooFast,
    TooManyConnectionsFromAddress,
    TooManyConnectionsOfUser,
)
from notifier.limits import Buckets, Rate, milliseconds, network_of

# How many seconds' worth of new connections an address may open at once.
BURST_SECONDS = 10
# When to try again where too many are open: nobody knows when one of them ends.
RETRY_MS = 10_000


class ConnectionLimits:
    """Counts those who are here, so that none of them takes all the room.

    A user is whoever has the key, or the ``sub`` of the token; who has neither is counted by
    address alone.
    """

    def __init__(self, settings: Settings) -> None:
        self._per_address = settings.max_connections_per_address
        self._per_user = settings.max_connections_per_user
        self._per_second = settings.max_new_connections_per_second
        self._addresses: Counter[str] = Counter()
        self._users: Counter[str] = Counter()
        self._arrivals = (
            Buckets(Rate(self._per_second, BURST_SECONDS * self._per_second))
            if self._per_second
            else None
        )

    def check(self, address: str, identity: Identity, now: float) -> None:
        """May one more come?

        :param now: seconds, monotonic.
        :raises TooManyConnectionsFromAddress:
        :raises TooManyConnectionsOfUser:
        :raises ConnectingTooFast:
        """
        network = network_of(address)
        if self._per_address and self._addresses[network] >= self._per_address:
            raise TooManyConnectionsFromAddress(
                f"{network} has {self._per_address} connections to this node already (setting "
                "max_connections_per_address). If that is a proxy, name it in trusted_proxies.",
                limit=self._per_address,
                retry_after_ms=RETRY_MS,
            )
        self.check_user(identity)
        if self._arrivals is None:
            return
        wait = self._arrivals.take(network, now)
        if wait:
            raise ConnectingTooFast(
                f"{network} opens more than {self._per_second} connections a second (setting "
                "max_new_connections_per_second). If that is a proxy, name it in trusted_proxies.",
                limit=self._per_second,
                retry_after_ms=milliseconds(wait),
            )

    def check_user(self, identity: Identity) -> None:
        """May whoever it is have one more?

        :raises TooManyConnectionsOfUser:
        """
        user = identity.producer
        if user and self._per_user and self._users[user] >= self._per_user:
            raise TooManyConnectionsOfUser(
                f"{identity.name[:100]} has {self._per_user} connections to this node already "
                "(setting max_connections_per_user).",
                limit=self._per_user,
                retry_after_ms=RETRY_MS,
            )

    def enter(self, address: str, identity: Identity) -> None:
        """One more is here."""
        _add(self._addresses, network_of(address), 1)
        _add(self._users, identity.producer, 1)

    def leave(self, address: str, identity: Identity) -> None:
        """One who entered so is here no more."""
        _add(self._addresses, network_of(address), -1)
        _add(self._users, identity.producer, -1)

    def sweep(self, now: float) -> None:
        if self._arrivals is not None:
            self._arrivals.sweep(now)


def _add(counter: Counter[str], name: str, by: int) -> None:
    """Who has none is not kept."""
    counter[name] += by
    if counter[name] <= 0:
        del counter[name]
