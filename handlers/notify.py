"""``/notify`` and ``/notify/<channel>``: producers publish."""

from __future__ import annotations

from typing import Any

from handlers.base import Handler
from handlers.intake import idempotency_key, read_notifications
from handlers.publishing import publish
from notifier.channels import check_channel
from notifier.errors import TooManyItems


class Notify(Handler):
    """One notification, or an array of them: 200 if all were stored, else 207."""

    async def post(self, channel: str | None = None) -> None:
        if self.refused:
            self.finish()
            return
        if channel is not None:
            check_channel(channel)
        key = idempotency_key(self.request.headers)
        items = read_notifications(self.request, bytes(self.body), in_channel=channel is not None)
        if isinstance(items, list):
            await self._publish_all(items, channel, key)
        else:
            await self._publish_one(items, channel, key)

    async def _publish_one(self, fields: Any, channel: str | None, key: str | None) -> None:
        outcome = await publish(self.node, fields, channel=channel, key=key)
        if outcome.failure is not None and outcome.whole:
            raise outcome.failure
        if outcome.repeated:
            self.set_header("Idempotent-Replayed", "true")
        self.answer(outcome.result, 200 if outcome.failure is None else 207)

    async def _publish_all(self, items: list[Any], channel: str | None, key: str | None) -> None:
        limit = self.node.settings.max_batch
        if len(items) > limit:
            raise TooManyItems(
                f"An array may hold {limit} notifications (setting max_batch).", limit=limit
            )
        outcomes = [
            await publish(
                self.node,
                fields,
                channel=channel,
                key=None if key is None else f"{key}:{index}",
            )
            for index, fields in enumerate(items)
        ]
        whole = all(outcome.failure is None for outcome in outcomes)
        self.answer([outcome.result for outcome in outcomes], 200 if whole else 207)


class NotifyChannel(Notify):
    """The channel stands in the URL; the body may be the message itself."""

    async def put(self, channel: str) -> None:
        await self.post(channel)
