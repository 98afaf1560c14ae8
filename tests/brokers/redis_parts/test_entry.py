from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notifier.brokers.redis.calls import Calls
from notifier.brokers.redis.entry import decode, encode
from notifier.brokers.redis.names import Names
from notifier.brokers.redis.reading import Reading
from notifier.channels import Namespaces
from notifier.notification import Draft, Position, Publication
from notifier.wire.resume import All
from tests.brokers.redis_parts.fakeredis import carry_out
from tests.redisservers.server import RedisServer

PREFIXES = (f"entry{os.getpid()}.{n}" for n in itertools.count())
NOW_MS = 1_795_368_240_000
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
DRAFTS = st.builds(
    Draft,
    st.just("größe:a"),
    TEXTS.filter(bool),
    st.just(NOW_MS),
    st.binary(max_size=100),
    st.none() | TEXTS,
    st.none() | st.integers(NOW_MS + 1, NOW_MS + 10**6),
)
ODD = [
    Draft("größe:a", "12 34\n", NOW_MS, b"5 6 7 8 -\nx", "9 9\nkey", NOW_MS + 1),
    Draft("größe:a", "é\x00 ü\n1", NOW_MS, b"\x00\xff\n", "", None),
    Draft("größe:a", "-", NOW_MS, b"", "-", None),
    Draft("größe:a", "1", NOW_MS, b"123", None, None),
]


def published(draft: Draft, position: Position | None) -> Publication:
    return Publication(
        draft.channel, position, draft.id, draft.time_ms, draft.body, draft.key, draft.expires_ms
    )


@given(draft=DRAFTS, position=st.none() | st.builds(Position, st.just("e"), st.integers(0, 10**17)))
@example(draft=ODD[0], position=None)
@example(draft=ODD[1], position=None)
def test_entry_says_what_the_draft_said(draft: Draft, position: Position | None) -> None:
    assert decode(draft.channel, position, encode(draft)) == published(draft, position)


@pytest.fixture(scope="module")
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=redis_server.port, protocol=2) as client:
        yield client


@settings(max_examples=60)
@given(drafts=st.lists(DRAFTS, min_size=1, max_size=4, unique_by=lambda draft: draft.id))
@example(drafts=ODD)
def test_scripts_find_id_key_size_and_expiry(client: redis.Redis, drafts: list[Draft]) -> None:
    """What the scripts read of an entry is what was written."""

    def ask(call: Any) -> Any:
        return carry_out(client, call)

    now_ms = NOW_MS
    calls = Calls(
        Names(next(PREFIXES), Namespaces()),
        Namespaces(),
        publish="PUBLISH",
        patience=1.0,
        idempotency_ttl=60.0,
        max_channels=10,
        now_ms=lambda: now_ms,
    )
    channel = drafts[0].channel
    _, epoch = ask(calls.publish(drafts[0], None, None))
    for offset, draft in enumerate(drafts, start=1):
        answer = ask(calls.publish(draft, None, epoch.decode()))
        assert answer == [b"new", epoch, b"%d" % offset, draft.id.encode()]
        again = ask(calls.publish(draft, None, epoch.decode()))
        assert again == [b"repeat", *answer[1:]]

    for offset, draft in enumerate(drafts, start=1):
        place = Position(epoch.decode(), offset)
        reading = Reading.of(place, ask(calls.follow(channel, place)))
        assert reading.same_id == draft.id
        assert [entry for _, entry in reading.entries] == [encode(d) for d in drafts[offset:]]
    begun = Reading.of(None, ask(calls.follow(channel, None)))
    assert (begun.head, begun.same_id, begun.entries) == (len(drafts), drafts[-1].id, [])

    for key in {draft.key for draft in drafts} - {None}:
        found = ask(history(calls, channel, key))
        assert found[9::2] == [encode(draft) for draft in drafts if draft.key == key]
    sizes = sum(draft.size for draft in drafts)
    assert ask(calls.state(channel))[2:4] == [len(drafts), b"%d" % sizes]

    now_ms = max(draft.expires_ms or 0 for draft in drafts)
    left = [draft for draft in drafts if draft.expires_ms is None]
    assert ask(history(calls, channel, None))[9::2] == [encode(draft) for draft in left]


def history(calls: Calls, channel: str, key: str | None) -> Any:
    return calls.history(channel, All(), 1000, before=None, newest_first=False, key=key)
