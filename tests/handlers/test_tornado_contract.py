"""What ``handlers/`` relies on of Tornado beyond its documented API.

When one of these fails after an upgrade, the thing it names has changed in Tornado. Read what
``handlers/`` does with it (the comment says where) before changing the test.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import tornado
import tornado.web
from tornado.http1connection import HTTP1Connection, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.httputil import parse_multipart_form_data
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError
from tornado.tcpserver import TCPServer
from tornado.web import Application, RequestHandler, StaticFileHandler
from tornado.websocket import WebSocketHandler, WebSocketProtocol13, _WebSocketParams

from handlers.protocol import CONTROL_BYTES, Protocol

CHANGED = f"Tornado {tornado.version} has changed what handlers/ relies on: "


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # protocol.py overrides these; super() is called where ours adds to it.
        ("__init__", ["self", "handler", "mask_outgoing", "params"]),
        ("_write_frame", ["self", "fin", "opcode", "data", "flags"]),
        ("_parse_extensions_header", ["self", "headers"]),
        ("_accept_connection", ["self", "handler"]),
        ("_receive_frame_loop", ["self"]),
        ("_receive_frame", ["self"]),
        ("_read_bytes", ["self", "n"]),
        ("_handle_message", ["self", "opcode", "data"]),
        ("_abort", ["self"]),
        ("close", ["self", "code", "reason"]),
        # … and calls this.
        ("_run_callback", ["self", "callback", "args", "kwargs"]),
    ],
)
def test_the_websocket_protocol_has_the_methods_we_override(name: str, expected: list[str]) -> None:
    method = getattr(WebSocketProtocol13, name, None)
    assert method is not None, f"{CHANGED}WebSocketProtocol13.{name} is gone"
    assert parameters(method) == expected, f"{CHANGED}WebSocketProtocol13.{name}"


@pytest.mark.parametrize(
    "name",
    [
        "handler",
        "params",
        "client_terminated",
        "server_terminated",
        "stream",
        "_frame_mask",
        "_fragmented_message_buffer",
        "_fragmented_message_opcode",
        "close_code",
        "close_reason",
    ],
)
def test_the_websocket_protocol_has_the_attributes_we_use(name: str) -> None:
    protocol = WebSocketProtocol13(_Delegate(), False, _WebSocketParams(max_message_size=1))
    assert hasattr(protocol, name), f"{CHANGED}WebSocketProtocol13.{name} is gone"


def test_the_websocket_parameters_carry_the_size_limit() -> None:
    assert _WebSocketParams(max_message_size=7).max_message_size == 7


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("get_websocket_protocol", ["self"]),
        ("on_ws_connection_close", ["self", "close_code", "close_reason"]),
        ("log_exception", ["self", "typ", "value", "tb"]),
    ],
)
def test_the_websocket_handler_has_the_hooks_we_use(name: str, expected: list[str]) -> None:
    assert parameters(getattr(WebSocketHandler, name)) == expected, f"{CHANGED}{name}"
    assert isinstance(inspect.getattr_static(WebSocketHandler, "max_message_size"), property)


def test_the_end_of_a_connection_is_told_once() -> None:
    """``_accept_connection`` may tell it a second time (protocol.py)."""
    source = inspect.getsource(WebSocketHandler.on_connection_close)
    assert "_on_close_called" in source, f"{CHANGED}on_connection_close"


def test_a_frame_begins_with_two_bytes_that_are_asked_for() -> None:
    """They are read ahead (protocol.py, ``_head``)."""
    source = inspect.getsource(WebSocketProtocol13._receive_frame)
    first = source.index("self._read_bytes(")
    assert source[first:].startswith("self._read_bytes(2)"), f"{CHANGED}_receive_frame"
    source = inspect.getsource(WebSocketProtocol13._accept_connection)
    assert source.rstrip().endswith("await self._receive_frame_loop()"), f"{CHANGED}the loop"


def test_a_message_is_refused_by_size_before_it_is_read() -> None:
    """Tornado's limit is ours plus a control frame (protocol.py, CONTROL_BYTES)."""
    source = inspect.getsource(WebSocketProtocol13._receive_frame)
    assert "new_len > self.params.max_message_size" in source, f"{CHANGED}_receive_frame"
    assert source.index("max_message_size") < source.index("self._frame_mask = await")
    assert CONTROL_BYTES == 125


def test_what_is_compressed_is_left_to_us() -> None:
    """``protocol.py`` takes RSV1 out of the first two bytes, and Tornado inflates nothing."""
    source = inspect.getsource(WebSocketProtocol13._receive_frame)
    assert source.index("_read_bytes") == source.index("_read_bytes(2)"), f"{CHANGED}the head"
    assert source.index("if reserved_bits:") < source.index("_read_bytes(4)"), (
        f"{CHANGED}reserved bits are not refused before the payload"
    )
    protocol = WebSocketProtocol13(_Delegate(), False, _WebSocketParams(max_message_size=1))
    assert protocol._decompressor is None and not protocol._frame_compressed, (
        f"{CHANGED}compression without options"
    )
    assert protocol.params.compression_options is None
    accepting = inspect.getsource(WebSocketProtocol13._accept_connection)
    assert (
        accepting.index("_parse_extensions_header(handler.request.headers)")
        < accepting.index("handler.finish()")
        < accepting.index("handler.open(")
    ), f"{CHANGED}extensions are looked at too late to answer them"


class _Delegate:
    """What a protocol tells its handler."""

    def __init__(self) -> None:
        self.heard = False
        self.told: list[Any] = []

    def on_message(self, message: str | bytes) -> None:
        self.told.append(message)

    def on_ping(self, data: bytes) -> None: ...

    def on_pong(self, data: bytes) -> None: ...

    def on_ws_connection_close(
        self, close_code: int | None = None, close_reason: str | None = None
    ) -> None: ...

    def log_exception(self, *_: Any) -> None: ...


def test_all_that_tornado_writes_passes_by_write_frame() -> None:
    """Pongs above all: they must not get between the halves of a frame the sink has cut."""
    source = inspect.getsource(WebSocketProtocol13)
    writes = source.count("self.stream.write(")
    assert writes == 1, f"{CHANGED}WebSocketProtocol13 writes past _write_frame"
    assert "self.stream.write(" in inspect.getsource(WebSocketProtocol13._write_frame)


def test_what_has_come_of_a_fragmented_message_can_be_seen() -> None:
    source = inspect.getsource(WebSocketProtocol13._receive_frame)
    assert "self._fragmented_message_buffer.extend(data)" in source, CHANGED
    assert "self._fragmented_message_buffer = None" in source, CHANGED


def test_our_protocol_overrides_nothing_that_is_not_there() -> None:
    ours = {"__module__", "__doc__", "__annotations__", "__firstlineno__", "__static_attributes__"}
    ours |= {
        "sink",
        "stream",
        "failure",
        "_pause_at",
        "_leaving",
        "_lingering",
        "_patience",
        "fail",
    }
    ours |= {"_check_masked", "_check_begun", "_handle_close", "__abstractmethods__", "_abc_impl"}
    ours |= {
        "_head",
        "_reading",
        "_listening",
        "_await_frame",
        "_frame_came",
        "_receive_frames",
        "_handle",
    }
    ours |= {"_ended"}
    ours |= {"pause"}
    ours |= {"may_deflate", "deflates", "_compressed", "_note_compression", "_slack"}
    ours |= {"pause", "_count_fragment", "_assembled"}
    for name in vars(Protocol).keys() - ours:
        assert hasattr(WebSocketProtocol13, name), f"{CHANGED}{name} overrides nothing"


# --- plain HTTP ---


def test_request_handlers_have_what_we_use() -> None:
    for name in ("_log", "detach", "_execute", "decode_argument", "log_exception"):  # base.py
        assert hasattr(RequestHandler, name), f"{CHANGED}RequestHandler.{name} is gone"
    assert "if self._finished:\n                return" in inspect.getsource(
        RequestHandler._execute
    ), f"{CHANGED}_finished set in prepare() no longer ends the request"
    assert parameters(StaticFileHandler.parse_url_path) == ["self", "url_path"]


def test_the_application_makes_handlers_where_we_look_on() -> None:
    expected = ["self", "request", "target_class", "target_kwargs", "path_args", "path_kwargs"]
    assert parameters(Application.get_handler_delegate) == expected  # routes.py
    # arrival.py asks it whether the body is timed.
    assert "self.handler = self.handler_class(" in inspect.getsource(
        tornado.web._HandlerDelegate.execute
    ), f"{CHANGED}_HandlerDelegate.handler"


def test_connections_tell_the_application_of_requests() -> None:
    """``patience.py`` counts their time from it."""
    assert "self.request_callback.start_request(server_conn, request_conn)" in inspect.getsource(
        HTTPServer.start_request
    ), f"{CHANGED}HTTPServer.start_request"
    assert parameters(HTTPServer.on_close) == ["self", "server_conn"]  # server.py
    loop = inspect.getsource(HTTP1ServerConnection._server_request_loop)
    assert "delegate.on_close(self)" in loop.split("finally:")[1], f"{CHANGED}on_close"
    reading = inspect.getsource(HTTP1Connection._read_message_inner)
    for name in ("self.params.header_timeout", "self._body_timeout"):
        assert f"if {name} is None:" in reading, f"{CHANGED}{name} can't be None any more"
    # unread.py is told of these, among which are none that were detached.
    assert HTTPServer(Application())._connections == set(), f"{CHANGED}HTTPServer._connections"
    parameters_of_connections = HTTPServer(Application()).conn_params
    assert parameters_of_connections.body_timeout is None, f"{CHANGED}body_timeout"
    assert hasattr(parameters_of_connections, "header_timeout"), f"{CHANGED}header_timeout"


def test_a_handler_begins_when_its_body_is_there() -> None:
    """``whole.py`` does what ``_HandlerDelegate`` does, at another time."""
    assert parameters(RequestHandler._execute) == ["self", "transforms", "args", "kwargs"]
    execute = inspect.getsource(RequestHandler._execute)
    assert "await self.request._body_future" in execute, f"{CHANGED}the body"
    assert "if self._prepared_future is not None:" in execute, f"{CHANGED}_prepared_future"
    delegate = inspect.getsource(tornado.web._HandlerDelegate.execute)
    assert "transforms = [t(self.request) for t in self.application.transforms]" in delegate
    # A handler that is done at once is not waited for, and its connection is kept.
    reading = inspect.getsource(HTTP1Connection._read_message_inner)
    assert (
        reading.index("self._read_finished = True")
        < reading.index("delegate.finish()")
        < reading.index("not self._finish_future.done()")
    ), f"{CHANGED}the end of a request"


def test_an_answer_begins_with_what_we_reset() -> None:
    """``Handler.clear`` (base.py) sets all that Tornado's does."""
    source = inspect.getsource(RequestHandler.clear)
    for name in ("_headers = httputil.HTTPHeaders(", "_write_buffer", "_status_code", "_reason"):
        assert f"self.{name}" in source, f"{CHANGED}RequestHandler.clear"
    assert source.count("self._") == 4, f"{CHANGED}RequestHandler.clear sets more"
    assert inspect.getsource(RequestHandler.set_status).count("self._") == 3


def test_connections_have_what_we_use() -> None:
    for name in ("set_max_body_size", "close", "detach"):  # base.py
        assert hasattr(HTTP1Connection, name), f"{CHANGED}HTTP1Connection.{name} is gone"
    assert "if self.stream is None" in inspect.getsource(HTTP1Connection._read_message_inner), (
        f"{CHANGED}a request detached in prepare() is read on"
    )


def test_multipart_is_parsed_into_what_we_hand_in() -> None:
    expected = ["boundary", "data", "arguments", "files"]
    assert parameters(parse_multipart_form_data)[:4] == expected, f"{CHANGED}multipart"


# --- streams ---


@pytest.fixture
async def pair() -> AsyncIterator[tuple[IOStream, socket.socket]]:
    """A stream, and the socket at its other end."""
    near, far = socket.socketpair()
    stream = IOStream(near)
    yield stream, far
    stream.close()
    far.close()


async def test_a_stream_counts_what_it_has_not_written(
    pair: tuple[IOStream, socket.socket],
) -> None:
    """``stream.py`` reads ``_write_buffer``, ``writing()`` and ``socket``."""
    stream, far = pair
    flush = stream.write(b"x" * 10_000_000)
    assert stream.writing(), f"{CHANGED}IOStream.writing"
    pending = len(stream._write_buffer)
    assert 0 < pending <= 10_000_000, f"{CHANGED}IOStream._write_buffer"
    assert isinstance(flush, asyncio.Future), f"{CHANGED}IOStream.write"
    far.setblocking(False)
    received = 0
    while received < 10_000_000:
        try:
            received += len(far.recv(65536))
        except BlockingIOError:
            await asyncio.sleep(0)
    await flush
    assert not stream.writing()


async def test_writes_of_a_closed_stream_are_done(pair: tuple[IOStream, socket.socket]) -> None:
    """The sink waits for them (sink.py)."""
    stream, _ = pair
    flush = stream.write(b"x" * 10_000_000)
    stream.close()
    with pytest.raises(StreamClosedError):
        await flush
    with pytest.raises(StreamClosedError):
        await stream.write(b"more")
    assert issubclass(StreamClosedError, OSError), f"{CHANGED}the sink catches OSError"


async def test_an_empty_write_is_done_when_everything_before_it_is(
    pair: tuple[IOStream, socket.socket],
) -> None:
    """``linger.py`` waits so before it half-closes."""
    stream, far = pair
    stream.write(b"x" * 10_000_000)
    last = stream.write(b"")
    assert isinstance(last, asyncio.Future)
    await asyncio.sleep(0)
    assert not last.done(), f"{CHANGED}an empty write overtakes"
    far.close()
    with pytest.raises(StreamClosedError):
        await last


async def test_a_tls_stream_has_what_its_outlet_looks_at() -> None:
    """``handlers/tls.py`` tells the begun record apart by these."""
    stream = SSLIOStream(socket.socket())
    try:
        for name in ("_write_buffer", "_total_write_index", "_total_write_done_index"):
            assert hasattr(stream, name), f"{CHANGED}IOStream.{name} is gone"
    finally:
        stream.close()


def test_a_server_looks_at_its_tls_context_at_each_connection() -> None:
    """``server.py`` replaces it when the certificate is renewed."""
    source = inspect.getsource(TCPServer._handle_connection)
    assert "self.ssl_options" in source, f"{CHANGED}TCPServer.ssl_options"
