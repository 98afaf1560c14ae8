"""Keys of tokens in a file that changes while the server runs."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from notifier.server import Server
from tests.auth.signing import private, public_pem
from tests.auth.signing import token as signed
from tests.handlers.serving import raw_socket, request, serving, until
from tests.handlers.test_keysource import answering, http

HISTORY = "/channels/alerts/history"
RS256, ES256 = (public_pem(private(name)) for name in ("RS256", "ES256"))


def shown(algorithm: str) -> dict[str, str]:
    claims = {"sub": algorithm, "channels": ["alerts"], "exp": time.time() + 600}
    return {"Authorization": f"Bearer {signed(claims, algorithm)}"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "keys.pem"
    file.write_text(RS256 + ES256)
    return file


@pytest.fixture
async def server(file: Path) -> AsyncIterator[Server]:
    async with serving(token_keys_file=str(file)) as server:
        yield server


async def code(server: Server, headers: dict[str, str]) -> int | None:
    answer = await request(server.port, "GET", HISTORY, headers=headers)
    # 404: whoever may read it is told that there is nothing.
    return None if answer.status in (200, 404) else answer.code


def write(file: Path, text: str) -> None:
    """In place."""
    file.write_text(text)


@pytest.mark.parametrize("by", ["watch", "signal"])
async def test_tokens_of_a_key_that_is_gone_end_and_so_do_their_connections(
    server: Server, file: Path, by: str, caplog: pytest.LogCaptureFixture
) -> None:
    gone, stays = shown("ES256"), shown("RS256")
    answer = await request(server.port, "POST", "/ticket", headers=gone)
    ticket = answer.json["ticket"]
    spare = (await request(server.port, "POST", "/ticket", headers=gone)).json["ticket"]
    async with (
        raw_socket(server.port, "/ws?channel=alerts", gone) as first,
        raw_socket(server.port, f"/ws?channel=alerts&ticket={ticket}") as second,
        raw_socket(server.port, "/ws?channel=alerts", stays) as third,
    ):
        for socket in (first, second, third):
            assert (await socket.message())["type"] == "subscribed"
        new = file.with_name("new")
        write(new, RS256)
        os.replace(new, file)
        if by == "signal":
            server.reload()
            assert await code(server, gone) == 40101
        for socket in (first, second):
            assert (await socket.closed(answer=True))[0] == 4503
        assert await code(server, gone) == 40101
        late = await request(server.port, "GET", f"/stream?channel=alerts&poll=1&ticket={spare}")
        assert late.code == 40101
        assert await code(server, stays) is None
        assert (await third.ask({"type": "ping"}))["type"] == "reply"


async def test_a_key_that_is_gone_is_gone_though_the_document_with_others_never_came(
    file: Path,
) -> None:
    async with (
        answering(http(b"", status="503 Away")) as url,
        serving(token_keys_file=str(file), token_jwks_url=url) as server,
        raw_socket(server.port, "/ws?channel=alerts", shown("ES256")) as gone,
        raw_socket(server.port, "/ws?channel=alerts", shown("RS256")) as stays,
    ):
        for socket in (gone, stays):
            assert (await socket.message())["type"] == "subscribed"
        write(file, RS256)
        server.reload()
        assert (await gone.closed(answer=True))[0] == 4503
        assert (await stays.ask({"type": "ping"}))["type"] == "reply"


@pytest.mark.parametrize("left", ["", "\n", RS256 + ES256[:-40], ES256[:40]])
async def test_a_file_that_was_emptied_or_cut_ends_nothing(
    server: Server, file: Path, left: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = shown("ES256")
    async with raw_socket(server.port, "/ws?channel=alerts", headers) as socket:
        assert (await socket.message())["type"] == "subscribed"
        write(file, left)
        await until(lambda: server.node.state().keys_trouble)
        server.reload()
        assert server.node.state().keys_trouble
        assert caplog.messages.count("keys.unusable") == 2
        assert await code(server, headers) is None
        assert (await socket.ask({"type": "ping"}))["type"] == "reply"
        write(file, ES256)
        await until(lambda: not server.node.state().keys_trouble)
        assert await code(server, headers) is None
        assert (await socket.ask({"type": "ping"}))["type"] == "reply"
    assert await code(server, shown("RS256")) == 40101
