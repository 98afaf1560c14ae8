from __future__ import annotations

from collections.abc import Sequence

from notifier.brokers.alone import Alone
from notifier.brokers.fleet import Fleet
from notifier.channels import Namespaces
from tests.brokers.fleet_contract import LoneContract


def make_alone(count: int, namespaces: Namespaces) -> Sequence[Fleet]:
    assert count == 1
    return [Alone()]


class TestContract(LoneContract):
    make = staticmethod(make_alone)
