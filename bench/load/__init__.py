"""The load: a process of its own, in C, told what to do by lines.

It opens WebSockets, publishes, and checks every byte that is delivered; see ``load.h``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.cache import cached, make
from bench.peer import KEY, Peer, Subscribing

HERE = Path(__file__).parent
# As many of it as a payload has bytes stand for a payload in a request.
PLACEHOLDER = b"~"
# In a handshake: where a client that comes back says where it goes on from.
SINCE = "\x02"


class LoadError(Exception):
    """The load ended; what it said."""


def missing() -> str | None:
    """Why there can be no load here, or ``None``."""
    return None if shutil.which("cc") else "no C compiler (cc): apt-get install gcc libc6-dev"


def build() -> Path:
    """The program; made, once for each state of its source.

    :raises subprocess.CalledProcessError: the compiler refuses.
    """
    files = sorted([*HERE.glob("*.c"), *HERE.glob("*.h")])
    place = cached("load", "".join(file.read_text() for file in files))

    def compile_into(folder: Path) -> None:
        command = ["cc", "-O2", "-std=gnu17", "-Wall", "-Wextra", "-o", str(folder / "load")]
        subprocess.run([*command, *map(str, HERE.glob("*.c"))], check=True)

    make(place, compile_into)
    return place / "load"


class Load:
    """The running process. Every method waits for its answer.

    :param cores: the only ones it may run on.
    """

    def __init__(
        self, *, payload_bytes: int = 200, seed: int = 1, cores: Sequence[int] | None = None
    ) -> None:
        self.payload_bytes = payload_bytes
        self._process = subprocess.Popen(
            [str(build())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        if cores is not None:
            os.sched_setaffinity(self._process.pid, cores)
        self.tell("payload", size=payload_bytes, seed=seed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def group(self, port: int, handshake: bytes, subscribing: Subscribing, **options: Any) -> int:
        """Sockets that subscribe to the same; its number.

        :param options: ``each=1``: what its sockets get is not the same, each is parsed.
            ``returning=1``: they come back when they are hung up on, and go on from what stands
            behind ``place`` in what they had last. ``leave``: what stands before the milliseconds
            after which they are told to go.
        """
        told = self.tell(
            "group",
            port=port,
            handshake=handshake,
            hello=b"".join(client_frame(text) for text in subscribing.hello),
            ready=subscribing.ready,
            ready_count=subscribing.ready_count if subscribing.ready else 0,
            aside=server_frame(subscribing.aside) if subscribing.aside else b"",
            answer=client_frame(subscribing.answer) if subscribing.answer else b"",
            **options,
        )
        return int(told["group"])

    def open(self, group: int, count: int, **options: Any) -> dict[str, Any]:
        """Connect so many and wait until all have subscribed.

        :param options: ``stuck=1``: they read nothing from then on; ``receive_buffer``;
            ``at_once``: how many at a time.
        :raises LoadError: not all could.
        """
        opened = self.tell("open", group=group, count=count, **options)
        if opened["hangups"] or opened["opening"] is None or opened["opening"]["count"] != count:
            raise LoadError(f"not all of {count} sockets could subscribe: {opened}")
        return opened

    def source(self, group: int, request: bytes) -> int:
        """A request that publishes to the group, a placeholder for each payload; its number."""
        return int(self.tell("source", group=group, request=request)["source"])

    def publisher(self, port: int, sources: Sequence[int], **options: Any) -> None:
        """A connection that publishes from the sources in turn.

        :param options: ``interval``: seconds; without, it sends when it is answered.
            ``handshake``: it publishes over a WebSocket; ``needle``: stands in each answer.
        """
        self.tell("publisher", port=port, sources=",".join(map(str, sources)), **options)

    @property
    def placeholder(self) -> bytes:
        return PLACEHOLDER * self.payload_bytes

    def run(self, **options: Any) -> dict[str, Any]:
        """Publish, let everything arrive, and tell what happened.

        :param options: ``seconds``, ``limit`` (messages), ``patience`` (seconds without a delivery
            after which no more is waited for), ``stay`` and ``away`` (clients drop their
            connections about so often, for so long), ``drain=0``.
        """
        return self.tell("run", **options)

    def begin(self, verb: str, **options: Any) -> None:
        """Give a command; :meth:`end` waits for its answer."""
        words = [verb]
        for name, value in options.items():
            words.append(f"{name}={value.hex() if isinstance(value, bytes) else value}")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(" ".join(words).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def end(self) -> dict[str, Any]:
        """The answer to the last command.

        :raises LoadError: the process ended instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    def tell(self, verb: str, **options: Any) -> dict[str, Any]:
        self.begin(verb, **options)
        return self.end()

    def _ended(self) -> LoadError:
        assert self._process.stderr is not None
        code = self._process.wait()
        return LoadError(self._process.stderr.read().decode(errors="replace") or f"exit {code}")


def handshake(subscribing: Subscribing, **headers: str) -> bytes:
    """A client's first bytes (RFC 6455 §4.1).

    :param headers: more of them; ``user_agent`` is the header ``User-Agent``.
    """
    lines = [
        f"GET {subscribing.path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
        *(f"{name}: {value}" for name, value in subscribing.headers.items()),
        *(f"{name.replace('_', '-').title()}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def client_frame(text: bytes) -> bytes:
    """A message as a client sends it, masked with zeros (RFC 6455 §5.3)."""
    return _head(len(text), 0x80) + b"\0\0\0\0" + text


def server_frame(text: bytes) -> bytes:
    return _head(len(text), 0) + text


def _head(size: int, mask: int) -> bytes:
    if size < 126:
        return bytes((0x81, mask | size))
    return bytes((0x81, mask | 126)) + size.to_bytes(2)


def sources_of(load: Load, peer: Peer, group: int, channel: str, *, batch: int = 0) -> int:
    """A source of single requests, or of batches where ``batch`` is not 0.

    :raises LookupError: the peer knows no batches.
    """
    if not batch:
        return load.source(group, peer.publish(channel, load.placeholder))
    request = peer.publish_many(channel, [load.placeholder] * batch)
    if request is None:
        raise LookupError(f"{peer.name} publishes one at a time")
    return load.source(group, request)
