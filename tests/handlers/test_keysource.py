from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from handlers.keysource import CannotFetch, KeySource, fetcher
from notifier.auth.jwks import MAX_DOCUMENT_BYTES, Jwks
from notifier.auth.keyset import Keyset
from tests.auth.signing import jwk, jwks, private
from tests.handlers.serving import PATIENCE

OLD = jwks(jwk(private("RS256"), "RS256", kid="old"))
NEW = jwks(jwk(private("ES256"), "ES256", kid="new"))
BOTH = jwks(jwk(private("RS256"), "RS256", kid="old"), jwk(private("ES256"), "ES256", kid="new"))


@dataclass
class Issuer:
    """Answers fetches when told to, and has a clock."""

    now: float = 1000.0
    waiting: list[asyncio.Future[bytes]] = field(default_factory=list)
    fetches: int = 0

    def clock(self) -> float:
        return self.now

    async def fetch(self) -> bytes:
        self.fetches += 1
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.waiting.append(answer)
        return await answer

    async def answer(self, document: bytes | Exception) -> None:
        await asyncio.sleep(0)
        (future,) = self.waiting
        self.waiting.clear()
        if isinstance(document, bytes):
            future.set_result(document)
        else:
            future.set_exception(document)


def source_of(issuer: Issuer) -> KeySource:
    return KeySource(Jwks(max_age=600, retry=10, keep=86400), issuer.fetch, issuer.clock)


async def knowing(issuer: Issuer) -> KeySource:
    """A source that has the old key."""
    source = source_of(issuer)
    asked = asyncio.create_task(source.keys("old"))
    await asyncio.sleep(0)
    await issuer.answer(OLD)
    assert (await asked).knows("old")
    return source


async def test_thundering_herd_on_an_unknown_key_gives_one_fetch() -> None:
    issuer = Issuer()
    source = await knowing(issuer)
    issuer.now += 10
    herd = [asyncio.create_task(source.keys("new")) for _ in range(1000)]
    await asyncio.sleep(0)
    await issuer.answer(BOTH)
    answers: list[Keyset] = await asyncio.gather(*herd)
    assert all(keys.knows("new") for keys in answers)
    assert issuer.fetches == 2
    # And one that nobody knows is not asked for again so soon.
    for number in range(1000):
        assert not (await source.keys(f"x{number}")).knows(f"x{number}")
    assert issuer.fetches == 2


async def test_old_keys_are_used_while_new_ones_are_fetched_behind() -> None:
    issuer = Issuer()
    source = await knowing(issuer)
    issuer.now += 600
    assert (await source.keys("old")).knows("old")
    await issuer.answer(BOTH)
    assert (await source.keys("new")).knows("new")
    assert issuer.fetches == 2


@pytest.mark.parametrize("fault", [CannotFetch("it answered 500"), OSError("unforeseen"), b"junk"])
async def test_old_keys_are_kept_while_the_url_fails_and_it_is_told(
    fault: bytes | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = Issuer()
    source = await knowing(issuer)
    issuer.now += 600
    asked = asyncio.create_task(source.keys("new"))
    await asyncio.sleep(0)
    await issuer.answer(fault)
    keys = await asked
    assert keys.knows("old") and not keys.knows("new")
    assert "jwks.failed" in caplog.messages
    caplog.clear()
    issuer.now += 10
    with caplog.at_level("INFO"):
        asked = asyncio.create_task(source.keys("new"))
        await asyncio.sleep(0)
        await issuer.answer(BOTH)
        assert (await asked).knows("new")
    assert "jwks.recovered" in caplog.messages


@pytest.mark.parametrize("fault", [CannotFetch("it answered 500"), OSError("unforeseen"), b"junk"])
async def test_url_that_goes_on_failing_is_logged_when_what_is_wrong_changes(
    fault: bytes | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = Issuer()
    source = await knowing(issuer)
    issuer.now += 600
    told = []
    another = CannotFetch("it answered 502")
    for answer, pause in (
        (fault, 10),
        (fault, 10),
        (another, 10),
        (another, 86400),
        (another, 10),
        (BOTH, 10),
        (another, 10),
    ):
        issuer.now += pause
        caplog.clear()
        asked = asyncio.create_task(source.keys("unknown"))
        await asyncio.sleep(0)
        await issuer.answer(answer)
        await asked
        told.append("jwks.failed" in caplog.messages)
    assert issuer.fetches == 8
    assert told == [True, False, True, True, False, False, True], "the keys grew too old as well"


async def test_who_was_verified_before_has_old_keys_fetched_behind_as_well() -> None:
    issuer = Issuer()
    source = source_of(issuer)
    assert not source.current() and issuer.fetches == 0  # nobody has needed one yet
    source = await knowing(issuer)
    keys = source.current()
    issuer.now += 600
    assert source.current() is keys
    await issuer.answer(OLD)
    await asyncio.sleep(0)
    assert issuer.fetches == 2
    assert source.current() is keys  # the same document
    issuer.now += 600
    source.current()
    await issuer.answer(BOTH)
    await asyncio.sleep(0)
    assert source.current().knows("new")


async def test_url_is_looked_at_also_when_the_keys_have_grown_too_old_to_count() -> None:
    issuer = Issuer()
    source = await knowing(issuer)
    issuer.now += 86400
    for answer in (CannotFetch("it answered 500"), NEW):
        assert not source.current()
        await issuer.answer(answer)
        await asyncio.sleep(0)
        issuer.now += 10
    assert source.current().knows("new") and source.problem is None


async def test_who_stops_waiting_does_not_stop_it_for_the_others() -> None:
    issuer = Issuer()
    source = source_of(issuer)
    leaving, staying = (asyncio.create_task(source.keys("old")) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await issuer.answer(OLD)
    assert (await staying).knows("old")
    assert leaving.cancelled()


async def test_slow_fetch_is_waited_for_and_not_joined_by_another() -> None:
    issuer = Issuer()
    source = source_of(issuer)
    first = asyncio.create_task(source.keys("old"))
    await asyncio.sleep(0)
    issuer.now += 20
    second = asyncio.create_task(source.keys("old"))
    await asyncio.sleep(0)
    assert issuer.fetches == 1
    await issuer.answer(OLD)
    assert (await first).knows("old") and (await second).knows("old")


async def test_closing_gives_up_what_is_under_way() -> None:
    issuer = Issuer()
    source = source_of(issuer)
    asked = asyncio.create_task(source.keys("old"))
    await asyncio.sleep(0)
    await source.close()
    assert len(await asked) == 0
    await source.close()


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(
    answer: bytes | Callable[[], bytes], *, hang: bool = False
) -> AsyncIterator[str]:
    """A server that sends these bytes to whoever asks; the URL of its document."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer() if callable(answer) else answer)
        if hang:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/jwks.json"
    finally:
        over.set()
        server.close()


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def test_document_is_fetched() -> None:
    async with answering(http(OLD)) as url:
        assert await asyncio.wait_for(fetcher(url)(), PATIENCE) == OLD


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (http(b"", status="404 Not Found"), "404"),
        (http(b"", "Location: http://127.0.0.1:1/", status="302 Found"), "302"),
        (http(b"x" * (MAX_DOCUMENT_BYTES + 1)), "."),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         + b"10000\r\n" + b"x" * 0x10000 + b"\r\n" + (b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 9,
         "."),
        (b"not http\r\n\r\n", "."),
        (b"", "."),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 1_000_000, "."),
    ],
    ids=["404", "redirect", "long", "long chunks", "not http", "nothing", "endless header"],
)  # fmt: skip
async def test_answer_that_is_no_document_is_told(answer: bytes, problem: str) -> None:
    async with answering(answer) as url:
        with pytest.raises(CannotFetch, match=problem):
            await asyncio.wait_for(fetcher(url)(), PATIENCE)


async def test_packed_answer_is_not_inflated() -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    async with answering(http(bomb, "Content-Encoding: gzip")) as url:
        assert await asyncio.wait_for(fetcher(url)(), PATIENCE) == bomb


async def test_url_where_nobody_listens_is_told() -> None:
    async with answering(b"") as url:
        pass
    with pytest.raises(CannotFetch):
        await asyncio.wait_for(fetcher(url)(), PATIENCE)


async def test_server_that_says_nothing_is_given_up() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n", hang=True) as url:
        with pytest.raises(CannotFetch):
            await asyncio.wait_for(fetcher(url, timeout=0.2)(), PATIENCE)
