from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes import Process, server_process


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    """One server for all tests of a module; each uses channels of its own."""
    with server_process() as process:
        yield process
