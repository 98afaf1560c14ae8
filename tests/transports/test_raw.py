"""What ``/raw`` does beside what every transport does: it publishes, and has limits."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from notifier.wire.raw import WithoutEcho
from tests.frames import BINARY, TEXT, client_frame
from tests.rawsocket import Service, serving, until
from tests.transports.clients import Asked, Client, Ended, Lines, Message, Raw, RawWithoutEcho

LIMIT = 1000


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving(max_message_bytes=LIMIT) as service:
        yield service


async def listen(
    service: Service, client: type[Client] = Raw, name: str = "a", **more: Any
) -> Client:
    """A client that has joined."""
    known = set(service.node.connections)
    listener = await client.connect(service.port, Asked([name]), **more)
    service.clients.append(listener)
    await until(lambda: service.node.connections.keys() - known)
    (sink,) = service.node.connections.keys() - known
    await until(lambda: sink in service.node._hub._followed or "*" in name)
    await until(
        lambda: all(one.standing.name == "LIVE" for one in service.node._hub.of(sink).values())
    )
    return listener


async def stored(service: Service) -> Message:
    """The newest publication, as the others see it."""
    publication = service.broker.ledgers["a"].publications[-1]
    fields: Message = json.loads(b"{" + publication.body + b"}")
    return fields


# --- publishing ---


async def test_a_text_is_published_as_message_and_bytes_as_bytes(service: Service) -> None:
    client = await listen(service)
    for text in ("hello", "", "two\nlines é"):
        await client.send(client_frame(text.encode(), TEXT))
        assert (await client.real_message())["message"] == text
        assert await stored(service) == {"message": text}
    for payload in (b"", b"\0\xff", b'{"message": "no JSON"}'):
        await client.send(client_frame(payload, BINARY))
        assert (await client.real_message())["bytes"] == payload
        assert await stored(service) == {
            "content_type": "application/octet-stream",
            "data_base64": base64.b64encode(payload).decode(),
        }


async def test_without_echo_all_but_the_sender_get_it(service: Service) -> None:
    sender = await listen(service, RawWithoutEcho)
    others = [await listen(service), await listen(service, RawWithoutEcho)]
    for number in range(20):
        await sender.send(client_frame(b"from the sender %d" % number))
        for other in others:
            assert (await other.real_message())["message"] == f"from the sender {number}"
    await others[1].send(client_frame(b"from another"))
    assert (await sender.real_message())["message"] == "from another"
    # Nothing is kept of what it has sent.
    tailors = [sink.tailor for sink in service.node.connections]
    assert [tailor._own for tailor in tailors if isinstance(tailor, WithoutEcho)] == [set(), set()]


async def test_without_echo_a_slow_sender_gets_the_others_in_order() -> None:
    async with serving(send_buffer=1, feed_size=4, history_size=10_000) as service:
        sender = await listen(service, RawWithoutEcho, receive_buffer=2048)
        for number in range(100):
            await service.publish("a", f"{number} " + "x" * 1000)
            await sender.send(client_frame(b"own"))
        came = []
        while len(came) < 100:
            came.append((await sender.real_message())["message"].split(" ")[0])
        assert came == [str(number) for number in range(100)]


async def test_a_pattern_cannot_be_sent_to(service: Service) -> None:
    client = await listen(service, name="p:*")
    await client.send(client_frame(b"to whom?"))
    with pytest.raises(Ended) as ended:
        await client.real_message()
    assert ended.value.code == 4500


async def test_what_cannot_be_stored_closes_with_its_code() -> None:
    async with serving(max_channels=1) as service:
        await service.publish("b", "x")
        client = await Raw.connect(service.port, Asked(["a"]))
        service.clients.append(client)
        await client.send(client_frame(b"x"))
        with pytest.raises(Ended) as ended:
            await client.real_message()
        assert ended.value.code == 4013, "there may be room later"


async def test_what_one_publishes_all_transports_get(service: Service) -> None:
    lines = await listen(service, Lines)
    await lines.real_message()
    client = await listen(service)
    await client.send(client_frame(b"hi"))
    message = await lines.real_message()
    assert (message["type"], message["message"], message["offset"]) == ("notification", "hi", 1)


# --- limits ---


def fragments(payload: bytes, sizes: list[int]) -> bytes:
    """The message cut into frames of these sizes; the rest in the last."""
    data, opcode, start = b"", TEXT, 0
    for size in sizes:
        data += client_frame(payload[start : start + size], opcode, fin=False)
        opcode, start = 0, start + size
    return data + client_frame(payload[start:], opcode)


@pytest.mark.parametrize("seed", range(5))
async def test_fragments_up_to_the_limit_are_one_message(service: Service, seed: int) -> None:
    rng = random.Random(seed)
    client = await listen(service)
    payload = ("é" * (LIMIT // 2)).encode()
    sizes = [rng.choice([0, 1, 1, 3, 50]) for _ in range(40)]
    pieces = fragments(payload, sizes)
    # A control frame may come between them (RFC 6455 §5.4).
    while pieces:
        cut = rng.randrange(1, 200)
        await client.send(pieces[:cut])
        pieces = pieces[cut:]
    assert (await client.real_message())["message"] == payload.decode()


async def test_one_byte_over_the_limit_is_too_big_however_it_is_cut(service: Service) -> None:
    payload = b"x" * (LIMIT + 1)
    for sizes in ([], [LIMIT], [1] * LIMIT, [0] * 50, [500, 500]):
        client = await listen(service)
        await client.send(fragments(payload, sizes))
        with pytest.raises(Ended) as ended:
            await client.real_message()
        assert ended.value.code == 1009
    assert not service.broker.ledgers["a"].publications


async def test_a_length_that_is_only_claimed_is_refused_before_it_is_sent(
    service: Service,
) -> None:
    for size in (LIMIT + 1000, 2**32, 2**62):
        client = await listen(service)
        await client.send(client_frame(b"x", size=size))
        with pytest.raises(Ended) as ended:
            await client.real_message()
        assert ended.value.code == 1009


@pytest.mark.parametrize("seed", range(4))
async def test_no_nonsense_of_one_disturbs_the_others(service: Service, seed: int) -> None:
    rng = random.Random(seed)
    other = await listen(service, name="b")
    for _ in range(25):
        client = await listen(service)
        nonsense = rng.choice(
            [
                rng.randbytes(rng.randrange(1, 3000)),
                client_frame(rng.randbytes(20), rng.randrange(16), fin=rng.random() < 0.5),
                client_frame(b"x", reserved=rng.randrange(1, 8)),
                client_frame(b"x", masked=False),
                client_frame(b"\xff", TEXT),
                client_frame(b"x", 0),
            ]
        )
        await client.send(nonsense)
        client.half_close()
        with pytest.raises(Ended):
            while True:
                await client.real_message()
        client.close()
    await service.publish("b", "still here")
    assert (await other.real_message())["message"] == "still here"
    await until(lambda: len(service.node.connections) == 1)
