"""What can be measured. Each scenario is a module here, with a ``cases`` that makes its cases."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from bench.case import Cases
from bench.plan import Plan


@dataclass(frozen=True, slots=True)
class Scenario:
    """``--only`` takes its name; ``--list`` shows its line."""

    name: str
    line: str
    module: str

    def cases(self, plan: Plan) -> Cases:
        """Made one after the other, so that what is looked at first is looked at late."""
        found: Cases = importlib.import_module(f"bench.scenarios.{self.module}").cases(plan)
        return found


SCENARIOS = (
    Scenario("fan-out", "one channel, many sockets: paced, flat-out, in batches", "fanout"),
    Scenario("channels", "many channels with few sockets; one socket on many channels", "channels"),
    Scenario("publish", "what a publication costs when nobody listens, by every way in", "publish"),
    Scenario("credentials", "a POST with a key or a token, against one nobody asks", "credentials"),
    Scenario("latency", "from the request to each receiver, up to the last one", "latency"),
    Scenario(
        "memory", "what a connection holds: idle, one that is stuck; what a feed does", "memory"
    ),
    Scenario("connect", "handshakes", "connect"),
    Scenario("storm", "all come back at once and resume, against bare handshakes", "storm"),
    Scenario("jitter", "clients lose their connections all the time", "jitter"),
    Scenario("deploy", "a node leaves under load, and its clients find another", "deploy"),
    Scenario("slow", "1 % of the readers are stuck: what the others notice", "slow"),
    Scenario("deflate", "permessage-deflate, where it is offered", "deflate"),
    Scenario("redis", "three nodes joined by Redis, against one on its own", "redis"),
)
