"""Joins channels for a connection, and tells it of each; the same on every transport."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from notifier.auth.scopes import Scope
from notifier.channels import Pattern, is_pattern
from notifier.errors import NotifierError
from notifier.listener import Joined, Listener
from notifier.node import Node
from notifier.sink import Sink
from notifier.wire import messages
from notifier.wire.messages import Ref
from notifier.wire.resume import Starts


class Following:
    """What one connection follows.

    :param say: sends a message of a type to it.
    :param on_joined: told of each channel before the connection is.
    :param on_refused: told when a newborn channel can't be joined; else the connection is.
    """

    def __init__(
        self,
        node: Node,
        sink: Sink,
        *,
        say: Callable[[str, bytes], object],
        on_joined: Callable[[Joined], None] = lambda joined: None,
        on_refused: Callable[[NotifierError], None] | None = None,
    ) -> None:
        self._node = node
        self._sink = sink
        self._say = say
        self._on_joined = on_joined
        self._on_refused = on_refused

    async def follow(
        self,
        name: str,
        start_of: Starts,
        *,
        presence: bool = False,
        ref: Ref = None,
    ) -> bool:
        """Join the channel, or all channels of the pattern.

        :param presence: tell who joins and leaves.
        :param ref: comes back with the answer.
        :returns: whether it was joined; if not, it was ended in the meantime, of which the client
            was told, or the client has left.
        :raises NotifierError: it was not joined.
        """
        if self._sink.closed:
            return False  # nobody in particular, who would be refused and counted
        access, identity = self._node.access, self._node.identity_of(self._sink)
        access.check(identity, Scope.SUBSCRIBE, name)
        if presence:
            access.check(identity, Scope.PRESENCE, name)
        if not is_pattern(name):
            listener = Listener(partial(self._joined, ref), self._refused, presence)
            joined = await self._node.subscribe(self._sink, name, start_of(name), listener)
            return joined is not None
        listener = Listener(partial(self._joined, None), self._refused, presence)
        found = await self._node.subscribe_pattern(
            self._sink, Pattern.parse(name), start_of, listener
        )
        if found is None:
            return False
        logs = [joined for joined in found if joined.position is not None]
        recovered = all(joined.gap is None for joined in logs) if logs else None
        self._say(
            "subscribed",
            messages.subscribed_pattern(name, channels=len(found), recovered=recovered, ref=ref),
        )
        return True

    def _joined(self, ref: Ref, joined: Joined) -> None:
        self._on_joined(joined)
        self._say(
            "subscribed",
            messages.subscribed(
                joined.channel,
                position=joined.position,
                gap=joined.gap,
                pattern=joined.pattern,
                ref=ref,
            ),
        )

    def _refused(self, channel: str, refusal: NotifierError) -> None:
        if self._on_refused is not None:
            self._on_refused(refusal)
            return
        self._say(
            "unsubscribed",
            messages.unsubscribed(channel, code=refusal.code, reason=refusal.message),
        )
