"""The fault proxy does to a connection what the other tests rely on."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.faults import FaultProxy


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it is sent."""

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):
            while data := connection.recv(1024):
                connection.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.fixture
def proxy(echo: int) -> Iterator[FaultProxy]:
    with FaultProxy(echo) as running:
        yield running


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def test_bytes_pass_and_the_end_is_passed_on(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"hello")
        assert client.recv(5, socket.MSG_WAITALL) == b"hello"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_allowance_is_what_passes_before_the_reset(proxy: FaultProxy) -> None:
    proxy.allowances = iter([3])
    with connect(proxy) as client:
        client.sendall(b"hello")
        assert client.recv(3, socket.MSG_WAITALL) == b"hel"
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with connect(proxy) as client:
        client.sendall(b"hello")
        assert client.recv(5, socket.MSG_WAITALL) == b"hello"


def test_cut_resets_and_the_next_connection_works(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"x")
        client.recv(1)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with connect(proxy) as client:
        client.sendall(b"y")
        assert client.recv(1) == b"y"


def test_stall_holds_bytes_back_until_flow(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        proxy.stall()
        client.sendall(b"late")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        proxy.flow()
        assert client.recv(4, socket.MSG_WAITALL) == b"late"


def test_refuse_resets_new_connections_until_accept(proxy: FaultProxy) -> None:
    with connect(proxy) as old:
        old.sendall(b"x")
        old.recv(1)
        proxy.refuse()
        with pytest.raises(ConnectionResetError), connect(proxy) as new:
            new.recv(1)
        old.sendall(b"y")
        assert old.recv(1) == b"y"
        proxy.accept()
        with connect(proxy) as new:
            new.sendall(b"z")
            assert new.recv(1) == b"z"
    assert proxy.accepted == 3


def test_target_that_is_gone_ends_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with FaultProxy(port) as proxy, pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1)


def test_who_connects_while_it_ends_is_reset() -> None:
    """Nothing is left over, of which Python would warn."""
    for _ in range(50):
        with ExitStack() as clients:
            with FaultProxy(1) as proxy:
                for _ in range(5):
                    clients.enter_context(socket.create_connection(("127.0.0.1", proxy.port)))
    gc.collect()
