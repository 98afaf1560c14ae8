"""One connection that hears doorbells (RESP2 in push mode).

By hand, on ``asyncio.Protocol`` and hiredis: a message costs a fraction of what redis-py's PubSub
takes for it (ADR 0004).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter, deque
from collections.abc import Callable, Sequence

import hiredis

from notifier.brokers.redis.topology import Shard

_MESSAGES = frozenset({b"message", b"smessage", b"pmessage"})
_CONFIRMATIONS = frozenset({b"subscribe", b"ssubscribe", b"psubscribe"})
_ENDS = frozenset({b"unsubscribe", b"sunsubscribe", b"punsubscribe"})
_UNDO = {
    "SUBSCRIBE": "UNSUBSCRIBE",
    "SSUBSCRIBE": "SUNSUBSCRIBE",
    "PSUBSCRIBE": "PUNSUBSCRIBE",
}


class Link(asyncio.Protocol):
    """What comes in is told at once; nothing is awaited.

    :param on_message: told what was subscribed to, the doorbell that rang, and the message.
    :param on_confirmed: told which doorbell, or pattern, is heard from now on.
    :param on_ended: told which sharded one is heard no more, for its slot has moved.
    :param on_refused: told which one is not to be heard here, and Redis's reason.
    :ivar lost: done when it hears nothing more.
    :ivar refusal: what Redis said against it, if that is why.
    """

    def __init__(
        self,
        *,
        on_message: Callable[[bytes, bytes, bytes], None],
        on_confirmed: Callable[[bytes], None],
        on_ended: Callable[[bytes], None],
        on_refused: Callable[[bytes, str], None],
    ) -> None:
        self._on_message = on_message
        self._on_confirmed = on_confirmed
        self._on_ended = on_ended
        self._on_refused = on_refused
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        # Answers to what was asked before it began to listen.
        self._answers: list[asyncio.Future[object]] = []
        # What has been asked since and not been answered, in order: what for, and whether to begin.
        self._asked: deque[tuple[bytes, bool]] = deque()
        self._unanswered: Counter[bytes] = Counter()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.refusal: str | None = None

    @classmethod
    async def connect(
        cls,
        shard: Shard,
        *,
        tls: ssl.SSLContext | None,
        username: str | None,
        password: str | None,
        name: str,
        on_message: Callable[[bytes, bytes, bytes], None],
        on_confirmed: Callable[[bytes], None],
        on_ended: Callable[[bytes], None],
        on_refused: Callable[[bytes, str], None],
    ) -> Link:
        """:param name: under which Redis lists it.
        :raises OSError:
        """
        loop = asyncio.get_running_loop()

        def make() -> Link:
            return cls(
                on_message=on_message,
                on_confirmed=on_confirmed,
                on_ended=on_ended,
                on_refused=on_refused,
            )

        if shard.port:
            _, link = await loop.create_connection(make, shard.host, shard.port, ssl=tls)
        else:
            _, link = await loop.create_unix_connection(make, shard.host)
        try:
            if username is not None or password is not None:
                user = [] if username is None else [username]
                await link.ask("AUTH", *user, password or "")
            await link.ask("CLIENT", "SETNAME", name)
        except BaseException:
            link.close()
            raise
        return link

    async def ask(self, *words: str) -> object:
        """What a command is answered, before the first doorbell is listened to.

        :raises OSError: Redis refuses it, or the connection is gone.
        """
        if self.lost.done():
            raise ConnectionResetError("Redis hung up")
        answer = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        self._send(words)
        return await answer

    def subscribe(self, verb: str, name: bytes) -> None:
        """Ask to hear it: with SUBSCRIBE, SSUBSCRIBE or PSUBSCRIBE."""
        self._ask_for(verb, name, True)

    def unsubscribe(self, verb: str, name: bytes) -> None:
        """Undo :meth:`subscribe` with that verb."""
        self._ask_for(_UNDO[verb], name, False)

    def _ask_for(self, verb: str, name: bytes, begin: bool) -> None:
        self._asked.append((name, begin))
        self._unanswered[name] += 1
        self._send((verb, name))

    def _send(self, words: Sequence[str | bytes]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            # Its stub knows tuples of one word.
            self._transport.write(hiredis.pack_command(tuple(words)))  # type: ignore[arg-type]

    def refuse(self, reason: str) -> None:
        """Close it, for what Redis said."""
        self.refusal = reason
        self.close()

    def close(self) -> None:
        """At once: what it has not sent is of no use any more."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        error = exc if isinstance(exc, OSError) else ConnectionResetError("Redis hung up")
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(error)
        self._answers.clear()
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                self._take(reply)
        except hiredis.ProtocolError:
            self.close()  # no Redis, or no longer in step with it

    def _take(self, reply: object) -> None:
        if isinstance(reply, list) and len(reply) >= 3 and isinstance(reply[0], bytes):
            kind = reply[0]
            if kind in _MESSAGES:
                # With a pattern there is one more word: the doorbell that it matched.
                self._on_message(reply[1], reply[-2], reply[-1])
                return
            if kind in _CONFIRMATIONS:
                self._confirmed(reply[1])
                return
            if kind in _ENDS:
                self._ended(kind, reply[1])
                return
        refused = isinstance(reply, hiredis.ReplyError)
        if self._answers:
            answer = self._answers.pop(0)
            if answer.done():
                return
            if refused:
                answer.set_exception(ConnectionRefusedError(str(reply)))
            else:
                answer.set_result(reply)
        elif refused and self._asked:
            name, begin = self._asked.popleft()
            # Of what has been asked for again there is a newer answer to come.
            if self._answered(name) and begin:
                self._on_refused(name, str(reply))
        elif refused:
            self.refuse(str(reply))

    def _confirmed(self, name: bytes) -> None:
        """One of as many answers as it was asked for; the last one tells how it is."""
        while self._asked:
            asked, begin = self._asked.popleft()
            last = self._answered(asked)
            if asked == name and begin:
                if last:
                    self._on_confirmed(name)
                return

    def _ended(self, kind: bytes, name: bytes) -> None:
        if self._asked and self._asked[0] == (name, False):
            self._asked.popleft()
            self._answered(name)
        elif kind == b"sunsubscribe":
            self._on_ended(name)  # nobody asked: its slot has moved

    def _answered(self, name: bytes) -> bool:
        """Whether nothing more of it is to be answered."""
        self._unanswered[name] -= 1
        if self._unanswered[name] > 0:
            return False
        del self._unanswered[name]
        return True
