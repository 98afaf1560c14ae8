"""What is measured: any server that fans out over WebSockets, behind one small interface.

A peer lives in ``bench/peers/<name>/``, a package whose ``PEER`` is an object of :class:`Peer`.
The load is the same for all of them. It is a process of its own (``bench/load``) that opens
WebSockets, publishes with HTTP requests on connections that are kept alive, and finds each payload
in what is delivered, whatever stands around it. So a peer only says how one subscribes and
publishes, in bytes.

Payloads are printable ASCII without quotes, backslashes, ``&``, ``<``, ``>`` and ``%``: JSON takes
them as they are, and so does what is delivered.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.process import Running

# The load sends the key of RFC 6455's example: a peer written by hand need not compute SHA-1.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@dataclass(frozen=True, slots=True)
class Subscribing:
    """How a client subscribes.

    :ivar path: of the handshake.
    :ivar headers: of the handshake, besides those every handshake has.
    :ivar hello: texts the client sends after the handshake, each a message.
    :ivar ready: a piece of the message that says that a channel is subscribed; when it is empty,
        the answer to the handshake says so.
    :ivar ready_count: how many such messages there are.
    :ivar aside: a text the server sends as a message to each client when it likes, such as a ping
        of its own (those of RFC 6455 are answered anyway); it does not count as a delivery.
    :ivar answer: the text it is answered with; empty for none.
    """

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    hello: tuple[bytes, ...] = ()
    ready: bytes = b""
    ready_count: int = 1
    aside: bytes = b""
    answer: bytes = b""


class Peer(ABC):
    """One server program.

    :cvar name: what ``--peers`` and the tables call it; the name of its folder.
    :cvar title: a few words for people: what it is, in which language.
    :cvar channels: whether it has channels; one that has not sends everything to everybody.
    """

    name: str
    title: str
    channels: bool = True

    @abstractmethod
    def missing(self) -> str | None:
        """Why it can't be measured here, in a few words ("no node"), or ``None``.

        Quick: nothing is built.
        """

    def prepare(self) -> None:  # noqa: B027 -- most have nothing to do
        """Build or install what it needs, once; may take minutes, and be called again at no cost.

        :raises subprocess.CalledProcessError: it can't.
        """

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions of what runs, such as ``{"nginx": "1.22.1"}``; after :meth:`prepare`."""

    @abstractmethod
    def start(self, port: int, *, folder: Path) -> Running:
        """Run it on ``127.0.0.1:port``; return when it accepts connections.

        It must bear 16,000 connections and a burst of 4,096 of them (its backlog), say nothing for
        each request, and do its work in one process (a second thread or process counts as its CPU
        time too).

        :param folder: an empty one for its files and its log (``folder / "log"``).
        """

    @abstractmethod
    def subscribing(self, *channels: str) -> Subscribing:
        """How to subscribe to the channels on one connection."""

    @abstractmethod
    def publish(self, channel: str, payload: bytes) -> bytes:
        """The whole HTTP/1.1 request that publishes the payload; the connection is kept alive.

        It is answered with a status of 2xx and a body by Content-Length, in chunks, or none (204),
        when the publication has been accepted. ``payload`` stands in it verbatim.
        """

    def publish_many(self, channel: str, payloads: Sequence[bytes]) -> bytes | None:
        """One request that publishes all of them in order, if there is such a thing."""
        return None

    def probe(self) -> bytes | None:
        """A request that is answered at once, by whatever status, and leaves the connection open;
        ``None`` if there is none."""
        return request("GET", "/bench-probe", b"")


def lacks(*commands: str) -> str | None:
    """``no node``, if a command is not on the PATH; for :meth:`Peer.missing`."""
    for command in commands:
        if shutil.which(command) is None:
            return f"no {command}"
    return None


def request(method: str, path: str, body: bytes, **headers: str) -> bytes:
    """An HTTP/1.1 request; ``content_type`` is the header ``Content-Type``."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-').title()}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
