"""What the tests of the transports have in common."""

from __future__ import annotations

import pytest

from tests.transports.transports import Transport


@pytest.fixture(autouse=True)
def encryption(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services speak TLS where the transport that is tried does."""
    params = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    over = params.get("over")
    monkeypatch.setattr("tests.rawsocket.TLS", isinstance(over, Transport) and over.tls)
