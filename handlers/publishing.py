"""From what a producer sent to the answer it gets, the same on every transport."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from handlers.inorder import InOrder
from notifier.auth.identity import Identity
from notifier.auth.scopes import Scope
from notifier.errors import (
    BadChannel,
    BadField,
    NotifierError,
    PublishingTooFast,
    TooManyItems,
    without_frames,
)
from notifier.node import Node, Published
from notifier.notification import Notification
from notifier.value import value

# Notifications of one request that are under way together; then everybody else has a turn.
WINDOW = 128


@value
class Outcome:
    """What became of one notification.

    :param published: in each of its channels; where it failed, in those in which it did not.
    :param failure: the first refusal, if any.
    :param answers: of each channel, where it was for several.
    """

    published: Sequence[Published]
    failure: NotifierError | None = None
    answers: Mapping[str, Published | NotifierError] | None = None

    @property
    def whole(self) -> bool:
        """Nothing of it was stored, so the failure is the whole story."""
        return not self.published

    @property
    def passing(self) -> list[NotifierError]:
        """Its refusals that may not be repeated if it is sent again."""
        refusals: list[object] = [self.failure]
        if self.answers is not None:
            refusals += self.answers.values()
        return [one for one in refusals if isinstance(one, NotifierError) and one.temporary]

    @property
    def repeated(self) -> bool:
        """All of it had been stored before, under the same idempotency key."""
        for published in self.published:
            if not published.repeated:
                return False
        return not self.whole

    @property
    def result(self) -> dict[str, Any]:
        """The answer to its producer; has ``error`` in it where something failed."""
        if self.answers is not None:
            return {
                **({"id": self.published[0].id} if self.published else {}),
                "channels": [
                    {"channel": channel, "error": answer.describe()}
                    if isinstance(answer, NotifierError)
                    else _result(answer)
                    for channel, answer in self.answers.items()
                ],
            }
        if self.failure is not None:
            return {"error": self.failure.describe()}
        return _result(self.published[0])


async def publish(
    node: Node,
    fields: object,
    *,
    source: str,
    by: Identity,
    channel: str | None = None,
    key: str | None = None,
) -> Outcome:
    """Publish one notification to the channel or channels it names.

    :param source: one of :data:`~notifier.counts.SOURCES`.
    :param by: who publishes; idempotency keys are its own.
    :param channel: the one the URL names; the fields may not name another.
    :param key: the idempotency key; without one the notification's ``id`` is it.
    """
    intake, began, access = node.counts.intakes[source], node.clock(), node.access
    try:
        if channel is not None:
            fields = _with_channel(fields, channel)
        notification = Notification.parse(fields)
        targets = _targets(notification, node)
    except NotifierError as refusal:
        intake.refuse(refusal)
        return failed(refusal)
    key = notification.id if key is None else key
    # One notification is one, in however many channels.
    id = notification.id or node.new_id()
    producer = by.producer

    async def to(target: str) -> Published | NotifierError:
        try:
            if not access.open:
                access.check(by, Scope.PUBLISH, target)
            published = await node.publish(notification, target, producer=producer, key=key, id=id)
        except NotifierError as refusal:
            intake.refuse(refusal)
            return without_frames(refusal)
        intake.repeated += published.repeated
        intake.stored += not published.repeated
        return published

    if notification.channels is None:
        answer = await to(targets[0])
        intake.seconds.observe(node.clock() - began)
        return failed(answer) if isinstance(answer, NotifierError) else Outcome((answer,))
    answers = await InOrder()(to, targets)
    intake.seconds.observe(node.clock() - began)
    failures = [answer for answer in answers if isinstance(answer, NotifierError)]
    return Outcome(
        [answer for answer in answers if isinstance(answer, Published)],
        failures[0] if failures else None,
        dict(zip(targets, answers, strict=True)),
    )


def check_rate(node: Node, by: Identity, address: str, *, source: str, count: int = 1) -> None:
    """Before so much is published: is it too much for a moment?

    :param count: publications: a notification is one in each of its channels.
    :param address: where they come from.
    :raises PublishingTooFast:
    """
    if node.publish_rate is None:
        return
    try:
        node.publish_rate.take(by, address, count)
    except PublishingTooFast as refusal:
        node.counts.intakes[source].refused[refusal.code] += count
        raise


async def publish_all(
    node: Node,
    items: Sequence[object],
    *,
    source: str,
    by: Identity,
    channel: str | None,
    key: str | None,
) -> list[Outcome]:
    """Publish notifications in their order; what became of each.

    :param key: the idempotency key of all; the item at index 6 has ``key:6``.
    """

    def step(item: tuple[int, object]) -> Coroutine[Any, Any, Outcome]:
        index, fields = item
        item_key = None if key is None else f"{key}:{index}"
        return publish(node, fields, source=source, by=by, channel=channel, key=item_key)

    in_order = InOrder()
    outcomes: list[Outcome] = []
    window: list[tuple[int, object]] = []
    for index, fields in enumerate(items):
        alone = goes_alone(fields)
        if alone or len(window) >= WINDOW:
            outcomes += await in_order(step, window)
            window.clear()
            await asyncio.sleep(0)  # everybody else has a turn
        window.append((index, fields))
        if alone:
            outcomes += await in_order(step, window)
            window.clear()
    return outcomes + await in_order(step, window)


def goes_alone(fields: object) -> bool:
    """It is for several channels, each begun for itself: nothing may overtake it."""
    return isinstance(fields, dict) and "channels" in fields


def publications_of(fields: object, limit: int) -> int:
    """How many a notification becomes, as far as can be told before it is looked at.

    :param limit: of what names more channels nothing is published.
    """
    channels = fields.get("channels") if isinstance(fields, dict) else None
    if not isinstance(channels, list):
        return 1
    distinct = {channel for channel in channels if isinstance(channel, str)}
    return min(max(1, len(distinct)), limit)


def _targets(notification: Notification, node: Node) -> list[str]:
    limit = node.settings.max_channels_per_notification
    if notification.channels is None:
        if notification.channel is None:
            raise BadChannel("Name the channel to publish to.", field="channel")
        return [node.check_channel(notification.channel)]
    if notification.channel is not None:
        raise BadField("Give channel or channels, not both.", field="channels")
    if not notification.channels:
        raise BadField("channels: must name at least one channel.", field="channels")
    if len(notification.channels) > limit:
        raise TooManyItems(
            f"A notification may name {limit} channels (setting max_channels_per_notification).",
            limit=limit,
        )
    # All of them before any is published to: nothing is to be half stored.
    return list(dict.fromkeys(node.check_channel(target) for target in notification.channels))


def failed(refusal: NotifierError) -> Outcome:
    """Nothing of it was stored."""
    return Outcome((), without_frames(refusal))


def _result(published: Published) -> dict[str, Any]:
    position = published.position
    return {
        "id": published.id,
        "channel": published.channel,
        "position": None if position is None else str(position),
        "subscribers": published.subscribers,
    }


def _with_channel(fields: object, channel: str) -> object:
    if not isinstance(fields, dict):
        return fields
    if fields.get("channel") not in (None, channel) or fields.get("channels") is not None:
        raise BadChannel(f"The URL says channel {channel!r}, the body another.", field="channel")
    return {**fields, "channel": channel}
