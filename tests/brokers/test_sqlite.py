from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from notifier.brokers.sqlite.broker import SqliteBroker
from notifier.channels import Namespaces
from tests.brokers.contract import Contract, any_use


class Scratch:
    """Where brokers that are made by nothing but :func:`make_sqlite` have their files."""

    files: Iterator[Path]


@pytest.fixture(scope="module", autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("scratch")
    Scratch.files = (directory / f"{n}.db" for n in itertools.count())


def make_sqlite(
    namespaces: Namespaces, *, idempotency_ttl: float, now_ms: Callable[[], int]
) -> SqliteBroker:
    return SqliteBroker(
        next(Scratch.files),
        namespaces,
        history_bytes=2**30,
        max_channels=1000,
        idempotency_ttl=idempotency_ttl,
        max_idempotency_keys=1000,
        max_unwritten_bytes=2**24,
        now_ms=now_ms,
    )


class TestContract(Contract):
    make = staticmethod(make_sqlite)


TestAnyUse = any_use(make_sqlite)
