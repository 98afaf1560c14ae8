"""Ports for servers that have to be told theirs.

They lie below those that the kernel gives to whoever asks for any (32768 and up, see
``ip_local_port_range`` in ip(7)), so that no connection takes the port of a server that is down
for a moment; and the port of a Cluster's bus, :data:`BUS` higher, does as well.
"""

from __future__ import annotations

import random
import socket

BUS = 10_000
_FIRST, _LAST = 20_000, 22_700
# Not the tests' seed: two runs on one machine must not try the same ports.
_chance = random.SystemRandom()


def free_port() -> int:
    """One that nobody has, as its bus port; for how long, nobody can promise."""
    while True:
        port = _chance.randint(_FIRST, _LAST)
        if _free(port) and _free(port + BUS):
            return port


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
