"""Tokens whose keys are fetched from a URL, on a running server."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from notifier.auth.revocations import Revocation
from notifier.notification import Notification
from tests.auth.signing import SECRET, jwk, jwks, private, public_pem
from tests.auth.signing import token as signed
from tests.handlers.serving import (
    Answer,
    head,
    open_stream,
    raw_socket,
    request,
    serving,
    until,
    wire_to,
)
from tests.handlers.test_keysource import answering, http

HISTORY = "/channels/alerts/history"


def token() -> str:
    """One that grants to publish and listen on alerts, by the key ``now``."""
    claims = {"sub": "42", "channels": ["alerts"], "publish": True, "exp": time.time() + 600}
    return signed(claims, "ES256", headers={"kid": "now"})


def document() -> bytes:
    return http(jwks(jwk(private("ES256"), "ES256", kid="now")))


async def test_they_are_taken_on_every_transport() -> None:
    async with answering(document()) as url, serving(token_jwks_url=url) as server:
        await server.node.publish(Notification.of_payload("x"), "alerts", producer="")
        shown = {"Authorization": f"Bearer {token()}"}
        assert (await request(server.port, "GET", HISTORY, headers=shown)).status == 200
        posted = await request(server.port, "POST", "/notify/alerts", body=b"hi", headers=shown)
        assert posted.status == 200
        lines = {**shown, "Content-Type": "application/x-ndjson"}
        line = b'{"message":"one"}\n'
        posted = await request(server.port, "POST", "/notify/alerts", body=line, headers=lines)
        assert posted.json["stored"] == 1
        polled = await request(server.port, "GET", "/stream?channel=alerts&poll=1", headers=shown)
        assert polled.status == 200
        async with raw_socket(server.port, "/ws?channel=alerts", shown) as socket:
            assert (await socket.message())["type"] == "subscribed"
        async with raw_socket(server.port) as socket:
            answer = await socket.ask({"type": "authenticate", "token": token()})
            assert answer["result"]["name"] == "42"


async def test_who_is_refused_is_hung_up_on_however_silent() -> None:
    """The refusal's patience is its own, also where nothing was waited for before it."""
    async with answering(document()) as url, serving(token_jwks_url=url) as server:
        forged = {"Authorization": f"Bearer {token()[:-8]}AAAAAAAA", "Content-Length": "2"}
        for _ in range(2):  # the keys are there by the second time
            reader, writer = await open_stream(server.port)
            writer.write(head("POST", "/notify/alerts", forged) + b"hi")
            assert b" 401 " in await reader.readline()
            await reader.read()  # ends when the server has closed
            writer.close()
        await until(lambda: not server.node.requests._under_way)


async def test_tokens_of_a_key_that_is_gone_from_the_document_end() -> None:
    documents = [document()]
    async with (
        answering(lambda: documents[-1]) as url,
        serving(token_jwks_url=url, token_secret=SECRET) as server,
    ):
        source = server._key_source
        assert source is not None
        shown = {"Authorization": f"Bearer {token()}"}
        ours = signed({"sub": "1", "channels": ["alerts"], "exp": time.time() + 600})
        async with (
            raw_socket(server.port, "/ws?channel=alerts", shown) as theirs,
            raw_socket(
                server.port, "/ws?channel=alerts", {"Authorization": f"Bearer {ours}"}
            ) as another,
        ):
            assert (await theirs.message())["type"] == "subscribed"
            documents.append(http(b"", status="500 Fault"))
            source._clock = lambda: time.monotonic() + 1000
            await until(lambda: source.problem is not None)
            assert (await theirs.ask({"type": "ping"}))["type"] == "reply"
            documents.append(http(jwks(jwk(private("RS256"), "RS256", kid="next"))))
            source._clock = lambda: time.monotonic() + 2000
            assert (await theirs.closed(answer=True))[0] == 4503
            answer = await request(server.port, "GET", HISTORY, headers=shown)
            assert answer.code == 40101
            assert (await another.message())["type"] == "subscribed"
            assert (await another.ask({"type": "ping"}))["type"] == "reply"


async def test_ticket_for_a_token_by_a_key_that_only_its_node_has_fetched_is_good() -> None:
    both = jwks(
        jwk(private("RS256"), "RS256", kid="old"), jwk(private("ES256"), "ES256", kid="now")
    )
    old = http(jwks(jwk(private("RS256"), "RS256", kid="old")))
    documents = [old]
    claims = {"sub": "42", "channels": ["alerts"], "exp": time.time() + 600}
    by_old = {"Authorization": f"Bearer {signed(claims, 'RS256', headers={'kid': 'old'})}"}
    by_new = {"Authorization": f"Bearer {token()}"}
    async with (
        answering(lambda: documents[-1]) as url,
        serving(token_jwks_url=url) as giver,
        serving(token_jwks_url=url) as taker,
        AsyncExitStack() as stack,
    ):
        # As where both have them in one Redis.
        taker.node.authenticator.tickets = giver.node.authenticator.tickets
        assert (await request(taker.port, "GET", HISTORY, headers=by_old)).status == 404
        documents.append(http(both))

        async def ticket() -> str:
            answer = await request(giver.port, "POST", "/ticket", headers=by_new)
            return str(answer.json["ticket"])

        followers = []
        for path in ("/events", "/stream"):
            wire = await stack.enter_async_context(wire_to(taker.port))
            await wire.send(head("GET", f"{path}?channel=alerts&ticket={await ticket()}"))
            text = await wire.reader.readuntil(b"subscribed")
            assert b" 200 OK" in text
            followers.append(wire)
        polled = await request(
            taker.port, "GET", f"/stream?channel=alerts&poll=1&ticket={await ticket()}"
        )
        assert polled.status == 200
        # Another's token is revoked meanwhile, for which all are looked at.
        taker.node.residents.recheck("token")
        assert len(taker.node.connections) == 2
        # The document that tells has it no more.
        documents.append(http(jwks(jwk(private("RS256"), "RS256", kid="next"))))
        source = taker._key_source
        assert source is not None
        source._clock = lambda: time.monotonic() + 1000
        for wire in followers:
            assert b"40101" in await wire.ended()


async def test_keys_that_cannot_be_fetched_are_a_refusal_that_passes() -> None:
    async with (
        answering(http(b"", status="503 Away")) as url,
        serving(token_jwks_url=url, token_secret=SECRET) as server,
    ):
        answer = await request(
            server.port, "GET", HISTORY, headers={"Authorization": f"Bearer {token()}"}
        )
        assert (answer.status, answer.code) == (503, 50306)
        assert 8 <= int(answer.headers["retry-after"]) <= 10, "before that it is not tried again"


async def test_new_key_within_the_pause_between_two_fetches_is_a_refusal_that_passes() -> None:
    documents = [http(jwks(jwk(private("RS256"), "RS256", kid="old")))]
    claims = {"sub": "42", "channels": ["alerts"], "exp": time.time() + 600}
    old = signed(claims, "RS256", headers={"kid": "old"})
    unknown = signed(claims, "ES256", headers={"kid": "unknown"})
    async with (
        answering(lambda: documents[-1]) as url,
        serving(token_jwks_url=url) as server,
    ):

        async def shown(token: str) -> Answer:
            bearer = {"Authorization": f"Bearer {token}"}
            return await request(server.port, "GET", HISTORY, headers=bearer)

        assert (await shown(unknown)).code == 40101, "it was fetched for this one"
        assert (await shown(unknown)).code == 40101
        assert (await shown(old)).status == 404
        documents.append(document())
        answer = await shown(token())
        assert (answer.status, answer.code) == (503, 50306)
        wait = answer.json["error"]["retry_after_ms"]
        assert 8000 < wait <= 10_000 and 8 <= int(answer.headers["retry-after"]) <= 10
        source = server.node.authenticator._source
        source._jwks._tried -= 10  # type: ignore[union-attr]
        assert (await shown(token())).status == 404
        assert (await shown(unknown)).code == 50306, "this one may be new too"


@pytest.mark.parametrize(
    ("claims", "algorithm"),
    [({}, "HS256"), ({}, "ES256"), ({"aud": "another"}, "ES256"), ({"jti": "revoked"}, "ES256")],
)
async def test_keys_that_are_here_wait_for_none_that_are_not(
    claims: dict[str, str], algorithm: str, tmp_path: Path
) -> None:
    file = tmp_path / "keys.pem"
    file.write_text(public_pem(private("ES256")))
    async with (
        answering(b"", hang=True) as url,
        serving(token_jwks_url=url, token_secret=SECRET, token_keys_file=str(file)) as server,
    ):
        expires = time.time() + 600
        server.node.residents.revoke([Revocation("revoked", expires)])
        text = signed({"sub": "42", "channels": ["alerts"], "exp": expires, **claims}, algorithm)
        answer = await request(
            server.port, "GET", HISTORY, headers={"Authorization": f"Bearer {text}"}
        )
        assert answer.status == (401 if claims else 404)
        source = server._key_source
        assert source is not None and source._jwks.may_fetch(time.monotonic()), "it was not asked"
