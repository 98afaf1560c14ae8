"""Publishing and reading back, through a network that fails."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import tornado.web

import notifier.client
from notifier.client import (
    BadAnswer,
    Client,
    Member,
    Node,
    NotifierError,
    Unreachable,
)
from notifier.client.failures import refusal, retry_after
from notifier.errors import (
    BadChannel,
    BadField,
    IdempotencyConflict,
    NodesSilent,
    NoSuchChannel,
    UnknownField,
)
from notifier.server import Server
from tests.client.test_subscription import another_server
from tests.faults import FaultProxy
from tests.handlers.serving import serving


async def stored(server: Server, channel: str = "alerts") -> list[str | None]:
    async with notifier.client.connect(f"http://127.0.0.1:{server.port}") as client:
        found: list[str | None] = []
        since: str | None = "all"
        while since is not None:
            page = await client.history(channel, since=since, limit=1000)
            found += [n.message for n in page.publications]
            since = page.next
        return found


async def test_receipt_tells_where_it_went(client: Client) -> None:
    first = await client.publish("alerts", "m", id="i1")
    again = await client.publish("alerts", "m", id="i1")
    assert (first.id, first.channel, first.subscribers) == ("i1", "alerts", 0)
    assert first.position is not None and first.position.endswith(":1")
    assert (first.repeated, again.repeated) == (False, True)
    assert again.position == first.position


async def test_lost_answer_is_asked_for_again_and_stored_once(
    client: Client, server: Server, proxy: FaultProxy
) -> None:
    proxy.allowances = iter([0, 20, 40])
    receipt = await client.publish("alerts", "once")
    assert receipt.repeated
    assert proxy.accepted == 4
    assert await stored(server) == ["once"]


async def test_retries_are_bounded(client: Client, proxy: FaultProxy) -> None:
    proxy.refuse()
    with pytest.raises(Unreachable, match="cannot reach"):
        await client.publish("alerts", "m")
    assert proxy.accepted == 5


async def test_who_publishes_too_fast_waits_as_long_as_the_server_says() -> None:
    async with (
        serving(max_publishes_per_second=10) as server,
        notifier.client.connect(f"http://127.0.0.1:{server.port}") as client,
    ):
        texts = [str(number) for number in range(26)]
        receipts = await asyncio.gather(*(client.publish("alerts", text) for text in texts))
        assert server.node.counts.errors[42906] > 0
        assert not any(receipt.repeated for receipt in receipts)
        assert sorted(await stored(server)) == sorted(texts)


def test_the_wait_is_what_the_error_tells_in_milliseconds() -> None:
    """The header has it in whole seconds."""
    told = {"code": 42906, "retry_after": 1.0}
    assert retry_after(refusal({**told, "retry_after_ms": 40})) == 0.04
    for nonsense in ("soon", -5, float("inf"), float("nan"), None, []):
        assert retry_after(refusal({**told, "retry_after_ms": nonsense})) == 1.0
    assert retry_after(refusal({"code": 42906, "retry_after_ms": 10**400})) < 2**31


async def test_silence_is_no_answer(proxy: FaultProxy) -> None:
    proxy.stall()
    async with notifier.client.connect(proxy.url, timeout=0.3, retries=0) as client:
        with pytest.raises(Unreachable, match="Timeout"):
            await client.publish("alerts", "m")


async def test_temporary_refusal_is_tried_again() -> None:
    times = 0

    class Full(tornado.web.RequestHandler):
        def post(self) -> None:
            nonlocal times
            times += 1
            if times < 3:
                self.set_status(503)
                self.set_header("Retry-After", "0")
                self.finish({"error": {"code": 50301, "message": "away", "temporary": True}})
            else:
                self.finish({"id": "i", "channel": "a", "position": None, "subscribers": 0})

    async with another_server(Full) as client:
        receipt = await client.publish("a", "m")
    assert (times, receipt.position) == (3, None)


@pytest.mark.parametrize(
    ("channel", "fields", "refusal"),
    [
        ("a b", {"message": "m"}, BadChannel),
        ("a", {"message": "m", "priority": 9}, BadField),
        ("a", {"message": "m", "mesage": "m"}, UnknownField),
        ("a", {}, BadField),
    ],
)
async def test_refusal_is_raised_at_once_as_what_it_is(
    client: Client, proxy: FaultProxy, channel: str, fields: Any, refusal: type[NotifierError]
) -> None:
    with pytest.raises(refusal) as caught:
        await client.publish(channel, **fields)
    assert caught.value.field
    assert proxy.accepted == 1


async def test_conflict_is_raised(client: Client) -> None:
    await client.publish("alerts", "one", id="i")
    with pytest.raises(IdempotencyConflict):
        await client.publish("alerts", "two", id="i")


def test_unknown_refusal_of_a_newer_server_behaves_like_the_others() -> None:
    error = refusal({"code": 42999, "message": "slow down", "temporary": True, "limit": 3})
    assert (error.code, error.status, error.temporary, error.limit) == (42999, 429, True, 3)
    assert str(error) == "slow down"
    assert type(refusal({"code": 40402, "message": "m"})) is NoSuchChannel


@pytest.mark.parametrize(
    ("status", "temporary"), [(200, False), (302, False), (404, False), (502, True), (504, True)]
)
async def test_answer_of_something_in_front_is_no_answer(status: int, temporary: bool) -> None:
    class Front(tornado.web.RequestHandler):
        def post(self) -> None:
            self.set_status(status)
            self.finish("<h1>Front</h1>")

    async with another_server(Front) as client:
        with pytest.raises(BadAnswer, match="<h1>Front</h1>") as caught:
            await client.publish("alerts", "m")
    assert (caught.value.status, caught.value.temporary) == (status, temporary)


async def test_answer_of_another_shape_is_no_answer() -> None:
    class Another(tornado.web.RequestHandler):
        def post(self) -> None:
            self.finish({"ok": True})

    async with another_server(Another) as client:
        with pytest.raises(BadAnswer, match="can't be read"):
            await client.publish("alerts", "m")


@pytest.mark.parametrize(
    "url", ["localhost:8888", "ftp://h", "http://", "http://h:port", "http://h/?a=1", ""]
)
def test_what_is_no_url_is_a_mistake(url: str) -> None:
    with pytest.raises(ValueError, match="is not a URL such as"):
        notifier.client.connect(url)


# --- reading ---


async def test_history_is_read_in_pages(client: Client) -> None:
    for number in range(5):
        await client.publish("alerts", str(number), key="even" if number % 2 == 0 else "odd")
    page = await client.history("alerts", limit=3)
    assert [n.message for n in page.publications] == ["0", "1", "2"]
    assert (page.channel, page.recovered, page.gap) == ("alerts", True, None)
    page = await client.history("alerts", since=page.next)
    assert ([n.message for n in page.publications], page.next) == (["3", "4"], None)
    newest = await client.history("alerts", order="newest", limit=2)
    assert [n.message for n in newest.publications] == ["4", "3"]
    older = await client.history("alerts", order="newest", before=newest.next)
    assert [n.message for n in older.publications] == ["2", "1", "0"]
    odd = await client.history("alerts", key="odd")
    assert [n.message for n in odd.publications] == ["1", "3"]


async def test_history_tells_its_gap(client: Client) -> None:
    for number in range(9):
        receipt = await client.publish("short:a", str(number))
    assert receipt.position is not None
    page = await client.history("short:a", since=receipt.position.replace(":9", ":1"))
    assert page.recovered is False
    assert page.gap is not None and page.gap.before.endswith(":5")


async def test_unknown_channel_has_no_history(client: Client) -> None:
    with pytest.raises(NoSuchChannel):
        await client.history("nobody")


async def test_channels_are_listed_all_pages_of_them(client: Client) -> None:
    names = [f"c:{number:04}" for number in range(1100)]
    await asyncio.gather(*(client.publish(name, "m") for name in names))
    await client.publish("d", "m")
    assert [channel.name for channel in await client.channels()] == [*names, "d"]
    (found,) = await client.channels("d*")
    assert (found.publications, found.subscribers) == (1, 0)
    assert found.size > 0 and found.time is not None


async def test_presence_tells_who_is_there() -> None:
    async with (
        serving(namespaces={"chat": {"presence": True}}) as server,
        notifier.client.connect(f"http://127.0.0.1:{server.port}") as client,
        client.subscribe("chat:a", since="all") as subscription,
    ):
        await client.publish("chat:a", "m")
        await anext(subscription)
        presence = await client.presence("chat:a")
        assert (presence.channel, presence.count) == ("chat:a", 1)
        assert presence.members is not None
        (member,) = presence.members
        assert isinstance(member, Member) and member.transport == "websocket"
        (node,) = await client.nodes()
        assert isinstance(node, Node) and node.id == member.node == server.node.id
        assert (node.port, node.subscriptions, node.reason) == (server.port, 1, None)
        assert member.since.utcoffset() is not None
        await client.publish("alerts", "m")
        hidden = await client.presence("alerts")
        assert (hidden.count, hidden.members) == (0, None)


@pytest.mark.parametrize("deed", ["disconnect_all", "revoke", "revoke_all"])
async def test_what_some_nodes_have_done_is_not_told_to_be_nothing(deed: str) -> None:
    """Those who answered have ended theirs, and would count none the next time."""
    asked: list[str] = []

    class Silent(tornado.web.RequestHandler):
        def prepare(self) -> None:
            assert self.request.method is not None
            asked.append(self.request.method)
            if len(asked) == 1:
                self.set_status(503)
                error = {"code": 50305, "message": "1 did not answer", "temporary": True}
                self.finish({"error": error})
            else:
                self.finish({"ended": 0})

    async with another_server(Silent) as client:
        deeds = {
            "disconnect_all": partial(client.disconnect_all, user="42"),
            "revoke": partial(client.revoke, "t1", until=datetime(2100, 1, 1, tzinfo=UTC)),
            "revoke_all": partial(client.revoke_all, user="42"),
        }
        with pytest.raises(NodesSilent, match="1 did not answer"):
            await deeds[deed]()
        assert len(asked) == 1
        asked.clear()
        assert await client.disconnect("c1") is None, "that one can be told of twice"
        assert len(asked) == 2
