"""How many requests are being answered."""

from __future__ import annotations

from notifier.requests import Requests


def test_it_is_quiet_when_the_last_of_them_is_answered() -> None:
    requests = Requests()
    assert requests.quiet.is_set()
    requests.began()
    requests.began()
    requests.ended()
    assert not requests.quiet.is_set()
    requests.ended()
    assert requests.quiet.is_set()
