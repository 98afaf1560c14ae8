"""The peers there are.

Each is a package here, with ``PEER`` in it; none is imported before it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable

from bench.peer import Peer

NAMES = (
    "notifier",
    "floor",
    "write_message",
    "websockets",
    "ws",
    "socketio",
    "nchan",
    "centrifugo",
)


def peer(name: str) -> Peer:
    """The peer of that name.

    :raises KeyError: there is none.
    """
    if name not in NAMES:
        raise KeyError(name)
    found = importlib.import_module(f"bench.peers.{name}").PEER
    assert isinstance(found, Peer)
    return found


def peers(names: Iterable[str]) -> tuple[list[Peer], dict[str, str]]:
    """Those that can be measured here, and why the others can't, by name."""
    present, absent = [], {}
    for name in names:
        try:
            candidate = peer(name)
        except ModuleNotFoundError:
            absent[name] = "not in this checkout"
            continue
        reason = candidate.missing()
        if reason is None:
            present.append(candidate)
        else:
            absent[name] = reason
    return present, absent
