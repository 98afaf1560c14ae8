"""Idempotency keys in memory, and what was answered under each."""

from __future__ import annotations

from collections import OrderedDict

from notifier.brokers.base import Idempotency, Receipt
from notifier.errors import IdempotencyConflict

REUSED = "This idempotency key (or id) was used before, with another body."


def repeat(idempotency: Idempotency, fingerprint: bytes, receipt: Receipt) -> Receipt:
    """The answer to a key that is known.

    :raises IdempotencyConflict: its first use had another fingerprint.
    """
    if fingerprint != idempotency.fingerprint:
        raise IdempotencyConflict(REUSED)
    return Receipt(receipt.id, receipt.position, repeated=True)


class Keys:
    """As many keys as may be, the oldest forgotten first.

    :param ttl: seconds a key is kept.
    """

    def __init__(self, *, ttl: float, max_keys: int) -> None:
        self._ttl_ms = round(ttl * 1000)
        self._max_keys = max_keys
        self._keys: OrderedDict[str, tuple[bytes, Receipt, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def first_answer(self, idempotency: Idempotency, now_ms: int) -> Receipt | None:
        """What the key's first use was answered; ``None``: this is the first.

        :raises IdempotencyConflict:
        """
        self.forget(now_ms)
        known = self._keys.get(idempotency.key)
        return None if known is None else repeat(idempotency, known[0], known[1])

    def remember(self, idempotency: Idempotency, receipt: Receipt, now_ms: int) -> None:
        value = (idempotency.fingerprint, receipt, now_ms + self._ttl_ms)
        self._keys[idempotency.key] = value
        if len(self._keys) > self._max_keys:
            self._keys.popitem(last=False)

    def forget(self, now_ms: int) -> None:
        """Let go of those whose time is over."""
        keys = self._keys
        while keys and next(iter(keys.values()))[2] <= now_ms:
            keys.popitem(last=False)
