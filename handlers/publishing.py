"""From what a producer sent to the answer it gets, the same on every transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from handlers.inorder import InOrder
from notifier.channels import check_channel
from notifier.errors import BadChannel, BadField, NotifierError, TooManyItems
from notifier.node import Node, Published, new_id
from notifier.notification import Notification

# Notifications of one request that are under way together; then everybody else has a turn.
WINDOW = 128


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one notification.

    :param result: its answer; has ``error`` in it where something failed.
    :param failure: the first refusal, if any.
    :param whole: nothing of it was stored, so the failure is the whole story.
    :param repeated: all of it had been stored before, under the same idempotency key.
    """

    result: dict[str, Any]
    failure: NotifierError | None = None
    whole: bool = True
    repeated: bool = False


async def publish(
    node: Node,
    fields: object,
    *,
    source: str,
    channel: str | None = None,
    producer: str = "",
    key: str | None = None,
) -> Outcome:
    """Publish one notification to the channel or channels it names.

    :param source: one of :data:`~notifier.counts.SOURCES`.
    :param channel: the one the URL names; the fields may not name another.
    :param key: the idempotency key; without one the notification's ``id`` is it.
    """
    intake, began = node.counts.intakes[source], node.clock()
    try:
        if channel is not None:
            fields = _with_channel(fields, channel)
        notification = Notification.parse(fields)
        targets = _targets(notification, node.settings.max_channels_per_notification)
    except NotifierError as refusal:
        intake.refuse(refusal)
        return failed(refusal)
    key = notification.id if key is None else key
    # One notification is one, in however many channels.
    id = notification.id or new_id()

    async def to(target: str) -> Published | NotifierError:
        try:
            published = await node.publish(notification, target, producer=producer, key=key, id=id)
        except NotifierError as refusal:
            intake.refuse(refusal)
            return refusal
        intake.repeated += published.repeated
        intake.stored += not published.repeated
        return published

    answers = await InOrder()([partial(to, target) for target in targets])
    intake.seconds.observe(node.clock() - began)
    if notification.channels is None:
        (answer,) = answers
        if isinstance(answer, NotifierError):
            return failed(answer)
        return Outcome(_result(answer), repeated=answer.repeated)
    failures = [answer for answer in answers if isinstance(answer, NotifierError)]
    stored = [answer for answer in answers if isinstance(answer, Published)]
    return Outcome(
        {
            **({"id": stored[0].id} if stored else {}),
            "channels": [
                {"channel": target, "error": answer.describe()}
                if isinstance(answer, NotifierError)
                else _result(answer)
                for target, answer in zip(targets, answers, strict=True)
            ],
        },
        failures[0] if failures else None,
        whole=not stored,
        repeated=bool(stored) and all(answer.repeated for answer in stored),
    )


async def publish_all(
    node: Node, items: Sequence[object], *, source: str, channel: str | None, key: str | None
) -> list[Outcome]:
    """Publish notifications in their order; what became of each.

    :param key: the idempotency key of all; the item at index 6 has ``key:6``.
    """
    in_order = InOrder()
    outcomes: list[Outcome] = []
    window: list[Callable[[], Coroutine[Any, Any, Outcome]]] = []
    for index, fields in enumerate(items):
        alone = goes_alone(fields)
        if alone or len(window) >= WINDOW:
            outcomes += await in_order(window)
            window.clear()
            await asyncio.sleep(0)  # everybody else has a turn
        item_key = None if key is None else f"{key}:{index}"
        window.append(partial(publish, node, fields, source=source, channel=channel, key=item_key))
        if alone:
            outcomes += await in_order(window)
            window.clear()
    return outcomes + await in_order(window)


def goes_alone(fields: object) -> bool:
    """It is for several channels, each begun for itself: nothing may overtake it."""
    return isinstance(fields, Mapping) and "channels" in fields


def _targets(notification: Notification, limit: int) -> list[str]:
    if notification.channels is None:
        if notification.channel is None:
            raise BadChannel("Name the channel to publish to.", field="channel")
        return [check_channel(notification.channel)]
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
    return list(dict.fromkeys(check_channel(target) for target in notification.channels))


def failed(refusal: NotifierError) -> Outcome:
    """Nothing of it was stored."""
    return Outcome({"error": refusal.describe()}, refusal)


def _result(published: Published) -> dict[str, Any]:
    position = published.position
    return {
        "id": published.id,
        "channel": published.channel,
        "position": None if position is None else str(position),
        "subscribers": published.subscribers,
    }


def _with_channel(fields: object, channel: str) -> object:
    if not isinstance(fields, Mapping):
        return fields
    if fields.get("channel") not in (None, channel) or fields.get("channels") is not None:
        raise BadChannel(f"The URL says channel {channel!r}, the body another.", field="channel")
    return {**fields, "channel": channel}
