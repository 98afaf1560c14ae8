from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.config.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("64MiB", 64 << 20), (" 1.5 kib ", 1536), ("2GB", 2 * 10**9)],
)
def test_size_is_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "64 parsecs", "-1", "1e3", "0.5", "1.2.3KiB", "1k"])
def test_what_is_no_size_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a (size: write|whole number of bytes)"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=10**14))
def test_written_size_is_read_again(size: int) -> None:
    assert parse_size(format_size(size)) == size
