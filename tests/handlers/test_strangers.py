"""WebSockets of nobody in particular, on a running server that asks for tokens."""

from __future__ import annotations

import time

from notifier.config import NamespaceSettings
from tests.auth.signing import SECRET
from tests.auth.signing import token as signed
from tests.handlers.serving import raw_socket, serving, until

PUBLIC = NamespaceSettings(who_may_subscribe="public", who_may_publish="public")


def token() -> str:
    return signed({"sub": "42", "channels": ["alerts"], "exp": time.time() + 600})


async def test_one_that_does_nothing_is_closed_and_no_other_is() -> None:
    async with (
        serving(token_secret=SECRET, authenticate_timeout=2, namespaces={"news": PUBLIC}) as server,
        raw_socket(server.port, "/ws?channel=news:all") as follows,
        raw_socket(server.port) as shows,
        raw_socket(server.port, "/ws", {"Authorization": f"Bearer {token()}"}) as shown,
        raw_socket(server.port) as publishes,
        raw_socket(server.port, "/echo"),
        raw_socket(server.port, "/ws?channel=alerts") as refused,
        raw_socket(server.port) as idle,
    ):
        assert (await follows.message())["type"] == "subscribed"
        assert (await refused.message())["code"] == 40100
        answer = await shows.ask({"type": "authenticate", "token": token()})
        assert answer["type"] == "reply"
        wish = {"type": "publish", "channel": "news:x", "message": "hi"}
        assert (await publishes.ask(wish))["type"] == "reply"
        for socket in (idle, refused):
            code, reason = await socket.closed(answer=True)
            assert (code, reason.split()[0]) == (4408, "Show")
        assert server.node.counts.errors[40802] == 2
        # That of the publisher was looked at as well, since all came before.
        for socket in (shows, shown, publishes):
            assert (await socket.ask({"type": "ping"}))["type"] == "reply"
        assert len(server.node.connections) == 5
        await until(lambda: server.node.counts.errors[40802] == 3)
        assert (await publishes.closed(answer=True))[0] == 4408  # it has done nothing since
        assert (await follows.ask({"type": "ping"}))["type"] == "reply"


async def test_a_server_that_asks_nobody_lets_all_stay() -> None:
    async with serving(authenticate_timeout=0.2) as server, raw_socket(server.port) as idle:
        assert not server.node.connections.strangers
        assert (await idle.ask({"type": "ping"}))["type"] == "reply"
