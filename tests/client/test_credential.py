"""Saying who one is, and staying who one is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import notifier.client
from notifier.auth.issuing import make_token, signing_secret
from notifier.auth.keyfile import KeyFile
from notifier.auth.keys import make_key
from notifier.auth.reach import Reach
from notifier.auth.scopes import Scope
from notifier.client import Change, Client, Unreachable
from notifier.client.address import Address
from notifier.client.credential import Credential, Token, expiry, renew_in
from notifier.client.requests import Requests
from notifier.errors import BadCredential, ExpiredCredential, Forbidden, Unauthenticated
from tests.auth.signing import SECRET
from tests.handlers.serving import serving

PATIENCE = 30.0


def token(seconds: float = 600, *, publish: bool = True) -> str:
    claims = {"sub": "42", "channels": ["alerts"], "publish": publish}
    return make_token({**claims, "exp": time.time() + seconds}, signing_secret(SECRET))


@dataclass
class Guarded:
    url: str
    key: str


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    file = KeyFile(tmp_path / "keys.toml")
    key, text = make_key(
        "app", scopes=set(Scope), channels=Reach.of(["alerts"]), created=time.time()
    )
    file.add(key)
    async with serving(keys_file=str(file.path), token_secret=SECRET) as server:
        yield Guarded(f"http://127.0.0.1:{server.port}", text)


def behind(url: str, source: Token, seconds: float) -> Client:
    """A client whose clock is behind, so that it renews nothing in time."""
    credential = Credential(source, clock=lambda: time.time() - seconds)
    return Client(
        Requests(
            Address.parse(url),
            credential=credential,
            headers={},
            timeout=PATIENCE,
            retries=4,
            max_delay=0.1,
            tls=None,
        )
    )


async def use(url: str, shown: Token | None) -> list[str | None]:
    """Publish, read back, follow."""
    async with notifier.client.connect(url, token=shown) as client:
        await client.publish("alerts", "m")
        page = await client.history("alerts", since="-1")
        async for n in client.subscribe("alerts", since="-1", on_gap=print):
            return [n.message, *(n.message for n in page.publications)]
    return []


@pytest.mark.parametrize("how", ["key", "token", "function"])
async def test_a_key_or_a_token_opens_what_it_was_granted(guarded: Guarded, how: str) -> None:
    async def fresh() -> str:
        return token()

    shown: dict[str, Token] = {"key": guarded.key, "token": token(), "function": fresh}
    assert await use(guarded.url, shown[how]) == ["m", "m"]


async def test_refusals_are_raised_with_their_numbers(guarded: Guarded) -> None:
    with pytest.raises(Unauthenticated) as nobody:
        await use(guarded.url, None)
    assert nobody.value.code == 40100
    with pytest.raises(BadCredential) as wrong:
        await use(guarded.url, guarded.key[:-1] + "x")
    assert wrong.value.code == 40101
    with pytest.raises(ExpiredCredential) as late:
        await use(guarded.url, token(-1))
    assert late.value.code == 40102
    with pytest.raises(Forbidden) as stranger:
        await use(guarded.url, token(publish=False))
    assert (stranger.value.code, stranger.value.scope) == (40302, "publish")


@pytest.mark.parametrize(
    ("shown", "error"),
    [(None, Unauthenticated), ("nk_wrong", BadCredential), (token(-1), ExpiredCredential)],
)
async def test_a_subscription_raises_what_it_is_refused_with(
    guarded: Guarded, shown: str | None, error: type[Exception]
) -> None:
    async with notifier.client.connect(guarded.url, token=shown) as client:
        with pytest.raises(error):
            async for _ in client.subscribe("alerts"):
                pass


async def follow(
    client: Client, publisher: Client, until: Callable[[], bool]
) -> tuple[list[int | None], list[Change]]:
    """Publish and follow until then; the offsets that came, and how the connection was."""
    changes: list[Change] = []
    offsets: list[int | None] = []
    async with asyncio.timeout(PATIENCE):
        await publisher.publish("alerts", "m")
        async for n in client.subscribe(
            "alerts", since="all", on_gap=pytest.fail, on_change=changes.append
        ):
            offsets.append(n.offset)
            if until():
                break
            await asyncio.sleep(0.02)
            await publisher.publish("alerts", "m")
    return offsets, changes


async def test_tokens_are_renewed_on_the_connection_there_is(guarded: Guarded) -> None:
    asked = 0

    async def fresh() -> str:
        nonlocal asked
        asked += 1
        return token(3)

    async with (
        notifier.client.connect(guarded.url, token=fresh) as client,
        notifier.client.connect(guarded.url, token=guarded.key) as publisher,
    ):
        begun = time.monotonic()
        offsets, changes = await follow(
            client, publisher, lambda: asked >= 4 and time.monotonic() > begun + 4
        )
    assert offsets == list(range(1, len(offsets) + 1))
    assert [change.state for change in changes] == ["open"]


async def test_a_fresh_token_that_came_too_fast_is_shown_again(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.toml")
    key, text = make_key(
        "app", scopes=set(Scope), channels=Reach.of(["alerts"]), created=time.time()
    )
    file.add(key)
    asked = 0
    limits = {"max_commands_per_second": 1, "keys_file": str(file.path), "token_secret": SECRET}

    async with serving(**limits) as server:

        async def fresh() -> str:
            nonlocal asked
            asked += 1
            for connection in server.node.connections.values():
                # As if much had been sent over it: there is room again in half a second.
                connection._full_at = server.node.clock() + 1.5  # type: ignore[attr-defined]
            return token(3 if asked == 1 else 60)

        url = f"http://127.0.0.1:{server.port}"
        async with (
            notifier.client.connect(url, token=fresh) as client,
            notifier.client.connect(url, token=text) as publisher,
        ):
            begun = time.monotonic()
            _, changes = await follow(client, publisher, lambda: time.monotonic() > begun + 4)
        assert server.node.counts.errors[42905] == 1
    assert [change.state for change in changes] == ["open"]
    assert asked == 2


async def test_one_that_ends_all_the_same_gives_way_to_a_fresh_one_at_once(
    guarded: Guarded,
) -> None:
    asked = 0

    async def fresh() -> str:
        nonlocal asked
        asked += 1
        return token(2)

    async with (
        behind(guarded.url, fresh, 3600) as client,
        notifier.client.connect(guarded.url, token=guarded.key) as publisher,
    ):
        offsets, changes = await follow(client, publisher, lambda: asked >= 3)
    assert offsets == list(range(1, len(offsets) + 1))
    assert [change.state for change in changes[:3]] == ["open", "waiting", "open"]
    assert changes[1].retry_in == 0
    assert "over" in changes[1].reason


async def test_a_request_with_one_that_is_over_is_sent_again_with_a_fresh_one(
    guarded: Guarded,
) -> None:
    tokens = [token(-1), token()]

    async def fresh() -> str:
        return tokens.pop(0)

    async with behind(guarded.url, fresh, 3600) as client:
        await client.publish("alerts", "m")
    assert tokens == []


async def test_a_text_whose_time_is_over_ends_the_subscription(guarded: Guarded) -> None:
    async with notifier.client.connect(guarded.url, token=token(2)) as client:
        with pytest.raises(ExpiredCredential):
            async for _ in client.subscribe("alerts"):
                pass


async def test_a_function_that_fails_is_awaited_again(guarded: Guarded) -> None:
    answers: list[Exception | str] = [OSError("the issuer is away"), token()]
    changes: list[Change] = []

    async def fresh() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with notifier.client.connect(guarded.url, token=fresh, max_delay=0.05) as client:
        following = client.subscribe("alerts", since="all", on_gap=print, on_change=changes.append)
        async with notifier.client.connect(guarded.url, token=guarded.key) as publisher:
            await publisher.publish("alerts", "m")
        assert (await anext(following)).message == "m"
    assert [change.state for change in changes] == ["waiting", "open"]
    assert "the issuer is away" in changes[0].reason


async def test_a_function_that_always_fails_ends_a_request(guarded: Guarded) -> None:
    asked = 0

    async def fresh() -> str:
        nonlocal asked
        asked += 1
        raise OSError("away")

    async with notifier.client.connect(
        guarded.url, token=fresh, retries=1, max_delay=0.01
    ) as client:
        with pytest.raises(Unreachable, match="away"):
            await client.publish("alerts", "m")
    assert asked == 2


@pytest.mark.parametrize("bad", ["", " ", "two words", "päss", "a\r\nX-Evil: 1"])
async def test_what_can_be_no_token_is_refused_and_not_repeated(
    bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="no key and no token") as refused:
        notifier.client.connect(token=bad)
    assert not bad.strip() or bad not in str(refused.value)

    async def fresh() -> str:
        return bad

    async with notifier.client.connect(token=fresh) as client:
        with caplog.at_level(logging.DEBUG), pytest.raises(ValueError, match="no key"):
            await client.publish("alerts", "m")
    assert not bad.strip() or bad not in caplog.text


async def test_those_who_need_one_at_the_same_time_share_it() -> None:
    asked = 0

    async def fresh() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return f"t{asked}"

    credential = Credential(fresh)
    assert await asyncio.gather(*(credential.get() for _ in range(5))) == ["t1"] * 5
    credential.drop("another")
    assert await credential.get() == "t1"
    credential.drop("t1")
    assert await credential.get() == "t2"


def test_a_tokens_end_is_read_from_its_payload() -> None:
    assert expiry(make_token({"sub": "1", "exp": 1234}, signing_secret(SECRET))) == 1234
    for text in ("nk_abc_def", "", "a.b.c", "a..c", "x.e30.y", "x.bnVsbA.y", "x.MQ.y", "x.W10.y"):
        assert expiry(text) is None


def test_the_time_to_renew_is_a_minute_ahead_half_of_a_short_life_and_never_at_once() -> None:
    assert (renew_in(3600), renew_in(30), renew_in(0.01)) == (3540, 15, 1)
