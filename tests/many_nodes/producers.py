"""A producer that takes no for no answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from tests.handlers.serving import Answer, Wire, head, open_stream
from tests.many_nodes.account import Ledger
from tests.many_nodes.fleet import PATIENCE, Fleet

# What a node may take for an answer before another one is asked.
_ANSWER = 10.0
_PAUSE = 0.05


class Producer:
    """Publishes one notification after the other, each until it is acknowledged.

    It keeps its connection, and asks another node, under the same key, when that is lost or the
    node can't just now.

    :param pick: the node to ask next; by default any of the fleet.
    :param per_second: at most so many.
    :param size: characters of each.
    """

    def __init__(
        self,
        name: str,
        fleet: Fleet,
        ledger: Ledger,
        channels: Callable[[int], str],
        *,
        per_second: float,
        size: int = 100,
        pick: Callable[[], Any] | None = None,
    ) -> None:
        self.name = name
        self._fleet = fleet
        self._ledger = ledger
        self._channels = channels
        self._pause = 1 / per_second
        self._text = "x" * size
        self._pick = pick or fleet.any
        self._wire: Wire | None = None
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Publish no more; what is under way is brought to its end."""
        self._stopping.set()

    async def run(self, most: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            for number in count():
                if self._stopping.is_set() or number == most:
                    return
                due = loop.time() + self._pause
                await self._publish(f"{self.name}-{number}", self._channels(number))
                # The rate alone: nothing waits for anything here.
                await asyncio.sleep(max(0.0, due - loop.time()))
        finally:
            self._hang_up()

    async def _publish(self, id: str, channel: str) -> None:
        self._ledger.sent += 1
        body = json.dumps({"id": id, "message": self._text}).encode()
        async with asyncio.timeout(2 * PATIENCE):
            while (answer := await self._ask(id, channel, body)) is None:  # noqa: ASYNC110
                await asyncio.sleep(_PAUSE)
        self._ledger.repeated += answer.headers.get("idempotent-replayed") == "true"
        self._ledger.acknowledge(self.name, answer.json)

    async def _ask(self, id: str, channel: str, body: bytes) -> Answer | None:
        """The acknowledgement; ``None`` without one."""
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Idempotency-Key": id,
        }
        try:
            async with asyncio.timeout(_ANSWER):
                if self._wire is None:
                    self._wire = Wire(*await open_stream(self._pick().port))
                await self._wire.send(head("POST", f"/notify/{channel}", headers) + body)
                answer = await self._wire.answer()
        except (OSError, EOFError, TimeoutError):
            self._ledger.refused[0] += 1
            self._hang_up()
            return None
        if answer.status == 200:
            return answer
        assert answer.json["error"]["temporary"], (answer, id)
        self._ledger.refused[answer.code] += 1
        self._hang_up()
        return None

    def _hang_up(self) -> None:
        if self._wire is not None:
            self._wire.reset()
            self._wire = None


def in_turn(channels: Sequence[str]) -> Callable[[int], str]:
    """One channel after the other, and again."""
    return lambda number: channels[number % len(channels)]
