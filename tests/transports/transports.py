"""Which transport does what: the table that the tests of this folder go by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import pytest

from tests.transports.clients import (
    Client,
    Commands,
    DeflatedCommands,
    DeflatedNative,
    DeflatedRaw,
    DeflatedRawWithoutEcho,
    Events,
    EventsOverHTTP10,
    EventsOverTLS,
    Lines,
    LinesOverHTTP10,
    Native,
    NativeOverTLS,
    OverTLS,
    Poll,
    PollOverHTTP10,
    Raw,
    RawOverTLS,
    RawWithoutEcho,
    Stream,
)
from tests.transports.program import EachPosition, LastEventId, Memory, Nothing, Positions

ONE = ("a",)
SEVERAL = ("a", "b", "ç:1")
PATTERN = ("p:*",)


class Says(Enum):
    """How something is told that is no publication."""

    NO = "there is nothing to say"
    MESSAGE = "a message among the others"
    CLOSE = "a Close frame: the code says it"
    HTTP = "an HTTP status, instead of anything else"
    EVENT = "200 and an event before the end, so that EventSource comes back by itself"


@dataclass(frozen=True)
class Transport:
    """A row of the table.

    :param names: what its client asks for.
    :param memory: how a program that comes back knows where it was.
    :param bad: how a bad subscription is told.
    :param full: how one connection too many is told.
    :param gap: how it is told that publications are missing.
    :param goodbye: how it is told that the node leaves.
    """

    name: str
    client: type[Client]
    names: tuple[str, ...]
    memory: type[Memory]
    bad: Says
    full: Says
    gap: Says
    goodbye: Says

    @property
    def remembers(self) -> bool:
        """Whether its client can come back to where it was."""
        return self.memory is not Nothing

    @property
    def endless(self) -> bool:
        """Whether it goes on for as long as both want."""
        return not issubclass(self.client, Poll)

    @property
    def verbatim(self) -> bool:
        """Whether payloads come as they were sent, and nothing else does."""
        return issubclass(self.client, Raw)

    @property
    def single(self) -> bool:
        """Whether it follows one channel, by its name."""
        return self.names == ONE

    @property
    def tls(self) -> bool:
        """Whether it is encrypted."""
        return issubclass(self.client, OverTLS)

    @property
    def streams(self) -> bool:
        """Whether it is an HTTP response, not a WebSocket."""
        return issubclass(self.client, Stream)

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels it follows when it asks for its names."""
        return ("p:a", "p:b", "p:ç") if self.names == PATTERN else self.names


MSG, CLOSE, EVENT, HTTP, NO = Says.MESSAGE, Says.CLOSE, Says.EVENT, Says.HTTP, Says.NO
Row = Transport

# fmt: off
TABLE = (
    #   called            its client        follows  comes back by a bad a full missing the node
    #                                                              name  node   ones    leaves
    Row("ws",             Native,           ONE,     Positions,    HTTP, HTTP,  MSG,    MSG),
    Row("ws-pattern",     Native,           PATTERN, Positions,    HTTP, HTTP,  MSG,    MSG),
    Row("ws-commands",    Commands,         SEVERAL, EachPosition, MSG,  HTTP,  MSG,    MSG),
    Row("ws-deflate",     DeflatedNative,   PATTERN, Positions,    HTTP, HTTP,  MSG,    MSG),
    Row("ws-deflate-cmd", DeflatedCommands, SEVERAL, EachPosition, MSG,  HTTP,  MSG,    MSG),
    Row("events",         Events,           ONE,     LastEventId,  HTTP, EVENT, MSG,    MSG),
    Row("events-several", Events,           SEVERAL, LastEventId,  HTTP, EVENT, MSG,    MSG),
    Row("events-pattern", Events,           PATTERN, LastEventId,  HTTP, EVENT, MSG,    MSG),
    Row("events-1.0",     EventsOverHTTP10, ONE,     LastEventId,  HTTP, EVENT, MSG,    MSG),
    Row("stream",         Lines,            ONE,     Positions,    HTTP, HTTP,  MSG,    MSG),
    Row("stream-pattern", Lines,            PATTERN, Positions,    HTTP, HTTP,  MSG,    MSG),
    Row("stream-1.0",     LinesOverHTTP10,  ONE,     Positions,    HTTP, HTTP,  MSG,    MSG),
    Row("poll",           Poll,             SEVERAL, Positions,    HTTP, NO,    MSG,    NO),
    Row("poll-1.0",       PollOverHTTP10,   PATTERN, Positions,    HTTP, NO,    MSG,    NO),
    Row("raw",            Raw,              ONE,     Nothing,      HTTP, HTTP,  CLOSE,  CLOSE),
    Row("raw-pattern",    Raw,              PATTERN, Nothing,      HTTP, HTTP,  CLOSE,  CLOSE),
    Row("raw-echo=0",     RawWithoutEcho,   ONE,     Nothing,      HTTP, HTTP,  CLOSE,  CLOSE),
    Row("raw-deflate",    DeflatedRaw,      ONE,     Nothing,      HTTP, HTTP,  CLOSE,  CLOSE),
    Row("raw-deflate-e0", DeflatedRawWithoutEcho, ONE, Nothing,    HTTP, HTTP,  CLOSE,  CLOSE),
    # A cut in the middle of a handshake is no matter of ours, so these don't come back.
    Row("ws-tls",         NativeOverTLS,    PATTERN, Nothing,      HTTP, HTTP,  MSG,    MSG),
    Row("events-tls",     EventsOverTLS,    SEVERAL, Nothing,      HTTP, EVENT, MSG,    MSG),
    Row("raw-tls",        RawOverTLS,       PATTERN, Nothing,      HTTP, HTTP,  CLOSE,  CLOSE),
)
# fmt: on


def over(wanted: Callable[[Transport], bool] = lambda transport: True) -> pytest.MarkDecorator:
    """Run the test over every transport of which it is true."""
    chosen = [transport for transport in TABLE if wanted(transport)]
    return pytest.mark.parametrize("over", chosen, ids=lambda transport: transport.name)
