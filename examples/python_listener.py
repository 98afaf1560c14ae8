"""Prints what comes on a channel, with the `websockets` library; comes back where it was.

pip install websockets
python python_listener.py alerts
"""

import asyncio
import json
import random
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

CHANNEL = sys.argv[1] if len(sys.argv) > 1 else "alerts"
SERVER = sys.argv[2] if len(sys.argv) > 2 else "ws://localhost:8888"
LARGEST = 16 * 1024 * 1024


async def main() -> None:
    since = "latest"
    while True:
        try:
            async with connect(f"{SERVER}/ws", max_size=LARGEST) as socket:
                subscribe = {"type": "subscribe", "channel": CHANNEL, "since": since}
                await socket.send(json.dumps(subscribe))
                async for text in socket:
                    message = json.loads(text)
                    match message["type"]:
                        case "subscribed":
                            since = message["position"] or since
                            print("-- listening", flush=True)
                            if message.get("gap"):
                                print("-- missed some:", message["gap"], flush=True)
                        case "notification":
                            since = message["position"] or since
                            print(message.get("title", ""), message.get("message"), flush=True)
                        case "gap":
                            print("-- missed some:", message, flush=True)
                        case "error":
                            sys.exit(message["message"])
        except ConnectionClosed as closed:
            if closed.rcvd and closed.rcvd.code >= 4500:
                sys.exit(closed.rcvd.reason)
            print("-- lost:", closed, flush=True)
        except (OSError, InvalidHandshake) as error:
            print("--", error, flush=True)
        await asyncio.sleep(random.uniform(0.5, 2))


asyncio.run(main())
