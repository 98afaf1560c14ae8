"""Follows a channel with notifier's own client, which comes back and resumes by itself.

pip install .          (in the checkout)
python python_client.py "builds:*" -20
"""

import asyncio
import sys

import notifier.client
from notifier.client import Gap

CHANNEL = sys.argv[1] if len(sys.argv) > 1 else "alerts"
SINCE = sys.argv[2] if len(sys.argv) > 2 else "latest"
SERVER = sys.argv[3] if len(sys.argv) > 3 else "http://localhost:8888"


async def main() -> None:
    async with notifier.client.connect(SERVER) as client:
        receipt = await client.publish("hello", "python_client.py is here", tags=["example"])
        print("published", receipt.position, flush=True)
        async for item in client.subscribe(CHANNEL, since=SINCE):
            if isinstance(item, Gap):
                print("-- missed some", item.channel, item.after, item.before, flush=True)
            else:
                print(item.channel, item.title or "", item.message, flush=True)


asyncio.run(main())
