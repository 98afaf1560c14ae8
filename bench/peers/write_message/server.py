"""``server.py PORT``: Tornado's chat demo, without its pages; what is posted goes to everybody."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

waiters: set[WebSocketHandler] = set()


class Socket(WebSocketHandler):
    # The demo asks for permessage-deflate, which deflates for each client anew: not here.
    def open(self) -> None:
        waiters.add(self)

    def on_message(self, message: str | bytes) -> None:
        pass

    def on_close(self) -> None:
        waiters.discard(self)


class Publish(RequestHandler):
    def post(self) -> None:
        # Text once; write_message makes bytes of it again for each client.
        text = self.request.body.decode()
        for waiter in waiters:
            with suppress(WebSocketClosedError):
                waiter.write_message(text)
        self.set_status(204)


async def main() -> None:
    application = Application(
        [("/ws", Socket), ("/publish", Publish)],
        # No access log.
        log_function=lambda handler: None,
    )
    application.listen(int(sys.argv[1]), "127.0.0.1", backlog=4096)
    await asyncio.Event().wait()


asyncio.run(main())
