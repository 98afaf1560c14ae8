"""One page of history."""

from __future__ import annotations

from collections.abc import Iterable

from notifier.brokers.base import PAGE_BYTES
from notifier.notification import Publication


def cut_page(publications: Iterable[Publication], limit: int) -> tuple[list[Publication], bool]:
    """As much of it as one page holds, and whether there is more. No further than that is read."""
    page: list[Publication] = []
    size = 0
    for publication in publications:
        if len(page) == limit or (page and size + publication.size > PAGE_BYTES):
            return page, True
        page.append(publication)
        size += publication.size
    return page, False
