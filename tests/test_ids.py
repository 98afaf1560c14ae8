from __future__ import annotations

import re

from notifier.ids import new_ids


def test_ids_are_new_and_safe_in_a_url() -> None:
    ids = new_ids()
    made = [next(ids) for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(re.fullmatch(r"[\w-]{16}", id, re.ASCII) for id in made)
