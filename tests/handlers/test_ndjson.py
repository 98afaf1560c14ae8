"""``/notify`` with a notification a line: bodies of any length, published as they come in."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import signal
import socket
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from handlers.ndjson import MAX_FAILURES, WINDOW_LINES
from notifier.brokers.base import Idempotency, Receipt
from notifier.errors import BrokerUnavailable
from notifier.notification import Draft
from notifier.server import Server
from tests.handlers.serving import (
    PATIENCE,
    Answer,
    RawSocket,
    Wire,
    head,
    raw_socket,
    refused,
    request,
    serving,
    stored_in,
    until,
    wire_to,
)
from tests.processes import server_process

NDJSON = {"Content-Type": "application/x-ndjson"}
CHUNKED = {**NDJSON, "Transfer-Encoding": "chunked"}
END = b"0\r\n\r\n"

Publish = Callable[[Draft, Idempotency | None], Awaitable[Receipt]]


def lines(values: Iterable[object]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def messages(texts: Iterable[object]) -> bytes:
    return lines({"message": str(text)} for text in texts)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


async def post(
    server: Server, body: bytes, path: str = "/notify/a", *, method: str = "POST", **headers: str
) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await request(server.port, method, path, body=body, headers={**NDJSON, **named})


async def texts_in(server: Server, channel: str) -> list[str]:
    return [publication["message"] for publication in await stored_in(server.port, channel)]


async def stored(server: Server, count: int) -> None:
    """Wait until the channel ``a`` has so many."""
    logs = server.node.broker._logs  # type: ignore[attr-defined]
    await until(lambda: (log := logs.get("a")) is not None and log.head >= count)


@asynccontextmanager
async def sending(port: int, path: str = "/notify/a", **headers: str) -> AsyncIterator[Wire]:
    """A body that has begun and goes on for as long as the test likes."""
    async with wire_to(port) as wire:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        await wire.send(head("POST", path, {**CHUNKED, **named}))
        yield wire


# --- lines and what becomes of them ---


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-ndjson",
        "application/x-ndjson; charset=utf-8",
        "application/jsonl",
        "application/ndjson",
        "Application/X-NDJSON",
    ],
)
async def test_every_line_is_stored_in_order(server: Server, kind: str) -> None:
    answer = await post(server, messages(range(300)), Content_Type=kind)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json == {"stored": 300, "repeated": 0, "failed": 0, "failures": []}
    assert await texts_in(server, "a") == [str(number) for number in range(300)][-256:][:100]


async def test_a_line_names_its_channel_or_channels(server: Server) -> None:
    body = lines(
        [
            {"channel": "a", "message": "1"},
            {"channels": ["a", "b"], "message": "2"},
            {"channel": "b", "message": "3"},
            {"message": "nowhere"},
        ]
    )
    answer = await post(server, body, "/notify")
    assert answer.status == 207
    assert (answer.json["stored"], answer.json["failed"]) == (3, 1)
    (failure,) = answer.json["failures"]
    assert (failure["line"], failure["error"]["code"]) == (4, 40004)
    assert await texts_in(server, "a") == ["1", "2"]
    assert await texts_in(server, "b") == ["2", "3"]


async def test_put_publishes_to_the_channel_in_the_url(server: Server) -> None:
    body = lines([{"message": "1"}, {"message": "2", "channel": "b"}])
    answer = await post(server, body, method="PUT")
    assert [failure["error"]["code"] for failure in answer.json["failures"]] == [40004]
    assert await texts_in(server, "a") == ["1"]


async def test_what_is_wrong_with_a_line_is_told_and_the_others_are_stored() -> None:
    body = (
        b'\xef\xbb\xbf{"message": "first"}\r\n'
        b"\n"
        b'{"message": tru}\n'
        b'  {"message": "\xff"}\n'
        b"\t\r\n"
        b"[1]\n"
        b'{"mesage": "x"}\n' + b'{"message": "' + b"x" * 3000 + b'"}\n'
        b'{"message": "ok"}{}\n'
        b'{"message": "last"}'
    )
    async with serving(max_body_bytes=1000) as server:
        answer = await post(server, body)
        assert answer.status == 207
        assert (answer.json["stored"], answer.json["failed"]) == (2, 6)
        told = {failure["line"]: failure["error"] for failure in answer.json["failures"]}
        assert {line: error["code"] for line, error in told.items()} == {
            3: 40001,
            4: 40001,
            6: 40007,
            7: 40002,
            8: 41301,
            9: 40001,
        }
        assert [told[n]["line"] for n in (3, 4, 9)] == [3, 4, 9]
        assert [told[n]["column"] for n in (3, 4, 9)] == [16, 16, 18]
        assert "line 3, column 16" in told[3]["message"]
        assert told[7]["nearest"] == "message"
        assert told[8]["limit"] == 1000
        assert await texts_in(server, "a") == ["first", "last"]


@pytest.mark.parametrize("body", [b"", b"\n\r\n  \n", b"\xef\xbb\xbf"])
async def test_nothing_is_nothing_wrong(server: Server, body: bytes) -> None:
    answer = await post(server, body)
    assert answer.status == 200
    assert answer.json == {"stored": 0, "repeated": 0, "failed": 0, "failures": []}


async def test_where_every_line_fails_it_is_207_as_for_an_array(server: Server) -> None:
    answer = await post(server, b"x\n" * (MAX_FAILURES + 50))
    assert answer.status == 207
    assert (answer.json["stored"], answer.json["failed"]) == (0, MAX_FAILURES + 50)
    failures = [failure["line"] for failure in answer.json["failures"]]
    assert failures == list(range(1, MAX_FAILURES + 1))
    assert answer.json["more_failures"] == 50


async def test_what_was_stored_in_part_is_told_channel_by_channel() -> None:
    async with serving(max_channels=1) as server:
        answer = await post(server, b'{"channels": ["a", "b"], "message": "x"}', "/notify")
    assert (answer.status, answer.json["failed"]) == (503, 1)
    assert answer.headers["retry-after"] == "1", "there may be room later"
    (failure,) = answer.json["failures"]
    stored, missing = failure["channels"]
    assert (failure["line"], stored["channel"], missing["error"]["code"]) == (1, "a", 50303)
    assert failure["error"] == missing["error"]


async def test_fields_beside_the_body_are_for_all_lines(server: Server) -> None:
    body = lines([{"message": "1"}, {"message": "2", "title": "own"}])
    answer = await post(server, body, "/notify?channel=a&priority=4", Title="all", Id="no")
    assert answer.json["stored"] == 2
    stored = await stored_in(server.port, "a")
    assert [(p["title"], p["priority"]) for p in stored] == [("all", 4), ("own", 4)]
    assert "no" not in [p["id"] for p in stored]


async def test_a_body_over_the_limit_is_no_more_than_its_lines() -> None:
    async with serving(max_body_bytes=100) as server:
        answer = await post(server, messages(range(1000)))
        assert answer.json["stored"] == 1000
        async with sending(server.port) as wire:
            for number in range(1000):
                wire.give(chunk(messages([number])))
            await wire.send(END)
            assert (await wire.answer()).json["stored"] == 1000
            await wire.send(head("GET", "/health/live"))  # the connection is as good as new
            assert (await wire.answer()).status == 200


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/notify/a%20b", {}, 40004),
        ("/notify/a?answers=some", {}, 40006),
        ("/notify/a?answer=all", {}, 40002),
        ("/notify/a", {"Idempotency-Key": "a b"}, 40006),
        ("/notify/a", {"Content-Encoding": "br"}, 41501),
        ("/notify/a", {"Title": "=?utf-8?B?x?="}, 40006),
    ],
)
async def test_what_is_wrong_with_the_request_is_told_before_its_body_is_read(
    server: Server, path: str, headers: dict[str, str], code: int
) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", path, {**CHUNKED, **headers}))
        answer = await wire.answer()
        assert (answer.status, answer.code) == (code // 100, code)
    await asyncio.wait_for(server.node.requests.quiet.wait(), PATIENCE)


# --- repeating ---


async def test_a_body_may_be_sent_again_under_its_key(server: Server) -> None:
    body = messages("123")
    first = await post(server, body, Idempotency_Key="k")
    assert "idempotent-replayed" not in first.headers
    again = await post(server, body, Idempotency_Key="k")
    assert (again.status, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json == {"stored": 0, "repeated": 3, "failed": 0, "failures": []}
    more = await post(server, body + messages("4"), Idempotency_Key="k")
    assert (more.json["stored"], more.json["repeated"]) == (1, 3)
    assert await texts_in(server, "a") == list("1234")


async def test_a_line_has_the_key_of_an_arrays_item(server: Server) -> None:
    values = [{"message": "1"}, {"message": "2"}]
    await post(server, lines(values), Idempotency_Key="k")
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    body = json.dumps(values).encode()
    again = await request(server.port, "POST", "/notify/a", body=body, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"


async def test_an_id_is_a_lines_key(server: Server) -> None:
    body = lines([{"message": "1", "id": "x"}, {"message": "1", "id": "x"}, {"message": "2"}])
    answer = await post(server, body)
    assert (answer.json["stored"], answer.json["repeated"]) == (2, 1)
    conflict = await post(server, lines([{"message": "other", "id": "x"}]))
    assert conflict.json["failures"][0]["error"]["code"] == 40901


# --- a broker that answers later ---


class Late:
    """Publishes at once and answers later.

    :ivar under_way: publications without an answer; ``most``: ever.
    :ivar gate: while it is closed, there is no answer.
    """

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.under_way = self.most = self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        # Asked so often, it is away.
        self.away_after: int | None = None
        self._publish: Publish = server.node.broker.publish
        monkeypatch.setattr(server.node.broker, "publish", self.publish)

    async def publish(self, draft: Draft, idempotency: Idempotency | None = None) -> Receipt:
        self.asked += 1
        if self.away_after is not None and self.asked > self.away_after:
            await asyncio.sleep(0)
            raise BrokerUnavailable("The broker is away.")
        receipt = await self._publish(draft, idempotency)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.002)
        async with asyncio.timeout(PATIENCE):
            await self.gate.wait()
        self.under_way -= 1
        return receipt


async def test_a_window_of_publications_is_under_way_and_their_order_is_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Late(server, monkeypatch)
    answer = await post(server, messages(range(2000)))
    assert answer.json["stored"] == 2000
    assert 1 < broker.most <= WINDOW_LINES
    newest = (await request(server.port, "GET", "/channels/a/history?since=-100")).json
    assert [int(p["message"]) for p in newest["publications"]] == list(range(1900, 2000))


async def test_nothing_overtakes_a_line_for_several_channels(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    Late(server, monkeypatch)
    values = []
    for number in range(0, 30, 3):
        values += [
            {"channels": ["x", "y", "a"], "message": str(number)},
            {"channel": "a", "message": str(number + 1)},
            {"channel": "a", "message": str(number + 2)},
        ]
    answer = await post(server, lines(values), "/notify")
    assert answer.json["stored"] == 30
    assert await texts_in(server, "a") == [str(number) for number in range(30)]


async def test_while_the_broker_takes_its_time_the_client_is_held(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Late(server, monkeypatch)
    broker.gate.clear()
    body = messages([f"{number} {'x' * 4000}" for number in range(8_000)])
    _, writer = connection = await asyncio.open_connection("127.0.0.1", server.port)
    wire = Wire(*connection)
    wire.give(head("POST", "/notify/a", {**NDJSON, "Content-Length": str(len(body))}) + body)
    await until(lambda: broker.under_way > 0)
    await asyncio.sleep(0.2)
    assert writer.transport.get_write_buffer_size() > len(body) / 2
    assert broker.asked <= WINDOW_LINES
    async with raw_socket(server.port, "/ws?channel=b") as socket:  # everybody else is served
        assert (await socket.message())["type"] == "subscribed"
    broker.gate.set()
    monkeypatch.undo()
    assert (await wire.answer()).json["stored"] == 8_000
    wire.close()


async def test_while_subscribers_have_much_to_be_sent_nothing_is_published(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, crowded = Late(server, monkeypatch), {"a"}
    monkeypatch.setattr(server.node, "crowded", lambda channel, more: channel in crowded)
    body = lines({"channel": "a", "message": str(number)} for number in range(500))
    sent = asyncio.create_task(post(server, body, "/notify"))
    await until(lambda: broker.asked == WINDOW_LINES)
    await asyncio.sleep(0.05)
    assert (await post(server, messages("1"), "/notify/b")).json["stored"] == 1
    assert broker.asked == WINDOW_LINES + 1
    crowded.clear()
    assert (await sent).json["stored"] == 500


async def test_an_outage_ends_it_and_a_repeat_under_the_key_stores_the_rest_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Late(server, monkeypatch)
    broker.away_after = 300
    body = messages(range(5_000))
    answer = await post(server, body, Idempotency_Key="k")
    assert (answer.status, answer.code) == (503, 50301)
    assert answer.headers["retry-after"] == "1"
    summary = answer.json
    assert (summary["stored"], summary["error"]["temporary"]) == (300, True)
    assert summary["failed"] == broker.asked - 300 < WINDOW_LINES
    assert summary["stopped_at_line"] == broker.asked + 1
    assert {failure["error"]["code"] for failure in summary["failures"]} == {50301}
    assert [failure["line"] for failure in summary["failures"]][:2] == [301, 302]
    monkeypatch.undo()
    again = await post(server, body, Idempotency_Key="k")
    assert (again.json["stored"], again.json["repeated"]) == (4_700, 300)


async def test_who_still_sends_during_an_outage_is_told_at_once_and_read_to_the_end(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Late(server, monkeypatch)
    broker.away_after = 0
    async with sending(server.port) as wire:
        await wire.send(chunk(messages("1")))
        answer = await wire.answer()
        assert (answer.status, answer.code) == (503, 50301)
        assert answer.headers["connection"] == "close"
        # More than what a refused body is read away of: a client may read only at the end.
        piece = chunk(messages(["x" * 2**20]))
        assert await wire.flood(piece, 80) == 80
        await wire.send(END)
        assert await wire.ended() == b""
    assert broker.asked == 1


async def test_a_fault_of_ours_is_told_and_logged(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret is 1234")

    monkeypatch.setattr(server.node.broker, "publish", broken)
    answer = await post(server, messages("123"))
    assert (answer.status, answer.code, answer.json["stopped_at_line"]) == (500, 50001, 1)
    assert b"secret" not in answer.body
    assert caplog.text.count("request.failed") == 1


# --- compressed ---


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_body_is_unpacked_as_it_comes_in(
    server: Server, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    body = pack(messages(range(5000)))
    answer = await post(server, body, Content_Encoding=coding)
    assert answer.json["stored"] == 5000


async def test_a_line_is_stored_before_the_compressed_body_is_whole(server: Server) -> None:
    packing = zlib.compressobj(wbits=31)
    async with sending(server.port, Content_Encoding="gzip") as wire:
        for number in range(3):
            flushed = packing.compress(messages([number])) + packing.flush(zlib.Z_SYNC_FLUSH)
            await wire.send(chunk(flushed))
            await stored(server, number + 1)
        await wire.send(chunk(packing.flush()) + END)
        assert (await wire.answer()).json["stored"] == 3


WHOLE = gzip.compress(messages("12"), mtime=0)


@pytest.mark.parametrize("packed", [WHOLE[:-1], WHOLE + b"x", b"none"])
async def test_a_broken_compressed_body_is_told_with_what_was_stored(
    server: Server, packed: bytes
) -> None:
    answer = await post(server, packed, Content_Encoding="gzip")
    assert (answer.status, answer.code) == (400, 40007)
    stored = len(await texts_in(server, "a"))
    assert (answer.json["stored"], answer.json["stopped_at_line"]) == (stored, stored + 1)


@pytest.mark.alone
async def test_a_bomb_takes_neither_memory_nor_everybodys_turn(server: Server) -> None:
    bomb = gzip.compress(messages("1") + b"\n" * 30_000_000 + messages("2"))
    ticks = 0

    async def count() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    counting = asyncio.create_task(count())
    tracemalloc.start()
    try:
        answer = await post(server, bomb, Content_Encoding="gzip")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        counting.cancel()
    assert (answer.status, answer.code) == (400, 40007)
    assert (answer.json["stored"], answer.json["failed"]) == (1, 0)
    assert peak < 20_000_000
    assert ticks > 100


# --- time, and clients that go away ---


async def test_a_body_that_takes_longer_than_its_timeout_is_read_while_something_comes() -> None:
    async with serving(body_timeout=1.0) as server, sending(server.port) as wire:
        for number in range(10):
            await wire.send(chunk(messages([number])))
            await asyncio.sleep(0.2)
        await wire.send(END)
        assert (await wire.answer()).json["stored"] == 10


async def test_a_body_that_stalls_is_ended_and_what_was_stored_is_told() -> None:
    async with serving(body_timeout=0.4) as server, sending(server.port) as wire:
        await wire.send(chunk(messages("12") + b'{"message": "3'))
        answer = await wire.answer()
        assert (answer.status, answer.code) == (408, 40801)
        assert (answer.json["stored"], answer.json["stopped_at_line"]) == (2, 3)
        assert await wire.ended() == b""
        assert await texts_in(server, "a") == ["1", "2"]
        await asyncio.wait_for(server.node.requests.quiet.wait(), PATIENCE)


async def test_a_slow_broker_is_not_the_clients_stalling(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(body_timeout=1.0) as server, sending(server.port) as wire:
        broker = Late(server, monkeypatch)
        broker.gate.clear()
        await wire.send(chunk(messages("12")))
        await until(lambda: broker.under_way > 0)
        await asyncio.sleep(1.5)
        broker.gate.set()
        await wire.send(END)
        assert (await wire.answer()).json["stored"] == 2


async def test_of_a_client_that_goes_away_whole_lines_are_stored(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with sending(server.port) as wire:
        await wire.send(chunk(messages("12") + b'{"message": "3"}'))
        await stored(server, 2)
        wire.reset()
    await asyncio.wait_for(server.node.requests.quiet.wait(), PATIENCE)
    assert await texts_in(server, "a") == ["1", "2"]
    (record,) = [record for record in caplog.records if record.message == "body.broken_off"]
    fields = record.fields  # type: ignore[attr-defined]
    assert (fields["lines"], fields["stored"], fields["path"]) == (2, 2, "/notify/a")


async def test_a_client_that_goes_away_while_the_broker_works_leaves_nothing_behind(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Late(server, monkeypatch)
    broker.gate.clear()
    async with sending(server.port) as wire:
        await wire.send(chunk(messages("12")))
        await until(lambda: broker.under_way > 0)
        wire.reset()
    broker.gate.set()
    await asyncio.wait_for(server.node.requests.quiet.wait(), PATIENCE)
    assert await texts_in(server, "a") == ["1", "2"]


async def test_a_malformed_chunk_ends_it(server: Server) -> None:
    async with sending(server.port) as wire:
        await wire.send(chunk(messages("1")))
        await stored(server, 1)
        await wire.send(b"what?\r\n")
        await wire.ended()
    await asyncio.wait_for(server.node.requests.quiet.wait(), PATIENCE)
    assert await texts_in(server, "a") == ["1"]


# --- an answer to every line ---


async def next_chunk(wire: Wire) -> list[Any]:
    """The answers in the next chunk of an answer."""
    async with asyncio.timeout(PATIENCE):
        size = int(await wire.reader.readuntil(b"\r\n"), 16)
        data = await wire.reader.readexactly(size)
        await wire.reader.readexactly(2)
    return [json.loads(line) for line in data.splitlines()]


async def test_every_line_is_answered_as_it_goes(server: Server) -> None:
    async with sending(server.port, "/notify/a?answers=all") as wire:
        await wire.send(chunk(messages("1")))
        answer_head = await wire.reader.readuntil(b"\r\n\r\n")
        assert answer_head.startswith(b"HTTP/1.1 200 ")
        assert b"Content-Type: application/x-ndjson\r\n" in answer_head
        (first,) = await next_chunk(wire)
        assert first.keys() == {"line", "id", "channel", "position", "subscribers"}
        assert (first["line"], first["channel"]) == (1, "a")
        await wire.send(chunk(b"\n{\n" + messages("2")))
        third, fourth = await next_chunk(wire)
        assert (third["line"], third["error"]["code"]) == (3, 40001)
        assert fourth["line"] == 4
        await wire.send(END)
        assert await next_chunk(wire) == [{"stored": 2, "repeated": 0, "failed": 1}]
        assert await next_chunk(wire) == []
        await wire.send(head("GET", "/health/live"))
        assert (await wire.answer()).status == 200


async def test_answers_follow_the_order_of_the_lines(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    Late(server, monkeypatch)
    answer = await post(server, messages(range(1000)), "/notify/a?answers=all")
    *answers, summary = [json.loads(line) for line in answer.body.splitlines()]
    assert [one["line"] for one in answers] == list(range(1, 1001))
    assert summary["stored"] == 1000


async def test_an_empty_body_has_no_answers(server: Server) -> None:
    answer = await post(server, b"", "/notify?answers=all")
    assert answer.status == 200
    assert answer.json == {"stored": 0, "repeated": 0, "failed": 0}


async def test_the_end_before_the_end_is_a_line_as_well(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Late(server, monkeypatch)
    broker.away_after = 1
    async with sending(server.port, "/notify/a?answers=all") as wire:
        await wire.send(chunk(messages("1")))
        await wire.reader.readuntil(b"\r\n\r\n")
        assert (await next_chunk(wire))[0]["line"] == 1
        await wire.send(chunk(messages("2")))
        assert (await next_chunk(wire))[0]["error"]["code"] == 50301
        (last,) = await next_chunk(wire)
        assert (last["error"]["code"], last["stopped_at_line"]) == (50301, 3)
        assert (last["stored"], last["failed"]) == (1, 1)
        await wire.send(chunk(messages("3")) + END)
        assert await next_chunk(wire) == []
    assert broker.asked == 2


async def test_who_reads_only_when_all_is_sent_gets_there() -> None:
    """For longer than an answer may stay unread."""
    count = 60_000
    async with serving(stalled_seconds=0.5) as server:
        impatient = socket.socket()
        impatient.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        impatient.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(impatient, ("127.0.0.1", server.port))
        body = (b"x" * 500 + b"\n") * count
        late = [b"\n"] * 6 + [messages("1")]
        headers = {**NDJSON, "Content-Length": str(len(body) + sum(map(len, late)))}
        await loop.sock_sendall(impatient, head("POST", "/notify/a?answers=all", headers) + body)
        for line in late:
            await asyncio.sleep(0.5)
            await loop.sock_sendall(impatient, line)
        wire = Wire(*await asyncio.open_connection(sock=impatient))
        answer = await wire.answer()
        wire.close()
    *answers, summary = [json.loads(line) for line in answer.body.splitlines()]
    assert [one["line"] for one in answers] == list(range(1, len(answers) + 1))
    assert len(answers) == summary["answered_to_line"] < count
    assert (summary["stored"], summary["failed"]) == (1, count)
    assert summary["failures"][0]["line"] == len(answers) + 1
    assert summary["more_failures"] == count - len(answers) - MAX_FAILURES


async def test_who_goes_away_while_answers_wait_for_it_is_let_go(server: Server) -> None:
    async with sending(server.port, "/notify/a?answers=all") as wire:
        await wire.flood(chunk(b"x\n" * 30_000), 3)
        wire.reset()
    await asyncio.wait_for(server.node.requests.quiet.wait(), 10)


# --- HTTP ---


@pytest.mark.parametrize("query", ["", "?answers=all"])
@pytest.mark.parametrize("kept", ["", "Connection: keep-alive\r\n"])
async def test_http_1_0_is_spoken(server: Server, query: str, kept: str) -> None:
    body = messages("12")
    start = (
        f"POST /notify/a{query} HTTP/1.0\r\nHost: localhost\r\n{kept}"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    async with wire_to(server.port) as wire:
        await wire.send(start.encode() + body)
        if kept and not query:
            answer = await wire.answer()
            assert answer.json["stored"] == 2
            return
        answer_head, _, text = (await wire.ended()).partition(b"\r\n\r\n")
        assert b"chunked" not in answer_head
        assert json.loads(text.splitlines()[-1])["stored"] == 2


async def test_who_asks_before_sending_is_told_to_go_on(server: Server) -> None:
    body = messages("1")
    headers = {**NDJSON, "Content-Length": str(len(body)), "Expect": "100-continue"}
    async with wire_to(server.port) as wire:
        await wire.send(head("POST", "/notify/a", headers))
        assert (await wire.answer()).status == 100
        await wire.send(body)
        assert (await wire.answer()).json["stored"] == 1
        await wire.send(head("POST", "/notify/a?x=y", headers))
        assert (await wire.answer()).code == 40002


async def test_who_only_asks_for_the_methods_publishes_nothing(server: Server) -> None:
    answer = await post(server, messages("1"), method="OPTIONS")
    assert (answer.status, answer.body) == (204, b"")
    assert await stored_in(server.port, "a") == []


# --- a node that leaves ---


async def test_a_body_without_end_is_told_when_the_node_leaves() -> None:
    with server_process("--drain-seconds", "2") as server:
        async with (
            sending(server.port) as idle,
            sending(server.port, "/notify/b?answers=all") as busy,
        ):
            await idle.send(chunk(messages("12")))
            await busy.send(chunk(messages("1")))
            await busy.reader.readuntil(b"\r\n\r\n")
            assert (await next_chunk(busy))[0]["line"] == 1
            server.signal(signal.SIGTERM)
            await until(lambda: refused(server.port))
            told: list[Any] = []
            while not told or "error" not in told[-1]:
                await busy.send(chunk(messages("x")))
                told += await next_chunk(busy)
            assert told[-1]["error"]["code"] == 50302
            assert told[-1]["stopped_at_line"] == told[-2]["line"] + 1
            answer = await idle.answer()
            assert (answer.status, answer.code) == (503, 50302)
            assert (answer.json["stored"], answer.json["stopped_at_line"]) == (2, 3)
        assert await server.exit_code() == 0


async def test_a_short_body_under_way_is_read_to_its_end_before_the_node_leaves() -> None:
    with server_process("--drain-seconds", "10") as server:
        async with sending(server.port, Expect="100-continue") as wire:
            assert (await wire.answer()).status == 100
            await wire.send(chunk(messages("1")))
            server.signal(signal.SIGTERM)
            await until(lambda: refused(server.port))
            await wire.send(chunk(messages("2")) + END)
            answer = await wire.answer()
            assert (answer.status, answer.json["stored"]) == (200, 2)
        assert await server.exit_code() == 0


# --- a flood ---


async def test_a_flood_takes_no_memory() -> None:
    count, line = 200_000, b'{"message":"Disk full on db1, as it was before","priority":4}\n'
    piece = chunk(line * 1000)
    with server_process() as server:
        async with sending(server.port) as wire:
            for _ in range(50):  # until history, buffers and caches are what they will be
                await wire.send(piece)
            sizes = [server.memory()]
            for number in range(50, count // 1000):
                await wire.send(piece)
                if number % 10 == 0:
                    sizes.append(server.memory())
            await wire.send(END)
            async with asyncio.timeout(2 * PATIENCE):
                await wire.reader.readuntil(b"\r\n\r\n")
                assert b'"stored":%d,' % count in await wire.reader.readline()
        assert max(sizes) - sizes[0] < 8 * 2**20, sizes


async def everything(subscriber: RawSocket) -> bytes:
    """What is delivered up to the last of 300."""
    received = bytearray()
    while b'"message":"299 ' not in received[-5000:]:
        received += await subscriber.reader.read(2**20)
    return bytes(received)


async def test_a_flood_does_not_make_live_subscribers_fall_behind() -> None:
    """What they fell behind with would be a gap: history is shorter than the flood."""
    count, body = 300, messages([f"{number} {'x' * 2000}" for number in range(300)])
    arguments = ("--feed-bytes", "200000", "--history-size", "10")
    async with AsyncExitStack() as stack:
        server = stack.enter_context(server_process(*arguments))
        path = "/ws?channel=a"
        subscribers = [
            await stack.enter_async_context(raw_socket(server.port, path)) for _ in range(300)
        ]
        for subscriber in subscribers:
            assert (await subscriber.message())["type"] == "subscribed"
        # They read while it lasts: who does not may well fall behind.
        reading = [asyncio.create_task(everything(subscriber)) for subscriber in subscribers]
        answer = await request(server.port, "POST", "/notify/a", body=body, headers=NDJSON)
        assert answer.json["stored"] == count
        for received in await asyncio.gather(*reading):
            assert received.count(b'"type":"notification"') == count
