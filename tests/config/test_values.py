from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from notifier.config import Settings
from notifier.config.values import write_value
from notifier.durations import parse_duration

TTL = Settings.model_fields["history_ttl"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.25, "250ms"),
        (1.5, "1.5s"),
        (25.0, "25s"),
        (75.0, "75s"),
        (90.0, "90s"),
        (120.0, "2m"),
        (3600.0, "1h"),
        (5400.0, "90m"),
        (43200.0, "12h"),
        (86400.0, "24h"),
        (172800.0, "2d"),
    ],
)
def test_duration_is_written_as_people_write_it(seconds: float, text: str) -> None:
    assert write_value(TTL, seconds) == text


@given(st.integers(min_value=0, max_value=10**10).map(lambda n: n / 1000))
def test_written_duration_is_read_again(seconds: float) -> None:
    assert parse_duration(write_value(TTL, seconds)) == pytest.approx(seconds)


def test_list_and_table_are_written_as_in_the_file() -> None:
    settings = Settings(
        allowed_hosts=("a.example",),
        insecure=True,
        namespaces={"audit": {"history_ttl": "7d"}, "live": {"history_size": 0}},
    )
    fields = Settings.model_fields
    assert write_value(fields["allowed_hosts"], settings.allowed_hosts) == ["a.example"]
    assert write_value(fields["namespaces"], settings.namespaces) == {
        "audit": {"history_ttl": "7d"},
        "live": {"history_size": 0},
    }


@pytest.mark.parametrize(
    "large",
    [{"history_size": 100_001}, {"namespaces": {"audit": {"history_size": 100_001}}}],
)
def test_history_that_redis_could_not_walk_is_refused_there_alone(large: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="on Redis a channel's history may hold 100000"):
        Settings(broker="redis://h", **large)
    Settings(broker="memory:", **large)
