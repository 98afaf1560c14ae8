"""``ws`` on Node."""

from bench.node import NodePeer
from bench.peer import Subscribing


class WsPeer(NodePeer):
    name = "ws"
    title = "ws (JavaScript, Node)"
    packages = ("ws", "bufferutil")

    def subscribing(self, *channels: str) -> Subscribing:
        return Subscribing("/")


PEER = WsPeer()
