"""A TLS connection, as a sink wants it (:class:`notifier.sink.Stream`)."""

from __future__ import annotations

import ssl

from tornado.iostream import IOStream, SSLIOStream

from handlers.stream import TornadoStream, unacknowledged
from notifier.sink import Stream

# The most of a message that fits in one record (RFC 8446 §5.1).
RECORD = 16384


class TLSStream:
    """Sends record by record, since one that was begun must be sent to its end.

    When the socket is full OpenSSL holds a record that is encrypted already, of which nobody knows
    how much has left, and takes nothing but the same bytes again (SSL_write(3)). So that record
    goes to the stream, which tries it again, and counts as sent. It is what a kernel's buffer with
    16 KiB more would be: when the sink is told of it by a short send it writes the rest of the cut
    frame behind it, and when it is not, because the record was the last, its next send takes
    nothing.
    """

    __slots__ = ("_begun", "_socket_send", "_stream", "write", "writing")

    def __init__(self, stream: SSLIOStream) -> None:
        self._stream = stream
        self._socket_send = stream.socket.send
        self.write = stream.write
        self.writing = stream.writing
        # Where in all that the stream was ever given the begun record ends.
        self._begun = 0

    def send(self, data: bytes) -> int:
        if self._stream._write_buffer:
            raise BlockingIOError
        size = len(data)
        if size <= RECORD:
            return self._send_record(data)
        view, sent = memoryview(data), 0
        while sent < size and not self._stream._write_buffer:
            # A copy: a view would pin all of the batch for every stuck client.
            sent += self._send_record(bytes(view[sent : sent + RECORD]))
        return sent

    def _send_record(self, record: bytes) -> int:
        try:
            return self._socket_send(record)
        except ssl.SSLWantWriteError:
            self.write(record)
            self._begun = self._stream._total_write_index
            return len(record)

    def pending(self) -> int:
        """Without the begun record, which the sink takes for sent."""
        return 0 if self._stream.closed() else len(self._stream._write_buffer) - self._held()

    def unread(self) -> int:
        if self._stream.closed():
            return 0
        return len(self._stream._write_buffer) + unacknowledged(self._stream.socket.fileno())

    def abort(self) -> None:
        self._stream.close()

    def _held(self) -> int:
        return max(0, self._begun - self._stream._total_write_done_index)


def outlet(stream: IOStream) -> Stream:
    """The connection, as a sink wants it."""
    return TLSStream(stream) if isinstance(stream, SSLIOStream) else TornadoStream(stream)
