"""One suite over every transport: what each promises, on real sockets.

Which does what stands in :mod:`tests.transports.transports`.
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import json
import os
import random
import socket
import string
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any

import pytest

from notifier.connections import Connections
from notifier.drain import Drain, by_chance
from notifier.notification import Notification
from notifier.subscription import Standing
from tests.faults import FaultProxy
from tests.handlers.serving import head
from tests.rawsocket import Service, serving, until
from tests.transports.clients import (
    Asked,
    Client,
    Commands,
    Ended,
    Events,
    Message,
    OverHTTP10,
    Refused,
)
from tests.transports.program import Program
from tests.transports.transports import PATTERN, TABLE, Says, Transport, over

CUTS = 20
LARGEST = 3000
# Deflating makes little of it, so that it fills a kernel's buffer over every transport.
LONG = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=LARGEST))
SO_ATTACH_FILTER = 26


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving(history_size=10_000) as service:
        yield service


async def connect(
    service: Service, over: Transport, since: str | None = None, **more: Any
) -> Client:
    """A client that has been told of every channel it asked for, if its transport tells."""
    client = await over.client.connect(service.port, Asked(over.names, since), **more)
    service.clients.append(client)
    if over.verbatim:
        await until(lambda: service.node.connections)
        (*_, sink) = service.node.connections
        if over.names == PATTERN:
            await until(lambda: over.names[0] in service.node._subscriptions._patterns.of(sink))
            # Then what there is of it is joined; what is born meanwhile, at its birth.
            there = {name for name in over.channels if service.broker.ledgers[name].publications}
            await until(lambda: service.node._hub.of(sink).keys() >= there)
        await live(service, service.node._hub.of(sink) if over.names == PATTERN else over.names)
    elif over.endless:
        waiting = set(over.names)
        while waiting:
            message = await client.real_message()
            assert message["type"] == "welcome" or message["type"] == "subscribed", message
            waiting.discard(message.get("channel", ""))
    return client


async def notification(client: Client) -> Message:
    """The next; nothing may come before it but signs of life, and word of newborn channels."""
    while "pattern" in (message := await client.real_message()):
        pass
    assert message["type"] == "notification", message
    return message


def published(service: Service, over: Transport) -> dict[str, list[str]]:
    """The ids of all that ever was, by channel."""
    ledgers = service.broker.ledgers
    return {
        channel: [publication.id for publication in ledgers[channel].publications]
        for channel in over.channels
        if ledgers[channel].publications
    }


# --- delivering ---


@over(lambda over: over.endless)
async def test_what_is_published_arrives(service: Service, over: Transport) -> None:
    for channel in over.channels:
        await service.publish(channel, "before")
    client = await connect(service, over)
    for number in range(3):
        for channel in over.channels:
            await service.publish(channel, f"{channel} {number}")
            message = await notification(client)
            assert message["message"] == f"{channel} {number}"
            if not over.verbatim:
                place = service.broker.ledgers[channel].head
                assert (message["channel"], message["position"]) == (channel, str(place))
    client.close()
    await until(lambda: not service.node.connections)


@over(lambda over: over.remembers)
@pytest.mark.parametrize("seed", [1, 2])
async def test_after_every_cut_the_client_has_all_of_it_once(
    service: Service, over: Transport, seed: int
) -> None:
    rng = random.Random(f"{over.name} {seed}")
    with FaultProxy(service.port) as proxy:
        # The head of an answer is some 250 bytes: some are cut before the first message.
        proxy.allowances = iter(lambda: rng.randrange(50, 3500), None)
        program = Program(over.client, over.memory(over.names, "all"), proxy.port)

        async def produce() -> None:
            number = 0
            while program.connections < CUTS:
                for _ in range(rng.choice([1, 1, 2, 8])):
                    number += 1
                    text = f"{number} {LONG[: rng.choice([1, 100, 1000])]}"
                    await service.publish(rng.choice(over.channels), text)
                await asyncio.sleep(rng.random() * 0.02)
            proxy.allowances = iter(())
            await service.publish(over.channels[0], "the last")

        def has_all() -> bool:
            return program.ids == published(service, over) and producing.done()

        producing = asyncio.create_task(produce())
        try:
            await program.follow_until(has_all)
        finally:
            program.hang_up()
    assert not program.gaps
    assert program.connections >= CUTS


@over(lambda over: over.endless)
async def test_slow_reader_delays_nobody_costs_one_frame_and_gets_all_of_it(
    over: Transport,
) -> None:
    async with serving(send_buffer=1, feed_size=8, history_size=10_000) as service:
        slow = await connect(service, over, receive_buffer=2048)
        (sink,) = service.node.connections
        fast = await connect(service, over)
        most = 0
        for number in range(150):
            channel = over.channels[number % len(over.channels)]
            await service.publish(channel, f"{number} {LONG}")
            assert (await notification(fast))["message"].startswith(f"{number} ")
            most = max(most, sink._stream.pending())
        await until(lambda: sink.blocked)
        assert most < LARGEST + 1000, "one frame"

        came: dict[str, list[int]] = {}
        while sum(map(len, came.values())) < 150:
            message = await slow.real_message()
            if message["type"] == "notification":
                number = int(message["message"].split(" ")[0])
                came.setdefault(over.channels[number % len(over.channels)], []).append(number)
        assert came == {
            channel: list(range(place, 150, len(over.channels)))
            for place, channel in enumerate(over.channels)
        }


@over(lambda over: over.endless)
async def test_reader_too_slow_for_what_history_keeps_is_told(over: Transport) -> None:
    async with serving(send_buffer=1, feed_size=5, history_size=12) as service:
        client = await connect(service, over, receive_buffer=2048)
        (sink,) = service.node.connections
        number = 0
        # What can't tell a gap is closed for it, which may be before it blocks again.
        while not (sink.blocked or sink.closed) or number < 100:
            for place, channel in enumerate(over.channels):
                await service.publish(channel, f"{number} {place} {LONG}")
            await asyncio.sleep(0)
            number += 1
        if over.gap is Says.CLOSE:
            came: dict[str, list[int]] = {}
            with pytest.raises(Ended) as ended:
                while True:
                    text, place, _ = (await notification(client))["message"].split(" ")
                    came.setdefault(place, []).append(int(text))
            assert ended.value.code == 4001
            # Each channel in order, without a hole; who is behind gets one channel after the other.
            for numbers in came.values():
                assert numbers == list(range(len(numbers))) and len(numbers) < number
            return
        places = dict.fromkeys(over.channels, 0)
        gaps = dict.fromkeys(over.channels, 0)
        while any(place < number for place in places.values()):
            message = await client.real_message()
            if message["type"] == "subscribed":
                continue
            channel = message["channel"]
            if message["type"] == "gap":
                gaps[channel] += 1
                assert offset(message["after"]) == places[channel]
                places[channel] = offset(message["before"]) - 1
            else:
                places[channel] += 1
                assert message["offset"] == places[channel]
        assert all(gaps.values())


@over(lambda over: over.endless)
async def test_reader_that_takes_no_byte_is_cut_off(over: Transport) -> None:
    async with serving(send_buffer=1, stalled_seconds=0.3) as service:
        await connect(service, over, receive_buffer=2048)
        (sink,) = service.node.connections
        count = 0
        while not (sink.blocked or sink.closed) or count < 50:  # more than both kernels take
            await service.publish(over.channels[0], LONG)
            await asyncio.sleep(0)
            count += 1
        await until(service.node.connections.deserted.is_set)
        assert service.node._hub.feeds == {}


# --- what is missing ---


@over()
async def test_a_place_that_history_has_lost_is_told(over: Transport) -> None:
    async with serving(history_size=5) as service:
        for number in range(20):
            for channel in over.channels:
                await service.publish(channel, str(number))
        places = {channel: at(service, channel, 3) for channel in over.channels}
        if over.single:
            since = places["a"]
        else:
            since = ",".join(f"{channel}={place}" for channel, place in places.items()) + ";t=0"
        client = await over.client.connect(service.port, Asked(over.names, since))
        service.clients.append(client)
        if over.gap is Says.CLOSE:
            with pytest.raises(Ended) as ended:
                await client.real_message()
            assert ended.value.code == 4501
            return
        came: dict[str, list[int]] = {channel: [] for channel in over.channels}
        told = {}
        while any(len(numbers) < 5 for numbers in came.values()) or len(told) < len(came):
            message = await client.real_message()
            if message["type"] == "notification":
                came[message["channel"]].append(int(message["message"]))
            elif "gap" in message:
                told[message["channel"]] = message
            else:
                assert message["type"] in ("welcome", "subscribed")
        assert came == {channel: [15, 16, 17, 18, 19] for channel in over.channels}
        for channel in over.channels:
            assert told[channel]["recovered"] is False
            assert told[channel]["gap"] == {
                "after": places[channel],
                "before": at(service, channel, 16),
            }
            assert told[channel]["position"] == at(service, channel, 15)


@over(lambda over: over.endless)
async def test_a_log_that_is_lost_while_one_listens_is_told(
    service: Service, over: Transport
) -> None:
    for channel in over.channels:
        await service.publish(channel, "old")
    client = await connect(service, over)
    channel = over.channels[0]
    old = at(service, channel, 1)
    service.broker.lose(channel)
    await service.publish(channel, "new")
    if over.gap is Says.CLOSE:
        with pytest.raises(Ended) as ended:
            await client.real_message()
        assert ended.value.code == 4001
        return
    gap = await client.real_message()
    assert (gap["type"], gap["channel"], gap["after"]) == ("gap", channel, old)
    assert gap["before"] == at(service, channel, 1) != old
    assert (await notification(client))["position"] == at(service, channel, 1)


@over()
async def test_what_has_expired_is_not_delivered(service: Service, over: Transport) -> None:
    for channel in over.channels:
        await service.publish(channel, "stale", expires=0.05)
        await service.publish(channel, "fresh", expires=600)
    await asyncio.sleep(0.1)
    client = await over.client.connect(service.port, Asked(over.names, "all"))
    service.clients.append(client)
    for _ in over.channels:
        while (message := await client.real_message())["type"] != "notification":
            assert "gap" not in message
        assert message["message"] == "fresh"


@over()
async def test_ephemeral_channels_are_delivered_live_without_places(over: Transport) -> None:
    async with serving(history_size=0) as service:
        for channel in over.channels:
            await service.publish(channel, "nobody listens")
        client = await over.client.connect(service.port, Asked(over.names, "all"))
        service.clients.append(client)
        if over.endless:
            await until(lambda: len(service.node.connections) == 1)
            (connection,) = service.node.connections.values()
            if over.names == PATTERN:
                await until(lambda: service.node._subscriptions._patterns.of(connection.sink))
            else:
                await live(service, over.names)
            for channel in over.channels:
                await service.publish(channel, f"to {channel}")
        came: list[str] = []
        while len(came) < len(over.channels) and over.endless:
            message = await client.real_message()
            if message["type"] == "notification":
                came.append(message["message"])
                assert over.verbatim or (message["position"], message["offset"]) == (None, None)
            elif message["type"] == "subscribed":
                assert (message["position"], message["recovered"]) == (None, None)
        assert came == [f"to {channel}" for channel in over.channels if over.endless]


# --- patterns ---


@over(lambda over: over.names == PATTERN and over.endless)
async def test_a_pattern_brings_what_is_there_and_what_is_born(
    service: Service, over: Transport
) -> None:
    await service.publish("p:a", "old")
    await service.publish("q:a", "of another")
    client = await over.client.connect(service.port, Asked(over.names, "all"))
    service.clients.append(client)

    async def message() -> tuple[object, ...]:
        match await client.real_message():
            case {"type": "subscribed", **more}:
                return more["channel"], more.get("pattern"), more["recovered"]
            case {"type": "notification", **more}:
                return (more["message"],)
            case {"type": "welcome"}:
                return await message()
        raise AssertionError

    old = [await message()]
    if not over.verbatim:
        old += [await message(), await message()]
        # The pattern's own says that all that were there have been joined.
        assert set(old) == {("p:a", "p:*", True), ("p:*", None, True), ("old",)}
        assert old[0] == ("p:a", "p:*", True)
    for name, text in (("p:b", "first"), ("q:b", "no"), ("p:b:c", "first"), ("p:b", "second")):
        await service.publish(name, text)
        if text == "first" and not over.verbatim:
            assert await message() == (name, "p:*", True)
        if text != "no":
            assert await message() == (text,)


@over(lambda over: not over.single and not over.verbatim)
@pytest.mark.parametrize("names", [("p:a", "p:*", "*:a"), ("*:a", "p:*", "p:a")])
async def test_overlapping_names_bring_everything_once(
    service: Service, over: Transport, names: tuple[str, ...]
) -> None:
    for channel in ("p:a", "p:b", "q:a"):
        await service.publish(channel, channel)
    if issubclass(over.client, Commands) and names[0] != "p:a":
        # Who gives commands gives them one after the other: by then it has the channel.
        error = await refusal(service, over, Asked(names))
        assert error["code"] == 40902
        return
    client = await over.client.connect(service.port, Asked(names, "all"))
    service.clients.append(client)
    if over.endless:
        await until(lambda: len(service.node._hub.feeds) == 3)
        await live(service, ("p:a", "p:b", "q:a"))
        await service.publish("p:new", "p:new")
        await service.publish("p:a", "the end")
    came, joined = [], []
    while not over.endless or not {"the end", "p:new"} <= set(came):
        try:
            message = await client.real_message()
        except Ended:
            break
        if message["type"] == "notification":
            came.append(message["message"])
        elif message["type"] == "subscribed":
            joined.append(message["channel"])
    born = ["p:new"] if over.endless else []
    end = ["the end"] if over.endless else []
    assert sorted(came) == sorted(["p:a", "p:b", "q:a", *born, *end])
    patterns = ["*:a", "p:*"] if over.endless else []
    assert sorted(joined) == sorted(["p:a", "p:b", "q:a", *patterns, *born])


# --- payloads ---


TEXTS = ("two\nlines\r\n\r\n", "\ufeffdata: x\n\nid: 7\n\n", "\0\x7f\u2028é", "0\r\n\r\n", "")


@over()
async def test_any_text_arrives_as_it_was_sent(service: Service, over: Transport) -> None:
    for text in TEXTS:
        message = await first(service, over, Notification.of_payload(text))
        assert message["message"] == text


@over()
async def test_any_bytes_arrive_as_they_were_sent(service: Service, over: Transport) -> None:
    payload = bytes(range(256)) * 300
    message = await first(service, over, Notification.of_payload(payload))
    if over.verbatim:
        assert message["bytes"] == payload
    else:
        assert base64.b64decode(message["data_base64"]) == payload
        assert message["content_type"] == "application/octet-stream"


@over()
async def test_a_notification_arrives_with_all_its_fields(
    service: Service, over: Transport
) -> None:
    fields = {"title": "T\n", "tags": ["x"], "priority": 5, "data": {"a\n": [1, None, "\r\n"]}}
    message = await first(service, over, Notification.parse(fields))
    if over.verbatim:
        message = json.loads(message["message"])
    assert fields.items() <= message.items()


@over()
async def test_big_messages_arrive(service: Service, over: Transport) -> None:
    for size in (65_535, 65_536, 3_000_000):
        message = await first(service, over, Notification.of_payload("x" * size))
        assert len(message["message"]) == size


# --- who is there ---


async def test_quiet_connections_show_that_they_are_alive() -> None:
    """All transports at once, for it takes its time."""
    async with serving(ping_interval=0.2) as service:
        clients = [await connect(service, over) for over in TABLE if over.endless and not over.tls]
        for _ in range(4):
            for client in clients:
                assert (await client.message())["type"] == "alive", client
        assert len(service.node.connections) == len(clients)


async def test_peers_that_vanish_without_a_word_are_let_go() -> None:
    async with serving(ping_interval=0.2, ping_timeout=1.0, stalled_seconds=1.0) as service:
        for over in TABLE:
            if over.endless and not over.tls:
                deafen((await connect(service, over)).socket)
        with suppress(TimeoutError):
            await until(service.node.connections.deserted.is_set)
        assert [connection.sink.format for connection in service.node.connections.values()] == []
        assert service.node._hub.feeds == {}


@over(lambda over: over.endless)
@pytest.mark.parametrize("how", ["half-close", "hang up"])
async def test_a_peer_that_leaves_is_noticed(service: Service, over: Transport, how: str) -> None:
    if how == "half-close" and over.tls:
        pytest.skip("TLS ends both ways at once in asyncio")
    client = await connect(service, over)
    if how == "hang up":
        client.close()
    else:
        client.half_close()
    await until(service.node.connections.deserted.is_set)
    assert service.node._hub.feeds == {}


@over(lambda over: over.streams and over.endless)
async def test_what_a_listener_sends_is_ignored(service: Service, over: Transport) -> None:
    client = await connect(service, over)
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 200_000, os.urandom(1000)):
        await client.send(junk)
        await service.publish(over.channels[0], "hi")
        assert (await notification(client))["message"] == "hi"


# --- leaving, and no room ---


@over(lambda over: over.endless)
async def test_a_node_that_leaves_says_so_and_ends_in_good_order(
    service: Service, over: Transport
) -> None:
    client = await connect(service, over)
    drain = PatientDrain(service.node.connections, seconds=0.2, shuffle=by_chance)
    draining = asyncio.create_task(drain.run())
    if over.goodbye is Says.MESSAGE:
        message = await client.real_message()
        assert message["type"] == "reconnect" and message["after_ms"] >= 0
        # It stays, and receives, until its slot has passed.
        await service.publish(over.channels[0], "late")
        assert (await notification(client))["message"] == "late"
    drain.heard.set()
    with pytest.raises(Ended) as ended:
        await client.real_message()
    assert ended.value.orderly
    assert ended.value.code == (None if over.streams else 4000)
    client.close()
    await draining
    assert service.node.connections.deserted.is_set()


@over()
@pytest.mark.parametrize("why", ["full", "draining"])
async def test_one_connection_too_many_is_told_to_come_back(over: Transport, why: str) -> None:
    async with serving(max_connections=1) as service:
        if why == "full":
            other = await connect(service, next(row for row in TABLE if row.tls == over.tls))
        else:
            service.node.connections.draining = True
        code = 50304 if why == "full" else 50302
        if over.full is Says.NO:
            client = await connect(service, over)
            while (await client.real_message())["type"] != "end":
                pass
        elif over.full is Says.EVENT:
            events = await over.client.connect(service.port, Asked(over.names))
            assert isinstance(events, Events)
            message = await events.real_message()
            assert (message["code"], message["temporary"]) == (code, True)
            with pytest.raises(Ended) as ended:
                await events.real_message()
            assert ended.value.orderly
            assert events.parser.retry is not None and 500 < events.parser.retry < 10_000
            events.close()
        else:
            with pytest.raises(Refused) as refused:
                await connect(service, over)
            assert refused.value.code == code
            answer = refused.value.answer
            assert answer is not None
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        if why == "full":
            other.close()
            await until(service.node.connections.deserted.is_set)
            await connect(service, over)


# --- what is refused ---


NO_PLACES = (
    ("yesterday", 40005, "'yesterday'"),
    ("-0", 40005, "'-0'"),
    ("a=k3Jd9wQa:42,b=nonsense;t=1795368240.123", 40005, "'b=nonsense'"),
    ("nonsense;t=1795368240.123", 40005, "'nonsense'"),
    ("a b=k3Jd9wQa:42;t=1795368240.123", 40005, "'a b=k3Jd9wQa:42'"),
    (",".join(f"c{n}=k3Jd9wQa:42" for n in range(300)) + ";t=1", 43101, "4096"),
)


@over()
async def test_a_place_that_is_none_is_refused(service: Service, over: Transport) -> None:
    for since, code, part in NO_PLACES:
        error = await refusal(service, over, Asked(over.names, since))
        assert error["code"] == code and part in error["message"]
        assert code == 43101 or error["field"] == "since"


@over(lambda over: over.bad is not Says.MESSAGE and not over.single)
async def test_one_position_for_several_channels_is_refused(
    service: Service, over: Transport
) -> None:
    error = await refusal(service, over, Asked(over.names, "k3Jd9wQa:42"))
    assert (error["code"], error["field"]) == (40005, "since")


@over()
async def test_a_name_that_is_none_is_refused(service: Service, over: Transport) -> None:
    too_long = "x" * 201
    for name in ("a b", "a::b", "**", "$x", "a\ufffd\0", too_long):
        error = await refusal(service, over, Asked([name]))
        assert (error["code"], error["field"]) == (40010 if name == too_long else 40004, "channel")


@over()
async def test_an_unknown_parameter_is_refused(service: Service, over: Transport) -> None:
    error = await refusal(service, over, Asked(over.names, query=[("sinse", "all")]))
    assert (error["code"], error["nearest"]) == (40002, "since")


@over(lambda over: not over.verbatim)
async def test_too_many_names_are_refused(over: Transport) -> None:
    async with serving(max_subscriptions=2) as service:
        error = await refusal(service, over, Asked(["a", "b", "c:*"]))
        assert (error["code"], error["limit"]) == (42901, 2)


@over(lambda over: over.streams)
async def test_no_name_at_all_is_refused(service: Service, over: Transport) -> None:
    error = await refusal(service, over, Asked([]))
    assert (error["code"], error["field"]) == (40006, "channel")


@over()
async def test_pages_of_strangers_are_refused(service: Service, over: Transport) -> None:
    for headers, code in (
        ({"Origin": "https://evil.example"}, 40301),
        ({"Sec-Fetch-Site": "cross-site"}, 40301),
        ({"Host": "evil.example"}, 42101),
    ):
        error = await refusal(service, over, Asked(over.names, headers=headers))
        assert error["code"] == code


@over()
async def test_other_methods_are_refused(service: Service, over: Transport) -> None:
    class Posting(over.client):  # type: ignore[misc,name-defined]
        method = "POST"

    with pytest.raises(Refused) as refused:
        await Posting.connect(service.port, Asked(over.names, headers={"Content-Length": "0"}))
    answer = refused.value.answer
    assert answer is not None
    assert (refused.value.code, answer.status) == (40501, 405)
    assert answer.headers["allow"] == ("GET, HEAD, OPTIONS" if over.streams else "GET, OPTIONS")


@over(lambda over: over.streams)
async def test_head_tells_of_the_answer_and_keeps_the_connection(
    service: Service, over: Transport
) -> None:
    class Asking(over.client):  # type: ignore[misc,name-defined]
        method = "HEAD"

    client = await Asking.connect(service.port, Asked(over.names))
    service.clients.append(client)
    if not issubclass(over.client, OverHTTP10):
        await client.send(head("GET", "/health/live"))
        assert (await client._wire.answer()).json == {"status": "ok"}
    assert not service.node.connections


# --- what the tests above do over and over ---


class PatientDrain(Drain):
    """Its time stands still until the test has heard what it waits for, however slow it is."""

    def __init__(self, connections: Connections, **more: Any) -> None:
        super().__init__(connections, **more)
        self.heard = asyncio.Event()

    async def _deserted(self, seconds: float) -> bool:
        await self.heard.wait()
        return await super()._deserted(seconds)


async def first(service: Service, over: Transport, sent: Notification) -> Message:
    """Publish it, and read it as the first thing that comes."""
    channel = over.channels[0]
    if over.endless:
        client = await connect(service, over)
        await service.node.publish(sent, channel, producer="")
    else:
        await service.node.publish(sent, channel, producer="")
        client = await over.client.connect(service.port, Asked(over.names, "-1"))
        service.clients.append(client)
    while (message := await client.real_message())["type"] == "subscribed":
        pass
    client.close()
    return message


async def refusal(service: Service, over: Transport, asked: Asked) -> Message:
    """What is refused, in the transport's own way and with the connection well."""
    with pytest.raises(Refused) as refused:
        client = await over.client.connect(service.port, asked)
        service.clients.append(client)
        while True:
            await client.real_message()
    answer, error = refused.value.answer, refused.value.error
    if answer is not None:
        assert answer.status == error["code"] // 100
    if over.bad is Says.HTTP:
        assert not service.node.connections
    return error


async def live(service: Service, channels: Iterable[str]) -> None:
    """Wait until all who follow the channels do so live."""
    for channel in channels:
        await until(lambda channel=channel: channel in service.node._hub.feeds)
        feed = service.node._hub.feeds[channel]
        await until(
            lambda feed=feed: all(one.standing is Standing.LIVE for one in feed.subscriptions)
        )


def at(service: Service, channel: str, offset: int) -> str:
    """The position with that offset."""
    head = service.broker.ledgers[channel].head
    assert head is not None
    return f"{head.epoch}:{offset}"


def offset(position: str) -> int:
    return int(position.rpartition(":")[2])


def deafen(connection: socket.socket) -> None:
    """Have the kernel drop whatever arrives for it, unacknowledged: it has vanished.

    By a filter (bpf(4)) that accepts nothing; unlike a firewall's it needs no privileges.
    """
    accept_nothing = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(accept_nothing))
    connection.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
