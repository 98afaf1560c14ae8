"""What is asked of Redis about channels and their logs, as calls of the scripts."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from notifier.brokers.base import PAGE_BYTES, Idempotency
from notifier.brokers.epochs import counter_ms, new_epoch
from notifier.brokers.redis import entry, scripts
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.roundtrips import Call
from notifier.channels import Namespaces
from notifier.notification import Draft, Position
from notifier.wire.resume import After, All, Last, Latest, Since, Time

# Entries that a follower is given at once.
FOLLOW_ENTRIES = 256
# Births kept for nodes that are cut off for a while.
BIRTHS_KEPT = 100_000
# For so many times as long as a write may be tried, one without a key of its producer's is told
# from its repetition by us.
REPEATS = 3


class Calls:
    """Makes them.

    :param publish: how a doorbell is rung: PUBLISH or SPUBLISH.
    :param patience: seconds for which a write may be tried.
    :param idempotency_ttl: seconds.
    """

    def __init__(
        self,
        names: Names,
        namespaces: Namespaces,
        *,
        publish: str,
        patience: float,
        idempotency_ttl: float,
        max_channels: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._names = names
        self._namespaces = namespaces
        self._publish = publish
        self._repeat_ms = round(REPEATS * patience * 1000)
        self._idempotency_ms = max(1, round(idempotency_ttl * 1000))
        self._max_channels = max_channels
        self._now_ms = now_ms

    # --- publishing ---

    def publish(
        self, draft: Draft, idempotency: Idempotency | None, registered: str | None
    ) -> Call:
        """:param registered: the epoch under which the channel is known to be registered."""
        key, fingerprint, ttl_ms = self._idempotency(draft, idempotency)
        return Call(
            scripts.PUBLISH,
            (*self._log(draft.channel), self._names.key(draft.channel, key)),
            (
                *self._bounds(draft.channel),
                new_epoch(),
                registered or "",
                fingerprint,
                ttl_ms,
                self._names.bell(draft.channel),
                self._publish,
                draft.id,
                entry.encode(draft),
                draft.time_ms,
                draft.expires_ms or 0,
                draft.size,
            ),
        )

    def announce(self, draft: Draft, idempotency: Idempotency | None) -> Call:
        """A publication of an ephemeral channel."""
        bell, message = self._names.live_bell(draft.channel), entry.encode(draft)
        if idempotency is None:
            return Call("PUBLISH", (), (bell, message))
        key, fingerprint, ttl_ms = self._idempotency(draft, idempotency)
        return Call(
            scripts.ANNOUNCE,
            (self._names.key(draft.channel, key),),
            (self._now_ms(), fingerprint, ttl_ms, bell, draft.id, message),
        )

    def _idempotency(self, draft: Draft, idempotency: Idempotency | None) -> tuple[str, str, int]:
        """Key, fingerprint and milliseconds; one of ours where the producer gave none."""
        if idempotency is None:
            return f"-{draft.id}", "-", self._repeat_ms
        digest = hashlib.blake2b(idempotency.key.encode(), digest_size=16).hexdigest()
        return digest, idempotency.fingerprint.hex() or "-", self._idempotency_ms

    def register(self, channel: str, epoch: str) -> Call:
        return Call(
            scripts.REGISTER,
            (self._names.channels, self._names.births),
            (
                channel,
                epoch,
                self._max_channels,
                BIRTHS_KEPT,
                self._names.births_bell,
                self._publish,
            ),
        )

    def clear(self, channel: str) -> Call:
        """Carried out twice, it is as if once."""
        key = self._names.key(channel, f"clear-{secrets.token_hex(8)}")
        return Call(
            scripts.CLEAR,
            (*self._log(channel), key),
            (
                *self._bounds(channel),
                self._names.bell(channel),
                self._publish,
                self._repeat_ms,
            ),
        )

    # --- reading ---

    def follow(
        self, channel: str, after: Position | None, *, entries: int = FOLLOW_ENTRIES
    ) -> Call:
        """What came after; with ``None``, where the log is."""
        place = ("", 0) if after is None else (after.epoch, after.offset)
        return Call(
            scripts.FOLLOW,
            self._log(channel),
            (*self._bounds(channel), new_epoch(), *place, entries, PAGE_BYTES),
        )

    def fork(self, channel: str, seen: Position, common: int) -> Call:
        """Begin a new epoch: ``seen`` is no place of this log, nor any after ``common``."""
        now_ms, _, _, keep_ms = self._bounds(channel)
        return Call(
            scripts.FORK,
            self._log(channel),
            (
                now_ms,
                keep_ms,
                seen.epoch,
                new_epoch(),
                common,
                self._names.bell(channel),
                self._publish,
            ),
        )

    def history(
        self,
        channel: str,
        since: Since,
        limit: int,
        *,
        before: Position | None,
        newest_first: bool,
        key: str | None,
    ) -> Call:
        return Call(
            scripts.HISTORY,
            self._log(channel),
            (
                *self._bounds(channel),
                new_epoch(),
                *_words(since),
                *(("", 0) if before is None else (before.epoch, before.offset)),
                int(newest_first),
                "" if key is None else f"1{key}",
                limit,
                PAGE_BYTES,
            ),
        )

    def state(self, channel: str) -> Call:
        return Call(scripts.STATE, self._log(channel), self._bounds(channel)[:3])

    def _log(self, channel: str) -> tuple[str, str, str]:
        names = self._names
        return names.log(channel), names.stream(channel), names.expiries(channel)

    def _bounds(self, channel: str) -> tuple[int, int, int, int]:
        """Now, the oldest time and how many are kept, and how long the log lives."""
        namespace = self._namespaces.of(channel)
        now_ms = self._now_ms()
        return (
            now_ms,
            now_ms - round(namespace.history_ttl * 1000),
            namespace.history_size,
            counter_ms(namespace),
        )


def _words(since: Since) -> tuple[str, str, int]:
    match since:
        case Latest():
            return "latest", "", 0
        case All():
            return "all", "", 0
        case After(position):
            return "after", position.epoch, position.offset
        case Time(time_ms):
            return "time", "", time_ms
        case Last(count):
            return "last", "", count
