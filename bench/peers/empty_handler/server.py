"""``server.py PORT``: answers every POST with the same."""

from __future__ import annotations

import asyncio
import sys

from tornado.web import Application, RequestHandler

ANSWER = (
    b'{"id":"N3TSBzp1eSRi81VX","channel":"bench","position":"k3Jd9wQa:1234567","subscribers":0}'
)


class Empty(RequestHandler):
    def post(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(ANSWER)


async def main() -> None:
    Application([(r"/.*", Empty)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
