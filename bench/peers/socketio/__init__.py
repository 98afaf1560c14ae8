"""Socket.IO on Node, over WebSocket alone."""

from bench.node import NodePeer
from bench.peer import Subscribing


class SocketIoPeer(NodePeer):
    name = "socketio"
    title = "Socket.IO (JavaScript, Node)"
    packages = ("socket.io", "ws", "bufferutil")

    def subscribing(self, *channels: str) -> Subscribing:
        # Engine.IO 4 and Socket.IO 5: "4" is a message, "0" in it asks for the namespace "/" and
        # grants it.
        path = "/socket.io/?EIO=4&transport=websocket"
        return Subscribing(path, hello=(b"40",), ready=b'40{"sid":')


PEER = SocketIoPeer()
