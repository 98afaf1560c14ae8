"""The shelf that the nodes of a Redis share."""

from __future__ import annotations

from notifier.brokers.redis.commands import Commands
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.roundtrips import Call


class RedisShelf:
    """Keeps the contract of :class:`~notifier.auth.shelf.Shelf`.

    A master that fails in the moment between may leave to its replica what was taken from it: then
    it can be taken again for as long as it would have been kept.
    """

    def __init__(self, commands: Commands, names: Names) -> None:
        self._commands = commands
        self._names = names

    async def put(self, name: str, thing: bytes, seconds: float) -> None:
        milliseconds = max(1, round(seconds * 1000))
        # Names are not used twice, so NX would only refuse a repetition after a lost answer.
        await self._commands.one(
            Call("SET", args=(self._names.shelf(name), thing, "PX", milliseconds))
        )

    async def take(self, name: str) -> bytes | None:
        thing: bytes | None = await self._commands.one(
            Call("GETDEL", args=(self._names.shelf(name),))
        )
        return thing

    async def look(self, name: str) -> bytes | None:
        thing: bytes | None = await self._commands.one(Call("GET", args=(self._names.shelf(name),)))
        return thing
