"""Tornado's stream, as a sink wants it (:class:`notifier.sink.Stream`)."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios

from tornado.iostream import IOStream

from notifier.errors import without_frames


class TornadoStream:
    """The socket for ``send``, the :class:`IOStream` around it for all that does not fit.

    Both may write to the socket only because :class:`~notifier.sink.Sink` never sends while the
    stream has something pending.
    """

    __slots__ = ("_stream", "send", "write", "writing")

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream
        self.send = stream.socket.send
        self.write = stream.write
        self.writing = stream.writing

    def pending(self) -> int:
        return 0 if self._stream.closed() else len(self._stream._write_buffer)

    def unread(self) -> int:
        if self._stream.closed():
            return 0
        return self.pending() + unacknowledged(self._stream.socket.fileno())

    def abort(self) -> None:
        self._stream.close()


def let_go(stream: IOStream) -> None:
    """Drop what a closed stream keeps: bytes that nobody has read, and by what it failed with the
    frames of all who waited for it, down to the connection's own.
    """
    stream._read_buffer = bytearray()
    stream._read_buffer_size = 0
    if stream.error is not None:
        without_frames(stream.error)


def has_hung_up(connection: socket.socket) -> bool:
    """Whether the peer has, though there may be more to read; False where the system can't tell."""
    if not hasattr(select, "POLLRDHUP"):
        return False
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


def unacknowledged(fd: int) -> int:
    """Bytes in the kernel's send queue (tcp(7), SIOCOUTQ); 0 where it can't tell."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0\0\0\0"))[0])
    except OSError:
        return 0
