from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from tests.cli.conftest import Run

STORED = {"id": "i1", "channel": "alerts", "position": "k3Jd9wQa:42", "subscribers": 1}


class _Server(ThreadingHTTPServer):
    """Answers every request with ``answer``; keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.answer: Any = STORED
        self.paths: list[str] = []
        self.bodies: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        self.server.paths.append(self.path)
        self.server.bodies.append(json.loads(body))
        answer = self.server.answer
        text = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_message_is_published_and_the_answer_shown(notifier: Run, server: _Server) -> None:
    done = notifier("publish", "alerts", "Disk full on db1", "--url", server.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "✓ alerts at k3Jd9wQa:42, 1 subscriber here  id i1\n"
    assert server.paths == ["/notify"]
    assert server.bodies == [{"channel": "alerts", "message": "Disk full on db1"}]


def test_every_field_is_sent(notifier: Run, server: _Server) -> None:
    options = ["--title", "T", "--priority", "4", "--tags", "a,b", "--tags", "c"]
    options += ["--click", "https://x", "--key", "k", "--data", '{"n": [1]}', "--id", "i1"]
    done = notifier("publish", "alerts", "m", *options, variables={"NOTIFIER_URL": server.url})
    assert done.returncode == 0
    assert server.bodies == [
        {
            "channel": "alerts",
            "message": "m",
            "title": "T",
            "priority": "4",
            "tags": ["a", "b", "c"],
            "click": "https://x",
            "key": "k",
            "data": {"n": [1]},
            "id": "i1",
        }
    ]


def test_url_may_have_a_path(notifier: Run, server: _Server) -> None:
    notifier("publish", "alerts", "m", "--url", server.url + "/push/")
    assert server.paths == ["/push/notify"]


def test_answer_without_position_is_shown(notifier: Run, server: _Server) -> None:
    server.answer = STORED | {"position": None, "subscribers": 0}
    done = notifier("publish", "alerts", "m", "--url", server.url)
    assert done.stdout == "✓ alerts, 0 subscribers here  id i1\n"


def test_json_prints_the_answer_as_it_is(notifier: Run, server: _Server) -> None:
    done = notifier("publish", "alerts", "m", "--url", server.url, "--json")
    assert json.loads(done.stdout) == STORED


@pytest.mark.parametrize("arguments", [[], ["-"], ["--title", "T"]])
def test_message_is_read_from_a_pipe(notifier: Run, server: _Server, arguments: list[str]) -> None:
    text = "two\nlines, é\n"
    done = notifier("publish", "alerts", *arguments, "--url", server.url, stdin=text.encode())
    assert done.returncode == 0
    assert server.bodies[0]["message"] == "two\nlines, é"


def test_title_alone_is_enough_without_a_pipe(notifier: Run, server: _Server) -> None:
    done = notifier("publish", "alerts", "--title", "T", "--url", server.url)
    assert done.returncode == 0
    assert server.bodies == [{"channel": "alerts", "title": "T"}]


def test_refusal_is_shown_with_code_and_docs(notifier: Run, server: _Server) -> None:
    server.status = 400
    server.answer = {
        "error": {
            "code": 40004,
            "message": "'a b' is not a channel name.\x1b[2J",
            "docs": "https://docs/errors.md#40004",
            "temporary": False,
            "field": "channel",
        }
    }
    done = notifier("publish", "a b", "m", "--url", server.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: 'a b' is not a channel name.\\x1b[2J\n"
        "  code 40004, field channel\n"
        "  https://docs/errors.md#40004\n"
    )


def test_refusal_as_json_is_on_stdout_too(notifier: Run, server: _Server) -> None:
    server.status = 503
    server.answer = {"error": {"code": 50302, "message": "Leaving.", "temporary": True}}
    done = notifier("publish", "alerts", "m", "--url", server.url, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == server.answer
    assert "temporary: the same may work later" in done.stderr


def test_answer_of_something_in_front_is_shown(notifier: Run, server: _Server) -> None:
    server.status, server.answer = 502, "<h1>Bad Gateway</h1>"
    done = notifier("publish", "alerts", "m", "--url", server.url)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the server answered 502 Bad Gateway\n  <h1>")


def test_success_of_something_else_is_none(notifier: Run, server: _Server) -> None:
    server.answer = "<h1>It works!</h1>"
    done = notifier("publish", "alerts", "m", "--url", server.url)
    assert done.returncode == 1
    assert done.stderr.startswith("error: what answers there is no notifier")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a"], "Nothing to publish"),
        ([], "Missing argument 'CHANNEL'"),
        (["a", "m", "--data", "{"], "not JSON"),
        (["a", "m", "--priority", "6"], "'6' is not one of '1'"),
        (["a", "m", "--url", "localhost:8888"], "is not a URL such as"),
        (["a", "m", "--url", "http://[::1"], "is not a URL such as"),
        (["a", "m", "--url", "http://h:port"], "is not a URL such as"),
        (["a", "m", "--timeout", "0"], "is not in the range"),
    ],
)
def test_wrong_command_line_exits_2(notifier: Run, arguments: list[str], sentence: str) -> None:
    done = notifier("publish", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_bytes_that_are_no_text_exit_2(notifier: Run) -> None:
    done = notifier("publish", "a", stdin=b"\xff\xfe")
    assert done.returncode == 2
    assert "not UTF-8" in done.stderr


def test_no_server_exits_3(notifier: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = notifier("publish", "a", "m", "--url", f"http://127.0.0.1:{port}")
    assert done.returncode == 3
    assert done.stderr == f"error: cannot reach http://127.0.0.1:{port}: Connection refused\n"
    done = notifier("publish", "a", "m", "--url", "http://nowhere.invalid")
    assert done.returncode == 3


def test_silent_server_exits_3(notifier: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = notifier("publish", "a", "m", "--url", url, "--timeout", "0.2")
    assert done.returncode == 3
    assert "no answer within 0.2 s" in done.stderr


def test_server_of_another_protocol_exits_3(notifier: Run) -> None:
    def greet(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=greet, args=(listener,))
        thread.start()
        done = notifier(
            "publish", "a", "m", "--url", f"http://127.0.0.1:{listener.getsockname()[1]}"
        )
        thread.join()
    assert done.returncode == 3
    assert "no HTTP server" in done.stderr
