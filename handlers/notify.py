"""``/notify`` and ``/notify/<channel>``: producers publish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tornado.httputil import HTTPServerRequest

from handlers import door
from handlers.base import Handler
from handlers.body import decompressed
from handlers.described import Operation, Operations
from handlers.fields import ANSWERS, BODY, ERRORS, PARAMETERS
from handlers.intake import idempotency_key, read_notifications
from handlers.longbody import LongBody
from handlers.ndjson import is_ndjson
from handlers.parameters import CHANNEL
from handlers.policy import Policy
from handlers.publishing import (
    Outcome,
    check_rate,
    publications_of,
    publish,
    publish_all,
)
from notifier.errors import TooManyItems
from notifier.node import Node


class Notify(Handler):
    """One notification, an array of them, or lines: 200 if all were stored, else 207, and 503
    where something was not for a reason that passes."""

    describes: ClassVar[Operations] = {
        "POST": Operation(
            name="publish",
            summary="Publish",
            text="One notification, an array of them, or lines. The body wins over the query, the "
            "query over headers.",
            parameters=PARAMETERS,
            body=BODY,
            answers=ANSWERS,
            errors=ERRORS,
        )
    }
    takes_body = True
    _lines: LongBody | None = None

    def initialize(self, node: Node, policy: Policy) -> None:
        super().initialize(node, policy)
        self.prompt = node.prompt

    @staticmethod
    def reads_as_it_comes(request: HTTPServerRequest) -> bool:
        kind = request.headers.get("Content-Type", "")
        return request.method != "OPTIONS" and is_ndjson(kind)

    def _check_request(self) -> None:
        if not self.reads_as_it_comes(self.request):
            super()._check_request()
            return
        self.timed_body = False
        (channel,) = self.path_args or (None,)
        if channel is not None:
            self.node.check_channel(channel)
        self._lines = LongBody(self, self._connection, channel=channel)

    def begin_body(self) -> None:
        if self._lines is not None:
            self._lines.watch()

    async def data_received(self, chunk: bytes) -> None:
        if self._lines is None:
            await super().data_received(chunk)
        else:
            await self._lines.data_received(chunk)

    def on_connection_close(self) -> None:
        if self._lines is not None:
            self._lines.lost()
            if not self.request._body_future.done():
                self._lines = None  # it refers to us, and nothing will be asked of it
        super().on_connection_close()

    async def post(self, channel: str | None = None) -> None:
        if self._lines is not None:
            try:
                await self._lines.end()
            finally:
                self._lines = None
            return
        if self.refused:
            self.hang_up()
            return
        if channel is not None:
            self.node.check_channel(channel)
        key = idempotency_key(self.request.headers)
        body = decompressed(
            bytes(self.body),
            self.request.headers.get("Content-Encoding", ""),
            limit=self.node.settings.max_body_bytes,
        )
        items = read_notifications(self.request, body, in_channel=channel is not None)
        if isinstance(items, list):
            await self._publish_all(items, channel, key)
        else:
            await self._publish_one(items, channel, key)

    def _check_rate(self, items: Sequence[Any]) -> None:
        if self.node.publish_rate is not None:
            address = str(self.request.remote_ip)
            limit = self.node.settings.max_channels_per_notification
            count = sum(publications_of(fields, limit) for fields in items)
            check_rate(self.node, self.identity, address, source="http", count=count)

    async def _publish_one(self, fields: Any, channel: str | None, key: str | None) -> None:
        self._check_rate([fields])
        outcome = await publish(
            self.node, fields, source="http", by=self.identity, channel=channel, key=key
        )
        if outcome.failure is not None and outcome.whole:
            raise outcome.failure
        self._answer(outcome.result, [outcome])

    async def _publish_all(self, items: list[Any], channel: str | None, key: str | None) -> None:
        limit = self.node.settings.max_batch
        if len(items) > limit:
            raise TooManyItems(
                f"An array may hold {limit} notifications (setting max_batch).", limit=limit
            )
        self._check_rate(items)
        outcomes = await publish_all(
            self.node, items, source="http", by=self.identity, channel=channel, key=key
        )
        self._answer([outcome.result for outcome in outcomes], outcomes)

    def _answer(self, result: object, outcomes: list[Outcome]) -> None:
        if outcomes and all(outcome.repeated for outcome in outcomes):
            self.set_header("Idempotent-Replayed", "true")
        if all(outcome.failure is None for outcome in outcomes):
            self.answer(result)
            return
        passing = [refusal for outcome in outcomes for refusal in outcome.passing]
        if passing:
            # So that who looks at nothing but the status sends it again.
            door.set_retry_after(self, *passing)
        self.answer(result, 503 if passing else 207)


class NotifyChannel(Notify):
    """The channel stands in the URL; the body may be the message itself."""

    describes: ClassVar[Operations] = {
        method: Operation(
            name=name,
            summary="Publish to a channel",
            text="The body may be the message itself.",
            parameters=(CHANNEL, *PARAMETERS),
            body=BODY,
            answers=ANSWERS,
            errors=ERRORS,
        )
        for method, name in (("POST", "publish_to_channel"), ("PUT", "put_to_channel"))
    }

    async def put(self, channel: str) -> None:
        await self.post(channel)
