"""The connections on which HTTP is spoken, or nothing yet: how many each address has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from notifier.limits import network_of


class Lobby:
    """Keeps one address from taking all the open files there are, at no cost: who is one too many
    is hung up on before a byte is read. Who becomes a WebSocket or a stream leaves it, and is
    counted by ``connectionlimits.py``.

    :param limit: of each address; 0: there is none.
    :param trusts: whether the address is a proxy's, which has as many as it needs.
    """

    def __init__(self, limit: int, trusts: Callable[[str], bool]) -> None:
        self._limit = limit
        self._trusts = trusts
        self._here: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Whether there is room for one more of this address, which then is here."""
        network = network_of(address)
        if self._limit and self._here[network] >= self._limit and not self._trusts(address):
            return False
        self._here[network] += 1
        return True

    def leave(self, address: str) -> None:
        """One that had entered is gone, or has become something else."""
        network = network_of(address)
        self._here[network] -= 1
        if not self._here[network]:
            del self._here[network]
