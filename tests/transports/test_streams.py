"""What ``/events`` and ``/stream`` do beside what every transport does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from notifier.node import wall_clock_ms
from tests.handlers.serving import request
from tests.rawsocket import Service, serving, until
from tests.transports.clients import Asked, Ended, Events, Lines, Message, Poll, Refused

# Forty of these fit into a resume token.
LONG = "x" * 80


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as service:
        yield service


async def poll(service: Service, names: list[str], since: str | None = None) -> list[Message]:
    """All lines of the answer, which must be whole."""
    client = await Poll.connect(service.port, Asked(names, since))
    service.clients.append(client)
    lines = []
    try:
        while True:
            lines.append(await client.message())
    except Ended as ended:
        assert ended.orderly
    return lines


def texts(lines: list[Message]) -> list[str]:
    return [line["message"] for line in lines if line["type"] == "notification"]


# --- /events ---


async def test_what_the_client_comes_back_with_wins_over_the_url(service: Service) -> None:
    for number in range(5):
        await service.publish("a", str(number))
    head = service.broker.ledgers["a"].head
    assert head is not None
    asked = Asked(["a"], f"{head.epoch}:3", query=[("since", "all")])
    client = await Events.connect(service.port, asked)
    service.clients.append(client)
    message = await client.real_message()
    assert (message["type"], message["position"]) == ("subscribed", f"{head.epoch}:3")
    assert (await client.real_message())["message"] == "3"


async def test_an_empty_last_event_id_says_nothing(service: Service) -> None:
    await service.publish("a", "old")
    client = await Events.connect(service.port, Asked(["a"], "", query=[("since", "all")]))
    service.clients.append(client)
    assert (await client.real_message())["position"].endswith(":0")
    assert (await client.real_message())["message"] == "old"


async def test_no_place_is_told_before_all_have_been_joined(service: Service) -> None:
    for channel in ("p:a", "p:b", "p:c"):
        await service.publish(channel, channel)
    client = await Events.connect(service.port, Asked(["p:*", "q"], "all"))
    service.clients.append(client)
    joined = [await client.real_message() for _ in range(5)]
    assert [message["event_id"] for message in joined] == [""] * 5
    assert [message["type"] for message in joined] == ["subscribed"] * 5
    first = await client.real_message()
    assert all(f"{name}=" in first["event_id"] for name in ("p:a", "p:b", "p:c", "q"))
    # A newborn channel has its place at once.
    await service.publish("p:new", "new")
    while (message := await client.real_message())["type"] == "notification":
        pass
    assert (message["type"], message["channel"]) == ("subscribed", "p:new")
    assert "p:new=" in message["event_id"]


@pytest.mark.parametrize("when", ["at first", "when one is born"])
async def test_more_channels_than_a_token_holds_end_the_stream(service: Service, when: str) -> None:
    there = 50 if when == "at first" else 35
    for number in range(there):
        await service.publish(f"p:{LONG}{number}", "x")
    client = await Events.connect(service.port, Asked(["p:*"]))
    service.clients.append(client)
    if when == "when one is born":
        for _ in range(there + 1):
            assert (await client.real_message())["type"] == "subscribed"
        for number in range(there, 50):
            await service.publish(f"p:{LONG}{number}", "x")
    while (message := await client.real_message())["type"] in ("subscribed", "notification"):
        pass
    assert (message["type"], message["code"]) == ("error", 43101)
    with pytest.raises(Ended) as ended:
        await client.real_message()
    assert ended.value.orderly
    assert client.parser.retry is not None and client.parser.retry > 3_600_000, "not soon"


async def test_who_is_no_eventsource_gets_the_status() -> None:
    async with serving(max_connections=1) as service:
        service.clients.append(await Lines.connect(service.port, Asked(["a"])))
        await until(lambda: service.node.connections)
        answer = await request(service.port, "GET", "/events?channel=a")
        assert (answer.status, answer.code) == (503, 50304)


# --- /stream ---


@pytest.mark.parametrize("names", [["a"], ["a", "b", "q:*"]])
async def test_a_keepalive_tells_where_to_go_on(names: list[str]) -> None:
    async with serving(ping_interval=0.1) as service:
        client = await Lines.connect(service.port, Asked(names))
        service.clients.append(client)
        channels = [name.replace("*", "new") for name in names]
        for _ in names:
            await client.real_message()
        for channel in channels:
            await service.publish(channel, channel)
        came = set()
        while came < set(channels):
            came.add((await client.real_message()).get("message"))
        while (alive := await client.message())["type"] != "alive":
            pass
        client.close()

        for channel in channels:
            await service.publish(channel, "next")
        client = await Lines.connect(service.port, Asked(names, alive["since"]))
        service.clients.append(client)
        came = set()
        while len(came) < len(channels):
            message = await client.real_message()
            if message["type"] == "notification":
                assert message["message"] == "next"
                came.add(message["channel"])
            assert "gap" not in message
        assert came == set(channels)


async def test_a_place_that_could_not_be_sent_back_is_not_told() -> None:
    async with serving(ping_interval=0.1) as service:
        names = [f"{LONG}{number}" for number in range(60)]
        for name in names:
            await service.publish(name, "x")
        client = await Lines.connect(service.port, Asked(names))
        service.clients.append(client)
        while (message := await client.message())["type"] != "alive":
            pass
        assert message["since"] is None
        assert (await poll(service, ["x*"]))[-1] == {"type": "end", "since": None}


# --- polling ---


async def test_each_poll_goes_on_where_the_last_one_ended(service: Service) -> None:
    since = None
    for count in (3, 0, 2):
        for number in range(count):
            await service.publish("a", str(number))
        lines = await poll(service, ["a"], since)
        assert texts(lines) == [str(number) for number in range(count)]
        since = lines[-1]["since"]


async def test_a_channel_born_during_a_poll_belongs_to_the_next(service: Service) -> None:
    await service.publish("p:a", "old")
    late_ms = 0
    service.node.now_ms = lambda: wall_clock_ms() + late_ms

    async def born(channel: str) -> None:
        nonlocal late_ms
        service.broker.on_read = None
        await service.publish("p:new", "meanwhile")
        late_ms = 60_000  # its reader is slow

    service.broker.on_read = born
    lines = await poll(service, ["p:*"])
    assert texts(lines) == ["old"]
    assert texts(await poll(service, ["p:*"], lines[-1]["since"])) == ["meanwhile"]


async def test_a_poll_that_breaks_off_does_not_look_whole(service: Service) -> None:
    for channel in ("a", "b"):
        await service.publish(channel, channel)

    async def fail(channel: str) -> None:
        service.broker.down = channel == "b"

    service.broker.on_read = fail
    lines = await poll(service, ["a", "b"])
    assert texts(lines) == ["a"]
    assert (lines[-1]["type"], lines[-1]["code"]) == ("error", 50301)


async def test_a_poll_that_cannot_begin_has_its_status(service: Service) -> None:
    service.broker.down = True
    with pytest.raises(Refused) as refused:
        await poll(service, ["a"])
    assert refused.value.code == 50301
    assert refused.value.answer is not None and refused.value.answer.status == 503
